// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// drvCache is the layouts of the counters of drivers, by netdev: strings are asked
// for once, and again when the number of counters or queues changes.
type drvCache struct {
	mu sync.Mutex
	m  map[deviceID]*drvEntry
}

// drvEntry is what is kept of a netdev.
type drvEntry struct {
	nData  int
	rx, tx uint32
	layout layout // empty: nothing that is known

	drop, redirect uint64 // highest that were derived
}

// maxCached is how many netdevs the cache has: in most processes, all of them.
const maxCached = 8192

// entry returns what is kept of a netdev, nothing if it is new.
func (c *drvCache) entry(id deviceID) *drvEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.m[id]; e != nil {
		return e
	}
	if c.m == nil || len(c.m) >= maxCached {
		c.m = make(map[deviceID]*drvEntry)
	}
	e := &drvEntry{nData: -1}
	c.m[id] = e
	return e
}

// look is a look at a netdev that has counters.
type look struct {
	c      *Control
	dev    *netdev
	dir    *devDir // nil if sysfs may not be mounted
	drv    *driver // nil: not in the table
	rx, tx uint32  // queues in use; 0 if not known

	entry  *drvEntry
	layout layout   // what data is
	data   []uint64 // the driver's numbers; nil: none that are known
	exc    *exceptions
	seen   traceLook
}

