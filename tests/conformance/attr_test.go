// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

const cmdAttrGet, cmdAttrSet, cmdAttrDel = 9, 10, 11

// ifindex is that of a netdev by its name, of the control device, or of none.
func (w *world) ifindex(dev string) uint32 {
	w.Helper()
	switch dev {
	case "control":
		return uint32(w.ctl)
	case "nowhere":
		return nobody
	}
	return uint32(w.ns.Index(dev))
}

// setting is an update of the settings of a netdev.
func setting(dev string, how family.Update, fill func(v *family.Attr)) func(*world, family.Control) error {
	return func(w *world, c family.Control) error {
		var v family.Attr
		fill(&v)
		return c.Attr().Update(w.ctx, &family.AttrKey{Ifindex: w.ifindex(dev)}, &v, how)
	}
}

func rings(n uint32) func(v *family.Attr) {
	return func(v *family.Attr) {
		v.SetCommand(family.CommandSetupRedirect)
		v.SetRingsNum(n)
	}
}

func metadata(on uint32) func(v *family.Attr) {
	return func(v *family.Attr) {
		v.SetCommand(family.CommandSetupMD)
		v.SetEnableMD(on)
	}
}

func metering(on uint32) func(v *family.Attr) {
	return func(v *family.Attr) {
		v.SetCommand(family.CommandSetupMeter)
		v.SetEnableMeter(on)
	}
}

func resetAttr(dev string) func(*world, family.Control) error {
	return func(w *world, c family.Control) error {
		return c.Attr().Delete(w.ctx, &family.AttrKey{Ifindex: w.ifindex(dev)})
	}
}

// metadataErrno is what a veth answers to setup-md: only newer kernels have RX
// metadata.
func metadataErrno() unix.Errno {
	if testutil.KernelAtLeast(6, 3) {
		return 0
	}
	return unix.EOPNOTSUPP
}

// TestAttr makes, changes and undoes settings through either door.
func TestAttr(t *testing.T) { eachBackend(t, testAttr) }

func testAttr(t *testing.T, b backend) {
	md := metadataErrno()
	const again = family.UpdateExist
	after := differ(t, b, nil, []turn{
		{"redirect", setting("veth0", family.UpdateAny, rings(1)), 0},
		{"redirect again", setting("veth0", again, rings(1)), 0},
		{"redirect undone", setting("veth0", family.UpdateAny, rings(0)), 0},
		{"redirect undone again", setting("veth0", family.UpdateAny, rings(0)), 0},
		{"metadata", setting("veth0", family.UpdateAny, metadata(1)), md},
		{"metadata for another", setting("veth0", family.UpdateAny, metadata(1)), md},
		{"metadata off", setting("veth0", family.UpdateAny, metadata(0)), 0},
		{"metadata off for all", setting("veth0", family.UpdateAny, metadata(0)), 0},
		{"metadata off for nobody", setting("veth0", family.UpdateAny, metadata(0)), 0},
		{"redirect and", setting("veth0", family.UpdateAny, rings(1)), 0},
		{"metadata", setting("veth0", family.UpdateAny, metadata(1)), md},
		{"metadata twice", setting("veth0", family.UpdateAny, metadata(1)), md},
		{"all undone", resetAttr("veth0"), 0},
		{"nothing undone", resetAttr("veth0"), 0},
		{"meter off where it is off", setting("veth0", family.UpdateAny, metering(0)), 0},
	})
	w := newWorld(t, b)
	prefix := fmt.Sprintf("attr %d:", w.ns.Index("veth0"))
	line := func(fill func(v *family.Attr)) string {
		var v family.Attr
		v.SetRingsNum(0)
		v.SetEnableMD(0)
		v.SetMDUsers(0)
		v.SetEnableMeter(0)
		fill(&v)
		return fmt.Sprintf("%s %+v", prefix, v)
	}
	off := line(func(*family.Attr) {})
	users := func(n uint32) string {
		if md != 0 {
			return off
		}
		return line(func(v *family.Attr) {
			v.SetEnableMD(1)
			v.SetMDUsers(n)
			v.SetMDBTFID(1)
			v.SetMDTypeID(w.metadataType())
			v.SetMDFeatures(w.metadataFeatures("veth0"))
		})
	}
	for i, want := range map[int]string{2: off, 4: users(1), 5: users(2), 6: users(1), 7: off, 8: off, 12: off, 13: off, 14: off} {
		wantLines(t, after[i], prefix, want)
	}
}

