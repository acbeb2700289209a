// SPDX-License-Identifier: BSD-3-Clause

package skelgen

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
)

// address loads the address of what is at off of .bss.
func address(r asm.Register, off uint32) asm.Instruction {
	ins := asm.LoadMapValue(r, 0, off).WithReference(".bss")
	ins.Constant = int64(uint64(off) << 32)
	return ins
}

func TestWritten(t *testing.T) {
	const a, b = 0, 8
	exit := asm.Return()
	for _, tt := range []struct {
		name  string
		insns asm.Instructions
		want  []uint32
	}{
		{"nothing", asm.Instructions{exit}, nil},
		{"a load", asm.Instructions{address(asm.R1, a), asm.LoadMem(asm.R0, asm.R1, 0, asm.Word), exit}, nil},
		{"a store", asm.Instructions{address(asm.R1, a), asm.StoreMem(asm.R1, 0, asm.R0, asm.Word), exit}, []uint32{a}},
		{"an immediate", asm.Instructions{address(asm.R1, b), asm.StoreImm(asm.R1, 0, 1, asm.Word), exit}, []uint32{b}},
		{"inside of one", asm.Instructions{address(asm.R1, b+4), asm.StoreImm(asm.R1, 0, 1, asm.Word), exit}, []uint32{b}},
		{"outside of any", asm.Instructions{address(asm.R1, 100), asm.StoreImm(asm.R1, 0, 1, asm.Word), exit}, []uint32{a, b}},
		{"an atomic addition", asm.Instructions{address(asm.R1, a), asm.StoreXAdd(asm.R1, asm.R2, asm.DWord), exit}, []uint32{a}},
		{"a copy of the address", asm.Instructions{
			address(asm.R1, a), asm.Mov.Reg(asm.R6, asm.R1), asm.Mov.Imm(asm.R1, 0),
			asm.StoreImm(asm.R6, 0, 1, asm.Word), exit}, []uint32{a}},
		{"an address with something added", asm.Instructions{
			address(asm.R1, a), asm.Add.Reg(asm.R2, asm.R1), asm.StoreImm(asm.R2, 0, 1, asm.Word), exit}, []uint32{a}},
		{"a register with another value", asm.Instructions{
			address(asm.R1, a), asm.Mov.Imm(asm.R1, 0), asm.StoreImm(asm.R1, 0, 1, asm.Word), exit}, nil},
		{"what was loaded", asm.Instructions{
			address(asm.R1, a), asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord), asm.StoreImm(asm.R1, 0, 1, asm.Word), exit}, nil},
		{"an argument", asm.Instructions{address(asm.R3, b), asm.FnMapLookupElem.Call(), exit}, []uint32{b}},
		{"kept in memory", asm.Instructions{address(asm.R1, b), asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord), exit}, []uint32{b}},
		{"returned", asm.Instructions{address(asm.R0, a), exit}, []uint32{a}},
		{"gone after a call", asm.Instructions{
			address(asm.R6, a), address(asm.R7, b), asm.FnGetPrandomU32.Call(),
			asm.StoreImm(asm.R0, 0, 1, asm.Word), asm.LoadMem(asm.R0, asm.R6, 0, asm.Word), exit}, nil},
		{"one of two, by a jump", asm.Instructions{
			address(asm.R1, a), asm.Instruction{OpCode: asm.JEq.Op(asm.ImmSource), Dst: asm.R2, Offset: 2},
			address(asm.R1, b), asm.StoreImm(asm.R1, 0, 1, asm.Word), exit}, []uint32{a, b}},
		{"around a loop", asm.Instructions{
			address(asm.R1, a), asm.StoreImm(asm.R2, 0, 1, asm.Word), asm.Mov.Reg(asm.R2, asm.R1),
			asm.Instruction{OpCode: asm.JEq.Op(asm.ImmSource), Dst: asm.R3, Offset: -3}, exit}, []uint32{a}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.insns[0] = tt.insns[0].WithSymbol("f")
			spec := &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{"f": {Instructions: tt.insns}}}
			got := written(spec, map[string][]extent{".bss": {{a, 8}, {b, 16}}})
			want := map[place]bool{}
			for _, off := range tt.want {
				want[place{".bss", off}] = true
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(place{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
