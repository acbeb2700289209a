// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/dirlock"
)

// joinRetries is how often another who changes the dispatcher at the same time is
// given way.
const joinRetries = 10

// JoinOptions control [Spec.Join] and [Leave].
type JoinOptions struct {
	// Ifindex is the netdev, and NetNS an open network namespace in which it
	// is, 0 for that of the caller.
	Ifindex uint32
	NetNS   int
	// Mode is that of a dispatcher that is started: native or generic, or 0
	// for native where the driver can. It must be that of one that is joined.
	Mode family.Mode
	// Priority and ChainOn are the place of the program; nil for what
	// [Spec.RunConfig] says.
	Priority *uint32
	ChainOn  *family.Action
}

// joining is a change of a dispatcher on its way.
type joining struct {
	o    *JoinOptions
	pins *Pinning
	rt   *rtnl
	on   onDevice
	old  *openDispatcher // nil if there is none
	undo undoes
}

// Join loads a program and puts it behind the dispatcher of a netdev, or starts
// one. A new dispatcher takes the place of the old in one step, so that no frame
// meets the netdev without programs. The programs stay when the object is closed;
// [Leave] takes one away.
//
// Returns an error matching [unix.EBUSY] if the netdev has another program, which
// is left alone, [unix.E2BIG] if the dispatcher is full, or [errors.ErrUnsupported]
// if the kernel or the object cannot do it.
func (s *Spec) Join(ctx context.Context, l LoadOptions, o JoinOptions) (*Object, error) {
	if l.Pinning == nil {
		p, err := LoadPinning()
		if err != nil {
			return nil, err
		}
		l.Pinning = p
	}
	if len(l.Programs) != 1 {
		return nil, fmt.Errorf("join a dispatcher: one program at a time can")
	}
	prog, err := s.Choose(l.Programs[0], ebpf.XDP)
	if err != nil {
		return nil, err
	}
	l.Programs = []string{prog}
	if !s.hasTypes(prog) {
		return nil, fmt.Errorf("join a dispatcher: program %s has no BTF, without which the kernel cannot put it in the place of a function: %w", prog, errors.ErrUnsupported)
	}
	var obj *Object
	err = o.change(ctx, l.Pinning, func(j *joining) error {
		obj, err = j.join(ctx, s, &l, prog)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("join a dispatcher: %w", err)
	}
	return obj, nil
}

// hasTypes tells whether a program has BTF of its functions.
func (s *Spec) hasTypes(prog string) bool {
	var f *btf.Func
	return s.Collection.Types != nil && s.Collection.Types.TypeByName(prog, &f) == nil
}

// Leave takes a program away from behind the dispatcher of a netdev, and the
// dispatcher with the last one.
//
// Returns an error matching [os.ErrNotExist] if there is no such program.
func Leave(ctx context.Context, p *Pinning, o JoinOptions, progID uint32) error {
	err := o.change(ctx, p, func(j *joining) error {
		if j.old == nil {
			return fmt.Errorf("the netdev has no dispatcher: %w", os.ErrNotExist)
		}
		left := slices.DeleteFunc(slices.Clone(j.old.members), func(m *member) bool { return m.ProgID == progID })
		switch len(left) {
		case len(j.old.members):
			return fmt.Errorf("program with id %d is not behind the dispatcher: %w", progID, os.ErrNotExist)
		case 0:
			if err := j.rt.setProgram(o.Ifindex, -1, j.old.prog.FD(), j.on.mode); err != nil {
				return err
			}
			return j.old.unpin()
		}
		return j.replace(left, nil)
	})
	if err != nil {
		return fmt.Errorf("leave a dispatcher: %w", err)
	}
	return nil
}

// change calls f with what is on the netdev, under libxdp's lock, and again while
// others are faster.
func (o *JoinOptions) change(ctx context.Context, p *Pinning, f func(*joining) error) error {
	rt, err := dialRtnl(o.NetNS)
	if err != nil {
		return err
	}
	defer rt.Close()
	if err := checkBPFFS(p.root()); err != nil {
		return err
	}
	var made undoes
	if err := makeDirs(filepath.Join(p.root(), "xdp"), &made); err != nil {
		return err
	}
	unlock, err := dirlock.Take(ctx, filepath.Join(p.root(), "xdp"), unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	for range joinRetries {
		if err = o.try(p, rt, f); !errors.Is(err, errRaced) {
			return err
		}
	}
	return fmt.Errorf("the dispatcher kept changing: %w", unix.EBUSY)
}

// errRaced says that the program on the netdev is not the one it was.
var errRaced = errors.New("the program on the netdev changed meanwhile")

// try is one try of change.
func (o *JoinOptions) try(p *Pinning, rt *rtnl, f func(*joining) error) error {
	j := &joining{o: o, pins: p, rt: rt}
	var err error
	if j.on, err = rt.program(o.Ifindex); err != nil {
		return err
	}
	if err := j.find(); err != nil {
		return err
	}
	defer j.old.close()
	if err := f(j); err != nil {
		return errors.Join(err, j.undo.run())
	}
	return j.undo.close()
}

// find opens the dispatcher that is there.
func (j *joining) find() error {
	if j.on.both {
		return fmt.Errorf("the netdev has programs in two modes or in hardware: %w", unix.EBUSY)
	}
	if j.on.progID == 0 {
		j.on.mode = j.o.Mode
		return nil
	}
	old, err := j.pins.openMembers(j.o.Ifindex, j.on.progID)
	if now, rerr := j.rt.program(j.o.Ifindex); err != nil && rerr == nil && now.progID != j.on.progID {
		return errRaced // libxdp attaches without the lock
	}
	if errors.Is(err, errNoDispatcher) {
		return fmt.Errorf("the netdev has the program with id %d, which is no dispatcher of libxdp; detach it first: %w", j.on.progID, unix.EBUSY)
	}
	if err != nil {
		return err
	}
	switch {
	case old.version < dispatcherVersion:
		err = fmt.Errorf("the dispatcher is of version %d and cannot be replaced by one of version %d; unload it first: %w", old.version, dispatcherVersion, unix.EBUSY)
	case old.bound:
		err = fmt.Errorf("the dispatcher is bound to the netdev, which cannot be done again: %w", errors.ErrUnsupported)
	case j.o.Mode != 0 && j.o.Mode != j.on.mode:
		err = fmt.Errorf("the dispatcher runs in %s mode: %w", j.on.mode, unix.EBUSY)
	}
	if err != nil {
		old.close()
		return err
	}
	j.old = old
	return nil
}

// join loads a program for a new dispatcher.
func (j *joining) join(ctx context.Context, s *Spec, l *LoadOptions, prog string) (*Object, error) {
	var members []*member
	if j.old != nil {
		members = slices.Clone(j.old.members)
	}
	if len(members) == maxMembers {
		return nil, fmt.Errorf("it has %d programs already, no more can be: %w", maxMembers, unix.E2BIG)
	}
	prio, chain := s.RunConfig(prog)
	if j.o.Priority != nil {
		prio = *j.o.Priority
	}
	if j.o.ChainOn != nil {
		chain = *j.o.ChainOn
	}
	name := prog[:min(len(prog), unix.BPF_OBJ_NAME_LEN-1)]
	fresh := &member{age: maxMembers, Member: Member{
		Name: name, Priority: prio, ChainOn: chain, Frags: s.Collection.Programs[prog].Flags&xdpHasFrags != 0,
	}}
	var obj *Object
	err := j.replace(append(members, fresh), func(target *ebpf.Program, place string) (err error) {
		o := *l
		o.target, o.function = target, place
		if obj, err = s.Load(ctx, o); err != nil {
			var v *VerifierError
			// Where the dispatcher could be loaded, permission is there.
			if errors.Is(err, unix.EPERM) || (errors.As(err, &v) && len(v.Last()) == 0) {
				err = noFreplace(err)
			}
			return err
		}
		fresh.prog = obj.Programs[prog]
		return nil
	})
	if err != nil && obj != nil {
		err = errors.Join(err, obj.Undo())
	}
	return obj, err
}

// noFreplace explains why a kernel does not take a program in the place of a
// function.
func noFreplace(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) || errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("this kernel does not let a program take the place of a function (freplace), which a dispatcher needs: %w: %w", errors.ErrUnsupported, err)
	}
	return err
}

