// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Sizes of struct bpf_elf_map: as its first version was, as BPF_MAP_CREATE wants
// it, which is as far as the standard path reads, and as it is now.
const (
	elfMapMin      = 16
	elfMapStandard = 20
	elfMapMax      = 36
)

// maxLegacyMaps is how many maps iproute2 takes in one object.
const maxLegacyMaps = 64

// elfMap is struct bpf_elf_map of iproute2. What an object has not of it is 0.
type elfMap struct {
	Type, KeySize, ValueSize, MaxEntries, Flags, ID, Pinning, InnerID, InnerIndex uint32
}

// namedMap is an entry of section maps.
type namedMap struct {
	name string
	elfMap
}

// tailSection is a section ID/KEY: its program belongs into the program array with
// that id.
type tailSection struct {
	name    string
	id, key uint32
	program string // the function
}

// legacyObject is what an object of iproute2's has that the standard path does not
// read.
type legacyObject struct {
	size  int // of an entry of section maps, 0 if there is none
	maps  []namedMap
	tails []tailSection
}

// mapID returns the name of the map with a legacy id.
func (l *legacyObject) mapID(id uint32) (string, bool) {
	for _, m := range l.maps {
		if m.ID == id && id != 0 {
			return m.name, true
		}
	}
	return "", false
}

// errNotELF says that what was read is no BPF object.
var errNotELF = errors.New("not an ELF file for BPF")

// elfReader reads sections and symbols of an object.
type elfReader struct {
	raw     []byte
	f       *elf.File
	symbols []elf.Symbol // from symbol 1 on
}

// newELF reads the headers. A damaged file is an error, whatever debug/elf makes
// of it.
func newELF(raw []byte) (e *elfReader, err error) {
	defer func() {
		if r := recover(); r != nil {
			e, err = nil, fmt.Errorf("%w: damaged: %v", errNotELF, r)
		}
	}()
	f, err := elf.NewFile(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotELF, err)
	}
	switch {
	case f.Class != elf.ELFCLASS64:
		return nil, fmt.Errorf("%w: it is %s", errNotELF, f.Class)
	case f.Machine != elf.EM_BPF && f.Machine != elf.EM_NONE:
		return nil, fmt.Errorf("%w: it is for %s", errNotELF, f.Machine)
	case f.Type != elf.ET_REL:
		return nil, fmt.Errorf("%w: it is of type %s, not an object file", errNotELF, f.Type)
	}
	syms, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, fmt.Errorf("read symbols: %w", err)
	}
	return &elfReader{raw: raw, f: f, symbols: syms}, nil
}

// section returns the section of a name, and its index.
func (e *elfReader) section(name string) (*elf.Section, elf.SectionIndex) {
	for i, s := range e.f.Sections {
		if s.Name == name && s.Type == elf.SHT_PROGBITS {
			return s, elf.SectionIndex(i)
		}
	}
	return nil, 0
}

// license is the text of section license.
func (e *elfReader) license() string {
	s, _ := e.section("license")
	if s == nil {
		return ""
	}
	data, err := s.Data()
	if err != nil {
		return ""
	}
	text, _, _ := bytes.Cut(data, []byte{0})
	return string(text)
}

// isGlobalData tells whether a symbol names an entry of a section of data, as
// iproute2 counts them.
func isGlobalData(s *elf.Symbol) bool {
	t := elf.ST_TYPE(s.Info)
	return elf.ST_BIND(s.Info) == elf.STB_GLOBAL && (t == elf.STT_NOTYPE || t == elf.STT_OBJECT)
}

// legacy returns what the standard path does not read, or nil if that is nothing.
func (e *elfReader) legacy() (*legacyObject, error) {
	sec, index := e.section("maps")
	if sec == nil {
		return nil, nil
	}
	l := &legacyObject{}
	if err := e.legacyMaps(l, sec, index); err != nil {
		return nil, fmt.Errorf("section maps: %w", err)
	}
	l.tails = e.tailSections()
	return l, nil
}

// legacyMaps reads section maps. The size of an entry is that of the section
// divided by the number of symbols in it.
func (e *elfReader) legacyMaps(l *legacyObject, sec *elf.Section, index elf.SectionIndex) error {
	data, err := sec.Data()
	if err != nil {
		return fmt.Errorf("read it: %w", err)
	}
	var syms []elf.Symbol
	for _, s := range e.symbols {
		if s.Section == index && isGlobalData(&s) {
			syms = append(syms, s)
		}
	}
	slices.SortFunc(syms, func(a, b elf.Symbol) int { return int(int64(a.Value) - int64(b.Value)) })
	switch n := len(syms); {
	case n == 0:
		return errors.New("no map in it has a name")
	case n > maxLegacyMaps:
		return fmt.Errorf("it has %d maps, at most %d can be", n, maxLegacyMaps)
	case len(data)%n != 0 || len(data)%4 != 0:
		return fmt.Errorf("%d bytes are not %d maps of one size", len(data), n)
	}
	l.size = len(data) / len(syms)
	switch {
	case l.size < elfMapMin:
		return fmt.Errorf("a map of %d bytes is too short, struct bpf_elf_map has at least %d", l.size, elfMapMin)
	case l.size > elfMapMax:
		return fmt.Errorf("a map of %d bytes is too long, struct bpf_elf_map has at most %d", l.size, elfMapMax)
	}
	seen := map[string]bool{}
	for i, s := range syms {
		if s.Value != uint64(i*l.size) {
			return fmt.Errorf("map %q is at offset %d, where there is none of %d bytes", s.Name, s.Value, l.size)
		}
		if s.Name == "" || seen[s.Name] {
			return fmt.Errorf("name %q is that of no map or of two", s.Name)
		}
		seen[s.Name] = true
		entry := make([]byte, elfMapMax)
		copy(entry, data[i*l.size:(i+1)*l.size])
		m := namedMap{name: s.Name}
		if err := binary.Read(bytes.NewReader(entry), e.f.ByteOrder, &m.elfMap); err != nil {
			return err
		}
		l.maps = append(l.maps, m)
	}
	return nil
}

