// SPDX-License-Identifier: BSD-3-Clause

package traffic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// odd is no XDP action.
const odd Verdict = 77

// interval is the least time between two events of a kind and netdev.
const interval = 100 * time.Millisecond

// flood is how many bad frames are sent at once.
func flood() uint64 {
	if strings.Contains(testutil.Release(), "debug") {
		return 10_000
	}
	return 100_000
}

// badWorld is a namespace with the netdevs v0 and v1, each with a program of its
// own that gives the verdict asked for, and their peers p0 and p1, that send.
type badWorld struct {
	*testing.T
	ctx   context.Context
	ns    *testutil.NetNS
	ctl   family.Control
	progs map[string]uint32 // ids, by netdev
	send  map[string]*Sender
}

func newBadWorld(t *testing.T, mode family.Mode) *badWorld {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	t.Cleanup(cancel)
	w := &badWorld{
		T: t, ctx: ctx, ns: testutil.NewNetNS(t),
		progs: make(map[string]uint32), send: make(map[string]*Sender),
	}
	ctl, err := family.Dial(family.Options{NetNS: w.ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ctl.Close() })
	w.ctl = ctl
	for i := range 2 {
		dev, peer := fmt.Sprintf("v%d", i), fmt.Sprintf("p%d", i)
		w.ns.AddVeth(dev, peer, testutil.VethOptions{})
		w.attach(dev, mode)
		s, err := NewSender(SenderOptions{NetNS: w.ns.Path(), Dev: peer})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		w.send[dev] = s
	}
	return w
}

func (w *badWorld) attach(dev string, mode family.Mode) {
	w.Helper()
	s, err := bpf.OpenAndLoadVerdict(nil)
	if err != nil {
		w.Fatal(err)
	}
	defer s.Close()
	var v family.Prog
	v.SetFD(uint32(s.Programs.Verdict.Prog.FD()))
	v.SetMode(mode)
	k := &family.ProgKey{Ifindex: uint32(w.ns.Index(dev)), Queue: family.QueueAll}
	if err := w.ctl.Prog().Update(w.ctx, k, &v, family.UpdateNoexist); err != nil {
		w.Fatal(err)
	}
	if err := w.ctl.Prog().Lookup(w.ctx, k, &v); err != nil {
		w.Fatal(err)
	}
	w.progs[dev] = v.ProgID
}

// bad sends n frames that are answered with a verdict.
func (w *badWorld) bad(dev string, v Verdict, n uint64) {
	w.Helper()
	if err := w.send[dev].Send(w.ctx, v, n); err != nil {
		w.Fatal(err)
	}
}

func (w *badWorld) subscribe() family.Subscription {
	w.Helper()
	s, err := w.ctl.Subscribe(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { s.Close() })
	return s
}

// source is where exceptions come from, as an event tells it.
type source struct {
	ifindex, prog, action uint32
}

func (w *badWorld) source(dev string, v Verdict) source {
	return source{uint32(w.ns.Index(dev)), w.progs[dev], uint32(v)}
}

// exceptions receives events until they add up to want, or until one is not
// wanted, and returns the number of events of each.
func (w *badWorld) exceptions(s family.Subscription, want map[source]uint64) map[source]int {
	w.Helper()
	left := make(map[source]uint64)
	open := 0
	for src, n := range want {
		left[src] = n
		open++
	}
	events := make(map[source]int)
	for open > 0 {
		ev, err := s.Recv(w.ctx)
		if err != nil {
			w.Fatalf("%v; %v is missing of %v", err, left, want)
		}
		if ev.Op != "exception-ntf" {
			continue
		}
		v := ev.Value.(*family.Exception)
		src := source{v.Ifindex, v.ProgID, v.Action}
		if v.Has(family.AttrExceptionQueue) || v.Count == 0 || v.Count > left[src] {
			w.Fatalf("told of %+v, %v is missing of %v", v, left, want)
		}
		events[src]++
		if left[src] -= v.Count; left[src] == 0 {
			open--
		}
	}
	return events
}

// quiet fails if there is another event.
func (w *badWorld) quiet(s family.Subscription) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, 5*interval)
	defer cancel()
	for {
		ev, err := s.Recv(ctx)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if err != nil {
			w.Fatal(err)
		}
		if ev.Op == "exception-ntf" {
			w.Fatalf("told of %+v", ev.Value)
		}
	}
}

func (w *badWorld) stats(dev string) *family.Stats {
	w.Helper()
	var v family.Stats
	if err := w.ctl.Stats().Lookup(w.ctx, &family.StatsKey{Ifindex: uint32(w.ns.Index(dev))}, &v); err != nil {
		w.Fatal(err)
	}
	return &v
}

