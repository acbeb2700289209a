// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

const (
	structOpsLink   = 1 << 13 // BPF_F_LINK
	structOpsPrefix = "bpf_struct_ops_"
)

// structField is a field of StructOps.
type structField interface {
	create(coll *ebpf.Collection) error
	attach() error
	close() error
}

// StructOps is a struct_ops map of a skeleton: functions that programs take the
// place of, and data. T is its type without the functions.
//
// It is attached by a link, where the kernel has links for them and the object
// does not want it otherwise, else by an update of the map, which lasts until
// the skeleton is closed.
type StructOps[T any] struct {
	// Map is the map in the kernel, nil before Load.
	*ebpf.Map
	// Spec is the map to make.
	Spec *ebpf.MapSpec
	// Value is the data, which can be changed before Load.
	Value *T
	// Autoattach tells Attach to attach it.
	Autoattach bool

	object   *Object
	link     *link.Link
	value    []byte // for the kernel
	attached bool
}

// OpenStructOps makes field the one of a struct_ops map. At is the field of Links.
func OpenStructOps[T any](o *Object, name string, field *StructOps[T], at *link.Link) {
	if o.err != nil {
		return
	}
	spec := o.Spec.Maps[name]
	if spec == nil || spec.Type != ebpf.StructOpsMap || len(spec.Contents) != 1 {
		o.mismatch("no struct_ops %s", name)
		return
	}
	init, ok := spec.Contents[0].Value.([]byte)
	value := new(T)
	if !ok || len(init) != int(unsafe.Sizeof(*value)) {
		o.mismatch("struct_ops %s", name)
		return
	}
	copy(bytesOf(value), init)
	*field = StructOps[T]{Spec: spec, Value: value, Autoattach: true, object: o, link: at}
	o.structs = append(o.structs, field)
}

// create makes the map. With a link, its value is set here, else by attach.
func (s *StructOps[T]) create(coll *ebpf.Collection) error {
	value, err := s.kernelValue(coll)
	if err != nil {
		return fmt.Errorf("struct_ops %s: %w", s.Spec.Name, err)
	}
	spec := s.Spec.Copy()
	spec.Contents = nil
	m, err := ebpf.NewMap(spec)
	if spec.Flags&structOpsLink != 0 && errors.Is(err, unix.EINVAL) {
		// The kernel is older than 6.4.
		spec.Flags &^= structOpsLink
		m, err = ebpf.NewMap(spec)
	}
	if err != nil {
		return fmt.Errorf("struct_ops %s: %w", s.Spec.Name, err)
	}
	if spec.Flags&structOpsLink != 0 {
		if err := m.Put(uint32(0), value); err != nil {
			return errors.Join(fmt.Errorf("struct_ops %s: %w", s.Spec.Name, err), m.Close())
		}
	}
	s.Map, s.value = m, value
	return nil
}

func (s *StructOps[T]) withLink() bool { return s.Map.Flags()&structOpsLink != 0 }

func (s *StructOps[T]) attach() error {
	if s.Map == nil || !s.Autoattach || s.attached || *s.link != nil {
		return nil
	}
	return s.Attach()
}

// Attach attaches it, until the skeleton is closed.
//
// Returns an error matching [ErrNotLoaded] before Load, or [unix.EBUSY] if it is
// attached.
func (s *StructOps[T]) Attach() error {
	if s.Map == nil {
		return fmt.Errorf("struct_ops: %w", ErrNotLoaded)
	}
	if !s.withLink() {
		if err := s.Map.Update(uint32(0), s.value, ebpf.UpdateAny); err != nil {
			return fmt.Errorf("struct_ops %s: attach: %w", s.Spec.Name, err)
		}
		s.attached = true
		s.object.own(detacher(s.Detach))
		return nil
	}
	l, err := link.AttachStructOps(link.StructOpsOptions{Map: s.Map})
	if err != nil {
		return fmt.Errorf("struct_ops %s: %w", s.Spec.Name, err)
	}
	*s.link = l
	s.object.own(linkField{s.link})
	return nil
}

type detacher func() error

func (d detacher) Close() error { return d() }

