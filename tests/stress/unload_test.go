// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// unloading is a namespace in which the module is used while it comes and goes.
type unloading struct {
	*testing.T
	ns         *testutil.NetNS
	tally      *tally
	pass, drop *testutil.Prog
	dev, dev2  uint32 // netdevs that have a program at times
	calm       uint32 // a netdev that never has one
	held       uint32 // a netdev for everything else
}

// kernelDoor is the netlink door through a socket that outlives the module,
// whose family has another number each time.
type kernelDoor struct {
	nlDoor
	ctrl *testutil.Genl
}

// find asks for the number of the family. Done is false as long as there is
// none.
func (d *kernelDoor) find() (done bool, err error) {
	name := testutil.Attr(unix.CTRL_ATTR_FAMILY_NAME, append([]byte(family.FamilyName), 0))
	a, err := d.ctrl.TryRaw(d.ctrl.Message(unix.CTRL_CMD_GETFAMILY, 0, name))
	switch err := result(a, err); {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, err
	}
	id := testutil.Attrs(a.Msgs[0].Attrs)[unix.CTRL_ATTR_FAMILY_ID]
	d.g.Family = uint16(id[0]) | uint16(id[1])<<8
	return true, nil
}

func (u *unloading) netlink() *kernelDoor {
	u.Helper()
	return &kernelDoor{nlDoor{u.ns.NewGenl(u.T, family.FamilyName)}, u.ns.NewGenl(u.T, "nlctrl")}
}

// goneErrnos are what the netlink door may say while the module is going: that
// there is no such family, and of a dump that it cannot be begun.
var goneErrnos = []unix.Errno{unix.ENOENT, unix.EPROTONOSUPPORT}

// gone sorts out that the family is not there, or has another number.
func (d *kernelDoor) gone(err error) (bool, error) {
	errno, ok := err.(unix.Errno)
	if !ok || !slices.Contains(goneErrnos, errno) {
		return false, nil
	}
	pause(5 * time.Millisecond)
	_, err = d.find()
	return true, err
}

// reader gets and dumps over netlink.
func (u *unloading) reader(d *kernelDoor) func() error {
	n := 0
	return func() error {
		n++
		tb := tables[n%len(tables)]
		if tb == stats || tb == caps { // which every netdev has
			_, err := d.get(tb, u.calm, 0)
			if err := u.tally.check("netlink get", err, goneErrnos...); err != nil {
				return err
			}
		}
		list, _, err := d.walk(tb)
		if err := u.tally.check("netlink dump", err, goneErrnos...); err != nil {
			return err
		}
		if err == nil {
			pause(10 * time.Millisecond)
			return checkOrder(list)
		}
		_, err = d.gone(err)
		return err
	}
}

// attacher attaches and detaches over netlink, and counts whether the module
// could be unloaded between.
func (u *unloading) attacher(d *kernelDoor) func() error {
	return func() error {
		err := d.set(u.dev, change{prog: u.pass, how: family.UpdateNoexist})
		if err := u.tally.check("netlink attach", err, unix.ENOENT, unix.ENODEV); err != nil {
			return err
		}
		if err != nil {
			pause(5 * time.Millisecond)
			_, err := d.gone(err)
			return err
		}
		pause(3 * time.Millisecond)
		// What is attached holds the module, so the family is there.
		err = d.del(u.dev)
		if err := u.tally.check("netlink detach", err); err != nil {
			return err
		}
		pause(80 * time.Millisecond)
		return nil
	}
}

// mapper makes control maps on whatever control device there is, and uses them
// until they are dead.
func (u *unloading) mapper() error {
	l, err := u.ns.Link(ctlName)
	if err != nil {
		if err := u.ns.NewLink(ctlName, "xdpctl", nil); err != nil {
			u.tally.add("control device", "refused")
			pause(5 * time.Millisecond)
			return nil
		}
		u.tally.add("control device", "ok")
		return nil
	}
	tb := tables[l.Index%len(tables)]
	fd, err := createMap(tb, l.Index)
	if err := u.tally.check("map create", err, unix.EINVAL); err != nil || fd < 0 {
		return err
	}
	d := &mapDoor{fd: map[*table]int{tb: fd}}
	defer d.close()
	for range 20 {
		list, _, err := d.walk(tb)
		if err := u.tally.check("map iterate", err, unix.ENODEV); err != nil {
			return err
		}
		if err != nil {
			return d.dying(tb, u.calm)
		}
		if err := checkOrder(list); err != nil {
			return err
		}
	}
	return nil
}