// TestExceptions sends bad frames of two kinds to two netdevs.
func TestExceptions(t *testing.T) {
	for _, mode := range []family.Mode{family.ModeNative, family.ModeGeneric} {
		t.Run(mode.String(), func(t *testing.T) {
			w, other := newBadWorld(t, mode), newBadWorld(t, mode)
			s, elsewhere := w.subscribe(), other.subscribe()
			for round := range 3 {
				want := map[source]uint64{
					w.source("v0", Aborted): 30, w.source("v0", odd): 20, w.source("v1", Aborted): 10,
				}
				w.bad("v0", Aborted, 30)
				w.bad("v1", Aborted, 10)
				w.bad("v0", odd, 20)
				w.exceptions(s, want)
				got := w.stats("v0")
				if n := uint64(round + 1); got.ExceptionAborted != 30*n || got.ExceptionInvalid != 20*n {
					t.Errorf("counters: %d aborted, %d invalid after %d rounds", got.ExceptionAborted, got.ExceptionInvalid, n)
				}
			}
			w.bad("v0", Drop, 40)
			w.bad("v0", Pass, 40)
			w.quiet(s)
			other.quiet(elsewhere)
		})
	}
}

// TestExceptionFlood compares what is told of a flood with the counters, and how
// often with the time that it took.
func TestExceptionFlood(t *testing.T) {
	w := newBadWorld(t, family.ModeNative)
	s := w.subscribe()
	n := flood()
	want := map[source]uint64{w.source("v0", Aborted): n / 2, w.source("v0", odd): n / 2}
	start := time.Now()
	done := make(chan error, 1)
	go func() {
		for range 10 {
			for _, v := range []Verdict{Aborted, odd} {
				if err := w.send["v0"].Send(w.ctx, v, n/20); err != nil {
					done <- err
					return
				}
			}
		}
		done <- nil
	}()
	events := w.exceptions(s, want)
	took := time.Since(start)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.quiet(s)
	got := w.stats("v0")
	if diff := cmp.Diff([]uint64{n / 2, n / 2}, []uint64{got.ExceptionAborted, got.ExceptionInvalid}); diff != "" {
		t.Errorf("counters, -want +got:\n%s", diff)
	}
	t.Logf("%d frames in %v: %v events", n, took, events)
	for src, k := range events {
		// An interval may be shorter by a tick, as a clock of ticks sees it.
		if limit := int(took/(interval-10*time.Millisecond)) + 1; k > limit {
			t.Errorf("%d events of %+v in %v, want at most %d", k, src, took, limit)
		}
	}
}

// TestExceptionsUnheard has exceptions while nobody listens. What comes after
// them in another namespace shows that they are done with.
func TestExceptionsUnheard(t *testing.T) {
	w, other := newBadWorld(t, family.ModeNative), newBadWorld(t, family.ModeNative)
	for range 3 {
		w.bad("v0", Aborted, 50)
		elsewhere := other.subscribe()
		other.bad("v0", Aborted, 10)
		other.exceptions(elsewhere, map[source]uint64{other.source("v0", Aborted): 10})
		elsewhere.Close()
	}
	s := w.subscribe()
	w.bad("v0", Aborted, 30)
	w.exceptions(s, map[source]uint64{w.source("v0", Aborted): 30})
	if n := w.stats("v0").ExceptionAborted; n != 180 {
		t.Errorf("counter is %d, want 180", n)
	}
}

// TestExceptionsGone takes netdevs away while they are told of.
func TestExceptionsGone(t *testing.T) {
	for i := range rounds(10) {
		w := newBadWorld(t, family.ModeNative)
		s := w.subscribe()
		w.bad("v1", Aborted, 5)
		done := make(chan error)
		go func() { done <- w.send["v0"].Send(w.ctx, Aborted, 1<<30) }()
		testutil.Eventually(t, patience, "the first exception", func() bool { return w.stats("v0").ExceptionAborted > 0 })
		if i%2 == 0 {
			w.ns.Del("v0")
		} else {
			other := testutil.NewNetNS(t)
			if err := w.ns.Move("v0", other); err != nil {
				t.Fatal(err)
			}
			other.Up("v0")
			// Takes v0 along, and so p0, at a time of the kernel's own.
			other.Close()
			testutil.Eventually(t, patience, "the end of p0", func() bool {
				_, err := w.ns.Link("p0")
				return err != nil
			})
		}
		if err := <-done; err == nil {
			t.Fatal("a netdev that is gone has sent")
		}
		want := w.source("v1", Aborted)
		for {
			ev, err := s.Recv(w.ctx)
			if err != nil {
				t.Fatal(err)
			}
			if v, ok := ev.Value.(*family.Exception); ok && v.Ifindex == want.ifindex {
				break
			}
		}
		s.Close()
		w.ns.Close()
	}
}
