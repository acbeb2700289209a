// SPDX-License-Identifier: BSD-3-Clause

package traffic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/ctlmap"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/loader"
	"github.com/xdpctl/xdpctl-nl/skel"
)

// patience is for a slow processor: nothing takes that long.
const patience = 60 * time.Second

// noPort is what the program port.bpf.c takes for the port of a netdev that has
// none.
const noPort Verdict = 255

// world is a switch with four ports: a namespace with the netdevs p0 to p3, and
// one with their peers h0 to h3.
type world struct {
	*testing.T
	ctx       context.Context
	sw, hosts *testutil.NetNS
	doors     map[string]family.Control
}

const pairs = 4

// openDoors opens every door of a namespace, which gets a control device.
func openDoors(t *testing.T, ns *testutil.NetNS) map[string]family.Control {
	t.Helper()
	ns.AddControl("xdpctl0")
	netlink, err := family.Dial(family.Options{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.Close() })
	maps, err := ctlmap.Open(ctlmap.Options{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { maps.Close() })
	return map[string]family.Control{"netlink": netlink, "map": maps}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	w := &world{T: t, ctx: ctx, sw: testutil.NewNetNS(t), hosts: testutil.NewNetNS(t)}
	w.doors = openDoors(t, w.sw)
	for i := range pairs {
		w.sw.AddVeth(fmt.Sprintf("p%d", i), fmt.Sprintf("h%d", i), testutil.VethOptions{PeerNS: w.hosts})
		// A veth takes frames of native XDP where its NAPI runs.
		w.hosts.Do(func() { run(t, "ethtool", "-K", fmt.Sprintf("h%d", i), "gro", "on") })
	}
	return w
}

// eachDoor runs fn for every door, in a world of its own.
func eachDoor(t *testing.T, fn func(w *world, c family.Control)) {
	t.Helper()
	for _, name := range []string{"netlink", "map"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			fn(w, w.doors[name])
		})
	}
}

// bind gives a port to a netdev.
func (w *world) bind(c family.Control, port uint32, dev string, how family.Update) error {
	var v family.Port
	v.SetIfindex(uint32(w.sw.Index(dev)))
	return c.Port().Update(w.ctx, &family.PortKey{Port: port}, &v, how)
}

func (w *world) mustBind(c family.Control, port uint32, dev string) {
	w.Helper()
	if err := w.bind(c, port, dev, family.UpdateAny); err != nil {
		w.Fatal(err)
	}
}

func (w *world) free(c family.Control, port uint32) error {
	return c.Port().Delete(w.ctx, &family.PortKey{Port: port})
}

// table is the ports that there are, in the order in which they came, after
// making sure that every door says the same, by iteration and by lookup.
func (w *world) table() []string {
	w.Helper()
	names := make(map[uint32]string)
	for _, l := range w.sw.Links() {
		names[uint32(l.Index)] = l.Name
	}
	said := make(map[string][]string)
	for door, c := range w.doors {
		for e, err := range family.All(w.ctx, c.Port(), nil) {
			if err != nil {
				w.Fatal(err)
			}
			var v family.Port
			if err := c.Port().Lookup(w.ctx, &e.Key, &v); err != nil {
				w.Fatal(err)
			}
			if diff := cmp.Diff(e.Value, v); diff != "" {
				w.Fatalf("port %d, -iteration +lookup:\n%s", e.Key.Port, diff)
			}
			said[door] = append(said[door], fmt.Sprintf("%d %s", e.Key.Port, names[v.Ifindex]))
		}
	}
	if diff := cmp.Diff(said["netlink"], said["map"]); diff != "" {
		w.Fatalf("ports, -netlink +map:\n%s", diff)
	}
	return said["map"]
}

func (w *world) expectTable(want ...string) {
	w.Helper()
	if diff := cmp.Diff(want, w.table()); diff != "" {
		w.Fatalf("ports, -want +got:\n%s", diff)
	}
}

