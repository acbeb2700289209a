// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/loader"
)

// collection is an object file with these programs.
func collection(progs ...*ebpf.ProgramSpec) *ebpf.CollectionSpec {
	c := &ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{}, Maps: map[string]*ebpf.MapSpec{}}
	for _, p := range progs {
		c.Programs[p.Name] = p
	}
	return c
}

func prog(name, section string, typ ebpf.ProgramType) *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Name: name, SectionName: section, Type: typ}
}

func TestChoose(t *testing.T) {
	pass, drop := prog("pass", "xdp", ebpf.XDP), prog("drop", "xdp/drop", ebpf.XDP)
	tc, old := prog("tc", "classifier", ebpf.SchedCLS), prog("old", "prog", ebpf.UnspecifiedProgram)
	tests := []struct {
		name string
		coll *ebpf.CollectionSpec
		prog string
		want string
		err  string
		hint string
	}{
		{name: "only one", coll: collection(pass, tc, old), want: "pass"},
		{name: "by name", coll: collection(pass, drop), prog: "drop", want: "drop"},
		{name: "by section", coll: collection(pass, drop), prog: "xdp/drop", want: "drop"},
		{name: "no type", coll: collection(old), prog: "old", want: "old"},
		{name: "no type, by section", coll: collection(old), prog: "prog", want: "old"},
		{name: "none", coll: collection(tc, old), err: "XDP program: file does not exist"},
		{name: "many", coll: collection(pass, drop), err: "it has 2 XDP programs", hint: "Say which one with prog NAME: drop, pass"},
		{name: "no such name", coll: collection(pass), prog: "x", err: `program "x": file does not exist`, hint: "The XDP programs in it are: pass"},
		{name: "no such name, no XDP", coll: collection(tc), prog: "x", err: `program "x": file does not exist`},
		{name: "other type", coll: collection(pass, tc), prog: "tc", err: `program "tc" is of type SchedCLS, not XDP`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			coll := tt.coll.Copy() // choose gives a type to what has none
			got, err := choose(coll, tt.prog)
			if tt.err != "" {
				var h *hinted
				if err == nil || err.Error() != tt.err {
					t.Errorf("got error %v, want %s", err, tt.err)
				}
				if errors.As(err, &h) != (tt.hint != "") || (h != nil && h.hint != tt.hint) {
					t.Errorf("got hint %+v, want %q", h, tt.hint)
				}
				return
			}
			if err != nil || got != tt.want || coll.Programs[got].Type != ebpf.XDP {
				t.Errorf("got %q, error %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestPrune(t *testing.T) {
	c := collection(prog("a", "xdp", ebpf.XDP), prog("b", "xdp", ebpf.XDP), prog("c", "xdp", ebpf.XDP))
	c.Maps["jump"] = &ebpf.MapSpec{Contents: []ebpf.MapKV{{Key: uint32(0), Value: "c"}, {Key: uint32(1), Value: 5}}}
	prune(c, "a")
	var left []string
	for n := range c.Programs {
		left = append(left, n)
	}
	slices.Sort(left)
	if diff := cmp.Diff([]string{"a", "c"}, left); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSourceErrors(t *testing.T) {
	id := uint32(0xfffffff0)
	for name, tt := range map[string]struct {
		source source
		want   string
	}{
		"id":     {source{id: &id}, "open program with id 4294967280: "},
		"pinned": {source{pinned: "/nonexistent"}, "open program pinned at /nonexistent: "},
		"obj":    {source{obj: "/nonexistent"}, "read object file: open /nonexistent: "},
		"no ELF": {source{obj: "source_test.go"}, "read object file: "},
	} {
		if _, _, err := tt.source.open(); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
	fd := uint32(7)
	if got, closer, err := (&source{fd: &fd}).open(); got != fd || err != nil {
		t.Errorf("fd: got %d, error %v", got, err)
	} else {
		closer()
	}
}

// An object gets those maps of the port table that it has, and others none.
func TestPortMaps(t *testing.T) {
	none := errors.New("asked")
	s := source{ports: func() (map[string]*ebpf.Map, error) { return nil, none }}
	coll := collection(prog("a", "xdp", ebpf.XDP))
	if _, err := s.portMaps(coll); err != nil {
		t.Errorf("without port maps: %v", err)
	}
	coll.Maps[loader.PortIndexMap] = &ebpf.MapSpec{}
	if _, err := s.portMaps(coll); !errors.Is(err, none) {
		t.Errorf("got %v, want %v", err, none)
	}
	if _, err := (&source{}).portMaps(coll); err != nil {
		t.Errorf("without a door: %v", err)
	}
	none = os.ErrNotExist
	var h *hinted
	if _, err := s.portMaps(coll); !errors.As(err, &h) || !strings.Contains(h.hint, "port set") {
		t.Errorf("got %v, want a hint", err)
	}
}

// TestSourceObject loads an object file of the project.
func TestSourceObject(t *testing.T) {
	s := source{obj: "../../../bpf/pass.bpf.o"}
	fd, closer, err := s.open()
	if errors.Is(err, ebpf.ErrNotSupported) || (err != nil && strings.Contains(err.Error(), "not permitted")) {
		t.Skipf("no BPF programs here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if fd == 0 {
		t.Error("no file descriptor")
	}
	closer()
}
