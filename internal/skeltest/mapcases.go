// SPDX-License-Identifier: BSD-3-Clause

package skeltest

import (
	"errors"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"github.com/xdpctl/xdpctl-nl/skel"
)

// flowOfProgram is the key that the program uses.
var flowOfProgram = MapTypesFlow{Address: 0x7f000001, Port: 80}

func loadMaps(t *testing.T) *MapTypes {
	t.Helper()
	s := ok(OpenAndLoadMapTypes(nil))(t)
	closing(t, s)
	return s
}

func useMaps(t *testing.T, s *MapTypes) uint32 {
	t.Helper()
	return run(t, s.Programs.UseMaps.Prog)
}

func testMaps(t *testing.T, _ *kernel) {
	s := loadMaps(t)
	_, err := s.Maps.Flows.Get(flowOfProgram)
	fails(t, "get", err, ebpf.ErrKeyNotExist)
	useMaps(t, s)
	equal(t, "flow", ok(s.Maps.Flows.Get(flowOfProgram))(t), MapTypesCounters{Packets: 1, Last: 6})
	must(t, s.Maps.Flows.Put(flowOfProgram, MapTypesCounters{Packets: 10}))
	must(t, s.Maps.Slots.Put(0, 100))
	useMaps(t, s)
	equal(t, "flow", ok(s.Maps.Flows.Get(flowOfProgram))(t), MapTypesCounters{Packets: 11, Last: 5})
	equal(t, "slot", ok(s.Maps.Slots.Get(0))(t), 103)

	other := MapTypesFlow{Address: 1, Port: 2}
	fails(t, "set what is not there", s.Maps.Flows.Set(other, MapTypesCounters{}, ebpf.UpdateExist), ebpf.ErrKeyNotExist)
	must(t, s.Maps.Flows.Put(other, MapTypesCounters{Last: 3}))
	seen := map[uint32]uint32{}
	for e, err := range s.Maps.Flows.All() {
		must(t, err)
		seen[e.Key.Address] = e.Value.Last
	}
	equal(t, "all flows", seen, map[uint32]uint32{0x7f000001: 5, 1: 3})
	n := 0
	for _, err := range s.Maps.Slots.All() {
		must(t, err)
		if n++; n == 2 {
			break
		}
	}
	equal(t, "slots until two", n, 2)
	must(t, s.Maps.Flows.Delete(other))
	fails(t, "delete", s.Maps.Flows.Delete(other), ebpf.ErrKeyNotExist)

	must(t, s.Maps.Routes.Put(MapTypesPrefix{Bits: 8, Address: [4]uint8{10}}, 7))
	equal(t, "route", ok(s.Maps.Routes.Get(MapTypesPrefix{Bits: 32, Address: [4]uint8{10, 1, 2, 3}}))(t), 7)
	must(t, s.Maps.BySize.Put([6]byte{1}, [3]byte{2}))
	equal(t, "by size", ok(s.Maps.BySize.Get([6]byte{1}))(t), [3]byte{2})
}

func testPerCPU(t *testing.T, _ *kernel) {
	s := loadMaps(t)
	cpus := ebpf.MustPossibleCPU()
	must(t, s.Maps.ByCpu.Put(0, []MapTypesCounters{{Packets: 10}}))
	must(t, s.Maps.FlowsByCpu.Put(flowOfProgram, make([]uint32, cpus)))
	useMaps(t, s)
	sum := func(values []MapTypesCounters) (n uint64) {
		for _, v := range values {
			n += v.Packets
		}
		return n
	}
	values := ok(s.Maps.ByCpu.Get(0))(t)
	equal(t, "CPUs", len(values), cpus)
	equal(t, "packets", sum(values), 11)
	n := 0
	for e, err := range s.Maps.FlowsByCpu.All() {
		must(t, err)
		equal(t, "key", e.Key, flowOfProgram)
		for _, v := range e.Value {
			n += int(v)
		}
	}
	equal(t, "flows", n, 1)
	must(t, s.Maps.FlowsByCpu.Delete(flowOfProgram))
	_, err := s.Maps.FlowsByCpu.Get(flowOfProgram)
	fails(t, "get", err, ebpf.ErrKeyNotExist)
}

