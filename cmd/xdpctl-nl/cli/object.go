// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/spf13/cobra"

	"github.com/xdpctl/xdpctl-nl/loader"
)

// objectChange is what to change of an object before it is loaded.
type objectChange struct {
	maps  map[string]string // maps that take the place of those defined: paths of pins
	vars  map[string]string
	repin bool
}

// words are those by which the user says what to change.
func (c *objectChange) words(after string) words {
	return words{
		{name: "map", arg: "NAME=PINNED", help: "the map pinned at PINNED in the place of the map NAME, or of that with the id NAME; can be repeated",
			after: after, many: true, set: setPair(&c.maps)},
		{name: "set", arg: "VAR=VALUE", help: "give a global variable a value; can be repeated", after: after, many: true, set: setPair(&c.vars)},
	}
}

// flags are those of a command that loads.
func (c *objectChange) flags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&c.repin, "force-repin", false, "pin new maps in the place of those that are pinned")
	return cmd
}

// setPair stores a name and a value.
func setPair(p *map[string]string) func(string) error {
	return func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" || value == "" {
			return usagef("%q is not a name and a value with = between", s)
		}
		if _, twice := (*p)[name]; twice {
			return usagef("%q is there twice", name)
		}
		if *p == nil {
			*p = map[string]string{}
		}
		(*p)[name] = value
		return nil
	}
}

