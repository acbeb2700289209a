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
	"github.com/xdpctl/xdpctl-nl/family"
)

//go:generate make -s -C testdata all

// Short names of what the tables below are full of.
const (
	aborted, drop, pass = family.ActionAborted, family.ActionDrop, family.ActionPass
	tx, redirect        = family.ActionTX, family.ActionRedirect
	basic, redirecting  = family.XDPActBasic, family.XDPActBasic | family.XDPActRedirect
)

func TestRequiresObject(t *testing.T) {
	coll, err := ebpf.LoadCollectionSpec("testdata/requires.bpf.o")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]Requirement{
		"drop_or_tx":   {Features: basic, Actions: drop | tx},
		"frags":        {Features: basic | family.XDPActRXSG, Actions: pass},
		"redirect":     {Features: redirecting, Actions: redirect},
		"to_cpu":       {Features: redirecting, Actions: drop | redirect},
		"to_socket":    {Features: redirecting, Actions: aborted | pass | redirect},
		"metadata":     {Features: basic, RXMetadata: family.XDPRXMetadataTimestamp | family.XDPRXMetadataHash, Actions: drop | pass},
		"by_function":  {Features: basic, Actions: pass | tx},
		"returns_call": {Features: basic, Actions: pass | tx},
		"by_map":       {Features: basic, Actions: drop, Computed: true},
		"by_tail_call": {Features: basic, Actions: drop | pass | tx, Computed: true},
		"carried":      {Features: basic, Actions: aborted | drop | pass},
	}
	for name := range coll.Programs {
		if _, ok := tests[name]; !ok {
			t.Errorf("program %s is missing in this test", name)
		}
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Requires(coll, name)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range got.Reasons {
				if r.Need == "" || r.Cause == "" {
					t.Errorf("empty reason %+v", r)
				}
			}
			got.Reasons = nil
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, err := Requires(coll, "nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such program: got %v, want %v", err, os.ErrNotExist)
	}
}

