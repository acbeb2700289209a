// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

// Names of figures, as bench.c has them.
const (
	clock          = "1,000,000 instructions"
	hashLookup     = "hash map lookup"
	getStats       = "RTM_GETSTATS"
	linkDump       = "RTM_GETLINK dump"
	lookupOwn      = "map lookup stats own"
	lookupDriver   = "map lookup stats driver"
	statsGetOwn    = "stats-get own"
	statsGetDriver = "stats-get driver"
	statsDump      = "stats-get dump"
	mapIterate     = "map iterate"
	attachNetlink  = "prog-set, prog-del"
	attachMap      = "map update, delete"
	replaceNetlink = "prog-set exist"
	replaceMap     = "map update exist"
)

// onceNames are the rows of the table of operations on one netdev.
var onceNames = []string{
	"getppid", hashLookup, "ethtool -S ioctl", getStats, "ethtool CHANNELS_GET", "RTM_GETLINK", "",
	lookupOwn, lookupDriver, "map lookup prog", "map lookup caps",
	statsGetOwn, statsGetOwn + ", ACK", statsGetDriver, "prog-get", "caps-get", "",
	"BPF_LINK_CREATE, close", "RTM_SETLINK xdp on, off", attachNetlink, attachMap,
	"BPF_LINK_UPDATE", replaceNetlink, replaceMap,
}

// Slope is what one netdev more costs an iteration.
type Slope struct {
	Name string  `json:"name"`
	Lang string  `json:"lang"`
	From int     `json:"from"`
	To   int     `json:"to"`
	Cost float64 `json:"cost"`
}

// Target is what a figure must not exceed.
type Target struct {
	What  string  `json:"what"`
	Got   float64 `json:"got"`
	Limit float64 `json:"limit"`
	Met   bool    `json:"met"`
}

// Report is all that was measured on one kernel.
type Report struct {
	Release  string `json:"release"`
	CPUs     int    `json:"cpus"`
	RXQueues int    `json:"rx-queues"`
	TXQueues int    `json:"tx-queues"`

	Figures []*Figure `json:"figures"`
	Slopes  []Slope   `json:"slopes"`
	// ExceptionProbe is what the module costs an aborted frame, OtherFrames
	// what it costs one that is dropped.
	ExceptionProbe float64  `json:"exception-probe"`
	OtherFrames    float64  `json:"other-frames"`
	Targets        []Target `json:"targets"`
}

// add adds a figure, to that of an earlier round if there is one.
func (r *Report) add(f *Figure) {
	if old := r.find(f.Name, f.Lang, f.Netdevs); old.Batches != 0 {
		old.merge(f)
		return
	}
	r.Figures = append(r.Figures, f)
}

// find returns a figure, or an empty one that fails every target.
func (r *Report) find(name, lang string, netdevs int) *Figure {
	for _, f := range r.Figures {
		if f.Name == name && f.Lang == lang && f.Netdevs == netdevs {
			return f
		}
	}
	return &Figure{Min: math.NaN(), Allocs: math.NaN()}
}

// module is what the module costs a frame of this verdict: against the frames
// before it was loaded and after it was unloaded, whichever were dearer.
func (r *Report) module(verdict traffic.Verdict) float64 {
	cost := func(phase string) float64 { return r.frame(verdict, phase) }
	return cost(phaseLoaded) - math.Max(cost(phaseBefore), cost(phaseAfter))
}

// finish derives slopes and targets from the figures.
func (r *Report) finish() {
	r.ExceptionProbe, r.OtherFrames = r.module(traffic.Aborted), r.module(traffic.Drop)
	for _, name := range []string{linkDump, statsDump, mapIterate} {
		for _, lang := range []string{langC, langGo, langClient} {
			r.slope(name, lang, 10, 100)
			r.slope(name, lang, 100, 4000)
		}
	}

	hash, link := r.find(hashLookup, langC, 0).Min, r.find(getStats, langC, 0).Min
	r.target("map lookup of the module's own counters, to a hash map lookup", r.find(lookupOwn, langC, 0).Min, hash)
	r.target("map lookup with driver counters, to 1.5 hash map lookups", r.find(lookupDriver, langC, 0).Min, 1.5*hash)
	r.target("stats-get of the module's own counters, to RTM_GETSTATS", r.find(statsGetOwn, langC, 0).Min, link)
	r.target("stats-get with driver counters, to RTM_GETSTATS", r.find(statsGetDriver, langC, 0).Min, link)
	for _, s := range r.Slopes {
		if s.Name == statsDump && s.Lang == langC {
			r.target(fmt.Sprintf("stats-get dump, a netdev from %d to %d", s.From, s.To), s.Cost, 2000)
		}
	}
	for _, name := range []string{statsDump, mapIterate} {
		r.target(name+": difference of the slopes in %", r.bend(name), 10)
	}
	for _, name := range []string{lookupOwn, lookupDriver, statsGetOwn, statsGetDriver} {
		r.clientTargets(name, 0)
	}
	for _, name := range []string{statsDump, mapIterate} {
		r.clientTargets(name, 1000)
	}
	r.target("exception probe, an aborted frame", r.ExceptionProbe, 60)
	r.target("exception flood, an aborted frame with a listener beside one without",
		r.frame(traffic.Aborted, phaseHeard)-r.frame(traffic.Aborted, phaseLoaded), 20)
	r.transportTargets()
}

// iterationAllocs is what an iteration may allocate, however many entries it
// has.
const iterationAllocs = 3

