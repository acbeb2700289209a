// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// Modes of an update; 0 is best effort.
const (
	auto    = family.Mode(0)
	native  = family.ModeNative
	generic = family.ModeGeneric
)

// op does something to a netdev through a door, or behind it.
type op func(w *world, c family.Control, dev string) error

// step is one operation on a netdev and what must come of it.
type step struct {
	do    op
	errno unix.Errno
	state string // as described by world.state
}

// set updates the entry of the netdev. Expect names the program that must be
// attached, or is empty.
func set(how family.Update, prog string, mode family.Mode, expect string) op {
	return func(w *world, c family.Control, dev string) error {
		var v family.Prog
		v.SetFD(uint32(w.progs[prog].FD))
		if mode != auto {
			v.SetMode(mode)
		}
		if expect != "" {
			v.SetExpectedProgID(w.progs[expect].ID)
		}
		return c.Prog().Update(w.ctx, progKey(w.ns.Index(dev)), &v, how)
	}
}

func del(w *world, c family.Control, dev string) error {
	return c.Prog().Delete(w.ctx, progKey(w.ns.Index(dev)))
}

// nothing only looks.
func nothing(*world, family.Control, string) error { return nil }

// netlinkXDP is somebody else's ip link set dev X xdp; an empty program
// detaches.
func netlinkXDP(prog string, flags uint32) op {
	return func(w *world, _ family.Control, dev string) error {
		fd := -1
		if prog != "" {
			fd = w.progs[prog].FD
		}
		if err := w.ns.SetXDP(dev, fd, flags); err != nil {
			w.Fatal(err)
		}
		return nil
	}
}

func add(prog string, mode family.Mode) op     { return set(family.UpdateNoexist, prog, mode, "") }
func replace(prog string, mode family.Mode) op { return set(family.UpdateExist, prog, mode, "") }
func put(prog string, mode family.Mode) op     { return set(family.UpdateAny, prog, mode, "") }

// scenario is a sequence of steps on one netdev. MODE in a state stands for
// the mode that best effort comes to on the netdev.
type scenario struct {
	name  string
	steps []step
}

