// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"bytes"
	"context"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/family"
)

// keyOf and valueOf are what the generator writes for keys and values.
type keyOf[K any] interface {
	*K
	Desc() *family.TypeDesc
	AppendAttrs(b []byte) []byte
}

type valueOf[K, V any] interface {
	*V
	AppendAttrs(b []byte, set bool) []byte
	DecodeAttrs(b []byte, k *K) error
}

// change is an update, or a delete, of the entry that is asked about.
type change struct {
	value any // nil: a delete
	how   family.Update
}

// entry is a key with its value, as values that can be compared.
type entry struct{ key, value any }

// table is a control type, one entry of which is asked about.
type table interface {
	desc() *family.TypeDesc
	// name is that of the control type, with what is changed if there are
	// several things.
	name() string

	// lookup, iterate and change are the operations through our packages,
	// with all they need made beforehand.
	lookup(c family.Control) func() error
	iterate(c family.Control) func() (int, error)
	change(c family.Control, ch change) func() error

	// read and entries are for comparing.
	read(c family.Control) (any, error)
	entries(c family.Control) ([]entry, error)

	// attrs and elem are a request as attributes and as element of a map;
	// ch is nil for reading.
	attrs(ch *change) []byte
	elem(ch *change) (key, value []byte)

	// fromAttrs and fromElem decode an answer.
	fromAttrs(b []byte) (entry, error)
	fromElem(key, value []byte) entry

	// mapLookup, mapIterate and mapChange are those of package ebpf. Each is
	// called with what is read, unless it is nil.
	mapLookup(m *ebpf.Map, each func(entry)) func() error
	mapIterate(m *ebpf.Map, each func(entry)) func() (int, error)
	mapChange(m *ebpf.Map, ch change) func() error

	// set is an update that a delete undoes.
	set(prog int) (ch change, ok bool)
	// common makes a value what both backends say alike.
	common(value any) any
}

// typed is a table.
type typed[K, V any, PK keyOf[K], PV valueOf[K, V]] struct {
	what string // is changed; empty if there is one thing
	of   func(family.Control) family.Table[K, V]
	key  K
	on   func(prog int) V // what an update sets; nil for what cannot be changed
	how  family.Update
	hide func(v *V)
}

func (t *typed[K, V, PK, PV]) desc() *family.TypeDesc { return PK(nil).Desc() }

func (t *typed[K, V, PK, PV]) name() string {
	if t.what == "" {
		return t.desc().Name
	}
	return t.desc().Name + " " + t.what
}

func (t *typed[K, V, PK, PV]) lookup(c family.Control) func() error {
	ctx, table, k, v := context.Background(), t.of(c), t.key, new(V)
	return func() error { return table.Lookup(ctx, &k, v) }
}

func (t *typed[K, V, PK, PV]) iterate(c family.Control) func() (int, error) {
	ctx, table, k, v := context.Background(), t.of(c), new(K), new(V)
	return func() (int, error) {
		cur := table.Cursor(ctx, nil)
		defer cur.Close()
		n := 0
		for cur.Next(k, v) {
			n++
		}
		return n, cur.Err()
	}
}

func (t *typed[K, V, PK, PV]) change(c family.Control, ch change) func() error {
	ctx, table, k := context.Background(), t.of(c), t.key
	if ch.value == nil {
		return func() error { return table.Delete(ctx, &k) }
	}
	v := ch.value.(V)
	return func() error { return table.Update(ctx, &k, &v, ch.how) }
}

func (t *typed[K, V, PK, PV]) read(c family.Control) (any, error) {
	var v V
	err := t.of(c).Lookup(context.Background(), &t.key, &v)
	return v, err
}

func (t *typed[K, V, PK, PV]) entries(c family.Control) ([]entry, error) {
	var list []entry
	for e, err := range family.All(context.Background(), t.of(c), nil) {
		if err != nil {
			return nil, err
		}
		list = append(list, entry{e.Key, e.Value})
	}
	return list, nil
}

func (t *typed[K, V, PK, PV]) attrs(ch *change) []byte {
	b := PK(&t.key).AppendAttrs(nil)
	if ch != nil && ch.value != nil {
		v := ch.value.(V)
		b = PV(&v).AppendAttrs(t.desc().AppendUpdate(b, ch.how), true)
	}
	return b
}

func (t *typed[K, V, PK, PV]) elem(ch *change) (key, value []byte) {
	key = bytes.Clone(bytesOf(&t.key))
	switch {
	case ch == nil:
		value = make([]byte, unsafe.Sizeof(*new(V)))
	case ch.value != nil:
		v := ch.value.(V)
		value = bytes.Clone(bytesOf(&v))
	}
	return key, value
}

func (t *typed[K, V, PK, PV]) fromAttrs(b []byte) (entry, error) {
	var k K
	var v V
	err := PV(&v).DecodeAttrs(b, &k)
	return entry{k, v}, err
}

func (t *typed[K, V, PK, PV]) fromElem(key, value []byte) entry {
	var k K
	var v V
	copy(bytesOf(&k), key)
	copy(bytesOf(&v), value)
	return entry{k, v}
}

