// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// Numbers of the netdev family, from Documentation/netlink/specs/netdev.yaml.
const (
	netdevCmdDevGet   = 1
	netdevIfindex     = 1
	netdevXDPFeatures = 3
	netdevZCMaxSegs   = 4
	netdevRXMetadata  = 5
)

// features is what the netdev family and ours both tell.
type features struct {
	XDPFeatures, RXMetadata uint64
	ZCMaxSegs               uint32 // 0: absent
}

// TestCapsKernel compares caps with what the kernel's own netdev family says
// of the same netdevs, without programs and with: some drivers change their
// features with the program.
func TestCapsKernel(t *testing.T) { eachBackend(t, testCapsKernel) }

func testCapsKernel(t *testing.T, b backend) {
	if !testutil.KernelAtLeast(6, 3) {
		t.Log("this kernel has no xdp_features: see TestCapsDerived")
		return
	}
	w := newWorld(t, b)
	virtio := w.takeVirtio()
	w.sameCaps("without programs")
	for _, dev := range []string{"veth1", virtio} {
		if err := add("pass", native)(w, w.other(), dev); err != nil {
			t.Fatal(err)
		}
	}
	w.sameCaps("with programs")
}

// sameCaps compares the caps of all netdevs with the netdev family's.
func (w *world) sameCaps(when string) {
	w.Helper()
	want := make(map[uint32]features)
	a := w.ns.NewGenl(w.T, "netdev").Do(netdevCmdDevGet, unix.NLM_F_DUMP, nil)
	if a.Errno != 0 {
		w.Fatalf("dev-get: %v", a)
	}
	for _, m := range a.Msgs {
		attrs := testutil.Attrs(m.Attrs)
		f := features{XDPFeatures: binary.NativeEndian.Uint64(attrs[netdevXDPFeatures])}
		if b := attrs[netdevRXMetadata]; b != nil {
			f.RXMetadata = binary.NativeEndian.Uint64(b)
		}
		if b := attrs[netdevZCMaxSegs]; b != nil {
			f.ZCMaxSegs = binary.NativeEndian.Uint32(b)
		}
		want[binary.NativeEndian.Uint32(attrs[netdevIfindex])] = f
	}
	for _, d := range w.ways {
		got := make(map[uint32]features)
		for _, e := range entries(w, w.doors[d.name].Caps(), nil) {
			v := &e.Value
			if v.Source != family.SourceKernel {
				w.Errorf("source of %d is %v at the %s door", e.Key.Ifindex, v.Source, d.name)
			}
			if v.Has(family.AttrCapsXDPZCMaxSegs) != (v.XDPFeatures&family.XDPActXSKZerocopy != 0) {
				w.Errorf("%d has features %v and xdp-zc-max-segs %v", e.Key.Ifindex, v.XDPFeatures, v.Has(family.AttrCapsXDPZCMaxSegs))
			}
			got[e.Key.Ifindex] = features{uint64(v.XDPFeatures), uint64(v.XDPRXMetadataFeatures), v.XDPZCMaxSegs}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			w.Errorf("caps %s, -netdev family +%s door:\n%s", when, d.name, diff)
		}
	}
}

// TestCapsDerived is for kernels that do not know the features of their
// netdevs. What is wanted is what newer kernels say of the same netdevs.
func TestCapsDerived(t *testing.T) { eachBackend(t, testCapsDerived) }

func testCapsDerived(t *testing.T, b backend) {
	if testutil.KernelAtLeast(6, 3) {
		t.Log("this kernel has xdp_features: see TestCapsKernel")
		return
	}
	w := newWorld(t, b)
	virtio := w.takeVirtio()
	const (
		basic = family.XDPActBasic | family.XDPActRedirect
		sg    = family.XDPActRXSG
		xmit  = family.XDPActNDOXmit
		both  = xmit | family.XDPActNDOXmitSG
	)
	w.derivedCaps(map[string]family.XDPAct{
		"lo": 0, "xdpctl0": 0, "dummy0": 0, "veth0": basic | sg, "veth1": basic | sg, virtio: basic,
	})
	for _, dev := range []string{"veth1", virtio} {
		if err := add("pass", native)(w, w.other(), dev); err != nil {
			t.Fatal(err)
		}
	}
	w.derivedCaps(map[string]family.XDPAct{
		"veth0": basic | sg | both, "veth1": basic | sg, virtio: basic | xmit,
	})
}

// derivedCaps compares the features of netdevs with what is wanted.
func (w *world) derivedCaps(want map[string]family.XDPAct) {
	w.Helper()
	for dev, features := range want {
		for _, d := range w.ways {
			var v family.Caps
			if err := w.doors[d.name].Caps().Lookup(w.ctx, &family.CapsKey{Ifindex: uint32(w.ns.Index(dev))}, &v); err != nil {
				w.Fatal(err)
			}
			if v.Source != family.SourceDerived {
				w.Errorf("source of %s is %v at the %s door", dev, v.Source, d.name)
			}
			if v.XDPFeatures != features {
				w.Errorf("%s has features %v at the %s door, want %v", dev, v.XDPFeatures, d.name, features)
			}
			if v.Has(family.AttrCapsXDPRXMetadataFeatures) {
				w.Errorf("%s has RX metadata at the %s door", dev, d.name)
			}
		}
	}
}

// TestCapsQueues checks queue counts and drivers.
func TestCapsQueues(t *testing.T) { eachBackend(t, testCapsQueues) }

func testCapsQueues(t *testing.T, b backend) {
	w := newWorld(t, b)
	w.ns.AddVeth("mq0", "mq1", testutil.VethOptions{Queues: 3})
	for dev, want := range map[string]family.Caps{
		"mq0":    {RXQueues: 3, TXQueues: 3, MaxRXQueues: 3, MaxTXQueues: 3},
		"dummy0": {RXQueues: 1, TXQueues: 1, MaxRXQueues: 1, MaxTXQueues: 1},
	} {
		var v family.Caps
		if err := w.other().Caps().Lookup(w.ctx, &family.CapsKey{Ifindex: uint32(w.ns.Index(dev))}, &v); err != nil {
			t.Fatal(err)
		}
		got := family.Caps{RXQueues: v.RXQueues, TXQueues: v.TXQueues, MaxRXQueues: v.MaxRXQueues, MaxTXQueues: v.MaxTXQueues}
		if got != want {
			t.Errorf("%s has queues %+v, want %+v", dev, got, want)
		}
	}
	var v family.Caps
	if err := w.one().Caps().Lookup(w.ctx, &family.CapsKey{Ifindex: uint32(w.ns.Index("veth0"))}, &v); err != nil {
		t.Fatal(err)
	}
	if got := v.Driver.String(); got != "veth" {
		t.Errorf("driver of veth0 is %q", got)
	}
}
