// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/xdpctl/xdpctl-nl/family"
)

// XDPOptions say where an XDP program is to be attached.
type XDPOptions struct {
	// Ifindex is the netdev; 0 is none.
	Ifindex uint32
	// Control is the door to attach through. The attachment then belongs to
	// the other side of the door. Without one it is a BPF link of this
	// process.
	Control family.Control
	// Queue is an RX queue to attach to, for a Control; nil is all.
	Queue *uint32
	// Mode is native or generic; 0 is native where the driver can.
	Mode family.Mode
}

// XDPProgram is an XDP program of a skeleton.
type XDPProgram struct {
	Program
	// Netdev is where Attach attaches it, if Ifindex is set.
	Netdev XDPOptions

	at **XDPLink
}

// XDP makes field the one of an XDP program. At is the field of Links.
func (o *Object) XDP(name string, field *XDPProgram, at **XDPLink) {
	o.Program(name, &field.Program, nil)
	if o.err != nil {
		return
	}
	field.xdp, field.at = field, at
}

// auto is what Attach does.
func (p *XDPProgram) auto(ctx context.Context) error {
	if p.Netdev.Ifindex == 0 || *p.at != nil {
		return nil
	}
	_, err := p.Attach(ctx, p.Netdev)
	return err
}

// Attach attaches the program to a netdev, until the skeleton or the link is
// closed. The link goes into the field of Links, if there is none in it.
//
// Returns an error matching [ErrNotLoaded] before Load, or the one of the
// kernel, or of the door.
func (p *XDPProgram) Attach(ctx context.Context, opts XDPOptions) (*XDPLink, error) {
	if err := p.ready(); err != nil {
		return nil, err
	}
	l := &XDPLink{opts: opts, prog: p.Prog}
	if err := l.attach(ctx); err != nil {
		return nil, fmt.Errorf("attach %s to netdev %d: %w", p.name, opts.Ifindex, err)
	}
	if *p.at == nil {
		*p.at = l
		p.object.own(xdpField{p.at})
	} else {
		p.object.own(l)
	}
	return l, nil
}

type xdpField struct{ at **XDPLink }

func (f xdpField) Close() error {
	l := *f.at
	if l == nil {
		return nil
	}
	*f.at = nil
	return l.Close()
}

// XDPLink is an XDP program that is attached to a netdev.
type XDPLink struct {
	// Link is the BPF link, nil for what was attached through a door.
	Link link.Link

	opts   XDPOptions
	prog   *ebpf.Program
	id     ebpf.ProgramID
	closed bool
}

// Ifindex returns the netdev.
func (l *XDPLink) Ifindex() uint32 { return l.opts.Ifindex }

func (l *XDPLink) key() *family.ProgKey {
	k := &family.ProgKey{Ifindex: l.opts.Ifindex, Queue: family.QueueAll}
	if l.opts.Queue != nil {
		k.Queue = *l.opts.Queue
	}
	return k
}

func (l *XDPLink) attach(ctx context.Context) error {
	if l.opts.Control != nil {
		return l.set(ctx, l.prog, family.UpdateNoexist)
	}
	if l.opts.Queue != nil {
		return fmt.Errorf("a queue needs a control: %w", errors.ErrUnsupported)
	}
	var flags link.XDPAttachFlags
	switch l.opts.Mode {
	case family.ModeNative:
		flags = link.XDPDriverMode
	case family.ModeGeneric:
		flags = link.XDPGenericMode
	}
	plain, err := link.AttachXDP(link.XDPOptions{Program: l.prog, Interface: int(l.opts.Ifindex), Flags: flags})
	if err != nil {
		return err
	}
	l.Link = plain
	return nil
}

// set attaches through the door.
func (l *XDPLink) set(ctx context.Context, prog *ebpf.Program, how family.Update) error {
	info, err := prog.Info()
	if err != nil {
		return err
	}
	id, ok := info.ID()
	if !ok {
		return fmt.Errorf("id of the program: %w", errors.ErrUnsupported)
	}
	var v family.Prog
	v.SetFD(uint32(prog.FD()))
	if l.opts.Mode != 0 {
		v.SetMode(l.opts.Mode)
	}
	if how == family.UpdateExist {
		v.SetExpectedProgID(uint32(l.id))
	}
	if err := l.opts.Control.Prog().Update(ctx, l.key(), &v, how); err != nil {
		return err
	}
	l.id = id
	return nil
}

// Update puts another program in the place of the one attached, without a gap.
// Through a door it is refused if somebody else did so before.
func (l *XDPLink) Update(ctx context.Context, prog *ebpf.Program) error {
	switch {
	case l.closed:
		return fmt.Errorf("update netdev %d: %w", l.opts.Ifindex, ErrClosed)
	case l.opts.Control != nil:
		return l.set(ctx, prog, family.UpdateExist)
	}
	return l.Link.Update(prog)
}

// Close detaches the program, unless another took its place at the door. It can
// be called again.
func (l *XDPLink) Close() error {
	if l.closed {
		return nil
	}
	l.closed = true
	if l.opts.Control == nil {
		return l.Link.Close()
	}
	ctx := context.Background()
	var v family.Prog
	err := l.opts.Control.Prog().Lookup(ctx, l.key(), &v)
	if err == nil && ebpf.ProgramID(v.ProgID) == l.id {
		err = l.opts.Control.Prog().Delete(ctx, l.key())
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
