// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrMalformed is the error of bytes that are no netlink message, or of a
// message whose attributes are none.
var ErrMalformed = errors.New("malformed netlink message")

const (
	headerLen     = unix.NLMSG_HDRLEN // struct nlmsghdr
	genlHeaderLen = unix.GENL_HDRLEN  // struct genlmsghdr
)

// ne is the byte order of netlink, which is that of the machine.
var ne = binary.NativeEndian

// Message is a generic netlink message.
type Message struct {
	// Command is the operation, in the numbers of the family.
	Command uint8

	// Version is the version of the family that the sender speaks.
	Version uint8

	// Header is the family's own header, of [Family.HeaderSize] bytes. Newer
	// families have none.
	Header []byte

	// Attrs are the attributes, for [NextAttr].
	Attrs []byte
}

// header is struct nlmsghdr.
type header struct {
	len  uint32
	typ  uint16
	flag uint16
	seq  uint32
	port uint32
}

// nextMessage splits the first message off a datagram, which is not empty.
func nextMessage(b []byte) (h header, body, rest []byte, err error) {
	if len(b) < headerLen {
		return h, nil, nil, errShort(len(b), headerLen)
	}
	h = header{
		len:  ne.Uint32(b),
		typ:  ne.Uint16(b[4:]),
		flag: ne.Uint16(b[6:]),
		seq:  ne.Uint32(b[8:]),
		port: ne.Uint32(b[12:]),
	}
	if h.len < headerLen || uint64(h.len) > uint64(len(b)) {
		return h, nil, nil, fmt.Errorf("%w: length %d in %d bytes", ErrMalformed, h.len, len(b))
	}
	n := int(h.len)
	return h, b[headerLen:n], b[min(align(n), len(b)):], nil
}

// parseMessage parses the payload of a netlink message as a message of a family
// whose own header has hdrSize bytes.
func parseMessage(body []byte, hdrSize int) (Message, error) {
	n := genlHeaderLen + align(hdrSize)
	if len(body) < n {
		return Message{}, errShort(len(body), n)
	}
	return Message{
		Command: body[0],
		Version: body[1],
		Header:  body[genlHeaderLen : genlHeaderLen+hdrSize],
		Attrs:   body[n:],
	}, nil
}

// appendRequest appends req as one netlink message.
func appendRequest(b []byte, req *Request, flags uint16, seq uint32) []byte {
	start := len(b)
	b = ne.AppendUint32(b, 0)
	b = ne.AppendUint16(b, req.Family.ID)
	b = ne.AppendUint16(b, flags|req.Flags|unix.NLM_F_REQUEST)
	b = ne.AppendUint32(b, seq)
	b = ne.AppendUint32(b, 0) // the kernel fills in the port
	b = append(b, req.Command, req.Family.Version, 0, 0)
	b = append(b, req.Header...)
	b = appendPadding(b, len(req.Header))
	b = append(b, req.Attrs...)
	ne.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

func errShort(n, want int) error {
	return fmt.Errorf("%w: %d bytes, want %d", ErrMalformed, n, want)
}

// align rounds up to the alignment of messages, which is that of attributes.
func align(n int) int { return (n + 3) &^ 3 }
