// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// How much is measured at once, as in tests/bench: a batch is shorter than a tick
// of the timer, so that most have none.
const (
	batches   = 40
	batchCost = 400_000
	batchMax  = 1000
	changeMax = 10 // the most updates or deletes in a batch
	// vmallocBatches is how many there are of what calls vmalloc: the kernel
	// takes areas back all at once, 4,096 of a page on one processor, and they
	// cost more until then. These are all from one time to the next.
	vmallocBatches = 120
	singles        = 400

	// warmUp is how long an operation is done before it is measured: the
	// runtime's monitor looks often at a program that has just begun.
	warmUp = 10_000_000
	// libraryWarmUp is that of a library: where code asks whether a type has an
	// interface, the runtime keeps the answer once in 1,024 times, and less often
	// the more it has, and until then all of a lookup by cilium/ebpf costs 3 % more.
	libraryWarmUp = 500_000_000
	// fewBatches and fewSingles are how many there are at least, whatever they
	// cost, but where little is to be measured.
	fewBatches = 10
	fewSingles = 30
	// longShare is the share of the budget from which on an iteration is a batch
	// in itself, of which there are longLeast in a round and as many more as the
	// budget has room for, up to longBatches, or serverBatches where a server is
	// asked, which takes a hundred times as long.
	longShare     = 0.02
	longLeast     = 2
	longBatches   = 10
	serverBatches = 3
)

// defaultBudget is what batches may cost in all, and single operations a tenth of
// it.
const defaultBudget = 1_000_000_000

// samples are costs that were measured in one round.
type samples struct {
	Batches []float64 `json:"batches"` // means of batches
	Singles []float64 `json:"singles"`
	allocs  float64
}

// clock is what costs are told by: clocks of the kernel, added up. An operation
// that sleeps is measured by the time that those run who work for it, since where
// instructions are counted the clock on the wall goes on when nobody does.
type clock []int32

var wall = clock{unix.CLOCK_MONOTONIC}

// processClock is the time that a process runs.
func processClock(pid int) int32 {
	const cpuclockSched = 2
	return int32(^pid)<<3 | cpuclockSched
}

// runs tells whether it stands still while nobody runs.
func (c clock) runs() bool { return c[0] != unix.CLOCK_MONOTONIC }

// Pauses before what changes something are so long that what was left behind by the
// change before has been done, and each ends elsewhere between two ticks of the
// timer: what is done how depends on where, and where would be the same all the time.
const (
	pauseLeast = 20 * time.Millisecond
	pauseTick  = 4 * time.Millisecond
	pauseTurn  = 0.6180339887 // of a tick, from one to the next: they never meet
)

// pause sleeps for the n-th pause, to the nanosecond.
func pause(n int) {
	_, turn := math.Modf(float64(n) * pauseTurn)
	sleep(pauseLeast + time.Duration(turn*float64(pauseTick)))
}

// sleep sleeps to the nanosecond, where timers are late too.
func sleep(d time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	late, _ := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	defer unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(late), 0, 0, 0)
	end := unix.NsecToTimespec(wall.now() + int64(d))
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &end, nil) == unix.EINTR {
	}
}

// slack is how late timers of threads may be where instructions are counted.
const slack = time.Second