var scenarios = []scenario{
	{"add", []step{
		{nothing, 0, "-"},
		{add("pass", auto), 0, "MODE pass module link1"},
		{add("drop", auto), unix.EEXIST, "MODE pass module link1"},
		{add("pass", auto), unix.EEXIST, "MODE pass module link1"},
		{del, 0, "-"},
		{add("drop", auto), 0, "MODE drop module link2"},
		{del, 0, "-"},
	}},
	{"generic", []step{
		{add("pass", generic), 0, "generic pass module link1"},
		{put("drop", auto), 0, "generic drop module link1"},
		{put("pass", generic), 0, "generic pass module link1"},
		{put("drop", native), unix.EINVAL, "generic pass module link1"},
		{replace("drop", native), unix.EINVAL, "generic pass module link1"},
		{del, 0, "-"},
		{put("drop", auto), 0, "MODE drop module link2"},
	}},
	{"replace", []step{
		{replace("pass", auto), unix.ENOENT, "-"},
		{put("pass", auto), 0, "MODE pass module link1"},
		{replace("drop", auto), 0, "MODE drop module link1"},
		{put("aborted", auto), 0, "MODE aborted module link1"},
		{put("aborted", auto), 0, "MODE aborted module link1"},
		{replace("aborted", auto), 0, "MODE aborted module link1"},
	}},
	{"expected", []step{
		{set(family.UpdateExist, "pass", auto, "drop"), unix.ENOENT, "-"},
		{set(family.UpdateAny, "pass", auto, "drop"), unix.ENOENT, "-"},
		{set(family.UpdateNoexist, "pass", auto, "drop"), unix.EINVAL, "-"},
		{add("pass", auto), 0, "MODE pass module link1"},
		{set(family.UpdateExist, "aborted", auto, "drop"), unix.EEXIST, "MODE pass module link1"},
		{set(family.UpdateAny, "aborted", auto, "drop"), unix.EEXIST, "MODE pass module link1"},
		{set(family.UpdateNoexist, "aborted", auto, "pass"), unix.EINVAL, "MODE pass module link1"},
		{set(family.UpdateExist, "drop", auto, "pass"), 0, "MODE drop module link1"},
		{set(family.UpdateAny, "pass", auto, "drop"), 0, "MODE pass module link1"},
		{set(family.UpdateExist, "pass", auto, "pass"), 0, "MODE pass module link1"},
	}},
	{"detach", []step{
		{del, unix.ENOENT, "-"},
		{add("pass", auto), 0, "MODE pass module link1"},
		{del, 0, "-"},
		{del, unix.ENOENT, "-"},
	}},
	{"foreign rtnetlink program", []step{
		{netlinkXDP("pass", 0), 0, "MODE pass netlink"},
		{add("drop", auto), unix.EBUSY, "MODE pass netlink"},
		{put("drop", auto), unix.EBUSY, "MODE pass netlink"},
		{replace("drop", auto), unix.EBUSY, "MODE pass netlink"},
		{put("drop", generic), unix.EBUSY, "MODE pass netlink"},
		{set(family.UpdateExist, "drop", auto, "pass"), unix.EBUSY, "MODE pass netlink"},
		{del, unix.EBUSY, "MODE pass netlink"},
		{netlinkXDP("", 0), 0, "-"},
		{put("drop", auto), 0, "MODE drop module link1"},
	}},
	{"foreign generic program", []step{
		{netlinkXDP("pass", unix.XDP_FLAGS_SKB_MODE), 0, "generic pass netlink"},
		{put("drop", auto), unix.EBUSY, "generic pass netlink"},
		{put("drop", generic), unix.EBUSY, "generic pass netlink"},
		{put("drop", native), unix.EBUSY, "generic pass netlink"},
		{del, unix.EBUSY, "generic pass netlink"},
	}},
	{"foreign link", []step{
		{foreignLink, 0, "MODE aborted link link1"},
		{add("drop", auto), unix.EBUSY, "MODE aborted link link1"},
		{put("drop", auto), unix.EBUSY, "MODE aborted link link1"},
		{replace("drop", auto), unix.EBUSY, "MODE aborted link link1"},
		{set(family.UpdateExist, "drop", auto, "aborted"), unix.EBUSY, "MODE aborted link link1"},
		{del, unix.EBUSY, "MODE aborted link link1"},
	}},
	{"rtnetlink does not get at ours", []step{
		{add("pass", auto), 0, "MODE pass module link1"},
		{func(w *world, _ family.Control, dev string) error {
			for _, fd := range []int{-1, w.progs["drop"].FD} {
				if err := w.ns.SetXDP(dev, fd, 0); err == nil {
					w.Errorf("rtnetlink set program fd %d over our link", fd)
				}
			}
			return nil
		}, 0, "MODE pass module link1"},
	}},
	{"detached behind our back", []step{
		{add("pass", auto), 0, "MODE pass module link1"},
		{behind(testutil.DetachLink), 0, "-"},
		{del, unix.ENOENT, "-"},
		{replace("drop", auto), unix.ENOENT, "-"},
		{add("drop", auto), 0, "MODE drop module link2"},
		{behind(testutil.DetachLink), 0, "-"},
		{put("pass", auto), 0, "MODE pass module link3"},
		{behind(testutil.DetachLink), 0, "-"},
		{netlinkXDP("drop", 0), 0, "MODE drop netlink"},
		{del, unix.EBUSY, "MODE drop netlink"},
		{put("pass", auto), unix.EBUSY, "MODE drop netlink"},
	}},
	{"updated behind our back", []step{
		{add("pass", auto), 0, "MODE pass module link1"},
		{func(w *world, c family.Control, dev string) error {
			return behind(func(fd int) error { return testutil.UpdateLink(fd, w.progs["drop"].FD) })(w, c, dev)
		}, 0, "MODE drop module link1"},
		{set(family.UpdateExist, "aborted", auto, "pass"), unix.EEXIST, "MODE drop module link1"},
		{set(family.UpdateExist, "aborted", auto, "drop"), 0, "MODE aborted module link1"},
		{del, 0, "-"},
	}},
}

