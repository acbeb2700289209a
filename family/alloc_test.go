// SPDX-License-Identifier: BSD-3-Clause

//go:build !race

package family

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/genltest"
)

// The race detector makes sync.Pool forget things, and so cannot be on.
func TestClientAllocs(t *testing.T) {
	// Answers are made once, since what the fake allocates counts as well.
	type request struct {
		cmd   uint8
		flags uint16
	}
	made := make(map[request][][]byte)
	c, _ := dialFake(t, func(r genltest.Request) [][]byte {
		req := request{r.Body[0], r.Flags}
		answer := made[req]
		if answer == nil {
			answer = entry(r)
			if r.Flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP {
				one := answer[0][:len(answer[0])/2]
				for range 300 {
					answer = append([][]byte{one}, answer...)
				}
			}
			made[req] = answer
		}
		for _, b := range answer {
			ne.PutUint32(b[8:], r.Seq)
		}
		return answer
	})
	ctx := context.Background()
	key, stats := &StatsKey{7}, new(Stats)
	progKey, prog := &ProgKey{7, QueueAll}, new(Prog)
	prog.SetFD(5)
	cur := c.Stats().Cursor(ctx, nil)
	defer cur.Close()
	for name, fn := range map[string]func() error{
		"lookup": func() error { return c.Stats().Lookup(ctx, key, stats) },
		"update": func() error { return c.Prog().Update(ctx, progKey, prog, UpdateAny) },
		"delete": func() error { return c.Prog().Delete(ctx, progKey) },
		"next": func() error {
			if !cur.Next(key, stats) {
				return errors.Join(cur.Err(), errors.New("no entry"))
			}
			return nil
		},
	} {
		if a := testing.AllocsPerRun(100, func() {
			if err := fn(); err != nil {
				t.Error(name, err)
			}
		}); a != 0 {
			t.Errorf("%s allocates %v times", name, a)
		}
	}
}
