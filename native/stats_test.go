// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/ethtool"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// patience is how long counters may take to show what was sent.
const patience = 10 * time.Second

// sent is what the tests here send, as those of the module do.
var sent = traffic.Counts{
	traffic.Pass: 11, traffic.Drop: 23, traffic.Tx: 37, traffic.Redirect: 41,
	traffic.Aborted: 53, traffic.Invalid: 67,
}

// counterAttrs are the counters by name.
var counterAttrs = map[string]uint16{
	"packets": family.AttrStatsPackets, "bytes": family.AttrStatsBytes,
	"aborted": family.AttrStatsAborted, "drop": family.AttrStatsDrop,
	"invalid": family.AttrStatsInvalid, "pass": family.AttrStatsPass,
	"redirect": family.AttrStatsRedirect, "redirect-errors": family.AttrStatsRedirectErrors,
	"tx": family.AttrStatsTX, "tx-errors": family.AttrStatsTXErrors,
	"xmit-packets": family.AttrStatsXmitPackets, "xmit-bytes": family.AttrStatsXmitBytes,
	"xmit-errors": family.AttrStatsXmitErrors, "xmit-full": family.AttrStatsXmitFull,
	"exception-aborted":  family.AttrStatsExceptionAborted,
	"exception-tx":       family.AttrStatsExceptionTX,
	"exception-redirect": family.AttrStatsExceptionRedirect,
	"exception-invalid":  family.AttrStatsExceptionInvalid,
}

// present are the counters that are there.
func present(w statWords) map[string]uint64 {
	m := make(map[string]uint64)
	for name, attr := range counterAttrs {
		if w[0]&(1<<attr) != 0 {
			m[name] = w[1+attr-family.AttrStatsPackets]
		}
	}
	return m
}

// statsBed is a namespace with two pairs of veths, and a Control of it.
type statsBed struct {
	*testing.T
	ns  *testutil.NetNS
	c   *Control
	dir string
}

func newStatsBed(t *testing.T) *statsBed {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("not root, and so no network namespace can be made")
	}
	b := &statsBed{T: t, ns: testutil.NewNetNS(t), dir: newBPFFS(t)}
	b.c = newControl(t, b.ns, b.dir)
	b.ns.AddVeth("veth0", "veth1", testutil.VethOptions{Queues: 1})
	b.ns.AddVeth("port0", "port1", testutil.VethOptions{Queues: 1})
	return b
}

