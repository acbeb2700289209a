// SPDX-License-Identifier: BSD-3-Clause

package settings

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// TestNotify shows that each change is told once, with what is there now, and
// what changes nothing is not told.
func TestNotify(t *testing.T) {
	eachDoor(t, func(t *testing.T, w *world, c family.Control) {
		veth, _ := w.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
		last := w.ns.AddDummy("dummy0")
		s, err := w.doors[0].Subscribe(t.Context())
		w.must(err)
		defer s.Close()

		w.must(w.update(c, veth, redirect(0, 0)))
		w.must(w.update(c, veth, metadata(0)))
		w.must(w.del(c, veth))
		w.must(w.update(c, veth, redirect(1, 0)))
		w.must(w.update(c, veth, redirect(1, 10)))
		w.refused("refused", c, veth, redirect(1, 257), unix.EOPNOTSUPP, "")
		w.refused("refused", c, last, redirect(1, 0), unix.EOPNOTSUPP, "")
		w.must(w.update(c, veth, redirect(0, 0)))
		w.must(w.update(c, veth, redirect(1, 0)))
		w.must(w.del(c, veth))
		w.must(w.del(c, veth))

		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var got []uint32
		for len(got) < 4 {
			ev, err := s.Recv(ctx)
			if err != nil {
				t.Fatalf("after %v: %v", got, err)
			}
			k, ok := ev.Key.(*family.AttrKey)
			if !ok || ev.Op != "attr-ntf" || ev.Type != family.CtrlTypeXDPAttr || k.Ifindex != uint32(veth) {
				t.Fatalf("notification %+v of %+v", ev, ev.Key)
			}
			got = append(got, ev.Value.(*family.Attr).RingsNum)
		}
		if diff := cmp.Diff([]uint32{1, 0, 1, 0}, got); diff != "" {
			t.Errorf("rings, -want +got:\n%s", diff)
		}
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if ev, err := s.Recv(short); err == nil {
			t.Errorf("one more: %+v of %+v", ev, ev.Key)
		}
	})
}

// TestNetlinkRaw shows what the netlink door answers beside the errno: which
// attribute is missing or wrong, and with NLM_F_ECHO the notification.
func TestNetlinkRaw(t *testing.T) {
	w := newWorld(t)
	veth, _ := w.ns.AddVeth("veth0", "veth1", testutil.VethOptions{})
	g := w.ns.NewGenl(t, "xdpctl")
	d := (&family.AttrKey{}).Desc()
	key := testutil.AttrU32(family.AttrAttrIfindex, uint32(veth))
	do := func(flags uint16, v *family.Attr) (a *testutil.Answer) {
		w.ns.Do(func() { a = g.Do(d.SetCmd, flags, v.AppendAttrs(append([]byte(nil), key...), true)) })
		return a
	}

	for _, tt := range []struct {
		name     string
		present  uint64
		missType uint16
		offset   bool
	}{
		{"no command", 0, family.AttrAttrCommand, false},
		{"no rings-num", 1 << family.AttrAttrCommand, family.AttrAttrRingsNum, false},
		{"enable-md", 1<<family.AttrAttrCommand | 1<<family.AttrAttrRingsNum | 1<<family.AttrAttrEnableMD, 0, true},
	} {
		a := do(0, &family.Attr{Present: tt.present, Command: family.CommandSetupRedirect})
		if a.Errno != unix.EINVAL || a.MissType != int(tt.missType) || (a.Offset != 0) != tt.offset {
			t.Errorf("%s: %v", tt.name, a)
		}
	}
	for _, tt := range []struct {
		flags uint16
		num   uint32
		want  []uint8
	}{
		{0, 1, []uint8{d.SetCmd}},
		{unix.NLM_F_ECHO, 0, []uint8{d.NtfCmd, d.SetCmd}},
		{unix.NLM_F_ECHO, 0, []uint8{d.SetCmd}},
	} {
		a := do(tt.flags, redirect(tt.num, 0))
		var got []uint8
		for _, m := range a.Msgs {
			got = append(got, m.Cmd)
		}
		if diff := cmp.Diff(tt.want, got); a.Errno != 0 || diff != "" {
			t.Errorf("rings-num %d with flags %#x: %v, -want +got:\n%s", tt.num, tt.flags, a, diff)
		}
	}
}