// cNumber is what %i of sscanf makes of a number; it wraps, as a 32-bit int does.
func cNumber(s string) (uint32, bool) {
	if strings.Trim(s, "+-xX0123456789abcdefABCDEF") != "" || strings.HasPrefix(s, "+-") {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(s, "+"), 0, 64)
	if err != nil || n < -1<<31 || n > 1<<32-1 {
		return 0, false
	}
	return uint32(n), true
}

// parseTail reads the name of a section with a tail call.
func parseTail(name string) (id, key uint32, ok bool) {
	first, second, ok := strings.Cut(name, "/")
	id, ok1 := cNumber(first)
	key, ok2 := cNumber(second)
	return id, key, ok && ok1 && ok2
}

// tailSections are the sections ID/KEY, with the first function in each.
func (e *elfReader) tailSections() []tailSection {
	var tails []tailSection
	for i, s := range e.f.Sections {
		id, key, ok := parseTail(s.Name)
		if !ok || s.Type != elf.SHT_PROGBITS || s.Flags&elf.SHF_EXECINSTR == 0 {
			continue
		}
		for _, sym := range e.symbols {
			t := elf.ST_TYPE(sym.Info)
			if int(sym.Section) == i && sym.Value == 0 && sym.Name != "" &&
				(t == elf.STT_FUNC || (t == elf.STT_NOTYPE && elf.ST_BIND(sym.Info) == elf.STB_GLOBAL)) {
				tails = append(tails, tailSection{s.Name, id, key, sym.Name})
				break
			}
		}
	}
	return tails
}

// Offsets in a section header and in a symbol of 64-bit ELF.
const (
	shdrType, shdrOffset, shdrSize, shdrEntSize = 4, 24, 32, 56
	symInfo, symShndx, symValue, symSize        = 4, 6, 8, 16
	sizeofSym                                   = 24
)

// standardMaps returns the object with the entries of section maps cut or
// stretched to the size that the standard path reads.
func (e *elfReader) standardMaps(l *legacyObject) ([]byte, error) {
	if l.size == elfMapStandard {
		return e.raw, nil
	}
	_, index := e.section("maps")
	bo := e.f.ByteOrder
	out := slices.Clone(e.raw)
	for len(out)%8 != 0 {
		out = append(out, 0)
	}
	offset := uint64(len(out))
	for _, m := range l.maps {
		for _, v := range []uint32{m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags} {
			out = binary.LittleEndian.AppendUint32(out, v)
			bo.PutUint32(out[len(out)-4:], v)
		}
	}
	shoff, shentsize := bo.Uint64(out[40:]), uint64(bo.Uint16(out[58:]))
	header := func(i int) ([]byte, error) {
		at := shoff + uint64(i)*shentsize
		if at < shoff || at+64 < at || at+64 > uint64(len(e.raw)) {
			return nil, fmt.Errorf("header of section %d is beyond the file", i)
		}
		return out[at : at+64], nil
	}
	h, err := header(int(index))
	if err != nil {
		return nil, err
	}
	bo.PutUint64(h[shdrOffset:], offset)
	bo.PutUint64(h[shdrSize:], uint64(len(l.maps)*elfMapStandard))
	for i, s := range e.f.Sections {
		if s.Type != elf.SHT_SYMTAB {
			continue
		}
		if s.Offset > offset || s.FileSize > offset-s.Offset {
			return nil, fmt.Errorf("symbol table is beyond the file")
		}
		if h, err = header(i); err != nil {
			return nil, err
		}
		moveSymbols(out[s.Offset:s.Offset+s.FileSize], bo, uint16(index), uint64(l.size))
	}
	return out, nil
}

// moveSymbols gives the symbols of section maps the offsets and sizes of entries
// of the standard size.
func moveSymbols(table []byte, bo binary.ByteOrder, index uint16, size uint64) {
	for ; len(table) >= sizeofSym; table = table[sizeofSym:] {
		info := elf.ST_TYPE(table[symInfo])
		if bo.Uint16(table[symShndx:]) != index || (info != elf.STT_NOTYPE && info != elf.STT_OBJECT) {
			continue
		}
		bo.PutUint64(table[symValue:], bo.Uint64(table[symValue:])/size*elfMapStandard)
		bo.PutUint64(table[symSize:], elfMapStandard)
	}
}