// foreignLink attaches by a link that is not the module's.
func foreignLink(w *world, _ family.Control, dev string) error {
	ifindex := w.ns.Index(dev)
	w.ns.Do(func() { testutil.CreateXDPLink(w.T, w.progs["aborted"].FD, ifindex, 0) })
	return nil
}

// behind does something to the link of the attachment by its id, as bpftool
// link does.
func behind(do func(fd int) error) op {
	return func(w *world, c family.Control, dev string) error {
		var v family.Prog
		if err := c.Prog().Lookup(w.ctx, progKey(w.ns.Index(dev)), &v); err != nil {
			w.Fatal(err)
		}
		fd, err := testutil.LinkByID(v.LinkID)
		if err != nil {
			w.Fatal(err)
		}
		defer unix.Close(fd)
		if err := do(fd); err != nil {
			w.Fatal(err)
		}
		return nil
	}
}

// run takes the steps, and looks at the state through every door after each.
func (s *scenario) run(w *world, c family.Control, dev, mode string) {
	w.Helper()
	for i, st := range s.steps {
		err := st.do(w, c, dev)
		if got := w.errno(err); got != st.errno {
			w.Fatalf("step %d: got errno %d (%v), want %d (%v)", i+1, int(got), err, int(st.errno), st.errno)
		}
		want := strings.ReplaceAll(st.state, "MODE", mode)
		if got := w.state(dev); got != want {
			w.Fatalf("step %d: %s has %q, want %q", i+1, dev, got, want)
		}
	}
}

// TestProg runs every scenario through every door, on netdevs with and
// without native XDP.
func TestProg(t *testing.T) { eachBackend(t, testProg) }

func testProg(t *testing.T, b backend) {
	for _, dev := range []struct{ name, mode string }{{"veth0", "native"}, {"dummy0", "generic"}} {
		for _, s := range scenarios {
			t.Run(dev.name+"/"+s.name, func(t *testing.T) {
				eachDoor(t, b, func(w *world, c family.Control) { s.run(w, c, dev.name, dev.mode) })
			})
		}
	}
}

// TestProgVirtio runs every scenario on a virtio_net device.
func TestProgVirtio(t *testing.T) { eachBackend(t, testProgVirtio) }

func testProgVirtio(t *testing.T, b backend) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			eachDoor(t, b, func(w *world, c family.Control) {
				s.run(w, c, w.takeVirtio(), "native")
			})
		})
	}
}

// TestNativeUnsupported asks for native mode of a netdev that has none.
func TestNativeUnsupported(t *testing.T) { eachBackend(t, testNativeUnsupported) }

func testNativeUnsupported(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		s := scenario{steps: []step{
			{add("pass", native), unix.EOPNOTSUPP, "-"},
			{put("pass", native), unix.EOPNOTSUPP, "-"},
			{put("pass", auto), 0, "generic pass module link1"},
		}}
		s.run(w, c, "dummy0", "generic")
	})
}

// TestDoorsMix changes through one door what the other attached.
func TestDoorsMix(t *testing.T) { eachBackend(t, testDoorsMix) }

func testDoorsMix(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		other := w.one()
		if c == other {
			other = w.other()
		}
		via := func(do op) op {
			return func(w *world, _ family.Control, dev string) error { return do(w, other, dev) }
		}
		s := scenario{steps: []step{
			{add("pass", auto), 0, "native pass module link1"},
			{via(add("drop", auto)), unix.EEXIST, "native pass module link1"},
			{via(replace("drop", auto)), 0, "native drop module link1"},
			{set(family.UpdateExist, "aborted", auto, "drop"), 0, "native aborted module link1"},
			{via(del), 0, "-"},
			{del, unix.ENOENT, "-"},
		}}
		s.run(w, c, "veth0", "native")
	})
}