func testRecords(t *testing.T, _ *kernel) {
	s := loadMaps(t)
	events := ok(s.Maps.Events.Reader())(t)
	untyped := ok(s.Maps.Untyped.Reader())(t)
	perf := ok(s.Maps.Perf.Reader(4096))(t)
	useMaps(t, s)
	soon := time.Now().Add(10 * time.Second)
	events.SetDeadline(soon)
	untyped.SetDeadline(soon)
	perf.SetDeadline(soon)
	want := MapTypesEvent{Number: 12, Text: [8]byte{'h', 'e', 'l', 'l', 'o'}}
	equal(t, "event", ok(events.Read())(t), want)
	ok(untyped.Read())(t)
	equal(t, "untyped record", string(untyped.Raw()), "raw\x00")
	_, lost, err := perf.Read()
	must(t, err)
	equal(t, "lost", lost, 0)
	if len(perf.Raw()) < 16 || perf.Raw()[0] != 12 {
		t.Errorf("perf record %x", perf.Raw())
	}

	// Close of the skeleton ends reading.
	done := make(chan error)
	events.SetDeadline(time.Time{})
	go func() {
		_, err := events.Read()
		done <- err
	}()
	must(t, s.Close())
	fails(t, "read after close", <-done, ringbuf.ErrClosed)
	must(t, events.Close())
}

func testQueues(t *testing.T, _ *kernel) {
	s := loadMaps(t)
	must(t, s.Maps.Queue.Push(9))
	useMaps(t, s)
	equal(t, "peek", ok(s.Maps.Queue.Peek())(t), 9)
	equal(t, "pop", ok(s.Maps.Queue.Pop())(t), 9)
	equal(t, "pop of the program", ok(s.Maps.Queue.Pop())(t), 1)
	_, err := s.Maps.Queue.Pop()
	fails(t, "pop of nothing", err, ebpf.ErrKeyNotExist)
	equal(t, "stack", ok(s.Maps.Stack.Pop())(t), MapTypesCounters{Packets: 1, Last: 6})
}

func testInner(t *testing.T, _ *kernel) {
	s := loadMaps(t)
	useMaps(t, s)
	first := ok(s.Maps.Outer.Get(0))(t)
	defer first.Close()
	equal(t, "inner map of the object", ok(first.Get(0))(t), MapTypesCounters{Packets: 1, Last: 77})
	equal(t, "the same map", ok(s.Maps.FirstInner.Get(0))(t), MapTypesCounters{Packets: 1, Last: 77})
	_, err := s.Maps.Outer.Get(1)
	fails(t, "get of nothing", err, ebpf.ErrKeyNotExist)

	mine := ok(s.Maps.OuterHash.New())(t)
	defer mine.Close()
	must(t, mine.Put(0, MapTypesCounters{Packets: 50}))
	must(t, s.Maps.OuterHash.Put(flowOfProgram, mine))
	useMaps(t, s)
	equal(t, "inner map of one's own", ok(mine.Get(0))(t), MapTypesCounters{Packets: 51, Last: 77})
	must(t, s.Maps.OuterHash.Delete(flowOfProgram))
	useMaps(t, s)
	equal(t, "inner map taken out", ok(mine.Get(0))(t).Packets, 51)
	fails(t, "put what is not loaded", s.Maps.Outer.Put(1, new(skel.Map[uint32, MapTypesCounters])), skel.ErrNotLoaded)
}

func testProgArray(t *testing.T, _ *kernel) {
	s := loadMaps(t)
	equal(t, "verdict", useMaps(t, s), xdpTx)
	equal(t, "jumped", s.Bss.Jumped.Load(), 1)
	s.Bss.JumpTo = 1
	equal(t, "verdict of an empty entry", useMaps(t, s), xdpPass)
	must(t, s.Maps.Jumps.Put(1, &s.Programs.OtherTarget.Program))
	equal(t, "verdict", useMaps(t, s), xdpDrop)
	equal(t, "jumped", s.Bss.Jumped.Load(), 101)
	must(t, s.Maps.Jumps.Delete(1))
	equal(t, "verdict of a deleted entry", useMaps(t, s), xdpPass)

	// A program that is not loaded is not in the array.
	without := ok(OpenMapTypes())(t)
	closing(t, without)
	without.Programs.Target.Autoload = false
	must(t, without.Load(nil))
	equal(t, "verdict without the program", useMaps(t, without), xdpPass)
	if without.Programs.Target.Prog != nil {
		t.Error("the program was loaded")
	}
	if err := without.Maps.Jumps.Put(0, &without.Programs.Target.Program); !errors.Is(err, skel.ErrNotLoaded) {
		t.Errorf("put what is not loaded: %v", err)
	}
}
