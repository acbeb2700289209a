// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
)

func TestRunConfig(t *testing.T) {
	for _, tt := range []struct {
		object, prog string
		prio         uint32
		chain        family.Action
	}{
		{"chain", "drop", 50, pass},
		{"chain", "send_back", 7, drop | tx},
		{"legacy_tail", "entry", 50, pass},
	} {
		prio, chain := mustOpen(t, tt.object).RunConfig(tt.prog)
		if prio != tt.prio || chain != tt.chain {
			t.Errorf("%s %s: got %d, %v, want %d, %v", tt.object, tt.prog, prio, chain, tt.prio, tt.chain)
		}
	}
}

func TestDispatcherConfig(t *testing.T) {
	c := &dispatcherConfig{Magic: dispatcherMagic, Version: 2, Count: 2, Frags: 1}
	for i := range maxMembers {
		c.ChainOn[i], c.Priorities[i], c.Flags[i] = uint32(i), uint32(100+i), uint32(200+i)
	}
	raw := c.encode()
	spec, err := bpf.LoadDispatcher()
	if err != nil {
		t.Fatal(err)
	}
	if n := spec.Variables[bpf.DispatcherConfig].Size(); int(n) != len(raw) || len(spec.Maps) != 1 {
		t.Errorf("the dispatcher has %d bytes of configuration, want %d, and %d maps", n, len(raw), len(spec.Maps))
	}
	three := *c
	three.Version, three.DevBound = 3, 1
	v3 := three.encode()
	v1 := append([]byte{2, 0, 0, 0}, raw[4:4+80]...)
	change := func(b []byte, at int, to byte) []byte {
		b = slices.Clone(b)
		b[at] = to
		return b
	}
	as := func(version uint8) *dispatcherConfig {
		d := *c
		d.Version = version
		if version == 3 {
			d.DevBound = 1
		}
		if version == 1 {
			d = dispatcherConfig{Version: 1, Count: 2, ChainOn: c.ChainOn, Priorities: c.Priorities}
		}
		return &d
	}
	for name, tt := range map[string]struct {
		raw  []byte
		want *dispatcherConfig
		err  error
	}{
		"version 1":   {v1, as(1), nil},
		"version 2":   {raw, c, nil},
		"version 3":   {v3, as(3), nil},
		"version 4":   {change(v3, 1, 4), nil, errors.ErrUnsupported},
		"wrong size":  {v3[:len(v3)-1], nil, errors.ErrUnsupported},
		"other magic": {change(raw, 0, 1), nil, errNoDispatcher},
		"short":       {raw[:8], nil, errNoDispatcher},
		"empty":       {nil, nil, errNoDispatcher},
		"eleven":      {change(raw, 2, 11), nil, unix.EINVAL},
		"eleven, old": {change(v1, 0, 11), nil, unix.EINVAL},
	} {
		got, err := decodeConfig(tt.raw)
		if diff := cmp.Diff(tt.want, got); diff != "" || !errors.Is(err, tt.err) {
			t.Errorf("%s: error %v (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestOrder(t *testing.T) {
	m := func(name string, prio uint32, age int) *member {
		return &member{age: age, Member: Member{Name: name, Priority: prio}}
	}
	members := []*member{m("b", 5, 10), m("b", 5, 1), m("c", 5, 0), m("z", 1, 2), m("a", 5, 3)}
	order(members)
	var got []string
	for _, m := range members {
		got = append(got, m.Name)
	}
	if diff := cmp.Diff([]string{"z", "a", "b", "b", "c"}, got); diff != "" || members[2].age != 1 {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// FuzzDispatcher reads what others put into a map.
func FuzzDispatcher(f *testing.F) {
	f.Add((&dispatcherConfig{Version: 3, Count: 3}).encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := decodeConfig(raw)
		if err == nil && (c.Count > maxMembers || c.Version == 0 || c.Version > 3) {
			t.Errorf("%+v", c)
		}
	})
}
