// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

const cmdProgNtf = 7

// TestNetlinkReply wants the reply to prog-set, and the notification that
// NLM_F_ECHO asks for, to say what prog-get says.
func TestNetlinkReply(t *testing.T) {
	r := newRaw(t)
	set := (&update{uint32(r.ns.Index("veth0")), queueAll, map[uint16]uint32{attrFD: uint32(r.world.progs["pass"].FD)}, 0}).attrs()
	dev := set[:8]
	for _, join := range []bool{false, true} {
		if join {
			r.genl.Join("mgmt")
		}
		for _, tc := range []struct {
			flags uint16
			want  []uint8
		}{{0, []uint8{cmdProgSet}}, {unix.NLM_F_ECHO, []uint8{cmdProgNtf, cmdProgSet}}} {
			want := tc.want
			if join && tc.flags == 0 {
				want = []uint8{cmdProgNtf, cmdProgSet} // as a member of the group
			}
			a := r.do(cmdProgSet, tc.flags, set)
			if a.Errno != 0 {
				t.Fatal(a)
			}
			var cmds []uint8
			get := r.do(cmdProgGet, 0, dev)
			for _, m := range a.Msgs {
				cmds = append(cmds, m.Cmd)
				if diff := cmp.Diff(get.Msgs[0].Attrs, m.Attrs); diff != "" {
					t.Errorf("command %d, -prog-get +it:\n%s", m.Cmd, diff)
				}
			}
			if diff := cmp.Diff(want, cmds); diff != "" {
				t.Errorf("prog-set with flags %#x, in the group %v, -want +got:\n%s", tc.flags, join, diff)
			}
		}
	}
}

// TestDumpInterrupted attaches a program, and adds and removes netdevs, in the
// midst of a dump: it goes on, and says that it was interrupted. Netdevs that
// were there all the time are seen once.
func TestDumpInterrupted(t *testing.T) {
	r := newRaw(t)
	const devs = 400
	want := make(map[uint32]int)
	for i := range devs {
		want[uint32(r.ns.AddDummy(fmt.Sprintf("d%d", i)))] = 1
	}
	victim := uint32(r.ns.Index(fmt.Sprintf("d%d", devs-1)))
	for _, tc := range []struct {
		name   string
		change func()
		intr   bool
	}{
		{"nothing", func() {}, false},
		{"attach", func() {
			if err := add("pass", auto)(r.world, r.other(), "dummy0"); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"add a netdev", func() { r.ns.AddDummy("late") }, true},
		{"delete a netdev", func() { r.ns.Del(fmt.Sprintf("d%d", devs-1)) }, true},
	} {
		// With small pieces, so that most of the dump is still to be made
		// when the first comes.
		var g *testutil.Genl
		var err error
		r.ns.Do(func() { g, err = testutil.DialGenl(t, r.genl.Family) })
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		g.Buffer = 4096
		seq, err := g.Send(g.Message(cmdStatsGet, unix.NLM_F_DUMP, nil))
		if err != nil {
			t.Fatal(err)
		}
		msgs := g.Receive()
		tc.change()
		a, err := g.Collect(seq)
		if err != nil || a.Errno != 0 {
			t.Fatalf("%s: %v %v", tc.name, a, err)
		}
		if len(msgs) == 0 || len(a.Msgs) == 0 {
			t.Fatalf("%s: the dump came in one piece", tc.name)
		}
		got := make(map[uint32]int)
		intr := false
		for _, m := range append(msgs, a.Msgs...) {
			intr = intr || m.Flags&unix.NLM_F_DUMP_INTR != 0
			index := binary.NativeEndian.Uint32(testutil.Attrs(m.Attrs)[attrIfindex])
			if want[index] != 0 {
				got[index]++
			}
		}
		if intr != tc.intr {
			t.Errorf("%s: NLM_F_DUMP_INTR is %v, want %v", tc.name, intr, tc.intr)
		}
		if tc.name == "delete a netdev" {
			delete(want, victim)
			delete(got, victim)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: netdevs, -want +got:\n%s", tc.name, diff)
		}
	}
}
