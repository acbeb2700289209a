// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/family"
)

// booksName is the pin, in the directory of a netdev, of what the kernel does not
// remember of the programs that were asked for.
const booksName = "books"

// bookKey says what is written of which program, and for which RX queue. What is
// written before a change, and what of the program before is still there after
// one, says nothing: what counts is the entry of the program that is there.
type bookKey struct {
	ProgID uint32
	Queue  uint32
}

// required is what a program needs of its netdev.
type required struct {
	Present    uint64 // bits of family.Prog.Present, of those below
	Features   uint64
	RXMetadata uint64
	Actions    uint64
}

// books is the open map.
type books struct{ m *ebpf.Map }

// openBooks opens the books of a netdev; they are empty if there are none.
func openBooks(dir string) (books, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, booksName), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return books{}, nil
	}
	return books{m}, err
}

// makeBooks opens the books of a netdev that was made with n RX queues, or makes
// them.
func makeBooks(dir string, n uint32) (books, error) {
	b, err := openBooks(dir)
	if err != nil || b.m != nil {
		return b, err
	}
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "xdpctl_books", Type: ebpf.Hash, KeySize: 8, ValueSize: 32,
		// those that are there, those that take their places, and one more
		MaxEntries: 2*n + 3,
		Flags:      bpfFNoPrealloc,
	})
	if err != nil {
		return books{}, err
	}
	if err := m.Pin(filepath.Join(dir, booksName)); err != nil {
		return books{}, errors.Join(err, m.Close())
	}
	step("pin books")
	return books{m}, nil
}

const bpfFNoPrealloc = 1

func (b books) close() error {
	if b.m == nil {
		return nil
	}
	return b.m.Close()
}

// get reads what is written of a program.
func (b books) get(prog, queue uint32) (r required, is bool, err error) {
	if b.m == nil {
		return r, false, nil
	}
	err = b.m.Lookup(bookKey{prog, queue}, &r)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return r, false, nil
	}
	return r, err == nil, err
}

func (b books) put(prog, queue uint32, r *required) error {
	if err := b.m.Put(bookKey{prog, queue}, r); err != nil {
		return err
	}
	step("write books")
	return nil
}

func (b books) del(prog, queue uint32) error {
	err := b.m.Delete(bookKey{prog, queue})
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	step("strike from books")
	return nil
}

// keep strikes out all that keep does not want.
func (b books) keep(keep func(bookKey) bool) error {
	if b.m == nil {
		return nil
	}
	var k bookKey
	var r required
	var out []bookKey
	entries := b.m.Iterate()
	for entries.Next(&k, &r) {
		if !keep(k) {
			out = append(out, k)
		}
	}
	if err := entries.Err(); err != nil {
		return err
	}
	for _, k := range out {
		if err := b.del(k.ProgID, k.Queue); err != nil {
			return err
		}
	}
	return nil
}

// requiredOf is what an update says that its program needs.
func requiredOf(v *family.Prog) (r required) {
	if v.Has(family.AttrProgRequiredFeatures) {
		r.Present |= 1 << family.AttrProgRequiredFeatures
		r.Features = uint64(v.RequiredFeatures)
	}
	if v.Has(family.AttrProgRequiredRXMetadataFeatures) {
		r.Present |= 1 << family.AttrProgRequiredRXMetadataFeatures
		r.RXMetadata = uint64(v.RequiredRXMetadataFeatures)
	}
	if v.Has(family.AttrProgRequiredActions) {
		r.Present |= 1 << family.AttrProgRequiredActions
		r.Actions = uint64(v.RequiredActions)
	}
	return r
}

// fill says of a program what it needs.
func (r *required) fill(v *family.Prog) {
	has := func(attr uint16) bool { return r.Present&(1<<attr) != 0 }
	if has(family.AttrProgRequiredFeatures) {
		v.SetRequiredFeatures(family.XDPAct(r.Features))
	}
	if has(family.AttrProgRequiredRXMetadataFeatures) {
		v.SetRequiredRXMetadataFeatures(family.XDPRXMetadata(r.RXMetadata))
	}
	if has(family.AttrProgRequiredActions) {
		v.SetRequiredActions(family.Action(r.Actions))
	}
}
