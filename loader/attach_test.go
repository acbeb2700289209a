// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// fakeDoor is a door that remembers one program, by its id.
type fakeDoor struct {
	family.Control
	prog   *family.Prog
	refuse error
	log    []string
}

func (d *fakeDoor) Prog() family.Table[family.ProgKey, family.Prog] { return fakeProgs{d: d} }

type fakeProgs struct {
	family.Table[family.ProgKey, family.Prog]
	d *fakeDoor
}

func (p fakeProgs) Lookup(_ context.Context, _ *family.ProgKey, v *family.Prog) error {
	if p.d.prog == nil {
		return &family.Error{Op: "prog-get", Errno: unix.ENOENT}
	}
	*v = *p.d.prog
	return nil
}

func (p fakeProgs) Update(_ context.Context, _ *family.ProgKey, v *family.Prog, _ family.Update) error {
	if p.d.refuse != nil {
		return p.d.refuse
	}
	fd, err := unix.FcntlInt(uintptr(v.FD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	prog, err := ebpf.NewProgramFromFD(fd)
	if err != nil {
		return err
	}
	defer prog.Close()
	info, err := prog.Info()
	if err != nil {
		return err
	}
	id, _ := info.ID()
	p.d.log = append(p.d.log, "attach "+info.Name)
	var now family.Prog
	now.SetProgID(uint32(id))
	now.SetOwner(family.OwnerModule)
	now.SetRequiredFeatures(v.RequiredFeatures)
	p.d.prog = &now
	return nil
}

func (p fakeProgs) Delete(context.Context, *family.ProgKey) error {
	p.d.prog = nil
	p.d.log = append(p.d.log, "detach")
	return nil
}

func TestAttach(t *testing.T) {
	p := bpffs(t)
	ctx := context.Background()
	d := &fakeDoor{}
	first, err := LoadAndAttach(ctx, "testdata/object.bpf.o", d, LoadOptions{Pinning: p}, AttachOptions{Ifindex: 1})
	if err != nil {
		t.Fatal(err)
	}
	if d.prog.RequiredFeatures != basic {
		t.Errorf("required are %v", d.prog.RequiredFeatures)
	}
	second, err := LoadAndAttach(ctx, "testdata/legacy_tail.bpf.o", d, LoadOptions{Pinning: p}, AttachOptions{Ifindex: 1})
	if err != nil {
		t.Fatal(err)
	}
	// What was replaced is put back, then nothing is attached.
	if err := second.Undo(); err != nil {
		t.Error(err)
	}
	wantTree(t, p, "points")
	if err := first.Undo(); err != nil {
		t.Error(err)
	}
	wantTree(t, p)
	if diff := cmp.Diff([]string{"attach count", "attach entry", "attach count", "detach"}, d.log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAttachRefused(t *testing.T) {
	p := bpffs(t)
	ctx := context.Background()
	d := &fakeDoor{refuse: &family.Error{Op: "prog-set", Errno: unix.EBUSY}}
	if _, err := LoadAndAttach(ctx, "testdata/object.bpf.o", d, LoadOptions{Pinning: p}, AttachOptions{Ifindex: 1}); !errors.Is(err, unix.EBUSY) {
		t.Errorf("got %v, want EBUSY", err)
	}
	wantTree(t, p)
	if _, err := LoadAndAttach(ctx, "testdata/requires.bpf.o", d, LoadOptions{Pinning: p}, AttachOptions{}); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("of many programs: got %v", err)
	}
	if _, err := LoadAndAttach(ctx, "testdata/object.bpf.o", d, LoadOptions{Pinning: p}, AttachOptions{Program: "x"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such program: got %v", err)
	}
}
