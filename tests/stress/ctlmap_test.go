// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// owner is a thread that has a netdev for itself. So it knows what is attached
// and what must come of every update, however often the map that it works
// through is taken away.
type owner struct {
	*world
	tally *tally
	dev   uint32
	check *nlDoor
	has   *testutil.Prog // what is attached, or nil
	n     int
	gone  []unix.Errno // what a map that is gone says
}

// errors of a descriptor that was closed, and that may mean something else by
// now: nothing at all, no map, or a map of a type that cannot be changed.
var closedErrnos = []unix.Errno{unix.EBADF, unix.EINVAL, unix.EOPNOTSUPP}

// step makes one change through the map fd, and compares.
func (o *owner) step(fd int) error {
	o.n++
	d := &mapDoor{fd: map[*table]int{prog: fd}}
	var err error
	var want unix.Errno
	what, after := "", o.has
	switch o.n % 5 {
	case 0, 1:
		what, after = "replace or add", o.pass
		err = d.set(o.dev, change{prog: o.pass})
	case 2:
		what, after = "replace", o.drop
		if o.has == nil {
			want = unix.ENOENT
		}
		err = d.set(o.dev, change{prog: o.drop, how: family.UpdateExist})
	case 3:
		what, after = "add", o.drop
		if o.has != nil {
			want = unix.EEXIST
		}
		err = d.set(o.dev, change{prog: o.drop, how: family.UpdateNoexist})
	case 4:
		what, after = "delete", nil
		if o.has == nil {
			want = unix.ENOENT
		}
		err = d.del(o.dev)
	}
	return o.judge(what, err, want, after)
}

// judge compares the result of a change that was to come to want, and what is
// attached, with what is known.
func (o *owner) judge(what string, err error, want unix.Errno, after *testutil.Prog) error {
	if err := o.tally.check(what, err, append(o.gone, unix.ENOENT, unix.EEXIST)...); err != nil {
		return err
	}
	errno, _ := err.(unix.Errno)
	for _, e := range o.gone {
		if errno == e {
			pause(2 * time.Millisecond)
			return o.compare(what)
		}
	}
	if errno != want {
		return fmt.Errorf("%s on netdev %d: got %v, want %v", what, o.dev, err, want)
	}
	if errno == 0 {
		o.has = after
	}
	return o.compare(what)
}

// compare looks through the netlink door whether what should be attached is.
func (o *owner) compare(what string) error {
	var want uint32
	if o.has != nil {
		want = o.has.ID
	}
	got, err := o.check.get(prog, o.dev, family.QueueAll)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if got.prog != want {
		return fmt.Errorf("after %s netdev %d has program %d, want %d", what, o.dev, got.prog, want)
	}
	return nil
}

// owners are n threads, each with a netdev, that get the map to work through
// from fd.
func owners(w *world, c *crew, y *tally, n int, fd func() int, gone []unix.Errno) {
	for i := range n {
		dev := w.ns.AddDummy(fmt.Sprintf("dummy%d", i))
		if i%2 == 0 {
			dev, _ = w.ns.AddVeth(fmt.Sprintf("veth%d", i), fmt.Sprintf("peer%d", i), testutil.VethOptions{})
		}
		o := &owner{world: w, tally: y, dev: uint32(dev), check: w.netlink(), n: i, gone: gone}
		c.loop(w.ns, func() error { return o.step(fd()) })
	}
}

// unchanging are the tables that refuse every change. One that does not would
// take what an owner means for prog.
var unchanging = []*table{stats, qstats, caps}

// TestMapCreateDestroy makes and closes control maps while eight threads
// update through them.
func TestMapCreateDestroy(t *testing.T) {
	stress(t, func(t *testing.T) {
		y := newTally()
		w := newWorld(t)
		c := newCrew(t)
		defer c.halt()
		var fd atomic.Int32
		fd.Store(-1)
		owners(w, c, y, 8, func() int { return int(fd.Load()) }, closedErrnos)
		done := c.times(rounds(t, 30), func(i int) {
			tb := prog
			if i%8 == 7 {
				tb = unchanging[i/8%len(unchanging)]
			}
			f, err := w.createMap(tb)
			if err != nil {
				t.Fatal(err)
			}
			fd.Store(int32(f))
			window(10 * time.Millisecond)
			unix.Close(f)
			pause(time.Millisecond)
		})
		c.halt()
		y.report(t, done, "replace or add: ok", "replace or add: EBADF", "add: ok", "add: EBADF",
			"replace: ok", "delete: ok", "delete: EBADF")
	})
}

// current are the control maps in use. They are closed when nobody can have
// them any more.
type current struct {
	maps atomic.Pointer[mapDoor]
	ctl  atomic.Int32 // ifindex of the control device
}

// reader walks over the maps, and makes maps, while the control device comes
// and goes.
func (cur *current) reader(y *tally) func() error {
	n := 0
	return func() error {
		n++
		d := cur.maps.Load()
		tb := tables[n%len(tables)]
		list, _, err := d.walk(tb)
		if err := y.check("iterate", err, unix.ENODEV); err != nil {
			return err
		}
		if err != nil {
			pause(time.Millisecond)
		}
		if err := checkOrder(list); err != nil {
			return err
		}
		var info testutil.MapInfo
		err = testutil.ObjInfo(d.fd[tb], unsafe.Pointer(&info), unsafe.Sizeof(info))
		if err := y.check("map info", err, unix.ENODEV); err != nil {
			return err
		}
		fd, err := createMap(tb, int(cur.ctl.Load()))
		if err == nil {
			unix.Close(fd)
		}
		return y.check("create", err, unix.EINVAL)
	}
}

// TestControlDevice deletes and makes the control device while its maps are in
// use. What they attached stays.
func TestControlDevice(t *testing.T) {
	stress(t, func(t *testing.T) {
		y := newTally()
		w := newWorld(t)
		c := newCrew(t)
		cur := &current{}
		cur.maps.Store(w.maps())
		cur.ctl.Store(int32(w.ctl))
		var old []*mapDoor
		t.Cleanup(func() {
			for _, d := range old {
				d.close()
			}
		})
		defer c.halt()
		fd := func() int { return cur.maps.Load().fd[prog] }
		owners(w, c, y, 3, fd, []unix.Errno{unix.ENODEV})
		c.loop(w.ns, cur.reader(y))
		done := c.times(rounds(t, 12), func(i int) {
			window(30 * time.Millisecond)
			w.ns.Del(ctlName)
			if err := w.ns.NewLink(ctlName, "xdpctl", nil); err != nil {
				t.Fatal(err)
			}
			ctl := w.ns.Index(ctlName)
			d, err := w.openMaps(ctl)
			if err != nil {
				t.Fatal(err)
			}
			// The maps before the last ones are dead for long, but a
			// thread may still be about to use their numbers.
			if old = append(old, d); len(old) > 20 {
				old[0].close()
				old = old[1:]
			}
			cur.maps.Store(d)
			cur.ctl.Store(int32(ctl))
		})
		c.halt()
		y.report(t, done, "iterate: ok", "iterate: ENODEV", "create: ok", "create: EINVAL",
			"replace or add: ok", "replace or add: ENODEV", "delete: ok", "delete: ENODEV")
	})
}
