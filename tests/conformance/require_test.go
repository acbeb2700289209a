// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/loader"
)

// requiring attaches pass to a netdev, and requires things of it.
func requiring(dev string, mode family.Mode, need loader.Requirement) func(*world, family.Control) error {
	return func(w *world, c family.Control) error {
		var v family.Prog
		v.SetFD(uint32(w.progs["pass"].FD))
		if mode != auto {
			v.SetMode(mode)
		}
		need.SetProg(&v)
		return c.Prog().Update(w.ctx, progKey(int(w.ifindex(dev))), &v, family.UpdateAny)
	}
}

// off detaches from a netdev.
func off(dev string) func(*world, family.Control) error {
	return offQueue(dev, family.QueueAll)
}

// TestRequire attaches where what is required is there, and where it is not. A
// veth without NAPI at its peer, as a new one is, cannot send back.
func TestRequire(t *testing.T) { eachBackend(t, testRequire) }

func testRequire(t *testing.T, b backend) {
	type need = loader.Requirement
	const basic, tx = family.XDPActBasic, family.ActionTX
	turns := []turn{
		{"nothing", func(*world, family.Control) error { return nil }, 0},
		{"what is there", requiring("veth0", native, need{Features: basic | family.XDPActRedirect, Actions: family.ActionDrop}), 0},
		{"off", off("veth0"), 0},
		{"tx without NAPI", requiring("veth0", native, need{Features: basic, Actions: family.ActionDrop | tx}), unix.EOPNOTSUPP},
		{"tx, best effort", requiring("veth0", auto, need{Features: basic, Actions: tx}), 0},
		{"off", off("veth0"), 0},
		{"zero-copy", requiring("veth0", native, need{Features: family.XDPActXSKZerocopy}), unix.EOPNOTSUPP},
		{"zero-copy, best effort", requiring("veth0", auto, need{Features: family.XDPActXSKZerocopy}), unix.EOPNOTSUPP},
		{"metadata in generic mode", requiring("veth0", generic, need{RXMetadata: family.XDPRXMetadataHash}), unix.EOPNOTSUPP},
		{"metadata of a dummy", requiring("dummy0", auto, need{RXMetadata: family.XDPRXMetadataTimestamp}), unix.EOPNOTSUPP},
		{"all of generic mode", requiring("dummy0", auto, need{
			Features: basic | family.XDPActRedirect | family.XDPActRXSG,
			Actions:  family.ActionAborted | family.ActionDrop | family.ActionPass | tx | family.ActionRedirect,
		}), 0},
		{"off", off("dummy0"), 0},
		{"native on a dummy", requiring("dummy0", native, need{Features: basic}), unix.EOPNOTSUPP},
		{"unknown feature", requiring("veth0", native, need{Features: 1 << 30}), unix.EINVAL},
		{"unknown metadata", requiring("veth0", native, need{RXMetadata: 1 << 30}), unix.EINVAL},
		{"unknown action", requiring("veth0", native, need{Actions: 1 << 5}), unix.EINVAL},
	}
	after := differ(t, b, nil, turns)
	for i, tn := range turns {
		if tn.errno == 0 && tn.name != "off" {
			continue
		}
		if diff := cmp.Diff(withoutName(after[0]), withoutName(after[i])); diff != "" {
			t.Errorf("%s: changed the state, -before +after:\n%s", tn.name, diff)
		}
	}
	w := newWorld(t, b)
	wantLines(t, after[1], "prog ", fmt.Sprintf("prog %d 0xffffffff: native pass module link1 features basic|redirect actions drop", w.ifindex("veth0")))
	wantLines(t, after[4], "prog ", fmt.Sprintf("prog %d 0xffffffff: generic pass module link2 features basic actions tx", w.ifindex("veth0")))
	wantLines(t, after[10], "prog ", fmt.Sprintf("prog %d 0xffffffff: generic pass module link3 features basic|redirect|rx-sg "+
		"actions aborted|drop|pass|tx|redirect", w.ifindex("dummy0")))
}

// TestRequireMetadata requires what only newer kernels have.
func TestRequireMetadata(t *testing.T) { eachBackend(t, testRequireMetadata) }

func testRequireMetadata(t *testing.T, b backend) {
	hash := loader.Requirement{RXMetadata: family.XDPRXMetadataHash}
	differ(t, b, nil, []turn{
		{"hash of a veth", requiring("veth0", native, hash), metadataErrno()},
		{"hash of a dummy", requiring("dummy0", generic, hash), unix.EOPNOTSUPP},
	})
}

