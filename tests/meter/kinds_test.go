// SPDX-License-Identifier: BSD-3-Clause

package meter

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// tailCall makes a program that jumps into one that judges.
func tailCall(b *bed) *prog {
	judge := newProg(b.T, nil)
	table, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "table", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1,
	})
	b.must(err)
	b.Cleanup(func() { table.Close() })
	b.must(table.Put(uint32(0), judge.Program))
	p := newProg(b.T, func(spec *ebpf.ProgramSpec, seen *ebpf.Map) {
		spec.Instructions = asm.Instructions{
			btf.WithFuncMetadata(asm.LoadMapPtr(asm.R2, table.FD()).WithSymbol("judge"),
				xdpMain(xdpMD, btf.GlobalFunc)),
			asm.Mov.Imm(asm.R3, 0),
			asm.FnTailCall.Call(),
			asm.Mov.Imm(asm.R0, int32(aborted)),
			asm.Return(),
		}
	})
	return &prog{p.Program, judge.seen}
}

// withArg makes a program whose main function is declared otherwise.
func withArg(arg btf.Type, linkage btf.FuncLinkage) func(b *bed) *prog {
	return func(b *bed) *prog {
		return newProg(b.T, func(spec *ebpf.ProgramSpec, seen *ebpf.Map) {
			spec.Instructions = judge(seen, xdpMain(arg, linkage), asm.Return())
		})
	}
}

// withFlags makes a program with flags of BPF_PROG_LOAD.
func withFlags(typ ebpf.AttachType, flags uint32) func(b *bed) *prog {
	return func(b *bed) *prog {
		return newProg(b.T, func(spec *ebpf.ProgramSpec, _ *ebpf.Map) { spec.AttachType, spec.Flags = typ, flags })
	}
}

// bound makes a program that is bound to rx, as those with metadata kfuncs are.
func bound(b *bed) *prog {
	var p *prog
	b.right.Do(func() {
		p = newProg(b.T, func(spec *ebpf.ProgramSpec, _ *ebpf.Map) { spec.Flags, spec.Ifindex = devBound, b.rx })
	})
	return p
}

// verdictOf is a global function int(struct xdp_md *, int) that returns its
// second argument.
func verdictOf() asm.Instructions {
	integer := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	return asm.Instructions{
		btf.WithFuncMetadata(asm.Mov.Reg(asm.R0, asm.R2).WithSymbol("verdict_of"), &btf.Func{
			Name: "verdict_of", Linkage: btf.GlobalFunc,
			Type: &btf.FuncProto{Return: integer, Params: []btf.FuncParam{
				{Name: "ctx", Type: xdpMD}, {Name: "verdict", Type: integer},
			}},
		}),
		asm.Return(),
	}
}

// calls makes a program whose verdict comes out of a function.
func calls(b *bed) *prog {
	return newProg(b.T, func(spec *ebpf.ProgramSpec, seen *ebpf.Map) {
		spec.Instructions = append(judge(seen, xdpMain(xdpMD, btf.GlobalFunc),
			asm.Mov.Reg(asm.R2, asm.R0), asm.Mov.Reg(asm.R1, asm.R6), asm.Call.Label("verdict_of"), asm.Return(),
		), verdictOf()...)
	})
}

// replaced makes one whose function is replaced by a program of type ext, as the
// dispatcher of libxdp has them.
func replaced(b *bed) *prog {
	p := calls(b)
	ins := verdictOf()
	ext, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "verdict_of", Type: ebpf.Extension, AttachTarget: p.Program, AttachTo: "verdict_of",
		License: "GPL", Instructions: ins,
	})
	b.must(err)
	b.Cleanup(func() { ext.Close() })
	l, err := link.AttachFreplace(nil, "", ext)
	b.must(err)
	b.Cleanup(func() { l.Close() })
	return p
}

// programs is the kinds of programs that the meter counts.
var programs = []struct {
	name string
	make func(b *bed) *prog
	from int // minor version of Linux 6
}{
	{"global main function", withArg(xdpMD, btf.GlobalFunc), 0},
	{"static main function", withArg(xdpMD, btf.StaticFunc), 0},
	{"void pointer", withArg(&btf.Pointer{Target: &btf.Void{}}, btf.GlobalFunc), 0},
	{"pointer to another struct", withArg(&btf.Pointer{Target: &btf.Struct{Name: "other", Size: 4}}, btf.GlobalFunc), 0},
	{"no expected attach type", withFlags(ebpf.AttachNone, 0), 0},
	{"frags", withFlags(ebpf.AttachXDP, xdpFrags), 0},
	{"function", calls, 0},
	{"replaced function", replaced, 0},
	{"tail call", tailCall, 0},
	{"bound to a netdev", bound, 3},
}

