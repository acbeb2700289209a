// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// layoutProgram collects the expressions of a C program that prints them, and
// what each must be.
type layoutProgram struct {
	exprs []string
	want  map[string]int
}

func (p *layoutProgram) add(want int, format string, args ...any) {
	expr := fmt.Sprintf(format, args...)
	p.exprs = append(p.exprs, expr)
	p.want[expr] = want
}

// addStruct adds size and members of a C struct, which are those of the Go
// struct typ.
func (p *layoutProgram) addStruct(t *testing.T, name string, typ reflect.Type, members []string) {
	t.Helper()
	var fields []reflect.StructField
	for i := range typ.NumField() {
		if f := typ.Field(i); f.Name != "_" {
			fields = append(fields, f)
		}
	}
	if len(fields) != len(members) {
		t.Fatalf("%s has %d fields, struct %s %d members", typ, len(fields), name, len(members))
	}
	p.add(int(typ.Size()), "sizeof(struct %s)", name)
	for i, m := range members {
		p.add(int(fields[i].Offset), "offsetof(struct %s, %s)", name, m)
		p.add(int(fields[i].Type.Size()), "sizeof(((struct %s *)0)->%s)", name, m)
	}
}

// run compiles and runs the program and returns what it prints.
func (p *layoutProgram) run(t *testing.T) map[string]int {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc:", err)
	}
	var src strings.Builder
	src.WriteString("#include <stddef.h>\n#include <stdio.h>\n#include \"xdpctl.h\"\nint main(void)\n{\n")
	for _, expr := range p.exprs {
		fmt.Fprintf(&src, "\tprintf(\"%%d %s\\n\", (int)(%s));\n", expr, expr)
	}
	src.WriteString("\treturn 0;\n}\n")

	dir := t.TempDir()
	file, bin := filepath.Join(dir, "layout.c"), filepath.Join(dir, "layout")
	if err := os.WriteFile(file, []byte(src.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(gcc, "-std=c99", "-Wall", "-Wextra", "-Werror",
		"-I../kmod/uapi", "-o", bin, file).CombinedOutput()
	if err != nil {
		t.Fatalf("compile: %v\n%s", err, out)
	}
	if out, err = exec.Command(bin).Output(); err != nil {
		t.Fatal(err)
	}

	got := map[string]int{}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		var n int
		num, expr, _ := strings.Cut(s.Text(), " ")
		if _, err := fmt.Sscan(num, &n); err != nil {
			t.Fatal(err)
		}
		got[expr] = n
	}
	return got
}

func cIdent(name string) string {
	return strings.ReplaceAll(name, "-", "_")
}

func cMacro(parts ...string) string {
	return strings.ToUpper("XDPCTL_" + cIdent(strings.Join(parts, "_")))
}

// TestHeader compiles the uapi header and compares it with the Go types.
func TestHeader(t *testing.T) {
	types := map[CtrlType][2]any{
		CtrlTypeXDPStats:  {StatsKey{}, Stats{}},
		CtrlTypeXDPQstats: {QstatsKey{}, Qstats{}},
		CtrlTypeXDPProg:   {ProgKey{}, Prog{}},
		CtrlTypeXDPCaps:   {CapsKey{}, Caps{}},
		CtrlTypeXDPAttr:   {AttrKey{}, Attr{}},
		CtrlTypeXDPPort:   {PortKey{}, Port{}},
	}
	p := layoutProgram{want: map[string]int{}}
	for _, d := range Descs() {
		goTypes, ok := types[d.Type]
		if !ok {
			t.Errorf("control type %s is missing in this test", d.Name)
			continue
		}
		var key []string
		value := []string{"present"}
		for _, f := range d.Fields {
			name := cIdent(d.Set.AttrName(f.Attr))
			where := &value
			cType := "xdpctl_" + strings.TrimPrefix(d.MapName, "xdp_")
			if f.Key {
				where, cType = &key, cType+"_key"
			}
			*where = append(*where, name)
			p.add(f.Offset, "offsetof(struct %s, %s)", cType, name)
			p.add(f.Size, "sizeof(((struct %s *)0)->%s)", cType, name)
		}
		name := "xdpctl_" + strings.TrimPrefix(d.MapName, "xdp_")
		p.addStruct(t, name+"_key", reflect.TypeOf(goTypes[0]), key)
		p.addStruct(t, name, reflect.TypeOf(goTypes[1]), value)
		p.add(int(d.Type), "%s", cMacro("ctrl-type", d.Name))
		p.add(d.KeySize, "sizeof(struct %s_key)", name)
		p.add(d.ValueSize, "sizeof(struct %s)", name)
	}
	for _, op := range Ops {
		p.add(int(op.Cmd), "%s", cMacro("cmd", op.Name))
		for _, a := range op.Set.Attrs {
			p.add(int(a.ID), "%s", cMacro("a", op.Set.Name, a.Name))
		}
		p.add(len(op.Set.Attrs), "%s", cMacro("a", op.Set.Name, "max"))
	}
	p.add(len(Ops), "XDPCTL_CMD_MAX")
	p.add(len(Descs()), "XDPCTL_CTRL_TYPE_MAX")
	p.add(int(ModeOffload), "XDPCTL_MODE_OFFLOAD")
	p.add(int(UpdateExist), "XDPCTL_UPDATE_EXIST")
	p.add(int(OwnerNetlink), "XDPCTL_OWNER_NETLINK")
	p.add(int(XDPActNDOXmitSG), "XDPCTL_XDP_ACT_NDO_XMIT_SG")
	p.add(1<<AttrProgMode, "XDPCTL_PRESENT(XDPCTL_A_PROG_MODE)")

	got := p.run(t)
	for expr, want := range p.want {
		if got[expr] != want {
			t.Errorf("%s is %d, in Go %d", expr, got[expr], want)
		}
	}
}

// TestSizesAreUnique checks that a map can tell control types apart.
func TestSizesAreUnique(t *testing.T) {
	seen := map[[2]int]string{}
	for _, d := range Descs() {
		for _, size := range append([]int{d.ValueSize}, d.OldSizes...) {
			s := [2]int{d.KeySize, size}
			if other, ok := seen[s]; ok {
				t.Errorf("%s and %s both have sizes %v", other, d.Name, s)
			}
			seen[s] = d.Name
		}
		if got := d.Type.Desc(); got.Name != d.Name {
			t.Errorf("description of %v is that of %s", d.Type, got.Name)
		}
	}
	if d := CtrlType(0).Desc(); d != nil {
		t.Errorf("control type 0 is %s", d.Name)
	}
	if d := CtrlType(1000).Desc(); d != nil {
		t.Errorf("control type 1000 is %s", d.Name)
	}
}