func (t *typed[K, V, PK, PV]) mapLookup(m *ebpf.Map, each func(entry)) func() error {
	k, v := t.key, new(V)
	return func() error {
		err := m.Lookup(&k, v)
		if err == nil && each != nil {
			each(entry{k, *v})
		}
		return err
	}
}

func (t *typed[K, V, PK, PV]) mapIterate(m *ebpf.Map, each func(entry)) func() (int, error) {
	k, v := new(K), new(V)
	return func() (int, error) {
		n, it := 0, m.Iterate()
		for it.Next(k, v) {
			if each != nil {
				each(entry{*k, *v})
			}
			n++
		}
		return n, it.Err()
	}
}

func (t *typed[K, V, PK, PV]) mapChange(m *ebpf.Map, ch change) func() error {
	k := t.key
	if ch.value == nil {
		return func() error { return m.Delete(&k) }
	}
	v := ch.value.(V)
	return func() error { return m.Update(&k, &v, ebpf.MapUpdateFlags(ch.how)) }
}

func (t *typed[K, V, PK, PV]) set(prog int) (ch change, ok bool) {
	if t.on == nil {
		return change{}, false
	}
	return change{t.on(prog), t.how}, true
}

func (t *typed[K, V, PK, PV]) common(value any) any {
	v, ok := value.(V)
	if !ok {
		panic(fmt.Sprintf("%T is no value of %s", value, t.desc().Name))
	}
	if t.hide != nil {
		t.hide(&v)
	}
	return v
}

// bytesOf is a key or value as the kernel has it.
func bytesOf[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}

// portNumber is that of the port that is bound.
const portNumber = 7

// tables are the control types, of the netdev that is asked about.
func tables(ifindex uint32) []table {
	return []table{
		&typed[family.StatsKey, family.Stats, *family.StatsKey, *family.Stats]{
			of: family.Control.Stats, key: family.StatsKey{Ifindex: ifindex}, hide: hideStats,
		},
		&typed[family.QstatsKey, family.Qstats, *family.QstatsKey, *family.Qstats]{
			of: family.Control.Qstats, key: family.QstatsKey{Ifindex: ifindex}, hide: hideQstats,
		},
		&typed[family.ProgKey, family.Prog, *family.ProgKey, *family.Prog]{
			of: family.Control.Prog, key: family.ProgKey{Ifindex: ifindex, Queue: family.QueueAll},
			how: family.UpdateNoexist, hide: func(v *family.Prog) { hide(&v.LinkID) },
			on: func(prog int) (v family.Prog) {
				v.SetFD(uint32(prog))
				v.SetMode(family.ModeNative)
				return v
			},
		},
		&typed[family.CapsKey, family.Caps, *family.CapsKey, *family.Caps]{
			of: family.Control.Caps, key: family.CapsKey{Ifindex: ifindex},
		},
		settings(0, ifindex, nil),
		&typed[family.PortKey, family.Port, *family.PortKey, *family.Port]{
			of: family.Control.Port, key: family.PortKey{Port: portNumber},
			how: family.UpdateNoexist, hide: func(v *family.Port) { hide(&v.DevmapID); hide(&v.IndexMapID) },
			on: func(int) (v family.Port) { v.SetIfindex(ifindex); return v },
		},
	}
}

// changeable are the control types that can be changed, by each of their commands.
func changeable(ifindex uint32) (list []table) {
	for _, t := range tables(ifindex) {
		if t.desc().Type == family.CtrlTypeXDPAttr {
			list = append(list,
				settings(family.CommandSetupRedirect, ifindex, func(v *family.Attr) { v.SetRingsNum(1) }),
				settings(family.CommandSetupMD, ifindex, func(v *family.Attr) { v.SetEnableMD(1) }),
				settings(family.CommandSetupMeter, ifindex, func(v *family.Attr) { v.SetEnableMeter(1) }))
		} else if _, ok := t.set(0); ok {
			list = append(list, t)
		}
	}
	return list
}

// settings is xdp-attr, with what a command of it sets, if there is one.
func settings(c family.Command, ifindex uint32, set func(v *family.Attr)) table {
	t := &typed[family.AttrKey, family.Attr, *family.AttrKey, *family.Attr]{
		of: family.Control.Attr, key: family.AttrKey{Ifindex: ifindex},
		hide: func(v *family.Attr) { hide(&v.PlaceholderProgID); hide(&v.MDBTFID); hide(&v.MDTypeID) },
	}
	if set != nil {
		t.what = c.String()
		t.on = func(int) (v family.Attr) { v.SetCommand(c); set(&v); return v }
	}
	return t
}

// hide puts 1 in the place of an id.
func hide(id *uint32) {
	if *id != 0 {
		*id = 1
	}
}

// hideStats and hideQstats leave out what only a meter tells package native of a
// veth, as docs/conformance.md has it: nobody has watched whether its driver
// counted all the time.
func hideStats(v *family.Stats) {
	v.Present &^= 1<<family.AttrStatsPackets | 1<<family.AttrStatsPass
	v.Packets, v.Pass = 0, 0
}

func hideQstats(v *family.Qstats) {
	v.Present &^= 1<<family.AttrStatsPackets | 1<<family.AttrStatsPass
	v.Packets, v.Pass = 0, 0
}
