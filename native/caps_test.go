// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"encoding/binary"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/ethtool"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func (b *statsBed) caps(dev string) *family.Caps {
	b.Helper()
	v := new(family.Caps)
	if err := b.c.Caps().Lookup(b.Context(), &family.CapsKey{Ifindex: uint32(b.ns.Index(dev))}, v); err != nil {
		b.Fatal(err)
	}
	return v
}

// kernelCaps is what the netdev family says of a netdev.
func (b *statsBed) kernelCaps(dev string) (features, metadata uint64) {
	b.Helper()
	a := b.ns.NewGenl(b.T, netdevFamily).Do(netdevDevGet, 0, testutil.AttrU32(netdevIfindex, uint32(b.ns.Index(dev))))
	if a.Errno != 0 || len(a.Msgs) != 1 {
		b.Fatalf("dev-get: %v", a)
	}
	attrs := testutil.Attrs(a.Msgs[0].Attrs)
	if m := attrs[netdevRXMetadata]; m != nil {
		metadata = binary.NativeEndian.Uint64(m)
	}
	return binary.NativeEndian.Uint64(attrs[netdevXDPFeatures]), metadata
}

// newTun makes a tun or tap netdev.
func (b *statsBed) newTun(name, mode string) {
	b.Helper()
	b.ns.Do(func() {
		if out, err := exec.Command("ip", "tuntap", "add", name, "mode", mode).CombinedOutput(); err != nil {
			b.Skipf("no tun: %v: %s", err, out)
		}
	})
}

// TestCaps compares with the netdev family, and what is derived where there is
// none with what is not.
func TestCaps(t *testing.T) {
	if !testutil.KernelAtLeast(6, 3) {
		t.Skip("no netdev family to compare with")
	}
	b := newStatsBed(t)
	b.ns.AddVeth("mq0", "mq1", testutil.VethOptions{Queues: 4})
	there := testutil.NewNetNS(t)
	b.ns.AddVeth("far0", "far1", testutil.VethOptions{PeerNS: there, Queues: 2})
	devs := []string{"lo", "veth0", "veth1", "mq0", "mq1", "far0"}
	derived := newControl(t, b.ns, b.dir)
	derived.genl.absent = true
	compare := func(when string) {
		t.Helper()
		for _, dev := range devs {
			features, metadata := b.kernelCaps(dev)
			v := b.caps(dev)
			if uint64(v.XDPFeatures) != features || uint64(v.XDPRXMetadataFeatures) != metadata || v.Source != family.SourceKernel {
				t.Errorf("%s, %s: features %v, metadata %v from %v; the netdev family says %#x and %#x", when, dev,
					v.XDPFeatures, v.XDPRXMetadataFeatures, v.Source, features, metadata)
			}
			var w family.Caps
			if err := derived.Caps().Lookup(t.Context(), &family.CapsKey{Ifindex: uint32(b.ns.Index(dev))}, &w); err != nil {
				t.Fatal(err)
			}
			if w.XDPFeatures != v.XDPFeatures || w.Actions != v.Actions || w.Source != family.SourceDerived || w.Has(family.AttrCapsXDPRXMetadataFeatures) {
				t.Errorf("%s, %s: derived %v (%v) with actions %v, want %v with %v", when, dev, w.XDPFeatures, w.Source, w.Actions, v.XDPFeatures, v.Actions)
			}
		}
	}
	compare("as made")
	eth, err := b.c.ethtool()
	if err != nil {
		t.Fatal(err)
	}
	if err := eth.FeaturesSet(t.Context(), uint32(b.ns.Index("veth0")), map[string]bool{ethtool.FeatureGRO: true}); err != nil {
		t.Fatal(err)
	}
	compare("with GRO")
	pass, _ := b.load("lo")
	b.attach(pass, link.XDPDriverMode, "veth1", "mq0")
	compare("with programs")
	b.channels(4, 2, "mq0", "mq1")
	compare("with fewer TX queues")
}

