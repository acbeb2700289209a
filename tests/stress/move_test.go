// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// traveller is a netdev with an attachment that moves between two namespaces.
type traveller struct {
	tally  *tally
	worlds [2]*world
	prog   uint32
}

// watch iterates over the programs of one of the namespaces.
func (tr *traveller) watch(what string, via door) func() error {
	return func() error {
		list, intr, err := via.walk(prog)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := checkOrder(list); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		outcome := "away"
		for _, e := range list {
			if e.state.prog != tr.prog || e.state.owner != family.OwnerModule || e.state.link == 0 {
				return fmt.Errorf("%s: got %+v, want program %d of the module", what, e, tr.prog)
			}
			outcome = "here"
		}
		if len(list) > 1 {
			return fmt.Errorf("%s: the one netdev is there %d times: %+v", what, len(list), list)
		}
		if intr {
			outcome += ", interrupted"
		}
		tr.tally.add(what, outcome)
		return nil
	}
}

// TestMove moves a netdev with an attachment between namespaces during dumps.
func TestMove(t *testing.T) {
	stress(t, func(t *testing.T) {
		tr := &traveller{tally: newTally(), worlds: [2]*world{newWorld(t), newWorld(t)}}
		a, b := tr.worlds[0], tr.worlds[1]
		tr.prog = a.pass.ID
		a.veth("veth")
		judges := [2]*judge{a.judge(), b.judge()}
		if err := judges[0].set(uint32(a.ns.Index("veth")), change{prog: a.pass}); err != nil {
			t.Fatal(err)
		}
		was, err := judges[0].get(prog, uint32(a.ns.Index("veth")), family.QueueAll)
		if err != nil {
			t.Fatal(err)
		}
		c := newCrew(t)
		defer c.halt()
		for i, w := range tr.worlds {
			for _, door := range doors {
				c.loop(w.ns, tr.watch(fmt.Sprintf("%s in %c", door.name, 'A'+i), door.open(w)))
			}
		}
		done := c.times(rounds(t, 12), func(i int) {
			from, to := i%2, 1-i%2
			old := uint32(tr.worlds[from].ns.Index("veth"))
			if err := tr.worlds[from].ns.Move("veth", tr.worlds[to].ns); err != nil {
				t.Fatal(err)
			}
			now := uint32(tr.worlds[to].ns.Index("veth"))
			if st, err := judges[to].get(prog, now, family.QueueAll); err != nil || st != was {
				t.Errorf("after the move: got %+v, %v, want %+v", st, err, was)
			}
			if st, err := judges[from].get(prog, old, family.QueueAll); !errors.Is(err, unix.ENOENT) {
				t.Errorf("where it was: got %+v, %v, want %v", st, err, unix.ENOENT)
			}
			pause(5 * time.Millisecond)
		})
		if err := judges[done%2].del(uint32(tr.worlds[done%2].ns.Index("veth"))); err != nil {
			t.Error(err)
		}
		c.halt()
		var want []string
		for _, w := range []string{"netlink in A", "netlink in B", "map in A", "map in B"} {
			want = append(want, w+": here", w+": away")
		}
		tr.tally.report(t, done, want...)
	})
}
