// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/loader"
)

// place is the place of a program behind a dispatcher of libxdp.
type place struct {
	priority *uint32
	chainOn  *family.Action
}

// words are those by which the user asks for a place.
func (p *place) words() words {
	return words{
		{name: "prio", arg: "N", help: "behind a dispatcher of libxdp, in ascending order of priorities", set: setOptional(&p.priority, 0)},
		{name: "chain-on", arg: "LIST", help: "behind a dispatcher; after these verdicts the next program runs; none is never",
			set: setActions(&p.chainOn), complete: actionNames},
	}
}

// asked tells whether the program shall be behind a dispatcher.
func (p *place) asked() bool { return p.priority != nil || p.chainOn != nil }

// setActions stores names of actions.
func setActions(p **family.Action) func(string) error {
	return func(s string) error {
		var all family.Action
		for name := range strings.SplitSeq(s, ",") {
			act, err := family.ParseAction(name)
			if err != nil && s != "none" {
				return usagef("%q is none of %s", name, strings.Join(actionNames(), ", "))
			}
			all |= act
		}
		*p = &all
		return nil
	}
}

func actionNames() []string {
	var names []string
	for act := family.ActionAborted; act <= family.ActionRedirect; act <<= 1 {
		names = append(names, act.String())
	}
	return names
}

// errOnlyObject is why nothing but an object file can join a dispatcher.
var errOnlyObject = fmt.Errorf("only a program in an object file can join a dispatcher, since it has to be loaded for its place there (freplace): %w", unix.EOPNOTSUPP)

// join loads the program and puts it behind a dispatcher. That is done over
// rtnetlink, as libxdp does it, and through no door.
func (a *app) join(ctx context.Context, at *attachment) error {
	s := &at.source
	switch {
	case s.obj == "":
		return errOnlyObject
	case at.queue != nil || at.expect != nil || at.how != 0 || at.need.more != nil || at.need.only != nil:
		return usagef("prio and chain-on go with none of queue, add, replace, expect and require")
	}
	o, err := a.joinOptions(at.dev)
	if err != nil {
		return err
	}
	o.Mode, o.Priority, o.ChainOn = at.mode, at.place.priority, at.place.chainOn
	spec, prog, err := s.chosen()
	if err != nil {
		return err
	}
	l := loader.LoadOptions{Programs: []string{prog}}
	if spec.Collection.Maps[loader.PortMap] != nil || spec.Collection.Maps[loader.PortIndexMap] != nil {
		if l.Control, err = a.control(); err != nil {
			return err
		}
	}
	done, err := s.change.apply(spec, &l)
	if err != nil {
		return fmt.Errorf("change %s: %w", s.obj, err)
	}
	defer done()
	obj, err := spec.Join(ctx, l, *o)
	if err != nil {
		return bindFirst(spec, err)
	}
	a.tellRoute(obj)
	id, err := obj.ProgramID(prog)
	if err == nil && a.asJSON() {
		err = a.printJSON(ordered{{"ifindex", o.Ifindex}, {"prog-id", id}, {"name", prog}})
	} else if err == nil {
		a.printf("%s behind dispatcher id %d name %s\n", a.label(o.Ifindex), id, prog)
	}
	return errors.Join(err, a.finish(obj))
}

// joinOptions are those for a netdev. Another process may be in another network
// namespace, with other netdevs.
func (a *app) joinOptions(dev string) (*loader.JoinOptions, error) {
	if strings.HasPrefix(a.server, serverUnix) {
		return nil, usagef("what is behind a dispatcher changes past the server, which server %s cannot tell of its netdevs; name another with --server", a.server)
	}
	index, err := a.ifindex(dev)
	if err != nil {
		return nil, err
	}
	ns, err := a.netnsFD()
	if err != nil {
		return nil, err
	}
	return &loader.JoinOptions{Ifindex: index, NetNS: ns}, nil
}

// leave takes a program away from behind a dispatcher.
func (a *app) leave(ctx context.Context, dev string, id uint32) error {
	o, err := a.joinOptions(dev)
	if err != nil {
		return err
	}
	pins, err := loader.LoadPinning()
	if err != nil {
		return err
	}
	if err := loader.Leave(ctx, pins, *o, id); err != nil {
		return err
	}
	if a.asJSON() {
		return a.printJSON(ordered{{"ifindex", o.Ifindex}, {"prog-id", id}})
	}
	return nil
}

// dispatcher is that of an entry, or nil if the program in it is none. What cannot
// be looked at is shown as the program that it is.
func (a *app) dispatcher(ctx context.Context, e *family.Entry[family.ProgKey, family.Prog]) *loader.Dispatcher {
	if e.Key.Queue != family.QueueAll || e.Value.Owner != family.OwnerNetlink || e.Value.Name.String() != "xdp_dispatcher" {
		return nil
	}
	pins, err := loader.LoadPinning()
	if err != nil {
		return nil
	}
	d, err := pins.DispatcherOf(ctx, e.Key.Ifindex, e.Value.ProgID)
	if err != nil {
		return nil
	}
	return d
}

// memberText is a program behind a dispatcher on a line.
func memberText(m *loader.Member) string {
	chain := "none"
	if m.ChainOn != 0 {
		chain = m.ChainOn.String()
	}
	text := fmt.Sprintf("prio %d id %d name %s tag %s chain-on %s", m.Priority, m.ProgID, m.Name, m.Tag, chain)
	if m.Frags {
		text += " frags"
	}
	return text
}

// withMembers is an entry as JSON, with the programs behind its dispatcher if it has
// one.
func (a *app) withMembers(ctx context.Context, e *family.Entry[family.ProgKey, family.Prog]) (json.RawMessage, error) {
	b, err := json.Marshal(e)
	d := a.dispatcher(ctx, e)
	if err != nil || d == nil {
		return b, err
	}
	list := []ordered{}
	for _, m := range d.Members {
		list = append(list, ordered{{"prog-id", m.ProgID}, {"name", m.Name}, {"tag", m.Tag}, {"prio", m.Priority}, {"chain-on", m.ChainOn}, {"frags", m.Frags}})
	}
	more, err := json.Marshal(ordered{{"dispatcher-version", d.Version}, {"programs", list}})
	if err != nil {
		return nil, err
	}
	return append(append(b[:len(b)-1], ','), more[1:]...), nil
}

// showAttached prints what is attached.
func (a *app) showAttached(ctx context.Context, t family.Table[family.ProgKey, family.Prog], filter *family.ProgKey) error {
	entries := []json.RawMessage{}
	for e, err := range family.All(ctx, t, filter) {
		if err != nil {
			return err
		}
		if a.asJSON() {
			b, err := a.withMembers(ctx, &e)
			if err != nil {
				return err
			}
			entries = append(entries, b)
			continue
		}
		a.printf("%s %s\n", a.label(e.Key.Ifindex), progText(&e.Key, &e.Value))
		if d := a.dispatcher(ctx, &e); d != nil {
			for i := range d.Members {
				a.printf("    %s\n", memberText(&d.Members[i]))
			}
		}
	}
	if a.asJSON() {
		return a.printJSON(entries)
	}
	return nil
}
