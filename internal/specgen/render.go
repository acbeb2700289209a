// SPDX-License-Identifier: BSD-3-Clause

// Package specgen generates, from the YNL specification of the family, whatever
// can be derived from it: the uapi header, the kernel's policies, op table and
// descriptions of the control types, the BTF that describes keys and values, the
// Go types with their codecs, and the page that documents the protocol.
//
// A control type xdp-NAME is an entry of enum ctrl-type with the operations
// NAME-get and, as far as it has them, NAME-set, NAME-del and NAME-ntf. Its key
// is what the do of NAME-get requests. Its value is the rest of what NAME-get
// replies and of what NAME-set requests, in the order of the attributes' ids; an
// attribute of enum update is the flags argument of an update and in neither. A
// value that has grown keeps its older sizes in constants NAME-value-size-1,
// NAME-value-size-2 and so on.
package specgen

import (
	"embed"
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

//go:embed templates
var templates embed.FS

// File is a generated file.
type File struct {
	// Path is relative to the root of the repository.
	Path string
	Data []byte
}

// goFiles are the generated files of package family, by template.
var goFiles = []struct{ template, path string }{
	{"enums.go.tmpl", "family/zz_enums.go"},
	{"types.go.tmpl", "family/zz_types.go"},
	{"meta.go.tmpl", "family/zz_meta.go"},
}

// cFiles are the generated C files and the documentation, by template.
var cFiles = []struct{ template, path string }{
	{"xdpctl.h.tmpl", "kmod/uapi/xdpctl.h"},
	{"gen.h.tmpl", "kmod/gen.h"},
	{"gen.c.tmpl", "kmod/gen.c"},
	{"protocol.md.tmpl", "docs/protocol.md"},
}

// Generate returns all generated files.
func Generate(f *Family) ([]File, error) {
	goFiles, err := generateGo(f)
	if err != nil {
		return nil, err
	}
	view, err := newCView(f)
	if err != nil {
		return nil, err
	}
	types, err := renderGo("btf.go.tmpl", "family/zz_btf.go", view)
	if err != nil {
		return nil, err
	}
	files := append(goFiles, types)
	for _, g := range cFiles {
		text, err := render(g.template, view)
		if err != nil {
			return nil, err
		}
		files = append(files, File{g.path, []byte(text)})
	}
	return files, nil
}

// goTable is what the template of a control type or an object sees.
type goTable struct {
	Source string
	Go     string
	Type   *ControlType // nil for an object
	Get    *Op
	Doc    string
	Set    *AttrSet
	Value  Struct
}

// generateGo returns the generated files of package family.
func generateGo(f *Family) ([]File, error) {
	var files []File
	add := func(template, path string, data any) error {
		f, err := renderGo(template, path, data)
		files = append(files, f)
		return err
	}
	for _, g := range goFiles {
		if err := add(g.template, g.path, f); err != nil {
			return nil, err
		}
	}
	var tables []goTable
	for _, o := range f.Objects {
		tables = append(tables, goTable{f.Source, goName(o.Name), nil, o.Get, o.Doc, o.Set, o.Value})
	}
	for _, t := range f.Types {
		tables = append(tables, goTable{f.Source, goName(t.Base), t, t.Get, t.Doc, t.Set, t.Value})
	}
	for _, t := range tables {
		path := "family/zz_table_" + cName(t.Get.Base()) + ".go"
		if err := add("table.go.tmpl", path, t); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// renderGo returns a generated Go file.
func renderGo(template, path string, data any) (File, error) {
	text, err := render(template, data)
	if err != nil {
		return File{}, err
	}
	b, err := format.Source(goImports(text))
	if err != nil {
		return File{}, fmt.Errorf("format %s: %w", path, err)
	}
	return File{path, b}, nil
}

// Write writes the files below root, leaving alone those that are up to date,
// and removes generated Go files of control types that are gone.
func Write(root string, files []File) error {
	if err := removeStale(root, files); err != nil {
		return err
	}
	for _, f := range files {
		path := filepath.Join(root, f.Path)
		if old, err := os.ReadFile(path); err == nil && string(old) == string(f.Data) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func removeStale(root string, files []File) error {
	old, err := filepath.Glob(filepath.Join(root, "family", "zz_*.go"))
	if err != nil {
		return err
	}
	for _, path := range old {
		name := "family/" + filepath.Base(path)
		if slices.ContainsFunc(files, func(f File) bool { return f.Path == name }) {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// render executes a template, with the definitions of all others at hand.
func render(name string, data any) (string, error) {
	t, err := template.New(name).Funcs(funcs).Funcs(cFuncs).Funcs(mdFuncs).ParseFS(templates, "templates/header.*", "templates/"+name)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.ExecuteTemplate(&b, name, data); err != nil {
		return "", fmt.Errorf("generate %s: %w", strings.TrimSuffix(name, ".tmpl"), err)
	}
	return b.String(), nil
}

// goImports adds the imports that the text needs.
func goImports(text string) []byte {
	var b strings.Builder
	for _, pkg := range []string{"encoding/hex", "encoding/json", "unsafe"} {
		if strings.Contains(text, filepath.Base(pkg)+".") {
			fmt.Fprintf(&b, "\t%q\n", pkg)
		}
	}
	if b.Len() == 0 {
		return []byte(text)
	}
	const clause = "package family\n"
	return []byte(strings.Replace(text, clause, clause+"\nimport (\n"+b.String()+")\n", 1))
}

// SpecPath is the path of the specification, relative to the root of the
// repository, by which generated files name it.
const SpecPath = "family/xdpctl.yaml"
