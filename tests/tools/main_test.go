// SPDX-License-Identifier: BSD-3-Clause

// Package tools runs tools written by others against the module.
package tools

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/ctlmap"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// lab is a network namespace with a control device and a few netdevs, in which
// commands run.
type lab struct {
	*testing.T
	ns    *testutil.NetNS
	ctl   int
	doors []family.Control
	pins  string // a directory of the BPF file system
	prog  *testutil.Prog
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{T: t, ns: testutil.NewNetNS(t), prog: testutil.NewXDP(t, "tools_pass", 2)}
	l.ctl = l.ns.AddControl("xdpctl0")
	l.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
	l.ns.AddDummy("dummy0")
	nl, err := family.Dial(family.Options{NetNS: l.ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nl.Close() })
	maps, err := ctlmap.Open(ctlmap.Options{NetNS: l.ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { maps.Close() })
	l.doors = []family.Control{nl, maps}
	if l.pins, err = os.MkdirTemp("/sys/fs/bpf", "tools"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(l.pins) })
	return l
}

// result is what became of a command.
type result struct {
	args           []string
	stdout, stderr string
	err            error
}

func (r *result) String() string {
	return fmt.Sprintf("%s: %v\n%s%s", strings.Join(r.args, " "), r.err, r.stdout, r.stderr)
}

// try runs a command in the namespace. The program of the lab is its file
// descriptor 3.
func (l *lab) try(args ...string) *result {
	l.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	fd, err := unix.FcntlInt(uintptr(l.prog.FD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		l.Fatal(err)
	}
	prog := os.NewFile(uintptr(fd), "prog")
	defer prog.Close()
	cmd.ExtraFiles = []*os.File{prog}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	r := &result{args: args}
	l.ns.Do(func() { r.err = cmd.Run() })
	r.stdout, r.stderr = stdout.String(), stderr.String()
	return r
}

// run runs a command that must succeed, and returns what it printed.
func (l *lab) run(args ...string) string {
	l.Helper()
	r := l.try(args...)
	if r.err != nil {
		l.Fatal(r)
	}
	return r.stdout
}

// refused runs a command that must fail and say all of what.
func (l *lab) refused(what []string, args ...string) {
	l.Helper()
	r := l.try(args...)
	if r.err == nil {
		l.Errorf("not refused: %v", r)
	}
	var exit *exec.ExitError
	if r.err != nil && (!errors.As(r.err, &exit) || exit.ExitCode() < 0) {
		l.Errorf("not refused cleanly: %v", r)
	}
	for _, s := range what {
		if !strings.Contains(r.stdout+r.stderr, s) {
			l.Errorf("does not say %q: %v", s, r)
		}
	}
}

// says runs a command that must succeed and say all of what.
func (l *lab) says(what []string, args ...string) string {
	l.Helper()
	out := l.run(args...)
	for _, s := range what {
		if !strings.Contains(out, s) {
			l.Errorf("%s does not say %q:\n%s", strings.Join(args, " "), s, out)
		}
	}
	return out
}

// parse parses JSON that a command printed.
func parse[T any](l *lab, text string) T {
	l.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		l.Fatalf("parse %q: %v", text, err)
	}
	return v
}

// attached is what the doors say of a netdev.
func (l *lab) attached(dev string) *family.Prog {
	l.Helper()
	var first family.Prog
	for i, c := range l.doors {
		var v family.Prog
		err := c.Prog().Lookup(l.Context(), &family.ProgKey{Ifindex: uint32(l.ns.Index(dev)), Queue: family.QueueAll}, &v)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			l.Fatal(err)
		}
		if i > 0 && v != first {
			l.Fatalf("%s has %+v at one door, %+v at another", dev, first, v)
		}
		first = v
	}
	return &first
}

// attach attaches the lab's program over netlink.
func (l *lab) attach(dev string) *family.Prog {
	l.Helper()
	var v family.Prog
	v.SetFD(uint32(l.prog.FD))
	err := l.doors[0].Prog().Update(l.Context(), &family.ProgKey{Ifindex: uint32(l.ns.Index(dev)), Queue: family.QueueAll}, &v, family.UpdateAny)
	if err != nil {
		l.Fatal(err)
	}
	return l.attached(dev)
}

// source is a file of the kernel source that make deps fetched.
func source(t *testing.T, path ...string) string {
	t.Helper()
	file := filepath.Join(append([]string{testutil.CacheDir(), "src", "linux-source-6.12"}, path...)...)
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("%v: make deps fetches it", err)
	}
	return file
}
