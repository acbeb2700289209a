// SPDX-License-Identifier: BSD-3-Clause

// Package hostile comes at the map door by ways that it must refuse: from a BPF
// program, from io_uring, by a 32-bit call, and from another namespace; and it
// disturbs updates in ways that must not matter: with signal handlers that jump
// out of them, with threads that attack the fds of an update, that execute,
// exit and change namespaces, and with tracers.
//
// What takes more than one thread, or a system call of a special kind, is in C,
// in the directory attack. XDPCTL_ROUNDS says how often each is done.
package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// deferred is how long the kernel may take for what it puts off.
const deferred = 20 * time.Second

// missing is the ifindex of no netdev.
const missing = 99999

// attack is the program with the attacks.
var attack string

func TestMain(m *testing.M) {
	if testutil.InVM() {
		dir, err := os.MkdirTemp("", "hostile")
		if err != nil {
			panic(err)
		}
		attack = filepath.Join(dir, "attack")
	}
	testutil.Main(m)
}

// rounds is how often to do what is done n times by default.
func rounds(t *testing.T, n int) int {
	t.Helper()
	if s := os.Getenv("XDPCTL_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			t.Fatalf("XDPCTL_ROUNDS is %q, want a number", s)
		}
		return n
	}
	if testutil.DebugKernel() {
		return max(1, n/10) // everything is slow there
	}
	return n
}

// world is a network namespace with a control device, the netdevs veth0 and
// veth1, and a control map.
type world struct {
	*testing.T
	ns               *testutil.NetNS
	ctl, m           int // ifindex of the control device, fd of the map
	dev, other       int // ifindexes of veth0 and veth1
	pass, drop, evil *testutil.Prog
	refs             int // to the module, before
	links            map[uint32]testutil.LinkInfo
}

const (
	keySize   = int(unsafe.Sizeof(family.ProgKey{}))
	valueSize = int(unsafe.Sizeof(family.Prog{}))
)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		T: t, ns: testutil.NewNetNS(t), links: testutil.XDPLinks(t),
		pass: testutil.NewXDP(t, "pass", 2), drop: testutil.NewXDP(t, "drop", 1), evil: testutil.NewXDP(t, "evil", 0),
	}
	w.ctl = w.ns.AddControl("xdpctl0")
	w.dev, w.other = w.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
	w.ns.AddVeth("keep0", "keep1", testutil.VethOptions{})
	w.down("veth0", "veth1", "keep0", "keep1")
	// The core waits for a grace period and changes its own text when a
	// program comes that is attached nowhere else, or goes so.
	for dev, p := range map[string]*testutil.Prog{"keep0": w.pass, "keep1": w.drop} {
		if err := w.ns.SetXDP(dev, p.FD, unix.XDP_FLAGS_DRV_MODE); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	w.ns.Do(func() { w.m, err = testutil.CreateMap(testutil.ControlMapAttr("xdp_prog", w.ctl, keySize, valueSize)) })
	if err != nil {
		t.Fatalf("create control map: %v", err)
	}
	t.Cleanup(func() { unix.Close(w.m) })
	if w.refs, err = testutil.ModuleRefs(); err != nil {
		t.Fatal(err)
	}
	return w
}

// down takes netdevs down, so that their driver has nothing to wait for when a
// program comes or goes.
func (w *world) down(names ...string) {
	w.Helper()
	for _, name := range names {
		cmd := exec.Command("ip", "link", "set", "dev", name, "down")
		w.ns.Do(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				w.Fatalf("%v: %v: %s", cmd, err, out)
			}
		})
	}
}

// bytesOf is the memory of v.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

func key(ifindex int) []byte {
	return bytesOf(&family.ProgKey{Ifindex: uint32(ifindex), Queue: family.QueueAll})
}

func value(fd int) []byte {
	v := &family.Prog{}
	v.SetFD(uint32(fd))
	v.SetMode(family.ModeNative)
	return bytesOf(v)
}

// update attaches a program by the straight way.
func (w *world) update(ifindex int, p *testutil.Prog) {
	w.Helper()
	var err error
	w.ns.Do(func() { err = testutil.UpdateElem(w.m, key(ifindex), value(p.FD), 0) })
	if err != nil {
		w.Fatalf("update: %v", err)
	}
}

// del detaches by the straight way whatever of ours is there.
func (w *world) del(ifindex int) {
	w.Helper()
	var err error
	w.ns.Do(func() { err = testutil.DeleteElem(w.m, key(ifindex)) })
	if err != nil && !errors.Is(err, unix.ENOENT) {
		w.Fatalf("delete: %v", err)
	}
}

// attachment is what is on a netdev, as the map door and as rtnetlink say.
type attachment struct {
	Value  family.Prog
	Kernel testutil.XDPState
}

