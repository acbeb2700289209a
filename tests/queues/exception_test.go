// SPDX-License-Identifier: BSD-3-Clause

package queues

import (
	"context"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// noQueue is where exceptions were whose event tells no queue.
const noQueue = family.QueueAll

// told is a kind of exception, by action, and the queue.
type told struct{ action, queue uint32 }

// exceptions is what is counted of bad frames, and told of them.
type exceptions struct {
	*bed
	ctx  context.Context
	sub  family.Subscription
	sent map[uint32]uint64 // by action
}

// attach puts a program on the netdev that answers all frames with action. It has
// BTF, which the meter asks for.
func (e *exceptions) attach(action int64) {
	e.t.Helper()
	s, err := bpf.OpenPass()
	if err != nil {
		e.t.Fatal(err)
	}
	defer s.Close()
	ins := s.Programs.Pass.Spec.Instructions
	if len(ins) != 2 || ins[0].Dst != asm.R0 || ins[0].Constant != 2 {
		e.t.Fatalf("not a program that passes: %v", ins)
	}
	ins[0].Constant = action
	if err := s.Load(nil); err != nil {
		e.t.Fatal(err)
	}
	var v family.Prog
	v.SetFD(uint32(s.Programs.Pass.Prog.FD()))
	if err := e.ctl.Prog().Update(e.ctx, &family.ProgKey{Ifindex: e.rx, Queue: family.QueueAll}, &v, family.UpdateAny); err != nil {
		e.t.Fatal(err)
	}
}

func (e *exceptions) meter(on uint32) {
	e.t.Helper()
	var v family.Attr
	v.SetCommand(family.CommandSetupMeter)
	v.SetEnableMeter(on)
	if err := e.ctl.Attr().Update(e.ctx, &family.AttrKey{Ifindex: e.rx}, &v, family.UpdateAny); err != nil {
		e.t.Fatal(err)
	}
}

func (e *exceptions) counted(action uint32) uint64 {
	e.t.Helper()
	var v family.Stats
	if err := e.ctl.Stats().Lookup(e.ctx, &family.StatsKey{Ifindex: e.rx}, &v); err != nil {
		e.t.Fatal(err)
	}
	if action == 0 {
		return v.ExceptionAborted
	}
	return v.ExceptionInvalid
}

// bad sends n frames of many flows to a program that answers all with action, and
// returns how many were told of by queue.
func (e *exceptions) bad(action uint32, n uint64) map[told]uint64 {
	e.t.Helper()
	for i := range n {
		if err := unix.Sendto(e.fd, testutil.UDPFrame(int(i), port), 0, e.sll); err != nil {
			e.t.Fatal(err)
		}
		e.sent[action]++
		if i%32 < 31 && i < n-1 {
			continue
		}
		if !testutil.Wait(20*time.Second, func() bool { return e.counted(action) == e.sent[action] }) {
			e.t.Fatalf("%d frames of action %d were sent, %d counted", e.sent[action], action, e.counted(action))
		}
	}
	out := make(map[told]uint64)
	for left := n; left > 0; {
		ev, err := e.sub.Recv(e.ctx)
		if err != nil {
			e.t.Fatalf("%v; %d are missing beside %v", err, left, out)
		}
		v, ok := ev.Value.(*family.Exception)
		if !ok {
			continue
		}
		k := told{v.Action, noQueue}
		if v.Has(family.AttrExceptionQueue) {
			k.queue = v.Queue
		}
		if v.Ifindex != e.rx || v.Action != action || v.Count > left {
			e.t.Fatalf("told of %+v, where %d of action %d are missing", v, left, action)
		}
		out[k] += v.Count
		left -= v.Count
	}
	return out
}

// metered is what the meter has counted, as bad tells it.
func (e *exceptions) metered(action uint32) map[told]uint64 {
	e.t.Helper()
	out := make(map[told]uint64)
	for q, err := range family.All(e.ctx, e.ctl.Qstats(), &family.QstatsKey{Ifindex: e.rx}) {
		if err != nil {
			e.t.Fatal(err)
		}
		n := q.Value.Invalid
		if action == 0 {
			n = q.Value.Aborted
		}
		if n != 0 {
			out[told{action, q.Key.Queue}] = n
		}
	}
	return out
}

func (e *exceptions) expect(what string, want, got map[told]uint64) {
	e.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		e.t.Errorf("%s, -want +got:\n%s", what, diff)
	}
}

// TestExceptions tells of exceptions by queue while the meter is on.
func TestExceptions(t *testing.T) {
	const aborted, odd = 0, 77
	b := newBed(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	sub, err := b.ctl.Subscribe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	e := &exceptions{bed: b, ctx: ctx, sub: sub, sent: make(map[uint32]uint64)}
	e.attach(aborted)
	e.expect("without the meter", map[told]uint64{{aborted, noQueue}: 100}, e.bad(aborted, 100))

	e.meter(1)
	got := e.bad(aborted, 400)
	e.expect("with the meter", e.metered(aborted), got)
	if len(got) < 2 {
		t.Errorf("frames of 400 flows came to the queues %v alone", got)
	}

	e.attach(odd)
	got = e.bad(odd, 200)
	e.expect("another program", e.metered(odd), got)

	e.meter(0)
	e.expect("without the meter again", map[told]uint64{{odd, noQueue}: 100}, e.bad(odd, 100))

	e.meter(1)
	got = e.bad(odd, 30)
	e.expect("with the meter again", e.metered(odd), got)
	for action, n := range e.sent {
		if c := e.counted(action); c != n {
			t.Errorf("%d frames of action %d were sent, %d counted", n, action, c)
		}
	}
}