// attach loads the program that sends out of ports onto a netdev.
func (w *world) attach(c family.Control, dev string, mode family.Mode) {
	w.Helper()
	maps, err := loader.PortMaps(w.ctx, c)
	if err != nil {
		w.Fatal(err)
	}
	defer loader.ClosePortMaps(maps)
	s, err := bpf.OpenAndLoadPort(&skel.Options{Collection: ebpf.CollectionOptions{MapReplacements: maps}})
	if err != nil {
		w.Fatal(err)
	}
	defer s.Close()
	var v family.Prog
	v.SetFD(uint32(s.Programs.Port.Prog.FD()))
	v.SetMode(mode)
	k := &family.ProgKey{Ifindex: uint32(w.sw.Index(dev)), Queue: family.QueueAll}
	if err := c.Prog().Update(w.ctx, k, &v, family.UpdateNoexist); err != nil {
		w.Fatal(err)
	}
}

func (w *world) sender(dev string) *Sender {
	w.Helper()
	s, err := NewSender(SenderOptions{NetNS: w.hosts.Path(), Dev: dev})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { s.Close() })
	return s
}

func (w *world) counter(ns *testutil.NetNS, dev string) *Counter {
	w.Helper()
	c, err := NewCounter(CounterOptions{NetNS: ns.Path(), Dev: dev})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { c.Close() })
	return c
}

// TestPorts sends real frames out of ports by their number, in native and in
// generic mode, while ports are bound, taken over and freed.
func TestPorts(t *testing.T) {
	eachDoor(t, func(w *world, c family.Control) {
		for _, mode := range []family.Mode{family.ModeNative, family.ModeGeneric} {
			w.T.Run(mode.String(), func(t *testing.T) {
				w := newWorld(t)
				c := w.doors[c.Name()]
				w.sendThroughPorts(c, mode)
			})
		}
	})
}

func (w *world) sendThroughPorts(c family.Control, mode family.Mode) {
	w.Helper()
	for _, b := range []struct {
		port uint32
		dev  string
	}{{200, "p2"}, {0, "p0"}, {3, "p1"}} {
		w.mustBind(c, b.port, b.dev)
	}
	w.expectTable("0 p0", "3 p1", "200 p2")
	w.attach(c, "p0", mode)

	s := w.sender("h0")
	at := make(map[string]*Counter)
	want := make(map[string]Counts)
	for i := range pairs {
		dev := fmt.Sprintf("h%d", i)
		at[dev], want[dev] = w.counter(w.hosts, dev), Counts{}
	}
	at["p0"], want["p0"] = w.counter(w.sw, "p0"), Counts{}
	// send sends n frames for a port: they arrive at dev with the number of
	// the port that they came in through.
	send := func(port uint32, n uint64, dev string, from Verdict) {
		w.Helper()
		if err := s.Send(w.ctx, Verdict(port), n); err != nil {
			w.Fatal(err)
		}
		want[dev][from] += n
		for dev := range at {
			if err := at[dev].Wait(w.ctx, want[dev]); err != nil {
				w.Fatalf("port %d: %v", port, err)
			}
		}
	}
	send(3, 100, "h1", 0)
	send(200, 50, "h2", 0)
	send(0, 20, "h0", 0)
	send(5, 10, "p0", 0) // free, so that it passes

	w.mustBind(c, 3, "p3")
	w.expectTable("0 p0", "3 p3", "200 p2")
	send(3, 40, "h3", 0)
	w.mustBind(c, 4, "p1")
	send(4, 40, "h1", 0)

	if mode == family.ModeNative {
		w.cannotSend(c, s)
	}

	if err := w.free(c, 0); err != nil {
		w.Fatal(err)
	}
	w.expectTable("3 p3", "4 p1", "200 p2")
	send(0, 10, "p0", noPort)
	w.mustBind(c, 77, "p0")
	send(3, 10, "h3", 77)

	w.sw.Del("p3")
	delete(at, "h3")
	w.expectTable("4 p1", "77 p0", "200 p2")
	send(3, 10, "p0", 77)
}

