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
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// GraftOptions control [Spec.Graft].
type GraftOptions struct {
	// Map is the path of a pinned program array, or as tc(8) writes it,
	// m:globals/NAME.
	Map string
	// Key is the entry, nil for that in the name ID/KEY of the section.
	Key *uint32
	// Program is which one, by its name or that of its section.
	Program string
	// Type is that of the program, if it has none; 0 for that of the
	// programs in the map, or else [ebpf.SchedCLS], as tc does it.
	Type ebpf.ProgramType
	// Pinning is the configuration, nil for that of the system.
	Pinning *Pinning
}

// Graft loads a program and puts it into a live program array, in the place of
// the one there.
func (s *Spec) Graft(ctx context.Context, o GraftOptions) error {
	if o.Pinning == nil {
		p, err := LoadPinning()
		if err != nil {
			return err
		}
		o.Pinning = p
	}
	m, err := o.open()
	if err != nil {
		return err
	}
	defer m.Close()
	if o.Type == ebpf.UnspecifiedProgram {
		if o.Type = ownerType(m); o.Type == ebpf.UnspecifiedProgram {
			o.Type = ebpf.SchedCLS
		}
	}
	prog, err := s.Choose(o.Program, o.Type)
	if err != nil {
		return err
	}
	key, err := o.key(s.Collection.Programs[prog].SectionName)
	if err != nil {
		return err
	}
	obj, err := s.Load(ctx, LoadOptions{Programs: []string{prog}, Type: o.Type, Pinning: o.Pinning})
	if err != nil {
		return err
	}
	if err := m.Update(key, obj.Programs[prog], ebpf.UpdateAny); err != nil {
		return errors.Join(o.refused(m, key, err), obj.Undo())
	}
	return obj.Close()
}

// open opens the map to graft into.
func (o *GraftOptions) open() (*ebpf.Map, error) {
	path := o.Map
	if rest, ok := strings.CutPrefix(path, "m:"); ok {
		path = filepath.Join(o.Pinning.iprouteDir(o.Type), rest)
	}
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err != nil {
		return nil, fmt.Errorf("open the map pinned at %s: %w", path, err)
	}
	want := &ebpf.MapSpec{Name: filepath.Base(path), Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4,
		MaxEntries: m.MaxEntries(), Flags: m.Flags()}
	if err := compare(want, m, path); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// key is the entry of the map.
func (o *GraftOptions) key(section string) (uint32, error) {
	if o.Key != nil {
		return *o.Key, nil
	}
	_, key, ok := parseTail(section)
	if !ok {
		return 0, fmt.Errorf("section %s does not tell the key, as one named ID/KEY does", section)
	}
	return key, nil
}

// refused says why a program array did not take a program.
func (o *GraftOptions) refused(m *ebpf.Map, key uint32, err error) error {
	owner := ownerType(m)
	switch {
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("graft into %s: key %d is beyond its %d entries: %w", o.Map, key, m.MaxEntries(), err)
	case owner != ebpf.UnspecifiedProgram && owner != o.Type:
		return fmt.Errorf("graft into %s: its programs are of type %s, not %s: %w", o.Map, owner, o.Type, err)
	}
	return fmt.Errorf("graft into %s: %w", o.Map, err)
}

// UnloadOptions control [Spec.Unload].
type UnloadOptions struct {
	// Type is that of the programs, as in [LoadOptions].
	Type ebpf.ProgramType
	// Pinning is the configuration, nil for that of the system.
	Pinning *Pinning
	// PinPrograms is the directory in which the programs are pinned.
	PinPrograms string
	// All is to take away the pins of maps too that other objects may share.
	// Those for this object alone go anyway.
	All bool
}

// Unload takes away the pins that [Spec.Load] made, and returns their paths. What
// is pinned there must be of this object: programs of its names, maps of the shapes
// that it defines. What else uses them, as an attachment does, keeps them alive.
func (s *Spec) Unload(ctx context.Context, o UnloadOptions) (removed []string, err error) {
	pins := o.Pinning
	if pins == nil {
		if pins, err = LoadPinning(); err != nil {
			return nil, err
		}
	}
	if o.Type == ebpf.UnspecifiedProgram {
		o.Type = ebpf.XDP
	}
	unlock, err := lockRoot(ctx, pins.root())
	if err != nil {
		return nil, err
	}
	defer unlock()
	paths, err := s.ownPins(pins, &o)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			return removed, err
		}
		removed = append(removed, path)
		if dir := filepath.Dir(path); pins.Layout(path) == LayoutIprouteObject || dir == o.PinPrograms {
			os.Remove(dir) // unless others are in it
		}
	}
	return removed, nil
}

// ownPins are the pins that Unload takes away. If one is not of the object, none
// is.
func (s *Spec) ownPins(pins *Pinning, o *UnloadOptions) (paths []string, err error) {
	if o.PinPrograms != "" {
		for _, name := range slices.Sorted(maps.Keys(s.Collection.Programs)) {
			path := filepath.Join(o.PinPrograms, name)
			p, err := ebpf.LoadPinnedProgram(path, nil)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("program %s: open what is pinned at %s: %w", name, path, err)
			}
			same := sameProgram(p, name)
			p.Close()
			if !same {
				return nil, fmt.Errorf("program %s: what is pinned at %s is another one: %w", name, path, unix.EEXIST)
			}
			paths = append(paths, path)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Collection.Maps)) {
		path, err := pins.Path(s, o.Type, name)
		if err != nil {
			return nil, err
		}
		if path == "" || (!o.All && pins.of(s, name).Kind != PinObject) {
			continue
		}
		m, err := ebpf.LoadPinnedMap(path, nil)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("map %s: open what is pinned at %s: %w", name, path, err)
		}
		err = compare(s.Collection.Maps[name], m, path)
		m.Close()
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// sameProgram tells whether a program has a name; the kernel keeps 15 bytes of it.
func sameProgram(p *ebpf.Program, name string) bool {
	info, err := infoOf(p)
	if err != nil {
		return false
	}
	return unix.ByteSliceToString(info.Name[:]) == name[:min(len(name), unix.BPF_OBJ_NAME_LEN-1)]
}
