// SPDX-License-Identifier: BSD-3-Clause

// Package testbed is what several test suites send frames through.
package testbed

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// Options say where frames go, and what address they carry.
type Options struct {
	NS, Away *testutil.NetNS
	Out, Far string // netdevs, in NS and in Away
	Dst      []byte
}

// Path redirects frames: those that leave Away by s0 reach s1 in NS, where a
// program redirects them to Out; what that sends is counted on Far. The stack
// sends by Out as well.
type Path struct {
	Away    *testutil.NetNS
	Out     int // its ifindex
	Ctx     context.Context
	Sender  *traffic.Sender
	Ask     traffic.Verdict // of the frames of Frames
	Arrived uint64          // what should have

	t       testing.TB
	counter *traffic.Counter
	marker  *traffic.Sender
	marked  uint64
}

// New makes a path, which goes with the test.
func New(t testing.TB, o Options) *Path {
	t.Helper()
	p := &Path{t: t, Away: o.Away, Out: o.NS.Index(o.Out), Ask: traffic.Redirect}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, s1 := o.Away.AddVeth("s0", "s1", testutil.VethOptions{PeerNS: o.NS})
	s, err := bpf.OpenAndLoadVerdict(nil)
	must(err)
	t.Cleanup(func() { s.Close() })
	AttachXDP(t, o.NS, s1, s.Programs.Verdict.Prog, link.XDPDriverMode)
	o.NS.Do(func() { err = s.Maps.VerdictPorts.Put(0, uint32(p.Out)) })
	must(err)

	var cancel context.CancelFunc
	p.Ctx, cancel = context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	p.Sender, err = traffic.NewSender(traffic.SenderOptions{NetNS: o.Away.Path(), Dev: "s0", Dst: o.Dst})
	must(err)
	t.Cleanup(func() { p.Sender.Close() })
	p.counter, err = traffic.NewCounter(traffic.CounterOptions{NetNS: o.Away.Path(), Dev: o.Far})
	must(err)
	t.Cleanup(func() { p.counter.Close() })
	p.marker, err = traffic.NewSender(traffic.SenderOptions{
		NetNS: o.NS.Path(), Dev: o.Out, Dst: o.Dst,
		Taken: func() (uint64, error) {
			counts, err := p.counter.Counts()
			return counts[traffic.Pass], err
		},
	})
	must(err)
	t.Cleanup(func() { p.marker.Close() })
	return p
}

// Frames sends some frames, all of which arrive, or none.
func (p *Path) Frames(what string, arrive bool) {
	p.t.Helper()
	const n = 200
	if err := p.Sender.Send(p.Ctx, p.Ask, n); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
	if arrive {
		p.Arrived += n
	}
	p.Settle(what)
}

// Settle checks that what should have arrived has, and no more. A frame from the
// stack of Out comes after all that came before.
func (p *Path) Settle(what string) {
	p.t.Helper()
	if err := p.marker.Send(p.Ctx, traffic.Pass, 1); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
	p.marked++
	if err := p.counter.Wait(p.Ctx, traffic.Counts{traffic.Redirect: p.Arrived, traffic.Pass: p.marked}); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// AttachXDP attaches a program with a link of the test's own.
func AttachXDP(t testing.TB, ns *testutil.NetNS, index int, p *ebpf.Program, mode link.XDPAttachFlags) link.Link {
	t.Helper()
	var l link.Link
	var err error
	ns.Do(func() {
		l, err = link.AttachXDP(link.XDPOptions{Program: p, Interface: index, Flags: mode})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TakeVirtio moves a virtio_net device that nobody has taken into each of the
// namespaces, until the test ends, and returns their names.
func TakeVirtio(t testing.TB, to ...*testutil.NetNS) (names []string) {
	t.Helper()
	initial := testutil.InitialNetNS(t)
	for _, l := range initial.Links() {
		driver, err := os.Readlink(filepath.Join("/sys/class/net", l.Name, "device/driver"))
		if err == nil && filepath.Base(driver) == "virtio_net" {
			names = append(names, l.Name)
		}
	}
	if len(names) < len(to) {
		t.Fatalf("there are no %d virtio_net devices: vmrun wants -nics 2", len(to))
	}
	for i, ns := range to {
		if err := initial.Move(names[i], ns); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := ns.Move(names[i], initial); err != nil {
				t.Error(err)
			}
		})
		ns.Up(names[i])
	}
	return names[:len(to)]
}
