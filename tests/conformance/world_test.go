// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/tests/testbed"
)

// world is a network namespace with a control device, some netdevs, some
// programs, and every door of a backend open.
type world struct {
	*testing.T
	ctx     context.Context
	backend backend
	ways    []door // into the backend
	ns      *testutil.NetNS
	ctl     int                       // ifindex of the control device
	doors   map[string]family.Control // by name
	progs   map[string]*testutil.Prog // by name
	links   map[uint32]string         // names of link ids, in order of appearance
	pins    *pins                     // opened when they are first read
}

// newWorld makes a world with the netdevs veth0 and veth1, which are a pair,
// and dummy0. Two worlds have the same ifindexes.
func newWorld(t *testing.T, b backend) *world {
	t.Helper()
	w := emptyWorld(t, b)
	w.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
	w.ns.AddDummy("dummy0")
	return w
}

// emptyWorld has only the loopback and the control device.
func emptyWorld(t *testing.T, b backend) *world {
	t.Helper()
	w := &world{
		T: t, ctx: t.Context(), backend: b, ways: b.doors(), ns: testutil.NewNetNS(t),
		doors: make(map[string]family.Control),
		progs: make(map[string]*testutil.Prog),
		links: make(map[uint32]string),
	}
	w.ctl = b.prepare(w.ns)
	t.Cleanup(func() { b.cleanUp(w) })
	for _, d := range w.ways {
		c, err := d.open(w.ns)
		if err != nil {
			t.Fatalf("open the %s door: %v", d.name, err)
		}
		t.Cleanup(func() { c.Close() })
		w.doors[d.name] = c
	}
	for i, name := range []string{"aborted", "drop", "pass"} {
		w.progs[name] = testutil.NewXDP(t, name, int32(i))
	}
	return w
}

// one is the netlink door, or what stands for it.
func (w *world) one() family.Control { return w.doors[w.ways[0].name] }

// other is another door to the same.
func (w *world) other() family.Control { return w.doors[w.ways[1].name] }

// eachDoor runs fn as a subtest for every door of a backend, each in a world of
// its own.
func eachDoor(t *testing.T, b backend, fn func(w *world, c family.Control)) {
	t.Helper()
	for _, d := range b.doors() {
		t.Run(d.name, func(t *testing.T) {
			if deviates(t) {
				return
			}
			w := newWorld(t, b)
			fn(w, w.doors[d.name])
		})
	}
}

func progKey(ifindex int) *family.ProgKey {
	return &family.ProgKey{Ifindex: uint32(ifindex), Queue: family.QueueAll}
}

// errno is the errno in err, 0 for none.
func (w *world) errno(err error) unix.Errno {
	w.Helper()
	if err == nil {
		return 0
	}
	var e *family.Error
	if !errors.As(err, &e) {
		w.Fatalf("%v is no *family.Error", err)
	}
	return e.Errno
}

// progName names a program id.
func (w *world) progName(id uint32) string {
	for name, p := range w.progs {
		if p.ID == id {
			return name
		}
	}
	return fmt.Sprintf("program %d", id)
}

// linkName names a link id, the first seen link1.
func (w *world) linkName(id uint32) string {
	if w.links[id] == "" {
		w.links[id] = fmt.Sprintf("link%d", len(w.links)+1)
	}
	return w.links[id]
}

// describe puts an attachment into words: MODE PROGRAM OWNER [LINK].
func (w *world) describe(v *family.Prog) string {
	if !v.Has(family.AttrProgProgID) {
		return "-"
	}
	s := []string{v.Mode.String(), w.progName(v.ProgID), v.Owner.String()}
	if v.Has(family.AttrProgLinkID) {
		s = append(s, w.linkName(v.LinkID))
	}
	return strings.Join(s, " ")
}

