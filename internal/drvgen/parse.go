// SPDX-License-Identifier: BSD-3-Clause

package drvgen

import (
	"fmt"
	"strings"
)

// parser reads tokens, one after the other. The first error ends it: from then
// on it is at the end of the file.
type parser struct {
	src    string
	tokens []token
	err    error
}

func newParser(src string) *parser {
	p := &parser{src: src}
	p.tokens, p.err = tokenize(src)
	if p.err != nil {
		p.tokens = []token{{kind: kindEOF}}
	}
	return p
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("line %d: %s", p.tokens[0].line, fmt.Sprintf(format, args...))
	}
	p.tokens = p.tokens[len(p.tokens)-1:]
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) next() token {
	t := p.tokens[0]
	if t.kind != kindEOF {
		p.tokens = p.tokens[1:]
	}
	return t
}

// is tells whether the next tokens are these names and punctuation.
func (p *parser) is(texts ...string) bool {
	for i, text := range texts {
		if i >= len(p.tokens) || p.tokens[i].text != text || p.tokens[i].kind == kindString || p.tokens[i].kind == kindComment {
			return false
		}
	}
	return true
}

// accept takes the next tokens if they are these.
func (p *parser) accept(texts ...string) bool {
	if !p.is(texts...) {
		return false
	}
	p.tokens = p.tokens[len(texts):]
	return true
}

func (p *parser) expect(texts ...string) {
	if !p.accept(texts...) {
		p.fail("%q, want %q", p.peek().text, strings.Join(texts, " "))
	}
}

func (p *parser) name() string {
	if p.peek().kind != kindName {
		p.fail("%q, want a name", p.peek().text)
	}
	return p.next().text
}

// comment takes the comment that is next, or returns "".
func (p *parser) comment() string {
	if p.peek().kind != kindComment {
		return ""
	}
	return p.next().text
}

// skipTo takes all tokens up to a closing brace or semicolon at the outermost
// level, and returns their source.
func (p *parser) skipTo(end string) string {
	start, depth := p.peek().pos, 0
	for p.peek().kind != kindEOF {
		t := p.next()
		switch t.text {
		case "{", "(", "[":
			depth++
		case "}", ")", "]":
			depth--
		}
		if depth == 0 && t.text == end {
			return p.src[start : t.pos+len(t.text)]
		}
	}
	p.fail("the end, want %q", end)
	return ""
}

// Value is an initializer: an expression as its tokens, or a list.
type Value struct {
	Expr []string
	List []Item
}

// Item is an element of a list: with a designator, such as ".name" or
// "[INDEX]" or both together, or without.
type Item struct {
	Designator string
	Comment    string // before it
	Value      Value
}

// value parses an initializer.
func (p *parser) value() Value {
	if !p.accept("{") {
		return Value{Expr: p.expr()}
	}
	v := Value{List: []Item{}}
	for !p.accept("}") && p.err == nil {
		it := Item{Comment: p.comment()}
		if p.is(".") || p.is("[") {
			it.Designator = p.designator()
			p.expect("=")
		}
		it.Value = p.value()
		if !p.is("}") {
			p.expect(",")
		}
		v.List = append(v.List, it)
	}
	return v
}

func (p *parser) designator() string {
	var b strings.Builder
	for !p.is("=") && p.err == nil {
		b.WriteString(p.next().text)
		if p.peek().kind == kindEOF {
			p.fail("the end in a designator")
		}
	}
	return b.String()
}

// expr takes the tokens of an expression in an initializer.
func (p *parser) expr() []string {
	var out []string
	for depth := 0; p.peek().kind != kindEOF; {
		switch t := p.peek(); {
		case t.kind == kindComment:
			p.next()
			continue
		case t.text == "(":
			depth++
		case depth > 0 && t.text == ")":
			depth--
		case depth == 0 && (t.text == "," || t.text == "}" || t.text == ";"):
			return out
		}
		out = append(out, p.next().text)
	}
	p.fail("the end in an initializer")
	return nil
}
