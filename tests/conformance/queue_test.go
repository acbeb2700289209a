// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// onQueue attaches a program to an RX queue, or to all.
func onQueue(dev string, queue uint32, how family.Update, prog, expect string) func(*world, family.Control) error {
	return func(w *world, c family.Control) error {
		var v family.Prog
		v.SetFD(uint32(w.progs[prog].FD))
		if expect != "" {
			v.SetExpectedProgID(w.progs[expect].ID)
		}
		return c.Prog().Update(w.ctx, &family.ProgKey{Ifindex: w.ifindex(dev), Queue: queue}, &v, how)
	}
}

func offQueue(dev string, queue uint32) func(*world, family.Control) error {
	return func(w *world, c family.Control) error {
		return c.Prog().Delete(w.ctx, &family.ProgKey{Ifindex: w.ifindex(dev), Queue: queue})
	}
}

// channels is ethtool -L of netdevs, one after the other. A veth never has fewer
// RX queues than its peer has TX queues.
func channels(n int, devs ...string) func(*world, family.Control) error {
	return func(w *world, _ family.Control) error {
		for _, dev := range devs {
			w.ns.Channels(dev, n)
		}
		return nil
	}
}

// TestQueue gives RX queues programs of their own, and takes them away.
func TestQueue(t *testing.T) { eachBackend(t, testQueue) }

func testQueue(t *testing.T, b backend) {
	const any, add, replace, all = family.UpdateAny, family.UpdateNoexist, family.UpdateExist, family.QueueAll
	prepare := func(w *world) { w.ns.AddVeth("mq0", "mq1", testutil.VethOptions{Queues: 4}) }
	turns := []turn{
		{"queue 1", onQueue("mq0", 1, any, "pass", ""), 0},
		{"add to queue 1", onQueue("mq0", 1, add, "drop", ""), unix.EEXIST},
		{"replace on queue 2", onQueue("mq0", 2, replace, "drop", ""), unix.ENOENT},
		{"expect another on queue 1", onQueue("mq0", 1, replace, "drop", "aborted"), unix.EEXIST},
		{"a queue that is none", onQueue("mq0", 4, any, "drop", ""), unix.EINVAL},
		{"a queue of no netdev", onQueue("nowhere", 0, any, "drop", ""), unix.ENODEV},
		{"the netdev", onQueue("mq0", all, add, "drop", ""), 0},
		{"replace on queue 1", onQueue("mq0", 1, replace, "aborted", "pass"), 0},
		{"queue 3", onQueue("mq0", 3, add, "pass", ""), 0},
		{"replace on the netdev", onQueue("mq0", all, replace, "pass", "drop"), 0},
		{"off queue 2", offQueue("mq0", 2), unix.ENOENT},
		{"off queue 77", offQueue("mq0", 77), unix.ENOENT},
		{"off the netdev", offQueue("mq0", all), 0},
		{"off the netdev again", offQueue("mq0", all), unix.ENOENT},
		{"the netdev again", onQueue("mq0", all, add, "drop", ""), 0},
		{"off queue 1", offQueue("mq0", 1), 0},
		{"off queue 3", offQueue("mq0", 3), 0},
		{"off the netdev at last", offQueue("mq0", all), 0},
	}
	after := differ(t, b, prepare, turns)
	w := newWorld(t, b)
	prepare(w)
	line := func(queue uint32, prog, rest string) string {
		return fmt.Sprintf("prog %d %#x: native %s module link1%s", w.ifindex("mq0"), queue, prog, rest)
	}
	const active, beside = " active dispatched", " dispatched"
	one := line(1, "pass", active)
	for i, want := range map[int][]string{
		0: {one}, 1: {one}, 4: {one},
		6:  {one, line(all, "drop", beside)},
		7:  {line(1, "aborted", active), line(all, "drop", beside)},
		9:  {line(1, "aborted", active), line(3, "pass", active), line(all, "pass", beside)},
		12: {line(1, "aborted", active), line(3, "pass", active)},
		15: {line(3, "pass", active), line(all, "drop", beside)},
		16: {line(all, "drop", "")},
		17: nil,
	} {
		wantLines(t, after[i], "prog ", want...)
	}
}

// TestQueueInactive takes the queue of a program away, and brings it back.
func TestQueueInactive(t *testing.T) { eachBackend(t, testQueueInactive) }