// state describes what is attached to a netdev, after making sure that every
// door says the same, and the same as rtnetlink and the kernel's own links.
func (w *world) state(dev string) string {
	w.Helper()
	k := progKey(w.ns.Index(dev))
	vals := make(map[string]family.Prog)
	errs := make(map[string]unix.Errno)
	for name, c := range w.doors {
		var v family.Prog
		errs[name] = w.errno(c.Prog().Lookup(w.ctx, k, &v))
		vals[name] = v
	}
	for _, d := range w.ways[1:] {
		if diff := cmp.Diff(errs[w.ways[0].name], errs[d.name]); diff != "" {
			w.Fatalf("errno of lookup %s, -%s +%s:\n%s", dev, w.ways[0].name, d.name, diff)
		}
		if diff := cmp.Diff(vals[w.ways[0].name], vals[d.name]); errs[d.name] == 0 && diff != "" {
			w.Fatalf("lookup %s, -%s +%s:\n%s", dev, w.ways[0].name, d.name, diff)
		}
	}
	v := vals[w.ways[0].name]
	switch errs[w.ways[0].name] {
	case 0:
		comparePinned(w, "prog", family.Entry[family.ProgKey, family.Prog]{Key: *k, Value: v})
	case unix.ENOENT:
		v = family.Prog{}
	default:
		w.Fatalf("lookup %s: %v", dev, errs[w.ways[0].name])
	}
	w.checkRtnetlink(dev, &v)
	w.checkLink(dev, &v)
	return w.describe(&v)
}

// checkRtnetlink compares v with IFLA_XDP.
func (w *world) checkRtnetlink(dev string, v *family.Prog) {
	w.Helper()
	var want testutil.XDPState
	switch v.Mode {
	case family.ModeNative:
		want = testutil.XDPState{Attached: testutil.XDPAttachedDrv, ProgID: v.ProgID, DrvProgID: v.ProgID}
	case family.ModeGeneric:
		want = testutil.XDPState{Attached: testutil.XDPAttachedSkb, ProgID: v.ProgID, SkbProgID: v.ProgID}
	}
	if diff := cmp.Diff(want, w.ns.XDP(dev)); diff != "" {
		w.Fatalf("%s in rtnetlink, -doors +rtnetlink:\n%s", dev, diff)
	}
}

// checkLink compares v with the kernel's links, and its tag and name with the
// program's.
func (w *world) checkLink(dev string, v *family.Prog) {
	w.Helper()
	if p := w.progs[w.progName(v.ProgID)]; p != nil {
		if v.Tag != p.Tag || v.Name.String() != p.Name {
			w.Fatalf("%s has tag %x and name %q, the program %x and %q", dev, v.Tag, v.Name, p.Tag, p.Name)
		}
	}
	if !v.Has(family.AttrProgLinkID) {
		return
	}
	want := testutil.LinkInfo{Type: unix.BPF_LINK_TYPE_XDP, ID: v.LinkID, ProgID: v.ProgID, Ifindex: uint32(w.ns.Index(dev))}
	if got := testutil.XDPLinks(w.T)[v.LinkID]; got != want {
		w.Fatalf("%s is held by link %+v, the doors say %+v", dev, got, want)
	}
}

// entries iterates over a table, sorted as it came.
func entries[K, V any](w *world, t family.Table[K, V], filter *K) []family.Entry[K, V] {
	w.Helper()
	var out []family.Entry[K, V]
	for e, err := range family.All(w.ctx, t, filter) {
		if err != nil {
			w.Fatalf("iterate: %v", err)
		}
		out = append(out, e)
	}
	return out
}

// takeVirtio moves a virtio_net device into the world until the test ends.
func (w *world) takeVirtio() string {
	w.Helper()
	dev := testbed.TakeVirtio(w.T, w.ns)[0]
	w.Cleanup(func() { w.clear(dev) })
	return dev
}

// clear takes programs off a netdev, which would move with it.
func (w *world) clear(dev string) {
	w.one().Prog().Delete(context.Background(), progKey(w.ns.Index(dev)))
	for _, mode := range []uint32{unix.XDP_FLAGS_DRV_MODE, unix.XDP_FLAGS_SKB_MODE} {
		w.ns.SetXDP(dev, -1, mode)
	}
}
