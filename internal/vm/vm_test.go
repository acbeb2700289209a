// SPDX-License-Identifier: BSD-3-Clause

package vm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestArchive compares with the bytes of
//
//	mkdir a; printf hello >a/b; chmod 755 a; chmod 644 a/b
//	printf 'a\na/b\n' | cpio -o -H newc --reproducible --owner 0:0 --block-size=1
//
// whose inode numbers are 0 and 1, and whose times are set to 0.
func TestArchive(t *testing.T) {
	const hex0 = "00000000"
	want := "070701" + "00000001" + "000041ed" + hex0 + hex0 + "00000002" + hex0 + hex0 + hex0 + hex0 + hex0 + hex0 + "00000002" + hex0 +
		"a\x00" +
		"070701" + "00000002" + "000081a4" + hex0 + hex0 + "00000001" + hex0 + "00000005" + hex0 + hex0 + hex0 + hex0 + "00000004" + hex0 +
		"a/b\x00\x00\x00" + "hello\x00\x00\x00" +
		"070701" + "00000003" + hex0 + hex0 + hex0 + "00000001" + hex0 + hex0 + hex0 + hex0 + hex0 + hex0 + "0000000b" + hex0 +
		"TRAILER!!!\x00\x00\x00\x00"

	var got bytes.Buffer
	a := newArchive(&got)
	a.file("/a/b", modeFile, []byte("hello"))
	a.dir("a")
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestArchiveError(t *testing.T) {
	a := newArchive(failingWriter{})
	a.file("big", modeFile, make([]byte, 1<<20))
	if err := a.close(); err == nil {
		t.Error("no error from a writer that fails")
	}
}

func TestChoose(t *testing.T) {
	kernels := func(releases ...string) []*Kernel {
		var list []*Kernel
		for _, r := range releases {
			list = append(list, &Kernel{Release: r, Debug: strings.HasSuffix(r, "-debug")})
		}
		return list
	}
	installed := kernels("6.1.0-9-amd64", "6.1.0-56-amd64", "6.1.0-57-rt-amd64", "6.12.90+deb12-amd64",
		"6.12.117+deb12-amd64", "6.12.118+deb12-cloud-amd64")
	built := kernels("6.12.100-debug", "6.12.99-debug")
	tests := []struct{ name, want string }{
		{"6.1", "6.1.0-56-amd64"},
		{"6.12", "6.12.117+deb12-amd64"},
		{"6.12.90", "6.12.90+deb12-amd64"},
		{"6.1.0-57-rt-amd64", "6.1.0-57-rt-amd64"},
		{"6.12.118", "6.12.118+deb12-cloud-amd64"},
		{"debug", "6.12.99-debug"}, // built last
		{"6.12.100-debug", "6.12.100-debug"},
		{"6", "6.12.117+deb12-amd64"},
		{"6.1.0-5", ""},
		{"5", ""},
		{"", ""},
	}
	for _, tt := range tests {
		got := ""
		if k := choose(tt.name, installed, built); k != nil {
			got = k.Release
		}
		if got != tt.want {
			t.Errorf("choose(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestCompareReleases(t *testing.T) {
	sorted := []string{"6.1.0-9-amd64", "6.1.0-56-amd64", "6.12.9+deb12-amd64", "6.12.117+deb12-amd64", "7.0"}
	got := slices.Clone(sorted)
	slices.Reverse(got)
	slices.SortFunc(got, compareReleases)
	if diff := cmp.Diff(sorted, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func TestParseDepends(t *testing.T) {
	const out = "builtin virtio\ninsmod /lib/modules/6.12/a.ko.xz \ninsmod /lib/modules/6.12/b.ko x=1\n"
	want := []string{"/lib/modules/6.12/a.ko.xz", "/lib/modules/6.12/b.ko"}
	if diff := cmp.Diff(want, parseDepends(out)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if got := moduleBase(want[0]); got != "a.ko" {
		t.Errorf("moduleBase = %q", got)
	}
}

func TestQEMUArgs(t *testing.T) {
	k := &Kernel{Release: "6.1", Image: "/boot/vmlinuz-6.1"}
	tests := []struct {
		name    string
		options Options
		want    []string
		not     []string
	}{
		{"plain", Options{CPUs: 2, Memory: 1024},
			[]string{"-accel tcg,thread=single", "-smp 2", "-m 1024", "-no-reboot"}, []string{"kvm", "icount", "seed", "nokaslr", "netdev", "hubport"}},
		{"icount", Options{CPUs: 1, ICount: true}, []string{"-icount shift=0,sleep=off", "-seed 1", "clock=vm", "nokaslr"}, nil},
		{"kvm", Options{CPUs: 1, KVM: true}, []string{"-accel kvm"}, []string{"tcg"}},
		{"nics", Options{CPUs: 1, NICs: 4}, []string{
			"hubport,id=h0,hubid=0", "hubport,id=h1,hubid=0", "hubport,id=h2,hubid=1", "hubport,id=h3,hubid=1",
			"netdev=h3,mac=52:54:00:78:64:04"}, []string{"h4"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := strings.Join(qemuArgs(&tt.options, k), " ")
			for _, s := range tt.want {
				if !strings.Contains(got, s) {
					t.Errorf("%q is not in %s", s, got)
				}
			}
			for _, s := range tt.not {
				if strings.Contains(got, s) {
					t.Errorf("%q is in %s", s, got)
				}
			}
		})
	}
}

func TestCommandLine(t *testing.T) {
	plain := commandLine(&Options{}, &Kernel{})
	for _, s := range []string{"panic=-1", "oops=panic", "panic_on_warn=1", "net.ifnames=0", "mitigations=off"} {
		if !strings.Contains(plain, s) {
			t.Errorf("%q is not in %q", s, plain)
		}
	}
	if strings.Contains(plain, "acpi") {
		t.Errorf("no ACPI in %q", plain)
	}
	if debug := commandLine(&Options{}, &Kernel{Debug: true}); !strings.HasSuffix(debug, "acpi=off reboot=t") {
		t.Errorf("ACPI in %q", debug)
	}
}

func TestTail(t *testing.T) {
	tl := tail{limit: 100}
	for i := range 1000 {
		fmt.Fprintf(&tl, "line %d\r\n", i)
	}
	if got, want := string(tl.lines(3)), "line 998\nline 999\n"; got != want {
		t.Errorf("lines = %q, want %q", got, want)
	}
	if len(tl.buf) > 2*tl.limit {
		t.Errorf("%d bytes are kept, limit %d", len(tl.buf), tl.limit)
	}
}

func TestModuleRoot(t *testing.T) {
	root := t.TempDir()
	below := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := moduleRoot(below); got != "" {
		t.Errorf("moduleRoot outside of a module = %q, want nothing", got)
	}
	if err := os.WriteFile(filepath.Join(root, "go.mod"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{root, below} {
		if got := moduleRoot(dir); got != root {
			t.Errorf("moduleRoot(%q) = %q, want %q", dir, got, root)
		}
	}
}

func TestBind(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "vm-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	top, err := os.CreateTemp("/tmp", "vm-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(top.Name())
	top.Close()
	tests := []struct{ path, want string }{
		{dir, dir},
		{file, dir},
		{filepath.Join(dir, "testlog.txt"), dir},
		{filepath.Join(dir, "none", "testlog.txt"), ""},
		{top.Name(), top.Name()},
		{"/tmp/vm-test-none", ""},
		{"/tmp", ""},
		{"/usr/bin/env", ""},
		{"relative", ""},
		{"", ""},
	}
	for _, tt := range tests {
		if got := bind(tt.path); got != tt.want {
			t.Errorf("bind(%q) = %q, want %q", tt.path, got, tt.want)
		}
	}

	o := &Options{Kernel: &Kernel{}, Dir: "/usr", Args: []string{file, "-test.testlogfile=" + file, "-test.v"},
		Env: []string{"OUT=" + top.Name()}}
	if diff := cmp.Diff([]string{dir, top.Name()}, binds(o)); diff != "" {
		t.Errorf("binds (-want +got):\n%s", diff)
	}
}
