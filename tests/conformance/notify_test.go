// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// watch starts to receive notifications in the world.
func (w *world) watch() family.Subscription {
	w.Helper()
	s, err := w.one().Subscribe(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { s.Close() })
	return s
}

// told returns what was notified up to the attachment of a program to dev,
// which it makes: only after something else has come is it known that nothing
// has come a second time.
func (w *world) told(s family.Subscription, dev string) []string {
	w.Helper()
	if err := add("pass", generic)(w, w.one(), dev); err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	names := make(map[uint32]string)
	for _, l := range w.ns.Links() {
		names[uint32(l.Index)] = l.Name
	}
	var out []string
	for {
		ev, err := s.Recv(ctx)
		if err != nil {
			w.Fatalf("after %q: %v", out, err)
		}
		k, v := ev.Key.(*family.ProgKey), ev.Value.(*family.Prog)
		if ev.Op != "prog-ntf" || ev.Type != family.CtrlTypeXDPProg || k.Queue != family.QueueAll {
			w.Fatalf("notification %+v of %+v", ev, k)
		}
		if names[k.Ifindex] == dev {
			return out
		}
		name := names[k.Ifindex]
		if name == "" {
			name = "gone"
		}
		out = append(out, name+": "+w.describe(v))
	}
}

// TestNotifications makes changes through each door and counts what is told.
func TestNotifications(t *testing.T) { eachBackend(t, testNotifications) }

func testNotifications(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		s := w.watch()
		for _, st := range []struct {
			do    op
			errno unix.Errno
		}{
			{add("pass", auto), 0},
			{add("pass", auto), unix.EEXIST},
			{replace("drop", auto), 0},
			{set(family.UpdateExist, "pass", auto, "pass"), unix.EEXIST},
			{put("aborted", auto), 0},
			{del, 0},
			{del, unix.ENOENT},
			{put("drop", generic), 0},
		} {
			if err := st.do(w, c, "veth0"); w.errno(err) != st.errno {
				w.Fatalf("got %v, want %v", err, st.errno)
			}
		}
		want := []string{
			"veth0: native pass module link1",
			"veth0: native drop module link1",
			"veth0: native aborted module link1",
			"veth0: -",
			"veth0: generic drop module link2",
		}
		if diff := cmp.Diff(want, w.told(s, "dummy0")); diff != "" {
			w.Errorf("notifications, -want +got:\n%s", diff)
		}
	})
}

// TestNotifiedOfLoss takes attachments away behind the module's back.
func TestNotifiedOfLoss(t *testing.T) { eachBackend(t, testNotifiedOfLoss) }

func testNotifiedOfLoss(t *testing.T, b backend) {
	eachDoor(t, b, func(w *world, c family.Control) {
		for _, dev := range []string{"veth0", "veth1"} {
			if err := add("pass", native)(w, c, dev); err != nil {
				w.Fatal(err)
			}
		}
		s := w.watch()
		if err := behind(testutil.DetachLink)(w, c, "veth0"); err != nil {
			w.Fatal(err)
		}
		w.expect(s, uint32(w.ns.Index("veth0")))
		gone := uint32(w.ns.Index("veth1"))
		w.ns.Del("veth1")
		w.expect(s, gone)
		if diff := cmp.Diff([]string(nil), w.told(s, "dummy0")); diff != "" {
			w.Errorf("notified more than once, -want +got:\n%s", diff)
		}
	})
}

// expect waits for the notification that a program is gone from a netdev.
func (w *world) expect(s family.Subscription, ifindex uint32) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	ev, err := s.Recv(ctx)
	if err != nil {
		w.Fatal(err)
	}
	k, v := ev.Key.(*family.ProgKey), ev.Value.(*family.Prog)
	if k.Ifindex != ifindex || v.Has(family.AttrProgProgID) {
		w.Fatalf("notified of %+v %+v, want that ifindex %d has no program", k, v, ifindex)
	}
}

// TestNotifiedWhere makes the same change in two namespaces and listens in
// one.
func TestNotifiedWhere(t *testing.T) { eachBackend(t, testNotifiedWhere) }

func testNotifiedWhere(t *testing.T, b backend) {
	w, other := newWorld(t, b), newWorld(t, b)
	s := w.watch()
	for _, d := range w.ways {
		if err := put("pass", auto)(other, other.doors[d.name], "veth0"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string(nil), w.told(s, "dummy0")); diff != "" {
		t.Errorf("told of another namespace, -want +got:\n%s", diff)
	}
}

// TestMapSubscribe asks for notifications where there are none.
func TestMapSubscribe(t *testing.T) {
	w := emptyWorld(t, module)
	if _, err := w.other().Subscribe(w.ctx); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want %v", err, errors.ErrUnsupported)
	}
}
