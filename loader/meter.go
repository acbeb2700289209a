// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// MeterMap is the name of the map of a program that [AddMeter] has given a meter.
const MeterMap = "xdpctl_meter"

// MeterKey is the key of [MeterMap]. Frames of a netdev are counted if there are
// entries for it: one for each RX queue, and one more for all others.
type MeterKey struct {
	Ifindex uint32
	Queue   uint32 // or MeterOther
}

// MeterOther stands in a MeterKey for the RX queues that have no entry.
const MeterOther = ^uint32(0)

// MeterVerdicts is the value of [MeterMap] on each processor: how often a program
// has returned what.
type MeterVerdicts struct {
	Aborted, Drop, Pass, TX, Redirect uint64 // by number, XDP_ABORTED first
	Invalid                           uint64 // anything else
}

// meterEntries is how many queues of all netdevs that share a program can be
// counted. Entries cost memory only when they are made.
const meterEntries = 16384

// MeterMapSpec describes the map.
func MeterMapSpec() *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name: MeterMap, Type: ebpf.PerCPUHash, KeySize: 8, ValueSize: 48,
		MaxEntries: meterEntries, Flags: bpfNoPrealloc,
		Key:   MeterKeyType(),
		Value: MeterVerdictsType(),
	}
}

const bpfNoPrealloc = 1

// MeterKeyType is the BTF of a MeterKey.
func MeterKeyType() *btf.Struct {
	u32 := &btf.Int{Name: "unsigned int", Size: 4, Encoding: btf.Unsigned}
	return &btf.Struct{Name: "xdpctl_meter_key", Size: 8, Members: []btf.Member{
		{Name: "ifindex", Type: u32}, {Name: "queue", Type: u32, Offset: 32},
	}}
}

// MeterVerdictsType is the BTF of a MeterVerdicts.
func MeterVerdictsType() *btf.Struct {
	u64 := &btf.Int{Name: "unsigned long long", Size: 8, Encoding: btf.Unsigned}
	s := &btf.Struct{Name: "xdpctl_meter_verdicts", Size: 48}
	for i, name := range []string{"aborted", "drop", "pass", "tx", "redirect", "invalid"} {
		s.Members = append(s.Members, btf.Member{Name: name, Type: u64, Offset: btf.Bits(64 * i)})
	}
	return s
}

// meterFunc is the name of the function that counts.
const meterFunc = "xdpctl_metered"

// AddMeter makes the program of a name, in spec, one that counts its own
// verdicts, for kernels that let no other program do so: it becomes a function of
// a new main one, which counts what it returns. That takes a call, and a lookup
// for each frame; nothing is counted until the meter of a netdev is turned on
// (setup-meter).
//
// What the program calls and where it goes by tail call is counted as well; that
// must have no meter of its own. A program that uses nearly all of the stack does
// not load any more.
//
// Returns an error matching [os.ErrNotExist] if spec has no such program, or
// [os.ErrExist] if it has a meter already.
func AddMeter(spec *ebpf.CollectionSpec, name string) error {
	prog := spec.Programs[name]
	if prog == nil {
		return fmt.Errorf("add meter to %s: %w", name, os.ErrNotExist)
	}
	if err := addMeter(prog); err != nil {
		return fmt.Errorf("add meter to %s: %w", name, err)
	}
	if spec.Maps == nil {
		spec.Maps = map[string]*ebpf.MapSpec{}
	}
	if spec.Maps[MeterMap] == nil {
		spec.Maps[MeterMap] = MeterMapSpec()
	}
	return nil
}

func addMeter(prog *ebpf.ProgramSpec) error {
	if prog.Type != ebpf.XDP {
		return fmt.Errorf("it is no XDP program but %s", prog.Type)
	}
	if len(prog.Instructions) == 0 {
		return errors.New("there are no instructions")
	}
	insns := slices.Clone(prog.Instructions)
	inner := insns[0].Symbol()
	switch inner {
	case meterFunc:
		return fmt.Errorf("it has one: %w", os.ErrExist)
	case "":
		inner = "xdpctl_inner"
		insns[0] = insns[0].WithSymbol(inner)
	}
	fn := describe(insns)
	outer := meterInstructions(inner)
	outer[0] = btf.WithFuncMetadata(outer[0].WithSymbol(meterFunc), &btf.Func{
		Name: meterFunc, Type: fn.Type, Linkage: btf.GlobalFunc,
	})
	if line := insns[0].Source(); line != nil {
		outer[0] = outer[0].WithSource(line)
	}
	prog.Instructions = append(outer, insns...)
	return nil
}