// TestPrograms counts the verdicts of each kind of program, in both modes.
func TestPrograms(t *testing.T) {
	for _, mode := range []family.Mode{family.ModeNative, family.ModeGeneric} {
		for _, tt := range programs {
			if !testutil.KernelAtLeast(6, tt.from) {
				continue
			}
			if tt.name == "bound to a netdev" && mode == family.ModeGeneric {
				continue // the kernel attaches it in native mode only
			}
			t.Run(fmt.Sprintf("%v/%s", mode, tt.name), func(t *testing.T) {
				b := newBed(t)
				p := tt.make(b)
				b.must(b.attach(p, family.QueueAll, mode))
				b.send(100, p)
				b.must(b.meter(true))
				sent := b.send(1200, p)
				if want := ([kinds]uint64{200, 200, 200, 200, 200, 200}); sent.sum() != want {
					t.Errorf("the program has seen %v, want %v", sent.sum(), want)
				}
				for q := range sent {
					// Without NAPI a veth does not use the last one.
					if sent[q] == ([kinds]uint64{}) && (mode == family.ModeNative || q < queues-1) {
						t.Errorf("no frame reached queue %d", q)
					}
				}
				b.counted(sent)
			})
		}
	}
}

// TestReplacedMain refuses a program whose main function is replaced itself: the
// kernel does not trace it.
func TestReplacedMain(t *testing.T) {
	b := newBed(t)
	p := newProg(t, nil)
	ext, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "judge", Type: ebpf.Extension, AttachTarget: p.Program, AttachTo: "judge", License: "GPL",
		Instructions: asm.Instructions{
			btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, int32(drop)).WithSymbol("judge"), xdpMain(xdpMD, btf.GlobalFunc)),
			asm.Return(),
		},
	})
	b.must(err)
	defer ext.Close()
	l, err := link.AttachFreplace(nil, "", ext)
	b.must(err)
	b.must(b.attach(p, family.QueueAll, 0))
	b.refused("meter on", b.meter(true), unix.EOPNOTSUPP, "the main function of program %d is replaced", p.id(t))
	b.must(l.Close())
	b.must(b.meter(true))
	b.counted(b.send(240, p))
}

// TestQueues meters programs per RX queue: the dispatcher calls them.
func TestQueues(t *testing.T) {
	b := newBed(t)
	dev, one := newProg(t, nil), newProg(t, nil)
	b.must(b.meter(true))
	b.must(b.attach(dev, family.QueueAll, 0))
	sent := b.send(300, dev)
	b.counted(sent)
	b.must(b.attach(one, 1, 0))
	sent.add(b.send(300, dev, one))
	b.counted(sent)
	if got := one.counted(t); got.total() == 0 {
		t.Error("the program of queue 1 has seen nothing")
	}
	b.must(b.detach(family.QueueAll))
	b.must(b.attach(dev, family.QueueAll, 0))
	b.must(b.detach(1))
	sent.add(b.send(300, dev, one))
	b.counted(sent)
}

// TestShared has one program on two netdevs: each counts its own frames.
func TestShared(t *testing.T) {
	b, other := newBed(t), newBed(t)
	p := newProg(t, nil)
	for _, b := range []*bed{b, other} {
		b.must(b.attach(p, family.QueueAll, 0))
	}
	b.must(b.meter(true))
	mine := b.send(240, p)
	other.send(120, p)
	b.must(other.meter(true))
	theirs := other.send(360, p)
	mine.add(b.send(60, p))
	b.counted(mine)
	other.counted(theirs)
	b.must(b.meter(false))
	theirs.add(other.send(60, p))
	other.counted(theirs)
}

// TestTooMany puts one program on more netdevs than can trace it.
func TestTooMany(t *testing.T) {
	const limit = 38 // BPF_MAX_TRAMP_LINKS of the kernel
	b := newBed(t)
	p := newProg(t, nil)
	var index []uint32
	for i := range limit + 1 {
		index = append(index, uint32(b.right.AddDummy(fmt.Sprintf("dummy%d", i))))
		var v family.Prog
		v.SetFD(uint32(p.FD()))
		b.must(b.ctl.Prog().Update(t.Context(), &family.ProgKey{Ifindex: index[i], Queue: family.QueueAll}, &v, family.UpdateNoexist))
	}
	for _, i := range index[:limit] {
		b.must(b.meterOf(b.ctl, i, true, nil))
	}
	b.refused("one too many", b.meterOf(b.ctl, index[limit], true, nil), unix.E2BIG,
		"program %d is metered on, or traced by, as many as the kernel allows", p.id(t))
	if _, metered := b.read(b.ctl, index[limit]); metered {
		t.Error("it is metered all the same")
	}
	// There is room as soon as one is off.
	for i := range 100 {
		b.must(b.meterOf(b.ctl, index[i%limit], false, nil))
		b.must(b.meterOf(b.ctl, index[i%limit], true, nil))
	}
	b.must(b.meterOf(b.ctl, index[0], false, nil))
	b.must(b.meterOf(b.ctl, index[limit], true, nil))
}

// TestBond refuses a bond, whose program sees no frame of its own.
func TestBond(t *testing.T) {
	b := newBed(t)
	b.must(b.right.NewLink("bond0", "bond", func(*netlink.AttributeEncoder) error { return nil }))
	b.refused("a bond", b.meterOf(b.ctl, uint32(b.right.Index("bond0")), true, nil), unix.EOPNOTSUPP,
		"the program of a bond runs on the netdevs below it")
}
