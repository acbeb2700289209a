// SPDX-License-Identifier: BSD-3-Clause

// Package drvgen makes native/zz_drvtable.go of kmod/drvtable.c: what the XDP
// counters of drivers mean is written once, for the module, with the reasons
// beside it.
//
// It reads the little C that is in the table, and nothing else: whatever it does
// not know is an error, so that no line of the table gets lost. What the table
// is made of (the functions that the others call) is written in Go by hand; a
// change of those in C is an error until someone has looked at it.
package drvgen

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// Table is what drvtable.c and drvstats.h say.
type Table struct {
	Comment  string // on the whole
	Raws     []Const
	Flags    []Const
	Lists    []List // in the order of the file, with functions between them
	Drivers  []Driver
	AboutAll string // comment on the drivers
	defines  map[string]string
}

// Const is a constant, with the comment on it.
type Const struct {
	Name, Value, Comment string
}

// List is a list of counters, or a function.
type List struct {
	Comment  string
	Name     string
	Counters []Counter
	Body     []string // lines of Go, if it is a function
}

// Counter is a counter of a driver.
type Counter struct {
	Format, Raw string
	Flags       []string
}

// Driver is a driver.
type Driver struct {
	Comment                        string
	Name, Parent, Counters, Derive string
	Flags                          []string
}

// helpers are the functions that are written in Go by hand, in
// native/derive.go, with the sums of what they are in C.
var helpers = map[string]string{
	"exc_known":      "103afbabd00db278",
	"derive_less":    "bcbfd1f1f5cfaaff",
	"derive_diff":    "3f4e34ea11d4ed64",
	"sum_of":         "ea7f3a365dbc2a55",
	"derive_packets": "609d8286af789353",
	"derive_pass":    "9374171905494f57",
}

// macros are those with arguments: what they must be.
var macros = map[string]string{
	"RAW(r)": "XDPCTL_RAW_##r",
	"DRIVER(_name, _parent, _counters, _flags, _derive)": "{ .name = _name, .parent = _parent, .counters = _counters, " +
		".flags = _flags, .derive = _derive, }",
}

// Parse reads drvtable.c and drvstats.h.
func Parse(table, header string) (*Table, error) {
	t := &Table{defines: make(map[string]string)}
	if err := t.parseHeader(header); err != nil {
		return nil, fmt.Errorf("drvstats.h: %w", err)
	}
	p := newParser(table)
	t.Comment = p.comment()
	for p.err == nil && p.peek().kind != kindEOF {
		t.parseTop(p)
	}
	if p.err != nil {
		return nil, fmt.Errorf("drvtable.c: %w", p.err)
	}
	return t, nil
}

func (t *Table) parseTop(p *parser) {
	comment := p.comment()
	switch {
	case p.peek().kind == kindDefine:
		t.parseDefine(p)
	case p.accept("static", "const", "struct", "xdpctl_counter"):
		l := List{Comment: comment, Name: p.name()}
		p.expect("[", "]", "=")
		l.Counters = t.counters(p)
		p.expect(";")
		t.Lists = append(t.Lists, l)
	case p.accept("const", "struct", "xdpctl_driver", "xdpctl_drivers", "[", "]", "="):
		t.AboutAll = comment
		t.parseDrivers(p)
		p.expect(";")
	case p.accept("const", "u32", "xdpctl_n_drivers", "=", "ARRAY_SIZE", "(", "xdpctl_drivers", ")", ";"):
	case p.accept("static"):
		t.parseFunc(p, comment)
	default:
		p.fail("%q is not understood", p.peek().text)
	}
}

func (t *Table) parseDefine(p *parser) {
	text := p.next().text
	for head, body := range macros {
		if rest, ok := strings.CutPrefix(text, head+" "); ok {
			if rest != body {
				p.fail("macro %s is %q, want %q", head, rest, body)
			}
			return
		}
	}
	name, value, ok := strings.Cut(text, " ")
	if !ok || strings.Contains(name, "(") {
		p.fail("macro %q is not understood", text)
		return
	}
	t.defines[name] = value
}

// parseFunc parses a function: one of helpers, or one that derives.
func (t *Table) parseFunc(p *parser, comment string) {
	start := p.peek().pos
	typ, name := p.name(), p.name()
	if sum, ok := helpers[name]; ok {
		p.skipTo(")")
		p.skipTo("}")
		text := strings.Join(strings.Fields(p.src[start:p.peek().pos]), " ")
		if i := strings.LastIndex(text, "}"); i >= 0 {
			text = text[:i+1]
		}
		if got := fmt.Sprintf("%.8x", sha256.Sum256([]byte(text))); got != sum {
			p.fail("%s has changed: look at native/derive.go, and enter sum %s in drvgen", name, got)
		}
		return
	}
	if typ != "void" || !strings.HasSuffix(name, "_derive") {
		p.fail("function %s is not understood", name)
		return
	}
	p.expect("(", "struct", "xdpctl_counts", "*", "c", ",", "const", "struct", "xdpctl_witness", "*", "w", ")")
	t.Lists = append(t.Lists, List{Comment: comment, Name: name, Body: t.block(p)})
}

// counters parses a list of counters up to the empty one.
func (t *Table) counters(p *parser) []Counter {
	var out []Counter
	v := p.value()
	for i, it := range v.List {
		e := it.Value.List
		if i == len(v.List)-1 {
			if e == nil || len(e) != 0 {
				p.fail("the list does not end with an empty element")
			}
			break
		}
		if len(e) != 3 || len(e[0].Value.Expr) != 1 || it.Designator != "" {
			p.fail("counter %d is not understood", i)
			return nil
		}
		out = append(out, Counter{
			Format: e[0].Value.Expr[0],
			Raw:    t.raw(p, e[1].Value.Expr),
			Flags:  t.flags(p, e[2].Value.Expr),
		})
	}
	return out
}

