// SPDX-License-Identifier: BSD-3-Clause

// Package genl speaks generic netlink with any family.
//
// A [Conn] asks: [Conn.Do] for one request, [Conn.Dump] for a list,
// [Conn.Subscribe] for notifications, [Conn.Family] and [Conn.Policies] for what
// a family is and what it accepts. Refusals are an [*Error] with all that the
// kernel's extended acknowledgement says.
//
//	conn, err := genl.Dial(genl.Options{})
//	if err != nil {
//		return err
//	}
//	defer conn.Close()
//
//	netdev, err := conn.Family(ctx, "netdev")
//	if err != nil {
//		return err
//	}
//	err = conn.Do(ctx, genl.Request{
//		Op:      "dev-get",
//		Family:  netdev,
//		Command: 1,
//		Attrs:   genl.AppendUint32(nil, 1, ifindex),
//	}, func(m genl.Message) error {
//		...
//	})
//
// A [Server] is the other side: it serves families to processes where no module
// can be loaded, with the answers of the kernel, and is a fake kernel for tests.
//
// Sockets are those of github.com/mdlayher/genetlink; what is sent and received
// on them is handled here, since that library allocates for every message and
// drops the part of the protocol that tells of warnings, of missing attributes
// and of dumps that were interrupted.
package genl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/netns"
)

// Options say how to [Dial].
type Options struct {
	// NetNS is a file descriptor of the network namespace that is meant. It
	// stays the caller's and need not stay open. If 0, NetNSName counts.
	NetNS int

	// NetNSName is the network namespace that is meant: a name, as
	// ip-netns(8) gives it, or a path, which has a slash in it. If empty,
	// that of the calling thread.
	NetNSName string

	// Transport makes sockets that lead to a [Server], which has a network
	// namespace of its own: then NetNS and NetNSName do not count.
	Transport func() (Transport, error)

	// Socket makes sockets on which somebody other than the kernel speaks
	// netlink without any framing. They have no groups unless they have a
	// method JoinGroup, and carry no file descriptors.
	Socket func() (Socket, error)

	// DumpTries is how often a dump is tried that changes interrupt; if 0,
	// 10 times.
	DumpTries int

	// Warn is called with the warnings that come with requests that were
	// not refused, by the goroutine that made the request. If nil, there is
	// nobody to hear them.
	Warn func(Warning)
}

const (
	defaultDumpTries = 10
	maxIdle          = 16 // sockets kept for later
)

// Conn is a connection to the kernel's generic netlink families, or to those of a
// [Server].
//
// It may be used by several goroutines at once: each request has a socket of
// its own, of which a Conn makes as many as are needed at a time. All of them
// are in the network namespace that was meant when it was dialed.
type Conn struct {
	opts Options
	ns   *os.File // nil: there are no namespaces

	mu     sync.Mutex
	idle   []*sock // for anybody to take
	all    []*sock // open
	closed bool

	dumps sync.Pool // of *[]byte
}

// Request is a generic netlink request.
type Request struct {
	// Op says in errors what was asked, such as "stats-get".
	Op string

	// Family is whom it is for.
	Family *Family

	// Command is the operation, in the numbers of the family.
	Command uint8

	// Flags are NLM_F_* other than REQUEST, ACK and DUMP. Families made
	// since Linux 6.0 accept none but NLM_F_ECHO.
	Flags uint16

	// Header is the family's own header, of [Family.HeaderSize] bytes.
	Header []byte

	// Attrs are the attributes, as [AppendAttr] and its like append them.
	Attrs []byte

	// Names names them in errors; nil leaves them numbers.
	Names AttrNames

	// FDs are the file descriptors that attributes mean, in the order of
	// the attributes. On a [Transport] they are passed on, and what number
	// an attribute has does not count; the kernel looks at the numbers.
	FDs []int

	// OneReply says that [Conn.Do] will be answered with one message unless
	// it is refused, so that no acknowledgement is asked for, which costs a
	// quarter of a request that is simple. A warning is not heard then.
	OneReply bool
}

func (r *Request) name() string {
	if r.Op != "" {
		return r.Op
	}
	return fmt.Sprintf("%s command %d", r.Family.Name, r.Command)
}

// Dial opens a connection.
//
// Returns an error matching os.ErrNotExist if there is no such network
// namespace, or os.ErrPermission if it may not be entered, which takes
// CAP_SYS_ADMIN.
func Dial(o Options) (*Conn, error) {
	c := &Conn{opts: o}
	if o.Transport == nil && o.Socket == nil {
		var err error
		if c.ns, err = openNetNS(o); err != nil {
			return nil, fmt.Errorf("dial generic netlink: %w", err)
		}
	}
	s, err := c.open()
	if err != nil {
		c.Close()
		return nil, err
	}
	c.put(s, true)
	return c, nil
}

// openNetNS opens the network namespace in which all sockets will be made.
func openNetNS(o Options) (*os.File, error) {
	if o.NetNS != 0 {
		return netns.Dup(o.NetNS)
	}
	f, err := netns.Open(o.NetNSName)
	if o.NetNSName == "" && errors.Is(err, os.ErrNotExist) {
		return nil, nil // no /proc, or a kernel without namespaces
	}
	return f, err
}

