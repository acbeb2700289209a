// SPDX-License-Identifier: BSD-3-Clause

package specgen

import (
	"regexp"
	"strings"
)

// initialisms are words that Go names spell in capitals.
var initialisms = map[string]string{
	"bpf": "BPF", "btf": "BTF", "fd": "FD", "hw": "HW", "id": "ID",
	"md": "MD", "ndo": "NDO", "rx": "RX", "sg": "SG", "tx": "TX",
	"vlan": "VLAN", "xdp": "XDP", "xsk": "XSK", "zc": "ZC",
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// goName returns name-with-dashes as NameWithDashes.
func goName(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		if s, ok := initialisms[word]; ok {
			b.WriteString(s)
			continue
		}
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// cName returns name-with-dashes as name_with_dashes.
func cName(name string) string {
	return strings.ReplaceAll(name, "-", "_")
}

// macroName returns the parts as PARTS_JOINED_THUS.
func macroName(parts ...string) string {
	return strings.ToUpper(cName(strings.Join(parts, "-")))
}

// oneLine returns text with every run of white space as one space.
func oneLine(text string) string {
	return strings.Join(strings.Fields(text), " ")
}

// wrap breaks text into lines of at most width columns, each after prefix, the
// first after first.
func wrap(text, first, prefix string, width int) string {
	var b strings.Builder
	line := first
	for i, word := range strings.Fields(text) {
		if i > 0 && columns(line)+1+len(word) > width {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = prefix + word
			continue
		}
		if i > 0 {
			line += " "
		}
		line += word
	}
	b.WriteString(strings.TrimRight(line, " "))
	return b.String()
}

// columns returns the width of line where tabs stop at every eighth column.
func columns(line string) int {
	n := 0
	for _, r := range line {
		if r == '\t' {
			n += 8 - n%8
			continue
		}
		n++
	}
	return n
}
