// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/genltest"
)

// multi is the flag of messages of a dump, intr what the kernel adds if it was
// interrupted.
const (
	multi = uint16(unix.NLM_F_MULTI)
	intr  = uint16(unix.NLM_F_DUMP_INTR)
)

// dumpValues makes a dump and returns the values in it.
func dumpValues(ctx context.Context, c *Conn) ([]uint32, error) {
	var list []uint32
	collect := values(&list)
	cur := c.Dump(ctx, fakeRequest(nil))
	defer cur.Close()
	for cur.Next() {
		if err := collect(cur.Message()); err != nil {
			return nil, err
		}
	}
	return list, cur.Err()
}

func TestDump(t *testing.T) {
	const count = 3 * dumpLen / 28 // more than the buffer at first has room for
	var many []uint32
	for i := range uint32(count) {
		many = append(many, i)
	}
	tests := []struct {
		name   string
		answer func(r fakeMessage, try int) [][]byte
		want   []uint32
		err    error
		tries  int
	}{
		{
			name:   "empty",
			answer: func(r fakeMessage, _ int) [][]byte { return [][]byte{r.Done(0, 0, nil)} },
			tries:  1,
		},
		{
			name: "one part",
			answer: func(r fakeMessage, _ int) [][]byte {
				return [][]byte{genltest.Join(r.value(multi, 1), r.value(multi, 2), r.Done(0, 0, nil))}
			},
			want: []uint32{1, 2}, tries: 1,
		},
		{
			name: "end apart",
			answer: func(r fakeMessage, _ int) [][]byte {
				return [][]byte{genltest.Join(r.value(multi, 1), r.value(multi, 2)), r.Done(0, 0, nil)}
			},
			want: []uint32{1, 2}, tries: 1,
		},
		{
			name: "every message apart",
			answer: func(r fakeMessage, _ int) [][]byte {
				return [][]byte{r.value(multi, 1), r.value(multi, 2), r.value(multi, 3), r.Done(0, 0, nil)}
			},
			want: []uint32{1, 2, 3}, tries: 1,
		},
		{
			name: "many",
			answer: func(r fakeMessage, _ int) [][]byte {
				var parts [][]byte
				var part []byte
				for i := range uint32(count) {
					if m := r.value(multi, i); len(part)+len(m) > dumpLen {
						parts, part = append(parts, part), m
					} else {
						part = append(part, m...)
					}
				}
				return append(parts, part, r.Done(0, 0, nil))
			},
			want: many, tries: 1,
		},
		{
			name: "other messages between",
			answer: func(r fakeMessage, _ int) [][]byte {
				old := r
				old.Seq--
				return [][]byte{
					old.Done(0, 0, nil),
					genltest.Join(r.value(multi, 1), old.value(multi|intr, 9), r.value(multi, 2)),
					old.Ack(syscall.EINVAL, nil),
					genltest.Join(old.value(multi, 9), r.value(multi, 3), genltest.Message(unix.NLMSG_NOOP, 0, r.Seq, []byte("odd")),
						r.value(multi, 4), r.Done(0, 0, nil), r.value(multi, 9)),
				}
			},
			want: []uint32{1, 2, 3, 4}, tries: 1,
		},
		{
			name: "messages of odd length",
			answer: func(r fakeMessage, _ int) [][]byte {
				one, two := r.Reply(multi, 9, 0, 1, 0, 1, 0, 0, 0, 7), r.value(multi, 2)
				one[headerLen+genlHeaderLen] = 8 // cuts the odd byte off
				return [][]byte{one, two, one, genltest.Join(one, two, r.Done(0, 0, nil))}
			},
			want: []uint32{1, 2, 1, 1, 2}, tries: 1,
		},
		{
			name:   "acknowledged instead of ended",
			answer: func(r fakeMessage, _ int) [][]byte { return [][]byte{r.value(multi, 1), r.Ack(0, nil)} },
			want:   []uint32{1}, tries: 1,
		},
		{
			name:   "refused",
			answer: func(r fakeMessage, _ int) [][]byte { return [][]byte{r.Ack(syscall.EPERM, nil)} },
			err:    unix.EPERM, tries: 1,
		},
		{
			name: "failed in the middle",
			answer: func(r fakeMessage, _ int) [][]byte {
				return [][]byte{r.value(multi, 1), r.Done(0, syscall.ENOMEM, nil)}
			},
			err: unix.ENOMEM, tries: 1,
		},
		{
			name: "interrupted at a message, then not",
			answer: func(r fakeMessage, try int) [][]byte {
				if try < 3 {
					return [][]byte{r.value(multi, 8), r.value(multi|intr, 9), r.value(multi, 9), r.Done(0, 0, nil)}
				}
				return [][]byte{r.value(multi, 1), r.Done(0, 0, nil)}
			},
			want: []uint32{1}, tries: 3,
		},
		{
			name: "interrupted at the end, then not",
			answer: func(r fakeMessage, try int) [][]byte {
				if try < 2 {
					return [][]byte{r.value(multi, 8), r.Done(intr, 0, nil)}
				}
				return [][]byte{r.value(multi, 1), r.Done(0, 0, nil)}
			},
			want: []uint32{1}, tries: 2,
		},
		{
			name: "always interrupted",
			answer: func(r fakeMessage, _ int) [][]byte {
				return [][]byte{r.value(multi|intr, 8), r.Done(intr, 0, nil)}
			},
			err: ErrDumpInterrupted, tries: 4,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var try atomic.Int32
			c, f := dialFake(t, Options{DumpTries: 4}, func(r fakeMessage) [][]byte {
				return tt.answer(r, int(try.Add(1)))
			})
			for range 2 {
				try.Store(0)
				got, err := dumpValues(t.Context(), c)
				if !errors.Is(err, tt.err) {
					t.Errorf("got error %v, want %v", err, tt.err)
				}
				if err != nil && !strings.HasPrefix(err.Error(), "fake-get: ") {
					t.Errorf("error %q does not begin with the operation", err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("values (-want +got):\n%s", diff)
				}
				if n := int(try.Load()); n != tt.tries {
					t.Errorf("tried %d times, want %d", n, tt.tries)
				}
			}
			if n := f.Dials(); n != 1 {
				t.Errorf("took %d sockets, want 1", n)
			}
		})
	}
}

