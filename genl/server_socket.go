// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ServerSocket is a socket of a [Server]. It does what a netlink socket does in
// the kernel: it keeps what was not received yet, up to the size of its buffer,
// and a dump advances when a part of it is received.
//
// It is a [Transport] itself, for the same process. For another process, who
// reads its datagrams gives them to Input, and writes those that Next returns;
// Received tells that one was received at the other end.
type ServerSocket struct {
	srv    *Server
	peer   Peer
	portID uint32
	ctx    context.Context // until it is closed
	cancel context.CancelFunc
	opts   atomic.Uint32 // 1<<netlink.ConnOption

	// Requests, one after the other.
	input sync.Mutex
	req   ServerRequest
	w     ReplyWriter
	ext   extAck

	// The dump, taken before mu.
	dumpMu  sync.Mutex
	dump    serverDump
	maxRecv atomic.Int32 // the largest buffer for a datagram, so far

	groups []uint32 // under socketsMu of the server

	mu        sync.Mutex
	queue     []packet
	head      int   // of queue
	ahead     []int // costs of what was sent to another process, and not received yet
	rmem      int   // what is in queue costs
	rcvbuf    int
	err       error // for the next receive
	congested bool  // nothing comes in until all was received
	closed    bool
	waiting   bool
	ready     chan struct{} // told when something comes and waiting is set
	onReady   func()        // called then, if not nil
	free      [][]byte
	last      []byte // what Next returned
}

// packet is a datagram, with what it costs.
type packet struct {
	b    []byte
	cost int
}

// What the kernel counts for a datagram, and how much of that it keeps.
const (
	skbHead       = 256 // struct sk_buff
	skbShared     = 320 // struct skb_shared_info
	defaultRcvbuf = 212992
	minRcvbuf     = 2304
	maxSend       = 212992 - 32
)

// keepBuffer is the largest buffer that is used again, keepBuffers how many are.
const (
	keepBuffer  = 32 << 10
	keepBuffers = 4
)

// smallHead is what the kernel has a cache of for data of up to that size, less
// skbShared, since Linux 6.3. As it is in Debian's.
const smallHead = 704

// skbCost returns what the kernel counts for n bytes (skb->truesize).
func (s *Server) skbCost(n int) int {
	n = (n+63)&^63 + skbShared
	if !s.old && n <= smallHead {
		return smallHead + skbHead
	}
	return 1<<bits.Len(uint(n-1)) + skbHead
}

// Dial returns a socket for the same process, which is a [ServerSocket]. Requests
// are handled by the goroutine that sends them.
//
// Returns an error matching os.ErrClosed if the server was closed.
func (s *Server) Dial() (Transport, error) {
	k, err := s.Socket(Peer{
		Local: true,
		PID:   int32(os.Getpid()),
		UID:   uint32(os.Getuid()),
		GID:   uint32(os.Getgid()),
	})
	if err != nil {
		return nil, err
	}
	return k, nil
}

