// SPDX-License-Identifier: BSD-3-Clause

package differential

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// spoil makes a request one that no client would make.
func (g *generator) spoil(m *message) {
	pick(g,
		g.spoilFlags, g.spoilFlags, g.spoilType, g.spoilHeader, g.spoilSize,
		g.addAttr, g.addAttr, g.addAttr, g.dropAttr, g.repeatAttr,
		g.spoilAttr, g.spoilAttr, g.spoilAttr, g.spoilAttr, g.trail,
	)(m)
}

// spoilFlags changes the flags of the netlink header.
func (g *generator) spoilFlags(m *message) {
	switch g.IntN(6) {
	case 0:
		m.flags &^= unix.NLM_F_REQUEST
		g.say("no REQUEST")
	case 1:
		m.flags |= unix.NLM_F_DUMP
		g.say("DUMP")
	case 2:
		m.flags |= pick[uint16](g, unix.NLM_F_ROOT, unix.NLM_F_MATCH)
		g.say("half of DUMP")
	case 3:
		m.flags |= pick[uint16](g, unix.NLM_F_CREATE, unix.NLM_F_EXCL, unix.NLM_F_REPLACE, unix.NLM_F_APPEND)
		g.say("flags %#x", m.flags)
	case 4:
		m.flags |= pick[uint16](g, unix.NLM_F_MULTI, unix.NLM_F_DUMP_INTR, unix.NLM_F_DUMP_FILTERED)
		g.say("flags %#x", m.flags)
	default:
		m.flags = uint16(g.Uint32())
		// All families at once are the kernel's business.
		if m.typ == unix.GENL_ID_CTRL {
			m.flags &^= unix.NLM_F_DUMP
		}
		g.say("flags %#x", m.flags)
	}
	g.noFamilies(m)
}

// noFamilies makes no dump of all families of a request, and no other either
// that what one machine has would answer.
func (g *generator) noFamilies(m *message) {
	if m.typ == unix.GENL_ID_CTRL && len(m.header) > 0 && m.header[0] == unix.CTRL_CMD_GETFAMILY {
		m.flags &^= unix.NLM_F_DUMP
	}
}

// spoilType addresses somebody else.
func (g *generator) spoilType(m *message) {
	m.typ = pick[uint16](g, 0, unix.NLMSG_NOOP, unix.NLMSG_ERROR, unix.NLMSG_DONE, 4, 15, 17, 0xff0, 0xffff, g.family)
	g.say("type %d", m.typ)
}

// spoilHeader changes the generic netlink header.
func (g *generator) spoilHeader(m *message) {
	if len(m.header) < 4 {
		return
	}
	switch g.IntN(4) {
	case 0:
		m.header[0] = pick[uint8](g, 0, 7, 12, 16, 17, 18, 40, 255)
		g.say("command %d", m.header[0])
	case 1:
		m.header[1] = uint8(g.Uint32())
		g.say("version %d", m.header[1])
	case 2:
		m.header[2+g.IntN(2)] = uint8(1 + g.IntN(255))
		g.say("reserved")
	default:
		m.header = m.header[:g.IntN(4)]
		m.attrs = nil
		g.say("short header")
	}
	g.noFamilies(m)
}

// spoilSize makes nlmsg_len lie.
func (g *generator) spoilSize(m *message) {
	m.size = pick(g, -1, -2, -4, -16, -40, 1, 2, 3, 4, 100, 1<<20)
	g.say("length %+d", m.size)
}

// addAttr adds an attribute that the operation may not know.
func (g *generator) addAttr(m *message) {
	typ := uint16(g.IntN(24))
	if g.chance(5) {
		typ = uint16(g.Uint32()) & 0x3fff
	}
	if g.chance(5) {
		typ |= pick[uint16](g, unix.NLA_F_NESTED, unix.NLA_F_NET_BYTEORDER)
	}
	n := pick(g, 4, 4, 8, 0, 1, 2, 3, 5, 16, 40)
	data := make([]byte, n)
	for i := range data {
		data[i] = uint8(g.IntN(3))
	}
	at := pick(g, 0, len(m.attrs))
	m.attrs = slices.Insert(m.attrs, at, testutil.Attr(typ, data)...)
	g.say("attribute %#x of %d bytes at %d", typ, n, at)
}

// offsets returns where the attributes begin, as far as they are sound.
func offsets(b []byte) []int {
	var at []int
	for i := 0; i+4 <= len(b); {
		n := int(ne.Uint16(b[i:]))
		if n < 4 || i+n > len(b) {
			break
		}
		at = append(at, i)
		i += (n + 3) &^ 3
	}
	return at
}

// one returns an attribute's beginning and end, or ok false if there is none.
func (g *generator) one(m *message) (from, to int, ok bool) {
	at := offsets(m.attrs)
	if len(at) == 0 {
		return 0, 0, false
	}
	from = pick(g, at...)
	return from, min(from+(int(ne.Uint16(m.attrs[from:]))+3)&^3, len(m.attrs)), true
}

func (g *generator) dropAttr(m *message) {
	if from, to, ok := g.one(m); ok {
		m.attrs = slices.Delete(m.attrs, from, to)
		g.say("without the attribute at %d", from)
	}
}

func (g *generator) repeatAttr(m *message) {
	if from, to, ok := g.one(m); ok {
		m.attrs = append(m.attrs, slices.Clone(m.attrs[from:to])...)
		g.say("the attribute at %d twice", from)
	}
}

// spoilAttr changes the header or the payload of an attribute.
func (g *generator) spoilAttr(m *message) {
	from, to, ok := g.one(m)
	if !ok {
		return
	}
	switch g.IntN(5) {
	case 0:
		n := pick[uint16](g, 0, 1, 3, 4, 5, 6, 7, 9, 12, 0x7fff, 0xffff)
		ne.PutUint16(m.attrs[from:], n)
		g.say("attribute at %d of length %d", from, n)
	case 1:
		m.attrs[from+3] ^= pick[uint8](g, 0x80, 0x40, 0xc0)
		g.say("attribute at %d with flags", from)
	case 2:
		ne.PutUint16(m.attrs[from+2:], uint16(g.IntN(30)))
		g.say("attribute at %d of another type", from)
	default:
		if to-from >= 8 {
			v := pick(g, 0, 1, 2, 3, 7, 8, 0x20, 0x80, 1<<31, g.Uint32())
			ne.PutUint32(m.attrs[from+4:], v)
			g.say("attribute at %d is %#x", from, v)
		}
	}
}

// trail adds bytes that are no attribute.
func (g *generator) trail(m *message) {
	m.attrs = append(m.attrs, make([]byte, 1+g.IntN(7))...)
	g.say("bytes behind the attributes")
}
