// SPDX-License-Identifier: BSD-3-Clause

// Package meter shows that the meter counts each verdict exactly, per RX queue,
// of any kind of program, and that nothing is left of it when it goes. What it
// counts is compared with what the programs have counted themselves.
package meter

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/ctlmap"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

const (
	// queues is how many each end of the veth has.
	queues = 4
	// port is where the frames go, so that no others are counted.
	port = 4747
	// patience is how long the kernel may take for what it defers; the debug
	// kernel takes long.
	patience = 60 * time.Second
	// xdpFrags and devBound are flags of BPF_PROG_LOAD.
	xdpFrags = unix.BPF_F_XDP_HAS_FRAGS
	devBound = 1 << 6
)

// kind is a kind of verdict: an XDP action, or an invalid one.
type kind int

const (
	aborted kind = iota
	drop
	pass
	tx
	redirect
	invalid
	kinds
)

// counts is verdicts by RX queue and kind.
type counts [queues][kinds]uint64

func (c *counts) total() (n uint64) {
	for _, queue := range c {
		for _, k := range queue {
			n += k
		}
	}
	return n
}

// sum is the verdicts of all queues.
func (c *counts) sum() (s [kinds]uint64) {
	for _, queue := range c {
		for k, n := range queue {
			s[k] += n
		}
	}
	return s
}

func (c *counts) add(other counts) {
	for q := range c {
		for k := range c[q] {
			c[q][k] += other[q][k]
		}
	}
}

// xdpMain is the BTF of a main function: its argument, and its linkage.
func xdpMain(arg btf.Type, linkage btf.FuncLinkage) *btf.Func {
	return &btf.Func{
		Name:    "judge",
		Linkage: linkage,
		Type: &btf.FuncProto{
			Return: &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed},
			Params: []btf.FuncParam{{Name: "ctx", Type: arg}},
		},
	}
}

// xdpMD is struct xdp_md *.
var xdpMD btf.Type = &btf.Pointer{Target: &btf.Struct{Name: "xdp_md", Size: 24}}

// prog is a program that answers our frames with the verdict in their first byte
// of payload and counts them by RX queue and kind. It passes all others.
type prog struct {
	*ebpf.Program
	seen *ebpf.Map
}

// id is the id of the program.
func (p *prog) id(t *testing.T) uint32 {
	t.Helper()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return uint32(id)
}

// counted is what the program has seen.
func (p *prog) counted(t *testing.T) (c counts) {
	t.Helper()
	for q := range uint32(queues) {
		if err := p.seen.Lookup(q, &c[q]); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// judge is the instructions of such a program. At its end r0 is the verdict, and
// after the symbol "pass" it is XDP_PASS; end returns it.
func judge(seen *ebpf.Map, fn *btf.Func, end ...asm.Instruction) asm.Instructions {
	const protoOff, portOff, verdictOff = 12, 14 + 20 + 2, 14 + 20 + 8
	first := asm.Mov.Reg(asm.R6, asm.R1).WithSymbol("judge")
	if fn != nil {
		first = btf.WithFuncMetadata(first, fn)
	}
	ins := asm.Instructions{
		first,
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // data
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word), // data_end
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, verdictOff+1),
		asm.JGT.Reg(asm.R4, asm.R3, "pass"),
		asm.LoadMem(asm.R5, asm.R2, protoOff, asm.Half),
		asm.JNE.Imm(asm.R5, 0x0008, "pass"),
		asm.LoadMem(asm.R5, asm.R2, portOff, asm.Half),
		asm.JNE.Imm(asm.R5, int32(port>>8|port&0xff<<8), "pass"),
		asm.LoadMem(asm.R7, asm.R2, verdictOff, asm.Byte),
		asm.LoadMem(asm.R2, asm.R6, 16, asm.Word), // rx_queue_index
		asm.StoreMem(asm.RFP, -4, asm.R2, asm.Word),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, seen.FD()),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.JLE.Imm(asm.R1, int32(redirect), "valid"),
		asm.Mov.Imm(asm.R1, int32(invalid)),
		asm.LSh.Imm(asm.R1, 3).WithSymbol("valid"),
		asm.Add.Reg(asm.R0, asm.R1),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R0, asm.R7),
		asm.Ja.Label("end"),
		asm.Mov.Imm(asm.R0, int32(pass)).WithSymbol("pass"),
	}
	end[0] = end[0].WithSymbol("end")
	return append(ins, end...)
}

