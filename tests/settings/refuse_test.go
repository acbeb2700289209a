// SPDX-License-Identifier: BSD-3-Clause

package settings

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/tests/testbed"
)

// TestRefused holds both doors to the same refusals.
func TestRefused(t *testing.T) {
	eachDoor(t, func(t *testing.T, w *world, c family.Control) {
		held := refs(t)
		veth, _ := w.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
		down, _ := w.ns.AddVeth("veth2", "veth3", testutil.VethOptions{})
		run(t, w.ns, "ip", "link", "set", "veth3", "down")
		wide, _ := w.ns.AddVeth("veth4", "veth5", testutil.VethOptions{Queues: 2})
		narrow, _ := w.ns.AddVeth("veth6", "veth7", testutil.VethOptions{})
		dummy := w.ns.AddDummy("dummy0")
		none := &family.Attr{}
		none.SetRingsNum(1)
		less := &family.Attr{}
		less.SetCommand(family.CommandSetupRedirect)
		less.SetRingsSize(1)
		md := &family.Attr{}
		md.SetCommand(family.CommandSetupMD)
		more := redirect(1, 0)
		more.SetEnableMD(1)
		prog := metadata(1)
		prog.SetFD(9999)
		meter := &family.Attr{}
		meter.SetCommand(family.CommandSetupMeter)
		meter.SetEnableMeter(1)
		meter.SetFD(9999)

		for _, tt := range []struct {
			name  string
			index int
			v     *family.Attr
			errno unix.Errno
			text  string
		}{
			{"no such netdev", 9999, redirect(1, 0), unix.ENODEV, "no such netdev"},
			{"undo of no such netdev", 9999, redirect(0, 0), unix.ENODEV, "no such netdev"},
			{"metadata of no such netdev", 9999, metadata(0), unix.ENODEV, "no such netdev"},
			{"control device", w.ctl, redirect(1, 0), unix.EOPNOTSUPP, "a control device has no settings"},
			{"metadata of the control device", w.ctl, metadata(1), unix.EOPNOTSUPP, "a control device has no settings"},
			{"no command", veth, none, unix.EINVAL, "command is missing"},
			{"no rings-num", veth, less, unix.EINVAL, "rings-num is missing"},
			{"no enable-md", veth, md, unix.EINVAL, "enable-md is missing"},
			{"field of another command", veth, more, unix.EINVAL, "enable-md does not go with setup-redirect"},
			{"fd for metadata", veth, prog, unix.EINVAL, "fd does not go with setup-md"},
			{"fd not open", veth, meter, unix.EBADF, "no such file descriptor"},
			{"enable-md 2", veth, metadata(2), unix.ERANGE, ""},
			{"dummy", dummy, redirect(1, 0), unix.EOPNOTSUPP, "driver dummy has no ndo_xdp_xmit, so that nothing can be redirected to the netdev"},
			{"loopback", 1, redirect(1, 0), unix.EOPNOTSUPP, "the netdev has no ndo_xdp_xmit, so that nothing can be redirected to it"},
			{"peer down", down, redirect(1, 0), unix.ENETDOWN, "the peer veth3 of the veth must be up"},
			{"a ring too large", veth, redirect(1, 257), unix.EOPNOTSUPP, "a ring of a veth holds 256 frames"},
			{"rings too many", wide, redirect(3, 0), unix.EOPNOTSUPP, "driver veth has at most 2 RX rings here"},
			{"rings far too many", narrow, redirect(1<<32-1, 0), unix.EOPNOTSUPP,
				fmt.Sprintf("driver veth has at most %d RX rings here", w.ns.GetChannels("veth7").MaxRX)},
		} {
			w.refused(tt.name, c, tt.index, tt.v, tt.errno, tt.text)
		}
		for _, dev := range []string{"veth0", "veth1", "veth3", "veth5", "veth7"} {
			if gro(t, w.ns, dev) {
				t.Errorf("GRO of %s is on", dev)
			}
		}
		w.rings("all refused", veth, 0, 0)
		w.rings("a driver without", dummy, 0, 0)

		w.isRefusal("delete of no such netdev", c, w.del(c, 9999), unix.ENOENT, "no such netdev")
		w.isRefusal("delete of the control device", c, w.del(c, w.ctl), unix.EOPNOTSUPP, "a control device has no settings")
		w.must(w.del(c, veth))
		w.must(w.del(c, dummy))
		w.must(w.update(c, dummy, redirect(0, 0)))
		if got := refs(t); got != held {
			t.Errorf("%d references to the module are left", got-held)
		}
	})
}

// TestVirtioRefused asks a virtio_net device for more than it has.
func TestVirtioRefused(t *testing.T) {
	eachDoor(t, func(t *testing.T, w *world, c family.Control) {
		away := testutil.NewNetNS(t)
		virtio := testbed.TakeVirtio(t, w.ns, away)
		dev, _ := virtio[0], virtio[1]
		index := w.ns.Index(dev)
		n := w.ns.GetChannels(dev).MaxCombined
		w.refused("rings too many", c, index, redirect(n+1, 0), unix.EOPNOTSUPP,
			fmt.Sprintf("driver virtio_net has at most %d TX rings here", n))
		w.refused("a ring too large", c, index, redirect(n, 1<<20), unix.EOPNOTSUPP, "a TX ring of driver virtio_net holds at most")
		w.rings("refused", index, 0, 0)
		if got := w.ns.XDP(dev); got.Attached != testutil.XDPAttachedNone {
			t.Errorf("refused: %+v", got)
		}
	})
}

// TestFlags shows what the flags of a map update mean for entries that are
// always there.
func TestFlags(t *testing.T) {
	w := newWorld(t)
	veth, _ := w.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
	maps := w.doors[1]
	set := func(index int, how family.Update) error {
		return maps.Attr().Update(t.Context(), &family.AttrKey{Ifindex: uint32(index)}, redirect(1, 0), how)
	}
	if got := errno(t, set(veth, family.UpdateNoexist)); got != unix.EEXIST {
		t.Errorf("add: %v", got)
	}
	if got := errno(t, set(9999, family.UpdateNoexist)); got != unix.ENODEV {
		t.Errorf("add what is not there: %v", got)
	}
	w.rings("refused", veth, 0, 0)
	w.must(set(veth, family.UpdateExist))
	w.rings("replace", veth, 1, 256)
	w.must(w.del(maps, veth))
}

// TestPresentNone writes a value whose present is 0, as the RFC's examples do.
func TestPresentNone(t *testing.T) {
	w := newWorld(t)
	veth, _ := w.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
	maps := w.doors[1]
	w.must(w.update(maps, veth, &family.Attr{Command: family.CommandSetupRedirect, RingsNum: 1, EnableMD: 1}))
	w.rings("set up", veth, 1, 256)
	w.must(w.update(maps, veth, &family.Attr{Command: family.CommandSetupRedirect}))
	w.rings("undone", veth, 0, 0)
	if got := errno(t, w.update(maps, veth, &family.Attr{RingsNum: 1})); got != unix.ERANGE {
		t.Errorf("no command: %v", got)
	}
	if got := errno(t, w.update(maps, veth, &family.Attr{Command: family.CommandSetupRedirect, RingsNum: 1, RingsSize: 257})); got != unix.EOPNOTSUPP {
		t.Errorf("a ring too large: %v", got)
	}
}
