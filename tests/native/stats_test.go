// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/native"
	"github.com/xdpctl/xdpctl-nl/tests/testbed"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// patience is how long counters may take on the slow machine.
const patience = 20 * time.Second

// sent is what each test sends.
var sent = traffic.Counts{
	traffic.Pass: 11, traffic.Drop: 23, traffic.Tx: 37, traffic.Redirect: 41,
	traffic.Aborted: 53, traffic.Invalid: 67,
}

// counters are those that are present, by attribute. A Qstats begins like a Stats.
type counters map[uint16]uint64

func countersOf(words []uint64) counters {
	m := make(counters)
	for attr := uint16(family.AttrStatsPackets); int(1+attr-family.AttrStatsPackets) < len(words); attr++ {
		if words[0]&(1<<attr) != 0 {
			m[attr] = words[1+attr-family.AttrStatsPackets]
		}
	}
	return m
}

func statsOf(v *family.Stats) counters {
	return countersOf(unsafe.Slice((*uint64)(unsafe.Pointer(v)), unsafe.Sizeof(*v)/8))
}

func qstatsOf(v *family.Qstats) counters {
	return countersOf(unsafe.Slice((*uint64)(unsafe.Pointer(v)), unsafe.Sizeof(*v)/8))
}

// yard is a namespace with two pairs of veths, a Control of it and, if the module
// is loaded, a client of that.
type yard struct {
	*testing.T
	ns            *testutil.NetNS
	c             *native.Control
	module        *family.Client
	pass, verdict *ebpf.Program
}

func newYard(t *testing.T, port string) *yard {
	t.Helper()
	y := &yard{T: t, ns: testutil.NewNetNS(t)}
	y.c = newControl(t, y.ns)
	y.ns.AddVeth("veth0", "veth1", testutil.VethOptions{Queues: 1})
	y.ns.AddVeth("port0", "port1", testutil.VethOptions{Queues: 1})
	load := func(spec *ebpf.CollectionSpec, err error) *ebpf.Collection {
		if err != nil {
			t.Fatal(err)
		}
		coll, err := ebpf.NewCollection(spec)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(coll.Close)
		return coll
	}
	v := load(bpf.LoadVerdict())
	y.pass, y.verdict = load(bpf.LoadPass()).Programs[bpf.PassProgram], v.Programs[bpf.VerdictProgram]
	index := uint32(y.ns.Index(port))
	y.ns.Do(func() {
		if err := v.Maps[bpf.VerdictPorts].Put(uint32(0), index); err != nil {
			t.Error(err)
		}
	})
	return y
}

// loadModule loads the module until the test ends. It and the Control see the same
// frames then.
func loadModule(t *testing.T) {
	t.Helper()
	if err := testutil.LoadModule(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := testutil.UnloadModule(patience); err != nil {
			t.Error(err)
		}
	})
}

func (y *yard) dial() {
	y.Helper()
	client, err := family.Dial(family.Options{NetNS: y.ns.FD()})
	if err != nil {
		y.Fatal(err)
	}
	y.Cleanup(func() { client.Close() })
	y.module = client
	// The module takes note of every netdev that comes.
	if err := y.c.CountExceptions(y.Context()); err != nil {
		y.Fatal(err)
	}
}

func (y *yard) attach(p *ebpf.Program, mode family.Mode, devs ...string) {
	y.Helper()
	for _, dev := range devs {
		var v family.Prog
		v.SetFD(uint32(p.FD()))
		v.SetMode(mode)
		k := &family.ProgKey{Ifindex: uint32(y.ns.Index(dev)), Queue: family.QueueAll}
		if err := y.c.Prog().Update(y.Context(), k, &v, family.UpdateNoexist); err != nil {
			y.Fatal(err)
		}
		y.Cleanup(func() { y.c.Prog().Delete(context.Background(), k) })
	}
}

