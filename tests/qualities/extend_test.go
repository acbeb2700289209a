// SPDX-License-Identifier: BSD-3-Clause

package qualities

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/compare"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// youngest is the last attribute that a client of the first version of xdp_prog
// knows.
const youngest = family.AttrProgName

// TestOldClient is a client of xdp_prog as it was before required-features, against
// the module of today.
func TestOldClient(t *testing.T) {
	w := newWorld(t)
	desc := family.CtrlTypeXDPProg.Desc()
	oldSize := desc.OldSizes[0]
	old, today := w.controlOf(desc.Type, oldSize), w.control(desc.Type)
	k := wholeDev(w.veth0)

	// What the old client knows nothing of is there.
	v := program(w.pass)
	v.SetRequiredActions(family.ActionPass)
	if a := w.setNetlink(k, v, family.UpdateAny); a.Errno != 0 {
		t.Fatalf("attach: %v", a)
	}
	a := w.do(family.CmdProgGet, 0, k.AppendAttrs(nil))
	if a.Errno != 0 || len(a.Msgs) != 1 {
		t.Fatalf("prog-get: %v", a)
	}
	attrs, younger := testutil.Attrs(a.Msgs[0].Attrs), 0
	for attr := range attrs {
		if attr > youngest {
			younger++
		}
	}
	if younger == 0 {
		t.Errorf("the reply has nothing that is younger than the client: %v", attrs)
	}

	info := testutil.MapInfoOf(t, old)
	size := structOf(t, info.BTFID, info.BTFValueTypeID).Size
	expect(t, "size in the BTF of the old map", int(size), oldSize)
	guard := bytes.Repeat([]byte{0xee}, 2*desc.ValueSize)
	b := slices.Clone(guard)
	expect(t, "lookup in the old map", errno(t, testutil.LookupElem(old, bytesOf(k), b, 0)), 0)
	var was family.Prog
	copy(bytesOf(&was), b[:oldSize])
	expect(t, "bytes behind the old value", bytes.Equal(b[oldSize:], guard[oldSize:]), true)
	expect(t, "what is present that the client does not know", was.Present>>(youngest+1), 0)
	expect(t, "program", was.ProgID, w.pass.ID)

	// Its own requests, which have nothing new in them.
	a = w.setNetlink(k, program(w.drop), family.UpdateExist)
	expect(t, "old request over netlink", a.Errno, 0)
	expect(t, "old request through the old map", errno(t, w.setMap(old, k, program(w.pass), family.UpdateExist)), 0)
	expect(t, "program after both", w.ids("veth0")[0], w.pass.ID)

	// Somebody else's map, with the old idea of its size.
	b = slices.Clone(guard)
	expect(t, "lookup in the map of today", errno(t, testutil.LookupElem(today, bytesOf(k), b, 0)), 0)
	over := 0
	for over < len(b)-oldSize && !bytes.Equal(b[oldSize+over:], guard[oldSize+over:]) {
		over++
	}
	expect(t, "bytes written behind what the client has room for", over, desc.ValueSize-oldSize)

	line(t, compare.Quality{
		Name:     "extensibility, old client",
		Question: "Does a client that was built before fields were added work with the module of today?",
		Netlink: fmt.Sprintf("Yes: of the %d attributes of a reply it does not know %d, and steps over by their length; its requests are taken as they are.",
			len(attrs), younger),
		Map: fmt.Sprintf("Yes, in a map of the old size (%d of now %d bytes), which the module keeps a list of; BTF and present are the old ones. In a map that a newer client made, bpf(2) writes %d bytes more than an old client has room for, unless it asks for the size first.",
			oldSize, desc.ValueSize, over),
	})
}

