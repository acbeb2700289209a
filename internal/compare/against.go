// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// limitOf is by how much a deterministic figure may differ between two runs: less
// where nothing but a system call is measured than where a runtime is at work as
// well.
func limitOf(l Layer) float64 {
	if l == RawC || l == RawGo {
		return 0.01
	}
	return 0.05
}

// difference is what a figure was in two runs.
type difference struct {
	what          string
	layer         Layer
	before, after float64
}

func (d *difference) share() float64 { return math.Abs(d.after/d.before - 1) }

// ErrDiffers is that figures of two runs do not agree.
var ErrDiffers = errors.New("figures differ from those of the run before")

// WriteAgainst holds the figures of two runs on the same kernel against each other:
// the least means of batches, and the typical ones where those repeat. The error
// is [ErrDiffers] if one is beyond what it may differ by: 1 % in C and raw Go, 5 % in
// other layers. Tools are measured by single runs, and left out.
func WriteAgainst(w io.Writer, before, after *Result) error {
	if before.Unit != Instructions || after.Unit != Instructions {
		return fmt.Errorf("hold results against each other: only %s repeat", Instructions)
	}
	if before.Release != after.Release {
		return fmt.Errorf("hold results against each other: they are of Linux %s and of %s", before.Release, after.Release)
	}
	all, alone := differences(before, after)
	var b strings.Builder
	fmt.Fprintf(&b, "%s, against an earlier run\n", after.headline())
	beyond := 0
	for _, raw := range []bool{true, false} {
		n, worst := 0, &difference{before: 1, after: 1}
		for i := range all {
			d := &all[i]
			if (limitOf(d.layer) == limitOf(RawC)) != raw {
				continue
			}
			if n++; d.share() > worst.share() {
				worst = d
			}
			if d.share() > limitOf(d.layer) {
				beyond++
				fmt.Fprintf(&b, "  beyond: %s: %s, and %s before\n", d.what, number(d.after), number(d.before))
			}
		}
		name, limit := "C and raw Go", limitOf(RawC)
		if !raw {
			name, limit = "the rest", limitOf(Client)
		}
		if n == 0 {
			fmt.Fprintf(&b, "  %s: %s\n", name, absent)
			continue
		}
		fmt.Fprintf(&b, "  %s: %s, within %.2f %% (limit %.0f %%)", name, plural(n, "figure"), 100*worst.share(), 100*limit)
		if worst.what != "" {
			fmt.Fprintf(&b, ", the worst is %s", worst.what)
		}
		b.WriteString("\n")
	}
	if alone > 0 {
		fmt.Fprintf(&b, "  %s of only one of the runs\n", plural(alone, "figure"))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	if beyond > 0 {
		return fmt.Errorf("%w: %d of %d", ErrDiffers, beyond, len(all))
	}
	return nil
}

// differences are the figures that both runs have, and how many only one has.
func differences(before, after *Result) (all []difference, alone int) {
	old := before.deterministic()
	for _, f := range after.deterministic() {
		i := slices.IndexFunc(old, func(o difference) bool { return o.what == f.what })
		if i < 0 {
			alone++
			continue
		}
		f.before = old[i].after
		all = append(all, f)
		old = slices.Delete(old, i, i+1)
	}
	return all, alone + len(old)
}

// deterministic are the figures that are to repeat.
func (r *Result) deterministic() (all []difference) {
	for _, c := range r.Cells {
		if c.measured() && c.Layer != Tool && c.repeats() > 0 {
			what := fmt.Sprintf("%s %s, %s", c.Type, c.Op, wayLayer(c.Way, c.Layer))
			all = append(all, difference{what: what, layer: c.Layer, after: c.repeats()})
		}
	}
	for _, s := range r.Iterations {
		for _, p := range s.Points {
			what := fmt.Sprintf("%s of %s, %s", s.Type, plural(p.Netdevs, "netdev"), wayLayer(s.Way, s.Layer))
			all = append(all, difference{what: what, layer: s.Layer, after: p.Cost})
		}
	}
	return all
}
