// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Route is how an object is read and loaded.
type Route int

const (
	// RouteStandard is for maps that are defined in BTF, or none: as libbpf
	// does it.
	RouteStandard Route = iota
	// RouteCompat is for maps in section maps, as struct bpf_elf_map: as
	// iproute2 did it before it had libbpf.
	RouteCompat
)

// String returns "standard" or "compatibility".
func (r Route) String() string {
	if r == RouteCompat {
		return "compatibility"
	}
	return "standard"
}

// Spec is an object file that was read and is not loaded. All of it can be
// changed until [Spec.Load], which does not change it: a Spec can be loaded many
// times.
type Spec struct {
	// Collection has the maps, programs and variables. Definitions can be
	// changed, added and taken away; those of maps by [Spec.SetMap] too.
	Collection *ebpf.CollectionSpec

	// Pins says where maps are pinned, by the names in Collection. A map
	// that is not there is not pinned. Configuration can overrule it, see
	// [Pinning].
	Pins map[string]Pin

	// Name is that of the file, without directories, or empty.
	Name string
	// UID is the SHA-1 of the file in hexadecimal: the directory of the pins
	// of this object alone.
	UID string
	// License is the text of section license, empty if there is none.
	License string
	// Route is how it is loaded, and Why says why.
	Route Route
	Why   string

	ids   map[uint32]string    // maps by their legacy ids
	live  map[string]*ebpf.Map // maps that take the place of those defined
	tails map[string]bool      // programs of tail calls
}

// maxObject is how large an object file may be.
const maxObject = 64 << 20

// errLegacy says that the standard path cannot read the maps.
type errLegacy struct{ why string }

func (e *errLegacy) Error() string { return e.why }

// Open reads an object file: first as the standard path does it, and if that
// cannot read the maps, by the compatibility path. Nothing is asked of the
// kernel, and the same file always gives the same Spec.
//
// Returns an error matching [os.ErrNotExist] if there is no such file.
func Open(path string) (*Spec, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read object file: %w", err)
	}
	defer f.Close()
	s, err := OpenReader(f)
	if err != nil {
		return nil, fmt.Errorf("read object file %s: %w", path, err)
	}
	s.Name = filepath.Base(path)
	return s, nil
}

