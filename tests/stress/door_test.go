// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// table is a control type.
type table struct {
	typ       family.CtrlType
	name      string
	cmd       uint8 // NAME-get
	keySize   int
	valueSize int
}

var (
	stats  = &table{family.CtrlTypeXDPStats, "xdp_stats", family.CmdStatsGet, int(unsafe.Sizeof(family.StatsKey{})), int(unsafe.Sizeof(family.Stats{}))}
	qstats = &table{family.CtrlTypeXDPQstats, "xdp_qstats", family.CmdQstatsGet, int(unsafe.Sizeof(family.QstatsKey{})), int(unsafe.Sizeof(family.Qstats{}))}
	prog   = &table{family.CtrlTypeXDPProg, "xdp_prog", family.CmdProgGet, int(unsafe.Sizeof(family.ProgKey{})), int(unsafe.Sizeof(family.Prog{}))}
	caps   = &table{family.CtrlTypeXDPCaps, "xdp_caps", family.CmdCapsGet, int(unsafe.Sizeof(family.CapsKey{})), int(unsafe.Sizeof(family.Caps{}))}
	attr   = &table{family.CtrlTypeXDPAttr, "xdp_attr", family.CmdAttrGet, int(unsafe.Sizeof(family.AttrKey{})), int(unsafe.Sizeof(family.Attr{}))}
	tables = []*table{stats, qstats, prog, caps, attr} // by ifindex
	port   = &table{family.CtrlTypeXDPPort, "xdp_port", family.CmdPortGet, int(unsafe.Sizeof(family.PortKey{})), int(unsafe.Sizeof(family.Port{}))}
)

// valueMax has room for the value of any control type: a file descriptor that
// is closed and used again may come to mean another.
const valueMax = 512

// key is the key of an entry of any control type: the ifindex or the port, and
// the RX queue where there is one.
type key [2]uint32

// values are the fields of an entry, or those that an update sets, by attribute.
type values map[uint16]uint64

// entry is an entry of any control type, by its key. State is there for xdp_prog
// only.
type entry struct {
	ifindex, queue uint32
	state          state
}

// state is what is attached to a netdev; a zero id means nothing.
type state struct {
	prog, link uint32
	mode       family.Mode
	owner      family.Owner
}

// change is an update of xdp_prog.
type change struct {
	prog   *testutil.Prog
	how    family.Update
	expect uint32 // program id, or 0
	mode   family.Mode
}

// door is a way in that says what the kernel says: its errors are errnos, and
// anything else means that the door itself is broken.
type door interface {
	get(tb *table, ifindex, queue uint32) (state, error)
	set(ifindex uint32, c change) error
	del(ifindex uint32) error
	// walk iterates over the table. Intr is set if it says itself that it
	// may have missed something.
	walk(tb *table) (list []entry, intr bool, err error)

	// look, put and drop read, update and delete an entry of any control type.
	look(tb *table, k key) (values, error)
	put(tb *table, k key, how family.Update, v values) error
	drop(tb *table, k key) error
}

// nlDoor is the netlink door.
type nlDoor struct{ g *testutil.Genl }

// result is what a door makes of an answer.
func result(a *testutil.Answer, err error) error {
	switch {
	case err != nil:
		return err
	case a.Errno != 0:
		return a.Errno
	}
	return nil
}

func (d *nlDoor) do(cmd uint8, flags uint16, attrs []byte) (*testutil.Answer, error) {
	a, err := d.g.TryRaw(d.g.Message(cmd, flags, attrs))
	return a, result(a, err)
}

// key is the key of an entry. Attributes 1 and 2 are the ifindex and the queue
// of every control type.
func (d *nlDoor) key(tb *table, ifindex, queue uint32) []byte {
	b := testutil.AttrU32(family.AttrProgIfindex, ifindex)
	if tb.keySize > 4 {
		b = append(b, testutil.AttrU32(family.AttrProgQueue, queue)...)
	}
	return b
}

func (d *nlDoor) get(tb *table, ifindex, queue uint32) (state, error) {
	a, err := d.do(tb.cmd, 0, d.key(tb, ifindex, queue))
	if err != nil {
		return state{}, err
	}
	if len(a.Msgs) != 1 {
		return state{}, fmt.Errorf("get %s %d: %d replies", tb.name, ifindex, len(a.Msgs))
	}
	return parseEntry(tb, a.Msgs[0].Attrs).state, nil
}

