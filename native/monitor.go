// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/xdpctl/xdpctl-nl/bpf"
	"github.com/xdpctl/xdpctl-nl/family"
)

// exceptionInterval: no event of a kind, netdev and queue comes sooner than this
// after another.
const exceptionInterval = 100 * time.Millisecond

// excEvents is how many kinds of exceptions are told of.
const excEvents = excInvalid + 1

// excKey is struct monitor_key, excCount struct monitor_count of
// bpf/monitor.bpf.c.
type excKey struct{ Ifindex, Kind uint32 }

type excCount struct {
	Count          uint64
	ProgID, Action uint32
}

// monitor tells a subscription of the exceptions in the network namespace. It
// counts them by itself from when it was made, so that what it tells adds up.
type monitor struct {
	c    *Control
	coll *ebpf.Collection
	link link.Link
	ring *ringbuf.Reader
	tell func(family.Event)
	lose func()
	done sync.WaitGroup
	stop chan struct{} // closed at the end

	told   map[uint32]*excTold // by ifindex
	missed uint64              // that could not be counted
}

// excTold is what was told of a netdev.
type excTold struct {
	n     [excEvents]uint64
	meter *excMetered // nil while the meter is off
}

// excMetered is what was told of the counters of a meter.
type excMetered struct {
	missed bool        // something was told without the meter, so that told is out of date
	told   [][2]uint64 // by queue: aborted, invalid
}

// newMonitor begins to tell, and calls lose where something cannot be told. It
// runs on a thread in the network namespace.
func (c *Control) newMonitor(tell func(family.Event), lose func()) (m *monitor, err error) {
	m = &monitor{c: c, tell: tell, lose: lose, told: map[uint32]*excTold{}, stop: make(chan struct{})}
	defer func() {
		if err != nil {
			m.close()
			m, err = nil, fmt.Errorf("watch exceptions: %w", err)
		}
	}()
	spec, err := bpf.LoadMonitor(c.cookie)
	if err != nil {
		return m, err
	}
	if m.coll, err = ebpf.NewCollection(spec); err != nil {
		return m, err
	}
	if m.ring, err = ringbuf.NewReader(m.coll.Maps[bpf.MonitorRing]); err != nil {
		return m, err
	}
	// What a meter has counted before is not told.
	if err := m.begin(); err != nil {
		return m, err
	}
	m.link, err = link.AttachTracing(link.TracingOptions{Program: m.coll.Programs[bpf.MonitorProgram]})
	if err != nil {
		return m, err
	}
	m.done.Go(m.run)
	return m, nil
}

// begin takes down what the meters have counted.
func (m *monitor) begin() error {
	devs, err := m.c.state.devs()
	if err != nil {
		return err
	}
	for _, ifindex := range devs {
		meter, err := m.c.meterCounters(ifindex)
		if errors.Is(err, os.ErrNotExist) || err == nil && meter == nil {
			continue
		}
		if err != nil {
			return err
		}
		t := &excTold{meter: &excMetered{told: make([][2]uint64, len(meter.queues))}}
		for i, v := range meter.queues {
			t.meter.told[i] = [2]uint64{v.Aborted, v.Invalid}
		}
		m.told[ifindex] = t
	}
	return nil
}

func (m *monitor) close() {
	close(m.stop)
	if m.link != nil {
		m.link.Close()
	}
	if m.ring != nil {
		m.ring.Close() // ends run
	}
	m.done.Wait()
	if m.coll != nil {
		m.coll.Close()
	}
}

// run waits for exceptions and tells of them.
func (m *monitor) run() {
	var rec ringbuf.Record
	for {
		m.ring.SetDeadline(time.Time{})
		if m.ring.ReadInto(&rec) != nil {
			return
		}
		// Those that come at the same time are told together.
		m.ring.SetDeadline(time.Unix(1, 0))
		due := []excKey{}
		for err := error(nil); err == nil; err = m.ring.ReadInto(&rec) {
			if len(rec.RawSample) >= 8 {
				due = append(due, excKey{
					binary.NativeEndian.Uint32(rec.RawSample), binary.NativeEndian.Uint32(rec.RawSample[4:]),
				})
			}
		}
		if err := m.c.inNetNS(func() error { return m.collect(due) }); err != nil {
			m.lose()
		}
		select {
		case <-m.stop:
			return
		case <-time.After(exceptionInterval):
		}
	}
}

