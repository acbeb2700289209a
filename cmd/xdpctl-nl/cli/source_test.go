// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/loader"
)

func TestSourceErrors(t *testing.T) {
	id := uint32(0xfffffff0)
	for name, tt := range map[string]struct {
		source source
		want   string
	}{
		"id":     {source{id: &id}, "open program with id 4294967280: "},
		"pinned": {source{pinned: "/nonexistent"}, "open program pinned at /nonexistent: "},
		"obj":    {source{obj: "/nonexistent"}, "read object file: open /nonexistent: "},
		"no ELF": {source{obj: "source_test.go"}, "read object file source_test.go: not an ELF file for BPF"},
	} {
		_, _, err := tt.source.read()
		if tt.source.obj == "" {
			_, _, err = tt.source.open()
		}
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
	fd := uint32(7)
	if got, closer, err := (&source{fd: &fd}).open(); got != fd || err != nil {
		t.Errorf("fd: got %d, error %v", got, err)
	} else {
		closer()
	}
}

// TestSourceObject loads an object file of the project.
func TestSourceObject(t *testing.T) {
	a := newApp(io.Discard, io.Discard)
	s := source{obj: "../../../bpf/pass.bpf.o"}
	obj, err := a.load(context.Background(), &s, loader.LoadOptions{})
	if errors.Is(err, ebpf.ErrNotSupported) || (err != nil && strings.Contains(err.Error(), "not permitted")) {
		t.Skipf("no BPF programs here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(obj.Programs) != 1 {
		t.Errorf("programs %v", obj.Programs)
	}
	if err := a.finish(obj); err != nil {
		t.Error(err)
	}
}

// What the verifier refuses is shown in brief, or with -v in full.
func TestRefusal(t *testing.T) {
	v := &loader.VerifierError{Program: "p", Source: "x = *n; @ p.c:7", Err: errors.New("permission denied"),
		Log: []string{"0: one", "1: two", "2: three", "3: four", "4: five", "5: six", "6: seven", "processed 7 insns"}}
	err := fmt.Errorf("load p.o: %w", v)
	brief := "load p.o: program p: permission denied\nat: x = *n; @ p.c:7\n(2 lines before; -v prints all)\n1: two\n2: three\n3: four\n4: five\n5: six\n6: seven"
	full := "load p.o: program p: permission denied\nat: x = *n; @ p.c:7\n0: one\n1: two\n2: three\n3: four\n4: five\n5: six\n6: seven\nprocessed 7 insns"
	if got := (&app{}).refusal(err); got != brief {
		t.Errorf("got %s, want %s", got, brief)
	}
	if got := (&app{verbose: true}).refusal(err); got != full {
		t.Errorf("with -v: got %s, want %s", got, full)
	}
}
