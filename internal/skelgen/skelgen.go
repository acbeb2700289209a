// SPDX-License-Identifier: BSD-3-Clause

// Package skelgen writes skeletons: Go code for a BPF object.
package skelgen

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"go/format"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/xdpctl/xdpctl-nl/internal/bpfobj"
	"github.com/xdpctl/xdpctl-nl/skel"
)

// Options say what to write.
type Options struct {
	// Package is the package of the code, Name the name of the type; without
	// it the name comes from File.
	Package, Name string
	// File is the file of the object, as the code is to call it.
	File string
	// Embed is its path from the directory of the code, in or below that.
	// Without it the code contains the object.
	Embed string
}

//go:embed *.go
var sources embed.FS

// Hash is the hash of the generator.
func Hash() string {
	h := sha256.New()
	entries, err := sources.ReadDir(".")
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		b, err := sources.ReadFile(e.Name())
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(h, "%s %d\n", e.Name(), len(b))
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Generate writes the skeleton of an object. It needs no kernel. The same object
// and options give the same bytes.
//
// Returns an error matching [errors.ErrUnsupported] for an object that has what
// no skeleton can have.
func Generate(object []byte, opts Options) ([]byte, error) {
	if opts.Name == "" {
		opts.Name = ObjectName(opts.File)
	}
	if !token.IsIdentifier(opts.Name) || !token.IsExported(opts.Name) {
		return nil, fmt.Errorf("name %q is no exported Go identifier", opts.Name)
	}
	if !token.IsIdentifier(opts.Package) {
		return nil, fmt.Errorf("package %q is no Go identifier", opts.Package)
	}
	read, err := bpfobj.Read(object)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(object)
	g := &generator{
		opts: opts, object: object, sum: hex.EncodeToString(sum[:]), obj: read,
		types: types{prefix: opts.Name, names: pool{}, known: make(map[typeKey]goType)},
	}
	return g.generate()
}

// generator writes one skeleton.
type generator struct {
	opts   Options
	object []byte
	sum    string
	obj    *bpfobj.Object
	types  types

	top      pool // fields of the skeleton
	open     bytes.Buffer
	fields   bytes.Buffer
	sections bytes.Buffer // declarations
	vars     []entry
	maps     []entry
	structs  []entry
	programs []entry
	links    []entry
}

// entry is a field of Maps, Programs, Links or Vars.
type entry struct{ field, typ, doc string }

func (g *generator) generate() ([]byte, error) {
	name := g.opts.Name
	for _, id := range []string{"", "Maps", "Programs", "Links", "Vars", "StructOps"} {
		g.types.names.take(name + id)
	}
	g.types.names.take("Open" + name)
	g.types.names.take("OpenAndLoad" + name)
	g.top = pool{}
	for _, id := range []string{"Maps", "Programs", "Links", "Vars", "StructOps", "Load", "Attach", "Close", "Pin", "Refresh", "Object"} {
		g.top.take(id)
	}
	if err := g.addSections(); err != nil {
		return nil, err
	}
	if err := g.addMaps(); err != nil {
		return nil, err
	}
	g.addPrograms()
	src := g.render()
	out, err := format.Source(src)
	if err != nil {
		return nil, fmt.Errorf("format: %w\n%s", err, src)
	}
	return out, nil
}

// variable is a variable of a section.
type variable struct {
	name    string
	t       btf.Type // nil if the object does not tell
	off     uint32
	size    uint32
	written bool
}

// variables are those of a section that a skeleton has: global ones, in the
// order of the section.
func (g *generator) variables(section string) []variable {
	m := g.obj.Spec.Maps[section]
	ds, _ := m.Value.(*btf.Datasec)
	var vars []variable
	for name, v := range g.obj.Spec.Variables {
		if v.SectionName != section {
			continue
		}
		one := variable{name: name, off: v.Offset, size: v.Size()}
		if ds != nil {
			for _, vsi := range ds.Vars {
				if t, ok := vsi.Type.(*btf.Var); ok && t.Name == name {
					one.t = t.Type
				}
			}
		}
		if one.size > 0 {
			vars = append(vars, one)
		}
	}
	slices.SortFunc(vars, func(a, b variable) int {
		if a.off != b.off {
			return int(a.off) - int(b.off)
		}
		return strings.Compare(a.name, b.name)
	})
	// Other names for the same variable.
	return slices.CompactFunc(vars, func(a, b variable) bool { return a.off == b.off })
}

func (g *generator) addSections() error {
	names := slices.Sorted(maps.Keys(g.obj.Spec.Maps))
	all := make(map[string][]variable)
	extents := make(map[string][]extent)
	for _, name := range names {
		if !skel.IsSection(name) {
			continue
		}
		all[name] = g.variables(name)
		extents[name] = g.extents(name, all[name])
	}
	w := written(g.obj.Spec, extents)
	vars := pool{}
	for _, name := range names {
		if len(all[name]) == 0 {
			continue
		}
		for i, v := range all[name] {
			all[name][i].written = w[place{name, v.off}]
		}
		if err := g.addSection(name, all[name], vars); err != nil {
			return fmt.Errorf("section %s: %w", name, err)
		}
	}
	return nil
}

// extents are where variables of a section are, static ones too.
func (g *generator) extents(section string, vars []variable) []extent {
	var all []extent
	for _, v := range vars {
		all = append(all, extent{v.off, v.off + v.size})
	}
	ds, ok := g.obj.Spec.Maps[section].Value.(*btf.Datasec)
	if !ok {
		return all
	}
	for _, vsi := range ds.Vars {
		e := extent{vsi.Offset, vsi.Offset + vsi.Size}
		if !slices.Contains(all, e) {
			all = append(all, e)
		}
	}
	return all
}

// addSection writes the struct of a section and the accessors of its variables.
func (g *generator) addSection(name string, vars []variable, used pool) error {
	m := g.obj.Spec.Maps[name]
	constant := strings.HasPrefix(name, ".rodata")
	label := name
	if name == bpfobj.KconfigData {
		label = bpfobj.Kconfig
	}
	field := g.top.take(camel(label))
	typ := g.types.names.take(g.opts.Name + field)
	layout := typ
	if constant {
		layout = g.types.names.take(lower(typ))
	}
	c := &composite{
		ts: &g.types, name: layout, cname: strings.TrimPrefix(label, "."), size: (m.ValueSize + 7) &^ 7, align: 8,
		doc: fmt.Sprintf("// %s is the memory of section %s.", layout, label),
	}
	isWritten := make(map[string]bool)
	for i, v := range vars {
		if v.t == nil || !g.sizeIs(v) {
			vars[i].t = byteArray(v.size)
		}
		isWritten[v.name] = v.written && !constant
		c.members = append(c.members, btf.Member{Name: v.name, Type: vars[i].t, Offset: btf.Bits(8 * v.off)})
	}
	c.sharedBy = func(m btf.Member) bool { return isWritten[m.Name] }
	if _, err := c.structure(); err != nil {
		return err
	}
	g.types.decls = append(g.types.decls, c.text())
	if constant {
		g.addConstants(name, label, field, typ, layout, vars, c)
	} else {
		fmt.Fprintf(&g.fields, "\t// %s is section %s.\n\t%s *%s\n", field, label, field, typ)
		fmt.Fprintf(&g.open, "\ts.%s = skel.Memory[%s](o, %q)\n", field, typ, name)
	}
	if label == bpfobj.Kconfig {
		return nil
	}
	for _, v := range vars {
		gt, err := g.types.plain(v.t, v.name)
		if err != nil {
			return err
		}
		id := used.take(camel(v.name))
		g.vars = append(g.vars, entry{id, fmt.Sprintf("skel.Var[%s]", gt.expr), fmt.Sprintf("%s of section %s", v.name, label)})
		fmt.Fprintf(&g.open, "\ts.Vars.%s = skel.Variable[%s](o, %q, %d)\n", id, gt.expr, name, v.off)
	}
	return nil
}

// sizeIs tells whether the type of a variable has its size.
func (g *generator) sizeIs(v variable) bool {
	size, err := btf.Sizeof(v.t)
	if err != nil || uint32(size) != v.size {
		return false
	}
	_, err = g.types.plain(v.t, v.name)
	return err == nil
}

func byteArray(n uint32) btf.Type {
	b := &btf.Int{Name: "unsigned char", Size: 1}
	return &btf.Array{Index: b, Type: b, Nelems: n}
}

// addConstants writes the getters and setters of a section of constants.
func (g *generator) addConstants(name, label, field, typ, layout string, vars []variable, c *composite) {
	b := &g.sections
	kconfig := label == bpfobj.Kconfig
	what := "constants: they can be set until Load"
	if kconfig {
		what = "what the configuration of the kernel says, once it is loaded"
	}
	fmt.Fprintf(b, "// %s is section %s: %s.\ntype %s struct {\n\tsec *skel.Section\n\tmem *%s\n}\n", typ, label, what, typ, layout)
	ids := pool{}
	for _, v := range vars {
		id := ids.take(camel(v.name), "Set")
		gt, err := g.types.plain(v.t, v.name)
		if err != nil {
			continue
		}
		r := c.reach[v.name]
		get, set := "c.mem."+r.id, "skel.Store(c.sec, &c.mem."+r.id+", v)"
		if r.raw != "" {
			get, set = get+"()", "skel.StoreAt(c.sec, &c.mem."+r.raw+"[0], v)"
		}
		fmt.Fprintf(b, "\n// %s returns %s.\nfunc (c %s) %s() %s { return %s }\n", id, v.name, typ, id, gt.expr, get)
		if !kconfig {
			fmt.Fprintf(b, "\n// Set%s sets %s. After Load it returns an error.\nfunc (c %s) Set%s(v %s) error { return %s }\n",
				id, v.name, typ, id, gt.expr, set)
		}
	}
	b.WriteString("\n")
	fmt.Fprintf(&g.fields, "\t// %s is section %s.\n\t%s %s\n", field, label, field, typ)
	fmt.Fprintf(&g.open, "\ts.%s = %s{o.Section(%q, unsafe.Sizeof(%s{})), skel.Memory[%s](o, %q)}\n", field, typ, name, layout, layout, name)
}

func (g *generator) addMaps() error {
	used, structs := pool{}, pool{}
	for _, name := range slices.Sorted(maps.Keys(g.obj.Spec.Maps)) {
		m := g.obj.Spec.Maps[name]
		switch {
		case skel.IsSection(name):
		case m.Type == ebpf.StructOpsMap:
			if err := g.addStructOps(name, m, structs.take(camel(name))); err != nil {
				return err
			}
		default:
			id := used.take(camel(name))
			typ := g.mapType(name, m)
			g.maps = append(g.maps, entry{id, typ, fmt.Sprintf("%s, a map of type %s", name, m.Type)})
			fmt.Fprintf(&g.open, "\to.Map(%q, &s.Maps.%s)\n", name, id)
		}
	}
	return nil
}

func (g *generator) addStructOps(name string, m *ebpf.MapSpec, id string) error {
	st, ok := m.Value.(*btf.Struct)
	if !ok {
		return fmt.Errorf("struct_ops %s: value is no struct: %w", name, errors.ErrUnsupported)
	}
	// Functions are programs, and nothing to be set.
	data := btf.Struct{Name: st.Name + "_data", Size: st.Size}
	for _, mem := range st.Members {
		if _, isPtr := first(bare(mem.Type)).(*btf.Pointer); !isPtr {
			data.Members = append(data.Members, mem)
		}
	}
	gt, err := g.types.plain(&data, "")
	if err != nil {
		return fmt.Errorf("struct_ops %s: %w", name, err)
	}
	g.structs = append(g.structs, entry{id, fmt.Sprintf("skel.StructOps[%s]", gt.expr), fmt.Sprintf("%s, of struct %s", name, st.Name)})
	g.links = append(g.links, entry{id, "link.Link", name})
	fmt.Fprintf(&g.open, "\tskel.OpenStructOps(o, %q, &s.StructOps.%s, &s.Links.%s)\n", name, id, id)
	return nil
}

// noLink are the types of programs that no link attaches.
var noLink = []ebpf.ProgramType{
	ebpf.UnspecifiedProgram, ebpf.Syscall, ebpf.StructOps, ebpf.SocketFilter, ebpf.SchedACT,
	ebpf.LWTIn, ebpf.LWTOut, ebpf.LWTXmit, ebpf.LWTSeg6Local,
}

func (g *generator) addPrograms() {
	used, links := pool{}, pool{}
	for _, e := range g.links {
		links.take(e.field)
	}
	for _, name := range g.obj.Order {
		p := g.obj.Spec.Programs[name]
		id := used.take(camel(name))
		doc := fmt.Sprintf("%s of section %s", name, p.SectionName)
		switch {
		case p.Type == ebpf.XDP && (p.AttachType == ebpf.AttachXDP || p.AttachType == ebpf.AttachNone):
			l := links.take(id)
			g.programs = append(g.programs, entry{id, "skel.XDPProgram", doc})
			g.links = append(g.links, entry{l, "*skel.XDPLink", name})
			fmt.Fprintf(&g.open, "\to.XDP(%q, &s.Programs.%s, &s.Links.%s)\n", name, id, l)
		case p.Type == ebpf.XDP || slices.Contains(noLink, p.Type):
			g.programs = append(g.programs, entry{id, "skel.Program", doc})
			fmt.Fprintf(&g.open, "\to.Program(%q, &s.Programs.%s, nil)\n", name, id)
		default:
			l := links.take(id)
			g.programs = append(g.programs, entry{id, "skel.Program", doc})
			g.links = append(g.links, entry{l, "link.Link", name})
			fmt.Fprintf(&g.open, "\to.Program(%q, &s.Programs.%s, &s.Links.%s)\n", name, id, l)
		}
	}
}

// base is the file of the object without its directory.
func (g *generator) base() string { return filepath.Base(g.opts.File) }