// dying is called when a map has said for the first time that its device is
// gone, which a lookup may do as soon as the module begins to go.
func (d *mapDoor) dying(tb *table, ifindex uint32) error {
	var err error
	for end := time.Now().Add(deferred); time.Now().Before(end); pause(time.Millisecond) {
		if err = d.dead(tb, ifindex); err == nil {
			return nil
		}
	}
	return err
}

// dead makes sure that a map whose device is gone says so to everything.
func (d *mapDoor) dead(tb *table, ifindex uint32) error {
	key, buf := mapKey(ifindex, family.QueueAll), make([]byte, valueMax)
	for what, err := range map[string]error{
		"lookup":       testutil.LookupElem(d.fd[tb], key, buf, 0),
		"update":       testutil.UpdateElem(d.fd[tb], key, buf, 0),
		"delete":       testutil.DeleteElem(d.fd[tb], key),
		"get_next_key": testutil.NextKey(d.fd[tb], nil, buf),
	} {
		if !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("%s on a dead %s: got %v, want %v", what, tb.name, err, unix.ENODEV)
		}
	}
	return nil
}

// updater changes programs through a map, on a netdev of its own.
func (u *unloading) updater() error {
	l, err := u.ns.Link(ctlName)
	if err != nil {
		return nil
	}
	fd, err := createMap(prog, l.Index)
	if err := u.tally.check("map create", err, unix.EINVAL); err != nil || fd < 0 {
		return err
	}
	d := &mapDoor{fd: map[*table]int{prog: fd}}
	defer d.close()
	err = d.set(u.dev2, change{prog: u.drop, how: family.UpdateNoexist})
	if err := u.tally.check("map attach", err, unix.ENODEV); err != nil {
		return err
	}
	if err != nil {
		return nil
	}
	// What is attached holds the module, so the map is there.
	st, err := d.get(prog, u.dev2, family.QueueAll)
	if err != nil || st.prog != u.drop.ID {
		return fmt.Errorf("get through the map after an attach: %+v, %v", st, err)
	}
	pause(3 * time.Millisecond)
	if err := u.tally.check("map detach", d.del(u.dev2)); err != nil {
		return err
	}
	pause(80 * time.Millisecond)
	return nil
}

// holders are what else holds the module, each with what sets it and undoes it.
func (u *unloading) holders() map[string][2]func(d *kernelDoor) error {
	h := make(map[string][2]func(d *kernelDoor) error)
	for _, s := range settings() {
		h[s.name] = [2]func(d *kernelDoor) error{
			func(d *kernelDoor) error { return s.turn(d, u.held, 1) },
			func(d *kernelDoor) error { return s.turn(d, u.held, 0) },
		}
	}
	h["queue"] = [2]func(d *kernelDoor) error{
		func(d *kernelDoor) error { return queueSet(d, u.held, 0, family.UpdateNoexist, u.pass) },
		func(d *kernelDoor) error { return d.drop(prog, key{u.held, 0}) },
	}
	h["port"] = [2]func(d *kernelDoor) error{
		func(d *kernelDoor) error { return bindPort(d, 3, u.held, family.UpdateNoexist) },
		func(d *kernelDoor) error { return d.drop(port, key{3}) },
	}
	return h
}

