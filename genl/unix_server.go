// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// maxWindow is how many datagrams a client may be sent ahead at most.
const maxWindow = 16

// ServeUnix serves clients of a unix socket until l or the server is closed,
// which ends their connections. Who they are, by SO_PEERCRED, goes into
// [ServerRequest.Peer] and to [ServerOptions.Admin]. It closes l.
//
// Always returns an error, which matches os.ErrClosed after l or the server was
// closed.
func (s *Server) ServeUnix(l *UnixListener) error {
	var clients sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(s.ctx, func() { l.Close() })
	defer func() {
		stop()
		l.Close()
		cancel()
		clients.Wait()
	}()
	for {
		f, err := l.accept()
		if err != nil {
			return err
		}
		c, err := s.newUnixConn(f)
		if errors.Is(err, os.ErrClosed) {
			return err
		}
		if err != nil {
			continue // it is gone already
		}
		clients.Go(func() {
			defer context.AfterFunc(ctx, c.close)()
			c.serve()
		})
	}
}

// unixConn is the server's end of a unix socket.
type unixConn struct {
	file *os.File
	raw  syscall.RawConn
	k    *ServerSocket

	direct bool // may wait in a system call: the client is another process

	// What was received.
	in      datagramIO
	buf     *[unixMax]byte // nil while nothing is there, since many wait
	control []byte

	busy atomic.Bool   // what is queued now is sent when the request is done
	wake chan struct{} // something was queued

	mu        sync.Mutex // over the rest, and sending
	out       datagramIO
	sent      uint32 // datagrams with data or errors
	confirmed uint32 // of those
	limit     uint32 // what sent may become
}

// newUnixConn returns the server's end of a connection, which it closes if that
// fails.
func (s *Server) newUnixConn(f *os.File) (c *unixConn, err error) {
	c = &unixConn{
		file:    f,
		control: make([]byte, unix.CmsgSpace(4*maxFDs)),
		wake:    make(chan struct{}, 1),
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if c.raw, err = f.SyscallConn(); err != nil {
		return nil, err
	}
	peer, err := peerOf(c.raw)
	if err != nil {
		return nil, err
	}
	c.direct = int(peer.PID) != os.Getpid() && blockBriefly(c.raw)
	enlarge(c.raw, unixMax)
	c.out.initSend(f, c.raw)
	c.in.initReceive(f, c.raw)
	c.in.step = c.receiveStep(c.in.step)
	if c.k, err = s.Socket(peer); err != nil {
		return nil, err
	}
	return c, nil
}

// enlarge lets so many bytes through as one datagram, if it may, and a little more.
func enlarge(raw syscall.RawConn, n int) {
	raw.Control(func(fd uintptr) {
		// The kernel counts its overhead, and makes it twice as large for that.
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, n) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, n)
		}
	})
}

// receiveStep is step with a buffer only for those who have something.
func (c *unixConn) receiveStep(step func(uintptr) bool) func(uintptr) bool {
	return func(fd uintptr) bool {
		c.buf = unixBuffers.Get().(*[unixMax]byte)
		c.in.set(c.buf[:], c.control)
		c.in.wait = true
		if step(fd) {
			return true
		}
		c.release()
		return false
	}
}

func (c *unixConn) release() {
	c.in.clear()
	if c.buf != nil {
		unixBuffers.Put(c.buf)
		c.buf = nil
	}
}

func (c *unixConn) close() {
	closeUnix(c.file, c.raw)
	c.k.Close()
}

// serve serves the client until it hangs up.
func (c *unixConn) serve() {
	defer context.AfterFunc(c.k.ctx, c.close)()
	defer c.close()
	c.k.notify(func() {
		if c.busy.Load() {
			return
		}
		select {
		case c.wake <- struct{}{}:
		default:
		}
	})
	var notifier sync.WaitGroup
	defer notifier.Wait()
	notifier.Go(c.pumpWoken)

	err := c.write(&serverFrame{kind: frameHello, id: unixVersion, value: c.k.PortID()}, nil)
	for err == nil {
		err = c.next()
	}
	c.close() // ends the notifier
}

