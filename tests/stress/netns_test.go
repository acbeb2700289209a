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

// mortal is a namespace that is about to end, with a control device, and with
// programs attached through both doors.
type mortal struct {
	*world
	tally *tally
	netlk *nlDoor
	maps  *mapDoor
	devs  []uint32
}

// newMortal makes one. Its netdevs are a pair within it, one half of a pair
// whose other half is elsewhere, and one without native mode.
func newMortal(t *testing.T, y *tally, progs *world, genl uint16) *mortal {
	t.Helper()
	ns := testutil.NewNetNS(t)
	m := &mortal{
		world: &world{T: t, ns: ns, ctl: ns.AddControl(ctlName), pass: progs.pass, drop: progs.drop},
		tally: y,
	}
	a, b := ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
	half, _ := ns.AddVeth("half", fmt.Sprintf("half%d", time.Now().UnixNano()%1e9), testutil.VethOptions{PeerNS: progs.ns})
	m.devs = []uint32{uint32(a), uint32(b), uint32(half), uint32(ns.AddDummy("dummy0"))}
	var err error
	if m.maps, err = m.openMaps(m.ctl); err != nil {
		t.Fatal(err)
	}
	ns.Do(func() { m.netlk = dialNetlink(t, genl) })
	return m
}

// fill attaches a program to every netdev, through one door and the other.
func (m *mortal) fill() {
	for i, dev := range m.devs {
		via := door(m.netlk)
		if i%2 == 1 {
			via = m.maps
		}
		if err := via.set(dev, change{prog: m.pass, how: family.UpdateNoexist}); err != nil {
			m.Errorf("attach to netdev %d of a new namespace: %v", dev, err)
		}
	}
}

// settle turns settings on, gives a queue its own program, and binds ports, all of
// which go with the namespace.
func (m *mortal) settle() {
	for i, dev := range m.devs {
		via := door(m.netlk)
		if i%2 == 1 {
			via = m.maps
		}
		for _, s := range settings() {
			err := s.turn(via, dev, 1)
			if native := dev != m.devs[3]; native != (err == nil) && s != meter || s == meter && err != nil {
				m.Errorf("turn %s of netdev %d on in a new namespace: %v", s.name, dev, err)
			}
		}
		if err := queueSet(via, dev, 0, family.UpdateNoexist, m.drop); err != nil {
			m.Errorf("give queue 0 of netdev %d a program in a new namespace: %v", dev, err)
		}
		if err := bindPort(via, uint32(10+i), dev, family.UpdateNoexist); err != nil {
			m.Errorf("bind netdev %d in a new namespace: %v", dev, err)
		}
	}
}

// busy changes programs from within until told to stop, and so is the last
// that holds the namespace.
func (m *mortal) busy(stop <-chan struct{}) func() error {
	return func() error {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return nil
			default:
			}
			c := change{prog: m.drop}
			if n%2 == 1 {
				c.prog = m.pass
			}
			if err := m.maps.set(m.devs[n%len(m.devs)], c); err != nil {
				return fmt.Errorf("replace in a namespace that is held: %w", err)
			}
		}
	}
}

// outside uses the maps of the namespace from another one until they are dead.
func (m *mortal) outside() error {
	for end := time.Now().Add(deferred); ; {
		list, _, err := m.maps.walk(prog)
		if err := m.tally.check("iterate", err, unix.ENODEV); err != nil {
			return err
		}
		if errors.Is(err, unix.ENODEV) {
			break
		}
		m.tally.add("programs seen", fmt.Sprint(len(list)))
		if err := m.tally.check("update", m.maps.set(m.devs[0], change{prog: m.drop}), unix.EXDEV, unix.ENODEV); err != nil {
			return err
		}
		if err := m.tally.check("delete", m.maps.del(m.devs[1]), unix.EXDEV, unix.ENODEV); err != nil {
			return err
		}
		for what, err := range map[string]error{
			"setting":        meter.turn(m.maps, m.devs[0], 0),
			"delete setting": m.maps.drop(attr, key{m.devs[1]}),
			"queue":          m.maps.drop(prog, key{m.devs[2], 0}),
			"port":           bindPort(m.maps, 1, m.devs[3], family.UpdateAny),
		} {
			if err == nil {
				return fmt.Errorf("%s changed from another namespace", what)
			}
			if err := m.tally.check(what, err, unix.EXDEV, unix.ENODEV); err != nil {
				return err
			}
		}
		_, err = m.maps.get(caps, m.devs[0], 0)
		if err := m.tally.check("get", err, unix.ENOENT, unix.ENODEV); err != nil {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("the control map of a dead namespace works after %v", deferred)
		}
	}
	for tb := range m.maps.fd {
		if _, err := m.maps.get(tb, m.devs[0], 0); !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("get from a dead %s: got %v, want %v", tb.name, err, unix.ENODEV)
		}
	}
	return nil
}

// end ends the namespace while its maps are used from within and from others.
func (m *mortal) end(other *testutil.NetNS) {
	defer m.maps.close()
	c := newCrew(m.T)
	defer c.halt()
	stop := make(chan struct{})
	c.run(m.ns, m.busy(stop))
	c.run(nil, m.outside)
	c.run(other, m.outside)
	m.ns.Close()
	pause(10 * time.Millisecond)
	close(stop)
	c.wg.Wait()
}

// TestNetNS ends namespaces with attachments while their control maps are in
// use.
func TestNetNS(t *testing.T) {
	stress(t, func(t *testing.T) {
		y := newTally()
		w := newWorld(t).withBTF()
		refs := moduleRefs(t)
		genl := w.netlink().g.Family
		links := len(testutil.XDPLinks(t))
		done := newCrew(t).times(rounds(t, 6), func(i int) {
			m := newMortal(t, y, w, genl)
			m.ns.Do(m.fill)
			if i%2 == 1 {
				m.ns.Do(m.settle)
			}
			m.netlk.g.Close()
			m.end(w.ns)
		})
		testutil.Eventually(t, deferred, "the attachments to go", func() bool {
			return len(testutil.XDPLinks(t)) == links
		})
		references(t, refs)
		y.report(t, done, "iterate: ok", "iterate: ENODEV", "update: EXDEV", "delete: EXDEV", "get: ok",
			"setting: EXDEV", "delete setting: EXDEV", "queue: EXDEV", "port: EXDEV",
			"programs seen: 4", "programs seen: 8")
	})
}