// newProg loads such a program. Change may make it another kind.
func newProg(t *testing.T, change func(spec *ebpf.ProgramSpec, seen *ebpf.Map)) *prog {
	t.Helper()
	seen, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "seen", Type: ebpf.Array, KeySize: 4, ValueSize: 8 * uint32(kinds), MaxEntries: queues,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { seen.Close() })
	spec := &ebpf.ProgramSpec{
		Name: "judge", Type: ebpf.XDP, AttachType: ebpf.AttachXDP, License: "GPL",
		Instructions: judge(seen, xdpMain(xdpMD, btf.GlobalFunc), asm.Return()),
	}
	if change != nil {
		change(spec, seen)
	}
	p, err := ebpf.NewProgram(spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { p.Close() })
	return &prog{p, seen}
}

// bed is a veth whose end rx takes programs and whose other end tx sends.
type bed struct {
	*testing.T
	left, right *testutil.NetNS
	rx          uint32
	fd          int
	sll         *unix.SockaddrLinklayer
	ctl         family.Control // over netlink
	maps        family.Control // over control maps
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{T: t, left: testutil.NewNetNS(t), right: testutil.NewNetNS(t)}
	b.right.AddControl("xdpctl0")
	tx, rx := b.left.AddVeth("tx", "rx", testutil.VethOptions{Queues: queues, PeerNS: b.right})
	b.rx = uint32(rx)
	b.sll = &unix.SockaddrLinklayer{Ifindex: tx, Halen: 6}
	b.fd = b.left.PacketSocket(tx, 0)
	b.open()
	return b
}

// open opens the doors of the namespace that rx is in.
func (b *bed) open() {
	b.Helper()
	ctl, err := family.Dial(family.Options{NetNS: b.right.FD()})
	b.must(err)
	b.Cleanup(func() { ctl.Close() })
	maps, err := ctlmap.Open(ctlmap.Options{NetNS: b.right.FD()})
	b.must(err)
	b.Cleanup(func() { maps.Close() })
	b.ctl, b.maps = ctl, maps
}