// Close closes the connection. Requests that wait for an answer, and
// subscriptions, end with an error matching os.ErrClosed.
func (c *Conn) Close() error {
	c.mu.Lock()
	all := c.all
	c.idle, c.all = nil, nil
	ns := c.ns
	c.ns = nil
	c.closed = true
	c.mu.Unlock()

	var errs []error
	for _, s := range all {
		errs = append(errs, s.Close())
	}
	if ns != nil {
		errs = append(errs, ns.Close())
	}
	return errors.Join(errs...)
}

// get returns a socket that nobody else uses.
func (c *Conn) get() (*sock, error) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		s := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		return s, nil
	}
	c.mu.Unlock()
	return c.open()
}

// put gives back a socket. Unless it is clean, some answer may still come on it,
// and so it is closed.
func (c *Conn) put(s *sock, clean bool) {
	c.mu.Lock()
	if clean && !c.closed && len(c.idle) < maxIdle {
		c.idle = append(c.idle, s)
		c.mu.Unlock()
		return
	}
	var lost []*sock
	if s.hungUp {
		// Nor is the server there any more for the others.
		lost, c.idle = c.idle, nil
	}
	c.mu.Unlock()
	for _, s := range append(lost, s) {
		c.drop(s)
	}
}

// drop closes a socket.
func (c *Conn) drop(s *sock) error {
	c.mu.Lock()
	i := slices.Index(c.all, s)
	if i >= 0 {
		c.all = slices.Delete(c.all, i, i+1)
	}
	c.mu.Unlock()
	if i < 0 {
		return nil // closed with the connection
	}
	return s.Close()
}

// open makes a socket.
func (c *Conn) open() (*sock, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fmt.Errorf("generic netlink connection: %w", os.ErrClosed)
	}
	s, err := c.dialLocked()
	if err != nil {
		return nil, fmt.Errorf("dial generic netlink: %w", err)
	}
	c.all = append(c.all, s)
	return s, nil
}

func (c *Conn) dialLocked() (*sock, error) {
	switch {
	case c.opts.Transport != nil:
		tr, err := c.opts.Transport()
		if err != nil {
			return nil, err
		}
		return newSockOver(tr)
	case c.opts.Socket != nil:
		s, err := c.opts.Socket()
		if err != nil {
			return nil, err
		}
		return newSock(s, false)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cfg := &netlink.Config{Strict: true}
	if c.ns != nil {
		here, err := netns.IsCurrent(c.ns)
		if err != nil {
			return nil, err
		}
		if !here {
			cfg.NetNS = int(c.ns.Fd())
		}
	}
	s, err := genetlink.Dial(cfg)
	if err != nil {
		return nil, err
	}
	return newSock(s, true)
}

// InNetNS runs f on a thread in the network namespace of the connection, or in
// place if it has none. Families that act for the sender of a request, and not
// only for the socket it comes from, want it of who calls [Conn.Do].
func (c *Conn) InNetNS(f func() error) error {
	c.mu.Lock()
	ns := c.ns
	c.mu.Unlock()
	if ns == nil {
		return f()
	}
	return netns.Do(ns, f)
}

// Do makes a request, calls reply with each message of the answer, in the order
// in which they come, and returns when the request is acknowledged, or, with
// OneReply, when there is a reply. Reply may
// be nil. What the message holds is valid until reply returns.
//
// Returns an *[Error] if the request was refused, whatever was replied before;
// or else the first error of reply; or the error of ctx. If ctx is done before
// the answer comes, the request may have had its effect, or still have it; but
// the kernel has answered by the time the request is sent, so that there is
// nothing to wait for, and nothing to cut short either.
//
// Allocates nothing when it succeeds, if reply does not.
func (c *Conn) Do(ctx context.Context, req Request, reply func(Message) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", req.name(), err)
	}
	s, err := c.get()
	if err != nil {
		return fmt.Errorf("%s: %w", req.name(), err)
	}
	s.receiveHere()
	var flags uint16
	if !req.OneReply {
		flags = unix.NLM_F_ACK
	}
	s.request(&req, flags)
	replyErr, a, err := s.do(ctx, &req, reply)
	c.put(s, err == nil)
	if err == nil {
		if err := a.finish(&req, c.opts.Warn); err != nil {
			return err
		}
		err = replyErr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", req.name(), err)
	}
	return nil
}

// do sends the request and receives until it is acknowledged, or answered if
// that is all. ReplyErr is the first error of reply; after err the socket is not
// clean.
func (s *sock) do(ctx context.Context, req *Request, reply func(Message) error) (replyErr error, a ack, err error) {
	for {
		b, err := s.roundTrip(ctx)
		if err != nil {
			return nil, a, err
		}
		for len(b) > 0 {
			var m nlmsg
			if m, b, err = nextMessage(b); err != nil {
				return nil, a, err
			}
			if m.seq() != s.seq {
				continue // of a request that is over
			}
			switch m.typ() {
			case unix.NLMSG_ERROR:
				a, err = parseAck(m.flags(), m.body())
				return replyErr, a, err
			case req.Family.ID:
				g, ok := m.generic(req.Family.HeaderSize)
				if !ok {
					return nil, a, errShort(len(m), headerLen+genlHeaderLen+req.Family.HeaderSize)
				}
				if reply != nil && replyErr == nil {
					replyErr = reply(g)
				}
				if req.OneReply {
					return replyErr, a, nil
				}
			}
		}
	}
}
