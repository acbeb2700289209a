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

// nlmsg is a netlink message from its header, struct nlmsghdr, on.
type nlmsg []byte

func (m nlmsg) typ() uint16   { return ne.Uint16(m[4:]) }
func (m nlmsg) flags() uint16 { return ne.Uint16(m[6:]) }
func (m nlmsg) seq() uint32   { return ne.Uint32(m[8:]) }
func (m nlmsg) body() []byte  { return m[headerLen:] }

// messageSize is the length of the message that a datagram begins with. Ok is false
// if it has none.
func messageSize(b []byte) (n int, ok bool) {
	if len(b) < headerLen {
		return 0, false
	}
	n = int(ne.Uint32(b))
	return n, n >= headerLen && n <= len(b)
}

// nextMessage splits the first message off a datagram, which is not empty.
func nextMessage(b []byte) (m nlmsg, rest []byte, err error) {
	n, ok := messageSize(b)
	if !ok {
		return nil, nil, errMessage(b)
	}
	return b[:n], b[min(align(n), len(b)):], nil
}

// errMessage is the error of what does not begin with a message.
func errMessage(b []byte) error {
	if len(b) < headerLen {
		return errShort(len(b), headerLen)
	}
	return fmt.Errorf("%w: length %d in %d bytes", ErrMalformed, ne.Uint32(b), len(b))
}

// minLen is the least length of a message of a family whose own header has hdrSize
// bytes: that without attributes.
func minLen(hdrSize int) int { return headerLen + genlHeaderLen + align(hdrSize) }

// generic returns the message of a family whose own header has hdrSize bytes. Ok
// is false if it is too short to be one.
func (m nlmsg) generic(hdrSize int) (g Message, ok bool) {
	n := minLen(hdrSize)
	if len(m) < n {
		return Message{}, false
	}
	return Message{
		Command: m[headerLen],
		Version: m[headerLen+1],
		Header:  m[headerLen+genlHeaderLen : headerLen+genlHeaderLen+hdrSize],
		Attrs:   m[n:],
	}, true
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
