// SPDX-License-Identifier: BSD-3-Clause

package settings

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/tests/testbed"
	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// setAll turns on all settings of a veth that there are.
func (w *world) setAll(c family.Control, index int) {
	w.Helper()
	w.must(w.update(c, index, redirect(1, 0)))
	if hasMetadata() {
		w.must(w.update(c, index, metadata(1)))
	}
}

// TestNetdevGoes shows that settings go with their netdev, or with its
// namespace, and that the module can be unloaded only then.
func TestNetdevGoes(t *testing.T) {
	for _, tt := range []struct {
		name  string
		leave func(w *world, ns, away *testutil.NetNS)
	}{
		{"netdev", func(w *world, ns, away *testutil.NetNS) { ns.Del("out") }},
		{"peer", func(w *world, ns, away *testutil.NetNS) { away.Del("far") }},
		{"namespace", func(w *world, ns, away *testutil.NetNS) { ns.Close() }},
		{"namespace of the peer", func(w *world, ns, away *testutil.NetNS) { away.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{T: t, ns: testutil.NewNetNS(t)}
			away := testutil.NewNetNS(t)
			c, err := family.Dial(family.Options{NetNS: w.ns.FD()})
			w.must(err)
			defer c.Close()
			out, _ := w.ns.AddVeth("out", "far", testutil.VethOptions{PeerNS: away})
			held := refs(t)
			w.setAll(c, out)
			if got := refs(t); got == held {
				t.Error("the settings do not hold the module")
			}
			if err := testutil.TryUnloadModule(); !errors.Is(err, unix.EWOULDBLOCK) {
				t.Errorf("unload the module: %v", err)
			}
			c.Close()
			tt.leave(w, w.ns, away)
			testutil.Eventually(t, deferred, "the settings to let go of the module", func() bool { return refs(t) == held })
		})
	}
}

// TestNetdevMoves shows that a netdev keeps its settings in another namespace.
func TestNetdevMoves(t *testing.T) {
	w := newWorld(t)
	there := newWorld(t)
	b := vethBed(t, w)
	held := refs(t)
	w.setAll(w.doors[0], b.Out)
	w.must(w.ns.Move("out", there.ns))
	there.ns.Up("out")
	out := there.ns.Index("out")
	there.rings("moved", out, 1, 256)
	if hasMetadata() {
		there.users("moved", out, 1)
	}
	there.must(there.del(there.doors[1], out))
	there.rings("deleted", out, 0, 0)
	if gro(t, b.Away, "far") {
		t.Error("GRO of the peer is still on")
	}
	if got := refs(t); got != held {
		t.Errorf("%d references to the module are left", got-held)
	}
}

// TestRounds sets and unsets under traffic. Whatever is sent while the setting is
// on arrives, and whatever while it is off does not.
func TestRounds(t *testing.T) {
	w := newWorld(t)
	b := vethBed(t, w)
	for i := range rounds(t, 200) {
		c := w.doors[i%2]
		w.must(w.update(c, b.Out, redirect(1, 0)))
		w.must(b.Sender.Send(b.Ctx, traffic.Redirect, 7))
		b.Arrived += 7
		b.Settle(fmt.Sprintf("set up, round %d", i))
		if i%3 == 0 {
			w.must(w.del(c, b.Out))
		} else {
			w.must(w.update(c, b.Out, redirect(0, 0)))
		}
		w.must(b.Sender.Send(b.Ctx, traffic.Redirect, 7))
	}
	b.Settle("undone")
}

