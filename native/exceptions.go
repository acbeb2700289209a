// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
)

// traceLook is what the probes have seen of a netdev, beside exceptions.
type traceLook struct {
	rxQueues  uint32     // most that were in use at an exception
	witnessed *witnessed // nil: not known
}

// readExceptions reads what the probes have counted of the netdev. It stays
// unknown while they are not attached, or where not all could be counted.
func (l *look) readExceptions() error {
	if l.dir == nil {
		return nil
	}
	return l.c.traced(func(maps map[string]*ebpf.Map) error {
		var lost uint64
		if err := maps[bpf.ExceptionLost].Lookup(uint32(0), &lost); err != nil {
			return fmt.Errorf("read exception counters: %w", err)
		}
		if lost != 0 {
			return nil
		}
		key := uint64(l.dir.id)
		var cpus []excCounts
		err := maps[bpf.ExceptionCounts].Lookup(key, &cpus)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("read exception counters: %w", err)
		}
		l.exc = &exceptions{}
		for i := range cpus {
			l.addCPU(&cpus[i])
		}
		if l.drv == nil || l.drv.derive == nil {
			return nil
		}
		var w witnessed
		err = maps[pinWitness].Lookup(key, &w)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil
		}
		l.seen.witnessed = &w
		return err
	})
}

func (l *look) addCPU(c *excCounts) {
	for k := range excKinds {
		l.exc.native[k] += c.Native[k]
		l.exc.generic[k] += c.Generic[k]
		l.exc.inMap[k] += c.Map[k]
	}
	l.seen.rxQueues = max(l.seen.rxQueues, c.RXQueues)
}

// traceDev takes note of a netdev whose driver has counted nothing yet: from what
// it counts while exceptions are, more can be derived than from what it counted
// before. It is called before a program is attached, after traceOn, under the
// lock and on a thread in the network namespace.
func (c *Control) traceDev(ifindex uint32) error {
	d, err := c.netdev(ifindex)
	if err != nil {
		return ignoreGone(err)
	}
	if d.xdp.native != 0 {
		return nil // the probes may have missed some of a poll that still ran
	}
	l, err := c.lookAt(d)
	if err != nil {
		return ignoreGone(err)
	}
	defer l.close()
	if l.drv == nil || l.drv.derive == nil {
		return nil
	}
	if err := l.read(); err != nil {
		return err
	}
	if l.data == nil || l.exc == nil || l.allExceptions() ||
		!l.layout.zero(l.data) || l.exc.native != [excKinds]uint64{} {
		return nil
	}
	return c.traced(func(maps map[string]*ebpf.Map) error {
		w := witnessed{Asleep: timeAsleep(), RXQueues: l.rx}
		if err := maps[pinWitness].Put(uint64(l.dir.id), &w); err != nil {
			return fmt.Errorf("take note of netdev %d: %w", ifindex, err)
		}
		return nil
	})
}

// ignoreGone leaves it to the change that is to follow to say that the netdev is
// gone.
func ignoreGone(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
