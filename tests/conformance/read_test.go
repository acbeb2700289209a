// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"testing"
	"unsafe"

	gocmp "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// compare reads one table through every door by iterating over all of it and
// key by key, and, unless it is to be quick, by iterating over each netdev, and
// wants the same each time. It returns the keys.
func compare[K comparable, V any](w *world, quick bool, what string, table func(family.Control) family.Table[K, V], order func(a, b K) int) []K {
	w.Helper()
	var keys []K
	var first []family.Entry[K, V]
	for i, d := range w.ways {
		t := table(w.doors[d.name])
		all := entries(w, t, nil)
		if i == 0 {
			first = all
			for _, e := range all {
				keys = append(keys, e.Key)
			}
		}
		if diff := gocmp.Diff(first, all); diff != "" {
			w.Fatalf("%s, -%s +%s:\n%s", what, w.ways[0].name, d.name, diff)
		}
		for _, e := range all {
			v := garbage[V]()
			if err := t.Lookup(w.ctx, &e.Key, &v); err != nil {
				w.Fatalf("%s at the %s door: lookup %+v, which iteration saw: %v", what, d.name, e.Key, err)
			}
			if diff := gocmp.Diff(e.Value, v); diff != "" {
				w.Fatalf("%s of %+v at the %s door, -iterate +lookup:\n%s", what, e.Key, d.name, diff)
			}
		}
		if quick {
			continue
		}
		w.compareFiltered(what, d.name, func(filter uint32) (got, want int) {
			var k K
			*(*uint32)(unsafe.Pointer(&k)) = filter // every key begins with it
			of := func(e family.Entry[K, V]) bool { return *(*uint32)(unsafe.Pointer(&e.Key)) == filter }
			for _, e := range entries(w, t, &k) {
				if !of(e) {
					w.Fatalf("%s at the %s door: %+v does not begin with %d", what, d.name, e.Key, filter)
				}
				got++
			}
			for _, e := range all {
				if of(e) {
					want++
				}
			}
			return got, want
		})
	}
	comparePinned(w, what, first...)
	if !slices.IsSortedFunc(keys, order) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
		w.Fatalf("%s: keys are not ascending: %v", what, keys)
	}
	return keys
}

// nobody is the ifindex of no netdev, and a port that is free.
const nobody = 999

// compareFiltered iterates over one netdev, or port, at a time, for the first
// few.
func (w *world) compareFiltered(what, door string, count func(ifindex uint32) (got, want int)) {
	w.Helper()
	links := w.ns.Links()
	for _, l := range links[:min(len(links), 6)] {
		if got, want := count(uint32(l.Index)); got != want {
			w.Fatalf("%s at the %s door: %d entries of %s, want %d", what, door, got, l.Name, want)
		}
	}
	if got, _ := count(nobody); got != 0 {
		w.Fatalf("%s at the %s door: %d entries of what does not exist", what, door, got)
	}
}

// garbage is a value that a lookup must overwrite whole.
func garbage[V any]() V {
	var v V
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v)), bytes.Repeat([]byte{0xa5}, int(unsafe.Sizeof(v))))
	return v
}

func byStats(a, b family.StatsKey) int { return cmp.Compare(a.Ifindex, b.Ifindex) }
func byCaps(a, b family.CapsKey) int   { return cmp.Compare(a.Ifindex, b.Ifindex) }
func byAttr(a, b family.AttrKey) int   { return cmp.Compare(a.Ifindex, b.Ifindex) }
func byPort(a, b family.PortKey) int   { return cmp.Compare(a.Port, b.Port) }
func byQstats(a, b family.QstatsKey) int {
	return cmp.Or(cmp.Compare(a.Ifindex, b.Ifindex), cmp.Compare(a.Queue, b.Queue))
}
func byProg(a, b family.ProgKey) int {
	return cmp.Or(cmp.Compare(a.Ifindex, b.Ifindex), cmp.Compare(a.Queue, b.Queue))
}

// compareAll compares every table, and returns the keys of two.
func (w *world) compareAll() (stats []family.StatsKey, progs []family.ProgKey) {
	w.Helper()
	return w.compareTables(false)
}

// compareQuickly is compareAll without what hangs on keys alone.
func (w *world) compareQuickly() {
	w.Helper()
	w.compareTables(true)
}

func (w *world) compareTables(quick bool) (stats []family.StatsKey, progs []family.ProgKey) {
	w.Helper()
	stats = compare(w, quick, "stats", family.Control.Stats, byStats)
	compare(w, quick, "qstats", family.Control.Qstats, byQstats)
	compare(w, quick, "caps", family.Control.Caps, byCaps)
	compare(w, quick, "attr", family.Control.Attr, byAttr)
	compare(w, quick, "port", family.Control.Port, byPort)
	return stats, compare(w, quick, "prog", family.Control.Prog, byProg)
}

