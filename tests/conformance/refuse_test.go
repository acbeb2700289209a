// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// Numbers of the protocol, written down here a second time: what is sent must
// not depend on what is tested.
const (
	cmdTypeGet, cmdStatsGet, cmdQstatsGet       = 1, 2, 3
	cmdProgGet, cmdProgSet, cmdProgDel          = 4, 5, 6
	cmdCapsGet                                  = 8
	attrIfindex, attrQueue, attrPad, attrUpdate = 1, 2, 3, 4
	attrFD, attrExpected, attrMode              = 5, 6, 7
	attrProgID, attrTag                         = 8, 12
	queueAll                                    = 0xffffffff
)

// errNotsupp is the kernel's own ENOTSUPP, which has no name outside.
const errNotsupp = unix.Errno(524)

// update is a prog-set as either door writes it.
type update struct {
	ifindex, queue uint32
	fields         map[uint16]uint32 // fd, expected-prog-id and mode; what is not in it is not present
	how            uint32
}

// attrs is the update as netlink attributes.
func (u *update) attrs() []byte {
	b := append(testutil.AttrU32(attrIfindex, u.ifindex), testutil.AttrU32(attrQueue, u.queue)...)
	b = append(b, testutil.AttrU32(attrUpdate, u.how)...)
	for _, id := range []uint16{attrFD, attrExpected, attrMode} {
		if v, ok := u.fields[id]; ok {
			b = append(b, testutil.AttrU32(id, v)...)
		}
	}
	return b
}

// key is the key of the update in a control map.
func (u *update) key() []byte {
	return binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, u.ifindex), u.queue)
}

// value is the value of the update in a control map. What is not present has
// rubbish in it.
func (u *update) value() []byte {
	b := make([]byte, unsafe.Sizeof(family.Prog{}))
	for i := range b {
		b[i] = 0xee
	}
	var present uint64
	for id, at := range map[uint16]int{attrFD: 8, attrExpected: 12, attrMode: 16} {
		if v, ok := u.fields[id]; ok {
			present |= 1 << id
			binary.NativeEndian.PutUint32(b[at:], v)
		}
	}
	binary.NativeEndian.PutUint64(b, present)
	return b
}

// raw is both doors without the packages under test.
type raw struct {
	*world
	genl  *testutil.Genl
	progs int // fd of the xdp_prog map
	stats int // fd of the xdp_stats map
}

func newRaw(t *testing.T) *raw {
	t.Helper()
	// The namespace of the test before goes in its own time, and with it its
	// links, which a snapshot would see come or go.
	testutil.Eventually(t, time.Minute, "the links of the test before to go", func() bool {
		for _, l := range testutil.XDPLinks(t) {
			if l.Ifindex != 0 {
				return false
			}
		}
		return true
	})
	return newWorld(t, module).raw()
}

func (w *world) raw() *raw {
	w.Helper()
	r := &raw{world: w, genl: w.ns.NewGenl(w.T, "xdpctl")}
	r.progs = r.createMap("xdp_prog", unsafe.Sizeof(family.ProgKey{}), unsafe.Sizeof(family.Prog{}))
	r.stats = r.createMap("xdp_stats", unsafe.Sizeof(family.StatsKey{}), unsafe.Sizeof(family.Stats{}))
	return r
}

func (r *raw) createMap(name string, key, value uintptr) int {
	r.Helper()
	var fd int
	var err error
	r.ns.Do(func() {
		fd, err = testutil.CreateMap(testutil.ControlMapAttr(name, r.ctl, int(key), int(value)))
	})
	if err != nil {
		r.Fatalf("create %s: %v", name, err)
	}
	r.Cleanup(func() { unix.Close(fd) })
	return fd
}

// do sends a netlink request from within the namespace.
func (r *raw) do(cmd uint8, flags uint16, attrs []byte) *testutil.Answer {
	r.Helper()
	return r.sendRaw(r.genl.Message(cmd, flags, attrs))
}

func (r *raw) sendRaw(msg []byte) (a *testutil.Answer) {
	r.Helper()
	r.ns.Do(func() { a = r.genl.Raw(msg) })
	return a
}

// updateMap writes to the xdp_prog map from within the namespace.
func (r *raw) updateMap(key, value []byte, flags uint64) (err error) {
	r.Helper()
	r.ns.Do(func() { err = testutil.UpdateElem(r.progs, key, value, flags) })
	return err
}

// snapshot is all that an operation could change, as one text.
func (r *raw) snapshot() string {
	r.Helper()
	var s strings.Builder
	for _, l := range r.ns.Links() {
		fmt.Fprintf(&s, "%s %+v\n", l.Name, l.XDP)
	}
	for _, e := range entries(r.world, r.one().Prog(), nil) {
		fmt.Fprintf(&s, "%+v %+v\n", e.Key, e.Value)
	}
	links := testutil.XDPLinks(r.T)
	for _, id := range slices.Sorted(maps.Keys(links)) {
		if l := links[id]; l.Ifindex != 0 {
			fmt.Fprintf(&s, "link %d to %d on %d\n", id, l.ProgID, l.Ifindex)
		}
	}
	return s.String()
}

