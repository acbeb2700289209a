// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// listener receives events.
type listener struct {
	*testing.T
	s family.Subscription
}

func listen(t *testing.T, c *Control) *listener {
	t.Helper()
	s, err := c.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &listener{t, s}
}

// line describes an event.
func line(ev family.Event) string {
	switch v := ev.Value.(type) {
	case *family.Prog:
		k := ev.Key.(*family.ProgKey)
		if !v.Has(family.AttrProgProgID) {
			return fmt.Sprintf("prog %d: gone", k.Ifindex)
		}
		return fmt.Sprintf("prog %d: %d", k.Ifindex, v.ProgID)
	case *family.Attr:
		return fmt.Sprintf("attr %d: rings %d, meter %d", ev.Key.(*family.AttrKey).Ifindex, v.RingsNum, v.EnableMeter)
	case *family.Port:
		return fmt.Sprintf("port %d: %d", ev.Key.(*family.PortKey).Port, v.Ifindex)
	case *family.Exception:
		return fmt.Sprintf("exception %d: program %d, action %d", v.Ifindex, v.ProgID, v.Action)
	}
	return fmt.Sprintf("%+v", ev)
}

// next waits for an event.
func (l *listener) next(patience time.Duration) (family.Event, error) {
	ctx, cancel := context.WithTimeout(l.Context(), patience)
	defer cancel()
	return l.s.Recv(ctx)
}

// want checks that just these events come.
func (l *listener) want(what string, want ...string) {
	l.Helper()
	var got []string
	for len(got) < len(want) {
		ev, err := l.next(10 * time.Second)
		if err != nil {
			l.Fatalf("%s: after %q: %v", what, got, err)
		}
		got = append(got, line(ev))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		l.Errorf("%s: events, -want +got:\n%s", what, diff)
	}
}

// quiet checks that nothing more comes.
func (l *listener) quiet(what string) {
	l.Helper()
	if ev, err := l.next(3 * lookInterval / 2); !errors.Is(err, context.DeadlineExceeded) {
		l.Errorf("%s: told of %s, error %v", what, line(ev), err)
	}
}

// TestEvents tells who listens at the Control that makes changes, and at another,
// as another process has.
func TestEvents(t *testing.T) {
	metered := !hasFexit()
	ns := testutil.NewNetNS(t)
	dir := newBPFFS(t)
	c, other := newControl(t, ns, dir), newControl(t, ns, dir)
	a, b := ns.AddVeth("a", "b", testutil.VethOptions{})
	here, there := listen(t, c), listen(t, other)
	p := verdictProgram(t, metered)
	set := func() error {
		var v family.Prog
		v.SetFD(uint32(p.FD()))
		k := &family.ProgKey{Ifindex: uint32(a), Queue: family.QueueAll}
		return c.Prog().Update(t.Context(), k, &v, family.UpdateAny)
	}
	del := func() error {
		return c.Prog().Delete(t.Context(), &family.ProgKey{Ifindex: uint32(a), Queue: family.QueueAll})
	}
	bind := func(port uint32, dev int) func() error {
		return func() error { return bindPort(c, port, uint32(dev), family.UpdateAny) }
	}
	redirect := func(n uint32) func() error {
		return func() error { return setAttr(c, a, family.UpdateAny, rings(n)) }
	}
	meter := func(n uint32) func() error {
		return func() error { return setAttr(c, a, family.UpdateAny, enableMeter(n)) }
	}
	prog := fmt.Sprintf("prog %d: %d", a, progID(t, p))
	for _, tc := range []struct {
		name  string
		do    func() error
		here  []string
		there []string
	}{
		{"bind", bind(3, a), []string{fmt.Sprintf("port 3: %d", a)}, []string{fmt.Sprintf("port 3: %d", a)}},
		{"bind again", bind(3, a), []string{fmt.Sprintf("port 3: %d", a)}, nil},
		{"take over", bind(3, b), []string{fmt.Sprintf("port 3: %d", b)}, []string{fmt.Sprintf("port 3: %d", b)}},
		{"free", func() error { return freePort(c, 3) }, []string{"port 3: 0"}, []string{"port 3: 0"}},
		{"redirect", redirect(1), []string{fmt.Sprintf("attr %d: rings 1, meter 0", a)}, []string{fmt.Sprintf("attr %d: rings 1, meter 0", a)}},
		{"redirect again", redirect(1), nil, nil},
		{"attach", set, []string{prog}, []string{prog}},
		{"meter", meter(1), []string{fmt.Sprintf("attr %d: rings 1, meter 1", a)}, []string{fmt.Sprintf("attr %d: rings 1, meter 1", a)}},
		{"meter again", meter(1), nil, nil},
		{"attach again", set, []string{prog}, nil},
		{"undo all", func() error { return resetAttr(c, a) }, []string{fmt.Sprintf("attr %d: rings 0, meter 0", a)}, []string{fmt.Sprintf("attr %d: rings 0, meter 0", a)}},
		{"undo again", func() error { return resetAttr(c, a) }, nil, nil},
		{"detach", del, []string{fmt.Sprintf("prog %d: gone", a)}, []string{fmt.Sprintf("prog %d: gone", a)}},
	} {
		if err := tc.do(); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		here.want(tc.name, tc.here...)
		there.want(tc.name+", there", tc.there...)
	}
	// All at once: who made the changes is told of each.
	for i := range 20 {
		dev := a
		if i%2 == 1 {
			dev = b
		}
		if err := bindPort(c, 5, uint32(dev), family.UpdateAny); err != nil {
			t.Fatal(err)
		}
	}
	if err := freePort(c, 5); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		here.want("all at once", fmt.Sprintf("port 5: %d", []int{a, b}[i%2]))
	}
	here.want("all at once", "port 5: 0")
	here.quiet("all at once")

	// What a netdev takes with it.
	for _, do := range []func() error{set, redirect(1), bind(7, b)} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	here.want("before it goes", prog, fmt.Sprintf("attr %d: rings 1, meter 0", a), fmt.Sprintf("port 7: %d", b))
	for {
		ev, err := there.next(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if line(ev) == fmt.Sprintf("port 7: %d", b) {
			break
		}
	}
	ns.Del("a")
	for _, l := range []*listener{here, there} {
		l.want("a netdev goes", fmt.Sprintf("prog %d: gone", a), "port 7: 0")
		l.quiet("a netdev goes")
	}
}

