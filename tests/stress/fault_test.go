// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// faults makes the nth allocation of this thread fail.
type faults struct{ fd int }

// faultDir is where the kernel is told which allocations may fail.
const faultDir = "/sys/kernel/debug/"

// enableFaults prepares the kernel for the failure of any allocation, without
// a report of each. It returns false on a kernel that cannot do it, as the
// stock kernels cannot.
func enableFaults(t *testing.T) bool {
	t.Helper()
	if _, err := os.Stat(faultDir + "failslab"); errors.Is(err, os.ErrNotExist) {
		if testutil.DebugKernel() {
			t.Fatal("the debug kernel has no failslab")
		}
		t.Log("this kernel cannot make allocations fail")
		return false
	}
	for file, value := range map[string]string{
		"failslab/ignore-gfp-wait":        "N",
		"failslab/cache-filter":           "N",
		"failslab/verbose":                "0",
		"fail_page_alloc/ignore-gfp-wait": "N",
		"fail_page_alloc/min-order":       "0",
		"fail_page_alloc/verbose":         "0",
	} {
		setFault(t, file, value)
	}
	reserveHeap()
	return true
}

// reserveHeap has the Go runtime map more memory than a test ever needs. If it
// must ask for some on a thread whose allocations fail, the runtime ends the
// process. What it has it keeps and uses again.
func reserveHeap() {
	const size, pieces = 8 << 10, 8 << 10
	list := make([][]byte, pieces)
	for i := range list {
		list[i] = make([]byte, size)
	}
	runtime.KeepAlive(list)
	runtime.GC()
}

// setFault sets a value until the test ends.
func setFault(t *testing.T, file, value string) {
	t.Helper()
	old, err := os.ReadFile(faultDir + file)
	if err == nil {
		err = os.WriteFile(faultDir+file, []byte(value), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(faultDir+file, old, 0) })
}

// onlyModule lets only those allocations fail until the test ends that the
// module asks for, itself or by what it calls.
func onlyModule(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("/sys/module/xdpctl/sections/.text")
	if err != nil {
		t.Fatal(err)
	}
	size, err := os.ReadFile("/sys/module/xdpctl/coresize")
	if err != nil {
		t.Fatal(err)
	}
	start, err := strconv.ParseUint(strings.TrimSpace(string(text)), 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(size)), 0, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"failslab/", "fail_page_alloc/"} {
		setFault(t, dir+"stacktrace-depth", "32")
		setFault(t, dir+"require-start", strconv.FormatUint(start, 10))
		setFault(t, dir+"require-end", strconv.FormatUint(start+n, 10))
	}
}

// openFaults is for the calling thread, which must stay with the test. It
// returns nil on a kernel that cannot make allocations fail.
func openFaults(t *testing.T) *faults {
	t.Helper()
	if !enableFaults(t) {
		return nil
	}
	runtime.LockOSThread()
	fd, err := unix.Open("/proc/thread-self/fail-nth", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(fd)
		runtime.UnlockOSThread()
	})
	return &faults{fd}
}

// inject runs op with the nth allocation failing. Done is set if op makes less
// than n of them.
func (f *faults) inject(n int, op func() error) (err error, done bool) {
	order, answer := []byte(strconv.Itoa(n)), make([]byte, 16)
	if _, err := unix.Pwrite(f.fd, order, 0); err != nil {
		return err, true
	}
	err = op()
	// What is left must be read before anything else allocates.
	m, rerr := unix.Pread(f.fd, answer, 0)
	_, werr := unix.Pwrite(f.fd, []byte("0"), 0)
	if rerr != nil || werr != nil {
		return fmt.Errorf("read what is left of the fault: %w", errors.Join(rerr, werr)), true
	}
	left, aerr := strconv.Atoi(strings.TrimSpace(string(answer[:m])))
	if aerr != nil {
		return aerr, true
	}
	return err, left > 0
}

// subject is an operation whose allocations are made to fail, one after the
// other.
type subject struct {
	name string
	// before brings about the state that op begins with.
	before func() error
	op     func() error
	// after is called when op failed, and looks whether the state is as it
	// was before.
	after func() error
	// undo is called when op succeeded.
	undo func() error
	// core says that most of it is the kernel's own, which calls a want of
	// memory many things.
	core bool
	// stride is how many allocations a short run goes on by.
	stride int
}

// clean are the errnos that a failed allocation may come to: the second is
// that of a socket.
var clean = []unix.Errno{unix.ENOMEM, unix.ENOBUFS}

