// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/sysbpf"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) { testutil.WatchFDs(m) }

// bpffs is a BPF file system of a test's own, as the configuration of pinning. It
// skips the test where none can be mounted.
func bpffs(t *testing.T) *Pinning {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, "mode=0700"); err != nil {
		if errors.Is(err, unix.EPERM) {
			t.Skipf("cannot mount: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	return &Pinning{Root: dir}
}

// tree lists what is in the file system.
func tree(t *testing.T, p *Pinning) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(p.Root, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(p.Root, path)
		if rel != "." && !strings.HasSuffix(rel, ".debug") { // the kernel's own
			list = append(list, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func wantTree(t *testing.T, p *Pinning, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, tree(t, p)); diff != "" {
		t.Errorf("pins (-want +got):\n%s", diff)
	}
}

func mustLoad(t *testing.T, s *Spec, o LoadOptions) *Object {
	t.Helper()
	obj, err := s.Load(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { obj.Close() })
	return obj
}

// run runs an XDP program on a frame.
func run(t *testing.T, p *ebpf.Program) uint32 {
	t.Helper()
	ret, _, err := p.Test(make([]byte, 64))
	if err != nil {
		t.Fatal(err)
	}
	return ret
}

func lookup[V any](t *testing.T, m *ebpf.Map, key uint32) V {
	t.Helper()
	var v V
	if err := m.Lookup(key, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLoadStandard(t *testing.T) {
	p := bpffs(t)
	s := mustOpen(t, "object")
	for name, v := range map[string]string{"verdict": "1", "mode": "MODE_ON"} {
		if err := s.SetVariable(name, v); err != nil {
			t.Fatal(err)
		}
	}
	obj := mustLoad(t, s, LoadOptions{Pinning: p})
	wantTree(t, p, "points")
	want := []MapState{{Name: "inner"}, {Name: "outer"}, {Name: "points", Path: p.Root + "/points"}}
	if diff := cmp.Diff(want, obj.States); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if got := run(t, obj.Programs["count"]); got != 1 {
		t.Errorf("verdict %d, want 1", got)
	}
	if n := lookup[uint32](t, obj.Maps["inner"], 0); n != 1 {
		t.Errorf("inner map counted %d", n)
	}
	var level int16
	if err := obj.Variables["level"].Get(&level); err != nil || level != 0 {
		t.Errorf("level %d, error %v, want 0", level, err)
	}
	// The Spec is as it was, and the map is there now.
	again := mustLoad(t, s, LoadOptions{Pinning: p})
	if st := again.States[2]; !st.Reused {
		t.Errorf("state %+v is not reused", st)
	}
	if err := again.Undo(); err != nil {
		t.Error(err)
	}
	wantTree(t, p, "points")
	if err := obj.Undo(); err != nil {
		t.Error(err)
	}
	wantTree(t, p)
}

// A program has the type that its section says, unless another is asked for.
func TestLoadType(t *testing.T) {
	p := bpffs(t)
	for _, tt := range []struct {
		prog string
		typ  ebpf.ProgramType
		want ebpf.ProgramType
	}{
		{"classifier", 0, ebpf.SchedCLS},
		{"classifier", ebpf.SchedACT, ebpf.SchedACT},
		{"egress", 0, ebpf.XDP},
		{"prog", 0, ebpf.XDP},
	} {
		obj := mustLoad(t, mustOpen(t, "legacy_shared"), LoadOptions{Pinning: p, Programs: []string{tt.prog}, Type: tt.typ})
		for name, prog := range obj.Programs {
			if prog.Type() != tt.want {
				t.Errorf("%s as %s: %s is of type %s, want %s", tt.prog, tt.typ, name, prog.Type(), tt.want)
			}
		}
	}
	_, err := mustOpen(t, "object").Load(context.Background(), LoadOptions{Pinning: p, Programs: []string{"count"}, Type: ebpf.SchedCLS})
	if err == nil || !strings.Contains(err.Error(), `program "count" is of type XDP, not SchedCLS`) {
		t.Errorf("other type: got %v", err)
	}
}

func TestLoadSizes(t *testing.T) {
	p := bpffs(t)
	for _, name := range []string{"legacy_size16", "legacy_size20"} {
		obj := mustLoad(t, mustOpen(t, name), LoadOptions{Pinning: p})
		if got := run(t, obj.Programs["entry"]); got != 1 {
			t.Errorf("%s: verdict %d, want 1", name, got)
		}
	}
	wantTree(t, p)
}

func TestLoadTailCalls(t *testing.T) {
	p := bpffs(t)
	s := mustOpen(t, "legacy_tail")
	obj := mustLoad(t, s, LoadOptions{Pinning: p, Programs: []string{"prog"}})
	dir := "tc/" + s.UID
	want := []string{"ip", "tc", dir, dir + "/steps", dir + "/visits", "tc/globals", "xdp"}
	slices.Sort(want)
	wantTree(t, p, want...)
	if got := run(t, obj.Programs["entry"]); got != 1 {
		t.Errorf("verdict %d, want that of the last program, 1", got)
	}
	for i := range uint32(4) {
		if n := lookup[uint32](t, obj.Maps["visits"], i); n != 1 {
			t.Errorf("%d visits at %d", n, i)
		}
	}
	if diff := cmp.Diff([]string{"last"}, obj.Fleeting()); diff != "" {
		t.Errorf("fleeting (-want +got):\n%s", diff)
	}
	if link, err := os.Readlink(p.Root + "/xdp"); link != p.Root+"/tc/" || err != nil {
		t.Errorf("xdp leads to %q, error %v", link, err)
	}
	// The directory for the value 4 comes from the configuration.
	q := *p
	q.Values = map[uint32]string{4: "a/b"}
	obj2 := mustLoad(t, s, LoadOptions{Pinning: &q})
	if diff := cmp.Diff([]string(nil), obj2.Fleeting()); diff != "" {
		t.Errorf("fleeting (-want +got):\n%s", diff)
	}
	wantTree(t, p, append([]string{"a", "a/b", "a/b/last"}, want...)...)
	if err := obj2.Undo(); err != nil {
		t.Error(err)
	}
	wantTree(t, p, want...)
}

// A tail call of itself is ended by the kernel after 33 times.
func TestLoadCyclic(t *testing.T) {
	p := bpffs(t)
	obj := mustLoad(t, mustOpen(t, "legacy_cyclic"), LoadOptions{Pinning: p})
	if got := run(t, obj.Programs["entry"]); got != 1 {
		t.Errorf("verdict %d, want 1", got)
	}
	if n := lookup[uint32](t, obj.Maps["rounds"], 0); n != 33 {
		t.Errorf("%d rounds, want 33", n)
	}
}

func TestLoadNested(t *testing.T) {
	p := bpffs(t)
	s := mustOpen(t, "legacy_nested")
	obj := mustLoad(t, s, LoadOptions{Pinning: p, Programs: []string{"egress", "classifier"}, Type: ebpf.SchedCLS})
	for _, name := range []string{"out", "in"} {
		if ret := run(t, obj.Programs[name]); ret != 2 {
			t.Errorf("%s returns %d, want 2", name, ret)
		}
	}
	if n := lookup[uint32](t, obj.Maps["inner"], 0); n != 2 {
		t.Errorf("counted %d, want 2", n)
	}
	// The inner map is pinned, the outer ones find it again.
	again := mustLoad(t, s, LoadOptions{Pinning: p, Programs: []string{"egress"}, Type: ebpf.SchedCLS})
	run(t, again.Programs["out"])
	if n := lookup[uint32](t, obj.Maps["inner"], 0); n != 3 {
		t.Errorf("counted %d, want 3", n)
	}
}

func TestUseMap(t *testing.T) {
	p := bpffs(t)
	s := mustOpen(t, "legacy_tail")
	name, _ := s.MapByID(0x2a)
	other, err := ebpf.NewMap(&ebpf.MapSpec{Name: "other", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := s.UseMap(name, other); err != nil {
		t.Fatal(err)
	}
	obj := mustLoad(t, s, LoadOptions{Pinning: p})
	run(t, obj.Programs["entry"])
	if n := lookup[uint32](t, obj.Maps["visits"], 2); n != 1 {
		t.Errorf("the last program was visited %d times", n)
	}
	var id uint32
	if err := other.Lookup(uint32(1), &id); err != nil || id == 0 {
		t.Errorf("program at 1 is %d, error %v", id, err)
	}
	if err := s.UseMap("nothing", other); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such map: got %v", err)
	}
	if err := s.UseMap("visits", other); err != nil {
		t.Fatal(err)
	}
	var m *Mismatch
	if _, err := s.Load(context.Background(), LoadOptions{Pinning: p}); !errors.As(err, &m) || m.Diffs[0].Field != "type" {
		t.Errorf("map of another type: got %v", err)
	}
	// A definition of one's own.
	s = mustOpen(t, "legacy_tail")
	s.SetMap("visits", &ebpf.MapSpec{Name: "visits", Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	obj = mustLoad(t, s, LoadOptions{Pinning: &Pinning{Root: p.Root, Maps: map[string]Pin{"visits": {}}}})
	if got := obj.Maps["visits"].Type(); got != ebpf.Hash {
		t.Errorf("type %s, want Hash", got)
	}
}

func TestMismatch(t *testing.T) {
	p := bpffs(t)
	s := mustOpen(t, "object")
	tests := map[string]struct {
		pinned ebpf.MapSpec
		want   string
	}{
		"all": {ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 3, Flags: unix.BPF_F_RDONLY_PROG},
			"type Array (pinned) and Hash (object), value size 16 (pinned) and 8 (object), " +
				"max entries 3 (pinned) and 16 (object), flags 0x80 (pinned) and 0x0 (object)"},
		"key":   {ebpf.MapSpec{Type: ebpf.Hash, KeySize: 8, ValueSize: 8, MaxEntries: 16}, "key size 8 (pinned) and 4 (object)"},
		"flags": {ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 16, Flags: unix.BPF_F_NO_PREALLOC}, "flags 0x1 (pinned) and 0x0 (object)"},
		"types": {ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 16,
			Key:   mustOpen(t, "legacy_shared").Collection.Maps["shared"].Key,
			Value: mustOpen(t, "legacy_shared").Collection.Maps["shared"].Value},
			"value BTF unsigned long long (pinned) and struct point {x y} (object)"},
	}
	path := p.Root + "/points"
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := ebpf.NewMap(&tt.pinned)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if err := m.Pin(path); err != nil {
				t.Fatal(err)
			}
			defer os.Remove(path)
			_, err = s.Load(context.Background(), LoadOptions{Pinning: p})
			want := "load object.bpf.o: map points pinned at " + path + " differs from that of the object: " + tt.want
			if err == nil || err.Error() != want || !errors.Is(err, ebpf.ErrMapIncompatible) {
				t.Errorf("got %v, want %s", err, want)
			}
			// Put in its place, and put back.
			obj := mustLoad(t, s, LoadOptions{Pinning: p, ForceRepin: true})
			if got := pinnedType(t, path); got != ebpf.Hash {
				t.Errorf("type %s after a repin", got)
			}
			if err := obj.Undo(); err != nil {
				t.Error(err)
			}
			if got := pinnedType(t, path); got != tt.pinned.Type {
				t.Errorf("type %s after it was undone, want %s", got, tt.pinned.Type)
			}
			wantTree(t, p, "points")
		})
	}
	// Without types on one side, they are not compared.
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 16})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Pin(path); err != nil {
		t.Fatal(err)
	}
	if obj := mustLoad(t, s, LoadOptions{Pinning: p}); !obj.States[2].Reused {
		t.Error("not reused")
	}
}

func pinnedType(t *testing.T, path string) ebpf.MapType {
	t.Helper()
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	return m.Type()
}

func TestVerifierError(t *testing.T) {
	p := bpffs(t)
	_, err := mustOpen(t, "refused").Load(context.Background(), LoadOptions{Pinning: p})
	var v *VerifierError
	if !errors.As(err, &v) {
		t.Fatalf("got %v", err)
	}
	if v.Program != "unchecked" || !strings.HasPrefix(v.Source, "return *n;") {
		t.Errorf("program %q, source %q", v.Program, v.Source)
	}
	last := v.Last()
	if n := len(last); n == 0 || n > lastLines || !strings.Contains(last[n-1], "invalid mem access 'map_value_or_null'") {
		t.Errorf("last lines are %q", last)
	}
	if len(v.Log) <= len(last) {
		t.Errorf("the log is %q", v.Log)
	}
	_, err = mustOpen(t, "unlicensed").Load(context.Background(), LoadOptions{Pinning: p})
	if !errors.As(err, &v) || !strings.Contains(v.Hint, "no license") {
		t.Errorf("without a license: got %v, %+v", err, v)
	}
}

// A program array has one type of programs.
func TestOwner(t *testing.T) {
	p := bpffs(t)
	mustLoad(t, mustOpen(t, "legacy_tail"), LoadOptions{Pinning: p})
	s := mustOpen(t, "legacy_tail")
	_, err := s.Load(context.Background(), LoadOptions{Pinning: p, Programs: []string{"prog"}, Type: ebpf.SchedCLS})
	want := "map steps: its programs are of type XDP and those of the object of type SchedCLS"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Loaders that come at the same time share one map.
func TestConcurrent(t *testing.T) {
	p := bpffs(t)
	s := mustOpen(t, "object")
	var mu sync.Mutex
	fresh := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			obj, err := s.Load(context.Background(), LoadOptions{Pinning: p})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if !obj.States[2].Reused {
				fresh++
			}
			obj.Close()
		})
	}
	wg.Wait()
	if fresh != 1 {
		t.Errorf("%d loaders made the map, want 1", fresh)
	}
	// One waits for another.
	unlock, err := lockRoot(t.Context(), p.Root)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		obj, err := s.Load(context.Background(), LoadOptions{Pinning: p})
		if err == nil {
			err = obj.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Errorf("did not wait, error %v", err)
	case <-time.After(300 * time.Millisecond):
		unlock()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A loader that knows no lock pins between the look and the pin: its map is used.
func TestPinnedMeanwhile(t *testing.T) {
	p := bpffs(t)
	s := mustOpen(t, "object")
	obj := mustLoad(t, s, LoadOptions{Pinning: p})
	if err := os.Remove(p.Root + "/points"); err != nil {
		t.Fatal(err)
	}
	// One that has looked already.
	l := &loading{spec: s, o: &LoadOptions{}, pins: p, paths: map[string]string{"points": p.Root + "/points"}}
	if err := sysbpf.ObjPin(obj.Maps["points"].FD(), p.Root+"/points"); err != nil {
		t.Fatal(err)
	}
	if err := l.pinAll(&ebpf.Collection{Maps: obj.Maps}); !errors.Is(err, errPinned) {
		t.Errorf("got %v, want %v", err, errPinned)
	}
	wantTree(t, p, "points")
}

// A machine lets a program take the place of a function, or says that it does not.
func TestJoin(t *testing.T) {
	p := bpffs(t)
	ns := testutil.NewNetNS(t)
	index := ns.Index("lo")
	o := JoinOptions{Ifindex: uint32(index), NetNS: ns.FD(), Mode: family.ModeGeneric}
	obj, err := mustOpen(t, "chain").Join(context.Background(), LoadOptions{Programs: []string{"drop"}, Pinning: p}, o)
	if err != nil {
		if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "this kernel does not let a program take the place of a function (freplace)") {
			t.Errorf("got %v", err)
		}
		wantTree(t, p, "xdp")
		return
	}
	defer obj.Close()
	d, err := p.DispatcherOf(t.Context(), uint32(index), ns.XDP("lo").ProgID)
	if err != nil || d == nil || len(d.Members) != 1 || d.Members[0].Priority != DefaultPriority || d.Members[0].ChainOn != DefaultChainOn {
		t.Fatalf("dispatcher %+v, error %v", d, err)
	}
	if err := Leave(t.Context(), p, o, d.Members[0].ProgID); err != nil {
		t.Error(err)
	}
	wantTree(t, p, "xdp")
}

