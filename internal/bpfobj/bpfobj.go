// SPDX-License-Identifier: BSD-3-Clause

// Package bpfobj reads BPF objects for skeletons: it puts what the library of
// the loader refuses into a shape that it takes.
//
// The variables of .kconfig, weak ones included, become variables of a section
// of constants, which the skeleton fills in. The section .struct_ops becomes
// .struct_ops.link, and what was in it is told by [Object.NoLink].
package bpfobj

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

const (
	// Kconfig is the name of the section of kernel configuration.
	Kconfig = ".kconfig"
	// KconfigData is the section that it is made to.
	KconfigData = ".rodata.kconfig"

	structOps     = ".struct_ops"
	structOpsLink = ".struct_ops.link"

	linkFlag = 1 << 13 // BPF_F_LINK
)

// Object is a BPF object that was read.
type Object struct {
	Spec *ebpf.CollectionSpec
	// Weak are the variables of .kconfig that need not be in the kernel's
	// configuration.
	Weak map[string]bool
	// Order are the names of programs as the object has them.
	Order []string
	// NoLink are the struct_ops maps that are not to be attached with a link.
	NoLink map[string]bool
}

// Read reads an object. It needs no kernel.
//
// Returns an error matching [errors.ErrUnsupported] for an object that has what
// no skeleton can have.
func Read(object []byte) (*Object, error) {
	f, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	if f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("read object: %s %s: only 64 bit little-endian objects have skeletons: %w", f.Class, f.Data, errors.ErrUnsupported)
	}
	o := &Object{Weak: make(map[string]bool), NoLink: make(map[string]bool)}
	fixed, err := o.fix(f, object)
	if err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	if o.Spec, err = ebpf.LoadCollectionSpecFromReader(bytes.NewReader(fixed)); err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	for name, m := range o.Spec.Maps {
		if m.Type == ebpf.StructOpsMap && o.NoLink[structOps] {
			m.Flags &^= linkFlag
			o.NoLink[name] = true
		}
	}
	delete(o.NoLink, structOps)
	if m := o.Spec.Maps[KconfigData]; m != nil {
		m.Name = Kconfig
	}
	return o, o.order(f)
}

// order notes the programs in the order of the object.
func (o *Object) order(f *elf.File) error {
	syms, err := f.Symbols()
	if errors.Is(err, elf.ErrNoSymbols) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	for i := range f.Sections {
		for _, name := range functions(syms, elf.SectionIndex(i)) {
			if o.Spec.Programs[name] != nil {
				o.Order = append(o.Order, name)
			}
		}
	}
	return nil
}

// functions are the names of symbols in a section, by their place in it.
func functions(syms []elf.Symbol, section elf.SectionIndex) []string {
	var in []elf.Symbol
	for _, s := range syms {
		if s.Section == section && elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			in = append(in, s)
		}
	}
	sortSymbols(in)
	var names []string
	for _, s := range in {
		names = append(names, s.Name)
	}
	return names
}

// fix returns the object with what the loader refuses put into another shape.
func (o *Object) fix(f *elf.File, object []byte) ([]byte, error) {
	for _, s := range f.Sections {
		if strings.HasPrefix(s.Name, "?"+structOps) {
			return nil, fmt.Errorf("section %s: optional struct_ops: %w", s.Name, errors.ErrUnsupported)
		}
	}
	if f.Section(".BTF") == nil {
		return object, nil
	}
	r, err := newRewriter(f, object)
	if err != nil {
		return nil, err
	}
	if err := o.fixKconfig(f, r); err != nil {
		return nil, err
	}
	if err := o.fixStructOps(f, r); err != nil {
		return nil, err
	}
	return r.finish(), nil
}

func (o *Object) fixStructOps(f *elf.File, r *rewriter) error {
	s := f.Section(structOps)
	if s == nil {
		return nil
	}
	if f.Section(structOpsLink) != nil {
		return fmt.Errorf("sections %s and %s in one object: %w", structOps, structOpsLink, errors.ErrUnsupported)
	}
	o.NoLink[structOps] = true
	r.renameSection(structOps, structOpsLink)
	return r.renameDatasec(structOps, structOpsLink)
}

// fixKconfig makes a section of the variables of .kconfig.
func (o *Object) fixKconfig(f *elf.File, r *rewriter) error {
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(r.object))
	if err != nil {
		return fmt.Errorf("read BTF: %w", err)
	}
	var ds *btf.Datasec
	if err := spec.TypeByName(Kconfig, &ds); errors.Is(err, btf.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	section := r.addSection(KconfigData, uint64(ds.Size))
	syms, err := f.Symbols()
	if err != nil {
		return err
	}
	for _, vsi := range ds.Vars {
		v, ok := vsi.Type.(*btf.Var)
		if !ok {
			return fmt.Errorf("%s: unexpected %s", Kconfig, vsi.Type)
		}
		size, err := btf.Sizeof(v.Type)
		if err != nil {
			return fmt.Errorf("%s: variable %s: %w", Kconfig, v.Name, err)
		}
		for i, sym := range syms {
			if sym.Name != v.Name || sym.Section != elf.SHN_UNDEF {
				continue
			}
			if elf.ST_BIND(sym.Info) == elf.STB_WEAK {
				o.Weak[v.Name] = true
			}
			r.defineSymbol(i+1, section, uint64(vsi.Offset), uint64(size))
		}
	}
	return r.renameDatasec(Kconfig, KconfigData)
}

var le = binary.LittleEndian
