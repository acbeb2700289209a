// SPDX-License-Identifier: BSD-3-Clause

package objects

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/loader"
)

// theirObject is what xdp-loader loads.
func theirObject(t testing.TB) string { return testutil.Path(t, "bpf", "pass.bpf.o") }

// joined puts a program of ours behind the dispatcher.
func (l *lab) join(name, prog string, prio uint32, chain family.Action) (*loader.Object, uint32, error) {
	l.Helper()
	s, err := loader.Open(object(l, name))
	if err != nil {
		l.Fatal(err)
	}
	obj, err := s.Join(context.Background(), loader.LoadOptions{Programs: []string{prog}, Pinning: l.pins},
		loader.JoinOptions{Ifindex: uint32(l.ns.Index("veth0")), NetNS: l.ns.FD(), Mode: family.ModeGeneric, Priority: &prio, ChainOn: &chain})
	if err != nil {
		return nil, 0, err
	}
	l.Cleanup(func() { obj.Close() })
	for _, p := range obj.Programs {
		info, err := p.Info()
		if err != nil {
			l.Fatal(err)
		}
		id, _ := info.ID()
		return obj, uint32(id), nil
	}
	l.Fatal("nothing was loaded")
	return nil, 0, nil
}

func (l *lab) mustJoin(name, prog string, prio uint32, chain family.Action) (*loader.Object, uint32) {
	l.Helper()
	obj, id, err := l.join(name, prog, prio, chain)
	if err != nil {
		l.Fatal(err)
	}
	return obj, id
}

func (l *lab) leave(id uint32) error {
	return loader.Leave(l.Context(), l.pins, loader.JoinOptions{Ifindex: uint32(l.ns.Index("veth0")), NetNS: l.ns.FD()}, id)
}

// listed is what the loader lists: names and priorities, in their order.
func (l *lab) listed() (names []string, ids []uint32) {
	l.Helper()
	on := l.ns.XDP("veth0").ProgID
	if on == 0 {
		return nil, nil
	}
	d, err := l.pins.DispatcherOf(l.Context(), uint32(l.ns.Index("veth0")), on)
	if err != nil {
		l.Fatal(err)
	}
	if d == nil {
		return []string{"no dispatcher"}, nil
	}
	for _, m := range d.Members {
		names = append(names, m.Name+" "+strconv.Itoa(int(m.Priority))+" "+m.ChainOn.String())
		ids = append(ids, m.ProgID)
	}
	return names, ids
}

func (l *lab) want(names ...string) []uint32 {
	l.Helper()
	got, ids := l.listed()
	if diff := cmp.Diff(names, got); diff != "" {
		l.Errorf("programs (-want +got):\n%s", diff)
	}
	// libxdp must say the same: prio, name, tag, id, chain actions in a line each.
	status := l.run("xdp-loader", "status", "veth0")
	var theirs []string
	for _, m := range regexp.MustCompile(`(?m)^ =>\s+(\d+)\s+(\S+)\s+(?:\S+\s+)?(\d+)\s+[0-9a-f]{16}`).FindAllStringSubmatch(status, -1) {
		theirs = append(theirs, m[2]+" "+m[1])
	}
	var short []string
	for _, n := range names {
		short = append(short, strings.Join(strings.Fields(n)[:2], " "))
	}
	if diff := cmp.Diff(short, theirs); diff != "" {
		l.Errorf("xdp-loader says (-want +got):\n%s%s", diff, status)
	}
	return ids
}

// dispatched runs the dispatcher on a frame.
func (l *lab) dispatched() uint32 {
	l.Helper()
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(l.ns.XDP("veth0").ProgID))
	if err != nil {
		l.Fatal(err)
	}
	defer p.Close()
	ret, _, err := p.Test(make([]byte, 64))
	if err != nil {
		l.Fatal(err)
	}
	return ret
}

// noPins checks that no dispatcher has left anything.
func (l *lab) noPins() {
	l.Helper()
	left, err := filepath.Glob(l.root + "/xdp/dispatch-*")
	if err != nil || len(left) > 0 {
		l.Errorf("left %v, error %v", left, err)
	}
}

