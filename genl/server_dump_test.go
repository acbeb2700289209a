// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// testCursor is a dump made of functions.
type testCursor struct {
	next   func(w *DumpWriter) error
	closed *int
}

func (c testCursor) Next(w *DumpWriter) error { return c.next(w) }

func (c testCursor) Close() error {
	if c.closed != nil {
		*c.closed++
	}
	return nil
}

// counting dumps n messages whose attributes take size bytes.
func counting(n, size int, closed *int) func() DumpCursor {
	return func() DumpCursor {
		i := 0
		return testCursor{func(w *DumpWriter) error {
			if i == n {
				return io.EOF
			}
			i++
			w.Write(AppendAttr(nil, uint16(i), make([]byte, size-attrHeaderLen)))
			return nil
		}, closed}
	}
}

// parts puts a dump in words: "1,2,3" for a datagram, "done" and "done ERRNO". It
// is received into buffers of a size, but none of it is cut off.
func parts(t *testing.T, s *serverSide, size int) []string {
	t.Helper()
	k := s.t.(*ServerSocket)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var list []string
	for {
		b, err := k.wait(ctx)
		if errors.Is(err, context.Canceled) {
			return list
		}
		if err != nil {
			list = append(list, err.Error())
			continue
		}
		list = append(list, part(t, b))
		k.Received(size)
	}
}

func part(t *testing.T, b []byte) string {
	t.Helper()
	var words []string
	for len(b) > 0 {
		m, rest, err := nextMessage(b)
		if err != nil {
			t.Fatal(err)
		}
		word := ""
		switch m.typ() {
		case testID:
			word = fmt.Sprint(ne.Uint16(m[headerLen+genlHeaderLen+2:]))
		default:
			a, err := parseDone(m.flags(), m.body())
			if err != nil {
				t.Fatal(err)
			}
			word = map[uint16]string{unix.NLMSG_DONE: "done", unix.NLMSG_ERROR: "error"}[m.typ()]
			if a.errno != 0 {
				word += " " + unix.ErrnoName(a.errno)
			}
			if m.typ() == unix.NLMSG_DONE && len(a.tlvs) > 0 {
				word += fmt.Sprintf(" %x", a.tlvs)
			}
		}
		if m.flags()&unix.NLM_F_DUMP_INTR != 0 {
			word += "!"
		}
		words = append(words, word)
		b = rest
	}
	return strings.Join(words, ",")
}

// Parts are as large as the reader's buffer was last, within bounds.
func TestServerDumpParts(t *testing.T) {
	tests := []struct {
		name    string
		n, size int
		buf     []int // of the dumps before, and of this one
		want    []string
	}{
		{"nothing", 0, 0, []int{8192}, []string{"done"}},
		{"all in one", 3, 100, []int{8192}, []string{"1,2,3,done"}},
		{"no room for the end", 1, minPart - 20 - 16, []int{8192}, []string{"1", "done"}},
		{"just room for the end", 1, minPart - 20 - 20, []int{8192}, []string{"1,done"}},
		{"first part of a page, then larger", 7, 1660, []int{8192}, []string{"1,2", "3,4,5,6", "7,done"}},
		{"small buffer", 5, 1660, []int{100}, []string{"1,2", "3,4", "5,done"}},
		{"the buffer of the dump before", 7, 1660, []int{8192, 8192}, []string{"1,2,3,4", "5,6,7,done"}},
		{"no larger than 32 KiB", 3, 16000, []int{1 << 20, 1 << 20}, []string{"1,2", "3,done"}},
		{"too large for a part", 1, minPart, []int{8192}, []string{"done EMSGSIZE"}},
		{"second too large for a part", 2, minPart - 20, []int{1}, []string{"1", "2", "done"}},
	}
	s := newTestServer(t, ServerOptions{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := s.dial(t)
			closed := 0
			s.list = counting(tt.n, tt.size, &closed)
			var got []string
			for _, size := range tt.buf {
				if err := k.send(request(testID, dmp, cmdList, nil)); err != nil {
					t.Fatal(err)
				}
				got = parts(t, k, size)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
			if closed != len(tt.buf) {
				t.Errorf("%d dumps were closed %d times", len(tt.buf), closed)
			}
		})
	}
}