// metadataType is the BTF type of the metadata, as netlink tells it.
func (w *world) metadataType() uint32 {
	w.Helper()
	k := &family.AttrKey{Ifindex: w.ifindex("veth0")}
	c := w.one()
	if err := setting("veth0", family.UpdateAny, metadata(1))(w, c); err != nil {
		w.Fatal(err)
	}
	var v family.Attr
	err := errors.Join(c.Attr().Lookup(w.ctx, k, &v), c.Attr().Delete(w.ctx, k))
	if err != nil || v.MDTypeID == 0 || v.MDBTFID == 0 {
		w.Fatalf("metadata has type %d in BTF %d, error %v", v.MDTypeID, v.MDBTFID, err)
	}
	return v.MDTypeID
}

// metadataFeatures is the RX metadata that a netdev can give.
func (w *world) metadataFeatures(dev string) family.XDPRXMetadata {
	w.Helper()
	var v family.Caps
	if err := w.one().Caps().Lookup(w.ctx, &family.CapsKey{Ifindex: w.ifindex(dev)}, &v); err != nil {
		w.Fatal(err)
	}
	return v.XDPRXMetadataFeatures
}

// TestAttrRefused makes wrong updates, which change nothing.
func TestAttrRefused(t *testing.T) { eachBackend(t, testAttrRefused) }

func testAttrRefused(t *testing.T, b backend) {
	const any = family.UpdateAny
	with := func(fill func(v *family.Attr), more func(v *family.Attr)) func(v *family.Attr) {
		return func(v *family.Attr) { fill(v); more(v) }
	}
	command := func(c family.Command) func(v *family.Attr) {
		return func(v *family.Attr) { v.SetCommand(c) }
	}
	turns := []turn{
		{"nothing", func(*world, family.Control) error { return nil }, 0},
		{"no such netdev", setting("nowhere", any, rings(1)), unix.ENODEV},
		{"no such netdev, undone", resetAttr("nowhere"), unix.ENOENT},
		{"control device", setting("control", any, metadata(1)), unix.EOPNOTSUPP},
		{"control device, undone", resetAttr("control"), unix.EOPNOTSUPP},
		{"added", setting("veth0", family.UpdateNoexist, rings(1)), unix.EEXIST},
		{"redirect to lo", setting("lo", any, rings(1)), unix.EOPNOTSUPP},
		{"redirect with great rings", setting("dummy0", any, with(rings(1), func(v *family.Attr) { v.SetRingsSize(1 << 30) })), unix.EOPNOTSUPP},
		{"metadata of a dummy", setting("dummy0", any, metadata(1)), unix.EOPNOTSUPP},
		{"metadata 2", setting("veth0", any, metadata(2)), unix.ERANGE},
		{"meter 2", setting("veth0", any, metering(2)), unix.ERANGE},
		{"unknown command", setting("veth0", any, command(9)), unix.ERANGE},
		{"command 0", setting("veth0", any, command(0)), unix.ERANGE},
		{"no command", setting("veth0", any, func(v *family.Attr) { v.SetEnableMD(1) }), unix.EINVAL},
		{"redirect without rings", setting("veth0", any, command(family.CommandSetupRedirect)), unix.EINVAL},
		{"metadata without a word", setting("veth0", any, command(family.CommandSetupMD)), unix.EINVAL},
		{"meter without a word", setting("veth0", any, command(family.CommandSetupMeter)), unix.EINVAL},
		{"redirect and metadata", setting("veth0", any, with(rings(1), func(v *family.Attr) { v.SetEnableMD(1) })), unix.EINVAL},
		{"metadata with a program", setting("veth0", any, with(metadata(1), func(v *family.Attr) { v.SetFD(0) })), unix.EINVAL},
		{"meter on a bad fd", setting("veth0", any, with(metering(1), func(v *family.Attr) { v.SetFD(9999) })), unix.EBADF},
		{"meter on what is no program", setting("veth0", any, with(metering(1), func(v *family.Attr) { v.SetFD(0) })), unix.EINVAL},
	}
	after := differ(t, b, nil, turns)
	for i := range turns {
		if diff := cmp.Diff(withoutName(after[0]), withoutName(after[i])); diff != "" {
			t.Errorf("%s: changed the state, -before +after:\n%s", turns[i].name, diff)
		}
	}
}

