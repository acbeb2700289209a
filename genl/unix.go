// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The protocol of a unix socket is in docs/transport.md: datagrams, each with a
// header of frameLen bytes.
const (
	frameLen    = 16
	unixVersion = 1

	// unixMax is how many bytes of netlink messages a datagram has at most.
	unixMax = 256<<10 - frameLen

	// unixWindow is how many datagrams a client of ours is sent ahead: a
	// reply and the acknowledgement after it.
	unixWindow = 2

	// maxFDs is how many file descriptors a datagram has at most (SCM_MAX_FD).
	maxFDs = 253
)

// What clients send.
const (
	frameRequest   = 1 + iota // netlink messages
	frameReceive              // only what the header says
	frameSync                 // acknowledged
	frameSetOption            // level, name, value; acknowledged
	frameGetOption            // level, name; acknowledged, with the value
)

// What servers send.
const (
	frameHello = 0x100 + iota
	frameData  // netlink messages
	frameError // instead of netlink messages
	frameAck
)

// frameMore is the flag of a datagram after which another is sent without being
// asked for.
const frameMore = 1

// clientFrame is the header of what clients send.
type clientFrame struct {
	kind     uint16
	window   uint16 // how many datagrams may be under way
	received uint32 // datagrams with data or errors so far
	room     uint32 // the largest buffer that one was to be received in
	id       uint32 // of what is to be acknowledged
}

// serverFrame is the header of what servers send.
type serverFrame struct {
	kind  uint16
	flags uint16
	id    uint32 // of what is acknowledged; of a hello, the version
	errno uint32
	value uint32 // of an option; of a hello, the port id
}

func (f *clientFrame) put(b *[frameLen]byte) {
	ne.PutUint16(b[0:], f.kind)
	ne.PutUint16(b[2:], f.window)
	ne.PutUint32(b[4:], f.received)
	ne.PutUint32(b[8:], f.room)
	ne.PutUint32(b[12:], f.id)
}

func parseClientFrame(b *[frameLen]byte) clientFrame {
	return clientFrame{ne.Uint16(b[0:]), ne.Uint16(b[2:]), ne.Uint32(b[4:]), ne.Uint32(b[8:]), ne.Uint32(b[12:])}
}

func (f *serverFrame) put(b *[frameLen]byte) {
	ne.PutUint16(b[0:], f.kind)
	ne.PutUint16(b[2:], f.flags)
	ne.PutUint32(b[4:], f.id)
	ne.PutUint32(b[8:], f.errno)
	ne.PutUint32(b[12:], f.value)
}

func parseServerFrame(b *[frameLen]byte) serverFrame {
	return serverFrame{ne.Uint16(b[0:]), ne.Uint16(b[2:]), ne.Uint32(b[4:]), ne.Uint32(b[8:]), ne.Uint32(b[12:])}
}

// datagramIO sends or receives datagrams on a unix socket: a header, then
// data. It is used by one at a time, and allocates nothing.
type datagramIO struct {
	ready    func(step func(fd uintptr) bool) error // waits
	deadline func(t time.Time) error                // until then

	header [frameLen]byte
	iov    [2]unix.Iovec
	msg    unix.Msghdr
	step   func(fd uintptr) bool // calls sendmsg or recvmsg
	block  bool                  // first, once, wait in the system call (see blockBriefly)
	late   bool                  // that was in vain
	wait   bool                  // step is to be called again when it can succeed
	n      int                   // what the system call returned
	errno  syscall.Errno
}

// initSend makes d one that sends on f.
func (d *datagramIO) initSend(f *os.File, raw syscall.RawConn) {
	d.init(unix.SYS_SENDMSG, unix.MSG_NOSIGNAL)
	d.ready, d.deadline = raw.Write, f.SetWriteDeadline
}

// initReceive makes d one that receives on f.
func (d *datagramIO) initReceive(f *os.File, raw syscall.RawConn) {
	d.init(unix.SYS_RECVMSG, unix.MSG_TRUNC|unix.MSG_CMSG_CLOEXEC)
	d.ready, d.deadline = raw.Read, f.SetReadDeadline
}

