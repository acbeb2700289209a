// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// ratio is how many times one cost is in another, and of what.
type ratio struct {
	of    string
	value float64
}

// ratios returns how many times the second is in the first, for each group that
// has both.
func ratios(groups []*cellGroup, way1 Way, layer1 Layer, way2 Way, layer2 Layer) []ratio {
	var all []ratio
	for _, g := range groups {
		if a, b := g.find(way1, layer1), g.find(way2, layer2); a.measured() && b.measured() {
			all = append(all, ratio{g.typ, g.r.cost(a) / g.r.cost(b)})
		}
	}
	return all
}

// span says what ratios lie between, and of what they are.
func span(all []ratio) (lo, hi ratio) {
	lo, hi = all[0], all[0]
	for _, r := range all[1:] {
		if r.value < lo.value {
			lo = r
		}
		if r.value > hi.value {
			hi = r
		}
	}
	return lo, hi
}

// between writes a span in words.
func between(all []ratio) string {
	lo, hi := span(all)
	if len(all) == 1 || times(lo.value, 1) == times(hi.value, 1) {
		return times(lo.value, 1)
	}
	return times(lo.value, 1) + " to " + times(hi.value, 1)
}

// doors says which door costs less, of ratios of netlink to map.
func doors(all []ratio) string {
	lo, hi := span(all)
	switch {
	case lo.value > 1:
		return fmt.Sprintf("netlink costs %s times what the map does", between(all))
	case hi.value < 1:
		inverse := make([]ratio, len(all))
		for i, r := range all {
			inverse[i] = ratio{r.of, 1 / r.value}
		}
		return fmt.Sprintf("the map costs %s times what netlink does", between(inverse))
	}
	return fmt.Sprintf("neither is always cheaper: netlink costs from %s (%s) to %s times (%s) what the map does",
		times(lo.value, 1), lo.of, times(hi.value, 1), hi.of)
}

// finding is what follows from a result on one topic.
type finding struct{ topic, says string }

// findings says what follows from the figures of a result, and nothing that does
// not.
func (r *Result) findings() []finding {
	all := []finding{{"answers that were equal", r.answers()}}
	add := func(topic, format string, args ...any) {
		all = append(all, finding{topic, fmt.Sprintf(format, args...)})
	}
	if spread, of := r.worstSpread(); of != "" {
		add("rounds of one figure by raw C differ by at most", "%s %% (%s)", number(100*spread), of)
	}
	groups := r.groups(ofOwn)
	for _, op := range opsOf(groups) {
		if d := ratios(ofOp(groups, op), Netlink, RawC, Map, RawC); len(d) > 0 {
			add("one "+noun(op)+" by raw C", "%s", capital(doors(d)))
		}
	}
	if d := r.slopeRatios(); len(d) > 0 {
		add("one netdev more in an iteration by raw C", "%s", capital(doors(d)))
	}
	if bend, of := r.worstBend(); of != "" {
		add("low and high slope by a door differ by at most", "%s %% (%s)", number(bend), of)
	}
	for _, l := range libraries {
		if d := ratios(ofOp(groups, "lookup"), l.way, l.layer, l.way, RawC); len(d) > 0 {
			add(fmt.Sprintf("one lookup by %s through %s, to raw C", l.way, l.name), "%s times", between(d))
		}
	}
	if door, library, ok := worth(groups); ok {
		add("the door is worth, a lookup by raw C", "up to %s %s", number(door), r.Unit)
		add("the library is worth, a lookup by netlink", "up to %s %s", number(library), r.Unit)
	}
	for _, way := range []Way{Embedded, Socket} {
		if d := ratios(ofOp(groups, "lookup"), way, Client, Netlink, Client); len(d) > 0 {
			add(fmt.Sprintf("one lookup of the server (%s), to the module by netlink", way), "%s times", between(d))
		}
	}
	return all
}

// libraries are those whose lookup is held against raw C.
var libraries = []struct {
	way   Way
	layer Layer
	name  string
}{
	{Netlink, Client, "this project's client"}, {Netlink, Mdlayher, "`genetlink.Conn.Execute`"},
	{Map, Client, "this project's client"}, {Map, CiliumEBPF, "`ebpf.Map.Lookup`"},
}

// worth is by how much lookups differ at most by the choice of the door, and on
// netlink by that of the library.
func worth(groups []*cellGroup) (door, library float64, ok bool) {
	for _, g := range ofOp(groups, "lookup") {
		n, m := g.find(Netlink, RawC), g.find(Map, RawC)
		client, other := g.find(Netlink, Client), g.find(Netlink, Mdlayher)
		if n.measured() && m.measured() && client.measured() && other.measured() {
			door, library = max(door, math.Abs(n.Median-m.Median)), max(library, math.Abs(other.Median-client.Median))
			ok = true
		}
	}
	return door, library, ok
}

// findingsTable has what follows from each of several results.
func findingsTable(results []*Result) *sheet {
	t := &sheet{title: "What follows", labels: 1 + len(results), head: []string{""}}
	says := map[string][]string{}
	var topics []string
	for i, r := range results {
		t.head = append(t.head, r.kernel()+", "+r.Unit)
		for _, f := range r.findings() {
			if says[f.topic] == nil {
				says[f.topic] = slices.Repeat([]string{absent}, len(results))
				topics = append(topics, f.topic)
			}
			says[f.topic][i] = f.says
		}
	}
	for _, topic := range topics {
		t.add(append([]string{topic}, says[topic]...)...)
	}
	return t
}