// clientTargets holds a client against C, and its allocations against none, or
// of an iteration against those that it begins with.
func (r *Report) clientTargets(name string, netdevs int) {
	c, client := r.find(name, langC, netdevs), r.find(name, langClient, netdevs)
	r.target("Go client, "+name+", to 1.5 of C", client.Min, 1.5*c.Min)
	if netdevs == 0 {
		r.target("Go client, "+name+", allocations", client.Allocs, 0)
	} else {
		r.target("Go client, "+name+", allocations of an iteration", client.Allocs, iterationAllocs)
	}
}

func (r *Report) target(what string, got, limit float64) {
	if math.IsNaN(got) || math.IsNaN(limit) {
		return
	}
	r.Targets = append(r.Targets, Target{what, got, limit, got <= limit})
}

func (r *Report) slope(name, lang string, from, to int) {
	a, b := r.find(name, lang, from), r.find(name, lang, to)
	if b.Entries > a.Entries && a.Entries > 0 {
		cost := (b.Total() - a.Total()) / float64(b.Entries-a.Entries)
		r.Slopes = append(r.Slopes, Slope{name, lang, from, to, cost})
	}
}

// bend is by how many percent the slopes of an iteration in C differ.
func (r *Report) bend(name string) float64 {
	var cost []float64
	for _, s := range r.Slopes {
		if s.Name == name && s.Lang == langC {
			cost = append(cost, s.Cost)
		}
	}
	if len(cost) != 2 {
		return math.NaN()
	}
	return 100 * math.Abs(cost[1]/cost[0]-1)
}

func (r *Report) print(w io.Writer) {
	fmt.Fprintf(w, "Linux %s, %d CPU, veth with %d RX and %d TX queues\n", r.Release, r.CPUs, r.RXQueues, r.TXQueues)
	fmt.Fprintf(w, "guest instructions, the smallest of at least %d batches; %s take %s\n",
		batches, clock, number(r.find(clock, langC, 0).Min))
	r.printOnce(w)
	r.printIterate(w)
	r.printFrames(w)
	r.printTransports(w)
	r.printTargets(w)
}

func (r *Report) printTargets(w io.Writer) {
	met := 0
	fmt.Fprintf(w, "\n%-64s%9s%9s\n", "target", "at most", "is")
	for _, t := range r.Targets {
		verdict := "NOT MET"
		if t.Met {
			verdict = "met"
			met++
		}
		fmt.Fprintf(w, "%-64s%9s%9s  %s\n", t.What, number(t.Limit), number(t.Got), verdict)
	}
	fmt.Fprintf(w, "%d of %d targets met\n", met, len(r.Targets))
}

// frame is what a frame of this verdict takes in a phase.
func (r *Report) frame(v traffic.Verdict, phase string) float64 {
	return r.find(frameName(v, phase), langC, 0).Min
}

// printFrames prints what a frame takes in each phase, and what the phase adds.
func (r *Report) printFrames(w io.Writer) {
	row(w, "\n%-34s%9s%9s%9s%9s", "a frame into a veth", "aborted", "costs", "drop", "costs")
	for _, p := range phases {
		line := fmt.Sprintf("%-34s", p.name)
		for _, v := range frameVerdicts {
			costs := ""
			switch {
			case p.against != "":
				costs = number(r.frame(v, p.name) - r.frame(v, p.against))
			case p.name == phaseLoaded:
				costs = number(r.module(v))
			}
			line += fmt.Sprintf("%9s%9s", number(r.frame(v, p.name)), costs)
		}
		row(w, "%s", line)
	}
}

func (r *Report) printOnce(w io.Writer) {
	fmt.Fprintf(w, "\n%-34s%9s%9s%9s%8s%8s\n", "one netdev", "C", "raw Go", "client", "allocs", "spread")
	for _, name := range onceNames {
		if name == "" {
			fmt.Fprintln(w)
			continue
		}
		c, goRaw, client := r.find(name, langC, 0), r.find(name, langGo, 0), r.find(name, langClient, 0)
		spread := 0.0
		for _, f := range []*Figure{c, goRaw, client} {
			if f.Min > 0 {
				spread = max(spread, 100*(f.Median/f.Min-1))
			}
		}
		row(w, "%-34s%9s%9s%9s%8s%7.1f%%", name, number(c.Min), number(goRaw.Min), number(client.Min),
			number(client.Allocs), spread)
	}
	row(w, "spread: median over minimum, the largest of the three")
}

func (r *Report) printIterate(w io.Writer) {
	row(w, "\n%-34s%9s%9s%9s%9s%9s%10s%8s", "all netdevs, one of", number(10), number(100), number(1000),
		number(4000), "10-100", "100-4,000", "allocs")
	for _, name := range []string{linkDump, statsDump, mapIterate} {
		for _, lang := range []string{langC, langGo, langClient} {
			line := fmt.Sprintf("%-34s", name+", "+lang)
			found, allocs := false, math.NaN()
			for _, n := range []int{10, 100, 1000, 4000} {
				f := r.find(name, lang, n)
				found = found || f.Entries > 0
				if f.Entries > 0 && lang == langClient {
					allocs = f.Allocs
				}
				line += fmt.Sprintf("%9s", number(f.Min))
			}
			for _, s := range r.Slopes {
				if s.Name == name && s.Lang == lang {
					line += fmt.Sprintf("%9s", number(s.Cost))
				}
			}
			if found {
				row(w, "%s %8s", line, number(allocs))
			}
		}
	}
}

// row prints a line without blanks at its end.
func row(w io.Writer, format string, args ...any) {
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf(format, args...), " "))
}

// number rounds to an integer with commas between thousands; what is not known
// is empty.
func number(f float64) string {
	if math.IsNaN(f) {
		return ""
	}
	s := strconv.FormatInt(int64(math.Round(f)), 10)
	digits := strings.TrimPrefix(s, "-")
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return strings.TrimSuffix(s, strings.TrimPrefix(s, "-")) + digits
}
