// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// sheet is a table, which a terminal, a page and a document show alike.
type sheet struct {
	title string
	head  []string
	// labels is how many columns at the left are words; the rest are numbers.
	labels int
	rows   []row
	notes  []string
}

// row is a line of a table, a heading of those below it, or words over all
// columns that have no cell.
type row struct {
	heading string
	cells   []string
	rest    string
}

func (t *sheet) add(cells ...string)     { t.rows = append(t.rows, row{cells: cells}) }
func (t *sheet) heading(words string)    { t.rows = append(t.rows, row{heading: words}) }
func (t *sheet) note(f string, a ...any) { t.notes = append(t.notes, fmt.Sprintf(f, a...)) }

// addSkipped adds a row that says why there are no figures in it.
func (t *sheet) addSkipped(why string, cells ...string) {
	rest := absent
	if why != "" {
		rest += ": " + why
	}
	t.rows = append(t.rows, row{cells: cells, rest: rest})
}

// minNote says what is less than what.
const minNote = "Min is the least mean of a batch of operations, that two rounds agree on if any do, and spread by how much that of the worst round is above " +
	"that of the best (of updates, deletes and ethtool -S, whose least does not repeat, by how much its typical mean is); typical is the mean of the middle third of " +
	"a round's batches, of all rounds the median; the others are of single operations."

// costs is the table of all cells that keep accepts. On a terminal the typical and
// the greatest cost are left out, for want of room.
func (r *Result) costs(title string, wide bool, keep func(*Cell) bool) *sheet {
	t := &sheet{title: title, labels: 2, head: []string{"way", "layer", "n"}}
	if wide {
		t.head = append(t.head, "min", "spread", "typical", "median", "p99", "max")
	} else {
		t.head = append(t.head, "min", "spread", "median", "p99")
	}
	callers := r.callers()
	for _, n := range callers {
		t.head = append(t.head, fmt.Sprintf("ops/s, %s", plural(n, "caller")))
	}
	t.head = append(t.head, "system calls", "sent", "received", "allocs", "equal")
	for _, g := range r.groups(keep) {
		t.heading(g.typ + " " + g.op)
		for _, c := range g.cells {
			if !c.measured() {
				t.addSkipped(c.Skipped, string(c.Way), string(c.Layer))
				continue
			}
			cells := []string{string(c.Way), string(c.Layer), numberIf(float64(c.operations()), c.operations() > 0)}
			cells = append(cells, numberIf(c.Min, c.Min > 0), spreadIf(c.Spread, c.Rounds > 1))
			costs := []float64{c.Typical, c.Median, c.P99, c.Max}
			if !wide {
				costs = costs[1:3]
			}
			for _, v := range costs {
				cells = append(cells, numberIf(v, v > 0))
			}
			for _, n := range callers {
				v, ok := c.Rates[n]
				cells = append(cells, numberIf(v, ok))
			}
			t.add(append(cells, c.value(fieldCalls, c.SystemCalls), c.value(fieldSent, float64(c.Sent)),
				c.value(fieldReceived, float64(c.Received)), c.allocs(), c.Way.equal(c.Equal))...)
		}
	}
	if len(t.rows) == 0 {
		return t
	}
	t.note("n is how many operations the costs are of, in %s; sent and received are bytes.", r.Unit)
	t.note(minNote)
	if len(callers) == 0 {
		t.note("%s.", capital(r.noRates()))
	}
	return t
}

// iteration is the table of slopes.
func (r *Result) iteration() *sheet {
	t := &sheet{title: "Iteration: " + r.Unit + " a netdev", labels: 2, head: []string{"way", "layer"}}
	sizes := r.sizes()
	for _, n := range sizes {
		t.head = append(t.head, "of "+number(float64(n)))
	}
	t.head = append(t.head, "low slope", "high slope", "differ by %", "spread", "equal")
	last := ""
	for _, s := range r.slopes() {
		if s.Type != last {
			t.heading(s.Type)
			last = s.Type
		}
		if s.Skipped != "" || len(s.Points) == 0 {
			t.addSkipped(s.Skipped, string(s.Way), string(s.Layer))
			continue
		}
		cells := []string{string(s.Way), string(s.Layer)}
		for _, n := range sizes {
			cells = append(cells, numberIf(s.per(n)))
		}
		bend, ok := s.bend()
		t.add(append(cells, numberIf(s.Low, len(s.Points) > 1), numberIf(s.High, len(s.Points) > 2),
			numberIf(bend, ok), spreadIf(s.spread()), s.Way.equal(s.Equal))...)
	}
	if len(t.rows) > 0 {
		t.note("The low slope is what a netdev more costs from the first size to the second, " +
			"the high one from the second to the last. Spread is the greatest of the sizes: by how much the worst round is above the best.")
	}
	return t
}

// parts are the costs of a library, told apart by layers.
type parts struct {
	cell *Cell
	cost float64
	// c is raw C by the same way: what the kernel costs. door is how much of
	// that the other door does without.
	c, door float64
	hasDoor bool
	// runtime is what Go costs more than C, library the rest.
	runtime    float64
	hasRuntime bool
	library    float64
	hasLibrary bool
}

// hasC tells whether the layers are told apart at all.
func (p *parts) hasC() bool { return p.c > 0 }

