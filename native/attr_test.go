// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/ethtool"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/rxmeta"
)

func setAttr(c *Control, ifindex int, how family.Update, fill ...func(v *family.Attr)) error {
	var v family.Attr
	for _, f := range fill {
		f(&v)
	}
	return c.Attr().Update(context.Background(), &family.AttrKey{Ifindex: uint32(ifindex)}, &v, how)
}

func resetAttr(c *Control, ifindex int) error {
	return c.Attr().Delete(context.Background(), &family.AttrKey{Ifindex: uint32(ifindex)})
}

func rings(n uint32) func(v *family.Attr) {
	return func(v *family.Attr) {
		v.SetCommand(family.CommandSetupRedirect)
		v.SetRingsNum(n)
	}
}

func ringSize(n uint32) func(v *family.Attr) {
	return func(v *family.Attr) { v.SetRingsSize(n) }
}

func enableMD(on uint32) func(v *family.Attr) {
	return func(v *family.Attr) {
		v.SetCommand(family.CommandSetupMD)
		v.SetEnableMD(on)
	}
}

func enableMeter(on uint32) func(v *family.Attr) {
	return func(v *family.Attr) {
		v.SetCommand(family.CommandSetupMeter)
		v.SetEnableMeter(on)
	}
}

func command(c family.Command) func(v *family.Attr) {
	return func(v *family.Attr) { v.SetCommand(c) }
}

func withFD(fd uint32) func(v *family.Attr) {
	return func(v *family.Attr) { v.SetFD(fd) }
}