func (d *datagramIO) init(call, flags uintptr) {
	d.iov[0].Base = &d.header[0]
	d.iov[0].SetLen(frameLen)
	d.msg.Iov = &d.iov[0]
	d.step = func(fd uintptr) bool {
		for {
			how := flags | unix.MSG_DONTWAIT
			if d.block {
				how = flags
			}
			room := d.msg.Controllen
			n, _, errno := unix.Syscall(call, fd, uintptr(unsafe.Pointer(&d.msg)), how)
			if n == 0 && errno == 0 {
				// Linux looks at the queue first, and at the shutdown
				// afterwards: who sends and hangs up in between seems
				// to have sent nothing. Now the queue is complete.
				d.msg.Controllen = room
				n, _, errno = unix.Syscall(call, fd, uintptr(unsafe.Pointer(&d.msg)), flags|unix.MSG_DONTWAIT)
				if errno == unix.EAGAIN {
					n, errno = 0, 0 // it was an empty datagram
				}
			}
			d.n, d.errno = int(n), errno
			d.late = d.block && errno == unix.EAGAIN
			d.block = false
			if errno != unix.EINTR {
				return errno != unix.EAGAIN || !d.wait
			}
		}
	}
}

// briefly is how long to wait in a system call. The kernel makes it a tick of its
// timer, and up to one more.
const briefly = time.Millisecond

// blockBriefly makes a receive that waits in the system call possible, after
// which the poller of the runtime has to wait on: that costs a sleep and a wakeup
// of the thread, but no other, where waiting in the poller costs three system
// calls more and a visit to the scheduler. Whoever has nothing else to wait for
// can afford it.
func blockBriefly(raw syscall.RawConn) bool {
	ok := false
	_ = raw.Control(func(fd uintptr) {
		timeout := unix.NsecToTimeval(int64(briefly))
		ok = unix.SetsockoptTimeval(int(fd), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout) == nil &&
			unix.SetNonblock(int(fd), false) == nil
	})
	return ok
}

// blockNext has the next step wait in the system call, after all who can run. It
// also shows the runtime's monitor, which else takes the processor away every 10
// ms and gives it to a thread that wakes up whenever something comes, that this
// goroutine does not keep it.
func (d *datagramIO) blockNext() {
	runtime.Gosched()
	d.block = true
}

// closeUnix closes f, and ends what waits in a system call too.
func closeUnix(f *os.File, raw syscall.RawConn) error {
	_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RD) })
	return f.Close()
}

// set says where the data is and the control messages.
func (d *datagramIO) set(b, control []byte) {
	d.iov[1].Base = unsafe.SliceData(b)
	d.iov[1].SetLen(len(b))
	d.msg.SetIovlen(2)
	d.msg.Control = unsafe.SliceData(control)
	d.msg.SetControllen(len(control))
	d.msg.Flags = 0
}

// clear lets go of what set was given.
func (d *datagramIO) clear() {
	d.iov[1].Base = nil
	d.msg.Control = nil
}

// room32 is a size as it goes into a header.
func room32(n int) uint32 { return uint32(min(n, math.MaxUint32)) }

// appendRights appends the control message that passes fds on.
func appendRights(b []byte, fds []int) []byte {
	b = append(b, make([]byte, unix.CmsgSpace(4*len(fds)))...)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	h.SetLen(unix.CmsgLen(4 * len(fds)))
	for i, fd := range fds {
		ne.PutUint32(b[unix.CmsgLen(0)+4*i:], uint32(fd))
	}
	return b
}

// parseRights returns the file descriptors of control messages.
func parseRights(b []byte) (fds []int) {
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		n := int(h.Len)
		if n < unix.CmsgLen(0) || n > len(b) {
			break
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_RIGHTS {
			for data := b[unix.CmsgLen(0):n]; len(data) >= 4; data = data[4:] {
				fds = append(fds, int(int32(ne.Uint32(data))))
			}
		}
		b = b[min(unix.CmsgSpace(n-unix.CmsgLen(0)), len(b)):]
	}
	return fds
}

func errFrame(what string, v any) error {
	return fmt.Errorf("%w: unix socket: %s %v", ErrMalformed, what, v)
}
