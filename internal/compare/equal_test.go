// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// fake is a control type with nothing behind it: what it is told it says.
type fake struct {
	family.Control
	ports fakePorts
}

func (f *fake) Port() family.Table[family.PortKey, family.Port] { return &f.ports }

type fakePorts struct {
	value     family.Port
	there     bool
	lost      bool // iteration does not see it
	deaf      bool // deletes change nothing
	refuse    bool // updates are not supported
	different func(v *family.Port)
}

func (p *fakePorts) Lookup(_ context.Context, _ *family.PortKey, v *family.Port) error {
	if !p.there {
		return &family.Error{Op: "port-get", Errno: unix.ENOENT}
	}
	*v = p.value
	if p.different != nil {
		p.different(v)
	}
	return nil
}

func (p *fakePorts) Update(_ context.Context, _ *family.PortKey, v *family.Port, _ family.Update) error {
	switch {
	case p.refuse:
		return &family.Error{Op: "port-set", Errno: unix.EOPNOTSUPP}
	case p.there:
		return &family.Error{Op: "port-set", Errno: unix.EEXIST}
	}
	p.value, p.there = *v, true
	return nil
}

func (p *fakePorts) Delete(context.Context, *family.PortKey) error {
	if !p.there {
		return &family.Error{Op: "port-del", Errno: unix.ENOENT}
	}
	p.there = p.deaf
	return nil
}

func (p *fakePorts) Cursor(context.Context, *family.PortKey) family.Cursor[family.PortKey, family.Port] {
	return &fakeCursor{p: p, done: !p.there || p.lost}
}

type fakeCursor struct {
	p    *fakePorts
	done bool
}

func (c *fakeCursor) Next(k *family.PortKey, v *family.Port) bool {
	if c.done {
		return false
	}
	c.done = true
	k.Port = portNumber
	return c.p.Lookup(context.Background(), k, v) == nil
}

func (c *fakeCursor) Err() error   { return nil }
func (c *fakeCursor) Close() error { return nil }

// bound is a fake with a port that is bound.
func boundPort(edit func(p *fakePorts)) *fake {
	f := &fake{}
	f.ports.value.SetIfindex(3)
	f.ports.value.SetDevmapID(17)
	f.ports.there = true
	if edit != nil {
		edit(&f.ports)
	}
	return f
}

func judgeOf(a, b *fake, backend string) *judge {
	all := tables(3)
	ports := all[len(all)-1:]
	return &judge{ports, ports, &ways{list: []*way{
		{name: Netlink, backend: backendModule, control: a},
		{name: Embedded, backend: backend, control: b},
		{name: Map, backend: backendModule, skipped: noModule},
	}}}
}

func TestReads(t *testing.T) {
	otherID := func(p *fakePorts) { p.different = func(v *family.Port) { v.DevmapID = 18 } }
	for _, tt := range []struct {
		name    string
		edit    func(p *fakePorts)
		backend string
		want    string
	}{
		{"same", nil, backendModule, ""},
		{"an id, of another backend", otherID, backendNative, ""},
		{"an id, of the same", otherID, backendModule, "xdp-port of {Port:7}: netlink says"},
		{"a field", func(p *fakePorts) { p.different = func(v *family.Port) { v.Ifindex = 4 } }, backendNative, "xdp-port of {Port:7}: netlink says"},
		{"a field that is absent", func(p *fakePorts) { p.different = func(v *family.Port) { v.Present &^= 1 << family.AttrPortDevmapID } }, backendNative, "xdp-port of {Port:7}: netlink says"},
		{"no entry", func(p *fakePorts) { p.there = false }, backendNative, "keys of xdp-port"},
		{"lookup and iteration", func(p *fakePorts) { p.lost = true }, backendNative, "not what iteration does"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := judgeOf(boundPort(nil), boundPort(tt.edit), tt.backend).reads()
			checkError(t, err, tt.want)
		})
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Error(err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want %q in it", err, want)
	}
}

func TestChanges(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(p *fakePorts)
		want string
	}{
		{"same", func(p *fakePorts) {}, ""},
		{"value", func(p *fakePorts) { p.different = func(v *family.Port) { v.Ifindex++ } }, "changes of xdp-port"},
		{"delete does nothing", func(p *fakePorts) { p.deaf = true }, "changes of xdp-port"},
		{"refused by one", func(p *fakePorts) { p.there = true }, "changes of xdp-port"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &fake{}
			tt.edit(&b.ports)
			_, err := judgeOf(&fake{}, b, backendNative).changes(0)
			checkError(t, err, tt.want)
		})
	}
}

// What a backend does not support, all ways into it must refuse.
func TestChangesUnsupported(t *testing.T) {
	able, unable := &fake{}, &fake{ports: fakePorts{refuse: true}}
	module, native := refusal{"xdp-port", backendModule}, refusal{"xdp-port", backendNative}
	for _, tt := range []struct {
		name    string
		a, b    *fake
		backend string
		want    map[refusal]error
		err     string
	}{
		{"by both", unable, unable, backendNative, map[refusal]error{module: unix.EOPNOTSUPP, native: unix.EOPNOTSUPP}, ""},
		{"by one", able, unable, backendNative, map[refusal]error{native: unix.EOPNOTSUPP}, ""},
		{"by one way", able, unable, backendModule, nil, "xdp-port: netlink says"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := judgeOf(tt.a, tt.b, tt.backend).changes(0)
			checkError(t, err, tt.err)
			if err == nil && !maps.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// changeable are all commands of settings, in the place of the one that is read.
func TestChangeable(t *testing.T) {
	var names []string
	for _, table := range changeable(3) {
		names = append(names, table.name())
	}
	want := []string{"xdp-prog", "xdp-attr setup-redirect", "xdp-attr setup-md", "xdp-attr setup-meter", "xdp-port"}
	if !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}