func TestRequiresReasons(t *testing.T) {
	coll, err := bpf.LoadVerdict()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Requires(coll, bpf.VerdictProgram)
	if err != nil {
		t.Fatal(err)
	}
	want := &Requirement{
		Features: redirecting,
		Actions:  aborted | pass | tx | redirect,
		Computed: true,
		Reasons: []Reason{
			{"feature basic", "is an XDP program"},
			{"action aborted", "returns it"},
			{"action pass", "returns it"},
			{"action tx", "returns it"},
			{"action redirect", "returns it"},
			{"feature redirect", "calls bpf_redirect_map()"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestVerdicts(t *testing.T) {
	exit := asm.Return()
	call := asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoCall, Constant: -1}
	many := asm.Instructions{asm.Mov.Imm(asm.R0, 0)}
	for i := range int32(2 * maxConstants) {
		many = append(many, asm.JEq.Imm(asm.R1, i, "end"), asm.Add.Imm(asm.R0, 1))
	}
	many = append(many, exit.WithSymbol("end"))
	tests := []struct {
		name     string
		insns    asm.Instructions
		actions  family.Action
		computed bool
	}{
		{"constant", asm.Instructions{asm.Mov.Imm(asm.R0, 1), exit}, drop, false},
		{"constant of 32 bits", asm.Instructions{asm.Mov.Imm32(asm.R0, 3), exit}, tx, false},
		{"constant of 64 bits", asm.Instructions{asm.LoadImm(asm.R0, 2, asm.DWord), exit}, pass, false},
		{"upper half does not count", asm.Instructions{asm.LoadImm(asm.R0, 1<<32+2, asm.DWord), exit}, pass, false},
		{"no action", asm.Instructions{asm.Mov.Imm(asm.R0, 5), exit}, 0, false},
		{"minus one", asm.Instructions{asm.Mov.Imm(asm.R0, -1), exit}, 0, false},
		{"overwritten", asm.Instructions{asm.Mov.Imm(asm.R0, 3), asm.Mov.Imm(asm.R0, 2), exit}, pass, false},
		{"other register", asm.Instructions{asm.Mov.Imm(asm.R6, 2), asm.Mov.Imm(asm.R0, 1), exit}, drop, false},
		{"moved", asm.Instructions{asm.Mov.Imm(asm.R6, 2), asm.Mov.Reg(asm.R0, asm.R6), exit}, pass, false},
		{"loaded", asm.Instructions{asm.LoadMem(asm.R0, asm.R1, 0, asm.Word), exit}, 0, true},
		{"argument", asm.Instructions{asm.Mov.Reg(asm.R0, asm.R1), exit}, 0, true},
		{"both ways", asm.Instructions{
			asm.Mov.Imm(asm.R0, 1), asm.JGT.Imm(asm.R1, 5, "end"), asm.Mov.Imm(asm.R0, 2), exit.WithSymbol("end"),
		}, drop | pass, false},
		{"two exits", asm.Instructions{
			asm.JSet.Imm(asm.R1, 5, "other"), asm.Mov.Imm(asm.R0, 1), exit,
			asm.Mov.Imm(asm.R0, 3).WithSymbol("other"), exit,
		}, drop | tx, false},
		{"jumped over", asm.Instructions{
			asm.Mov.Imm(asm.R0, 1), asm.Ja.Label("end"), asm.Mov.Imm(asm.R0, 2), exit.WithSymbol("end"),
		}, drop, false},
		{"by offset, over a wide load", asm.Instructions{
			asm.Mov.Imm(asm.R0, 1),
			{OpCode: asm.JGT.Op(asm.ImmSource), Dst: asm.R1, Offset: 2, Constant: 3},
			asm.LoadImm(asm.R0, 2, asm.DWord), exit,
		}, drop | pass, false},
		{"nowhere", asm.Instructions{
			asm.Mov.Imm(asm.R0, 1), {OpCode: asm.JGT.Op(asm.ImmSource), Dst: asm.R1, Offset: 7}, exit,
		}, drop, true},
		{"off the end", asm.Instructions{asm.Mov.Imm(asm.R0, 1)}, 0, true},
		{"loop", asm.Instructions{
			asm.Mov.Imm(asm.R0, 0),
			asm.Add.Imm(asm.R0, 1).WithSymbol("again"), asm.JNE.Imm(asm.R0, 3, "again"), exit,
		}, tx, false},
		{"equal", asm.Instructions{
			asm.LoadMem(asm.R0, asm.R1, 0, asm.Word), asm.JEq.Imm(asm.R0, 2, "end"),
			asm.Mov.Imm(asm.R0, 1), exit.WithSymbol("end"),
		}, drop | pass, false},
		{"not equal", asm.Instructions{
			asm.LoadMem(asm.R0, asm.R1, 0, asm.Word), asm.JNE.Imm(asm.R0, 3, "other"), exit,
			asm.Mov.Imm(asm.R0, 2).WithSymbol("other"), exit,
		}, pass | tx, false},
		{"never", asm.Instructions{
			asm.Mov.Imm(asm.R0, 2), asm.JEq.Imm(asm.R0, 2, "end"), asm.Mov.Imm(asm.R0, 3), exit.WithSymbol("end"),
		}, pass | tx, false}, // the code is there
		{"arithmetic", asm.Instructions{
			asm.Mov.Imm(asm.R0, 0), asm.JGT.Imm(asm.R1, 5, "end"), asm.Mov.Imm(asm.R0, 1),
			asm.LSh.Imm(asm.R0, 1).WithSymbol("end"), asm.Or.Imm(asm.R0, 1), exit,
		}, drop | tx, false},
		{"division", asm.Instructions{asm.Mov.Imm(asm.R0, 4), asm.Div.Imm(asm.R0, 2), exit}, 0, true},
		{"many", many, aborted | drop | pass | tx | redirect, true},
		{"helper", asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.FnGetPrandomU32.Call(), exit}, 0, true},
		{"kept over a helper", asm.Instructions{
			asm.Mov.Imm(asm.R6, 2), asm.FnGetPrandomU32.Call(), asm.Mov.Reg(asm.R0, asm.R6), exit,
		}, pass, false},
		{"not kept over a helper", asm.Instructions{
			asm.Mov.Imm(asm.R3, 2), asm.FnGetPrandomU32.Call(), asm.Mov.Reg(asm.R0, asm.R3), exit,
		}, 0, true},
		{"redirect", asm.Instructions{asm.Mov.Imm(asm.R2, 0), asm.FnRedirect.Call(), exit}, redirect, false},
		{"redirect with flags", asm.Instructions{asm.Mov.Imm(asm.R2, 1), asm.FnRedirect.Call(), exit}, aborted | redirect, false},
		{"redirect, or pass", asm.Instructions{asm.Mov.Imm(asm.R3, 2), asm.FnRedirectMap.Call(), exit}, pass | redirect, false},
		{"redirect with broadcast", asm.Instructions{asm.Mov.Imm(asm.R3, 8), asm.FnRedirectMap.Call(), exit}, aborted | redirect, false},
		{"redirect, or what is computed", asm.Instructions{asm.FnRedirectMap.Call(), exit}, redirect, true},
		{"tail call", asm.Instructions{asm.FnTailCall.Call(), asm.Mov.Imm(asm.R0, 2), exit}, pass, true},
		{"function", asm.Instructions{
			call.WithReference("f"), exit,
			asm.Mov.Imm(asm.R0, 3).WithSymbol("f"), exit,
		}, tx, false},
		{"function whose result is not used", asm.Instructions{
			call.WithReference("f"), asm.Mov.Imm(asm.R0, 2), exit,
			asm.Mov.Imm(asm.R0, 3).WithSymbol("f"), exit,
		}, pass, false},
		{"function that is not there", asm.Instructions{call.WithReference("f"), exit}, 0, true},
		{"function that calls itself", asm.Instructions{
			call.WithReference("f"), exit,
			call.WithReference("f").WithSymbol("f"), exit,
		}, 0, true},
		{"atomic", asm.Instructions{
			asm.Mov.Imm(asm.R0, 1), asm.FetchAdd.Mem(asm.R1, asm.R0, asm.Word, 0), exit,
		}, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v, err := verdictsOf(tt.insns)
			if err != nil {
				t.Fatal(err)
			}
			var r Requirement
			r.addVerdicts(v)
			if r.Actions != tt.actions || r.Computed != tt.computed {
				t.Errorf("got %v, computed %v, want %v, %v", r.Actions, r.Computed, tt.actions, tt.computed)
			}
		})
	}
	if _, err := verdictsOf(nil); err == nil {
		t.Error("no instructions have verdicts")
	}
}

func TestMissing(t *testing.T) {
	capsOf := func(f family.XDPAct, md family.XDPRXMetadata, a family.Action) *family.Caps {
		var c family.Caps
		c.SetXDPFeatures(f)
		if md != 0 {
			c.SetXDPRXMetadataFeatures(md)
		}
		if a != 0 {
			c.SetActions(a)
		}
		return &c
	}
	const most = aborted | drop | pass
	hash := family.XDPRXMetadataHash
	need := Requirement{Features: redirecting | family.XDPActRXSG, RXMetadata: hash, Actions: drop | tx | redirect, Computed: true}
	tests := []struct {
		name string
		caps *family.Caps
		mode family.Mode
		want Requirement
	}{
		{"all", capsOf(redirecting|family.XDPActRXSG, hash, most|tx|redirect), family.ModeNative, Requirement{}},
		{"tx alone", capsOf(redirecting|family.XDPActRXSG, hash, most|redirect), family.ModeNative, Requirement{Actions: tx}},
		{"nothing", capsOf(0, 0, 0), family.ModeNative,
			Requirement{Features: need.Features, RXMetadata: hash, Actions: need.Actions}},
		{"older module", capsOf(redirecting, hash, 0), family.ModeNative, Requirement{Features: family.XDPActRXSG}},
		{"older module, basic alone", capsOf(basic, hash, 0), family.ModeNative,
			Requirement{Features: family.XDPActRedirect | family.XDPActRXSG, Actions: redirect}},
		{"generic", capsOf(0, hash, 0), family.ModeGeneric, Requirement{RXMetadata: hash}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := need.Missing(tt.caps, tt.mode)
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Empty() != (tt.name == "all") {
				t.Errorf("empty is %v", got.Empty())
			}
		})
	}
}

