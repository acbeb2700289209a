// SPDX-License-Identifier: BSD-3-Clause

package tools

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// compile compiles a C program of testdata against libbpf.
func (l *lab) compile(name string) string {
	l.Helper()
	bin := filepath.Join(l.TempDir(), name)
	l.run("gcc", "-Wall", "-Wextra", "-Werror", "-I", testutil.Path(l, "kmod", "uapi"), "-o", bin,
		testutil.Path(l, "tests", "tools", "testdata", name+".c"), "-lbpf")
	return bin
}

// TestRFCExample1 compiles the first example of the proposal against libbpf,
// and runs it.
func TestRFCExample1(t *testing.T) {
	l := newLab(t)
	out := l.run(l.compile("rfc_example1"), "xdpctl0")
	var got, want []string
	for line := range strings.Lines(out) {
		if index, rest, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(rest, "(struct xdpctl_stats)") {
			got = append(got, index)
		}
	}
	for _, link := range l.ns.Links() {
		want = append(want, fmt.Sprint(link.Index))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("netdevs, -ip link +example:\n%s\n%s", diff, out)
	}
	for _, field := range []string{"present", "packets", "drop", "redirect_errors", "exception_invalid"} {
		if n := strings.Count(out, "."+field+" = "); n != len(want) {
			t.Errorf("%s is printed %d times, want %d:\n%s", field, n, len(want), out)
		}
	}
}

// TestRFCExample2 sets up redirect on a veth with rings enough.
func TestRFCExample2(t *testing.T) {
	l := newLab(t)
	l.ns.AddVeth("rfc0", "rfc1", testutil.VethOptions{Queues: 12})
	out := l.run(l.compile("rfc_example2"), "xdpctl0", "rfc0")
	if want := "rings 12 size 256\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	if out := l.run("ethtool", "-k", "rfc1"); !strings.Contains(out, "generic-receive-offload: on") {
		t.Errorf("the peer cannot take redirected frames:\n%s", out)
	}
}

// TestRFCExample3 asks for the metadata of a veth, which has it from 6.3 on.
func TestRFCExample3(t *testing.T) {
	l := newLab(t)
	l.ns.AddVeth("rfc0", "rfc1", testutil.VethOptions{})
	want := `struct xdpctl_rx_metadata
0 rx_timestamp
8 rx_hash
12 rx_hash_type
16 vlan_proto
18 vlan_tci
20 valid
`
	if !testutil.KernelAtLeast(6, 3) {
		want = "XDP meta data is not supported on this netdev\n"
	}
	if diff := cmp.Diff(want, l.run(l.compile("rfc_example3"), "xdpctl0", "rfc0")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
