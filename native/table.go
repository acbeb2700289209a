// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/xdpctl/xdpctl-nl/family"
)

// ops are the operations of a control type, what kmod/ctrl_NAME.c is to the
// module. They run on a thread in the network namespace. What they refuse is a
// *family.Error, as refuse makes it; its Op is filled in. Other errors are the
// machine's.
type ops[K, V any] struct {
	// keys returns the keys of all entries in ascending order, or, if filter
	// is not nil, of those with its first member. Entries may be gone by the
	// time they are looked up.
	keys func(ctx context.Context, filter *K) ([]K, error)

	// lookup reads an entry into v, which is zero.
	lookup func(ctx context.Context, k *K, v *V) error

	// update and del change an entry. They hold the lock of the state. Nil
	// if the control type has no such operation.
	update func(ctx context.Context, k *K, v *V, how family.Update) error
	del    func(ctx context.Context, k *K) error
}

// refuse makes a refusal. Attr is the spec's name of the attribute to blame, or
// "" if it is none.
func refuse(errno syscall.Errno, attr, format string, args ...any) *family.Error {
	e := &family.Error{Errno: errno, Message: fmt.Sprintf(format, args...)}
	if attr != "" {
		e.Attr = "." + attr
	}
	return e
}

// missing makes the refusal of a request without an attribute that it needs.
func missing(attr, format string, args ...any) *family.Error {
	e := refuse(syscall.EINVAL, "", format, args...)
	e.MissAttr = "." + attr
	return e
}

// table is a control type as family.Control has it.
type table[K, V any] struct {
	c    *Control
	desc *family.TypeDesc
	ops  ops[K, V]
}

func newTable[K, V any](c *Control, t family.CtrlType, o ops[K, V]) *table[K, V] {
	return &table[K, V]{c: c, desc: t.Desc(), ops: o}
}

// Lookup implements family.Table.
func (t *table[K, V]) Lookup(ctx context.Context, k *K, v *V) error {
	return t.finish("get", t.c.inNetNS(func() error {
		var zero V
		*v = zero
		return t.ops.lookup(ctx, k, v)
	}))
}

// Update implements family.Table.
func (t *table[K, V]) Update(ctx context.Context, k *K, v *V, how family.Update) error {
	if t.ops.update == nil {
		return t.finish("set", &family.Error{Errno: syscall.EOPNOTSUPP})
	}
	return t.finish("set", t.change(ctx, k, func() error {
		return t.ops.update(ctx, k, v, how)
	}))
}

// Delete implements family.Table.
func (t *table[K, V]) Delete(ctx context.Context, k *K) error {
	if t.ops.del == nil {
		return t.finish("del", &family.Error{Errno: syscall.EOPNOTSUPP})
	}
	return t.finish("del", t.change(ctx, k, func() error {
		return t.ops.del(ctx, k)
	}))
}

// change makes a change and tells who listens.
func (t *table[K, V]) change(ctx context.Context, k *K, f func() error) error {
	t.c.events.mu.Lock()
	defer t.c.events.mu.Unlock()
	return t.c.change(ctx, func() error {
		if err := t.c.changing(ctx); err != nil {
			return err
		}
		err := f()
		if err != nil {
			t.c.changed(ctx, nil) // half of it may have stayed
		} else {
			t.c.changed(ctx, k)
		}
		return err
	})
}

// finish says of an error which operation it is of.
func (t *table[K, V]) finish(verb string, err error) error {
	if err == nil {
		return nil
	}
	op := strings.TrimPrefix(t.desc.Name, "xdp-") + "-" + verb
	var e *family.Error
	if errors.As(err, &e) {
		e.Op = op
		return e
	}
	return fmt.Errorf("%s: %w", op, err)
}

// Cursor implements family.Table.
func (t *table[K, V]) Cursor(ctx context.Context, filter *K) family.Cursor[K, V] {
	cur := &cursor[K, V]{t: t, ctx: ctx}
	cur.err = t.finish("get", t.c.inNetNS(func() (err error) {
		cur.keys, err = t.ops.keys(ctx, filter)
		return err
	}))
	return cur
}

// cursor is an iteration over a table.
type cursor[K, V any] struct {
	t    *table[K, V]
	ctx  context.Context
	keys []K // to come
	err  error
}

// Next implements family.Cursor.
func (cur *cursor[K, V]) Next(k *K, v *V) bool {
	for cur.err == nil && len(cur.keys) > 0 {
		*k = cur.keys[0]
		cur.keys = cur.keys[1:]
		err := cur.t.Lookup(cur.ctx, k, v)
		switch {
		case err == nil:
			return true
		case !errors.Is(err, syscall.ENOENT):
			cur.err = err
		}
	}
	return false
}

// Err implements family.Cursor.
func (cur *cursor[K, V]) Err() error { return cur.err }

// Close implements family.Cursor.
func (cur *cursor[K, V]) Close() error {
	cur.keys = nil
	return nil
}
