// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// How much is measured at once, as in bench.c: a batch is shorter than a tick
// of the timer, so that most have none.
const (
	batches   = 40
	batchCost = 400_000
	batchMax  = 1000

	// warmUp is how long an operation is done before it is measured: the
	// runtime's monitor looks often at a program that has just begun.
	warmUp = 20_000_000

	// rounds is how often all is measured. The smallest cost counts: what
	// an allocation costs the kernel depends on what was freed before.
	rounds = 3
)

// Languages of a Figure.
const (
	langC      = "C"      // bench.c
	langGo     = "Go"     // Go, no package but syscall
	langClient = "client" // our packages family and ctlmap
)

// Figure is the cost of one operation, or of one entry of a dump, in guest
// instructions.
type Figure struct {
	Name string `json:"name"`
	// Lang is a language, or the way that a request takes.
	Lang string `json:"lang"`
	// Netdevs is the number of netdevs there were, if it matters.
	Netdevs int `json:"netdevs,omitempty"`

	Min     float64 `json:"min"`
	Median  float64 `json:"median"`
	Max     float64 `json:"max"`
	Batches int     `json:"batches"`
	// Entries is the number of entries that one dump has.
	Entries int `json:"entries"`
	// Allocs is the number of allocations an operation.
	Allocs float64 `json:"allocs"`
}

// Total is the cost of one operation, with all its entries.
func (f *Figure) Total() float64 { return f.Min * float64(f.Entries) }

// merge adds the figure of another round.
func (f *Figure) merge(other *Figure) {
	f.Max = max(f.Max, other.Max)
	f.Batches += other.Batches
	if other.Min < f.Min {
		f.Min, f.Median = other.Min, other.Median
	}
	f.Allocs = min(f.Allocs, other.Allocs)
}

// op is an operation; it returns how many entries it has read.
type op func() (int, error)

// measure measures op in this thread. An operation that sleeps is measured in
// the time that the thread runs, since the clock goes on when nobody does.
func measure(lang, name string, sleeps bool, op op) (*Figure, error) {
	clock := int32(unix.CLOCK_MONOTONIC)
	if sleeps {
		clock = unix.CLOCK_THREAD_CPUTIME_ID
	}
	fail := func(err error) (*Figure, error) { return nil, fmt.Errorf("%s in %s: %w", name, lang, err) }
	for begin := now(unix.CLOCK_MONOTONIC); now(unix.CLOCK_MONOTONIC)-begin < warmUp; {
		if _, err := op(); err != nil {
			return fail(err)
		}
	}
	start := now(clock)
	entries, err := op()
	if err != nil {
		return fail(err)
	}
	n := min(max(int(batchCost/max(now(clock)-start, 1)), 1), batchMax)

	f := &Figure{Name: name, Lang: lang, Batches: batches, Entries: entries}
	costs := make([]float64, batches)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range costs {
		done := 0
		start := now(clock)
		for range n {
			entries, err := op()
			if err != nil {
				return fail(err)
			}
			done += entries
		}
		costs[i] = float64(now(clock)-start) / float64(done)
	}
	runtime.ReadMemStats(&after)
	slices.Sort(costs)
	f.Min, f.Median, f.Max = costs[0], costs[batches/2], costs[batches-1]
	// A few allocations of the runtime's own are none of an operation.
	f.Allocs = float64((after.Mallocs - before.Mallocs) / uint64(n*batches))
	return f, nil
}

func now(clock int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}