// summedUp are the results that are told together: those in the first unit there is,
// as only counts are the same from run to run.
func summedUp(results []*Result) (unit string, of []*Result) {
	for _, r := range results {
		if unit == "" || unitRank(r) < rank(unitOrder, unit) {
			unit = r.Unit
		}
	}
	return unit, slices.DeleteFunc(slices.Clone(results), func(r *Result) bool { return r.Unit != unit })
}

// overall says what holds over some results together.
func overall(results []*Result) []string {
	byOp := map[string][]ratio{}
	var ops []string
	var slopes []ratio
	libraryMore, both := 0, 0
	for _, r := range results {
		groups := r.groups(ofOwn)
		for _, op := range opsOf(groups) {
			if !slices.Contains(ops, op) {
				ops = append(ops, op)
			}
			byOp[op] = append(byOp[op], ratios(ofOp(groups, op), Netlink, RawC, Map, RawC)...)
		}
		slopes = append(slopes, r.slopeRatios()...)
		if door, library, ok := worth(groups); ok {
			both++
			libraryMore += btoi(library > door)
		}
	}
	slices.SortStableFunc(ops, func(a, b string) int { return cmp.Compare(rank(opOrder, a), rank(opOrder, b)) })
	var all []string
	for _, op := range ops {
		if len(byOp[op]) > 0 {
			all = append(all, fmt.Sprintf("One %s by raw C: %s.", noun(op), doors(byOp[op])))
		}
	}
	if len(slopes) > 0 {
		all = append(all, fmt.Sprintf("One netdev more in an iteration by raw C: %s.", doors(slopes)))
	}
	if both > 0 {
		all = append(all, fmt.Sprintf("On netlink the choice between two Go libraries is worth more than that of the door in %d of %s.",
			libraryMore, plural(both, "result")))
	}
	return all
}

// answers says in how many cells the answers were equal.
func (r *Result) answers() string {
	asked, skipped := 0, 0
	var unequal []string
	for _, c := range r.Cells {
		switch {
		case !c.measured():
			skipped++
		case c.Way == Peer:
		default:
			asked++
			if !c.Equal {
				unequal = append(unequal, fmt.Sprintf("%s %s by %s", c.Type, c.Op, wayLayer(c.Way, c.Layer)))
			}
		}
	}
	s := fmt.Sprintf("All of %s", plural(asked, "cell"))
	switch {
	case asked == 0:
		s = "None were compared"
	case len(unequal) > 0:
		s = fmt.Sprintf("All but %d of %s: %s", len(unequal), plural(asked, "cell"), strings.Join(unequal, "; "))
	}
	if skipped > 0 {
		s += fmt.Sprintf("; %s %s", plural(skipped, "cell"), absent)
	}
	return s
}

// slope returns the iteration of a type by a way and a layer, or nil.
func (r *Result) slope(typ string, way Way, layer Layer) *Slope {
	for _, s := range r.Iterations {
		if s.Type == typ && s.Way == way && s.Layer == layer {
			return s
		}
	}
	return nil
}

// slopeRatios is how many times the high slope of the map is in that of netlink.
func (r *Result) slopeRatios() []ratio {
	var all []ratio
	for _, n := range r.slopes() {
		if n.Way != Netlink || n.Layer != RawC {
			continue
		}
		if m := r.slope(n.Type, Map, RawC); m != nil && len(n.Points) > 2 && len(m.Points) > 2 && n.High > 0 && m.High > 0 {
			all = append(all, ratio{n.Type, n.High / m.High})
		}
	}
	return all
}

// worstBend is the iteration by a door whose slopes differ most.
func (r *Result) worstBend() (worst float64, of string) {
	for _, s := range r.slopes() {
		if s.Way != Netlink && s.Way != Map {
			continue
		}
		if v, ok := s.bend(); ok && (of == "" || v > worst) {
			worst, of = v, fmt.Sprintf("%s by %s", s.Type, wayLayer(s.Way, s.Layer))
		}
	}
	return worst, of
}

// worstSpread is the figure by a door in raw C whose rounds differ most: what ratios
// of the others are to be read with.
func (r *Result) worstSpread() (worst float64, of string) {
	for _, c := range r.Cells {
		if c.measured() && ofDoor(c) && c.Layer == RawC && c.Rounds > 1 && (of == "" || c.Spread > worst) {
			worst, of = c.Spread, fmt.Sprintf("%s %s by %s", c.Type, c.Op, c.Way)
		}
	}
	return worst, of
}

// peerRatios is the table of what the doors cost, in what peers do.
func (r *Result) peerRatios() *sheet {
	t := &sheet{title: "Peers: costs in " + r.Unit + ", and how many times they are in raw C by a door", labels: 3,
		head: []string{"peer", "layer", "beside", "cost", "p99", "netlink to it", "map to it"}}
	groups := r.groups(ofOwn)
	for _, c := range r.Cells {
		if ofOwn(c) {
			continue
		}
		subject := c.Beside
		if c.Way != Peer {
			subject = c.Type
		}
		words := []string{c.Type + " " + c.Op, string(c.Layer), subject}
		if c.Way != Peer {
			words[0] = string(c.Way) + " " + c.Op
		}
		if subject == "" {
			words[2] = "nothing"
		}
		if !c.measured() {
			t.addSkipped(c.Skipped, words...)
			continue
		}
		to := func(way Way) string {
			i := slices.IndexFunc(groups, func(g *cellGroup) bool { return g.typ == subject && g.op == c.Op })
			if i < 0 {
				return absent
			}
			door := groups[i].find(way, RawC)
			if !door.measured() {
				return absent
			}
			return times(r.cost(door), r.cost(c))
		}
		t.add(append(words, number(r.cost(c)), numberIf(c.P99, c.P99 > 0), to(Netlink), to(Map))...)
	}
	if len(t.rows) > 0 {
		t.note("%s", r.costNote())
	}
	return t
}
