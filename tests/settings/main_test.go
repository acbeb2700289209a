// SPDX-License-Identifier: BSD-3-Clause

// Package settings shows with frames that what xdp_attr sets on a netdev is
// there, and not there any more when it is undone.
package settings

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/ctlmap"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

func TestMain(m *testing.M) {
	if isStranger() {
		os.Exit(stranger())
	}
	testutil.Main(m)
}

// deferred is how long objects may take to go that the kernel frees after a grace
// period or in a worker.
const deferred = 20 * time.Second

// slower is by how much the debug kernel is.
func slower() int {
	if os.Getenv("VMRUN_DEBUG") != "" {
		return 10
	}
	return 1
}

// rounds is how often to do what is done n times by default, on the debug kernel
// a tenth of that.
func rounds(t *testing.T, n int) int {
	t.Helper()
	s := os.Getenv("XDPCTL_ROUNDS")
	if s == "" {
		return (n + slower() - 1) / slower()
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("XDPCTL_ROUNDS is %q, want a number", s)
	}
	return n
}

// world is a network namespace with both doors open.
type world struct {
	*testing.T
	ns    *testutil.NetNS
	ctl   int
	doors []family.Control
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, ns: testutil.NewNetNS(t)}
	w.ctl = w.ns.AddControl("xdpctl0")
	nl, err := family.Dial(family.Options{NetNS: w.ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nl.Close() })
	maps, err := ctlmap.Open(ctlmap.Options{NetNS: w.ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { maps.Close() })
	w.doors = []family.Control{nl, maps}
	return w
}

// eachDoor runs fn as a subtest for every door.
func eachDoor(t *testing.T, fn func(t *testing.T, w *world, c family.Control)) {
	t.Helper()
	for i, name := range []string{"netlink", "map"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			fn(t, w, w.doors[i])
		})
	}
}

func redirect(num, size uint32) *family.Attr {
	v := &family.Attr{}
	v.SetCommand(family.CommandSetupRedirect)
	v.SetRingsNum(num)
	if size != 0 {
		v.SetRingsSize(size)
	}
	return v
}

func metadata(on uint32) *family.Attr {
	v := &family.Attr{}
	v.SetCommand(family.CommandSetupMD)
	v.SetEnableMD(on)
	return v
}

func (w *world) update(c family.Control, index int, v *family.Attr) error {
	return c.Attr().Update(w.Context(), &family.AttrKey{Ifindex: uint32(index)}, v, family.UpdateAny)
}

func (w *world) del(c family.Control, index int) error {
	return c.Attr().Delete(w.Context(), &family.AttrKey{Ifindex: uint32(index)})
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// attr returns what both doors say of the settings of a netdev.
func (w *world) attr(index int) family.Attr {
	w.Helper()
	var vals [2]family.Attr
	for i, c := range w.doors {
		if err := c.Attr().Lookup(w.Context(), &family.AttrKey{Ifindex: uint32(index)}, &vals[i]); err != nil {
			w.Fatalf("%s: %v", c.Name(), err)
		}
	}
	if diff := cmp.Diff(vals[0], vals[1]); diff != "" {
		w.Fatalf("attr of netdev %d, -netlink +map:\n%s", index, diff)
	}
	return vals[0]
}

// errno is the errno in err, 0 for none.
func errno(t *testing.T, err error) unix.Errno {
	t.Helper()
	if err == nil {
		return 0
	}
	var e *family.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *family.Error", err)
	}
	return e.Errno
}

