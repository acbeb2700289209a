// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// LoadOptions control [Spec.Load].
type LoadOptions struct {
	// Programs are the names of those to load, or of their sections, with
	// what they need for tail calls. If empty, all programs with a type are
	// loaded.
	Programs []string
	// Type is that of Programs that have none, [ebpf.XDP] if 0. If it is not
	// 0, it is on the compatibility path that of all Programs, and of what
	// they call by tail calls, whatever their sections are named.
	Type ebpf.ProgramType

	// Pinning is the configuration, nil for that of the system.
	Pinning *Pinning
	// ForceRepin puts new maps in the place of those pinned.
	ForceRepin bool
	// PinPrograms is a directory in which the programs are pinned by their
	// names, or empty.
	PinPrograms string

	// Meter, if not nil, changes a program, and what it needs to be added to
	// its collection. A program that does not load so is loaded as it is.
	Meter func(coll *ebpf.CollectionSpec, program string) error

	// Control is where the maps of the port table come from, for objects that
	// use them, see [PortMaps]. If nil, they get maps of their own.
	Control family.Control

	// What the programs take the place of: a function of a program that is
	// loaded.
	target   *ebpf.Program
	function string
}

// MapState tells how an object came by a map.
type MapState struct {
	Name string
	// Path is where it is pinned, or empty.
	Path string
	// Reused tells that it was there before.
	Reused bool
}

// Object is what was loaded.
type Object struct {
	// Programs and Maps are those loaded, by their names in the object.
	Programs map[string]*ebpf.Program
	Maps     map[string]*ebpf.Map
	// Variables are the global variables, see [ebpf.Collection].
	Variables map[string]*ebpf.Variable
	// States tell of the maps other than those of data, by name.
	States []MapState
	// Route is how the object was loaded, and Why says why.
	Route Route
	Why   string

	spec *ebpf.CollectionSpec
	coll *ebpf.Collection
	undo undoes
}

// loading is a load on its way.
type loading struct {
	spec *Spec
	o    *LoadOptions
	pins *Pinning
	coll *ebpf.CollectionSpec
	main []string // the programs asked for
	typ  ebpf.ProgramType

	replace map[string]*ebpf.Map
	paths   map[string]string // where maps are to be pinned
	states  map[string]MapState
	opened  []*ebpf.Map
	undo    undoes
}

// Load loads maps and programs. Maps that are pinned already are used, if type,
// sizes, entries, flags and BTF agree; maps that are to be pinned are, once
// everything is loaded. If anything fails, nothing is left: no pin, no file
// descriptor, no program.
//
// Loaders that run at the same time wait for one another.
//
// Returns a [*Mismatch] for a map of another shape, a [*VerifierError] for a
// program that the kernel refuses, or a [*NoProgram].
func (s *Spec) Load(ctx context.Context, o LoadOptions) (*Object, error) {
	obj, err := s.load(ctx, o)
	if errors.Is(err, errPinned) {
		obj, err = s.load(ctx, o)
	}
	return obj, err
}

// errPinned says that somebody pinned a map meanwhile: iproute2 knows no lock.
var errPinned = errors.New("somebody else pinned it meanwhile")

// load is one try of Load.
func (s *Spec) load(ctx context.Context, o LoadOptions) (*Object, error) {
	l := &loading{
		spec: s, o: &o, pins: o.Pinning, coll: s.Collection.Copy(), typ: o.Type,
		replace: map[string]*ebpf.Map{}, paths: map[string]string{}, states: map[string]MapState{},
	}
	defer l.close()
	if err := l.prepare(); err != nil {
		return nil, fmt.Errorf("load %s: %w", s.label(), err)
	}
	obj, err := l.run(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("load %s: %w", s.label(), err), l.undo.run())
	}
	return obj, nil
}

// label names the object in errors.
func (s *Spec) label() string {
	if s.Name != "" {
		return s.Name
	}
	return "object"
}

// close closes what was opened to be looked at.
func (l *loading) close() {
	for _, m := range l.opened {
		m.Close()
	}
}