func counted(t *testing.T, obj *loader.Object) uint32 {
	t.Helper()
	var n uint32
	if err := obj.Maps["inner"].Lookup(uint32(0), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLibxdp has programs of xdp-loader and of ours on one netdev, in both orders;
// each lists all, and takes away its own. It is the same where the directory of
// libxdp is a link of iproute2's.
func TestLibxdp(t *testing.T) {
	for _, linked := range []bool{false, true} {
		t.Run("linked "+strconv.FormatBool(linked), func(t *testing.T) {
			setup := func(t *testing.T) *lab {
				l := newLab(t)
				if linked {
					if err := errors.Join(os.Mkdir(l.root+"/tc", 0o700), os.Symlink(l.root+"/tc/", l.root+"/xdp")); err != nil {
						t.Fatal(err)
					}
				}
				return l
			}
			t.Run("theirs first", func(t *testing.T) {
				l := setup(t)
				l.run("xdp-loader", "load", "-m", "skb", "-P", "20", "-A", "XDP_PASS,XDP_TX", "veth0", theirObject(t))
				their := l.want("pass 20 pass|tx")[0]
				obj, our := l.mustJoin("object", "count", 10, family.ActionPass)
				if ids := l.want("count 10 pass", "pass 20 pass|tx"); ids[0] != our || ids[1] != their {
					t.Errorf("ids %v, want %d and %d", ids, our, their)
				}
				if got := l.dispatched(); got != 2 || counted(t, obj) != 1 {
					t.Errorf("verdict %d, counted %d", got, counted(t, obj))
				}
				l.run("xdp-loader", "unload", "veth0", "-i", strconv.Itoa(int(their)))
				l.want("count 10 pass")
				if got := l.dispatched(); got != 2 || counted(t, obj) != 2 {
					t.Errorf("alone: verdict %d, counted %d", got, counted(t, obj))
				}
				if err := l.leave(our); err != nil {
					t.Fatal(err)
				}
				l.want()
				l.noPins()
			})
			t.Run("ours first", func(t *testing.T) {
				l := setup(t)
				obj, our := l.mustJoin("object", "count", 10, 0)
				l.want("count 10 0")
				l.run("xdp-loader", "load", "-m", "skb", "-P", "5", "veth0", theirObject(t))
				ids := l.want("pass 5 pass", "count 10 0")
				if got := l.dispatched(); got != 2 || counted(t, obj) != 1 {
					t.Errorf("verdict %d, counted %d", got, counted(t, obj))
				}
				if err := l.leave(our); err != nil {
					t.Fatal(err)
				}
				if left := l.want("pass 5 pass"); len(left) != 1 || left[0] != ids[0] {
					t.Errorf("left are %v of %v", left, ids)
				}
				l.run("xdp-loader", "unload", "-a", "veth0")
				l.want()
				l.noPins()
			})
		})
	}
}

// TestChain has a program end the chain, and another go on after its verdict.
func TestChain(t *testing.T) {
	l := newLab(t)
	l.mustJoin("chain", "drop", 1, family.ActionDrop)
	second, _ := l.mustJoin("object", "count", 2, family.ActionPass)
	_, id := l.mustJoin("chain", "drop", 1, 0)
	l.want("drop 1 drop", "drop 1 0", "count 2 pass")
	if got := l.dispatched(); got != 1 || counted(t, second) != 0 {
		t.Errorf("verdict %d, counted %d: the chain did not end", got, counted(t, second))
	}
	if err := l.leave(id); err != nil {
		t.Fatal(err)
	}
	if got := l.dispatched(); got != 2 || counted(t, second) != 1 {
		t.Errorf("verdict %d, counted %d: the chain ended", got, counted(t, second))
	}
	// One that moves the bounds of the frame, behind others and alone.
	l.mustJoin("chain", "shorten", 0, family.ActionPass)
	if got := l.dispatched(); got != 2 || counted(t, second) != 2 {
		t.Errorf("verdict %d, counted %d: a shorter frame ended the chain", got, counted(t, second))
	}
	for _, id := range l.want("shorten 0 pass", "drop 1 drop", "count 2 pass") {
		if err := l.leave(id); err != nil {
			t.Fatal(err)
		}
	}
	l.mustJoin("chain", "shorten", 0, family.ActionPass)
	if got := l.dispatched(); got != 2 {
		t.Errorf("alone: verdict %d", got)
	}
}

// TestNewerVersion joins a dispatcher of the version that newer libxdp has.
func TestNewerVersion(t *testing.T) {
	l := newLab(t)
	spec, err := bpf.LoadDispatcher()
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 128)
	raw[0], raw[1] = 236, 3
	copy(spec.Variables[bpf.DispatcherConfig].Value, raw)
	m := spec.Maps[".rodata"]
	m.ValueSize, m.Key, m.Value = uint32(len(raw)), nil, nil
	m.Contents = []ebpf.MapKV{{Key: uint32(0), Value: raw}}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer coll.Close()
	if err := l.ns.SetXDP("veth0", coll.Programs[bpf.DispatcherProgram].FD(), 1<<1); err != nil {
		t.Fatal(err)
	}
	_, first := l.mustJoin("chain", "drop", 1, 0)
	l.mustJoin("chain", "send_back", 2, 0)
	d, err := l.pins.DispatcherOf(l.Context(), uint32(l.ns.Index("veth0")), l.ns.XDP("veth0").ProgID)
	if err != nil || d == nil || d.Version != 3 || len(d.Members) != 2 {
		t.Fatalf("dispatcher %+v, error %v", d, err)
	}
	if got := l.dispatched(); got != 1 {
		t.Errorf("verdict %d, want 1", got)
	}
	if err := errors.Join(l.leave(first), l.leave(d.Members[1].ProgID)); err != nil {
		t.Fatal(err)
	}
	l.noPins()
}

// TestJoinTogether has loaders of both kinds come at the same time. All programs
// are behind the dispatcher in the end.
func TestJoinTogether(t *testing.T) {
	l := newLab(t)
	index := uint32(l.ns.Index("veth0"))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s, err := loader.Open(object(t, "chain"))
			if err != nil {
				t.Error(err)
				return
			}
			prio := uint32(i)
			obj, err := s.Join(context.Background(), loader.LoadOptions{Programs: []string{"drop"}, Pinning: l.pins},
				loader.JoinOptions{Ifindex: index, NetNS: l.ns.FD(), Mode: family.ModeGeneric, Priority: &prio})
			if err != nil {
				t.Error(err)
				return
			}
			obj.Close()
		})
	}
	for range 2 {
		// It gives up where it finds what it has just looked at gone.
		testutil.Eventually(t, time.Minute, "load with xdp-loader", func() bool {
			_, err := l.try("xdp-loader", "load", "-m", "skb", "-P", "20", "veth0", theirObject(t))
			return err == nil
		})
	}
	wg.Wait()
	l.want("drop 0 pass", "drop 1 pass", "drop 2 pass", "drop 3 pass", "pass 20 pass", "pass 20 pass")
	l.run("xdp-loader", "unload", "-a", "veth0")
	l.noPins()
}

