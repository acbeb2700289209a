// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/genltest"
)

// values collects the attribute of replies.
func values(list *[]uint32) func(Message) error {
	return func(m Message) error {
		_, data, _, ok := NextAttr(m.Attrs)
		if !ok || len(data) != 4 {
			return ErrMalformed
		}
		*list = append(*list, ne.Uint32(data))
		return nil
	}
}

// The bytes were captured from the YNL CLI of Linux 6.12 with
//
//	strace -e trace=sendto -e write=3 tools/net/ynl/cli.py --no-schema \
//		--spec Documentation/netlink/specs/netdev.yaml --do dev-get --json '{"ifindex": 1}'
//
// on a kernel that gave family netdev the id 20.
func TestRequestBytes(t *testing.T) {
	want := "1c000000140005005e0c000000000000010100000800010001000000"
	req := Request{
		Family:  &Family{ID: 20, Version: 1},
		Command: 1,
		Attrs:   AppendUint32(nil, 1, 1),
	}
	const seq = 0x0c5e
	got := hex.EncodeToString(appendRequest(nil, &req, unix.NLM_F_ACK, seq))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}

	// A header of the family's own is padded.
	req.Header = []byte{1, 2, 3, 4, 5}
	want = "24000000140005005e0c00000000000001010000" + "0102030405000000" + "0800010001000000"
	got = hex.EncodeToString(appendRequest(nil, &req, unix.NLM_F_ACK, seq))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request with a header (-want +got):\n%s", diff)
	}
}

func TestDo(t *testing.T) {
	errReply := errors.New("reply refused")
	tests := []struct {
		name   string
		answer func(r fakeMessage) [][]byte
		reply  error // of the callback
		want   []uint32
		err    error
	}{
		{
			name:   "only acknowledged",
			answer: func(r fakeMessage) [][]byte { return [][]byte{r.Ack(0, nil)} },
		},
		{
			name: "reply and acknowledgement apart",
			answer: func(r fakeMessage) [][]byte {
				return [][]byte{r.value(0, 5), r.Ack(0, nil)}
			},
			want: []uint32{5},
		},
		{
			name: "reply and acknowledgement together",
			answer: func(r fakeMessage) [][]byte {
				return [][]byte{genltest.Join(r.value(0, 5), r.Ack(0, nil))}
			},
			want: []uint32{5},
		},
		{
			name: "three replies",
			answer: func(r fakeMessage) [][]byte {
				return [][]byte{r.value(0, 5), genltest.Join(r.value(0, 6), r.value(0, 7)), r.Ack(0, nil)}
			},
			want: []uint32{5, 6, 7},
		},
		{
			name: "stale messages between",
			answer: func(r fakeMessage) [][]byte {
				old := r
				old.Seq--
				return [][]byte{
					old.value(0, 1), old.Ack(syscall.EBUSY, nil), genltest.Join(old.Ack(0, nil), r.value(0, 5)),
					old.Done(0, 0, nil), r.Ack(0, nil),
				}
			},
			want: []uint32{5},
		},
		{
			name: "messages that mean nothing",
			answer: func(r fakeMessage) [][]byte {
				return [][]byte{
					genltest.Message(unix.NLMSG_NOOP, 0, r.Seq, nil), genltest.Message(0x99, 0, r.Seq, []byte("whatever")),
					r.Done(0, 0, nil), r.Ack(0, nil),
				}
			},
		},
		{
			name: "a message of odd length",
			answer: func(r fakeMessage) [][]byte {
				return [][]byte{genltest.Join(genltest.Message(unix.NLMSG_NOOP, 0, r.Seq, []byte("odd")), r.value(0, 5), r.Ack(0, nil))}
			},
			want: []uint32{5},
		},
		{
			name:   "refused",
			answer: func(r fakeMessage) [][]byte { return [][]byte{r.Ack(syscall.EEXIST, nil)} },
			err:    os.ErrExist,
		},
		{
			name: "refused after a reply",
			answer: func(r fakeMessage) [][]byte {
				return [][]byte{r.value(0, 5), r.Ack(syscall.EPERM, nil)}
			},
			want: []uint32{5},
			err:  os.ErrPermission,
		},
		{
			name: "reply not liked",
			answer: func(r fakeMessage) [][]byte {
				return [][]byte{r.value(0, 5), r.value(0, 6), r.Ack(0, nil)}
			},
			reply: errReply,
			want:  []uint32{5},
			err:   errReply,
		},
		{
			name: "reply not liked and then refused",
			answer: func(r fakeMessage) [][]byte {
				return [][]byte{r.value(0, 5), r.Ack(syscall.EOPNOTSUPP, nil)}
			},
			reply: errReply,
			want:  []uint32{5},
			err:   errors.ErrUnsupported,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, f := dialFake(t, Options{}, tt.answer)
			for range 3 {
				var got []uint32
				collect := values(&got)
				err := c.Do(t.Context(), fakeRequest(nil), func(m Message) error {
					return errors.Join(collect(m), tt.reply)
				})
				if !errors.Is(err, tt.err) {
					t.Errorf("got error %v, want %v", err, tt.err)
				}
				if err != nil && !strings.HasPrefix(err.Error(), "fake-get: ") {
					t.Errorf("error %q does not begin with the operation", err)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("replies (-want +got):\n%s", diff)
				}
			}
			if n := f.Dials(); n != 1 {
				t.Errorf("took %d sockets, want 1", n)
			}
		})
	}
}

