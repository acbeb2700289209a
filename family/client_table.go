// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// keyCodec is what the generator writes for a key.
type keyCodec[K any] interface {
	*K
	Desc() *TypeDesc
	AppendAttrs(b []byte) []byte
	AppendFilter(b []byte) []byte
}

// valueCodec is what the generator writes for a value.
type valueCodec[K, V any] interface {
	*V
	AppendAttrs(b []byte, set bool) []byte
	DecodeAttrs(b []byte, k *K) error
}

// clientTable is a control type at the netlink door.
type clientTable[K, V any, PK keyCodec[K], PV valueCodec[K, V]] struct {
	c             *Client
	desc          *TypeDesc
	get, set, del *Op
}

func newClientTable[K, V any, PK keyCodec[K], PV valueCodec[K, V]](c *Client) *clientTable[K, V, PK, PV] {
	d := PK(nil).Desc()
	return &clientTable[K, V, PK, PV]{
		c:    c,
		desc: d,
		get:  d.op(d.GetCmd, "get"),
		set:  d.op(d.SetCmd, "set"),
		del:  d.op(d.DelCmd, "del"),
	}
}

// op returns an operation of the control type, by its command. If there is none,
// the command of what is returned is 0.
func (d *TypeDesc) op(cmd uint8, verb string) *Op {
	if op := OpByCmd(cmd); op != nil {
		return op
	}
	return &Op{Name: strings.TrimPrefix(d.Name, "xdp-") + "-" + verb, Set: d.Set}
}

// Lookup implements Table.
func (t *clientTable[K, V, PK, PV]) Lookup(ctx context.Context, k *K, v *V) error {
	found := false
	err := t.do(ctx, t.get, func(b []byte) []byte {
		return PK(k).AppendAttrs(b)
	}, func(m genl.Message) error {
		found = true
		return PV(v).DecodeAttrs(m.Attrs, nil)
	})
	if err == nil && !found {
		err = fmt.Errorf("%s: %w: no reply", t.get.Name, genl.ErrMalformed)
	}
	return err
}

// Update implements Table. What the other side replies is not told: who wants to
// know it looks it up.
func (t *clientTable[K, V, PK, PV]) Update(ctx context.Context, k *K, v *V, how Update) error {
	return t.change(ctx, t.set, func(b []byte) []byte {
		b = PK(k).AppendAttrs(b)
		b = t.desc.AppendUpdate(b, how)
		return PV(v).AppendAttrs(b, true)
	})
}

// Delete implements Table.
func (t *clientTable[K, V, PK, PV]) Delete(ctx context.Context, k *K) error {
	return t.change(ctx, t.del, func(b []byte) []byte {
		return PK(k).AppendAttrs(b)
	})
}

// change is do for what changes something, which the other side does only for
// those who are in the network namespace that is meant. Most are, so that it is
// tried where the caller is first.
func (t *clientTable[K, V, PK, PV]) change(ctx context.Context, op *Op, fill func([]byte) []byte) error {
	err := t.do(ctx, op, fill, nil)
	if errors.Is(err, syscall.EXDEV) {
		return t.c.conn.InNetNS(func() error { return t.do(ctx, op, fill, nil) })
	}
	return err
}

// do makes a request with the attributes that fill appends.
func (t *clientTable[K, V, PK, PV]) do(ctx context.Context, op *Op, fill func([]byte) []byte, reply func(genl.Message) error) error {
	if op.Cmd == 0 {
		return &Error{Op: op.Name, Errno: syscall.EOPNOTSUPP}
	}
	buf := t.c.bufs.Get().(*requestBuf)
	buf.attrs = fill(buf.attrs[:0])
	buf.fds = buf.fds[:0]
	if op == t.set {
		buf.fds = t.appendFDs(buf.fds, buf.attrs)
	}
	err := t.c.do(ctx, op, buf.attrs, buf.fds, reply)
	t.c.bufs.Put(buf)
	return err
}

// appendFDs appends the file descriptors that attributes hold, in their order, to
// be passed on to where their numbers mean nothing. A negative number means
// nothing anywhere.
func (t *clientTable[K, V, PK, PV]) appendFDs(fds []int, attrs []byte) []int {
	for len(attrs) > 0 {
		typ, data, rest, ok := genl.NextAttr(attrs)
		if !ok {
			break
		}
		var fd uint32
		if t.desc.Set.isFD(typ) && getU32(data, &fd) && int32(fd) >= 0 {
			if t.c.remote && !isOpen(fd) {
				ne.PutUint32(data, badFD)
			} else {
				fds = append(fds, int(fd))
			}
		}
		attrs = rest
	}
	return fds
}

// badFD is the number of no file descriptor, which other processes know for one.
const badFD = 0xffffffff

// isOpen tells whether a file descriptor can be passed on. One that cannot is left
// to the other side to refuse.
func isOpen(fd uint32) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}

// Cursor implements Table. The cursor has received everything when the first
// entry is seen, so that what it delivers was there at one time.
func (t *clientTable[K, V, PK, PV]) Cursor(ctx context.Context, filter *K) Cursor[K, V] {
	var attrs []byte
	if filter != nil {
		attrs = PK(filter).AppendFilter(nil)
	}
	cur := &clientCursor[K, V, PV]{}
	cur.init(ctx, t.c, t.get, attrs)
	return cur
}

// clientCursor is an iteration over a clientTable.
type clientCursor[K, V any, PV valueCodec[K, V]] struct {
	clientDump
}

// Next implements Cursor.
func (cur *clientCursor[K, V, PV]) Next(k *K, v *V) bool {
	if !cur.clientDump.Next() {
		return false
	}
	if err := PV(v).DecodeAttrs(cur.Attrs(), k); err != nil {
		cur.fail(err)
		return false
	}
	return true
}
