// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Program is a program of a skeleton, a field of Programs.
type Program struct {
	// Prog is the program in the kernel, nil before Load.
	Prog *ebpf.Program
	// Spec is the program to load.
	Spec *ebpf.ProgramSpec
	// Autoload tells Load to load it. It is true, unless the name of its
	// section begins with a question mark.
	Autoload bool
	// Autoattach tells Attach to attach it, if it can.
	Autoattach bool

	name   string
	object *Object
	link   *link.Link
	xdp    *XDPProgram
}

// Program makes field the one of a program. At is the field of Links, or nil for
// a program that has no links.
func (o *Object) Program(name string, field *Program, at *link.Link) {
	if o.err != nil {
		return
	}
	spec := o.Spec.Programs[name]
	if spec == nil {
		o.mismatch("no program %s", name)
		return
	}
	*field = Program{
		Spec: spec, Autoload: !strings.HasPrefix(spec.SectionName, "?"), Autoattach: true,
		name: name, object: o, link: at,
	}
	o.programs = append(o.programs, field)
}

// ready returns an error unless p is loaded.
func (p *Program) ready() error {
	if p.Prog == nil {
		return fmt.Errorf("attach %s: %w", p.name, ErrNotLoaded)
	}
	return nil
}

// own lets the object close c.
func (o *Object) own(c io.Closer) { o.undo = append(o.undo, c) }

// Keep makes l the link of p, which Close detaches. It is for programs that
// Attach does not attach, because their section does not say to what:
//
//	l, err := link.AttachCgroup(link.CgroupOptions{Program: s.Programs.Egress.Prog, ...})
//	...
//	s.Programs.Egress.Keep(l)
//
// Assigning to the field of Links does the same for one link.
func (p *Program) Keep(l link.Link) {
	if p.link != nil && *p.link == nil {
		*p.link = l
		return
	}
	p.object.own(l)
}

// Attach attaches the programs whose section says where, the XDP programs that
// were told a netdev, and struct_ops maps. What has a link already is left as it
// is. With an error, what it attached is detached again.
//
// Returns an error matching [ErrNotLoaded] before Load.
func (o *Object) Attach(ctx context.Context) error {
	if o.state != loaded {
		return fmt.Errorf("attach %s: %w", o.name, ErrNotLoaded)
	}
	n := len(o.undo)
	for _, p := range o.programs {
		if err := o.attachProgram(ctx, p); err != nil {
			return errors.Join(fmt.Errorf("attach %s: program %s: %w", o.name, p.name, err), o.undoTo(n))
		}
	}
	for _, f := range o.structs {
		if err := f.attach(); err != nil {
			return errors.Join(fmt.Errorf("attach %s: %w", o.name, err), o.undoTo(n))
		}
	}
	return nil
}

func (o *Object) attachProgram(ctx context.Context, p *Program) error {
	switch {
	case p.Prog == nil || !p.Autoattach:
		return nil
	case p.xdp != nil:
		return p.xdp.auto(ctx)
	case p.link == nil || *p.link != nil:
		return nil
	}
	l, err := attach(p)
	if l == nil || err != nil {
		return err
	}
	*p.link = l
	o.own(linkField{p.link})
	return nil
}

// linkField is a field of Links. What is in it when it is closed is detached:
// who takes a link out owns it.
type linkField struct{ at *link.Link }

func (f linkField) Close() error {
	l := *f.at
	if l == nil {
		return nil
	}
	*f.at = nil
	return l.Close()
}

// sweep detaches what others put into fields of Links.
func (o *Object) sweep() error {
	var errs []error
	for _, p := range slices.Backward(o.programs) {
		if p.link != nil {
			errs = append(errs, linkField{p.link}.Close())
		}
	}
	return errors.Join(errs...)
}

// attach attaches a program to what its section says; it returns no link if that
// is not enough.
func attach(p *Program) (link.Link, error) {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(p.Spec.SectionName, "?"), "/")
	kind = strings.TrimSuffix(kind, ".s")
	switch p.Spec.Type {
	case ebpf.Kprobe:
		if rest == "" {
			return nil, nil
		}
		return attachProbe(kind, rest, p)
	case ebpf.TracePoint:
		group, name, ok := strings.Cut(rest, "/")
		if !ok {
			return nil, nil
		}
		return link.Tracepoint(group, name, p.Prog, nil)
	case ebpf.RawTracepoint, ebpf.RawTracepointWritable:
		if rest == "" {
			return nil, nil
		}
		return link.AttachRawTracepoint(link.RawTracepointOptions{Name: rest, Program: p.Prog})
	case ebpf.LSM:
		if kind == "lsm_cgroup" || p.Spec.AttachTo == "" {
			return nil, nil
		}
		return link.AttachLSM(link.LSMOptions{Program: p.Prog})
	case ebpf.Tracing:
		if p.Spec.AttachTo == "" {
			return nil, nil
		}
		if p.Spec.AttachType == ebpf.AttachTraceIter {
			return link.AttachIter(link.IterOptions{Program: p.Prog})
		}
		return link.AttachTracing(link.TracingOptions{Program: p.Prog})
	case ebpf.Extension:
		if p.Spec.AttachTarget == nil {
			return nil, nil
		}
		return link.AttachFreplace(p.Spec.AttachTarget, p.Spec.AttachTo, p.Prog)
	}
	return nil, nil
}
