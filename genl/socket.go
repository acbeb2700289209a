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

	"github.com/mdlayher/netlink"
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

// bufferSizer is a Transport that keeps as much as it is told to.
type bufferSizer interface {
	SetReadBuffer(bytes int) error
	ReadBuffer() (int, error)
}

// sock is a Socket or a Transport with what it takes to use it without
// allocating. It belongs to one request at a time.
type sock struct {
	tr     Transport // or else there is a Socket
	hungUp bool      // who was at its other end

	Socket
	raw    syscall.RawConn
	kernel bool // only the kernel may be heard
	closed atomic.Bool

	seq uint32 // of the request under way
	out []byte // the request
	fds []int  // what its attributes mean, for a Transport
	in  []byte // where replies go, unless they go elsewhere

	// For step, which is called with the file descriptor.
	step   func(fd uintptr) bool
	unsent bool // out has to be sent
	wait   bool // step is to be called again when there is something to receive
	errno  syscall.Errno

	buf     []byte // where the next datagram goes
	n       int    // its length
	from    unix.RawSockaddrNetlink
	fromLen uint32
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
	return k, nil
}

// newSockOver prepares tr for use, which it closes if that fails. Like a kernel
// socket it is strict.
func newSockOver(tr Transport) (*sock, error) {
	for _, o := range []netlink.ConnOption{netlink.ExtendedAcknowledge, netlink.GetStrictCheck} {
		if err := tr.SetOption(o, true); err != nil {
			tr.Close()
			return nil, fmt.Errorf("set option %d: %w", o, err)
		}
	}
	return &sock{tr: tr}, nil
}

// request puts req into out, to be sent by the next roundTrip.
func (s *sock) request(req *Request, flags uint16) {
	s.seq++
	s.out = appendRequest(s.out[:0], req, flags, s.seq)
	s.fds = req.FDs
	s.unsent = true
}

// receiveHere makes in the place of the next datagrams.
func (s *sock) receiveHere() {
	if s.in == nil {
		s.in = make([]byte, inLen)
	}
	s.buf = s.in
}

// roundTrip sends the request, if there is one, and receives a datagram, which
// is empty if it is from somebody who may not be heard. The kernel answers before
// a request is sent, so that in most cases nothing has to be waited for and ctx
// is not looked at.
func (s *sock) roundTrip(ctx context.Context) ([]byte, error) {
	if s.tr != nil {
		return s.roundTripOver(ctx)
	}
	if err := s.poll(); err != nil {
		return nil, err
	}
	if s.errno == unix.EAGAIN {
		if err := s.await(ctx); err != nil {
			return nil, err
		}
	}
	if s.errno != 0 {
		return nil, s.failure()
	}
	return s.datagram()
}

// roundTripOver is roundTrip over a Transport.
func (s *sock) roundTripOver(ctx context.Context) ([]byte, error) {
	if s.unsent {
		if err := s.tr.Send(ctx, s.out, s.fds); err != nil {
			return nil, s.failed(err)
		}
		s.unsent = false
	}
	var err error
	if s.n, err = s.tr.Receive(ctx, s.buf); err != nil {
		return nil, s.failed(err)
	}
	return s.datagram()
}

// failed is check for the error of a Transport.
func (s *sock) failed(err error) error {
	s.hungUp = errors.Is(err, os.ErrClosed)
	return s.check(err)
}

// receiveNow receives a datagram if there is one already. Ok tells whether there
// was, be it a broken one.
func (s *sock) receiveNow() (b []byte, ok bool, err error) {
	if s.tr != nil {
		if s.n, err = s.tr.Receive(now, s.buf); err != nil {
			return nil, false, nil
		}
	} else if err := s.poll(); err != nil || s.errno != 0 {
		return nil, false, err
	}
	b, err = s.datagram()
	return b, true, err
}

// now is a context for those who do not wait.
var now = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// failure returns the error of s.errno.
func (s *sock) failure() error {
	switch {
	case s.unsent:
		return os.NewSyscallError("sendto", s.errno)
	case s.errno == unix.ENOBUFS:
		return fmt.Errorf("%w: %w", ErrOverrun, s.errno)
	}
	return os.NewSyscallError("recvfrom", s.errno)
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
	if s.tr != nil {
		return s.tr.Close()
	}
	return s.Socket.Close()
}

// hasGroups tells whether multicast groups can be joined.
func (s *sock) hasGroups() bool {
	_, ok := s.Socket.(groupJoiner)
	return ok || s.tr != nil
}

// joinGroup joins a multicast group.
func (s *sock) joinGroup(id uint32) error {
	if s.tr != nil {
		return s.tr.JoinGroup(id)
	}
	return s.Socket.(groupJoiner).JoinGroup(id)
}

// setReadBuffer has as many bytes kept as are not received yet, and returns how
// many that will be, with what it costs to keep them.
func (s *sock) setReadBuffer(size int) (n int, err error) {
	if s.tr != nil {
		b, ok := s.tr.(bufferSizer)
		if !ok {
			return size, nil
		}
		if err := b.SetReadBuffer(size); err != nil {
			return 0, err
		}
		return b.ReadBuffer()
	}
	if b, ok := s.Socket.(interface{ SetReadBuffer(int) error }); ok {
		if err := b.SetReadBuffer(size); err != nil {
			return 0, err
		}
	}
	if cerr := s.raw.Control(func(fd uintptr) {
		n, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	}); cerr != nil || err != nil {
		return 0, errors.Join(cerr, os.NewSyscallError("getsockopt", err))
	}
	return n, nil
}

// await does the rest of a roundTrip that has to wait, until ctx is done.
func (s *sock) await(ctx context.Context) error {
	release := func() {}
	if ctx.Done() != nil {
		release = interrupt(ctx, s.SetDeadline)
	}
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

// interrupt makes whoever waits until a deadline give up when ctx is done, until
// the function that it returns is called.
func interrupt(ctx context.Context, setDeadline func(time.Time) error) (release func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		setDeadline(time.Unix(1, 0))
		close(done)
	})
	return func() {
		if !stop() {
			<-done
			setDeadline(time.Time{})
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

// recv receives a datagram.
func (s *sock) recv(fd uintptr) (int, syscall.Errno) {
	for {
		s.fromLen = unix.SizeofSockaddrNetlink
		// With MSG_TRUNC the length is what it was before it was cut off.
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(s.buf))), uintptr(len(s.buf)),
			unix.MSG_DONTWAIT|unix.MSG_TRUNC,
			uintptr(unsafe.Pointer(&s.from)), uintptr(unsafe.Pointer(&s.fromLen)))
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// datagram returns what was received; nothing if it is not from whom it should
// be.
func (s *sock) datagram() ([]byte, error) {
	switch {
	case s.n == 0:
		return nil, io.ErrUnexpectedEOF
	case s.n > len(s.buf):
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrMalformed, s.n, len(s.buf))
	case s.kernel && s.from.Pid != 0:
		return nil, nil
	}
	return s.buf[:s.n], nil
}
