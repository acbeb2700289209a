// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/loader"
)

func (a *app) progObject() *cobra.Command {
	return a.object("prog", "XDP programs",
		"Attachments stay when this tool ends: they belong to the kernel module or, of the\nembedded server, are pinned in bpffs.",
		a.progShow(), a.progAttach(), a.progReplace(), a.progDetach(), a.progRequires())
}

func (a *app) progShow() *cobra.Command {
	var dev string
	return a.command(spec{
		use:     "show [ dev IF ]",
		short:   "Show the XDP programs on netdevs, whoever attached them",
		long:    "The owner is module for what this family attached, link for the BPF link of\nsomebody else, netlink for what ip-link(8) and the like attached, and redirect for\nthe placeholder of redirect set.\n\nA program with a queue is that of this RX queue alone; it is inactive while the\nnetdev has no such queue. Dispatcher is the program that the netdev has in place\nof those that are shown, and that calls the one of each queue.\n\nBelow a dispatcher of libxdp, named xdp_dispatcher, are the programs that it calls,\nin this order, with the verdicts after which the next one runs.",
		example: "xdpctl-nl prog show\nxdpctl-nl -j prog show dev eth0",
		words: words{
			{name: "dev", arg: "IF", help: "on this netdev, a name or an ifindex", set: setString(&dev), complete: a.completeDev},
		},
		run: func(ctx context.Context) error {
			ctl, err := a.control()
			if err != nil {
				return err
			}
			var filter *family.ProgKey
			if dev != "" {
				index, err := a.ifindex(dev)
				if err != nil {
					return err
				}
				filter = &family.ProgKey{Ifindex: index, Queue: family.QueueAll}
			}
			return a.showAttached(ctx, ctl.Prog(), filter)
		},
	})
}

// progText is an attachment on one line.
func progText(k *family.ProgKey, v *family.Prog) string {
	var b line
	if k.Queue != family.QueueAll {
		b.add("queue", strconv.FormatUint(uint64(k.Queue), 10))
	}
	if v.Has(family.AttrProgMode) {
		b.add("mode", v.Mode.String())
	}
	if v.Has(family.AttrProgProgID) {
		b.add("id", strconv.FormatUint(uint64(v.ProgID), 10))
	}
	if v.Has(family.AttrProgName) && v.Name.String() != "" {
		b.add("name", v.Name.String())
	}
	if v.Has(family.AttrProgTag) {
		b.add("tag", v.Tag.String())
	}
	if v.Has(family.AttrProgOwner) {
		b.add("owner", v.Owner.String())
	}
	if v.Has(family.AttrProgLinkID) {
		b.add("link", strconv.FormatUint(uint64(v.LinkID), 10))
	}
	if v.Has(family.AttrProgHWProgID) {
		b.add("offloaded", strconv.FormatUint(uint64(v.HWProgID), 10))
	}
	if v.Has(family.AttrProgState) {
		b.add("state", v.State.String())
	}
	if v.Has(family.AttrProgDispatcherProgID) {
		b.add("dispatcher", decimal(v.DispatcherProgID))
	}
	need := loader.Requirement{Features: v.RequiredFeatures, RXMetadata: v.RequiredRXMetadataFeatures, Actions: v.RequiredActions}
	if !need.Empty() {
		b.add("requires", needText(&need))
	}
	return b.String()
}

// line is names and values on one line.
type line struct{ words []string }

func (l *line) add(words ...string) { l.words = append(l.words, words...) }

func (l *line) String() string { return strings.Join(l.words, " ") }

// attachment is what the commands attach and replace were asked for.
type attachment struct {
	dev    string
	queue  *uint32
	source source
	mode   family.Mode
	need   required
	how    family.Update
	expect *uint32
	place  place
}