func TestDoReply(t *testing.T) {
	family := *fakeFamily
	family.HeaderSize = 5
	c, _ := dialFake(t, Options{}, func(r fakeMessage) [][]byte {
		return [][]byte{r.Reply(0, 1, 2, 3, 4, 5, 0, 0, 0, 4, 0, 9, 0), r.Ack(0, nil)}
	})
	req := fakeRequest(nil)
	req.Family = &family
	err := c.Do(t.Context(), req, func(m Message) error {
		want := Message{Command: 7, Version: 3, Header: []byte{1, 2, 3, 4, 5}, Attrs: []byte{4, 0, 9, 0}}
		if diff := cmp.Diff(want, m); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := c.Do(t.Context(), req, nil); err != nil {
		t.Error("without a callback:", err)
	}
}

// With OneReply no acknowledgement is asked for or waited for, and one that
// comes nevertheless belongs to no later request.
func TestDoOneReply(t *testing.T) {
	c, f := dialFake(t, Options{}, func(r fakeMessage) [][]byte {
		switch {
		case r.Flags&unix.NLM_F_ACK != 0:
			return [][]byte{r.Ack(syscall.EINVAL, nil)}
		case len(r.Attrs()) == 0:
			return [][]byte{r.value(0, r.Seq)}
		case r.Attrs()[2] == 1:
			return [][]byte{r.value(0, r.Seq), r.Ack(syscall.EBUSY, nil)}
		case r.Attrs()[2] == 2:
			return [][]byte{r.Ack(0, nil)}
		}
		return [][]byte{r.Ack(syscall.EPERM, nil)}
	})
	for i, tt := range []struct {
		attr uint16
		want bool
		err  error
	}{{0, true, nil}, {1, true, nil}, {0, true, nil}, {2, false, nil}, {3, false, os.ErrPermission}, {0, true, nil}} {
		req := fakeRequest(nil)
		req.OneReply = true
		if tt.attr != 0 {
			req.Attrs = AppendUint32(nil, tt.attr, 0)
		}
		var got, want []uint32
		if tt.want {
			want = []uint32{uint32(i + 1)}
		}
		if err := c.Do(t.Context(), req, values(&got)); !errors.Is(err, tt.err) {
			t.Errorf("request %d: got error %v, want %v", i, err, tt.err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("request %d: replies (-want +got):\n%s", i, diff)
		}
	}
	if n := f.Dials(); n != 1 {
		t.Errorf("took %d sockets, want 1", n)
	}
}

// What is broken is an error, and has no effect on the next request.
func TestDoMalformed(t *testing.T) {
	tests := []struct {
		name   string
		answer func(r fakeMessage) [][]byte
		err    error
	}{
		{"cut off in the header", func(r fakeMessage) [][]byte { return [][]byte{r.value(0, 5)[:9]} }, ErrMalformed},
		{"longer than it is", func(r fakeMessage) [][]byte {
			b := r.value(0, 5)
			return [][]byte{b[:len(b)-1]}
		}, ErrMalformed},
		{"shorter than a header", func(r fakeMessage) [][]byte {
			b := r.value(0, 5)
			ne.PutUint32(b, headerLen-1)
			return [][]byte{b}
		}, ErrMalformed},
		{"longest length there is", func(r fakeMessage) [][]byte {
			b := r.value(0, 5)
			ne.PutUint32(b, ^uint32(0))
			return [][]byte{b}
		}, ErrMalformed},
		{"rest after a message", func(r fakeMessage) [][]byte {
			return [][]byte{append(r.value(0, 5), 1, 2, 3)}
		}, ErrMalformed},
		{"no room for a generic header", func(r fakeMessage) [][]byte {
			return [][]byte{genltest.Message(fakeFamily.ID, 0, r.Seq, []byte{7, 3, 0})}
		}, ErrMalformed},
		{"no room for an errno", func(r fakeMessage) [][]byte {
			return [][]byte{genltest.Message(unix.NLMSG_ERROR, 0, r.Seq, []byte{0, 0, 0})}
		}, ErrMalformed},
		{"no room for the request in an error", func(r fakeMessage) [][]byte {
			return [][]byte{genltest.Message(unix.NLMSG_ERROR, unix.NLM_F_ACK_TLVS, r.Seq, make([]byte, 19))}
		}, ErrMalformed},
		{"no room for the rest of the request in an error", func(r fakeMessage) [][]byte {
			body := make([]byte, 4+headerLen)
			ne.PutUint32(body[4:], 0xfffffffe)
			return [][]byte{genltest.Message(unix.NLMSG_ERROR, unix.NLM_F_ACK_TLVS, r.Seq, body)}
		}, ErrMalformed},
		{"longer than the buffer", func(r fakeMessage) [][]byte {
			return [][]byte{make([]byte, inLen+1)}
		}, ErrMalformed},
		{"hung up", func(r fakeMessage) [][]byte { return [][]byte{nil} }, io.ErrUnexpectedEOF},
		{"hung up after a reply", func(r fakeMessage) [][]byte {
			return [][]byte{r.value(0, 5), nil}
		}, io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var broken atomic.Bool
			c, _ := dialFake(t, Options{}, func(r fakeMessage) [][]byte {
				if broken.Load() {
					return tt.answer(r)
				}
				return [][]byte{r.value(0, 5), r.Ack(0, nil)}
			})
			for range 2 {
				broken.Store(true)
				if err := c.Do(t.Context(), fakeRequest(nil), nil); !errors.Is(err, tt.err) {
					t.Errorf("got error %v, want %v", err, tt.err)
				}
				cur := c.Dump(t.Context(), fakeRequest(nil))
				for cur.Next() {
				}
				// What breaks off without an error is no end either.
				if cur.Err() == nil {
					t.Error("dump: got no error")
				}
				broken.Store(false)
				var got []uint32
				if err := c.Do(t.Context(), fakeRequest(nil), values(&got)); err != nil {
					t.Error("after that:", err)
				}
				if diff := cmp.Diff([]uint32{5}, got); diff != "" {
					t.Errorf("after that (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestDoContext(t *testing.T) {
	late := make(chan struct{})
	c, f := dialFake(t, Options{}, func(r fakeMessage) [][]byte {
		if len(r.Attrs()) > 0 {
			<-late // has an attribute
		}
		return [][]byte{r.value(0, r.Seq), r.Ack(0, nil)}
	})
	defer close(late)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Do(ctx, fakeRequest(nil), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("done before: got error %v, want %v", err, context.Canceled)
	}
	if n := f.Dials(); n != 1 {
		t.Errorf("done before: took %d sockets, want 1", n)
	}

	slow := fakeRequest(AppendUint32(nil, 1, 1))
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.Do(ctx, slow, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("done while waiting: got error %v, want %v", err, context.DeadlineExceeded)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	cur := c.Dump(ctx, slow)
	if cur.Next() || !errors.Is(cur.Err(), context.DeadlineExceeded) {
		t.Errorf("dump done while waiting: got error %v, want %v", cur.Err(), context.DeadlineExceeded)
	}

	// The answer to what was given up must not become another's.
	for want := uint32(1); want < 5; want++ {
		var got []uint32
		if err := c.Do(t.Context(), fakeRequest(nil), values(&got)); err != nil {
			t.Fatal("after that:", err)
		}
		if diff := cmp.Diff([]uint32{want}, got); diff != "" {
			t.Errorf("after that (-want +got):\n%s", diff)
		}
	}
}

func TestClose(t *testing.T) {
	asked := make(chan struct{}, 2)
	c, _ := dialFake(t, Options{}, func(r fakeMessage) [][]byte {
		asked <- struct{}{}
		return nil
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Do(t.Context(), fakeRequest(nil), nil); !errors.Is(err, os.ErrClosed) {
			t.Errorf("Do: got error %v, want %v", err, os.ErrClosed)
		}
	})
	wg.Go(func() {
		cur := c.Dump(t.Context(), fakeRequest(nil))
		if cur.Next() || !errors.Is(cur.Err(), os.ErrClosed) {
			t.Errorf("Dump: got error %v, want %v", cur.Err(), os.ErrClosed)
		}
	})
	<-asked
	<-asked
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := c.Do(t.Context(), fakeRequest(nil), nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Do after that: got error %v, want %v", err, os.ErrClosed)
	}
	if err := c.Close(); err != nil {
		t.Error("second time:", err)
	}
}

// Many at once, some within the iteration of others, each get their own answer.
func TestConcurrent(t *testing.T) {
	c, _ := dialFake(t, Options{}, func(r fakeMessage) [][]byte {
		_, data, _, _ := NextAttr(r.Attrs())
		v := ne.Uint32(data)
		if r.Flags&unix.NLM_F_DUMP != 0 {
			return [][]byte{r.value(unix.NLM_F_MULTI, v), genltest.Join(r.value(unix.NLM_F_MULTI, v+1), r.Done(0, 0, nil))}
		}
		return [][]byte{r.value(0, v), r.Ack(0, nil)}
	})
	var wg sync.WaitGroup
	for g := range uint32(32) {
		wg.Go(func() {
			for i := range uint32(20) {
				v := g*1000 + i
				var dump, do []uint32
				cur := c.Dump(t.Context(), fakeRequest(AppendUint32(nil, 1, v)))
				for cur.Next() {
					values(&dump)(cur.Message())
					if err := c.Do(t.Context(), fakeRequest(AppendUint32(nil, 1, v)), values(&do)); err != nil {
						t.Error(err)
					}
				}
				if diff := cmp.Diff([][]uint32{{v, v + 1}, {v, v}}, [][]uint32{dump, do}); diff != "" {
					t.Errorf("%v (-want +got):\n%s", cur.Err(), diff)
				}
			}
		})
	}
	wg.Wait()
	if n := len(c.all); n > maxIdle {
		t.Errorf("%d sockets are kept, want at most %d", n, maxIdle)
	}
}
