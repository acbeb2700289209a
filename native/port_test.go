// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/loader"
)

// portTable is the table of ports, by port.
func portTable(t *testing.T, c *Control) map[uint32]uint32 {
	t.Helper()
	got := map[uint32]uint32{}
	var ids family.Port
	for e, err := range family.All(context.Background(), c.Port(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		got[e.Key.Port] = e.Value.Ifindex
		if e.Value.DevmapID == 0 || e.Value.IndexMapID == 0 {
			t.Errorf("port %d tells no maps: %+v", e.Key.Port, e.Value)
		}
		if ids.DevmapID != 0 && (ids.DevmapID != e.Value.DevmapID || ids.IndexMapID != e.Value.IndexMapID) {
			t.Errorf("port %d has other maps: %+v, %+v", e.Key.Port, e.Value, ids)
		}
		ids = e.Value
	}
	return got
}

// portIndex is the index map of the table, by ifindex.
func portIndex(t *testing.T, c *Control) map[uint32]uint32 {
	t.Helper()
	p, err := c.portsOpen()
	if err != nil || p == nil {
		t.Fatalf("there is no table, error %v", err)
	}
	defer p.close()
	got := map[uint32]uint32{}
	var ifindex, port uint32
	it := p.index.Iterate()
	for it.Next(&ifindex, &port) {
		got[ifindex] = port
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

func bindPort(c *Control, port, ifindex uint32, how family.Update) error {
	var v family.Port
	v.SetIfindex(ifindex)
	return c.Port().Update(context.Background(), &family.PortKey{Port: port}, &v, how)
}

func freePort(c *Control, port uint32) error {
	return c.Port().Delete(context.Background(), &family.PortKey{Port: port})
}

// wantErr checks that err is a refusal with an errno and a text, which is empty
// where the netlink core would have had its own.
func wantErr(t *testing.T, what string, err error, errno unix.Errno, text string) {
	t.Helper()
	if errno == 0 {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	var e *family.Error
	if !errors.As(err, &e) || e.Errno != errno || e.Message != text {
		t.Errorf("%s: got %v\nwant errno %d: %s", what, err, int(errno), text)
	}
}

func TestPort(t *testing.T) {
	ns := testutil.NewNetNS(t)
	c := newControl(t, ns, newBPFFS(t))
	a, b := ns.AddVeth("a", "b", testutil.VethOptions{})
	d, _ := ns.AddVeth("d", "e", testutil.VethOptions{})
	veth, peer, other, lo := uint32(a), uint32(b), uint32(d), uint32(ns.Index("lo"))
	const anyway, add, replace = family.UpdateAny, family.UpdateNoexist, family.UpdateExist
	const free, integer = "the port is free", "integer out of range"
	del := func(name string) func() error {
		return func() error { return ns.DelLink(name) }
	}
	bind := func(port, ifindex uint32, how family.Update) func() error {
		return func() error { return bindPort(c, port, ifindex, how) }
	}
	clear := func(port uint32) func() error {
		return func() error { return freePort(c, port) }
	}
	type table = map[uint32]uint32
	for _, tc := range []struct {
		name  string
		do    func() error
		errno unix.Errno
		text  string
		want  table
	}{
		{"free one before there is a table", clear(9), unix.ENOENT, free, table{}},
		{"replace one before there is a table", bind(9, lo, replace), unix.ENOENT, free, table{}},
		{"bind 7", bind(7, veth, anyway), 0, "", table{7: veth}},
		{"bind 7 again", bind(7, veth, replace), 0, "", table{7: veth}},
		{"add 7", bind(7, peer, add), unix.EEXIST, fmt.Sprintf("the port is bound to ifindex %d already", veth), table{7: veth}},
		{"a netdev with a port", bind(8, veth, anyway), unix.EBUSY, "the netdev has port 7 already: free it first", table{7: veth}},
		{"the first", bind(0, peer, add), 0, "", table{0: peer, 7: veth}},
		{"the last", bind(family.Ports-1, lo, add), 0, "", table{0: peer, 7: veth, 1023: lo}},
		{"another netdev", bind(7, other, replace), 0, "", table{0: peer, 7: other, 1023: lo}},
		{"the one before is free", bind(8, veth, add), 0, "", table{0: peer, 7: other, 8: veth, 1023: lo}},
		{"replace a free one", bind(9, lo, replace), unix.ENOENT, free, table{0: peer, 7: other, 8: veth, 1023: lo}},
		{"no such netdev", bind(9, 9999, anyway), unix.ENODEV, "no such netdev", table{0: peer, 7: other, 8: veth, 1023: lo}},
		{"port 1024", bind(family.Ports, lo, anyway), unix.ERANGE, integer, table{0: peer, 7: other, 8: veth, 1023: lo}},
		{"ifindex 0", bind(9, 0, anyway), unix.ERANGE, integer, table{0: peer, 7: other, 8: veth, 1023: lo}},
		{"no ifindex", func() error {
			return c.Port().Update(context.Background(), &family.PortKey{Port: 9}, &family.Port{}, anyway)
		}, unix.EINVAL, "no netdev is given", table{0: peer, 7: other, 8: veth, 1023: lo}},
		{"free the first", clear(0), 0, "", table{7: other, 8: veth, 1023: lo}},
		{"free the first again", clear(0), unix.ENOENT, free, table{7: other, 8: veth, 1023: lo}},
		{"a netdev goes", del("d"), 0, "", table{8: veth, 1023: lo}},
		{"its port", bind(7, peer, add), 0, "", table{7: peer, 8: veth, 1023: lo}},
		{"a pair goes", del("a"), 0, "", table{1023: lo}},
		{"free the last", clear(family.Ports - 1), 0, "", table{}},
	} {
		wantErr(t, tc.name, tc.do(), tc.errno, tc.text)
		if diff := cmp.Diff(tc.want, portTable(t, c)); diff != "" {
			t.Errorf("%s: ports, -want +got:\n%s", tc.name, diff)
		}
	}
	if left := portIndex(t, c); len(left) != 0 {
		t.Errorf("left in the index: %v", left)
	}
}

// TestPortKilled leaves the maps as one leaves them who is killed in a change.
func TestPortKilled(t *testing.T) {
	ns := testutil.NewNetNS(t)
	c := newControl(t, ns, newBPFFS(t))
	a, b := ns.AddVeth("a", "b", testutil.VethOptions{})
	veth, peer, lo := uint32(a), uint32(b), uint32(ns.Index("lo"))
	if err := bindPort(c, 3, veth, family.UpdateAny); err != nil {
		t.Fatal(err)
	}
	p, err := c.portsOpen()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	type table = map[uint32]uint32
	want := func(what string, ports, index table) {
		t.Helper()
		if diff := cmp.Diff(ports, portTable(t, c)); diff != "" {
			t.Errorf("%s: ports, -want +got:\n%s", what, diff)
		}
		if diff := cmp.Diff(index, portIndex(t, c)); diff != "" {
			t.Errorf("%s: index, -want +got:\n%s", what, diff)
		}
	}
	// In a takeover, before and after the devmap.
	if err := p.index.Put(peer, uint32(3)); err != nil {
		t.Fatal(err)
	}
	want("before the devmap", table{3: veth}, table{veth: 3, peer: 3})
	if err := c.inNetNS(func() error { return p.devmap.Put(uint32(3), peer) }); err != nil {
		t.Fatal(err)
	}
	want("after the devmap", table{3: peer}, table{veth: 3, peer: 3})
	// It has no port, whatever the index says.
	wantErr(t, "another port", bindPort(c, 4, veth, family.UpdateAny), 0, "")
	want("another port", table{3: peer, 4: veth}, table{peer: 3, veth: 4})
	// In a delete.
	if err := p.devmap.Delete(uint32(3)); err != nil {
		t.Fatal(err)
	}
	want("deleted", table{4: veth}, table{peer: 3, veth: 4})
	wantErr(t, "free it", freePort(c, 3), unix.ENOENT, "the port is free")
	want("tidied", table{4: veth}, table{veth: 4})
	wantErr(t, "bind it", bindPort(c, 3, lo, family.UpdateNoexist), 0, "")
	want("bound", table{3: lo, 4: veth}, table{lo: 3, veth: 4})
}

// TestPortMaps has a program use the maps, and bpftool print them.
func TestPortMaps(t *testing.T) {
	ns := testutil.NewNetNS(t)
	c := newControl(t, ns, newBPFFS(t))
	lo := uint32(ns.Index("lo"))
	if err := bindPort(c, 3, lo, family.UpdateAny); err != nil {
		t.Fatal(err)
	}
	maps, err := loader.PortMaps(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer loader.ClosePortMaps(maps)
	coll := loadPortProgram(t, maps)
	defer coll.Close()
	tool, err := exec.LookPath("bpftool")
	if err != nil {
		t.Skip("there is no bpftool")
	}
	out, err := exec.Command(tool, "-j", "map", "dump", "pinned", filepath.Join(c.portDir(), loader.PortIndexMap)).CombinedOutput()
	want := fmt.Sprintf(`"formatted":{"key":{"ifindex":%d},"value":{"port":3}}`, lo)
	if err != nil || !strings.Contains(strings.ReplaceAll(string(out), " ", ""), want) {
		t.Errorf("%v\ngot  %s\nwant %s", err, out, want)
	}
}

// loadPortProgram loads the program that sends through ports, with the maps of
// the table in the place of its own.
func loadPortProgram(t *testing.T, maps map[string]*ebpf.Map) *ebpf.Collection {
	t.Helper()
	spec, err := bpf.LoadPort()
	if err != nil {
		t.Fatal(err)
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: maps})
	if err != nil {
		t.Fatal(err)
	}
	return coll
}
