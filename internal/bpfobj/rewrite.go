// SPDX-License-Identifier: BSD-3-Clause

package bpfobj

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
)

// Sizes and places in 64 bit ELF files and BTF.
const (
	ehShoff  = 0x28
	ehShnum  = 0x3c
	shdrSize = 64
	shName   = 0
	shOffset = 24
	shSizeAt = 32
	symSize  = 24

	btfHeader    = 24
	kindVar      = 14
	kindDatasec  = 15
	linkGlobal   = 1
	externLinked = 2
)

// rewriter changes an ELF file. Everything new goes to its end.
type rewriter struct {
	object  []byte
	headers []byte // section headers
	names   int    // the section with their names
	symtab  *elf.Section
	btf     int
	changed bool
}

func newRewriter(f *elf.File, object []byte) (*rewriter, error) {
	if len(object) < 64 {
		return nil, errors.New("file is too short")
	}
	r := &rewriter{object: slices.Clone(object), names: int(le.Uint16(object[0x3e:]))}
	off, n := le.Uint64(object[ehShoff:]), int(le.Uint16(object[ehShnum:]))
	if n != len(f.Sections) || off > uint64(len(object)) || uint64(len(object))-off < uint64(n)*shdrSize {
		return nil, errors.New("section headers are out of the file")
	}
	r.headers = slices.Clone(object[off : off+uint64(n)*shdrSize])
	for i, s := range f.Sections {
		switch {
		case s.Name == ".BTF":
			r.btf = i
		case s.Type == elf.SHT_SYMTAB:
			r.symtab = s
		}
	}
	if r.symtab == nil || r.names >= n {
		return nil, errors.New("no symbols or no names of sections")
	}
	return r, nil
}

func (r *rewriter) header(i int) []byte { return r.headers[i*shdrSize : (i+1)*shdrSize] }

// data returns the contents of a section.
func (r *rewriter) data(i int) []byte {
	h := r.header(i)
	off, size := le.Uint64(h[shOffset:]), le.Uint64(h[shSizeAt:])
	if off > uint64(len(r.object)) || uint64(len(r.object))-off < size {
		return nil
	}
	return r.object[off : off+size]
}

// replace gives a section other contents.
func (r *rewriter) replace(i int, data []byte) {
	r.object = append(r.object, make([]byte, -len(r.object)&7)...)
	h := r.header(i)
	le.PutUint64(h[shOffset:], uint64(len(r.object)))
	le.PutUint64(h[shSizeAt:], uint64(len(data)))
	r.object = append(r.object, data...)
	r.changed = true
}

// addName adds a name of a section.
func (r *rewriter) addName(name string) uint32 {
	names := slices.Clone(r.data(r.names))
	r.replace(r.names, append(append(names, name...), 0))
	return uint32(len(names))
}

func (r *rewriter) renameSection(from, to string) {
	names := r.data(r.names)
	off := r.addName(to)
	for i := 0; i*shdrSize < len(r.headers); i++ {
		h := r.header(i)
		if at := le.Uint32(h[shName:]); int(at) < len(names) && cstring(names[at:]) == from {
			le.PutUint32(h[shName:], off)
		}
	}
}

// addSection adds a section of zeroes.
func (r *rewriter) addSection(name string, size uint64) int {
	i := len(r.headers) / shdrSize
	h := make([]byte, shdrSize)
	le.PutUint32(h[shName:], r.addName(name))
	le.PutUint32(h[4:], uint32(elf.SHT_PROGBITS))
	le.PutUint64(h[8:], uint64(elf.SHF_ALLOC))
	le.PutUint64(h[48:], 8) // sh_addralign
	r.headers = append(r.headers, h...)
	r.replace(i, make([]byte, size))
	return i
}

// defineSymbol makes an undefined symbol one of a section.
func (r *rewriter) defineSymbol(i, section int, off, size uint64) {
	at := int(r.symtab.Offset) + i*symSize
	if at+symSize > len(r.object) {
		return
	}
	s := r.object[at : at+symSize]
	s[4] = elf.ST_INFO(elf.STB_GLOBAL, elf.STT_OBJECT)
	le.PutUint16(s[6:], uint16(section))
	le.PutUint64(s[8:], off)
	le.PutUint64(s[16:], size)
	r.changed = true
}