// TestCapsTun looks at a tap, which does XDP, and a tun, which does not.
func TestCapsTun(t *testing.T) {
	b := newStatsBed(t)
	b.newTun("tap0", "tap")
	b.newTun("tun0", "tun")
	b.c.genl.absent = true
	want := family.XDPActBasic | family.XDPActRedirect | family.XDPActNDOXmit
	if v := b.caps("tap0"); v.XDPFeatures != want || !v.Has(family.AttrCapsActions) {
		t.Errorf("tap: %v, want %v", v.XDPFeatures, want)
	}
	if v := b.caps("tun0"); v.XDPFeatures != 0 || !v.Has(family.AttrCapsXDPFeatures) || v.Has(family.AttrCapsActions) {
		t.Errorf("tun: %v (present %#x), want none", v.XDPFeatures, v.Present)
	}
}

// TestCapsQueues checks queue counts and drivers.
func TestCapsQueues(t *testing.T) {
	b := newStatsBed(t)
	b.ns.AddVeth("mq0", "mq1", testutil.VethOptions{Queues: 4})
	b.channels(3, 2, "mq0")
	type queues struct{ RX, TX, MaxRX, MaxTX uint32 }
	for dev, want := range map[string]queues{"mq0": {3, 2, 4, 4}, "veth0": {1, 1, 1, 1}, "lo": {1, 1, 1, 1}} {
		v := b.caps(dev)
		if diff := cmp.Diff(want, queues{v.RXQueues, v.TXQueues, v.MaxRXQueues, v.MaxTXQueues}); diff != "" {
			t.Errorf("queues of %s, -want +got:\n%s", dev, diff)
		}
	}
	if v := b.caps("veth0"); v.Driver.String() != "veth" {
		t.Errorf("driver of veth0 is %q", v.Driver)
	}
	if v := b.caps("lo"); v.Has(family.AttrCapsDriver) {
		t.Errorf("loopback has driver %q", v.Driver)
	}
	var e *family.Error
	err := b.c.Caps().Lookup(t.Context(), &family.CapsKey{Ifindex: 999}, new(family.Caps))
	if !errors.As(err, &e) || e.Errno != unix.ENOENT || e.Message != "no such netdev" {
		t.Errorf("caps of no netdev: got %v", err)
	}
}

// TestCapsDerivedDrivers has what is said of drivers that are not here.
func TestCapsDerivedDrivers(t *testing.T) {
	const basic, redirect, xmit, zc = family.XDPActBasic, family.XDPActRedirect, family.XDPActNDOXmit, family.XDPActXSKZerocopy
	for _, tc := range []struct {
		parent, name string
		prog         uint32
		want         family.XDPAct
		known        bool
	}{
		{"virtio_net", "virtio_net", 0, basic | redirect, true},
		{"virtio_net", "virtio_net", 7, basic | redirect | xmit, true},
		{"ixgbevf", "ixgbevf", 0, basic, true},
		{"igc", "igc", 7, basic | redirect | xmit | zc, true},
		{"igc", "igc", 0, basic | redirect | zc, true},
		{"mlx5_core", "mlx5_core", 0, basic | redirect | xmit | zc, true},
		{"mlx5_core", "mlx5e_rep", 0, 0, false},
		{"mlx4_core", "mlx4_en", 0, basic | redirect, true},
		{"bridge", "bridge", 0, 0, true},
		{"bond", "bonding", 0, 0, true},
		{"netdevsim", "netdevsim", 0, family.XDPActHWOffload, true},
		{"nobody_knows", "nobody_knows", 0, 0, false},
		{"ice", "ice", 0, 0, false},
		{"", "", 0, 0, false},
	} {
		l := &look{dev: &netdev{name: "eth0", xdp: netdevXDP{native: tc.prog}}}
		got, known, err := l.deriveFeatures(t.Context(), tc.parent, tc.name)
		if err != nil || got != tc.want || known != tc.known {
			t.Errorf("%s on %s with program %d: %v, %v, %v; want %v, %v", tc.name, tc.parent, tc.prog, got, known, err, tc.want, tc.known)
		}
	}
	for _, x := range hardwareXDP {
		if strings.Contains(x.parent, " ") || x.no&x.more != 0 {
			t.Errorf("driver %+v is not right", x)
		}
	}
}
