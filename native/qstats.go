// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"syscall"

	"github.com/xdpctl/xdpctl-nl/family"
)

// qstatsOps are the operations of control type xdp-qstats.
func (c *Control) qstatsOps() ops[family.QstatsKey, family.Qstats] {
	return ops[family.QstatsKey, family.Qstats]{keys: c.qstatsKeys, lookup: c.qstatsLookup}
}

func (c *Control) qstatsKeys(_ context.Context, filter *family.QstatsKey) ([]family.QstatsKey, error) {
	var only *uint32
	if filter != nil {
		only = &filter.Ifindex
	}
	list, err := c.someNetdevs(only)
	if err != nil {
		return nil, err
	}
	var keys []family.QstatsKey
	for _, d := range list {
		n, err := c.queuesWithStats(d)
		if err != nil {
			return nil, err
		}
		for q := range n {
			keys = append(keys, family.QstatsKey{Ifindex: d.index, Queue: q})
		}
	}
	return keys, nil
}

// queuesWithStats is how many RX queues of a netdev have counters, as far as that
// can be told without reading them.
func (c *Control) queuesWithStats(d *netdev) (uint32, error) {
	meter, err := c.meterCounters(d.index)
	if err != nil {
		return 0, err
	}
	l, err := c.lookAt(d)
	if errors.Is(err, syscall.ENOENT) {
		return 0, nil // it is gone
	}
	if err != nil {
		return 0, err
	}
	defer l.close()
	n := l.nQueues()
	if meter != nil {
		n = max(n, l.rx)
	}
	return n, nil
}

func noSuchQueue() error { return refuse(syscall.ENOENT, "", "no such queue") }

func (c *Control) qstatsLookup(_ context.Context, k *family.QstatsKey, v *family.Qstats) error {
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
	// An exception tells no queue, so there are none of them.
	known := false
	if k.Queue != noQueue && hasQueue(&l.layout, k.Queue) {
		counts := l.counts(k.Queue)
		wordsOfQueue(v).put(&counts)
		known = l.data != nil
	}
	meter, err := c.meterCounters(d.index)
	if err != nil {
		return err
	}
	if meter != nil && k.Queue < min(l.rx, uint32(len(meter.queues))) {
		v.SetMetered(wordsOfQueue(v).putMeter(meter, k.Queue))
		known = true
	}
	if !known {
		return noSuchQueue()
	}
	return nil
}

// hasQueue tells whether a queue has counters, whatever they count.
func hasQueue(l *layout, queue uint32) bool {
	for _, s := range l.slots {
		if s.queue == queue && s.flags&counterRXQ != 0 {
			return true
		}
	}
	return false
}