// prepare does what needs no kernel.
func (l *loading) prepare() (err error) {
	if l.pins == nil {
		if l.pins, err = LoadPinning(); err != nil {
			return err
		}
	}
	if l.typ == ebpf.UnspecifiedProgram {
		l.typ = ebpf.XDP
	}
	if err := l.choose(); err != nil {
		return err
	}
	if l.spec.Route == RouteCompat {
		if err := l.checkTails(); err != nil {
			return err
		}
	}
	for name, m := range l.coll.Maps {
		if m.Name == "" {
			m.Name = name
		}
	}
	if l.o.target != nil {
		for _, name := range l.main {
			p := l.coll.Programs[name]
			p.Type, p.AttachType = ebpf.Extension, ebpf.AttachNone
			p.AttachTarget, p.AttachTo = l.o.target, l.o.function
		}
	}
	return nil
}

// choose leaves the programs to load, with their types.
func (l *loading) choose() error {
	if len(l.o.Programs) == 0 {
		for name, p := range l.coll.Programs {
			if p.Type == ebpf.UnspecifiedProgram || l.spec.tails[name] {
				continue
			}
			l.main = append(l.main, name)
		}
		if len(l.main) == 0 && len(l.coll.Programs) > 0 {
			name, err := l.spec.Choose("", l.typ)
			if err != nil {
				return err
			}
			l.main = []string{name}
		}
		slices.Sort(l.main)
	}
	for _, name := range l.o.Programs {
		typ := l.typ
		if p := l.coll.Programs[l.spec.find(name)]; p != nil && l.o.Type == ebpf.UnspecifiedProgram && p.Type != ebpf.UnspecifiedProgram {
			typ = p.Type
		}
		found, err := l.spec.Choose(name, typ)
		if err != nil {
			return err
		}
		l.main = append(l.main, found)
		if p := l.coll.Programs[found]; l.spec.Route == RouteCompat || p.Type == ebpf.UnspecifiedProgram {
			p.Type = typ
		}
	}
	return l.prune()
}

// prune takes away the programs that neither were asked for nor are called from a
// program array. Those that are called are of the type of their callers.
func (l *loading) prune() error {
	keep := map[string]bool{}
	typ := l.typ
	for _, name := range l.main {
		p := l.coll.Programs[name]
		if p.Type == ebpf.UnspecifiedProgram {
			p.Type = l.typ
		}
		typ = p.Type
		keep[name] = true
	}
	for _, m := range l.coll.Maps {
		for _, kv := range m.Contents {
			name, ok := kv.Value.(string)
			p := l.coll.Programs[name]
			if !ok || p == nil || m.Type != ebpf.ProgramArray {
				continue
			}
			keep[name] = true
			if l.spec.tails[name] || p.Type == ebpf.UnspecifiedProgram {
				p.Type = typ
			}
		}
	}
	l.typ = typ
	maps.DeleteFunc(l.coll.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return !keep[name] })
	return nil
}

// checkTails refuses tail calls and inner maps beyond the map that should have
// them.
func (l *loading) checkTails() error {
	for _, name := range slices.Sorted(maps.Keys(l.coll.Maps)) {
		m := l.coll.Maps[name]
		for _, kv := range m.Contents {
			key, ok := kv.Key.(uint32)
			if !ok || key < m.MaxEntries || (m.Type != ebpf.ProgramArray && m.Type != ebpf.ArrayOfMaps) {
				continue
			}
			return fmt.Errorf("%s belongs at %d of map %s, which has %d entries: %w", kv.Value, key, name, m.MaxEntries, unix.E2BIG)
		}
	}
	return nil
}

