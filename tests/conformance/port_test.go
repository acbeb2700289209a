// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

const cmdPortGet, cmdPortSet, cmdPortDel = 13, 14, 15

// bind binds a port to a netdev.
func bind(port uint32, dev string, how family.Update) func(*world, family.Control) error {
	return func(w *world, c family.Control) error {
		var v family.Port
		v.SetIfindex(w.ifindex(dev))
		return c.Port().Update(w.ctx, &family.PortKey{Port: port}, &v, how)
	}
}

func free(port uint32) func(*world, family.Control) error {
	return func(w *world, c family.Control) error {
		return c.Port().Delete(w.ctx, &family.PortKey{Port: port})
	}
}

// delLink is a netdev that goes.
func delLink(dev string) func(*world, family.Control) error {
	return func(w *world, _ family.Control) error {
		w.ns.Del(dev)
		return nil
	}
}

// TestPort binds and frees ports through either door.
func TestPort(t *testing.T) { eachBackend(t, testPort) }

func testPort(t *testing.T, b backend) {
	const any, add, replace = family.UpdateAny, family.UpdateNoexist, family.UpdateExist
	none := func(w *world, c family.Control) error {
		return c.Port().Update(w.ctx, &family.PortKey{Port: 4}, &family.Port{Present: 1 << family.AttrPortIfindex}, any)
	}
	absent := func(w *world, c family.Control) error {
		var v family.Port
		v.SetDevmapID(3) // no update has it
		if c.Name() == "map" {
			v = family.Port{} // nothing present means all that is needed, here ifindex 0
			return unixError(c.Port().Update(w.ctx, &family.PortKey{Port: 4}, &v, any), unix.ERANGE, unix.EINVAL)
		}
		return c.Port().Update(w.ctx, &family.PortKey{Port: 4}, &v, any)
	}
	turns := []turn{
		{"bind 7", bind(7, "veth0", any), 0},
		{"bind 7 again", bind(7, "veth0", replace), 0},
		{"add 7", bind(7, "veth1", add), unix.EEXIST},
		{"a netdev with a port", bind(8, "veth0", any), unix.EBUSY},
		{"the first", bind(0, "veth1", add), 0},
		{"the last", bind(family.Ports-1, "lo", add), 0},
		{"another netdev", bind(7, "dummy0", replace), 0},
		{"the one before is free", bind(8, "veth0", add), 0},
		{"replace a free one", bind(9, "lo", replace), unix.ENOENT},
		{"no such netdev", bind(9, "nowhere", any), unix.ENODEV},
		{"control device", bind(9, "control", any), unix.EOPNOTSUPP},
		{"port 1024", bind(family.Ports, "lo", any), unix.ERANGE},
		{"ifindex 0", none, unix.ERANGE},
		{"no ifindex", absent, unix.EINVAL},
		{"free a free one", free(9), unix.ENOENT},
		{"free 1024", free(family.Ports), unix.ERANGE},
		{"free the first", free(0), 0},
		{"free the first again", free(0), unix.ENOENT},
		{"a netdev goes", delLink("dummy0"), 0},
		{"its port", bind(7, "veth1", add), 0},
		{"a pair goes", delLink("veth0"), 0},
		{"free the last", free(family.Ports - 1), 0},
	}
	after := differ(t, b, nil, turns)
	w := newWorld(t, b)
	line := func(port uint32, dev string) string {
		return fmt.Sprintf("port %d: %d maps true", port, w.ifindex(dev))
	}
	lo := line(1023, "lo")
	for i, want := range map[int][]string{
		0: {line(7, "veth0")}, 1: {line(7, "veth0")}, 2: {line(7, "veth0")}, 3: {line(7, "veth0")},
		5:  {line(0, "veth1"), line(7, "veth0"), lo},
		6:  {line(0, "veth1"), line(7, "dummy0"), lo},
		15: {line(0, "veth1"), line(7, "dummy0"), line(8, "veth0"), lo},
		17: {line(7, "dummy0"), line(8, "veth0"), lo},
		18: {line(8, "veth0"), lo},
		19: {line(7, "veth1"), line(8, "veth0"), lo},
		20: {lo}, 21: nil,
	} {
		wantLines(t, after[i], "port ", want...)
	}
}