// describe sees to it that each function of insns has func info, as the kernel
// wants all or none, and returns that of the first. That one becomes static: so
// it is verified where it is called, as it would be by itself, and what it
// returns is known.
func describe(insns asm.Instructions) *btf.Func {
	functions := map[string]bool{insns[0].Symbol(): true}
	for _, name := range insns.FunctionReferences() {
		functions[name] = true
	}
	integer := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	for i := range insns {
		name := insns[i].Symbol()
		if name == "" || !functions[name] || i > 0 && btf.FuncMetadata(&insns[i]) != nil {
			continue
		}
		fn := btf.FuncMetadata(&insns[i])
		if fn == nil {
			// For a static function it need not be true.
			fn = &btf.Func{Name: name, Type: &btf.FuncProto{Return: integer}}
		}
		if i == 0 {
			typ, ok := fn.Type.(*btf.FuncProto)
			if !ok || len(typ.Params) != 1 {
				ctx := &btf.Pointer{Target: &btf.Struct{Name: "xdp_md", Size: 24}}
				typ = &btf.FuncProto{Return: integer, Params: []btf.FuncParam{{Name: "ctx", Type: ctx}}}
			}
			fn = &btf.Func{Name: fn.Name, Type: typ, Linkage: btf.StaticFunc, Tags: fn.Tags, ParamTags: fn.ParamTags}
		}
		insns[i] = btf.WithFuncMetadata(insns[i], fn)
	}
	return btf.FuncMetadata(&insns[0])
}

// Members of struct xdp_md.
const (
	mdIngressIfindex = 12
	mdRXQueueIndex   = 16
)

// meterInstructions are those of the function that calls inner and counts what
// that returns.
func meterInstructions(inner string) asm.Instructions {
	const key = -8
	insns := append(MeterBegin(key), callTo(inner))
	return append(append(insns, MeterEnd(key)...), asm.Return())
}

// MeterBegin is what a program of XDP begins with that counts what it returns
// itself: it takes down, on the stack, where a frame came in. R1 is the context,
// and stays; R2 is used.
func MeterBegin(key int16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, mdIngressIfindex, asm.Word),
		asm.StoreMem(asm.RFP, key, asm.R2, asm.Word),
		asm.LoadMem(asm.R2, asm.R1, mdRXQueueIndex, asm.Word),
		asm.StoreMem(asm.RFP, key+4, asm.R2, asm.Word),
	}
}

// MeterEnd counts the verdict in R0, which stays, for who has begun with
// [MeterBegin]. It uses R1 to R7.
func MeterEnd(key int16) asm.Instructions {
	lookup := asm.Instructions{
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, int32(key)),
		asm.LoadMapPtr(asm.R1, 0).WithReference(MeterMap),
		asm.FnMapLookupElem.Call(),
	}
	insns := append(asm.Instructions{asm.Mov.Reg(asm.R7, asm.R0)}, lookup...)
	insns = append(insns, asm.JNE.Imm(asm.R0, 0, "xdpctl_count"),
		asm.StoreImm(asm.RFP, key+4, -1, asm.Word))
	insns = append(insns, lookup...)
	return append(insns,
		asm.JEq.Imm(asm.R0, 0, "xdpctl_out"),
		asm.Mov.Reg32(asm.R1, asm.R7).WithSymbol("xdpctl_count"),
		asm.JLE.Imm(asm.R1, xdpRedirect, "xdpctl_valid"),
		asm.Mov.Imm(asm.R1, xdpRedirect+1),
		asm.LSh.Imm(asm.R1, 3).WithSymbol("xdpctl_valid"),
		asm.Add.Reg(asm.R0, asm.R1),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
		asm.Add.Imm(asm.R1, 1),
		asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R0, asm.R7).WithSymbol("xdpctl_out"),
	)
}

// callTo calls a function of the program.
func callTo(name string) asm.Instruction {
	ins := asm.Instruction{
		OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call),
		Src:    asm.PseudoCall, Constant: -1,
	}
	return ins.WithReference(name)
}
