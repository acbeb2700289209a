// SPDX-License-Identifier: BSD-3-Clause

package native

import "math/bits"

//go:generate go run ../internal/drvgen/cmd/drvgen ../kmod zz_drvtable.go

// What the table of drivers is made of; kmod/drvtable.c has the same. The
// generator notices when that changes.

// raw is what a counter of a driver counts. Those before rawExact mean exactly
// what the attribute of the same name says. Attributes are derived from the
// others, or nothing is: the table of a driver says what is in them.
type raw uint8

// counts are counters by what they count.
type counts struct {
	have  uint32 // bit n is set if n is known
	lower uint32 // bit n is set if n may be too low by frames in hand, and never too high
	n     [rawMax]uint64
}

// counter is a counter of a driver.
type counter struct {
	format string // its string; %u is a number, the last one the queue, blanks before it allowed
	raw    raw
	flags  uint8 // counter*
}

// driver is what is known of a driver's counters.
type driver struct {
	name     string    // as ethtool -i says
	parent   string    // driver of the parent device, or kind of the link
	counters []counter // nil: none is of use
	flags    uint32    // driver*
	derive   func(c *counts, w *witness)
}

// witness is what derive may rest on beside the counters.
type witness struct {
	exc      *exceptions // of the netdev, read after the counters; nil: none are known
	all      bool        // exc has all since the counters were 0
	redirect bool        // failed redirects are among them
	allSeen  bool        // every frame that was counted has met a program
	dev      *counts     // of the whole netdev, for those of a queue; else nil
	oneQueue bool        // the netdev was made with one RX queue
}

// excKind is what went wrong.
type excKind uint8

const (
	excAborted excKind = iota
	excTX
	excRedirect
	excInvalid
	excRedirectErr
	excKinds
)

// exceptions are the exceptions of a netdev, by whose program they come from.
type exceptions struct {
	native, generic [excKinds]uint64
	inMap           [excKinds]uint64 // of an entry of a devmap or cpumap
}

func bit[T raw | excKind](n T) uint32 { return 1 << n }

func countsHave(c *counts, r raw) bool { return c.have&bit(r) != 0 }

func countsSet(c *counts, r raw, n uint64) {
	c.have |= bit(r)
	c.n[r] = n
}

// excKnown counts the native exceptions of kinds that are in the counters. An
// exception tells no queue, and the last of a generic program may pass for native
// ones, so there must be none of them.
func excKnown(w *witness, kinds uint32, n *uint64) bool {
	*n = 0
	if !w.all || w.exc == nil || kinds&bit(excRedirectErr) != 0 && !w.redirect {
		return false
	}
	var generic uint64
	for k := range excKinds {
		if kinds&bit(k) != 0 {
			*n += w.exc.native[k]
			generic += w.exc.generic[k]
		}
	}
	return generic == 0 && (w.dev == nil || w.oneQueue || *n == 0)
}

// deriveLess is from less the exceptions of kinds. An exception is traced before
// its frame is counted, and the counters were read first: so the difference is
// never too high, and too low only by frames in hand.
func deriveLess(c *counts, w *witness, to, from raw, kinds uint32) {
	var n uint64
	if !countsHave(c, from) || !excKnown(w, kinds, &n) {
		return
	}
	countsSet(c, to, c.n[from]-min(n, c.n[from]))
	c.lower |= bit(to)
}

// deriveDiff is from less less, which are counted together.
func deriveDiff(c *counts, to, from, less raw) {
	if countsHave(c, from) && countsHave(c, less) {
		countsSet(c, to, c.n[from]-min(c.n[less], c.n[from]))
	}
}

// sumOf sums up counters that are known.
func sumOf(c *counts, mask uint32) (n uint64) {
	for ; mask != 0; mask &= mask - 1 {
		n += c.n[bits.TrailingZeros32(mask)]
	}
	return n
}

// derivePackets is for drivers where each frame that meets a program ends in
// exactly one counter of mask.
func derivePackets(c *counts, mask uint32) {
	if c.have&mask == mask {
		countsSet(c, rawPackets, sumOf(c, mask))
	}
}

// derivePass is for drivers where each of total that is in none of mask has
// passed.
func derivePass(c *counts, total raw, mask uint32) {
	if !countsHave(c, total) || c.have&mask != mask {
		return
	}
	countsSet(c, rawPass, c.n[total]-min(sumOf(c, mask), c.n[total]))
}