// raw is the Go name of RAW(X).
func (t *Table) raw(p *parser, expr []string) string {
	if len(expr) != 4 || expr[0] != "RAW" || expr[1] != "(" || expr[3] != ")" {
		p.fail("%q, want RAW()", strings.Join(expr, " "))
		return ""
	}
	name := goName("XDPCTL_RAW_" + expr[2])
	if !slices.ContainsFunc(t.Raws, func(c Const) bool { return c.Name == name }) {
		p.fail("there is no counter %s", expr[2])
	}
	return name
}

// flags is the Go names of flags that are or-ed; none for 0.
func (t *Table) flags(p *parser, expr []string) []string {
	var out []string
	for i, e := range expr {
		if i%2 == 1 {
			if e != "|" {
				p.fail("%q, want |", e)
			}
			continue
		}
		if e == "0" && len(expr) == 1 {
			return nil
		}
		if d := t.defines[e]; d != "" {
			e = d
		}
		name := goName(e)
		if !slices.ContainsFunc(t.Flags, func(c Const) bool { return c.Name == name }) {
			p.fail("there is no flag %s", e)
		}
		out = append(out, name)
	}
	return out
}

// parseDrivers parses the drivers, which are macros or initializers.
func (t *Table) parseDrivers(p *parser) {
	p.expect("{")
	for !p.accept("}") && p.err == nil {
		d := Driver{Comment: p.comment()}
		if p.accept("DRIVER", "(") {
			d.Name, d.Parent = p.next().text, t.second(p)
			p.expect(",")
			d.Counters = p.name()
			p.expect(",")
			d.Flags = t.flagsUntil(p, ",")
			d.Derive = p.name()
			p.expect(")")
		} else {
			t.fields(p, &d)
		}
		p.expect(",")
		t.check(p, &d)
		t.Drivers = append(t.Drivers, d)
	}
}

func (t *Table) second(p *parser) string {
	p.expect(",")
	return p.next().text
}

func (t *Table) flagsUntil(p *parser, end string) []string {
	var expr []string
	for !p.accept(end) && p.err == nil {
		expr = append(expr, p.next().text)
	}
	return t.flags(p, expr)
}

// fields parses a driver that is written out.
func (t *Table) fields(p *parser, d *Driver) {
	for _, it := range p.value().List {
		switch it.Designator {
		case ".name":
			d.Name = strings.Join(it.Value.Expr, " ")
		case ".parent":
			d.Parent = strings.Join(it.Value.Expr, " ")
		case ".flags":
			d.Flags = t.flags(p, it.Value.Expr)
		default:
			p.fail("field %q of a driver is not understood", it.Designator)
		}
	}
}

// check looks whether what a driver names is there.
func (t *Table) check(p *parser, d *Driver) {
	if !strings.HasPrefix(d.Name, `"`) || !strings.HasPrefix(d.Parent, `"`) {
		p.fail("driver %s on %s is not understood", d.Name, d.Parent)
	}
	if d.Derive == "NULL" {
		d.Derive = ""
	}
	for _, name := range []string{d.Counters, d.Derive} {
		if name != "" && !slices.ContainsFunc(t.Lists, func(l List) bool { return l.Name == name }) {
			p.fail("driver %s: there is no %s", d.Name, name)
		}
	}
}

// parseHeader takes enum xdpctl_raw and the flags from drvstats.h.
func (t *Table) parseHeader(src string) error {
	p := newParser(src)
	comment := ""
	for p.err == nil && p.peek().kind != kindEOF {
		switch {
		case p.peek().kind == kindComment:
			comment = p.next().text
			continue
		case p.peek().kind == kindDefine:
			name, value, _ := strings.Cut(p.next().text, " ")
			if strings.HasPrefix(name, "XDPCTL_COUNTER_") || strings.HasPrefix(name, "XDPCTL_DRIVER_") {
				n, ok := strings.CutPrefix(value, "BIT(")
				if !ok {
					p.fail("flag %s is %q, want BIT()", name, value)
				}
				t.Flags = append(t.Flags, Const{goName(name), "1 << " + strings.TrimSuffix(n, ")"), comment})
			}
		case p.accept("enum", "xdpctl_raw", "{"):
			t.parseRaws(p)
		default:
			p.next()
		}
		comment = ""
	}
	if p.err == nil && (len(t.Raws) == 0 || len(t.Flags) == 0) {
		p.fail("no counters or no flags")
	}
	return p.err
}

// parseRaws parses the elements of enum xdpctl_raw. A comment is after what it is
// on.
func (t *Table) parseRaws(p *parser) {
	n := 0
	for !p.accept("}") && p.err == nil {
		if c := p.comment(); c != "" {
			t.Raws[len(t.Raws)-1].Comment = c
			continue
		}
		name := p.name()
		if p.accept("=") {
			if goName(p.name()) != t.Raws[len(t.Raws)-1].Name {
				p.fail("%s has a value that is not understood", name)
			}
			n--
		}
		p.expect(",")
		t.Raws = append(t.Raws, Const{Name: goName(name), Value: fmt.Sprint(n)})
		n++
	}
}

// goName is the name in Go of a constant, a list or a function in C.
func goName(c string) string {
	c = strings.TrimPrefix(c, "XDPCTL_")
	words := strings.Split(strings.ToLower(c), "_")
	for i, w := range words {
		switch {
		case i == 0 || w == "":
		case w == "tx" || w == "rx" || w == "rxq":
			words[i] = strings.ToUpper(w)
		default:
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "")
}
