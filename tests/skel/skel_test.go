// SPDX-License-Identifier: BSD-3-Clause

// Package skel runs skeletons on the kernels of the virtual machine, and through
// both doors of the module.
package skel

import (
	"errors"
	"os"
	"testing"

	"github.com/xdpctl/xdpctl-nl/ctlmap"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/skeltest"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/skel"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func TestSkeletons(t *testing.T) { skeltest.Run(t, true) }

func TestDoors(t *testing.T) {
	for name, open := range map[string]func(netns int) (family.Control, error){
		"netlink": func(netns int) (family.Control, error) { return family.Dial(family.Options{NetNS: netns}) },
		"map":     func(netns int) (family.Control, error) { return ctlmap.Open(ctlmap.Options{NetNS: netns}) },
	} {
		t.Run(name, func(t *testing.T) { testDoor(t, open) })
	}
}

// testDoor attaches through a door, and looks through it what is there.
func testDoor(t *testing.T, open func(netns int) (family.Control, error)) {
	ns := testutil.NewNetNS(t)
	near, _ := ns.AddVeth("skel0", "skel1", testutil.VethOptions{})
	ns.AddControl("xdpctl0")
	ctl, err := open(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	defer ctl.Close()
	s, err := skeltest.OpenLinks()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Programs.OnXdp.Netdev = skel.XDPOptions{Ifindex: uint32(near), Control: ctl, Mode: family.ModeNative}
	if err := s.Load(nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Attach(t.Context()); err != nil {
		t.Fatal(err)
	}
	key := family.ProgKey{Ifindex: uint32(near), Queue: family.QueueAll}
	var v family.Prog
	if err := ctl.Prog().Lookup(t.Context(), &key, &v); err != nil {
		t.Fatal(err)
	}
	if v.Name.String() != "on_xdp" || v.Owner != family.OwnerModule {
		t.Errorf("attached %s of %v", v.Name, v.Owner)
	}
	if err := s.Links.OnXdp.Update(t.Context(), s.Programs.OnXdpToo.Prog); err != nil {
		t.Fatal(err)
	}
	if err := ctl.Prog().Lookup(t.Context(), &key, &v); err != nil || v.Name.String() != "on_xdp_too" {
		t.Errorf("attached %s after the update, error %v", v.Name, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ctl.Prog().Lookup(t.Context(), &key, &v); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("attached %s after close, error %v", v.Name, err)
	}
}
