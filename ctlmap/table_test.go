// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// plainTable is a table over a hash map of the kernel's own, which shows all
// of a table but what only control maps do: order, and refusals of the module.
func plainTable(tb testing.TB) *table[family.ProgKey, family.Prog] {
	tb.Helper()
	d := family.CtrlTypeXDPProg.Desc()
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "plain", Type: ebpf.Hash, MaxEntries: 64,
		KeySize: uint32(d.KeySize), ValueSize: uint32(d.ValueSize),
	})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		tb.Skipf("no BPF maps here: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { m.Close() })
	return newTable[family.ProgKey, family.Prog](d, m, nil, nil)
}

func TestTable(t *testing.T) {
	ctx := context.Background()
	tab := plainTable(t)
	key := family.ProgKey{Ifindex: 3, Queue: family.QueueAll}
	var want, got family.Prog
	want.SetProgID(7)
	want.SetName("pass")

	steps := []struct {
		name string
		do   func() error
		want error
		op   string
	}{
		{"lookup of nothing", func() error { return tab.Lookup(ctx, &key, &got) }, os.ErrNotExist, "prog-get"},
		{"delete of nothing", func() error { return tab.Delete(ctx, &key) }, os.ErrNotExist, "prog-del"},
		{"replace nothing", func() error { return tab.Update(ctx, &key, &want, family.UpdateExist) }, os.ErrNotExist, "prog-set"},
		{"add", func() error { return tab.Update(ctx, &key, &want, family.UpdateNoexist) }, nil, ""},
		{"add again", func() error { return tab.Update(ctx, &key, &want, family.UpdateNoexist) }, os.ErrExist, "prog-set"},
		{"replace", func() error { return tab.Update(ctx, &key, &want, family.UpdateExist) }, nil, ""},
		{"lookup", func() error { return tab.Lookup(ctx, &key, &got) }, nil, ""},
		{"bad flags", func() error { return tab.Update(ctx, &key, &want, 99) }, unix.EINVAL, "prog-set"},
		{"delete", func() error { return tab.Delete(ctx, &key) }, nil, ""},
	}
	for _, s := range steps {
		err := s.do()
		if !errors.Is(err, s.want) {
			t.Fatalf("%s: got error %v, want %v", s.name, err, s.want)
		}
		var e *family.Error
		if s.op != "" && (!errors.As(err, &e) || e.Op != s.op) {
			t.Errorf("%s: got error %#v, want a family.Error of %s", s.name, err, s.op)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestTableContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	tab := plainTable(t)
	var k family.ProgKey
	var v family.Prog
	for name, err := range map[string]error{
		"lookup": tab.Lookup(ctx, &k, &v),
		"update": tab.Update(ctx, &k, &v, family.UpdateAny),
		"delete": tab.Delete(ctx, &k),
		"cursor": tab.Cursor(ctx, nil).Err(),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v, want %v", name, err, context.Canceled)
		}
	}
}

// TestTableUnsupported has a table remember why there is no map.
func TestTableUnsupported(t *testing.T) {
	c := &Control{}
	refuse := func(Layout) (*ebpf.Map, error) { return nil, errors.ErrUnsupported }
	if err := c.openTables(refuse); err != nil {
		t.Fatal(err)
	}
	var k family.StatsKey
	var v family.Stats
	if err := c.Stats().Lookup(context.Background(), &k, &v); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want %v", err, errors.ErrUnsupported)
	}
	if _, err := c.Subscribe(context.Background()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("subscribe: got %v, want %v", err, errors.ErrUnsupported)
	}
	fail := func(Layout) (*ebpf.Map, error) { return nil, unix.EPERM }
	if err := c.openTables(fail); !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v, want %v", err, os.ErrPermission)
	}
}

