// SPDX-License-Identifier: BSD-3-Clause

package qualities

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/xdpctl/xdpctl-nl/internal/compare"
	"github.com/xdpctl/xdpctl-nl/internal/specgen"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// counted is the control type whose lines are counted, which has every operation.
const counted = "port"

// door is whose a line of code is.
type door int

const (
	both door = iota
	netlinkOnly
	mapOnly
)

// tally is a number of lines by whose they are.
type tally [3]int

func (t tally) sum() int { return t[both] + t[netlinkOnly] + t[mapOnly] }

// What in generated code is one door's alone: a declaration by its first line, or
// a line anywhere.
var (
	netlinkDecl = regexp.MustCompile(`nla_policy|genl_ops|mcgrps|(Append|Decode)(Attrs|Filter)\(`)
	mapDecl     = regexp.MustCompile(`^static const struct \{|old_value|[bB][tT][fF]`)
	netlinkLine = regexp.MustCompile(`XDPCTL_CMD_|\.cmd_|_attr = |\bCmd[A-Z]|GetCmd|UpdateAttr`)
	mapLine     = regexp.MustCompile(`btf_|BTF|static_assert|KeySize|ValueSize|_size = `)
)

// code counts the lines of a source file that are neither empty nor comment.
func code(text string) (t tally) {
	comment := false
	owner := both
	for l := range strings.Lines(text) {
		s := strings.TrimSpace(l)
		if comment || strings.HasPrefix(s, "/*") {
			comment = !strings.HasSuffix(s, "*/")
			continue
		}
		if s == "" || strings.HasPrefix(s, "//") {
			continue
		}
		if l[0] != ' ' && l[0] != '\t' && l[0] != '}' && l[0] != ')' {
			owner = both
			switch {
			case netlinkDecl.MatchString(l):
				owner = netlinkOnly
			case mapDecl.MatchString(l):
				owner = mapOnly
			}
		}
		switch {
		case owner == both && netlinkLine.MatchString(l):
			t[netlinkOnly]++
		case owner == both && mapLine.MatchString(l):
			t[mapOnly]++
		default:
			t[owner]++
		}
	}
	return t
}

