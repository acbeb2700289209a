// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// sigaction is the kernel's struct sigaction.
type sigaction struct {
	handler, flags, restorer, mask uint64
}

const saRestart = 0x10000000

// catchWithoutRestart has a signal handled in a way that does not restart
// system calls, unlike what the Go runtime does. It returns how often the
// signal came.
func catchWithoutRestart(t *testing.T, sig unix.Signal) *atomic.Int64 {
	t.Helper()
	ch := make(chan os.Signal, 64)
	signal.Notify(ch, sig)
	var sa sigaction
	if err := rtSigaction(sig, nil, &sa); err != nil {
		t.Fatal(err)
	}
	sa.flags &^= saRestart
	if err := rtSigaction(sig, &sa, nil); err != nil {
		t.Fatal(err)
	}
	n := new(atomic.Int64)
	go func() {
		for range ch {
			n.Add(1)
		}
	}()
	t.Cleanup(func() {
		signal.Stop(ch)
		close(ch)
	})
	return n
}

func rtSigaction(sig unix.Signal, set, old *sigaction) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)), 8, 0, 0)
	if errno != 0 {
		return fmt.Errorf("set signal action: %w", errno)
	}
	return nil
}

// sigevent is the kernel's struct sigevent for SIGEV_THREAD_ID.
type sigevent struct {
	value         uint64
	signo, notify int32
	tid           int32
	_             [44]byte
}

const sigevThreadID = 4

// storm sends a signal to the calling thread at an interval, until the
// function that it returns is called.
func storm(sig unix.Signal, interval time.Duration) (stop func(), err error) {
	ev := sigevent{signo: int32(sig), notify: sigevThreadID, tid: int32(unix.Gettid())}
	var id int32
	if _, _, errno := unix.RawSyscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC,
		uintptr(unsafe.Pointer(&ev)), uintptr(unsafe.Pointer(&id))); errno != 0 {
		return nil, fmt.Errorf("create timer: %w", errno)
	}
	ts := unix.NsecToTimespec(int64(interval))
	its := [2]unix.Timespec{ts, ts}
	if _, _, errno := unix.RawSyscall6(unix.SYS_TIMER_SETTIME, uintptr(id), 0,
		uintptr(unsafe.Pointer(&its[0])), 0, 0, 0); errno != 0 {
		return nil, fmt.Errorf("set timer: %w", errno)
	}
	return func() { unix.RawSyscall(unix.SYS_TIMER_DELETE, uintptr(id), 0, 0) }, nil
}

// contend keeps RTNL busy with netdevs that come and go.
func contend(ns *testutil.NetNS, name string) func() error {
	return func() error {
		if err := ns.NewLink(name, "dummy", nil); err != nil {
			return err
		}
		if err := ns.DelLink(name); err != nil {
			return err
		}
		pause(3 * time.Millisecond)
		return nil
	}
}

// TestSignals changes programs and looks them up through control maps in a
// storm of signals, while RTNL is busy. Every result is known beforehand.
func TestSignals(t *testing.T) {
	stress(t, func(t *testing.T) {
		w := newWorld(t)
		y := newTally()
		maps := w.maps()
		caught := catchWithoutRestart(t, unix.SIGUSR1)
		want := rounds(t, 22)
		dev := w.ns.AddDummy("dummy")
		c := newCrew(t)
		defer c.halt()
		busy := testutil.NewNetNS(t)
		c.loop(nil, contend(busy, "busy0"))
		finished := make(chan int)
		o := &owner{world: w, tally: y, dev: uint32(dev)}
		c.run(w.ns, func() error {
			defer close(finished)
			stop, err := storm(unix.SIGUSR1, 700*time.Microsecond)
			if err != nil {
				return err
			}
			defer stop()
			for i := range 10 * want {
				if err := o.storming(maps); err != nil {
					return fmt.Errorf("change %d: %w", i, err)
				}
			}
			return nil
		})
		<-finished
		c.halt()
		t.Logf("%d signals came", caught.Load())
		if caught.Load() == 0 {
			t.Error("no signal came")
		}
		y.report(t, want, "replace or add: ok", "replace: ok", "replace: ENOENT", "add: ok", "add: EEXIST",
			"delete: ok", "delete: ENOENT", "lookup: ok", "lookup: ENOENT")
	})
}

