// SPDX-License-Identifier: BSD-3-Clause

package meter

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// slower is by how much the debug kernel is.
func slower() int {
	if testutil.DebugKernel() {
		return 10
	}
	return 1
}

// rounds is how often the tests under traffic go round.
func rounds(t *testing.T) int {
	t.Helper()
	s := os.Getenv("XDPCTL_ROUNDS")
	if s == "" {
		return 200 / slower()
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// during calls f again and again, n times at least, until the function that it
// returns is called.
func (b *bed) during(n int, f func() error) (stop func()) {
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for i := 0; i < n || !done.Load(); i++ {
			if err := f(); err != nil {
				b.Error(err)
				return
			}
		}
	}()
	return func() {
		done.Store(true)
		wg.Wait()
	}
}

// TestReplace replaces programs under traffic: no verdict is missed, and none who
// looks meanwhile is told that it is not metered, nor sees a counter go back.
func TestReplace(t *testing.T) {
	b := newBed(t)
	p, other := newProg(t, nil), newProg(t, nil)
	b.must(b.meter(true))
	b.must(b.attach(p, family.QueueAll, 0))
	var looks int
	var last [kinds]uint64
	watched := b.during(20, func() error {
		looks++
		c := b.ctl
		if looks%2 == 1 {
			c = b.maps
		}
		now, metered := b.read(c, b.rx)
		if !metered {
			return errors.New("not metered between two programs that are")
		}
		for k := range now {
			if now[k] < last[k] {
				return errors.New("a counter went back")
			}
		}
		last = now
		return nil
	})
	var replaced int
	stop := b.during(30/slower(), func() error {
		replaced++
		return b.attach([]*prog{p, other}[replaced%2], family.QueueAll, 0)
	})
	sent := b.send(6000/slower(), p, other)
	stop()
	watched()
	t.Logf("replaced %d times, looked %d times", replaced, looks)
	b.counted(sent)
	// One that is replaced by itself counts no frame twice.
	stop = b.during(30/slower(), func() error { return b.attach(p, family.QueueAll, 0) })
	sent.add(b.send(3000/slower(), p, other))
	stop()
	b.counted(sent)
	// It stays when the program goes, and goes on with the next.
	b.must(b.detach(family.QueueAll))
	b.counted(sent)
	b.must(b.attach(p, family.QueueAll, family.ModeGeneric))
	sent.add(b.send(600, p))
	b.counted(sent)
}

// TestRounds turns the meter on and off under traffic. No frame is lost, it
// counts no more than there was, and all of what comes while it is on.
func TestRounds(t *testing.T) {
	b := newBed(t)
	p := newProg(t, nil)
	b.must(b.attach(p, family.QueueAll, 0))
	var turned int
	stop := b.during(rounds(t), func() error {
		turned++
		return b.meterOf([]family.Control{b.ctl, b.maps}[turned/2%2], b.rx, turned%2 == 1, nil)
	})
	before := p.counted(t)
	sent := b.send(3000, p)
	stop()
	if want := ([kinds]uint64{500, 500, 500, 500, 500, 500}); sent.sum() != want {
		t.Errorf("the program has seen %v, want %v", sent.sum(), want)
	}
	t.Logf("turned %d times", turned)
	b.must(b.meter(false))
	b.must(b.meter(true))
	b.counted(b.send(600, p))
	if before != (counts{}) {
		t.Error("there were frames before")
	}
}

// TestForeign meters a program that somebody else attached, which others then
// replace behind our back, by themselves and by one that was there before.
func TestForeign(t *testing.T) {
	quiet(t)
	b := newBed(t)
	p, other := newProg(t, nil), newProg(t, nil)
	flags := uint32(unix.XDP_FLAGS_DRV_MODE)
	b.must(b.right.SetXDP("rx", p.FD(), flags))
	b.must(b.meterOf(b.maps, b.rx, true, p))
	sent := b.send(300, p)
	b.counted(sent)
	b.must(b.meterOf(b.ctl, b.rx, true, nil)) // changes nothing
	b.counted(sent)

	b.must(b.right.SetXDP("rx", other.FD(), flags))
	b.send(60, other)
	unknown := func(what string) {
		b.Helper()
		for _, c := range []family.Control{b.ctl, b.maps} {
			if _, metered := b.read(c, b.rx); metered {
				b.Errorf("%s is metered at the %s door", what, c.Name())
			}
		}
	}
	unknown("a program that was put there behind our back")
	// Until the tap is off, the program counts if it comes back.
	testutil.Eventually(t, patience, "the tap to go", func() bool {
		ids, err := testutil.LinkIDs()
		b.must(err)
		return len(ids) == 0
	})
	b.must(b.right.SetXDP("rx", p.FD(), flags))
	b.send(60, p)
	unknown("one that was metered before")
	b.must(b.meterOf(b.ctl, b.rx, true, p))
	sent.add(b.send(300, p))
	b.counted(sent)

	// What is not on the netdev any more is not held.
	id := other.id(t)
	b.must(b.right.SetXDP("rx", other.FD(), flags))
	b.must(b.meterOf(b.ctl, b.rx, true, other))
	b.must(b.right.SetXDP("rx", -1, flags))
	b.read(b.ctl, b.rx)
	other.Close()
	testutil.Eventually(t, patience, "the program to go", func() bool {
		ids, err := testutil.ProgIDs()
		b.must(err)
		return !slices.Contains(ids, id)
	})
}

// left is what a test must leave as it found it.
type left struct {
	links, progs, maps, refs int
}

func takeStock(t *testing.T) left {
	t.Helper()
	var l left
	var err error
	for n, list := range map[*int]func() ([]uint32, error){
		&l.links: testutil.LinkIDs, &l.progs: testutil.ProgIDs, &l.maps: testutil.MapIDs,
	} {
		ids, err := list()
		if err != nil {
			t.Fatal(err)
		}
		*n = len(ids)
	}
	if l.refs, err = testutil.ModuleRefs(); err != nil {
		t.Fatal(err)
	}
	return l
}

// settled takes stock when what the kernel has deferred is done, as far as can be
// told.
func settled(t *testing.T) left {
	t.Helper()
	last, same := takeStock(t), time.Now()
	testutil.Eventually(t, patience, "the stock to stay the same", func() bool {
		now := takeStock(t)
		if now != last {
			last, same = now, time.Now()
		}
		return time.Since(same) > time.Second
	})
	return last
}

// quiet waits until nothing is left of the test before.
func quiet(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, patience, "what is left of the test before to go", func() bool {
		return takeStock(t) == left{}
	})
}

