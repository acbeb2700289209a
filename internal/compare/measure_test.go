// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFill(t *testing.T) {
	rounds := []*samples{{Batches: []float64{30, 20, 25}, allocs: 2}, {Batches: []float64{40, 25}, allocs: 3}}
	for i := range 200 {
		s := rounds[i%2]
		s.Singles = append(s.Singles, float64(200-i))
	}
	var c Cell
	c.fill(rounds...)
	sum := 0
	last := 0.
	for _, b := range c.Histogram {
		if b.Bound <= last || b.Count == 0 {
			t.Errorf("bucket %+v after %v", b, last)
		}
		sum, last = sum+b.Count, b.Bound
	}
	if sum != 200 || last < 200 {
		t.Errorf("%d costs up to %v in the histogram", sum, last)
	}
	c.Histogram = nil
	want := Cell{Operations: 200, Min: 20, Typical: 32.5, Median: 101, P99: 198, Max: 200, Rounds: 2, Spread: 0.25, Allocs: 2}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// What others do a part of is told by its typical costs: 25 and 32.5.
	c.Op = opUpdate
	c.fill(rounds...)
	if math.Abs(c.Spread-0.3) > 1e-9 {
		t.Errorf("spread of an update: %v", c.Spread)
	}
}

// Of two amounts in turn, a median is one by chance; a change costs the mean.
func TestCost(t *testing.T) {
	update := &Cell{Op: opUpdate, Median: 11962, Typical: 10463}
	lookup := &Cell{Op: "lookup", Median: 3443, Typical: 3450}
	for _, test := range []struct {
		unit string
		c    *Cell
		want float64
	}{
		{Instructions, update, 10463},
		{Instructions, lookup, 3443},
		{Instructions, &Cell{Op: opDelete, Median: 5}, 5}, // of single runs
		{Nanoseconds, update, 11962},
		{Nanoseconds, lookup, 3443},
	} {
		r := &Result{Unit: test.unit}
		if got := r.cost(test.c); got != test.want {
			t.Errorf("%s: cost of %+v is %v, want %v", test.unit, test.c, got, test.want)
		}
	}

	r := &Result{Unit: Instructions, Cells: []*Cell{
		{Type: "xdp-attr setup-meter", Op: opUpdate, Way: Map, Layer: RawC, Median: 11962, Typical: 10463},
		{Type: "xdp-attr setup-meter", Op: opUpdate, Way: Map, Layer: RawGo, Median: 9352, Typical: 10452},
		{Type: "xdp-attr setup-meter", Op: opUpdate, Way: Map, Layer: Client, Median: 9042, Typical: 10542},
	}}
	p := r.groups(ofOwn)[0].apart()[0]
	if p.c != 10463 || p.runtime != -11 || p.library != 90 || p.cost != 10542 {
		t.Errorf("C %v, Go %v, library %v, all %v", p.c, p.runtime, p.library, p.cost)
	}
}

func TestConfirmed(t *testing.T) {
	for _, tt := range []struct {
		figures []float64
		least   float64
		ok      bool
	}{
		{[]float64{100}, 100, false},
		{[]float64{100, 100}, 100, true},
		{[]float64{102, 100, 101}, 100, true},
		{[]float64{103, 106, 100}, 100, false},
		{[]float64{110, 100, 109.5}, 109.5, true},
		{[]float64{110, 110, 101, 100}, 100, true},
	} {
		least, ok := confirmed(tt.figures, 0.01)
		if least != tt.least || ok != tt.ok {
			t.Errorf("confirmed(%v) = %v, %v, want %v, %v", tt.figures, least, ok, tt.least, tt.ok)
		}
	}
}