// Socket returns the server's end of a socket.
//
// Returns an error matching os.ErrClosed if the server was closed.
func (s *Server) Socket(p Peer) (*ServerSocket, error) {
	k := &ServerSocket{
		srv:    s,
		peer:   p,
		rcvbuf: defaultRcvbuf,
		ready:  make(chan struct{}, 1),
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	s.socketsMu.Lock()
	defer s.socketsMu.Unlock()
	if s.closed {
		k.cancel()
		return nil, fmt.Errorf("socket of a generic netlink server: %w", os.ErrClosed)
	}
	k.portID = s.newPort(uint32(p.PID))
	s.sockets[k.portID] = k
	return k, nil
}

// newPort returns a port id that is free: the process id, or else one that is
// negative (netlink_autobind).
func (s *Server) newPort(want uint32) uint32 {
	const top = ^uint32(4096) // -4097
	for want == 0 || s.sockets[want] != nil {
		if s.rover > top || s.rover < 1<<31 {
			s.rover = top
		}
		want = s.rover
		s.rover--
	}
	return want
}

// PortID implements Transport.
func (k *ServerSocket) PortID() uint32 { return k.portID }

// Peer returns who is at the other end.
func (k *ServerSocket) Peer() Peer { return k.peer }

// SetOption implements Transport. PacketInfo and ListenAllNSID mean nothing.
//
// Returns unix.ENOPROTOOPT if there is no such option.
func (k *ServerSocket) SetOption(o netlink.ConnOption, on bool) error {
	if o < netlink.PacketInfo || o > netlink.GetStrictCheck {
		return os.NewSyscallError("setsockopt", unix.ENOPROTOOPT)
	}
	if on {
		k.opts.Or(1 << o)
	} else {
		k.opts.And(^(uint32(1) << o))
	}
	if on && o == netlink.NoENOBUFS {
		k.mu.Lock()
		k.congested = false
		k.mu.Unlock()
	}
	return nil
}

// Option tells whether an option is on.
func (k *ServerSocket) Option(o netlink.ConnOption) bool {
	return k.opts.Load()&(1<<o) != 0
}

// SetReadBuffer sets how many bytes of datagrams are kept until they are
// received, counted as the kernel does, with its overhead, which is twice n as
// with SO_RCVBUF.
func (k *ServerSocket) SetReadBuffer(n int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rcvbuf = max(2*n, minRcvbuf)
	return nil
}

// ReadBuffer returns the size of the buffer, as SO_RCVBUF has it.
func (k *ServerSocket) ReadBuffer() (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.rcvbuf, nil
}

// JoinGroup implements Transport.
//
// Returns unix.EINVAL if there is no such group, or unix.EPERM if it takes more
// than the peer has.
func (k *ServerSocket) JoinGroup(id uint32) error {
	s := k.srv
	s.joinMu.Lock()
	defer s.joinMu.Unlock()
	if id == 0 || int64(id) > int64(s.groupLimit.Load()) {
		return os.NewSyscallError("setsockopt", unix.EINVAL)
	}
	f, i := s.groupOf(id)
	if f != nil && f.Groups[i].Admin && !s.admin(k.peer) {
		return os.NewSyscallError("setsockopt", unix.EPERM)
	}
	return k.member(f, i, id, true)
}

// LeaveGroup implements Transport.
//
// Returns unix.EINVAL if there is no such group.
func (k *ServerSocket) LeaveGroup(id uint32) error {
	s := k.srv
	s.joinMu.Lock()
	defer s.joinMu.Unlock()
	if id == 0 || int64(id) > int64(s.groupLimit.Load()) {
		return os.NewSyscallError("setsockopt", unix.EINVAL)
	}
	f, i := s.groupOf(id)
	return k.member(f, i, id, false)
}

// member makes the socket a member of a group or no more, and tells the family.
func (k *ServerSocket) member(f *served, i int, id uint32, join bool) error {
	s := k.srv
	s.socketsMu.Lock()
	was := slices.Contains(k.groups, id)
	switch {
	case s.sockets[k.portID] != k:
		s.socketsMu.Unlock()
		return os.ErrClosed
	case was == join:
		s.socketsMu.Unlock()
		return nil
	case join:
		k.groups = append(k.groups, id)
		s.listeners[id] = append(slices.Clone(s.listeners[id]), k)
	default:
		s.leaveLocked(k, id)
	}
	n := len(s.listeners[id])
	if f != nil {
		f.listening[i].Store(int32(n))
	}
	s.socketsMu.Unlock()
	if f == nil || f.Listeners == nil {
		return nil
	}
	err := f.Listeners(f.Groups[i].Name, n)
	if err == nil || !join {
		return nil
	}
	s.socketsMu.Lock()
	s.leaveLocked(k, id)
	f.listening[i].Store(int32(len(s.listeners[id])))
	s.socketsMu.Unlock()
	return err
}

// leaveLocked takes a socket off a group.
func (s *Server) leaveLocked(k *ServerSocket, id uint32) {
	is := func(o *ServerSocket) bool { return o == k }
	s.listeners[id] = slices.DeleteFunc(slices.Clone(s.listeners[id]), is)
	if len(s.listeners[id]) == 0 {
		delete(s.listeners, id)
	}
	k.groups = slices.DeleteFunc(k.groups, func(g uint32) bool { return g == id })
}

// groupOf returns whose group it is, and which; nil if nobody's.
func (s *Server) groupOf(id uint32) (*served, int) {
	for _, f := range s.families.Load().byID {
		if f != nil && id >= f.firstGroup && id < f.firstGroup+uint32(len(f.Groups)) {
			return f, int(id - f.firstGroup)
		}
	}
	return nil, 0
}

// dropListeners takes all sockets off a group of a family that goes.
func (s *Server) dropListeners(f *served, i int) {
	id := f.groupID(i)
	s.socketsMu.Lock()
	defer s.socketsMu.Unlock()
	for _, k := range s.listeners[id] {
		s.leaveLocked(k, id)
	}
	f.listening[i].Store(0)
}

// multicast sends a message to a group, but to port except (netlink_broadcast).
func (s *Server) multicast(group, except uint32, msg []byte) error {
	s.socketsMu.RLock()
	list := s.listeners[group] // is not changed in place
	s.socketsMu.RUnlock()
	delivered, failed := false, false
	for _, k := range list {
		switch {
		case k.portID == except:
		case k.unicast(append(k.buffer(), msg...)):
			delivered = true
		case k.Option(netlink.BroadcastError):
			failed = true
		}
	}
	switch {
	case failed:
		return unix.ENOBUFS
	case !delivered:
		return unix.ESRCH
	}
	return nil
}

// setErr tells the listeners of a group that they miss something
// (netlink_set_err).
func (s *Server) setErr(group uint32) (untold int) {
	s.socketsMu.RLock()
	list := s.listeners[group]
	s.socketsMu.RUnlock()
	for _, k := range list {
		if k.Option(netlink.NoENOBUFS) {
			untold++
			continue
		}
		k.fail(errOverrun)
	}
	return untold
}

var errOverrun = fmt.Errorf("%w: %w", ErrOverrun, unix.ENOBUFS)

// fail sets the error of the next receive (sk_err).
func (k *ServerSocket) fail(err error) {
	k.mu.Lock()
	k.err = err
	k.wakeLocked()
	k.mu.Unlock()
}

// buffer returns an empty buffer for a datagram.
func (k *ServerSocket) buffer() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.free); n > 0 {
		b := k.free[n-1]
		k.free = k.free[:n-1]
		return b[:0]
	}
	return make([]byte, 0, 512)
}