// unixError makes an errno another, where the doors cannot be asked the same.
func unixError(err error, from, to unix.Errno) error {
	if e, ok := err.(*family.Error); ok && e.Errno == from {
		e.Errno = to
	}
	return err
}

// TestPortMaps compares the maps of the table with the table.
func TestPortMaps(t *testing.T) { eachBackend(t, testPortMaps) }

func testPortMaps(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		for port, dev := range map[uint32]string{3: "veth0", 1000: "dummy0"} {
			if err := bind(port, dev, family.UpdateAny)(w, c); err != nil {
				w.Fatal(err)
			}
		}
		var v, other family.Port
		for port, into := range map[uint32]*family.Port{3: &v, 1000: &other} {
			if err := c.Port().Lookup(w.ctx, &family.PortKey{Port: port}, into); err != nil {
				w.Fatal(err)
			}
		}
		if v.DevmapID == 0 || v.IndexMapID == 0 || v.DevmapID != other.DevmapID || v.IndexMapID != other.IndexMapID {
			w.Fatalf("maps are %+v of one port, %+v of another", v, other)
		}
		comparePinned(w, "port", entries(w, c.Port(), nil)...)
		devmap, index := w.mapByID(v.DevmapID), w.mapByID(v.IndexMapID)
		veth, dummy := w.ifindex("veth0"), w.ifindex("dummy0")
		for _, tc := range []struct {
			name     string
			fd       int
			key, val uint32
			errno    unix.Errno
		}{
			{"devmap", devmap, 3, veth, 0},
			{"devmap", devmap, 1000, dummy, 0},
			{"devmap", devmap, 4, 0, unix.ENOENT},
			{"index map", index, veth, 3, 0},
			{"index map", index, dummy, 1000, 0},
			{"index map", index, w.ifindex("veth1"), 0, unix.ENOENT},
		} {
			got := make([]byte, 4)
			err := testutil.LookupElem(tc.fd, u32(tc.key), got, 0)
			if tc.errno == 0 && (err != nil || binary.NativeEndian.Uint32(got) != tc.val) || tc.errno != 0 && err != tc.errno {
				w.Errorf("%s: %d is %x, error %v, want %d and %v", tc.name, tc.key, got, err, tc.val, tc.errno)
			}
		}
	})
}

// TestPortMapsFrozen tries to write the maps of the table.
func TestPortMapsFrozen(t *testing.T) { eachBackend(t, testPortMapsFrozen) }

func testPortMapsFrozen(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		if err := bind(3, "veth0", family.UpdateAny)(w, c); err != nil {
			w.Fatal(err)
		}
		var v family.Port
		if err := c.Port().Lookup(w.ctx, &family.PortKey{Port: 3}, &v); err != nil {
			w.Fatal(err)
		}
		for name, m := range map[string]struct{ id, key uint32 }{
			"devmap":    {v.DevmapID, 3},
			"index map": {v.IndexMapID, w.ifindex("veth0")},
		} {
			fd := w.mapByID(m.id)
			if err := testutil.UpdateElem(fd, u32(m.key), u32(1), 0); err != unix.EPERM {
				w.Errorf("%s: update: got %v, want %v", name, err, unix.EPERM)
			}
			if err := testutil.DeleteElem(fd, u32(m.key)); err != unix.EPERM {
				w.Errorf("%s: delete: got %v, want %v", name, err, unix.EPERM)
			}
		}
	})
}

func u32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

func (w *world) mapByID(id uint32) int {
	w.Helper()
	fd, err := testutil.MapByID(id)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { unix.Close(fd) })
	return fd
}

// TestPortMoved moves a netdev with a port to another namespace.
func TestPortMoved(t *testing.T) { eachBackend(t, testPortMoved) }

