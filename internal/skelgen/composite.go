// SPDX-License-Identifier: BSD-3-Clause

package skelgen

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// composite writes the declaration of a struct or union.
type composite struct {
	ts      *types
	name    string // in Go
	cname   string
	doc     string
	size    uint32
	members []btf.Member
	shared  bool
	// sharedBy tells of each member whether it is shared, if they differ.
	sharedBy func(m btf.Member) bool
	align    uint32 // the most that a field may have

	fields  strings.Builder
	methods strings.Builder
	ids     pool
	pos     uint32
	max     uint32 // the most that a field has
	pads    int
	anons   int
	checks  []string
	reach   map[string]reach
}

// reach is how a member is reached: by a field, or by bytes with accessors of a
// name.
type reach struct {
	id, raw string
}

// structure renders a struct. Fields that the alignment of Go would move become
// bytes with accessors.
func (c *composite) structure() (uint32, error) {
	for {
		if err := c.layout(); err != nil {
			return 0, err
		}
		if c.size%c.max == 0 {
			return c.max, nil
		}
		c.align = c.max / 2
	}
}

func (c *composite) layout() error {
	c.fields.Reset()
	c.methods.Reset()
	c.ids, c.pos, c.max, c.pads, c.anons, c.checks = pool{}, 0, 1, 0, 0, nil
	c.reach = make(map[string]reach)
	members := slices.Clone(c.members)
	slices.SortStableFunc(members, func(a, b btf.Member) int { return cmp.Compare(a.Offset, b.Offset) })
	for i := 0; i < len(members); i++ {
		m := members[i]
		if m.BitfieldSize == 0 {
			if err := c.member(m); err != nil {
				return fmt.Errorf("member %q: %w", m.Name, err)
			}
			continue
		}
		n := 1
		for i+n < len(members) && members[i+n].BitfieldSize != 0 {
			n++
		}
		if err := c.bitfields(members[i : i+n]); err != nil {
			return err
		}
		i += n - 1
	}
	c.pad(c.size)
	return nil
}

// pad fills up to an offset.
func (c *composite) pad(to uint32) {
	if to > c.pos {
		fmt.Fprintf(&c.fields, "\t%s [%d]byte\n", c.ids.take(fmt.Sprintf("pad%d", c.pads)), to-c.pos)
		c.pads++
		c.pos = to
	}
}

// field adds a field.
func (c *composite) field(name string, gt goType, comment string) {
	if comment != "" {
		comment = " // " + comment
	}
	fmt.Fprintf(&c.fields, "\t%s %s%s\n", name, gt.expr, comment)
	if name == "" {
		name = gt.expr
	}
	c.checks = append(c.checks, fmt.Sprintf("unsafe.Offsetof(%s{}.%s)-%d", c.name, name, c.pos))
	c.pos += gt.size
	c.max = max(c.max, gt.align)
}

func (c *composite) isShared(m btf.Member) bool {
	if c.sharedBy != nil {
		return c.sharedBy(m)
	}
	return c.shared
}

// anonymous is the name of the type of a member without a name.
func (c *composite) anonymous(m btf.Member) string {
	if m.Name != "" {
		return c.cname + "_" + m.Name
	}
	c.anons++
	return fmt.Sprintf("%s_anon%d", c.cname, c.anons-1)
}

// member adds a member that is no bitfield.
func (c *composite) member(m btf.Member) error {
	hint := c.anonymous(m)
	plain, err := c.ts.plain(m.Type, hint)
	if err != nil {
		return err
	}
	off := m.Offset.Bytes()
	if off < c.pos || off+plain.size > c.size {
		return fmt.Errorf("at %d of %d bytes: overlaps", off, c.size)
	}
	if plain.size == 0 {
		return nil
	}
	c.pad(off)
	shared := c.isShared(m)
	gt, direct := plain, true
	if shared {
		if gt, direct, err = c.ts.shared(m.Type, hint); err != nil {
			return err
		}
	}
	switch {
	case !direct && c.fits(off, plain):
		c.accessed(m.Name, plain)
	case !direct || !c.fits(off, gt):
		c.raw(m.Name, plain)
	case m.Name == "":
		c.field("", gt, "")
	default:
		id := c.ids.take(camel(m.Name))
		c.reach[m.Name] = reach{id: id}
		c.field(id, gt, enumNote(m.Type, shared))
	}
	return nil
}

func (c *composite) fits(off uint32, gt goType) bool {
	return gt.align <= c.align && off%gt.align == 0
}

// enumNote names the enum of an atomic integer.
func enumNote(t btf.Type, shared bool) string {
	if e, ok := first(bare(t)).(*btf.Enum); ok && shared && e.Name != "" {
		return "enum " + e.Name
	}
	return ""
}

func first(t btf.Type, _ string) btf.Type { return t }

// accessed adds a field with accessors that copy.
func (c *composite) accessed(name string, gt goType) {
	id := c.ids.take(camel(name), "Set")
	field := c.ids.take(lower(id))
	load, store := "Copy", "Put"
	if gt.size <= 2 && !strings.Contains(gt.expr, "[") {
		load, store = "LoadSmall", "StoreSmall"
	}
	c.field(field, gt, "")
	c.accessors(id, name, gt.expr,
		fmt.Sprintf("return skel.%s(&p.%s)", load, field),
		fmt.Sprintf("skel.%s(&p.%s, v)", store, field))
}

// raw adds bytes with accessors, for what is not aligned.
func (c *composite) raw(name string, gt goType) {
	if name == "" {
		name = fmt.Sprintf("anon%d", c.anons-1)
	}
	id := c.ids.take(camel(name), "Set")
	field := c.ids.take(lower(id))
	c.reach[name] = reach{id, field}
	c.field(field, bytesType(gt.size), "")
	c.accessors(id, name, gt.expr,
		fmt.Sprintf("return skel.CopyAt[%s](&p.%s[0])", gt.expr, field),
		fmt.Sprintf("skel.PutAt(&p.%s[0], v)", field))
}

