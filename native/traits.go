// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
)

// progTraits is what decides what a program can be put beside. Nobody but a
// program can read it.
type progTraits struct {
	id       uint32
	attach   uint32 // expected_attach_type
	hasFrags bool
	isJited  bool
	isBound  bool // to a device
}

// traitsSize is the length of a record of what the program below writes: id,
// expected_attach_type, has_frags, jited, dev_bound, and padding.
const traitsSize = 12

// traitsPin is its pin, in the directory of what the machine has once.
const traitsPin = "progs"

// traitsOf reads the traits of programs. Where the kernel has no BTF there are
// none to be had, and those that are missing are told as such.
func (c *Control) traitsOf(ids ...uint32) (map[uint32]progTraits, error) {
	it, err := c.traitsIter()
	if err != nil {
		return nil, fmt.Errorf("read traits of programs: %w", err)
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return nil, fmt.Errorf("read traits of programs: %w", err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read traits of programs: %w", err)
	}
	traits := make(map[uint32]progTraits)
	for ; len(b) >= traitsSize; b = b[traitsSize:] {
		id := binary.NativeEndian.Uint32(b)
		for _, want := range ids {
			if id == want {
				traits[id] = progTraits{id, binary.NativeEndian.Uint32(b[4:]), b[8] != 0, b[9] != 0, b[10] != 0}
			}
		}
	}
	return traits, nil
}

// traitsIter opens the iterator over all programs, or makes it.
func (c *Control) traitsIter() (*link.Iter, error) {
	path := filepath.Join(c.state.root, traceName, traitsPin)
	if it, err := openIter(path); !errors.Is(err, fs.ErrNotExist) {
		return it, err
	}
	prog, err := loadTraits()
	if err != nil {
		return nil, err
	}
	defer prog.Close()
	it, err := link.AttachIter(link.IterOptions{Program: prog})
	if err != nil {
		return nil, err
	}
	if err := mkdir(filepath.Dir(path)); err != nil {
		return nil, errors.Join(err, it.Close())
	}
	if err := it.Pin(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, errors.Join(err, it.Close())
	}
	step("pin traits")
	return it, nil
}

func openIter(path string) (*link.Iter, error) {
	l, err := link.LoadPinnedLink(path, nil)
	if err != nil {
		return nil, err
	}
	it, ok := l.(*link.Iter)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("%s is no iterator", path)
	}
	return it, nil
}

// loadTraits loads the program that writes the traits of a program. It finds the
// members of the kernel's structs by the kernel's BTF.
func loadTraits() (*ebpf.Program, error) {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, err
	}
	var prog, aux *btf.Struct
	if err := errors.Join(kernel.TypeByName("bpf_prog", &prog), kernel.TypeByName("bpf_prog_aux", &aux)); err != nil {
		return nil, err
	}
	insns := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 0, asm.DWord), // struct bpf_iter_meta *
		asm.LoadMem(asm.R7, asm.R1, 8, asm.DWord), // struct bpf_prog *
		asm.JEq.Imm(asm.R7, 0, "out"),
		asm.Mov.Imm(asm.R1, 0),
		asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
	}
	for _, f := range []struct {
		base  asm.Register
		from  *btf.Struct
		name  string
		size  asm.Size
		to    int16
		may   bool // be missing
		isPtr bool
	}{
		{base: asm.R7, from: prog, name: "expected_attach_type", size: asm.Word, to: -12},
		{base: asm.R7, from: prog, name: "jited", size: asm.Byte, to: -7},
		{base: asm.R7, from: prog, name: "aux", isPtr: true},
		{base: asm.R8, from: aux, name: "id", size: asm.Word, to: -16},
		{base: asm.R8, from: aux, name: "xdp_has_frags", size: asm.Byte, to: -8},
		{base: asm.R8, from: aux, name: "dev_bound", size: asm.Byte, to: -6, may: true},
	} {
		m := memberOf(f.from, f.name)
		switch {
		case m == nil && f.may: // no program is bound to a device before 6.3
			continue
		case m == nil:
			return nil, fmt.Errorf("struct %s has no %s", f.from.Name, f.name)
		case f.isPtr:
			insns = append(insns, asm.LoadMem(asm.R8, f.base, int16(m.Offset.Bytes()), asm.DWord))
			continue
		}
		insns = append(insns, asm.LoadMem(asm.R1, f.base, int16(m.Offset/8), f.size))
		if m.BitfieldSize > 0 {
			insns = append(insns, asm.RSh.Imm(asm.R1, int32(m.Offset%8)), asm.And.Imm(asm.R1, 1<<m.BitfieldSize-1))
		}
		insns = append(insns, asm.StoreMem(asm.RFP, f.to, asm.R1, f.size))
	}
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "xdpctl_progs", Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter, AttachTo: "bpf_prog", License: "GPL",
		Instructions: append(insns,
			asm.LoadMem(asm.R1, asm.R6, 0, asm.DWord), // struct seq_file *
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -16),
			asm.Mov.Imm(asm.R3, traitsSize),
			asm.FnSeqWrite.Call(),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
			asm.Return()),
	})
}

// memberOf finds a member of a struct, also in an anonymous struct or union.
func memberOf(s *btf.Struct, name string) *btf.Member {
	for i := range s.Members {
		if s.Members[i].Name == name {
			return &s.Members[i]
		}
	}
	return nil
}
