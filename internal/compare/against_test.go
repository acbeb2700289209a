// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAgainst(t *testing.T) {
	run := func(raw, client, iterated float64) *Result {
		return &Result{Release: "6.1", Machine: "x86_64", CPUs: 1, Unit: Instructions,
			Cells: []*Cell{
				{Type: "xdp-stats", Op: "lookup", Way: Map, Layer: RawC, Min: raw, Median: 1},
				{Type: "xdp-stats", Op: "lookup", Way: Map, Layer: Client, Min: client, Median: 1},
				{Type: "xdp-prog", Op: "update", Way: Map, Layer: RawC, Min: 77 - raw/1000, Typical: 5 * raw, Median: 1},
				{Type: "ip", Op: "lookup", Way: Peer, Layer: Tool, Min: raw * 7, Median: raw * 7},
				{Type: "xdp-caps", Op: "lookup", Way: Map, Layer: RawC, Skipped: "why not"},
			},
			Iterations: []*Slope{{Type: "xdp-stats", Way: Netlink, Layer: RawGo, Points: []Point{{Netdevs: 10, Cost: iterated}}}},
		}
	}
	const head = "Linux 6.1 on x86_64, 1 processor, costs in guest instructions, against an earlier run\n"
	for name, tt := range map[string]struct {
		after *Result
		want  string
		err   error
	}{
		"the same": {run(1000, 2000, 30000), "  C and raw Go: 3 figures, within 0.00 % (limit 1 %)\n" +
			"  the rest: 1 figure, within 0.00 % (limit 5 %)\n", nil},
		"within": {run(1009, 1910, 29800), "  C and raw Go: 3 figures, within 0.90 % (limit 1 %), the worst is xdp-stats lookup, map, C\n" +
			"  the rest: 1 figure, within 4.50 % (limit 5 %), the worst is xdp-stats lookup, map, client\n", nil},
		"beyond": {run(1000, 2110, 30600), "  beyond: xdp-stats of 10 netdevs, netlink, raw Go: 30,600, and 30,000 before\n" +
			"  C and raw Go: 3 figures, within 2.00 % (limit 1 %), the worst is xdp-stats of 10 netdevs, netlink, raw Go\n" +
			"  beyond: xdp-stats lookup, map, client: 2,110, and 2,000 before\n" +
			"  the rest: 1 figure, within 5.50 % (limit 5 %), the worst is xdp-stats lookup, map, client\n", ErrDiffers},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := WriteAgainst(&b, run(1000, 2000, 30000), tt.after); !errors.Is(err, tt.err) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(head+tt.want, b.String()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	var b strings.Builder
	fewer := run(1000, 2000, 30000)
	fewer.Iterations = nil
	if err := WriteAgainst(&b, run(1000, 2000, 30000), fewer); err != nil || !strings.Contains(b.String(), "1 figure of only one of the runs") {
		t.Errorf("without iterations: %v: %s", err, b.String())
	}
	other, wall := run(1, 1, 1), run(1, 1, 1)
	other.Release, wall.Unit = "6.12", Nanoseconds
	for _, r := range []*Result{other, wall} {
		if err := WriteAgainst(&b, run(1, 1, 1), r); err == nil || errors.Is(err, ErrDiffers) {
			t.Errorf("Linux %s in %s: got %v", r.Release, r.Unit, err)
		}
	}
}
