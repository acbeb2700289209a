// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// Options say how to [Dial].
type Options = genl.Options

// Client is the netlink door: a [Control] that speaks generic netlink with the
// kernel module, or with whoever [Options] lead to.
//
// A Client may be used by several goroutines at once. It goes on working when
// the module is loaded anew. Changes are made by a thread in the network
// namespace that was dialed, since the module accepts them from no other; where
// the caller is in another, that takes CAP_SYS_ADMIN.
type Client struct {
	conn   *genl.Conn
	remote bool // the other side is not the kernel
	family atomic.Pointer[genl.Family]
	bufs   sync.Pool // of *requestBuf

	stats  *clientTable[StatsKey, Stats, *StatsKey, *Stats]
	qstats *clientTable[QstatsKey, Qstats, *QstatsKey, *Qstats]
	prog   *clientTable[ProgKey, Prog, *ProgKey, *Prog]
	caps   *clientTable[CapsKey, Caps, *CapsKey, *Caps]
	attr   *clientTable[AttrKey, Attr, *AttrKey, *Attr]
	port   *clientTable[PortKey, Port, *PortKey, *Port]
}

var _ Control = (*Client)(nil)

// Dial opens the netlink door in a network namespace.
//
// Returns an error matching os.ErrNotExist if there is no such network
// namespace, or if the family is not there, since the kernel module is neither
// loaded nor installed where the kernel could load it by itself;
// os.ErrPermission if the network namespace may not be entered.
func Dial(o Options) (*Client, error) {
	conn, err := genl.Dial(o)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, remote: o.Transport != nil}
	c.bufs.New = func() any { return new(requestBuf) }
	if _, err := c.find(context.Background()); err != nil {
		conn.Close()
		return nil, err
	}
	c.stats = newClientTable[StatsKey, Stats](c)
	c.qstats = newClientTable[QstatsKey, Qstats](c)
	c.prog = newClientTable[ProgKey, Prog](c)
	c.caps = newClientTable[CapsKey, Caps](c)
	c.attr = newClientTable[AttrKey, Attr](c)
	c.port = newClientTable[PortKey, Port](c)
	return c, nil
}

// Stats implements Control.
func (c *Client) Stats() Table[StatsKey, Stats] { return c.stats }

// Qstats implements Control.
func (c *Client) Qstats() Table[QstatsKey, Qstats] { return c.qstats }

// Prog implements Control.
func (c *Client) Prog() Table[ProgKey, Prog] { return c.prog }

// Caps implements Control.
func (c *Client) Caps() Table[CapsKey, Caps] { return c.caps }

// Attr implements Control.
func (c *Client) Attr() Table[AttrKey, Attr] { return c.attr }

// Port implements Control.
func (c *Client) Port() Table[PortKey, Port] { return c.port }

// Name implements Control. It returns "netlink".
func (c *Client) Name() string { return "netlink" }

// Close implements Control.
func (c *Client) Close() error { return c.conn.Close() }

// Conn returns the connection, for what a [Control] does not offer, such as the
// family's policies. It is closed with the Client.
func (c *Client) Conn() *genl.Conn { return c.conn }

// Family returns the family as it was when it was last looked for.
func (c *Client) Family() *genl.Family { return c.family.Load() }

// Types implements Control.
func (c *Client) Types(ctx context.Context) ([]Type, error) {
	var d clientDump
	d.init(ctx, c, OpByCmd(CmdTypeGet), nil)
	defer d.Close()
	var list []Type
	for d.Next() {
		var t Type
		if err := t.DecodeAttrs(d.Attrs()); err != nil {
			d.fail(err)
		}
		list = append(list, t)
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return list, nil
}

// find looks for the family.
func (c *Client) find(ctx context.Context) (*genl.Family, error) {
	f, err := c.conn.Family(ctx, FamilyName)
	switch {
	case errors.Is(err, syscall.ENOENT):
		return nil, fmt.Errorf("%w: kernel module %[2]s is not loaded: "+
			"load it with \"modprobe %[2]s\", or with \"insmod %[2]s.ko\" where it was built", err, FamilyName)
	case err != nil:
		return nil, err
	}
	c.family.Store(f)
	return f, nil
}

// renew looks for the family again if err, with which a request to f failed, is
// what the kernel says of a family that is gone. Ok is true if there is another
// now; or else err is the error to return.
func (c *Client) renew(ctx context.Context, f *genl.Family, err error) (_ *genl.Family, ok bool, _ error) {
	// The family itself never says ENOENT without saying why.
	var e *genl.Error
	if !errors.As(err, &e) || e.Errno != syscall.ENOENT || e.Message != "" {
		return f, false, err
	}
	now, ferr := c.find(ctx)
	if ferr != nil {
		return f, false, ferr
	}
	return now, now.ID != f.ID, err
}

// requestBuf is room for what is in a request.
type requestBuf struct {
	attrs []byte
	fds   []int
}

// request is a request for an operation.
func request(f *genl.Family, op *Op, attrs []byte, fds []int) genl.Request {
	return genl.Request{
		Op: op.Name, Family: f, Command: op.Cmd, Attrs: attrs, FDs: fds, Names: op.Set,
		OneReply: op.Dump, // what can be dumped can be looked up, and is replied then
	}
}

// do makes a request and calls reply with its answer. Reply may be nil.
func (c *Client) do(ctx context.Context, op *Op, attrs []byte, fds []int, reply func(genl.Message) error) error {
	f := c.family.Load()
	err := c.conn.Do(ctx, request(f, op, attrs, fds), reply)
	if err == nil {
		return nil
	}
	f, again, err := c.renew(ctx, f, err)
	if again {
		err = c.conn.Do(ctx, request(f, op, attrs, fds), reply)
	}
	return opError(op, err)
}

// clientDump is a dump of an operation.
type clientDump struct {
	genl.Cursor
	ctx   context.Context
	c     *Client
	f     *genl.Family
	op    *Op
	attrs []byte
	err   error // instead of the cursor's
}

// init makes d a dump of op with the given attributes in the request.
func (d *clientDump) init(ctx context.Context, c *Client, op *Op, attrs []byte) {
	*d = clientDump{ctx: ctx, c: c, f: c.family.Load(), op: op, attrs: attrs}
	d.Init(ctx, c.conn, request(d.f, op, attrs, nil))
}

// Next is the cursor's, but for looking for the family again if it is gone.
func (d *clientDump) Next() bool {
	if d.err != nil {
		return false
	}
	if d.Cursor.Next() {
		return true
	}
	if d.Cursor.Err() == nil {
		return false
	}
	f, again, err := d.c.renew(d.ctx, d.f, d.Cursor.Err())
	if !again {
		d.err = opError(d.op, err)
		return false
	}
	d.f = f
	d.Init(d.ctx, d.c.conn, request(f, d.op, d.attrs, nil))
	return d.Next()
}

// fail ends the dump with err.
func (d *clientDump) fail(err error) {
	d.err = fmt.Errorf("%s: %w", d.op.Name, err)
	d.Close()
}

// Err returns the error that ended the dump.
func (d *clientDump) Err() error { return d.err }

// opError makes a refusal an *Error.
func opError(op *Op, err error) error {
	var e *genl.Error
	if err == nil || !errors.As(err, &e) || e.Op != op.Name {
		return err
	}
	return &Error{
		Op:       op.Name,
		Errno:    e.Errno,
		Message:  e.Message,
		Attr:     e.Attr,
		MissAttr: e.MissAttr,
		Policy:   e.Policy,
	}
}
