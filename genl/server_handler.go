// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"io"

	"golang.org/x/sys/unix"
)

// Handler answers the requests of an operation.
//
// When it returns nil, the request is acknowledged if that was asked for. An
// error refuses it: an *[Error] with all that it says, but Op, Attr and
// MissAttr; or else with the syscall.Errno that the error wraps. What wraps none
// is told as EIO, or ECANCELED or ETIMEDOUT for the errors of a context, with
// its text.
type Handler interface {
	ServeGenl(w *ReplyWriter, r *ServerRequest) error
}

// HandlerFunc makes a [Handler] of a function.
type HandlerFunc func(w *ReplyWriter, r *ServerRequest) error

// ServeGenl implements Handler.
func (f HandlerFunc) ServeGenl(w *ReplyWriter, r *ServerRequest) error { return f(w, r) }

// DumpHandler begins dumps. An error refuses the dump as one of a [Handler]
// does. R is valid, but for its file descriptors, until the cursor is closed.
type DumpHandler interface {
	StartDump(r *ServerRequest) (DumpCursor, error)
}

// DumpFunc makes a [DumpHandler] of a function.
type DumpFunc func(r *ServerRequest) (DumpCursor, error)

// StartDump implements DumpHandler.
func (f DumpFunc) StartDump(r *ServerRequest) (DumpCursor, error) { return f(r) }

// DumpCursor is a dump under way. The reader paces it: Next is called as it
// receives.
type DumpCursor interface {
	// Next writes the next message to w, or none, or, at the end, returns
	// io.EOF. It may be called again after that, and then returns io.EOF
	// again, for w.Consistent to tell of late changes.
	//
	// A message for which the part has no room goes to the next part. Who
	// wants it to be made anew then, as the kernel does, looks at w.Room
	// first and returns [ErrNoRoom].
	//
	// Any other error ends the dump, with the errno in its end.
	Next(w *DumpWriter) error

	// Close is called once, when the dump is over or given up.
	Close() error
}

// ErrNoRoom is returned by a [DumpCursor] whose next message has no room in the
// part of the dump. It is asked again for the next part; but if the part was
// empty, the dump ends with EMSGSIZE.
var ErrNoRoom = error(unix.EMSGSIZE)

// DumpSlice is a DumpCursor over the attributes of messages that are there
// already.
func DumpSlice(msgs ...[]byte) DumpCursor { return &sliceCursor{msgs: msgs} }

type sliceCursor struct{ msgs [][]byte }

func (c *sliceCursor) Next(w *DumpWriter) error {
	if len(c.msgs) == 0 {
		return io.EOF
	}
	w.Write(c.msgs[0])
	c.msgs = c.msgs[1:]
	return nil
}

func (c *sliceCursor) Close() error { return nil }

// ServerRequest is a request as a [Handler] gets it. It passed all checks. Unless
// said otherwise it is valid until the handler returns.
type ServerRequest struct {
	Command uint8
	Version uint8

	// Flags are those of the netlink header.
	Flags uint16

	// Header is the family's own header.
	Header []byte

	// Attrs are the attributes, for [NextAttr].
	Attrs []byte

	// Peer is who asks.
	Peer Peer

	// Socket is what it came on.
	Socket *ServerSocket

	// StrictCheck says that the socket has option GetStrictCheck.
	StrictCheck bool

	ctx   context.Context
	msg   nlmsg
	start int     // of the attributes in msg
	tb    []int32 // by type, where in msg the last of it starts; 0: none
	op    *servedOp
	fds   []int // of a socket to another process, from this request's on
}

// Context is done when who asks has given up.
func (r *ServerRequest) Context() context.Context { return r.ctx }

// Raw is the request from its netlink header on.
func (r *ServerRequest) Raw() []byte { return r.msg }

// Attr returns the payload of an attribute; of the last one if there are
// several. Ok is false if there is none.
func (r *ServerRequest) Attr(typ uint16) (data []byte, ok bool) {
	off := r.Offset(typ)
	if off == 0 {
		return nil, false
	}
	return r.msg[off+attrHeaderLen : off+uint32(ne.Uint16(r.msg[off:]))], true
}

// Has tells whether there is an attribute.
func (r *ServerRequest) Has(typ uint16) bool { return r.Offset(typ) != 0 }

// Uint32 returns an attribute with a number of 32 bits.
func (r *ServerRequest) Uint32(typ uint16) (v uint32, ok bool) {
	data, ok := r.Attr(typ)
	if !ok || len(data) < 4 {
		return 0, false
	}
	return ne.Uint32(data), true
}

// Uint64 returns an attribute with a number of 64 bits.
func (r *ServerRequest) Uint64(typ uint16) (v uint64, ok bool) {
	data, ok := r.Attr(typ)
	if !ok || len(data) < 8 {
		return 0, false
	}
	return ne.Uint64(data), true
}

// Text returns an attribute with a string, without the NUL that ends it.
func (r *ServerRequest) Text(typ uint16) (s string, ok bool) {
	data, ok := r.Attr(typ)
	return unix.ByteSliceToString(data), ok
}

// Offset is where in the request an attribute starts, for [Error.Offset]; 0 if
// there is none.
func (r *ServerRequest) Offset(typ uint16) uint32 {
	if int(typ) >= len(r.tb) {
		return 0
	}
	return uint32(r.tb[typ])
}

// Missing is the refusal of a request that lacks an attribute
// (GENL_REQ_ATTR_CHECK).
func (r *ServerRequest) Missing(typ uint16) error {
	return &Error{Errno: unix.EINVAL, MissType: uint32(typ)}
}

// FD returns the file descriptor of an attribute, which has to be one of
// [ServedOp.FDs]. It is closed after the request, if it is not the caller's own.
//
// In the same process that is the number in the attribute. Another process sends
// the file descriptors beside the request, in the order of the attributes;
// numbers below 0 have none and are returned as they are. If there is none where
// there should be, returns -1.
//
// Ok is false if there is no such attribute.
func (r *ServerRequest) FD(typ uint16) (fd int, ok bool) {
	v, ok := r.Uint32(typ)
	if !ok {
		return -1, false
	}
	if r.Peer.Local || int32(v) < 0 {
		return int(int32(v)), true
	}
	if i := r.fdIndex(r.Offset(typ)); i >= 0 && i < len(r.fds) {
		return r.fds[i], true
	}
	return -1, true
}

// fdIndex returns how many file descriptors go with the attributes before the
// one at off; -1 if that has none itself.
func (r *ServerRequest) fdIndex(off uint32) int {
	n := 0
	for b := r.Attrs; len(b) > 0; {
		typ, data, rest, ok := NextAttr(b)
		if !ok {
			break
		}
		marked := r.op.hasFD(typ) && len(data) >= 4 && int32(ne.Uint32(data)) >= 0
		if uint32(r.start+len(r.Attrs)-len(b)) == off {
			if !marked {
				return -1
			}
			return n
		}
		if marked {
			n++
		}
		b = rest
	}
	return -1
}

// fdCount returns how many file descriptors the request has.
func (r *ServerRequest) fdCount() int {
	n := 0
	for b := r.Attrs; len(b) > 0; {
		typ, data, rest, ok := NextAttr(b)
		if !ok {
			break
		}
		if r.op.hasFD(typ) && len(data) >= 4 && int32(ne.Uint32(data)) >= 0 {
			n++
		}
		b = rest
	}
	return n
}
