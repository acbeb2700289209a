// SPDX-License-Identifier: BSD-3-Clause

package settings

import (
	"testing"

	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/tests/testbed"
)

// redirectOnly leaves what SETUP_REDIRECT says.
func redirectOnly(v family.Attr) family.Attr {
	got := family.Attr{RingsNum: v.RingsNum, RingsSize: v.RingsSize, PlaceholderProgID: v.PlaceholderProgID}
	for _, a := range []uint16{family.AttrAttrRingsNum, family.AttrAttrRingsSize, family.AttrAttrPlaceholderProgID} {
		got.Present |= v.Present & (1 << a)
	}
	return got
}

// rings checks what is reported of a netdev; a size of 0 is none.
func (w *world) rings(what string, index int, num, size uint32) {
	w.Helper()
	want := family.Attr{}
	want.SetRingsNum(num)
	if size != 0 {
		want.SetRingsSize(size)
	}
	got := redirectOnly(w.attr(index))
	got.PlaceholderProgID = 0
	got.Present &^= 1 << family.AttrAttrPlaceholderProgID
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("%s, -want +got:\n%s", what, diff)
	}
}

// vethBed has a veth for out and far.
func vethBed(t *testing.T, w *world) *bed {
	t.Helper()
	away := testutil.NewNetNS(t)
	w.ns.AddVeth("out", "far", testutil.VethOptions{PeerNS: away})
	return newBed(t, w, testbed.Options{Away: away, Out: "out", Far: "far"})
}

// TestVeth shows that frames arrive on the peer of a veth with SETUP_REDIRECT,
// and not without.
func TestVeth(t *testing.T) {
	eachDoor(t, func(t *testing.T, w *world, c family.Control) {
		b := vethBed(t, w)
		held := refs(t)
		w.rings("before", b.Out, 0, 0)
		b.Frames("before", false)

		w.must(w.update(c, b.Out, redirect(1, 0)))
		b.Frames("set up", true)
		w.rings("set up", b.Out, 1, 256)
		if !gro(t, b.Away, "far") {
			t.Error("GRO of the peer is off")
		}
		if got := refs(t); got != held+1 {
			t.Errorf("the setting holds %d references to the module, want 1", got-held)
		}
		w.must(w.update(c, b.Out, redirect(1, 256)))
		b.Frames("set up again", true)
		if got := refs(t); got != held+1 {
			t.Errorf("set up again: %d references to the module, want 1", got-held)
		}

		run(t, b.Away, "ethtool", "-K", "far", "gro", "off")
		w.rings("GRO turned off by somebody else", b.Out, 0, 0)
		b.Frames("GRO turned off by somebody else", false)
		w.must(w.update(c, b.Out, redirect(1, 0)))
		b.Frames("set up anew", true)

		w.must(w.update(c, b.Out, redirect(0, 0)))
		w.rings("undone", b.Out, 0, 0)
		b.Frames("undone", false)
		if gro(t, b.Away, "far") {
			t.Error("GRO of the peer is still on")
		}
		if got := refs(t); got != held {
			t.Errorf("undone: %d references to the module are left", got-held)
		}
		w.must(w.update(c, b.Out, redirect(0, 0)))

		w.must(w.update(c, b.Out, redirect(1, 0)))
		b.Frames("set up after all", true)
		w.must(w.del(c, b.Out))
		b.Frames("deleted", false)
		w.must(w.del(c, b.Out))
	})
}

// TestVethGRO shows that GRO which was on before stays on.
func TestVethGRO(t *testing.T) {
	w := newWorld(t)
	b := vethBed(t, w)
	run(t, b.Away, "ethtool", "-K", "far", "gro", "on")
	b.Frames("able by itself", true)
	w.rings("able by itself", b.Out, 0, 0)
	for _, c := range w.doors {
		w.must(w.update(c, b.Out, redirect(1, 0)))
		w.rings("set up", b.Out, 1, 256)
		w.must(w.update(c, b.Out, redirect(0, 0)))
		b.Frames("undone", true)
	}
}

