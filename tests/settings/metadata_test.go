// SPDX-License-Identifier: BSD-3-Clause

package settings

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/rxmeta"
	"github.com/xdpctl/xdpctl-nl/tests/testbed"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// hasMetadata reports whether the kernel is known to have RX metadata.
func hasMetadata() bool { return testutil.KernelAtLeast(6, 8) }

// metadataOnly leaves what SETUP_MD says.
func metadataOnly(v family.Attr) family.Attr {
	got := family.Attr{EnableMD: v.EnableMD, MDUsers: v.MDUsers, MDBTFID: v.MDBTFID, MDTypeID: v.MDTypeID, MDFeatures: v.MDFeatures}
	for _, a := range []uint16{
		family.AttrAttrEnableMD, family.AttrAttrMDUsers, family.AttrAttrMDBTFID,
		family.AttrAttrMDTypeID, family.AttrAttrMDFeatures,
	} {
		got.Present |= v.Present & (1 << a)
	}
	return got
}

// users checks what is reported of the metadata of a veth.
func (w *world) users(what string, index int, n uint32) {
	w.Helper()
	var want family.Attr
	want.SetEnableMD(min(n, 1))
	want.SetMDUsers(n)
	got := metadataOnly(w.attr(index))
	if n > 0 {
		var types []family.Type
		types, err := w.doors[0].Types(w.Context())
		w.must(err)
		want.SetMDBTFID(types[0].BTFID)
		want.SetMDTypeID(got.MDTypeID) // TestMetadata reads by it
		want.SetMDFeatures(family.XDPRXMetadataTimestamp | family.XDPRXMetadataHash | family.XDPRXMetadataVLANTag)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("%s, -want +got:\n%s", what, diff)
	}
}

// TestMetadataUsers shows that the metadata is on until its last user is gone.
func TestMetadataUsers(t *testing.T) {
	eachDoor(t, func(t *testing.T, w *world, c family.Control) {
		veth, _ := w.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
		dummy := w.ns.AddDummy("dummy0")
		held := refs(t)
		w.users("before", veth, 0)
		w.must(w.update(c, veth, metadata(0)))
		w.must(w.update(c, dummy, metadata(0)))
		w.users("off, and was", veth, 0)
		if !hasMetadata() {
			w.refused("a kernel without", c, veth, metadata(1), unix.EOPNOTSUPP, "the kernel has no RX metadata for XDP")
			w.users("a kernel without", veth, 0)
			return
		}
		w.refused("a driver without", c, dummy, metadata(1), unix.EOPNOTSUPP, "driver dummy gives no RX metadata")
		w.must(w.update(c, veth, metadata(1)))
		w.users("one user", veth, 1)
		for _, d := range w.doors {
			w.must(w.update(d, veth, metadata(1)))
		}
		w.users("three users", veth, 3)
		if got := refs(t); got != held+1 {
			t.Errorf("the setting holds %d references to the module, want 1", got-held)
		}
		w.must(w.update(c, veth, metadata(0)))
		w.users("two users", veth, 2)
		w.must(w.del(c, veth))
		w.users("deleted", veth, 0)
		if got := refs(t); got != held {
			t.Errorf("deleted: %d references to the module are left", got-held)
		}
		w.must(w.update(c, veth, metadata(1)))
		w.must(w.update(c, veth, metadata(0)))
		w.users("the last user gone", veth, 0)
	})
}

// refused checks an error, and its text where the door has one.
func (w *world) refused(what string, c family.Control, index int, v *family.Attr, errno unix.Errno, text string) {
	w.Helper()
	w.isRefusal(what, c, w.update(c, index, v), errno, text)
}

func (w *world) isRefusal(what string, c family.Control, err error, want unix.Errno, text string) {
	w.Helper()
	if got := errno(w.T, err); got != want {
		w.Errorf("%s: got %v, want errno %d", what, err, want)
	} else if c.Name() == "netlink" && !strings.Contains(err.Error(), text) {
		w.Errorf("%s: got %v, want %s", what, err, text)
	}
}

// tag is what frames carry beside their bytes.
type tag struct {
	hash       uint32
	proto, tci uint16
}