// replace puts a dispatcher of these programs in the place of the old. The one
// program without a file descriptor is loaded, for the function that it takes the
// place of.
func (j *joining) replace(members []*member, load func(target *ebpf.Program, place string) error) error {
	order(members)
	version := uint8(dispatcherVersion)
	if j.old != nil {
		version = j.old.version
	}
	disp, err := newDispatcher(members, version)
	if err != nil {
		return err
	}
	defer disp.Close()
	info, err := infoOf(disp)
	if err != nil {
		return err
	}
	dir := j.pins.dispatcherDir(j.o.Ifindex, info.ID)
	if err := makeDirs(dir, &j.undo); err != nil {
		return err
	}
	for i, m := range members {
		slot := fmt.Sprintf("prog%d", i)
		if err := j.put(m, disp, slot, dir, len(members) == 1, load); err != nil {
			return err
		}
	}
	old := -1
	if j.old != nil {
		old = j.old.prog.FD()
	}
	if err := j.rt.setProgram(j.o.Ifindex, disp.FD(), old, j.on.mode); err != nil {
		if errors.Is(err, unix.EEXIST) || (old < 0 && errors.Is(err, unix.EBUSY)) {
			return fmt.Errorf("%w: %w", errRaced, err)
		}
		return err
	}
	if j.old != nil {
		j.old.unpin() // it is done by now, and what stays of the old harms nobody
	}
	return nil
}