func TestJoinRefused(t *testing.T) {
	l := newLab(t)
	check := func(what string, err error, want error, text string) {
		t.Helper()
		if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v, want %v, %s", what, err, want, text)
		}
	}
	check("leave nothing", l.leave(1), os.ErrNotExist, "the netdev has no dispatcher")

	prog := testutil.NewXDP(t, "other", 2)
	if err := l.ns.SetXDP("veth0", prog.FD, 1<<1); err != nil {
		t.Fatal(err)
	}
	_, _, err := l.join("object", "count", 1, 0)
	check("other program", err, unix.EBUSY, "which is no dispatcher of libxdp; detach it first")
	if got := l.ns.XDP("veth0").ProgID; got != prog.ID {
		t.Errorf("the program is %d, was %d", got, prog.ID)
	}
	if err := l.ns.SetXDP("veth0", -1, 1<<1); err != nil {
		t.Fatal(err)
	}
	_, _, err = l.join("refused", "unchecked", 1, 0)
	check("verifier", err, unix.EACCES, "program unchecked")
	if l.ns.XDP("veth0").ProgID != 0 {
		t.Error("a dispatcher was started for a program that was refused")
	}
	l.noPins()
	for range 10 {
		l.mustJoin("chain", "drop", 50, 0)
	}
	before, _ := l.listed()
	_, _, err = l.join("object", "count", 1, 0)
	check("eleventh", err, unix.E2BIG, "it has 10 programs already")
	after, ids := l.listed()
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("programs changed (-before +after):\n%s", diff)
	}
	check("leave another", l.leave(1<<30), os.ErrNotExist, "is not behind the dispatcher")
	for _, id := range ids {
		if err := l.leave(id); err != nil {
			t.Fatal(err)
		}
	}
	l.noPins()
}