// run makes every allocation of the operation fail in turn, until it passes
// without.
func (s *subject) run(t *testing.T, f *faults) {
	t.Helper()
	y := newTally()
	n, step := 1, 1
	if rounds(t, 1) < soakRounds {
		// Another part of them each time.
		if step = s.stride; step == 0 {
			step = 4
		}
		n += rand.IntN(step)
	}
	for ; ; n += step {
		if s.before != nil {
			if err := s.before(); err != nil {
				t.Fatalf("before %s, allocation %d: %v", s.name, n, err)
			}
		}
		err, done := f.inject(n, s.op)
		if errors.Is(err, errLost) && !done {
			// Done or not: the core could not say.
			y.add(s.name, "answer lost")
			continue
		}
		if cerr := y.check(s.name, err, clean...); cerr != nil && !s.core {
			t.Errorf("allocation %d: %v", n, cerr)
		}
		next := s.after
		if err == nil {
			next = s.undo
		}
		if next != nil {
			if nerr := next(); nerr != nil {
				t.Errorf("after allocation %d of %s failed (%v): %v", n, s.name, err, nerr)
			}
		}
		if done {
			if err != nil {
				t.Errorf("%s: got %v without any failure", s.name, err)
			}
			break
		}
	}
	y.report(t, 0)
}

// errLost says that a request was sent and its answer did not come.
var errLost = errors.New("answer lost")

// state is what is attached to a netdev, as seen without any fault.
func (w *world) state(judge *judge, dev uint32) (state, error) {
	st, err := judge.get(prog, dev, family.QueueAll)
	if errors.Is(err, unix.ENOENT) {
		return state{}, nil
	}
	return st, err
}

// programs are the subjects that change and read what is attached, through one
// door.
func programs(w *world, name string, via door, judge *judge, dev uint32) []*subject {
	is := func(id uint32) func() error {
		return func() error {
			st, err := w.state(judge, dev)
			if err != nil {
				return err
			}
			if st.prog != id || id != 0 && st.owner != family.OwnerModule {
				return fmt.Errorf("%+v is attached, want program %d", st, id)
			}
			return nil
		}
	}
	free := func() error {
		if err := judge.del(dev); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		return nil
	}
	attached := func() error { return judge.set(dev, change{prog: w.pass}) }
	list := []*subject{
		{
			name: "add", stride: 8, before: free, after: is(0), undo: is(w.pass.ID),
			op: func() error { return via.set(dev, change{prog: w.pass, how: family.UpdateNoexist}) },
		}, {
			name: "add generic", before: free, after: is(0), undo: is(w.pass.ID),
			op: func() error { return via.set(dev, change{prog: w.pass, mode: family.ModeGeneric}) },
		}, {
			name: "replace", before: attached, after: is(w.pass.ID), undo: is(w.drop.ID),
			op: func() error {
				return via.set(dev, change{prog: w.drop, how: family.UpdateExist, expect: w.pass.ID})
			},
		}, {
			name: "delete", before: attached, after: is(w.pass.ID), undo: is(0),
			op: func() error { return via.del(dev) },
		},
	}
	for _, tb := range tables {
		queue := uint32(0)
		if tb == prog {
			queue = family.QueueAll
		}
		list = append(list, &subject{name: "get " + tb.name, before: attached, op: func() error {
			_, err := via.get(tb, dev, queue)
			return err
		}}, &subject{name: "walk over " + tb.name, op: func() error {
			entries, _, err := via.walk(tb)
			if _, ok := find(entries, dev); err == nil && !ok {
				return errors.New("an entry was left out, and nobody said so")
			}
			return err
		}})
	}
	return through(name, via, list)
}

// through are subjects by the name of their door, which is opened anew for each
// failure if it has to be.
func through(name string, via door, list []*subject) []*subject {
	fresh, _ := via.(*freshDoor)
	for _, s := range list {
		s.name = name + " " + s.name
		if fresh == nil {
			continue
		}
		before := s.before
		s.before = func() error {
			fresh.renew()
			if before == nil {
				return nil
			}
			return before()
		}
	}
	return list
}

// indexed makes sure that the module knows the netdevs of the namespace, no
// more and no less.
func (w *world) indexed(judge *judge) error {
	list, _, err := judge.walk(caps)
	if err != nil {
		return err
	}
	links := w.ns.Links()
	for _, l := range links {
		if _, ok := find(list, uint32(l.Index)); !ok {
			return fmt.Errorf("the module does not know %s", l.Name)
		}
	}
	if len(links) != len(list) {
		return fmt.Errorf("the module knows %d netdevs, rtnetlink %d", len(list), len(links))
	}
	return nil
}