// newDispatcher loads a dispatcher for programs. One that takes frames in fragments
// must have only such programs.
func newDispatcher(members []*member, version uint8) (*ebpf.Program, error) {
	spec, err := bpf.LoadDispatcher()
	if err != nil {
		return nil, err
	}
	c := dispatcherConfig{Version: version, Count: uint8(len(members)), Frags: 1}
	for i, m := range members {
		c.ChainOn[i] = uint32(m.ChainOn) | 1<<notReplaced
		c.Priorities[i] = m.Priority
		if m.Frags {
			c.Flags[i] = xdpHasFrags
		} else {
			c.Frags = 0
		}
	}
	raw := c.encode()
	copy(spec.Variables[bpf.DispatcherConfig].Value, raw)
	if version > dispatcherVersion {
		// The types of the data are those of version 2.
		m := spec.Maps[".rodata"]
		m.ValueSize, m.Key, m.Value = uint32(len(raw)), nil, nil
		m.Contents = []ebpf.MapKV{{Key: uint32(0), Value: raw}}
	}
	if c.Frags != 0 {
		spec.Programs[bpf.DispatcherProgram].Flags |= xdpHasFrags
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("load the dispatcher: %w", err)
	}
	defer coll.Close()
	return coll.DetachProgram(bpf.DispatcherProgram), nil
}

// put puts a program in its place, and pins it there. Alone, it takes the place of
// the dispatcher itself.
func (j *joining) put(m *member, disp *ebpf.Program, slot, dir string, alone bool, load func(*ebpf.Program, string) error) error {
	function := slot
	if alone {
		function = bpf.DispatcherProgram
	}
	if m.prog == nil {
		if err := load(disp, function); err != nil {
			return err
		}
	}
	l, err := link.AttachFreplace(disp, function, m.prog)
	if err != nil {
		return noFreplace(fmt.Errorf("put program %s in its place: %w", m.Name, err))
	}
	defer l.Close()
	path := filepath.Join(dir, slot)
	if err := l.Pin(path + "-link"); err != nil {
		return fmt.Errorf("pin program %s in its place: %w", m.Name, err)
	}
	j.undo.push(func() error { return os.Remove(path + "-link") })
	return place(m.prog.FD(), path+"-prog", false, &j.undo)
}

// unpin takes away the pins of a dispatcher that is not on the netdev any more.
func (d *openDispatcher) unpin() error {
	var errs []error
	for i := range d.members {
		for _, what := range []string{"link", "prog"} {
			errs = append(errs, os.Remove(filepath.Join(d.dir, fmt.Sprintf("prog%d-%s", i, what))))
		}
	}
	return errors.Join(append(errs, os.Remove(d.dir))...)
}