// TestNewClient is a client that knows more than the module.
func TestNewClient(t *testing.T) {
	w := newWorld(t)
	desc := family.CtrlTypeXDPProg.Desc()
	const unknown, command = 40, 99
	k := wholeDev(w.veth0)

	attrs := slices.Concat(request(k, program(w.pass), family.UpdateAny), testutil.AttrU32(unknown, 1))
	a := w.do(family.CmdProgSet, 0, attrs)
	expect(t, "unknown attribute", a.Errno, unix.EINVAL)
	expect(t, "text", a.Message, "Unknown attribute type")
	expect(t, "offset", a.Offset, 20+len(attrs)-8)
	noCommand := w.do(command, 0, k.AppendAttrs(nil))
	expect(t, "unknown command", noCommand.Errno, unix.EOPNOTSUPP)
	_, _, p := askFamily(t)
	expect(t, "attribute in the policy", p.attrs[p.byOp[family.CmdProgSet]][unknown] != nil, false)
	_, hasCommand := p.byOp[command]
	expect(t, "command in the policy", hasCommand, false)

	m := w.control(desc.Type)
	v := program(w.pass)
	v.Present |= 1 << unknown
	onBit := errno(t, w.setMap(m, k, v, family.UpdateAny))
	expect(t, "unknown bit in present", onBit, unix.EINVAL)
	_, err := w.create(desc, desc.ValueSize+8)
	expect(t, "larger value", errno(t, err), unix.EINVAL)
	expect(t, "program after all that", w.ids("veth0")[0], 0)

	line(t, compare.Quality{
		Name:     "extensibility, new client",
		Question: "Does a client that knows more than the module find out what it must do without?",
		Netlink: fmt.Sprintf("An attribute that the module does not know is refused: %s, %q, with its offset. A command: %s. The policies tell both beforehand.",
			name(a.Errno), a.Message, name(noCommand.Errno)),
		Map: fmt.Sprintf("A map with a larger value is refused: %s, with no word of the size that there is, so sizes are tried downwards. A bit in present that the module does not know: %s, with no word which.",
			name(errno(t, err)), name(onBit)),
	})
}

// refusal is an update that either door must refuse.
type refusal struct {
	what  string
	key   *family.ProgKey
	value *family.Prog
	how   family.Update
	errno unix.Errno
	text  string
	// Which attribute is named over netlink, if one is.
	bad, missing uint16
}

// refusals are wrong in one way each. Program pass is on veth0, and drop, by
// rtnetlink, on veth1.
func (w *world) refusals(m int) []refusal {
	with := func(p *testutil.Prog, fill func(v *family.Prog)) *family.Prog {
		v := program(p)
		fill(v)
		return v
	}
	fd := func(fd uint32) *family.Prog {
		v := new(family.Prog)
		v.SetFD(fd)
		return v
	}
	mode := func(m family.Mode) *family.Prog {
		return with(w.drop, func(v *family.Prog) { v.SetMode(m) })
	}
	expected := func(id uint32) *family.Prog {
		return with(w.drop, func(v *family.Prog) { v.SetExpectedProgID(id) })
	}
	noFD := new(family.Prog)
	noFD.SetMode(family.ModeGeneric)
	drop, dummy, veth0, veth1 := program(w.drop), wholeDev(w.dummy0), wholeDev(w.veth0), wholeDev(w.veth1)
	const any, add, replace = family.UpdateAny, family.UpdateNoexist, family.UpdateExist
	return []refusal{
		{"no such netdev", wholeDev(nobody), drop, any, unix.ENODEV, "no such netdev", 0, 0},
		{"the control device", wholeDev(uint32(w.ctl)), drop, any, unix.EOPNOTSUPP, "a control device takes no program", 0, 0},
		{"no such queue", &family.ProgKey{Ifindex: w.dummy0, Queue: 7}, drop, any, unix.EINVAL, "the netdev has 1 RX queues, from 0 to 0", 0, 0},
		{"no such descriptor", dummy, fd(nobody), any, unix.EBADF, "no such file descriptor", 0, 0},
		{"descriptor of a map", dummy, fd(uint32(m)), any, unix.EINVAL, "not an XDP program", 0, 0},
		{"no descriptor", dummy, noFD, any, unix.EINVAL, "no program is given", 0, family.AttrProgFD},
		{"two modes", dummy, mode(family.ModeNative | family.ModeGeneric), any, unix.EINVAL, "only one XDP mode can be set", 0, 0},
		{"a mode that is none", dummy, mode(8), any, unix.EINVAL, "reserved bit set", family.AttrProgMode, 0},
		{"offload", dummy, mode(family.ModeOffload), any, unix.EOPNOTSUPP, "offload mode cannot be set", 0, 0},
		{"native on dummy", dummy, mode(family.ModeNative), any, unix.EOPNOTSUPP,
			"the driver does not support XDP in native mode in its present settings", 0, 0},
		{"expected id 0", dummy, expected(0), any, unix.ERANGE, "integer out of range", family.AttrProgExpectedProgID, 0},
		{"replace nothing", dummy, drop, replace, unix.ENOENT, "no program is attached", 0, 0},
		{"add a second", veth0, drop, add, unix.EEXIST, fmt.Sprintf("program %d is attached already", w.pass.ID), 0, 0},
		{"expect another", veth0, expected(w.drop.ID), any, unix.EEXIST,
			fmt.Sprintf("active program %d does not match expected %d", w.pass.ID, w.drop.ID), 0, 0},
		{"another mode", veth0, mode(family.ModeGeneric), replace, unix.EINVAL,
			fmt.Sprintf("program %d is attached in native mode, which a replace cannot change: detach it first", w.pass.ID), 0, 0},
		{"somebody else's", veth1, drop, any, unix.EBUSY,
			fmt.Sprintf("the netdev is held by program %d, attached in native mode over rtnetlink", w.drop.ID), 0, 0},
	}
}

