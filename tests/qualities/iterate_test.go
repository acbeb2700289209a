// SPDX-License-Identifier: BSD-3-Clause

package qualities

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/compare"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// crowd makes n netdevs, and returns their ifindexes.
func (w *world) crowd(n int) (list []uint32) {
	w.Helper()
	for i := range n {
		list = append(list, uint32(w.ns.AddDummy(fmt.Sprintf("crowd%d", i))))
	}
	return list
}

// present are the ifindexes of all netdevs.
func (w *world) present() (list []uint32) {
	w.Helper()
	for _, l := range w.ns.Links() {
		list = append(list, uint32(l.Index))
	}
	return list
}

// stayed are those that were there all the time.
func stayed(before, after []uint32) []uint32 {
	return slices.DeleteFunc(slices.Clone(before), func(i uint32) bool { return !slices.Contains(after, i) })
}

// once checks that each netdev that was there all the time was seen once.
func once(t *testing.T, what string, seen, there []uint32) {
	t.Helper()
	got, want := make(map[uint32]int), make(map[uint32]int)
	for _, i := range seen {
		if slices.Contains(there, i) {
			got[i]++
		}
	}
	for _, i := range there {
		want[i] = 1
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s has seen netdevs, -want +got:\n%s", what, diff)
	}
}

// small opens a socket on which nothing has been received, so that pieces are as
// small as they can be.
func (w *world) small() (g *testutil.Genl) {
	w.Helper()
	var err error
	w.ns.Do(func() { g, err = testutil.DialGenl(w.T, w.genl.Family) })
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { g.Close() })
	g.Buffer = 4096
	return g
}

// TestIteration removes and adds netdevs while all are read.
func TestIteration(t *testing.T) {
	w := newWorld(t)
	const n = 150
	crowd := w.crowd(n)
	w.dumpAmidChange(fmt.Sprintf("crowd%d", n-1))
	gone := w.walkAmidChange(crowd[n/2], fmt.Sprintf("crowd%d", n/2))
	expect(t, "lookup of a key whose netdev is gone", gone, unix.ENOENT)
	again, size := plainHash(t, n)
	expect(t, "keys that a hash map repeats", again, size/2-1)

	line(t, compare.Quality{
		Name:     "consistency of iteration",
		Question: fmt.Sprintf("A netdev goes and another comes while %d are being read. Is one skipped or repeated, and does the reader learn of it?", n),
		Netlink:  "None is skipped or repeated. A piece of the dump that is made after the change has NLM_F_DUMP_INTR: who wants a consistent whole asks again. Key and value of an entry come together.",
		Map: fmt.Sprintf("None is skipped or repeated: the next key is the next higher one, though the key that it is asked from is gone. Nothing says that there was a change. Key and value are two calls, between which an entry can go (%s). A plain BPF hash map begins anew after a key that is gone: it repeats %d of %d.",
			name(gone), again, size),
	})
}

// dumpAmidChange dumps all netdevs; after the first piece one goes that is not in
// it, and another comes.
func (w *world) dumpAmidChange(leaves string) {
	w.Helper()
	before := w.present()
	g := w.small()
	if _, err := g.Send(g.Message(family.CmdCapsGet, unix.NLM_F_DUMP, nil)); err != nil {
		w.Fatal(err)
	}
	var d dump
	if d.next(w, g) {
		w.Fatal("the first piece is the last")
	}
	first := len(d.msgs)
	w.ns.Del(leaves)
	w.ns.AddDummy("late0")
	for !d.next(w, g) {
	}
	var seen []uint32
	intr := 0
	for i, m := range d.msgs {
		seen = append(seen, ifindex(m))
		if m.Flags&unix.NLM_F_DUMP_INTR != 0 {
			intr++
			expect(w.T, "NLM_F_DUMP_INTR is not in the first piece", i >= first, true)
		}
	}
	once(w.T, "the dump", seen, stayed(before, w.present()))
	expect(w.T, "the dump says that there was a change", intr > 0, true)
	for _, m := range w.dump(w.genl, family.CmdCapsGet, nil).msgs {
		expect(w.T, "NLM_F_DUMP_INTR without a change", m.Flags&unix.NLM_F_DUMP_INTR, 0)
	}
}