// TestAttrNetlinkRefused sends requests that are wrong by themselves.
func TestAttrNetlinkRefused(t *testing.T) {
	r := newRaw(t)
	u32, cat := testutil.AttrU32, slices.Concat[[]byte]
	dev := u32(1, uint32(r.ns.Index("veth0")))
	command := func(n uint32, more ...[]byte) []byte {
		return cat(append([][]byte{dev, u32(3, n)}, more...)...)
	}
	const integer, unknown, unsupported = "integer out of range", "Unknown attribute type", "Unsupported attribute"
	for _, rq := range []request{
		{"get without ifindex", cmdAttrGet, 0, nil, unix.EINVAL, "", 0, 1},
		{"set without ifindex", cmdAttrSet, 0, u32(3, 1), unix.EINVAL, "", 0, 1},
		{"del without ifindex", cmdAttrDel, 0, nil, unix.EINVAL, "", 0, 1},
		{"get of ifindex 0", cmdAttrGet, 0, u32(1, 0), unix.ERANGE, integer, 1, 0},
		{"dump of ifindex 0", cmdAttrGet, unix.NLM_F_DUMP, u32(1, 0), unix.ERANGE, integer, 1, 0},
		{"get of no netdev", cmdAttrGet, 0, u32(1, 9999), unix.ENOENT, "no such netdev", 0, 0},
		{"set without command", cmdAttrSet, 0, dev, unix.EINVAL, "command is missing", 0, 3},
		{"command 0", cmdAttrSet, 0, command(0), unix.ERANGE, integer, 3, 0},
		{"command 4", cmdAttrSet, 0, command(4), unix.ERANGE, integer, 3, 0},
		{"redirect without rings", cmdAttrSet, 0, command(1), unix.EINVAL, "rings-num is missing", 0, 4},
		{"metadata without enable", cmdAttrSet, 0, command(2), unix.EINVAL, "enable-md is missing", 0, 6},
		{"meter without enable", cmdAttrSet, 0, command(3), unix.EINVAL, "enable-meter is missing", 0, 9},
		{"enable-md 2", cmdAttrSet, 0, command(2, u32(6, 2)), unix.ERANGE, integer, 6, 0},
		{"enable-meter 2", cmdAttrSet, 0, command(3, u32(9, 2)), unix.ERANGE, integer, 9, 0},
		{"rings with metadata", cmdAttrSet, 0, command(2, u32(6, 1), u32(4, 1)), unix.EINVAL, "rings-num does not go with setup-md", 4, 0},
		{"read-only md-btf-id", cmdAttrSet, 0, command(2, u32(7, 1)), unix.EINVAL, unsupported, 7, 0},
		{"read-only md-users", cmdAttrSet, 0, command(2, u32(11, 1)), unix.EINVAL, unsupported, 11, 0},
		{"an attribute that there is not", cmdAttrSet, 0, command(2, u32(15, 1)), unix.EINVAL, unknown, 15, 0},
		{"update 3", cmdAttrSet, 0, command(3, u32(9, 1), u32(14, 3)), unix.ERANGE, integer, 14, 0},
		{"padding", cmdAttrSet, 0, command(2, testutil.Attr(2, nil)), unix.EINVAL, unsupported, 2, 0},
		{"command of a delete", cmdAttrDel, 0, command(1), unix.EINVAL, unknown, 3, 0},
		{"NLM_F_CREATE", cmdAttrSet, unix.NLM_F_CREATE, command(1, u32(4, 1)), unix.EINVAL, "flags", 0, 0},
	} {
		if rq.text == "flags" {
			rq.text = "ambiguous or reserved bits set in nlmsg_flags"
		}
		r.unchanged(rq.name, func() {
			r.answer(rq.name, r.do(rq.cmd, rq.flags, rq.attrs), rq.attrs, rq.errno, rq.text, rq.bad, rq.missing)
		})
	}
}

// TestAttrMapShort writes values in which nothing is present, as the proposal
// has them: what the command needs is meant.
func TestAttrMapShort(t *testing.T) {
	w := newWorld(t, module)
	c := w.other()
	k := &family.AttrKey{Ifindex: w.ifindex("veth0")}
	for _, tc := range []struct {
		v     family.Attr
		rings uint32
		errno unix.Errno
	}{
		{family.Attr{Command: family.CommandSetupRedirect, RingsNum: 1, EnableMD: 7, FD: 9999}, 1, 0},
		{family.Attr{Command: family.CommandSetupRedirect}, 0, 0},
		{family.Attr{Command: 9}, 0, unix.ERANGE},
		{family.Attr{}, 0, unix.ERANGE},
	} {
		if got := w.errno(c.Attr().Update(w.ctx, k, &tc.v, family.UpdateAny)); got != tc.errno {
			t.Errorf("%+v: got errno %d, want %d", tc.v, int(got), int(tc.errno))
		}
		var v family.Attr
		if err := c.Attr().Lookup(w.ctx, k, &v); err != nil || (v.RingsNum != 0) != (tc.rings != 0) {
			t.Errorf("%+v: %d rings, error %v, want %d", tc.v, v.RingsNum, err, tc.rings)
		}
	}
}

