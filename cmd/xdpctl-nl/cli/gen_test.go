// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const someObject = "../../../bpf/verdict.bpf.o"

func gen(t *testing.T, args ...string) (string, string, int) {
	t.Helper()
	t.Setenv("GOPACKAGE", "")
	var stdout, stderr strings.Builder
	status := Run(append([]string{"gen", "skeleton"}, args...), &stdout, &stderr)
	return stdout.String(), stderr.String(), status
}

func TestGenSkeleton(t *testing.T) {
	inline, _, status := gen(t, someObject, "--package", "judge", "--name", "Judge")
	if status != exitOK {
		t.Fatalf("status %d", status)
	}
	for _, want := range []string{"\npackage judge\n", "\ntype Judge struct {", "\nvar judgeObject = []byte("} {
		if !strings.Contains(inline, want) {
			t.Errorf("there is no %q", want)
		}
	}

	dir := t.TempDir()
	object, err := os.ReadFile(someObject)
	if err != nil {
		t.Fatal(err)
	}
	file, out := filepath.Join(dir, "obj", "verdict.bpf.o"), filepath.Join(dir, "verdict_skel.go")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, object, 0o644); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, status := gen(t, file, "--package", "judge", "--out", out); status != exitOK || stdout+stderr != "" {
		t.Fatalf("status %d, output %q %q", status, stdout, stderr)
	}
	code, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(code), "\n//go:embed obj/verdict.bpf.o\nvar verdictObject []byte\n") {
		t.Error("the object is not embedded")
	}
}

func TestGenSkeletonRefused(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text.o")
	if err := os.WriteFile(text, []byte("no object\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"no file", []string{"--package", "p"}, exitSyntax, "FILE"},
		{"no package", []string{someObject}, exitSyntax, "--package"},
		{"a package that is none", []string{someObject, "--package", "a-b"}, exitRefused, `package "a-b"`},
		{"a name that is none", []string{someObject, "--package", "p", "--name", "low"}, exitRefused, `name "low"`},
		{"no such file", []string{"testdata/nothing.o", "--package", "p"}, exitRefused, "no such file"},
		{"no object", []string{text, "--package", "p"}, exitRefused, "text.o"},
		{"a program of the machine", []string{"/bin/true", "--package", "p"}, exitRefused, "unexpected machine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, status := gen(t, tt.args...)
			if status != tt.status || !strings.Contains(stderr, tt.want) || stdout != "" {
				t.Errorf("status %d, stderr %q, stdout %q", status, stderr, stdout)
			}
		})
	}
}