func TestCursor(t *testing.T) {
	ctx := context.Background()
	tab := plainTable(t)
	var want []uint32
	for i := range uint32(20) {
		var v family.Prog
		v.SetProgID(i)
		if err := tab.Update(ctx, &family.ProgKey{Ifindex: i + 1}, &v, family.UpdateAny); err != nil {
			t.Fatal(err)
		}
		want = append(want, i+1)
	}
	var got []uint32
	for e, err := range family.All(ctx, tab, nil) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Value.ProgID != e.Key.Ifindex-1 {
			t.Errorf("ifindex %d has prog-id %d", e.Key.Ifindex, e.Value.ProgID)
		}
		got = append(got, e.Key.Ifindex)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}

	cur := tab.Cursor(ctx, nil)
	var k family.ProgKey
	var v family.Prog
	if !cur.Next(&k, &v) {
		t.Fatal(cur.Err())
	}
	cur.Close()
	if cur.Next(&k, &v) || cur.Err() != nil {
		t.Errorf("a closed cursor goes on, or has error %v", cur.Err())
	}

	cur = tab.Cursor(ctx, &family.ProgKey{})
	if cur.Next(&k, &v) || !errors.Is(cur.Err(), unix.ERANGE) {
		t.Errorf("filter with ifindex 0: got error %v, want %v", cur.Err(), unix.ERANGE)
	}
}

// TestCursorSeek starts before the first queue of a netdev.
func TestCursorSeek(t *testing.T) {
	tab := plainTable(t)
	c := tab.Cursor(context.Background(), &family.ProgKey{Ifindex: 5, Queue: 3}).(*cursor[family.ProgKey, family.Prog])
	if want := (family.ProgKey{Ifindex: 4, Queue: family.QueueAll}); c.key != want || !c.started {
		t.Errorf("got %+v, want %+v", c.key, want)
	}
}

// TestCursorFilter filters by what the key begins with, whose bounds are the
// spec's.
func TestCursorFilter(t *testing.T) {
	ctx := context.Background()
	ports := newTable[family.PortKey, family.Port](family.CtrlTypeXDPPort.Desc(), nil, nil, nil)
	progs := newTable[family.ProgKey, family.Prog](family.CtrlTypeXDPProg.Desc(), nil, nil, nil)
	type seek struct {
		started bool
		key     uint32
		err     error
	}
	port := func(n uint32) seek {
		c := ports.Cursor(ctx, &family.PortKey{Port: n}).(*cursor[family.PortKey, family.Port])
		return seek{c.started, c.key.Port, c.err}
	}
	prog := func(n uint32) seek {
		c := progs.Cursor(ctx, &family.ProgKey{Ifindex: n}).(*cursor[family.ProgKey, family.Prog])
		return seek{c.started, c.key.Ifindex, c.err}
	}
	for _, tt := range []struct {
		name      string
		got, want seek
	}{
		{"port 0", port(0), seek{}},
		{"port 1", port(1), seek{started: true}},
		{"last port", port(family.Ports - 1), seek{started: true, key: family.Ports - 2}},
		{"port that is none", port(family.Ports), seek{err: unix.ERANGE}},
		{"ifindex 0", prog(0), seek{err: unix.ERANGE}},
		{"ifindex 1", prog(1), seek{started: true}},
	} {
		if tt.got.started != tt.want.started || tt.got.key != tt.want.key || !errors.Is(tt.got.err, tt.want.err) {
			t.Errorf("%s: got %+v, want %+v", tt.name, tt.got, tt.want)
		}
	}
}

func TestTableConcurrent(t *testing.T) {
	ctx := context.Background()
	tab := plainTable(t)
	var wg sync.WaitGroup
	for i := range uint32(8) {
		wg.Go(func() {
			key := family.ProgKey{Ifindex: i + 1}
			var v, got family.Prog
			v.SetProgID(i)
			for range 200 {
				if err := tab.Update(ctx, &key, &v, family.UpdateAny); err != nil {
					t.Error(err)
				}
				if err := tab.Lookup(ctx, &key, &got); err != nil || got != v {
					t.Errorf("got %+v, error %v, want %+v", got, err, v)
				}
			}
		})
	}
	wg.Wait()
}

