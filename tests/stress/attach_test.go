// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// duel is two attachers that make a change at the same time, of which one must
// win.
type duel struct {
	*world
	dev   uint32
	judge *judge
	tally *tally
}

// contest describes one kind of duel. Base is attached before, if not nil.
type contest struct {
	name string
	dev  uint32
	base *testutil.Prog
	how  family.Update
}

// fight lets both doors make their changes n times at once, and says who won
// and what the others were told.
func (d *duel) fight(n int, k contest, left, right door) int {
	d.dev = k.dev
	changes := []change{
		{prog: d.drop, how: k.how},
		{prog: d.other, how: k.how},
	}
	if k.base != nil {
		for i := range changes {
			changes[i].expect = k.base.ID
		}
	}
	errs := make([]error, 2)
	start, end := &line{n: 3}, &line{n: 3}
	c := newCrew(d.T)
	for i, via := range []door{left, right} {
		c.run(d.ns, func() error {
			for {
				start.wait()
				if c.stop.Load() {
					return nil
				}
				pause(100 * time.Microsecond)
				errs[i] = via.set(d.dev, changes[i])
				end.wait()
			}
		})
	}
	done := c.times(n, func(int) {
		d.reset(k.base)
		start.wait()
		end.wait()
		d.verdict(k, changes, errs)
	})
	c.stop.Store(true)
	start.wait()
	c.halt()
	return done
}

// reset brings the netdev to where a duel begins.
func (d *duel) reset(base *testutil.Prog) {
	d.Helper()
	var err error
	if base != nil {
		err = d.judge.set(d.dev, change{prog: base})
	} else if err = d.judge.del(d.dev); errors.Is(err, unix.ENOENT) {
		err = nil
	}
	if err != nil {
		d.Fatal(err)
	}
}

// verdict makes sure that exactly one has won, and that it is the one whose
// program is attached.
func (d *duel) verdict(k contest, changes []change, errs []error) {
	d.Helper()
	st, err := d.judge.get(prog, d.dev, family.QueueAll)
	if err != nil {
		d.Errorf("%s: get afterwards: %v", k.name, err)
		return
	}
	winner := 0
	if errs[0] != nil {
		winner = 1
	}
	if errs[winner] != nil || !errors.Is(errs[1-winner], unix.EEXIST) {
		d.Errorf("%s: got %v and %v, want one success and one %v", k.name, errs[0], errs[1], unix.EEXIST)
		return
	}
	if st.prog != changes[winner].prog.ID || st.owner != family.OwnerModule {
		d.Errorf("%s: %+v is attached, but %d won", k.name, st, changes[winner].prog.ID)
	}
	d.tally.add(k.name, []string{"left won", "right won"}[winner])
}

// TestCompareAndSwap lets two attachers replace the same program, or add one
// where there is none: exactly one of them can.
func TestCompareAndSwap(t *testing.T) {
	stress(t, func(t *testing.T) {
		w := newWorld(t)
		d := &duel{world: w, judge: w.judge(), tally: newTally()}
		n, done := (rounds(t, 40)+3)/4, 0
		// An attach in native mode is slow, but a replace is not.
		native, generic := w.veth("veth"), uint32(w.ns.AddDummy("dummy"))
		var want []string
		for i, left := range doors {
			for _, right := range doors[i:] {
				for _, k := range []contest{
					{name: "swap", dev: native, base: w.pass, how: family.UpdateExist},
					{name: "add", dev: generic, how: family.UpdateNoexist},
				} {
					k.name += " " + left.name + "-" + right.name
					want = append(want, k.name+": left won", k.name+": right won")
					done = d.fight(n, k, left.open(w), right.open(w))
				}
			}
		}
		d.tally.report(t, done, want...)
	})
}

// brawl is everybody at one netdev: attachers and detachers through both
// doors, somebody who detaches the link by its id, and somebody who attaches
// over rtnetlink.
type brawl struct {
	*world
	dev   uint32
	tally *tally
}

// ours attaches and detaches through a door. EBUSY means that somebody else
// has the netdev, or has taken the link away while it was made.
func (b *brawl) ours(name string, via door) func() error {
	n := 0
	return func() error {
		n++
		switch n % 4 {
		case 0:
			return b.tally.check(name+" detach", via.del(b.dev), unix.ENOENT, unix.EBUSY)
		case 1:
			err := via.set(b.dev, change{prog: b.drop, how: family.UpdateExist})
			return b.tally.check(name+" replace", err, unix.ENOENT, unix.EBUSY)
		case 2:
			err := via.set(b.dev, change{prog: b.pass, how: family.UpdateNoexist})
			return b.tally.check(name+" add", err, unix.EEXIST, unix.EBUSY)
		default:
			return b.tally.check(name+" attach", via.set(b.dev, change{prog: b.pass}), unix.EBUSY)
		}
	}
}

