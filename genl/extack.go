// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What package unix has not got of enum nlmsgerr_attrs.
const (
	nlmsgerrAttrPolicy   = 4
	nlmsgerrAttrMissType = 5
	nlmsgerrAttrMissNest = 6
)

// Error is a refusal by the other side of a [Conn], with all that its extended
// acknowledgement says.
//
// It unwraps to its Errno, so that errors.Is works with the errnos of package
// unix and with os.ErrNotExist, os.ErrExist, os.ErrPermission and
// errors.ErrUnsupported.
type Error struct {
	// Op is the request, as [Request.Op] has it.
	Op string

	// Errno is the errno that was returned.
	Errno syscall.Errno

	// Message is the reason in words (NLMSGERR_ATTR_MSG), or "".
	Message string

	// Offset is where in the request, counted from its netlink header, the
	// attribute starts that was refused (NLMSGERR_ATTR_OFFS); 0 if none.
	Offset uint32

	// Attr is the path of that attribute, such as ".ifindex".
	Attr string

	// Policy is what the attribute has to be (NLMSGERR_ATTR_POLICY), or nil.
	Policy *Policy

	// MissType is the type of an attribute that is missing
	// (NLMSGERR_ATTR_MISS_TYPE); 0 if none.
	MissType uint32

	// MissNest is where in the request the attribute starts in which that
	// one is missing (NLMSGERR_ATTR_MISS_NEST); 0 for the top.
	MissNest uint32

	// MissAttr is the path of the attribute that is missing.
	MissAttr string

	// Cookie is what the family adds for those who know it
	// (NLMSGERR_ATTR_COOKIE), or nil.
	Cookie []byte
}

// Error returns the request, the errno, the reason and the attribute, as far as
// they are known.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op)
		b.WriteString(": ")
	}
	b.WriteString(e.Errno.Error())
	if e.Message != "" {
		b.WriteString(": ")
		b.WriteString(e.Message)
	}
	if e.Attr != "" {
		fmt.Fprintf(&b, " (attribute %s", e.Attr)
		if p := e.Policy.String(); p != "" {
			fmt.Fprintf(&b, ", want %s", p)
		}
		b.WriteString(")")
	}
	if e.MissAttr != "" {
		fmt.Fprintf(&b, " (attribute %s is missing)", e.MissAttr)
	}
	return b.String()
}

// Unwrap returns Errno.
func (e *Error) Unwrap() error { return e.Errno }

// Warning is what the other side has to say of a request that it did not refuse.
type Warning struct {
	Op      string // the request, as [Request.Op] has it
	Message string // in words, or ""
	Cookie  []byte // for those who know it, or nil
}

// ack is an acknowledgement: the payload of NLMSG_ERROR, or of the NLMSG_DONE
// that ends a dump.
type ack struct {
	errno syscall.Errno
	tlvs  []byte // NLMSGERR_ATTR_*
}

// parseAck parses an NLMSG_ERROR, capped or not.
func parseAck(flags uint16, body []byte) (ack, error) {
	a, err := parseDone(0, body)
	if err != nil || flags&unix.NLM_F_ACK_TLVS == 0 {
		return a, err
	}
	// After the errno comes the header of the request, and, unless capped,
	// the rest of the request.
	if len(body) < 4+headerLen {
		return a, errShort(len(body), 4+headerLen)
	}
	n := uint64(headerLen)
	if flags&unix.NLM_F_CAPPED == 0 {
		n = max(n, (uint64(ne.Uint32(body[4:]))+3)&^3)
	}
	if n > uint64(len(body)-4) {
		return a, errShort(len(body)-4, int(min(n, 1<<30)))
	}
	a.tlvs = body[4+n:]
	return a, nil
}

// parseDone parses the NLMSG_DONE at the end of a dump.
func parseDone(flags uint16, body []byte) (ack, error) {
	if len(body) < 4 {
		return ack{}, errShort(len(body), 4)
	}
	a := ack{errno: syscall.Errno(-int32(ne.Uint32(body)))}
	if flags&unix.NLM_F_ACK_TLVS != 0 {
		a.tlvs = body[4:]
	}
	return a, nil
}

// finish ends the request that a acknowledges: with an error if it was refused,
// or else with a call of warn if there is a warning.
func (a ack) finish(req *Request, warn func(Warning)) error {
	if a.errno == 0 && (len(a.tlvs) == 0 || warn == nil) {
		return nil
	}
	e := &Error{Op: req.name(), Errno: a.errno}
	// A broken extack must not hide the errno.
	_ = e.parse(a.tlvs)
	if a.errno != 0 {
		e.resolve(req)
		return e
	}
	if e.Message != "" || e.Cookie != nil {
		warn(Warning{Op: e.Op, Message: e.Message, Cookie: e.Cookie})
	}
	return nil
}

// parse reads NLMSGERR_ATTR_*.
func (e *Error) parse(tlvs []byte) error {
	return attrs(tlvs, func(typ uint16, data []byte) (err error) {
		switch typ {
		case unix.NLMSGERR_ATTR_MSG:
			e.Message = unix.ByteSliceToString(data)
		case unix.NLMSGERR_ATTR_OFFS:
			err = number(&e.Offset, data)
		case unix.NLMSGERR_ATTR_COOKIE:
			e.Cookie = bytes.Clone(data)
		case nlmsgerrAttrPolicy:
			e.Policy, err = parsePolicy(data)
		case nlmsgerrAttrMissType:
			err = number(&e.MissType, data)
		case nlmsgerrAttrMissNest:
			err = number(&e.MissNest, data)
		}
		return err
	})
}

// resolve turns offsets and types into paths.
func (e *Error) resolve(req *Request) {
	start := headerLen + genlHeaderLen + align(len(req.Header))
	path := func(off uint32) (string, AttrNames) {
		return attrPath(req.Attrs, int(off)-start, req.Names)
	}
	if e.Offset != 0 {
		e.Attr, _ = path(e.Offset)
	}
	if e.MissType != 0 {
		nest, names := "", req.Names
		if e.MissNest != 0 {
			nest, names = path(e.MissNest)
		}
		e.MissAttr = nest + pathElem(uint16(e.MissType), names)
	}
}