// run runs a command in a namespace.
func run(t *testing.T, ns *testutil.NetNS, args ...string) string {
	t.Helper()
	var out []byte
	var err error
	ns.Do(func() { out, err = exec.Command(args[0], args[1:]...).CombinedOutput() })
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// gro reports whether GRO is on.
func gro(t *testing.T, ns *testutil.NetNS, dev string) bool {
	t.Helper()
	return strings.Contains(run(t, ns, "ethtool", "-k", dev), "generic-receive-offload: on")
}

// refs is the number of references to the module.
func refs(t *testing.T) int {
	t.Helper()
	n, err := testutil.ModuleRefs()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// attachXDP attaches a program in native mode, with a link of the test's own.
func attachXDP(t *testing.T, ns *testutil.NetNS, index int, p *ebpf.Program) link.Link {
	t.Helper()
	var l link.Link
	var err error
	ns.Do(func() {
		l, err = link.AttachXDP(link.XDPOptions{Program: p, Interface: index, Flags: link.XDPDriverMode})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// bed redirects frames: those that leave the world's peer namespace by s0 reach
// s1 in the world, where a program redirects them to the netdev out; what that
// sends is counted on far, in the peer namespace. The stack sends by out as well.
type bed struct {
	*world
	away    *testutil.NetNS
	out     int
	sender  *traffic.Sender
	marker  *traffic.Sender
	counter *traffic.Counter
	ctx     context.Context
	arrived uint64
	marked  uint64
}

// bedOptions say where frames go, and what address they carry.
type bedOptions struct {
	away     *testutil.NetNS
	out, far string
	dst      []byte
}

func newBed(t *testing.T, w *world, o bedOptions) *bed {
	t.Helper()
	b := &bed{world: w, away: o.away, out: w.ns.Index(o.out)}
	_, s1 := o.away.AddVeth("s0", "s1", testutil.VethOptions{PeerNS: w.ns})
	s, err := bpf.OpenAndLoadVerdict(nil)
	w.must(err)
	t.Cleanup(func() { s.Close() })
	attachXDP(t, w.ns, s1, s.Programs.Verdict.Prog)
	w.ns.Do(func() { err = s.Maps.VerdictPorts.Put(0, uint32(b.out)) })
	w.must(err)

	var cancel context.CancelFunc
	b.ctx, cancel = context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	b.sender, err = traffic.NewSender(traffic.SenderOptions{NetNS: o.away.Path(), Dev: "s0", Dst: o.dst})
	w.must(err)
	t.Cleanup(func() { b.sender.Close() })
	b.counter, err = traffic.NewCounter(traffic.CounterOptions{NetNS: o.away.Path(), Dev: o.far})
	w.must(err)
	t.Cleanup(func() { b.counter.Close() })
	b.marker, err = traffic.NewSender(traffic.SenderOptions{
		NetNS: w.ns.Path(), Dev: o.out, Dst: o.dst,
		Taken: func() (uint64, error) {
			counts, err := b.counter.Counts()
			return counts[traffic.Pass], err
		},
	})
	w.must(err)
	t.Cleanup(func() { b.marker.Close() })
	return b
}

// settle checks that what should have arrived has, and no more. A frame from the
// stack of out comes after all that came before.
func (b *bed) settle(what string) {
	b.Helper()
	if err := b.marker.Send(b.ctx, traffic.Pass, 1); err != nil {
		b.Fatalf("%s: %v", what, err)
	}
	b.marked++
	if err := b.counter.Wait(b.ctx, traffic.Counts{traffic.Redirect: b.arrived, traffic.Pass: b.marked}); err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

// frames sends some frames, all of which arrive, or none.
func (b *bed) frames(what string, arrive bool) {
	b.Helper()
	const n = 200
	if err := b.sender.Send(b.ctx, traffic.Redirect, n); err != nil {
		b.Fatalf("%s: %v", what, err)
	}
	if arrive {
		b.arrived += n
	}
	b.settle(what)
}

// takeVirtio moves the two virtio_net devices into the namespaces, until the
// test ends.
func takeVirtio(t *testing.T, a, b *testutil.NetNS) (string, string) {
	t.Helper()
	initial := testutil.InitialNetNS(t)
	var names []string
	for _, l := range initial.Links() {
		driver, err := os.Readlink(filepath.Join("/sys/class/net", l.Name, "device/driver"))
		if err == nil && filepath.Base(driver) == "virtio_net" {
			names = append(names, l.Name)
		}
	}
	if len(names) < 2 {
		t.Fatal("there are no two virtio_net devices: vmrun wants -nics 2")
	}
	for i, ns := range []*testutil.NetNS{a, b} {
		if err := initial.Move(names[i], ns); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := ns.Move(names[i], initial); err != nil {
				t.Error(err)
			}
		})
		ns.Up(names[i])
	}
	return names[0], names[1]
}
