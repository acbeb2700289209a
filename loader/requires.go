// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"fmt"
	"os"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/xdpctl/xdpctl-nl/family"
)

// Requirement is what an XDP program needs of the netdev that it runs on.
type Requirement struct {
	// Features are the XDP features, RXMetadata the RX metadata features
	// and Actions the XDP actions needed.
	Features   family.XDPAct
	RXMetadata family.XDPRXMetadata
	Actions    family.Action

	// Computed tells that some verdict is made at run time, or by a program
	// that is called in the place of this one, so that Actions may lack
	// some.
	Computed bool

	// Reasons are the causes of what was derived from a program, each
	// feature and action once.
	Reasons []Reason
}

// Reason says why a program needs something.
type Reason struct {
	// Need is the name of the feature or action, as the spec has it, after
	// its kind: "feature redirect", "rx-metadata hash", "action drop".
	Need string
	// Cause is where the program shows it, such as
	// "calls bpf_redirect_map()".
	Cause string
}

// xdpHasFrags is BPF_F_XDP_HAS_FRAGS.
const xdpHasFrags = 1 << 5

// Requires derives what a program needs from the program itself: from the
// helpers and kfuncs that it calls, the maps that it uses, its flags, and the
// verdicts that it can return. A kfunc that the program uses only where the
// kernel has it (bpf_ksym_exists) is not needed. The programs that a program
// array holds from the start count too.
//
// The answer is cautious: it has what stands in the code, be it never run. A
// verdict that is computed cannot be told; see [Requirement.Computed].
//
// Returns an error matching [os.ErrNotExist] if coll has no such program.
func Requires(coll *ebpf.CollectionSpec, name string) (*Requirement, error) {
	r := &Requirement{}
	if err := r.addProgram(coll, name, map[string]bool{}); err != nil {
		return nil, err
	}
	return r, nil
}

// Merge adds what o needs to r.
func (r *Requirement) Merge(o *Requirement) {
	r.Features |= o.Features
	r.RXMetadata |= o.RXMetadata
	r.Actions |= o.Actions
	r.Computed = r.Computed || o.Computed
	for _, why := range o.Reasons {
		r.because(why.Need, why.Cause)
	}
}

// Empty tells whether nothing is needed.
func (r *Requirement) Empty() bool {
	return r.Features == 0 && r.RXMetadata == 0 && r.Actions == 0
}

// SetProg puts the requirement into an update of a program. What is not needed
// is left out.
func (r *Requirement) SetProg(v *family.Prog) {
	if r.Features != 0 {
		v.SetRequiredFeatures(r.Features)
	}
	if r.RXMetadata != 0 {
		v.SetRequiredRXMetadataFeatures(r.RXMetadata)
	}
	if r.Actions != 0 {
		v.SetRequiredActions(r.Actions)
	}
}

func (r *Requirement) needFeature(f family.XDPAct, cause string) {
	r.Features |= f
	r.because("feature "+f.String(), cause)
}

func (r *Requirement) needAction(a family.Action, cause string) {
	r.Actions |= a
	r.because("action "+a.String(), cause)
}

func (r *Requirement) because(need, cause string) {
	if !slices.ContainsFunc(r.Reasons, func(o Reason) bool { return o.Need == need }) {
		r.Reasons = append(r.Reasons, Reason{need, cause})
	}
}

// addProgram adds the program and those that it can call from the start.
func (r *Requirement) addProgram(coll *ebpf.CollectionSpec, name string, seen map[string]bool) error {
	if seen[name] {
		return nil
	}
	seen[name] = true
	p := coll.Programs[name]
	if p == nil {
		return fmt.Errorf("program %q: %w", name, os.ErrNotExist)
	}
	r.needFeature(family.XDPActBasic, "is an XDP program")
	if p.Flags&xdpHasFrags != 0 {
		r.needFeature(family.XDPActRXSG, "takes frames in fragments (xdp.frags)")
	}
	v, err := verdictsOf(p.Instructions)
	if err != nil {
		return fmt.Errorf("verdicts of program %q: %w", name, err)
	}
	r.addVerdicts(v)
	r.addInstructions(p.Instructions)
	for _, m := range usedMaps(p.Instructions) {
		if err := r.addMap(coll, m, seen); err != nil {
			return err
		}
	}
	return nil
}

func (r *Requirement) addVerdicts(v values) {
	r.Computed = r.Computed || v.any
	for a := family.ActionAborted; a <= family.ActionRedirect; a <<= 1 {
		if v.has(a) {
			r.needAction(a, "returns it")
		}
	}
}