// TestErrors makes updates that are wrong in different ways, and counts by how
// many answers they can be told apart.
func TestErrors(t *testing.T) {
	w := newWorld(t)
	m := w.control(family.CtrlTypeXDPProg)
	w.attach(w.veth0, w.pass)
	if err := w.ns.SetXDP("veth1", w.drop.FD, 0); err != nil {
		t.Fatal(err)
	}
	texts, errnos := make(map[string]bool), make(map[unix.Errno]int)
	offsets, missing := 0, 0
	list := w.refusals(m)
	for _, r := range list {
		a := w.setNetlink(r.key, r.value, r.how)
		expect(t, r.what+" over netlink", a.Errno, r.errno)
		expect(t, r.what+": text", a.Message, r.text)
		expect(t, r.what+": missing attribute", a.MissType, int(r.missing))
		expect(t, r.what+": an attribute is pointed at", a.Offset != 0, r.bad != 0)
		got := errno(t, w.setMap(m, r.key, r.value, r.how))
		expect(t, r.what+" at the map", got, r.errno)
		texts[a.Message] = true
		errnos[got]++
		if a.Offset != 0 {
			offsets++
		}
		if a.MissType != 0 {
			missing++
		}
	}
	expect(t, "texts", len(texts), len(list))
	ids := w.ids("veth0", "veth1", "dummy0")
	expect(t, "programs after all that", fmt.Sprint(ids), fmt.Sprint([]uint32{w.pass.ID, w.drop.ID, 0}))

	line(t, compare.Quality{
		Name:     "error reporting",
		Question: fmt.Sprintf("Of %d updates of xdp_prog that are wrong in different ways, how many can be told apart by the answer?", len(list)),
		Netlink: fmt.Sprintf("All %d, by a text in words each, with ids and limits in it; %d point at the attribute in the request, %d names the one that is missing. The errno is the map's.",
			len(texts), offsets, missing),
		Map: fmt.Sprintf("%d, by errno, which is all there is: %s stands for %d of them, %s for %d.",
			len(errnos), name(unix.EINVAL), errnos[unix.EINVAL], name(unix.EOPNOTSUPP), errnos[unix.EOPNOTSUPP]),
	})
}