// pumpWoken sends what is queued without being asked for.
func (c *unixConn) pumpWoken() {
	for {
		select {
		case <-c.wake:
			if c.pump() != nil {
				c.close()
				return
			}
		case <-c.k.ctx.Done():
			return
		}
	}
}

// next receives a datagram and does what it says.
func (c *unixConn) next() error {
	if c.direct && c.k.alone() { // which holds up nobody else
		c.in.blockNext()
	}
	err := c.in.ready(c.in.step)
	defer c.release()
	if err != nil {
		return err
	}
	fds := parseRights(c.control[:min(int(c.in.msg.Controllen), len(c.control))])
	n := c.in.n - frameLen
	switch {
	case c.in.errno != 0:
		return c.in.errno
	case n < 0, n > len(c.buf):
		closeAll(fds)
		return errFrame("datagram of length", c.in.n) // or it has hung up
	case c.in.msg.Flags&unix.MSG_CTRUNC != 0:
		// This process may open no more. None is better than the wrong one.
		closeAll(fds)
		fds = nil
	}
	return c.handle(parseClientFrame(&c.in.header), c.buf[:n], fds)
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// handle does what a datagram says.
func (c *unixConn) handle(f clientFrame, b []byte, fds []int) error {
	if f.kind != frameRequest {
		closeAll(fds)
	}
	if err := c.confirm(&f); err != nil {
		return err
	}
	switch f.kind {
	case frameRequest:
		c.busy.Store(true)
		// What is wrong with it as a datagram, the client knew.
		_ = c.k.Input(b, fds)
		c.busy.Store(false)
		return c.pump()
	case frameReceive:
		return c.pump()
	case frameSync:
		if err := c.pump(); err != nil {
			return err
		}
		return c.write(&serverFrame{kind: frameAck, id: f.id}, nil)
	case frameSetOption, frameGetOption:
		ack := serverFrame{kind: frameAck, id: f.id}
		value, err := c.option(&f, b)
		var errno syscall.Errno
		switch {
		case err == nil:
			ack.value = value
		case errors.As(err, &errno):
			ack.errno = uint32(errno)
		default:
			return err
		}
		if err := c.write(&ack, nil); err != nil {
			return err
		}
		return c.pump()
	}
	return errFrame("datagram of kind", f.kind)
}

// confirm does what receiving does at a netlink socket, for the datagrams that
// the client has received meanwhile.
func (c *unixConn) confirm(f *clientFrame) error {
	c.mu.Lock()
	more := f.received - c.confirmed
	if more > c.sent-c.confirmed {
		c.mu.Unlock()
		return errFrame("confirmed more than was sent:", f.received)
	}
	c.confirmed = f.received
	if limit := f.received + uint32(min(f.window, maxWindow)); int32(limit-c.limit) > 0 {
		c.limit = limit
	}
	c.mu.Unlock()
	for range more {
		c.k.tookAhead(int(min(f.room, maxPart)))
	}
	return nil
}

// option sets or gets an option as setsockopt and getsockopt do.
func (c *unixConn) option(f *clientFrame, b []byte) (uint32, error) {
	if len(b) < 8 || f.kind == frameSetOption && len(b) < 12 {
		return 0, unix.EINVAL
	}
	level, name := ne.Uint32(b), ne.Uint32(b[4:])
	if level == unix.SOL_SOCKET && name == unix.SO_RCVBUF {
		if f.kind == frameSetOption {
			if err := c.k.SetReadBuffer(int(int32(ne.Uint32(b[8:])))); err != nil {
				return 0, err
			}
		}
		n, err := c.k.ReadBuffer()
		return uint32(n), err
	}
	if level != unix.SOL_NETLINK {
		return 0, unix.ENOPROTOOPT
	}
	o, known := connOption(name)
	switch {
	case f.kind == frameGetOption && known:
		if c.k.Option(o) {
			return 1, nil
		}
		return 0, nil
	case f.kind == frameGetOption:
		return 0, unix.ENOPROTOOPT
	case name == unix.NETLINK_ADD_MEMBERSHIP:
		return 0, c.k.JoinGroup(ne.Uint32(b[8:]))
	case name == unix.NETLINK_DROP_MEMBERSHIP:
		return 0, c.k.LeaveGroup(ne.Uint32(b[8:]))
	case known:
		return 0, c.k.SetOption(o, ne.Uint32(b[8:]) != 0)
	}
	return 0, unix.ENOPROTOOPT
}

// connOption returns the option of a netlink socket that has this number.
func connOption(name uint32) (netlink.ConnOption, bool) {
	for o, n := range connOptions {
		if n == name {
			return netlink.ConnOption(o), true
		}
	}
	return 0, false
}

// pump sends what is queued, as much as the client is ready for.
func (c *unixConn) pump() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for int32(c.limit-c.sent) > 0 {
		b, more, err := c.k.take()
		if b == nil && err == nil {
			return nil
		}
		if errors.Is(err, os.ErrClosed) {
			return err
		}
		c.sent++
		f := serverFrame{kind: frameData}
		if err != nil {
			f.kind, f.errno = frameError, uint32(errnoOf(err))
		}
		if more && c.sent != c.limit {
			f.flags = frameMore
		}
		err = c.writeLocked(&f, b)
		if errors.Is(err, unix.EMSGSIZE) {
			f.kind, f.errno = frameError, uint32(unix.EMSGSIZE)
			err = c.writeLocked(&f, nil)
		}
		if err != nil {
			return err
		}
		c.k.recycle(b)
	}
	return nil
}