// What redirects frames to a netdev asks its driver in generic mode too; what is
// for native mode alone is not there.
func TestMissingGeneric(t *testing.T) {
	need := Requirement{Features: family.XDPActNDOXmit | family.XDPActNDOXmitSG | family.XDPActXSKZerocopy}
	var caps family.Caps
	caps.SetXDPFeatures(basic | family.XDPActNDOXmit | family.XDPActXSKZerocopy)
	want := &Requirement{Features: family.XDPActNDOXmitSG | family.XDPActXSKZerocopy}
	if diff := cmp.Diff(want, need.Missing(&caps, family.ModeGeneric)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSetProg(t *testing.T) {
	var got, want family.Prog
	(&Requirement{Features: basic, Actions: tx}).SetProg(&got)
	want.SetRequiredFeatures(basic)
	want.SetRequiredActions(tx)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzVerdicts looks for verdicts in instructions that no compiler would write.
func FuzzVerdicts(f *testing.F) {
	f.Add([]byte{0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var insns asm.Instructions
		for ; len(raw) >= 8; raw = raw[8:] {
			insns = append(insns, asm.Instruction{
				OpCode: asm.OpCode(raw[0]), Dst: asm.Register(raw[1] & 15), Src: asm.Register(raw[1] >> 4),
				Offset: int16(raw[2]) - int16(raw[3]), Constant: int64(int8(raw[4])),
			})
		}
		verdictsOf(insns)
	})
}
