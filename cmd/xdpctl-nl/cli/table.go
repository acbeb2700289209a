// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// section is some counters that are printed beside one another.
type section struct {
	title   string
	columns []column
}

// column is a counter and what stands above it.
type column struct{ counter, head string }

// sections are how counters are printed. One that is in none of them is printed
// at the end, so that new ones show.
var sections = []section{
	{"RX:", []column{{"packets", "packets"}, {"bytes", "bytes"}, {"pass", "pass"}, {"drop", "drop"}, {"aborted", "aborted"}, {"invalid", "invalid"}}},
	{"TX:", []column{{"tx", "packets"}, {"tx-errors", "errors"}}},
	{"Redirect:", []column{{"redirect", "packets"}, {"redirect-errors", "errors"}}},
	{"Xmit:", []column{{"xmit-packets", "packets"}, {"xmit-bytes", "bytes"}, {"xmit-errors", "errors"}, {"xmit-full", "full"}}},
	{"Exception:", []column{{"exception-aborted", "aborted"}, {"exception-tx", "tx"}, {"exception-redirect", "redirect"}, {"exception-invalid", "invalid"}}},
}

// titleWidth is that of the longest title, and a blank.
const titleWidth = len("Exception: ")

// printCounters prints counters as `ip -s link` does: a line of heads, and a
// line of numbers under it. Unit follows each head.
func (a *app) printCounters(indent string, cs []counter, unit string) {
	rest := slices.Clone(cs)
	for _, s := range sections {
		var heads, values []string
		for _, col := range s.columns {
			i := slices.IndexFunc(rest, func(c counter) bool { return c.name == col.counter })
			if i < 0 {
				continue
			}
			heads = append(heads, col.head+unit)
			values = append(values, rest[i].String())
			rest = slices.Delete(rest, i, i+1)
		}
		a.printSection(indent, s.title, heads, values)
	}
	var heads, values []string
	for _, c := range rest {
		heads = append(heads, c.name+unit)
		values = append(values, c.String())
	}
	a.printSection(indent, "Other:", heads, values)
	if len(cs) == 0 {
		a.printf("%sno counters\n", indent)
	}
}

// printSection prints two lines, or nothing if there are no columns.
func (a *app) printSection(indent, title string, heads, values []string) {
	if len(heads) == 0 {
		return
	}
	var top, bottom strings.Builder
	top.WriteString(indent + title + strings.Repeat(" ", titleWidth-len(title)))
	bottom.WriteString(indent + strings.Repeat(" ", titleWidth))
	for i := range heads {
		if i > 0 {
			top.WriteByte(' ')
			bottom.WriteByte(' ')
		}
		width := max(len(heads[i]), len(values[i]))
		top.WriteString(strings.Repeat(" ", width-len(heads[i])) + heads[i])
		bottom.WriteString(strings.Repeat(" ", width-len(values[i])) + values[i])
	}
	a.printf("%s\n%s\n", top.String(), bottom.String())
}

// ordered is a JSON object whose members keep their order.
type ordered []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o ordered) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