// run does what needs the kernel, under the lock.
func (l *loading) run(ctx context.Context) (*Object, error) {
	if err := rlimit.RemoveMemlock(); err != nil && !errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("raise the limit of locked memory: %w", err)
	}
	if err := l.findPaths(); err != nil {
		return nil, err
	}
	if len(l.paths) > 0 || l.o.PinPrograms != "" {
		unlock, err := lockRoot(ctx, l.pins.root())
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	if err := l.findMaps(ctx); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := l.checkPrograms(); err != nil {
		return nil, err
	}
	coll, err := l.collection()
	if err != nil {
		return nil, l.refused(err)
	}
	if err := l.pinAll(coll); err != nil {
		coll.Close()
		return nil, err
	}
	obj := &Object{
		Programs: coll.Programs, Maps: coll.Maps, Variables: coll.Variables,
		Route: l.spec.Route, Why: l.spec.Why, spec: l.coll, coll: coll, undo: l.undo,
	}
	for _, name := range slices.Sorted(maps.Keys(l.coll.Maps)) {
		if st := l.states[name]; !isDataMap(name) {
			st.Name = name
			obj.States = append(obj.States, st)
		}
	}
	return obj, nil
}

// checkPrograms refuses programs that are pinned already, before they get into the
// program arrays that others use.
func (l *loading) checkPrograms() error {
	if l.o.PinPrograms == "" || l.o.ForceRepin {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(l.coll.Programs)) {
		path := filepath.Join(l.o.PinPrograms, name)
		if _, err := os.Lstat(path); err == nil {
			return fmt.Errorf("program %s: pin at %s: %w", name, path, unix.EEXIST)
		}
	}
	return nil
}

// collection loads maps and programs, with a meter if they are to have one.
func (l *loading) collection() (*ebpf.Collection, error) {
	opts := ebpf.CollectionOptions{MapReplacements: l.replace}
	if coll := l.metered(); coll != nil {
		if c, err := ebpf.NewCollectionWithOptions(coll, opts); err == nil {
			return c, nil
		}
	}
	return ebpf.NewCollectionWithOptions(l.coll, opts)
}

// metered is the collection with a meter, or nil.
func (l *loading) metered() *ebpf.CollectionSpec {
	if l.o.Meter == nil {
		return nil
	}
	coll := l.coll.Copy()
	for _, name := range l.main {
		if l.o.Meter(coll, name) != nil {
			return nil
		}
	}
	return coll
}

// findPaths finds where the maps are pinned that are used.
func (l *loading) findPaths() error {
	for name := range l.coll.Maps {
		if l.spec.live[name] != nil {
			continue
		}
		path, err := l.pins.Path(l.spec, l.typ, name)
		if err != nil {
			return err
		}
		if path != "" {
			l.paths[name] = path
		}
	}
	return nil
}

// findMaps finds the maps that are there already: those given, those of the port
// table, those pinned.
func (l *loading) findMaps(ctx context.Context) error {
	for name, m := range l.spec.live {
		if l.coll.Maps[name] == nil {
			continue
		}
		if err := l.reuse(name, m, ""); err != nil {
			return err
		}
	}
	if err := l.findPorts(ctx); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(l.paths)) {
		path := l.paths[name]
		if l.o.ForceRepin {
			continue
		}
		m, err := ebpf.LoadPinnedMap(path, nil)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("map %s: open what is pinned at %s: %w", name, path, err)
		}
		l.opened = append(l.opened, m)
		if err := l.reuse(name, m, path); err != nil {
			return err
		}
		l.states[name] = MapState{Path: path, Reused: true}
		delete(l.paths, name)
	}
	l.keepContents()
	return nil
}

// reuse has a map take the place of one that is defined.
func (l *loading) reuse(name string, m *ebpf.Map, path string) error {
	spec := l.coll.Maps[name]
	if err := compare(spec, m, path); err != nil {
		return err
	}
	// What compare lets pass must pass the library too.
	spec.Flags, spec.MaxEntries = m.Flags(), m.MaxEntries()
	l.replace[name] = m
	l.states[name] = MapState{Path: path, Reused: true}
	return nil
}

