// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/loader"
)

func (a *app) capsObject() *cobra.Command {
	return a.object("caps", "XDP capabilities", "", a.capsShow())
}

func (a *app) capsShow() *cobra.Command {
	var dev string
	var s source
	var need required
	return a.command(spec{
		use:     "show [ dev IF ] [ obj FILE [ prog NAME ] ] [ require LIST | require-only LIST ]",
		short:   "Show what XDP can do on netdevs",
		long:    "Features are named as the netdev family names them. Source derived means that\nthe kernel does not know them itself: a feature that is not listed may be there.\n\nWith obj, require or require-only, it also says in which modes a program would run\nthat needs this, as prog attach would ask for it, and what the netdev lacks.",
		example: "xdpctl-nl caps show\nxdpctl-nl -j -p caps show dev eth0\nxdpctl-nl caps show dev eth0 obj filter.o",
		words: append(words{
			{name: "dev", arg: "IF", help: "of this netdev, a name or an ifindex", set: setString(&dev), complete: a.completeDev},
			{name: "obj", arg: "FILE", help: "for the program in this object file", set: setString(&s.obj)},
			{name: "prog", arg: "NAME", help: "which of the programs in the object file, if it has many", after: "obj", set: setString(&s.name)},
		}, need.words()...),
		run: func(ctx context.Context) error { return a.showCaps(ctx, dev, &s, &need) },
	})
}

func (a *app) showCaps(ctx context.Context, dev string, s *source, r *required) error {
	var need *loader.Requirement
	if s.obj != "" || r.more != nil || r.only != nil {
		var err error
		if need, err = r.of(s); err != nil {
			return err
		}
	}
	ctl, err := a.control()
	if err != nil {
		return err
	}
	var filter *family.CapsKey
	if dev != "" {
		index, err := a.ifindex(dev)
		if err != nil {
			return err
		}
		filter = &family.CapsKey{Ifindex: index}
	}
	if need != nil && a.asJSON() {
		return a.printJudged(ctx, ctl, filter, need)
	}
	return printEntries(ctx, a, ctl.Caps(), filter, func(e *family.Entry[family.CapsKey, family.Caps]) error {
		a.printCaps(e.Key.Ifindex, &e.Value)
		if need == nil {
			return nil
		}
		for _, vd := range judge(need, &e.Value) {
			a.printf("    %s\n", verdictText(&vd, &e.Value))
		}
		return nil
	})
}

// printJudged prints capabilities and verdicts as JSON.
func (a *app) printJudged(ctx context.Context, ctl family.Control, filter *family.CapsKey, need *loader.Requirement) error {
	list := []json.RawMessage{}
	for e, err := range family.All(ctx, ctl.Caps(), filter) {
		if err != nil {
			return err
		}
		o, err := judgedJSON(&e, need)
		if err != nil {
			return err
		}
		list = append(list, o)
	}
	return a.printJSON(list)
}

func (a *app) printCaps(ifindex uint32, v *family.Caps) {
	var first, second line
	first.add(a.label(ifindex))
	if v.Has(family.AttrCapsDriver) {
		first.add("driver", v.Driver.String())
	}
	if v.Has(family.AttrCapsRXQueues) {
		first.add("rx-queues", of(v.RXQueues, v.MaxRXQueues, v.Has(family.AttrCapsMaxRXQueues)))
	}
	if v.Has(family.AttrCapsTXQueues) {
		first.add("tx-queues", of(v.TXQueues, v.MaxTXQueues, v.Has(family.AttrCapsMaxTXQueues)))
	}
	a.printf("%s\n", first.String())

	if v.Has(family.AttrCapsXDPFeatures) {
		second.add("xdp", v.XDPFeatures.String())
		if v.Has(family.AttrCapsSource) {
			second.add("source", v.Source.String())
		}
	}
	if v.Has(family.AttrCapsActions) {
		second.add("actions", v.Actions.String())
	}
	if v.Has(family.AttrCapsXDPRXMetadataFeatures) {
		second.add("rx-metadata", v.XDPRXMetadataFeatures.String())
	}
	if v.Has(family.AttrCapsXDPZCMaxSegs) {
		second.add("zc-max-segs", strconv.FormatUint(uint64(v.XDPZCMaxSegs), 10))
	}
	if s := second.String(); s != "" {
		a.printf("    %s\n", s)
	}
}

// of is how many are in use, of how many there are if that is known.
func of(n, most uint32, known bool) string {
	if !known {
		return strconv.FormatUint(uint64(n), 10)
	}
	return fmt.Sprintf("%d/%d", n, most)
}

func (a *app) typeObject() *cobra.Command {
	return a.object("type", "Control types", "", a.typeShow())
}

func (a *app) typeShow() *cobra.Command {
	return a.command(spec{
		use:     "show",
		short:   "Show the control types, and what a control map of each is made with",
		example: "xdpctl-nl type show\nxdpctl-nl --via map -j type show",
		run: func(ctx context.Context) error {
			ctl, err := a.control()
			if err != nil {
				return err
			}
			types, err := ctl.Types(ctx)
			if err != nil {
				return err
			}
			if a.asJSON() {
				if types == nil {
					types = []family.Type{}
				}
				return a.printJSON(types)
			}
			for i := range types {
				a.printf("%s\n", typeText(&types[i]))
			}
			return nil
		},
	})
}

func typeText(t *family.Type) string {
	var b line
	b.add(fmt.Sprintf("%d: %s:", uint32(t.ID), t.Name))
	b.add("key", strconv.FormatUint(uint64(t.KeySize), 10))
	b.add("value", strconv.FormatUint(uint64(t.ValueSize), 10))
	b.add("operations", t.Operations.String())
	if t.Has(family.AttrTypeBTFID) {
		b.add("btf", strconv.FormatUint(uint64(t.BTFID), 10))
		b.add("key-type", strconv.FormatUint(uint64(t.BTFKeyTypeID), 10))
		b.add("value-type", strconv.FormatUint(uint64(t.BTFValueTypeID), 10))
	}
	return b.String()
}
