// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// dialServer returns a connection to a server of these families.
func dialServer(t *testing.T, families ...*genl.ServedFamily) *genl.Conn {
	t.Helper()
	s := genl.NewServer(genl.ServerOptions{})
	t.Cleanup(func() { s.Close() })
	for _, f := range families {
		if err := s.Register(f); err != nil {
			t.Fatal(err)
		}
	}
	c, err := genl.Dial(genl.Options{Transport: s.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestServedNetdevs asks a server for what it has.
func TestServedNetdevs(t *testing.T) {
	devs, err := openServedNetdevs(context.Background(), dialServer(t, newNetdevFamily(fakeNetdevs{})))
	if err != nil {
		t.Fatal(err)
	}
	defer devs.Close()
	for want, name := range fakeNames {
		if got, err := devs.index(name); got != want || err != nil {
			t.Errorf("index of %s: got %d, %v", name, got, err)
		}
		if got, err := devs.name(want); got != name || err != nil {
			t.Errorf("name of %d: got %q, %v", want, got, err)
		}
	}
	for _, name := range []string{"eth7", "", strings.Repeat("x", 127), strings.Repeat("x", 128)} {
		if got, err := devs.index(name); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("index of %q: got %d, %v", name, got, err)
		}
	}
	if got, err := devs.name(99); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("name of 99: got %q, %v", got, err)
	}
	got, err := devs.names()
	if diff := cmp.Diff([]string{"lo", "veth0", "veth1"}, got); diff != "" || err != nil {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
}

// TestNetdevRefused sends what has neither index nor name.
func TestNetdevRefused(t *testing.T) {
	conn := dialServer(t, newNetdevFamily(fakeNetdevs{}))
	f, err := conn.Family(context.Background(), netdevFamily)
	if err != nil {
		t.Fatal(err)
	}
	s := &servedNetdevs{conn, f}
	for _, attrs := range [][]byte{nil, genl.AppendUint32(nil, netdevIfindex, 0), genl.AppendUint32(nil, 3, 1)} {
		var e *genl.Error
		if _, _, err := s.get(attrs); !errors.As(err, &e) || errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v: got %v", attrs, err)
		}
	}
}

// TestNamelessNetdevs asks a server that names none.
func TestNamelessNetdevs(t *testing.T) {
	devs, err := openServedNetdevs(context.Background(), dialServer(t))
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(nil, nil)
	a.devs = devs
	if got, err := a.ifindex("7"); got != 7 || err != nil {
		t.Errorf("7: got %d, %v", got, err)
	}
	if _, err := a.ifindex("eth0"); err == nil || a.hint(err) == "" {
		t.Errorf("eth0: got %v", err)
	}
	if got := a.label(7); got != "7: ?:" {
		t.Errorf("label %q", got)
	}
}