// findPorts opens those maps of the port table that the object uses.
func (l *loading) findPorts(ctx context.Context) error {
	uses := func(name string) bool { return l.coll.Maps[name] != nil && l.replace[name] == nil }
	if l.o.Control == nil || (!uses(PortMap) && !uses(PortIndexMap)) {
		return nil
	}
	ports, err := PortMaps(ctx, l.o.Control)
	if err != nil {
		return err
	}
	for name, m := range ports {
		l.opened = append(l.opened, m)
		if !uses(name) {
			continue
		}
		delete(l.paths, name)
		// How the table calls its types is its own matter.
		spec := l.coll.Maps[name]
		spec.Key, spec.Value = nil, nil
		if err := l.reuse(name, m, ""); err != nil {
			return err
		}
	}
	return nil
}

// keepContents takes away what maps would be filled with that have their contents
// already. Program arrays get their programs every time, and outer maps their
// inner maps if one of the outer maps is new, as iproute2 does it.
func (l *loading) keepContents() {
	fresh := false
	for name, m := range l.coll.Maps {
		fresh = fresh || (isOuter(m.Type) && l.replace[name] == nil)
	}
	for name, m := range l.coll.Maps {
		if l.replace[name] == nil || m.Type == ebpf.ProgramArray {
			continue
		}
		if isOuter(m.Type) && fresh && l.spec.Route == RouteCompat {
			continue
		}
		m.Contents = nil
	}
}

// pinAll pins the maps and the programs.
func (l *loading) pinAll(coll *ebpf.Collection) error {
	if len(l.paths) > 0 {
		if err := l.makeHierarchy(); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.paths)) {
		path := l.paths[name]
		err := place(coll.Maps[name].FD(), path, l.o.ForceRepin, &l.undo)
		if errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("map %s: %w: %w", name, errPinned, err)
		}
		if err != nil {
			return fmt.Errorf("map %s: %w", name, err)
		}
		l.states[name] = MapState{Path: path}
	}
	if l.o.PinPrograms == "" {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(coll.Programs)) {
		path := filepath.Join(l.o.PinPrograms, name)
		if err := place(coll.Programs[name].FD(), path, l.o.ForceRepin, &l.undo); err != nil {
			return fmt.Errorf("program %s: %w", name, err)
		}
	}
	return nil
}

// makeHierarchy makes what iproute2 makes of a BPF file system before it pins, if a
// pin goes where it would look.
func (l *loading) makeHierarchy() error {
	tc := filepath.Join(l.pins.root(), "tc")
	for _, path := range l.paths {
		switch l.pins.Layout(path) {
		case LayoutIprouteGlobal, LayoutIprouteObject:
			if err := makeDirs(filepath.Join(tc, "globals"), &l.undo); err != nil {
				return err
			}
			return l.pins.makeLinks(&l.undo)
		}
	}
	return nil
}

// Undo takes back what was loaded: attachments, pins, and directories made for
// them, and closes the object.
func (o *Object) Undo() error {
	err := o.undo.run()
	o.coll.Close()
	return err
}

// Close closes the object. What is pinned or attached stays.
//
// A program array that is not pinned is emptied by the kernel when nobody has it
// open, see [Object.Fleeting].
func (o *Object) Close() error {
	err := o.undo.close()
	o.coll.Close()
	return err
}

// ProgramID is the id of a program in the kernel.
func (o *Object) ProgramID(name string) (uint32, error) {
	p := o.Programs[name]
	if p == nil {
		return 0, fmt.Errorf("program %q: %w", name, os.ErrNotExist)
	}
	info, err := infoOf(p)
	if err != nil {
		return 0, err
	}
	return info.ID, nil
}

// Fleeting are the names of program arrays with programs in them that are not
// pinned: the kernel empties them when the object is closed.
func (o *Object) Fleeting() []string {
	var names []string
	for _, st := range o.States {
		m := o.spec.Maps[st.Name]
		if m.Type == ebpf.ProgramArray && len(m.Contents) > 0 && st.Path == "" && !st.Reused {
			names = append(names, st.Name)
		}
	}
	return names
}