func getAttr(t *testing.T, c *Control, ifindex int) (v family.Attr) {
	t.Helper()
	if err := c.Attr().Lookup(context.Background(), &family.AttrKey{Ifindex: uint32(ifindex)}, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// attrOff is the settings of a netdev on which nothing is set.
func attrOff() (v family.Attr) {
	v.SetRingsNum(0)
	v.SetEnableMD(0)
	v.SetMDUsers(0)
	v.SetEnableMeter(0)
	return v
}

func TestAttrRefused(t *testing.T) {
	ns := testutil.NewNetNS(t)
	c := newControl(t, ns, newBPFFS(t))
	veth, _ := ns.AddVeth("a", "b", testutil.VethOptions{Queues: 1})
	lo := ns.Index("lo")
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	noMetadata := "the kernel has no RX metadata for XDP"
	if testutil.KernelAtLeast(6, 3) {
		noMetadata = "the netdev gives no RX metadata"
	}
	const anyway, integer = family.UpdateAny, "integer out of range"
	for _, tc := range []struct {
		name  string
		err   error
		errno unix.Errno
		text  string
	}{
		{"no such netdev", setAttr(c, 9999, anyway, rings(1)), unix.ENODEV, "no such netdev"},
		{"no such netdev, undone", resetAttr(c, 9999), unix.ENOENT, "no such netdev"},
		{"added", setAttr(c, veth, family.UpdateNoexist, rings(1)), unix.EEXIST, "every netdev has settings already"},
		{"redirect to lo", setAttr(c, lo, anyway, rings(1)), unix.EOPNOTSUPP, "the netdev has no ndo_xdp_xmit, so that nothing can be redirected to it"},
		{"metadata of lo", setAttr(c, lo, anyway, enableMD(1)), unix.EOPNOTSUPP, noMetadata},
		{"great rings", setAttr(c, veth, anyway, rings(1), ringSize(257)), unix.EOPNOTSUPP, "a ring of a veth holds 256 frames"},
		{"many rings", setAttr(c, veth, anyway, rings(1000)), unix.EOPNOTSUPP, "driver veth has at most 1 RX rings here"},
		{"metadata 2", setAttr(c, veth, anyway, enableMD(2)), unix.ERANGE, integer},
		{"meter 2", setAttr(c, veth, anyway, enableMeter(2)), unix.ERANGE, integer},
		{"command 9", setAttr(c, veth, anyway, command(9)), unix.ERANGE, integer},
		{"command 0", setAttr(c, veth, anyway, command(0)), unix.ERANGE, integer},
		{"no command", setAttr(c, veth, anyway, func(v *family.Attr) { v.SetEnableMD(1) }), unix.EINVAL, "command is missing"},
		{"redirect without rings", setAttr(c, veth, anyway, command(family.CommandSetupRedirect)), unix.EINVAL, "rings-num is missing"},
		{"metadata without a word", setAttr(c, veth, anyway, command(family.CommandSetupMD)), unix.EINVAL, "enable-md is missing"},
		{"meter without a word", setAttr(c, veth, anyway, command(family.CommandSetupMeter)), unix.EINVAL, "enable-meter is missing"},
		{"rings with metadata", setAttr(c, veth, anyway, rings(1), enableMD(1)), unix.EINVAL, "rings-num does not go with setup-md"},
		{"metadata with a program", setAttr(c, veth, anyway, enableMD(1), withFD(0)), unix.EINVAL, "fd does not go with setup-md"},
		{"what is only reported", setAttr(c, veth, anyway, rings(1), func(v *family.Attr) { v.SetMDUsers(1) }), unix.EINVAL, "Unsupported attribute"},
		{"meter on a bad fd", setAttr(c, veth, anyway, enableMeter(1), withFD(9999)), unix.EBADF, "no such file descriptor"},
		{"meter on what is no program", setAttr(c, veth, anyway, enableMeter(1), withFD(uint32(file.Fd()))), unix.EINVAL, "not an XDP program"},
	} {
		wantErr(t, tc.name, tc.err, tc.errno, tc.text)
	}
	for _, dev := range []int{veth, lo} {
		if diff := cmp.Diff(attrOff(), getAttr(t, c, dev)); diff != "" {
			t.Errorf("netdev %d, -want +got:\n%s", dev, diff)
		}
		noState(t, c, dev)
	}
}

// noState checks that nothing is pinned for a netdev.
func noState(t *testing.T, c *Control, ifindex int) {
	t.Helper()
	left, err := os.ReadDir(c.state.dev(uint32(ifindex)))
	if err == nil {
		t.Errorf("netdev %d has left %v behind", ifindex, left)
	}
}

// peerGRO tells whether GRO is on.
func peerGRO(t *testing.T, ns *testutil.NetNS, ifindex int) bool {
	t.Helper()
	eth, err := ethtool.Dial(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	defer eth.Close()
	f, err := eth.FeaturesGet(context.Background(), uint32(ifindex))
	if err != nil {
		t.Fatal(err)
	}
	return f.Active[ethtool.FeatureGRO]
}

// TestRedirectVeth sets up a veth whose peer is in the same namespace and in
// another, and undoes it.
func TestRedirectVeth(t *testing.T) {
	for _, far := range []bool{false, true} {
		t.Run(fmt.Sprintf("far=%v", far), func(t *testing.T) {
			ns := testutil.NewNetNS(t)
			away := ns
			if far {
				away = testutil.NewNetNS(t)
			}
			c := newControl(t, ns, newBPFFS(t))
			a, b := ns.AddVeth("a", "b", testutil.VethOptions{PeerNS: away, Queues: 4})
			ns.Channels("a", 1)
			away.Channels("b", 2) // so a must have two queues to receive
			want := func(what string, num, size uint32, gro bool, rxa, rxb uint32) {
				t.Helper()
				v := attrOff()
				v.SetRingsNum(num)
				if size != 0 {
					v.SetRingsSize(size)
				}
				if diff := cmp.Diff(v, getAttr(t, c, a)); diff != "" {
					t.Errorf("%s: -want +got:\n%s", what, diff)
				}
				if got := peerGRO(t, away, b); got != gro {
					t.Errorf("%s: GRO of the peer is %v, want %v", what, got, gro)
				}
				if got := [2]uint32{ns.GetChannels("a").RX, away.GetChannels("b").RX}; got != [2]uint32{rxa, rxb} {
					t.Errorf("%s: %d RX queues, want %d and %d", what, got, rxa, rxb)
				}
			}
			want("before", 0, 0, false, 1, 2)
			wantErr(t, "set up", setAttr(c, a, family.UpdateAny, rings(3), ringSize(100)), 0, "")
			want("set up", 3, 256, true, 2, 3)
			wantErr(t, "fewer", setAttr(c, a, family.UpdateAny, rings(1)), 0, "")
			want("fewer", 3, 256, true, 2, 3)
			wantErr(t, "too many", setAttr(c, a, family.UpdateAny, rings(5)), unix.EOPNOTSUPP, "driver veth has at most 4 RX rings here")
			want("too many", 3, 256, true, 2, 3)
			wantErr(t, "more", setAttr(c, a, family.UpdateAny, rings(4)), 0, "")
			want("more", 4, 256, true, 2, 4)
			wantErr(t, "undo", setAttr(c, a, family.UpdateAny, rings(0)), 0, "")
			want("undone", 0, 0, false, 1, 2)
			noState(t, c, a)

			// What somebody else has changed since stays.
			wantErr(t, "set up", setAttr(c, a, family.UpdateAny, rings(3)), 0, "")
			away.Channels("b", 4)
			wantErr(t, "delete", resetAttr(c, a), 0, "")
			want("deleted", 0, 0, false, 1, 4)
		})
	}
}

// TestRedirectRest shows that what is reported is looked at each time, and that a
// netdev that goes takes its settings with it.
func TestRedirectRest(t *testing.T) {
	ns := testutil.NewNetNS(t)
	c := newControl(t, ns, newBPFFS(t))
	a, b := ns.AddVeth("a", "b", testutil.VethOptions{})
	on := func(what string, want bool) {
		t.Helper()
		if v := getAttr(t, c, a); (v.RingsNum != 0) != want {
			t.Errorf("%s: %d rings", what, v.RingsNum)
		}
	}
	wantErr(t, "set up", setAttr(c, a, family.UpdateAny, rings(1)), 0, "")
	on("set up", true)
	eth, err := ethtool.Dial(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	defer eth.Close()
	if err := eth.FeaturesSet(t.Context(), uint32(b), map[string]bool{ethtool.FeatureGRO: false}); err != nil {
		t.Fatal(err)
	}
	on("GRO off", false)
	wantErr(t, "set up anew", setAttr(c, a, family.UpdateAny, rings(1)), 0, "")
	on("set up anew", true)

	// The same ifindex is another netdev's.
	ns.Del("a")
	if got, _ := ns.AddVeth("x", "y", testutil.VethOptions{Index: a, Down: true}); got != a {
		t.Fatalf("x has ifindex %d, want %d", got, a)
	}
	if diff := cmp.Diff(attrOff(), getAttr(t, c, a)); diff != "" {
		t.Errorf("another netdev, -want +got:\n%s", diff)
	}
	ns.Up("x")
	wantErr(t, "with its peer down", setAttr(c, a, family.UpdateAny, rings(1)), unix.ENETDOWN, "the peer y of the veth must be up")
	ns.Up("y")
	wantErr(t, "set up", setAttr(c, a, family.UpdateAny, rings(1)), 0, "")
	on("another netdev, set up", true)
}

// TestMetadata counts users, and reads the type by its ids.
func TestMetadata(t *testing.T) {
	ns := testutil.NewNetNS(t)
	c := newControl(t, ns, newBPFFS(t))
	a, _ := ns.AddVeth("a", "b", testutil.VethOptions{})
	if !testutil.KernelAtLeast(6, 8) {
		t.Skip("the kernel has no RX metadata")
	}
	users := func(what string, n uint32) {
		t.Helper()
		got := getAttr(t, c, a)
		want := attrOff()
		want.SetMDUsers(n)
		if n > 0 {
			want.SetEnableMD(1)
			want.SetMDFeatures(family.XDPRXMetadataTimestamp | family.XDPRXMetadataHash | family.XDPRXMetadataVLANTag)
			want.SetMDBTFID(got.MDBTFID)
			want.SetMDTypeID(got.MDTypeID)
			if _, err := rxmeta.LoadDecoder(got.MDBTFID, got.MDTypeID); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, -want +got:\n%s", what, diff)
		}
	}
	users("before", 0)
	wantErr(t, "off", setAttr(c, a, family.UpdateAny, enableMD(0)), 0, "")
	for n := range uint32(3) {
		wantErr(t, "on", setAttr(c, a, family.UpdateAny, enableMD(1)), 0, "")
		users("on", n+1)
	}
	wantErr(t, "off", setAttr(c, a, family.UpdateAny, enableMD(0)), 0, "")
	users("one less", 2)
	wantErr(t, "reset", resetAttr(c, a), 0, "")
	users("reset", 0)
	noState(t, c, a)
}
