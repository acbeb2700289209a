// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/genltest"
)

// dialConst returns a client to a fake kernel whose answers are made once, so that
// nobody but the client allocates.
func dialConst(tb testing.TB) *Client {
	type request struct {
		cmd   uint8
		flags uint16
	}
	made := make(map[request][][]byte)
	c, _ := dialFake(tb, func(r genltest.Request) [][]byte {
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
	return c
}

// clientOps are the operations that are to allocate nothing.
func clientOps(tb testing.TB, c *Client) map[string]func() error {
	// The fake is waited for, and a wait that can be ended allocates.
	ctx := context.Background()
	key, stats := &StatsKey{7}, new(Stats)
	progKey, prog := &ProgKey{7, QueueAll}, new(Prog)
	prog.SetFD(5)
	cur := c.Stats().Cursor(ctx, nil)
	tb.Cleanup(func() { cur.Close() })
	return map[string]func() error{
		"lookup": func() error { return c.Stats().Lookup(ctx, key, stats) },
		"update": func() error { return c.Prog().Update(ctx, progKey, prog, UpdateAny) },
		"delete": func() error { return c.Prog().Delete(ctx, progKey) },
		"cursor": func() error {
			if cur.Next(key, stats) {
				return nil
			}
			err := cur.Err()
			cur.Close()
			cur = c.Stats().Cursor(ctx, nil)
			return err
		},
	}
}

// BenchmarkClient is what the client itself costs: a fake kernel answers.
func BenchmarkClient(b *testing.B) {
	ops := clientOps(b, dialConst(b))
	for _, name := range slices.Sorted(maps.Keys(ops)) {
		benchmarkOp(b, name, ops[name])
	}
}

// BenchmarkModule is the same with the module, where it is loaded, about the
// loopback netdev.
func BenchmarkModule(b *testing.B) {
	c, err := Dial(Options{})
	if errors.Is(err, fs.ErrNotExist) {
		b.Skip("the kernel module xdpctl is not loaded")
	}
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	key, stats := &StatsKey{1}, new(Stats)
	benchmarkOp(b, "lookup", func() error { return c.Stats().Lookup(b.Context(), key, stats) })
	cur := c.Stats().Cursor(b.Context(), nil)
	benchmarkOp(b, "cursor", func() error {
		if cur.Next(key, stats) {
			return nil
		}
		err := cur.Err()
		cur.Close()
		cur = c.Stats().Cursor(b.Context(), nil)
		return err
	})
	cur.Close()
}

func benchmarkOp(b *testing.B, name string, op func() error) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := op(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