// errnoOf is the errno that goes for an error.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return unix.EIO
}

func (c *unixConn) write(f *serverFrame, b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeLocked(f, b)
}

// writeLocked sends a datagram, and waits for as long as the client does not take
// what was sent before, which holds up nobody but itself.
func (c *unixConn) writeLocked(f *serverFrame, b []byte) error {
	f.put(&c.out.header)
	c.out.set(b, nil)
	c.out.wait = true
	defer c.out.clear()
	if err := c.out.ready(c.out.step); err != nil {
		return err
	}
	if c.out.errno != 0 {
		return os.NewSyscallError("sendmsg", c.out.errno)
	}
	return nil
}

// alone tells whether the server has no other sockets.
func (k *ServerSocket) alone() bool {
	s := k.srv
	s.socketsMu.RLock()
	defer s.socketsMu.RUnlock()
	return len(s.sockets) == 1
}

// notify has f called when something comes into the queue that was empty, or an
// error. F must not wait, and must not call methods of k.
func (k *ServerSocket) notify(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.onReady = f
}

// take takes the next datagram to send ahead, which goes to recycle after use, or
// error; both are nil if there is none. It goes on counting as kept until
// tookAhead. More tells whether there is another.
func (k *ServerSocket) take() (b []byte, more bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return nil, false, os.ErrClosed
	case k.err != nil:
		err, k.err = k.err, nil
		k.ahead = append(k.ahead, -1)
	case k.head < len(k.queue):
		p := k.queue[k.head]
		k.queue[k.head] = packet{}
		k.head++
		if k.head == len(k.queue) {
			k.queue, k.head = k.queue[:0], 0
		}
		k.ahead = append(k.ahead, p.cost)
		b = p.b
	default:
		k.waiting = true
	}
	return b, k.head < len(k.queue) || k.err != nil, err
}

// tookAhead tells that the first of what take has returned was received, into a
// buffer of so many bytes.
func (k *ServerSocket) tookAhead(size int) {
	k.mu.Lock()
	cost := k.ahead[0]
	k.ahead = k.ahead[:copy(k.ahead, k.ahead[1:])]
	k.rmem -= max(cost, 0)
	if len(k.ahead) == 0 && k.head == len(k.queue) {
		k.congested = false
	}
	k.mu.Unlock()
	if cost >= 0 { // and no error
		k.Received(size)
	}
}

func (k *ServerSocket) recycle(b []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.recycleLocked(b)
}
