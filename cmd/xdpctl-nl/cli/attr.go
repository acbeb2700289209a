// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"errors"
	"math"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/xdpctl/xdpctl-nl/family"
)

func (a *app) attrObject() *cobra.Command {
	return a.object("attr", "XDP settings",
		"They are made by the commands of redirect, metadata and meter, and stay until\nthey are undone or the netdev goes.",
		a.attrShow(), a.attrReset())
}

func (a *app) attrShow() *cobra.Command {
	var dev string
	return a.command(spec{
		use:   "show [ dev IF ]",
		short: "Show the XDP settings of netdevs",
		long: "Placeholder is the program that redirect set put on a netdev whose driver has\nTX rings for XDP with a program only. Btf and type say which BTF type describes\n" +
			"the metadata in front of a frame.",
		example: "xdpctl-nl attr show\nxdpctl-nl -j attr show dev eth0",
		words: words{
			{name: "dev", arg: "IF", help: "of this netdev, a name or an ifindex", set: setString(&dev), complete: a.completeDev},
		},
		run: func(ctx context.Context) error {
			ctl, err := a.control()
			if err != nil {
				return err
			}
			var filter *family.AttrKey
			if dev != "" {
				index, err := a.ifindex(dev)
				if err != nil {
					return err
				}
				filter = &family.AttrKey{Ifindex: index}
			}
			return printEntries(ctx, a, ctl.Attr(), filter, func(e *family.Entry[family.AttrKey, family.Attr]) error {
				a.printf("%s %s\n", a.label(e.Key.Ifindex), attrText(&e.Value))
				return nil
			})
		},
	})
}

// attrText is the settings of a netdev on one line.
func attrText(v *family.Attr) string {
	var b line
	if v.Has(family.AttrAttrRingsNum) && v.RingsNum > 0 {
		b.add("redirect rings", decimal(v.RingsNum))
		if v.Has(family.AttrAttrRingsSize) {
			b.add("size", decimal(v.RingsSize))
		}
		if v.Has(family.AttrAttrPlaceholderProgID) {
			b.add("placeholder", decimal(v.PlaceholderProgID))
		}
	} else {
		b.add("redirect off")
	}
	if v.Has(family.AttrAttrEnableMD) && v.EnableMD != 0 {
		b.add("metadata")
		if v.Has(family.AttrAttrMDFeatures) {
			b.add(v.MDFeatures.String())
		} else {
			b.add("on")
		}
		if v.Has(family.AttrAttrMDUsers) {
			b.add("users", decimal(v.MDUsers))
		}
		if v.Has(family.AttrAttrMDBTFID) {
			b.add("btf", decimal(v.MDBTFID), "type", decimal(v.MDTypeID))
		}
	} else {
		b.add("metadata off")
	}
	b.add("meter", onOff(v.EnableMeter != 0))
	return b.String()
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (a *app) attrReset() *cobra.Command {
	var dev string
	return a.command(spec{
		use:     "reset dev IF",
		short:   "Undo all XDP settings of a netdev, whoever made them",
		example: "xdpctl-nl attr reset dev eth0",
		words:   words{a.devWord(&dev)},
		run: func(ctx context.Context) error {
			ctl, index, err := a.onDev(dev)
			if err != nil {
				return err
			}
			key := family.AttrKey{Ifindex: index}
			if err := ctl.Attr().Delete(ctx, &key); err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(key)
			}
			return nil
		},
	})
}

// devWord is the netdev of a command that has to have one.
func (a *app) devWord(dev *string) word {
	return word{name: "dev", arg: "IF", help: "of this netdev, a name or an ifindex", need: true, set: setString(dev), complete: a.completeDev}
}

// onDev opens the door and finds a netdev.
func (a *app) onDev(dev string) (family.Control, uint32, error) {
	ctl, err := a.control()
	if err != nil {
		return nil, 0, err
	}
	index, err := a.ifindex(dev)
	return ctl, index, err
}

// setAttr changes a setting, and prints what there is then.
func (a *app) setAttr(ctx context.Context, dev string, v *family.Attr) error {
	ctl, index, err := a.onDev(dev)
	if err != nil {
		return err
	}
	e := family.Entry[family.AttrKey, family.Attr]{Key: family.AttrKey{Ifindex: index}}
	if err := ctl.Attr().Update(ctx, &e.Key, v, family.UpdateAny); err != nil {
		return err
	}
	err = ctl.Attr().Lookup(ctx, &e.Key, &e.Value)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if a.asJSON() {
		return a.printJSON(e)
	}
	a.printf("%s %s\n", a.label(index), attrText(&e.Value))
	return nil
}

func (a *app) redirectObject() *cobra.Command {
	return a.object("redirect", "TX resources for redirected frames",
		"Frames can be redirected to a netdev only if its driver takes them and has TX\nrings for them. See what there is with: xdpctl-nl attr show",
		a.redirectSet(), a.redirectUnset())
}

