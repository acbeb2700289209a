// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/family"
)

// AttachOptions control [Object.Attach].
type AttachOptions struct {
	// Program is which one, by its name; the only one of the object if empty.
	Program string
	// Ifindex is the netdev, and Queue one of its RX queues, nil for all.
	Ifindex uint32
	Queue   *uint32
	// Mode is native or generic, 0 for native where the driver can.
	Mode family.Mode
	// Update says whether a program may or must be there before, and
	// ExpectedProgID, if not nil, which.
	Update         family.Update
	ExpectedProgID *uint32
	// Require is what the program needs of the netdev; nil for what
	// [Requires] derives.
	Require *Requirement
}

// key is the entry to attach to.
func (a *AttachOptions) key() family.ProgKey {
	k := family.ProgKey{Ifindex: a.Ifindex, Queue: family.QueueAll}
	if a.Queue != nil {
		k.Queue = *a.Queue
	}
	return k
}

// Attach attaches a program of the object through a door. [Object.Undo] detaches
// it, or puts back what it replaced.
//
// Errors are those of [family.Table]; the object stays loaded.
func (o *Object) Attach(ctx context.Context, c family.Control, a AttachOptions) error {
	name, err := o.program(a.Program)
	if err != nil {
		return err
	}
	need := a.Require
	if need == nil {
		if need, err = Requires(o.spec, name); err != nil {
			return err
		}
	}
	key := a.key()
	back, err := o.before(ctx, c, &key)
	if err != nil {
		return err
	}
	var v family.Prog
	v.SetFD(uint32(o.Programs[name].FD()))
	need.SetProg(&v)
	if a.Mode != 0 {
		v.SetMode(a.Mode)
	}
	if a.ExpectedProgID != nil {
		v.SetExpectedProgID(*a.ExpectedProgID)
	}
	if err := c.Prog().Update(ctx, &key, &v, a.Update); err != nil {
		return err
	}
	o.undo.push(back)
	return nil
}

// program is the one of a name, or the only one.
func (o *Object) program(name string) (string, error) {
	if name == "" && len(o.Programs) == 1 {
		for n := range o.Programs {
			return n, nil
		}
	}
	if name == "" {
		var xdp []string
		for n, p := range o.spec.Programs {
			if p.Type == ebpf.XDP && o.Programs[n] != nil {
				xdp = append(xdp, n)
			}
		}
		slices.Sort(xdp)
		return "", &NoProgram{Type: ebpf.XDP, Candidates: xdp}
	}
	if o.Programs[name] != nil {
		return name, nil
	}
	for n, p := range o.spec.Programs {
		if p.SectionName == name && o.Programs[n] != nil {
			return n, nil
		}
	}
	return "", &NoProgram{Name: name, Type: ebpf.XDP}
}

// before returns what makes the entry what it is now. The program there now is
// kept open for that.
func (o *Object) before(ctx context.Context, c family.Control, key *family.ProgKey) (func() error, error) {
	k := *key
	var was family.Prog
	err := c.Prog().Lookup(ctx, &k, &was)
	if errors.Is(err, os.ErrNotExist) || (err == nil && was.Owner != family.OwnerModule) {
		return func() error { return c.Prog().Delete(context.WithoutCancel(ctx), &k) }, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(was.ProgID))
	if err != nil {
		// It is gone meanwhile, or may not be opened: then it cannot be put
		// back either.
		return func() error { return fmt.Errorf("put back the program with id %d: %w", was.ProgID, err) }, nil
	}
	o.undo.open = append(o.undo.open, p.Close)
	return func() error {
		var v family.Prog
		v.SetFD(uint32(p.FD()))
		if was.Has(family.AttrProgMode) {
			v.SetMode(was.Mode)
		}
		need := Requirement{Features: was.RequiredFeatures, RXMetadata: was.RequiredRXMetadataFeatures, Actions: was.RequiredActions}
		need.SetProg(&v)
		return c.Prog().Update(context.WithoutCancel(ctx), &k, &v, family.UpdateExist)
	}, nil
}

// LoadAndAttach is all steps in one: it opens and loads an object file, and
// attaches its program. If anything fails, nothing is left of it.
func LoadAndAttach(ctx context.Context, path string, c family.Control, l LoadOptions, a AttachOptions) (*Object, error) {
	s, err := Open(path)
	if err != nil {
		return nil, err
	}
	prog, err := s.Choose(a.Program, ebpf.XDP)
	if err != nil {
		return nil, fmt.Errorf("read object file %s: %w", path, err)
	}
	if !slices.Contains(l.Programs, prog) {
		l.Programs = append(slices.Clone(l.Programs), prog)
	}
	l.Control, a.Program = c, prog
	o, err := s.Load(ctx, l)
	if err != nil {
		return nil, err
	}
	if err := o.Attach(ctx, c, a); err != nil {
		return nil, errors.Join(err, o.Undo())
	}
	return o, nil
}