// TestPortTakeover lets two netdevs take a port from each other under traffic: each
// frame leaves by the one or by the other.
func TestPortTakeover(t *testing.T) {
	for _, mode := range []family.Mode{family.ModeNative, family.ModeGeneric} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newWorld(t)
			c := w.doors["netlink"]
			w.mustBind(c, 3, "p1")
			w.attach(c, "p0", mode)
			s, at := w.sender("h0"), []*Counter{w.counter(w.hosts, "h1"), w.counter(w.hosts, "h2")}
			stack := w.counter(w.sw, "p0")

			n := flood() / 20
			done := make(chan error, 1)
			go func() { done <- s.Send(w.ctx, 3, n) }()
			taken := 0
			for sending := true; sending; taken++ {
				select {
				case err := <-done:
					if err != nil {
						t.Fatal(err)
					}
					sending = false
				default:
				}
				w.mustBind(c, 3, []string{"p2", "p1"}[taken%2])
			}
			var byEach []uint64
			err := Until(w.ctx, fmt.Sprintf("%d frames", n), func() (bool, error) {
				byEach = nil
				var sum uint64
				for _, at := range at {
					counts, err := at.Counts()
					if err != nil {
						return false, err
					}
					byEach = append(byEach, counts.Total())
					sum += counts.Total()
				}
				return sum == n, nil
			})
			if err != nil {
				t.Errorf("of %d frames %v arrived: %v", n, byEach, err)
			}
			if counts, err := stack.Counts(); err != nil || counts.Total() != 0 {
				t.Errorf("%v found the port free, error %v", counts, err)
			}
			if byEach[0] == 0 || byEach[1] == 0 {
				t.Errorf("%d times taken over, and all frames went one way: %v", taken, byEach)
			}
			t.Logf("%d times taken over, %v frames by each", taken, byEach)
		})
	}
}

// cannotSend sends to a port whose netdev has no way to send in native mode.
func (w *world) cannotSend(c family.Control, s *Sender) {
	w.Helper()
	w.sw.AddDummy("dummy0")
	w.mustBind(c, 9, "dummy0")
	if err := s.Send(w.ctx, 9, 10); err != nil {
		w.Fatal(err)
	}
	var v family.Stats
	if err := c.Stats().Lookup(w.ctx, &family.StatsKey{Ifindex: uint32(w.sw.Index("p0"))}, &v); err != nil {
		w.Fatal(err)
	}
	if v.RedirectErrors != 10 {
		w.Errorf("%d redirect errors, want 10", v.RedirectErrors)
	}
	w.sw.Del("dummy0")
	w.expectTable("0 p0", "3 p3", "4 p1", "200 p2")
}

