// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/loader"
	"github.com/xdpctl/xdpctl-nl/native"
	"github.com/xdpctl/xdpctl-nl/tests/testbed"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// bed is a path that frames are redirected on, from the namespace away through ns
// and back.
type bed struct {
	*testing.T
	*testbed.Path
	c *native.Control
}

func newBed(t *testing.T, o testbed.Options) *bed {
	t.Helper()
	return &bed{t, testbed.New(t, o), newControl(t, o.NS)}
}

func (b *bed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// loadVerdict loads the program that gives the verdict that a frame asks for.
func loadVerdict(t *testing.T, change func(*ebpf.CollectionSpec) error) *ebpf.Collection {
	t.Helper()
	spec, err := bpf.LoadVerdict()
	if err == nil && change != nil {
		err = change(spec)
	}
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

func redirect(num, size uint32) *family.Attr {
	v := &family.Attr{}
	v.SetCommand(family.CommandSetupRedirect)
	v.SetRingsNum(num)
	if size != 0 {
		v.SetRingsSize(size)
	}
	return v
}

func metering(on uint32) *family.Attr {
	v := &family.Attr{}
	v.SetCommand(family.CommandSetupMeter)
	v.SetEnableMeter(on)
	return v
}

func setAttr(t *testing.T, c *native.Control, index int, v *family.Attr) error {
	return c.Attr().Update(t.Context(), &family.AttrKey{Ifindex: uint32(index)}, v, family.UpdateAny)
}

func (b *bed) set(v *family.Attr) error { return setAttr(b.T, b.c, b.Out, v) }

func (b *bed) reset() error {
	return b.c.Attr().Delete(b.Ctx, &family.AttrKey{Ifindex: uint32(b.Out)})
}

func (b *bed) attr() (v family.Attr) {
	b.Helper()
	b.must(b.c.Attr().Lookup(b.Ctx, &family.AttrKey{Ifindex: uint32(b.Out)}, &v))
	return v
}

// rings checks what is reported.
func (b *bed) rings(what string, num, size uint32) {
	b.Helper()
	if v := b.attr(); v.RingsNum != num || v.RingsSize != size || v.Has(family.AttrAttrRingsSize) != (size != 0) {
		b.Errorf("%s: %d rings of %d, want %d of %d", what, v.RingsNum, v.RingsSize, num, size)
	}
}

// TestRedirectVeth shows that frames arrive on the peer of a veth with
// setup-redirect, and not without.
func TestRedirectVeth(t *testing.T) {
	ns, away := testutil.NewNetNS(t), testutil.NewNetNS(t)
	ns.AddVeth("out", "far", testutil.VethOptions{PeerNS: away, Queues: 4})
	// far sends by two queues, and out must have as many to receive.
	ns.Channels("out", 1)
	away.Channels("far", 2)
	b := newBed(t, testbed.Options{NS: ns, Away: away, Out: "out", Far: "far"})
	b.rings("before", 0, 0)
	b.Frames("before", false)
	b.must(b.set(redirect(3, 100)))
	b.Frames("set up", true)
	b.rings("set up", 3, 256)
	b.must(b.set(redirect(1, 0)))
	b.Frames("set up again", true)
	b.must(b.set(redirect(0, 0)))
	b.rings("undone", 0, 0)
	b.Frames("undone", false)
	if got := away.GetChannels("far").RX; got != 2 {
		t.Errorf("undone: far has %d RX queues, want 2", got)
	}
	b.must(b.set(redirect(1, 0)))
	b.Frames("set up after all", true)
	b.must(b.reset())
	b.Frames("deleted", false)
}

// TestRedirectVirtio shows the same on a driver that needs a program.
func TestRedirectVirtio(t *testing.T) {
	ns, away := testutil.NewNetNS(t), testutil.NewNetNS(t)
	virtio := testbed.TakeVirtio(t, ns, away)
	out, far := virtio[0], virtio[1]
	mac, err := away.Link(far)
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, testbed.Options{NS: ns, Away: away, Out: out, Far: far, Dst: mac.Address})
	b.rings("before", 0, 0)
	b.Frames("before", false)
	b.must(b.set(redirect(1, 0)))
	b.Frames("set up", true)
	v := b.attr()
	if v.PlaceholderProgID == 0 || v.RingsNum == 0 || v.RingsSize == 0 {
		t.Errorf("set up: %+v", v)
	}
	if got := ns.XDP(out).ProgID; got != v.PlaceholderProgID {
		t.Errorf("program %d is attached, and the placeholder is %d", got, v.PlaceholderProgID)
	}
	b.must(b.set(redirect(1, 0)))
	b.Frames("set up again", true)

	var prog family.Prog
	prog.SetFD(uint32(testutil.NewXDP(t, "real", 2).FD))
	key := &family.ProgKey{Ifindex: uint32(b.Out), Queue: family.QueueAll}
	b.must(b.c.Prog().Update(b.Ctx, key, &prog, family.UpdateAny))
	b.Frames("with a real program", true)
	if v := b.attr(); v.Has(family.AttrAttrPlaceholderProgID) || v.RingsNum == 0 {
		t.Errorf("with a real program: %+v", v)
	}
	b.must(b.c.Prog().Delete(b.Ctx, key))
	b.Frames("the real program gone", true)
	if v := b.attr(); !v.Has(family.AttrAttrPlaceholderProgID) {
		t.Errorf("the placeholder did not come back: %+v", v)
	}
	b.must(b.reset())
	b.rings("undone", 0, 0)
	b.Frames("undone", false)
	if got := ns.XDP(out); got.Attached != testutil.XDPAttachedNone {
		t.Errorf("undone: %+v", got)
	}

	// A program of somebody else's keeps the placeholder out.
	coll := loadVerdict(t, nil)
	l := testbed.AttachXDP(t, ns, b.Out, coll.Programs[bpf.VerdictProgram], link.XDPDriverMode)
	before := ns.GetChannels(out)
	if err := b.set(redirect(1, 0)); !errors.Is(err, unix.EBUSY) {
		t.Errorf("beside a program of somebody else: %v", err)
	}
	b.rings("refused", 0, 0)
	if got := ns.GetChannels(out); got != before {
		t.Errorf("refused: %+v, before %+v", got, before)
	}
	b.must(l.Close())
	b.must(b.set(redirect(1, 256)))
	b.Frames("after it", true)
	b.must(b.reset())
}

// TestPorts sends frames through ports, as they are bound at the moment.
func TestPorts(t *testing.T) {
	ns, away := testutil.NewNetNS(t), testutil.NewNetNS(t)
	ns.AddVeth("out", "far", testutil.VethOptions{PeerNS: away})
	b := newBed(t, testbed.Options{NS: ns, Away: away, Out: "out", Far: "far"})
	b.must(b.set(redirect(1, 0)))
	bind := func(port uint32, dev string) {
		t.Helper()
		var v family.Port
		v.SetIfindex(uint32(ns.Index(dev)))
		b.must(b.c.Port().Update(b.Ctx, &family.PortKey{Port: port}, &v, family.UpdateAny))
	}
	const in, to = uint32(traffic.Redirect), 9
	bind(to, "out")
	maps, err := loader.PortMaps(b.Ctx, b.c)
	b.must(err)
	defer loader.ClosePortMaps(maps)
	spec, err := bpf.LoadPort()
	b.must(err)
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: maps})
	b.must(err)
	defer coll.Close()
	ns.Del("s1")
	_, s1 := away.AddVeth("s0", "s1", testutil.VethOptions{PeerNS: ns})
	testbed.AttachXDP(t, ns, s1, coll.Programs[bpf.PortProgram], link.XDPDriverMode)
	b.must(b.Sender.Close())
	b.Sender, err = traffic.NewSender(traffic.SenderOptions{NetNS: away.Path(), Dev: "s0"})
	b.must(err)
	// A frame asks for a port, and arrives with the number of the one that it
	// came in through.
	b.Ask = to
	bind(in, "s1")
	b.Frames("bound", true)
	b.must(b.c.Port().Delete(b.Ctx, &family.PortKey{Port: to}))
	b.Frames("free", false)
	bind(to, "out")
	b.Frames("bound again", true)
}