func (a *app) redirectSet() *cobra.Command {
	var dev string
	var rings uint32
	var size *uint32
	return a.command(spec{
		use:   "set dev IF rings N [ size M ]",
		short: "Let a netdev that has no XDP program receive redirected frames",
		long: "The netdev gets at least so many TX rings, each of at least so many frames, by\nwhat its driver needs for that: a placeholder program where it has rings with a\n" +
			"program only, which makes room for a program attached with prog attach.",
		example: "xdpctl-nl redirect set dev eth0 rings 4\nxdpctl-nl redirect set dev eth0 rings 4 size 512",
		words: words{
			a.devWord(&dev),
			{name: "rings", arg: "N", help: "at least so many TX rings", need: true, set: setNumber(&rings, 1, math.MaxUint32)},
			{name: "size", arg: "M", help: "each for at least so many frames; any if not given", set: setOptional(&size, 1)},
		},
		run: func(ctx context.Context) error {
			var v family.Attr
			v.SetCommand(family.CommandSetupRedirect)
			v.SetRingsNum(rings)
			if size != nil {
				v.SetRingsSize(*size)
			}
			return a.setAttr(ctx, dev, &v)
		},
	})
}

func (a *app) redirectUnset() *cobra.Command {
	var dev string
	return a.command(spec{
		use:     "unset dev IF",
		short:   "Undo what redirect set did to a netdev",
		example: "xdpctl-nl redirect unset dev eth0",
		words:   words{a.devWord(&dev)},
		run: func(ctx context.Context) error {
			var v family.Attr
			v.SetCommand(family.CommandSetupRedirect)
			v.SetRingsNum(0)
			return a.setAttr(ctx, dev, &v)
		},
	})
}

// switchWords are on and off.
func switchWords(on *uint32) words {
	set := func(n uint32) func(string) error {
		return func(string) error {
			*on = n
			return nil
		}
	}
	return words{
		{name: "on", help: "turn it on", group: "switch", need: true, set: set(1)},
		{name: "off", help: "turn it off", group: "switch", need: true, set: set(0)},
	}
}

func (a *app) metadataObject() *cobra.Command {
	return a.object("metadata", "RX metadata",
		"Timestamp, hash and VLAN tag, as far as the driver gives them to XDP programs.",
		a.metadataSet())
}

func (a *app) metadataSet() *cobra.Command {
	var dev string
	var on uint32
	return a.command(spec{
		use:     "set dev IF { on | off }",
		short:   "Turn the RX metadata of a netdev on or off",
		long:    "It stays on until it was turned off as often as on. See what is on, and the BTF\ntype that describes it, with: xdpctl-nl attr show",
		example: "xdpctl-nl metadata set dev eth0 on",
		words:   append(words{a.devWord(&dev)}, switchWords(&on)...),
		run: func(ctx context.Context) error {
			var v family.Attr
			v.SetCommand(family.CommandSetupMD)
			v.SetEnableMD(on)
			return a.setAttr(ctx, dev, &v)
		},
	})
}

func (a *app) meterObject() *cobra.Command {
	return a.object("meter", "Counters of verdicts",
		"The meter counts the verdicts of any program, on any driver and in generic mode,\nfor each RX queue, at a cost for each frame. Its counters are in stats show.",
		a.meterSet())
}

func (a *app) meterSet() *cobra.Command {
	var dev string
	var on uint32
	var s source
	return a.command(spec{
		use:   "set dev IF { on | off } [ fd N | id N | pinned PATH ]",
		short: "Turn the counters of verdicts of a netdev on or off",
		long: "The program need not be loaded again, and the meter follows it when it is\nreplaced. A program that somebody else attached must be named, and must be the\n" +
			"one that is attached.",
		example: "xdpctl-nl meter set dev eth0 on\nxdpctl-nl meter set dev eth0 on pinned /sys/fs/bpf/filter\nxdpctl-nl meter set dev eth0 off",
		words: append(append(words{a.devWord(&dev)}, switchWords(&on)...),
			word{name: "fd", arg: "N", help: "of the program of this file descriptor, which the caller passes on", group: "program", after: "on", set: setOptional(&s.fd, 0)},
			word{name: "id", arg: "N", help: "of the program with this id", group: "program", after: "on", set: setOptional(&s.id, 1)},
			word{name: "pinned", arg: "PATH", help: "of the program pinned there", group: "program", after: "on", set: setString(&s.pinned)},
		),
		run: func(ctx context.Context) error { return a.setMeter(ctx, dev, on, &s) },
	})
}

func (a *app) setMeter(ctx context.Context, dev string, on uint32, s *source) error {
	var v family.Attr
	v.SetCommand(family.CommandSetupMeter)
	v.SetEnableMeter(on)
	if s.fd != nil || s.id != nil || s.pinned != "" {
		fd, closer, err := s.open()
		if err != nil {
			return err
		}
		defer closer()
		v.SetFD(fd)
	}
	return a.setAttr(ctx, dev, &v)
}
