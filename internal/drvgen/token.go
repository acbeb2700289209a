// SPDX-License-Identifier: BSD-3-Clause

package drvgen

import (
	"fmt"
	"strings"
)

type kind int

const (
	kindEOF     kind = iota
	kindName         // identifier or keyword
	kindNumber       // decimal
	kindString       // with its quotes
	kindPunct        // operator or punctuation
	kindComment      // block comment, without its marks
	kindDefine       // #define, the text after it, in one line
)

type token struct {
	kind kind
	text string
	line int
	pos  int // in the source
}

// punctuation of more than one character.
var puncts = []string{"->", "?:", "==", "&&", "||", "&=", "-="}

// tokenize splits C source into tokens. #include lines are left out, and of
// the preprocessor nothing else than #define is known.
func tokenize(src string) ([]token, error) {
	var out []token
	line := 1
	for i := 0; i < len(src); {
		rest := src[i:]
		t := token{line: line, pos: i}
		var n int
		switch ch := src[i]; {
		case ch == '\n' || ch == ' ' || ch == '\t':
			if ch == '\n' {
				line++
			}
			i++
			continue
		case strings.HasPrefix(rest, "//"):
			i += strings.IndexByte(rest+"\n", '\n')
			continue
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest, "*/")
			if end < 0 {
				return nil, fmt.Errorf("line %d: comment without end", line)
			}
			n = end + 2
			t.kind, t.text = kindComment, rest[2:end]
		case ch == '#':
			n = directiveLen(rest)
			text, ok := strings.CutPrefix(strings.Join(strings.Fields(strings.ReplaceAll(rest[:n], "\\\n", " ")), " "), "#define ")
			if !ok && !isGuard(rest[:n]) {
				return nil, fmt.Errorf("line %d: unknown directive %q", line, rest[:n])
			}
			t.kind, t.text = kindDefine, text
		case isLetter(ch):
			n = span(rest, func(c byte) bool { return isLetter(c) || isDigit(c) })
			t.kind, t.text = kindName, rest[:n]
		case isDigit(ch):
			n = span(rest, func(c byte) bool { return isLetter(c) || isDigit(c) })
			t.kind, t.text = kindNumber, rest[:n]
		case ch == '"':
			n = strings.IndexByte(rest[1:], '"') + 2
			if n < 2 || strings.ContainsAny(rest[:n], "\n\\") {
				return nil, fmt.Errorf("line %d: string that is not understood", line)
			}
			t.kind, t.text = kindString, rest[:n]
		default:
			n = 1
			for _, p := range puncts {
				if strings.HasPrefix(rest, p) {
					n = len(p)
				}
			}
			t.kind, t.text = kindPunct, rest[:n]
		}
		line += strings.Count(rest[:n], "\n")
		i += n
		if t.kind != kindDefine || t.text != "" {
			out = append(out, t)
		}
	}
	return append(out, token{kind: kindEOF, line: line, pos: len(src)}), nil
}

// isGuard tells whether a directive makes no difference to what is read.
func isGuard(s string) bool {
	for _, p := range []string{"#include ", "#ifndef ", "#ifdef ", "#else", "#endif"} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// directiveLen is the length of a preprocessor line with those that continue it.
func directiveLen(s string) int {
	for i := 0; i < len(s); i++ {
		if s[i] == '\n' && s[i-1] != '\\' {
			return i
		}
	}
	return len(s)
}

func span(s string, in func(byte) bool) int {
	n := 0
	for n < len(s) && in(s[n]) {
		n++
	}
	return n
}

func isLetter(c byte) bool { return c == '_' || 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