// meterCase is where and how a program is metered.
type meterCase struct {
	name   string
	mode   link.XDPAttachFlags
	change func(*ebpf.CollectionSpec) error
}

// withoutType declares the context of the program as something else, so that
// the kernel does not know its members.
func withoutType(spec *ebpf.CollectionSpec) error {
	ins := &spec.Programs[bpf.VerdictProgram].Instructions[0]
	fn := *btf.FuncMetadata(ins)
	integer := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	other := &btf.Pointer{Target: &btf.Struct{Name: "frame", Size: 24}}
	fn.Type = &btf.FuncProto{Return: integer, Params: []btf.FuncParam{{Name: "ctx", Type: other}}}
	*ins = btf.WithFuncMetadata(*ins, &fn)
	return nil
}

func withMeter(spec *ebpf.CollectionSpec) error {
	return loader.AddMeter(spec, bpf.VerdictProgram)
}

// meterSent is frames by the verdict that they ask for.
var meterSent = traffic.Counts{
	traffic.Aborted: 3, traffic.Drop: 70, traffic.Pass: 11, traffic.Redirect: 5, traffic.Invalid: 9,
}

// TestMeter counts what a program returns, by a tap or by itself, in the
// statistics of a netdev.
func TestMeter(t *testing.T) {
	for _, tc := range []meterCase{
		{"native", link.XDPDriverMode, nil},
		{"generic", link.XDPGenericMode, nil},
		{"without type", link.XDPDriverMode, withoutType},
		{"by itself", link.XDPDriverMode, withMeter},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ns, away := testutil.NewNetNS(t), testutil.NewNetNS(t)
			in, _ := ns.AddVeth("in", "far", testutil.VethOptions{PeerNS: away, Queues: 2})
			meterFrames(t, ns, away, in, "far", nil, tc)
		})
	}
}

