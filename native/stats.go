// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"syscall"
	"unsafe"

	"github.com/xdpctl/xdpctl-nl/family"
)

// statsOps are the operations of control type xdp-stats.
func (c *Control) statsOps() ops[family.StatsKey, family.Stats] {
	return ops[family.StatsKey, family.Stats]{
		keys: func(_ context.Context, filter *family.StatsKey) ([]family.StatsKey, error) {
			return netdevKeys(c, filter, func(k *family.StatsKey) *uint32 { return &k.Ifindex })
		},
		lookup: c.statsLookup,
	}
}

// netdevKeys makes a key of each netdev, or of that of filter only. Ifindex is the
// member of a key.
func netdevKeys[K any](c *Control, filter *K, ifindex func(*K) *uint32) ([]K, error) {
	var only *uint32
	if filter != nil {
		only = ifindex(filter)
	}
	list, err := c.someNetdevs(only)
	keys := make([]K, len(list))
	for i, d := range list {
		*ifindex(&keys[i]) = d.index
	}
	return keys, err
}

// someNetdevs reads all netdevs, or one only, which need not be there.
func (c *Control) someNetdevs(only *uint32) ([]*netdev, error) {
	if only == nil {
		return c.netdevs()
	}
	d, err := c.netdev(*only)
	if errors.Is(err, syscall.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []*netdev{d}, nil
}

// statWords is a family.Stats or the beginning of one, a family.Qstats, as the
// numbers that it consists of: present, then the attributes in the order of their
// ids, from packets on.
type statWords []uint64

const (
	nStats  = unsafe.Sizeof(family.Stats{}) / 8
	nQstats = unsafe.Sizeof(family.Qstats{}) / 8
)

func wordsOf(v *family.Stats) statWords {
	return unsafe.Slice((*uint64)(unsafe.Pointer(v)), nStats)
}

func wordsOfQueue(v *family.Qstats) statWords {
	return unsafe.Slice((*uint64)(unsafe.Pointer(v)), nQstats)
}

func (w statWords) set(attr uint16, n uint64) {
	w[0] |= 1 << attr
	w[1+attr-family.AttrStatsPackets] = n
}

// put sets attributes that the driver knows. They are in the order of raw.
func (w statWords) put(c *counts) {
	for r := range rawExact {
		if countsHave(c, r) {
			w.set(family.AttrStatsPackets+uint16(r), c.n[r])
		}
	}
}

// putMeter puts what a meter has counted of a queue, or of all, in the place of
// what else is known of it, and returns which attributes those are.
func (w statWords) putMeter(m *meterCounters, queue uint32) (metered uint64) {
	v := &m.all
	if queue != family.QueueAll {
		v = &m.queues[queue]
	}
	set := func(attr uint16, n uint64) {
		w.set(attr, n)
		metered |= 1 << attr
	}
	set(family.AttrStatsAborted, v.Aborted)
	set(family.AttrStatsDrop, v.Drop)
	set(family.AttrStatsInvalid, v.Invalid)
	set(family.AttrStatsPass, v.Pass)
	set(family.AttrStatsRedirect, v.Redirect)
	set(family.AttrStatsTX, v.TX)
	set(family.AttrStatsPackets, v.Aborted+v.Drop+v.Invalid+v.Pass+v.Redirect+v.TX)
	return metered
}

func (c *Control) statsLookup(_ context.Context, k *family.StatsKey, v *family.Stats) error {
	d, err := c.netdev(k.Ifindex)
	if err != nil {
		return err
	}
	l, err := c.lookAt(d)
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.read(); err != nil {
		return err
	}
	counts := l.counts(noQueue)
	wordsOf(v).put(&counts)
	l.putOwn(v, &counts)
	meter, err := c.meterCounters(d.index)
	if err == nil && meter != nil {
		v.SetMetered(wordsOf(v).putMeter(meter, family.QueueAll))
	}
	return err
}

// putOwn sets what the probes count, but for what the driver knows.
func (l *look) putOwn(v *family.Stats, c *counts) {
	if l.exc == nil {
		return
	}
	var flags uint32
	if l.drv != nil {
		flags = l.drv.flags
	}
	for _, own := range []struct {
		raw  raw
		kind excKind
		all  bool // the probes see all of them
	}{
		{rawAborted, excAborted, flags&driverAbortedUntraced == 0},
		{rawInvalid, excInvalid, flags&driverInvalidUntraced == 0},
		{rawRedirectErrors, excRedirectErr, true},
		{rawTXErrors, excTX, flags&driverTXTraced != 0},
	} {
		if own.all && !countsHave(c, own.raw) {
			wordsOf(v).set(family.AttrStatsPackets+uint16(own.raw), l.exc.native[own.kind]+l.exc.generic[own.kind])
		}
	}
	all := func(k excKind) uint64 { return l.exc.native[k] + l.exc.generic[k] + l.exc.inMap[k] }
	v.SetExceptionAborted(all(excAborted))
	v.SetExceptionTX(all(excTX))
	v.SetExceptionRedirect(all(excRedirect))
	v.SetExceptionInvalid(all(excInvalid))
}
