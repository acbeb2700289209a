// SPDX-License-Identifier: BSD-3-Clause

package skelgen

import (
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
)

// camel makes an exported Go identifier of a C one.
func camel(s string) string {
	var b strings.Builder
	words := strings.FieldsFunc(s, func(r rune) bool {
		return r != unicode.ReplacementChar && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	for _, w := range words {
		if len(w) > 1 && w == strings.ToUpper(w) {
			w = strings.ToLower(w)
		}
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	id := b.String()
	if id == "" || !unicode.IsUpper(rune(id[0])) {
		id = "X" + id
	}
	return id
}

// lower makes an unexported identifier of an exported one.
func lower(s string) string {
	id := strings.ToLower(s[:1]) + s[1:]
	if token.IsKeyword(id) {
		id += "_"
	}
	return id
}

// pool are identifiers that are taken.
type pool map[string]bool

// take returns id, or one made of it if that or one that goes with it is taken.
func (p pool) take(id string, with ...string) string {
	free := func(id string) bool {
		if p[id] {
			return false
		}
		for _, prefix := range with {
			if p[prefix+id] {
				return false
			}
		}
		return true
	}
	name := id
	for i := 2; !free(name); i++ {
		name = id + "_" + strconv.Itoa(i)
	}
	p[name] = true
	for _, prefix := range with {
		p[prefix+name] = true
	}
	return name
}

// ObjectName is the name of a skeleton by the file of its object.
func ObjectName(file string) string {
	base := filepath.Base(file)
	for _, suffix := range []string{".o", ".bpf", "_bpfel", "_bpf", ".kern", "_kern"} {
		base = strings.TrimSuffix(base, suffix)
	}
	return camel(base)
}