// read is a file of the source tree.
func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(testutil.Path(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// handwritten are the files below a directory that match, but for tests and what
// is generated.
func handwritten(t *testing.T, patterns ...string) (paths []string) {
	t.Helper()
	for _, p := range patterns {
		list, err := filepath.Glob(testutil.Path(t, p))
		if err != nil || len(list) == 0 {
			t.Fatalf("no files %s: %v", p, err)
		}
		for _, path := range list {
			if base := filepath.Base(path); strings.HasSuffix(base, "_test.go") || strings.HasPrefix(base, "zz_") || strings.HasPrefix(base, "gen.") {
				continue
			}
			rel, err := filepath.Rel(testutil.Path(t), path)
			if err != nil {
				t.Fatal(err)
			}
			paths = append(paths, rel)
		}
	}
	return paths
}

// linesOf counts the lines of code of files.
func linesOf(t *testing.T, paths ...string) (n int) {
	t.Helper()
	for _, p := range paths {
		n += code(read(t, p)).sum()
	}
	return n
}

// mention is a line of code that names the control type.
var mention = regexp.MustCompile(`xdpctl_ports?\b|xdpctl_port_|XDPCTL_(A|CMD|CTRL_TYPE_XDP)_PORT|PortKey|XDPPort`)

// mentions counts the lines of code in files that name the control type.
func mentions(t *testing.T, paths ...string) (n int) {
	t.Helper()
	for _, p := range paths {
		comment := false
		for l := range strings.Lines(read(t, p)) {
			s := strings.TrimSpace(l)
			if comment || strings.HasPrefix(s, "/*") {
				comment = !strings.HasSuffix(s, "*/")
				continue
			}
			if !strings.HasPrefix(s, "//") && mention.MatchString(s) {
				n++
			}
		}
	}
	return n
}

// without is the spec as if the control type had never been.
func without(s *specgen.Spec) *specgen.Spec {
	out := *s
	out.Definitions = slices.DeleteFunc(slices.Clone(s.Definitions), func(d specgen.SpecDef) bool { return d.Name == counted+"s" })
	for i, d := range out.Definitions {
		out.Definitions[i].Entries = slices.DeleteFunc(slices.Clone(d.Entries), func(e specgen.SpecEntry) bool { return e.Name == "xdp-"+counted })
	}
	out.AttributeSets = slices.DeleteFunc(slices.Clone(s.AttributeSets), func(a specgen.SpecSet) bool { return a.Name == counted })
	out.Operations.List = slices.DeleteFunc(slices.Clone(s.Operations.List), func(o specgen.SpecOp) bool { return strings.HasPrefix(o.Name, counted+"-") })
	return &out
}

// generated counts the lines of code that the generator writes for a spec.
func generated(t *testing.T, s *specgen.Spec) (sum tally) {
	t.Helper()
	f, err := specgen.NewFamily(s, specgen.SpecPath)
	if err != nil {
		t.Fatal(err)
	}
	files, err := specgen.Generate(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file.Path, ".md") {
			continue
		}
		for i, n := range code(string(file.Data)) {
			sum[i] += n
		}
	}
	return sum
}

// item begins an item of a list in the spec, or names it.
var item = regexp.MustCompile(`(?m)^ *-\n +(?:type: .*\n +)?name: (\S+)\n`)

// specLines counts the lines of the spec about the control type: items of its
// name, up to the next item that is no part of them.
func specLines(text string) (n int) {
	indent := -1
	lines := strings.SplitAfter(text, "\n")
	for i, l := range lines {
		at := len(l) - len(strings.TrimLeft(l, " "))
		if strings.TrimSpace(l) == "" {
			continue
		}
		if at <= indent {
			indent = -1
		}
		if m := item.FindStringSubmatch(l + strings.Join(lines[i+1:min(i+3, len(lines))], "")); m != nil && indent < 0 {
			switch name := m[1]; {
			case name == counted, name == counted+"s", name == "xdp-"+counted, strings.HasPrefix(name, counted+"-"):
				indent = at
			}
		}
		if indent >= 0 {
			n++
		}
	}
	return n
}

// TestCost counts what the author of a control type writes, and what he gets.
func TestCost(t *testing.T) {
	text := read(t, specgen.SpecPath)
	spec, err := specgen.ParseSpec([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	inSpec := specLines(text)
	less := without(spec)
	all, rest := generated(t, spec), generated(t, less)
	var gen tally
	for i := range gen {
		gen[i] = all[i] - rest[i]
	}
	ops := len(spec.Operations.List) - len(less.Operations.List)
	expect(t, "operations of the type", ops, 4)
	if inSpec < 10*ops || gen.sum() < inSpec || gen[netlinkOnly] <= 0 || gen[mapOnly] <= 0 {
		t.Errorf("counted %d lines of spec and %v generated, which cannot be", inSpec, gen)
	}

	const backend = "kmod/ctrl_port.c"
	netlinkDoor, mapDoor := []string{"kmod/netlink.c"}, []string{"kmod/ctlmap.c", "kmod/ctldev.c"}
	others := slices.DeleteFunc(handwritten(t, "kmod/*.[ch]"), func(p string) bool {
		return p == backend || slices.Contains(netlinkDoor, p) || slices.Contains(mapDoor, p)
	})
	own, elsewhere := linesOf(t, backend), mentions(t, others...)
	inNetlink, inMap := mentions(t, netlinkDoor...), mentions(t, mapDoor...)
	goNetlink, goMap := mentions(t, handwritten(t, "family/client*.go")...), mentions(t, handwritten(t, "ctlmap/*.go")...)
	expect(t, "lines of the netlink door about the type", inNetlink, 0)
	expect(t, "lines of the map door about the type", inMap, 0)
	expect(t, "lines of the clients in Go are as many", goNetlink, goMap)

	grown := 0
	for _, d := range spec.Definitions {
		if strings.Contains(d.Name, "-value-size-") {
			grown++
		}
	}
	line(t, compare.Quality{
		Name: "cost of a new control type",
		Question: fmt.Sprintf("How many lines does its author write, and which of them for one door alone? Counted of xdp_port: %d lines of spec, %d of C behind both doors and %d elsewhere; %d lines are generated, %d of them for both.",
			inSpec, own, elsewhere, gen.sum(), gen[both]),
		Netlink: fmt.Sprintf("By hand %d in C and %d in Go; generated %d: policies, operations, codecs. Once for all types: %d lines of C.",
			inNetlink, goNetlink, gen[netlinkOnly], linesOf(t, netlinkDoor...)),
		Map: fmt.Sprintf("By hand %d in C and %d in Go; generated %d: sizes and BTF. Once for all types: %d lines of C. Each time that a value grows, its old size goes into the spec: %d so far, of all types.",
			inMap, goMap, gen[mapOnly], linesOf(t, mapDoor...), grown),
	})
}
