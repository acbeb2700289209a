// SPDX-License-Identifier: BSD-3-Clause

package differential

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/native"
)

func TestMain(m *testing.M) {
	testutil.OneProcessor()
	testutil.Main(m)
}

// number returns a number from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// sides are the kernel's family and a server, each in a network namespace of its
// own, which have the same netdevs under the same ifindexes.
type sides struct {
	stage
	kernel *testutil.NetNS
	other  *testutil.NetNS
	server *genl.Server
}

// newSides starts a server of what open opens.
func newSides(t *testing.T, st stage, open func(ns *testutil.NetNS) (family.Control, error)) *sides {
	s := &sides{stage: st, kernel: testutil.NewNetNS(t), other: testutil.NewNetNS(t)}
	for _, ns := range []*testutil.NetNS{s.kernel, s.other} {
		ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
		ns.AddDummy("dummy0")
	}
	s.ifindexes = []uint32{0, 1, 9999}
	for _, dev := range []string{"veth0", "veth1", "dummy0"} {
		if a, b := s.kernel.Index(dev), s.other.Index(dev); a != b {
			t.Fatalf("%s has ifindex %d and %d", dev, a, b)
		}
		n := uint32(s.kernel.Index(dev))
		s.ifindexes = append(s.ifindexes, n, n, n)
	}
	s.fds = []uint32{0, 0xffffffff, 9999}
	for i, name := range []string{"aborted", "drop", "pass"} {
		p := testutil.NewXDP(t, name, int32(i))
		s.fds = append(s.fds, uint32(p.FD), uint32(p.FD))
		s.progIDs = append(s.progIDs, p.ID)
	}
	p, err := newKernelPeer(s.kernel)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if s.family, err = findFamily(p); err != nil {
		t.Fatal(err)
	}
	control, err := open(s.other)
	if err != nil {
		t.Fatal(err)
	}
	s.server = genl.NewServer(genl.ServerOptions{})
	served, err := family.Serve(s.server, control, family.ServeOptions{ID: s.family})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(served.Close(), s.server.Close(), control.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// options are those that a socket may have.
var options = []netlink.ConnOption{
	netlink.CapAcknowledge, netlink.ExtendedAcknowledge, netlink.GetStrictCheck,
	netlink.NoENOBUFS, netlink.BroadcastError,
}

// TestProxy compares the kernel's family with a server that asks the kernel's
// family in another network namespace, so that what differs is the server's. What
// is passed on has no NLM_F_ECHO.
func TestProxy(t *testing.T) {
	differential(t, stage{noEcho: true}, func(ns *testutil.NetNS) (family.Control, error) {
		return family.Dial(family.Options{NetNS: ns.FD()})
	})
}

// TestNative compares the kernel's family with the server that needs no module,
// which has counted exceptions from the beginning, as the module has. It cannot
// know how many frames a veth had, and so not how many were passed, since nobody
// watches whether its driver counted all the time (docs/statistics.md).
func TestNative(t *testing.T) {
	if testutil.ModuleOnly() {
		return
	}
	differential(t, stage{unknown: []string{"packets", "pass"}}, func(ns *testutil.NetNS) (family.Control, error) {
		o := native.Options{NetNS: ns.FD()}
		t.Cleanup(func() {
			if _, err := native.Clean(context.Background(), native.CleanOptions{Options: o, All: true}); err != nil {
				t.Errorf("clean up: %v", err)
			}
		})
		c, err := native.Open(o)
		if err != nil {
			return nil, err
		}
		return c, c.CountExceptions(t.Context())
	})
}

// differential sends XDPCTL_REQUESTS generated datagrams, 10,000 unless told, to
// both sides, over sockets with every combination of options in turn, and wants
// the same answers. XDPCTL_SEED chooses others.
func differential(t *testing.T, st stage, open func(ns *testutil.NetNS) (family.Control, error)) {
	s := newSides(t, st, open)
	requests := number(t, "XDPCTL_REQUESTS", 10000)
	g := newGenerator(uint64(number(t, "XDPCTL_SEED", 1)), s.stage)
	const perSocket = 50
	differences := 0
	for n := 0; n < requests && differences < 10; n += perSocket {
		differences += s.compare(t, g, n/perSocket, min(perSocket, requests-n))
	}
	t.Logf("%d datagrams, %d answered differently", requests, differences)
}

// compare sends n datagrams over a new socket to each side, and returns how many
// were answered differently.
func (s *sides) compare(t *testing.T, g *generator, combination, n int) (differences int) {
	kernel, err := newKernelPeer(s.kernel)
	if err != nil {
		t.Fatal(err)
	}
	defer kernel.close()
	server, err := newServerPeer(t.Context(), s.server)
	if err != nil {
		t.Fatal(err)
	}
	defer server.close()
	peers := []peer{kernel, server}
	for _, p := range peers {
		// The usual ones first.
		for i, o := range options {
			on := (combination^0b110)>>i&1 != 0
			if err := p.option(o, on); err != nil {
				t.Fatalf("option %d: %v", o, err)
			}
		}
	}
	seq := uint32(1000)
	for range n {
		datagram, what := g.datagram(seq)
		var got [2]answer
		for i, p := range peers {
			r := &reader{stage: s.stage, port: p.port()}
			if got[i], err = exchange(p, r, datagram, seq+500000); err != nil {
				t.Fatalf("%s: %v\n%x", what, err, datagram)
			}
		}
		if diff := cmp.Diff(got[0], got[1]); diff != "" {
			t.Errorf("%s, options %#b, -kernel +server:\n%s%x", what, combination^0b110, diff, datagram)
			differences++
		}
		seq += 10
	}
	return differences
}