// walkAmidChange goes through all keys of a map; when it has the key of a netdev,
// that goes, and another comes. It returns what a lookup of the key says then.
func (w *world) walkAmidChange(dev uint32, leaves string) (gone unix.Errno) {
	w.Helper()
	m := w.control(family.CtrlTypeXDPCaps)
	before := w.present()
	var seen []uint32
	var value family.Caps
	for key := []byte(nil); ; {
		next := make([]byte, 4)
		err := testutil.NextKey(m, key, next)
		if err == unix.ENOENT {
			break
		}
		if err != nil {
			w.Fatal(err)
		}
		key = next
		seen = append(seen, binary.NativeEndian.Uint32(key))
		if seen[len(seen)-1] == dev {
			w.ns.Del(leaves)
			w.ns.AddDummy("late1")
			gone = errno(w.T, testutil.LookupElem(m, key, bytesOf(&value), 0))
		}
	}
	once(w.T, "the map", seen, stayed(before, w.present()))
	return gone
}

// plainHash deletes the key from which the next is asked in a plain hash map, in
// the middle, and returns how many keys are then seen twice.
func plainHash(t *testing.T, n int) (again, size int) {
	t.Helper()
	m, err := testutil.CreateMap(&testutil.MapAttr{Type: unix.BPF_MAP_TYPE_HASH, KeySize: 4, ValueSize: 4, MaxEntries: uint32(n)})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(m)
	for i := range uint32(n) {
		if err := testutil.UpdateElem(m, bytesOf(&i), bytesOf(&i), 0); err != nil {
			t.Fatal(err)
		}
	}
	all, _ := keys(t, m, nil, 4)
	expect(t, "keys of a hash map", len(all), n)
	deleted := all[n/2-1]
	if err := testutil.DeleteElem(m, deleted); err != nil {
		t.Fatal(err)
	}
	rest, _ := keys(t, m, deleted, 4)
	for _, k := range rest {
		if slices.ContainsFunc(all[:n/2], func(b []byte) bool { return string(b) == string(k) }) {
			again++
		}
	}
	return again, n
}