// words are those that attach and replace have in common.
func (at *attachment) words(a *app) words {
	s := &at.source
	return append(words{
		{name: "dev", arg: "IF", help: "on this netdev, a name or an ifindex", need: true, set: setString(&at.dev), complete: a.completeDev},
		{name: "queue", arg: "N", help: "for this RX queue alone; it goes before the program of the whole netdev", set: setQueue(&at.queue)},
		{name: "fd", arg: "N", help: "the program of this file descriptor, which the caller passes on", group: "program", need: true, set: setOptional(&s.fd, 0)},
		{name: "id", arg: "N", help: "the program with this id", group: "program", need: true, set: setOptional(&s.id, 1)},
		{name: "pinned", arg: "PATH", help: "the program pinned there", group: "program", need: true, set: setString(&s.pinned)},
		{name: "obj", arg: "FILE", help: "the program in this object file, which is loaded", group: "program", need: true, set: setString(&s.obj)},
		{name: "prog", arg: "NAME", help: "which of the programs in the object file, if it has many", after: "obj", set: setString(&s.name)},
	}, append(append(s.change.words("obj"), words{
		{name: "mode", arg: "MODE", help: "native, generic, or auto: native where the driver can; auto if not given",
			set:      setChoice(&at.mode, []string{"native", "generic", "auto"}, family.ModeNative, family.ModeGeneric, 0),
			complete: list("native", "generic", "auto")},
	}...), at.need.words()...)...)
}

// setQueue stores the number of an RX queue.
func setQueue(p **uint32) func(string) error {
	return func(s string) error {
		*p = new(uint32)
		return setNumber(*p, 0, family.QueueAll-1)(s)
	}
}

// progKey is the key of the program of a queue, or of the whole netdev.
func progKey(ifindex uint32, queue *uint32) family.ProgKey {
	k := family.ProgKey{Ifindex: ifindex, Queue: family.QueueAll}
	if queue != nil {
		k.Queue = *queue
	}
	return k
}

func (a *app) progAttach() *cobra.Command {
	var at attachment
	return at.source.change.flags(a.command(spec{
		use:   "attach dev IF [ queue N ] { fd N | id N | pinned PATH | obj FILE [ prog NAME ] } [ map NAME=PINNED ]... [ set VAR=VALUE ]... [ --force-repin ] [ mode { native | generic | auto } ] [ require LIST | require-only LIST ] { [ add | replace [ expect ID ] ] | [ prio N ] [ chain-on LIST ] }",
		short: "Attach an XDP program to a netdev",
		long: "With neither add nor replace, the program takes the place of what this family\nattached before, if there is anything. What others attached is never touched.\n\n" +
			"A netdev that lacks what the program needs refuses it, and nothing changes. What\na program in an object file needs is derived from it, see prog requires; with\nrequire there is more of it, with require-only something else. LIST is names of\nXDP features, RX metadata features and actions, as caps show prints them.\n\n" +
			"The object file is loaded as obj load does it, pins of maps included; if it cannot\nbe attached, nothing is left of it. Its maps live on with the program. The maps\nxdp_port and xdp_port_index in it are those of the ports, see port. Where the kernel\nlets no other program count verdicts, and the server is not the kernel module, the\nprogram is given a main function that does, see meter.\n\nWith prio or chain-on the program goes behind a dispatcher, as those of libxdp and\nxdp-loader(8) do: that on the netdev, or a new one. What is not given is as the\nobject says in .xdp_run_config, or 50 and pass. This takes an object file, and goes\nover rtnetlink and past the server, which reports the dispatcher as any program of\nothers.",
		example: "xdpctl-nl prog attach dev eth0 obj filter.o\nxdpctl-nl prog attach dev eth0 obj filter.o prog xdp_drop mode generic add\nxdpctl-nl prog attach dev eth0 queue 2 obj filter.o require tx,hash\nxdpctl-nl prog attach dev eth0 pinned /sys/fs/bpf/filter replace expect 17\nxdpctl-nl prog attach dev eth0 obj filter.o prio 10 chain-on pass,drop",
		words: append(at.words(a),
			append(at.place.words(), word{name: "add", help: "only if nothing is attached", group: "how", set: setUpdate(&at.how, family.UpdateNoexist)},
				word{name: "replace", help: "only if something is attached", group: "how", set: setUpdate(&at.how, family.UpdateExist)},
				word{name: "expect", arg: "ID", help: "only if the program with this id is attached", after: "replace", set: setOptional(&at.expect, 1)},
			)...),
		run: func(ctx context.Context) error {
			if at.place.asked() {
				return a.join(ctx, &at)
			}
			return a.attach(ctx, &at)
		},
	}))
}

func (a *app) progReplace() *cobra.Command {
	at := attachment{how: family.UpdateExist}
	return at.source.change.flags(a.command(spec{
		use:     "replace dev IF [ queue N ] { fd N | id N | pinned PATH | obj FILE [ prog NAME ] } [ map NAME=PINNED ]... [ set VAR=VALUE ]... [ --force-repin ] [ mode { native | generic | auto } ] [ require LIST | require-only LIST ] [ expect ID ]",
		short:   "Replace the XDP program that this family attached to a netdev",
		long:    "No packet passes without a program meanwhile.",
		example: "xdpctl-nl prog replace dev eth0 obj filter.o expect 17",
		words: append(at.words(a),
			word{name: "expect", arg: "ID", help: "only if the program with this id is attached", set: setOptional(&at.expect, 1)}),
		run: func(ctx context.Context) error { return a.attach(ctx, &at) },
	}))
}

