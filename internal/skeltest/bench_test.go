// SPDX-License-Identifier: BSD-3-Clause

package skeltest

import (
	"os"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
)

// Where loads go, so that they are made.
var sink uint64

// reads are ways to read a variable, n times each.
func reads(tb testing.TB) map[string]func(n int) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("loading a program needs root")
	}
	s, err := OpenAndLoadVars(nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	bss := s.Object().Collection.Maps[".bss"]
	value := make([]byte, bss.ValueSize())
	type memory struct {
		atomic atomic.Uint64
		plain  uint32
	}
	heap := &struct{ of *memory }{new(memory)}
	return map[string]func(n int){
		"Go memory": func(n int) {
			for range n {
				sink += heap.of.atomic.Load()
			}
		},
		"field": func(n int) {
			for range n {
				sink += s.Bss.Runs.Load()
			}
		},
		"Go memory, plain": func(n int) {
			for range n {
				sink += uint64(heap.of.plain)
			}
		},
		"field, plain": func(n int) {
			for range n {
				sink += uint64(s.Data.Limit)
			}
		},
		"constant": func(n int) {
			for range n {
				sink += uint64(s.Rodata.Step())
			}
		},
		"accessor": func(n int) {
			for range n {
				v, err := s.Vars.Runs.Get()
				if err != nil {
					tb.Fatal(err)
				}
				sink += v
			}
		},
		"map lookup": func(n int) {
			for range n {
				if err := lookup(bss, value); err != nil {
					tb.Fatal(err)
				}
				sink += uint64(value[0])
			}
		},
	}
}

func lookup(m *ebpf.Map, value []byte) error {
	var zero uint32
	return m.Lookup(unsafe.Pointer(&zero), unsafe.Pointer(&value[0]))
}

func BenchmarkRead(b *testing.B) {
	for name, read := range reads(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			read(b.N)
		})
	}
}

// loads reads what p is the address of, n times.
//
//go:noinline
func loads(p *atomic.Uint64, n int) {
	for range n {
		sink += p.Load()
	}
}

// TestReadCost lets the same code read a variable and the heap, and compares the
// fastest of many rounds. Other work on the machine can spoil a few.
func TestReadCost(t *testing.T) {
	all := reads(t)
	for _, name := range []string{"field", "field, plain", "constant"} {
		if allocs := testing.AllocsPerRun(100, func() { all[name](1) }); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
	s, err := OpenAndLoadVars(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	heap := new(atomic.Uint64)
	const n, rounds, attempts = 10_000, 200, 20
	fastest := func(f func(n int)) (best time.Duration) {
		for range rounds {
			start := time.Now()
			f(n)
			if took := time.Since(start); best == 0 || took < best {
				best = took
			}
		}
		return best
	}
	var variable, memory time.Duration
	for range attempts {
		memory = fastest(func(n int) { loads(heap, n) })
		variable = fastest(func(n int) { loads(&s.Bss.Runs, n) })
		if variable <= memory*11/10 {
			break
		}
	}
	if variable > memory*11/10 {
		t.Errorf("%d reads of a variable: %v, of the heap: %v", n, variable, memory)
	}
	lookups := fastest(func(int) { all["map lookup"](10) }) * (n / 10)
	t.Logf("%d reads of a variable: %v, of the heap: %v, lookups: %v", n, variable, memory, lookups)
	if lookups < 10*variable {
		t.Errorf("%d lookups: %v, reads: %v", n, lookups, variable)
	}
}
