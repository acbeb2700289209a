// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"os"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// maxCookie is NETLINK_MAX_COOKIE_LEN.
const maxCookie = 20

// extAck is what an acknowledgement says beside the errno (struct
// netlink_ext_ack). Offsets are from the netlink header of the request.
type extAck struct {
	msg      string
	cookie   []byte
	bad      uint32 // where the attribute starts that is refused; 0: none
	policy   *attrPolicy
	missType uint32
	missNest uint32 // where the nest starts that lacks one
}

// Send implements Transport. Fds need not be given, since the attributes have
// them.
func (k *ServerSocket) Send(ctx context.Context, b []byte, fds []int) error {
	return k.handle(ctx, b, nil)
}

// Input handles a datagram from another process, with the file descriptors that
// came with it, which it closes. All that it answers is queued when it returns.
//
// Returns an error matching os.ErrClosed, or what sending the datagram fails
// with: unix.EMSGSIZE, or unix.ENODATA if it is empty.
func (k *ServerSocket) Input(b []byte, fds []int) error {
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	return k.handle(k.ctx, b, fds)
}

// handle handles the messages of a datagram (netlink_sendmsg, netlink_rcv_skb).
func (k *ServerSocket) handle(ctx context.Context, b []byte, fds []int) error {
	switch {
	case len(b) == 0:
		return os.NewSyscallError("sendto", unix.ENODATA)
	case len(b) > maxSend:
		return os.NewSyscallError("sendto", unix.EMSGSIZE)
	}
	k.input.Lock()
	defer k.input.Unlock()
	if k.ctx.Err() != nil {
		return os.ErrClosed
	}
	k.req.ctx, k.req.fds = ctx, fds
	for len(b) >= headerLen {
		n := ne.Uint32(b)
		if n < headerLen || uint64(n) > uint64(len(b)) {
			break
		}
		m := nlmsg(b[:n:n])
		k.ext = extAck{}
		var errno syscall.Errno
		if m.flags()&unix.NLM_F_REQUEST != 0 && m.typ() >= unix.NLMSG_MIN_TYPE {
			errno = k.message(m)
		}
		if errno != dumpBegun && (errno != 0 || m.flags()&unix.NLM_F_ACK != 0) {
			k.ack(m, errno)
		}
		b = b[min(align(int(n)), len(b)):]
	}
	k.req.ctx, k.req.fds, k.req.msg = nil, nil, nil
	return nil
}

// message handles a request (genl_rcv_msg).
func (k *ServerSocket) message(m nlmsg) syscall.Errno {
	f := k.srv.families.Load().find(m.typ())
	if f == nil || !f.enter() {
		return unix.ENOENT
	}
	defer f.leave()

	start := headerLen + genlHeaderLen + f.HeaderSize
	if len(m) < start {
		return unix.EINVAL
	}
	cmd, flags := m[headerLen], m.flags()
	if cmd >= f.LooseBelow && !k.headerCheck(m) {
		return unix.EINVAL
	}
	what := OpDo
	if flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
		what = OpDump
	}
	op := f.byCmd[cmd]
	if op == nil || !k.srv.old && op.flags&what == 0 {
		return unix.EOPNOTSUPP
	}
	if op.flags&(OpAdmin|OpAdminInNets) != 0 && !k.srv.admin(k.peer) {
		return unix.EPERM
	}
	if op.flags&what == 0 {
		return unix.EOPNOTSUPP
	}
	if what == OpDump {
		return k.startDump(f, op, m)
	}
	return k.do(f, op, m)
}

// headerCheck refuses what is reserved (genl_header_check).
func (k *ServerSocket) headerCheck(m nlmsg) bool {
	if ne.Uint16(m[headerLen+2:]) != 0 {
		k.ext.msg = "genlmsghdr.reserved field is not 0"
		return false
	}
	flags := m.flags()
	if flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
		flags &^= unix.NLM_F_DUMP
	}
	if flags&^(unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_ECHO) != 0 {
		k.ext.msg = "ambiguous or reserved bits set in nlmsg_flags"
		return false
	}
	return true
}

// do calls a handler (genl_family_rcv_msg_doit).
func (k *ServerSocket) do(f *served, op *servedOp, m nlmsg) syscall.Errno {
	r := &k.req
	errno := r.parse(k, f, op, m, op.do, op.Validate&DontValidateStrict != 0, &k.ext)
	if errno == 0 {
		k.w.k, k.w.fam, k.w.req, k.w.ext = k, f, r, &k.ext
		if err := op.Do.ServeGenl(&k.w, r); err != nil {
			errno = k.ext.refuse(err)
		}
	}
	if len(r.fds) > 0 {
		r.fds = r.fds[min(r.fdCount(), len(r.fds)):]
	}
	return errno
}