func TestHistogram(t *testing.T) {
	got := histogram([]float64{0, 1, 1000, 1001, 2000, 1e9})
	if diff := cmp.Diff([]Bucket{{1, 2}, {1024, 2}, {2048, 1}, {1073741824, 1}}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestProcessorOf(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "",
		"processor\t: 0\nBogoMIPS\t: 50.00\n": "",
		"processor\t: 0\nmodel name\t: A: B 2.5+\n\n": "A: B 2.5+",
		"model name\t: one\n\nmodel name\t: two\n":    "one",
	} {
		if got := processorOf(in); got != want {
			t.Errorf("processorOf(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAmounts(t *testing.T) {
	for _, tt := range []struct {
		cost, budget               float64
		n, batchCount, singleCount int
	}{
		{100, defaultBudget, batchMax, batches, singles},
		{10_000, defaultBudget, 40, batches, singles},
		{1e6, defaultBudget, 1, batches, 100},
		{1e8, defaultBudget, 1, fewBatches, fewSingles},
		{1e10, defaultBudget, 1, fewBatches, fewSingles},
		{0, 1, batchMax, 3, 5},
	} {
		n, batchCount, singleCount := amounts(tt.cost, tt.budget)
		if n != tt.n || batchCount != tt.batchCount || singleCount != tt.singleCount {
			t.Errorf("amounts(%v, %v) = %d, %d, %d, want %+v", tt.cost, tt.budget, n, batchCount, singleCount, tt)
		}
	}
}

// TestWatch wants what is undone not to be measured, and not to be forgotten.
func TestWatch(t *testing.T) {
	done, undone := 0, 0
	var kept [][]byte
	w := &watch{clock: wall, budget: 1e5, op: func() error {
		kept = append(kept[:0], make([]byte, 100), make([]byte, 100))
		done++
		return nil
	}, undo: func() error {
		kept = append(kept[:0], make([]byte, 100))
		undone++
		return nil
	}}
	s, err := w.measure()
	if err != nil {
		t.Fatal(err)
	}
	if done == 0 || done != undone {
		t.Errorf("%d done, %d undone", done, undone)
	}
	if s.allocs != 2 || len(s.Batches) < 3 || len(s.Singles) < 5 {
		t.Errorf("got %+v", s)
	}
	want := errors.New("refused")
	w.undo = func() error { return want }
	if _, err := w.measure(); !errors.Is(err, want) {
		t.Errorf("an undo that fails: %v", err)
	}
}

// TestCalm wants the timers of every thread to be late.
func TestCalm(t *testing.T) {
	switch err := calm(slack); {
	case errors.Is(err, os.ErrPermission):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	const usual = 50 * time.Microsecond
	defer calm(usual)
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %v, error %v", threads, err)
	}
	for _, thread := range threads {
		got, err := os.ReadFile(filepath.Join("/proc", filepath.Base(thread), "timerslack_ns"))
		if err == nil && string(got) != "1000000000\n" {
			t.Errorf("thread %s: timers are %s late", thread, got)
		}
	}
}

func TestSlope(t *testing.T) {
	s := &Slope{Points: []Point{{Netdevs: 10, Cost: 1000}, {Netdevs: 100, Cost: 10_000}, {Netdevs: 1000, Cost: 50_000}, {Netdevs: 4000, Cost: 3_710_000}}}
	s.fill()
	if s.Low != 100 || s.High != 3_700_000./3900 {
		t.Errorf("slopes %v and %v", s.Low, s.High)
	}
}

// TestLong wants an iteration that takes long to be done once to get warm, and to be
// measured as often as there is room for, twice at least.
func TestLong(t *testing.T) {
	done := 0
	w := &watch{clock: wall, budget: 1, coarse: true, long: 3, op: func() error {
		done++
		time.Sleep(time.Microsecond) // what costs nothing takes not long
		return nil
	}}
	s, err := w.measure()
	if err != nil || done != 3 || len(s.Batches) != 2 || len(s.Singles) != 2 {
		t.Errorf("done %d times: %+v, %v", done, s, err)
	}
	w.budget = 1000
	if most, some, least := w.longCount(30), w.longCount(400), w.longCount(600); most != 3 || some != 2 || least != 2 {
		t.Errorf("measured %d, %d and %d times", most, some, least)
	}
	w.coarse, w.budget, done = false, 1, 0
	if s, err = w.measure(); err != nil || done < 10 || len(s.Batches) < 3 {
		t.Errorf("what is not coarse, done %d times: %+v, %v", done, s, err)
	}
}