// unchanged fails the test if fn changed anything.
func (r *raw) unchanged(what string, fn func()) {
	r.Helper()
	before := r.snapshot()
	fn()
	if diff := cmp.Diff(before, r.snapshot()); diff != "" {
		r.Errorf("%s: changed the state, -before +after:\n%s", what, diff)
	}
	r.compareAll()
}

// answer checks what came back over netlink. Bad is the attribute that must be
// pointed at, in the request attrs; 0 if none.
func (r *raw) answer(what string, a *testutil.Answer, attrs []byte, errno unix.Errno, text string, bad, missing uint16) {
	r.Helper()
	type result struct {
		Errno           unix.Errno
		Text            string
		Offset, Missing int
	}
	got := result{a.Errno, a.Message, a.Offset, a.MissType}
	want := result{errno, text, offsetOf(attrs, bad), int(missing)}
	if diff := cmp.Diff(want, got); diff != "" {
		r.Errorf("%s over netlink, -want +got:\n%s", what, diff)
	}
	if len(a.Msgs) != 0 {
		r.Errorf("%s over netlink: refused and answered by %d messages", what, len(a.Msgs))
	}
}

// attrZero stands for attribute 0 where 0 stands for none.
const attrZero = 0x4000

// offsetOf is where the last attribute of a type lies in a request.
func offsetOf(attrs []byte, typ uint16) int {
	at := 0
	for i := 0; typ != 0 && i+4 <= len(attrs); {
		n := int(binary.NativeEndian.Uint16(attrs[i:]))
		if binary.NativeEndian.Uint16(attrs[i+2:])&0x3fff == typ&0x3fff {
			at = 20 + i
		}
		if n < 4 {
			break
		}
		i += (n + 3) &^ 3
	}
	return at
}