// firstLooks are the subjects that read the driver's counters of a netdev for
// the first time. What there is no memory to ask for is absent, as it is where
// the driver does not know, so only the queues are missed.
func firstLooks(w *world, via door) []*subject {
	var dev uint32
	del := func() error { return w.ns.DelLink("first") }
	again := func() error {
		_, err := via.get(qstats, dev, 0)
		return errors.Join(err, del())
	}
	return []*subject{{
		name: "first get of xdp_qstats", after: again, undo: again,
		before: func() error { dev = w.veth("first"); return nil },
		op: func() error {
			_, err := via.get(qstats, dev, 0)
			return err
		},
	}}
}

// netdevs are the subjects that go through the module's notifier and through
// its control devices. Rtnetlink may lose its own answer, so a netdev may be
// there or not after a failure, but the module must agree.
func netdevs(w, there *world, judge *judge) []*subject {
	settle := func(name string) func() error {
		return func() error {
			if err := w.indexed(judge); err != nil {
				return err
			}
			w.ns.DelLink(name)
			return w.indexed(judge)
		}
	}
	var fd int
	list := []*subject{{
		name: "add netdev", after: settle("fault0"), undo: settle("fault0"), stride: 23,
		op: func() error { return w.ns.NewLink("fault0", "dummy", nil) },
	}, {
		name: "delete netdev", after: settle("fault0"), undo: settle("fault0"), stride: 23,
		before: func() error { return w.ns.NewLink("fault0", "dummy", nil) },
		op:     func() error { return w.ns.DelLink("fault0") },
	}, {
		name: "add control device", after: settle(ctlName), undo: settle(ctlName), stride: 23,
		op: func() error { return w.ns.NewLink(ctlName, "xdpctl", nil) },
	}}
	for _, tb := range tables {
		list = append(list, &subject{
			name: "create " + tb.name,
			op:   func() (err error) { fd, err = createMap(tb, there.ctl); return err },
			undo: func() error { return unix.Close(fd) },
		})
	}
	return list
}

// moves are the subjects that the core does in a way that it must not fail in
// the middle of, so that only the module's own allocations can fail.
func moves(w, there *world, judge *judge) []*subject {
	// A netdev that the module has lost sight of must not keep a program of
	// the module's, which nobody could take off.
	lost := func() error {
		judge := there.judge()
		for end := time.Now().Add(deferred); ; time.Sleep(time.Millisecond) {
			l, err := there.ns.Link("mover")
			if err != nil {
				return err
			}
			list, _, err := judge.walk(caps)
			if err != nil {
				return err
			}
			_, known := find(list, uint32(l.Index))
			if known == (l.XDP.ProgID != 0) {
				return nil
			}
			if time.Now().After(end) {
				return fmt.Errorf("after a move: known to the module: %v, program %d", known, l.XDP.ProgID)
			}
		}
	}
	return []*subject{{
		name: "move netdev", stride: 1,
		before: func() error {
			err := w.ns.NewLink("mover", "dummy", nil)
			if err != nil {
				return err
			}
			return judge.set(uint32(w.ns.Index("mover")), change{prog: w.pass})
		},
		op: func() error { return w.ns.Move("mover", there.ns) },
		after: func() error {
			w.ns.DelLink("mover")
			there.ns.DelLink("mover")
			return nil
		},
		undo: func() error { return errors.Join(lost(), there.ns.DelLink("mover")) },
	}, {
		name: "add netdev, the module's part", stride: 1,
		op:    func() error { return w.ns.NewLink("fault0", "dummy", nil) },
		after: func() error { return w.indexed(judge) },
		undo: func() error {
			return errors.Join(w.indexed(judge), w.ns.DelLink("fault0"))
		},
	}}
}

// newNetNS is a namespace made and left under faults.
func newNetNS() *subject {
	var old int
	return &subject{
		name: "make namespace", stride: 43, core: true,
		before: func() (err error) {
			old, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			return err
		},
		op:    func() error { return unix.Unshare(unix.CLONE_NEWNET) },
		after: func() error { return unix.Close(old) },
		undo: func() error {
			defer unix.Close(old)
			return unix.Setns(old, unix.CLONE_NEWNET)
		},
	}
}

