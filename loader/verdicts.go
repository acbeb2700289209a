// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/xdpctl/xdpctl-nl/family"
)

// maxConstants is how many constants are kept of a register.
const maxConstants = 16

// values are what a register can hold: some constants, in ascending order, and
// anything else if any is true. The zero value is that of a register that holds
// nothing yet.
type values struct {
	list []uint64
	any  bool
}

func constant(n uint64) values { return values{list: []uint64{n}} }

// unknown is what is computed or read.
var unknown = values{any: true}

// has tells whether an action is among the values.
func (v values) has(a family.Action) bool {
	n := uint64(bits.TrailingZeros32(uint32(a)))
	return slices.ContainsFunc(v.list, func(x uint64) bool { return uint64(uint32(x)) == n })
}

// join is what is in v or in o. It forgets constants if there are too many.
func (v values) join(o values) values {
	out := values{list: slices.Clone(v.list), any: v.any || o.any}
	for _, n := range o.list {
		if i, found := slices.BinarySearch(out.list, n); !found {
			out.list = slices.Insert(out.list, i, n)
		}
	}
	if len(out.list) > maxConstants {
		return values{list: v.list, any: true}
	}
	return out
}

func (v values) equal(o values) bool {
	return v.any == o.any && slices.Equal(v.list, o.list)
}

// each applies f to all pairs of v and o.
func (v values) each(o values, f func(a, b uint64) uint64) values {
	out := values{any: v.any || o.any}
	for _, a := range v.list {
		for _, b := range o.list {
			out = out.join(constant(f(a, b)))
		}
	}
	return out
}

// registers are the values of R0 to R10.
type registers [11]values

// function is a function of a program while its verdicts are looked for.
type function struct {
	insns   asm.Instructions
	targets map[asm.RawInstructionOffset]int // index of an instruction by its offset
	labels  map[string]int                   // index of one by its symbol
	offsets []asm.RawInstructionOffset
	calls   func(name string) values // what another function returns
}

// verdictsOf returns what the first function of insns can return. It follows
// constants through registers along all jumps; what comes out of memory, of a
// helper or of a tail call is not known.
func verdictsOf(insns asm.Instructions) (values, error) {
	fns, first, err := split(insns)
	if err != nil {
		return values{}, err
	}
	results := map[string]values{}
	var call func(name string) values
	call = func(name string) values {
		f := fns[name]
		if f == nil {
			return unknown
		}
		if v, ok := results[name]; ok {
			return v
		}
		results[name] = unknown // for one that calls itself
		f.calls = call
		results[name] = f.run()
		return results[name]
	}
	return call(first), nil
}

// split cuts insns into functions: the first one, and those that are called or
// whose address is taken.
func split(insns asm.Instructions) (_ map[string]*function, first string, _ error) {
	starts := map[string]bool{}
	for _, name := range insns.FunctionReferences() {
		starts[name] = true
	}
	fns := map[string]*function{}
	var f *function
	for iter := insns.Iterate(); iter.Next(); {
		ins := iter.Ins
		if f == nil || starts[ins.Symbol()] {
			f = &function{targets: map[asm.RawInstructionOffset]int{}, labels: map[string]int{}}
			if fns[ins.Symbol()] != nil {
				return nil, "", fmt.Errorf("function %q is there twice", ins.Symbol())
			}
			if len(fns) == 0 {
				first = ins.Symbol()
			}
			fns[ins.Symbol()] = f
		}
		f.targets[iter.Offset] = len(f.insns)
		if s := ins.Symbol(); s != "" {
			f.labels[s] = len(f.insns)
		}
		f.insns = append(f.insns, *ins)
		f.offsets = append(f.offsets, iter.Offset)
	}
	if f == nil {
		return nil, "", fmt.Errorf("there are no instructions")
	}
	return fns, first, nil
}