// collect tells of the netdevs of some keys.
func (m *monitor) collect(due []excKey) error {
	var devs []uint32
	for _, k := range due {
		// Whoever sees it awake has counted by now, or will be seen below;
		// see bpf/monitor.bpf.c.
		err := m.coll.Maps[bpf.MonitorAwake].Delete(k)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		devs = append(devs, k.Ifindex)
	}
	slices.Sort(devs)
	for _, ifindex := range slices.Compact(devs) {
		if err := m.collectDev(ifindex); err != nil {
			return err
		}
	}
	var lost uint64
	if err := m.coll.Maps[bpf.MonitorLost].Lookup(uint32(0), &lost); err != nil {
		return err
	}
	if lost != m.missed {
		m.missed = lost
		m.lose()
	}
	return nil
}

func (m *monitor) collectDev(ifindex uint32) error {
	t := m.told[ifindex]
	if t == nil {
		t = &excTold{}
		m.told[ifindex] = t
	}
	var total [excEvents]excCount
	for kind := range total {
		err := m.coll.Maps[bpf.MonitorCounts].Lookup(excKey{ifindex, uint32(kind)}, &total[kind])
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	if err := m.collectMeter(ifindex, t, &total); err != nil {
		return err
	}
	for kind := range total {
		if n := total[kind].Count; n > t.n[kind] {
			m.event(ifindex, &total[kind], family.QueueAll, n-t.n[kind])
			t.n[kind] = n
		}
	}
	return nil
}

// collectMeter tells by queue what the meter has counted. The tracepoint knows no
// queue. The meter counts a verdict before the tracepoint is reached, and is read
// after the counters of the monitor, so that for a while more may be told than
// those have. What is told adds up to them all the same: what the meter has not
// seen is told without a queue, and what it has counted while it could not be read
// is not told again.
func (m *monitor) collectMeter(ifindex uint32, t *excTold, total *[excEvents]excCount) error {
	on, err := m.c.isMetered(ifindex)
	if err != nil {
		return err
	}
	if !on {
		if t.meter != nil { // what it was ahead is not waited for
			t.meter = nil
			for kind := range total {
				t.n[kind] = min(t.n[kind], total[kind].Count)
			}
		}
		return nil
	}
	meter, err := m.c.meterCounters(ifindex)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if t.meter == nil {
		t.meter = &excMetered{}
	}
	if meter == nil {
		t.meter.missed = true
		return nil
	}
	for len(t.meter.told) < len(meter.queues) {
		t.meter.told = append(t.meter.told, [2]uint64{})
	}
	for queue, v := range meter.queues {
		for i, c := range []struct {
			kind  excKind
			count uint64
		}{{excAborted, v.Aborted}, {excInvalid, v.Invalid}} {
			if total[c.kind].Count == 0 {
				continue // of whose program nothing is known yet
			}
			told := &t.meter.told[queue][i]
			n := c.count - *told
			if c.count < *told {
				n = c.count // it was switched off and on
			}
			*told = c.count
			if n != 0 && !t.meter.missed {
				m.event(ifindex, &total[c.kind], uint32(queue), n)
				t.n[c.kind] += n
			}
		}
	}
	t.meter.missed = false
	return nil
}

// event tells of n exceptions.
func (m *monitor) event(ifindex uint32, last *excCount, queue uint32, n uint64) {
	v := new(family.Exception)
	v.SetIfindex(ifindex)
	v.SetProgID(last.ProgID)
	v.SetAction(last.Action)
	v.SetCount(n)
	if queue != family.QueueAll {
		v.SetQueue(queue)
	}
	m.tell(family.Event{Op: "exception-ntf", Value: v})
}