// state is what is on both netdevs.
func (w *world) state() map[string]attachment {
	w.Helper()
	out := make(map[string]attachment)
	for name, ifindex := range map[string]int{"veth0": w.dev, "veth1": w.other} {
		var a attachment
		if err := testutil.LookupElem(w.m, key(ifindex), bytesOf(&a.Value), 0); err != nil && !errors.Is(err, unix.ENOENT) {
			w.Fatalf("lookup: %v", err)
		}
		a.Kernel = w.ns.XDP(name)
		if a.Kernel.ProgID != a.Value.ProgID {
			w.Errorf("%s has program %d for rtnetlink and %d for the map", name, a.Kernel.ProgID, a.Value.ProgID)
		}
		out[name] = a
	}
	return out
}

// unchanged makes sure that fn changes nothing.
func (w *world) unchanged(what string, fn func()) {
	w.Helper()
	before := w.state()
	fn()
	if diff := cmp.Diff(before, w.state()); diff != "" {
		w.Errorf("%s has changed something, -before +after:\n%s", what, diff)
	}
}

// settle detaches everything, and waits until nothing is left of what was
// attached in this world: no link, and no reference to the module.
func (w *world) settle() {
	w.Helper()
	testutil.Eventually(w.T, deferred, "links of others to go", func() bool {
		for _, a := range w.state() {
			if a.Value.Owner != 0 && a.Value.Owner != family.OwnerModule {
				return false
			}
		}
		return true
	})
	w.del(w.dev)
	w.del(w.other)
	testutil.Eventually(w.T, deferred, "links and references to the module to go", func() bool {
		for id := range testutil.XDPLinks(w.T) {
			if _, ok := w.links[id]; !ok {
				return false
			}
		}
		refs, err := testutil.ModuleRefs()
		return err == nil && refs <= w.refs
	})
	for name, a := range w.state() {
		if a.Kernel != (testutil.XDPState{}) {
			w.Errorf("%s has %+v after the detach", name, a.Kernel)
		}
	}
}

// build compiles the attacks, once.
func build(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(attack); err == nil {
		return
	}
	src, err := filepath.Glob(testutil.Path(t, "tests/hostile/attack/*.c"))
	if err != nil || len(src) == 0 {
		t.Fatalf("find the sources of the attacks: %v", err)
	}
	// One file and no optimization, since this is slow in the guest.
	cmd := exec.Command("gcc", "-static", "-O0", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
		"-I"+testutil.Path(t, "kmod/uapi"), "-o", attack, "-x", "c", "-")
	var one strings.Builder
	for _, name := range src {
		fmt.Fprintf(&one, "#include %q\n", name)
	}
	cmd.Stdin = strings.NewReader(one.String())
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	t.Logf("gcc took %v", time.Since(start).Round(time.Millisecond))
}

// inherit gives a child the fds that it knows as 3, 4, ... The caller calls
// the function returned when the child has ended.
func inherit(t *testing.T, cmd *exec.Cmd, fds ...int) (closeAll func()) {
	t.Helper()
	for _, fd := range fds {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = append(cmd.ExtraFiles, os.NewFile(uintptr(dup), strconv.Itoa(fd)))
	}
	return func() {
		for _, f := range cmd.ExtraFiles {
			f.Close()
		}
	}
}

// run runs an attack in the world, and returns what it prints. There is
// another namespace with the same ifindexes as this one, in which nothing may
// happen.
func (w *world) run(name string, rounds int) string {
	w.Helper()
	build(w.T)
	elsewhere := testutil.NewNetNS(w.T)
	elsewhere.AddControl("xdpctl0")
	if a, b := elsewhere.AddVeth("veth0", "veth1", testutil.VethOptions{}); a != w.dev || b != w.other {
		w.Fatalf("two namespaces differ in ifindexes: %d, %d and %d, %d", a, b, w.dev, w.other)
	}
	cmd := exec.Command(attack, name, strconv.Itoa(rounds), strconv.Itoa(w.dev), strconv.Itoa(w.other), strconv.Itoa(missing))
	done := inherit(w.T, cmd, w.m, w.pass.FD, w.drop.FD, w.evil.FD, elsewhere.FD())
	defer done()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	var err error
	w.ns.Do(func() { err = cmd.Run() })
	if err != nil {
		w.Errorf("attack %s: %v: %s", name, err, &stderr)
	}
	w.Logf("%v: %s", time.Since(start).Round(time.Millisecond), &stdout)
	for _, dev := range []string{"veth0", "veth1"} {
		if st := elsewhere.XDP(dev); st != (testutil.XDPState{}) {
			w.Errorf("%s of another namespace has %+v", dev, st)
		}
	}
	return stdout.String()
}
