// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// patience is how long the kernel may take for what it defers.
const patience = 20 * time.Second

// TestStaysWithoutCaller closes the door, the program and the map behind an
// attachment.
func TestStaysWithoutCaller(t *testing.T) { eachBackend(t, testStaysWithoutCaller) }

func testStaysWithoutCaller(t *testing.T, b backend) {
	for _, d := range b.doors() {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld(t, b)
			c, err := d.open(w.ns)
			if err != nil {
				t.Fatal(err)
			}
			fd, err := testutil.LoadProg(testutil.XDPProgAttr("orphan"), testutil.Return(2))
			if err != nil {
				t.Fatal(err)
			}
			w.progs["orphan"] = &testutil.Prog{FD: fd}
			if err := add("orphan", auto)(w, c, "veth0"); err != nil {
				t.Fatal(err)
			}
			unix.Close(fd)
			c.Close()
			var v family.Prog
			if err := w.one().Prog().Lookup(w.ctx, progKey(w.ns.Index("veth0")), &v); err != nil {
				t.Fatal(err)
			}
			w.progs["orphan"] = &testutil.Prog{ID: v.ProgID, Tag: v.Tag, Name: "orphan"}
			if got, want := w.state("veth0"), "native orphan module link1"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestGoesWithNetdev deletes netdevs with attachments.
func TestGoesWithNetdev(t *testing.T) { eachBackend(t, testGoesWithNetdev) }

func testGoesWithNetdev(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		links := testutil.XDPLinks(w.T)
		for _, dev := range []string{"veth0", "veth1", "dummy0"} {
			if err := add("pass", auto)(w, c, dev); err != nil {
				w.Fatal(err)
			}
		}
		w.ns.Del("veth1") // and its peer
		w.ns.Del("dummy0")
		w.linksGone(links)
		if _, progs := w.compareAll(); len(progs) != 0 {
			w.Errorf("programs are left: %v", progs)
		}
	})
}

// TestGoesWithNetNS ends a namespace with attachments.
func TestGoesWithNetNS(t *testing.T) { eachBackend(t, testGoesWithNetNS) }

func testGoesWithNetNS(t *testing.T, b backend) {
	for _, d := range b.doors() {
		t.Run(d.name, func(t *testing.T) {
			w := newWorld(t, b)
			links := testutil.XDPLinks(t)
			refs := moduleRefs(t)
			other := testutil.NewNetNS(t)
			other.AddVeth("veth0", "veth1", testutil.VethOptions{})
			b.prepare(other)
			c, err := d.open(other)
			if err != nil {
				t.Fatal(err)
			}
			v := family.Prog{}
			v.SetFD(uint32(w.progs["pass"].FD))
			if err := c.Prog().Update(w.ctx, progKey(other.Index("veth0")), &v, family.UpdateNoexist); err != nil {
				t.Fatal(err)
			}
			c.Close()
			other.Close()
			w.linksGone(links)
			testutil.Eventually(t, patience, "the module's references", func() bool { return moduleRefs(t) <= refs })
		})
	}
}

// linksGone waits until no XDP links are left but the old ones.
func (w *world) linksGone(old map[uint32]testutil.LinkInfo) {
	w.Helper()
	testutil.Eventually(w.T, patience, "the links to go", func() bool {
		for id, l := range testutil.XDPLinks(w.T) {
			// Without the module a link stays as what is pinned, of no
			// netdev, until the next change.
			if _, ok := old[id]; !ok && (w.backend == module || l.Ifindex != 0) {
				return false
			}
		}
		return true
	})
}

func moduleRefs(t *testing.T) int {
	t.Helper()
	n, err := testutil.ModuleRefs()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestMovesWithNetdev moves a netdev with an attachment to another namespace
// and back.
func TestMovesWithNetdev(t *testing.T) { eachBackend(t, testMovesWithNetdev) }

func testMovesWithNetdev(t *testing.T, b backend) {
	for _, dev := range []struct{ name, mode string }{{"veth0", "native"}, {"dummy0", "generic"}} {
		t.Run(dev.name, func(t *testing.T) {
			eachDoor(t, b, func(w *world, c family.Control) {
				if err := add("pass", auto)(w, c, dev.name); err != nil {
					w.Fatal(err)
				}
				there := emptyWorld(w.T, b)
				there.progs, there.links = w.progs, w.links
				want := w.state(dev.name)
				if err := w.ns.Move(dev.name, there.ns); err != nil {
					w.Fatal(err)
				}
				if got := there.state(dev.name); got != want {
					w.Fatalf("after the move %s has %q, want %q", dev.name, got, want)
				}
				if _, progs := w.compareAll(); len(progs) != 0 {
					w.Errorf("programs stayed behind: %v", progs)
				}
				there.compareAll()
				s := scenario{steps: []step{
					{set(family.UpdateExist, "drop", auto, "pass"), 0, "MODE drop module link1"},
				}}
				s.run(there, there.other(), dev.name, dev.mode)
				if err := there.ns.Move(dev.name, w.ns); err != nil {
					w.Fatal(err)
				}
				s = scenario{steps: []step{{nothing, 0, "MODE drop module link1"}, {del, 0, "-"}}}
				s.run(w, c, dev.name, dev.mode)
			})
		})
	}
}

// TestNotUnloadable tries to unload the module while it owns an attachment.
// The control devices, which hold it too, are those of other tests and of this
// world, so references are counted beside.
func TestNotUnloadable(t *testing.T) {
	eachDoor(t, module, func(w *world, c family.Control) {
		before := moduleRefs(w.T)
		if err := add("pass", auto)(w, c, "veth0"); err != nil {
			w.Fatal(err)
		}
		if got := moduleRefs(w.T); got <= before {
			w.Errorf("%d references with an attachment, %d without", got, before)
		}
		if err := testutil.TryUnloadModule(); !errors.Is(err, unix.EAGAIN) {
			w.Fatalf("unload module: got %v, want %v", err, unix.EAGAIN)
		}
		s := scenario{steps: []step{{nothing, 0, "native pass module link1"}, {del, 0, "-"}}}
		s.run(w, c, "veth0", "native")
		testutil.Eventually(w.T, patience, "the reference of the attachment to go", func() bool {
			return moduleRefs(w.T) <= before
		})
	})
}
