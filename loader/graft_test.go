// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

func TestGraft(t *testing.T) {
	p := bpffs(t)
	s := mustOpen(t, "legacy_graft")
	obj := mustLoad(t, s, LoadOptions{Pinning: p, Type: ebpf.SchedCLS, Programs: []string{""}})
	entry := obj.Programs["entry"]
	if got := run(t, entry); got != 10 {
		t.Errorf("with nothing grafted: %d", got)
	}
	zero, two := uint32(0), uint32(2)
	graft := func(o GraftOptions) error {
		o.Pinning = p
		return mustOpen(t, "legacy_graft").Graft(context.Background(), o)
	}
	if err := graft(GraftOptions{Map: "m:globals/slots", Key: &zero, Program: "first"}); err != nil {
		t.Fatal(err)
	}
	if got := run(t, entry); got != 11 {
		t.Errorf("with the first grafted: %d", got)
	}
	if err := graft(GraftOptions{Map: p.Root + "/tc/globals/slots", Key: &zero, Program: "7/1"}); err != nil {
		t.Fatal(err)
	}
	if got := run(t, entry); got != 12 {
		t.Errorf("with the second grafted: %d", got)
	}
	if err := graft(GraftOptions{Map: "m:globals/slots", Program: "7/1"}); err != nil {
		t.Fatal(err)
	}
	var id uint32
	if err := obj.Maps["slots"].Lookup(uint32(1), &id); err != nil || id == 0 {
		t.Errorf("nothing at the key of the section: %v", err)
	}
	for want, o := range map[string]GraftOptions{
		"section first does not tell the key, as one named ID/KEY does":          {Map: "m:globals/slots", Program: "first"},
		"graft into m:globals/slots: key 2 is beyond its 2 entries":              {Map: "m:globals/slots", Key: &two, Program: "first"},
		"graft into m:globals/slots: its programs are of type SchedCLS, not XDP": {Map: p.Root + "/tc/globals/slots", Key: &zero, Program: "first", Type: ebpf.XDP},
		"open the map pinned at " + p.Root + "/tc/globals/none":                  {Map: "m:globals/none", Key: &zero, Program: "first"},
		`program "third": file does not exist`:                                   {Map: "m:globals/slots", Key: &zero, Program: "third"},
	} {
		err := graft(o)
		if strings.Contains(want, "not XDP") {
			want = "its programs are of type SchedCLS"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestUnload(t *testing.T) {
	p := bpffs(t)
	s := mustOpen(t, "legacy_tail")
	dir := p.Root + "/progs"
	mustLoad(t, s, LoadOptions{Pinning: p, PinPrograms: dir}).Close()
	object := mustOpen(t, "object")
	mustLoad(t, object, LoadOptions{Pinning: p, PinPrograms: dir}).Close()
	removed, err := s.Unload(t.Context(), UnloadOptions{Pinning: p, PinPrograms: dir})
	if err != nil {
		t.Fatal(err)
	}
	if len(removed) != 6 {
		t.Errorf("removed %v", removed)
	}
	wantTree(t, p, "ip", "points", "progs", "progs/count", "tc", "tc/globals", "xdp")
	if removed, err = object.Unload(t.Context(), UnloadOptions{Pinning: p, PinPrograms: dir}); err != nil || len(removed) != 1 {
		t.Errorf("removed %v, error %v", removed, err)
	}
	wantTree(t, p, "ip", "points", "tc", "tc/globals", "xdp")
	// What is not the object's stays.
	os.Remove(p.Root + "/points")
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Pin(p.Root + "/points"); err != nil {
		t.Fatal(err)
	}
	var mm *Mismatch
	if removed, err = object.Unload(t.Context(), UnloadOptions{Pinning: p, All: true}); !errors.As(err, &mm) || len(removed) != 0 {
		t.Errorf("removed %v, error %v", removed, err)
	}
	wantTree(t, p, "ip", "points", "tc", "tc/globals", "xdp")
}
