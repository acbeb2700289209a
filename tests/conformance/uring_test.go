// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// TestNetlinkURing sends requests by io_uring's workers. Those have the files
// and the namespace of whom they work for, so requests do what they say, and
// refusals give their reasons.
func TestNetlinkURing(t *testing.T) {
	r := newRaw(t)
	bin := filepath.Join(t.TempDir(), "uring_send")
	if out, err := exec.Command("gcc", "-Wall", "-Wextra", "-O1", "-static", "-o", bin, "testdata/uring_send.c").CombinedOutput(); err != nil {
		t.Fatalf("compile: %v: %s", err, out)
	}
	pass := r.world.progs["pass"]
	const fd = 4 // of the program, in the sender
	set := (&update{uint32(r.ns.Index("veth0")), queueAll, map[uint16]uint32{attrFD: fd}, 1}).attrs()
	send := func(cmd uint8, attrs []byte) *testutil.Answer {
		t.Helper()
		msg := r.genl.Message(cmd, 0, attrs)
		c := exec.Command(bin)
		for _, fd := range []int{r.genl.FD(), pass.FD} {
			dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			f := os.NewFile(uintptr(dup), "fd")
			defer f.Close()
			c.ExtraFiles = append(c.ExtraFiles, f)
		}
		c.Stdin = bytes.NewReader(msg)
		var out []byte
		var err error
		r.ns.Do(func() { out, err = c.CombinedOutput() })
		if err != nil {
			t.Fatalf("send: %v: %s", err, out)
		}
		a, err := r.genl.Collect(0)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}

	if a := send(cmdProgSet, set); a.Errno != 0 || len(a.Msgs) != 1 {
		t.Fatalf("prog-set: %v", a)
	}
	if got, want := r.state("veth0"), "native pass module link1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.unchanged("prog-set again", func() {
		r.answer("prog-set again", send(cmdProgSet, set), set, unix.EEXIST, fmt.Sprintf("program %d is attached already", pass.ID), 0, 0)
	})
	if a := send(cmdProgDel, set[:16]); a.Errno != 0 {
		t.Fatalf("prog-del: %v", a)
	}
	if got := r.state("veth0"); got != "-" {
		t.Errorf("after prog-del got %q", got)
	}
}