func testQueueInactive(t *testing.T, b backend) {
	prepare := func(w *world) { w.ns.AddVeth("mq0", "mq1", testutil.VethOptions{Queues: 4}) }
	after := differ(t, b, prepare, []turn{
		{"queue 3", onQueue("mq0", 3, family.UpdateAny, "pass", ""), 0},
		{"without the queue", channels(2, "mq1", "mq0"), 0},
		{"another for it", onQueue("mq0", 3, family.UpdateExist, "drop", ""), same},
		{"with the queue", channels(4, "mq0", "mq1"), 0},
		{"off", offQueue("mq0", 3), 0},
	})
	w := newWorld(t, b)
	prepare(w)
	line := func(prog, state string) string {
		return fmt.Sprintf("prog %d 0x3: native %s module link1 %s dispatched", w.ifindex("mq0"), prog, state)
	}
	wantLines(t, after[0], "prog ", line("pass", "active"))
	wantLines(t, after[1], "prog ", line("pass", "inactive"))
	wantLines(t, after[4], "prog ")
}

// TestQueueGeneric gives the RX queue of a netdev without native XDP a program.
func TestQueueGeneric(t *testing.T) { eachBackend(t, testQueueGeneric) }

func testQueueGeneric(t *testing.T, b backend) {
	after := differ(t, b, nil, []turn{
		{"queue 0", onQueue("dummy0", 0, family.UpdateAny, "pass", ""), 0},
		{"the netdev", onQueue("dummy0", family.QueueAll, family.UpdateAny, "drop", ""), 0},
		{"the netdev goes", delLink("dummy0"), 0},
	})
	w := newWorld(t, b)
	dummy := w.ifindex("dummy0")
	wantLines(t, after[1], "prog ",
		fmt.Sprintf("prog %d 0x0: generic pass module link1 active dispatched", dummy),
		fmt.Sprintf("prog %d 0xffffffff: generic drop module link1 dispatched", dummy))
	wantLines(t, after[2], "prog ")
}

// TestQueueNotified listens to changes of the programs of queues.
func TestQueueNotified(t *testing.T) { eachBackend(t, testQueueNotified) }

func testQueueNotified(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		w.ns.AddVeth("mq0", "mq1", testutil.VethOptions{Queues: 2})
		s := w.watch()
		for _, do := range []func(*world, family.Control) error{
			onQueue("mq0", 1, family.UpdateAny, "pass", ""), onQueue("mq0", 1, family.UpdateExist, "drop", ""), offQueue("mq0", 1),
		} {
			if err := do(w, c); err != nil {
				w.Fatal(err)
			}
		}
		for _, want := range []uint32{w.progs["pass"].ID, w.progs["drop"].ID, 0} {
			k, v := recv[family.ProgKey, family.Prog](w, s, "prog-ntf")
			if k.Ifindex != w.ifindex("mq0") || k.Queue != 1 || v.ProgID != want || v.Has(family.AttrProgProgID) != (want != 0) {
				w.Errorf("notified of %+v %+v, want program %d of queue 1", k, v, want)
			}
		}
	})
}

// boundTo loads a program that is bound to a netdev, which no dispatcher can
// call.
func boundTo(w *world, dev string) int {
	attr := testutil.XDPProgAttr("bound")
	attr.Ifindex = w.ifindex(dev)
	attr.Flags = bpfFXDPDevBoundOnly
	fd, err := -1, error(nil)
	w.ns.Do(func() { fd, err = testutil.LoadProg(attr, testutil.Return(2)) })
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { unix.Close(fd) })
	return fd
}

// TestQueueRefused gives the queue of a netdev without a program one that it
// cannot have, and finds nothing left of it. Before 6.3 no program is bound to a
// netdev.
func TestQueueRefused(t *testing.T) { eachBackend(t, testQueueRefused) }

func testQueueRefused(t *testing.T, b backend) {
	if !testutil.KernelAtLeast(6, 3) {
		return
	}
	eachDoor(t, b, func(w *world, c family.Control) {
		var v family.Prog
		v.SetFD(uint32(boundTo(w, "veth0")))
		key := &family.ProgKey{Ifindex: w.ifindex("veth0"), Queue: 0}
		if err := c.Prog().Update(w.ctx, key, &v, family.UpdateAny); w.errno(err) != unix.EOPNOTSUPP {
			w.Errorf("update: got %v, want %v", err, unix.EOPNOTSUPP)
		}
		var got family.Prog
		if err := w.one().Prog().Lookup(w.ctx, progKey(int(key.Ifindex)), &got); w.errno(err) != unix.ENOENT {
			w.Errorf("lookup: got %v, want %v", err, unix.ENOENT)
		}
	})
}
