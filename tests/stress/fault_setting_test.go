// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// settingFaults makes the subjects that change settings, programs of RX queues and
// ports of a netdev through one door.
type settingFaults struct {
	*world
	judge *judge
	via   door
	dev   uint32
}

// gone is a delete of an entry that need not be there.
func gone(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// all does one thing after the other.
func all(steps ...func() error) func() error {
	return func() error {
		for _, step := range steps {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	}
}

// turn and is are those of a setting, as steps.
func (f *settingFaults) turn(s *setting, on uint64) func() error {
	return func() error { return s.turn(f.judge, f.dev, on) }
}

func (f *settingFaults) is(s *setting, want uint64) func() error {
	return func() error { return s.is(f.judge, f.dev, want) }
}

// clear takes all settings, and all programs, away from the netdev.
func (f *settingFaults) clear() error {
	for _, queue := range []uint32{0, 1, family.QueueAll} {
		if err := gone(f.judge.drop(prog, key{f.dev, queue})); err != nil {
			return err
		}
	}
	return f.judge.drop(attr, key{f.dev})
}

func (f *settingFaults) put(queue uint32, p *testutil.Prog) func() error {
	return func() error { return queueSet(f.judge, f.dev, queue, family.UpdateAny, p) }
}

// has makes sure that a queue, or the netdev, has a program, or none if p is nil.
func (f *settingFaults) has(queue uint32, p *testutil.Prog) func() error {
	return func() error {
		v, err := f.judge.look(prog, key{f.dev, queue})
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
		var want uint64
		if p != nil {
			want = uint64(p.ID)
		}
		if v[family.AttrProgProgID] != want {
			return fmt.Errorf("queue %d has program %d, want %d", int32(queue), v[family.AttrProgProgID], want)
		}
		return nil
	}
}

// dispatched makes sure that there is a dispatcher, or not.
func (f *settingFaults) dispatched(want bool) func() error {
	return func() error {
		v, err := f.judge.look(prog, key{f.dev, family.QueueAll})
		if err != nil {
			return err
		}
		if id := v[family.AttrProgDispatcherProgID]; (id != 0) != want {
			return fmt.Errorf("dispatcher %d, want one: %v", id, want)
		}
		return nil
	}
}

// counts makes sure that the meter is on and that it is on the program there is.
func (f *settingFaults) counts() error {
	if err := meter.is(f.judge, f.dev, 1); err != nil {
		return err
	}
	v, err := f.judge.look(stats, key{f.dev})
	if err == nil && v[family.AttrStatsMetered] == 0 {
		err = fmt.Errorf("the meter is on, and counts nothing: %v", v)
	}
	return err
}

// settings are the subjects that turn settings on and off, and that change the
// program under a meter.
func (f *settingFaults) settings() []*subject {
	var list []*subject
	pass := all(f.clear, f.put(family.QueueAll, f.pass))
	for _, s := range settings() {
		on := &subject{
			name: s.name + " on", before: pass, after: f.is(s, 0), undo: f.is(s, 1),
			op: func() error { return s.turn(f.via, f.dev, 1) },
		}
		off := &subject{
			name: s.name + " off", before: all(pass, f.turn(s, 1)), after: f.is(s, 1), undo: f.is(s, 0),
			op: func() error { return s.turn(f.via, f.dev, 0) },
		}
		// The core tells nobody why a feature of a netdev, here GRO of the
		// peer, was not changed.
		on.core = s == redirect
		if s == meter {
			on.undo, off.after = f.counts, f.counts
		}
		list = append(list, on, off)
	}
	metered := all(pass, f.turn(meter, 1))
	return append(list, &subject{
		name: "delete settings", before: all(pass, f.turn(meter, 1), f.turn(redirect, 1)),
		op: func() error { return f.via.drop(attr, key{f.dev}) },
		// One that cannot be undone does not keep the others from it.
		undo: all(f.is(meter, 0), f.is(redirect, 0)),
	}, &subject{
		name: "replace under a meter", before: metered, stride: 8,
		after: all(f.has(family.QueueAll, f.pass), f.counts), undo: all(f.has(family.QueueAll, f.other), f.counts),
		op: func() error { return f.via.set(f.dev, change{prog: f.other, how: family.UpdateExist}) },
	}, &subject{
		name: "add under a meter", before: all(f.clear, f.turn(meter, 1)), stride: 16,
		after: all(f.has(family.QueueAll, nil), f.is(meter, 1)), undo: all(f.has(family.QueueAll, f.pass), f.counts),
		op: func() error { return f.via.set(f.dev, change{prog: f.pass, how: family.UpdateNoexist}) },
	}, &subject{
		name: "add queue under a meter", before: metered, stride: 16,
		after: all(f.has(0, nil), f.dispatched(false), f.counts), undo: all(f.has(0, f.drop), f.dispatched(true), f.counts),
		op: func() error { return queueSet(f.via, f.dev, 0, family.UpdateNoexist, f.drop) },
	})
}

// queues are the subjects that change the programs of RX queues.
func (f *settingFaults) queues() []*subject {
	const whole = family.QueueAll
	pass := all(f.clear, f.put(whole, f.pass))
	first := all(pass, f.put(0, f.drop))
	return []*subject{{
		name: "add first queue", before: pass, stride: 8,
		after: all(f.has(0, nil), f.has(whole, f.pass), f.dispatched(false)),
		undo:  all(f.has(0, f.drop), f.has(whole, f.pass), f.dispatched(true)),
		op:    func() error { return queueSet(f.via, f.dev, 0, family.UpdateNoexist, f.drop) },
	}, {
		name: "add first queue of a bare netdev", before: f.clear, stride: 16,
		after: all(f.has(0, nil), f.has(whole, nil)),
		undo:  all(f.has(0, f.drop), f.has(whole, nil)),
		op:    func() error { return queueSet(f.via, f.dev, 0, family.UpdateNoexist, f.drop) },
	}, {
		name: "add further queue", before: first,
		after: all(f.has(1, nil), f.has(0, f.drop), f.has(whole, f.pass)),
		undo:  all(f.has(1, f.other), f.has(0, f.drop), f.has(whole, f.pass)),
		op:    func() error { return queueSet(f.via, f.dev, 1, family.UpdateNoexist, f.other) },
	}, {
		name: "replace queue", before: first,
		after: all(f.has(0, f.drop), f.has(whole, f.pass)),
		undo:  all(f.has(0, f.other), f.has(whole, f.pass)),
		op:    func() error { return queueSet(f.via, f.dev, 0, family.UpdateExist, f.other) },
	}, {
		name: "replace whole with queues", before: first,
		after: all(f.has(0, f.drop), f.has(whole, f.pass)),
		undo:  all(f.has(0, f.drop), f.has(whole, f.other)),
		op:    func() error { return queueSet(f.via, f.dev, whole, family.UpdateExist, f.other) },
	}, {
		name: "delete whole with queues", before: first,
		after: all(f.has(0, f.drop), f.has(whole, f.pass)),
		undo:  all(f.has(0, f.drop), f.has(whole, nil)),
		op:    func() error { return f.via.drop(prog, key{f.dev, whole}) },
	}, {
		name: "delete further queue", before: all(first, f.put(1, f.other)),
		after: all(f.has(1, f.other), f.has(0, f.drop)),
		undo:  all(f.has(1, nil), f.has(0, f.drop), f.dispatched(true)),
		op:    func() error { return f.via.drop(prog, key{f.dev, 1}) },
	}, {
		name: "delete last queue", before: first,
		after: all(f.has(0, f.drop), f.has(whole, f.pass), f.dispatched(true)),
		undo:  all(f.has(0, nil), f.has(whole, f.pass), f.dispatched(false)),
		op:    func() error { return f.via.drop(prog, key{f.dev, 0}) },
	}}
}

// bound makes sure that a netdev has the port, or none if dev is 0.
func (f *settingFaults) bound(number, dev uint32) func() error {
	return func() error { return bound(f.judge, number, dev) }
}

func bound(via door, number, dev uint32) error {
	v, err := via.look(port, key{number})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if v[family.AttrPortIfindex] != uint64(dev) {
		return fmt.Errorf("port %d is that of netdev %d, want %d", number, v[family.AttrPortIfindex], dev)
	}
	return nil
}

// ports are the subjects that bind and free ports, of a table that is there.
func (f *settingFaults) ports() []*subject {
	lo, number := uint32(f.ns.Index("lo")), uint32(9)
	// The table is there from the first port on.
	free := all(
		func() error { return gone(f.judge.drop(port, key{number})) },
		func() error { return bindPort(f.judge, 8, lo, family.UpdateAny) },
		func() error { return f.judge.drop(port, key{8}) },
	)
	bind := all(free, func() error { return bindPort(f.judge, number, f.dev, family.UpdateNoexist) })
	return []*subject{{
		name: "bind port", before: free, after: f.bound(number, 0), undo: f.bound(number, f.dev),
		op: func() error { return bindPort(f.via, number, f.dev, family.UpdateNoexist) },
	}, {
		name: "bind port to another", before: bind, after: f.bound(number, f.dev), undo: f.bound(number, lo),
		op: func() error { return bindPort(f.via, number, lo, family.UpdateExist) },
	}, {
		name: "free port", before: bind, after: f.bound(number, f.dev), undo: f.bound(number, 0),
		op: func() error { return f.via.drop(port, key{number}) },
	}}
}

// firstPort binds the first port of a namespace, for which the table is made.
func firstPort(t *testing.T, genl uint16) *subject {
	var ns *testutil.NetNS
	var via *nlDoor
	// The answer may be lost, and then nobody looks what became of it.
	leave := func() error {
		if via == nil {
			return nil
		}
		ns.Close()
		err := via.g.Close()
		via = nil
		return err
	}
	t.Cleanup(func() { leave() })
	after := func(dev uint32) func() error {
		return func() error { return errors.Join(bound(via, 0, dev), gone(via.drop(port, key{})), leave()) }
	}
	return &subject{
		name: "bind first port",
		before: func() error {
			if err := leave(); err != nil {
				return err
			}
			ns = testutil.NewNetNS(t)
			if err := unix.Setns(ns.FD(), unix.CLONE_NEWNET); err != nil {
				return err
			}
			via = dialNetlink(t, genl)
			return nil
		},
		op:    func() error { return lost(bindPort(via, 0, 1, family.UpdateNoexist)) }, // to lo
		after: after(0), undo: after(1),
	}
}
