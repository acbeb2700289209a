// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// Between processes both sides wait in system calls for a while, then in the
// poller.
func TestTransportProcess(t *testing.T) {
	b := newBed(t, ServerOptions{})
	dial := serverProcess(t)
	c := b.conn(t, dial)

	// More than one tick of the timer apart, and at once.
	for _, pause := range []time.Duration{0, 0, 30 * time.Millisecond, 0, 100 * time.Millisecond} {
		time.Sleep(pause)
		var got []uint32
		req := b.request(bedGet, AppendUint32(nil, bedValue, 7))
		if err := c.Do(t.Context(), req, numbers(bedValue, &got)); err != nil {
			t.Fatal(err)
		}
		req.OneReply = true
		if err := c.Do(t.Context(), req, numbers(bedValue, &got)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]uint32{7, 7}, got); diff != "" {
			t.Errorf("replies after %v (-want +got):\n%s", pause, diff)
		}
	}
	cur := c.Dump(t.Context(), b.request(bedGet, AppendUint32(nil, bedValue, 5000)))
	n := 0
	for cur.Next() {
		n++
	}
	if cur.Err() != nil || n != 5000 {
		t.Errorf("dump: got %d and error %v", n, cur.Err())
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			other := b.conn(t, dial)
			for range 50 {
				if err := other.Do(t.Context(), b.request(bedGet, AppendUint32(nil, bedValue, 1)), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// Who waits for a server that has something to do for him can be interrupted
// both in the system call and in the poller.
func TestTransportProcessInterrupt(t *testing.T) {
	b := newBed(t, ServerOptions{})
	dial := serverProcess(t)
	// The server waits in its handler until the end of the test.
	req := b.request(bedHang, AppendUint32(nil, bedValue, 1))
	ask := func() *unixTransport {
		t.Helper()
		tr := b.dial(t, dial).(*unixTransport)
		if !tr.direct {
			t.Fatal("does not wait in the system call")
		}
		if err := tr.Send(t.Context(), appendRequest(nil, &req, 0, 1), nil); err != nil {
			t.Fatal(err)
		}
		return tr
	}
	for _, after := range []time.Duration{-1, 0, 100 * time.Microsecond, 50 * time.Millisecond} {
		for name, tt := range map[string]struct {
			interrupt func(tr *unixTransport, cancel func())
			want      error
		}{
			"close":  {func(tr *unixTransport, _ func()) { tr.Close() }, os.ErrClosed},
			"cancel": {func(_ *unixTransport, cancel func()) { cancel() }, context.Canceled},
		} {
			tr := ask()
			ctx, cancel := context.WithCancel(t.Context())
			begin := time.Now()
			if after < 0 {
				tt.interrupt(tr, cancel)
			} else {
				time.AfterFunc(after, func() { tt.interrupt(tr, cancel) })
			}
			_, err := tr.Receive(ctx, make([]byte, 100))
			if took := time.Since(begin); !errors.Is(err, tt.want) || errors.Is(err, errHangup) || took < after || took > 5*time.Second {
				t.Errorf("%s after %v: got error %v after %v, want %v", name, after, err, took, tt.want)
			}
			cancel()
		}
	}
	// Once in vain, it is not tried again before the next request.
	tr := ask()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := tr.Receive(ctx, make([]byte, 100)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
	}
	if tr.soon.Load() {
		t.Error("an answer that does not come is waited for in the system call again")
	}
}

// Closing does not wait until the system call has nothing more to wait for.
func TestUnixCloseInCall(t *testing.T) {
	tr, err := dialUnix(fakeServer(t, func(fd int) {
		sendFrame(fd, serverFrame{kind: frameHello, id: unixVersion, value: 5}, nil)
		unix.Read(fd, make([]byte, 100)) // until it is closed
	}))
	if err != nil {
		t.Fatal(err)
	}
	if !blockBriefly(tr.raw) {
		t.Fatal("cannot wait in a system call")
	}
	long := unix.NsecToTimeval(int64(time.Minute))
	tr.raw.Control(func(fd uintptr) { err = unix.SetsockoptTimeval(int(fd), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &long) })
	if err != nil {
		t.Fatal(err)
	}
	tr.direct = true
	tr.soon.Store(true)
	begin := time.Now()
	time.AfterFunc(20*time.Millisecond, func() { tr.Close() })
	_, err = tr.Receive(context.Background(), make([]byte, 100))
	if took := time.Since(begin); !errors.Is(err, os.ErrClosed) || errors.Is(err, errHangup) || took > 10*time.Second {
		t.Errorf("got error %v after %v, want %v", err, took, os.ErrClosed)
	}
}
