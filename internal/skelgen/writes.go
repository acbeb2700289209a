// SPDX-License-Identifier: BSD-3-Clause

package skelgen

import (
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// place is a variable of a section.
type place struct {
	section string
	begin   uint32
}

// extent are the variables of a section, by their place.
type extent struct{ begin, end uint32 }

// written returns the variables that programs may write: those whose address
// goes into a store, an atomic operation, a call, or memory. What is only read
// from is not among them.
func written(spec *ebpf.CollectionSpec, vars map[string][]extent) map[place]bool {
	w := make(map[place]bool)
	for _, p := range spec.Programs {
		newFlow(p.Instructions, vars, w).run()
	}
	return w
}

// flow follows addresses of variables through the registers of a program.
type flow struct {
	insns  asm.Instructions
	at     map[asm.RawInstructionOffset]int
	raw    []asm.RawInstructionOffset
	vars   map[string][]extent
	places []place
	index  map[place]int
	out    map[place]bool

	in   []registers
	seen []bool
	todo []int
}

// registers are the variables whose address may be in each register that an
// instruction can name, by index into places.
type registers [16][]int

func newFlow(insns asm.Instructions, vars map[string][]extent, out map[place]bool) *flow {
	f := &flow{
		insns: insns, vars: vars, out: out,
		at: make(map[asm.RawInstructionOffset]int), raw: make([]asm.RawInstructionOffset, len(insns)),
		index: make(map[place]int), in: make([]registers, len(insns)), seen: make([]bool, len(insns)),
	}
	for it := insns.Iterate(); it.Next(); {
		f.at[it.Offset] = it.Index
		f.raw[it.Index] = it.Offset
		if it.Index == 0 || it.Ins.Symbol() != "" {
			f.todo = append(f.todo, it.Index)
			f.seen[it.Index] = true
		}
	}
	return f
}

func (f *flow) run() {
	for len(f.todo) > 0 {
		i := f.todo[len(f.todo)-1]
		f.todo = f.todo[:len(f.todo)-1]
		f.step(i)
	}
}

// step follows one instruction.
func (f *flow) step(i int) {
	ins, regs := f.insns[i], f.in[i]
	op := ins.OpCode
	switch class := op.Class(); {
	case ins.IsLoadFromMap():
		regs[ins.Dst] = f.variables(ins)
	case class.IsLoad():
		if int(ins.Dst) < len(regs) {
			regs[ins.Dst] = nil
		}
	case class.IsStore():
		f.mark(regs[ins.Dst])
		if class == asm.StXClass {
			f.mark(regs[ins.Src])
		}
		if op.Mode() == asm.AtomicMode {
			regs[ins.Src], regs[asm.R0] = nil, nil
		}
	case class.IsALU():
		f.alu(ins, &regs)
	case class.IsJump():
		f.jump(i, ins, &regs)
		return
	}
	f.to(i+1, regs)
}

func (f *flow) alu(ins asm.Instruction, regs *registers) {
	fromReg := ins.OpCode.Source() == asm.RegSource
	switch op := ins.OpCode.ALUOp(); {
	case op == asm.Mov && fromReg:
		regs[ins.Dst] = regs[ins.Src]
	case op == asm.Mov:
		regs[ins.Dst] = nil
	case fromReg && op != asm.Swap:
		regs[ins.Dst] = union(regs[ins.Dst], regs[ins.Src])
	}
}

func (f *flow) jump(i int, ins asm.Instruction, regs *registers) {
	switch op := ins.OpCode.JumpOp(); op {
	case asm.Exit:
		f.mark(regs[asm.R0])
		return
	case asm.Call:
		for r := asm.R1; r <= asm.R5; r++ {
			f.mark(regs[r])
		}
		for r := asm.R0; r <= asm.R5; r++ {
			regs[r] = nil
		}
		f.to(i+1, *regs)
		return
	default:
		off := int64(ins.Offset)
		if op == asm.Ja && ins.OpCode.Class() == asm.Jump32Class {
			off = ins.Constant
		}
		target, ok := f.at[asm.RawInstructionOffset(int64(f.raw[i])+off+1)]
		if ok {
			f.to(target, *regs)
		}
		if op != asm.Ja {
			f.to(i+1, *regs)
		}
	}
}

// to goes on at an instruction.
func (f *flow) to(i int, regs registers) {
	if i >= len(f.insns) {
		return
	}
	changed := !f.seen[i]
	for r := range regs {
		if u := union(f.in[i][r], regs[r]); len(u) != len(f.in[i][r]) {
			f.in[i][r], changed = u, true
		}
	}
	if changed {
		f.seen[i] = true
		f.todo = append(f.todo, i)
	}
}

// variables are those that a load of an address means: one, or all of the
// section if it is none.
func (f *flow) variables(ins asm.Instruction) []int {
	section := ins.Reference()
	off := uint32(uint64(ins.Constant) >> 32)
	var all []int
	for _, e := range f.vars[section] {
		p := place{section, e.begin}
		if off >= e.begin && off < e.end {
			return []int{f.number(p)}
		}
		all = append(all, f.number(p))
	}
	slices.Sort(all)
	return all
}

func (f *flow) number(p place) int {
	if n, ok := f.index[p]; ok {
		return n
	}
	f.index[p] = len(f.places)
	f.places = append(f.places, p)
	return f.index[p]
}

func (f *flow) mark(vars []int) {
	for _, n := range vars {
		f.out[f.places[n]] = true
	}
}

// union of sorted sets.
func union(a, b []int) []int {
	if len(b) == 0 {
		return a
	}
	if len(a) == 0 {
		return b
	}
	u := append(slices.Clone(a), b...)
	slices.Sort(u)
	return slices.Compact(u)
}