// A link that leads nowhere gets a directory to lead to.
func TestDanglingLink(t *testing.T) {
	p := bpffs(t)
	if err := os.Symlink(p.Root+"/tc/", p.Root+"/xdp"); err != nil {
		t.Fatal(err)
	}
	var u undoes
	if err := makeDirs(p.Root+"/xdp/dispatch-1-2", &u); err != nil {
		t.Fatal(err)
	}
	wantTree(t, p, "tc", "tc/dispatch-1-2", "xdp")
	if err := u.run(); err != nil {
		t.Error(err)
	}
	wantTree(t, p, "xdp")
}

// An outer map that was there keeps what is in it.
func TestOuterReused(t *testing.T) {
	p := bpffs(t)
	p.Maps = map[string]Pin{"outer": {Kind: PinGlobal}}
	s := mustOpen(t, "object")
	obj := mustLoad(t, s, LoadOptions{Pinning: p})
	other, err := ebpf.NewMap(s.Collection.Maps["inner"])
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := obj.Maps["outer"].Put(uint32(1), other); err != nil {
		t.Fatal(err)
	}
	want := lookup[uint32](t, obj.Maps["outer"], 1)
	again := mustLoad(t, s, LoadOptions{Pinning: p})
	if got := lookup[uint32](t, again.Maps["outer"], 1); got != want {
		t.Errorf("the map with id %d is in it, was %d", got, want)
	}
}
