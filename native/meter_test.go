// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/loader"
)

// verdictProgram loads the program that answers with the verdict it is asked for.
func verdictProgram(t *testing.T, metered bool) *ebpf.Program {
	t.Helper()
	spec, err := bpf.LoadVerdict()
	if err == nil && metered {
		err = loader.AddMeter(spec, bpf.VerdictProgram)
	}
	if err != nil {
		t.Fatal(err)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(coll.Close)
	return coll.Programs[bpf.VerdictProgram]
}

func progID(t *testing.T, p *ebpf.Program) uint32 {
	t.Helper()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return uint32(id)
}

// meterBed is a veth that frames come in on.
type meterBed struct {
	*testing.T
	ns     *testutil.NetNS
	c      *Control
	dev    int
	socket int
	sent   map[byte]uint64
}

func newMeterBed(t *testing.T) *meterBed {
	t.Helper()
	ns := testutil.NewNetNS(t)
	b := &meterBed{T: t, ns: ns, c: newControl(t, ns, newBPFFS(t)), sent: map[byte]uint64{}}
	var from int
	from, b.dev = ns.AddVeth("a", "b", testutil.VethOptions{Queues: 1})
	b.socket = ns.PacketSocket(from, 0)
	return b
}

func (b *meterBed) attach(p *ebpf.Program, flags uint32) {
	b.Helper()
	if err := b.ns.SetXDP("b", p.FD(), flags); err != nil {
		b.Fatal(err)
	}
}

// send sends frames that ask for verdicts.
func (b *meterBed) send(n int, verdicts ...byte) {
	b.Helper()
	for _, v := range verdicts {
		frame := make([]byte, 60)
		frame[12], frame[13], frame[14] = bpf.EtherType>>8, bpf.EtherType&0xff, v
		for range n {
			if _, err := unix.Write(b.socket, frame); err != nil {
				b.Fatal(err)
			}
		}
		b.sent[v] += uint64(n)
	}
}

// read reads the meter, nil if it does not count.
func (b *meterBed) read() (m *meterCounters) {
	b.Helper()
	if err := b.c.inNetNS(func() (err error) {
		m, err = b.c.meterCounters(uint32(b.dev))
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return m
}

// counted checks that the meter has counted what was sent since it was reset.
func (b *meterBed) counted(what string) {
	b.Helper()
	want := loader.MeterVerdicts{
		Aborted: b.sent[0], Drop: b.sent[1], Pass: b.sent[2], TX: b.sent[3], Redirect: b.sent[4],
		Invalid: b.sent[5] + b.sent[255],
	}
	var got *meterCounters
	testutil.Wait(2*time.Second, func() bool {
		got = b.read()
		return got != nil && got.all == want
	})
	if got == nil {
		b.Errorf("%s: the meter does not count", what)
		return
	}
	if diff := cmp.Diff(want, got.all); diff != "" {
		b.Errorf("%s: -sent +counted:\n%s", what, diff)
	}
	if diff := cmp.Diff([]loader.MeterVerdicts{want}, got.queues); diff != "" {
		b.Errorf("%s: by queue, -sent +counted:\n%s", what, diff)
	}
}

// meter turns the meter on or off. P is the program given, or nil.
func (b *meterBed) meter(on uint32, p *ebpf.Program) error {
	b.Helper()
	fill := []func(v *family.Attr){enableMeter(on)}
	if p != nil {
		fill = append(fill, withFD(uint32(p.FD())))
	}
	return setAttr(b.c, b.dev, family.UpdateAny, fill...)
}

func (b *meterBed) on(what string, want uint32) {
	b.Helper()
	if got := getAttr(b.T, b.c, b.dev).EnableMeter; got != want {
		b.Errorf("%s: enable-meter %d, want %d", what, got, want)
	}
}

// TestMeter counts what a program returns that somebody else attached, from when
// the meter is turned on to when it is turned off, by a tap or by the program
// itself.
func TestMeter(t *testing.T) {
	fexit := hasFexit()
	for _, tc := range []struct {
		name    string
		metered bool
		flags   uint32
	}{
		{"own native", true, unix.XDP_FLAGS_DRV_MODE},
		{"own generic", true, unix.XDP_FLAGS_SKB_MODE},
		{"tap native", false, unix.XDP_FLAGS_DRV_MODE},
		{"tap generic", false, unix.XDP_FLAGS_SKB_MODE},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newMeterBed(t)
			p, other := verdictProgram(t, tc.metered), verdictProgram(t, tc.metered)
			b.attach(p, tc.flags)
			wantErr(t, "nothing given", b.meter(1, nil), unix.EINVAL,
				fmt.Sprintf("program %d was attached by somebody else: give its file descriptor as well (fd)", progID(t, p)))
			wantErr(t, "another given", b.meter(1, other), unix.EINVAL,
				fmt.Sprintf("program %d is given, but program %d is attached", progID(t, other), progID(t, p)))
			b.on("refused", 0)
			noState(t, b.c, b.dev)
			if !tc.metered && !fexit {
				wantErr(t, "the kernel allows no tap", b.meter(1, p), unix.EOPNOTSUPP,
					fmt.Sprintf("the kernel does not let the meter count the verdicts of program %d (error -1)", progID(t, p)))
				noState(t, b.c, b.dev)
				return
			}
			b.send(3, 1, 2) // before
			clear(b.sent)
			for range 2 {
				wantErr(t, "on", b.meter(1, p), 0, "")
			}
			b.on("on", 1)
			b.send(3, 0, 1, 2, 5, 255)
			b.counted("on")

			// Behind our back: unknown from then on.
			if err := b.ns.SetXDP("b", -1, tc.flags); err != nil {
				t.Fatal(err)
			}
			b.counted("no program")
			b.attach(other, tc.flags)
			if m := b.read(); m != nil {
				t.Errorf("somebody else's program is metered: %+v", m)
			}
			b.on("somebody else's program", 1)
			wantErr(t, "on again", b.meter(1, other), 0, "")
			b.send(2, 1, 2, 5)
			b.counted("on again")

			wantErr(t, "off", b.meter(0, nil), 0, "")
			b.on("off", 0)
			noState(t, b.c, b.dev)
			b.send(1, 1)
			clear(b.sent)
			wantErr(t, "on anew", b.meter(1, other), 0, "")
			b.send(1, 2)
			b.counted("on anew")
			wantErr(t, "reset", resetAttr(b.c, b.dev), 0, "")
			noState(t, b.c, b.dev)
		})
	}
}

// TestMeterFollows puts programs in the place of others while frames come in, as
// a change of programs does: not a verdict is missed.
func TestMeterFollows(t *testing.T) {
	metered := !hasFexit()
	b := newMeterBed(t)
	progs := []*ebpf.Program{verdictProgram(t, metered), verdictProgram(t, metered)}
	wantErr(t, "on", b.meter(1, nil), 0, "") // there is no program
	b.on("on", 1)
	b.counted("no program")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int)
	put := func(p *ebpf.Program) error {
		return b.c.change(t.Context(), func() error {
			dev := uint32(b.dev)
			if err := b.c.meterNext(dev, p); err != nil {
				return err
			}
			b.attach(p, unix.XDP_FLAGS_DRV_MODE)
			return b.c.meterFollow(ctx, dev)
		})
	}
	if err := put(progs[0]); err != nil {
		t.Fatal(err)
	}
	go func() {
		n := 0
		for ; ctx.Err() == nil || n < 10; n++ {
			if err := put(progs[n%2]); err != nil {
				t.Error(err)
			}
		}
		done <- n
	}()
	for range 20 {
		b.send(50, 0, 1)
		time.Sleep(time.Millisecond)
	}
	cancel()
	t.Logf("replaced %d times", <-done)
	b.counted("replaced")
	if metered {
		return
	}
	none := testutil.NewXDP(t, "none", 1)
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(none.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	wantErr(t, "one without BTF", put(p), unix.EOPNOTSUPP,
		fmt.Sprintf("the meter is for programs with BTF, and program %d has none", none.ID))
	b.counted("refused")
}

// TestMeterOwn counts the verdicts of a program that was attached here, and those
// of programs of RX queues, which the dispatcher calls.
func TestMeterOwn(t *testing.T) {
	metered := !hasFexit()
	b := newMeterBed(t)
	set := func(queue uint32, p *ebpf.Program) {
		t.Helper()
		var v family.Prog
		v.SetFD(uint32(p.FD()))
		k := &family.ProgKey{Ifindex: uint32(b.dev), Queue: queue}
		if err := b.c.Prog().Update(t.Context(), k, &v, family.UpdateAny); err != nil {
			t.Fatal(err)
		}
	}
	del := func(queue uint32) {
		t.Helper()
		k := &family.ProgKey{Ifindex: uint32(b.dev), Queue: queue}
		if err := b.c.Prog().Delete(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	p, other := verdictProgram(t, metered), verdictProgram(t, metered)
	set(family.QueueAll, p)
	wantErr(t, "on", b.meter(1, nil), 0, "")
	b.send(3, 0, 1, 2, 255)
	b.counted("on")
	set(family.QueueAll, other)
	b.send(3, 0, 1, 2, 255)
	b.counted("replaced")
	set(0, p)
	b.send(3, 0, 1, 2, 255)
	b.counted("dispatched")
	del(0)
	b.send(3, 0, 1, 2, 255)
	b.counted("the queue without a program")
	del(family.QueueAll)
	b.counted("no program")
	taps, err := b.c.meterPins(uint32(b.dev), pinTap)
	if err != nil || len(taps) != 0 {
		t.Errorf("taps are left: %v, %v", taps, err)
	}
	wantErr(t, "reset", resetAttr(b.c, b.dev), 0, "")
	noState(t, b.c, b.dev)
}