// metadataKfuncs are the kfuncs that read RX metadata.
var metadataKfuncs = map[string]family.XDPRXMetadata{
	"bpf_xdp_metadata_rx_timestamp": family.XDPRXMetadataTimestamp,
	"bpf_xdp_metadata_rx_hash":      family.XDPRXMetadataHash,
	"bpf_xdp_metadata_rx_vlan_tag":  family.XDPRXMetadataVLANTag,
}

func (r *Requirement) addInstructions(insns asm.Instructions) {
	optional := map[string]bool{}
	for i := range insns {
		if ins := &insns[i]; ins.OpCode.IsDWordLoad() && ins.Src == asm.R0 {
			optional[ins.Reference()] = true // asks whether it exists
		}
	}
	for i := range insns {
		ins := &insns[i]
		switch {
		case ins.IsKfuncCall():
			name := ins.Reference()
			if f, ok := metadataKfuncs[name]; ok && !optional[name] {
				r.RXMetadata |= f
				r.because("rx-metadata "+f.String(), "calls "+name+"()")
			}
		case ins.IsBuiltinCall():
			r.addHelper(asm.BuiltinFunc(ins.Constant))
		}
	}
}

func (r *Requirement) addHelper(fn asm.BuiltinFunc) {
	switch fn {
	case asm.FnRedirect:
		r.needRedirect("calls bpf_redirect()")
	case asm.FnRedirectMap:
		r.needRedirect("calls bpf_redirect_map()")
	}
}

func (r *Requirement) needRedirect(cause string) {
	r.needFeature(family.XDPActRedirect, cause)
	r.needAction(family.ActionRedirect, cause)
}

// usedMaps are the names of the maps that are used, in order of use.
func usedMaps(insns asm.Instructions) []string {
	var names []string
	for i := range insns {
		if ins := &insns[i]; ins.IsLoadFromMap() && !slices.Contains(names, ins.Reference()) {
			names = append(names, ins.Reference())
		}
	}
	return names
}

func (r *Requirement) addMap(coll *ebpf.CollectionSpec, name string, seen map[string]bool) error {
	m := coll.Maps[name]
	if m == nil {
		return nil
	}
	switch m.Type {
	case ebpf.DevMap, ebpf.DevMapHash, ebpf.CPUMap, ebpf.XSKMap:
		r.needRedirect(fmt.Sprintf("uses the map %s of type %s", name, m.Type))
	case ebpf.ProgramArray:
		for _, kv := range m.Contents {
			prog, ok := kv.Value.(string)
			if !ok {
				continue
			}
			if err := r.addProgram(coll, prog, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// Features in generic mode, which runs in the core: those that every netdev has,
// since the core does there what a driver would have to, and those that are the
// driver's all the same.
const (
	genericFeatures = family.XDPActBasic | family.XDPActRedirect | family.XDPActRXSG
	driverFeatures  = family.XDPActNDOXmit | family.XDPActNDOXmitSG
)

// Missing returns what r needs and a netdev with these capabilities lacks in a
// mode: native or generic. Nothing is missing if it is [Requirement.Empty].
//
// The kernel module decides when the program is attached; this tells
// beforehand. Generic mode has no RX metadata. Where the kernel does not tell
// what a netdev can do (source derived), what is missing may be there.
func (r *Requirement) Missing(caps *family.Caps, mode family.Mode) *Requirement {
	lack := &Requirement{Features: r.Features, RXMetadata: r.RXMetadata, Actions: r.Actions}
	if mode == family.ModeGeneric {
		lack.Features &^= genericFeatures | caps.XDPFeatures&driverFeatures
		lack.Actions = 0
		return lack
	}
	lack.Features &^= caps.XDPFeatures
	lack.RXMetadata &^= caps.XDPRXMetadataFeatures
	lack.Actions &^= nativeActions(caps)
	return lack
}

// nativeActions are the actions that do in native mode what they say. An older
// module does not tell, but for its features.
func nativeActions(caps *family.Caps) family.Action {
	if caps.Has(family.AttrCapsActions) {
		return caps.Actions
	}
	var a family.Action
	if caps.XDPFeatures&family.XDPActBasic != 0 {
		a = family.ActionAborted | family.ActionDrop | family.ActionPass | family.ActionTX
	}
	if caps.XDPFeatures&family.XDPActRedirect != 0 {
		a |= family.ActionRedirect
	}
	return a
}
