// SPDX-License-Identifier: BSD-3-Clause

package specgen

import (
	"fmt"
	"slices"
	"strings"
)

// Names that the specification gives a meaning.
const (
	ctrlTypeEnum = "ctrl-type"
	ctrlOpEnum   = "ctrl-op"
	updateEnum   = "update"
	typePrefix   = "xdp-"
	presentName  = "present"
)

// maxMapName is the longest name of a BPF map.
const maxMapName = 15

// ControlType is a table from a key to a value.
type ControlType struct {
	// Name is the name of the entry in enum ctrl-type, xdp-NAME; Base is
	// NAME.
	Name string
	Base string
	Doc  string
	ID   uint64

	Set                *AttrSet
	Get, Put, Del, Ntf *Op
	Key, Value         Struct
	PadAttr            int
	UpdateAttr         int

	// OldSizes are the sizes that the value had in earlier versions, the
	// oldest first.
	OldSizes []int
}

// Object is what an operation NAME-get returns, or an event NAME-ntf tells, that
// belongs to no control type.
type Object struct {
	Name  string
	Doc   string
	Get   *Op // or the event
	Set   *AttrSet
	Value Struct
}

// IsEvent tells whether o is what an event tells.
func (o *Object) IsEvent() bool { return o.Get.Event != nil }

func (f *Family) addTypes() error {
	e := f.Enum(ctrlTypeEnum)
	if e == nil || e.Flags || e.Start != 1 {
		return fmt.Errorf("no enum %s with value-start 1", ctrlTypeEnum)
	}
	if up := f.Enum(updateEnum); up != nil && (up.Flags || up.Start != 0) {
		return fmt.Errorf("enum %s does not start at 0", updateEnum)
	}
	bases := map[string]bool{}
	for _, ent := range e.Entries {
		t, err := f.newType(ent)
		if err != nil {
			return fmt.Errorf("control type %s: %w", ent.Name, err)
		}
		f.Types = append(f.Types, t)
		bases[t.Base] = true
	}
	if err := f.addObjects(bases); err != nil {
		return err
	}
	if err := f.checkStructs(); err != nil {
		return err
	}
	return f.checkSizes()
}

// checkStructs refuses structs that have the name of a key or value.
func (f *Family) checkStructs() error {
	for _, s := range f.Structs {
		for _, t := range f.Types {
			if s.Name == t.Base || s.Name == t.Base+"-key" {
				return fmt.Errorf("struct %s: control type %s has a struct of this name", s.Name, t.Name)
			}
		}
	}
	return nil
}

func (f *Family) newType(ent EnumEntry) (*ControlType, error) {
	base, ok := strings.CutPrefix(ent.Name, typePrefix)
	if !ok {
		return nil, fmt.Errorf("the name does not begin with %s", typePrefix)
	}
	if len(ent.Name) > maxMapName {
		return nil, fmt.Errorf("the name of a map has at most %d characters", maxMapName)
	}
	t := &ControlType{
		Name: ent.Name, Base: base, Doc: oneLine(ent.Doc), ID: ent.Value,
		Get: f.Op(base + "-get"), Put: f.Op(base + "-set"),
		Del: f.Op(base + "-del"), Ntf: f.Op(base + "-ntf"),
	}
	if err := t.checkOps(); err != nil {
		return nil, err
	}
	t.Set = t.Get.Set
	t.PadAttr = t.Set.find(func(a *Attr) bool { return a.Kind == KindPad })
	if err := t.layOut(); err != nil {
		return nil, err
	}
	return t, t.addOldSizes(f)
}

// checkOps checks that the operations are there and are about the same table.
func (t *ControlType) checkOps() error {
	if t.Get == nil || t.Get.Do == nil || t.Get.Dump == nil {
		return fmt.Errorf("no operation %s-get with do and dump", t.Base)
	}
	for _, o := range []*Op{t.Put, t.Del} {
		if o == nil {
			continue
		}
		if o.Do == nil || o.Dump != nil {
			return fmt.Errorf("operation %s has no do, or has a dump", o.Name)
		}
		if o.Set != t.Get.Set {
			return fmt.Errorf("operation %s has another attribute set than %s", o.Name, t.Get.Name)
		}
		for _, a := range t.Get.Do.Request {
			if !slices.Contains(o.Do.Request, a) {
				return fmt.Errorf("operation %s lacks the key attribute %s", o.Name, a.Name)
			}
		}
	}
	if t.Del != nil && len(t.Del.Do.Request) != len(t.Get.Do.Request) {
		return fmt.Errorf("operation %s takes more than the key", t.Del.Name)
	}
	if t.Ntf != nil && t.Ntf.Notify != t.Get {
		return fmt.Errorf("operation %s does not notify of %s", t.Ntf.Name, t.Get.Name)
	}
	return nil
}

