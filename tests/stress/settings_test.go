// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/skel"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// setting is a setting of xdp_attr.
type setting struct {
	name    string
	command family.Command
	attr    uint16 // that turns it on and off, and reports it
}

var (
	redirect = &setting{"redirect", family.CommandSetupRedirect, family.AttrAttrRingsNum}
	metadata = &setting{"metadata", family.CommandSetupMD, family.AttrAttrEnableMD}
	meter    = &setting{"meter", family.CommandSetupMeter, family.AttrAttrEnableMeter}
)

// settings are those that a veth has on this kernel.
func settings() []*setting {
	if testutil.KernelAtLeast(6, 8) {
		return []*setting{redirect, metadata, meter}
	}
	return []*setting{redirect, meter}
}

// turn turns a setting of a netdev on (1) or off (0).
func (s *setting) turn(via door, dev uint32, on uint64) error {
	return via.put(attr, key{dev}, family.UpdateAny, values{family.AttrAttrCommand: uint64(s.command), s.attr: on})
}

// is makes sure that a setting of a netdev is on (1) or off (0). Redirect says how
// many rings there are.
func (s *setting) is(via door, dev uint32, want uint64) error {
	v, err := via.look(attr, key{dev})
	if err != nil {
		return err
	}
	if got, ok := v[s.attr]; !ok || min(got, 1) != want {
		return fmt.Errorf("%s of netdev %d: got %d, want %d, in %v", s.name, dev, got, want, v)
	}
	return nil
}

// newBTF loads an XDP program that returns action and has BTF, which the meter
// asks for. It goes with the test.
func newBTF(t *testing.T, action int64) *testutil.Prog {
	t.Helper()
	s, err := bpf.OpenPass()
	if err != nil {
		t.Fatal(err)
	}
	ins := s.Programs.Pass.Spec.Instructions
	if len(ins) != 2 || ins[0].Dst != asm.R0 || ins[0].Constant != 2 {
		t.Fatalf("not a program that passes: %v", ins)
	}
	ins[0].Constant = action
	if err := s.Load(nil); err != nil {
		t.Fatal(err)
	}
	return keepProg(t, s, s.Programs.Pass.Prog)
}

// keepProg keeps a program, and the skeleton that it is of, until the test ends.
func keepProg(t *testing.T, of io.Closer, p *ebpf.Program) *testutil.Prog {
	t.Helper()
	t.Cleanup(func() { of.Close() })
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return &testutil.Prog{FD: p.FD(), ID: uint32(id), Name: info.Name}
}

// withBTF is a world whose programs can be metered.
func (w *world) withBTF() *world {
	w.Helper()
	w.pass, w.drop, w.other = newBTF(w.T, 2), newBTF(w.T, 1), newBTF(w.T, 2)
	return w
}

// references makes sure that there are as many to the module as before.
func references(t *testing.T, before int) {
	t.Helper()
	var now int
	ok := testutil.Wait(deferred, func() bool {
		var err error
		if now, err = testutil.ModuleRefs(); err != nil {
			t.Fatal(err)
		}
		return now == before
	})
	if !ok {
		t.Errorf("%d references to the module are left", now-before)
	}
}

