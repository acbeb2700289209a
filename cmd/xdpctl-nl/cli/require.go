// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/loader"
)

// required is what a program needs of a netdev: what it shows itself, and what
// the user says.
type required struct {
	more, only *loader.Requirement
}

// words are those by which the user says what a program needs.
func (r *required) words() words {
	return words{
		{name: "require", arg: "LIST", help: "it needs these features too, names with commas between", group: "require",
			set: setRequirement(&r.more), complete: needNames},
		{name: "require-only", arg: "LIST", help: "it needs these and no others; none is nothing", group: "require",
			set: setRequirement(&r.only), complete: needNames},
	}
}

// of is what the program of s needs.
func (r *required) of(s *source) (*loader.Requirement, error) {
	if r.only != nil {
		return r.only, nil
	}
	need := &loader.Requirement{}
	if s.obj != "" {
		coll, prog, err := s.read()
		if err != nil {
			return nil, err
		}
		if need, err = loader.Requires(coll, prog); err != nil {
			return nil, err
		}
	}
	if r.more != nil {
		need.Merge(r.more)
	}
	return need, nil
}

// setRequirement stores names of features and actions. Redirect is both.
func setRequirement(p **loader.Requirement) func(string) error {
	return func(s string) error {
		need := &loader.Requirement{}
		for name := range strings.SplitSeq(s, ",") {
			f, ferr := family.ParseXDPAct(name)
			m, merr := family.ParseXDPRXMetadata(name)
			act, aerr := family.ParseAction(name)
			if ferr != nil && merr != nil && aerr != nil && s != "none" {
				return usagef("%q is none of %s", name, strings.Join(needNames(), ", "))
			}
			need.Features |= f
			need.RXMetadata |= m
			need.Actions |= act
		}
		*p = need
		return nil
	}
}

// needNames are the names of all features and actions.
func needNames() []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for f := family.XDPActBasic; f <= family.XDPActNDOXmitSG; f <<= 1 {
		add(f.String())
	}
	for m := family.XDPRXMetadataTimestamp; m <= family.XDPRXMetadataVLANTag; m <<= 1 {
		add(m.String())
	}
	for act := family.ActionAborted; act <= family.ActionRedirect; act <<= 1 {
		add(act.String())
	}
	return names
}

// needText is a requirement on one line, as caps show has features.
func needText(r *loader.Requirement) string {
	var b line
	if r.Features != 0 {
		b.add("xdp", r.Features.String())
	}
	if r.RXMetadata != 0 {
		b.add("rx-metadata", r.RXMetadata.String())
	}
	if r.Actions != 0 {
		b.add("actions", r.Actions.String())
	}
	return b.String()
}

// needMembers are a requirement as members of a JSON object. What is not needed
// is left out.
func needMembers(prefix string, r *loader.Requirement) ordered {
	var o ordered
	if r.Features != 0 {
		o = append(o, member{prefix + "features", r.Features})
	}
	if r.RXMetadata != 0 {
		o = append(o, member{prefix + "rx-metadata-features", r.RXMetadata})
	}
	if r.Actions != 0 {
		o = append(o, member{prefix + "actions", r.Actions})
	}
	return o
}

func (a *app) progRequires() *cobra.Command {
	var s source
	return a.command(spec{
		use:   "requires obj FILE [ prog NAME ]",
		short: "Show what XDP programs in an object file need of a netdev",
		long: "It is derived from the program: the helpers and kfuncs that it calls, the maps\nthat it uses, whether it takes frames in fragments, and the verdicts that it can\n" +
			"return. A verdict that is computed cannot be told, which is said.\n\n" +
			"Nothing is loaded, so that this takes neither root nor the kernel module.",
		example: "xdpctl-nl prog requires obj filter.o\nxdpctl-nl -j prog requires obj filter.o prog xdp_drop",
		words: words{
			{name: "obj", arg: "FILE", help: "the programs in this object file", need: true, set: setString(&s.obj)},
			{name: "prog", arg: "NAME", help: "only the one of this name, or in the section of this name", set: setString(&s.name)},
		},
		run: func(context.Context) error { return a.showRequired(&s) },
	})
}

func (a *app) showRequired(s *source) error {
	coll, names, err := s.readAll()
	if err != nil {
		return err
	}
	list := []ordered{}
	for _, name := range names {
		need, err := loader.Requires(coll, name)
		if err != nil {
			return err
		}
		if a.asJSON() {
			list = append(list, requiredJSON(name, need))
			continue
		}
		a.printRequired(name, need)
	}
	if a.asJSON() {
		return a.printJSON(list)
	}
	return nil
}

func (a *app) printRequired(name string, need *loader.Requirement) {
	a.printf("%s: %s\n", name, needText(need))
	for _, r := range need.Reasons {
		a.printf("    %s: %s\n", r.Need, r.Cause)
	}
	if need.Computed {
		a.printf("    other actions: a verdict is computed; add what it can be with require\n")
	}
}

func requiredJSON(name string, need *loader.Requirement) ordered {
	o := append(ordered{{"name", name}}, needMembers("required-", need)...)
	reasons := []ordered{}
	for _, r := range need.Reasons {
		reasons = append(reasons, ordered{{"need", r.Need}, {"cause", r.Cause}})
	}
	return append(o, member{"computed", need.Computed}, member{"reasons", reasons})
}

// readAll reads the object file, and names the program asked for, or all XDP
// programs if none is.
func (s *source) readAll() (*ebpf.CollectionSpec, []string, error) {
	spec, err := s.object()
	if err != nil {
		return nil, nil, err
	}
	coll := spec.Collection
	var names []string
	if s.name == "" {
		for _, n := range slices.Sorted(maps.Keys(coll.Programs)) {
			if coll.Programs[n].Type == ebpf.XDP {
				names = append(names, n)
			}
		}
	}
	if len(names) == 0 {
		prog, err := chooseIn(s.obj, spec, s.name, ebpf.XDP)
		return coll, []string{prog}, err
	}
	return coll, names, nil
}

// verdict is whether a program would run on a netdev in one mode.
type verdict struct {
	mode  family.Mode
	lacks *loader.Requirement
}

// judge says whether a program with these needs would run.
func judge(need *loader.Requirement, v *family.Caps) []verdict {
	return []verdict{
		{family.ModeNative, need.Missing(v, family.ModeNative)},
		{family.ModeGeneric, need.Missing(v, family.ModeGeneric)},
	}
}

// verdictText is what to print of a verdict.
func verdictText(vd *verdict, caps *family.Caps) string {
	if vd.lacks.Empty() {
		return vd.mode.String() + ": would run"
	}
	text := vd.mode.String() + ": would not run, lacks " + needText(vd.lacks)
	if vd.mode == family.ModeNative && caps.Source == family.SourceDerived {
		text += " (or the kernel does not tell)"
	}
	return text
}

// judgedJSON is the capabilities of a netdev with the verdicts, which are members
// native and generic.
func judgedJSON(e *family.Entry[family.CapsKey, family.Caps], need *loader.Requirement) (json.RawMessage, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	var o ordered
	for _, vd := range judge(need, &e.Value) {
		m := append(ordered{{"runs", vd.lacks.Empty()}}, needMembers("missing-", vd.lacks)...)
		o = append(o, member{vd.mode.String(), m})
	}
	more, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return append(append(b[:len(b)-1], ','), more[1:]...), nil
}