// calm lets the timers of all threads be so late. The runtime's monitor sleeps for 20 µs
// while it finds something to do, which costs 7,000 instructions each time and is a
// quarter of what is measured then. When it finds a system call for the second time it
// takes its processor away, which costs the call 1,000 more, and sleeps for 20 µs again:
// a change that sleeps for some ticks had that cost for seconds on end, or for seconds
// not. Threads and processes that are made later are calm too.
func calm(late time.Duration) error {
	value := strconv.AppendInt(nil, int64(late), 10)
	// A thread that is not calm yet may make another meanwhile.
	for seen, before := map[string]bool{}, -1; len(seen) > before; {
		before = len(seen)
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range threads {
			seen[t.Name()] = true
			err := os.WriteFile(filepath.Join("/proc", t.Name(), "timerslack_ns"), value, 0)
			// It may have ended.
			if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	return nil
}

func (c clock) now() int64 {
	sum := int64(0)
	for _, id := range c {
		var ts unix.Timespec
		if err := unix.ClockGettime(id, &ts); err != nil {
			panic(fmt.Sprintf("clock %d: %v", id, err))
		}
		sum += ts.Nano()
	}
	return sum
}

// cost is what reading the clock costs, which is not the operation's.
func (c clock) cost() int64 {
	least := int64(math.MaxInt64)
	for range 1000 {
		start := c.now()
		least = min(least, c.now()-start)
	}
	return least
}

// watch measures an operation, which undo undoes if it is not nil.
type watch struct {
	clock  clock
	budget float64
	coarse bool    // an iteration over many: nothing but batches matters
	warm   bool    // it has been done before
	long   int     // how many batches of one that takes long at most
	warmUp float64 // how long it is done before
	// collect collects the garbage of another process that works for it, nil without
	// one. Between tells to collect all before each batch, of which there are fewer:
	// new memory costs more.
	collect func() error
	between bool
	own     int64
	pauses  int
	// least is how many batches there are at least.
	least int
	op    func() error
	undo  func() error
}

// once is the cost of one operation.
func (w *watch) once() (float64, error) {
	if w.undo != nil && w.clock.runs() {
		pause(w.pauses)
		w.pauses++
		w.clock.now() // the first time after it takes longer
	}
	start := w.clock.now()
	err := w.op()
	cost := w.clock.now() - start
	if err == nil && w.undo != nil {
		err = w.undo()
	}
	return float64(max(cost-w.own, 0)), err
}

// batch is the mean cost of n operations. Each that is undone is timed by itself.
func (w *watch) batch(n int) (float64, error) {
	if w.undo != nil {
		sum := 0.
		for range n {
			cost, err := w.once()
			if err != nil {
				return 0, err
			}
			sum += cost
		}
		return sum / float64(n), nil
	}
	start := w.clock.now()
	for range n {
		if err := w.op(); err != nil {
			return 0, err
		}
	}
	return float64(w.clock.now()-start) / float64(n), nil
}

// clean collects garbage.
func (w *watch) clean() error {
	runtime.GC()
	if w.collect == nil {
		return nil
	}
	return w.collect()
}

// amounts is how many operations a batch has, and how many batches and single
// operations there are to be, where one costs so much.
func amounts(cost, budget float64) (n, batchCount, singleCount int) {
	cost = max(cost, 1)
	n = min(max(int(batchCost/cost), 1), batchMax)
	leastBatches, leastSingles := fewBatches, fewSingles
	if budget < defaultBudget {
		leastBatches, leastSingles = 3, 5
	}
	batchCount = min(max(int(budget/(cost*float64(n))), leastBatches), batches)
	singleCount = min(max(int(budget/10/cost), leastSingles), singles)
	return n, batchCount, singleCount
}

// longCount is how many batches there are of an iteration that is one by itself.
func (w *watch) longCount(cost float64) int {
	return max(min(int(w.budget/cost), w.long), longLeast)
}

// measure measures in this thread.
func (w *watch) measure() (*samples, error) {
	if err := w.clean(); err != nil {
		return nil, err
	}
	w.own = w.clock.cost()
	if !w.warm {
		if _, err := w.once(); err != nil {
			return nil, err
		}
	}
	cost, err := w.once()
	if err != nil {
		return nil, err
	}
	if w.coarse && cost > longShare*w.budget {
		return w.measureLong(cost)
	}
	for begin := wall.now(); w.undo == nil && float64(wall.now()-begin) < w.warmUp; {
		if cost, err = w.once(); err != nil {
			return nil, err
		}
	}
	if w.warmUp > warmUp {
		runtime.GC()
	}
	n, batchCount, singleCount := amounts(cost, w.budget)
	batchCount = max(batchCount, w.least)
	if w.coarse {
		singleCount = 1
	}
	if w.between {
		batchCount = min(batchCount, fewBatches)
	}
	if w.undo != nil {
		n = min(n, changeMax)
	}
	s := &samples{Batches: make([]float64, batchCount), Singles: make([]float64, singleCount)}
	for i := range s.Batches {
		if w.between {
			if err := w.clean(); err != nil {
				return nil, err
			}
		}
		if s.Batches[i], err = w.batch(n); err != nil {
			return nil, err
		}
	}
	for i := range s.Singles {
		if s.Singles[i], err = w.once(); err != nil {
			return nil, err
		}
	}
	s.allocs, err = w.allocs(min(n, 10))
	return s, err
}

// measureLong measures an iteration of which each is a batch, and the first cost so much.
func (w *watch) measureLong(cost float64) (*samples, error) {
	costs := []float64{cost}
	for range w.longCount(cost) - 1 {
		if err := w.clean(); err != nil {
			return nil, err
		}
		cost, err := w.once()
		if err != nil {
			return nil, err
		}
		costs = append(costs, cost)
	}
	return &samples{Batches: costs, Singles: costs}, nil
}

// allocs is how many allocations an operation has. A few of the runtime's own are
// none of it.
func (w *watch) allocs(n int) (float64, error) {
	sum := uint64(0)
	var before, after runtime.MemStats
	for range n {
		runtime.ReadMemStats(&before)
		err := w.op()
		runtime.ReadMemStats(&after)
		if err == nil && w.undo != nil {
			err = w.undo()
		}
		if err != nil {
			return 0, err
		}
		sum += after.Mallocs - before.Mallocs
	}
	return float64(sum / uint64(n)), nil
}

// fill writes what was measured in some rounds into a cell.
func (c *Cell) fill(rounds ...*samples) {
	var singles []float64
	c.Allocs, c.Rounds = math.Inf(1), len(rounds)
	for _, s := range rounds {
		singles = append(singles, s.Singles...)
		c.Allocs = min(c.Allocs, s.allocs)
	}
	c.Min, _ = confirmed(leastOf(rounds), limitOf(c.Layer)*agreement)
	c.Typical = medianOf(typicalOf(rounds))
	figures := c.figures(rounds)
	if best := slices.Min(figures); best > 0 {
		c.Spread = slices.Max(figures)/best - 1
	}
	slices.Sort(singles)
	n := len(singles)
	c.Median, c.Max = medianOf(singles), singles[n-1]
	c.P99 = singles[min(int(math.Ceil(0.99*float64(n))), n)-1]
	c.Operations = n
	c.Histogram = histogram(singles)
}

// repeats is the figure that is to repeat.
func (c *Cell) repeats() float64 {
	if c.wavers() {
		return c.Typical
	}
	return c.Min
}

// figures are what repeats of each round.
func (c *Cell) figures(rounds []*samples) []float64 {
	if c.wavers() {
		return typicalOf(rounds)
	}
	return leastOf(rounds)
}

// typicalOf are the means of the middle third of batches. It has part of all costs that
// there are by where between two ticks something is done, and nothing of a state that
// the kernel is in less than a third of the time.
func typicalOf(rounds []*samples) []float64 {
	typical := make([]float64, len(rounds))
	for i, s := range rounds {
		sorted := slices.Sorted(slices.Values(s.Batches))
		third := (len(sorted) - 1) / 3
		middle := sorted[third : len(sorted)-third]
		for _, cost := range middle {
			typical[i] += cost / float64(len(middle))
		}
	}
	return typical
}

// leastOf are the least means of rounds.
func leastOf(rounds []*samples) []float64 {
	least := make([]float64, len(rounds))
	for i, s := range rounds {
		least[i] = slices.Min(s.Batches)
	}
	return least
}

// agreement is by how much rounds may differ that agree, as a share of what runs may.
const agreement = 0.25

// confirmed is the least figure that another agrees with to a tolerance, or the least
// if there is none, and whether there is one.
func confirmed(figures []float64, tolerance float64) (least float64, ok bool) {
	sorted := slices.Sorted(slices.Values(figures))
	for i, f := range sorted[1:] {
		if f <= sorted[i]*(1+tolerance) {
			return sorted[i], true
		}
	}
	return sorted[0], false
}

// wavers tells whether the typical cost repeats, and not the least. Others now and then
// do a part of what changes something: it sleeps, and they run. Areas of vmalloc, which
// ethtool -S takes one of, cost more the longer the kernel has not taken any back.
func (c *Cell) wavers() bool {
	return c.changes() || c.Way == Peer && c.Type == peerEthtool
}

// changes tells whether an operation changes something.
func (c *Cell) changes() bool { return c.Op == opUpdate || c.Op == opDelete }

func medianOf(costs []float64) float64 {
	sorted := slices.Sorted(slices.Values(costs))
	return sorted[len(sorted)/2]
}

// histogram sorts ascending costs into buckets, eight for each doubling.
func histogram(costs []float64) []Bucket {
	var list []Bucket
	for _, cost := range costs {
		if last := len(list) - 1; last >= 0 && cost <= list[last].Bound {
			list[last].Count++
			continue
		}
		list = append(list, Bucket{bound(cost), 1})
	}
	return list
}

// bound is the upper end of the bucket that a cost belongs to.
func bound(cost float64) float64 {
	if cost < 1 {
		return 1
	}
	const each = 8
	b := math.Ceil(math.Exp2(math.Ceil(math.Log2(cost)*each) / each))
	return max(b, math.Ceil(cost))
}
