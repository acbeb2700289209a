// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/loader"
	"github.com/xdpctl/xdpctl-nl/skel"
)

// ports is how many are fought for.
const ports = 5

// harbour is netdevs that get ports, each with a program that sends frames out of
// the port that they ask for. The other ends are in a namespace of their own.
type harbour struct {
	*world
	away  *testutil.NetNS
	tally *tally
	maps  map[string]*ebpf.Map
	prog  *testutil.Prog
	dev   [3]atomic.Uint32
	far   [3]atomic.Uint32
}

func newHarbour(t *testing.T) *harbour {
	t.Helper()
	h := &harbour{world: newWorld(t), away: testutil.NewNetNS(t), tally: newTally()}
	judge := h.judge()
	lo := key{uint32(h.ns.Index("lo"))}
	h.must(bindPort(judge, 0, lo[0], family.UpdateAny))
	v, err := judge.look(port, key{0})
	h.must(err)
	h.maps = make(map[string]*ebpf.Map)
	for name, id := range map[string]uint64{
		loader.PortMap: v[family.AttrPortDevmapID], loader.PortIndexMap: v[family.AttrPortIndexMapID],
	} {
		m, err := ebpf.NewMapFromID(ebpf.MapID(id))
		h.must(err)
		t.Cleanup(func() { m.Close() })
		h.maps[name] = m
	}
	s, err := bpf.OpenAndLoadPort(&skel.Options{Collection: ebpf.CollectionOptions{MapReplacements: h.maps}})
	h.must(err)
	h.prog = keepProg(t, s, s.Programs.Port.Prog)
	h.must(judge.drop(port, key{0}))
	for i := range h.dev {
		h.arrive(i, judge)
	}
	return h
}

// bindPort gives a port to a netdev.
func bindPort(via door, number, dev uint32, how family.Update) error {
	return via.put(port, key{number}, how, values{family.AttrPortIfindex: uint64(dev)})
}

func (h *harbour) name(i int) string { return fmt.Sprintf("port%d", i) }

// arrive makes netdev i, which can send and be sent to.
func (h *harbour) arrive(i int, judge *judge) {
	h.Helper()
	out, far := h.ns.AddVeth(h.name(i), "far"+h.name(i), testutil.VethOptions{PeerNS: h.away})
	h.must(judge.set(uint32(out), change{prog: h.prog}))
	h.must(redirect.turn(judge, uint32(out), 1))
	h.far[i].Store(uint32(far))
	h.dev[i].Store(uint32(out))
}

// bind gives ports to netdevs and takes them away, whoever else does.
func (h *harbour) bind(name string, via door) func() error {
	n := 0
	return func() error {
		n++
		number, dev := rand.Uint32N(ports), h.dev[rand.IntN(len(h.dev))].Load()
		var err error
		switch n % 4 {
		case 0:
			err = h.tally.check(name+" free", via.drop(port, key{number}), unix.ENOENT)
		case 1:
			err = h.tally.check(name+" add", bindPort(via, number, dev, family.UpdateNoexist), unix.EEXIST, unix.EBUSY, unix.ENODEV)
		case 2:
			err = h.tally.check(name+" replace", bindPort(via, number, dev, family.UpdateExist), unix.ENOENT, unix.EBUSY, unix.ENODEV)
		case 3:
			err = h.tally.check(name+" bind", bindPort(via, number, dev, family.UpdateAny), unix.EBUSY, unix.ENODEV)
		}
		pause(time.Millisecond)
		return err
	}
}

// walk iterates over the ports.
func (h *harbour) walk(name string, via door) func() error {
	return func() error {
		list, _, err := via.walk(port)
		if err != nil {
			return fmt.Errorf("%s walk: %w", name, err)
		}
		pause(time.Millisecond)
		return checkOrder(list)
	}
}

// gone makes sure that a netdev that has left has no port.
func (h *harbour) gone(judge *judge, dev uint32) {
	h.Helper()
	for number := range uint32(ports) {
		if v, err := judge.look(port, key{number}); err == nil && v[family.AttrPortIfindex] == uint64(dev) {
			h.Errorf("netdev %d has left, and has port %d", dev, number)
		}
	}
	var number uint32
	if err := h.maps[loader.PortIndexMap].Lookup(dev, &number); err == nil {
		h.Errorf("netdev %d has left, and programs find it at port %d", dev, number)
	}
}

// compare makes sure, when nothing moves, that the maps of the programs say what
// the table says.
func (h *harbour) compare(judge *judge) {
	h.Helper()
	bound := make(map[uint32]uint32) // port by ifindex
	for number := range uint32(ports) {
		var want, got uint32
		if v, err := judge.look(port, key{number}); err == nil {
			want = uint32(v[family.AttrPortIfindex])
			bound[want] = number
		}
		h.ns.Do(func() { h.maps[loader.PortMap].Lookup(number, &got) })
		if got != want {
			h.Errorf("port %d: netdev %d in the devmap, %d in the table", number, got, want)
		}
	}
	var dev, number uint32
	entries := 0
	for it := h.maps[loader.PortIndexMap].Iterate(); it.Next(&dev, &number); entries++ {
		if want, ok := bound[dev]; !ok || number != want {
			h.Errorf("netdev %d has port %d for programs, and %d (%v) in the table", dev, number, want, ok)
		}
	}
	if entries != len(bound) {
		h.Errorf("programs find %d netdevs with ports, of %d", entries, len(bound))
	}
}

// TestPort binds and frees ports through both doors while the netdevs go and move
// and frames are sent from port to port.
func TestPort(t *testing.T) {
	stress(t, func(t *testing.T) {
		refs := moduleRefs(t)
		h := newHarbour(t)
		judge, there := h.judge(), newWorld(t)
		c := newCrew(t)
		defer c.halt()
		for _, door := range doors {
			c.loop(h.ns, h.bind(door.name, door.open(h.world)))
			c.loop(h.ns, h.walk(door.name, door.open(h.world)))
		}
		c.flood(h.away, ports, &h.far[0], &h.far[1], &h.far[2])
		done := c.times(rounds(t, 15), func(i int) {
			window(20 * time.Millisecond)
			d := i % len(h.dev)
			dev := h.dev[d].Load()
			if i%2 == 0 {
				h.ns.Del(h.name(d))
			} else {
				h.must(h.ns.Move(h.name(d), there.ns))
			}
			h.gone(judge, dev)
			if i%2 == 1 {
				there.ns.Del(h.name(d))
			}
			h.arrive(d, judge)
		})
		c.halt()
		h.compare(judge)
		for number := range uint32(ports) {
			if err := judge.drop(port, key{number}); err != nil && !errors.Is(err, unix.ENOENT) {
				t.Errorf("free port %d: %v", number, err)
			}
		}
		h.compare(judge)
		for i := range h.dev {
			h.ns.Del(h.name(i))
		}
		references(t, refs)
		var want []string
		for _, door := range doors {
			for _, o := range []string{"free: ok", "free: ENOENT", "add: ok", "add: EEXIST", "add: EBUSY",
				"replace: ok", "replace: ENOENT", "replace: EBUSY", "bind: ok", "bind: EBUSY"} {
				want = append(want, door.name+" "+o)
			}
		}
		h.tally.report(t, done, want...)
	})
}