func TestDumpTriesDefault(t *testing.T) {
	var tries atomic.Int32
	c, _ := dialFake(t, Options{}, func(r fakeMessage) [][]byte {
		tries.Add(1)
		return [][]byte{r.Done(intr, 0, nil)}
	})
	if _, err := dumpValues(t.Context(), c); !errors.Is(err, ErrDumpInterrupted) {
		t.Errorf("got error %v, want %v", err, ErrDumpInterrupted)
	}
	if n := tries.Load(); n != defaultDumpTries {
		t.Errorf("tried %d times, want %d", n, defaultDumpTries)
	}
}

// A cursor may be left or closed at any time, and does not begin again.
func TestCursorClose(t *testing.T) {
	c, _ := dialFake(t, Options{}, func(r fakeMessage) [][]byte {
		return [][]byte{genltest.Join(r.value(multi, 1), r.value(multi, 2), r.Done(0, 0, nil))}
	})
	nothing := func(when string, cur *Cursor) {
		t.Helper()
		if m, attrs := cur.Message(), cur.Attrs(); m.Attrs != nil || attrs != nil {
			t.Errorf("%s: got message %+v, attributes %v", when, m, attrs)
		}
	}
	cur := c.Dump(t.Context(), fakeRequest(nil))
	nothing("before the first", cur)
	cur.Close()
	nothing("closed before the first", cur)
	if cur.Next() || cur.Err() != nil {
		t.Errorf("closed before the first: got another, error %v", cur.Err())
	}
	cur = c.Dump(t.Context(), fakeRequest(nil))
	cur.Next()
	cur.Close()
	cur.Close()
	nothing("closed after the first", cur)
	if cur.Next() || cur.Err() != nil {
		t.Errorf("closed after the first: got another, error %v", cur.Err())
	}
	cur = c.Dump(t.Context(), fakeRequest(nil))
	for cur.Next() {
	}
	nothing("after the end", cur)
	if cur.Next() || cur.Err() != nil {
		t.Errorf("after the end: got another, error %v", cur.Err())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dumpValues(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

// Whatever a part of a dump is, parsing it ends, and what is delivered are
// messages.
func FuzzPart(f *testing.F) {
	r := newFakeMessage(9)
	old := r
	old.Seq = 8
	f.Add(genltest.Join(r.value(multi, 1), r.value(multi, 2), r.Done(0, 0, nil)), r.Done(0, 0, nil))
	f.Add(genltest.Join(r.value(multi, 1), old.value(multi, 2), r.value(multi|intr, 3)), r.Ack(syscall.EINVAL, nil))
	f.Add(r.Reply(multi, 1, 2, 3), r.Reply(multi))
	f.Add(r.value(multi, 1)[:25], []byte{})
	f.Fuzz(func(t *testing.T, one, two []byte) {
		s := &sock{seq: 9}
		req := fakeRequest(nil)
		// As receiveDump does it, each part is behind what is there.
		var d dump
		var err error
		for _, part := range [][]byte{one, two} {
			end := len(d.b)
			b := grow(d.b, len(part))
			d.b = b[:end]
			if copy(b[end:], part); err == nil && !d.done {
				err = s.parsePart(b[end:], &req, &d)
			}
		}
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("got error %v, want %v", err, ErrMalformed)
		}
		for b := d.b; len(b) > 0; {
			m, rest, err := nextMessage(b)
			if err != nil || m.typ() != fakeFamily.ID || m.seq() != 9 {
				t.Fatalf("kept message %v, error %v", m, err)
			}
			if _, ok := m.generic(0); !ok {
				t.Fatalf("kept message %v, which is too short", m)
			}
			b = rest
		}
	})
}