// goes waits until it is again as before.
func goes(t *testing.T, before left) {
	t.Helper()
	var now left
	if !testutil.Wait(patience, func() bool {
		now = takeStock(t)
		return now == before
	}) {
		t.Errorf("left: got %+v, want %+v", now, before)
	}
}

// TestHoldsModule unloads the module while the meter is on, and after.
func TestHoldsModule(t *testing.T) {
	quiet(t)
	b := newBed(t)
	before := settled(t)
	b.must(b.meter(true))
	on := takeStock(t)
	if on.refs != before.refs+1 || on.maps != before.maps+1 {
		t.Errorf("with the meter %+v, without %+v", on, before)
	}
	if err := testutil.TryUnloadModule(); !errors.Is(err, unix.EAGAIN) {
		t.Fatalf("unload module: got %v, want %v", err, unix.EAGAIN)
	}
	b.must(b.meter(true))
	if again := takeStock(t); again != on {
		t.Errorf("the second time %+v, the first %+v", again, on)
	}
	b.must(b.meter(false))
	b.must(b.meter(false))
	goes(t, before)
}

// TestGoes deletes the netdev, or its namespace, with the meter on, with and
// without a program of the module.
func TestGoes(t *testing.T) {
	for _, tt := range []struct {
		name string
		del  func(b *bed)
	}{
		{"netdev", func(b *bed) { b.right.Del("rx") }},
		{"peer", func(b *bed) { b.left.Del("tx") }},
		{"namespace", func(b *bed) { b.ctl.Close(); b.maps.Close(); b.right.Close() }},
		{"program, netdev", func(b *bed) { b.must(b.detach(family.QueueAll)); b.right.Del("rx") }},
		{"off by delete", func(b *bed) {
			b.must(b.maps.Attr().Delete(b.Context(), &family.AttrKey{Ifindex: b.rx}))
			b.right.Del("rx")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			quiet(t)
			p := newProg(t, nil)
			before := takeStock(t)
			b := newBed(t)
			b.must(b.meter(true))
			b.must(b.attach(p, family.QueueAll, 0))
			b.counted(b.send(60, p))
			tt.del(b)
			b.ctl.Close()
			b.maps.Close()
			b.right.Close()
			goes(t, before)
		})
	}
}

// TestMoves moves a netdev with a meter to another namespace.
func TestMoves(t *testing.T) {
	b, there := newBed(t), testutil.NewNetNS(t)
	p := newProg(t, nil)
	b.must(b.meter(true))
	b.must(b.attach(p, family.QueueAll, 0))
	sent := b.send(240, p)
	b.must(b.right.Move("rx", there))
	there.AddControl("xdpctl0")
	there.Up("rx")
	moved := *b
	moved.right, moved.rx = there, uint32(there.Index("rx"))
	moved.open()
	sent.add(moved.send(240, p))
	moved.counted(sent)
	other := newProg(t, nil)
	b.must(moved.attach(other, family.QueueAll, 0))
	sent.add(moved.send(240, p, other))
	moved.counted(sent)
	b.must(moved.meter(false))
	if _, metered := moved.read(moved.ctl, moved.rx); metered {
		t.Error("metered after it was turned off")
	}
}

// TestNoNetdev turns the meter of no netdev on and off.
func TestNoNetdev(t *testing.T) {
	b := newBed(t)
	for _, on := range []bool{true, false} {
		b.refused("no netdev", b.meterOf(b.ctl, 4711, on, nil), unix.ENODEV, "no such netdev")
	}
}