// run returns what R0 can hold where the function ends.
func (f *function) run() values {
	at := make([]registers, len(f.insns))
	seen := make([]bool, len(f.insns))
	for r := asm.R1; r <= asm.R10; r++ {
		at[0][r] = unknown
	}
	seen[0] = true
	var result values
	for work := []int{0}; len(work) > 0; {
		i := work[0]
		work = work[1:]
		regs := at[i]
		result = result.join(f.step(i, &regs))
		for _, e := range f.edges(i, &regs) {
			if e.to < 0 || e.to >= len(f.insns) {
				result.any = true // it goes where nothing can be seen
				continue
			}
			if at[e.to].join(&e.regs) || !seen[e.to] {
				seen[e.to] = true
				work = append(work, e.to)
			}
		}
	}
	return result
}

// join adds what o can hold, and tells whether that is news.
func (r *registers) join(o *registers) bool {
	news := false
	for i := range r {
		if v := r[i].join(o[i]); !v.equal(r[i]) {
			r[i], news = v, true
		}
	}
	return news
}

// edge is a way from an instruction to another, which is -1 if it cannot be
// found.
type edge struct {
	to   int
	regs registers
}

// edges are the ways from the instruction at i, after which the registers are
// regs.
func (f *function) edges(i int, regs *registers) []edge {
	ins := &f.insns[i]
	switch op := ins.OpCode.JumpOp(); op {
	case asm.InvalidJumpOp, asm.Call:
		return []edge{{i + 1, *regs}}
	case asm.Exit:
		return nil
	case asm.Ja:
		return []edge{{f.target(i), *regs}}
	case asm.JEq, asm.JNE:
		if ins.OpCode.Source() == asm.ImmSource && int(ins.Dst) < len(regs) {
			same, other := edge{f.target(i), *regs}, edge{i + 1, *regs}
			if op == asm.JNE {
				same.to, other.to = other.to, same.to
			}
			return f.compared(ins, same, other)
		}
	}
	return []edge{{i + 1, *regs}, {f.target(i), *regs}}
}

// compared gives the register that ins compares with a number that number on
// the way for the same, and takes it away on the other. Compilers go on using
// such a register for the number.
func (f *function) compared(ins *asm.Instruction, same, other edge) []edge {
	reg, n := ins.Dst, uint64(ins.Constant)
	if ins.OpCode.Class() == asm.Jump32Class {
		n = uint64(uint32(n))
	}
	v := same.regs[reg]
	at, found := slices.BinarySearch(v.list, n)
	if found {
		other.regs[reg] = values{slices.Delete(slices.Clone(v.list), at, at+1), v.any}
	}
	if !found && !v.any {
		return []edge{other}
	}
	same.regs[reg] = constant(n)
	return []edge{same, other}
}

// target is where the jump at i leads.
func (f *function) target(i int) int {
	ins := &f.insns[i]
	if name := ins.Reference(); name != "" {
		if n, ok := f.labels[name]; ok {
			return n
		}
		return -1
	}
	off := int64(ins.Offset)
	if ins.OpCode.Class() == asm.Jump32Class && ins.OpCode.JumpOp() == asm.Ja {
		off = ins.Constant // gotol
	}
	if n, ok := f.targets[asm.RawInstructionOffset(int64(f.offsets[i])+1+off)]; ok {
		return n
	}
	return -1
}

// step does the instruction at i, and returns what the function returns there.
func (f *function) step(i int, regs *registers) values {
	ins := &f.insns[i]
	switch ins.OpCode.Class() {
	case asm.ALUClass, asm.ALU64Class:
		regs.set(ins.Dst, alu(ins, regs))
	case asm.LdClass:
		v := unknown
		if ins.IsConstantLoad(asm.DWord) && ins.Reference() == "" {
			v = constant(uint64(ins.Constant))
		}
		regs.set(ins.Dst, v)
		if !ins.OpCode.IsDWordLoad() {
			regs[asm.R0] = unknown // the old loads from packets
		}
	case asm.LdXClass:
		regs.set(ins.Dst, unknown)
	case asm.StXClass:
		if ins.OpCode.Mode() == asm.AtomicMode {
			regs.set(ins.Src, unknown) // it may fetch, and cmpxchg into R0
			regs[asm.R0] = unknown
		}
	case asm.JumpClass, asm.Jump32Class:
		return f.jump(ins, regs)
	}
	return values{}
}