// TestVethRings shows that rings are added where they are too few, and taken
// back.
func TestVethRings(t *testing.T) {
	eachDoor(t, func(t *testing.T, w *world, c family.Control) {
		away := testutil.NewNetNS(t)
		w.ns.AddVeth("out", "far", testutil.VethOptions{PeerNS: away, Queues: 4})
		// far sends by two queues, and out must have as many to receive.
		w.ns.Channels("out", 1)
		away.Channels("far", 2)
		b := newBed(t, w, testbed.Options{Away: away, Out: "out", Far: "far"})
		rx := func(what string, ns *testutil.NetNS, dev string, want uint32) {
			t.Helper()
			if got := ns.GetChannels(dev).RX; got != want {
				t.Errorf("%s: %s has %d RX queues, want %d", what, dev, got, want)
			}
		}

		b.Frames("before", false)
		w.must(w.update(c, b.Out, redirect(3, 100)))
		w.rings("set up", b.Out, 3, 256)
		rx("set up", away, "far", 3)
		rx("set up", w.ns, "out", 2)
		b.Frames("set up", true)
		w.must(w.update(c, b.Out, redirect(2, 0)))
		w.rings("fewer will do", b.Out, 3, 256)
		w.must(w.update(c, b.Out, redirect(4, 0)))
		w.rings("more", b.Out, 4, 256)
		b.Frames("more", true)
		if got := errno(t, w.update(c, b.Out, redirect(5, 0))); got == 0 {
			t.Error("5 rings of 4 were given")
		}
		w.rings("more than there can be", b.Out, 4, 256)
		b.Frames("more than there can be", true)
		w.must(w.update(c, b.Out, redirect(0, 0)))
		rx("undone", away, "far", 2)
		rx("undone", w.ns, "out", 1)
		b.Frames("undone", false)

		// What somebody else has changed since stays.
		w.must(w.update(c, b.Out, redirect(3, 0)))
		away.Channels("far", 4)
		w.must(w.del(c, b.Out))
		rx("changed by somebody else", away, "far", 4)
	})
}

// TestVirtio shows the same as TestVeth on a driver that needs a program.
func TestVirtio(t *testing.T) {
	eachDoor(t, func(t *testing.T, w *world, c family.Control) {
		away := testutil.NewNetNS(t)
		virtio := testbed.TakeVirtio(t, w.ns, away)
		out, far := virtio[0], virtio[1]
		mac, err := away.Link(far)
		w.must(err)
		b := newBed(t, w, testbed.Options{Away: away, Out: out, Far: far, Dst: mac.Address})
		held := refs(t)

		w.rings("before", b.Out, 0, 0)
		b.Frames("before", false)
		w.must(w.update(c, b.Out, redirect(1, 0)))
		b.Frames("set up", true)
		v := w.attr(b.Out)
		if v.PlaceholderProgID == 0 || v.RingsNum == 0 || v.RingsSize == 0 {
			t.Errorf("set up: %+v", v)
		}
		if got := w.ns.XDP(out).ProgID; got != v.PlaceholderProgID {
			t.Errorf("program %d is attached, and the placeholder is %d", got, v.PlaceholderProgID)
		}
		w.must(w.update(c, b.Out, redirect(1, 0)))
		b.Frames("set up again", true)

		p := testutil.NewXDP(t, "real", 2)
		var prog family.Prog
		prog.SetFD(uint32(p.FD))
		key := &family.ProgKey{Ifindex: uint32(b.Out), Queue: family.QueueAll}
		w.must(c.Prog().Update(t.Context(), key, &prog, family.UpdateAny))
		b.Frames("with a real program", true)
		if v := w.attr(b.Out); v.Has(family.AttrAttrPlaceholderProgID) || v.RingsNum == 0 {
			t.Errorf("with a real program: %+v", v)
		}
		w.must(c.Prog().Delete(t.Context(), key))
		b.Frames("the real program gone", true)
		if v := w.attr(b.Out); !v.Has(family.AttrAttrPlaceholderProgID) {
			t.Errorf("the placeholder did not come back: %+v", v)
		}

		w.must(w.update(c, b.Out, redirect(0, 0)))
		w.rings("undone", b.Out, 0, 0)
		b.Frames("undone", false)
		if got := w.ns.XDP(out); got.Attached != testutil.XDPAttachedNone {
			t.Errorf("undone: %+v", got)
		}
		testutil.Eventually(t, deferred, "the references to go", func() bool { return refs(t) == held })

		foreign(t, w, c, b, out)
	})
}

// foreign shows that a program of somebody else keeps the placeholder out.
func foreign(t *testing.T, w *world, c family.Control, b *bed, out string) {
	t.Helper()
	s, err := bpf.OpenAndLoadPass(nil)
	w.must(err)
	defer s.Close()
	l := testbed.AttachXDP(t, w.ns, b.Out, s.Programs.Pass.Prog, link.XDPDriverMode)
	before := w.ns.GetChannels(out)
	if got := errno(t, w.update(c, b.Out, redirect(1, 0))); got != unix.EBUSY {
		t.Errorf("beside a program of somebody else: %v", got)
	}
	w.rings("refused", b.Out, 0, 0)
	if got := w.ns.GetChannels(out); got != before {
		t.Errorf("refused: %+v, before %+v", got, before)
	}
	w.must(l.Close())
	w.must(w.update(c, b.Out, redirect(1, 0)))
	b.Frames("after it", true)
	w.must(w.del(c, b.Out))
	b.Frames("deleted", false)
}
