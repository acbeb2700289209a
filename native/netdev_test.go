// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// readNetdev reads a netdev by its name.
func readNetdev(t *testing.T, c *Control, ifindex int) (d *netdev) {
	t.Helper()
	if err := c.inNetNS(func() (err error) {
		d, err = c.netdev(uint32(ifindex))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNetdev(t *testing.T) {
	ns, other := testutil.NewNetNS(t), testutil.NewNetNS(t)
	c := newControl(t, ns, newBPFFS(t))
	a, b := ns.AddVeth("a", "b", testutil.VethOptions{Queues: 4})
	far, _ := ns.AddVeth("far", "f", testutil.VethOptions{PeerNS: other})
	lo := ns.Index("lo")
	pass, drop := testutil.NewXDP(t, "pass", 2), testutil.NewXDP(t, "drop", 1)
	if err := ns.SetXDP("a", pass.FD, unix.XDP_FLAGS_DRV_MODE); err != nil {
		t.Fatal(err)
	}
	if err := ns.SetXDP("lo", drop.FD, unix.XDP_FLAGS_SKB_MODE); err != nil {
		t.Fatal(err)
	}
	opts := cmp.AllowUnexported(netdev{}, netdevXDP{})
	want := &netdev{
		index: uint32(a), name: "a", kind: "veth", up: true, mtu: 1500,
		maxRX: 4, maxTX: 4, peer: uint32(b), peerNSID: -1, xdp: netdevXDP{native: pass.ID},
	}
	if diff := cmp.Diff(want, readNetdev(t, c, a), opts); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want = &netdev{
		index: uint32(lo), name: "lo", up: true, mtu: 65536,
		maxRX: 1, maxTX: 1, peerNSID: -1, xdp: netdevXDP{generic: drop.ID},
	}
	if diff := cmp.Diff(want, readNetdev(t, c, lo), opts); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if d := readNetdev(t, c, far); d.peer == 0 || d.peerNSID < 0 {
		t.Errorf("far has peer %d in namespace %d", d.peer, d.peerNSID)
	}
	ns.Channels("b", 3) // which a may not have fewer than
	ns.Channels("a", 3)
	if err := c.inNetNS(func() error {
		rx, tx, err := readNetdev(t, c, a).queues()
		if rx != 3 || tx != 3 {
			t.Errorf("got %d and %d queues, want 3 and 3", rx, tx)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestNetdevs(t *testing.T) {
	ns := testutil.NewNetNS(t)
	c := newControl(t, ns, newBPFFS(t))
	ns.AddVeth("a", "b", testutil.VethOptions{})
	ns.AddVeth("c", "d", testutil.VethOptions{})
	var got []string
	if err := c.inNetNS(func() error {
		list, err := c.netdevs()
		for _, d := range list {
			got = append(got, d.name)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, l := range ns.Links() {
		want = append(want, l.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNoNetdev(t *testing.T) {
	c := newControl(t, testutil.NewNetNS(t), newBPFFS(t))
	for _, ifindex := range []uint32{0, 9999, 1 << 31, 0xffffffff} {
		err := c.inNetNS(func() error {
			_, err := c.netdev(ifindex)
			return err
		})
		var refusal *family.Error
		if !errors.Is(err, os.ErrNotExist) || !errors.As(err, &refusal) || refusal.Message != "no such netdev" {
			t.Errorf("ifindex %d: got %v", ifindex, err)
		}
	}
	if err := c.inNetNS(func() error {
		_, _, err := (&netdev{name: "gone", maxRX: 2, maxTX: 2}).queues()
		return err
	}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("queues: got %v", err)
	}
}
