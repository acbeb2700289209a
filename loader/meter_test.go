// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"errors"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/bpf"
)

// Frames of BPF_PROG_TEST_RUN come in on loopback.
const testIfindex = 1

// meterBed is a program with a meter, loaded.
type meterBed struct {
	*testing.T
	prog  *ebpf.Program
	meter *ebpf.Map
}

func newMeterBed(t *testing.T, spec *ebpf.CollectionSpec, name string) *meterBed {
	t.Helper()
	if err := AddMeter(spec, name); err != nil {
		t.Fatal(err)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(coll.Close)
	return &meterBed{t, coll.Programs[name], coll.Maps[MeterMap]}
}

// run has the program see a frame, and checks its verdict.
func (b *meterBed) run(frame []byte, want uint32) {
	b.Helper()
	got, err := b.prog.Run(&ebpf.RunOptions{Data: frame})
	if err != nil {
		b.Fatal(err)
	}
	if got != want {
		b.Errorf("verdict %d, want %d", got, want)
	}
}

// enable lets frames of loopback be counted under a queue.
func (b *meterBed) enable(queue uint32) {
	b.Helper()
	n, err := ebpf.PossibleCPU()
	if err != nil {
		b.Fatal(err)
	}
	if err := b.meter.Put(MeterKey{testIfindex, queue}, make([]MeterVerdicts, n)); err != nil {
		b.Fatal(err)
	}
}

// counted checks what was counted.
func (b *meterBed) counted(queue uint32, want MeterVerdicts) {
	b.Helper()
	var all []MeterVerdicts
	if err := b.meter.Lookup(MeterKey{testIfindex, queue}, &all); err != nil {
		b.Fatal(err)
	}
	var sum MeterVerdicts
	for _, v := range all {
		sum.Aborted += v.Aborted
		sum.Drop += v.Drop
		sum.Pass += v.Pass
		sum.TX += v.TX
		sum.Redirect += v.Redirect
		sum.Invalid += v.Invalid
	}
	if diff := cmp.Diff(want, sum); diff != "" {
		b.Errorf("-want +got:\n%s", diff)
	}
}

func verdictFrame(verdict byte) []byte {
	b := make([]byte, 64)
	b[12], b[13], b[14] = bpf.EtherType>>8, bpf.EtherType&0xff, verdict
	return b
}

// TestAddMeter counts all verdicts of a program that clang has made, from when it
// is told to.
func TestAddMeter(t *testing.T) {
	spec, err := bpf.LoadVerdict()
	if err != nil {
		t.Fatal(err)
	}
	b := newMeterBed(t, spec, bpf.VerdictProgram)
	b.run(verdictFrame(1), 1)
	for _, queue := range []uint32{0, MeterOther} {
		if err := b.meter.Lookup(MeterKey{testIfindex, queue}, new([]MeterVerdicts)); !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Fatalf("counts although it is off: %v", err)
		}
	}
	b.enable(MeterOther)
	b.run(verdictFrame(1), 1)
	b.enable(0)
	for verdict, n := range []int{3, 1, 4, 1, 0, 5, 2} { // redirect has no netdev, and is aborted
		for range n {
			b.run(verdictFrame(byte(verdict)), uint32(verdict))
		}
	}
	b.run(verdictFrame(255), 255)
	b.counted(0, MeterVerdicts{Aborted: 3, Drop: 1, Pass: 4, TX: 1, Invalid: 8})
	b.counted(MeterOther, MeterVerdicts{Drop: 1})
}

func call(name string) asm.Instruction { return callTo(name) }

// TestAddMeterFunctions counts what comes out of functions of the program, and of
// other programs that it goes to by tail call.
func TestAddMeterFunctions(t *testing.T) {
	other := &ebpf.ProgramSpec{Name: "other", Type: ebpf.XDP, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R0, 3), asm.Return(),
	}}
	helper := asm.Instructions{
		call("helper"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 4).WithSymbol("helper"),
		asm.Return(),
	}
	tail := asm.Instructions{
		asm.Mov.Imm(asm.R3, 0),
		asm.LoadMapPtr(asm.R2, 0).WithReference("array"),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, 1),
		asm.Return(),
	}
	inHelper := append(asm.Instructions{
		call("helper"),
		asm.Return(),
		asm.Mov.Imm(asm.R3, 0).WithSymbol("helper"),
	}, tail[1:]...)
	for _, tc := range []struct {
		name  string
		insns asm.Instructions
		want  uint32
		count MeterVerdicts
	}{
		{"function", helper, 4, MeterVerdicts{Redirect: 2}},
		{"tail call", tail, 3, MeterVerdicts{TX: 2}},
		{"tail call of a function", inHelper, 3, MeterVerdicts{TX: 2}},
		{"any number", asm.Instructions{asm.Mov.Imm32(asm.R0, -1), asm.Return()}, 0xffffffff, MeterVerdicts{Invalid: 2}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newMeterBed(t, &ebpf.CollectionSpec{
				Maps: map[string]*ebpf.MapSpec{"array": {
					Name: "array", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 1,
					Contents: []ebpf.MapKV{{Key: uint32(0), Value: "other"}},
				}},
				Programs: map[string]*ebpf.ProgramSpec{
					"main":  {Name: "main", Type: ebpf.XDP, License: "GPL", Instructions: tc.insns},
					"other": other,
				},
			}, "main")
			b.enable(0)
			frame := make([]byte, 64)
			b.run(frame, tc.want)
			b.run(frame, tc.want)
			b.counted(0, tc.count)
		})
	}
}

func TestAddMeterRefused(t *testing.T) {
	spec, err := bpf.LoadPass()
	if err != nil {
		t.Fatal(err)
	}
	if err := AddMeter(spec, "nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such program: %v", err)
	}
	if err := AddMeter(spec, bpf.PassProgram); err != nil {
		t.Error(err)
	}
	if err := AddMeter(spec, bpf.PassProgram); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second meter: %v", err)
	}
	spec.Programs["filter"] = &ebpf.ProgramSpec{Type: ebpf.SocketFilter, Instructions: asm.Instructions{asm.Return()}}
	if err := AddMeter(spec, "filter"); err == nil {
		t.Error("a socket filter has a meter")
	}
}

// A meter changes the program, unless it does not load so.
func TestMeter(t *testing.T) {
	p := bpffs(t)
	for name, tt := range map[string]struct {
		meter func(*ebpf.CollectionSpec, string) error
		want  uint32
	}{
		"none": {nil, 2},
		"good": {func(c *ebpf.CollectionSpec, prog string) error {
			c.Programs[prog].Instructions = asm.Instructions{asm.Mov.Imm(asm.R0, 3), asm.Return()}
			return nil
		}, 3},
		"bad": {func(c *ebpf.CollectionSpec, prog string) error {
			c.Programs[prog].Instructions = asm.Instructions{asm.Return()}
			return nil
		}, 2},
		"not possible": {func(c *ebpf.CollectionSpec, prog string) error {
			c.Programs[prog].Instructions = nil
			return errors.New("no")
		}, 2},
	} {
		obj := mustLoad(t, mustOpen(t, "object"), LoadOptions{Pinning: p, Meter: tt.meter})
		if got := run(t, obj.Programs["count"]); got != tt.want {
			t.Errorf("%s: verdict %d, want %d", name, got, tt.want)
		}
	}
}
