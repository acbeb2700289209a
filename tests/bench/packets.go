// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// phases are what the frames of a veth are measured in. The module costs a frame
// what it takes more in a phase than in the one that it is compared with.
var phases = []struct{ name, against string }{
	{phaseBefore, ""},
	{phaseLoaded, ""},
	{phaseHeard, phaseLoaded},
	{phaseMeter, phaseLoaded},
	{phaseQueue, phaseLoaded},
	{phaseQueueMeter, phaseQueue},
	{phaseAfter, ""},
}

const (
	phaseBefore     = "module before"
	phaseLoaded     = "module loaded"
	phaseHeard      = "events heard"
	phaseMeter      = "meter on"
	phaseQueue      = "a queue's program"
	phaseQueueMeter = "the same, meter on"
	phaseAfter      = "module after"
)

// frameVerdicts are those that are measured.
var frameVerdicts = []traffic.Verdict{traffic.Aborted, traffic.Drop}

func frameName(v traffic.Verdict, phase string) string {
	return fmt.Sprintf("frame %v, %s", v, phase)
}

// verdict is the program that answers test frames, on the veth's peer.
type verdict struct {
	skel *bpf.Verdict
	peer uint32
	link link.Link
}

func newVerdict() (*verdict, error) {
	peer, err := net.InterfaceByName(peerName)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", peerName, err)
	}
	s, err := bpf.OpenAndLoadVerdict(nil)
	if err != nil {
		return nil, err
	}
	return &verdict{skel: s, peer: uint32(peer.Index)}, nil
}

func (v *verdict) prog() *ebpf.Program { return v.skel.Programs.Verdict.Prog }

// attach puts it there by a link of its own.
func (v *verdict) attach() (err error) {
	v.link, err = link.AttachXDP(link.XDPOptions{
		Program: v.prog(), Interface: int(v.peer), Flags: link.XDPDriverMode,
	})
	return err
}

// packets measures frames that are dropped and frames that are aborted without
// the module, with it, with what it can do beside, and without it again.
func (r *runner) packets() error {
	if err := addVeth(); err != nil {
		return err
	}
	v, err := newVerdict()
	if err != nil {
		return err
	}
	defer v.skel.Close()
	if err := v.attach(); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return r.frames(phaseBefore) },
		func() error { return run("insmod", r.module) },
		func() error { return r.frames(phaseLoaded) },
		func() error { return r.settings(v) },
		func() error { return run("rmmod", "xdpctl") },
		func() error { return r.frames(phaseAfter) },
		func() error { return v.link.Close() },
		func() error { return run("ip", "link", "del", vethName) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// frames measures frames of every verdict in a phase.
func (r *runner) frames(phase string) error {
	for _, v := range frameVerdicts {
		figures, err := r.c("packets", "veth="+vethName, fmt.Sprintf("verdict=%d", v))
		if err != nil {
			return err
		}
		for _, f := range figures {
			f.Name = frameName(v, phase)
			r.report.add(f)
		}
	}
	return nil
}

// settings measures frames with each setting, and leaves nothing set.
func (r *runner) settings(v *verdict) error {
	c, err := family.Dial(family.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx := context.Background()
	sub, err := c.Subscribe(ctx)
	if err != nil {
		return err
	}
	err = errors.Join(r.frames(phaseHeard), sub.Close())
	if err != nil {
		return err
	}
	meter := func(on uint32) error {
		var a family.Attr
		a.SetCommand(family.CommandSetupMeter)
		a.SetEnableMeter(on)
		if on != 0 {
			a.SetFD(uint32(v.prog().FD()))
		}
		return c.Attr().Update(ctx, &family.AttrKey{Ifindex: v.peer}, &a, family.UpdateAny)
	}
	key := &family.ProgKey{Ifindex: v.peer, Queue: 0}
	for _, step := range []func() error{
		func() error { return meter(1) },
		func() error { return r.frames(phaseMeter) },
		func() error { return meter(0) },
		func() error { return v.link.Close() },
		func() error { return c.Prog().Update(ctx, key, attachValue(v.prog().FD()), family.UpdateNoexist) },
		func() error { return r.frames(phaseQueue) },
		func() error { return meter(1) },
		func() error { return r.frames(phaseQueueMeter) },
		func() error { return meter(0) },
		func() error { return c.Prog().Delete(ctx, key) },
		v.attach,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
