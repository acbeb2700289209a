// SPDX-License-Identifier: BSD-3-Clause

// Package settings shows with frames that what xdp_attr sets on a netdev is
// there, and not there any more when it is undone.
package settings

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/ctlmap"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/tests/testbed"
)

func TestMain(m *testing.M) {
	if isStranger() {
		os.Exit(stranger())
	}
	testutil.Main(m)
}

// deferred is how long objects may take to go that the kernel frees after a grace
// period or in a worker.
const deferred = 20 * time.Second

// slower is by how much the debug kernel is.
func slower() int {
	if testutil.DebugKernel() {
		return 10
	}
	return 1
}

// rounds is how often to do what is done n times by default, on the debug kernel
// a tenth of that.
func rounds(t *testing.T, n int) int {
	t.Helper()
	s := os.Getenv("XDPCTL_ROUNDS")
	if s == "" {
		return (n + slower() - 1) / slower()
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("XDPCTL_ROUNDS is %q, want a number", s)
	}
	return n
}

// world is a network namespace with both doors open.
type world struct {
	*testing.T
	ns    *testutil.NetNS
	ctl   int
	doors []family.Control
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, ns: testutil.NewNetNS(t)}
	w.ctl = w.ns.AddControl("xdpctl0")
	nl, err := family.Dial(family.Options{NetNS: w.ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nl.Close() })
	maps, err := ctlmap.Open(ctlmap.Options{NetNS: w.ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { maps.Close() })
	w.doors = []family.Control{nl, maps}
	return w
}

// eachDoor runs fn as a subtest for every door.
func eachDoor(t *testing.T, fn func(t *testing.T, w *world, c family.Control)) {
	t.Helper()
	for i, name := range []string{"netlink", "map"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			fn(t, w, w.doors[i])
		})
	}
}

func redirect(num, size uint32) *family.Attr {
	v := &family.Attr{}
	v.SetCommand(family.CommandSetupRedirect)
	v.SetRingsNum(num)
	if size != 0 {
		v.SetRingsSize(size)
	}
	return v
}

func metadata(on uint32) *family.Attr {
	v := &family.Attr{}
	v.SetCommand(family.CommandSetupMD)
	v.SetEnableMD(on)
	return v
}

func (w *world) update(c family.Control, index int, v *family.Attr) error {
	return c.Attr().Update(w.Context(), &family.AttrKey{Ifindex: uint32(index)}, v, family.UpdateAny)
}

func (w *world) del(c family.Control, index int) error {
	return c.Attr().Delete(w.Context(), &family.AttrKey{Ifindex: uint32(index)})
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// attr returns what both doors say of the settings of a netdev.
func (w *world) attr(index int) family.Attr {
	w.Helper()
	var vals [2]family.Attr
	for i, c := range w.doors {
		if err := c.Attr().Lookup(w.Context(), &family.AttrKey{Ifindex: uint32(index)}, &vals[i]); err != nil {
			w.Fatalf("%s: %v", c.Name(), err)
		}
	}
	if diff := cmp.Diff(vals[0], vals[1]); diff != "" {
		w.Fatalf("attr of netdev %d, -netlink +map:\n%s", index, diff)
	}
	return vals[0]
}

// errno is the errno in err, 0 for none.
func errno(t *testing.T, err error) unix.Errno {
	t.Helper()
	if err == nil {
		return 0
	}
	var e *family.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *family.Error", err)
	}
	return e.Errno
}

// run runs a command in a namespace.
func run(t *testing.T, ns *testutil.NetNS, args ...string) string {
	t.Helper()
	var out []byte
	var err error
	ns.Do(func() { out, err = exec.Command(args[0], args[1:]...).CombinedOutput() })
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// gro reports whether GRO is on.
func gro(t *testing.T, ns *testutil.NetNS, dev string) bool {
	t.Helper()
	return strings.Contains(run(t, ns, "ethtool", "-k", dev), "generic-receive-offload: on")
}

// refs is the number of references to the module.
func refs(t *testing.T) int {
	t.Helper()
	n, err := testutil.ModuleRefs()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// bed is a path that frames are redirected on, from a namespace away through the
// world and back.
type bed struct {
	*world
	*testbed.Path
}

func newBed(t *testing.T, w *world, o testbed.Options) *bed {
	t.Helper()
	o.NS = w.ns
	return &bed{w, testbed.New(t, o)}
}
