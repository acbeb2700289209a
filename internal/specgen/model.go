// SPDX-License-Identifier: BSD-3-Clause

package specgen

import (
	"fmt"
	"slices"
	"strings"
)

// Family is a specification with all references resolved, and what the project
// derives from it: control types and the layout of their structs.
type Family struct {
	Name    string
	Doc     string
	Version int
	Source  string
	Consts  []Const
	Enums   []*Enum
	Sets    []*AttrSet
	Ops     []*Op
	Groups  []SpecMcastGroup
	Types   []*ControlType

	// Objects are what operations NAME-get return, and what events NAME-ntf
	// tell, that belong to no control type.
	Objects []*Object

	// Structs are laid out as the specification says.
	Structs []*PlainStruct
}

// Const is a named number.
type Const struct {
	Name  string
	Doc   string
	Value uint64
}

// PlainStruct is a struct that is no key or value.
type PlainStruct struct {
	Name string
	Doc  string
	Struct
}

// Enum is an enum or flags.
type Enum struct {
	Name    string
	Doc     string
	Flags   bool
	Start   uint64
	Entries []EnumEntry

	// Bits is the width of the attributes of this type: 32 or 64.
	Bits int
	used bool
}

// EnumEntry is a value of an Enum.
type EnumEntry struct {
	Name  string
	Doc   string
	Value uint64
}

// Max returns the greatest value of an enum.
func (e *Enum) Max() uint64 {
	return e.Start + uint64(len(e.Entries)) - 1
}

// Mask returns all bits of flags.
func (e *Enum) Mask() uint64 {
	return 1<<len(e.Entries) - 1
}

// Kind is the type of an attribute.
type Kind string

// Kinds of attributes.
const (
	KindU16    Kind = "u16" // in structs only
	KindU32    Kind = "u32"
	KindU64    Kind = "u64"
	KindString Kind = "string"
	KindBinary Kind = "binary"
	KindPad    Kind = "pad"
)

// AttrSet is an attribute set.
type AttrSet struct {
	Name  string
	Doc   string
	Attrs []*Attr
}