// TestShortValue looks values up in a map of an older version.
func TestShortValue(t *testing.T) {
	type v1 struct{ Present, A uint64 }
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: uint32(unsafe.Sizeof(v1{})), MaxEntries: 4})
	if err != nil {
		t.Skipf("no BPF maps here: %v", err)
	}
	defer m.Close()
	tab := newTable[family.StatsKey, family.Stats](family.CtrlTypeXDPStats.Desc(), m, nil, nil)
	if err := m.Put(uint32(1), v1{1 << family.AttrStatsPackets, 5}); err != nil {
		t.Fatal(err)
	}
	got := family.Stats{Bytes: 9, ExceptionInvalid: 9}
	if err := tab.Lookup(context.Background(), &family.StatsKey{Ifindex: 1}, &got); err != nil {
		t.Fatal(err)
	}
	var want family.Stats
	want.SetPackets(5)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestOldSizes opens the newest version of a value that the module has.
func TestOldSizes(t *testing.T) {
	ctx := context.Background()
	for _, d := range family.Descs() {
		for _, size := range d.OldSizes {
			var asked []uint32
			c := &Control{}
			err := c.openTables(func(l Layout) (*ebpf.Map, error) {
				if l.Name != d.MapName {
					return nil, errors.ErrUnsupported
				}
				asked = append(asked, l.ValueSize)
				if l.ValueSize != uint32(size) {
					return nil, errors.ErrUnsupported
				}
				return ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: l.KeySize, ValueSize: l.ValueSize, MaxEntries: 4})
			})
			if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
				t.Skipf("no BPF maps here: %v", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if asked[0] != uint32(d.ValueSize) || asked[len(asked)-1] != uint32(size) {
				t.Errorf("%s: sizes %v were tried, want %d first and %d last", d.Name, asked, d.ValueSize, size)
			}
			types, err := c.Types(ctx)
			if err != nil || len(types) != 1 || types[0].ID != d.Type || types[0].ValueSize != uint32(size) {
				t.Errorf("%s: got types %+v, error %v", d.Name, types, err)
			}
			if info, err := MapInfo(c.Map(d.Type)); err != nil || info.Type() == nil || info.Type().Type != d.Type {
				t.Errorf("%s: sizes of the map give type %+v, error %v", d.Name, info.Type(), err)
			}
			testOldValue(t, c, d.Type, size)
			for _, m := range c.maps {
				m.Close()
			}
		}
	}
}

// testOldValue looks up a value of this size, which is full of ones.
func testOldValue(t *testing.T, c *Control, id family.CtrlType, size int) {
	t.Helper()
	full := bytes.Repeat([]byte{0xff}, size)
	var got []byte
	var err error
	put := func(key any) {
		if err := c.Map(id).Put(key, full); err != nil {
			t.Fatal(err)
		}
	}
	switch id {
	case family.CtrlTypeXDPStats:
		k := family.StatsKey{Ifindex: 1}
		put(k)
		got, err = lookedUp(c.Stats(), &k)
	case family.CtrlTypeXDPQstats:
		k := family.QstatsKey{Ifindex: 1}
		put(k)
		got, err = lookedUp(c.Qstats(), &k)
	case family.CtrlTypeXDPProg:
		k := family.ProgKey{Ifindex: 1}
		put(k)
		got, err = lookedUp(c.Prog(), &k)
	case family.CtrlTypeXDPCaps:
		k := family.CapsKey{Ifindex: 1}
		put(k)
		got, err = lookedUp(c.Caps(), &k)
	default:
		t.Fatalf("%v is missing in this test", id)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := append(full, make([]byte, id.Desc().ValueSize-size)...)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%v of %d bytes (-want +got):\n%s", id, size, diff)
	}
}

// lookedUp is the bytes of an entry, looked up into a value of ones.
func lookedUp[K, V any](table family.Table[K, V], k *K) ([]byte, error) {
	var v V
	b := unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))
	for i := range b {
		b[i] = 0xff
	}
	err := table.Lookup(context.Background(), k, &v)
	return bytes.Clone(b), err
}