// OpenReader is [Open] for what is no file.
func OpenReader(r io.Reader) (*Spec, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxObject+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxObject {
		return nil, fmt.Errorf("it has more than %d MiB", maxObject>>20)
	}
	e, err := newELF(raw)
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum(raw)
	s := &Spec{
		UID: hex.EncodeToString(sum[:]), License: e.license(),
		Pins: map[string]Pin{}, ids: map[uint32]string{},
		live: map[string]*ebpf.Map{}, tails: map[string]bool{},
	}
	var legacy *errLegacy
	err = s.openStandard(e)
	if errors.As(err, &legacy) {
		s.Route, s.Why = RouteCompat, legacy.why
		err = s.openCompat(e)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// read reads the collection. The library must not be brought down by a damaged
// file.
func read(raw []byte) (coll *ebpf.CollectionSpec, err error) {
	defer func() {
		if r := recover(); r != nil {
			coll, err = nil, fmt.Errorf("%w: damaged: %v", errNotELF, r)
		}
	}()
	return ebpf.LoadCollectionSpecFromReader(bytes.NewReader(raw))
}

// openStandard reads an object as libbpf does.
func (s *Spec) openStandard(e *elfReader) error {
	if sec, _ := e.section("maps"); sec != nil {
		return &errLegacy{"the maps are in section maps, which is not BTF"}
	}
	coll, err := read(e.raw)
	if err != nil {
		return err
	}
	s.Collection = coll
	s.Why = "the maps are defined in BTF"
	if !s.hasMaps() {
		s.Why = "it defines no maps"
	}
	for name, m := range coll.Maps {
		if m.Pinning == ebpf.PinByName {
			s.Pins[name] = Pin{Kind: PinByName}
			m.Pinning = ebpf.PinNone
		}
	}
	return nil
}

// hasMaps tells whether there are maps other than those of data sections.
func (s *Spec) hasMaps() bool {
	for name := range s.Collection.Maps {
		if !isDataMap(name) {
			return true
		}
	}
	return false
}

// isDataMap tells whether a map is that of a data section.
func isDataMap(name string) bool {
	return strings.HasPrefix(name, ".")
}

// openCompat reads an object of iproute2's.
func (s *Spec) openCompat(e *elfReader) error {
	l, err := e.legacy()
	if err != nil {
		return err
	}
	raw, err := e.standardMaps(l)
	if err != nil {
		return err
	}
	if s.Collection, err = read(raw); err != nil {
		return err
	}
	s.Why = fmt.Sprintf("section maps has %s as struct bpf_elf_map of %d bytes", plural(len(l.maps), "map"), l.size)
	return s.convert(l)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// convert turns what iproute2 means by an object into what the library means:
// pins, inner maps, types in BTF, and the programs of tail calls.
func (s *Spec) convert(l *legacyObject) error {
	for _, m := range l.maps {
		spec := s.Collection.Maps[m.name]
		if spec == nil {
			return fmt.Errorf("map %q: %w", m.name, os.ErrNotExist)
		}
		if pin := legacyPin(m.Pinning); pin.Kind != PinNone {
			s.Pins[m.name] = pin
		}
		if m.ID != 0 {
			if _, ok := s.ids[m.ID]; !ok {
				s.ids[m.ID] = m.name
			}
		}
		if err := s.annotate(m.name, spec); err != nil {
			return fmt.Errorf("map %s: %w", m.name, err)
		}
	}
	for _, m := range l.maps {
		if err := s.nest(l, &m); err != nil {
			return fmt.Errorf("map %s: %w", m.name, err)
		}
	}
	for _, p := range s.Collection.Programs {
		p.AttachType = ebpf.AttachNone // as iproute2 loads them, or they cannot share program arrays
	}
	for _, t := range l.tails {
		s.addTail(l, &t)
	}
	return nil
}

// annotate gives a map the types of the pair ____btf_map_NAME, if there is one.
func (s *Spec) annotate(name string, spec *ebpf.MapSpec) error {
	var pair *btf.Struct
	if s.Collection.Types == nil || s.Collection.Types.TypeByName("____btf_map_"+name, &pair) != nil {
		return nil
	}
	if len(pair.Members) != 2 || pair.Members[0].Name != "key" || pair.Members[1].Name != "value" {
		return nil
	}
	for i, want := range []uint32{spec.KeySize, spec.ValueSize} {
		m := &pair.Members[i]
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			return fmt.Errorf("type of its %s: %w", m.Name, err)
		}
		if uint32(size) != want {
			return fmt.Errorf("its %s has %d bytes, and the type of it in BTF %d", m.Name, want, size)
		}
	}
	spec.Key, spec.Value = pair.Members[0].Type, pair.Members[1].Type
	return nil
}

func isOuter(t ebpf.MapType) bool { return t == ebpf.ArrayOfMaps || t == ebpf.HashOfMaps }

// nest gives an outer map its inner map, and the inner map its place.
func (s *Spec) nest(l *legacyObject, m *namedMap) error {
	spec := s.Collection.Maps[m.name]
	if isOuter(spec.Type) {
		if m.InnerID == 0 {
			return errors.New("it holds maps, but has no id of an inner map")
		}
		inner, ok := l.mapID(m.InnerID)
		if !ok {
			return fmt.Errorf("there is no map with the id %d of its inner map", m.InnerID)
		}
		if isOuter(s.Collection.Maps[inner].Type) {
			return fmt.Errorf("its inner map %s holds maps itself", inner)
		}
		spec.InnerMap = s.Collection.Maps[inner].Copy()
		// No BTF: some kernels want that of an inner map to be the same.
		spec.InnerMap.Key, spec.InnerMap.Value = nil, nil
		spec.Key, spec.Value = nil, nil
		return nil
	}
	if m.ID == 0 || m.InnerID != 0 || m.InnerIndex == 1<<32-1 {
		return nil
	}
	for _, o := range l.maps {
		outer := s.Collection.Maps[o.name]
		if isOuter(outer.Type) && o.InnerID == m.ID {
			outer.Contents = append(outer.Contents, ebpf.MapKV{Key: m.InnerIndex, Value: m.name})
		}
	}
	return nil
}

// addTail puts the program of a tail call into its program array, if there is one
// with its id.
func (s *Spec) addTail(l *legacyObject, t *tailSection) {
	for _, m := range l.maps {
		spec := s.Collection.Maps[m.name]
		p := s.Collection.Programs[t.program]
		if m.ID != t.id || spec.Type != ebpf.ProgramArray || p == nil {
			continue
		}
		spec.Contents = append(spec.Contents, ebpf.MapKV{Key: t.key, Value: t.program})
		s.tails[t.program] = true
		return
	}
}

// SetMap puts a definition in the place of that of a map, or adds one.
func (s *Spec) SetMap(name string, m *ebpf.MapSpec) {
	s.Collection.Maps[name] = m
}

// UseMap puts a map that is there already in the place of one that is defined.
// The map must be open until [Spec.Load] has returned.
//
// Returns an error matching [os.ErrNotExist] if no map of this name is defined.
// Load returns a [*Mismatch] if the map is of another shape.
func (s *Spec) UseMap(name string, m *ebpf.Map) error {
	if s.Collection.Maps[name] == nil {
		return fmt.Errorf("map %q: %w", name, os.ErrNotExist)
	}
	s.live[name] = m
	return nil
}

// MapByID returns the name of the map with a legacy id.
func (s *Spec) MapByID(id uint32) (name string, ok bool) {
	name, ok = s.ids[id]
	return name, ok
}

// Choose finds a program of a type: by its name, or that of its section, or, if
// the name is empty, the only one. If there is none of the type, that is the one
// in section prog, of objects for iproute2. A program without a type can be of
// any, as can all of those of the compatibility path.
//
// Returns a [*NoProgram] if there is none, or many.
func (s *Spec) Choose(name string, typ ebpf.ProgramType) (string, error) {
	var typed []string
	for _, n := range slices.Sorted(maps.Keys(s.Collection.Programs)) {
		if s.Collection.Programs[n].Type == typ && !s.tails[n] {
			typed = append(typed, n)
		}
	}
	found := s.find(name)
	if name == "" {
		switch len(typed) {
		case 0:
			found = s.find("prog")
		case 1:
			return typed[0], nil
		}
	}
	if found == "" {
		return "", &NoProgram{Name: name, Type: typ, Candidates: typed}
	}
	p := s.Collection.Programs[found]
	if p.Type != typ && p.Type != ebpf.UnspecifiedProgram && s.Route != RouteCompat {
		return "", fmt.Errorf("program %q is of type %s, not %s", found, p.Type, typ)
	}
	return found, nil
}

// find finds a program by its name or section.
func (s *Spec) find(name string) string {
	if s.Collection.Programs[name] != nil {
		return name
	}
	for _, n := range slices.Sorted(maps.Keys(s.Collection.Programs)) {
		if s.Collection.Programs[n].SectionName == name && name != "" {
			return n
		}
	}
	return ""
}

// NoProgram says that an object has no such program, or that it has many. It
// matches [os.ErrNotExist] unless it has many.
type NoProgram struct {
	Name       string
	Type       ebpf.ProgramType
	Candidates []string // of the type, by name
}

func (e *NoProgram) Error() string {
	switch {
	case e.Name != "":
		return fmt.Sprintf("program %q: %v", e.Name, os.ErrNotExist)
	case len(e.Candidates) > 1:
		return fmt.Sprintf("it has %d %s programs", len(e.Candidates), e.Type)
	}
	return fmt.Sprintf("%s program: %v", e.Type, os.ErrNotExist)
}

// Is tells whether there is none.
func (e *NoProgram) Is(target error) bool {
	return target == os.ErrNotExist && (e.Name != "" || len(e.Candidates) == 0)
}