func (k *ServerSocket) recycleLocked(b []byte) {
	if cap(b) <= keepBuffer && len(k.free) < keepBuffers {
		k.free = append(k.free, b)
	}
}

// unicast queues a datagram, of which it is the owner then, or tells of an
// overrun (netlink_attachskb, netlink_overrun).
func (k *ServerSocket) unicast(b []byte) bool {
	cost := k.srv.skbCost(len(b))
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return false
	}
	if k.congested || k.rmem != 0 && k.rmem+cost > k.rcvbuf {
		k.recycleLocked(b)
		if !k.Option(netlink.NoENOBUFS) && !k.congested {
			k.congested = true
			k.err = errOverrun
			k.wakeLocked()
		}
		return false
	}
	k.queueLocked(b, cost)
	return true
}

func (k *ServerSocket) queueLocked(b []byte, cost int) {
	if k.head > 0 && len(k.queue) == cap(k.queue) {
		n := copy(k.queue, k.queue[k.head:])
		clear(k.queue[n:])
		k.queue, k.head = k.queue[:n], 0
	}
	k.queue = append(k.queue, packet{b: b, cost: cost})
	k.rmem += cost
	k.wakeLocked()
}

func (k *ServerSocket) wakeLocked() {
	if k.waiting {
		k.waiting = false
		if k.onReady != nil {
			k.onReady()
			return
		}
		select {
		case k.ready <- struct{}{}:
		default:
		}
	}
}

// pop takes the next datagram. Ok is false if there is neither one nor an error.
func (k *ServerSocket) pop() (b []byte, ok bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return nil, false, os.ErrClosed
	case k.err != nil:
		err, k.err = k.err, nil
	case k.head < len(k.queue):
		p := k.queue[k.head]
		k.queue[k.head] = packet{}
		k.head++
		k.rmem -= p.cost
		b, ok = p.b, true
	default:
		k.waiting = true
		return nil, false, nil
	}
	if k.head == len(k.queue) {
		k.queue, k.head = k.queue[:0], 0
		k.congested = false
	}
	return b, ok, err
}

// wait takes the next datagram, for which it waits.
func (k *ServerSocket) wait(ctx context.Context) ([]byte, error) {
	for {
		b, ok, err := k.pop()
		if ok || err != nil {
			return b, err
		}
		select {
		case <-k.ready:
		case <-k.ctx.Done():
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Receive implements Transport.
func (k *ServerSocket) Receive(ctx context.Context, b []byte) (n int, err error) {
	d, err := k.wait(ctx)
	if err != nil {
		return 0, err
	}
	n = len(d)
	copy(b, d)
	k.mu.Lock()
	k.recycleLocked(d)
	k.mu.Unlock()
	k.Received(len(b))
	return n, nil
}

// Next waits for a datagram and takes it, for a socket to another process. What
// is returned is valid until the next call. Nothing is known yet of when it will
// be received; Received tells of that.
//
// Returns an error matching [ErrOverrun] and unix.ENOBUFS once after
// notifications were lost, or os.ErrClosed. Other errors than those, and that of
// ctx, are for who receives, too: a dump that could not go on for want of room.
func (k *ServerSocket) Next(ctx context.Context) ([]byte, error) {
	k.mu.Lock()
	if k.last != nil {
		k.recycleLocked(k.last)
		k.last = nil
	}
	k.mu.Unlock()
	b, err := k.wait(ctx)
	k.last = b
	return b, err
}

// Received tells that a datagram was received into a buffer of so many bytes,
// upon which the next part of a dump is made, up to the size of the largest
// buffer so far, and 32 KiB.
func (k *ServerSocket) Received(size int) {
	if size > int(k.maxRecv.Load()) {
		k.maxRecv.Store(int32(min(size, maxPart)))
	}
	k.advance()
}

// Close closes the socket: it leaves its groups, ends its dump, and a Receive
// that waits.
func (k *ServerSocket) Close() error {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return nil
	}
	k.closed = true
	k.queue, k.free = nil, nil
	k.head = 0
	k.mu.Unlock()
	k.cancel()
	k.leaveAll()
	k.giveUpDump()
	return nil
}

// leaveAll forgets the socket.
func (k *ServerSocket) leaveAll() {
	s := k.srv
	s.joinMu.Lock()
	defer s.joinMu.Unlock()
	s.socketsMu.RLock()
	groups := slices.Clone(k.groups)
	s.socketsMu.RUnlock()
	for _, id := range groups {
		f, i := s.groupOf(id)
		// Cannot fail: the socket is not forgotten yet.
		_ = k.member(f, i, id, false)
	}
	s.socketsMu.Lock()
	delete(s.sockets, k.portID)
	s.socketsMu.Unlock()
}