// apart tells the layers of a group apart: a row for each library, or for raw Go
// or C where there is none.
func (g *cellGroup) apart() []parts {
	var all []parts
	for _, c := range g.cells {
		if !c.measured() || !g.top(c) {
			continue
		}
		p := parts{cell: c, cost: g.r.cost(c)}
		if raw := g.find(c.Way, RawC); raw.measured() {
			p.c = g.r.cost(raw)
			other := g.find(map[Way]Way{Netlink: Map, Map: Netlink}[c.Way], RawC)
			if p.hasDoor = other.measured(); p.hasDoor {
				p.door = max(0, p.c-g.r.cost(other))
			}
			base := p.c
			if goRaw := g.find(c.Way, RawGo); goRaw.measured() && c.Layer != RawC {
				p.runtime, p.hasRuntime = g.r.cost(goRaw)-p.c, true
				base = g.r.cost(goRaw)
			}
			if p.hasLibrary = c.Layer != RawC && c.Layer != RawGo; p.hasLibrary {
				p.library = p.cost - base
			}
		}
		all = append(all, p)
	}
	return all
}

// top tells whether no layer of the same way is above this one, or it is a
// library itself.
func (g *cellGroup) top(c *Cell) bool {
	if c.Layer != RawC && c.Layer != RawGo {
		return true
	}
	return !slices.ContainsFunc(g.cells, func(o *Cell) bool {
		return o.Way == c.Way && o.measured() && cmp.Compare(rank(layerOrder, o.Layer), rank(layerOrder, c.Layer)) > 0
	})
}

// layers is the table of what the kernel, the door, Go and a library cost, of
// some groups.
func (r *Result) layers(groups []*cellGroup) *sheet {
	t := &sheet{title: "Layers: costs in " + r.Unit, labels: 2,
		head: []string{"way", "layer", "kernel", "its door", "Go", "library", "cost", "p99", "to raw C", "n"}}
	for _, g := range groups {
		all := g.apart()
		if len(all) == 0 {
			continue
		}
		t.heading(g.typ + " " + g.op)
		for _, p := range all {
			c := p.cell
			ratio := absent
			if p.hasC() {
				ratio = times(p.cost, p.c)
			}
			t.add(string(c.Way), string(c.Layer), numberIf(p.c, p.hasC()), numberIf(p.door, p.hasDoor),
				numberIf(p.runtime, p.hasRuntime), numberIf(p.library, p.hasLibrary),
				number(p.cost), numberIf(c.P99, c.P99 > 0), ratio, numberIf(float64(c.operations()), c.operations() > 0))
		}
	}
	if len(t.rows) > 0 {
		t.note("The kernel's is raw C, of which its door's is what raw C costs more by this door than by the other; "+
			"Go's is raw Go less raw C; the library's is the rest, which is negative where a library costs less than raw Go. "+
			"To raw C is how many times that the cost is. %s", r.costNote())
	}
	return t
}

// glance is the table with a line for each operation.
func (r *Result) glance() *sheet {
	t := &sheet{title: "At a glance: costs in " + r.Unit, labels: 1,
		head: []string{"", "netlink, C", "map, C", "netlink to map", "netlink, client", "map, client", "embedded", "socket"}}
	last := ""
	for _, g := range r.groups(ofOwn) {
		if g.typ != last {
			t.heading(g.typ)
			last = g.typ
		}
		cost := func(way Way, layer Layer) string {
			if c := g.find(way, layer); c.measured() {
				return number(r.cost(c))
			}
			return absent
		}
		ratio := absent
		if n, m := g.find(Netlink, RawC), g.find(Map, RawC); n.measured() && m.measured() {
			ratio = times(r.cost(n), r.cost(m))
		}
		t.add(g.op, cost(Netlink, RawC), cost(Map, RawC), ratio, cost(Netlink, Client), cost(Map, Client),
			cost(Embedded, Client), cost(Socket, Client))
	}
	t.note("%s", r.costNote())
	return t
}

// distribution is the table of quantiles of some groups.
func (r *Result) distribution(groups []*cellGroup) *sheet {
	t := &sheet{title: "Distribution: " + r.Unit, labels: 2, head: []string{"way", "layer", "n", "min", "spread", "typical", "median", "p99", "max"}}
	for _, g := range groups {
		t.heading(g.typ + " " + g.op)
		for _, c := range g.cells {
			if !c.measured() {
				t.addSkipped(c.Skipped, string(c.Way), string(c.Layer))
				continue
			}
			t.add(string(c.Way), string(c.Layer), numberIf(float64(c.operations()), c.operations() > 0),
				numberIf(c.Min, c.Min > 0), spreadIf(c.Spread, c.Rounds > 1),
				numberIf(c.Typical, c.Typical > 0), number(c.Median), numberIf(c.P99, c.P99 > 0), numberIf(c.Max, c.Max > 0))
		}
	}
	t.note(minNote)
	return t
}

// throughput is the table of rates of some groups.
func (r *Result) throughput(groups []*cellGroup) *sheet {
	t := &sheet{title: "Throughput: operations a second", labels: 2, head: []string{"way", "layer"}}
	callers := r.callers()
	for _, n := range callers {
		t.head = append(t.head, plural(n, "caller"))
	}
	for _, g := range groups {
		t.heading(g.typ + " " + g.op)
		for _, c := range g.cells {
			if len(c.Rates) == 0 {
				t.addSkipped(c.Skipped, string(c.Way), string(c.Layer))
				continue
			}
			cells := []string{string(c.Way), string(c.Layer)}
			for _, n := range callers {
				v, ok := c.Rates[n]
				cells = append(cells, numberIf(v, ok))
			}
			t.add(cells...)
		}
	}
	return t
}

// capital begins a sentence.
func capital(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
