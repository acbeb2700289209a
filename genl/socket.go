// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is what a [Conn] sends and receives on: an open file that keeps the
// borders of datagrams, which need no address. That is a netlink socket, a
// connected unixpacket socket, or one end of a pair of those, as
// *genetlink.Conn, *net.UnixConn and *os.File have them.
type Socket interface {
	syscall.Conn
	SetDeadline(t time.Time) error
	Close() error
}

// groupJoiner is a Socket that multicast groups can be joined on.
type groupJoiner interface {
	JoinGroup(id uint32) error
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// batch is how many datagrams are received at once. A reply and its
// acknowledgement are two, and so are the last part of a dump and its end.
const batch = 2

// sock is a Socket with what it takes to use it without allocating. It belongs
// to one request at a time.
type sock struct {
	Socket
	raw    syscall.RawConn
	kernel bool // only the kernel may be heard
	closed atomic.Bool

	seq uint32 // of the request under way
	out []byte // the request
	in  []byte // where replies go, unless they go elsewhere

	// For step, which is called with the file descriptor.
	step   func(fd uintptr) bool
	unsent bool // out has to be sent
	wait   bool // step is to be called again when there is something to receive
	errno  syscall.Errno
	n      int // datagrams received

	bufs [batch][]byte
	msgs [batch]mmsghdr
	iovs [batch]unix.Iovec
	from [batch]unix.RawSockaddrNetlink
}

// inLen is the size of the buffer for one reply. A reply is one kernel page
// unless the family asks for more.
const inLen = 64 << 10

// newSock prepares s for use, which it closes if that fails.
func newSock(s Socket, kernel bool) (*sock, error) {
	raw, err := s.SyscallConn()
	if err != nil {
		s.Close()
		return nil, err
	}
	k := &sock{Socket: s, raw: raw, kernel: kernel}
	k.step = k.exchange
	for i := range k.msgs {
		k.msgs[i].hdr.Iov = &k.iovs[i]
		k.msgs[i].hdr.SetIovlen(1)
		if kernel {
			k.msgs[i].hdr.Name = (*byte)(unsafe.Pointer(&k.from[i]))
		}
	}
	return k, nil
}

// request puts req into out, to be sent by the next roundTrip.
func (s *sock) request(req *Request, flags uint16) {
	s.seq++
	s.out = appendRequest(s.out[:0], req, flags, s.seq)
	s.unsent = true
}

// receiveInto makes both halves of b the place of the next datagrams.
func (s *sock) receiveInto(b []byte) {
	n := len(b) / batch
	for i := range s.bufs {
		s.bufs[i] = b[i*n : (i+1)*n : (i+1)*n]
		s.iovs[i].Base = &s.bufs[i][0]
		s.iovs[i].SetLen(n)
	}
}

// receiveHere makes in the place of the next datagrams.
func (s *sock) receiveHere() {
	if s.in == nil {
		s.in = make([]byte, batch*inLen)
	}
	s.receiveInto(s.in)
}

// roundTrip sends the request, if there is one, and receives until there is a
// datagram, or more. The kernel answers before a request is sent, so that in
// most cases nothing has to be waited for and ctx is not looked at.
func (s *sock) roundTrip(ctx context.Context) (int, error) {
	if err := s.poll(); err != nil {
		return 0, err
	}
	if s.errno == unix.EAGAIN {
		if err := s.await(ctx); err != nil {
			return 0, err
		}
	}
	switch s.errno {
	case 0:
		return s.n, nil
	case unix.ENOBUFS:
		return 0, fmt.Errorf("%w: %w", ErrOverrun, s.errno)
	}
	if s.unsent {
		return 0, os.NewSyscallError("sendto", s.errno)
	}
	return 0, os.NewSyscallError("recvmmsg", s.errno)
}

// poll does as much of a roundTrip as can be done without waiting.
func (s *sock) poll() error {
	s.wait = false
	return s.check(s.raw.Read(s.step))
}

// check replaces the error of a socket that was closed, which is another for
// each kind of socket.
func (s *sock) check(err error) error {
	if err != nil && s.closed.Load() {
		return os.ErrClosed
	}
	return err
}

// Close closes the socket.
func (s *sock) Close() error {
	s.closed.Store(true)
	return s.Socket.Close()
}

// await does the rest of a roundTrip that has to wait, until ctx is done.
func (s *sock) await(ctx context.Context) error {
	release := s.interrupt(ctx)
	s.wait = true
	var err error
	if s.unsent {
		err = s.raw.Write(func(fd uintptr) bool {
			s.errno = s.send(fd)
			return s.errno != unix.EAGAIN
		})
		s.unsent = s.errno != 0
	}
	if err == nil && !s.unsent {
		err = s.raw.Read(s.step)
	}
	release()
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return ctx.Err()
	}
	return s.check(err)
}

// interrupt makes whoever waits for the socket give up when ctx is done, until
// the function that it returns is called.
func (s *sock) interrupt(ctx context.Context) (release func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		s.SetDeadline(time.Unix(1, 0))
		close(done)
	})
	return func() {
		if !stop() {
			<-done
			s.SetDeadline(time.Time{})
		}
	}
}

// exchange is step.
func (s *sock) exchange(fd uintptr) bool {
	if s.unsent {
		s.errno = s.send(fd)
		if s.errno != 0 {
			return true
		}
		s.unsent = false
	}
	s.n, s.errno = s.recv(fd)
	return s.errno != unix.EAGAIN || !s.wait
}

// send sends the request.
func (s *sock) send(fd uintptr) syscall.Errno {
	for {
		_, _, errno := unix.Syscall6(unix.SYS_SENDTO, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(s.out))), uintptr(len(s.out)),
			unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno != unix.EINTR {
			return errno
		}
	}
}

// recv receives what there is, at most batch datagrams.
func (s *sock) recv(fd uintptr) (int, syscall.Errno) {
	if s.kernel {
		for i := range s.msgs {
			s.msgs[i].hdr.Namelen = unix.SizeofSockaddrNetlink
		}
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd,
			uintptr(unsafe.Pointer(&s.msgs[0])), batch, unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// datagram returns the ith datagram of the last roundTrip; nothing if it is not
// from whom it should be.
func (s *sock) datagram(i int) ([]byte, error) {
	m := &s.msgs[i]
	switch {
	case m.len == 0:
		return nil, io.ErrUnexpectedEOF
	case m.hdr.Flags&unix.MSG_TRUNC != 0:
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, len(s.bufs[i]))
	case s.kernel && s.from[i].Pid != 0:
		return nil, nil
	}
	return s.bufs[i][:m.len], nil
}
