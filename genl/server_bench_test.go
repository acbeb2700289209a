// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"testing"

	"golang.org/x/sys/unix"
)

// newConstServer serves a family whose one operation has one answer, and dumps
// it 100 times.
func newConstServer(tb testing.TB) *Server {
	tb.Helper()
	answer := AppendUint32(AppendUint32(nil, 1, 7), 2, 8)
	s := NewServer(ServerOptions{})
	tb.Cleanup(func() { s.Close() })
	policy := &PolicySet{Attrs: []AttrPolicy{{1, Policy{Type: unix.NL_ATTR_TYPE_U32, MinValue: ptr(uint64(1))}}}}
	err := s.Register(&ServedFamily{Name: "const", Version: 1, Ops: []ServedOp{{
		Command: 1, Policy: policy,
		Do: HandlerFunc(func(w *ReplyWriter, r *ServerRequest) error {
			if !r.Has(1) {
				return r.Missing(1)
			}
			return w.Reply(answer)
		}),
		Dump: DumpFunc(func(*ServerRequest) (DumpCursor, error) { return counting(100, 20, nil)(), nil }),
	}}})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func BenchmarkServer(b *testing.B) {
	ifindex := AppendUint32(nil, 1, 1)
	b.Run("transport-one-reply", func(b *testing.B) {
		t, err := newConstServer(b).Dial()
		if err != nil {
			b.Fatal(err)
		}
		defer t.Close()
		r, buf := request(testID, req, 1, ifindex), make([]byte, 4096)
		b.ReportAllocs()
		for b.Loop() {
			if t.Send(b.Context(), r, nil) != nil {
				b.Fatal("not sent")
			}
			if n, err := t.Receive(b.Context(), buf); err != nil || n != 36 {
				b.Fatal(n, err)
			}
		}
	})
	for name, one := range map[string]bool{"conn": false, "conn-one-reply": true} {
		b.Run(name, func(b *testing.B) {
			c, f := dialConst(b)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Do(b.Context(), Request{Family: f, Command: 1, Attrs: ifindex, OneReply: one}, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func dialConst(tb testing.TB) (*Conn, *Family) {
	tb.Helper()
	c, err := Dial(Options{Transport: newConstServer(tb).Dial})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	f, err := c.Family(tb.Context(), "const")
	if err != nil {
		tb.Fatal(err)
	}
	return c, f
}
