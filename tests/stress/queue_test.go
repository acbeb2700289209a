// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// queues is how many each end of a veth has here.
const queues = 4

// queued is a netdev whose RX queues get programs of their own.
type queued struct {
	*world
	dev   *atomic.Uint32
	tally *tally
	progs []*testutil.Prog
	may   []unix.Errno // what may come of a change beside what its flags say
}

// queueSet gives a queue, or the whole netdev, a program.
func queueSet(via door, dev, queue uint32, how family.Update, p *testutil.Prog) error {
	return via.put(prog, key{dev, queue}, how, values{family.AttrProgFD: uint64(p.FD)})
}

// churn adds, replaces and deletes programs of queues. An error of the flags is
// one of those that it may be, since others change the same queues.
func (q *queued) churn(name string, via door) func() error {
	n := 0
	return func() error {
		n++
		dev, queue := q.dev.Load(), rand.Uint32N(queues)
		p := q.progs[n%len(q.progs)]
		var err error
		what := ""
		switch n % 4 {
		case 0:
			what, err = "delete", via.drop(prog, key{dev, queue})
		case 1:
			what, err = "add", queueSet(via, dev, queue, family.UpdateNoexist, p)
		case 2:
			what, err = "replace", queueSet(via, dev, queue, family.UpdateExist, p)
		case 3:
			what, err = "set", queueSet(via, dev, queue, family.UpdateAny, p)
		}
		may := map[string][]unix.Errno{"delete": {unix.ENOENT}, "add": {unix.EEXIST}, "replace": {unix.ENOENT}}[what]
		if err != nil {
			pause(time.Millisecond)
		}
		return q.tally.check(name+" "+what, err, append(may, q.may...)...)
	}
}

// whole replaces the program of the whole netdev, which is there all the time.
func (q *queued) whole(name string, via door) func() error {
	n := 0
	return func() error {
		n++
		err := queueSet(via, q.dev.Load(), family.QueueAll, family.UpdateExist, q.progs[n%len(q.progs)])
		pause(2 * time.Millisecond)
		return q.tally.check(name+" whole", err)
	}
}

// walk iterates over the programs.
func (q *queued) walk(name string, via door) func() error {
	return func() error {
		list, _, err := via.walk(prog)
		if err != nil {
			return fmt.Errorf("%s walk: %w", name, err)
		}
		pause(time.Millisecond)
		return checkOrder(list)
	}
}

// clear takes all programs away, whichever there are.
func (q *queued) clear() {
	q.Helper()
	judge, dev := q.judge(), q.dev.Load()
	for _, queue := range []uint32{0, 1, 2, 3, family.QueueAll} {
		if err := judge.drop(prog, key{dev, queue}); err != nil && !errors.Is(err, unix.ENOENT) {
			q.Errorf("delete the program of queue %d: %v", int32(queue), err)
		}
		if v, err := judge.look(prog, key{dev, queue}); err == nil {
			q.Errorf("the program of queue %d is there after the delete: %v", int32(queue), v)
		}
	}
}

// TestQueue changes programs of RX queues, and that of the netdev, through both
// doors while frames come: each meets one program, so that none gets through to
// the stack and the meter counts all.
func TestQueue(t *testing.T) {
	stress(t, func(t *testing.T) {
		b := newBed(t)
		_, in := b.away.AddVeth("far", "in", testutil.VethOptions{PeerNS: b.ns, Queues: queues})
		q := &queued{world: b.world, dev: new(atomic.Uint32), tally: newTally(),
			progs: []*testutil.Prog{b.drop, newBTF(t, 1), newBTF(t, 1)}}
		q.dev.Store(uint32(in))
		refs, judge := moduleRefs(t), b.judge()
		b.must(judge.set(uint32(in), change{prog: b.drop}))
		b.must(meter.turn(judge, uint32(in), 1))
		far, stack := b.send("far"), b.count(b.ns, "in")
		c := newCrew(t)
		defer c.halt()
		for _, door := range doors {
			c.loop(b.ns, q.churn(door.name, door.open(b.world)))
			c.loop(b.ns, q.whole(door.name, door.open(b.world)))
		}
		const n = 400
		done := c.times(rounds(t, 8), func(i int) {
			b.must(far.Send(b.ctx, traffic.Drop, n))
			b.must(stack.Wait(b.ctx, traffic.Counts{}))
		})
		c.halt()
		v, err := judge.look(stats, key{uint32(in)})
		if err != nil || v[family.AttrStatsPackets] != uint64(done)*n || v[family.AttrStatsDrop] != uint64(done)*n {
			t.Errorf("the meter counts %v, %v, of %d frames dropped", v, err, done*n)
		}
		q.clear()
		b.must(meter.turn(judge, uint32(in), 0))
		references(t, refs)
		var want []string
		for _, door := range doors {
			want = append(want, door.name+" delete: ok", door.name+" delete: ENOENT", door.name+" add: ok", door.name+" add: EEXIST",
				door.name+" replace: ok", door.name+" replace: ENOENT", door.name+" set: ok", door.name+" whole: ok")
		}
		q.tally.report(t, done, want...)
	})
}

