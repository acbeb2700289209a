// SPDX-License-Identifier: BSD-3-Clause

package hostile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// TestTrace has updates traced and filtered.
func TestTrace(t *testing.T) {
	w := newWorld(t)
	out := w.run("trace", 1)
	if !strings.Contains(out, "seccomp: refused") && !testutil.DebugKernel() {
		t.Errorf("this kernel has no seccomp: %q", out)
	}
	w.settle()
}

// hex is how bpftool takes bytes.
func hex(b []byte) []string {
	out := []string{"hex"}
	for _, c := range b {
		out = append(out, fmt.Sprintf("%02x", c))
	}
	return out
}

// strace runs bpftool map ARGS under strace, and returns what strace says of
// the command cmd of bpf(2), and which call of bpf(2) that was.
func (w *world) strace(cmd string, inject []string, args ...string) (result string, nth int) {
	w.Helper()
	log := filepath.Join(w.TempDir(), "log")
	list := append([]string{"-f", "-e", "trace=bpf", "-e", "signal=none", "-o", log}, inject...)
	list = append(append(list, "bpftool", "map"), args...)
	c := exec.Command("strace", list...)
	// bpftool sees the programs as the fds 3, 4
	done := inherit(w.T, c, w.pass.FD, w.drop.FD)
	defer done()
	var out []byte
	w.ns.Do(func() { out, _ = c.CombinedOutput() })
	b, err := os.ReadFile(log)
	if err != nil {
		w.Fatalf("strace: %v: %s", err, out)
	}
	for _, line := range strings.Split(string(b), "\n") {
		if strings.Contains(line, "bpf(") {
			nth++
		}
		if strings.Contains(line, "bpf("+cmd+",") {
			w.Log(line)
			_, result, _ = strings.Cut(line, ") = ")
			return result, nth
		}
	}
	w.Fatalf("strace saw no %s:\n%s%s", cmd, b, out)
	return "", 0
}

// TestStrace runs bpftool under strace, which sees the result of an update at
// the end of the system call, not the placeholder that a tracepoint sees.
func TestStrace(t *testing.T) {
	w := newWorld(t)
	id := strconv.Itoa(int(testutil.MapInfoOf(t, w.m).ID))
	const update, del = "BPF_MAP_UPDATE_ELEM", "BPF_MAP_DELETE_ELEM"
	change := func(fd, ifindex int, how string) []string {
		args := append([]string{"update", "id", id, "key"}, hex(key(ifindex))...)
		args = append(append(args, "value"), hex(value(fd))...)
		return append(args, how)
	}
	erase := func(ifindex int) []string {
		return append([]string{"delete", "id", id, "key"}, hex(key(ifindex))...)
	}
	for _, tc := range []struct {
		name  string
		cmd   string
		args  []string
		want  string
		after uint32
	}{
		{"add", update, change(3, w.dev, "noexist"), "0", w.pass.ID},
		{"add again", update, change(4, w.dev, "noexist"), "-1 EEXIST", w.pass.ID},
		{"replace", update, change(4, w.dev, "exist"), "0", w.drop.ID},
		{"no netdev", update, change(3, missing, "any"), "-1 ENODEV", w.drop.ID},
		{"bad fd", update, change(99, w.dev, "any"), "-1 EBADF", w.drop.ID},
		{"delete", del, erase(w.dev), "0", 0},
		{"delete again", del, erase(w.dev), "-1 ENOENT", 0},
	} {
		got, _ := w.strace(tc.cmd, nil, tc.args...)
		if got != tc.want && !strings.HasPrefix(got, tc.want+" ") {
			t.Errorf("%s: strace says %q, want %q", tc.name, got, tc.want)
		}
		if got := w.state()["veth0"].Kernel.ProgID; got != tc.after {
			t.Errorf("%s: program %d is attached, want %d", tc.name, got, tc.after)
		}
	}

	w.update(w.dev, w.pass)
	_, nth := w.strace(update, nil, change(3, w.dev, "any")...)
	w.unchanged("an update that strace keeps from happening", func() {
		inject := []string{"-e", fmt.Sprintf("inject=bpf:error=EDOM:when=%d", nth)}
		if got, _ := w.strace(update, inject, change(4, w.dev, "any")...); !strings.HasPrefix(got, "-1 EDOM ") {
			t.Errorf("strace says %q, want EDOM", got)
		}
	})
	w.del(w.dev)

	if err := w.ns.SetXDP("veth0", w.evil.FD, unix.XDP_FLAGS_DRV_MODE); err != nil {
		t.Fatal(err)
	}
	if got, _ := w.strace(update, nil, change(3, w.dev, "any")...); !strings.HasPrefix(got, "-1 EBUSY ") {
		t.Errorf("a foreign program: strace says %q, want EBUSY", got)
	}
	if err := w.ns.SetXDP("veth0", -1, unix.XDP_FLAGS_DRV_MODE); err != nil {
		t.Fatal(err)
	}
	w.settle()
}