// tagger makes all frames that leave a netdev carry a hash, and a VLAN tag if
// tci is not 0.
func tagger(t *testing.T, ns *testutil.NetNS, index int, tag tag) {
	t.Helper()
	insns := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.Mov.Imm32(asm.R2, int32(tag.hash)),
		asm.FnSetHash.Call(),
	}
	if tag.tci != 0 {
		insns = append(insns,
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.Mov.Imm(asm.R2, int32(tag.proto>>8|tag.proto<<8)),
			asm.Mov.Imm(asm.R3, int32(tag.tci)),
			asm.FnSkbVlanPush.Call())
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, AttachType: ebpf.AttachTCXEgress, License: "GPL",
		Instructions: append(insns, asm.Mov.Imm(asm.R0, 0), asm.Return()),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var l link.Link
	ns.Do(func() {
		l, err = link.AttachTCX(link.TCXOptions{Interface: index, Program: p, Attach: ebpf.AttachTCXEgress})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// TestMetadata reads what a program put in front of frames, by BTF alone, and
// compares it with what the frames were sent with.
func TestMetadata(t *testing.T) {
	if !hasMetadata() {
		return // TestMetadataUsers has shown that it is refused
	}
	for _, tt := range []struct {
		name string
		tag  tag
	}{
		{"802.1Q", tag{0xcafe0001, 0x8100, 0x2064}},
		{"802.1ad", tag{0x7, 0x88a8, 0x0fff}},
		{"no VLAN", tag{hash: 0x80000000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachDoor(t, func(t *testing.T, w *world, c family.Control) {
				readMetadata(t, w, c, tt.tag)
			})
		})
	}
}

func readMetadata(t *testing.T, w *world, c family.Control, tag tag) {
	away := testutil.NewNetNS(t)
	tx, rx := away.AddVeth("s0", "in", testutil.VethOptions{PeerNS: w.ns})
	w.must(w.update(c, rx, metadata(1)))
	var v family.Attr
	w.must(c.Attr().Lookup(t.Context(), &family.AttrKey{Ifindex: uint32(rx)}, &v))
	d, err := rxmeta.LoadDecoder(v.MDBTFID, v.MDTypeID)
	w.must(err)

	md, err := bpf.OpenMetadata()
	w.must(err)
	defer md.Close()
	md.Bind(uint32(rx))
	w.ns.Do(func() { err = md.Load(nil) })
	w.must(err)
	s := newXSK(t, w.ns, rx)
	w.must(md.Maps.MetadataSockets.Put(0, uint32(s.fd)))
	testbed.AttachXDP(t, w.ns, rx, md.Programs.Metadata.Prog, link.XDPDriverMode)

	tagger(t, away, tx, tag)
	sender, err := traffic.NewSender(traffic.SenderOptions{NetNS: away.Path(), Dev: "s0"})
	w.must(err)
	defer sender.Close()
	const n = 20
	w.must(sender.Send(t.Context(), traffic.Pass, n))
	for range n {
		front, packet, err := s.receive()
		w.must(err)
		if len(packet) != 60 || packet[12] != 0x88 || packet[13] != 0xb5 {
			t.Fatalf("another packet: %x", packet)
		}
		m, err := d.Decode(front)
		w.must(err)
		checkMetadata(t, m, tag)
	}
}

func checkMetadata(t *testing.T, m rxmeta.Metadata, want tag) {
	t.Helper()
	const l4Any = 1 << 3 // XDP_RSS_L4
	hash, typ, ok := m.Hash()
	if !ok || hash != want.hash || typ != l4Any {
		t.Errorf("hash %#x of type %#x, %v; want %#x of type %#x", hash, typ, ok, want.hash, l4Any)
	}
	proto, tci, ok := m.VLAN()
	if ok != (want.tci != 0) || proto != want.proto || tci != want.tci {
		t.Errorf("VLAN %#x %#x, %v; want %#x %#x", proto, tci, ok, want.proto, want.tci)
	}
	if at, ok := m.Timestamp(); ok {
		t.Errorf("time stamp %d of a veth, which has none", at)
	}
	var names []string
	for f := range m.Fields() {
		names = append(names, f.Name)
	}
	if diff := cmp.Diff([]string{"rx_timestamp", "rx_hash", "rx_hash_type", "vlan_proto", "vlan_tci", "valid"}, names); diff != "" {
		t.Errorf("names, -want +got:\n%s", diff)
	}
}
