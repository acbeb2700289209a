// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrOverrun is the error of messages that were lost, because they came faster
// than they were received. It comes with unix.ENOBUFS.
var ErrOverrun = errors.New("messages lost")

// SubscribeOptions say what to [Conn.Subscribe] to.
type SubscribeOptions struct {
	// Family is whose notifications are wanted.
	Family *Family

	// Groups are the names of the multicast groups. If empty, all that the
	// family has.
	Groups []string

	// ReadBuffer is how many bytes of notifications the kernel keeps until
	// they are received, counted as the kernel does, with its overhead. If
	// 0, 1 MiB.
	ReadBuffer int
}

const defaultReadBuffer = 1 << 20

// Subscription delivers the notifications of a family, on a socket of its own.
// It belongs to one goroutine, but for Close.
type Subscription struct {
	conn   *Conn
	sock   *sock
	family *Family

	rest []byte // of the datagram received, what was not looked at yet

	// After an overrun, until what the kernel had kept is received.
	overrun bool
	budget  int // bytes that may be left of it
	readBuf int
}

// Subscribe joins multicast groups.
//
// Returns an error matching os.ErrNotExist if there is no such group,
// os.ErrPermission if the caller may not join it, or errors.ErrUnsupported if
// the transport has no groups.
func (c *Conn) Subscribe(o SubscribeOptions) (*Subscription, error) {
	groups, err := o.groups()
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	s, err := c.open()
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	sub := &Subscription{conn: c, sock: s, family: o.Family}
	if err := sub.join(groups, o.ReadBuffer); err != nil {
		c.drop(s)
		return nil, fmt.Errorf("subscribe to family %s: %w", o.Family.Name, err)
	}
	s.receiveHere()
	return sub, nil
}

// groups returns the multicast groups that are meant.
func (o *SubscribeOptions) groups() ([]Group, error) {
	if len(o.Groups) == 0 {
		return o.Family.Groups, nil
	}
	var list []Group
	for _, name := range o.Groups {
		g, err := o.Family.Group(name)
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

// join sizes the buffer, then joins groups.
func (sub *Subscription) join(groups []Group, size int) error {
	if !sub.sock.hasGroups() {
		return fmt.Errorf("multicast groups: %w", errors.ErrUnsupported)
	}
	if size == 0 {
		size = defaultReadBuffer
	}
	var err error
	if sub.readBuf, err = sub.sock.setReadBuffer(size); err != nil {
		return fmt.Errorf("receive buffer: %w", err)
	}
	for _, g := range groups {
		if err := sub.sock.joinGroup(g.ID); err != nil {
			return fmt.Errorf("group %s: %w", g.Name, err)
		}
	}
	if !sub.sock.kernel && sub.sock.tr == nil {
		return nil
	}
	// To know when the family goes, of which its own groups tell nothing.
	return sub.sock.joinGroup(ctrlNotifyGroup)
}

// Receive waits for the next notification. What it holds is valid until the next
// call.
//
// Returns an error matching [ErrOverrun] and unix.ENOBUFS if notifications were
// lost. All those that came before the gap have been returned by then, so that
// whoever now reads anew what they told of, and goes on receiving, misses
// nothing.
//
// Returns an error matching os.ErrNotExist if the family is gone, os.ErrClosed
// if the subscription was closed, or the error of ctx, after which Receive may
// be called again.
func (sub *Subscription) Receive(ctx context.Context) (Message, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Message{}, fmt.Errorf("receive from family %s: %w", sub.family.Name, err)
		}
		m, ok, err := sub.next()
		if err == nil && !ok {
			err = sub.fill(ctx)
		}
		if err != nil {
			return Message{}, fmt.Errorf("receive from family %s: %w", sub.family.Name, err)
		}
		if ok {
			return m, nil
		}
	}
}

// next returns the next notification of those received.
func (sub *Subscription) next() (g Message, ok bool, err error) {
	for len(sub.rest) > 0 {
		m, rest, err := nextMessage(sub.rest)
		sub.rest = rest
		if err != nil {
			return g, false, err
		}
		switch m.typ() {
		case sub.family.ID:
			if g, ok = m.generic(sub.family.HeaderSize); !ok {
				err = errShort(len(m), headerLen+genlHeaderLen+sub.family.HeaderSize)
			}
			return g, ok, err
		case unix.GENL_ID_CTRL:
			if sub.isGone(m) {
				return g, false, fmt.Errorf("the family is gone: %w", os.ErrNotExist)
			}
		}
	}
	return g, false, nil
}

// isGone tells whether a message of nlctrl says that the family is gone.
func (sub *Subscription) isGone(m nlmsg) bool {
	g, ok := m.generic(0)
	if !ok || g.Command != unix.CTRL_CMD_DELFAMILY {
		return false
	}
	f, err := parseFamily(g.Attrs)
	return err == nil && f.ID == sub.family.ID
}

// fill receives more notifications.
//
// On an overrun the kernel reports that first, then hands out what it has kept,
// and keeps nothing new before all of that is received. So all of it is received
// before the overrun is returned.
func (sub *Subscription) fill(ctx context.Context) (err error) {
	if sub.overrun {
		return sub.drain()
	}
	sub.rest, err = sub.sock.roundTrip(ctx)
	if errors.Is(err, ErrOverrun) {
		sub.overrun, sub.budget = true, sub.readBuf
		return nil
	}
	return err
}

// drain receives more of what the kernel had kept before an overrun.
func (sub *Subscription) drain() error {
	rest, ok, err := sub.sock.receiveNow()
	if ok {
		sub.rest = rest
		sub.budget -= sub.sock.n
		if sub.budget > 0 {
			return err
		}
	}
	sub.overrun = false
	return errors.Join(fmt.Errorf("%w: %w", ErrOverrun, unix.ENOBUFS), err)
}

// Close leaves the groups. A Receive that waits ends with an error matching
// os.ErrClosed.
func (sub *Subscription) Close() error {
	return sub.conn.drop(sub.sock)
}
