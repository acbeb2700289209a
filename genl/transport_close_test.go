// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"
)

func TestTransportClose(t *testing.T) {
	overBoth(t, ServerOptions{}, func(t *testing.T, b *bed, dial func() (Transport, error)) {
		tr := b.dial(t, dial)
		buf := make([]byte, 4096)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Millisecond, cancel)
		if _, err := tr.Receive(ctx, buf); err != context.Canceled {
			t.Errorf("cancelled: got error %v, want %v", err, context.Canceled)
		}
		// An answer is not lost by that.
		req := b.request(bedGet, AppendUint32(nil, bedValue, 3))
		for seq := range uint32(20) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(seq)*10*time.Microsecond)
			if err := tr.Send(t.Context(), appendRequest(nil, &req, 0, seq), nil); err != nil {
				t.Fatal(err)
			}
			n, err := tr.Receive(ctx, buf)
			if err != nil {
				n, err = tr.Receive(t.Context(), buf)
			}
			cancel()
			if err != nil || n < headerLen || nlmsg(buf).seq() != seq {
				t.Fatalf("request %d: got %v and error %v", seq, buf[:n], err)
			}
		}

		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := tr.Receive(context.Background(), buf); !errors.Is(err, os.ErrClosed) {
				t.Errorf("closed: got error %v, want %v", err, os.ErrClosed)
			}
		})
		time.Sleep(2 * time.Millisecond)
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if err := tr.Close(); err != nil {
			t.Error("second time:", err)
		}
		if err := tr.Send(t.Context(), []byte("x"), nil); !errors.Is(err, os.ErrClosed) {
			t.Errorf("send after that: got error %v, want %v", err, os.ErrClosed)
		}
		if err := tr.JoinGroup(1); !errors.Is(err, os.ErrClosed) {
			t.Errorf("join after that: got error %v, want %v", err, os.ErrClosed)
		}

		// The server goes.
		c, other := b.conn(t, dial), b.dial(t, dial)
		wg.Go(func() {
			if _, err := other.Receive(context.Background(), make([]byte, 10)); !errors.Is(err, os.ErrClosed) {
				t.Errorf("server closed: got error %v, want %v", err, os.ErrClosed)
			}
		})
		time.Sleep(2 * time.Millisecond)
		if err := b.srv.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if err := c.Do(t.Context(), b.request(bedGet, nil), nil); !errors.Is(err, os.ErrClosed) {
			t.Errorf("server closed: got error %v, want %v", err, os.ErrClosed)
		}
	})
}

// A Conn goes on with another server at the same place.
func TestTransportServerAgain(t *testing.T) {
	var b *bed
	c, err := Dial(Options{Transport: func() (Transport, error) {
		if b == nil {
			b = newBed(t, ServerOptions{})
		}
		return DialUnix(b.path)
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Several sockets are idle.
	first := b
	req := b.request(bedGet, AppendUint32(nil, bedValue, 1))
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := c.Do(t.Context(), b.request(bedHang, req.Attrs), nil); err != nil {
				t.Error(err)
			}
		})
	}
	for range 5 {
		<-b.hung
	}
	close(b.hang)
	wg.Wait()
	first.srv.Close()
	b = nil
	if err := c.Do(t.Context(), req, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got error %v, want %v", err, os.ErrClosed)
	}
	if err := c.Do(t.Context(), req, nil); err != nil {
		t.Errorf("the next request: %v", err)
	}
}

// Many at once, each with its own answer.
func TestTransportConcurrent(t *testing.T) {
	overBoth(t, ServerOptions{}, func(t *testing.T, b *bed, dial func() (Transport, error)) {
		c := b.conn(t, dial)
		var wg sync.WaitGroup
		for g := range uint32(64) {
			wg.Go(func() {
				for i := range uint32(10) {
					v := g*100 + i + 1
					var do, dump []uint32
					if err := c.Do(t.Context(), b.request(bedGet, AppendUint32(nil, bedValue, v)), numbers(bedValue, &do)); err != nil {
						t.Error(err)
					}
					cur := c.Dump(t.Context(), b.request(bedGet, AppendUint32(nil, bedValue, v%1000)))
					for cur.Next() {
						numbers(bedValue, &dump)(cur.Message())
					}
					if cur.Err() != nil || len(dump) != int(v%1000) || len(do) != 1 || do[0] != v {
						t.Errorf("%d: got %v, and a dump of %d with error %v", v, do, len(dump), cur.Err())
					}
				}
			})
		}
		wg.Wait()
	})
}