func (d *nlDoor) set(ifindex uint32, c change) error {
	b := testutil.AttrU32(family.AttrProgIfindex, ifindex)
	b = append(b, testutil.AttrU32(family.AttrProgUpdate, uint32(c.how))...)
	b = append(b, testutil.AttrU32(family.AttrProgFD, uint32(c.prog.FD))...)
	if c.expect != 0 {
		b = append(b, testutil.AttrU32(family.AttrProgExpectedProgID, c.expect)...)
	}
	if c.mode != 0 {
		b = append(b, testutil.AttrU32(family.AttrProgMode, uint32(c.mode))...)
	}
	_, err := d.do(family.CmdProgSet, 0, b)
	return err
}

func (d *nlDoor) del(ifindex uint32) error {
	_, err := d.do(family.CmdProgDel, 0, testutil.AttrU32(family.AttrProgIfindex, ifindex))
	return err
}

func (d *nlDoor) walk(tb *table) ([]entry, bool, error) {
	a, err := d.do(tb.cmd, unix.NLM_F_DUMP, nil)
	if err != nil {
		return nil, false, err
	}
	var list []entry
	intr := false
	for _, m := range a.Msgs {
		list = append(list, parseEntry(tb, m.Attrs))
		intr = intr || m.Flags&unix.NLM_F_DUMP_INTR != 0
	}
	return list, intr, nil
}

func (d *nlDoor) look(tb *table, k key) (values, error) {
	a, err := d.do(tb.cmd, 0, d.key(tb, k[0], k[1]))
	if err != nil {
		return nil, err
	}
	if len(a.Msgs) != 1 {
		return nil, fmt.Errorf("look at %s %v: %d replies", tb.name, k, len(a.Msgs))
	}
	v := make(values)
	for id, b := range testutil.Attrs(a.Msgs[0].Attrs) {
		switch len(b) {
		case 4:
			v[id] = uint64(binary.NativeEndian.Uint32(b))
		case 8:
			v[id] = binary.NativeEndian.Uint64(b)
		}
	}
	return v, nil
}

func (d *nlDoor) put(tb *table, k key, how family.Update, v values) error {
	desc := tb.typ.Desc()
	b := d.key(tb, k[0], k[1])
	if desc.UpdateAttr != 0 {
		b = append(b, testutil.AttrU32(desc.UpdateAttr, uint32(how))...)
	}
	for _, f := range desc.Fields {
		if n, ok := v[f.Attr]; ok {
			b = append(b, testutil.AttrU32(f.Attr, uint32(n))...)
		}
	}
	_, err := d.do(desc.SetCmd, 0, b)
	return err
}

func (d *nlDoor) drop(tb *table, k key) error {
	_, err := d.do(tb.typ.Desc().DelCmd, 0, d.key(tb, k[0], k[1]))
	return err
}

func parseEntry(tb *table, b []byte) entry {
	attrs := testutil.Attrs(b)
	u32 := func(id uint16) uint32 {
		if len(attrs[id]) != 4 {
			return 0
		}
		return binary.NativeEndian.Uint32(attrs[id])
	}
	e := entry{ifindex: u32(family.AttrProgIfindex), queue: u32(family.AttrProgQueue)}
	if tb == prog {
		e.state = state{
			prog: u32(family.AttrProgProgID), link: u32(family.AttrProgLinkID),
			mode: family.Mode(u32(family.AttrProgMode)), owner: family.Owner(u32(family.AttrProgOwner)),
		}
	}
	return e
}

// mapDoor is the map door: a control map of every type, or of some.
type mapDoor struct{ fd map[*table]int }

// openMaps makes a control map of every type on the control device in the
// namespace of the calling thread.
func openMaps(ctl int) (*mapDoor, error) {
	d := &mapDoor{fd: make(map[*table]int)}
	for _, tb := range append(tables[:len(tables):len(tables)], port) {
		fd, err := createMap(tb, ctl)
		if err != nil {
			d.close()
			return nil, err
		}
		d.fd[tb] = fd
	}
	return d, nil
}

