// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

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

// books is the open map; none if it is 0.
type books int

// openBooks opens the books of a netdev; there are none if nothing was written.
func openBooks(dir string) (books, error) {
	fd, err := objGet(filepath.Join(dir, booksName))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return books(fd), nil
}

// makeBooks opens the books of a netdev that was made with n RX queues, or makes
// them.
func makeBooks(dir string, n uint32) (books, error) {
	b, err := openBooks(dir)
	if err != nil || b != 0 {
		return b, err
	}
	m, err := ebpf.NewMap(booksSpec(n))
	if err != nil {
		return 0, err
	}
	defer m.Close()
	if err := m.Pin(filepath.Join(dir, booksName)); err != nil {
		return 0, err
	}
	step("pin books")
	return openBooks(dir)
}

const bpfFNoPrealloc = 1

// booksSpec is the map for a netdev that was made with n RX queues.
func booksSpec(n uint32) *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name: "xdpctl_books", Type: ebpf.Hash, KeySize: 8, ValueSize: 32,
		// those that are there, those that take their places, and one more
		MaxEntries: 2*n + 3,
		Flags:      bpfFNoPrealloc,
		Key:        btfStruct("xdpctl_books_key", btfMember("prog_id", btfU32), btfMember("queue", btfU32)),
		Value: btfStruct("xdpctl_books",
			btfMember("present", btfU64),
			btfMember("required_features", btfU64),
			btfMember("required_rx_metadata_features", btfU64),
			btfMember("required_actions", btfU64)),
	}
}

// Close closes the map.
func (b books) Close() error {
	if b == 0 {
		return nil
	}
	return unix.Close(int(b))
}

// get reads what is written of a program.
func (b books) get(prog, queue uint32) (r required, is bool, err error) {
	if b == 0 {
		return r, false, nil
	}
	is, err = mapGet(int(b), bookKey{prog, queue}, &r)
	return r, is, err
}

func (b books) put(prog, queue uint32, r *required) error {
	err := mapPut(int(b), bookKey{prog, queue}, *r)
	step("write books")
	return err
}

// keep strikes out all that keep does not want.
func (b books) keep(keep func(bookKey) bool) error {
	if b == 0 {
		return nil
	}
	keys, err := mapKeys[bookKey](int(b))
	if err != nil {
		return err
	}
	for _, k := range keys {
		if keep(k) {
			continue
		}
		if err := mapDelete(int(b), k); err != nil {
			return err
		}
		step("strike from books")
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