// TestPortRefused asks for what is refused, and for what is only unusual.
func TestPortRefused(t *testing.T) {
	eachDoor(t, func(w *world, c family.Control) {
		w.sw.AddDummy("dummy0")
		bind := func(port uint32, dev string, how family.Update) func() error {
			return func() error { return w.bind(c, port, dev, how) }
		}
		set := func(port uint32, v *family.Port) func() error {
			return func() error { return c.Port().Update(w.ctx, &family.PortKey{Port: port}, v, family.UpdateAny) }
		}
		var nobody, zero family.Port
		nobody.SetIfindex(9999)
		zero.SetIfindex(0)
		for _, st := range []struct {
			name  string
			do    func() error
			errno unix.Errno
			table []string
		}{
			{"free a free port", func() error { return w.free(c, 1) }, unix.ENOENT, nil},
			{"replace at a free port", bind(1, "p0", family.UpdateExist), unix.ENOENT, nil},
			{"no such netdev", set(1, &nobody), unix.ENODEV, nil},
			{"ifindex 0", set(1, &zero), unix.ERANGE, nil},
			{"a control device", bind(1, "xdpctl0", family.UpdateAny), unix.EOPNOTSUPP, nil},
			{"a port too high", bind(1024, "p0", family.UpdateAny), unix.ERANGE, nil},
			{"free a port too high", func() error { return w.free(c, 1024) }, unix.ERANGE, nil},
			{"the highest port", bind(1023, "p0", family.UpdateNoexist), 0, []string{"1023 p0"}},
			{"add at a port in use", bind(1023, "p1", family.UpdateNoexist), unix.EEXIST, []string{"1023 p0"}},
			{"a second port", bind(1, "p0", family.UpdateAny), unix.EBUSY, []string{"1023 p0"}},
			{"the same again", bind(1023, "p0", family.UpdateAny), 0, []string{"1023 p0"}},
			{"replace", bind(1023, "p1", family.UpdateExist), 0, []string{"1023 p1"}},
			{"who was replaced is free", bind(1, "p0", family.UpdateAny), 0, []string{"1 p0", "1023 p1"}},
			{"replace by one that has a port", bind(1, "p1", family.UpdateExist), unix.EBUSY, []string{"1 p0", "1023 p1"}},
			{"a netdev that cannot send natively", bind(2, "dummy0", family.UpdateAny), 0, []string{"1 p0", "2 dummy0", "1023 p1"}},
			{"free", func() error { return w.free(c, 1) }, 0, []string{"2 dummy0", "1023 p1"}},
			{"free again", func() error { return w.free(c, 1) }, unix.ENOENT, []string{"2 dummy0", "1023 p1"}},
		} {
			err := st.do()
			var e *family.Error
			if err != nil && !errors.As(err, &e) {
				w.Fatalf("%s: %v is no *family.Error", st.name, err)
			}
			if (err == nil) != (st.errno == 0) || err != nil && e.Errno != st.errno {
				w.Errorf("%s: %v, want %v", st.name, err, st.errno)
			}
			if err != nil && c.Name() == "netlink" && e.Message == "" {
				w.Errorf("%s: refused without a reason", st.name)
			}
			w.expectTable(st.table...)
		}
		if err := c.Port().Lookup(w.ctx, &family.PortKey{Port: 7}, new(family.Port)); !errors.Is(err, os.ErrNotExist) {
			w.Errorf("lookup of a free port: %v", err)
		}
	})
}

// TestPortMissing leaves out the netdev.
func TestPortMissing(t *testing.T) {
	w := newWorld(t)
	g := w.sw.NewGenl(t, "xdpctl")
	var a *testutil.Answer
	w.sw.Do(func() { a = g.Do(family.CmdPortSet, 0, testutil.AttrU32(family.AttrPortPort, 1)) })
	if a.Errno != unix.EINVAL || a.MissType != int(family.AttrPortIfindex) {
		t.Errorf("got %v, want EINVAL for want of attribute %d", a, family.AttrPortIfindex)
	}
}

// told is what a subscription says of ports, as "PORT NETDEV".
func (w *world) told(s family.Subscription, n int) []string {
	w.Helper()
	names := make(map[uint32]string)
	for _, l := range w.sw.Links() {
		names[uint32(l.Index)] = l.Name
	}
	var out []string
	for len(out) < n {
		ev, err := s.Recv(w.ctx)
		if err != nil {
			w.Fatalf("after %q: %v", out, err)
		}
		if ev.Op != "port-ntf" {
			continue
		}
		k, v := ev.Key.(*family.PortKey), ev.Value.(*family.Port)
		name := "free"
		if v.Has(family.AttrPortIfindex) {
			name = names[v.Ifindex]
		}
		out = append(out, fmt.Sprintf("%d %s", k.Port, name))
	}
	return out
}

func (w *world) subscribe(c family.Control) family.Subscription {
	w.Helper()
	s, err := c.Subscribe(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { s.Close() })
	return s
}