// TestMeterVirtio does so on a virtio_net device.
func TestMeterVirtio(t *testing.T) {
	ns, away := testutil.NewNetNS(t), testutil.NewNetNS(t)
	virtio := testbed.TakeVirtio(t, ns, away)
	in, far := virtio[0], virtio[1]
	mac, err := ns.Link(in)
	if err != nil {
		t.Fatal(err)
	}
	meterFrames(t, ns, away, mac.Index, far, mac.Address, meterCase{mode: link.XDPDriverMode})
}

func meterFrames(t *testing.T, ns, away *testutil.NetNS, in int, far string, dst []byte, tc meterCase) {
	t.Helper()
	c := newControl(t, ns)
	p := loadVerdict(t, tc.change).Programs[bpf.VerdictProgram]
	var v family.Prog
	v.SetFD(uint32(p.FD()))
	v.SetMode(family.ModeNative)
	if tc.mode == link.XDPGenericMode {
		v.SetMode(family.ModeGeneric)
	}
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Prog().Update(ctx, &family.ProgKey{Ifindex: uint32(in), Queue: family.QueueAll}, &v, family.UpdateAny))
	s, err := traffic.NewSender(traffic.SenderOptions{NetNS: away.Path(), Dev: far, Dst: dst})
	must(err)
	defer s.Close()
	key := &family.StatsKey{Ifindex: uint32(in)}
	counted := func(what string, want string) {
		t.Helper()
		var got string
		testutil.Wait(10*time.Second, func() bool {
			var v family.Stats
			must(c.Stats().Lookup(ctx, key, &v))
			got = fmt.Sprintf("%d aborted, %d drop, %d pass, %d redirect, %d invalid, %d in all", v.Aborted, v.Drop, v.Pass, v.Redirect, v.Invalid, v.Packets)
			if !v.Has(family.AttrStatsMetered) {
				got = ""
			}
			return got == want
		})
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	must(s.SendAll(ctx, meterSent))
	counted("off", "")
	must(setAttr(t, c, in, metering(1)))
	counted("on", "0 aborted, 0 drop, 0 pass, 0 redirect, 0 invalid, 0 in all")
	must(s.SendAll(ctx, meterSent))
	// A redirect has no netdev to go to, and is aborted.
	counted("sent", "8 aborted, 70 drop, 11 pass, 0 redirect, 9 invalid, 98 in all")
	must(s.SendAll(ctx, meterSent))
	counted("sent again", "16 aborted, 140 drop, 22 pass, 0 redirect, 18 invalid, 196 in all")
	must(setAttr(t, c, in, metering(0)))
	counted("turned off", "")
	must(setAttr(t, c, in, metering(1)))
	must(s.SendAll(ctx, meterSent))
	counted("anew", "8 aborted, 70 drop, 11 pass, 0 redirect, 9 invalid, 98 in all")
	must(c.Attr().Delete(ctx, &family.AttrKey{Ifindex: uint32(in)}))
	must(c.Prog().Delete(ctx, &family.ProgKey{Ifindex: uint32(in), Queue: family.QueueAll}))
}
