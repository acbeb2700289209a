// SPDX-License-Identifier: BSD-3-Clause

// Package differential sends the same bytes to the kernel's family and to the
// server in userspace, and wants the same bytes back.
package differential

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

var ne = binary.NativeEndian

// stage is what requests can be about: the same on both sides.
type stage struct {
	family    uint16   // message type that stands for the family
	ifindexes []uint32 // netdevs, and numbers that are none
	fds       []uint32 // programs, and numbers that are none
	progIDs   []uint32
	noEcho    bool     // of what is changed
	unknown   []string // counters that one side does not know
}

// generator makes requests, the same for the same seed.
type generator struct {
	*rand.Rand
	stage
	words []string // what was done to the request, for the log
}

func newGenerator(seed uint64, s stage) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 4)), stage: s}
}

// say notes what was done.
func (g *generator) say(format string, args ...any) {
	g.words = append(g.words, fmt.Sprintf(format, args...))
}

// chance is true once in n times.
func (g *generator) chance(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

// message is a request before it is bytes.
type message struct {
	typ, flags uint16
	header     []byte // behind struct nlmsghdr, before the attributes
	attrs      []byte
	size       int // what nlmsg_len says beyond what is true
}

func (m *message) bytes(seq uint32) []byte {
	body := append(m.header[:len(m.header):len(m.header)], m.attrs...)
	b := ne.AppendUint32(nil, uint32(16+len(body)+m.size))
	b = ne.AppendUint16(b, m.typ)
	b = ne.AppendUint16(b, m.flags)
	b = ne.AppendUint32(b, seq)
	b = ne.AppendUint32(b, 0)
	return append(b, body...)
}

// datagram returns the bytes of the next datagram, most of one request, and says
// what it is. Its sequence numbers begin with seq.
func (g *generator) datagram(seq uint32) (b []byte, what string) {
	g.words = nil
	n := 1
	if g.chance(12) {
		n = 2 + g.IntN(3)
		g.say("%d messages", n)
	}
	for i := range n {
		for len(b)&3 != 0 {
			b = append(b, 0)
		}
		m := g.message()
		b = append(b, m.bytes(seq+uint32(i))...)
	}
	switch {
	case g.chance(40):
		cut := g.IntN(len(b))
		b = b[:cut]
		g.say("cut off after %d bytes", cut)
	case g.chance(40):
		b = append(b, make([]byte, 1+g.IntN(20))...)
		g.say("zeros behind it")
	}
	return b, strings.Join(g.words, ", ")
}

// message makes a request: one that makes sense, spoiled now and then.
func (g *generator) message() *message {
	m := g.sound()
	for g.chance(3) {
		g.spoil(m)
	}
	if g.noEcho {
		m.flags &^= unix.NLM_F_ECHO
	}
	return m
}

// sound makes a request as a client would.
func (g *generator) sound() *message {
	if g.chance(10) {
		return g.ctrl()
	}
	op := pick(g, g.requests()...)
	m := &message{typ: g.family, flags: unix.NLM_F_REQUEST, header: []byte{op.Cmd, family.FamilyVersion, 0, 0}}
	g.say("%s", op.Name)
	if op.Dump && g.chance(4) {
		m.flags |= unix.NLM_F_DUMP
		g.say("dump")
	}
	if !g.chance(4) {
		m.flags |= unix.NLM_F_ACK
	}
	if g.chance(8) {
		m.flags |= unix.NLM_F_ECHO
		g.say("echo")
	}
	for _, id := range op.Request {
		if g.wants(op, id, m.flags) {
			m.attrs = append(m.attrs, g.attr(op, id)...)
		}
	}
	return m
}

func (g *generator) requests() []*family.Op {
	var out []*family.Op
	for i := range family.Ops {
		if op := &family.Ops[i]; !op.Notify {
			out = append(out, op)
		}
	}
	return out
}

// wants tells whether a request has an attribute: keys mostly, but for dumps,
// others as it comes.
func (g *generator) wants(op *family.Op, id uint16, flags uint16) bool {
	if flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
		return g.chance(3)
	}
	switch op.Set.AttrName(id) {
	case "ifindex", "port", "id", "command":
		return !g.chance(15)
	case "queue", "fd", "enable-md", "enable-meter", "rings-num":
		return g.chance(2)
	}
	return g.chance(6)
}

// attr makes an attribute with a value that may be right.
func (g *generator) attr(op *family.Op, id uint16) []byte {
	info := op.Set.Attrs[id-1]
	v := g.value(&info)
	g.say("%s %d", info.Name, v)
	if info.Kind == family.KindU64 {
		return testutil.Attr(id, ne.AppendUint64(nil, v))
	}
	return testutil.AttrU32(id, uint32(v))
}

func (g *generator) value(info *family.AttrInfo) uint64 {
	switch info.Name {
	case "ifindex":
		return uint64(pick(g, g.ifindexes...))
	case "fd":
		return uint64(pick(g, g.fds...))
	case "expected-prog-id":
		return uint64(pick(g, g.progIDs...))
	case "queue":
		return pick[uint64](g, 0, 0, 1, 2, 63, 64, 1023, 4096, 0xffffffff, 0xffffffff, 0xfffffffe)
	case "port":
		return pick[uint64](g, 0, 1, 2, 3, 1023, 1024, 0xffffffff)
	case "rings-num", "rings-size":
		return pick[uint64](g, 0, 0, 1, 2, 3, 64, 5000, 0xffffffff)
	case "id":
		return uint64(g.IntN(9))
	}
	if info.Mask != 0 {
		return g.Uint64() & pick(g, info.Mask, 1, info.Mask<<1|1)
	}
	if info.Max != 0 {
		return g.Uint64N(info.Max + 2)
	}
	return pick(g, 0, 1, g.Uint64())
}

// ctrl makes a request to the family of families. Dumps of all families are not
// among them, for the kernel has many.
func (g *generator) ctrl() *message {
	m := &message{typ: unix.GENL_ID_CTRL, flags: unix.NLM_F_REQUEST, header: []byte{unix.CTRL_CMD_GETFAMILY, 2, 0, 0}}
	if !g.chance(3) {
		m.flags |= unix.NLM_F_ACK
	}
	if g.chance(3) {
		m.header[0] = unix.CTRL_CMD_GETPOLICY
		m.flags |= unix.NLM_F_DUMP
		g.say("getpolicy")
		if g.chance(3) {
			op := uint32(g.IntN(20))
			m.attrs = append(m.attrs, testutil.AttrU32(unix.CTRL_ATTR_OP, op)...)
			g.say("op %d", op)
		}
	} else {
		g.say("getfamily")
	}
	if g.chance(2) {
		name := pick(g, family.FamilyName, family.FamilyName, "nlctrl", "nlctrl2", "", "a-name-that-is-longer-than-any-may-be")
		b := []byte(name)
		if !g.chance(6) {
			b = append(b, 0)
		}
		m.attrs = append(m.attrs, testutil.Attr(unix.CTRL_ATTR_FAMILY_NAME, b)...)
		g.say("name %q", b)
	}
	if g.chance(2) {
		id := pick(g, g.family, g.family, unix.GENL_ID_CTRL, 0, 9, 0xfff)
		m.attrs = append(m.attrs, testutil.Attr(unix.CTRL_ATTR_FAMILY_ID, ne.AppendUint16(nil, id))...)
		g.say("id %d", id)
	}
	return m
}
