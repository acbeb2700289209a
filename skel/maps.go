// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"unsafe"

	"github.com/cilium/ebpf"
)

// Entry is a key with its value.
type Entry[K, V any] struct {
	Key   K
	Value V
}

// RawMap is a map without types of keys and values.
type RawMap struct {
	// Map is the map in the kernel, nil before Load.
	*ebpf.Map
	// Spec is the map to make.
	Spec *ebpf.MapSpec

	object *Object
}

func (m *RawMap) open(o *Object, spec *ebpf.MapSpec) error {
	m.Spec, m.object = spec, o
	return nil
}

func (m *RawMap) load(loaded *ebpf.Map) { m.Map = loaded }

func (m *RawMap) ready() error {
	if m.Map != nil {
		return nil
	}
	name := "map"
	if m.Spec != nil {
		name = "map " + m.Spec.Name
	}
	return fmt.Errorf("%s: %w", name, ErrNotLoaded)
}

func (m *RawMap) raw() *RawMap { return m }

// sized is open for a map with keys and values of a size.
func (m *RawMap) sized(o *Object, spec *ebpf.MapSpec, key, value uintptr) error {
	if uintptr(spec.KeySize) != key || uintptr(spec.ValueSize) != value {
		return fmt.Errorf("keys of %d and values of %d bytes, not %d and %d", spec.KeySize, spec.ValueSize, key, value)
	}
	return m.open(o, spec)
}

// get is a lookup.
func (m *RawMap) get(key, value unsafe.Pointer) error {
	if err := m.ready(); err != nil {
		return err
	}
	return m.Map.Lookup(key, value)
}

// next is the key after key, or the first.
func (m *RawMap) next(key any, next unsafe.Pointer) error {
	if err := m.ready(); err != nil {
		return err
	}
	return m.Map.NextKey(key, next)
}

// keys calls yield with each key in turn, which it finds in next.
func (m *RawMap) keys(key, next []byte, yield func() (bool, error)) error {
	if err := m.ready(); err != nil {
		return err
	}
	var from any
	// A key that goes meanwhile makes the kernel begin again.
	for range uint64(m.MaxEntries())*2 + 1 {
		err := m.next(from, unsafe.Pointer(unsafe.SliceData(next)))
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if more, err := yield(); err != nil || !more {
			return err
		}
		copy(key, next)
		from = unsafe.Pointer(unsafe.SliceData(key))
	}
	return fmt.Errorf("map %s: %w", m.Spec.Name, ebpf.ErrIterationAborted)
}

// Map is a map from K to V.
type Map[K, V any] struct{ RawMap }

func (m *Map[K, V]) open(o *Object, spec *ebpf.MapSpec) error {
	var k K
	var v V
	return m.sized(o, spec, unsafe.Sizeof(k), unsafe.Sizeof(v))
}

// Get returns the value of a key.
//
// Returns an error matching [ebpf.ErrKeyNotExist] if there is none.
func (m *Map[K, V]) Get(key K) (V, error) {
	var v V
	err := m.get(unsafe.Pointer(&key), unsafe.Pointer(&v))
	return v, err
}

// Put sets the value of a key, which need not be there.
func (m *Map[K, V]) Put(key K, value V) error {
	return m.Set(key, value, ebpf.UpdateAny)
}

// Set is Put with flags.
func (m *Map[K, V]) Set(key K, value V, flags ebpf.MapUpdateFlags) error {
	if err := m.ready(); err != nil {
		return err
	}
	return m.Map.Update(unsafe.Pointer(&key), unsafe.Pointer(&value), flags)
}

// Delete removes a key.
//
// Returns an error matching [ebpf.ErrKeyNotExist] if it is not there.
func (m *Map[K, V]) Delete(key K) error {
	if err := m.ready(); err != nil {
		return err
	}
	return m.Map.Delete(unsafe.Pointer(&key))
}

// All iterates over the entries. Those that come or go meanwhile may or may not
// be seen, and of those that stay some are seen again if others go. An error
// ends the iteration.
func (m *Map[K, V]) All() iter.Seq2[Entry[K, V], error] {
	return func(yield func(Entry[K, V], error) bool) {
		var e Entry[K, V]
		var before K
		err := m.keys(bytesOf(&before), bytesOf(&e.Key), func() (bool, error) {
			err := m.get(unsafe.Pointer(&e.Key), unsafe.Pointer(&e.Value))
			if errors.Is(err, ebpf.ErrKeyNotExist) {
				return true, nil
			}
			return err == nil && yield(e, nil), err
		})
		if err != nil {
			yield(Entry[K, V]{}, err)
		}
	}
}

// bytesOf is the memory of a value.
func bytesOf[T any](p *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p))
}

// PerCPUMap is a map from K to a V of each possible CPU.
type PerCPUMap[K, V any] struct{ RawMap }

func (m *PerCPUMap[K, V]) open(o *Object, spec *ebpf.MapSpec) error {
	var k K
	var v V
	return m.sized(o, spec, unsafe.Sizeof(k), unsafe.Sizeof(v))
}

// Get returns the values of a key, by CPU.
//
// Returns an error matching [ebpf.ErrKeyNotExist] if there are none.
func (m *PerCPUMap[K, V]) Get(key K) ([]V, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	var raw [][]byte
	if err := m.Map.Lookup(unsafe.Pointer(&key), &raw); err != nil {
		return nil, err
	}
	values := make([]V, len(raw))
	for i := range raw {
		copy(bytesOf(&values[i]), raw[i])
	}
	return values, nil
}