func (r *registers) set(reg asm.Register, v values) {
	if int(reg) < len(r) {
		r[reg] = v
	}
}

// jump does calls and exits.
func (f *function) jump(ins *asm.Instruction, regs *registers) values {
	switch ins.OpCode.JumpOp() {
	case asm.Exit:
		return regs[asm.R0]
	case asm.Call:
		tail := ins.IsBuiltinCall() && asm.BuiltinFunc(ins.Constant) == asm.FnTailCall
		regs[asm.R0] = f.call(ins, regs)
		for r := asm.R1; r <= asm.R5; r++ {
			regs[r] = unknown
		}
		if tail {
			return unknown // the verdict of another program
		}
	}
	return values{}
}

// XDP actions that helpers return.
const (
	xdpAborted  = 0
	xdpTX       = 3
	xdpRedirect = 4
)

// call is what a call returns.
func (f *function) call(ins *asm.Instruction, regs *registers) values {
	if ins.IsFunctionCall() {
		return f.calls(ins.Reference())
	}
	if !ins.IsBuiltinCall() {
		return unknown
	}
	switch asm.BuiltinFunc(ins.Constant) {
	case asm.FnRedirect: // flags must be 0
		v := constant(xdpRedirect)
		if flags := regs[asm.R2]; !flags.equal(constant(0)) {
			v = v.join(constant(xdpAborted))
		}
		return v
	case asm.FnRedirectMap: // the flags have what to return where it fails
		failed := regs[asm.R3].each(constant(xdpTX), func(a, b uint64) uint64 { return a & b })
		return failed.join(constant(xdpRedirect))
	}
	return unknown
}

// alu is the result of an arithmetic instruction.
func alu(ins *asm.Instruction, regs *registers) values {
	wide := ins.OpCode.Class() == asm.ALU64Class
	src := constant(uint64(ins.Constant))
	if ins.OpCode.Source() == asm.RegSource {
		src = unknown
		if int(ins.Src) < len(regs) {
			src = regs[ins.Src]
		}
	}
	var dst values
	if int(ins.Dst) < len(regs) {
		dst = regs[ins.Dst]
	}
	op := aluOps[ins.OpCode.ALUOp()]
	switch {
	case op == nil:
		return unknown
	case ins.OpCode.ALUOp() == asm.Mov:
		dst = constant(0) // whatever it was
	case ins.OpCode.ALUOp() == asm.Neg:
		src = constant(0)
	}
	return dst.each(src, func(a, b uint64) uint64 {
		if wide {
			return op(a, b, 64)
		}
		return uint64(uint32(op(uint64(uint32(a)), uint64(uint32(b)), 32)))
	})
}

// aluOps are the operations that compilers make verdicts of constants with.
var aluOps = map[asm.ALUOp]func(a, b uint64, width uint) uint64{
	asm.Mov: func(_, b uint64, _ uint) uint64 { return b },
	asm.Add: func(a, b uint64, _ uint) uint64 { return a + b },
	asm.Sub: func(a, b uint64, _ uint) uint64 { return a - b },
	asm.And: func(a, b uint64, _ uint) uint64 { return a & b },
	asm.Or:  func(a, b uint64, _ uint) uint64 { return a | b },
	asm.Xor: func(a, b uint64, _ uint) uint64 { return a ^ b },
	asm.Neg: func(a, _ uint64, _ uint) uint64 { return -a },
	asm.LSh: func(a, b uint64, width uint) uint64 { return a << (b % uint64(width)) },
	asm.RSh: func(a, b uint64, width uint) uint64 { return a >> (b % uint64(width)) },
}