// layOut lays out key and value.
func (t *ControlType) layOut() error {
	key := t.Get.Do.Request
	if len(key) == 0 {
		return fmt.Errorf("no key")
	}
	var members []Member
	for _, a := range key {
		if !slices.Contains(t.Get.Do.Reply, a) {
			return fmt.Errorf("key attribute %s is not in the reply", a.Name)
		}
		m := newMember(a)
		m.Key = true
		members = append(members, m)
	}
	var err error
	if t.Key, err = layOut(members); err != nil {
		return err
	}

	attrs := slices.Clone(t.Get.Do.Reply)
	if t.Put != nil {
		attrs = append(attrs, t.Put.Do.Request...)
	}
	members = nil
	for _, a := range sortAttrs(attrs) {
		switch {
		case slices.Contains(key, a):
			continue
		case a.IsUpdate():
			t.UpdateAttr = a.ID
			continue
		}
		m := newMember(a)
		m.Reply = slices.Contains(t.Get.Do.Reply, a)
		m.Set = t.Put != nil && slices.Contains(t.Put.Do.Request, a)
		members = append(members, m)
	}
	t.Value, err = layOut(append([]Member{{Name: presentName, Elem: 8}}, members...))
	return err
}

// addOldSizes collects the constants NAME-value-size-N.
func (t *ControlType) addOldSizes(f *Family) error {
	prefix := t.Base + "-value-size-"
	for n := 1; ; n++ {
		c := f.Const(fmt.Sprintf("%s%d", prefix, n))
		if c == nil {
			break
		}
		size := int(c.Value)
		if c.Value >= uint64(t.Value.Size) || !t.Value.boundary(size) {
			return fmt.Errorf("%s: %d is not the size of an earlier value", c.Name, c.Value)
		}
		if n > 1 && size <= t.OldSizes[n-2] {
			return fmt.Errorf("%s: %d is not greater than the size before it", c.Name, c.Value)
		}
		t.OldSizes = append(t.OldSizes, size)
	}
	for _, c := range f.Consts {
		if strings.HasPrefix(c.Name, prefix) && !slices.Contains(t.OldSizes, int(c.Value)) {
			return fmt.Errorf("%s: numbers do not follow from 1", c.Name)
		}
	}
	return nil
}

// Cut returns the struct as it was when it had size bytes.
func (s Struct) Cut(size int) Struct {
	out := Struct{Size: size}
	for _, m := range s.Members {
		if m.Offset < size {
			out.Members = append(out.Members, m)
		}
	}
	return out
}

// boundary tells whether a struct that was cut off at size would have been
// whole.
func (s Struct) boundary(size int) bool {
	if size <= s.Members[0].Size() || size%8 != 0 {
		return false
	}
	for _, m := range s.Members {
		if !m.Pad && m.Offset < size && m.Offset+m.Size() > size {
			return false
		}
	}
	return true
}

// checkSizes refuses control types that a map cannot tell apart.
func (f *Family) checkSizes() error {
	type sizes struct{ key, value int }
	seen := map[sizes]string{}
	for _, t := range f.Types {
		for i, value := range append([]int{t.Value.Size}, t.OldSizes...) {
			what := t.Name
			if i > 0 {
				what = fmt.Sprintf("an older %s", t.Name)
			}
			s := sizes{t.Key.Size, value}
			if other, ok := seen[s]; ok {
				return fmt.Errorf("control types %s and %s both have key size %d and value size %d, by which a map tells them apart",
					other, what, s.key, s.value)
			}
			seen[s] = what
		}
	}
	return nil
}

// addObjects collects the operations that belong to no control type.
func (f *Family) addObjects(bases map[string]bool) error {
	for _, o := range f.Ops {
		if bases[o.Base()] {
			if !slices.Contains([]string{"get", "set", "del", "ntf"}, o.Verb()) {
				return fmt.Errorf("operation %s: unknown verb %q", o.Name, o.Verb())
			}
			continue
		}
		var reply, request []*Attr
		switch {
		case o.Event != nil && o.Verb() != "ntf":
			return fmt.Errorf("event %s: the name does not end with -ntf", o.Name)
		case o.Event != nil:
			reply = o.Event
		case o.Verb() == "get" && o.Do != nil:
			reply, request = o.Do.Reply, o.Do.Request
		default:
			return fmt.Errorf("operation %s belongs to no control type and is no -get with a do", o.Name)
		}
		members := []Member{{Name: presentName, Elem: 8}}
		for _, a := range sortAttrs(reply) {
			m := newMember(a)
			m.Reply = true
			m.Set = slices.Contains(request, a)
			members = append(members, m)
		}
		value, err := layOut(members)
		if err != nil {
			return fmt.Errorf("operation %s: %w", o.Name, err)
		}
		f.Objects = append(f.Objects, &Object{
			Name: o.Base(), Doc: oneLine(o.Set.Doc), Get: o, Set: o.Set, Value: value,
		})
	}
	return nil
}