// Attr returns the attribute named name, or nil.
func (s *AttrSet) Attr(name string) *Attr {
	for _, a := range s.Attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// find returns the id of the first attribute that is as f says, or 0.
func (s *AttrSet) find(f func(*Attr) bool) int {
	if i := slices.IndexFunc(s.Attrs, f); i >= 0 {
		return s.Attrs[i].ID
	}
	return 0
}

// Attr is an attribute.
type Attr struct {
	Set    *AttrSet
	Name   string
	Doc    string
	ID     int
	Kind   Kind
	Enum   *Enum
	Hex    bool
	Checks SpecChecks
}

// IsUpdate tells whether a is the flags argument of update, which is no part of
// a value.
func (a *Attr) IsUpdate() bool {
	return a.Enum != nil && a.Enum.Name == updateEnum
}

// Op is an operation or a notification.
type Op struct {
	Name      string
	Doc       string
	Cmd       int
	Set       *AttrSet
	AdminPerm bool
	Do, Dump  *Msg
	Notify    *Op
	Event     []*Attr
	Group     string
}

// Msg is a request with its reply.
type Msg struct {
	Request []*Attr
	Reply   []*Attr
}

// Base returns the name of the operation without its -get, -set, -del or -ntf.
func (o *Op) Base() string {
	base, _, _ := cutLast(o.Name)
	return base
}

// Verb returns get, set, del or ntf.
func (o *Op) Verb() string {
	_, verb, _ := cutLast(o.Name)
	return verb
}

// Request returns what the requests of o may contain, in order of attribute
// id. A do and a dump share one policy, so they share this.
func (o *Op) Request() []*Attr {
	var attrs []*Attr
	for _, m := range []*Msg{o.Do, o.Dump} {
		if m != nil {
			attrs = append(attrs, m.Request...)
		}
	}
	return sortAttrs(attrs)
}

// sortAttrs returns attrs in order of id, each once.
func sortAttrs(attrs []*Attr) []*Attr {
	out := slices.Clone(attrs)
	slices.SortFunc(out, func(a, b *Attr) int { return a.ID - b.ID })
	return slices.Compact(out)
}

func cutLast(name string) (before, after string, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}

// NewFamily resolves the references of a specification, checks it, and derives
// the control types. source is the name that generated files give it.
func NewFamily(s *Spec, source string) (*Family, error) {
	f := &Family{
		Name:    s.Name,
		Doc:     s.Doc,
		Version: 1,
		Source:  source,
		Groups:  s.McastGroups.List,
	}
	for _, step := range []func(*Spec) error{
		f.addDefinitions, f.addSets, f.addOps,
	} {
		if err := step(s); err != nil {
			return nil, fmt.Errorf("spec of %s: %w", s.Name, err)
		}
	}
	if err := f.addTypes(); err != nil {
		return nil, fmt.Errorf("spec of %s: %w", s.Name, err)
	}
	return f, nil
}

func (f *Family) addDefinitions(s *Spec) error {
	seen := map[string]bool{}
	for _, d := range s.Definitions {
		if err := checkName("definition", d.Name, seen); err != nil {
			return err
		}
		switch d.Type {
		case "const":
			if d.Value == nil {
				return fmt.Errorf("definition %s: no value", d.Name)
			}
			f.Consts = append(f.Consts, Const{d.Name, d.Doc, *d.Value})
		case "enum", "flags":
			e, err := newEnum(d)
			if err != nil {
				return err
			}
			f.Enums = append(f.Enums, e)
		default:
			return fmt.Errorf("definition %s: unknown type %q", d.Name, d.Type)
		}
	}
	return nil
}

// isStruct tells whether no operation has the set.
func (s *Spec) isStruct(set string) bool {
	return !slices.ContainsFunc(s.Operations.List, func(o SpecOp) bool { return o.AttributeSet == set })
}

func newPlainStruct(d SpecSet) (*PlainStruct, error) {
	var members []Member
	if len(d.Attributes) == 0 {
		return nil, fmt.Errorf("no members")
	}
	seen := map[string]bool{}
	for _, m := range d.Attributes {
		if err := checkName("member", m.Name, seen); err != nil {
			return nil, err
		}
		a := &Attr{Name: m.Name, Doc: oneLine(m.Doc), Kind: Kind(m.Type)}
		switch a.Kind {
		case KindU16, KindU32, KindU64:
			members = append(members, newMember(a))
		default:
			return nil, fmt.Errorf("member %s: unknown type %q", m.Name, m.Type)
		}
	}
	s, err := layOut(members)
	if err != nil {
		return nil, err
	}
	return &PlainStruct{d.Name, oneLine(d.Doc), s}, nil
}

func newEnum(d SpecDef) (*Enum, error) {
	e := &Enum{Name: d.Name, Doc: d.Doc, Flags: d.Type == "flags", Start: d.ValueStart, Bits: 32}
	if len(d.Entries) == 0 {
		return nil, fmt.Errorf("definition %s: no entries", d.Name)
	}
	if e.Flags && (e.Start != 0 || len(d.Entries) > 31) {
		return nil, fmt.Errorf("definition %s: flags start at bit 0 and have at most 31", d.Name)
	}
	seen := map[string]bool{}
	for i, ent := range d.Entries {
		if err := checkName("entry of "+d.Name, ent.Name, seen); err != nil {
			return nil, err
		}
		v := e.Start + uint64(i)
		if e.Flags {
			v = 1 << i
		}
		e.Entries = append(e.Entries, EnumEntry{ent.Name, ent.Doc, v})
	}
	return e, nil
}

func checkName(what, name string, seen map[string]bool) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%s: bad name %q", what, name)
	}
	if seen[name] {
		return fmt.Errorf("%s %s: named twice", what, name)
	}
	seen[name] = true
	return nil
}

// Enum returns the enum or flags named name, or nil.
func (f *Family) Enum(name string) *Enum {
	for _, e := range f.Enums {
		if e.Name == name {
			return e
		}
	}
	return nil
}