// flood sends redirected frames until the test ends, however many arrive.
func flood(t *testing.T, b *bed) (stop func()) {
	t.Helper()
	var ended atomic.Bool
	done := make(chan error, 1)
	go func() {
		for !ended.Load() {
			if err := b.Sender.Send(b.Ctx, traffic.Redirect, 64); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	return func() {
		t.Helper()
		ended.Store(true)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// TestRoundsFlood sets and unsets both ways at once while frames come without a
// pause.
func TestRoundsFlood(t *testing.T) {
	w := newWorld(t)
	b := vethBed(t, w)
	stop := flood(t, b)
	held := refs(t)
	n := rounds(t, 200)
	done := make(chan error)
	for i, c := range w.doors {
		go func() {
			done <- func() error {
				for j := range n {
					v := redirect(uint32((i+j+1)%2), 0)
					if j%5 == 4 && hasMetadata() {
						v = metadata(uint32(j % 2))
					}
					if err := w.update(c, b.Out, v); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for range w.doors {
		w.must(<-done)
	}
	stop()
	w.must(w.del(w.doors[0], b.Out))
	w.rings("deleted", b.Out, 0, 0)
	w.users("deleted", b.Out, 0)
	if gro(t, b.Away, "far") {
		t.Error("GRO of the peer is still on")
	}
	if got := refs(t); got != held {
		t.Errorf("%d references to the module are left", got-held)
	}
}

// TestRoundsVirtio is TestRounds where a placeholder comes and goes.
func TestRoundsVirtio(t *testing.T) {
	w := newWorld(t)
	away := testutil.NewNetNS(t)
	virtio := testbed.TakeVirtio(t, w.ns, away)
	out, far := virtio[0], virtio[1]
	mac, err := away.Link(far)
	w.must(err)
	b := newBed(t, w, testbed.Options{Away: away, Out: out, Far: far, Dst: mac.Address})
	for i := range rounds(t, 60) {
		c := w.doors[i%2]
		w.must(w.update(c, b.Out, redirect(1, 0)))
		w.must(b.Sender.Send(b.Ctx, traffic.Redirect, 7))
		b.Arrived += 7
		b.Settle(fmt.Sprintf("set up, round %d", i))
		w.must(w.update(c, b.Out, redirect(0, 0)))
	}
}

// TestRoundsNetdev sets netdevs up that go at the same time.
func TestRoundsNetdev(t *testing.T) {
	w := newWorld(t)
	held := refs(t)
	var stop atomic.Bool
	var index atomic.Int64
	index.Store(9999)
	done := make(chan map[unix.Errno]int)
	for _, c := range w.doors {
		go func() {
			seen := map[unix.Errno]int{}
			for i := 0; !stop.Load(); i++ {
				v := redirect(uint32(i%3), 0)
				if i%4 == 3 && hasMetadata() {
					v = metadata(1)
				}
				err := w.update(c, int(index.Load()), v)
				var e *family.Error
				switch {
				case err == nil:
					seen[0]++
				case errors.As(err, &e):
					seen[e.Errno]++
				default:
					t.Error(err)
				}
			}
			done <- seen
		}()
	}
	for i := range rounds(t, 200) {
		var away *testutil.NetNS
		if i%8 == 0 { // which takes long
			away = testutil.NewNetNS(t)
		}
		n, _ := w.ns.AddVeth("out", "far", testutil.VethOptions{PeerNS: away})
		index.Store(int64(n))
		time.Sleep(time.Duration(i%10*slower()) * time.Millisecond)
		if away != nil {
			away.Close() // takes the netdev with it, in a worker
			testutil.Eventually(t, deferred, "the netdev to go", func() bool {
				_, err := w.ns.Link("out")
				return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV)
			})
		} else {
			w.ns.Del("out")
		}
	}
	stop.Store(true)
	for range w.doors {
		seen := <-done
		if seen[0] == 0 {
			t.Errorf("nothing was set: %v", seen)
		}
		for e := range seen {
			// 2 rings are more than a machine of one processor has
			if e != 0 && e != unix.ENODEV && e != unix.ENETDOWN && e != unix.EOPNOTSUPP {
				t.Errorf("%v: %v", e, seen)
			}
		}
	}
	testutil.Eventually(t, deferred, "the settings to let go of the module", func() bool { return refs(t) == held })
}
