// SPDX-License-Identifier: BSD-3-Clause

package skelgen

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocument builds the program of docs/skeleton.md.
func TestDocument(t *testing.T) {
	if _, err := exec.LookPath("clang"); err != nil {
		t.Skip(err)
	}
	doc, err := os.ReadFile(filepath.Join(root, "docs/skeleton.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := newModule(t)
	m.write("counter.bpf.c", []byte("//go:build ignore\n\n"+block(t, string(doc), "c")))
	m.write("main.go", []byte(block(t, string(doc), "go")))
	tool := filepath.Join(m.dir, "bin", "xdpctl-nl")
	if out, err := m.run("go", "build", "-o", tool, "github.com/xdpctl/xdpctl-nl/cmd/xdpctl-nl"); err != nil {
		t.Fatalf("build the tool: %v\n%s", err, out)
	}
	t.Setenv("PATH", filepath.Dir(tool)+":"+os.Getenv("PATH"))
	if out, err := m.run("go", "generate", "."); err != nil {
		t.Fatalf("generate: %v\n%s", err, out)
	}
	m.clean()
	if out, err := m.run("go", "build", "-o", filepath.Join(m.dir, "bin", "counter"), "."); err != nil {
		t.Errorf("build: %v\n%s", err, out)
	}
}

// block is the first block of a language in a document.
func block(t *testing.T, doc, language string) string {
	t.Helper()
	_, rest, ok := strings.Cut(doc, "\n```"+language+"\n")
	text, _, end := strings.Cut(rest, "\n```\n")
	if !ok || !end {
		t.Fatalf("the document has no block of %s", language)
	}
	return text + "\n"
}
