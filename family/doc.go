// SPDX-License-Identifier: BSD-3-Clause

// Package family is the generic netlink family xdpctl: its types, its codecs,
// a client, and the interface [Control] that every door into the kernel's XDP
// control implements.
//
// XDP control is a handful of control types, each a table from a key to a
// value:
//
//	xdp-stats    StatsKey   -> Stats    counters of a netdev
//	xdp-qstats   QstatsKey  -> Qstats   counters of one RX queue
//	xdp-prog     ProgKey    -> Prog     programs attached to a netdev
//	xdp-caps     CapsKey    -> Caps     what XDP can do on a netdev
//
// Keys and values are laid out as the kernel lays out its structs, so that a
// pointer to one can be passed to bpf(2) as it is. Values begin with Present, a
// bit for each attribute: a field whose bit is not set is not known, which is
// not the same as 0. Setters set the bit, [Stats.Has] and its like ask for it:
//
//	var v family.Stats
//	if err := control.Stats().Lookup(ctx, &family.StatsKey{Ifindex: 2}, &v); err != nil {
//		return err
//	}
//	if v.Has(family.AttrStatsDrop) {
//		fmt.Println("dropped", v.Drop)
//	}
//
// Everything in files named zz_*.go is generated from xdpctl.yaml, which is a
// YNL specification of the family.
package family

//go:generate go run ../internal/specgen/cmd/specgen -spec xdpctl.yaml -root ..