// storming makes a change and compares, all through the map door.
func (o *owner) storming(maps *mapDoor) error {
	o.n++
	// The order is such that every operation meets both states.
	ops := []func() error{
		func() error { return o.known("delete", maps.del(o.dev), o.has != nil, unix.ENOENT, nil) },
		func() error {
			err := maps.set(o.dev, change{prog: o.drop, how: family.UpdateExist})
			return o.known("replace", err, o.has != nil, unix.ENOENT, o.drop)
		},
		func() error {
			err := maps.set(o.dev, change{prog: o.pass, how: family.UpdateNoexist})
			return o.known("add", err, o.has == nil, unix.EEXIST, o.pass)
		},
		func() error { return o.known("replace or add", maps.set(o.dev, change{prog: o.drop}), true, 0, o.drop) },
	}
	order := []int{3, 1, 2, 0, 0, 1, 2, 2, 1, 3, 0}
	if err := ops[order[o.n%len(order)]](); err != nil {
		return err
	}
	st, err := maps.get(prog, o.dev, family.QueueAll)
	if err := o.tally.check("lookup", err, unix.ENOENT); err != nil {
		return err
	}
	if o.has == nil != errors.Is(err, unix.ENOENT) || o.has != nil && o.has.ID != st.prog {
		return fmt.Errorf("lookup: got %+v (%v), want program %+v", st, err, o.has)
	}
	return nil
}

// known compares the result of a change that is known to succeed or not.
func (o *owner) known(what string, err error, succeeds bool, refusal unix.Errno, after *testutil.Prog) error {
	if succeeds {
		if err := o.tally.check(what, err); err != nil {
			return err
		}
		o.has = after
		return nil
	}
	if err == nil {
		return fmt.Errorf("%s: got success, want %v", what, refusal)
	}
	return o.tally.check(what, err, refusal)
}

// slow is how long a lookup takes that had to wait for RTNL. It is more than
// what the host may take from the virtual machine unseen, and less than a
// namespace holds RTNL that ends with many netdevs.
const slow = 30 * time.Millisecond

// TestLookupContended looks up through control maps while RTNL is busy, once
// in a storm of signals and once without: the answer is right, and who waits
// sleeps.
func TestLookupContended(t *testing.T) {
	stress(t, func(t *testing.T) {
		w := newWorld(t)
		l := &lookups{maps: w.maps(), dev: w.veth("veth"), want: w.pass.ID}
		catchWithoutRestart(t, unix.SIGUSR1)
		if err := w.judge().set(l.dev, change{prog: w.pass}); err != nil {
			t.Fatal(err)
		}
		c := newCrew(t)
		defer c.halt()
		c.loop(nil, contend(testutil.NewNetNS(t), "busy0"))
		c.run(w.ns, func() error { return l.run(c) })
		netdevs := 40
		if testutil.DebugKernel() {
			netdevs = 10
		}
		c.times((rounds(t, 60)+9)/10, func(i int) {
			l.storm.Store(i%2 == 1)
			ns := testutil.NewNetNS(t)
			for n := range netdevs {
				ns.AddDummy(fmt.Sprintf("dummy%d", n))
			}
			ns.Close()
		})
		c.halt()
		l.report(t)
	})
}

// lookups makes lookups and measures what becomes of the time of those that
// are slow.
type lookups struct {
	maps      *mapDoor
	dev, want uint32
	storm     atomic.Bool // signals are to come

	n, slept, slow int
	wall, cpu      time.Duration
}

func (l *lookups) run(c *crew) error {
	var calm func()
	defer func() {
		if calm != nil {
			calm()
		}
	}()
	for !c.stop.Load() {
		switch want := l.storm.Load(); {
		case want && calm == nil:
			var err error
			if calm, err = storm(unix.SIGUSR1, 3*time.Millisecond); err != nil {
				return err
			}
		case !want && calm != nil:
			calm()
			calm = nil
		}
		if err := l.one(); err != nil {
			return err
		}
	}
	return nil
}

// one makes a lookup.
func (l *lookups) one() error {
	sleeps, used := usage()
	start := time.Now()
	if l.n++; l.n%8 == 0 {
		if _, err := l.maps.get(stats, l.dev, 0); err != nil {
			return fmt.Errorf("lookup of statistics: %w", err)
		}
	} else {
		st, err := l.maps.get(prog, l.dev, family.QueueAll)
		if err != nil || st.prog != l.want {
			return fmt.Errorf("lookup: got %+v, %w, want program %d", st, err, l.want)
		}
	}
	took := time.Since(start)
	sleepsAfter, usedAfter := usage()
	if sleepsAfter > sleeps {
		l.slept++
	}
	if took > slow {
		l.slow++
		l.wall += took
		l.cpu += usedAfter - used
	}
	return nil
}

func (l *lookups) report(t *testing.T) {
	t.Helper()
	t.Logf("%d lookups, %d slept, %d were slow: %v with %v of processor time", l.n, l.slept, l.slow, l.wall, l.cpu)
	if l.slow > 3 && l.cpu > l.wall*3/4 {
		t.Error("who waits for RTNL spins")
	}
	if l.slept == 0 {
		t.Error("RTNL was never busy")
	}
}

// usage is how often the calling thread went to sleep, and how long it ran.
func usage() (sleeps int64, ran time.Duration) {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &ru); err != nil {
		return 0, 0
	}
	return ru.Nvcsw, time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}