func (c *composite) accessors(id, name, expr, get, set string) {
	fmt.Fprintf(&c.methods, "\n// %s returns %s.\nfunc (p *%s) %s() %s { %s }\n", id, name, c.name, id, expr, get)
	fmt.Fprintf(&c.methods, "\n// Set%s sets %s.\nfunc (p *%s) Set%s(v %s) { %s }\n", id, name, c.name, id, expr, set)
}

// bitfields adds a run of bitfields: bytes with an accessor for each.
func (c *composite) bitfields(run []btf.Member) error {
	begin := uint32(run[0].Offset) / 8
	last := run[len(run)-1]
	end := (uint32(last.Offset) + uint32(last.BitfieldSize) + 7) / 8
	if begin < c.pos || end > c.size {
		return fmt.Errorf("bitfields at %d of %d bytes: overlap", begin, c.size)
	}
	c.pad(begin)
	field := c.ids.take(fmt.Sprintf("bits%d", begin))
	c.field(field, bytesType(end-begin), "")
	for _, m := range run {
		if m.Name == "" {
			continue
		}
		if err := c.bitfield(m, fmt.Sprintf("&p.%s[0]", field), uint32(m.Offset)-8*begin, c.isShared(m)); err != nil {
			return err
		}
	}
	return nil
}

// bitfield adds the accessors of a bitfield.
func (c *composite) bitfield(m btf.Member, at string, off uint32, shared bool) error {
	gt, err := c.ts.plain(m.Type, c.anonymous(m))
	if err != nil {
		return err
	}
	id := c.ids.take(camel(m.Name), "Set")
	load, store := "Bits", "SetBits"
	if shared {
		load, store = "LoadBits", "StoreBits"
	}
	signed := false
	switch t := first(bare(m.Type)).(type) {
	case *btf.Int:
		signed = t.Encoding == btf.Signed
	case *btf.Enum:
		signed = t.Signed
	}
	if signed {
		load = strings.Replace(load, "Bits", "SignedBits", 1)
	}
	get := fmt.Sprintf("return %s(skel.%s(%s, %d, %d))", gt.expr, load, at, off, m.BitfieldSize)
	set := fmt.Sprintf("skel.%s(%s, %d, %d, uint64(v))", store, at, off, m.BitfieldSize)
	if gt.expr == "bool" {
		get = fmt.Sprintf("return skel.%s(%s, %d, %d) != 0", load, at, off, m.BitfieldSize)
		set = fmt.Sprintf("skel.%s(%s, %d, %d, skel.Bit(v))", store, at, off, m.BitfieldSize)
	}
	c.accessors(id, fmt.Sprintf("%s, a bitfield of %d", m.Name, m.BitfieldSize), gt.expr, get, set)
	return nil
}

// union renders a union: bytes, and a method for each member.
func (c *composite) union() (uint32, error) {
	c.ids = pool{}
	c.max = 1
	for _, m := range c.members {
		if err := c.alternative(m); err != nil {
			return 0, fmt.Errorf("member %q: %w", m.Name, err)
		}
	}
	for c.max > 1 && c.size%c.max != 0 {
		c.max /= 2
	}
	if c.max > 1 {
		fmt.Fprintf(&c.fields, "\t_ [0]uint%d\n", 8*c.max)
	}
	if c.size > 0 {
		fmt.Fprintf(&c.fields, "\t%s [%d]byte\n", c.ids.take("raw"), c.size)
	}
	return c.max, nil
}

// alternative adds a member of a union.
func (c *composite) alternative(m btf.Member) error {
	if m.BitfieldSize != 0 {
		if m.Name == "" {
			return nil
		}
		return c.bitfield(m, "&p.raw[0]", uint32(m.Offset), c.shared)
	}
	hint := c.anonymous(m)
	plain, err := c.ts.plain(m.Type, hint)
	if err != nil {
		return err
	}
	if plain.size == 0 {
		return nil
	}
	name := m.Name
	if name == "" {
		name = fmt.Sprintf("anon%d", c.anons-1)
	}
	gt, direct := plain, true
	if c.shared {
		if gt, direct, err = c.ts.shared(m.Type, hint); err != nil {
			return err
		}
	}
	if direct && c.size%gt.align == 0 {
		c.max = max(c.max, gt.align)
		id := c.ids.take(camel(name))
		fmt.Fprintf(&c.methods, "\n// %s is the union as %s.\nfunc (p *%s) %s() *%s { return (*%s)(unsafe.Pointer(p)) }\n",
			id, name, c.name, id, gt.expr, gt.expr)
		return nil
	}
	id := c.ids.take(camel(name), "Set")
	c.accessors(id, name, plain.expr,
		fmt.Sprintf("return skel.CopyAt[%s](&p.raw[0])", plain.expr), "skel.PutAt(&p.raw[0], v)")
	return nil
}

// text is the declaration.
func (c *composite) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\ntype %s struct {\n\t_ structs.HostLayout\n%s}\n%s", c.doc, c.name, c.fields.String(), c.methods.String())
	b.WriteString("\n// The layout is that of the object.\nvar (\n")
	fmt.Fprintf(&b, "\t_ = [1]struct{}{}[unsafe.Sizeof(%s{})-%d]\n", c.name, c.size)
	for _, check := range c.checks {
		fmt.Fprintf(&b, "\t_ = [1]struct{}{}[%s]\n", check)
	}
	b.WriteString(")\n")
	return b.String()
}
