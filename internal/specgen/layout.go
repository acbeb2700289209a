// SPDX-License-Identifier: BSD-3-Clause

package specgen

import "fmt"

// Struct is the C struct of a key or a value.
type Struct struct {
	Members []Member
	Size    int
}

// Member is a member of a Struct.
type Member struct {
	// Attr is the attribute that the member holds; nil for padding and for
	// present.
	Attr *Attr
	Name string
	Pad  bool

	Offset int

	// Elem is the size of an element, 1, 2, 4 or 8; Count is the number of
	// elements of an array, or 0.
	Elem  int
	Count int

	// Key, Reply and Set tell where the attribute stands: in the key, in
	// the reply to -get, in the request of -set.
	Key, Reply, Set bool
}

// Size returns the size in bytes.
func (m Member) Size() int {
	return m.Elem * max(m.Count, 1)
}

// Attrs returns the members that hold attributes.
func (s Struct) Attrs() []Member {
	var out []Member
	for _, m := range s.Members {
		if m.Attr != nil {
			out = append(out, m)
		}
	}
	return out
}

// newMember returns the member that holds a.
func newMember(a *Attr) Member {
	m := Member{Attr: a, Name: cName(a.Name)}
	switch a.Kind {
	case KindU16:
		m.Elem = 2
	case KindU32:
		m.Elem = 4
	case KindU64:
		m.Elem = 8
	case KindString:
		m.Elem, m.Count = 1, (*a.Checks.MaxLen+1+7)&^7
	case KindBinary:
		m.Elem, m.Count = 1, *a.Checks.ExactLen
	}
	return m
}

// layOut returns a struct of the members in their order, naturally aligned,
// every gap filled with a member padN.
func layOut(members []Member) (Struct, error) {
	var s Struct
	pads, align := 0, 1
	pad := func(to int) {
		gap := (to - s.Size%to) % to
		if gap == 0 {
			return
		}
		m := Member{Name: fmt.Sprintf("pad%d", pads), Pad: true, Offset: s.Size, Elem: 1, Count: gap}
		if gap == 4 && s.Size%4 == 0 {
			m.Elem, m.Count = 4, 0
		}
		s.Members = append(s.Members, m)
		s.Size += gap
		pads++
	}

	names := map[string]bool{}
	for _, m := range members {
		if names[m.Name] {
			return Struct{}, fmt.Errorf("two members are named %s", m.Name)
		}
		names[m.Name] = true
		pad(m.Elem)
		m.Offset = s.Size
		s.Size += m.Size()
		align = max(align, m.Elem)
		s.Members = append(s.Members, m)
	}
	pad(align)
	for _, m := range s.Members {
		if m.Pad && names[m.Name] {
			return Struct{}, fmt.Errorf("attribute %s has the name of padding", m.Name)
		}
	}
	return s, nil
}
