// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/loader"
)

// pinRoot is where maps are pinned that an object file wants pinned by name.
const pinRoot = "/sys/fs/bpf"

// source is where a program comes from; one of the first four is set.
type source struct {
	fd, id      *uint32
	pinned, obj string
	name        string // in obj

	// ports opens the maps of the port table, for an object that uses them.
	ports func() (map[string]*ebpf.Map, error)

	// meter says that a program from an object file needs a meter of its own
	// to be metered.
	meter bool
}

// open gives a file descriptor of the program, and the function that closes
// what was opened for it.
func (s *source) open() (fd uint32, closer func(), err error) {
	if s.fd != nil {
		return *s.fd, func() {}, nil
	}
	var p *ebpf.Program
	switch {
	case s.id != nil:
		if p, err = ebpf.NewProgramFromID(ebpf.ProgramID(*s.id)); err != nil {
			return 0, nil, fmt.Errorf("open program with id %d: %w", *s.id, err)
		}
	case s.pinned != "":
		if p, err = ebpf.LoadPinnedProgram(s.pinned, nil); err != nil {
			return 0, nil, fmt.Errorf("open program pinned at %s: %w", s.pinned, err)
		}
	default:
		return s.load()
	}
	return uint32(p.FD()), func() { p.Close() }, nil
}

// readObject reads an object file.
func readObject(path string) (*ebpf.CollectionSpec, error) {
	coll, err := ebpf.LoadCollectionSpec(path)
	if err != nil {
		return nil, fmt.Errorf("read object file: %w", err)
	}
	return coll, nil
}

// chooseIn is choose, with an error that names the object file.
func chooseIn(path string, coll *ebpf.CollectionSpec, name string) (string, error) {
	prog, err := choose(coll, name)
	if err != nil {
		return "", fmt.Errorf("read object file %s: %w", path, err)
	}
	return prog, nil
}

// read reads the object file, and chooses the program.
func (s *source) read() (coll *ebpf.CollectionSpec, prog string, err error) {
	if coll, err = readObject(s.obj); err != nil {
		return nil, "", err
	}
	prog, err = chooseIn(s.obj, coll, s.name)
	return coll, prog, err
}

// load loads the object file. The program keeps the maps that it uses.
func (s *source) load() (fd uint32, closer func(), err error) {
	coll, prog, err := s.read()
	if err != nil {
		return 0, nil, err
	}
	prune(coll, prog)
	if err := rlimit.RemoveMemlock(); err != nil && !errors.Is(err, unix.EPERM) {
		return 0, nil, fmt.Errorf("raise the limit of locked memory: %w", err)
	}
	replace, err := s.portMaps(coll)
	if err != nil {
		return 0, nil, fmt.Errorf("load %s: %w", s.obj, err)
	}
	defer loader.ClosePortMaps(replace)
	c, err := s.loadSpec(coll, prog, ebpf.CollectionOptions{
		Maps: ebpf.MapOptions{PinPath: pinRoot}, MapReplacements: replace,
	})
	if err != nil {
		return 0, nil, fmt.Errorf("load %s: %w", s.obj, err)
	}
	return uint32(c.Programs[prog].FD()), c.Close, nil
}

// loadSpec loads a program, with a meter if it needs one. One that does not load
// with a meter, since that takes some of the stack, is better than none.
func (s *source) loadSpec(coll *ebpf.CollectionSpec, prog string, opts ebpf.CollectionOptions) (*ebpf.Collection, error) {
	if s.meter {
		metered := coll.Copy()
		if err := loader.AddMeter(metered, prog); err == nil {
			if c, err := ebpf.NewCollectionWithOptions(metered, opts); err == nil {
				return c, nil
			}
		}
	}
	return ebpf.NewCollectionWithOptions(coll, opts)
}

// portMaps are those of the port table that the object uses, by their names.
func (s *source) portMaps(coll *ebpf.CollectionSpec) (map[string]*ebpf.Map, error) {
	if s.ports == nil || (coll.Maps[loader.PortMap] == nil && coll.Maps[loader.PortIndexMap] == nil) {
		return nil, nil
	}
	replace, err := s.ports()
	if errors.Is(err, os.ErrNotExist) {
		return nil, &hinted{err, "Bind a port first, with: xdpctl-nl port set PORT dev IF"}
	}
	for name, m := range replace {
		if coll.Maps[name] == nil {
			m.Close()
			delete(replace, name)
		}
	}
	return replace, err
}

// choose picks the XDP program of this name, or in the section of this name,
// or, if it is empty, the only one. A program of no type, as old objects have
// it, becomes an XDP program if it is named.
func choose(coll *ebpf.CollectionSpec, name string) (string, error) {
	var xdp []string
	for n, p := range coll.Programs {
		if p.Type == ebpf.XDP {
			xdp = append(xdp, n)
		}
	}
	slices.Sort(xdp)
	if name == "" {
		switch len(xdp) {
		case 0:
			return "", fmt.Errorf("XDP program: %w", os.ErrNotExist)
		case 1:
			return xdp[0], nil
		}
		return "", &hinted{fmt.Errorf("it has %d XDP programs", len(xdp)), "Say which one with prog NAME: " + strings.Join(xdp, ", ")}
	}
	p := coll.Programs[name]
	if p == nil {
		for n, q := range coll.Programs {
			if q.SectionName == name {
				name, p = n, q
				break
			}
		}
	}
	switch {
	case p == nil:
		err := fmt.Errorf("program %q: %w", name, os.ErrNotExist)
		if len(xdp) == 0 {
			return "", err
		}
		return "", &hinted{err, "The XDP programs in it are: " + strings.Join(xdp, ", ")}
	case p.Type == ebpf.UnspecifiedProgram:
		p.Type = ebpf.XDP
	case p.Type != ebpf.XDP:
		return "", fmt.Errorf("program %q is of type %s, not XDP", name, p.Type)
	}
	return name, nil
}

// prune leaves the program, and those that maps hold at the start, for tail
// calls.
func prune(coll *ebpf.CollectionSpec, name string) {
	keep := map[string]bool{name: true}
	for _, m := range coll.Maps {
		for _, kv := range m.Contents {
			if s, ok := kv.Value.(string); ok {
				keep[s] = true
			}
		}
	}
	for n := range coll.Programs {
		if !keep[n] {
			delete(coll.Programs, n)
		}
	}
}
