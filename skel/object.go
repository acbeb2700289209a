// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/bpfobj"
)

// Options are those of Load. The zero value will do.
type Options struct {
	// Collection are the options of the library that loads, with replacements
	// for maps, the directory of maps that are pinned by name, and the log
	// level of the verifier.
	Collection ebpf.CollectionOptions

	// Kconfig are settings that go before those of the kernel, with values
	// as the kernel's configuration has them: y, m, n, 100, "text".
	Kconfig map[string]string

	// NoMap leaves global variables to accessors, as on a kernel that cannot
	// map them.
	NoMap bool
}

// Object is what a skeleton is made of. Its methods are for generated code; it
// belongs to one goroutine.
type Object struct {
	name string
	// Spec is what is to be loaded. Changes of global variables in it have no
	// effect.
	Spec *ebpf.CollectionSpec
	// Collection is what was loaded, nil before.
	Collection *ebpf.Collection

	weak     map[string]bool
	sections map[string]*Section
	fields   map[string]mapField
	programs []*Program
	structs  []structField
	undo     []io.Closer // what was attached, pinned and opened
	kept     []*Section  // in the order of Spec
	state    objectState
	pinned   bool
	err      error
}

type objectState int

const (
	opened objectState = iota
	loaded
	closed
)

// mapField is a field of Maps.
type mapField interface {
	open(o *Object, spec *ebpf.MapSpec) error
	load(m *ebpf.Map)
}

// Open reads the object of a skeleton, which must have the SHA-256 sum.
func Open(name string, object []byte, sum string) *Object {
	o := &Object{name: name, sections: make(map[string]*Section), fields: make(map[string]mapField)}
	if got := sha256.Sum256(object); hex.EncodeToString(got[:]) != sum {
		o.fail(fmt.Errorf("open %s: %w: generate it again", name, ErrMismatch))
		return o
	}
	read, err := bpfobj.Read(object)
	if err != nil {
		o.fail(fmt.Errorf("open %s: %w", name, err))
		return o
	}
	o.Spec, o.weak = read.Spec, read.Weak
	o.fail(o.makeSections())
	return o
}

// Err returns the first error of opening.
func (o *Object) Err() error { return o.err }

func (o *Object) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

func (o *Object) mismatch(format string, args ...any) {
	o.fail(fmt.Errorf("open %s: %s: %w", o.name, fmt.Sprintf(format, args...), ErrMismatch))
}

// makeSections gives each section of variables its memory.
func (o *Object) makeSections() error {
	for _, name := range slices.Sorted(maps.Keys(o.Spec.Maps)) {
		m := o.Spec.Maps[name]
		if !IsSection(name) || len(m.Contents) != 1 {
			continue
		}
		init, ok := m.Contents[0].Value.([]byte)
		if !ok {
			continue
		}
		s, err := newSection(name, init, int(m.ValueSize), m.Flags&unix.BPF_F_RDONLY_PROG != 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", o.name, err)
		}
		o.sections[name] = s
		o.kept = append(o.kept, s)
	}
	return nil
}

// Section returns the section of a name, which must have the size, rounded up
// to 8.
func (o *Object) Section(name string, size uintptr) *Section {
	if o.err != nil {
		return nil
	}
	s := o.sections[name]
	if s == nil || uintptr(s.size+7)&^7 != size {
		o.mismatch("section %s", name)
		return nil
	}
	return s
}

// Memory returns the memory of a section as a T, the size of which must be that
// of the section.
func Memory[T any](o *Object, name string) *T {
	var t T
	s := o.Section(name, unsafe.Sizeof(t))
	if s == nil {
		return nil
	}
	return (*T)(s.pointer())
}

// Variable returns the accessors of a variable.
func Variable[T any](o *Object, section string, off uintptr) Var[T] {
	var t T
	s := o.sections[section]
	if o.err == nil && (s == nil || off+unsafe.Sizeof(t) > uintptr(s.size)) {
		o.mismatch("variable at %d of %s", off, section)
	}
	return Var[T]{s: s, off: int(off)}
}

// Map makes field the one of a map.
func (o *Object) Map(name string, field mapField) {
	if o.err != nil {
		return
	}
	spec := o.Spec.Maps[name]
	if spec == nil {
		o.mismatch("no map %s", name)
		return
	}
	if err := field.open(o, spec); err != nil {
		o.mismatch("map %s: %v", name, err)
		return
	}
	o.fields[name] = field
}

// Load makes the maps and loads the programs. With an error, nothing is left in
// the kernel, and Load can be called again. Opts may be nil.
//
// Returns an error matching [ErrLoaded] or [ErrClosed] the second time.
func (o *Object) Load(opts *Options) error {
	if opts == nil {
		opts = &Options{}
	}
	switch o.state {
	case loaded:
		return fmt.Errorf("load %s: %w", o.name, ErrLoaded)
	case closed:
		return fmt.Errorf("load %s: %w", o.name, ErrClosed)
	}
	if err := o.load(opts); err != nil {
		return fmt.Errorf("load %s: %w", o.name, err)
	}
	o.state = loaded
	return nil
}

