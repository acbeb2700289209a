// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"context"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/spf13/cobra"

	"github.com/xdpctl/xdpctl-nl/family"
)

func (a *app) statsObject() *cobra.Command {
	return a.object("stats", "XDP statistics",
		"A counter that the driver does not have is left out; it is not 0.",
		a.statsShow(), a.statsWatch())
}

func (a *app) statsShow() *cobra.Command {
	var dev string
	var queues bool
	return a.command(spec{
		use:     "show [ dev IF ] [ queues ]",
		short:   "Show the XDP counters of netdevs",
		long:    "With -j, queues gives the counters of queues in place of those of netdevs.\nMetered says which counters are those of the meter, since it was switched on; see\nmeter set.",
		example: "xdpctl-nl stats show\nxdpctl-nl stats show dev eth0 queues\nxdpctl-nl -j stats show dev eth0",
		words: words{
			{name: "dev", arg: "IF", help: "of this netdev, a name or an ifindex", set: setString(&dev), complete: a.completeDev},
			{name: "queues", help: "of each RX queue too", set: setTrue(&queues)},
		},
		run: func(ctx context.Context) error { return a.showStats(ctx, dev, queues) },
	})
}

func (a *app) showStats(ctx context.Context, dev string, queues bool) error {
	ctl, err := a.control()
	if err != nil {
		return err
	}
	var filter *family.StatsKey
	var qfilter *family.QstatsKey
	if dev != "" {
		index, err := a.ifindex(dev)
		if err != nil {
			return err
		}
		filter, qfilter = &family.StatsKey{Ifindex: index}, &family.QstatsKey{Ifindex: index}
	}
	if queues && a.asJSON() {
		return printEntries(ctx, a, ctl.Qstats(), qfilter, nil)
	}
	return printEntries(ctx, a, ctl.Stats(), filter, func(e *family.Entry[family.StatsKey, family.Stats]) error {
		a.printf("%s\n", a.label(e.Key.Ifindex))
		a.printCounters("    ", countersOf(family.CtrlTypeXDPStats, &e.Value), "")
		a.printMetered("    ", e.Value.Metered)
		if !queues {
			return nil
		}
		return a.printQueues(ctx, ctl, e.Key.Ifindex)
	})
}

// printQueues prints the counters of all queues of a netdev.
func (a *app) printQueues(ctx context.Context, ctl family.Control, ifindex uint32) error {
	for q, err := range family.All(ctx, ctl.Qstats(), &family.QstatsKey{Ifindex: ifindex}) {
		if err != nil {
			return err
		}
		a.printf("    queue %d:\n", q.Key.Queue)
		a.printCounters("        ", countersOf(family.CtrlTypeXDPQstats, &q.Value), "")
		a.printMetered("        ", q.Value.Metered)
	}
	return nil
}

// printMetered prints which counters are the meter's.
func (a *app) printMetered(indent string, metered uint64) {
	var names []string
	for _, id := range family.PresentAttrs(metered) {
		names = append(names, family.AttrSetStats.AttrName(id))
	}
	if names != nil {
		a.printf("%sMetered:   %s\n", indent, strings.Join(names, " "))
	}
}

func (a *app) statsWatch() *cobra.Command {
	var dev string
	interval, count := time.Second, 0
	return a.command(spec{
		use:     "watch [ dev IF ] [ interval SECONDS ] [ count N ]",
		short:   "Show the rates of XDP counters again and again",
		long:    "Rates are per second. With -j each interval is an object on a line of its own.",
		example: "xdpctl-nl stats watch dev eth0\nxdpctl-nl -j stats watch interval 0.5 count 10",
		words: words{
			{name: "dev", arg: "IF", help: "of this netdev, a name or an ifindex", set: setString(&dev), complete: a.completeDev},
			{name: "interval", arg: "SECONDS", help: "time between two looks, 1 if not given", set: setSeconds(&interval)},
			{name: "count", arg: "N", help: "end after so many intervals", set: setNumber(&count, 1, math.MaxInt32)},
		},
		run: func(ctx context.Context) error { return a.watchStats(ctx, dev, interval, count) },
	})
}