// lookAt reads what a netdev is. It is to be closed.
func (c *Control) lookAt(d *netdev) (*look, error) {
	l := &look{c: c, dev: d}
	var err error
	l.dir, err = c.devDir(d)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		l.dir, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := l.identify(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// identify finds the driver and its queues.
func (l *look) identify() error {
	parent, err := l.dev.parentDriver(l.dir)
	if err != nil {
		return err
	}
	l.drv = findDriver(parent)
	l.rx, l.tx, err = l.queues()
	if l.dir != nil {
		l.entry = l.c.drv.entry(l.dir.id)
	} else {
		l.entry = &drvEntry{nData: -1}
	}
	return err
}

func (l *look) close() {
	if l.dir != nil {
		l.dir.Close()
	}
}

// queues counts the queues in use; 0 if there is no telling.
func (l *look) queues() (rx, tx uint32, err error) {
	if l.dev.maxRX <= 1 && l.dev.maxTX <= 1 {
		return l.dev.maxRX, l.dev.maxTX, nil
	}
	if l.dir == nil {
		return 0, 0, nil
	}
	rx, tx, err = countQueues(l.dir.File)
	if isGone(err) {
		return 0, 0, noNetdev()
	}
	return rx, tx, err
}

// read reads the driver's counters, and then the exceptions: what the driver has
// counted has been traced before that. A driver's refusal is no error: what it
// does not tell is absent. To have no memory to ask it is one.
func (l *look) read() error {
	if l.drv != nil && l.drv.counters != nil {
		err := l.readDriver()
		switch {
		case errors.Is(err, unix.ENOMEM):
			return err
		case err != nil:
			l.data = nil
		}
	}
	return l.readExceptions()
}

// readDriver reads the counters of the driver and, if need be, what they are.
func (l *look) readDriver() error {
	eth, err := l.c.ethtool()
	if err != nil {
		return err
	}
	for range 10 {
		data, err := eth.Counters(l.dev.index, nil)
		if err != nil {
			return err
		}
		if l.layoutFor(len(data)) {
			if len(l.layout.slots) > 0 {
				l.data = data
			}
			return nil
		}
		if err := l.readLayout(); err != nil {
			return err
		}
	}
	return unix.EAGAIN
}

// layoutFor takes the layout that is kept of the netdev, if it is one of n
// counters and of the queues that are in use.
func (l *look) layoutFor(n int) bool {
	l.c.drv.mu.Lock()
	defer l.c.drv.mu.Unlock()
	e := l.entry
	if e.nData != n || e.rx != l.rx || e.tx != l.tx {
		return false
	}
	l.layout = e.layout
	return true
}

// readLayout reads what the counters of the driver are, and keeps it. A netdev of
// another driver on the same parent has none that are known.
func (l *look) readLayout() error {
	eth, err := l.c.ethtool()
	if err != nil {
		return err
	}
	info, err := eth.DrvInfo(l.dev.index)
	if err != nil {
		return err
	}
	b, err := eth.Strings(l.dev.index)
	if err != nil {
		return err
	}
	strs := splitStrings(b)
	var lay layout
	if info.Driver == l.drv.name {
		lay = parseLayout(l.drv, strs)
	}
	l.c.drv.mu.Lock()
	defer l.c.drv.mu.Unlock()
	e := l.entry
	e.nData, e.rx, e.tx, e.layout = len(strs), l.rx, l.tx, lay
	return nil
}

// counts sums up the driver's counters of a queue or of all, with what follows
// from them.
func (l *look) counts(queue uint32) counts {
	if l.data == nil {
		return counts{}
	}
	c := l.layout.sum(l.data, queue)
	if c.have == 0 {
		return c
	}
	if l.drv.derive != nil {
		w := l.witness()
		if queue != noQueue {
			dev := l.layout.sum(l.data, noQueue)
			w.dev = &dev
		}
		l.drv.derive(&c, &w)
		if w.dev == nil || w.oneQueue {
			l.keepRising(&c, rawDrop, &l.entry.drop)
			l.keepRising(&c, rawRedirect, &l.entry.redirect)
		}
	}
	if l.dev.xdp.generic != 0 {
		// A driver knows nothing of what a generic program does, but
		// what it sends.
		c.have &= bit(rawXmitPackets) | bit(rawXmitBytes) | bit(rawXmitErrors) | bit(rawXmitFull)
	}
	return c
}

// keepRising sees to it that a counter that may be read too low does not go back
// for it.
func (l *look) keepRising(c *counts, r raw, top *uint64) {
	if c.lower&bit(r) == 0 {
		return
	}
	l.c.drv.mu.Lock()
	defer l.c.drv.mu.Unlock()
	*top = max(*top, c.n[r])
	c.n[r] = *top
}

// witness is what may be derived from.
//
// That every frame of a veth has met a program cannot be known here: it takes
// somebody who looks whenever GRO is turned on or a program is taken away. So its
// packets and pass are left to the meter.
func (l *look) witness() witness {
	return witness{
		exc:      l.exc,
		all:      l.allExceptions(),
		redirect: true,
		oneQueue: l.dev.maxRX == 1,
	}
}

// allExceptions tells whether the exceptions are all since the counters of the
// driver were 0.
func (l *look) allExceptions() bool {
	w := l.seen.witnessed
	if w == nil || l.exc == nil || l.rx == 0 {
		return false
	}
	if l.drv.flags&driverSleepResets != 0 && !sameSleep(w.Asleep, timeAsleep()) {
		return false
	}
	// Queues that came later need not have been at 0, and drivers do not
	// show queues that are out of use.
	return l.rx <= w.RXQueues && l.rx >= l.seen.rxQueues
}

// timeAsleep is how long the machine has slept, in ns. It is read by two clocks,
// one after the other.
func timeAsleep() uint64 {
	least := ^uint64(0)
	for range 3 {
		var mono, boot unix.Timespec
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
			return 0
		}
		least = min(least, uint64(boot.Nano()-mono.Nano()))
	}
	return least
}

func sameSleep(a, b uint64) bool {
	const tick = uint64(10 * time.Millisecond)
	return max(a, b)-min(a, b) < tick
}

// nQueues is how many RX queues have counters of the driver. Before the first look
// at them that is a guess, which a lookup puts right.
func (l *look) nQueues() uint32 {
	if l.drv == nil || l.drv.counters == nil {
		return 0
	}
	l.c.drv.mu.Lock()
	defer l.c.drv.mu.Unlock()
	if l.entry.nData >= 0 && l.entry.rx == l.rx {
		return l.entry.layout.nQueues
	}
	if slices.ContainsFunc(l.drv.counters, func(c counter) bool { return c.flags&counterRXQ != 0 }) {
		return l.rx
	}
	return 0
}
