// SPDX-License-Identifier: BSD-3-Clause

//go:build !race

package genl

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"
)

// The race detector makes sync.Pool forget things, and so cannot be on.
func TestAllocs(t *testing.T) {
	c := dialKernel(t)
	req := familyRequest("family nlctrl")
	req.Attrs = AppendString(nil, unix.CTRL_ATTR_FAMILY_NAME, "nlctrl")
	n := 0
	if a := testing.AllocsPerRun(200, func() {
		if err := c.Do(t.Context(), req, func(m Message) error { n += len(m.Attrs); return nil }); err != nil {
			t.Error(err)
		}
	}); a != 0 {
		t.Errorf("Do allocates %v times", a)
	}
	if a := testing.AllocsPerRun(200, func() {
		cur := c.Dump(t.Context(), familyRequest("families"))
		defer cur.Close()
		for cur.Next() {
			n += len(cur.Message().Attrs)
		}
	}); a != 0 {
		t.Errorf("a dump allocates %v times", a)
	}
}

// A request to a server in the same process allocates nothing either.
func TestServerAllocs(t *testing.T) {
	tr, err := newConstServer(t).Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	r, buf := request(testID, ackd, 1, AppendUint32(nil, 1, 1)), make([]byte, 4096)
	if a := testing.AllocsPerRun(200, func() {
		if err := tr.Send(t.Context(), r, nil); err != nil {
			t.Error(err)
		}
		for range 2 {
			if _, err := tr.Receive(t.Context(), buf); err != nil {
				t.Error(err)
			}
		}
	}); a != 0 {
		t.Errorf("a request allocates %v times", a)
	}
	refused := request(testID, req, 1, AppendUint32(nil, 1, 0))
	if a := testing.AllocsPerRun(200, func() {
		if err := tr.Send(t.Context(), refused, nil); err != nil {
			t.Error(err)
		}
		if _, err := tr.Receive(t.Context(), buf); err != nil {
			t.Error(err)
		}
	}); a != 0 {
		t.Errorf("a refusal allocates %v times", a)
	}
}

// Over a transport neither the client nor the server allocates for a request.
func TestTransportAllocs(t *testing.T) {
	b := newBed(t, ServerOptions{})
	req := b.request(bedGet, AppendUint32(nil, bedValue, 1))
	for name, dial := range b.ways() {
		c := b.conn(t, dial)
		n := 0
		if a := testing.AllocsPerRun(500, func() {
			if err := c.Do(context.Background(), req, func(m Message) error { n += len(m.Attrs); return nil }); err != nil {
				t.Error(err)
			}
		}); a != 0 {
			t.Errorf("%s: Do allocates %v times", name, a)
		}
	}
}