// TestPortGone takes netdevs away from their ports. What is told ends with a
// change of its own, so that nothing is told twice unseen.
func TestPortGone(t *testing.T) {
	eachDoor(t, func(w *world, c family.Control) {
		other := newWorld(t)
		s, elsewhere := w.subscribe(w.doors["netlink"]), other.subscribe(other.doors["netlink"])
		for i := range pairs {
			w.mustBind(c, uint32(10*i), fmt.Sprintf("p%d", i))
		}
		want := []string{"0 p0", "10 p1", "20 p2", "30 p3"}
		if diff := cmp.Diff(want, w.told(s, 4)); diff != "" {
			w.Errorf("told, -want +got:\n%s", diff)
		}

		w.hosts.Del("h1") // and p1 with it
		if diff := cmp.Diff([]string{"10 free"}, w.told(s, 1)); diff != "" {
			w.Errorf("told of a netdev that went, -want +got:\n%s", diff)
		}
		w.expectTable("0 p0", "20 p2", "30 p3")

		if err := w.sw.Move("p2", w.hosts); err != nil {
			w.Fatal(err)
		}
		if diff := cmp.Diff([]string{"20 free"}, w.told(s, 1)); diff != "" {
			w.Errorf("told of a netdev that moved, -want +got:\n%s", diff)
		}
		w.expectTable("0 p0", "30 p3")
		if err := w.hosts.Move("p2", w.sw); err != nil {
			w.Fatal(err)
		}
		w.expectTable("0 p0", "30 p3")
		w.expectIndex(c, map[string]uint32{"p0": 0, "p3": 30})

		w.mustBind(c, 30, "p2")
		w.expectIndex(c, map[string]uint32{"p0": 0, "p2": 30})
		if err := w.free(c, 0); err != nil {
			w.Fatal(err)
		}
		w.mustBind(c, 20, "p3")
		if diff := cmp.Diff([]string{"30 p2", "0 free", "20 p3"}, w.told(s, 3)); diff != "" {
			w.Errorf("told, -want +got:\n%s", diff)
		}
		w.expectIndex(c, map[string]uint32{"p2": 30, "p3": 20})

		other.mustBind(other.doors["map"], 5, "p0")
		if diff := cmp.Diff([]string{"5 p0"}, other.told(elsewhere, 1)); diff != "" {
			w.Errorf("told in another namespace, -want +got:\n%s", diff)
		}
	})
}

// expectIndex compares what both maps hold with the netdevs that have ports.
func (w *world) expectIndex(c family.Control, want map[string]uint32) {
	w.Helper()
	maps, err := loader.PortMaps(w.ctx, c)
	if err != nil {
		w.Fatal(err)
	}
	defer loader.ClosePortMaps(maps)
	names := make(map[uint32]string)
	for _, l := range w.sw.Links() {
		names[uint32(l.Index)] = l.Name
	}
	index, devmap := make(map[string]uint32), make(map[string]uint32)
	var k, v uint32
	it := maps[loader.PortIndexMap].Iterate()
	for it.Next(&k, &v) {
		index[names[k]] = v
	}
	for port := range uint32(1024) {
		if err := maps[loader.PortMap].Lookup(port, &v); err == nil && v != 0 {
			devmap[names[v]] = port
		}
	}
	for name, got := range map[string]map[string]uint32{"index": index, "devmap": devmap} {
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("%s, -want +got:\n%s", name, diff)
		}
	}
}

// TestPortMaps holds the maps to what is promised of them.
func TestPortMaps(t *testing.T) {
	w := newWorld(t)
	c := w.doors["netlink"]
	if _, err := loader.PortMaps(w.ctx, c); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("maps before the first port: %v", err)
	}
	w.mustBind(c, 1, "p1")
	maps, err := loader.PortMaps(w.ctx, w.doors["map"])
	if err != nil {
		t.Fatal(err)
	}
	defer loader.ClosePortMaps(maps)
	for name, m := range maps {
		if info, err := m.Info(); err != nil || info.Name != name {
			t.Errorf("%s has name %q, error %v", name, info.Name, err)
		}
		if err := m.Put(uint32(1), uint32(w.sw.Index("p0"))); !errors.Is(err, unix.EPERM) {
			t.Errorf("write %s: %v", name, err)
		}
		if err := m.Delete(uint32(1)); !errors.Is(err, unix.EPERM) {
			t.Errorf("delete from %s: %v", name, err)
		}
	}
	w.expectIndex(c, map[string]uint32{"p1": 1})
	if err := writeFromProgram(maps[loader.PortIndexMap]); !errors.Is(err, unix.EACCES) {
		t.Errorf("a program that writes the index: %v", err)
	}

	before := w.mapIDs(c, 1)
	if err := w.free(c, 1); err != nil {
		t.Fatal(err)
	}
	w.mustBind(c, 9, "p1")
	if diff := cmp.Diff(before, w.mapIDs(c, 9)); diff != "" {
		t.Errorf("ids after all ports were free, -before +after:\n%s", diff)
	}
	other := newWorld(t)
	other.mustBind(other.doors["netlink"], 9, "p1")
	if there := other.mapIDs(other.doors["map"], 9); there[0] == before[0] || there[1] == before[1] {
		t.Errorf("two namespaces have the same maps: %v, %v", before, there)
	}
}