// apply changes an object. The maps opened for it are closed by done, once it is
// loaded.
func (c *objectChange) apply(spec *loader.Spec, o *loader.LoadOptions) (done func(), err error) {
	var open []*ebpf.Map
	closeAll := func() {
		for _, m := range open {
			m.Close()
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	o.ForceRepin = c.repin
	for _, name := range slices.Sorted(maps.Keys(c.vars)) {
		if err := spec.SetVariable(name, c.vars[name]); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.maps)) {
		m, err := ebpf.LoadPinnedMap(c.maps[name], nil)
		if err != nil {
			return nil, fmt.Errorf("open the map pinned at %s: %w", c.maps[name], err)
		}
		open = append(open, m)
		var id uint32
		if spec.Collection.Maps[name] == nil && setNumber(&id, 1, 1<<32-1)(name) == nil {
			if byID, ok := spec.MapByID(id); ok {
				name = byID
			}
		}
		if err := spec.UseMap(name, m); err != nil {
			return nil, err
		}
	}
	return closeAll, nil
}

func (a *app) objObject() *cobra.Command {
	return a.object("obj", "BPF object files",
		"An object is read as libbpf does it. If its maps are defined as iproute2 had it\nbefore libbpf, in section maps, it is read as iproute2 did it: the compatibility\npath. Where maps are pinned follows the object, /etc/iproute2/bpf_pinning and\n/etc/xdpctl/pinning.conf.",
		a.objShow(), a.objLoad(), a.objUnload(), a.objGraft())
}

// progTypes are the types of programs by their names here.
var progTypes = []struct {
	name string
	typ  ebpf.ProgramType
}{{"xdp", ebpf.XDP}, {"cls", ebpf.SchedCLS}, {"act", ebpf.SchedACT}}

// typeWord is the word for the type of a program.
func typeWord(p *ebpf.ProgramType, help string) word {
	return word{name: "type", arg: "TYPE", help: help, complete: list("xdp", "cls", "act"),
		set: setChoice(p, []string{"xdp", "cls", "act"}, ebpf.XDP, ebpf.SchedCLS, ebpf.SchedACT)}
}

// typeName is the name of a type of programs.
func typeName(t ebpf.ProgramType) string {
	for _, p := range progTypes {
		if p.typ == t {
			return p.name
		}
	}
	return strings.ToLower(t.String())
}

func (a *app) objShow() *cobra.Command {
	var s source
	return a.command(spec{
		use:   "show FILE",
		short: "Show what is in an object file",
		long: "Its programs with what they need of a netdev, maps, global variables, license,\nand which path it would be loaded on and why.\n\n" +
			"Nothing is loaded, so that this takes neither root nor a server.",
		example: "xdpctl-nl obj show filter.o\nxdpctl-nl -j obj show filter.o",
		words:   words{{arg: "FILE", help: "the object file", need: true, set: setString(&s.obj)}},
		run: func(context.Context) error {
			spec, err := s.object()
			if err != nil {
				return err
			}
			return a.showObject(spec)
		},
	})
}

func (a *app) showObject(s *loader.Spec) error {
	progs, err := a.showPrograms(s)
	if err != nil {
		return err
	}
	defs, vars := a.showMaps(s), a.showVariables(s)
	if a.asJSON() {
		return a.printJSON(ordered{
			{"name", s.Name}, {"sha1", s.UID}, {"path", s.Route.String()}, {"why", s.Why}, {"license", s.License},
			{"programs", progs.json}, {"maps", defs.json}, {"variables", vars.json},
		})
	}
	license := "license " + s.License
	if s.License == "" {
		license = "no license"
	}
	a.printf("%s: %s path: %s; %s\n", s.Name, s.Route, s.Why, license)
	for _, part := range []shown{progs, defs, vars} {
		for _, l := range part.text {
			a.printf("%s\n", l)
		}
	}
	return nil
}

// shown is a part of an object, both as lines and as JSON.
type shown struct {
	text []string
	json []ordered
}

func (a *app) showPrograms(s *loader.Spec) (shown, error) {
	out := shown{json: []ordered{}}
	for _, name := range slices.Sorted(maps.Keys(s.Collection.Programs)) {
		p := s.Collection.Programs[name]
		typ := "any"
		if p.Type != ebpf.UnspecifiedProgram {
			typ = typeName(p.Type)
		}
		text := fmt.Sprintf("program %s: type %s section %s insns %d", name, typ, p.SectionName, len(p.Instructions))
		o := ordered{{"name", name}, {"type", typ}, {"section", p.SectionName}, {"insns", len(p.Instructions)}}
		if p.Type == ebpf.XDP {
			need, err := loader.Requires(s.Collection, name)
			if err != nil {
				return out, err
			}
			text += " requires " + needText(need)
			if need.Computed {
				text += " and what it computes"
			}
			o = append(append(o, needMembers("required-", need)...), member{"computed", need.Computed})
		}
		out.text, out.json = append(out.text, text), append(out.json, o)
	}
	return out, nil
}

func (a *app) showMaps(s *loader.Spec) shown {
	out := shown{json: []ordered{}}
	for _, name := range slices.Sorted(maps.Keys(s.Collection.Maps)) {
		if strings.HasPrefix(name, ".") {
			continue // of variables
		}
		m := s.Collection.Maps[name]
		pin := s.Pins[name].String()
		text := fmt.Sprintf("map %s: type %s key %d value %d entries %d flags %#x pin %s", name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags, pin)
		o := ordered{{"name", name}, {"type", m.Type.String()}, {"key-size", m.KeySize}, {"value-size", m.ValueSize},
			{"max-entries", m.MaxEntries}, {"flags", m.Flags}, {"pin", pin}}
		if m.InnerMap != nil {
			text += " inner " + m.InnerMap.Type.String()
			o = append(o, member{"inner-type", m.InnerMap.Type.String()})
		}
		holds := []ordered{}
		for _, kv := range m.Contents {
			if what, ok := kv.Value.(string); ok {
				text += fmt.Sprintf(" [%v]=%s", kv.Key, what)
				holds = append(holds, ordered{{"key", kv.Key}, {"value", what}})
			}
		}
		if len(holds) > 0 {
			o = append(o, member{"contents", holds})
		}
		out.text, out.json = append(out.text, text), append(out.json, o)
	}
	return out
}

func (a *app) showVariables(s *loader.Spec) shown {
	out := shown{json: []ordered{}}
	for _, name := range slices.Sorted(maps.Keys(s.Collection.Variables)) {
		v := s.Collection.Variables[name]
		value, _ := s.Variable(name) // it is there
		out.text = append(out.text, fmt.Sprintf("variable %s: section %s size %d value %v", name, v.SectionName, v.Size(), value))
		out.json = append(out.json, ordered{{"name", name}, {"section", v.SectionName}, {"size", v.Size()}, {"value", value}})
	}
	return out
}

func (a *app) objLoad() *cobra.Command {
	var s source
	var o loader.LoadOptions
	return s.change.flags(a.command(spec{
		use:   "load FILE [ pin DIR ] [ prog NAME ] [ type TYPE ] [ map NAME=PINNED ]... [ set VAR=VALUE ]... [ --force-repin ]",
		short: "Load an object file and pin its programs",
		long: "Maps that the object wants pinned are, and used if they are there already and of\nthe same shape. All programs that have a type are loaded, or the one named, with\n" +
			"those that it reaches by tail calls. If anything fails, nothing is left.\n\nWhat is pinned can be attached with prog attach pinned.",
		example: "xdpctl-nl obj load filter.o\nxdpctl-nl obj load filter.o pin /sys/fs/bpf/filter set verdict=1 map stats=/sys/fs/bpf/stats",
		words: append(words{
			{arg: "FILE", help: "the object file", need: true, set: setString(&s.obj)},
			{name: "pin", arg: "PATH", help: "the directory in which the programs are pinned, by their names; if not given, one of the object's name where maps are pinned by name", set: setString(&o.PinPrograms)},
			{name: "prog", arg: "NAME", help: "only the program of this name, or in the section of this name", set: setString(&s.name)},
			typeWord(&o.Type, "the type of a program that has none: xdp, cls or act; xdp if not given"),
		}, s.change.words("")...),
		run: func(ctx context.Context) error {
			if s.name != "" {
				o.Programs = []string{s.name}
			}
			spec, err := s.object()
			if err != nil {
				return err
			}
			if err := defaultDir(&o.PinPrograms, spec); err != nil {
				return err
			}
			if spec.Collection.Maps[loader.PortMap] != nil || spec.Collection.Maps[loader.PortIndexMap] != nil {
				if o.Control, err = a.control(); err != nil {
					return err
				}
			}
			obj, err := a.load(ctx, &s, o)
			if err != nil {
				return err
			}
			return errors.Join(a.printLoaded(obj, o.PinPrograms), a.finish(obj))
		},
	}))
}

// defaultDir sets the directory in which programs are pinned, if it is not given.
func defaultDir(dir *string, spec *loader.Spec) error {
	if *dir != "" {
		return nil
	}
	pins, err := loader.LoadPinning()
	if err != nil {
		return err
	}
	if *dir = pins.ProgramDir(spec); *dir == "" {
		return usagef("%s has no name that a directory could have; name one with pin", spec.Name)
	}
	return nil
}

// printLoaded prints what was loaded, and where it is.
func (a *app) printLoaded(obj *loader.Object, dir string) error {
	progs, defs := []ordered{}, []ordered{}
	if !a.asJSON() {
		a.printf("path %s: %s\n", obj.Route, obj.Why)
	}
	for _, name := range slices.Sorted(maps.Keys(obj.Programs)) {
		id, err := obj.ProgramID(name)
		if err != nil {
			return err
		}
		progs = append(progs, ordered{{"name", name}, {"prog-id", id}, {"pinned", dir + "/" + name}})
		if !a.asJSON() {
			a.printf("program %s: id %d pinned %s/%s\n", name, id, dir, name)
		}
	}
	for _, st := range obj.States {
		info, err := obj.Maps[st.Name].Info()
		if err != nil {
			return err
		}
		id, _ := info.ID()
		o := ordered{{"name", st.Name}, {"map-id", id}}
		text := fmt.Sprintf("map %s: id %d", st.Name, id)
		if st.Path != "" {
			o, text = append(o, member{"pinned", st.Path}), text+" pinned "+st.Path
		}
		if st.Reused {
			text += " reused"
		}
		defs = append(defs, append(o, member{"reused", st.Reused}))
		if !a.asJSON() {
			a.printf("%s\n", text)
		}
	}
	if a.asJSON() {
		return a.printJSON(ordered{{"path", obj.Route.String()}, {"why", obj.Why}, {"programs", progs}, {"maps", defs}})
	}
	return nil
}

func (a *app) objUnload() *cobra.Command {
	var s source
	var o loader.UnloadOptions
	return a.command(spec{
		use:   "unload FILE [ pin DIR ] [ type TYPE ] [ all ]",
		short: "Take away the pins that obj load made",
		long: "Those of its programs, and those of maps that are for this object alone. With\nall, those of maps too that other objects may share. What is pinned under these\n" +
			"names and is not of this object is left alone, and so is what is attached.",
		example: "xdpctl-nl obj unload filter.o\nxdpctl-nl obj unload filter.o pin /sys/fs/bpf/filter all",
		words: words{
			{arg: "FILE", help: "the object file", need: true, set: setString(&s.obj)},
			{name: "pin", arg: "PATH", help: "the directory in which the programs are pinned, if it was given", set: setString(&o.PinPrograms)},
			typeWord(&o.Type, "the type that it was loaded with"),
			{name: "all", help: "the pins of maps that others may share too", set: func(string) error { o.All = true; return nil }},
		},
		run: func(ctx context.Context) error {
			spec, err := s.object()
			if err != nil {
				return err
			}
			if err := defaultDir(&o.PinPrograms, spec); err != nil {
				return err
			}
			removed, err := spec.Unload(ctx, o)
			if a.asJSON() && err == nil {
				return a.printJSON(ordered{{"removed", append([]string{}, removed...)}})
			}
			for _, path := range removed {
				a.printf("removed %s\n", path)
			}
			return err
		},
	})
}

func (a *app) objGraft() *cobra.Command {
	var s source
	var o loader.GraftOptions
	return a.command(spec{
		use:   "graft FILE map PATH [ key N ] [ prog NAME ] [ type TYPE ]",
		short: "Put a program into a live program array",
		long: "In the place of the one that is at this key, if there is one, as tc exec bpf graft\ndoes it. PATH is that of a pinned program array; m:globals/NAME is one of\n" +
			"iproute2's. Without key, it is the second number in the name of the section, ID/KEY.",
		example: "xdpctl-nl obj graft filter.o map m:globals/jump key 0 prog drop",
		words: words{
			{arg: "FILE", help: "the object file", need: true, set: setString(&s.obj)},
			{name: "map", arg: "PATH", help: "the program array pinned there", need: true, set: setString(&o.Map)},
			{name: "key", arg: "N", help: "at this key", set: setOptional(&o.Key, 0)},
			{name: "prog", arg: "NAME", help: "the program of this name, or in the section of this name", set: setString(&o.Program)},
			typeWord(&o.Type, "the type of a program that has none; that of the programs in the map if not given, or cls"),
		},
		run: func(ctx context.Context) error {
			spec, err := s.object()
			if err != nil {
				return err
			}
			return choice(spec.Graft(ctx, o))
		},
	})
}
