// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"context"
	"strings"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// table is one control map as a [family.Table].
//
// K and V are laid out as the kernel's structs, and K begins with a number of 32
// bits, mostly the ifindex, by which keys are in order and can be filtered.
type table[K, V any] struct {
	m      *ebpf.Map
	first  *family.Field // of the key
	err    error         // why there is no map
	thread *thread
	short  bool // the map's value is an older and shorter V

	opGet, opSet, opDelete string
}

func newTable[K, V any](d *family.TypeDesc, m *ebpf.Map, err error, th *thread) *table[K, V] {
	name := strings.TrimPrefix(d.Name, "xdp-")
	return &table[K, V]{
		m: m, first: &d.Fields[0], err: err, thread: th,
		short: m != nil && int(m.ValueSize()) < d.ValueSize,
		opGet: name + "-get", opSet: name + "-set", opDelete: name + "-del",
	}
}

// begin checks what stands against any operation.
func (t *table[K, V]) begin(ctx context.Context) error {
	if t.err != nil {
		return t.err
	}
	return ctx.Err()
}

// Lookup implements [family.Table].
func (t *table[K, V]) Lookup(ctx context.Context, k *K, v *V) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	return opError(t.opGet, t.lookup(k, v))
}

// lookup fills the whole of v.
func (t *table[K, V]) lookup(k *K, v *V) syscall.Errno {
	if t.short {
		var zero V
		*v = zero
	}
	return bpfElem(unix.BPF_MAP_LOOKUP_ELEM, t.m.FD(), unsafe.Pointer(k), unsafe.Pointer(v), 0)
}

// Update implements [family.Table].
func (t *table[K, V]) Update(ctx context.Context, k *K, v *V, how family.Update) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	errno, err := t.change(unix.BPF_MAP_UPDATE_ELEM, unsafe.Pointer(k), unsafe.Pointer(v), uint64(how))
	if err != nil {
		return err
	}
	return opError(t.opSet, errno)
}

// change changes an element in the netns of the table. A function to do it
// elsewhere allocates, and so is made only where there is such a place.
func (t *table[K, V]) change(cmd int, k, v unsafe.Pointer, flags uint64) (syscall.Errno, error) {
	if t.thread == nil {
		return bpfElem(cmd, t.m.FD(), k, v, flags), nil
	}
	return t.thread.elem(cmd, t.m.FD(), k, v, flags)
}

// Delete implements [family.Table].
func (t *table[K, V]) Delete(ctx context.Context, k *K) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	errno, err := t.change(unix.BPF_MAP_DELETE_ELEM, unsafe.Pointer(k), nil, 0)
	if err != nil {
		return err
	}
	return opError(t.opDelete, errno)
}

// Cursor implements [family.Table].
func (t *table[K, V]) Cursor(ctx context.Context, filter *K) family.Cursor[K, V] {
	c := &cursor[K, V]{ctx: ctx, t: t, err: t.begin(ctx)}
	if filter != nil && c.err == nil {
		c.seek(filter)
	}
	c.done = c.err != nil
	return c
}

// cursor walks a control map by BPF_MAP_GET_NEXT_KEY. It keeps the key where
// it stands, so that the caller may do with his as he likes.
type cursor[K, V any] struct {
	ctx     context.Context
	t       *table[K, V]
	key     K
	started bool
	done    bool
	filter  bool // only keys that begin with only
	only    uint32
	err     error
}

// seek puts the cursor before the first possible key that begins as filter does:
// keys ascend, and a key that does not exist is as good a place as any.
func (c *cursor[K, V]) seek(filter *K) {
	n := *firstOf(filter)
	c.filter, c.only = true, n
	if f := c.t.first; n < f.Min || (f.Max != 0 && n > f.Max) {
		// As the netlink door's policy has it.
		c.err = opError(c.t.opGet, syscall.ERANGE)
		return
	}
	if n == 0 {
		return // that is where it begins anyway
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&c.key)), unsafe.Sizeof(c.key))
	for i := range b {
		b[i] = 0xff
	}
	*firstOf(&c.key) = n - 1
	c.started = true
}

// Next implements [family.Cursor].
func (c *cursor[K, V]) Next(k *K, v *V) bool {
	for !c.done {
		if c.done = !c.advance(); c.done {
			return false
		}
		switch errno := c.t.lookup(&c.key, v); errno {
		case 0:
			*k = c.key
			return true
		case syscall.ENOENT:
			// Gone since its key was read.
		default:
			c.done, c.err = true, opError(c.t.opGet, errno)
		}
	}
	return false
}

// advance goes to the next key, and returns false at the end of what was asked
// for.
func (c *cursor[K, V]) advance() bool {
	if c.err = c.ctx.Err(); c.err != nil {
		return false
	}
	var prev unsafe.Pointer
	if c.started {
		prev = unsafe.Pointer(&c.key)
	}
	c.started = true

	errno := bpfElem(unix.BPF_MAP_GET_NEXT_KEY, c.t.m.FD(), prev, unsafe.Pointer(&c.key), 0)
	if errno == syscall.ENOENT {
		return false
	}
	c.err = opError(c.t.opGet, errno)
	return c.err == nil && (!c.filter || *firstOf(&c.key) == c.only)
}

// Err implements [family.Cursor].
func (c *cursor[K, V]) Err() error {
	return c.err
}

// Close implements [family.Cursor].
func (c *cursor[K, V]) Close() error {
	c.done = true
	return nil
}

// firstOf is the first member of a key.
func firstOf[K any](k *K) *uint32 {
	return (*uint32)(unsafe.Pointer(k))
}

// opError makes a refusal of the kernel an error.
func opError(op string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return &family.Error{Op: op, Errno: errno}
}
