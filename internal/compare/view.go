// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/xdpctl/xdpctl-nl/family"
)

// absent is what stands where nothing was measured.
const absent = "not measured"

// The operations, and what else is ordered, in the order of every table.
var (
	opOrder    = []string{"lookup", "update", "delete", "iterate"}
	wayOrder   = []Way{Netlink, Map, Embedded, Socket, Peer}
	unitOrder  = []string{Instructions, Nanoseconds}
	layerOrder = []Layer{RawC, RawGo, Client, Mdlayher, CiliumEBPF, Tool}
)

// Fields of a cell that NotMeasured may name.
const (
	fieldCalls    = "system-calls"
	fieldSent     = "sent"
	fieldReceived = "received"
	fieldAllocs   = "allocs"
)

// rank is where v stands in order, at the end if it does not.
func rank[T comparable](order []T, v T) int {
	if i := slices.Index(order, v); i >= 0 {
		return i
	}
	return len(order)
}

// measured tells whether a cell has a cost. Nothing costs 0.
func (c *Cell) measured() bool { return c != nil && c.Skipped == "" && c.Median > 0 }

// cost is what an operation is said to cost: the median, or the typical mean of what
// changes something where instructions are counted. A median can be one of two amounts
// by chance: a worker that does a part runs when it wakes, or when the caller sleeps,
// as the scheduler has it.
func (r *Result) cost(c *Cell) float64 {
	if r.Unit == Instructions && c.changes() && c.Typical > 0 {
		return c.Typical
	}
	return c.Median
}

// costNote says what a cost is.
func (r *Result) costNote() string {
	if r.Unit == Instructions {
		return "Costs are medians, but of updates and deletes typical means, of the middle third of batches."
	}
	return "Costs are medians."
}

// operations is how many operations a cell is from, 0 if it does not say.
func (c *Cell) operations() int {
	if c.Operations != 0 {
		return c.Operations
	}
	n := 0
	for _, b := range c.Histogram {
		n += b.Count
	}
	return n
}

// value formats a field of a cell, which field names.
func (c *Cell) value(field string, v float64) string {
	if slices.Contains(c.NotMeasured, field) {
		return absent
	}
	return number(v)
}

// allocs are those of Go, which others have none of.
func (c *Cell) allocs() string {
	if c.Layer == RawC || c.Layer == Tool {
		return "no Go"
	}
	return c.value(fieldAllocs, c.Allocs)
}

// equal says whether the answers by a way were.
func (w Way) equal(yes bool) string {
	switch {
	case w == Peer:
		return "not asked"
	case yes:
		return "yes"
	}
	return "NO"
}

// wayLayer is what a way and a layer are called in a plot.
func wayLayer(way Way, layer Layer) string { return string(way) + ", " + string(layer) }

// cellGroup is the cells of one operation of one control type.
type cellGroup struct {
	r       *Result
	typ, op string
	cells   []*Cell
}

// find returns the cell of a way and a layer, or nil.
func (g *cellGroup) find(way Way, layer Layer) *Cell {
	for _, c := range g.cells {
		if c.Way == way && c.Layer == layer {
			return c
		}
	}
	return nil
}

// typeOrder is the order of the spec. Others, which are peers, come behind as they
// stand in the result.
var typeOrder = func() (names []string) {
	for _, d := range family.Descs() {
		names = append(names, d.Name)
	}
	return names
}()

// groups returns the cells that keep accepts, by control type and operation.
func (r *Result) groups(keep func(*Cell) bool) []*cellGroup {
	var types []string
	var groups []*cellGroup
	for _, c := range r.Cells {
		if !keep(c) {
			continue
		}
		if !slices.Contains(types, c.Type) {
			types = append(types, c.Type)
		}
		i := slices.IndexFunc(groups, func(g *cellGroup) bool { return g.typ == c.Type && g.op == c.Op })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &cellGroup{r: r, typ: c.Type, op: c.Op})
		}
		groups[i].cells = append(groups[i].cells, c)
	}
	slices.SortStableFunc(groups, func(a, b *cellGroup) int {
		return cmp.Or(cmp.Compare(rank(typeOrder, a.typ), rank(typeOrder, b.typ)),
			cmp.Compare(slices.Index(types, a.typ), slices.Index(types, b.typ)),
			cmp.Compare(rank(opOrder, a.op), rank(opOrder, b.op)))
	})
	for _, g := range groups {
		slices.SortStableFunc(g.cells, func(a, b *Cell) int {
			return cmp.Or(cmp.Compare(rank(wayOrder, a.Way), rank(wayOrder, b.Way)),
				cmp.Compare(rank(layerOrder, a.Layer), rank(layerOrder, b.Layer)))
		})
	}
	return groups
}

// ofOwn accepts the cells of control types, of which there is a library to tell apart.
func ofOwn(c *Cell) bool { return c.Way != Peer && c.Layer != Tool }

// ofDoor tells whether a cell is of a way into the module.
func ofDoor(c *Cell) bool { return c.Way == Netlink || c.Way == Map }