// watchStats prints rates until ctx is done, which is no error.
func (a *app) watchStats(ctx context.Context, dev string, interval time.Duration, count int) error {
	ctl, err := a.control()
	if err != nil {
		return err
	}
	var filter *family.StatsKey
	if dev != "" {
		index, err := a.ifindex(dev)
		if err != nil {
			return err
		}
		filter = &family.StatsKey{Ifindex: index}
	}
	before, err := a.sample(ctx, ctl, filter)
	if err != nil {
		return err
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n := 0; count == 0 || n < count; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		after, err := a.sample(ctx, ctl, filter)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := a.printRates(before, after); err != nil {
			return err
		}
		before = after
	}
	return nil
}

// sample is all counters at one time, by netdev.
type sample struct {
	at    time.Time
	order []uint32
	devs  map[uint32][]counter
}

func (a *app) sample(ctx context.Context, ctl family.Control, filter *family.StatsKey) (*sample, error) {
	s := &sample{at: a.now(), devs: map[uint32][]counter{}}
	for e, err := range family.All(ctx, ctl.Stats(), filter) {
		if err != nil {
			return nil, err
		}
		s.order = append(s.order, e.Key.Ifindex)
		s.devs[e.Key.Ifindex] = countersOf(family.CtrlTypeXDPStats, &e.Value)
	}
	return s, nil
}

func (a *app) printRates(before, after *sample) error {
	seconds := after.at.Sub(before.at).Seconds()
	if a.asJSON() {
		rates := []ordered{}
		for _, index := range after.order {
			if cs := ratesOf(before.devs[index], after.devs[index], seconds); cs != nil {
				rates = append(rates, append(ordered{{"ifindex", index}}, membersOf(cs)...))
			}
		}
		return a.printJSON(ordered{{"time", stamp(after.at)}, {"interval", round(seconds)}, {"rates", rates}})
	}
	a.printf("[%s] %.3f s\n", stamp(after.at), seconds)
	for _, index := range after.order {
		if cs := ratesOf(before.devs[index], after.devs[index], seconds); cs != nil {
			a.printf("%s\n", a.label(index))
			a.printCounters("    ", cs, "/s")
		}
	}
	return nil
}

// counter is a counter, or the rate of one, under the spec's name.
type counter struct {
	name  string
	n     uint64
	rate  float64
	rated bool
}

func (c *counter) String() string {
	if c.rated {
		return strconv.FormatFloat(c.rate, 'f', -1, 64)
	}
	return strconv.FormatUint(c.n, 10)
}

// countersOf are the counters that are present in a value, in the order of the
// spec, whatever counters that has.
func countersOf[V any](t family.CtrlType, v *V) []counter {
	d := t.Desc()
	b := unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
	present := binary.NativeEndian.Uint64(b)
	var cs []counter
	for _, f := range d.Fields {
		if !f.Key && f.Size == 8 && f.Attr != family.AttrStatsMetered && present&(1<<f.Attr) != 0 {
			cs = append(cs, counter{name: d.Set.AttrName(f.Attr), n: binary.NativeEndian.Uint64(b[f.Offset:])})
		}
	}
	return cs
}

// ratesOf are the rates of what was counted at both times. A counter that went
// back was reset, so nothing is known of its rate. Nil if the netdev was not
// there before.
func ratesOf(before, after []counter, seconds float64) []counter {
	if before == nil || seconds <= 0 {
		return nil
	}
	old := map[string]uint64{}
	for _, c := range before {
		old[c.name] = c.n
	}
	rates := []counter{}
	for _, c := range after {
		if n, ok := old[c.name]; ok && c.n >= n {
			rates = append(rates, counter{name: c.name, rate: round(float64(c.n-n) / seconds), rated: true})
		}
	}
	return rates
}

// membersOf are counters as members of a JSON object.
func membersOf(cs []counter) ordered {
	var o ordered
	for _, c := range cs {
		if c.rated {
			o = append(o, member{c.name, c.rate})
		} else {
			o = append(o, member{c.name, c.n})
		}
	}
	return o
}

// round keeps three decimals.
func round(f float64) float64 { return math.Round(f*1000) / 1000 }

// stamp is a time as ip(8) stamps lines with -ts.
func stamp(t time.Time) string { return t.Format("2006-01-02T15:04:05.000000") }
