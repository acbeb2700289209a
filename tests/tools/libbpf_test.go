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

// TestRFCExample1 compiles the first example of the proposal against libbpf,
// and runs it.
func TestRFCExample1(t *testing.T) {
	l := newLab(t)
	bin := filepath.Join(t.TempDir(), "rfc_example1")
	l.run("gcc", "-Wall", "-Wextra", "-Werror", "-I", testutil.Path(t, "kmod", "uapi"), "-o", bin,
		testutil.Path(t, "tests", "tools", "testdata", "rfc_example1.c"), "-lbpf")
	out := l.run(bin, "xdpctl0")
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