// TestEventsLost has too much for a listener.
func TestEventsLost(t *testing.T) {
	ns := testutil.NewNetNS(t)
	c := newControl(t, ns, newBPFFS(t))
	l := listen(t, c)
	s := l.s.(*subscription)
	for range maxEvents + 1 {
		s.put(family.Event{Op: "port-ntf"})
	}
	if _, err := l.next(time.Second); !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("got %v, want %v", err, unix.ENOBUFS)
	}
	for range maxEvents {
		if _, err := l.next(time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.next(time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	if err := l.s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.next(time.Second); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v, want %v", err, os.ErrClosed)
	}
}

// excSum receives exceptions until as many have come as are wanted of each kind,
// and returns when.
func (l *listener) exceptions(what string, want map[family.Exception]uint64) []time.Time {
	l.Helper()
	var times []time.Time
	left := map[family.Exception]uint64{}
	for k, n := range want {
		left[k] = n
	}
	for len(left) > 0 {
		ev, err := l.next(10 * time.Second)
		if err != nil {
			l.Fatalf("%s: %v is missing: %v", what, left, err)
		}
		v, ok := ev.Value.(*family.Exception)
		if !ok {
			continue
		}
		times = append(times, time.Now())
		k, n := *v, v.Count
		k.SetCount(0)
		if n == 0 || n > left[k] {
			l.Fatalf("%s: told of %+v, %v is missing", what, v, left)
		}
		if left[k] -= n; left[k] == 0 {
			delete(left, k)
		}
	}
	return times
}

// TestEventsExceptions counts what is told of bad frames.
func TestEventsExceptions(t *testing.T) {
	for _, metered := range []bool{false, true} {
		t.Run(fmt.Sprintf("metered=%v", metered), func(t *testing.T) {
			b := newMeterBed(t)
			p := verdictProgram(t, !hasFexit())
			b.attach(p, unix.XDP_FLAGS_DRV_MODE)
			b.send(3, 0, 77) // before
			if metered {
				wantErr(t, "meter", b.meter(1, p), 0, "")
				b.send(2, 0, 77)
			}
			l := listen(t, b.c)
			bad := func(action uint32) (v family.Exception) {
				v.SetIfindex(uint32(b.dev))
				v.SetProgID(progID(t, p))
				v.SetAction(action)
				v.SetCount(0)
				if metered {
					v.SetQueue(0)
				}
				return v
			}
			for range 3 {
				b.send(40, 0, 77, 1, 2)
				l.exceptions("bad frames", map[family.Exception]uint64{bad(0): 40, bad(77): 40})
			}
			// A flood is told of in few events.
			start := time.Now()
			for range 10 {
				b.send(500, 0)
			}
			times := l.exceptions("flood", map[family.Exception]uint64{bad(0): 5000})
			if most := int(time.Since(start)/exceptionInterval) + 2; len(times) > most {
				t.Errorf("told in %d events in %v, want at most %d", len(times), time.Since(start), most)
			}
			l.quiet("after all")
		})
	}
}