func createMap(tb *table, ctl int) (int, error) {
	return testutil.CreateMap(testutil.ControlMapAttr(tb.name, ctl, tb.keySize, tb.valueSize))
}

func (d *mapDoor) close() {
	for _, fd := range d.fd {
		unix.Close(fd)
	}
}

func mapKey(ifindex, queue uint32) []byte {
	b := binary.NativeEndian.AppendUint32(make([]byte, 0, 16), ifindex)
	return binary.NativeEndian.AppendUint32(b, queue)
}

func (d *mapDoor) get(tb *table, ifindex, queue uint32) (state, error) {
	v := make([]byte, valueMax)
	if err := testutil.LookupElem(d.fd[tb], mapKey(ifindex, queue), v, 0); err != nil {
		return state{}, err
	}
	return parseValue(tb, v), nil
}

func parseValue(tb *table, b []byte) state {
	if tb != prog {
		return state{}
	}
	v := (*family.Prog)(unsafe.Pointer(&b[0]))
	return state{v.ProgID, v.LinkID, v.Mode, v.Owner}
}

func progValue(c change) []byte {
	b := make([]byte, valueMax)
	v := (*family.Prog)(unsafe.Pointer(&b[0]))
	v.SetFD(uint32(c.prog.FD))
	if c.expect != 0 {
		v.SetExpectedProgID(c.expect)
	}
	if c.mode != 0 {
		v.SetMode(c.mode)
	}
	return b
}

func (d *mapDoor) set(ifindex uint32, c change) error {
	return testutil.UpdateElem(d.fd[prog], mapKey(ifindex, family.QueueAll), progValue(c), uint64(c.how))
}

func (d *mapDoor) del(ifindex uint32) error {
	return testutil.DeleteElem(d.fd[prog], mapKey(ifindex, family.QueueAll))
}

func (d *mapDoor) walk(tb *table) ([]entry, bool, error) {
	var list []entry
	var key []byte
	for {
		next := make([]byte, 16)
		err := testutil.NextKey(d.fd[tb], key, next)
		if errors.Is(err, unix.ENOENT) {
			return list, false, nil
		}
		if err != nil {
			return list, false, err
		}
		key = next
		e := entry{ifindex: binary.NativeEndian.Uint32(key)}
		if tb.keySize > 4 {
			e.queue = binary.NativeEndian.Uint32(key[4:])
		}
		e.state, err = d.get(tb, e.ifindex, e.queue)
		if errors.Is(err, unix.ENOENT) {
			continue // gone meanwhile
		}
		if err != nil {
			return list, false, err
		}
		list = append(list, e)
	}
}

func (d *mapDoor) look(tb *table, k key) (values, error) {
	b := make([]byte, valueMax)
	if err := testutil.LookupElem(d.fd[tb], mapKey(k[0], k[1]), b, 0); err != nil {
		return nil, err
	}
	present := binary.NativeEndian.Uint64(b)
	v := make(values)
	for _, f := range tb.typ.Desc().Fields {
		switch {
		case f.Key || present>>f.Attr&1 == 0:
		case f.Size == 4:
			v[f.Attr] = uint64(binary.NativeEndian.Uint32(b[f.Offset:]))
		case f.Size == 8:
			v[f.Attr] = binary.NativeEndian.Uint64(b[f.Offset:])
		}
	}
	return v, nil
}

func (d *mapDoor) put(tb *table, k key, how family.Update, v values) error {
	b := make([]byte, valueMax)
	present := uint64(0)
	for _, f := range tb.typ.Desc().Fields {
		if n, ok := v[f.Attr]; ok {
			present |= 1 << f.Attr
			binary.NativeEndian.PutUint32(b[f.Offset:], uint32(n))
		}
	}
	binary.NativeEndian.PutUint64(b, present)
	return testutil.UpdateElem(d.fd[tb], mapKey(k[0], k[1]), b, uint64(how))
}

func (d *mapDoor) drop(tb *table, k key) error {
	return testutil.DeleteElem(d.fd[tb], mapKey(k[0], k[1]))
}

// checkOrder makes sure that entries come in ascending order, none twice.
func checkOrder(list []entry) error {
	for i := 1; i < len(list); i++ {
		a, b := list[i-1], list[i]
		if b.ifindex < a.ifindex || b.ifindex == a.ifindex && b.queue <= a.queue {
			return fmt.Errorf("entry %d/%d comes after %d/%d", b.ifindex, b.queue, a.ifindex, a.queue)
		}
	}
	return nil
}

