// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// dialTimeout is how long a server may take to say hello.
const dialTimeout = 10 * time.Second

// syncPatience is how long a server that is asked what it has is waited for by who
// has no time left: it may be in a handler that does not end.
const syncPatience = time.Second

// DialUnix connects to a [Server] that listens on a unix socket. A path that
// begins with @ is an abstract address.
//
// Returns an error matching os.ErrNotExist if there is no such socket,
// unix.ECONNREFUSED if nobody listens on it any more, or os.ErrPermission if the
// caller may not write to it. The Transport may be used by several goroutines at
// once, and has the methods SetReadBuffer, ReadBuffer and SyscallConn.
func DialUnix(path string) (Transport, error) {
	t, err := dialUnix(path)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", path, err)
	}
	return t, nil
}

func dialUnix(path string) (*unixTransport, error) {
	f, err := connectUnix(path)
	if err != nil {
		return nil, err
	}
	t := &unixTransport{file: f, turn: make(chan struct{}, 1), waiting: make(map[uint32]chan serverFrame)}
	if t.raw, err = f.SyscallConn(); err == nil {
		enlarge(t.raw, maxSend+frameLen)
		t.out.initSend(f, t.raw)
		t.in.initReceive(f, t.raw)
		peer, _ := peerOf(t.raw)
		t.direct = int(peer.PID) != os.Getpid() && blockBriefly(t.raw)
		err = t.hello()
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return t, nil
}

// connectUnix returns a connected socket.
func connectUnix(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// Where many connect at once, it takes a while.
	timeout := unix.NsecToTimeval(int64(dialTimeout))
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout)
	if err == nil {
		err = retryIntr(func() error { return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) })
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func retryIntr(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// unixTransport is the client's end of a unix socket.
type unixTransport struct {
	file   *os.File
	raw    syscall.RawConn
	port   uint32
	direct bool // may wait in a system call: the server is another process
	closed atomic.Bool

	// soon tells that the server has something to do for us, and does not take
	// long.
	soon atomic.Bool

	sending sync.Mutex // held over out
	out     datagramIO
	rights  []byte // the control message of out

	// Whose turn it is to receive: who can put something in. It comes with
	// in and more.
	turn chan struct{}
	in   datagramIO
	more bool // another datagram is on its way

	mu       sync.Mutex
	received uint32 // datagrams that Receive returned
	told     uint32 // of which the server knows
	room     uint32
	nextID   uint32
	early    []early // datagrams that were not waited for
	waiting  map[uint32]chan serverFrame
}

// early is a datagram that came before an acknowledgement.
type early struct {
	b   []byte
	err error
}

// hello receives the first datagram.
func (t *unixTransport) hello() error {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	f, _, err := t.next(ctx, nil)
	switch {
	case err != nil:
		return fmt.Errorf("wait for the server: %w", err)
	case f.kind != frameHello:
		return errFrame("first datagram of kind", f.kind)
	case f.id != unixVersion:
		return fmt.Errorf("the server speaks version %d of the protocol, not %d: %w", f.id, unixVersion, errors.ErrUnsupported)
	}
	t.port = f.value
	return nil
}

// PortID implements Transport.
func (t *unixTransport) PortID() uint32 { return t.port }

// SyscallConn implements syscall.Conn.
func (t *unixTransport) SyscallConn() (syscall.RawConn, error) { return t.raw, nil }

// Close implements Transport.
func (t *unixTransport) Close() error {
	if t.closed.Swap(true) {
		return nil
	}
	return closeUnix(t.file, t.raw)
}

// Send implements Transport.
func (t *unixTransport) Send(ctx context.Context, b []byte, fds []int) error {
	switch {
	case len(b) == 0:
		return os.NewSyscallError("sendmsg", unix.ENODATA)
	case len(b) > maxSend:
		return os.NewSyscallError("sendmsg", unix.EMSGSIZE)
	case len(fds) > maxFDs:
		return fmt.Errorf("%d file descriptors: %w", len(fds), os.NewSyscallError("sendmsg", unix.EINVAL))
	}
	t.soon.Store(true)
	return t.send(ctx, frameRequest, 0, b, fds)
}

// send sends a datagram. With all of them goes how much was received.
func (t *unixTransport) send(ctx context.Context, kind uint16, id uint32, b []byte, fds []int) error {
	t.sending.Lock()
	defer t.sending.Unlock()
	t.mu.Lock()
	t.told = t.received
	f := clientFrame{kind: kind, window: unixWindow, received: t.received, room: t.room, id: id}
	t.mu.Unlock()

	f.put(&t.out.header)
	var control []byte
	if len(fds) > 0 {
		t.rights = appendRights(t.rights[:0], fds)
		control = t.rights
	}
	t.out.set(b, control)
	defer t.out.clear()
	if err := t.transfer(ctx, &t.out); err != nil {
		return err
	}
	switch t.out.errno {
	case 0:
		return nil
	case unix.EPIPE, unix.ECONNRESET:
		return fmt.Errorf("%w: %w", errHangup, t.out.errno)
	}
	return os.NewSyscallError("sendmsg", t.out.errno)
}

// errHangup is the error of a server that is gone.
var errHangup = fmt.Errorf("the server hung up: %w", os.ErrClosed)

// transfer makes the system call of d, and waits until it can be made or ctx is
// done.
func (t *unixTransport) transfer(ctx context.Context, d *datagramIO) error {
	d.wait = false
	err := d.ready(d.step)
	if d.late {
		t.soon.Store(false)
	}
	if err == nil && d.errno == unix.EAGAIN {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		release := interrupt(ctx, d.deadline)
		d.wait = true
		err = d.ready(d.step)
		release()
	}
	switch {
	case err == nil:
		return nil
	case t.closed.Load():
		return os.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return ctx.Err()
	}
	return err
}

// next receives a datagram, whose turn it is. N is the length of its data, of
// which b may have less.
func (t *unixTransport) next(ctx context.Context, b []byte) (f serverFrame, n int, err error) {
	t.in.set(b, nil)
	defer t.in.clear()
	if err := t.transfer(ctx, &t.in); err != nil {
		return f, 0, err
	}
	switch {
	case t.in.errno == 0 && t.in.n == 0 && t.closed.Load():
		return f, 0, os.ErrClosed
	case t.in.errno == unix.ECONNRESET, t.in.errno == 0 && t.in.n == 0:
		return f, 0, errHangup
	case t.in.errno != 0:
		return f, 0, os.NewSyscallError("recvmsg", t.in.errno)
	case t.in.n < frameLen:
		return f, 0, errFrame("datagram of length", t.in.n)
	}
	f = parseServerFrame(&t.in.header)
	switch f.kind {
	case frameData, frameError:
		t.more = f.flags&frameMore != 0
	case frameAck:
		t.acknowledge(f)
	case frameHello:
	default:
		return f, 0, errFrame("datagram of kind", f.kind)
	}
	return f, t.in.n - frameLen, nil
}

// failure is the error that the server sends instead of data.
func (f *serverFrame) failure() error {
	errno := syscall.Errno(f.errno)
	if errno == unix.ENOBUFS {
		return errOverrun
	}
	return os.NewSyscallError("recvmsg", errno)
}

// Receive implements Transport.
func (t *unixTransport) Receive(ctx context.Context, b []byte) (int, error) {
	if err := t.takeTurn(ctx); err != nil {
		return 0, err
	}
	defer t.endTurn()
	if t.untold(len(b)) {
		if err := t.send(ctx, frameReceive, 0, nil, nil); err != nil && !errors.Is(err, errHangup) {
			return 0, err // what it has sent before it went is still to be had
		}
	}
	if n, ok, err := t.takeEarly(b); ok {
		return n, err
	}
	if ctx.Err() != nil {
		return t.receiveNow(ctx, b)
	}
	// As a request to the kernel does that takes as long.
	if t.direct && t.soon.Load() {
		t.in.blockNext()
	}
	for {
		f, n, err := t.next(ctx, b)
		if err != nil {
			return 0, err
		}
		if n, ok, err := t.took(f, n, b); ok {
			return n, err
		}
	}
}

// receiveNow receives a datagram if the server has one.
func (t *unixTransport) receiveNow(ctx context.Context, b []byte) (int, error) {
	f, n, err := t.next(ctx, b)
	for err == nil {
		if n, ok, err := t.took(f, n, b); ok {
			return n, err
		}
		f, n, err = t.next(ctx, b)
	}
	if err != ctx.Err() {
		return 0, err
	}
	// It is asked, and what it has comes before it acknowledges that.
	id, _ := t.expect()
	defer t.forget(id)
	brief, cancel := context.WithTimeout(context.Background(), syncPatience)
	defer cancel()
	if err := t.send(brief, frameSync, id, nil, nil); err != nil {
		return 0, instead(brief, err, ctx)
	}
	for {
		f, n, err := t.next(brief, b)
		if err != nil {
			return 0, instead(brief, err, ctx)
		}
		if n, ok, err := t.took(f, n, b); ok {
			return n, err
		}
		if f.kind == frameAck && f.id == id {
			return 0, ctx.Err()
		}
	}
}

// instead is the error of ctx if err is that of brief.
func instead(brief context.Context, err error, ctx context.Context) error {
	if err == brief.Err() {
		return ctx.Err()
	}
	return err
}

// took counts a datagram with data or an error that was received into b; ok is
// false if it is neither.
func (t *unixTransport) took(f serverFrame, size int, b []byte) (n int, ok bool, err error) {
	switch f.kind {
	case frameData:
		n = size
	case frameError:
		err = f.failure()
	default:
		return 0, false, nil
	}
	t.mu.Lock()
	t.received++
	t.room = max(t.room, room32(len(b)))
	t.mu.Unlock()
	return n, true, err
}

// untold tells whether the server has to know what was received: before waiting
// for what it does not send of itself, and before room grows, which must not
// count for what was received into less.
func (t *unixTransport) untold(size int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	asked := t.more || len(t.early) > 0
	return t.received != t.told && (!asked || room32(size) > t.room)
}

// takeTurn waits for the turn to receive.
func (t *unixTransport) takeTurn(ctx context.Context) error {
	select {
	case t.turn <- struct{}{}:
		return nil
	default:
	}
	select {
	case t.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *unixTransport) endTurn() { <-t.turn }

// takeEarly takes the first of the datagrams that came early.
func (t *unixTransport) takeEarly(b []byte) (n int, ok bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.early) == 0 {
		return 0, false, nil
	}
	e := t.early[0]
	t.early = t.early[1:]
	t.received++
	t.room = max(t.room, room32(len(b)))
	copy(b, e.b)
	return len(e.b), true, e.err
}

// expect returns an id for what is to be acknowledged, and where that is told.
func (t *unixTransport) expect() (uint32, chan serverFrame) {
	ch := make(chan serverFrame, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nextID++
	t.waiting[t.nextID] = ch
	return t.nextID, ch
}

func (t *unixTransport) forget(id uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.waiting, id)
}

// acknowledge tells who waits for it.
func (t *unixTransport) acknowledge(f serverFrame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ch := t.waiting[f.id]; ch != nil {
		delete(t.waiting, f.id)
		ch <- f
	}
}

// control sends what is acknowledged with an errno and a value.
func (t *unixTransport) control(kind uint16, words ...uint32) (value uint32, err error) {
	var b []byte
	for _, w := range words {
		b = ne.AppendUint32(b, w)
	}
	id, ch := t.expect()
	defer t.forget(id)
	if err := t.send(context.Background(), kind, id, b, nil); err != nil {
		return 0, err
	}
	for {
		select {
		case f := <-ch:
			if f.errno != 0 {
				return 0, os.NewSyscallError("setsockopt", syscall.Errno(f.errno))
			}
			return f.value, nil
		case t.turn <- struct{}{}:
			err := error(nil)
			if len(ch) == 0 {
				err = t.keepNext()
			}
			t.endTurn()
			if err != nil {
				return 0, err
			}
		}
	}
}

// keepNext receives a datagram and keeps it for Receive.
func (t *unixTransport) keepNext() error {
	b := unixBuffers.Get().(*[unixMax]byte)
	defer unixBuffers.Put(b)
	f, n, err := t.next(context.Background(), b[:])
	if err != nil {
		return err
	}
	var e early
	switch f.kind {
	case frameData:
		e.b = append(e.b, b[:min(n, len(b))]...)
	case frameError:
		e.err = f.failure()
	default:
		return nil
	}
	t.mu.Lock()
	t.early = append(t.early, e)
	t.mu.Unlock()
	return nil
}

// unixBuffers has buffers for any datagram.
var unixBuffers = sync.Pool{New: func() any { return new([unixMax]byte) }}

// JoinGroup implements Transport.
func (t *unixTransport) JoinGroup(id uint32) error {
	_, err := t.control(frameSetOption, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, id)
	return err
}

// LeaveGroup implements Transport.
func (t *unixTransport) LeaveGroup(id uint32) error {
	_, err := t.control(frameSetOption, unix.SOL_NETLINK, unix.NETLINK_DROP_MEMBERSHIP, id)
	return err
}

// connOptions are the options of netlink sockets.
var connOptions = [...]uint32{
	netlink.PacketInfo:          unix.NETLINK_PKTINFO,
	netlink.BroadcastError:      unix.NETLINK_BROADCAST_ERROR,
	netlink.NoENOBUFS:           unix.NETLINK_NO_ENOBUFS,
	netlink.ListenAllNSID:       unix.NETLINK_LISTEN_ALL_NSID,
	netlink.CapAcknowledge:      unix.NETLINK_CAP_ACK,
	netlink.ExtendedAcknowledge: unix.NETLINK_EXT_ACK,
	netlink.GetStrictCheck:      unix.NETLINK_GET_STRICT_CHK,
}

// SetOption implements Transport.
func (t *unixTransport) SetOption(o netlink.ConnOption, on bool) error {
	if o < 0 || int(o) >= len(connOptions) {
		return os.NewSyscallError("setsockopt", unix.ENOPROTOOPT)
	}
	v := uint32(0)
	if on {
		v = 1
	}
	_, err := t.control(frameSetOption, unix.SOL_NETLINK, connOptions[o], v)
	return err
}

// SetReadBuffer says how many bytes the server keeps for the socket.
func (t *unixTransport) SetReadBuffer(bytes int) error {
	_, err := t.control(frameSetOption, unix.SOL_SOCKET, unix.SO_RCVBUF, room32(bytes))
	return err
}

// ReadBuffer returns how many bytes the server keeps for the socket.
func (t *unixTransport) ReadBuffer() (int, error) {
	n, err := t.control(frameGetOption, unix.SOL_SOCKET, unix.SO_RCVBUF)
	return int(n), err
}