// TestFaults makes every single allocation of every operation fail.
func TestFaults(t *testing.T) {
	stress(t, func(t *testing.T) {
		f := openFaults(t)
		if f == nil {
			return
		}
		w, there := newWorld(t), newWorld(t)
		judge := w.judge()
		dev := w.veth("veth")
		old, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		defer old.Close()
		// This thread is in the namespace for what changes programs.
		enter := func(ns *testutil.NetNS, subjects []*subject) {
			if err := unix.Setns(ns.FD(), unix.CLONE_NEWNET); err != nil {
				t.Fatal(err)
			}
			defer unix.Setns(int(old.Fd()), unix.CLONE_NEWNET)
			for _, s := range subjects {
				s.run(t, f)
			}
		}
		fresh := &freshDoor{t: t, id: judge.g.Family}
		defer fresh.close()
		enter(w.ns, programs(w, "netlink", fresh, judge, dev))
		maps := w.maps()
		enter(w.ns, programs(w, "map", maps, judge, dev))
		enter(w.ns, firstLooks(w, maps))
		w.withBTF()
		several, _ := w.ns.AddVeth("several", "severalp", testutil.VethOptions{Queues: 2})
		for name, via := range map[string]door{"netlink": fresh, "map": maps} {
			sf := &settingFaults{world: w, judge: judge, via: via, dev: uint32(several)}
			enter(w.ns, through(name, via, slices.Concat(sf.settings(), sf.queues(), sf.ports())))
		}
		enter(w.ns, []*subject{firstPort(t, judge.g.Family)})
		w.ns.Del(ctlName)
		enter(there.ns, netdevs(w, there, judge))
		newNetNS().run(t, f)
		onlyModule(t)
		for _, s := range moves(w, there, judge) {
			s.run(t, f)
		}
	})
}

// TestFaultsLoad makes allocations fail while the module is loaded.
func TestFaultsLoad(t *testing.T) {
	stress(t, func(t *testing.T) {
		f := openFaults(t)
		if f == nil {
			return
		}
		if err := testutil.UnloadModule(deferred); err != nil {
			t.Fatal(err)
		}
		image, err := os.ReadFile(os.Getenv("XDPCTL_KO"))
		if err != nil {
			t.Fatal(err)
		}
		loaded := func() bool { _, err := testutil.ModuleRefs(); return err == nil }
		s := &subject{
			name: "load module", stride: 101, core: true,
			// From memory: the kernel complains aloud of a file that
			// it has no memory for.
			op: func() error { return unix.InitModule(image, "") },
			after: func() error {
				if loaded() {
					return errors.New("the module is loaded nevertheless")
				}
				return nil
			},
			undo: func() error { return testutil.UnloadModule(deferred) },
		}
		s.run(t, f)
		if err := testutil.LoadModule(); err != nil {
			t.Fatal(err)
		}
	})
}

// freshDoor is the netlink door through a new socket each time: one that an
// answer got lost on may hold a dump that never ends.
type freshDoor struct {
	t  *testing.T
	id uint16
	d  *nlDoor
}

// renew is called outside of what is to fail.
func (d *freshDoor) renew() {
	d.close()
	d.d = dialNetlink(d.t, d.id)
}

func (d *freshDoor) close() {
	if d.d != nil {
		d.d.g.Close()
	}
}

// lost tells an answer that got lost from one that says so.
func lost(err error) error {
	if err != nil && strings.HasPrefix(err.Error(), "receive: ") && errors.Is(err, unix.ENOBUFS) {
		return errLost
	}
	return err
}

func (d *freshDoor) get(tb *table, ifindex, queue uint32) (state, error) {
	st, err := d.d.get(tb, ifindex, queue)
	return st, lost(err)
}

func (d *freshDoor) set(ifindex uint32, c change) error { return lost(d.d.set(ifindex, c)) }

func (d *freshDoor) del(ifindex uint32) error { return lost(d.d.del(ifindex)) }

func (d *freshDoor) walk(tb *table) ([]entry, bool, error) {
	list, intr, err := d.d.walk(tb)
	return list, intr, lost(err)
}

func (d *freshDoor) look(tb *table, k key) (values, error) {
	v, err := d.d.look(tb, k)
	return v, lost(err)
}

func (d *freshDoor) put(tb *table, k key, how family.Update, v values) error {
	return lost(d.d.put(tb, k, how, v))
}

func (d *freshDoor) drop(tb *table, k key) error { return lost(d.d.drop(tb, k)) }