func (o *Object) load(opts *Options) (err error) {
	if s := o.sections[bpfobj.KconfigData]; s != nil {
		if err := o.resolveKconfig(s, opts.Kconfig); err != nil {
			return err
		}
	}
	coll, err := ebpf.NewCollectionWithOptions(o.specToLoad(opts), opts.Collection)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, o.unload(false))
			coll.Close()
		}
	}()
	for name, s := range o.sections {
		if err := s.load(coll.Maps[name]); err != nil {
			return err
		}
	}
	for name, f := range o.fields {
		f.load(coll.Maps[name])
	}
	for _, p := range o.programs {
		p.Prog = coll.Programs[p.name]
	}
	for _, f := range o.structs {
		if err := f.create(coll); err != nil {
			return err
		}
	}
	o.Collection = coll
	return nil
}

// unload forgets what was loaded.
func (o *Object) unload(closed bool) error {
	var errs []error
	for _, f := range slices.Backward(o.structs) {
		errs = append(errs, f.close())
	}
	for _, s := range slices.Backward(o.kept) {
		errs = append(errs, s.unload(closed))
	}
	for _, f := range o.fields {
		f.load(nil)
	}
	for _, p := range o.programs {
		p.Prog = nil
	}
	return errors.Join(errs...)
}

// specToLoad is the spec with the values of fields.
func (o *Object) specToLoad(opts *Options) *ebpf.CollectionSpec {
	spec := &ebpf.CollectionSpec{
		Maps:      maps.Clone(o.Spec.Maps),
		Programs:  maps.Clone(o.Spec.Programs),
		Types:     o.Spec.Types,
		ByteOrder: o.Spec.ByteOrder,
	}
	for name, s := range o.sections {
		m := spec.Maps[name].Copy()
		m.Contents = []ebpf.MapKV{{Key: uint32(0), Value: slices.Clone(s.bytes())}}
		switch {
		case opts.NoMap:
			// The library maps what is named like a section.
			m.Name = name[1:]
			m.Flags &^= unix.BPF_F_MMAPABLE
		case m.Name == bpfobj.Kconfig && mmapable():
			m.Flags |= unix.BPF_F_MMAPABLE
		}
		spec.Maps[name] = m
	}
	for _, p := range o.programs {
		if !p.Autoload {
			delete(spec.Programs, p.name)
		}
	}
	for name, m := range spec.Maps {
		if m.Type == ebpf.StructOpsMap {
			delete(spec.Maps, name)
		} else if m.Type == ebpf.ProgramArray {
			spec.Maps[name] = withoutPrograms(m, spec.Programs)
		}
	}
	return spec
}

// withoutPrograms is a program array without those that are not loaded.
func withoutPrograms(m *ebpf.MapSpec, programs map[string]*ebpf.ProgramSpec) *ebpf.MapSpec {
	m = m.Copy()
	m.Contents = slices.DeleteFunc(m.Contents, func(kv ebpf.MapKV) bool {
		name, ok := kv.Value.(string)
		return ok && programs[name] == nil
	})
	return m
}

// Refresh reads global variables again into fields that are not the memory of
// their map, because the kernel cannot map it. Otherwise it does nothing.
func (o *Object) Refresh() error {
	for _, s := range o.kept {
		if err := s.refresh(); err != nil {
			return fmt.Errorf("refresh %s: %w", o.name, err)
		}
	}
	return nil
}

// Close undoes what was done, in reverse: it removes pins, detaches, closes
// readers, programs and maps. Global variables keep their last values. It can be
// called at any time, and again.
func (o *Object) Close() error {
	if o.state == closed {
		return nil
	}
	errs := []error{o.undoTo(0), o.sweep()}
	if o.state == loaded {
		errs = append(errs, o.unload(true))
		o.Collection.Close()
		o.Collection = nil
	} else {
		for _, s := range o.kept {
			errs = append(errs, s.unload(true))
		}
	}
	o.state = closed
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s: %w", o.name, err)
	}
	return nil
}

// undoTo closes what came after the first n things, in reverse.
func (o *Object) undoTo(n int) error {
	var errs []error
	for _, c := range slices.Backward(o.undo[n:]) {
		errs = append(errs, c.Close())
	}
	o.undo = o.undo[:n]
	return errors.Join(errs...)
}

// IsSection tells whether a map is a section of global variables.
func IsSection(name string) bool {
	return name == ".bss" || hasPrefix(name, ".data") || hasPrefix(name, ".rodata")
}

func hasPrefix(s, prefix string) bool { return len(s) >= len(prefix) && s[:len(prefix)] == prefix }