// TestQueueMeddled changes programs of RX queues while the link is detached and
// updated by its id, the netdev's own program comes and goes, and somebody else
// attaches over rtnetlink.
func TestQueueMeddled(t *testing.T) {
	stress(t, func(t *testing.T) {
		w := newWorld(t).withBTF()
		dev, far := w.ns.AddVeth("veth", "vethp", testutil.VethOptions{Queues: queues})
		m := &meddling{&brawl{world: w, dev: uint32(dev), tally: newTally()}}
		q := &queued{world: w, dev: new(atomic.Uint32), tally: m.tally, progs: []*testutil.Prog{w.pass, w.drop},
			// Somebody else has the netdev, or has put his program into the link.
			may: []unix.Errno{unix.EBUSY}}
		q.dev.Store(uint32(dev))
		refs := moduleRefs(t)
		c := newCrew(t)
		defer c.halt()
		for _, door := range doors {
			c.loop(w.ns, q.churn("queue "+door.name, door.open(w)))
			c.loop(w.ns, q.walk(door.name, door.open(w)))
			c.loop(w.ns, m.ours(door.name, door.open(w)))
		}
		c.loop(w.ns, m.links)
		c.loop(w.ns, m.updates)
		c.loop(w.ns, m.foreign)
		var to atomic.Uint32
		to.Store(uint32(far))
		c.flood(w.ns, 1, &to)
		done := c.times(rounds(t, 40), func(int) { window(40 * time.Millisecond) })
		c.halt()
		q.clear()
		references(t, refs)
		m.tally.report(t, done, "queue netlink add: ok", "queue map add: ok", "queue netlink add: EBUSY", "queue map add: EBUSY",
			"queue netlink replace: ok", "queue map replace: ok", "queue netlink delete: ok", "queue map delete: ok",
			"netlink replace: ok", "map replace: ok", "link update: ok", "link detach: ok", "rtnetlink attach: ok")
	})
}

// TestQueueNetdev deletes a netdev while both doors change the programs of its RX
// queues.
func TestQueueNetdev(t *testing.T) {
	stress(t, func(t *testing.T) {
		w := newWorld(t).withBTF()
		y, dev := newTally(), new(atomic.Uint32)
		q := &queued{world: w, dev: dev, tally: y, progs: []*testutil.Prog{w.pass, w.drop}, may: []unix.Errno{unix.ENODEV}}
		f := &fleeting{world: w, tally: y, dev: dev}
		dev.Store(9999)
		refs := moduleRefs(t)
		c := newCrew(t)
		defer c.halt()
		for _, door := range doors {
			c.loop(w.ns, q.churn("queue "+door.name, door.open(w)))
			c.loop(w.ns, f.programs(door.name, door.open(w)))
			c.loop(w.ns, q.walk(door.name, door.open(w)))
		}
		var to atomic.Uint32
		c.flood(w.ns, 1, &to)
		done := c.times(rounds(t, 10), func(i int) {
			out, far := w.ns.AddVeth("out", "far", testutil.VethOptions{Queues: queues})
			to.Store(uint32(far))
			dev.Store(uint32(out))
			if i%2 == 1 {
				w.must(meter.turn(f.judge(), uint32(out), 1))
			}
			window(80 * time.Millisecond)
			w.ns.Del([]string{"out", "far"}[i/2%2])
		})
		c.halt()
		references(t, refs)
		y.report(t, done, "queue netlink add: ok", "queue map add: ok", "queue netlink add: ENODEV", "queue map add: ENODEV",
			"queue netlink delete: ok", "queue map delete: ok", "netlink attach: ok", "map attach: ok")
	})
}
