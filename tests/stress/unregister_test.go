// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// doomed is a netdev that is made and deleted again and again. Its ifindex is
// another one each time.
type doomed struct {
	*world
	tally *tally
	index atomic.Uint32
	stay  uint32 // ifindex of a netdev with a program that stays
}

// get reads entries of the doomed netdev.
func (d *doomed) get(name string, via door) func() error {
	n := 0
	return func() error {
		n++
		tb := tables[n%len(tables)]
		queue := uint32(0)
		if tb == prog {
			queue = family.QueueAll
		}
		_, err := via.get(tb, d.index.Load(), queue)
		if err != nil {
			pause(time.Millisecond)
		}
		return d.tally.check(name+" get", err, unix.ENOENT)
	}
}

// walk iterates over all control types.
func (d *doomed) walk(name string, via door) func() error {
	n := 0
	return func() error {
		n++
		tb := tables[n%len(tables)]
		list, intr, err := via.walk(tb)
		if err != nil {
			return fmt.Errorf("%s walk over %s: %w", name, tb.name, err)
		}
		if err := checkOrder(list); err != nil {
			return fmt.Errorf("%s walk over %s: %w", name, tb.name, err)
		}
		if _, ok := find(list, d.stay); !ok {
			return fmt.Errorf("%s walk over %s left out netdev %d, which was there all the time", name, tb.name, d.stay)
		}
		outcome := "without"
		if _, ok := find(list, d.index.Load()); ok {
			outcome = "with"
		}
		if intr {
			outcome += ", interrupted"
		}
		d.tally.add(name+" walk", outcome)
		return nil
	}
}

// attach attaches to the doomed netdev, and replaces what is there.
func (d *doomed) attach(name string, via door) func() error {
	n := 0
	return func() error {
		n++
		c := change{prog: d.pass}
		if n%2 == 0 {
			c.prog = d.drop
		}
		err := via.set(d.index.Load(), c)
		if err != nil {
			pause(2 * time.Millisecond)
		}
		return d.tally.check(name+" attach", err, unix.ENODEV)
	}
}

// TestUnregister deletes netdevs during gets, dumps, attaches and map
// iterations.
func TestUnregister(t *testing.T) {
	stress(t, func(t *testing.T) {
		d := &doomed{world: newWorld(t), tally: newTally()}
		d.stay = d.veth("stay")
		d.index.Store(d.veth("doomed"))
		d.ns.Del("doomed")
		if err := d.judge().set(d.stay, change{prog: d.pass}); err != nil {
			t.Fatal(err)
		}
		c := newCrew(t)
		defer c.halt()
		for _, door := range doors {
			c.loop(d.ns, d.get(door.name, door.open(d.world)))
			c.loop(d.ns, d.walk(door.name, door.open(d.world)))
			c.loop(d.ns, d.attach(door.name, door.open(d.world)))
		}
		done := c.times(rounds(t, 8), func(int) {
			d.index.Store(d.veth("doomed"))
			window(20 * time.Millisecond)
			d.ns.Del("doomed")
			pause(2 * time.Millisecond)
		})
		c.halt()
		d.tally.report(t, done,
			"netlink get: ok", "netlink get: ENOENT", "map get: ok", "map get: ENOENT",
			"netlink attach: ok", "netlink attach: ENODEV", "map attach: ok", "map attach: ENODEV",
			"netlink walk: with", "netlink walk: without", "netlink walk: without, interrupted",
			"map walk: with", "map walk: without")
	})
}
