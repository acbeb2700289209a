// SPDX-License-Identifier: BSD-3-Clause

package skeltest

import (
	"errors"
	"os"
	"reflect"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/skel"
)

// Run runs the tests, which need root. Strict is for a kernel that is known to
// have all that they use: without it, what the kernel refuses is skipped.
func Run(t *testing.T, strict bool) {
	k := &kernel{strict: strict}
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, k *kernel)
	}{
		{"variables", testVariables},
		{"variables by calls", testVariablesByCalls},
		{"layout", testLayout},
		{"constants", testConstants},
		{"last values", testLastValues},
		{"readers while closing", testReaders},
		{"no BTF", testNoBTF},
		{"kernel configuration", testKconfig},
		{"maps", testMaps},
		{"per-CPU maps", testPerCPU},
		{"records", testRecords},
		{"queues", testQueues},
		{"maps in maps", testInner},
		{"program arrays", testProgArray},
		{"links", testLinks},
		{"links that kernels may refuse", testRefused},
		{"USDT", testUSDT},
		{"a link of one's own", testOwnLink},
		{"XDP", testXDP},
		{"XDP through a door", testDoor},
		{"struct_ops with a link", testOpsLink},
		{"struct_ops with an update", testOpsUpdate},
		{"struct_ops that are refused", testOpsRefused},
		{"pins", testPins},
		{"states", testStates},
		{"a load that fails", testFailedLoad},
		{"an attach that fails", testFailedAttach},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, k) })
	}
}

// kernel is the kernel that tests run on.
type kernel struct{ strict bool }

// refused skips a test if the kernel is not known to have what it refused.
func (k *kernel) refused(t *testing.T, err error) {
	t.Helper()
	if k.strict {
		t.Fatal(err)
	}
	t.Skipf("this kernel refuses: %v", err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ok is must for a value with it.
func ok[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func fails(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// closing closes a skeleton after the test.
func closing(t *testing.T, s interface{ Close() error }) {
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// frame is something for programs to look at.
var frame = make([]byte, 64)

// run runs an XDP program once.
func run(t *testing.T, p *ebpf.Program) uint32 {
	t.Helper()
	verdict, _, err := p.Test(frame)
	must(t, err)
	return verdict
}

const (
	xdpDrop = 1
	xdpPass = 2
	xdpTx   = 3
)

func testStates(t *testing.T, _ *kernel) {
	s := ok(OpenVars())(t)
	fails(t, "attach before load", s.Attach(t.Context()), skel.ErrNotLoaded)
	fails(t, "pin before load", s.Pin(t.TempDir()), skel.ErrNotLoaded)
	_, err := s.Programs.Touch.Attach(t.Context(), skel.XDPOptions{Ifindex: 1})
	fails(t, "attach a program before load", err, skel.ErrNotLoaded)
	must(t, s.Load(nil))
	fails(t, "load again", s.Load(nil), skel.ErrLoaded)
	must(t, s.Close())
	must(t, s.Close())
	fails(t, "load after close", s.Load(nil), skel.ErrClosed)
	fails(t, "attach after close", s.Attach(t.Context()), skel.ErrNotLoaded)
	fails(t, "set after close", s.Vars.Runs.Set(1), skel.ErrClosed)

	o := skel.Open("vars", varsObject[:len(varsObject)-1], varsSum)
	fails(t, "another object", o.Err(), skel.ErrMismatch)
	m := ok(OpenMapTypes())(t)
	closing(t, m)
	_, err = m.Maps.Slots.Get(0)
	fails(t, "get before load", err, skel.ErrNotLoaded)
	fails(t, "put before load", m.Maps.Slots.Put(0, 1), skel.ErrNotLoaded)
	for _, err := range m.Maps.Flows.All() {
		fails(t, "iterate before load", err, skel.ErrNotLoaded)
	}
	_, err = m.Maps.Events.Reader()
	fails(t, "read before load", err, skel.ErrNotLoaded)
}

// testFailedLoad lets the kernel refuse a program.
func testFailedLoad(t *testing.T, _ *kernel) {
	s := ok(OpenVars())(t)
	closing(t, s)
	good := s.Programs.Touch.Spec.Instructions
	s.Programs.Touch.Spec.Instructions = good[:len(good)-1]
	s.Data.Limit = 7
	if err := s.Load(nil); err == nil {
		t.Fatal("a program without an end was loaded")
	}
	if s.Programs.Touch.Prog != nil || s.Object().Collection != nil {
		t.Error("something was left")
	}
	s.Data.Limit++
	s.Programs.Touch.Spec.Instructions = good
	must(t, s.Load(nil))
	run(t, s.Programs.Touch.Prog)
	equal(t, "errors", s.Bss.Stats.Errors.Load(), 8)
}

// bpffs mounts a BPF file system.
func bpffs(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "skel-bpffs")
	must(t, err)
	t.Cleanup(func() { os.Remove(dir) })
	must(t, mountBPF(dir))
	t.Cleanup(func() { unmount(dir) })
	return dir
}