func (y *yard) send(from, to string) {
	y.Helper()
	src, err := y.ns.Link(from)
	if err != nil {
		y.Fatal(err)
	}
	dst, err := y.ns.Link(to)
	if err != nil {
		y.Fatal(err)
	}
	s, err := traffic.NewSender(traffic.SenderOptions{NetNS: y.ns.Path(), Dev: from, Src: src.Address, Dst: dst.Address})
	if err != nil {
		y.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(y.Context(), patience)
	defer cancel()
	if err := s.SendAll(ctx, sent); err != nil {
		y.Fatal(err)
	}
}

func (y *yard) stats(c family.Control, dev string) counters {
	y.Helper()
	var v family.Stats
	if err := c.Stats().Lookup(y.Context(), &family.StatsKey{Ifindex: uint32(y.ns.Index(dev))}, &v); err != nil {
		y.Fatal(err)
	}
	return statsOf(&v)
}

// counted waits until a netdev has counted as many more than before.
func (y *yard) counted(dev string, before, more counters) {
	y.Helper()
	want := maps.Clone(before)
	for attr, n := range more {
		want[attr] += n
	}
	var diff string
	if !testutil.Wait(patience, func() bool {
		diff = cmp.Diff(want, y.stats(y.c, dev))
		return diff == ""
	}) {
		y.Errorf("counters of %s, -want +got:\n%s", dev, diff)
	}
}

// vethMissing is what of a veth only somebody knows who watches all the time.
var vethMissing = []uint16{family.AttrStatsPackets, family.AttrStatsPass}

// same compares all statistics with the module's. Nothing else than vethMissing
// may be left out.
func (y *yard) same() {
	y.Helper()
	veth := make(map[uint32]bool)
	for _, dev := range []string{"veth0", "veth1", "port0", "port1"} {
		veth[uint32(y.ns.Index(dev))] = true
	}
	without := func(ifindex uint32, m counters) counters {
		maps.DeleteFunc(m, func(attr uint16, _ uint64) bool { return veth[ifindex] && slices.Contains(vethMissing, attr) })
		return m
	}
	for _, l := range y.ns.Links() {
		var diff string
		if !testutil.Wait(patience, func() bool {
			diff = cmp.Diff(without(uint32(l.Index), y.stats(y.module, l.Name)), y.stats(y.c, l.Name))
			return diff == ""
		}) {
			y.Errorf("counters of %s, -module +native:\n%s", l.Name, diff)
		}
	}
	queues := func(c family.Control) map[family.QstatsKey]counters {
		all := make(map[family.QstatsKey]counters)
		cur := c.Qstats().Cursor(y.Context(), nil)
		defer cur.Close()
		var k family.QstatsKey
		var v family.Qstats
		for cur.Next(&k, &v) {
			all[k] = without(k.Ifindex, qstatsOf(&v))
		}
		if err := cur.Err(); err != nil {
			y.Fatal(err)
		}
		return all
	}
	if diff := cmp.Diff(queues(y.module), queues(y.c)); diff != "" {
		y.Errorf("counters of queues, -module +native:\n%s", diff)
	}
}

// TestStatsLikeModule has the module count the same frames.
func TestStatsLikeModule(t *testing.T) {
	loadModule(t)
	t.Run("veth", func(t *testing.T) {
		y := newYard(t, "port0")
		y.dial()
		y.attach(y.pass, family.ModeNative, "veth0", "port1")
		y.attach(y.verdict, family.ModeNative, "veth1")
		y.same()
		y.send("veth0", "veth1")
		y.same()
		y.counted("veth1", counters{}, counters{
			family.AttrStatsAborted: 53, family.AttrStatsDrop: 23, family.AttrStatsInvalid: 67,
			family.AttrStatsRedirect: 41, family.AttrStatsRedirectErrors: 0, family.AttrStatsTX: 37,
			family.AttrStatsTXErrors: 0, family.AttrStatsXmitPackets: 0,
			family.AttrStatsExceptionAborted: 53, family.AttrStatsExceptionInvalid: 67,
			family.AttrStatsExceptionTX: 0, family.AttrStatsExceptionRedirect: 0,
		})
	})
	t.Run("veth that cannot send", func(t *testing.T) {
		y := newYard(t, "lo") // takes no redirected frames
		y.dial()
		y.attach(y.verdict, family.ModeNative, "veth1")
		y.send("veth0", "veth1")
		y.same()
	})
	t.Run("generic", func(t *testing.T) {
		y := newYard(t, "port0")
		y.dial()
		y.attach(y.verdict, family.ModeGeneric, "veth1")
		y.send("veth0", "veth1")
		y.same()
	})
	t.Run("virtio", func(t *testing.T) {
		// Not back out of a virtio_net device: it would come round again.
		y := newYard(t, "veth0")
		virtio := testbed.TakeVirtio(y.T, y.ns, y.ns)
		from, to := virtio[0], virtio[1]
		y.dial()
		y.attach(y.pass, family.ModeNative, "veth1")
		y.attach(y.verdict, family.ModeNative, to)
		y.send(from, to)
		y.same()
	})
}

// TestStatsVirtio has what a virtio_net device counts, without the module.
func TestStatsVirtio(t *testing.T) {
	y := newYard(t, "veth0")
	virtio := testbed.TakeVirtio(y.T, y.ns, y.ns)
	from, to := virtio[0], virtio[1]
	y.attach(y.pass, family.ModeNative, "veth1")
	y.attach(y.verdict, family.ModeNative, to)
	before := y.stats(y.c, to)
	y.send(from, to)
	more := counters{
		family.AttrStatsPackets: 232, family.AttrStatsAborted: 53, family.AttrStatsInvalid: 67,
		family.AttrStatsExceptionAborted: 53, family.AttrStatsExceptionInvalid: 67,
	}
	// Of one that had counted before the exceptions were, no more is known.
	for attr, n := range map[uint16]uint64{family.AttrStatsRedirect: 41, family.AttrStatsTX: 37} {
		if _, ok := before[attr]; ok {
			more[attr] = n
		}
	}
	// Nor of what is sent through it, once there was XDP_TX.
	delete(before, family.AttrStatsXmitPackets)
	y.counted(to, before, more)
}

// netdevCaps is what the netdev family says of a netdev; its numbers are those of
// Documentation/netlink/specs/netdev.yaml.
func (y *yard) netdevCaps(dev string) (f family.XDPAct, md family.XDPRXMetadata) {
	y.Helper()
	a := y.ns.NewGenl(y.T, "netdev").Do(1, 0, testutil.AttrU32(1, uint32(y.ns.Index(dev))))
	if a.Errno != 0 || len(a.Msgs) != 1 {
		y.Fatalf("dev-get: %v", a)
	}
	attrs := testutil.Attrs(a.Msgs[0].Attrs)
	return family.XDPAct(binary.NativeEndian.Uint64(attrs[3])), family.XDPRXMetadata(binary.NativeEndian.Uint64(attrs[5]))
}

// TestCaps has what netdevs can do: what the kernel says, or, where it does not,
// what newer ones say of the same.
func TestCaps(t *testing.T) {
	y := newYard(t, "lo")
	virtio := testbed.TakeVirtio(y.T, y.ns)[0]
	y.ns.AddDummy("dummy0")
	const (
		basic = family.XDPActBasic | family.XDPActRedirect
		sg    = family.XDPActRXSG
		xmit  = family.XDPActNDOXmit
		both  = xmit | family.XDPActNDOXmitSG
	)
	source, kernel := family.SourceDerived, testutil.KernelAtLeast(6, 3)
	if kernel {
		source = family.SourceKernel
	}
	check := func(derived map[string]family.XDPAct) {
		t.Helper()
		for dev, features := range derived {
			var metadata family.XDPRXMetadata
			if kernel {
				features, metadata = y.netdevCaps(dev)
			}
			var v family.Caps
			if err := y.c.Caps().Lookup(t.Context(), &family.CapsKey{Ifindex: uint32(y.ns.Index(dev))}, &v); err != nil {
				t.Fatal(err)
			}
			if v.XDPFeatures != features || v.XDPRXMetadataFeatures != metadata || v.Source != source ||
				v.Has(family.AttrCapsXDPRXMetadataFeatures) != kernel {
				t.Errorf("%s has features %v, metadata %v from %v, want %v, %v from %v", dev,
					v.XDPFeatures, v.XDPRXMetadataFeatures, v.Source, features, metadata, source)
			}
		}
	}
	check(map[string]family.XDPAct{"lo": 0, "dummy0": 0, "veth0": basic | sg, "veth1": basic | sg, virtio: basic})
	y.attach(y.pass, family.ModeNative, "veth1", virtio)
	check(map[string]family.XDPAct{"veth0": basic | sg | both, "veth1": basic | sg, virtio: basic | xmit})
}