// Detach detaches it. That it is not attached is no error.
func (s *StructOps[T]) Detach() error {
	if err := (linkField{s.link}).Close(); err != nil {
		return err
	}
	if !s.attached {
		return nil
	}
	s.attached = false
	if err := s.Map.Delete(uint32(0)); err != nil {
		return fmt.Errorf("struct_ops %s: detach: %w", s.Spec.Name, err)
	}
	return nil
}

func (s *StructOps[T]) close() error {
	if s.Map == nil {
		return nil
	}
	err := s.Map.Close()
	s.Map = nil
	return err
}

// kernelValue is the value of the map as the kernel lays it out.
func (s *StructOps[T]) kernelValue(coll *ebpf.Collection) ([]byte, error) {
	user, ok := btf.UnderlyingType(s.Spec.Value).(*btf.Struct)
	if !ok {
		return nil, fmt.Errorf("value is no struct: %w", errors.ErrUnsupported)
	}
	outer, err := kernelStruct(structOpsPrefix + user.Name)
	if err != nil {
		return nil, err
	}
	inner, base, err := innerStruct(outer, user.Name)
	if err != nil {
		return nil, err
	}
	value := make([]byte, outer.Size)
	for _, m := range user.Members {
		if err := s.member(value[base:], coll, inner, m); err != nil {
			return nil, fmt.Errorf("member %s: %w", m.Name, err)
		}
	}
	return value, nil
}

// kernelStruct finds a struct of the kernel, or of a module.
func kernelStruct(name string) (*btf.Struct, error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, err
	}
	var st *btf.Struct
	if err := spec.TypeByName(name, &st); err == nil {
		return st, nil
	}
	it := new(btf.HandleIterator)
	defer func() {
		if it.Handle != nil {
			it.Handle.Close()
		}
	}()
	for it.Next() {
		info, err := it.Handle.Info()
		if err != nil || !info.IsModule() {
			continue
		}
		module, err := it.Handle.Spec(spec)
		if err != nil {
			continue
		}
		if module.TypeByName(name, &st) == nil {
			return st, nil
		}
	}
	return nil, fmt.Errorf("the kernel has no struct %s: %w", name, errors.ErrUnsupported)
}

func innerStruct(outer *btf.Struct, name string) (*btf.Struct, uint32, error) {
	for _, m := range outer.Members {
		if st, ok := btf.UnderlyingType(m.Type).(*btf.Struct); ok && st.Name == name {
			return st, m.Offset.Bytes(), nil
		}
	}
	return nil, 0, fmt.Errorf("no struct %s in %s: %w", name, outer.Name, errors.ErrUnsupported)
}

// member copies a member, or puts its program.
func (s *StructOps[T]) member(value []byte, coll *ebpf.Collection, kernel *btf.Struct, m btf.Member) error {
	size, err := btf.Sizeof(m.Type)
	if err != nil {
		return err
	}
	src := bytesOf(s.Value)[m.Offset.Bytes():][:size]
	var prog *ebpf.Program
	for name, p := range s.object.Spec.Programs {
		if p.Type == ebpf.StructOps && p.AttachTo == kernel.Name+":"+m.Name {
			prog = coll.Programs[name]
		}
	}
	km := memberNamed(kernel, m.Name)
	if km == nil {
		if prog != nil || !zero(src) {
			return fmt.Errorf("the kernel has none: %w", errors.ErrUnsupported)
		}
		return nil
	}
	ksize, err := btf.Sizeof(km.Type)
	if err != nil {
		return err
	}
	dst := value[km.Offset.Bytes():][:ksize]
	if _, isPtr := btf.UnderlyingType(m.Type).(*btf.Pointer); isPtr {
		if prog != nil {
			binary.NativeEndian.PutUint64(dst, uint64(prog.FD()))
		}
		return nil
	}
	if zero(src) {
		return nil
	}
	if m.BitfieldSize != 0 || km.BitfieldSize != 0 || size != ksize {
		return fmt.Errorf("the kernel has another type: %w", errors.ErrUnsupported)
	}
	copy(dst, src)
	return nil
}

func memberNamed(st *btf.Struct, name string) *btf.Member {
	for i := range st.Members {
		if st.Members[i].Name == name {
			return &st.Members[i]
		}
	}
	return nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
