// SPDX-License-Identifier: BSD-3-Clause

package specgen

import (
	"fmt"
	"slices"
)

// Set returns the attribute set named name, or nil.
func (f *Family) Set(name string) *AttrSet {
	for _, s := range f.Sets {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Op returns the operation named name, or nil.
func (f *Family) Op(name string) *Op {
	for _, o := range f.Ops {
		if o.Name == name {
			return o
		}
	}
	return nil
}

func (f *Family) addOps(s *Spec) error {
	seen := map[string]bool{}
	for i, so := range s.Operations.List {
		if err := checkName("operation", so.Name, seen); err != nil {
			return err
		}
		o, err := f.newOp(so, i+1)
		if err != nil {
			return fmt.Errorf("operation %s: %w", so.Name, err)
		}
		f.Ops = append(f.Ops, o)
	}
	for i, so := range s.Operations.List {
		if so.Notify == "" {
			continue
		}
		if err := f.resolveNotify(f.Ops[i], so.Notify); err != nil {
			return fmt.Errorf("operation %s: %w", so.Name, err)
		}
	}
	return nil
}

func (f *Family) newOp(so SpecOp, cmd int) (*Op, error) {
	o := &Op{Name: so.Name, Doc: oneLine(so.Doc), Cmd: cmd, Group: so.McastGroup}
	for _, flag := range so.Flags {
		if flag != "admin-perm" {
			return nil, fmt.Errorf("unknown flag %q", flag)
		}
		o.AdminPerm = true
	}
	if so.Notify != "" {
		if so.Do != nil || so.Dump != nil || so.Event != nil {
			return nil, fmt.Errorf("a notification has neither do nor dump")
		}
		return o, f.checkGroup(o)
	}
	o.Set = f.Set(so.AttributeSet)
	if o.Set == nil {
		return nil, fmt.Errorf("no attribute set %q", so.AttributeSet)
	}
	if so.Event != nil {
		return o, f.newEvent(o, so)
	}
	if so.McastGroup != "" {
		return nil, fmt.Errorf("mcgrp without notify or event")
	}
	if so.Do == nil && so.Dump == nil {
		return nil, fmt.Errorf("neither do nor dump")
	}
	var err error
	if o.Do, err = newMsg(o.Set, so.Do); err != nil {
		return nil, fmt.Errorf("do: %w", err)
	}
	if o.Dump, err = newMsg(o.Set, so.Dump); err != nil {
		return nil, fmt.Errorf("dump: %w", err)
	}
	return o, nil
}

func (f *Family) newEvent(o *Op, so SpecOp) error {
	if so.Do != nil || so.Dump != nil {
		return fmt.Errorf("an event has neither do nor dump")
	}
	var err error
	if o.Event, err = lookupAttrs(o.Set, so.Event.Attributes); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	if len(o.Event) == 0 {
		return fmt.Errorf("event: no attributes")
	}
	return f.checkGroup(o)
}

func (f *Family) checkGroup(o *Op) error {
	if !slices.ContainsFunc(f.Groups, func(g SpecMcastGroup) bool { return g.Name == o.Group }) {
		return fmt.Errorf("no multicast group %q", o.Group)
	}
	return nil
}

func newMsg(set *AttrSet, sm *SpecMsg) (*Msg, error) {
	if sm == nil {
		return nil, nil
	}
	req, err := lookupAttrs(set, sm.Request.Attributes)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	reply, err := lookupAttrs(set, sm.Reply.Attributes)
	if err != nil {
		return nil, fmt.Errorf("reply: %w", err)
	}
	return &Msg{req, reply}, nil
}

func lookupAttrs(set *AttrSet, names []string) ([]*Attr, error) {
	var attrs []*Attr
	for _, name := range names {
		a := set.Attr(name)
		if a == nil || a.Kind == KindPad {
			return nil, fmt.Errorf("no attribute %q in set %s", name, set.Name)
		}
		if slices.Contains(attrs, a) {
			return nil, fmt.Errorf("attribute %s is named twice", name)
		}
		attrs = append(attrs, a)
	}
	return attrs, nil
}

func (f *Family) resolveNotify(o *Op, name string) error {
	o.Notify = f.Op(name)
	if o.Notify == nil || o.Notify.Do == nil {
		return fmt.Errorf("notify: no operation %q with a do", name)
	}
	o.Set = o.Notify.Set
	return nil
}
