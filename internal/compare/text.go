// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// width of running text.
const width = 80

// WriteText writes a result for a terminal.
func WriteText(w io.Writer, r *Result) error {
	var b strings.Builder
	fmt.Fprintln(&b, r.headline())
	if dev := r.netdev(); dev != "" {
		fmt.Fprintln(&b, "asked about "+dev)
	}
	for _, t := range []*sheet{
		r.costs("Control types", false, ofOwn),
		r.layers(r.groups(ofOwn)),
		r.iteration(),
		r.costs("Peers, and tools", false, func(c *Cell) bool { return !ofOwn(c) }),
	} {
		t.text(&b)
	}
	r.qualities(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// text writes the table with aligned columns.
func (t *sheet) text(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s\n", t.title)
	if len(t.rows) == 0 {
		fmt.Fprintf(b, "  %s\n", absent)
		return
	}
	widths := make([]int, len(t.head))
	for _, cells := range append([]row{{cells: t.head}}, t.rows...) {
		for i, c := range cells.cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	line := func(cells []string, rest string) {
		var l strings.Builder
		for i, c := range cells {
			if i < t.labels {
				fmt.Fprintf(&l, "  %-*s", widths[i], c)
			} else {
				fmt.Fprintf(&l, "  %*s", widths[i], c)
			}
		}
		if rest != "" {
			l.WriteString("  " + rest)
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	line(t.head, "")
	for _, r := range t.rows {
		if r.heading != "" {
			b.WriteString(r.heading + "\n")
			continue
		}
		line(r.cells, r.rest)
	}
	for _, n := range t.notes {
		wrap(b, "", n)
	}
}

// qualities writes the second table, a paragraph a line: its cells are sentences.
func (r *Result) qualities(b *strings.Builder) {
	if len(r.Qualities) == 0 {
		return
	}
	b.WriteString("\nWhat no stopwatch shows\n")
	for _, q := range r.Qualities {
		wrap(b, "", capital(q.Name)+": "+q.Question)
		wrap(b, "  netlink: ", q.Netlink)
		wrap(b, "  map:     ", q.Map)
		if q.Test != "" {
			wrap(b, "  test:    ", q.Test)
		}
	}
}

// wrap writes words in lines that begin below the end of prefix.
func wrap(b *strings.Builder, prefix, words string) {
	indent := strings.Repeat(" ", len(prefix))
	line := prefix
	empty := true
	for _, w := range strings.Fields(words) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) > width {
			b.WriteString(line + "\n")
			line, empty = indent, true
		}
		if !empty {
			line += " "
		}
		line += w
		empty = false
	}
	b.WriteString(line + "\n")
}
