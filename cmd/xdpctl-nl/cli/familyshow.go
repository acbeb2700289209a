// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
)

func (a *app) familyObject() *cobra.Command {
	return a.object("family", "The generic netlink family", "", a.familyShow())
}

func (a *app) familyShow() *cobra.Command {
	name := family.FamilyName
	return a.command(spec{
		use:     "show [ name NAME ]",
		short:   "Show a generic netlink family as its server describes it",
		long:    "Operations with their flags, and the policy of each: what attributes it takes,\nand what values. Names are known of family xdpctl only.\nWith -j, server says who answered.",
		example: "xdpctl-nl family show\nxdpctl-nl -j -p family show name netdev",
		words: words{
			{name: "name", arg: "NAME", help: "this family, xdpctl if not given", set: setString(&name)},
		},
		run: func(ctx context.Context) error {
			info, err := a.describe(ctx, a, name)
			if err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(info.json())
			}
			info.print(a)
			return nil
		},
	})
}

// familyInfo is what a server tells of a family.
type familyInfo struct {
	family   *genl.Family
	policies []genl.OpPolicy
	server   string
}

// describeFamily asks the server that is meant. Families other than xdpctl are
// the kernel's, unless another server is asked for by name.
func describeFamily(ctx context.Context, a *app, name string) (*familyInfo, error) {
	if a.via == "map" || name != family.FamilyName && (a.server == "" || a.server == serverKernel) {
		return a.describeKernel(ctx, name)
	}
	ctl, err := a.control()
	if err != nil {
		return nil, err
	}
	conn := a.ctl.client()
	if conn == nil {
		return nil, fmt.Errorf("family %s: %s: %w", name, ctl.Name(), errors.ErrUnsupported)
	}
	return describeOver(ctx, conn, name, a.ctl.server)
}

func (a *app) describeKernel(ctx context.Context, name string) (*familyInfo, error) {
	fd, err := a.netnsFD()
	if err != nil {
		return nil, err
	}
	conn, err := genl.Dial(genl.Options{NetNS: fd})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return describeOver(ctx, conn, name, serverKernel)
}

func describeOver(ctx context.Context, conn *genl.Conn, name, server string) (*familyInfo, error) {
	f, err := conn.Family(ctx, name)
	if err != nil {
		return nil, err
	}
	policies, err := conn.Policies(ctx, f)
	if err != nil {
		return nil, err
	}
	return &familyInfo{f, policies, server}, nil
}

// op is the spec's operation, nil if the family is another.
func (i *familyInfo) op(id uint32) *family.Op {
	if i.family.Name != family.FamilyName || id > 255 {
		return nil
	}
	return family.OpByCmd(uint8(id))
}

func (i *familyInfo) attrName(op *family.Op, attr uint16) string {
	if op == nil || op.Set == nil {
		return fmt.Sprintf("#%d", attr)
	}
	return op.Set.AttrName(attr)
}

// policy is that of an operation, nil if it has none.
func (i *familyInfo) policy(id uint32) *genl.OpPolicy {
	n := slices.IndexFunc(i.policies, func(p genl.OpPolicy) bool { return p.Op == id })
	if n < 0 {
		return nil
	}
	return &i.policies[n]
}

func (i *familyInfo) print(a *app) {
	f := i.family
	a.printf("%s: id %#x version %d hdrsize %d maxattr %d server %s\n", f.Name, f.ID, f.Version, f.HeaderSize, f.MaxAttr, i.server)
	for _, g := range f.Groups {
		a.printf("    group %d: %s\n", g.ID, g.Name)
	}
	for _, o := range f.Ops {
		op := i.op(o.ID)
		head := fmt.Sprintf("    op %d:", o.ID)
		if op != nil {
			head += " " + op.Name
		}
		a.printf("%s\n", strings.TrimRight(head+" "+o.Flags.String(), " "))
		p := i.policy(o.ID)
		switch {
		case p == nil:
		case p.Do != nil && p.Dump != nil && p.Do.Index == p.Dump.Index:
			i.printSet(a, "do, dump", op, p.Do)
		default:
			i.printSet(a, "do", op, p.Do)
			i.printSet(a, "dump", op, p.Dump)
		}
	}
}

func (i *familyInfo) printSet(a *app, what string, op *family.Op, set *genl.PolicySet) {
	if set == nil {
		return
	}
	a.printf("        %s:\n", what)
	width := 0
	for _, p := range set.Attrs {
		width = max(width, len(i.attrName(op, p.Attr)))
	}
	for _, p := range set.Attrs {
		a.printf("            %-*s %s\n", width, i.attrName(op, p.Attr), p.Policy.String())
	}
}

func (i *familyInfo) json() ordered {
	f := i.family
	groups := []ordered{}
	for _, g := range f.Groups {
		groups = append(groups, ordered{{"id", g.ID}, {"name", g.Name}})
	}
	ops := []ordered{}
	for _, o := range f.Ops {
		op := i.op(o.ID)
		j := ordered{{"id", o.ID}}
		if op != nil {
			j = append(j, member{"name", op.Name})
		}
		flags := []string{}
		if s := o.Flags.String(); s != "" {
			flags = strings.Split(s, ",")
		}
		j = append(j, member{"flags", flags})
		if p := i.policy(o.ID); p != nil {
			j = append(j, i.setJSON("do", op, p.Do)...)
			j = append(j, i.setJSON("dump", op, p.Dump)...)
		}
		ops = append(ops, j)
	}
	return ordered{
		{"name", f.Name}, {"id", f.ID}, {"version", f.Version}, {"hdrsize", f.HeaderSize}, {"maxattr", f.MaxAttr},
		{"groups", groups}, {"ops", ops}, {"server", i.server},
	}
}

// setJSON is the member do or dump of an operation, if it has that.
func (i *familyInfo) setJSON(what string, op *family.Op, set *genl.PolicySet) ordered {
	if set == nil {
		return nil
	}
	attrs := ordered{}
	for _, p := range set.Attrs {
		attrs = append(attrs, member{i.attrName(op, p.Attr), policyJSON(&p.Policy)})
	}
	return ordered{{what, attrs}}
}

// policyJSON has the names that a YNL spec's checks have.
func policyJSON(p *genl.Policy) ordered {
	o := ordered{{"type", p.Type.String()}}
	if p.MinValue != nil {
		o = append(o, member{"min", *p.MinValue})
	}
	if p.MaxValue != nil {
		o = append(o, member{"max", *p.MaxValue})
	}
	if p.MinSigned != nil {
		o = append(o, member{"min", *p.MinSigned})
	}
	if p.MaxSigned != nil {
		o = append(o, member{"max", *p.MaxSigned})
	}
	if p.MinLength != nil {
		o = append(o, member{"min-len", *p.MinLength})
	}
	if p.MaxLength != nil {
		o = append(o, member{"max-len", *p.MaxLength})
	}
	if p.Mask != nil {
		o = append(o, member{"mask", *p.Mask})
	}
	if p.Bitfield32Mask != nil {
		o = append(o, member{"mask", *p.Bitfield32Mask})
	}
	return o
}