func moduleRefs(t *testing.T) int {
	t.Helper()
	n, err := testutil.ModuleRefs()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// bed sends test frames: those that leave s0, in a namespace of its own, reach s1
// in the world, where a program answers with the verdict that they ask for. What
// it redirects goes to the netdev of redirectTo.
type bed struct {
	*world
	away   *testutil.NetNS
	ports  *skel.Map[uint32, uint32]
	sender *traffic.Sender
	ctx    context.Context
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{world: newWorld(t).withBTF(), away: testutil.NewNetNS(t)}
	_, s1 := b.away.AddVeth("s0", "s1", testutil.VethOptions{PeerNS: b.ns})
	s, err := bpf.OpenAndLoadVerdict(nil)
	if err != nil {
		t.Fatal(err)
	}
	b.ports = &s.Maps.VerdictPorts
	verdict := keepProg(t, s, s.Programs.Verdict.Prog)
	if err := b.judge().set(uint32(s1), change{prog: verdict}); err != nil {
		t.Fatal(err)
	}
	var cancel context.CancelFunc
	b.ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	b.sender = b.send("s0")
	return b
}

// send opens a sender out of a netdev in the other namespace.
func (b *bed) send(dev string) *traffic.Sender {
	b.Helper()
	s, err := traffic.NewSender(traffic.SenderOptions{NetNS: b.away.Path(), Dev: dev})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// count counts what reaches the stack on a netdev.
func (b *bed) count(ns *testutil.NetNS, dev string) *traffic.Counter {
	b.Helper()
	c, err := traffic.NewCounter(traffic.CounterOptions{NetNS: ns.Path(), Dev: dev})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

func (b *bed) redirectTo(dev uint32) {
	b.Helper()
	var err error
	b.ns.Do(func() { err = b.ports.Put(uint32(0), dev) })
	if err != nil {
		b.Fatal(err)
	}
}

// must ends the test at an error.
func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// sending is a thread that sends frames out of netdevs that come and go, however
// many are taken.
type sending struct {
	fd    int
	frame []byte
	to    []*atomic.Uint32
}

// open opens the socket, in the namespace of the calling thread.
func (s *sending) open() (err error) {
	s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	s.frame = make([]byte, 60)
	copy(s.frame, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, bpf.EtherType >> 8, bpf.EtherType & 0xff})
	return err
}

// burst sends some frames that ask for v to each of the netdevs.
func (s *sending) burst(v byte) {
	s.frame[14] = v
	for _, to := range s.to {
		for range 8 {
			// Whether it is there, and up, is not known.
			unix.Sendto(s.fd, s.frame, 0, &unix.SockaddrLinklayer{Ifindex: int(to.Load()), Halen: 6})
		}
	}
	pause(time.Millisecond)
}

// flood sends frames out of netdevs of a namespace until the crew halts. The
// frames ask for the numbers below n in turn.
func (c *crew) flood(ns *testutil.NetNS, n int, to ...*atomic.Uint32) {
	s := &sending{to: to}
	c.run(ns, func() error {
		if err := s.open(); err != nil {
			return err
		}
		defer unix.Close(s.fd)
		for i := 0; !c.stop.Load(); i++ {
			s.burst(byte(i % n))
		}
		return nil
	})
}

// TestRedirect turns SETUP_REDIRECT on and off: what is sent while it is on
// arrives, and nothing of what is sent while it is off.
func TestRedirect(t *testing.T) {
	stress(t, func(t *testing.T) {
		b := newBed(t)
		b.ns.AddVeth("out", "far", testutil.VethOptions{PeerNS: b.away})
		out := uint32(b.ns.Index("out"))
		b.redirectTo(out)
		far := b.count(b.away, "far")
		refs, arrived := moduleRefs(t), uint64(0)
		c := newCrew(t)
		defer c.halt()
		var dev atomic.Uint32
		dev.Store(out)
		looks := &fleeting{world: b.world, tally: newTally(), dev: &dev}
		for _, door := range doors {
			c.loop(b.ns, looks.look(door.name, door.open(b.world)))
		}
		via := []door{b.judge(), &entered{b.maps(), b.ns}}
		c.times(rounds(t, 15), func(i int) {
			b.must(redirect.turn(via[i%2], out, 1))
			b.must(b.sender.Send(b.ctx, traffic.Redirect, 40))
			arrived += 40
			b.must(far.Wait(b.ctx, traffic.Counts{traffic.Redirect: arrived}))
			if i%3 == 0 {
				b.must(via[i%2].drop(attr, key{out}))
			} else {
				b.must(redirect.turn(via[1-i%2], out, 0))
			}
			b.must(b.sender.Send(b.ctx, traffic.Redirect, 10))
		})
		b.must(far.Wait(b.ctx, traffic.Counts{traffic.Redirect: arrived}))
		b.must(redirect.is(via[0], out, 0))
		references(t, refs)
	})
}

// entered is a door for a thread that is not in the namespace.
type entered struct {
	door
	ns *testutil.NetNS
}

func (e *entered) put(tb *table, k key, how family.Update, v values) (err error) {
	e.ns.Do(func() { err = e.door.put(tb, k, how, v) })
	return err
}

func (e *entered) drop(tb *table, k key) (err error) {
	e.ns.Do(func() { err = e.door.drop(tb, k) })
	return err
}

// metering is a netdev with a meter whose program is changed all the time.
type metering struct {
	*bed
	dev   uint32
	tally *tally
}

// change replaces the program of the netdev, and gives its queue one and takes
// it away, so that there is a program at any time.
func (m *metering) change(name string, via door) func() error {
	n := 0
	return func() error {
		n++
		queue := key{m.dev, 0}
		switch n % 4 {
		case 0:
			err := via.put(prog, queue, family.UpdateAny, values{family.AttrProgFD: uint64(m.other.FD)})
			return m.tally.check(name+" add queue", err)
		case 2:
			return m.tally.check(name+" delete queue", via.drop(prog, queue), unix.ENOENT)
		default:
			p := []*testutil.Prog{m.pass, m.other}[n/2%2]
			return m.tally.check(name+" replace", via.set(m.dev, change{prog: p, how: family.UpdateExist}))
		}
	}
}

// counted waits until the meter says n frames.
func (m *metering) counted(via door, n uint64) {
	m.Helper()
	var v values
	ok := testutil.Wait(deferred, func() bool {
		var err error
		if v, err = via.look(stats, key{m.dev}); err != nil {
			m.Fatal(err)
		}
		// While a program is being replaced the meter does not answer.
		return v[family.AttrStatsMetered]>>family.AttrStatsPackets&1 != 0 && v[family.AttrStatsPackets] >= n
	})
	if !ok || v[family.AttrStatsPackets] != n || v[family.AttrStatsPass] != n {
		m.Errorf("the meter counts %d frames, %d passed, of %d", v[family.AttrStatsPackets], v[family.AttrStatsPass], n)
	}
}

// TestMeter turns the meter on and off while both doors replace the program and
// give a queue its own: it counts each frame that is sent while it is on, once,
// and all frames arrive.
func TestMeter(t *testing.T) {
	stress(t, func(t *testing.T) {
		b := newBed(t)
		_, in := b.away.AddVeth("far", "in", testutil.VethOptions{PeerNS: b.ns})
		m := &metering{bed: b, dev: uint32(in), tally: newTally()}
		via := []door{b.judge(), &entered{b.maps(), b.ns}}
		b.must(b.judge().set(m.dev, change{prog: b.pass}))
		far, stack := b.send("far"), b.count(b.ns, "in")
		refs, arrived := moduleRefs(t), uint64(0)
		c := newCrew(t)
		defer c.halt()
		for _, door := range doors {
			c.loop(b.ns, m.change(door.name, door.open(b.world)))
		}
		done := c.times(rounds(t, 6), func(i int) {
			b.must(meter.turn(via[i%2], m.dev, 1))
			const n = 400
			b.must(far.Send(b.ctx, traffic.Pass, n))
			m.counted(via[1-i%2], n)
			b.must(meter.turn(via[i/2%2], m.dev, 0))
			arrived += n
			b.must(stack.Wait(b.ctx, traffic.Counts{traffic.Pass: arrived}))
		})
		c.halt()
		m.tally.report(t, done, "netlink replace: ok", "map replace: ok", "netlink add queue: ok", "map add queue: ok",
			"netlink delete queue: ok", "map delete queue: ok")
		references(t, refs)
	})
}

// meddling is everybody at one netdev with a meter.
type meddling struct {
	*brawl
}

// toggle turns the meter on and off. A program of somebody else's is not known.
func (m *meddling) toggle(name string, via door) func() error {
	return func() error {
		err := m.tally.check(name+" on", meter.turn(via, m.dev, 1), unix.EINVAL)
		if err != nil {
			return err
		}
		pause(2 * time.Millisecond)
		return m.tally.check(name+" off", meter.turn(via, m.dev, 0))
	}
}

// updates puts another program into whatever link there is, by its id.
func (m *meddling) updates() error {
	for id, info := range testutil.XDPLinks(m.T) {
		if info.Ifindex != m.dev {
			continue
		}
		fd, err := testutil.LinkByID(id)
		if err != nil {
			continue // gone, or not yet there
		}
		err = testutil.UpdateLink(fd, m.other.FD)
		unix.Close(fd)
		if err := m.tally.check("link update", err, unix.ENOLINK); err != nil {
			return err
		}
	}
	pause(10 * time.Millisecond)
	return nil
}

// TestMeterMeddled turns the meter on and off while the doors attach and detach,
// and others detach and update the link by its id, and attach over rtnetlink.
func TestMeterMeddled(t *testing.T) {
	stress(t, func(t *testing.T) {
		w := newWorld(t).withBTF()
		m := &meddling{&brawl{world: w, dev: w.veth("veth"), tally: newTally()}}
		refs := moduleRefs(t)
		c := newCrew(t)
		defer c.halt()
		var far atomic.Uint32
		far.Store(uint32(w.ns.Index("vethp")))
		for _, door := range doors {
			c.loop(w.ns, m.ours(door.name, door.open(w)))
			c.loop(w.ns, m.toggle(door.name, door.open(w)))
		}
		c.loop(w.ns, m.links)
		c.loop(w.ns, m.updates)
		c.loop(w.ns, m.foreign)
		c.flood(w.ns, 1, &far)
		done := c.times(rounds(t, 40), func(int) { window(40 * time.Millisecond) })
		c.halt()
		judge := w.judge()
		w.must(meter.turn(judge, m.dev, 0))
		if err := judge.del(m.dev); err != nil && !errors.Is(err, unix.ENOENT) {
			t.Error(err)
		}
		references(t, refs)
		m.tally.report(t, done, "netlink on: ok", "netlink on: EINVAL", "map on: ok", "map on: EINVAL",
			"netlink attach: ok", "map attach: ok", "link detach: ok", "link update: ok", "rtnetlink attach: ok")
	})
}

// fleeting is a netdev with settings that goes again and again. Its ifindex is
// another one each time.
type fleeting struct {
	*world
	tally *tally
	dev   *atomic.Uint32
}

// settle turns one setting after the other on and off.
func (f *fleeting) settle(name string, via door) func() error {
	n, all := 0, settings()
	return func() error {
		n++
		s, dev := all[n%len(all)], f.dev.Load()
		err := s.turn(via, dev, 1)
		// The peer of a veth comes up after it.
		if err := f.tally.check(name+" "+s.name+" on", err, unix.ENODEV, unix.ENETDOWN); err != nil {
			return err
		}
		if err != nil {
			pause(2 * time.Millisecond)
			return nil
		}
		pause(time.Millisecond)
		switch n % 3 {
		case 0:
			return f.tally.check(name+" delete", via.drop(attr, key{dev}), unix.ENOENT)
		case 1:
			return f.tally.check(name+" "+s.name+" off", s.turn(via, dev, 0), unix.ENODEV)
		}
		return nil
	}
}

// programs attaches to the netdev and detaches from it.
func (f *fleeting) programs(name string, via door) func() error {
	n := 0
	return func() error {
		n++
		dev := f.dev.Load()
		if n%4 == 0 {
			return f.tally.check(name+" detach", via.del(dev), unix.ENOENT)
		}
		err := via.set(dev, change{prog: []*testutil.Prog{f.pass, f.other}[n%2]})
		if err != nil {
			pause(2 * time.Millisecond)
		}
		return f.tally.check(name+" attach", err, unix.ENODEV)
	}
}

// look reads what can be read of the netdev.
func (f *fleeting) look(name string, via door) func() error {
	n := 0
	return func() error {
		n++
		tb := tables[n%len(tables)]
		k := key{f.dev.Load()}
		if tb == prog {
			k[1] = family.QueueAll
		}
		_, err := via.look(tb, k)
		pause(time.Millisecond)
		return f.tally.check(name+" look", err, unix.ENOENT)
	}
}

// leave makes the netdev go by one way or the other.
func (f *fleeting) leave(i int, away *testutil.NetNS) {
	f.Helper()
	switch i % 3 {
	case 0:
		f.ns.Del("out")
	case 1:
		away.Del("far")
	}
	away.Close()
	testutil.Eventually(f.T, deferred, "the netdev to go", func() bool {
		_, err := f.ns.Link("out")
		return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV)
	})
}

// TestSettingsNetdev deletes a netdev, its peer, or the namespace of its peer,
// while both doors turn its settings on and off and change its program, under
// traffic through it and redirected to it.
func TestSettingsNetdev(t *testing.T) {
	stress(t, func(t *testing.T) {
		b := newBed(t)
		f := &fleeting{world: b.world, tally: newTally(), dev: new(atomic.Uint32)}
		f.dev.Store(9999)
		refs := moduleRefs(t)
		c := newCrew(t)
		defer c.halt()
		for _, door := range doors {
			c.loop(b.ns, f.settle(door.name, door.open(b.world)))
			c.loop(b.ns, f.programs(door.name, door.open(b.world)))
			c.loop(b.ns, f.look(door.name, door.open(b.world)))
		}
		var s0 atomic.Uint32
		s0.Store(uint32(b.away.Index("s0")))
		c.flood(b.away, 6, &s0)
		done := c.times(rounds(t, 9), func(i int) {
			away := testutil.NewNetNS(t)
			out, far := b.ns.AddVeth("out", "far", testutil.VethOptions{PeerNS: away})
			b.redirectTo(uint32(out))
			f.dev.Store(uint32(out))
			in := newCrew(t)
			var to atomic.Uint32
			to.Store(uint32(far))
			in.flood(away, 6, &to)
			window(30 * time.Millisecond)
			in.stop.Store(true) // the thread holds the namespace for a while
			f.leave(i, away)
			in.halt()
		})
		c.halt()
		references(t, refs)
		var want []string
		for _, door := range doors {
			for _, s := range settings() {
				want = append(want, fmt.Sprintf("%s %s on: ok", door.name, s.name), fmt.Sprintf("%s %s on: ENODEV", door.name, s.name))
			}
			want = append(want, door.name+" delete: ok", door.name+" attach: ok", door.name+" attach: ENODEV")
		}
		f.tally.report(t, done, want...)
	})
}
