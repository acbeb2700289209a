// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/native"
)

const (
	queues = 4
	port   = 4747 // where the frames go, so that no others are counted
	all    = uint32(family.QueueAll)
)

// wire is a veth whose end rx takes programs and whose other end sends.
type wire struct {
	*testing.T
	left, right *testutil.NetNS
	rx          uint32
	fd          int // sends
	sock        int // counts what reaches the stack
	sll         *unix.SockaddrLinklayer
	c           *native.Control
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{T: t, left: testutil.NewNetNS(t), right: testutil.NewNetNS(t)}
	tx, rx := w.left.AddVeth("tx", "rx", testutil.VethOptions{Queues: queues, PeerNS: w.right})
	w.rx = uint32(rx)
	w.fd = w.left.PacketSocket(tx, 0)
	w.sock = w.right.PacketSocket(rx, unix.ETH_P_IP)
	w.sll = &unix.SockaddrLinklayer{Ifindex: tx, Halen: 6}
	w.c = newControl(t, w.right)
	return w
}

// stack returns how many of our frames have reached the stack since the last
// call.
func (w *wire) stack() (n int) {
	w.Helper()
	buf := make([]byte, 128)
	for {
		l, _, err := unix.Recvfrom(w.sock, buf, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return n
		}
		if err != nil {
			w.Fatal(err)
		}
		if l >= 38 && binary.BigEndian.Uint16(buf[36:]) == port {
			n++
		}
	}
}

// send sends n frames of many flows, a few at a time, and returns how many have
// reached the stack.
func (w *wire) send(n int) (passed int) {
	w.Helper()
	for i := range n {
		if err := unix.Sendto(w.fd, testutil.UDPFrame(i%500, port), 0, w.sll); err != nil {
			w.Fatal(err)
		}
		if i%32 == 31 {
			time.Sleep(time.Millisecond)
			passed += w.stack()
		}
	}
	return passed
}

// pass sends frames and returns how many reached the stack.
func (w *wire) pass(n int) (passed int) {
	w.Helper()
	passed = w.send(n)
	last := time.Now()
	for time.Since(last) < 300*time.Millisecond {
		if got := w.stack(); got > 0 {
			passed += got
			last = time.Now()
		}
		time.Sleep(5 * time.Millisecond)
	}
	return passed
}

func (w *wire) set(queue uint32, p *testutil.Prog, how family.Update) error {
	var v family.Prog
	v.SetFD(uint32(p.FD))
	return w.c.Prog().Update(w.Context(), &family.ProgKey{Ifindex: w.rx, Queue: queue}, &v, how)
}

func (w *wire) del(queue uint32) error {
	return w.c.Prog().Delete(w.Context(), &family.ProgKey{Ifindex: w.rx, Queue: queue})
}

func (w *wire) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// TestProgRuns sends frames to programs of the netdev and of its queues.
func TestProgRuns(t *testing.T) {
	w := newWire(t)
	drop, pass := testutil.NewXDP(t, "drop", 1), testutil.NewXDP(t, "pass", 2)
	const n = 400
	want := func(what string, least, most int) int {
		t.Helper()
		got := w.pass(n)
		if got < least || got > most {
			t.Errorf("%s: %d of %d frames passed, want from %d to %d", what, got, n, least, most)
		}
		return got
	}
	want("no program", n, n)
	w.must(w.set(all, drop, family.UpdateNoexist))
	want("drop", 0, 0)
	w.must(w.set(1, pass, family.UpdateNoexist))
	one := want("pass on a queue", 1, n/2)
	w.must(w.set(2, pass, family.UpdateNoexist))
	two := want("pass on two queues", one+1, n-1)
	w.must(w.set(all, pass, family.UpdateExist))
	want("pass", n, n)
	w.must(w.set(1, drop, family.UpdateExist))
	want("drop on a queue", n-one, n-one)
	w.must(w.del(all))
	want("others pass", n-one, n-one)
	w.must(w.set(all, drop, family.UpdateAny))
	w.must(w.del(1))
	want("pass on the other queue", two-one, two-one)
	w.must(w.del(2))
	want("drop again", 0, 0)
	w.must(w.del(all))
	want("nothing", n, n)
}

// TestProgNoGap changes programs that drop under traffic, and passes nothing.
func TestProgNoGap(t *testing.T) {
	w := newWire(t)
	dev, other, queue := testutil.NewXDP(t, "dev", 1), testutil.NewXDP(t, "other", 1), testutil.NewXDP(t, "queue", 1)
	w.must(w.set(all, dev, family.UpdateAny))
	var stop atomic.Bool
	rounds, done := 0, make(chan error, 1)
	go func() {
		done <- func() error {
			for !stop.Load() || rounds < 20 {
				for _, do := range []func() error{
					func() error { return w.set(2, queue, family.UpdateAny) },
					func() error { return w.set(all, other, family.UpdateExist) },
					func() error { return w.set(2, other, family.UpdateExist) },
					func() error { return w.set(0, queue, family.UpdateNoexist) },
					func() error { return w.set(all, dev, family.UpdateExist) },
					func() error { return w.del(2) },
					func() error { return w.del(0) },
					func() error { return w.set(all, other, family.UpdateExist) },
					func() error { return w.set(all, dev, family.UpdateExist) },
				} {
					if err := do(); err != nil {
						return err
					}
				}
				rounds++
			}
			return nil
		}()
	}()
	passed := 0
	for range 20 {
		passed += w.send(400)
	}
	stop.Store(true)
	w.must(<-done)
	if passed += w.stack(); passed != 0 {
		t.Errorf("%d frames met no program in %d rounds", passed, rounds)
	}
	w.must(w.del(all))
	if got := w.pass(100); got != 100 {
		t.Errorf("%d of 100 frames pass without a program", got)
	}
}

// TestProgInactive takes a queue away from under its program, and gives it back.
func TestProgInactive(t *testing.T) {
	w := newWire(t)
	w.must(w.set(3, testutil.NewXDP(t, "drop", 1), family.UpdateAny))
	want := func(state family.State) {
		t.Helper()
		var v family.Prog
		w.must(w.c.Prog().Lookup(t.Context(), &family.ProgKey{Ifindex: w.rx, Queue: 3}, &v))
		if v.State != state {
			t.Errorf("the program is %v, want %v", v.State, state)
		}
	}
	want(family.StateActive)
	w.left.Channels("tx", 2)
	w.right.Channels("rx", 2)
	want(family.StateInactive)
	w.right.Channels("rx", 4)
	w.left.Channels("tx", 4)
	want(family.StateActive)
}