// TestIterate compares all tables in namespaces with few and with many
// netdevs, and with no, one and many programs.
func TestIterate(t *testing.T) { eachBackend(t, testIterate) }

func testIterate(t *testing.T, b backend) {
	for _, tc := range []struct{ devs, progs int }{{0, 0}, {1, 0}, {1, 1}, {3, 2}, {150, 40}} {
		t.Run(fmt.Sprintf("%d netdevs %d programs", tc.devs, tc.progs), func(t *testing.T) {
			w := emptyWorld(t, b)
			for i := range tc.devs {
				dev := fmt.Sprintf("dummy%d", i)
				w.ns.AddDummy(dev)
				if i < tc.progs {
					c := w.doors[w.ways[i%len(w.ways)].name]
					if err := add("pass", auto)(w, c, dev); err != nil {
						t.Fatal(err)
					}
				}
			}
			stats, progs := w.compareAll()
			if len(progs) != tc.progs {
				t.Errorf("%d programs, want %d", len(progs), tc.progs)
			}
			var want []family.StatsKey
			for _, l := range w.ns.Links() {
				want = append(want, family.StatsKey{Ifindex: uint32(l.Index)})
			}
			if diff := gocmp.Diff(want, stats); diff != "" {
				t.Errorf("ifindexes of stats, -rtnetlink +ours:\n%s", diff)
			}
		})
	}
}

// TestIterateQueues compares all tables where netdevs have several queues.
func TestIterateQueues(t *testing.T) { eachBackend(t, testIterateQueues) }

func testIterateQueues(t *testing.T, b backend) {
	w := newWorld(t, b)
	w.ns.AddVeth("mq0", "mq1", testutil.VethOptions{Queues: 4})
	if err := add("pass", native)(w, w.other(), "mq0"); err != nil {
		t.Fatal(err)
	}
	w.compareAll()
	n := 0
	for _, e := range entries(w, w.other().Qstats(), &family.QstatsKey{Ifindex: uint32(w.ns.Index("mq0"))}) {
		if int(e.Key.Queue) != n {
			t.Errorf("entry %d is queue %d", n, e.Key.Queue)
		}
		n++
	}
	if n != 4 {
		t.Errorf("%d queues, want 4", n)
	}
}

// TestVirtioTables compares all tables on a virtio_net device.
func TestVirtioTables(t *testing.T) { eachBackend(t, testVirtioTables) }

func testVirtioTables(t *testing.T, b backend) {
	w := newWorld(t, b)
	dev := w.takeVirtio()
	w.compareAll()
	if err := add("pass", native)(w, w.one(), dev); err != nil {
		t.Fatal(err)
	}
	w.compareAll()
	for _, d := range w.ways {
		var v family.Caps
		if err := w.doors[d.name].Caps().Lookup(w.ctx, &family.CapsKey{Ifindex: uint32(w.ns.Index(dev))}, &v); err != nil {
			t.Fatal(err)
		}
		if got := v.Driver.String(); got != "virtio_net" {
			t.Errorf("driver is %q at the %s door", got, d.name)
		}
	}
}

// TestMissing looks up what is not there.
func TestMissing(t *testing.T) { eachBackend(t, testMissing) }