// Put sets the values of a key, by CPU. Those of CPUs without one become 0.
func (m *PerCPUMap[K, V]) Put(key K, values []V) error {
	if err := m.ready(); err != nil {
		return err
	}
	raw := make([][]byte, len(values))
	for i := range values {
		raw[i] = bytesOf(&values[i])
	}
	return m.Map.Update(unsafe.Pointer(&key), raw, ebpf.UpdateAny)
}

// Delete removes a key.
func (m *PerCPUMap[K, V]) Delete(key K) error {
	if err := m.ready(); err != nil {
		return err
	}
	return m.Map.Delete(unsafe.Pointer(&key))
}

// All iterates over the entries, as [Map.All] does.
func (m *PerCPUMap[K, V]) All() iter.Seq2[Entry[K, []V], error] {
	return func(yield func(Entry[K, []V], error) bool) {
		var e Entry[K, []V]
		var before K
		err := m.keys(bytesOf(&before), bytesOf(&e.Key), func() (bool, error) {
			var err error
			e.Value, err = m.Get(e.Key)
			if errors.Is(err, ebpf.ErrKeyNotExist) {
				return true, nil
			}
			return err == nil && yield(e, nil), err
		})
		if err != nil {
			yield(Entry[K, []V]{}, err)
		}
	}
}

// Queue is a queue or a stack of V.
type Queue[V any] struct{ RawMap }

func (m *Queue[V]) open(o *Object, spec *ebpf.MapSpec) error {
	var v V
	return m.sized(o, spec, 0, unsafe.Sizeof(v))
}

// Push adds a value.
func (m *Queue[V]) Push(value V) error {
	if err := m.ready(); err != nil {
		return err
	}
	return m.Map.Update(nil, unsafe.Pointer(&value), ebpf.UpdateAny)
}

// Pop removes the next value and returns it.
//
// Returns an error matching [ebpf.ErrKeyNotExist] if there is none.
func (m *Queue[V]) Pop() (V, error) {
	var v V
	err := m.ready()
	if err == nil {
		err = m.Map.LookupAndDelete(nil, unsafe.Pointer(&v))
	}
	return v, err
}

// Peek returns the next value.
//
// Returns an error matching [ebpf.ErrKeyNotExist] if there is none.
func (m *Queue[V]) Peek() (V, error) {
	var v V
	err := m.ready()
	if err == nil {
		err = m.Map.Lookup(nil, unsafe.Pointer(&v))
	}
	return v, err
}

// ProgArray is an array of programs for tail calls.
type ProgArray struct{ RawMap }

// Put sets the program of an index.
func (m *ProgArray) Put(index uint32, p *Program) error {
	if err := m.ready(); err != nil {
		return err
	}
	if p.Prog == nil {
		return fmt.Errorf("program %s: %w", p.name, ErrNotLoaded)
	}
	return m.Map.Put(index, p.Prog)
}

// Delete removes the program of an index.
func (m *ProgArray) Delete(index uint32) error {
	if err := m.ready(); err != nil {
		return err
	}
	return m.Map.Delete(index)
}

// Inner are the types of maps in maps: pointers to M.
type Inner[M any] interface {
	*M
	mapField
	raw() *RawMap
}

// MapOfMaps is a map from K to maps of the type M.
type MapOfMaps[K, M any, P Inner[M]] struct{ RawMap }

func (m *MapOfMaps[K, M, P]) open(o *Object, spec *ebpf.MapSpec) error {
	var k K
	if spec.InnerMap == nil {
		return errors.New("no map in the map")
	}
	inner := P(new(M))
	if err := inner.open(o, spec.InnerMap); err != nil {
		return err
	}
	return m.sized(o, spec, unsafe.Sizeof(k), 4)
}

// Get opens the map of a key. The caller closes it.
//
// Returns an error matching [ebpf.ErrKeyNotExist] if there is none.
func (m *MapOfMaps[K, M, P]) Get(key K) (P, error) {
	if err := m.ready(); err != nil {
		return nil, err
	}
	var in *ebpf.Map
	if err := m.Map.Lookup(unsafe.Pointer(&key), &in); err != nil {
		return nil, err
	}
	return m.wrap(in)
}

// New makes a map to put into m. The caller closes it; in m it stays.
func (m *MapOfMaps[K, M, P]) New() (P, error) {
	in, err := ebpf.NewMap(m.Spec.InnerMap)
	if err != nil {
		return nil, err
	}
	return m.wrap(in)
}

func (m *MapOfMaps[K, M, P]) wrap(in *ebpf.Map) (P, error) {
	inner := P(new(M))
	if err := inner.open(m.object, m.Spec.InnerMap); err != nil {
		return nil, errors.Join(err, in.Close())
	}
	inner.load(in)
	return inner, nil
}

// Put sets the map of a key.
func (m *MapOfMaps[K, M, P]) Put(key K, inner P) error {
	if err := m.ready(); err != nil {
		return err
	}
	if err := inner.raw().ready(); err != nil {
		return err
	}
	return m.Map.Put(unsafe.Pointer(&key), inner.raw().Map)
}

// Delete removes the map of a key.
func (m *MapOfMaps[K, M, P]) Delete(key K) error {
	if err := m.ready(); err != nil {
		return err
	}
	return m.Map.Delete(unsafe.Pointer(&key))
}

// own lets the skeleton close what a map gave.
func (m *RawMap) own(c io.Closer) {
	if m.object != nil {
		m.object.own(c)
	}
}