// What a cursor returns ends the dump or a part of it.
func TestServerDumpEnds(t *testing.T) {
	u32 := func(n uint16) []byte { return AppendUint32(nil, n, 0) }
	refusal := &Error{Errno: unix.ENODEV, Message: "gone", Offset: 20}
	msg := fmt.Sprintf(" %x", extMsg("gone"))
	all := fmt.Sprintf(" %x", extAttr("gone", 20))
	tests := []struct {
		name     string
		old, new []string
		steps    []func(w *DumpWriter) error
	}{
		{
			"error", []string{"1,done ENODEV" + msg}, []string{"1,done ENODEV" + all},
			[]func(w *DumpWriter) error{
				func(w *DumpWriter) error { w.Write(u32(1)); return nil },
				func(w *DumpWriter) error { return fmt.Errorf("because: %w", refusal) },
			},
		},
		{
			"message and end at once", []string{"1,done"}, []string{"1,done"},
			[]func(w *DumpWriter) error{
				func(w *DumpWriter) error { w.Write(u32(1)); return io.EOF },
			},
		},
		{
			"warning", []string{"1,done" + msg}, []string{"1,done" + msg},
			[]func(w *DumpWriter) error{
				func(w *DumpWriter) error { w.Write(u32(1)); w.Warn("gone"); return io.EOF },
			},
		},
		{
			"no room", []string{"1", "2,done"}, []string{"1", "2,done"},
			[]func(w *DumpWriter) error{
				func(w *DumpWriter) error { w.Write(u32(1)); return nil },
				func(w *DumpWriter) error { return ErrNoRoom },
				func(w *DumpWriter) error { w.Write(u32(2)); return io.EOF },
			},
		},
		{
			"no room for the first", []string{"done EMSGSIZE"}, []string{"done EMSGSIZE"},
			[]func(w *DumpWriter) error{
				func(w *DumpWriter) error { return ErrNoRoom },
			},
		},
		{
			"several at once, over the end of a part", []string{"1,2", "3,4,done"}, []string{"1,2", "3,4,done"},
			[]func(w *DumpWriter) error{
				func(w *DumpWriter) error {
					for i := range uint16(4) {
						w.Write(AppendAttr(nil, i+1, make([]byte, 1660)))
					}
					return nil
				},
				func(w *DumpWriter) error { return io.EOF },
			},
		},
		{
			"more at once than two parts have room for", []string{"1,2", "3,4", "5,done"}, []string{"1,2", "3,4", "5,done"},
			[]func(w *DumpWriter) error{
				func(w *DumpWriter) error {
					for i := range uint16(5) {
						w.Write(AppendAttr(nil, i+1, make([]byte, 1660)))
					}
					return nil
				},
				func(w *DumpWriter) error { return io.EOF },
			},
		},
	}
	for _, kernel := range []string{"6.1", "6.12"} {
		s := newTestServer(t, ServerOptions{Kernel: kernel})
		for _, tt := range tests {
			t.Run(kernel+" "+tt.name, func(t *testing.T) {
				steps := tt.steps
				s.list = func() DumpCursor {
					return testCursor{next: func(w *DumpWriter) error {
						step := steps[0]
						steps = steps[1:]
						return step(w)
					}}
				}
				want := tt.new
				if kernel == "6.1" {
					want = tt.old
				}
				k := s.dial(t)
				if err := k.send(request(testID, dmp, cmdList, AppendAttr(nil, 7, nil))); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, parts(t, k, 100)); diff != "" {
					t.Errorf("parts (-want +got):\n%s", diff)
				}
				if len(steps) > 0 {
					t.Errorf("%d steps were not taken", len(steps))
				}
			})
		}
	}
}

// The end comes apart if the family wants it, and looks once more at what is
// dumped.
func TestServerDumpDoneApart(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	op := slices.IndexFunc(s.fam.Ops, func(op ServedOp) bool { return op.Command == cmdList })
	s.fam.Ops[op].DoneApart = true
	k := s.dial(t)
	for _, tt := range []struct {
		n    int
		want []string
	}{{0, []string{"done"}}, {2, []string{"1,2", "done"}}} {
		s.list = counting(tt.n, 100, nil)
		if err := k.send(request(testID, dmp, cmdList, nil)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, parts(t, k, 8192)); diff != "" {
			t.Errorf("parts (-want +got):\n%s", diff)
		}
	}
}

// A change between two messages is told by the second, or by the end.
func TestServerDumpInterrupted(t *testing.T) {
	tests := []struct {
		name        string
		generations []uint32
		want        string
	}{
		{"no changes", []uint32{5, 5, 5}, "1,2,done"},
		{"nobody counts", []uint32{0, 0, 0}, "1,2,done"},
		{"between two", []uint32{5, 6, 6}, "1,2!,done"},
		{"at the end", []uint32{5, 5, 6}, "1,2,done!"},
		{"from none", []uint32{0, 6, 6}, "1,2,done"},
	}
	s := newTestServer(t, ServerOptions{})
	k := s.dial(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := 0
			s.list = func() DumpCursor {
				return testCursor{next: func(w *DumpWriter) error {
					w.Consistent(tt.generations[i])
					if i++; i == len(tt.generations) {
						return io.EOF
					}
					w.Write(AppendUint32(nil, uint16(i), 0))
					return nil
				}}
			}
			if err := k.send(request(testID, dmp, cmdList, nil)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tt.want}, parts(t, k, 8192)); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
		})
	}
}