func testPortMoved(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		other := newWorld(w.T, w.backend)
		if err := bind(3, "dummy0", family.UpdateAny)(w, c); err != nil {
			w.Fatal(err)
		}
		comparePinned(w, "port", entries(w, c.Port(), nil)...)
		other.ns.Del("dummy0")
		if err := w.ns.Move("dummy0", other.ns); err != nil {
			w.Fatal(err)
		}
		for _, e := range entries(w, c.Port(), nil) {
			w.Errorf("port %+v is left", e)
		}
		comparePinned[family.PortKey, family.Port](w, "port")
		for _, e := range entries(other, other.one().Port(), nil) {
			w.Errorf("port %+v came with it", e)
		}
		other.compareAll()
	})
}

// TestPortNotified listens to changes made through each door, and by a netdev
// that goes.
func TestPortNotified(t *testing.T) { eachBackend(t, testPortNotified) }

func testPortNotified(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		veth, dummy := w.ifindex("veth0"), w.ifindex("dummy0")
		s := w.watch()
		for _, do := range []func(*world, family.Control) error{
			bind(3, "veth0", family.UpdateAny), bind(3, "dummy0", family.UpdateExist), free(3),
			bind(0, "veth0", family.UpdateNoexist), delLink("veth0"),
		} {
			if err := do(w, c); err != nil {
				w.Fatal(err)
			}
		}
		type told struct{ Port, Ifindex uint32 }
		var got []told
		for range 5 {
			k, v := recv[family.PortKey, family.Port](w, s, "port-ntf")
			if v.Has(family.AttrPortIfindex) != (v.Ifindex != 0) {
				w.Errorf("port %d is bound to %d and says %v", k.Port, v.Ifindex, v.Has(family.AttrPortIfindex))
			}
			got = append(got, told{k.Port, v.Ifindex})
		}
		want := []told{{3, veth}, {3, dummy}, {3, 0}, {0, veth}, {0, 0}}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("notifications, -want +got:\n%s", diff)
		}
	})
}

// TestPortNetlinkRefused sends requests that are wrong by themselves.
func TestPortNetlinkRefused(t *testing.T) {
	r := newRaw(t)
	a, cat := testutil.AttrU32, slices.Concat[[]byte]
	port, dev := a(1, 3), a(3, uint32(r.ns.Index("veth0")))
	const integer, unknown = "integer out of range", "Unknown attribute type"
	for _, rq := range []request{
		{"get without port", cmdPortGet, 0, nil, unix.EINVAL, "", 0, 1},
		{"set without port", cmdPortSet, 0, dev, unix.EINVAL, "", 0, 1},
		{"del without port", cmdPortDel, 0, nil, unix.EINVAL, "", 0, 1},
		{"set without ifindex", cmdPortSet, 0, port, unix.EINVAL, "no netdev is given", 0, 3},
		{"get of 1024", cmdPortGet, 0, a(1, 1024), unix.ERANGE, integer, 1, 0},
		{"dump of 1024", cmdPortGet, unix.NLM_F_DUMP, a(1, 1024), unix.ERANGE, integer, 1, 0},
		{"set of 1024", cmdPortSet, 0, cat(a(1, 1024), dev), unix.ERANGE, integer, 1, 0},
		{"ifindex 0", cmdPortSet, 0, cat(port, a(3, 0)), unix.ERANGE, integer, 3, 0},
		{"update 3", cmdPortSet, 0, cat(port, dev, a(2, 3)), unix.ERANGE, integer, 2, 0},
		{"read-only devmap-id", cmdPortSet, 0, cat(port, dev, a(4, 1)), unix.EINVAL, unknown, 4, 0},
		{"ifindex of a delete", cmdPortDel, 0, cat(port, dev), unix.EINVAL, unknown, 3, 0},
		{"get of a free one", cmdPortGet, 0, port, unix.ENOENT, "the port is free", 0, 0},
		{"del of a free one", cmdPortDel, 0, port, unix.ENOENT, "the port is free", 0, 0},
		{"set of no netdev", cmdPortSet, 0, cat(port, a(3, 9999)), unix.ENODEV, "no such netdev", 0, 0},
	} {
		r.unchanged(rq.name, func() {
			r.answer(rq.name, r.do(rq.cmd, rq.flags, rq.attrs), rq.attrs, rq.errno, rq.text, rq.bad, rq.missing)
		})
	}
}
