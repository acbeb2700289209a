// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/ethtool"
)

// noQueue stands for the whole netdev.
const noQueue = ^uint32(0)

// slot is where in a driver's list a counter is.
type slot struct {
	index int
	queue uint32 // or noQueue
	raw   raw
	flags uint8
}

// layout is a driver's list of counters, parsed.
type layout struct {
	slots   []slot
	nQueues uint32 // RX queues that have counters, counted from 0
}

// matchString tells whether s is as format says, and what the last number in it
// is.
func matchString(format, s string) (queue uint32, ok bool) {
	for {
		text, rest, number := strings.Cut(format, "%u")
		if s, ok = strings.CutPrefix(s, text); !ok {
			return 0, false
		}
		if !number {
			return queue, s == ""
		}
		format = rest
		s = strings.TrimLeft(s, " ")
		digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
		if digits == 0 {
			return 0, false
		}
		var n uint32
		for _, d := range s[:digits] {
			if n > 99999 {
				return 0, false
			}
			n = n*10 + uint32(d-'0')
		}
		queue, s = n, s[digits:]
	}
}

// parseLayout finds the known counters among a driver's strings.
func parseLayout(d *driver, strs []string) layout {
	var l layout
	var nth [rawMax]uint32
	for i, s := range strs {
		sl, ok := findCounter(d, s)
		if !ok {
			continue
		}
		sl.index = i
		if sl.flags&counterNth != 0 {
			sl.queue = nth[sl.raw]
			nth[sl.raw]++
		}
		if sl.flags&counterRXQ != 0 {
			l.nQueues = max(l.nQueues, sl.queue+1)
		}
		l.slots = append(l.slots, sl)
	}
	return l
}

func findCounter(d *driver, s string) (slot, bool) {
	for i := range d.counters {
		c := &d.counters[i]
		queue, ok := matchString(c.format, s)
		if !ok {
			continue
		}
		if !strings.Contains(c.format, "%u") {
			queue = noQueue
		}
		return slot{queue: queue, raw: c.raw, flags: c.flags}, true
	}
	return slot{}, false
}

// sum sums up counters by what they mean, those of an RX queue or, with noQueue,
// those of the whole netdev.
func (l *layout) sum(data []uint64, queue uint32) (c counts) {
	for _, s := range l.slots {
		if queue == noQueue {
			if s.flags&counterDev == 0 {
				continue
			}
		} else if s.queue != queue || s.flags&counterRXQ == 0 {
			continue
		}
		c.have |= bit(s.raw)
		c.n[s.raw] += data[s.index]
	}
	return c
}

// zero tells whether no counter has counted anything, of whatever meaning.
func (l *layout) zero(data []uint64) bool {
	return !slices.ContainsFunc(l.slots, func(s slot) bool { return data[s.index] != 0 })
}

// findDriver finds a driver in the table by what its netdevs hang on, or returns
// nil.
func findDriver(parent string) *driver {
	for i := range drivers {
		if drivers[i].parent == parent {
			return &drivers[i]
		}
	}
	return nil
}

// splitStrings splits what ethtool returns.
func splitStrings(b []byte) []string {
	var out []string
	for s := range slices.Chunk(b, ethtool.StringLen) {
		out = append(out, unix.ByteSliceToString(s))
	}
	return out
}