func (w *world) mapIDs(c family.Control, port uint32) [2]uint32 {
	w.Helper()
	var v family.Port
	if err := c.Port().Lookup(w.ctx, &family.PortKey{Port: port}, &v); err != nil {
		w.Fatal(err)
	}
	return [2]uint32{v.DevmapID, v.IndexMapID}
}

// writeFromProgram loads a program that changes an entry of m.
func writeFromProgram(m *ebpf.Map) error {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{
			asm.StoreImm(asm.RFP, -4, 1, asm.Word),
			asm.LoadMapPtr(asm.R1, m.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.Mov.Reg(asm.R3, asm.R2),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnMapUpdateElem.Call(),
			asm.Return(),
		},
	})
	if err == nil {
		prog.Close()
	}
	return err
}

// TestPortsHoldModule counts references: a port that is bound keeps the module,
// until it is free or its namespace is gone.
func TestPortsHoldModule(t *testing.T) {
	refs := func() int {
		n, err := testutil.ModuleRefs()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	settled := func(want int) {
		t.Helper()
		testutil.Eventually(t, patience, fmt.Sprintf("%d references", want), func() bool { return refs() == want })
	}
	settled(0) // the namespaces of the tests before are gone
	ns := testutil.NewNetNS(t)
	ns.AddVeth("p0", "p1", testutil.VethOptions{})
	c, err := family.Dial(family.Options{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := &world{T: t, ctx: t.Context(), sw: ns}
	w.mustBind(c, 1, "p0")
	settled(1)
	w.mustBind(c, 2, "p1")
	settled(2)
	if err := testutil.TryUnloadModule(); !errors.Is(err, unix.EAGAIN) {
		t.Fatalf("unload while ports are bound: %v", err)
	}
	if err := w.free(c, 1); err != nil {
		t.Fatal(err)
	}
	settled(1)
	w.mustBind(c, 1, "p0")
	c.Close()
	ns.Close()
	settled(0)
}

// rounds is XDPCTL_ROUNDS, or n.
func rounds(n int) int {
	if s := os.Getenv("XDPCTL_ROUNDS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	return n
}

// TestPortRounds binds and frees ports while netdevs and namespaces go.
func TestPortRounds(t *testing.T) {
	for i := range rounds(20) {
		ns := testutil.NewNetNS(t)
		ns.AddVeth("p0", "p1", testutil.VethOptions{})
		c, err := family.Dial(family.Options{NetNS: ns.FD()})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{T: t, ctx: t.Context(), sw: ns}
		index := uint32(ns.Index("p1"))
		w.mustBind(c, 1, "p0")
		var v family.Port
		v.SetIfindex(index)
		del := make(chan error)
		go func() { del <- ns.DelLink("p0") }()
		for range 50 {
			err := c.Port().Update(w.ctx, &family.PortKey{Port: 1}, &v, family.UpdateAny)
			if err != nil && !errors.Is(err, unix.ENODEV) {
				t.Fatalf("round %d: %v", i, err)
			}
			err = c.Port().Delete(w.ctx, &family.PortKey{Port: 1})
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("round %d: %v", i, err)
			}
		}
		if err := <-del; err != nil {
			t.Fatal(err)
		}
		c.Close()
		ns.Close()
	}
}
