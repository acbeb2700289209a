// SPDX-License-Identifier: BSD-3-Clause

package differential

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// answer is what came back for a datagram: each message in words, in which only
// port ids, ids of objects and counters are left out.
type answer []string

// reader puts messages into words.
type reader struct {
	stage
	port uint32 // of the socket
}

// words returns a message in words, byte for byte but for what differs by its
// nature.
func (r *reader) words(m []byte) string {
	typ, flags, seq, port := ne.Uint16(m[4:]), ne.Uint16(m[6:]), ne.Uint32(m[8:]), ne.Uint32(m[12:])
	who := "another port"
	switch port {
	case 0:
		who = "no port"
	case r.port:
		who = "own port"
	}
	head := fmt.Sprintf("type %d flags %#x seq %d %s: ", typ, flags, seq, who)
	body := m[16:]
	switch {
	case typ == unix.NLMSG_ERROR && len(body) >= 4:
		return head + fmt.Sprintf("error %d %x", int32(ne.Uint32(body)), body[4:])
	case typ == r.family && len(body) >= 4:
		return head + r.reply(body)
	case typ == unix.GENL_ID_CTRL && len(body) >= 4:
		return head + fmt.Sprintf("%x %s", body[:4], ctrlAttrs(body[4:], nil))
	}
	return head + fmt.Sprintf("%x", body)
}

// reply puts a message of the family into words.
func (r *reader) reply(b []byte) string {
	op := family.OpByCmd(b[0])
	if op == nil {
		return fmt.Sprintf("%x", b)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%s %x", op.Name, b[1:4])
	eachAttr(b[4:], func(typ uint16, data []byte) {
		name := op.Set.AttrName(typ & 0x3fff)
		if slices.Contains(r.unknown, name) {
			return
		}
		fmt.Fprintf(&s, " %#x %s=%s", typ, name, r.attr(op, name, data))
	})
	return s.String()
}

// attr puts an attribute into words.
func (r *reader) attr(op *family.Op, name string, data []byte) string {
	switch {
	case op.Set.Name == "stats" && name != "ifindex" && name != "queue" && name != "metered":
		return fmt.Sprintf("(counter of %d bytes)", len(data))
	case strings.HasSuffix(name, "-id") && len(data) == 4:
		id := ne.Uint32(data)
		if id == 0 || name == "prog-id" && slices.Contains(r.progIDs, id) {
			return fmt.Sprint(id)
		}
		return "(id)"
	}
	return fmt.Sprintf("%x", data)
}

// ctrlAttrs puts attributes of the family of families into words. Path is where
// they are.
func ctrlAttrs(b []byte, path []uint16) string {
	var s strings.Builder
	eachAttr(b, func(typ uint16, data []byte) {
		fmt.Fprintf(&s, " %#x=", typ)
		switch at := append(path[:len(path):len(path)], typ&0x3fff); {
		case len(at) == 1 && (at[0] == unix.CTRL_ATTR_MCAST_GROUPS || at[0] == unix.CTRL_ATTR_OPS),
			len(at) == 2 && at[0] == unix.CTRL_ATTR_MCAST_GROUPS:
			fmt.Fprintf(&s, "{%s }", ctrlAttrs(data, at))
		case len(at) == 3 && at[0] == unix.CTRL_ATTR_MCAST_GROUPS && at[2] == unix.CTRL_ATTR_MCAST_GRP_ID:
			fmt.Fprintf(&s, "(group)")
		default:
			fmt.Fprintf(&s, "%x", data)
		}
	})
	return s.String()
}

// eachAttr calls f for each attribute, its type with its flags, and for what is
// left over as attribute 0.
func eachAttr(b []byte, f func(typ uint16, data []byte)) {
	for len(b) >= 4 {
		n := int(ne.Uint16(b))
		if n < 4 || n > len(b) {
			break
		}
		f(ne.Uint16(b[2:]), b[4:n])
		b = b[min((n+3)&^3, len(b)):]
	}
	if len(b) > 0 {
		f(0, b)
	}
}

// split returns the messages of a datagram, and what is left over as the last.
func split(b []byte) [][]byte {
	var out [][]byte
	for len(b) >= 16 {
		n := int(ne.Uint32(b))
		if n < 16 || n > len(b) {
			break
		}
		out = append(out, b[:n])
		b = b[min((n+3)&^3, len(b)):]
	}
	if len(b) > 0 {
		out = append(out, b)
	}
	return out
}
