// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf/link"
)

type pinned interface {
	Pin(path string) error
	Unpin() error
}

// unpinner is something that was pinned.
type unpinner struct{ pinned }

func (u unpinner) Close() error {
	if err := u.Unpin(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Pin pins the maps, the programs and the links that there are below a
// directory of a BPF file system, which is made if need be. Each has the name
// that it has in the object, links with "_link" after it. What the object wants
// pinned by name is left where it is, and so are sections of variables.
//
// Close removes the pins. With an error, nothing is left pinned. Returns an error
// matching [os.ErrExist] if it is pinned already.
func (o *Object) Pin(dir string) error {
	if o.state != loaded {
		return fmt.Errorf("pin %s: %w", o.name, ErrNotLoaded)
	}
	if o.pinned {
		return fmt.Errorf("pin %s: already pinned: %w", o.name, os.ErrExist)
	}
	n := len(o.undo)
	if err := o.pin(dir); err != nil {
		return errors.Join(fmt.Errorf("pin %s: %w", o.name, err), o.undoTo(n))
	}
	o.pinned = true
	return nil
}

func (o *Object) pin(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		o.own(detacher(func() error { return os.Remove(dir) }))
	}
	put := func(name string, p pinned) error {
		if err := p.Pin(filepath.Join(dir, name)); err != nil {
			return err
		}
		o.own(unpinner{p})
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(o.Collection.Maps)) {
		if IsSection(name) || o.Spec.Maps[name].Pinning != 0 {
			continue
		}
		if err := put(name, o.Collection.Maps[name]); err != nil {
			return err
		}
	}
	for _, p := range o.programs {
		if p.Prog == nil {
			continue
		}
		if err := put(p.name, p.Prog); err != nil {
			return err
		}
		if l := p.plainLink(); l != nil {
			if err := put(p.name+"_link", l); err != nil {
				return err
			}
		}
	}
	return nil
}

// plainLink is the BPF link in the field of Links, if there is one.
func (p *Program) plainLink() link.Link {
	switch {
	case p.xdp != nil && *p.xdp.at != nil:
		return (*p.xdp.at).Link
	case p.link != nil:
		return *p.link
	}
	return nil
}