// Const returns the constant named name, or nil.
func (f *Family) Const(name string) *Const {
	for i := range f.Consts {
		if f.Consts[i].Name == name {
			return &f.Consts[i]
		}
	}
	return nil
}

func (f *Family) addSets(s *Spec) error {
	seen := map[string]bool{}
	for _, ss := range s.AttributeSets {
		if err := checkName("attribute set", ss.Name, seen); err != nil {
			return err
		}
		if s.isStruct(ss.Name) {
			ps, err := newPlainStruct(ss)
			if err != nil {
				return fmt.Errorf("struct %s: %w", ss.Name, err)
			}
			f.Structs = append(f.Structs, ps)
			continue
		}
		set := &AttrSet{Name: ss.Name, Doc: ss.Doc}
		names := map[string]bool{}
		for i, sa := range ss.Attributes {
			if err := checkName("attribute of "+ss.Name, sa.Name, names); err != nil {
				return err
			}
			a, err := f.newAttr(set, sa, i+1)
			if err != nil {
				return fmt.Errorf("attribute %s of %s: %w", sa.Name, ss.Name, err)
			}
			set.Attrs = append(set.Attrs, a)
		}
		f.Sets = append(f.Sets, set)
	}
	return nil
}

// maxAttrs is the number of attributes that a 64-bit mask of presence can hold
// beside bit 0, which is no attribute.
const maxAttrs = 63

func (f *Family) newAttr(set *AttrSet, sa SpecAttr, id int) (*Attr, error) {
	a := &Attr{
		Set: set, Name: sa.Name, Doc: oneLine(sa.Doc), ID: id,
		Kind: Kind(sa.Type), Checks: sa.Checks,
	}
	if id > maxAttrs {
		return nil, fmt.Errorf("a set has at most %d attributes", maxAttrs)
	}
	if err := a.checkChecks(); err != nil {
		return nil, err
	}
	switch sa.DisplayHint {
	case "":
	case "hex":
		a.Hex = true
	default:
		return nil, fmt.Errorf("unknown display-hint %q", sa.DisplayHint)
	}
	if sa.Enum == "" {
		return a, nil
	}
	a.Enum = f.Enum(sa.Enum)
	if a.Enum == nil {
		return nil, fmt.Errorf("no enum %q", sa.Enum)
	}
	return a, a.Enum.use(a.Kind)
}

// use notes the width of an attribute of this type.
func (e *Enum) use(k Kind) error {
	bits := map[Kind]int{KindU32: 32, KindU64: 64}[k]
	if bits == 0 {
		return fmt.Errorf("enum %s in an attribute of type %s", e.Name, k)
	}
	if e.used && bits != e.Bits {
		return fmt.Errorf("enum %s is used both in u32 and in u64", e.Name)
	}
	e.used, e.Bits = true, bits
	return nil
}

// maxPolicyBound is the greatest bound that a struct nla_policy holds.
const maxPolicyBound = 1<<15 - 1

func (a *Attr) checkChecks() error {
	c := a.Checks
	for _, v := range []*uint64{c.Min, c.Max} {
		if v != nil && *v > maxPolicyBound {
			return fmt.Errorf("bound %d is greater than %d", *v, maxPolicyBound)
		}
	}
	number := c.Min != nil || c.Max != nil
	var ok bool
	switch a.Kind {
	case KindU32, KindU64:
		ok = c.MaxLen == nil && c.ExactLen == nil
	case KindString:
		ok = !number && c.ExactLen == nil
		if c.MaxLen == nil || *c.MaxLen < 1 {
			return fmt.Errorf("a string needs the check max-len")
		}
	case KindBinary:
		ok = !number && c.MaxLen == nil
		if c.ExactLen == nil || *c.ExactLen < 1 {
			return fmt.Errorf("a binary needs the check exact-len")
		}
	case KindPad:
		ok = c == SpecChecks{}
	default:
		return fmt.Errorf("unknown type %q", a.Kind)
	}
	if !ok {
		return fmt.Errorf("a check that does not go with type %s", a.Kind)
	}
	return nil
}
