// SPDX-License-Identifier: BSD-3-Clause

package drvgen

import (
	"strings"
)

// calls are the functions that may be called, by their names in C.
var calls = map[string]string{
	"xdpctl_counts_have": "countsHave",
	"xdpctl_counts_set":  "countsSet",
	"exc_known":          "excKnown",
	"derive_less":        "deriveLess",
	"derive_diff":        "deriveDiff",
	"derive_packets":     "derivePackets",
	"derive_pass":        "derivePass",
	"min":                "min",
	"BIT":                "bit",
}

// variables that may be named, by their names in C, and members of what they
// point to.
var variables = map[string]string{
	"c": "c", "w": "w", "n": "n", "dev": "dev",
	"w->dev": "w.dev", "w->all_seen": "w.allSeen",
	"c->n": "c.n", "dev->n": "dev.n",
}

// block parses statements in braces into lines of Go, braces included.
func (t *Table) block(p *parser) []string {
	p.expect("{")
	out := []string{"{"}
	for !p.accept("}") && p.err == nil {
		out = append(out, t.statement(p)...)
	}
	return append(out, "}")
}

func (t *Table) statement(p *parser) []string {
	switch {
	case p.peek().kind == kindComment:
		return goComment(p.next().text)
	case p.accept("u64", "n", ";"):
		return []string{"var n uint64"}
	case p.accept("const", "struct", "xdpctl_counts", "*"):
		name := p.name()
		p.expect("=")
		first := t.primary(p)
		p.expect("?:")
		second := t.primary(p)
		p.expect(";")
		return []string{name + " := " + first, "if " + name + " == nil {", name + " = " + second, "}"}
	case p.accept("return", ";"):
		return []string{"return"}
	case p.accept("if", "("):
		cond := t.expr(p)
		p.expect(")")
		var body []string
		if p.is("{") {
			body = t.block(p)
		} else {
			body = append(append([]string{"{"}, t.statement(p)...), "}")
		}
		body[0] = "if " + cond + " {"
		return body
	default:
		call := t.primary(p)
		p.expect(";")
		if !strings.HasSuffix(call, ")") {
			p.fail("statement %q is not understood", call)
		}
		return []string{call}
	}
}

// expr parses an expression, of which C and Go agree how its operators bind:
// for && and ||, for == beside + and -, and for | without others.
func (t *Table) expr(p *parser) string {
	out := t.unary(p)
	seen := ""
	for p.is("&&") || p.is("||") || p.is("==") || p.is("+") || p.is("-") || p.is("|") {
		op := p.next().text
		if (op == "|" || seen == "|") && seen != "" && seen != op {
			p.fail("| beside %s", seen)
		}
		seen = op
		out += " " + op + " " + t.unary(p)
	}
	return out
}

// unary parses what may stand beside an operator. Only numbers are elements of an
// array, so that !array[n] is a comparison in Go.
func (t *Table) unary(p *parser) string {
	switch {
	case p.accept("!"):
		e := t.primary(p)
		if strings.HasSuffix(e, "]") {
			return e + " == 0"
		}
		return "!" + e
	case p.accept("&"):
		return "&" + t.primary(p)
	default:
		return t.primary(p)
	}
}

// primary parses a name, a member, an element or a call.
func (t *Table) primary(p *parser) string {
	if p.accept("(") {
		e := t.expr(p)
		p.expect(")")
		return "(" + e + ")"
	}
	if p.is("RAW", "(") {
		e := []string{p.next().text, p.next().text, p.next().text, p.next().text}
		return t.raw(p, e)
	}
	name := p.name()
	if strings.HasPrefix(name, "XDPCTL_EXC_") {
		return goName(name)
	}
	if d, ok := t.defines[name]; ok {
		return t.define(p, d)
	}
	if fn := calls[name]; fn != "" && p.accept("(") {
		args := []string{t.expr(p)}
		for p.accept(",") {
			args = append(args, t.expr(p))
		}
		p.expect(")")
		return fn + "(" + strings.Join(args, ", ") + ")"
	}
	if p.accept("->") {
		name += "->" + p.name()
	}
	v := variables[name]
	if v == "" {
		p.fail("%q is not understood", name)
	}
	if p.accept("[") {
		v += "[" + t.expr(p) + "]"
		p.expect("]")
	}
	return v
}

// define is the expression that a macro stands for.
func (t *Table) define(p *parser, text string) string {
	in := newParser(text)
	e := t.expr(in)
	if in.err != nil || in.peek().kind != kindEOF {
		p.fail("macro %q is not understood: %v", text, in.err)
	}
	return e
}
