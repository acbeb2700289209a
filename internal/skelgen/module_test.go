// SPDX-License-Identifier: BSD-3-Clause

package skelgen

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// root is the project.
const root = "../.."

// module is a Go module of its own, that builds without a network.
type module struct {
	testing.TB
	dir string
}

// newModule makes a module that has what the project has, from the project and
// the module cache.
func newModule(tb testing.TB) *module {
	tb.Helper()
	m := &module{tb, tb.TempDir()}
	project, err := filepath.Abs(root)
	m.must(err)
	mod, err := os.ReadFile(filepath.Join(project, "go.mod"))
	m.must(err)
	text := strings.Replace(string(mod), "module github.com/xdpctl/xdpctl-nl", "module example.org/fresh", 1)
	text += fmt.Sprintf("\nrequire github.com/xdpctl/xdpctl-nl v0.0.0\n\nreplace github.com/xdpctl/xdpctl-nl => %s\n", project)
	m.write("go.mod", []byte(text))
	sum, err := os.ReadFile(filepath.Join(project, "go.sum"))
	m.must(err)
	m.write("go.sum", sum)
	return m
}

func (m *module) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func (m *module) write(name string, data []byte) {
	m.Helper()
	path := filepath.Join(m.dir, name)
	m.must(os.MkdirAll(filepath.Dir(path), 0o755))
	m.must(os.WriteFile(path, data, 0o644))
}

// run runs a program there, and returns what it prints.
func (m *module) run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// clean fails the test if the code is not formatted, or vet finds something.
func (m *module) clean() {
	m.Helper()
	if out, err := m.run("gofmt", "-l", "."); err != nil || out != "" {
		m.Errorf("gofmt: %v\n%s", err, out)
	}
	if out, err := m.run("go", "vet", "./..."); err != nil {
		m.Errorf("vet: %v\n%s", err, out)
	}
}

// TestModule generates the skeletons of package skeltest in a module of its own,
// builds that without a network, and runs its tests. The skeletons are those of
// the project, to the byte.
func TestModule(t *testing.T) {
	const from = "../skeltest"
	m := newModule(t)
	entries, err := os.ReadDir(from)
	m.must(err)
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, "_skel.go") || !strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, ".o") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, name))
		m.must(err)
		m.write(filepath.Join("skeltest", name), b)
	}
	names := map[string]string{"maps": "MapTypes", "nobtf": "NoBTF", "opslink": "OpsLink", "opsupdate": "OpsUpdate"}
	objects, err := filepath.Glob(filepath.Join(m.dir, "skeltest", "*.bpf.o"))
	m.must(err)
	if len(objects) < 7 {
		t.Fatalf("only %d objects", len(objects))
	}
	for _, object := range objects {
		base := strings.TrimSuffix(filepath.Base(object), ".bpf.o")
		out := base + "_skel.go"
		path := filepath.Join(m.dir, "skeltest", out)
		m.must(Write(Request{
			File: object, Out: path, Package: "skeltest", Name: names[base], Inline: base == "opsupdate",
		}, nil))
		got, err := os.ReadFile(path)
		m.must(err)
		want, err := os.ReadFile(filepath.Join(from, out))
		m.must(err)
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not that of the project: run make generate", out)
		}
	}
	m.clean()
	if out, err := m.run("go", "test", "-count=1", "./skeltest"); err != nil {
		t.Errorf("test: %v\n%s", err, out)
	}
}