// trace turns the probes on and takes note of netdevs, as one does who is about
// to attach a program.
func (b *statsBed) trace(devs ...string) {
	b.Helper()
	err := b.c.change(b.Context(), func() error {
		if err := b.c.traceOn(); err != nil {
			return err
		}
		for _, dev := range devs {
			if err := b.c.traceDev(uint32(b.ns.Index(dev))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := b.c.ExceptionsError(); err != nil {
		b.Fatal(err)
	}
}

// load loads programs pass and verdict, which redirects to a netdev.
func (b *statsBed) load(port string) (pass, verdict *ebpf.Program) {
	b.Helper()
	collection := func(spec *ebpf.CollectionSpec, err error) *ebpf.Collection {
		if err != nil {
			b.Fatal(err)
		}
		coll, err := ebpf.NewCollection(spec)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(coll.Close)
		return coll
	}
	v := collection(bpf.LoadVerdict())
	index := uint32(b.ns.Index(port))
	b.ns.Do(func() {
		if err := v.Maps[bpf.VerdictPorts].Put(uint32(0), index); err != nil {
			b.Error(err)
		}
	})
	return collection(bpf.LoadPass()).Programs[bpf.PassProgram], v.Programs[bpf.VerdictProgram]
}

func (b *statsBed) attach(p *ebpf.Program, flags link.XDPAttachFlags, devs ...string) {
	b.Helper()
	for _, dev := range devs {
		index := b.ns.Index(dev)
		var l link.Link
		var err error
		b.ns.Do(func() {
			l, err = link.AttachXDP(link.XDPOptions{Program: p, Interface: index, Flags: flags})
		})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { l.Close() })
	}
}

func (b *statsBed) send(from, to string) {
	b.Helper()
	src, err := b.ns.Link(from)
	if err != nil {
		b.Fatal(err)
	}
	dst, err := b.ns.Link(to)
	if err != nil {
		b.Fatal(err)
	}
	s, err := traffic.NewSender(traffic.SenderOptions{NetNS: b.ns.Path(), Dev: from, Src: src.Address, Dst: dst.Address})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if err := s.SendAll(ctx, sent); err != nil {
		b.Fatal(err)
	}
}

func (b *statsBed) stats(dev string) map[string]uint64 {
	b.Helper()
	var v family.Stats
	if err := b.c.Stats().Lookup(b.Context(), &family.StatsKey{Ifindex: uint32(b.ns.Index(dev))}, &v); err != nil {
		b.Fatal(err)
	}
	return present(wordsOf(&v))
}

// counted waits until the counters of dev are exactly those.
func (b *statsBed) counted(dev string, want map[string]uint64) {
	b.Helper()
	var diff string
	if !testutil.Wait(patience, func() bool {
		diff = cmp.Diff(want, b.stats(dev))
		return diff == ""
	}) {
		b.Errorf("counters of %s, -want +got:\n%s", dev, diff)
	}
}

// with is a and b together.
func with(a, b map[string]uint64) map[string]uint64 {
	out := make(map[string]uint64)
	for _, m := range []map[string]uint64{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// quiet is what the probes count where nothing goes wrong.
var quiet = map[string]uint64{
	"aborted": 0, "invalid": 0, "redirect-errors": 0,
	"exception-aborted": 0, "exception-tx": 0, "exception-redirect": 0, "exception-invalid": 0,
}

// traced is what they count of sent.
var traced = with(quiet, map[string]uint64{
	"aborted": 53, "invalid": 67, "exception-aborted": 53, "exception-invalid": 67,
})

// TestStatsVeth sends frames of every verdict through a veth in native mode.
func TestStatsVeth(t *testing.T) {
	b := newStatsBed(t)
	pass, verdict := b.load("port0")
	b.trace("veth0", "veth1", "port0", "port1")
	// XDP_TX and redirection into a veth need a peer that polls.
	b.attach(pass, link.XDPDriverMode, "veth0", "port1")
	b.attach(verdict, link.XDPDriverMode, "veth1")
	driver := map[string]uint64{"drop": 0, "redirect": 0, "tx": 0, "tx-errors": 0, "xmit-packets": 0}
	b.counted("veth1", with(quiet, driver))

	b.send("veth0", "veth1")
	b.counted("veth1", with(traced, map[string]uint64{"drop": 23, "redirect": 41, "tx": 37, "tx-errors": 0, "xmit-packets": 0}))
	b.counted("port0", with(quiet, with(driver, map[string]uint64{"xmit-packets": 41})))
	b.counted("veth0", with(quiet, driver))
	b.counted("lo", quiet)

	// A second Control, and with it another process, sees the same.
	other := newControl(t, b.ns, b.dir)
	var v family.Stats
	if err := other.Stats().Lookup(t.Context(), &family.StatsKey{Ifindex: uint32(b.ns.Index("veth1"))}, &v); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.stats("veth1"), present(wordsOf(&v))); diff != "" {
		t.Errorf("counters of another Control, -first +other:\n%s", diff)
	}

	// What a queue has is the whole, since there is but one.
	var q family.Qstats
	if err := b.c.Qstats().Lookup(t.Context(), &family.QstatsKey{Ifindex: uint32(b.ns.Index("veth1"))}, &q); err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{"drop": 23, "redirect": 41, "tx": 37, "tx-errors": 0}
	if diff := cmp.Diff(want, present(wordsOfQueue(&q))); diff != "" {
		t.Errorf("counters of queue 0, -want +got:\n%s", diff)
	}
}

// TestStatsErrors makes XDP_TX and XDP_REDIRECT fail.
func TestStatsErrors(t *testing.T) {
	b := newStatsBed(t)
	_, verdict := b.load("lo") // takes no redirected frames
	b.trace("veth1")
	b.attach(verdict, link.XDPDriverMode, "veth1")
	b.send("veth0", "veth1") // which does not poll, so that nothing can be sent back
	got := b.stats("veth1")
	want := with(traced, map[string]uint64{"redirect-errors": 41, "drop": 23, "redirect": 0, "tx": 0, "tx-errors": 37, "xmit-packets": 0})
	want["exception-tx"] = got["exception-tx"]
	b.counted("veth1", want)
}

// TestStatsGeneric sends the same in generic mode, where the driver counts
// nothing: what it would say must not be taken for an answer.
func TestStatsGeneric(t *testing.T) {
	b := newStatsBed(t)
	_, verdict := b.load("port0")
	b.trace("veth1")
	b.attach(verdict, link.XDPGenericMode, "veth1")
	b.send("veth0", "veth1")
	b.counted("veth1", with(traced, map[string]uint64{"xmit-packets": 0}))
}

// TestStatsUntraced reads before the probes are there: what they count is
// unknown then, and so is what follows from it.
func TestStatsUntraced(t *testing.T) {
	b := newStatsBed(t)
	pass, verdict := b.load("port0")
	b.attach(pass, link.XDPDriverMode, "veth0", "port1")
	b.attach(verdict, link.XDPDriverMode, "veth1")
	b.send("veth0", "veth1")
	b.counted("veth1", map[string]uint64{"redirect": 41, "tx": 37, "xmit-packets": 0})
	b.counted("lo", map[string]uint64{})

	// From then on they count. Nothing is derived of a driver that has counted
	// before.
	b.trace("veth1")
	b.send("veth0", "veth1")
	b.counted("veth1", with(traced, map[string]uint64{"redirect": 82, "tx": 74, "xmit-packets": 0}))
	if err := b.c.state.traceOff(); err != nil {
		t.Fatal(err)
	}
	b.counted("veth1", map[string]uint64{"redirect": 82, "tx": 74, "xmit-packets": 0})
	if _, err := os.Stat(b.c.state.traceDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left (%v)", err)
	}
	// Anew, from 0.
	b.trace("veth1")
	b.counted("veth1", with(quiet, map[string]uint64{"redirect": 82, "tx": 74, "xmit-packets": 0}))
}

// TestStatsMove moves a netdev that has counted to another namespace, and gives
// its name and ifindex to another.
func TestStatsMove(t *testing.T) {
	b := newStatsBed(t)
	_, verdict := b.load("lo")
	b.trace("veth1")
	b.attach(verdict, link.XDPGenericMode, "veth1")
	b.send("veth0", "veth1")
	want := with(traced, map[string]uint64{"xmit-packets": 0})
	b.counted("veth1", want)

	there := &statsBed{T: t, ns: testutil.NewNetNS(t), dir: b.dir}
	there.c = newControl(t, there.ns, b.dir)
	index := b.ns.Index("veth1")
	if err := b.ns.Move("veth1", there.ns); err != nil {
		t.Fatal(err)
	}
	there.counted("veth1", with(want, nil))
	b.ns.AddVeth("veth1", "veth9", testutil.VethOptions{Queues: 1})
	fresh := with(quiet, map[string]uint64{"redirect": 0, "tx": 0, "xmit-packets": 0})
	b.counted("veth1", fresh)

	// The same ifindex is another netdev's after that.
	there.ns.Del("veth1")
	addAt(t, there.ns, "veth1", index)
	there.counted("veth1", fresh)
	var n int
	err := there.c.traced(func(maps map[string]*ebpf.Map) error {
		n = countKeys(maps[bpf.ExceptionCounts])
		return nil
	})
	if err != nil || n != 1 {
		t.Errorf("%d netdevs have counters (%v), want that which is gone", n, err)
	}
	there.trace() // sweeps
	err = there.c.traced(func(maps map[string]*ebpf.Map) error {
		n = countKeys(maps[bpf.ExceptionCounts]) + countKeys(maps[bpf.ExceptionDevices])
		return nil
	})
	if err != nil || n != 0 {
		t.Errorf("%d entries are left of netdevs that are gone (%v)", n, err)
	}
}

// addAt makes a veth with an ifindex.
func addAt(t *testing.T, ns *testutil.NetNS, name string, index int) {
	t.Helper()
	ns.Do(func() {
		if out, err := exec.Command("ip", "link", "add", name, "index", strconv.Itoa(index), "type", "veth", "peer", "index", strconv.Itoa(index+50)).CombinedOutput(); err != nil {
			t.Fatalf("ip link add: %v\n%s", err, out)
		}
	})
}

func countKeys(m *ebpf.Map) (n int) {
	var key uint64
	for m.NextKey(nilIf(n == 0, &key), &key) == nil {
		n++
	}
	return n
}

// nilIf is nil, or p.
func nilIf(is bool, p *uint64) any {
	if is {
		return nil
	}
	return *p
}

// TestSweepKeeps has netdevs that are still there when others are swept.
func TestSweepKeeps(t *testing.T) {
	b := newStatsBed(t)
	_, verdict := b.load("lo")
	b.trace("veth1")
	b.attach(verdict, link.XDPGenericMode, "veth1")
	b.send("veth0", "veth1")
	want := with(traced, map[string]uint64{"xmit-packets": 0})
	b.counted("veth1", want)
	b.trace()
	b.counted("veth1", want)
}

// TestStatsQueues looks at a veth with several queues, some of which go out of
// use: an exception tells no queue.
func TestStatsQueues(t *testing.T) {
	b := newStatsBed(t)
	b.ns.AddVeth("mq0", "mq1", testutil.VethOptions{Queues: 4})
	index := uint32(b.ns.Index("mq1"))
	pass, verdict := b.load("port0")
	b.trace("mq0", "mq1")
	b.attach(pass, link.XDPDriverMode, "mq0", "port1")
	b.attach(verdict, link.XDPDriverMode, "mq1")
	want := with(quiet, map[string]uint64{"drop": 0, "redirect": 0, "tx": 0, "tx-errors": 0, "xmit-packets": 0})
	b.counted("mq1", want)
	queues := func() (keys []uint32) {
		cur := b.c.Qstats().Cursor(t.Context(), &family.QstatsKey{Ifindex: index})
		defer cur.Close()
		var k family.QstatsKey
		var v family.Qstats
		for cur.Next(&k, &v) {
			keys = append(keys, k.Queue)
		}
		if err := cur.Err(); err != nil {
			t.Fatal(err)
		}
		return keys
	}
	if got := queues(); !slices.Equal(got, []uint32{0, 1, 2, 3}) {
		t.Errorf("queues %v, want four", got)
	}
	b.send("mq0", "mq1")
	want = with(traced, map[string]uint64{"drop": 23, "redirect": 41, "tx": 37, "tx-errors": 0, "xmit-packets": 0})
	b.counted("mq1", want)
	var sum uint64
	for q := range uint32(4) {
		var v family.Qstats
		if err := b.c.Qstats().Lookup(t.Context(), &family.QstatsKey{Ifindex: index, Queue: q}, &v); err != nil {
			t.Fatal(err)
		}
		if v.Has(family.AttrStatsDrop) {
			t.Errorf("queue %d has drop, of which it cannot be told", q)
		}
		sum += v.Redirect
	}
	if sum != 41 {
		t.Errorf("queues have redirected %d, want 41", sum)
	}
	// The peer of one that polls has no more TX than it has RX queues.
	b.channels(4, 2, "mq0", "mq1")
	b.channels(2, 2, "mq0", "mq1")
	if got := queues(); !slices.Equal(got, []uint32{0, 1}) {
		t.Errorf("queues %v, want two", got)
	}
	if got := b.stats("mq1"); has(got, "drop") || has(got, "tx-errors") || !has(got, "redirect") {
		t.Errorf("with two queues of four left: %v, want no drop", got)
	}
	for _, tc := range []family.QstatsKey{{Ifindex: index, Queue: 2}, {Ifindex: index, Queue: family.QueueAll}, {Ifindex: 999}, {Ifindex: uint32(b.ns.Index("lo"))}} {
		err := b.c.Qstats().Lookup(t.Context(), &tc, new(family.Qstats))
		if !errors.Is(err, syscall.ENOENT) {
			t.Errorf("%+v: got %v, want ENOENT", tc, err)
		}
	}
}

func (b *statsBed) channels(rx, tx uint32, devs ...string) {
	b.Helper()
	eth, err := b.c.ethtool()
	if err != nil {
		b.Fatal(err)
	}
	for _, dev := range devs {
		if err := eth.ChannelsSet(b.Context(), uint32(b.ns.Index(dev)), &ethtool.Channels{RX: rx, TX: tx}); err != nil {
			b.Fatal(err)
		}
	}
}

func has(m map[string]uint64, name string) bool {
	_, ok := m[name]
	return ok
}

// TestStatsCountedBefore takes note of netdevs that are not at 0, or have a program
// already: nothing may be derived of them.
func TestStatsCountedBefore(t *testing.T) {
	b := newStatsBed(t)
	_, verdict := b.load("lo")
	b.ns.AddVeth("veth2", "veth3", testutil.VethOptions{Queues: 1})
	t.Run("counted", func(t *testing.T) {
		before := *b
		before.T = t
		before.attach(verdict, link.XDPDriverMode, "veth1")
		before.send("veth0", "veth1")
	}) // and its program is gone
	b.attach(verdict, link.XDPDriverMode, "veth3")
	b.trace("veth1", "veth3")
	b.attach(verdict, link.XDPDriverMode, "veth1")
	for _, dev := range []string{"veth1", "veth3"} {
		b.counted(dev, with(quiet, map[string]uint64{"redirect": 0, "tx": 0, "xmit-packets": 0}))
	}
}

// TestPutMeter puts what a meter has counted over what a driver has.
func TestPutMeter(t *testing.T) {
	var m meterCounters
	m.all.Aborted, m.all.Drop, m.all.Pass = 1, 2, 3
	m.all.TX, m.all.Redirect, m.all.Invalid = 4, 5, 6
	m.queues = append(m.queues, m.all)
	m.all.Drop = 20
	for _, tc := range []struct {
		queue uint32
		drop  uint64
	}{{family.QueueAll, 20}, {0, 2}} {
		var v family.Stats
		v.SetDrop(99)
		v.SetTXErrors(7)
		v.SetMetered(wordsOf(&v).putMeter(&m, tc.queue))
		want := map[string]uint64{
			"aborted": 1, "drop": tc.drop, "pass": 3, "tx": 4, "redirect": 5, "invalid": 6,
			"packets": 19 + tc.drop, "tx-errors": 7,
		}
		if diff := cmp.Diff(want, present(wordsOf(&v))); diff != "" {
			t.Errorf("queue %d, -want +got:\n%s", tc.queue, diff)
		}
		var metered uint64
		for name := range want {
			if name != "tx-errors" {
				metered |= 1 << counterAttrs[name]
			}
		}
		if !v.Has(family.AttrStatsMetered) || v.Metered != metered {
			t.Errorf("queue %d: metered %#x, want %#x", tc.queue, v.Metered, metered)
		}
	}
}

// TestStatsIterate has every netdev once, in ascending order.
func TestStatsIterate(t *testing.T) {
	b := newStatsBed(t)
	for _, only := range []*family.StatsKey{nil, {Ifindex: uint32(b.ns.Index("veth1"))}, {Ifindex: 999}, {Ifindex: ^uint32(0)}} {
		var want, got []uint32
		for _, l := range b.ns.Links() {
			if only == nil || only.Ifindex == uint32(l.Index) {
				want = append(want, uint32(l.Index))
			}
		}
		cur := b.c.Stats().Cursor(t.Context(), only)
		var k family.StatsKey
		var v family.Stats
		for cur.Next(&k, &v) {
			got = append(got, k.Ifindex)
		}
		if err := cur.Err(); err != nil {
			t.Fatal(err)
		}
		cur.Close()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ifindexes with filter %+v, -rtnetlink +ours:\n%s", only, diff)
		}
	}
	var e *family.Error
	err := b.c.Stats().Lookup(t.Context(), &family.StatsKey{Ifindex: 999}, new(family.Stats))
	if !errors.As(err, &e) || e.Errno != unix.ENOENT || e.Message != "no such netdev" {
		t.Errorf("stats of no netdev: got %v", err)
	}
}

// TestStatsLost has exceptions that could not be counted: then none are known.
func TestStatsLost(t *testing.T) {
	b := newStatsBed(t)
	b.trace("veth1")
	b.counted("lo", quiet)
	err := b.c.traced(func(maps map[string]*ebpf.Map) error {
		return maps[bpf.ExceptionLost].Put(uint32(0), uint64(1))
	})
	if err != nil {
		t.Fatal(err)
	}
	b.counted("lo", map[string]uint64{})
}

// TestStatsSleep has a driver whose counters begin anew when the machine wakes up.
func TestStatsSleep(t *testing.T) {
	l := &look{drv: &driver{flags: driverSleepResets}, exc: &exceptions{}, rx: 1}
	for _, tc := range []struct {
		w    *witnessed
		want bool
	}{
		{nil, false},
		{&witnessed{Asleep: timeAsleep(), RXQueues: 1}, true},
		{&witnessed{Asleep: timeAsleep() + uint64(time.Second), RXQueues: 1}, false},
		{&witnessed{Asleep: timeAsleep(), RXQueues: 0}, false},
	} {
		l.seen.witnessed = tc.w
		if got := l.allExceptions(); got != tc.want {
			t.Errorf("%+v: %v, want %v", tc.w, got, tc.want)
		}
	}
	l.seen = traceLook{witnessed: &witnessed{Asleep: timeAsleep(), RXQueues: 1}, rxQueues: 2}
	if l.allExceptions() {
		t.Error("all exceptions are known although some were of a queue that is out of use")
	}
}
