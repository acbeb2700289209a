// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
)

// NewGenetlinkConn returns a connection of package genetlink over a Transport,
// which it closes when it is closed. What needs a netlink socket's own file
// descriptor, such as filters, is not supported.
//
// Unlike [Dial] it sets no option; most users want
// SetOption(netlink.ExtendedAcknowledge, true).
func NewGenetlinkConn(t Transport) *genetlink.Conn {
	return genetlink.NewConn(netlink.NewConn(NewNetlinkSocket(t), t.PortID()))
}

// NetlinkSocket makes of a [Transport] what package netlink takes for a socket.
// It may be used by several goroutines at once, as far as the Transport may.
type NetlinkSocket struct {
	// FDs, if not nil, returns the file descriptors that the attributes of
	// messages about to be sent mean, in the order of the attributes.
	FDs func([]netlink.Message) []int

	t           Transport
	read, write deadline
}

var _ netlink.Socket = (*NetlinkSocket)(nil)

// NewNetlinkSocket returns a NetlinkSocket over t, which it closes when it is
// closed.
func NewNetlinkSocket(t Transport) *NetlinkSocket { return &NetlinkSocket{t: t} }

// Send implements netlink.Socket.
func (s *NetlinkSocket) Send(m netlink.Message) error {
	return s.SendMessages([]netlink.Message{m})
}

// SendMessages sends messages in one datagram.
func (s *NetlinkSocket) SendMessages(msgs []netlink.Message) error {
	ctx := s.write.context()
	if err := ctx.Err(); err != nil {
		return err
	}
	var buf []byte
	for _, m := range msgs {
		b, err := m.MarshalBinary()
		if err != nil {
			return err
		}
		buf = append(buf, b...)
	}
	var fds []int
	if s.FDs != nil {
		fds = s.FDs(msgs)
	}
	return s.t.Send(ctx, buf, fds)
}

// Receive implements netlink.Socket.
func (s *NetlinkSocket) Receive() ([]netlink.Message, error) {
	ctx := s.read.context()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	buf := unixBuffers.Get().(*[unixMax]byte)
	defer unixBuffers.Put(buf)
	n, err := s.t.Receive(ctx, buf[:])
	if err != nil {
		return nil, err
	}
	if n > len(buf) {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrMalformed, n, len(buf))
	}
	// The messages are the caller's, and go on being valid.
	rest := append(make([]byte, 0, n), buf[:n]...)
	var msgs []netlink.Message
	for len(rest) > 0 {
		var m nlmsg
		if m, rest, err = nextMessage(rest); err != nil {
			return nil, err
		}
		msgs = append(msgs, netlink.Message{
			Header: netlink.Header{
				Length:   uint32(len(m)),
				Type:     netlink.HeaderType(m.typ()),
				Flags:    netlink.HeaderFlags(m.flags()),
				Sequence: m.seq(),
				PID:      ne.Uint32(m[12:]),
			},
			Data: m.body(),
		})
	}
	return msgs, nil
}

// ReceiveIter implements netlink.Socket.
func (s *NetlinkSocket) ReceiveIter() iter.Seq2[netlink.Message, error] {
	return func(yield func(netlink.Message, error) bool) {
		msgs, err := s.Receive()
		if err != nil {
			yield(netlink.Message{}, err)
			return
		}
		for _, m := range msgs {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// JoinGroup joins a multicast group.
func (s *NetlinkSocket) JoinGroup(group uint32) error { return s.t.JoinGroup(group) }

// LeaveGroup leaves a multicast group.
func (s *NetlinkSocket) LeaveGroup(group uint32) error { return s.t.LeaveGroup(group) }

// SetOption turns an option on or off.
func (s *NetlinkSocket) SetOption(o netlink.ConnOption, enable bool) error {
	return s.t.SetOption(o, enable)
}

// SetReadBuffer says how many bytes are kept until they are received.
func (s *NetlinkSocket) SetReadBuffer(bytes int) error {
	b, ok := s.t.(bufferSizer)
	if !ok {
		return errors.ErrUnsupported
	}
	return b.SetReadBuffer(bytes)
}

// ReadBuffer returns how many bytes are kept until they are received.
func (s *NetlinkSocket) ReadBuffer() (int, error) {
	b, ok := s.t.(bufferSizer)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	return b.ReadBuffer()
}

// SetWriteBuffer does nothing: what is sent is asked at once.
func (s *NetlinkSocket) SetWriteBuffer(int) error { return nil }

// WriteBuffer returns how large a datagram may be that is sent.
func (s *NetlinkSocket) WriteBuffer() (int, error) { return unixMax, nil }

// SetDeadline sets when what waits is given up, with an error matching
// os.ErrDeadlineExceeded; the zero time is never.
func (s *NetlinkSocket) SetDeadline(t time.Time) error {
	s.read.set(t)
	s.write.set(t)
	return nil
}

// SetReadDeadline is SetDeadline for Receive alone.
func (s *NetlinkSocket) SetReadDeadline(t time.Time) error {
	s.read.set(t)
	return nil
}

// SetWriteDeadline is SetDeadline for Send alone.
func (s *NetlinkSocket) SetWriteDeadline(t time.Time) error {
	s.write.set(t)
	return nil
}

// SyscallConn gives access to the file descriptor of a Transport that has one. It
// is not a netlink socket.
func (s *NetlinkSocket) SyscallConn() (syscall.RawConn, error) {
	c, ok := s.t.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("transport without a file descriptor: %w", errors.ErrUnsupported)
	}
	return c.SyscallConn()
}

// Close closes the Transport. Who waits for it gets an error matching
// os.ErrClosed.
func (s *NetlinkSocket) Close() error { return s.t.Close() }

// deadline makes contexts that are done at a time that can be changed.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	done  chan struct{}
}

// set sets the time, also for those who wait already.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		<-d.done // of a timer that runs off right now
	}
	d.timer = nil
	if d.done == nil || isClosed(d.done) {
		d.done = make(chan struct{})
	}
	switch wait := time.Until(t); {
	case t.IsZero():
	case wait <= 0:
		close(d.done)
	default:
		done := d.done
		d.timer = time.AfterFunc(wait, func() { close(done) })
	}
}

func (d *deadline) context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = make(chan struct{})
	}
	return deadlineContext(d.done)
}

func isClosed(ch chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// deadlineContext is a context that is done when a deadline has passed.
type deadlineContext chan struct{}

// Deadline implements context.Context.
func (c deadlineContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (c deadlineContext) Done() <-chan struct{} { return c }

// Err implements context.Context.
func (c deadlineContext) Err() error {
	if isClosed(c) {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Value implements context.Context.
func (c deadlineContext) Value(any) any { return nil }