// There is one dump at a time on a socket, until the reader has its end.
func TestServerDumpBusy(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	s.list = counting(4, 1660, nil)
	k, other := s.dial(t), s.dial(t)
	dump := request(testID, dmp, cmdList, nil)
	for _, k := range []side{k, k, other} {
		if err := k.send(dump); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"1,2", "error EBUSY", "3,4,done"}
	if diff := cmp.Diff(want, parts(t, k, 100)); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"1,2", "3,4,done"}, parts(t, other, 100)); diff != "" {
		t.Errorf("parts on another socket (-want +got):\n%s", diff)
	}
	if err := k.send(dump); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"1,2", "3,4,done"}, parts(t, k, 100)); diff != "" {
		t.Errorf("parts after that (-want +got):\n%s", diff)
	}
}

// A dump waits while its reader has half a buffer to receive yet.
func TestServerDumpWaits(t *testing.T) {
	s := newTestServer(t, ServerOptions{Kernel: "6.1"})
	s.list = counting(4, 1660, nil)
	k := s.dial(t)
	sock := k.t.(*ServerSocket)
	sock.SetReadBuffer(4 * s.skbCost(minPart))
	if err := k.send(request(testID, dmp, cmdList, nil)); err != nil {
		t.Fatal(err)
	}
	ack := func() {
		if err := k.send(request(testID, ackd, cmdNone, nil)); err != nil {
			t.Fatal(err)
		}
	}
	for range 30 {
		ack()
	}
	first := make([]byte, minPart)
	n, err := k.recv(first)
	if err != nil || part(t, first[:n]) != "1,2" {
		t.Fatalf("got %v, error %v", first[:n], err)
	}
	ack() // comes before the next part
	want := append(slices.Repeat([]string{"error"}, 31), "3,4,done")
	if diff := cmp.Diff(want, parts(t, k, 100)); diff != "" {
		t.Errorf("datagrams (-want +got):\n%s", diff)
	}
}

// A dump that is not finished ends with its socket or with its family.
func TestServerDumpGivenUp(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	closed := 0
	s.list = counting(4, 1660, &closed)
	k, gone := s.dial(t), s.dial(t)
	for _, k := range []side{k, gone} {
		if err := k.send(request(testID, dmp, cmdList, nil)); err != nil {
			t.Fatal(err)
		}
	}
	gone.t.Close()
	if closed != 1 {
		t.Errorf("%d dumps were closed with their socket", closed)
	}
	if err := s.Unregister("test"); err != nil {
		t.Fatal(err)
	}
	if closed != 2 {
		t.Errorf("%d dumps were closed with their family", closed)
	}
	if diff := cmp.Diff([]string{"1,2", "done ENOENT"}, parts(t, k, 100)); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	if closed != 2 {
		t.Errorf("%d dumps were closed", closed)
	}
	if diff := cmp.Diff([]string{acked(unix.ENOENT, request(testID, dmp, cmdList, nil), nil)},
		answer(t, k, request(testID, dmp, cmdList, nil), 8192)); diff != "" {
		t.Errorf("a dump after that (-want +got):\n%s", diff)
	}
}

// A reader that waits for the next part is told when the family goes.
func TestServerDumpGoneWhileWaiting(t *testing.T) {
	s := newTestServer(t, ServerOptions{})
	s.list = func() DumpCursor {
		return testCursor{next: func(w *DumpWriter) error { w.Write(make([]byte, 1660)); return nil }}
	}
	k := s.dial(t)
	if err := k.send(request(testID, dmp, cmdList, nil)); err != nil {
		t.Fatal(err)
	}
	sock := k.t.(*ServerSocket)
	if _, err := sock.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Unregister("test"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"done ENOENT"}, parts(t, k, 100)); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
}

// Unregister waits for what runs.
func TestServerUnregisterWaits(t *testing.T) {
	s := NewServer(ServerOptions{})
	defer s.Close()
	entered, release := make(chan struct{}), make(chan struct{})
	err := s.Register(&ServedFamily{Name: "slow", Ops: []ServedOp{{
		Command: 1,
		Do: HandlerFunc(func(*ReplyWriter, *ServerRequest) error {
			close(entered)
			<-release
			return nil
		}),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	k := newServerSide(t, s)
	done := make(chan error)
	go func() { done <- k.send(request(testID, ackd, 1, nil)) }()
	<-entered
	gone := make(chan error)
	go func() { gone <- s.Unregister("slow") }()
	for s.Family("slow") != nil {
		time.Sleep(time.Millisecond)
	}
	select {
	case err := <-gone:
		t.Fatalf("unregistered while a handler runs: error %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-gone; err != nil {
		t.Error(err)
	}
	if err := s.Unregister("slow"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("again: got error %v", err)
	}
}
