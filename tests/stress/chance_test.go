// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// makeItFail has allocations of the calling thread fail at the probability of
// failslab, until the thread ends.
func makeItFail() error {
	return os.WriteFile("/proc/thread-self/make-it-fail", []byte("1"), 0)
}

// chance is a namespace in which everybody's allocations may fail.
type chance struct {
	*world
	dev   uint32
	dev2  uint32 // for what is no program of a whole netdev
	genl  uint16
	tally *tally
}

// may counts the outcome of an operation that may also fail for want of
// memory.
func (ch *chance) may(what string, err error, errnos ...unix.Errno) error {
	if errors.Is(lost(err), errLost) {
		ch.tally.add(what, "answer lost")
		return nil
	}
	return ch.tally.check(what, err, append(errnos, clean...)...)
}

// changer changes and reads programs through a door that it opens anew each
// time.
func (ch *chance) changer(name string, open func() (door, func(), error)) func() error {
	n := 0
	return func() error {
		n++
		via, done, err := open()
		if err != nil {
			return ch.may(name+" open", err, unix.ENFILE) // a socket says that
		}
		defer done()
		p := []*testutil.Prog{ch.pass, ch.drop}[n%2]
		if err := ch.may(name+" attach", via.set(ch.dev, change{prog: p})); err != nil {
			return err
		}
		if err := ch.walk(name+" walk", via); err != nil {
			return err
		}
		st, err := via.get(prog, ch.dev, family.QueueAll)
		if err == nil && (st.owner != family.OwnerModule || !slices.Contains([]uint32{ch.pass.ID, ch.drop.ID}, st.prog)) {
			return fmt.Errorf("get: unknown attachment %+v", st)
		}
		if err := ch.may(name+" get", err, unix.ENOENT); err != nil {
			return err
		}
		if err := ch.may(name+" detach", via.del(ch.dev), unix.ENOENT); err != nil {
			return err
		}
		return ch.others(name, via, n)
	}
}

// walk lists everything. It ends with a dump that failed for want of memory:
// the core goes on with that, and would call the socket busy.
func (ch *chance) walk(what string, via door) error {
	for _, tb := range tables {
		list, _, err := via.walk(tb)
		if err := ch.may(what, err); err != nil {
			return err
		}
		if err != nil {
			return nil
		}
		if err := checkOrder(list); err != nil {
			return fmt.Errorf("%s of %s: %w in %+v", what, tb.name, err, list)
		}
	}
	return nil
}

// others changes one of everything else on a netdev of its own, and undoes it.
func (ch *chance) others(name string, via door, n int) error {
	list := settings()
	switch i := n % (len(list) + 2); i {
	case len(list):
		if err := ch.may(name+" queue", queueSet(via, ch.dev2, 0, family.UpdateAny, ch.other)); err != nil {
			return err
		}
		return ch.may(name+" delete queue", via.drop(prog, key{ch.dev2, 0}), unix.ENOENT)
	case len(list) + 1:
		// The other door may have given the netdev its port.
		number := uint32(len(name))
		if err := ch.may(name+" port", bindPort(via, number, ch.dev2, family.UpdateAny), unix.EBUSY); err != nil {
			return err
		}
		return ch.may(name+" free port", via.drop(port, key{number}), unix.ENOENT)
	default:
		// GRO of the peer of a veth fails with no more than that.
		if err := ch.may(name+" "+list[i].name, list[i].turn(via, ch.dev2, 1), unix.EOPNOTSUPP); err != nil {
			return err
		}
		return ch.may(name+" "+list[i].name+" off", list[i].turn(via, ch.dev2, 0))
	}
}

func (ch *chance) netlinkDoor() (door, func(), error) {
	g, err := testutil.DialGenl(ch.T, ch.genl)
	if err != nil {
		return nil, nil, err
	}
	return &nlDoor{g}, func() { g.Close() }, nil
}

func (ch *chance) mapsDoor() (door, func(), error) {
	d, err := openMaps(ch.ctl)
	if err != nil {
		return nil, nil, err
	}
	return d, d.close, nil
}

// made is the netdev that comes and goes.
const made = "made"

// maker makes a netdev with a program and deletes it. It does not move it: the
// core warns of its own accord if it has no memory in the middle of that.
func (ch *chance) maker() error {
	// The core calls a want of memory many things.
	ch.may("add netdev", ch.ns.NewLink(made, "dummy", nil))
	if l, err := ch.ns.Link(made); err == nil {
		if via, done, err := ch.netlinkDoor(); err == nil {
			err := ch.may("attach to it", via.set(uint32(l.Index), change{prog: ch.pass}), unix.ENODEV)
			done()
			if err != nil {
				return err
			}
		}
	}
	ch.ns.DelLink(made)
	return nil
}

// TestFaultsRace lets allocations fail at random while several threads change
// programs and netdevs.
func TestFaultsRace(t *testing.T) {
	stress(t, func(t *testing.T) {
		if !enableFaults(t) {
			return
		}
		w := newWorld(t).withBTF()
		judge := w.judge()
		refs := moduleRefs(t)
		ch := &chance{world: w, dev: w.veth("veth"), dev2: w.veth("second"), genl: judge.g.Family, tally: newTally()}
		setFault(t, "failslab/task-filter", "Y")
		setFault(t, "failslab/times", "-1")
		setFault(t, "failslab/probability", "2")
		c := newCrew(t)
		defer c.halt()
		failing := func(ns *testutil.NetNS, fn func() error) {
			c.run(ns, func() error {
				if err := makeItFail(); err != nil {
					return err
				}
				for !c.stop.Load() {
					if err := fn(); err != nil {
						return err
					}
				}
				return nil
			})
		}
		failing(w.ns, ch.changer("netlink", ch.netlinkDoor))
		failing(w.ns, ch.changer("map", ch.mapsDoor))
		failing(w.ns, ch.maker)
		done := c.times(rounds(t, 30), func(int) { time.Sleep(200 * time.Millisecond) })
		c.halt()
		ch.tally.report(t, done, "netlink attach: ok", "netlink attach: ENOMEM", "map attach: ok", "map attach: ENOMEM",
			"netlink detach: ok", "map detach: ok", "netlink walk: ok", "map walk: ok",
			"netlink meter: ok", "map meter: ok", "netlink queue: ok", "map queue: ok", "netlink port: ok", "map port: ok")
		setFault(t, "failslab/probability", "0")
		if err := w.indexed(judge); err != nil {
			t.Error(err)
		}
		ch.after(judge)
		references(t, refs)
	})
}

// after changes things once more, and undoes what could not be for want of memory.
func (ch *chance) after(judge *judge) {
	ch.Helper()
	if err := judge.set(ch.dev, change{prog: ch.pass}); err != nil {
		ch.Errorf("attach after all: %v", err)
	}
	if err := judge.del(ch.dev); err != nil {
		ch.Errorf("detach after all: %v", err)
	}
	if err := ch.ns.DelLink(made); err != nil && !errors.Is(err, unix.ENODEV) {
		ch.Error(err)
	}
	if err := judge.drop(attr, key{ch.dev2}); err != nil {
		ch.Errorf("delete settings after all: %v", err)
	}
	for tb, k := range map[*table][]key{prog: {{ch.dev2, 0}}, port: {{uint32(len("netlink"))}, {uint32(len("map"))}}} {
		for _, k := range k {
			if err := gone(judge.drop(tb, k)); err != nil {
				ch.Errorf("delete %s %v after all: %v", tb.name, k, err)
			}
		}
	}
}