// find returns the first entry of a netdev.
func find(list []entry, ifindex uint32) (entry, bool) {
	for _, e := range list {
		if e.ifindex == ifindex {
			return e, true
		}
	}
	return entry{}, false
}

// nextIDs lists the ids that a BPF_*_GET_NEXT_ID command gives.
func nextIDs(cmd int) ([]uint32, error) {
	var ids []uint32
	a := struct{ id, next, flags uint32 }{}
	for {
		_, err := testutil.BPF(cmd, unsafe.Pointer(&a), unsafe.Sizeof(a))
		if errors.Is(err, unix.ENOENT) {
			return ids, nil
		}
		if err != nil {
			return nil, err
		}
		ids = append(ids, a.next)
		a.id = a.next
	}
}

// world is a network namespace with a control device and programs.
type world struct {
	*testing.T
	ns  *testutil.NetNS
	ctl int // ifindex of the control device

	pass, drop, other *testutil.Prog
}

const ctlName = "xdpctl0"

func newWorld(t *testing.T) *world {
	t.Helper()
	ns := testutil.NewNetNS(t)
	return &world{
		T: t, ns: ns, ctl: ns.AddControl(ctlName),
		pass: testutil.NewXDP(t, "pass", 2), drop: testutil.NewXDP(t, "drop", 1),
		other: testutil.NewXDP(t, "other", 2),
	}
}

// netlink opens the netlink door; one thread at a time may use it.
func (w *world) netlink() *nlDoor {
	w.Helper()
	return &nlDoor{w.ns.NewGenl(w.T, family.FamilyName)}
}

// judge is the netlink door for a thread that is not in the namespace, from
// which nothing could be changed.
type judge struct {
	nlDoor
	ns *testutil.NetNS
}

func (w *world) judge() *judge {
	w.Helper()
	return &judge{nlDoor: *w.netlink(), ns: w.ns}
}

func (j *judge) set(ifindex uint32, c change) (err error) {
	j.ns.Do(func() { err = j.nlDoor.set(ifindex, c) })
	return err
}

func (j *judge) del(ifindex uint32) (err error) {
	j.ns.Do(func() { err = j.nlDoor.del(ifindex) })
	return err
}

func (j *judge) put(tb *table, k key, how family.Update, v values) (err error) {
	j.ns.Do(func() { err = j.nlDoor.put(tb, k, how, v) })
	return err
}

func (j *judge) drop(tb *table, k key) (err error) {
	j.ns.Do(func() { err = j.nlDoor.drop(tb, k) })
	return err
}

// dialNetlink opens the netlink door in the namespace of the calling thread.
// The caller closes it.
func dialNetlink(t *testing.T, id uint16) *nlDoor {
	t.Helper()
	g, err := testutil.DialGenl(t, id)
	if err != nil {
		t.Fatal(err)
	}
	return &nlDoor{g}
}

// maps opens the map door.
func (w *world) maps() *mapDoor {
	w.Helper()
	d, err := w.openMaps(w.ctl)
	if err != nil {
		w.Fatalf("create control maps: %v", err)
	}
	w.Cleanup(d.close)
	return d
}

// openMaps makes a control map of every type. The caller closes them.
func (w *world) openMaps(ctl int) (d *mapDoor, err error) {
	w.Helper()
	w.ns.Do(func() { d, err = openMaps(ctl) })
	return d, err
}

// createMap makes a control map. The caller closes it.
func (w *world) createMap(tb *table) (fd int, err error) {
	w.Helper()
	w.ns.Do(func() { fd, err = createMap(tb, w.ctl) })
	return fd, err
}

// doors are the names and makers of both doors.
var doors = []struct {
	name string
	open func(w *world) door
}{
	{"netlink", func(w *world) door { return w.netlink() }},
	{"map", func(w *world) door { return w.maps() }},
}

// veth makes a pair and returns the ifindex of the first.
func (w *world) veth(name string) uint32 {
	w.Helper()
	a, _ := w.ns.AddVeth(name, name+"p", testutil.VethOptions{})
	return uint32(a)
}