// TestAttrMapPresent sets bits of present that no update can have.
func TestAttrMapPresent(t *testing.T) {
	w := newWorld(t, module)
	c := w.other()
	k := &family.AttrKey{Ifindex: w.ifindex("veth0")}
	settable := family.CtrlTypeXDPAttr.Desc().SetMask
	before := w.everything()
	for bit := range 64 {
		if settable&(1<<bit) != 0 {
			continue
		}
		var v family.Attr
		rings(1)(&v)
		v.Present |= 1 << bit
		if got := w.errno(c.Attr().Update(w.ctx, k, &v, family.UpdateAny)); got != unix.EINVAL {
			t.Errorf("bit %d: got errno %d, want %d", bit, int(got), int(unix.EINVAL))
		}
	}
	if diff := cmp.Diff(before, w.everything()); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
	if n := unsafe.Sizeof(family.Attr{}); n != uintptr(family.CtrlTypeXDPAttr.Desc().ValueSize) {
		t.Errorf("the value has %d bytes", n)
	}
}

// TestAttrPermission changes settings without CAP_NET_ADMIN, and reads them.
func TestAttrPermission(t *testing.T) { eachBackend(t, testAttrPermission) }

func testAttrPermission(t *testing.T, b backend) {
	for _, d := range b.doors() {
		t.Run(d.name, func(t *testing.T) {
			if deviates(t) {
				return
			}
			w := newWorld(t, b)
			k := &family.AttrKey{Ifindex: w.ifindex("veth0")}
			var set, remove, lookup error
			testutil.WithoutCaps(t, w.ns, []int{unix.CAP_NET_ADMIN}, func() {
				c := w.doors[d.name]
				set = setting("veth0", family.UpdateAny, rings(1))(w, c)
				remove = c.Attr().Delete(w.ctx, k)
				lookup = c.Attr().Lookup(w.ctx, k, new(family.Attr))
			})
			if w.errno(set) != unix.EPERM || w.errno(remove) != unix.EPERM || lookup != nil {
				t.Errorf("update: %v, delete: %v, lookup: %v", set, remove, lookup)
			}
		})
	}
}

// TestAttrNotified listens to changes made through each door.
func TestAttrNotified(t *testing.T) { eachBackend(t, testAttrNotified) }

func testAttrNotified(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		s := w.watch()
		for _, do := range []func(*world, family.Control) error{
			setting("veth0", family.UpdateAny, rings(1)),
			setting("veth0", family.UpdateAny, rings(1)), // changes nothing
			resetAttr("veth0"),
			resetAttr("veth0"),
			setting("veth1", family.UpdateAny, rings(1)),
		} {
			if err := do(w, c); err != nil {
				w.Fatal(err)
			}
		}
		for _, want := range []struct {
			dev string
			on  bool
		}{{"veth0", true}, {"veth0", false}, {"veth1", true}} {
			k, v := recv[family.AttrKey, family.Attr](w, s, "attr-ntf")
			if k.Ifindex != w.ifindex(want.dev) || (v.RingsNum != 0) != want.on {
				w.Errorf("notified of %+v %+v, want %+v", k, v, want)
			}
			if want.dev == "veth1" || want.on {
				continue
			}
			var now family.Attr
			if err := c.Attr().Lookup(w.ctx, k, &now); err != nil || now != *v {
				w.Errorf("notified of %+v, lookup says %+v, error %v", v, now, err)
			}
		}
	})
}

// recv waits for a notification of a kind.
func recv[K, V any](w *world, s family.Subscription, op string) (*K, *V) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	ev, err := s.Recv(ctx)
	if err != nil {
		w.Fatal(err)
	}
	k, ok := ev.Key.(*K)
	v, ok2 := ev.Value.(*V)
	if !ok || !ok2 || ev.Op != op {
		w.Fatalf("notified of %s %+v, want %s", ev.Op, ev.Key, op)
	}
	return k, v
}
