// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
)

func TestReadFunctions(t *testing.T) {
	const names = "do_a\ndo_b\n__ftrace_invalid_address___64\ndo_a\ndo_c [mod]\nother\n"
	const addresses = "ffffffff81000010 do_a\nffffffff81000020 __ftrace_invalid_address___64\nffffffffc0000030 do_c [mod]\nffffffff81000040 other\n"
	for _, tt := range []struct {
		name, pattern, text string
		addresses           bool
		want                link.KprobeMultiOptions
		err                 error
	}{
		{"names, each once, without modules", "do_?", names, false, link.KprobeMultiOptions{Symbols: []string{"do_a", "do_b"}}, nil},
		{"addresses, with modules", "do_*", addresses, true, link.KprobeMultiOptions{Addresses: []uintptr{0xffffffff81000010, 0xffffffffc0000030}}, nil},
		{"invalid ones", "*ftrace*", names, false, link.KprobeMultiOptions{}, os.ErrNotExist},
		{"invalid ones with addresses", "*ftrace*", addresses, true, link.KprobeMultiOptions{}, os.ErrNotExist},
		{"bad pattern", "do_[*", names, false, link.KprobeMultiOptions{}, path.ErrBadPattern},
		{"no names", "*", "", false, link.KprobeMultiOptions{}, os.ErrNotExist},
		{"an empty line", "do_b", "\ndo_b\n", false, link.KprobeMultiOptions{Symbols: []string{"do_b"}}, nil},
	} {
		var got link.KprobeMultiOptions
		if err := readFunctions(strings.NewReader(tt.text), tt.pattern, tt.addresses, &got); !errors.Is(err, tt.err) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	if err := readFunctions(strings.NewReader("zz do_a\n"), "do_a", true, &link.KprobeMultiOptions{}); err == nil {
		t.Error("an address that is none was read")
	}
	r, w := io.Pipe()
	w.CloseWithError(io.ErrUnexpectedEOF)
	if err := readFunctions(r, "do_a", false, &link.KprobeMultiOptions{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
}

func TestFindSymbols(t *testing.T) {
	libc, err := findBinary("libc.so.6")
	if err != nil {
		t.Skip(err)
	}
	got, err := findSymbols(libc, "getp?id")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"getpgid", "getppid"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for pattern, want := range map[string]error{"no such *": os.ErrNotExist, "[": path.ErrBadPattern} {
		if _, err := findSymbols(libc, pattern); !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", pattern, err, want)
		}
	}
	if _, err := findSymbols("multi_test.go", "*"); err == nil {
		t.Error("symbols were found in a file of text")
	}
}