// TestAtomicity makes changes of which one part is wrong, and reads while there
// are changes.
func TestAtomicity(t *testing.T) {
	w := newWorld(t)
	m := w.control(family.CtrlTypeXDPProg)
	k := wholeDev(w.veth0)

	// Compare and swap.
	w.attach(w.veth0, w.pass)
	v := program(w.drop)
	v.SetExpectedProgID(w.drop.ID)
	swapped := w.setNetlink(k, v, family.UpdateExist)
	expect(t, "replace of another, over netlink", swapped.Errno, unix.EEXIST)
	expect(t, "replace of another, at the map", errno(t, w.setMap(m, k, v, family.UpdateExist)), unix.EEXIST)
	expect(t, "program", w.ids("veth0")[0], w.pass.ID)

	// Three requests in one datagram, the second wrong.
	var datagram []byte
	for i, dev := range []uint32{w.veth0, nobody, w.dummy0} {
		b := w.genl.Message(family.CmdProgSet, 0, request(wholeDev(dev), program(w.drop), family.UpdateAny))
		binary.NativeEndian.PutUint32(b[8:], uint32(1000+i))
		datagram = append(datagram, b...)
	}
	acks := w.exchange(datagram)
	if diff := cmp.Diff(map[uint32]unix.Errno{1000: 0, 1001: unix.ENODEV, 1002: 0}, acks); diff != "" {
		t.Errorf("three requests, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]uint32{w.drop.ID, w.drop.ID}, w.ids("veth0", "dummy0")); diff != "" {
		t.Errorf("programs after three requests, -want +got:\n%s", diff)
	}

	const reads = 300
	mixed, seen := w.readWhileReplaced(m, k, reads)
	expect(t, "entries that mix two programs", mixed, 0)
	expect(t, "programs seen", len(seen), 2)

	line(t, compare.Quality{
		Name:     "atomicity",
		Question: "Is an entry read and changed in whole? Are several?",
		Netlink: fmt.Sprintf("An entry is: of %d replies while another thread replaced the program, none mixed two programs, and expected-prog-id makes a replace a compare-and-swap (%s). Several are not: of three requests in one datagram the second is refused (%s), the first and third are done.",
			reads, name(swapped.Errno), name(acks[1001])),
		Map: fmt.Sprintf("The same of an entry, in %d lookups, with the same compare-and-swap. There is no call for several.", reads),
	})
}

// exchange sends a datagram of requests, and returns the errnos of the
// acknowledgements by sequence number.
func (w *world) exchange(datagram []byte) map[uint32]unix.Errno {
	w.Helper()
	n := 0
	for b := datagram; len(b) > 0; b = b[(binary.NativeEndian.Uint32(b)+3)&^3:] {
		n++
	}
	var err error
	w.ns.Do(func() {
		err = unix.Sendto(w.genl.FD(), datagram, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	})
	if err != nil {
		w.Fatal(err)
	}
	acks := make(map[uint32]unix.Errno)
	buf := make([]byte, 32<<10)
	for len(acks) < n {
		got, _, err := unix.Recvfrom(w.genl.FD(), buf, 0)
		if err != nil {
			w.Fatalf("receive: %v", err)
		}
		if got >= 20 && binary.NativeEndian.Uint16(buf[4:]) == unix.NLMSG_ERROR {
			acks[binary.NativeEndian.Uint32(buf[8:])] = unix.Errno(-int32(binary.NativeEndian.Uint32(buf[16:])))
		}
	}
	return acks
}

// readWhileReplaced reads an entry n times at both doors, while another thread
// goes on replacing its program, and returns how many entries were not of one
// program, and the programs seen.
func (w *world) readWhileReplaced(m int, k *family.ProgKey, n int) (mixed int, seen map[uint32]bool) {
	w.Helper()
	stop, stopped := make(chan struct{}), make(chan error)
	other := w.control(family.CtrlTypeXDPProg)
	go func() {
		var err error
		w.ns.Do(func() {
			for i := 0; err == nil; i++ {
				select {
				case <-stop:
					return
				default:
				}
				err = testutil.UpdateElem(other, bytesOf(k), bytesOf(program([]*testutil.Prog{w.pass, w.drop}[i%2])), unix.BPF_EXIST)
			}
		})
		stopped <- err
	}()
	seen = make(map[uint32]bool)
	check := func(v *family.Prog) {
		seen[v.ProgID] = true
		for _, p := range []*testutil.Prog{w.pass, w.drop} {
			if v.ProgID == p.ID && v.Name.String() == p.Name && [8]byte(v.Tag) == p.Tag {
				return
			}
		}
		mixed++
	}
	// It may take a while until the other thread gets its turn.
	for i := 0; i < n || len(seen) < 2 && i < 100*n; i++ {
		var v family.Prog
		if err := testutil.LookupElem(m, bytesOf(k), bytesOf(&v), 0); err != nil {
			w.Fatal(err)
		}
		check(&v)
		a := w.genl.Do(family.CmdProgGet, 0, k.AppendAttrs(nil))
		if a.Errno != 0 || len(a.Msgs) != 1 {
			w.Fatalf("prog-get: %v", a)
		}
		var key family.ProgKey
		v = family.Prog{}
		if err := v.DecodeAttrs(a.Msgs[0].Attrs, &key); err != nil {
			w.Fatal(err)
		}
		check(&v)
	}
	close(stop)
	if err := <-stopped; err != nil {
		w.Fatal(err)
	}
	return mixed, seen
}

// TestFiltering reads the RX queues of one netdev among many.
func TestFiltering(t *testing.T) {
	w := newWorld(t)
	const queues = 4
	dev, _ := w.ns.AddVeth("many0", "many1", testutil.VethOptions{Queues: queues})
	for i := range 8 {
		w.ns.AddVeth(fmt.Sprintf("few%d", i), fmt.Sprintf("peer%d", i), testutil.VethOptions{})
	}
	m := w.control(family.CtrlTypeXDPQstats)

	all := w.dump(w.genl, family.CmdQstatsGet, nil)
	one := w.dump(w.genl, family.CmdQstatsGet, testutil.AttrU32(family.AttrStatsIfindex, uint32(dev)))
	expect(t, "entries of one netdev", len(one.msgs), queues)
	for _, m := range one.msgs {
		expect(t, "netdev of an entry", ifindex(m), uint32(dev))
	}
	byQueue := w.dump(w.genl, family.CmdQstatsGet, testutil.AttrU32(family.AttrStatsQueue, queues-1))
	expect(t, "entries of the last queue", len(byQueue.msgs), 2) // of many0 and many1
	byValue := w.do(family.CmdQstatsGet, unix.NLM_F_DUMP, testutil.Attr(family.AttrStatsDrop, make([]byte, 8)))
	expect(t, "filter by a value", byValue.Errno, unix.EINVAL)

	size := int(unsafe.Sizeof(family.QstatsKey{}))
	list, calls := keys(t, m, nil, size)
	expect(t, "keys of the map", len(list), len(all.msgs))
	// No netdev has such a queue; it need not be there to begin behind it.
	from := &family.QstatsKey{Ifindex: uint32(dev) - 1, Queue: family.QueueAll}
	rest, _ := keys(t, m, bytesOf(from), size)
	for i, k := range rest[:queues] {
		got := *(*family.QstatsKey)(unsafe.Pointer(&k[0]))
		expect(t, "key after the one before the netdev", got, family.QstatsKey{Ifindex: uint32(dev), Queue: uint32(i)})
	}
	seek := queues + 1 // keys, the last of which is another netdev's

	line(t, compare.Quality{
		Name:     "filtering",
		Question: fmt.Sprintf("What does it take to read the %d queues of one netdev, where there are %d?", queues, len(all.msgs)),
		Netlink: fmt.Sprintf("A dump with the ifindex: %d entries. With a queue and no ifindex: that queue of every netdev. By what is in the value: %s.",
			len(one.msgs), name(byValue.Errno)),
		Map: fmt.Sprintf("No filter. Keys are ordered and the one that is asked from need not exist, so a reader can begin at the netdev: %d calls for keys and %d for values. By queue: all %d keys, in %d calls.",
			seek, queues, len(list), calls),
	})
}

// TestBatching reads many entries with few calls.
func TestBatching(t *testing.T) {
	w := newWorld(t)
	const several = 8
	w.crowd(100)
	links := w.present()
	m := w.control(family.CtrlTypeXDPStats)

	var datagram []byte
	for i, dev := range links[:several] {
		b := w.genl.Message(family.CmdStatsGet, 0, testutil.AttrU32(family.AttrStatsIfindex, dev))
		binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
		binary.NativeEndian.PutUint32(b[8:], uint32(1000+i))
		datagram = append(datagram, b...)
	}
	if err := unix.Sendto(w.genl.FD(), datagram, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	received := 0
	for answered := 0; answered < several; received++ {
		for _, m := range w.genl.Receive() {
			expect(t, "netdev of a reply", ifindex(m), links[answered])
			answered++
		}
	}
	expect(t, "datagrams with replies", received, several)

	d := w.dump(w.genl, family.CmdStatsGet, nil)
	expect(t, "netdevs in a dump", len(d.msgs), len(links))
	list, calls := keys(t, m, nil, 4)
	expect(t, "netdevs in the map", len(list), len(links))
	expect(t, "calls for keys", calls, len(links)+1)

	batch := map[string]int{
		"BPF_MAP_LOOKUP_BATCH": unix.BPF_MAP_LOOKUP_BATCH, "BPF_MAP_LOOKUP_AND_DELETE_BATCH": unix.BPF_MAP_LOOKUP_AND_DELETE_BATCH,
		"BPF_MAP_UPDATE_BATCH": unix.BPF_MAP_UPDATE_BATCH, "BPF_MAP_DELETE_BATCH": unix.BPF_MAP_DELETE_BATCH,
	}
	room := int(unsafe.Sizeof(family.Stats{}))
	refused := unix.Errno(0)
	for _, cmd := range slices.Sorted(maps.Keys(batch)) {
		refused = errno(t, testutil.Batch(batch[cmd], m, make([]byte, 4*several), make([]byte, room*several), several))
		expect(t, cmd, refused, errNotsupp)
	}

	line(t, compare.Quality{
		Name:     "batching",
		Question: fmt.Sprintf("How many system calls take %d entries whose keys are known, and all %d that there are?", several, len(links)),
		Netlink: fmt.Sprintf("%d requests go in one datagram, and get a reply in a datagram of its own each: 1 call to send, %d to receive. A dump of all: 1 and %d.",
			several, received, d.received),
		Map: fmt.Sprintf("%d and %d: a call for a value, and one for the next key. The %d batch commands are refused: %s.",
			several, calls+len(list), len(batch), name(refused)),
	})
}
