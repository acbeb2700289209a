// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrDumpInterrupted is the error of a dump that changes on the other side
// interrupted (NLM_F_DUMP_INTR) each time it was tried, so that it may lack
// elements, or have some twice.
var ErrDumpInterrupted = errors.New("dump interrupted by changes")

// dumpLen is the size of the buffer for a part of a dump. The kernel makes no
// part larger, and none larger than the buffer.
const dumpLen = 32 << 10

// Cursor iterates over the messages of a dump. It belongs to one goroutine.
//
//	cur := conn.Dump(ctx, req)
//	defer cur.Close()
//	for cur.Next() {
//		m := cur.Message()
//		...
//	}
//	return cur.Err()
//
// The first Next receives the whole dump, and once more from the start if
// changes on the other side interrupted it. So what a Cursor delivers is
// consistent, each element is seen once, and whoever is slow between two Next
// holds nothing up; the price is memory for the whole dump, which the [Conn]
// keeps for the next one.
type Cursor struct {
	conn *Conn
	ctx  context.Context
	req  Request

	started bool
	buf     *[]byte // the whole dump
	b       []byte  // the same, while there is something to come
	err     error

	// Where in b the message is that Next has moved to, and the one after it.
	at, end, next int
}

// Dump asks for a list. Nothing is sent before the first call of Next, so
// req.Attrs must not change until then.
func (c *Conn) Dump(ctx context.Context, req Request) *Cursor {
	return &Cursor{conn: c, ctx: ctx, req: req}
}

// Init makes the cursor one that [Conn.Dump] could have returned, for those who
// have it in a struct of their own.
func (cur *Cursor) Init(ctx context.Context, c *Conn, req Request) {
	*cur = Cursor{conn: c, ctx: ctx, req: req}
}

// Next moves on to the next message, and returns false if there is none.
// Allocates nothing, but for the first call, which may have to make a buffer.
func (cur *Cursor) Next() bool {
	if cur.next >= len(cur.b) && !cur.begin() {
		return false
	}
	n, _ := messageSize(cur.b[cur.next:]) // was parsed before
	cur.at, cur.end, cur.next = cur.next, cur.next+n, cur.next+align(n)
	return true
}

// begin receives the dump, and returns false if there was none to receive any more,
// or nothing in it.
func (cur *Cursor) begin() bool {
	if !cur.started {
		cur.started = true
		cur.fetch()
	}
	if len(cur.b) == 0 || cur.next > 0 {
		cur.Close()
		return false
	}
	return true
}

// Message returns the message that Next has moved to. What it holds is valid
// until Next returns false or the cursor is closed. Where there is none, the zero
// Message is returned.
func (cur *Cursor) Message() Message {
	m, _ := nlmsg(cur.b[cur.at:cur.end]).generic(cur.req.Family.HeaderSize)
	return m
}

// Attrs returns the attributes of the message that Next has moved to, which is less
// work than to ask for all of it. They are valid as long. Where there is no message,
// there are none.
func (cur *Cursor) Attrs() []byte {
	if cur.end == 0 {
		return nil
	}
	return cur.b[cur.at+minLen(cur.req.Family.HeaderSize) : cur.end]
}

// Err returns the error that ended the iteration, or nil at its end: an
// *[Error] if the dump was refused, [ErrDumpInterrupted] if it was not to be had
// in one piece, or the error of the context.
func (cur *Cursor) Err() error { return cur.err }

// Close releases the cursor. It need not be at its end, and may be closed more
// than once.
func (cur *Cursor) Close() error {
	if cur.buf != nil {
		cur.conn.dumps.Put(cur.buf)
	}
	cur.started, cur.buf, cur.b = true, nil, nil
	cur.at, cur.end, cur.next = 0, 0, 0
	return nil
}

// fetch receives the dump.
func (cur *Cursor) fetch() {
	cur.buf, _ = cur.conn.dumps.Get().(*[]byte)
	if cur.buf == nil {
		cur.buf = new([]byte)
	}
	tries := cur.conn.opts.DumpTries
	if tries == 0 {
		tries = defaultDumpTries
	}
	for range tries {
		interrupted, err := cur.try()
		switch {
		case err != nil:
			cur.err = err
			return
		case !interrupted:
			cur.b = *cur.buf
			return
		}
	}
	cur.err = fmt.Errorf("%s: %w %d times", cur.req.name(), ErrDumpInterrupted, tries)
}

// try receives the dump once.
func (cur *Cursor) try() (interrupted bool, err error) {
	c, req := cur.conn, &cur.req
	if err := cur.ctx.Err(); err != nil {
		return false, fmt.Errorf("%s: %w", req.name(), err)
	}
	s, err := c.get()
	if err != nil {
		return false, fmt.Errorf("%s: %w", req.name(), err)
	}
	s.request(req, unix.NLM_F_DUMP|unix.NLM_F_ACK)
	d := dump{b: (*cur.buf)[:0]}
	for err == nil && !d.done {
		err = s.receiveDump(cur.ctx, req, &d)
	}
	*cur.buf = d.b
	c.put(s, err == nil)
	if err != nil {
		return false, fmt.Errorf("%s: %w", req.name(), err)
	}
	return d.interrupted, d.end.finish(req, c.opts.Warn)
}

// dump is what was received of a dump.
type dump struct {
	b           []byte // messages, one after the other
	interrupted bool
	done        bool
	end         ack
}

// receiveDump receives the next part of a dump.
func (s *sock) receiveDump(ctx context.Context, req *Request, d *dump) error {
	end := len(d.b)
	b := grow(d.b, dumpLen)
	d.b, s.buf = b[:end], b[end:]
	part, err := s.roundTrip(ctx)
	if err != nil {
		return err
	}
	return s.parsePart(part, req, d)
}

// parsePart parses a part of a dump, which is behind the messages in d, and
// moves its messages up to them.
func (s *sock) parsePart(b []byte, req *Request, d *dump) (err error) {
	short := minLen(req.Family.HeaderSize)
	for len(b) > 0 && !d.done {
		n, ok := messageSize(b)
		if !ok {
			return errMessage(b)
		}
		m := nlmsg(b[:n])
		b = b[min(align(n), len(b)):]
		h := nlmsg((*[headerLen]byte)(m)[:]) // which is there
		if h.seq() != s.seq {
			continue
		}
		if h.flags()&unix.NLM_F_DUMP_INTR != 0 {
			d.interrupted = true
		}
		switch h.typ() {
		case req.Family.ID:
			if len(m) < short {
				return errShort(len(m), short)
			}
			d.keep(m)
		case unix.NLMSG_DONE:
			d.done = true
			d.end, err = parseDone(m.flags(), m.body())
		case unix.NLMSG_ERROR:
			d.done = true
			d.end, err = parseAck(m.flags(), m.body())
		}
	}
	return err
}

// keep puts a message behind the others, if it is not there already.
func (d *dump) keep(m nlmsg) {
	n := len(d.b)
	if unsafe.SliceData(m) == unsafe.SliceData(d.b[n:n+1]) {
		d.b = d.b[:n+len(m)]
	} else {
		d.b = append(d.b, m...)
	}
	d.b = appendPadding(d.b, len(d.b))
}

// grow returns b with room for n bytes more.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		bigger := make([]byte, len(b), 2*cap(b)+n)
		copy(bigger, b)
		b = bigger
	}
	return b[:len(b)+n]
}