// TestRequireReplace requires of a replacement, which is refused in whole.
func TestRequireReplace(t *testing.T) { eachBackend(t, testRequireReplace) }

func testRequireReplace(t *testing.T, b backend) {
	plain := loader.Requirement{Features: family.XDPActBasic}
	after := differ(t, b, nil, []turn{
		{"drop", func(w *world, c family.Control) error { return put("drop", native)(w, c, "veth0") }, 0},
		{"replaced by one that lacks something", requiring("veth0", auto, loader.Requirement{Features: family.XDPActXSKZerocopy}), unix.EOPNOTSUPP},
		{"replaced", requiring("veth0", auto, plain), 0},
		{"replaced by one that requires nothing", requiring("veth0", auto, loader.Requirement{}), 0},
	})
	w := newWorld(t, b)
	line := func(prog, rest string) string {
		return fmt.Sprintf("prog %d 0xffffffff: native %s module link1%s", w.ifindex("veth0"), prog, rest)
	}
	for i, want := range []string{line("drop", ""), line("drop", ""), line("pass", " features basic"), line("pass", "")} {
		wantLines(t, after[i], "prog ", want)
	}
}

// TestRequireText wants exactly what is lacking to be named.
func TestRequireText(t *testing.T) { eachBackend(t, testRequireText) }

func testRequireText(t *testing.T, b backend) {
	w := newWorld(t, b)
	c := w.one()
	for _, tc := range []struct {
		dev  string
		mode family.Mode
		need loader.Requirement
		want string
	}{
		{"veth0", native, loader.Requirement{Features: family.XDPActBasic, Actions: family.ActionDrop | family.ActionTX},
			"the netdev lacks in native mode: tx"},
		{"veth0", native, loader.Requirement{Features: family.XDPActXSKZerocopy | family.XDPActHWOffload | family.XDPActBasic, Actions: family.ActionTX},
			"the netdev lacks in native mode: xsk-zerocopy, hw-offload, tx"},
		{"dummy0", generic, loader.Requirement{Features: family.XDPActBasic, RXMetadata: family.XDPRXMetadataHash | family.XDPRXMetadataVLANTag},
			"the netdev lacks in generic mode: hash, vlan-tag"},
	} {
		err := requiring(tc.dev, tc.mode, tc.need)(w, c)
		var e *family.Error
		if !errors.As(err, &e) || e.Errno != unix.EOPNOTSUPP || e.Message != tc.want {
			t.Errorf("got %v, want %q", err, tc.want)
		}
	}
}

// TestRequireForetold compares what is told before an attach with what comes of
// it, at both doors.
func TestRequireForetold(t *testing.T) { eachBackend(t, testRequireForetold) }

func testRequireForetold(t *testing.T, b backend) {
	coll, err := bpf.LoadVerdict()
	if err != nil {
		t.Fatal(err)
	}
	derived, err := loader.Requires(coll, bpf.VerdictProgram)
	if err != nil {
		t.Fatal(err)
	}
	needs := []*loader.Requirement{
		derived,
		{Features: family.XDPActBasic},
		{Features: family.XDPActNDOXmit},
		{Features: family.XDPActRXSG},
		{Features: family.XDPActXSKZerocopy},
		{RXMetadata: family.XDPRXMetadataHash},
		{RXMetadata: family.XDPRXMetadataTimestamp},
		{Actions: family.ActionTX},
		{Actions: family.ActionRedirect},
	}
	eachDoor(t, b, func(w *world, c family.Control) {
		virtio := w.takeVirtio()
		w.ns.AddVeth("napi0", "napi1", testutil.VethOptions{})
		if err := put("pass", native)(w, c, "napi1"); err != nil {
			w.Fatal(err)
		}
		for _, dev := range []string{"veth0", "napi0", "dummy0", "lo", virtio} {
			var caps family.Caps
			if err := c.Caps().Lookup(w.ctx, &family.CapsKey{Ifindex: w.ifindex(dev)}, &caps); err != nil {
				w.Fatal(err)
			}
			for _, need := range needs {
				for _, mode := range []family.Mode{native, generic} {
					lacks := need.Missing(&caps, mode)
					err := requiring(dev, mode, *need)(w, c)
					if lacks.Empty() != (err == nil) || err != nil && w.errno(err) != unix.EOPNOTSUPP {
						w.Errorf("%s %s: attach: %v; foretold that it lacks %+v", dev, mode, err, lacks)
					}
					if err == nil {
						if err := off(dev)(w, c); err != nil {
							w.Fatal(err)
						}
					}
				}
			}
		}
	})
}