// opsOf returns the operations of groups, in order.
func opsOf(groups []*cellGroup) []string {
	var ops []string
	for _, g := range groups {
		if !slices.Contains(ops, g.op) {
			ops = append(ops, g.op)
		}
	}
	slices.SortStableFunc(ops, func(a, b string) int { return cmp.Compare(rank(opOrder, a), rank(opOrder, b)) })
	return ops
}

// noun is what one operation is called.
func noun(op string) string {
	if op == "iterate" {
		return "iteration"
	}
	return op
}

// ofOp returns the groups of one operation.
func ofOp(groups []*cellGroup, op string) []*cellGroup {
	return slices.DeleteFunc(slices.Clone(groups), func(g *cellGroup) bool { return g.op != op })
}

// callers returns the numbers of callers that anything was measured with.
func (r *Result) callers() []int {
	var all []int
	for _, c := range r.Cells {
		for n := range c.Rates {
			if !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	slices.Sort(all)
	return all
}

// sizes returns the numbers of netdevs that were iterated over.
func (r *Result) sizes() []int {
	var all []int
	for _, s := range r.Iterations {
		for _, p := range s.Points {
			if !slices.Contains(all, p.Netdevs) {
				all = append(all, p.Netdevs)
			}
		}
	}
	slices.Sort(all)
	return all
}

// slopes returns the iterations in the order of the tables.
func (r *Result) slopes() []*Slope {
	var types []string
	for _, s := range r.Iterations {
		if !slices.Contains(types, s.Type) {
			types = append(types, s.Type)
		}
	}
	return slices.SortedStableFunc(slices.Values(r.Iterations), func(a, b *Slope) int {
		return cmp.Or(cmp.Compare(btoi(a.Way == Peer), btoi(b.Way == Peer)),
			cmp.Compare(slices.Index(types, a.Type), slices.Index(types, b.Type)),
			cmp.Compare(rank(wayOrder, a.Way), rank(wayOrder, b.Way)),
			cmp.Compare(rank(layerOrder, a.Layer), rank(layerOrder, b.Layer)))
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// per returns what a netdev costs in an iteration over so many.
func (s *Slope) per(netdevs int) (float64, bool) {
	for _, p := range s.Points {
		if p.Netdevs == netdevs && p.Cost > 0 && netdevs > 0 {
			return p.Cost / float64(netdevs), true
		}
	}
	return 0, false
}

// spread is the greatest of the points, if it is known of all.
func (s *Slope) spread() (worst float64, ok bool) {
	for _, p := range s.Points {
		if p.Rounds < 2 {
			return 0, false
		}
		worst = max(worst, p.Spread)
	}
	return worst, len(s.Points) > 0
}

// bend is by how much of the one the slopes differ, in per cent. Where a netdev more
// costs next to nothing, since there are no more entries, there is nothing to tell.
func (s *Slope) bend() (float64, bool) {
	if len(s.Points) < 3 || s.Low < 1 {
		return 0, false
	}
	return 100 * math.Abs(s.High/s.Low-1), true
}

// headline says what the figures are of.
func (r *Result) headline() string {
	processors := some(r.CPUs, "processor")
	if r.Processor != "" {
		processors += " (" + r.Processor + ")"
	}
	return fmt.Sprintf("Linux %s on %s, %s, costs in %s", cmp.Or(r.Release, "of unknown release"),
		cmp.Or(r.Machine, "an unknown machine"), processors, cmp.Or(r.Unit, "an unknown unit"))
}

// netdev says what was asked about.
func (r *Result) netdev() string {
	if r.Driver == "" {
		return ""
	}
	return fmt.Sprintf("%s with %s and %s", r.Driver, some(r.RXQueues, "RX queue"), some(r.TXQueues, "TX queue"))
}

// some is a number of what there cannot be none of.
func some(n int, what string) string {
	if n == 0 {
		return "an unknown number of " + what + "s"
	}
	return plural(n, what)
}

// noRates says why there are no rates.
func (r *Result) noRates() string {
	switch {
	case r.CPUs == 1:
		return "operations a second: " + absent + ", there is one processor"
	case r.Unit == Instructions:
		return "operations a second: " + absent + ", instructions are counted and not time"
	}
	return "operations a second: " + absent
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return number(float64(n)) + " " + what + "s"
}

// number writes thousands with commas, and decimals of what is small.
func number(v float64) string {
	decimals := 0
	if math.Abs(v) < 100 {
		decimals = 1
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	s = strings.TrimSuffix(s, ".0")
	if s == "-0" {
		return "0"
	}
	sign, digits := "", s
	if strings.HasPrefix(s, "-") {
		sign, digits = "-", s[1:]
	}
	whole, rest, _ := strings.Cut(digits, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		rest = "." + rest
	}
	return sign + whole + rest
}

// numberIf is number, or absent.
// spreadIf writes a spread in percent, if it is known.
func spreadIf(v float64, ok bool) string {
	if !ok {
		return absent
	}
	return strconv.FormatFloat(100*v, 'f', 1, 64) + " %"
}

func numberIf(v float64, ok bool) string {
	if !ok {
		return absent
	}
	return number(v)
}

// times is how many times b is in a.
func times(a, b float64) string { return strconv.FormatFloat(a/b, 'f', 2, 64) }