// links detaches whatever link there is by its id.
func (b *brawl) links() error {
	for id, info := range testutil.XDPLinks(b.T) {
		if info.Ifindex != b.dev {
			continue
		}
		fd, err := testutil.LinkByID(id)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAGAIN) {
			continue // gone, or not yet there
		}
		if err != nil {
			return err
		}
		err = testutil.DetachLink(fd)
		unix.Close(fd)
		if err := b.tally.check("link detach", err); err != nil {
			return err
		}
	}
	pause(10 * time.Millisecond)
	return nil
}

// foreign attaches over rtnetlink when the netdev is free, and makes sure that
// nobody touches the program as long as it is there.
func (b *brawl) foreign() error {
	err := b.ns.SetXDP("veth", b.other.FD, unix.XDP_FLAGS_UPDATE_IF_NOEXIST|unix.XDP_FLAGS_DRV_MODE)
	if err := b.tally.check("rtnetlink attach", err, unix.EBUSY, unix.EEXIST); err != nil {
		return err
	}
	if err != nil {
		pause(2 * time.Millisecond)
		return nil
	}
	for end := time.Now().Add(5 * time.Millisecond); time.Now().Before(end); {
		l, err := b.ns.Link("veth")
		if err != nil {
			return err
		}
		if l.XDP.DrvProgID != b.other.ID || l.XDP.SkbProgID != 0 {
			return fmt.Errorf("a program attached over rtnetlink was clobbered: %+v", l.XDP)
		}
	}
	if err := b.ns.SetXDP("veth", -1, unix.XDP_FLAGS_DRV_MODE); err != nil {
		return fmt.Errorf("detach over rtnetlink what was attached over rtnetlink: %w", err)
	}
	pause(5 * time.Millisecond)
	return nil
}

// watcher makes sure that nothing is ever there that nobody attached.
func (b *brawl) watcher(via door) func() error {
	return func() error {
		st, err := via.get(prog, b.dev, family.QueueAll)
		if err != nil {
			return b.tally.check("get", err, unix.ENOENT)
		}
		want := family.OwnerModule
		switch st.prog {
		case b.pass.ID, b.drop.ID:
		case b.other.ID:
			want = family.OwnerNetlink
		default:
			return fmt.Errorf("get: unknown program in %+v", st)
		}
		if st.owner != want {
			return fmt.Errorf("get: got owner %v of %+v, want %v", st.owner, st, want)
		}
		b.tally.add("get", st.owner.String())
		return nil
	}
}

// TestBrawl lets attachers, detachers, bpftool link detach and ip link set xdp
// loose on one netdev.
func TestBrawl(t *testing.T) {
	stress(t, func(t *testing.T) {
		w := newWorld(t)
		b := &brawl{world: w, dev: w.veth("veth"), tally: newTally()}
		c := newCrew(t)
		defer c.halt()
		for _, door := range doors {
			c.loop(w.ns, b.ours(door.name, door.open(w)))
			c.loop(w.ns, b.watcher(door.open(w)))
		}
		c.loop(w.ns, b.links)
		c.loop(w.ns, b.foreign)
		done := c.times(rounds(t, 60), func(int) { window(40 * time.Millisecond) })
		c.halt()
		b.tally.report(t, done,
			"netlink attach: ok", "netlink attach: EBUSY", "map attach: ok", "map attach: EBUSY",
			"netlink add: ok", "netlink add: EEXIST", "netlink add: EBUSY",
			"map add: ok", "map add: EEXIST", "map add: EBUSY",
			"netlink replace: ok", "netlink replace: ENOENT", "netlink replace: EBUSY",
			"map replace: ok", "map replace: ENOENT", "map replace: EBUSY",
			"netlink detach: ok", "netlink detach: ENOENT", "netlink detach: EBUSY",
			"map detach: ok", "map detach: ENOENT", "map detach: EBUSY",
			"rtnetlink attach: ok", "rtnetlink attach: EBUSY", "link detach: ok",
			"get: module", "get: netlink", "get: ENOENT")
	})
}