func TestAllocs(t *testing.T) {
	ctx := context.Background()
	tab := plainTable(t)
	for i := range uint32(10) {
		if err := tab.Update(ctx, &family.ProgKey{Ifindex: i + 1}, new(family.Prog), family.UpdateAny); err != nil {
			t.Fatal(err)
		}
	}
	// Through the interface, as callers have it.
	var any family.Table[family.ProgKey, family.Prog] = tab
	k, v := &family.ProgKey{Ifindex: 1}, new(family.Prog)
	if n := testing.AllocsPerRun(100, func() {
		if err := any.Lookup(ctx, k, v); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("lookup: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := errors.Join(any.Delete(ctx, k), any.Update(ctx, k, v, family.UpdateAny)); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("delete and update: %v allocations", n)
	}
	cur := any.Cursor(ctx, nil)
	if n := testing.AllocsPerRun(5, func() {
		if !cur.Next(k, v) {
			t.Fatal(cur.Err())
		}
	}); n != 0 {
		t.Errorf("next: %v allocations", n)
	}
}

func TestOpError(t *testing.T) {
	tests := []struct {
		errno syscall.Errno
		want  error
	}{
		{unix.ENOENT, os.ErrNotExist},
		{unix.EEXIST, os.ErrExist},
		{unix.EPERM, os.ErrPermission},
		{unix.EOPNOTSUPP, errors.ErrUnsupported},
		{unix.EBUSY, unix.EBUSY},
		{unix.EXDEV, unix.EXDEV},
		{unix.ENODEV, unix.ENODEV},
	}
	for _, tt := range tests {
		err := opError("prog-set", tt.errno)
		want := &family.Error{Op: "prog-set", Errno: tt.errno}
		var e *family.Error
		if !errors.Is(err, tt.want) || !errors.As(err, &e) || *e != *want {
			t.Errorf("%v: got %#v", tt.errno, err)
		}
	}
	if opError("prog-set", 0) != nil {
		t.Error("success is an error")
	}
}

// TestLayouts holds the structs against what the spec says of them.
func TestLayouts(t *testing.T) {
	sizes := map[family.CtrlType][2]uintptr{
		family.CtrlTypeXDPStats:  {unsafe.Sizeof(family.StatsKey{}), unsafe.Sizeof(family.Stats{})},
		family.CtrlTypeXDPQstats: {unsafe.Sizeof(family.QstatsKey{}), unsafe.Sizeof(family.Qstats{})},
		family.CtrlTypeXDPProg:   {unsafe.Sizeof(family.ProgKey{}), unsafe.Sizeof(family.Prog{})},
		family.CtrlTypeXDPCaps:   {unsafe.Sizeof(family.CapsKey{}), unsafe.Sizeof(family.Caps{})},
		family.CtrlTypeXDPAttr:   {unsafe.Sizeof(family.AttrKey{}), unsafe.Sizeof(family.Attr{})},
		family.CtrlTypeXDPPort:   {unsafe.Sizeof(family.PortKey{}), unsafe.Sizeof(family.Port{})},
	}
	for _, d := range family.Descs() {
		if got := sizes[d.Type]; got != [2]uintptr{uintptr(d.KeySize), uintptr(d.ValueSize)} {
			t.Errorf("%s: structs have %v bytes, want %d and %d", d.Name, got, d.KeySize, d.ValueSize)
		}
		l, err := FindLayout(d.MapName)
		if want := LayoutOf(&d); err != nil || l != want {
			t.Errorf("%s: got %+v, error %v, want %+v", d.MapName, l, err, want)
		}
		info := Info{KeySize: uint32(d.KeySize), ValueSize: uint32(d.ValueSize)}
		if got := info.Type(); got == nil || got.Type != d.Type {
			t.Errorf("%s: sizes give type %v", d.Name, got)
		}
	}
	if _, err := FindLayout("xdp_nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unknown type: got %v, want %v", err, os.ErrNotExist)
	}
}

// Sizes of the structs passed to bpf(2), from the kernel's uapi.
func TestAttrSizes(t *testing.T) {
	if n := unsafe.Sizeof(elemAttr{}); n != 32 {
		t.Errorf("element attributes have %d bytes", n)
	}
	if n := unsafe.Offsetof(createAttr{}.ifindex); n != 44 {
		t.Errorf("map_ifindex is at %d", n)
	}
	if n := unsafe.Offsetof(mapInfo{}.BTFID); n != 64 {
		t.Errorf("btf_id is at %d", n)
	}
}