// holder sets one thing after the other and undoes it. Meanwhile the module
// cannot be unloaded.
func (u *unloading) holder(d *kernelDoor) func() error {
	holders, n := u.holders(), 0
	names := slices.Sorted(maps.Keys(holders))
	return func() error {
		n++
		name := names[n%len(names)]
		err := holders[name][0](d)
		if err := u.tally.check("hold by "+name, err, append(goneErrnos, unix.ENODEV)...); err != nil {
			return err
		}
		if err != nil {
			pause(5 * time.Millisecond)
			_, err := d.gone(err)
			return err
		}
		if err := testutil.TryUnloadModule(); !errors.Is(err, unix.EAGAIN) {
			return fmt.Errorf("unload the module while it is held by %s: %w", name, err)
		}
		if err := holders[name][1](d); err != nil {
			return fmt.Errorf("undo %s of a module that is held: %w", name, err)
		}
		pause(100 * time.Millisecond)
		return nil
	}
}

// withoutModprobe keeps the kernel from loading modules by itself, which costs
// a process each time that somebody asks for the module.
func withoutModprobe(t *testing.T) {
	const path = "/proc/sys/kernel/modprobe"
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(path, old, 0) })
}

// unload tries until it has caught a moment at which nobody holds the module.
func (u *unloading) unload(unloaded *atomic.Bool) {
	u.Helper()
	for end := time.Now().Add(deferred); ; pause(time.Millisecond) {
		err := testutil.TryUnloadModule()
		if err := u.tally.check("rmmod", err, unix.EAGAIN); err != nil {
			u.Fatal(err)
		}
		if err == nil {
			unloaded.Store(true)
			return
		}
		if time.Now().After(end) {
			u.Fatalf("the module was not free for a moment in %v", deferred)
		}
	}
}

// TestUnload unloads the module while it is in use in every way.
func TestUnload(t *testing.T) {
	stress(t, func(t *testing.T) {
		u := &unloading{
			T: t, ns: testutil.NewNetNS(t), tally: newTally(),
			pass: testutil.NewXDP(t, "pass", 2), drop: testutil.NewXDP(t, "drop", 1),
		}
		withoutModprobe(t)
		dev, dev2 := u.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
		u.dev, u.dev2, u.calm = uint32(dev), uint32(dev2), uint32(u.ns.AddDummy("dummy0"))
		held, _ := u.ns.AddVeth("veth2", "veth3", testutil.VethOptions{})
		u.held = uint32(held)
		fixed := u.ns.AddControl(ctlName)
		var before *mapDoor
		var err error
		u.ns.Do(func() { before, err = openMaps(fixed) })
		if err != nil {
			t.Fatal(err)
		}
		defer before.close()
		c := newCrew(t)
		defer c.halt()
		var unloaded atomic.Bool
		c.loop(u.ns, u.reader(u.netlink()))
		c.loop(u.ns, u.reader(u.netlink()))
		c.loop(u.ns, u.attacher(u.netlink()))
		c.loop(u.ns, u.holder(u.netlink()))
		c.loop(u.ns, func() error {
			dead := unloaded.Load()
			_, _, err := before.walk(caps)
			if err := u.tally.check("old map", err, unix.ENODEV); err != nil {
				return err
			}
			if err == nil && dead {
				return errors.New("a map that was made before the module went works again")
			}
			if err != nil {
				pause(10 * time.Millisecond)
			}
			return nil
		})
		c.loop(u.ns, u.mapper)
		c.loop(u.ns, u.updater)
		done := c.times(rounds(t, 6), func(i int) {
			u.unload(&unloaded)
			pause(10 * time.Millisecond)
			if err := testutil.LoadModule(); err != nil {
				t.Fatal(err)
			}
			pause(20 * time.Millisecond)
		})
		c.halt()
		u.tally.report(t, done, "rmmod: ok", "rmmod: EAGAIN", "netlink get: ok", "netlink get: ENOENT",
			"netlink dump: ok", "netlink dump: ENOENT", "netlink attach: ok", "netlink attach: ENOENT",
			"map create: ok", "map attach: ok", "map iterate: ok", "map iterate: ENODEV", "old map: ENODEV", "control device: ok",
			"hold by redirect: ok", "hold by meter: ok", "hold by queue: ok", "hold by port: ok")
		for tb := range before.fd {
			if !unloaded.Load() {
				break
			}
			if err := before.dead(tb, u.calm); err != nil {
				t.Error(err)
			}
		}
	})
}
