// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// Nobody tells what other processes change: inotify knows pins, but not what is
// written to maps and links. So the state is looked at twice a second, and when
// rtnetlink tells of a netdev. What is changed through the same Control is told
// at once.
const lookInterval = 500 * time.Millisecond

// lookPause is the least time between two looks.
const lookPause = 20 * time.Millisecond

// maxEvents is how many events wait for a slow listener.
const maxEvents = 4096

// events tells subscriptions what has changed.
type events struct {
	mu   sync.Mutex // held while something is changed through the Control, and while it is looked
	subs map[*subscription]bool
	last snapshot // what they know

	failing bool
	stop    func() // ends looking, and then waits for its end without mu; nil if nobody subscribes
}

// subscription implements family.Subscription.
type subscription struct {
	e       *events
	owner   any // of family.WithNotify
	monitor *monitor
	wake    chan struct{}

	mu     sync.Mutex
	queue  []family.Event
	lost   bool
	closed bool
}

// Subscribe implements family.Control. It tells of changes that are made through
// any Control of the network namespace, be it in another process; of those made
// through this one all and at once, of others what is there when it looks, twice
// a second.
//
// Returns an error if the kernel does not let exceptions be watched.
func (c *Control) Subscribe(ctx context.Context) (family.Subscription, error) {
	s := &subscription{e: &c.events, wake: make(chan struct{}, 1)}
	s.owner, _ = family.NotifyFrom(ctx)
	c.events.mu.Lock()
	err := c.inNetNS(func() error {
		if len(c.events.subs) > 0 {
			c.look(ctx)
		} else if err := c.startLooking(ctx); err != nil {
			return err
		}
		return c.state.settled(func() (err error) {
			s.monitor, err = c.newMonitor(s.put, s.lose)
			return err
		})
	})
	if err == nil {
		c.events.subs[s] = true
	}
	c.events.leave()
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	return s, nil
}

// leave unlocks e.mu, and ends looking if nobody subscribes.
func (e *events) leave() {
	var stop func()
	if len(e.subs) == 0 {
		stop, e.stop = e.stop, nil
	}
	e.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// Recv implements family.Subscription.
func (s *subscription) Recv(ctx context.Context) (family.Event, error) {
	for {
		ev, ok, err := s.take()
		if ok || err != nil {
			return ev, err
		}
		select {
		case <-ctx.Done():
			return ev, ctx.Err()
		case <-s.wake:
		}
	}
}

func (s *subscription) take() (ev family.Event, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ev, false, fmt.Errorf("receive event: %w", os.ErrClosed)
	case s.lost:
		s.lost = false
		return ev, false, fmt.Errorf("events were lost: %w", unix.ENOBUFS)
	case len(s.queue) == 0:
		return ev, false, nil
	}
	ev, s.queue[0] = s.queue[0], family.Event{}
	s.queue = s.queue[1:]
	return ev, true, nil
}

// put adds an event.
func (s *subscription) put(ev family.Event) {
	s.mu.Lock()
	if len(s.queue) < maxEvents {
		s.queue = append(s.queue, ev)
	} else {
		s.lost = true
	}
	s.mu.Unlock()
	s.awake()
}

// lose says that events were lost.
func (s *subscription) lose() {
	s.mu.Lock()
	s.lost = true
	s.mu.Unlock()
	s.awake()
}

func (s *subscription) awake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close implements family.Subscription.
func (s *subscription) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed, s.queue = true, nil
	s.mu.Unlock()
	if closed {
		return nil
	}
	s.awake()
	s.monitor.close()
	s.e.mu.Lock()
	delete(s.e.subs, s)
	s.e.leave()
	return nil
}

// close ends all subscriptions.
func (e *events) close() error {
	e.mu.Lock()
	var list []*subscription
	for s := range e.subs {
		list = append(list, s)
	}
	e.mu.Unlock()
	var errs []error
	for _, s := range list {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// startLooking begins to look at what changes. It holds e.mu and runs on a thread
// in the network namespace.
func (c *Control) startLooking(ctx context.Context) error {
	// First, so that nothing is missed after the first look.
	links, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Groups: unix.RTMGRP_LINK})
	if err != nil {
		return fmt.Errorf("watch netdevs: %w", err)
	}
	first, err := c.snapshot(ctx)
	if err != nil {
		return errors.Join(err, links.Close())
	}
	c.events.last, c.events.failing = first, false
	if c.events.subs == nil {
		c.events.subs = map[*subscription]bool{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	kick := make(chan struct{}, 1)
	var both sync.WaitGroup
	both.Go(func() {
		for {
			_, err := links.Receive()
			if err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case kick <- struct{}{}:
			default:
			}
		}
	})
	both.Go(func() { c.lookOn(ctx, kick) })
	c.events.stop = func() {
		cancel()
		links.Close()
		both.Wait()
	}
	return nil
}

// lookOn looks until ctx is done.
func (c *Control) lookOn(ctx context.Context, kick <-chan struct{}) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-kick:
		}
		c.events.mu.Lock()
		if ctx.Err() == nil {
			c.inNetNS(func() error {
				c.look(ctx)
				return nil
			})
		}
		c.events.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(lookPause):
		}
	}
}

// look tells what others have changed. It holds e.mu and runs on a thread in the
// network namespace.
func (c *Control) look(ctx context.Context) {
	err := c.state.settled(func() error { return c.tell(ctx, nil) })
	if err != nil && ctx.Err() == nil {
		c.failed()
	} else {
		c.events.failing = false
	}
}

// failed says, once, that what has changed cannot be told.
func (c *Control) failed() {
	if c.events.failing {
		return
	}
	c.events.failing = true
	for s := range c.events.subs {
		s.lose()
	}
}

// changing prepares for telling of a change, under the lock: if nobody subscribes,
// and the caller wants to know, of what there was.
func (c *Control) changing(ctx context.Context) (err error) {
	if _, f := family.NotifyFrom(ctx); f != nil && len(c.events.subs) == 0 {
		c.events.last, err = c.snapshot(ctx)
	}
	return err
}

// changed tells what was changed through the Control, under the lock. Key is the
// entry that was changed, which is told of in any case, or nil.
func (c *Control) changed(ctx context.Context, key any) {
	if _, f := family.NotifyFrom(ctx); f == nil && len(c.events.subs) == 0 {
		return
	}
	if err := c.tell(context.WithoutCancel(ctx), key); err != nil {
		c.failed()
	}
}

// tell tells what is not as it was.
func (c *Control) tell(ctx context.Context, key any) error {
	now, err := c.snapshot(ctx)
	if err != nil {
		return err
	}
	list, err := c.differences(ctx, &c.events.last, &now, key)
	if err != nil {
		return err
	}
	c.events.last = now
	owner, f := family.NotifyFrom(ctx)
	for _, ev := range list {
		for s := range c.events.subs {
			if f == nil || s.owner != owner {
				s.put(ev)
			}
		}
		if f != nil {
			f(ev)
		}
	}
	return nil
}