// renameDatasec gives a section another name in BTF, and makes what is extern in
// it global.
func (r *rewriter) renameDatasec(from, to string) error {
	data := slices.Clone(r.data(r.btf))
	if len(data) < btfHeader {
		return errors.New("BTF is too short")
	}
	header := le.Uint32(data[4:])
	typeOff, typeLen := header+le.Uint32(data[8:]), le.Uint32(data[12:])
	strOff, strLen := header+le.Uint32(data[16:]), le.Uint32(data[20:])
	n := uint32(len(data))
	if typeOff > n || n-typeOff < typeLen || strOff > n || n-strOff < strLen || strOff < typeOff+typeLen {
		return errors.New("BTF is out of the section")
	}
	types := data[typeOff : typeOff+typeLen]
	strings := data[strOff : strOff+strLen]
	if err := relink(types, strings, from, strLen); err != nil {
		return err
	}
	le.PutUint32(data[20:], strLen+uint32(len(to))+1)
	data = append(append(data[:strOff+strLen:strOff+strLen], to...), 0)
	r.replace(r.btf, data)
	return nil
}

// relink sets the name of the section, and the linkage of the variables in it.
func relink(types, strings []byte, from string, name uint32) error {
	at, vars, err := walkTypes(types)
	if err != nil {
		return err
	}
	for _, off := range at {
		t := types[off:]
		info := le.Uint32(t[4:])
		if info>>24&0x1f != kindDatasec || nameAt(strings, le.Uint32(t)) != from {
			continue
		}
		le.PutUint32(t, name)
		for i := range int(info & 0xffff) {
			id := le.Uint32(t[12+12*i:])
			if v, ok := vars[id]; ok && le.Uint32(types[v+12:]) == externLinked {
				le.PutUint32(types[v+12:], linkGlobal)
			}
		}
	}
	return nil
}

// walkTypes returns where types are, and where variables are by their id.
func walkTypes(types []byte) (at []int, vars map[uint32]int, err error) {
	vars = make(map[uint32]int)
	for off := 0; off < len(types); {
		if len(types)-off < 12 {
			return nil, nil, errors.New("BTF ends in a type")
		}
		info := le.Uint32(types[off+4:])
		size, err := typeSize(info)
		if err != nil {
			return nil, nil, err
		}
		if len(types)-off < size {
			return nil, nil, errors.New("BTF ends in a type")
		}
		at = append(at, off)
		if info>>24&0x1f == kindVar {
			vars[uint32(len(at))] = off
		}
		off += size
	}
	return at, vars, nil
}

// typeSize is the size of a type, after enum btf_kind of linux/btf.h.
func typeSize(info uint32) (int, error) {
	n := int(info & 0xffff)
	switch info >> 24 & 0x1f {
	case 1, kindVar, 17: // INT, VAR, DECL_TAG
		return 16, nil
	case 2, 7, 8, 9, 10, 11, 12, 16, 18: // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
		return 12, nil
	case 3: // ARRAY
		return 24, nil
	case 4, 5, kindDatasec, 19: // STRUCT, UNION, DATASEC, ENUM64
		return 12 + 12*n, nil
	case 6, 13: // ENUM, FUNC_PROTO
		return 12 + 8*n, nil
	}
	return 0, fmt.Errorf("BTF has a type of kind %d: %w", info>>24&0x1f, errors.ErrUnsupported)
}

// finish returns the file.
func (r *rewriter) finish() []byte {
	if !r.changed {
		return r.object
	}
	r.object = append(r.object, make([]byte, -len(r.object)&7)...)
	le.PutUint64(r.object[ehShoff:], uint64(len(r.object)))
	le.PutUint16(r.object[ehShnum:], uint16(len(r.headers)/shdrSize))
	return append(r.object, r.headers...)
}

func nameAt(strings []byte, off uint32) string {
	if int(off) >= len(strings) {
		return ""
	}
	return cstring(strings[off:])
}

func cstring(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func sortSymbols(syms []elf.Symbol) {
	slices.SortFunc(syms, func(a, b elf.Symbol) int {
		switch {
		case a.Value < b.Value:
			return -1
		case a.Value > b.Value:
			return 1
		}
		return 0
	})
}
