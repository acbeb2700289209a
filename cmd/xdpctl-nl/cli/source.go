// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/loader"
)

// pinRoot is where the BPF file system is.
const pinRoot = loader.BPFFS

// source is where a program comes from; one of the first four is set.
type source struct {
	fd, id      *uint32
	pinned, obj string
	name        string // in obj
	change      objectChange

	spec *loader.Spec // of obj, once it is read
}

// open gives a file descriptor of a program that is loaded, and the function that
// closes what was opened for it.
func (s *source) open() (fd uint32, closer func(), err error) {
	if s.fd != nil {
		return *s.fd, func() {}, nil
	}
	var p *ebpf.Program
	if s.id != nil {
		if p, err = ebpf.NewProgramFromID(ebpf.ProgramID(*s.id)); err != nil {
			return 0, nil, fmt.Errorf("open program with id %d: %w", *s.id, err)
		}
	} else if p, err = ebpf.LoadPinnedProgram(s.pinned, nil); err != nil {
		return 0, nil, fmt.Errorf("open program pinned at %s: %w", s.pinned, err)
	}
	return uint32(p.FD()), func() { p.Close() }, nil
}

// object reads the object file.
func (s *source) object() (*loader.Spec, error) {
	if s.spec == nil {
		spec, err := loader.Open(s.obj)
		if err != nil {
			return nil, err
		}
		s.spec = spec
	}
	return s.spec, nil
}

// read reads the object file, and chooses the program.
func (s *source) read() (coll *ebpf.CollectionSpec, prog string, err error) {
	spec, err := s.object()
	if err != nil {
		return nil, "", err
	}
	prog, err = chooseIn(s.obj, spec, s.name, ebpf.XDP)
	return spec.Collection, prog, err
}

// chosen is read, with all of the object.
func (s *source) chosen() (*loader.Spec, string, error) {
	_, prog, err := s.read()
	return s.spec, prog, err
}

// chooseIn chooses a program, with an error that names the object file.
func chooseIn(path string, spec *loader.Spec, name string, typ ebpf.ProgramType) (string, error) {
	prog, err := spec.Choose(name, typ)
	if err != nil {
		return "", choice(fmt.Errorf("read object file %s: %w", path, err))
	}
	return prog, nil
}

// choice adds to the error for a program that is not there which are.
func choice(err error) error {
	var n *loader.NoProgram
	if !errors.As(err, &n) || len(n.Candidates) == 0 {
		return err
	}
	list := strings.Join(n.Candidates, ", ")
	if n.Name == "" {
		return &hinted{err, "Say which one with prog NAME: " + list}
	}
	return &hinted{err, fmt.Sprintf("The %s programs in it are: %s", n.Type, list)}
}

// bindFirst adds to the error for a port table that is not there how to come by
// one.
func bindFirst(spec *loader.Spec, err error) error {
	if errors.Is(err, os.ErrNotExist) && (spec.Collection.Maps[loader.PortMap] != nil || spec.Collection.Maps[loader.PortIndexMap] != nil) &&
		strings.Contains(err.Error(), "port maps") {
		return &hinted{err, "Bind a port first, with: xdpctl-nl port set PORT dev IF"}
	}
	return err
}

// load loads the program of the object file with what it needs.
func (a *app) load(ctx context.Context, s *source, o loader.LoadOptions) (*loader.Object, error) {
	spec, err := s.object()
	if err != nil {
		return nil, err
	}
	done, err := s.change.apply(spec, &o)
	if err != nil {
		return nil, fmt.Errorf("change %s: %w", s.obj, err)
	}
	defer done()
	obj, err := spec.Load(ctx, o)
	if err != nil {
		return nil, choice(bindFirst(spec, err))
	}
	return obj, nil
}

// tellRoute tells of an object that was loaded by the compatibility path.
func (a *app) tellRoute(obj *loader.Object) {
	if obj.Route == loader.RouteCompat {
		fmt.Fprintf(a.stderr, "Note: loaded by the compatibility path: %s\n", obj.Why)
	}
}

// finish closes what was loaded, and tells what does not outlive it.
func (a *app) finish(obj *loader.Object) error {
	for _, name := range obj.Fleeting() {
		fmt.Fprintf(a.stderr, "Warning: map %s is not pinned; the kernel empties a program array that nobody has open.\n", name)
	}
	return obj.Close()
}
