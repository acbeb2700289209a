// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Struct is a struct or union as decoded by its BTF: its fields in order. An
// absent field is not in it.
//
// A field's value is an int64, uint64, float64, bool, string (enumerators,
// char arrays, and byte arrays as hex digits), a Struct or a []any of these.
type Struct []Field

// Field is one field of a [Struct].
type Field struct {
	Name  string
	Value any
}

// Get returns the value of a field, and whether there is such a field.
func (s Struct) Get(name string) (any, bool) {
	for _, f := range s {
		if f.Name == name {
			return f.Value, true
		}
	}
	return nil, false
}

// MarshalJSON writes an object whose members are in the order of the struct.
func (s Struct) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range s {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f.Value)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// String writes the fields on one line, as name and value.
func (s Struct) String() string {
	var b strings.Builder
	for i, f := range s {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(f.Name)
		b.WriteByte(' ')
		b.WriteString(nodeString(f.Value))
	}
	return b.String()
}

// nodeString writes any decoded value on one line.
func nodeString(v any) string {
	switch v := v.(type) {
	case Struct:
		return "{ " + v.String() + " }"
	case []any:
		var b strings.Builder
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(nodeString(e))
		}
		b.WriteByte(']')
		return b.String()
	case string:
		if v == "" || strings.ContainsFunc(v, mustQuote) {
			return strconv.Quote(v)
		}
		return v
	default:
		return fmt.Sprint(v)
	}
}

func mustQuote(r rune) bool {
	return !unicode.IsGraphic(r) || unicode.IsSpace(r) || r == '"' || r == '\\' || r == unicode.ReplacementChar
}

// appendText writes the fields one to a line, nested structs indented.
func (s Struct) appendText(b []byte, indent string) []byte {
	for _, f := range s {
		b = append(b, indent...)
		b = append(b, f.Name...)
		if sub, ok := f.Value.(Struct); ok {
			b = append(b, '\n')
			b = sub.appendText(b, indent+"    ")
			continue
		}
		b = append(b, ' ')
		b = append(b, nodeString(f.Value)...)
		b = append(b, '\n')
	}
	return b
}