func setUpdate(p *family.Update, how family.Update) func(string) error {
	return func(string) error {
		*p = how
		return nil
	}
}

// attach does what was asked for, and prints what is attached then.
func (a *app) attach(ctx context.Context, at *attachment) error {
	if at.source.change.repin && at.source.obj == "" {
		return usagef("--force-repin is for an object file")
	}
	ctl, index, err := a.onDev(at.dev)
	if err != nil {
		return err
	}
	need, err := at.need.of(&at.source)
	if err != nil {
		return err
	}
	key := progKey(index, at.queue)
	if at.source.obj != "" {
		if err := a.attachObject(ctx, ctl, at, &key, need); err != nil {
			return err
		}
		return a.printAttached(ctx, ctl, &key)
	}
	fd, closer, err := at.source.open()
	if err != nil {
		return err
	}
	defer closer()

	var v family.Prog
	v.SetFD(fd)
	need.SetProg(&v)
	if at.mode != 0 {
		v.SetMode(at.mode)
	}
	if at.expect != nil {
		v.SetExpectedProgID(*at.expect)
	}
	if err := ctl.Prog().Update(ctx, &key, &v, at.how); err != nil {
		return err
	}
	return a.printAttached(ctx, ctl, &key)
}

// attachObject loads an object file and attaches its program. If that fails,
// nothing is left of it.
func (a *app) attachObject(ctx context.Context, ctl family.Control, at *attachment, key *family.ProgKey, need *loader.Requirement) error {
	_, prog, err := at.source.read()
	if err != nil {
		return err
	}
	opts := loader.LoadOptions{Programs: []string{prog}, Control: ctl}
	if a.needsMeter() {
		opts.Meter = loader.AddMeter
	}
	obj, err := a.load(ctx, &at.source, opts)
	if err != nil {
		return err
	}
	if err := obj.Attach(ctx, ctl, loader.AttachOptions{
		Program: prog, Ifindex: key.Ifindex, Queue: at.queue, Mode: at.mode,
		Update: at.how, ExpectedProgID: at.expect, Require: need,
	}); err != nil {
		return errors.Join(err, obj.Undo())
	}
	a.tellRoute(obj)
	return a.finish(obj)
}

func (a *app) printAttached(ctx context.Context, ctl family.Control, key *family.ProgKey) error {
	e := family.Entry[family.ProgKey, family.Prog]{Key: *key}
	err := ctl.Prog().Lookup(ctx, key, &e.Value)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if a.asJSON() {
		return a.printJSON(e)
	}
	a.printf("%s %s\n", a.label(key.Ifindex), progText(key, &e.Value))
	return nil
}

func (a *app) progDetach() *cobra.Command {
	var dev string
	var queue, id *uint32
	return a.command(spec{
		use:     "detach dev IF [ queue N | id ID ]",
		short:   "Detach the XDP program that this family attached to a netdev",
		long:    "A queue without a program of its own has that of the whole netdev; without that,\nthe programs of queues stay.\n\nWith id, it is the program with this id behind a dispatcher of libxdp, whoever put it\nthere; with the last one the dispatcher goes.",
		example: "xdpctl-nl prog detach dev eth0\nxdpctl-nl prog detach dev eth0 queue 2",
		words: words{
			{name: "dev", arg: "IF", help: "from this netdev, a name or an ifindex", need: true, set: setString(&dev), complete: a.completeDev},
			{name: "queue", arg: "N", help: "that of this RX queue", group: "which", set: setQueue(&queue)},
			{name: "id", arg: "ID", help: "the program with this id behind a dispatcher", group: "which", set: setOptional(&id, 1)},
		},
		run: func(ctx context.Context) error {
			if id != nil {
				return a.leave(ctx, dev, *id)
			}
			ctl, index, err := a.onDev(dev)
			if err != nil {
				return err
			}
			key := progKey(index, queue)
			if err := ctl.Prog().Delete(ctx, &key); err != nil {
				return err
			}
			if a.asJSON() {
				return a.printJSON(key)
			}
			return nil
		},
	})
}
