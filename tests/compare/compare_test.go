// SPDX-License-Identifier: BSD-3-Clause

// Package compare measures a little of everything with the module, and wants what
// does not depend on how fast the machine is.
package compare

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/compare"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) {
	compare.Main()
	testutil.Main(m)
}

// sizes are few, for time.
var sizes = []int{10, 20, 40}

// TestRun wants every operation of every way and layer to have been measured, with
// the answers equal, and what each costs in calls.
func TestRun(t *testing.T) {
	// Tools take most of the time, and have nothing to do with the module.
	t.Setenv("PATH", "")
	begin := time.Now()
	r, err := compare.Run(t.Context(), compare.Options{Sizes: sizes, Rounds: 1, Budget: 1e5, Progress: func(what string) {
		t.Logf("%.1f s: %s", time.Since(begin).Seconds(), what)
	}})
	if err != nil {
		t.Fatal(err)
	}
	// RX metadata began with Linux 6.8.
	const metadata = "xdp-attr setup-md"
	noMetadata := strings.HasPrefix(r.Release, "6.1.")
	cells := map[string]int{}
	calls := map[string]float64{}
	for _, c := range r.Cells {
		if c.Way == compare.Peer {
			continue
		}
		if c.Layer == compare.RawC {
			if !strings.Contains(c.Skipped, "bench-c") {
				t.Errorf("%+v is not skipped for want of the program in C", c)
			}
			continue
		}
		if noMetadata && c.Type == metadata {
			if !strings.Contains(c.Skipped, unix.EOPNOTSUPP.Error()) {
				t.Errorf("%+v is not skipped for want of support", c)
			}
			continue
		}
		if c.Skipped != "" || !c.Equal || c.Min <= 0 || c.Median > c.Max || c.Median <= 0 || c.P99 > c.Max {
			t.Errorf("%+v", c)
		}
		cells[c.Type]++
		if c.Type == "xdp-stats" && c.Op == "lookup" {
			calls[string(c.Way)+" "+string(c.Layer)] = c.SystemCalls
		}
	}
	// Three layers of each of the module's ways and one of each server, for
	// lookup and iterate, and as many for update and delete, by each command.
	want := map[string]int{"xdp-stats": 16, "xdp-qstats": 16, "xdp-caps": 16, "xdp-prog": 32, "xdp-port": 32,
		"xdp-attr": 16, "xdp-attr setup-redirect": 16, metadata: 16, "xdp-attr setup-meter": 16}
	if noMetadata {
		delete(want, metadata)
	}
	if diff := cmp.Diff(want, cells); diff != "" {
		t.Errorf("cells, -want +got:\n%s", diff)
	}
	for way, want := range map[string]float64{
		"netlink raw Go": 2, "netlink client": 2, "map raw Go": 1, "map client": 1, "map cilium": 1,
	} {
		if calls[way] != want {
			t.Errorf("a lookup by %s takes %v system calls, want %v", way, calls[way], want)
		}
	}
	checkSlopes(t, r)
}

// TestMany iterates over more netdevs than maps are often made for.
func TestMany(t *testing.T) {
	t.Setenv("PATH", "")
	r, err := compare.Run(t.Context(), compare.Options{Types: []string{"xdp-stats"}, Sizes: []int{10, 20, 1100}, Rounds: 1, Budget: 1e5})
	if err != nil {
		t.Fatal(err)
	}
	// Three layers of each of the module's ways, and one of each server.
	want := 8
	for _, s := range r.Iterations {
		if s.Way == compare.Peer || s.Layer == compare.RawC {
			continue
		}
		want--
		if len(s.Points) != 3 || !s.Equal {
			t.Errorf("%s by %s in %s: %+v", s.Type, s.Way, s.Layer, s)
		}
	}
	if want != 0 {
		t.Errorf("%d iterations are missing", want)
	}
}

func checkSlopes(t *testing.T, r *compare.Result) {
	t.Helper()
	ways := map[compare.Way]int{}
	for _, s := range r.Iterations {
		if s.Layer == compare.RawC || s.Way == compare.Peer {
			continue
		}
		var got []int
		for _, p := range s.Points {
			got = append(got, p.Netdevs)
		}
		if !slices.Equal(got, sizes) {
			t.Errorf("%s by %s in %s over %v netdevs, want %v", s.Type, s.Way, s.Layer, got, sizes)
		}
		if !s.Equal {
			t.Errorf("%s by %s in %s: answers are not equal", s.Type, s.Way, s.Layer)
		}
		ways[s.Way]++
	}
	want := map[compare.Way]int{compare.Netlink: 8, compare.Map: 8, compare.Embedded: 6, compare.Socket: 6}
	if diff := cmp.Diff(want, ways); diff != "" {
		t.Errorf("iterations, -want +got:\n%s", diff)
	}
}