// TestUpdateRefused makes the same wrong updates at both doors.
func TestUpdateRefused(t *testing.T) {
	r := newRaw(t)
	pass, drop := r.world.progs["pass"], r.world.progs["drop"]
	veth0, veth1, dummy0 := uint32(r.ns.Index("veth0")), uint32(r.ns.Index("veth1")), uint32(r.ns.Index("dummy0"))
	if err := add("pass", auto)(r.world, r.one(), "veth0"); err != nil {
		t.Fatal(err)
	}
	if err := r.ns.SetXDP("veth1", drop.FD, 0); err != nil {
		t.Fatal(err)
	}
	dummy1 := uint32(r.ns.AddDummy("dummy1"))
	foreign := r.foreignLink(drop, dummy1)
	linkID := r.linkID(foreign)
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	filter := testutil.NewProg(t, testutil.ProgAttr{Type: unix.BPF_PROG_TYPE_SOCKET_FILTER}, testutil.Return(0))
	cpumap := testutil.NewProg(t, testutil.ProgAttr{Type: unix.BPF_PROG_TYPE_XDP, ExpectedType: unix.BPF_XDP_CPUMAP}, testutil.Return(2))
	untyped := testutil.NewProg(t, testutil.ProgAttr{Type: unix.BPF_PROG_TYPE_XDP}, testutil.Return(2))
	fd := func(fd int) map[uint16]uint32 { return map[uint16]uint32{attrFD: uint32(fd)} }
	with := func(id uint16, v uint32) map[uint16]uint32 {
		return map[uint16]uint32{attrFD: uint32(drop.FD), id: v}
	}

	for _, tc := range []struct {
		name  string
		u     update
		errno unix.Errno
		text  string
	}{
		{"unknown netdev", update{9999, queueAll, fd(drop.FD), 0}, unix.ENODEV, "no such netdev"},
		{"ifindex -1", update{0xffffffff, queueAll, fd(drop.FD), 0}, unix.ENODEV, "no such netdev"},
		{"ifindex beyond int", update{0x80000001, queueAll, fd(drop.FD), 0}, unix.ENODEV, "no such netdev"},
		{"control device", update{uint32(r.ctl), queueAll, fd(drop.FD), 0}, unix.EOPNOTSUPP, "a control device takes no program"},
		{"a queue that is none", update{dummy0, 7, fd(drop.FD), 0}, unix.EINVAL, "the netdev has 1 RX queues, from 0 to 0"},
		{"fd -1", update{dummy0, queueAll, fd(-1), 0}, unix.EBADF, "no such file descriptor"},
		{"fd not open", update{dummy0, queueAll, fd(9999), 0}, unix.EBADF, "no such file descriptor"},
		{"fd of a file", update{dummy0, queueAll, fd(int(file.Fd())), 0}, unix.EINVAL, "not an XDP program"},
		{"fd of a map", update{dummy0, queueAll, fd(r.progs), 0}, unix.EINVAL, "not an XDP program"},
		{"fd of a link", update{dummy0, queueAll, fd(foreign), 0}, unix.EINVAL, "not an XDP program"},
		{"fd of a socket filter", update{dummy0, queueAll, fd(filter.FD), 0}, unix.EINVAL, "not an XDP program"},
		{"fd of a cpumap program", update{dummy0, queueAll, fd(cpumap.FD), 0}, unix.EINVAL,
			"the program is for an entry of a devmap or cpumap, not for a netdev"},
		{"no fd", update{dummy0, queueAll, map[uint16]uint32{attrMode: 2}, 0}, unix.EINVAL, "no program is given"},
		{"two modes", update{dummy0, queueAll, with(attrMode, 3), 0}, unix.EINVAL, "only one XDP mode can be set"},
		{"three modes", update{dummy0, queueAll, with(attrMode, 7), 0}, unix.EINVAL, "only one XDP mode can be set"},
		{"offload mode", update{dummy0, queueAll, with(attrMode, 4), 0}, unix.EOPNOTSUPP, "offload mode cannot be set"},
		{"expected with noexist", update{dummy0, queueAll, with(attrExpected, 1), 1}, unix.EINVAL, "an expected program id goes with a replace"},
		{"expected where none is", update{dummy0, queueAll, with(attrExpected, 1), 0}, unix.ENOENT, "no program is attached"},
		{"replace where none is", update{dummy0, queueAll, fd(drop.FD), 2}, unix.ENOENT, "no program is attached"},
		{"native on dummy", update{dummy0, queueAll, with(attrMode, 1), 0}, unix.EOPNOTSUPP,
			"the driver does not support XDP in native mode in its present settings"},
		{"add where one is", update{veth0, queueAll, fd(drop.FD), 1}, unix.EEXIST, fmt.Sprintf("program %d is attached already", pass.ID)},
		{"expected another", update{veth0, queueAll, with(attrExpected, drop.ID), 0}, unix.EEXIST,
			fmt.Sprintf("active program %d does not match expected %d", pass.ID, drop.ID)},
		{"replace expected another", update{veth0, queueAll, with(attrExpected, 0xffffffff), 2}, unix.EEXIST,
			fmt.Sprintf("active program %d does not match expected 4294967295", pass.ID)},
		{"replace in another mode", update{veth0, queueAll, with(attrMode, 2), 2}, unix.EINVAL,
			fmt.Sprintf("program %d is attached in native mode, which a replace cannot change: detach it first", pass.ID)},
		{"replace by another attach type", update{veth0, queueAll, fd(untyped.FD), 2}, unix.EINVAL,
			fmt.Sprintf("program %d was loaded with another expected attach type: detach it first", pass.ID)},
		{"replace over rtnetlink's", update{veth1, queueAll, fd(pass.FD), 2}, unix.EBUSY,
			fmt.Sprintf("the netdev is held by program %d, attached in native mode over rtnetlink", drop.ID)},
		{"add over rtnetlink's", update{veth1, queueAll, with(attrMode, 2), 1}, unix.EBUSY,
			fmt.Sprintf("the netdev is held by program %d, attached in native mode over rtnetlink", drop.ID)},
		{"replace over a link", update{dummy1, queueAll, fd(pass.FD), 0}, unix.EBUSY,
			fmt.Sprintf("the netdev is held by program %d, attached in generic mode by BPF link %d of somebody else", drop.ID, linkID)},
		{"expected over a link", update{dummy1, queueAll, with(attrExpected, drop.ID), 2}, unix.EBUSY,
			fmt.Sprintf("the netdev is held by program %d, attached in generic mode by BPF link %d of somebody else", drop.ID, linkID)},
	} {
		r.unchanged(tc.name, func() {
			attrs := tc.u.attrs()
			missing := uint16(0)
			if _, ok := tc.u.fields[attrFD]; !ok {
				missing = attrFD
			}
			r.answer(tc.name, r.do(cmdProgSet, 0, attrs), attrs, tc.errno, tc.text, 0, missing)
			if err := r.updateMap(tc.u.key(), tc.u.value(), uint64(tc.u.how)); err != tc.errno {
				t.Errorf("%s at the map: got %v, want %v", tc.name, err, tc.errno)
			}
		})
	}
}

// foreignLink attaches by a link that is not the module's.
func (r *raw) foreignLink(p *testutil.Prog, ifindex uint32) (fd int) {
	r.Helper()
	r.ns.Do(func() { fd = testutil.CreateXDPLink(r.T, p.FD, int(ifindex), 0) })
	return fd
}

func (r *raw) linkID(fd int) uint32 {
	r.Helper()
	var info testutil.LinkInfo
	if err := testutil.ObjInfo(fd, unsafe.Pointer(&info), unsafe.Sizeof(info)); err != nil {
		r.Fatal(err)
	}
	return info.ID
}
