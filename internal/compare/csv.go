// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"
)

// WriteCSV writes a line for each cell, and for each point of an iteration, whose
// netdevs it has. What was not measured is empty.
func WriteCSV(w io.Writer, r *Result) error {
	callers := r.callers()
	head := []string{"release", "machine", "processor", "cpus", "unit", "driver", "rx-queues", "tx-queues",
		"type", "op", "way", "layer", "netdevs", "skipped", "beside", "equal", "operations",
		"min", "typical", "rounds", "spread", "median", "p99", "max", "cost", fieldCalls, fieldSent, fieldReceived, fieldAllocs}
	for _, n := range callers {
		head = append(head, "rate-"+strconv.Itoa(n))
	}
	out := csv.NewWriter(w)
	write := func(fields map[string]string) {
		line := make([]string, len(head))
		for i, h := range head {
			line[i] = fields[h]
		}
		out.Write(line) // its error is kept
	}
	out.Write(head)
	for _, g := range r.groups(func(*Cell) bool { return true }) {
		for _, c := range g.cells {
			write(r.csvCell(c))
		}
	}
	for _, s := range r.slopes() {
		if len(s.Points) == 0 {
			write(r.csvFields(s.Type, "iterate", s.Way, s.Layer, s.Skipped))
		}
		for _, p := range s.Points {
			f := r.csvFields(s.Type, "iterate", s.Way, s.Layer, s.Skipped)
			f["netdevs"], f["cost"] = strconv.Itoa(p.Netdevs), positive(p.Cost)
			csvSpread(f, p.Rounds, p.Spread)
			if s.Way != Peer {
				f["equal"] = strconv.FormatBool(s.Equal)
			}
			write(f)
		}
	}
	out.Flush()
	return out.Error()
}

// csvFields are those that every line has.
func (r *Result) csvFields(typ, op string, way Way, layer Layer, skipped string) map[string]string {
	return map[string]string{
		"release": r.Release, "machine": r.Machine, "processor": r.Processor, "cpus": strconv.Itoa(r.CPUs), "unit": r.Unit,
		"driver": r.Driver, "rx-queues": strconv.Itoa(r.RXQueues), "tx-queues": strconv.Itoa(r.TXQueues),
		"type": typ, "op": op, "way": string(way), "layer": string(layer), "skipped": skipped,
	}
}

func (r *Result) csvCell(c *Cell) map[string]string {
	f := r.csvFields(c.Type, c.Op, c.Way, c.Layer, c.Skipped)
	f["beside"] = c.Beside
	if !c.measured() {
		return f
	}
	if c.Way != Peer {
		f["equal"] = strconv.FormatBool(c.Equal)
	}
	if n := c.operations(); n > 0 {
		f["operations"] = strconv.Itoa(n)
	}
	f["min"], f["typical"], f["median"] = positive(c.Min), positive(c.Typical), positive(c.Median)
	f["p99"], f["max"] = positive(c.P99), positive(c.Max)
	csvSpread(f, c.Rounds, c.Spread)
	for field, v := range map[string]float64{fieldCalls: c.SystemCalls, fieldSent: float64(c.Sent),
		fieldReceived: float64(c.Received), fieldAllocs: c.Allocs} {
		if !slices.Contains(c.NotMeasured, field) {
			f[field] = exact(v)
		}
	}
	if c.Layer == RawC || c.Layer == Tool {
		delete(f, fieldAllocs)
	}
	for n, v := range c.Rates {
		f["rate-"+strconv.Itoa(n)] = exact(v)
	}
	return f
}

// csvSpread has rounds where they are known, and the spread of more than one.
func csvSpread(f map[string]string, rounds int, spread float64) {
	if rounds > 0 {
		f["rounds"] = strconv.Itoa(rounds)
	}
	if rounds > 1 {
		f["spread"] = exact(spread)
	}
}

// exact writes all of a number.
func exact(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// positive is empty for what cannot be 0.
func positive(v float64) string {
	if v <= 0 {
		return ""
	}
	return exact(v)
}