// must fails the test for an error.
func (b *bed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// frame is a frame of a flow and of a kind.
func frame(flow int, k kind) []byte {
	f := testutil.UDPFrame(flow, port)
	f[testutil.UDPPayload] = byte(k)
	if k == invalid {
		f[testutil.UDPPayload] = 0xee
	}
	return f
}

// send sends n frames of all kinds and many flows, a few at a time so that none
// is lost for want of room, until the programs have seen them all, and returns
// what they have seen of them.
func (b *bed) send(n int, progs ...*prog) counts {
	b.Helper()
	const window = 32
	seen := func() (c counts) {
		for _, p := range progs {
			c.add(p.counted(b.T))
		}
		return c
	}
	before := seen()
	total := before.total()
	for i := range n {
		b.must(unix.Sendto(b.fd, frame(i%501, kind(i%int(kinds))), 0, b.sll))
		if i%window < window-1 && i < n-1 {
			continue
		}
		if !testutil.Wait(patience, func() bool {
			now := seen()
			return now.total() == total+uint64(i+1)
		}) {
			now := seen()
			b.Fatalf("%d frames were sent, and the programs have seen %d", i+1, now.total()-total)
		}
	}
	now := seen()
	for q := range now {
		for k := range now[q] {
			now[q][k] -= before[q][k]
		}
	}
	return now
}

// attach puts a program on rx.
func (b *bed) attach(p *prog, queue uint32, mode family.Mode) error {
	var v family.Prog
	v.SetFD(uint32(p.FD()))
	if mode != 0 {
		v.SetMode(mode)
	}
	return b.ctl.Prog().Update(b.Context(), &family.ProgKey{Ifindex: b.rx, Queue: queue}, &v, family.UpdateAny)
}

func (b *bed) detach(queue uint32) error {
	return b.ctl.Prog().Delete(b.Context(), &family.ProgKey{Ifindex: b.rx, Queue: queue})
}

// meterOf turns the meter of a netdev on or off. A program is given if it is not
// NULL.
func (b *bed) meterOf(c family.Control, ifindex uint32, on bool, p *prog) error {
	v := &family.Attr{}
	v.SetCommand(family.CommandSetupMeter)
	v.SetEnableMeter(0)
	if on {
		v.SetEnableMeter(1)
	}
	if p != nil {
		v.SetFD(uint32(p.FD()))
	}
	return c.Attr().Update(b.Context(), &family.AttrKey{Ifindex: ifindex}, v, family.UpdateAny)
}

func (b *bed) meter(on bool) error { return b.meterOf(b.ctl, b.rx, on, nil) }

// read returns what the netdev says of all its queues together, and whether the
// meter counted it.
func (b *bed) read(c family.Control, ifindex uint32) (n [kinds]uint64, metered bool) {
	b.Helper()
	var v family.Stats
	b.must(c.Stats().Lookup(b.Context(), &family.StatsKey{Ifindex: ifindex}, &v))
	n = [kinds]uint64{v.Aborted, v.Drop, v.Pass, v.TX, v.Redirect, v.Invalid}
	if metered = v.Has(family.AttrStatsMetered); !metered {
		return n, false
	}
	var sum uint64
	for _, k := range n {
		sum += k
	}
	if v.Packets != sum {
		b.Errorf("%d packets, but %d verdicts", v.Packets, sum)
	}
	return n, true
}

// counted waits until the meter has counted what is in want, at every door, for
// the netdev and for each of its queues.
func (b *bed) counted(want counts) {
	b.Helper()
	for _, c := range []family.Control{b.ctl, b.maps} {
		var diff string
		if !testutil.Wait(patience, func() bool {
			got, ok := b.read(c, b.rx)
			diff = cmp.Diff(want.sum(), got)
			return ok && diff == ""
		}) {
			b.Errorf("%s door, -sent +counted:\n%s", c.Name(), diff)
		}
		var got counts
		var listed []uint32
		for e, err := range family.All(b.Context(), c.Qstats(), nil) {
			b.must(err)
			if e.Key.Ifindex != b.rx {
				continue
			}
			listed = append(listed, e.Key.Queue)
			v := e.Value
			if !v.Has(family.AttrStatsMetered) || int(e.Key.Queue) >= queues {
				b.Errorf("%s door: queue %d, metered %#x", c.Name(), e.Key.Queue, v.Metered)
				continue
			}
			got[e.Key.Queue] = [kinds]uint64{v.Aborted, v.Drop, v.Pass, v.TX, v.Redirect, v.Invalid}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			b.Errorf("%s door, by queue, -sent +counted:\n%s", c.Name(), diff)
		}
		if diff := cmp.Diff([]uint32{0, 1, 2, 3}, listed); diff != "" {
			b.Errorf("%s door, queues (-want +got):\n%s", c.Name(), diff)
		}
	}
}

// refused checks an error and its text.
func (b *bed) refused(what string, err error, errno unix.Errno, format string, args ...any) {
	b.Helper()
	text := fmt.Sprintf(format, args...)
	if !errors.Is(err, errno) || !strings.Contains(err.Error(), text) {
		b.Errorf("%s: got %v\nwant %v: %s", what, err, errno, text)
	}
}