func testMissing(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		lo, veth := uint32(w.ns.Index("lo")), uint32(w.ns.Index("veth0"))
		for _, tc := range []struct {
			name  string
			err   error
			errno unix.Errno
		}{
			{"stats of no netdev", c.Stats().Lookup(w.ctx, &family.StatsKey{Ifindex: 9999}, new(family.Stats)), unix.ENOENT},
			{"stats of ifindex -1", c.Stats().Lookup(w.ctx, &family.StatsKey{Ifindex: ^uint32(0)}, new(family.Stats)), unix.ENOENT},
			{"qstats of no netdev", c.Qstats().Lookup(w.ctx, &family.QstatsKey{Ifindex: 9999}, new(family.Qstats)), unix.ENOENT},
			{"qstats of no queue", c.Qstats().Lookup(w.ctx, &family.QstatsKey{Ifindex: veth, Queue: 77}, new(family.Qstats)), unix.ENOENT},
			{"qstats of all queues", c.Qstats().Lookup(w.ctx, &family.QstatsKey{Ifindex: veth, Queue: family.QueueAll}, new(family.Qstats)), unix.ENOENT},
			{"caps of no netdev", c.Caps().Lookup(w.ctx, &family.CapsKey{Ifindex: 9999}, new(family.Caps)), unix.ENOENT},
			{"prog of no netdev", c.Prog().Lookup(w.ctx, progKey(9999), new(family.Prog)), unix.ENOENT},
			{"prog where there is none", c.Prog().Lookup(w.ctx, progKey(int(lo)), new(family.Prog)), unix.ENOENT},
			{"delete prog of no netdev", c.Prog().Delete(w.ctx, progKey(9999)), unix.ENOENT},
			{"delete prog where there is none", c.Prog().Delete(w.ctx, progKey(int(lo))), unix.ENOENT},
			{"prog of a queue", c.Prog().Lookup(w.ctx, &family.ProgKey{Ifindex: veth}, new(family.Prog)), unix.ENOENT},
			{"delete prog of a queue", c.Prog().Delete(w.ctx, &family.ProgKey{Ifindex: veth}), unix.ENOENT},
			{"attr of no netdev", c.Attr().Lookup(w.ctx, &family.AttrKey{Ifindex: 9999}, new(family.Attr)), unix.ENOENT},
			{"delete attr of no netdev", c.Attr().Delete(w.ctx, &family.AttrKey{Ifindex: 9999}), unix.ENOENT},
			{"port that is free", c.Port().Lookup(w.ctx, &family.PortKey{}, new(family.Port)), unix.ENOENT},
			{"port that is none", c.Port().Lookup(w.ctx, &family.PortKey{Port: family.Ports}, new(family.Port)), unix.ERANGE},
			{"delete port that is free", c.Port().Delete(w.ctx, &family.PortKey{Port: 5}), unix.ENOENT},
			{"delete port that is none", c.Port().Delete(w.ctx, &family.PortKey{Port: family.Ports}), unix.ERANGE},
			{"update stats", c.Stats().Update(w.ctx, &family.StatsKey{Ifindex: veth}, new(family.Stats), family.UpdateAny), unix.EOPNOTSUPP},
			{"update qstats", c.Qstats().Update(w.ctx, &family.QstatsKey{Ifindex: veth}, new(family.Qstats), family.UpdateAny), unix.EOPNOTSUPP},
			{"update caps", c.Caps().Update(w.ctx, &family.CapsKey{Ifindex: veth}, new(family.Caps), family.UpdateAny), unix.EOPNOTSUPP},
			{"delete stats", c.Stats().Delete(w.ctx, &family.StatsKey{Ifindex: veth}), unix.EOPNOTSUPP},
			{"delete caps", c.Caps().Delete(w.ctx, &family.CapsKey{Ifindex: veth}), unix.EOPNOTSUPP},
		} {
			if got := w.errno(tc.err); got != tc.errno {
				w.Errorf("%s: got errno %d (%v), want %d (%v)", tc.name, int(got), tc.err, int(tc.errno), tc.errno)
			}
		}
		w.compareAll()
	})
}

// TestTypes compares the control types that the family lists with the maps
// that the kernel makes of them.
func TestTypes(t *testing.T) {
	w := newWorld(t, module)
	types, err := w.one().Types(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(types) != 6 {
		t.Errorf("%d control types, want 6", len(types))
	}
	const reads = family.CtrlOpGetNext | family.CtrlOpLookup
	const writes = reads | family.CtrlOpUpdate | family.CtrlOpDelete
	operations := map[string]family.CtrlOp{
		"xdp_stats": reads, "xdp_qstats": reads, "xdp_caps": reads,
		"xdp_prog": writes, "xdp_attr": writes, "xdp_port": writes,
	}
	for _, typ := range types {
		if got := typ.Operations; got != operations[typ.Name.String()] {
			t.Errorf("%s has operations %v, want %v", typ.Name, got, operations[typ.Name.String()])
		}
		w.ns.Do(func() {
			fd, err := testutil.CreateMap(testutil.ControlMapAttr("", w.ctl, int(typ.KeySize), int(typ.ValueSize)))
			if err != nil {
				t.Errorf("create map of %s: %v", typ.Name, err)
				return
			}
			defer unix.Close(fd)
			info := testutil.MapInfoOf(t, fd)
			got := [...]uint32{info.KeySize, info.ValueSize, info.BTFKeyTypeID, info.BTFValueTypeID, info.Ifindex}
			want := [...]uint32{typ.KeySize, typ.ValueSize, typ.BTFKeyTypeID, typ.BTFValueTypeID, uint32(w.ctl)}
			if got != want || info.BTFID == 0 {
				t.Errorf("%s: map has sizes, types and ifindex %v and BTF %d, type-get says %v", typ.Name, got, info.BTFID, want)
			}
		})
	}
	viaMap, err := w.other().Types(w.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(viaMap) != len(types) {
		t.Errorf("%d control types at the map door, %d at the netlink door", len(viaMap), len(types))
	}
	for i := range min(len(viaMap), len(types)) {
		a, b := types[i], viaMap[i]
		if a.ID != b.ID || a.Operations != b.Operations || a.KeySize != b.KeySize || a.ValueSize != b.ValueSize {
			t.Errorf("control type %d is %+v at the netlink door, %+v at the map door", i, a, b)
		}
	}
}