// parse fills in a request, whose attributes it checks
// (genl_family_rcv_msg_attrs_parse).
func (r *ServerRequest) parse(k *ServerSocket, f *served, op *servedOp, m nlmsg, p *policyTable, liberal bool, ext *extAck) syscall.Errno {
	start := headerLen + genlHeaderLen + align(f.HeaderSize)
	r.Command, r.Version, r.Flags = m[headerLen], m[headerLen+1], m.flags()
	r.Header = m[headerLen+genlHeaderLen : headerLen+genlHeaderLen+f.HeaderSize]
	r.Attrs = m[min(start, len(m)):]
	r.Peer, r.Socket, r.StrictCheck = k.peer, k, k.Option(netlink.GetStrictCheck)
	r.msg, r.start, r.op = m, start, op
	if p == nil {
		r.tb = r.tb[:0]
		return 0
	}
	if n := p.max + 1; cap(r.tb) < n {
		r.tb = make([]int32, n)
	} else {
		r.tb = r.tb[:n]
		clear(r.tb)
	}
	v := validator{msg: m, strict: !liberal, ext: ext}
	return v.attrs(min(start, len(m)), len(m), p, r.tb, 0)
}

// refuse makes an extended acknowledgement of an error, and returns its errno.
func (x *extAck) refuse(err error) syscall.Errno {
	var e *Error
	if !errors.As(err, &e) {
		return x.refuseOther(err)
	}
	if e.Message != "" {
		x.msg = e.Message
	}
	if e.Cookie != nil {
		x.cookie = e.Cookie[:min(len(e.Cookie), maxCookie)]
	}
	if e.Offset != 0 {
		x.bad = e.Offset
	}
	if e.Policy != nil {
		x.policy = compileAttr(e.Policy)
	}
	if e.MissType != 0 {
		x.missType, x.missNest = e.MissType, e.MissNest
	}
	return e.Errno
}

func (x *extAck) refuseOther(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != 0 {
		return errno
	}
	x.msg = err.Error()
	switch {
	case errors.Is(err, context.Canceled):
		return unix.ECANCELED
	case errors.Is(err, context.DeadlineExceeded):
		return unix.ETIMEDOUT
	}
	return unix.EIO
}

// ack sends an acknowledgement (netlink_ack).
func (k *ServerSocket) ack(m nlmsg, errno syscall.Errno) {
	flags := uint16(unix.NLM_F_CAPPED)
	echoed := m[:headerLen]
	if errno != 0 && !k.Option(netlink.CapAcknowledge) {
		flags, echoed = 0, m
	}
	tlvs := k.Option(netlink.ExtendedAcknowledge) && k.ext.any(errno)
	if tlvs {
		flags |= unix.NLM_F_ACK_TLVS
	}
	b := k.buffer()
	b = ne.AppendUint32(b, 0)
	b = ne.AppendUint16(b, unix.NLMSG_ERROR)
	b = ne.AppendUint16(b, flags)
	b = ne.AppendUint32(b, m.seq())
	b = ne.AppendUint32(b, k.portID)
	b = ne.AppendUint32(b, uint32(-int32(errno)))
	b = append(b, echoed...)
	b = appendPadding(b, len(echoed))
	if tlvs {
		b = k.ext.append(b, len(m), errno)
	}
	ne.PutUint32(b, uint32(len(b)))
	k.unicast(b)
}

// any tells whether there is anything to say (netlink_ack_tlv_len).
func (x *extAck) any(errno syscall.Errno) bool {
	return x.msg != "" || len(x.cookie) > 0 || errno != 0 &&
		(x.bad != 0 || x.policy != nil && x.policy.kind != kindReject && x.policy.kind != kindUnspec ||
			x.missType != 0 || x.missNest != 0)
}

// append appends the NLMSGERR_ATTR_* (netlink_ack_tlv_fill), of a request of n
// bytes.
func (x *extAck) append(b []byte, n int, errno syscall.Errno) []byte {
	if x.msg != "" {
		b = AppendString(b, unix.NLMSGERR_ATTR_MSG, x.msg)
	}
	if len(x.cookie) > 0 {
		b = AppendAttr(b, unix.NLMSGERR_ATTR_COOKIE, x.cookie)
	}
	if errno == 0 {
		return b
	}
	if x.bad >= headerLen && x.bad < uint32(n) {
		b = AppendUint32(b, unix.NLMSGERR_ATTR_OFFS, x.bad)
	}
	if x.policy != nil {
		b = x.policy.append(b, nlmsgerrAttrPolicy, nil)
	}
	if x.missType != 0 {
		b = AppendUint32(b, nlmsgerrAttrMissType, x.missType)
	}
	if x.missNest >= headerLen && x.missNest < uint32(n) {
		b = AppendUint32(b, nlmsgerrAttrMissNest, x.missNest)
	}
	return b
}

// admin tells whether a peer may change things.
func (s *Server) admin(p Peer) bool {
	switch {
	case s.opts.Admin != nil:
		return s.opts.Admin(p)
	case p.Local:
		return hasNetAdmin()
	}
	return p.UID == 0
}

// hasNetAdmin tells whether the calling thread has CAP_NET_ADMIN.
func hasNetAdmin() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&hdr, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0
}
