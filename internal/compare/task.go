// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
	"github.com/xdpctl/xdpctl-nl/internal/rawsys"
)

// Operations, as [Cell] has them.
const (
	opLookup  = "lookup"
	opUpdate  = "update"
	opDelete  = "delete"
	opIterate = "iterate"
)

// task is the operation of a cell, by a function or by a step in C.
type task struct {
	cell  *Cell
	table table // nil of a peer
	way   *way  // nil of a peer

	op func() (int, error)
	// undo undoes what op changes.
	undo func() error
	// done releases what op needs.
	done func() error
	// another makes what one caller more does, with its done.
	another func() (func() (int, error), func() error, error)

	step, undoStep step
	inC            bool
	coarse         bool // only batches matter

	entries  int // of an iteration
	rounds   []*samples
	answered []entry // what was read, to be judged
}

func newTask(t table, w *way, layer Layer, op string) *task {
	return &task{
		cell:  &Cell{Type: t.name(), Op: op, Way: w.name, Layer: layer},
		table: t, way: w,
		done: func() error { return nil },
	}
}

// ofStep makes a task of system calls, in Go or in C.
func (t *task) ofStep(s, undo step, inC bool) (*task, error) {
	t.step, t.undoStep, t.inC = s, undo, inC
	if inC {
		return t, nil
	}
	do, done, err := s.open(nil)
	if err != nil {
		return nil, err
	}
	t.op, t.done = do, done
	if undo == nil {
		t.another = func() (func() (int, error), func() error, error) { return s.open(nil) }
		return t, nil
	}
	back, backDone, err := undo.open(nil)
	if err != nil {
		return nil, errors.Join(err, done())
	}
	t.undo = func() error { _, err := back(); return err }
	t.done = func() error { return errors.Join(done(), backDone()) }
	return t, nil
}

// once is a function that does one operation as one that iterates.
func once(f func() error) func() (int, error) {
	return func() (int, error) { return 1, f() }
}

// decode is what a step has read.
func decode(t table, s step, b []byte) (list []entry, err error) {
	switch s.(type) {
	case *message:
		for len(b) >= unix.SizeofNlMsghdr+4 {
			size := int(binary.NativeEndian.Uint32(b))
			if size < unix.SizeofNlMsghdr+4 || size > len(b) {
				return nil, fmt.Errorf("%s: message of %d bytes", t.name(), size)
			}
			e, err := t.fromAttrs(b[unix.SizeofNlMsghdr+4 : size])
			if err != nil {
				return nil, err
			}
			list = append(list, e)
			b = b[min((size+3)&^3, len(b)):]
		}
	default:
		k, v := t.desc().KeySize, t.desc().ValueSize
		for ; len(b) >= k+v; b = b[k+v:] {
			list = append(list, t.fromElem(b[:k], b[k:k+v]))
		}
	}
	return list, nil
}

// judgeRead holds what a reading task reads against what the client of the same
// way does.
func (t *task) judgeRead(r *replayer) error {
	got := t.answered
	if t.step != nil {
		var b []byte
		err := error(nil)
		if t.inC {
			b, err = r.show(t.step)
		} else {
			b, err = showInGo(t.step)
		}
		if err != nil {
			return err
		}
		if got, err = decode(t.table, t.step, b); err != nil {
			return err
		}
	}
	if t.step == nil && t.cell.Layer == Client {
		t.cell.Equal = true // by judge.reads
		return nil
	}
	var want []entry
	if t.cell.Op == opIterate {
		list, err := t.table.entries(t.way.control)
		if err != nil {
			return err
		}
		want = list
	} else {
		value, err := t.table.read(t.way.control)
		if err != nil {
			return err
		}
		want = []entry{{t.table.fromElem(t.table.elem(nil)).key, value}}
	}
	if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(want, got) {
		return fmt.Errorf("%s says %+v in %s, and %+v in %s", t.cell.Way, got, t.cell.Layer, want, Client)
	}
	t.cell.Equal = true
	return nil
}

func showInGo(s step) (b []byte, err error) {
	do, done, err := s.open(func(read []byte) { b = append(b, read...) })
	if err != nil {
		return nil, err
	}
	_, err = do()
	return b, errors.Join(err, done())
}

// do and back are the operation and its undoing, in Go or in C.
func (t *task) do(r *replayer) error {
	if t.inC {
		return r.repeat(1, t.step)
	}
	_, err := t.op()
	return err
}

func (t *task) back(r *replayer) error {
	if t.inC {
		return r.repeat(1, t.undoStep)
	}
	return t.undo()
}

// ownThread tells whether all is done by the thread that asks. A server in this
// process has others, and package genetlink waits for what its poller says, which
// for a thread that cannot be left costs twice as much.
func (t *task) ownThread() bool {
	return t.cell.Layer != Mdlayher && (t.way == nil || t.way.backend == backendModule)
}

// clock is what the task is measured by.
func (t *task) clock(unit string) clock {
	if unit != Instructions || t.undoStep == nil && t.undo == nil {
		return wall
	}
	if t.ownThread() {
		return clock{unix.CLOCK_THREAD_CPUTIME_ID}
	}
	c := clock{unix.CLOCK_PROCESS_CPUTIME_ID}
	for _, pid := range t.way.pids[1:] {
		c = append(c, processClock(pid))
	}
	return c
}

// measure measures the task once more.
func (t *task) measure(o *Options, r *replayer) error {
	s, err := t.sample(o, r)
	if err != nil {
		return err
	}
	t.rounds = append(t.rounds, s)
	return nil
}

func (t *task) sample(o *Options, r *replayer) (*samples, error) {
	w := &watch{clock: t.clock(o.Unit), budget: o.Budget, coarse: t.coarse, warm: len(t.rounds) > 0, long: longBatches, undo: t.undo,
		warmUp: min(warmUp, o.Budget)}
	if _, ok := t.step.(*counters); ok && o.Unit == Instructions {
		w.least = vmallocBatches
	}
	if t.way != nil && t.way.backend == backendNative {
		w.long = serverBatches
		if o.Unit == Instructions {
			w.collect, w.between = t.way.collect, t.coarse
		}
	}
	if library := t.cell.Layer == Mdlayher || t.cell.Layer == CiliumEBPF; library && o.Unit == Instructions {
		w.between = t.coarse
		if !w.warm && t.cell.Op == opLookup {
			w.warmUp = libraryWarmUp
		}
	}
	if t.inC {
		// To sleep costs time, but no instructions.
		spent := wall
		if o.Unit == Instructions {
			spent = clock{processClock(r.cmd.Process.Pid)}
		}
		start := spent.now()
		if err := t.do(r); err != nil {
			return nil, err
		}
		cost := float64(spent.now() - start)
		if t.undoStep != nil {
			if err := t.back(r); err != nil {
				return nil, err
			}
		}
		return r.measure(w, cost, t.step, t.undoStep)
	}
	if t.ownThread() {
		// The figures are of this thread, undisturbed. What a goroutine
		// waits for is not another thread's affair.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	w.op = func() error {
		n, err := t.op()
		t.entries = n
		return err
	}
	return w.measure()
}

// rateTime is how long callers call, if the budget is not less.
const rateTime = 200 * time.Millisecond

// callers are how many there are.
var callers = []int{1, 2, 8}

// rates counts operations a second, where there are seconds and more than one processor.
func (t *task) rates(o *Options) error {
	if t.another == nil || runtime.NumCPU() == 1 || o.Unit == Instructions {
		return nil
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU()))
	t.cell.Rates = make(map[int]float64)
	for _, n := range callers {
		rate, err := t.rate(n, min(rateTime, time.Duration(o.Budget)))
		if err != nil {
			return err
		}
		t.cell.Rates[n] = rate
	}
	return nil
}

func (t *task) rate(n int, d time.Duration) (float64, error) {
	var wg sync.WaitGroup
	var total atomic.Int64
	errs := make([]error, n)
	end := make(chan struct{})
	start := time.Now()
	for i := range n {
		op, done, err := t.another()
		if err != nil {
			errs[i] = err
			break
		}
		wg.Go(func() {
			count := int64(0)
			for err == nil && !closed(end) {
				_, err = op()
				count++
			}
			total.Add(count)
			errs[i] = errors.Join(err, done())
		})
	}
	time.Sleep(d)
	close(end)
	wg.Wait()
	return float64(total.Load()) / time.Since(start).Seconds(), errors.Join(errs...)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// countReps is how many operations are counted together.
const countReps = 10

// count counts the system calls of an operation and the bytes that it copies.
func (t *task) count(c *counter, r *replayer) error {
	pids, reps := []int{ownPID}, countReps
	if t.way != nil {
		pids = t.way.pids
	}
	if t.inC {
		return t.countInC(c, r)
	}
	undo := t.undo
	if len(t.rounds[0].Singles) < singles {
		reps = 2 // it is slow
	}
	op := func() error { n, err := t.op(); t.entries = n; return err }
	n, bytes, err := c.count(reps, pids, op, undo)
	if err != nil {
		return err
	}
	t.cell.SystemCalls = n
	t.cell.Sent, t.cell.Received = int(bytes.Sent), int(bytes.Received)
	return t.countBytes()
}

// countBytes has bytes from who knows them, where no message carries them.
func (t *task) countBytes() error {
	if t.way != nil && t.way.counted != nil {
		k := t.way.counted
		sent, received := k.sent.Load(), k.received.Load()
		if _, err := t.op(); err != nil {
			return err
		}
		t.cell.Sent, t.cell.Received = int(k.sent.Load()-sent), int(k.received.Load()-received)
		if t.undo != nil {
			return t.undo()
		}
		return nil
	}
	s := t.step
	if s == nil && t.way != nil && t.way.name == Map {
		s = mapStep(t)
	}
	if s == nil {
		return nil
	}
	if sent, received, ok := s.bytes(t.entries); ok {
		t.cell.Sent, t.cell.Received = sent, received
	}
	if _, ok := s.(*counters); ok {
		t.cell.NotMeasured = []string{"sent", "received"}
	}
	return nil
}

// mapStep is what a task at a map comes down to.
func mapStep(t *task) step {
	d := t.table.desc()
	key, value := t.table.elem(nil)
	switch t.cell.Op {
	case opLookup:
		return &elem{cmd: unix.BPF_MAP_LOOKUP_ELEM, key: key, value: value}
	case opUpdate:
		return &elem{cmd: unix.BPF_MAP_UPDATE_ELEM, key: key, value: value}
	case opDelete:
		return &elem{cmd: unix.BPF_MAP_DELETE_ELEM, key: key}
	}
	return &walk{keySize: d.KeySize, valueSize: d.ValueSize}
}

// countInC counts what the program in C does beside reading and answering a line.
func (t *task) countInC(c *counter, r *replayer) error {
	pid := r.cmd.Process.Pid
	if err := c.watch(pid); err != nil {
		return err
	}
	total := func(n int) (calls, error) {
		before, err := c.of(pid)
		if err != nil {
			return before, err
		}
		a, err := r.ask(fmt.Sprintf("repeat %d %s", n, t.step.line(r.fd)))
		if err != nil {
			return before, err
		}
		if n > 0 {
			t.entries = a.Entries
		}
		// It has answered, and may not yet have asked for more.
		sleep(10 * time.Millisecond)
		after, err := c.of(pid)
		return after.minus(before), err
	}
	if _, err := total(0); err != nil {
		return err
	}
	own, err := total(0)
	if err != nil {
		return err
	}
	got, err := total(1)
	if err != nil {
		return err
	}
	got = got.minus(own)
	t.cell.SystemCalls, t.cell.Sent, t.cell.Received = float64(got.Calls), int(got.Sent), int(got.Received)
	err = t.countBytes()
	if t.undoStep != nil {
		err = errors.Join(err, r.repeat(1, t.undoStep))
	}
	return errors.Join(err, c.forget(pid))
}

// settled tells whether two rounds agree on what the task costs.
func (t *task) settled() bool {
	_, ok := confirmed(t.cell.figures(t.rounds), limitOf(t.cell.Layer)*agreement)
	return ok
}

// finish writes what was measured into the cell.
func (t *task) finish() {
	t.cell.fill(t.rounds...)
}

// netlinkStep is an operation on a control type by the family.
func netlinkStep(t table, f *genl.Family, op string, ch *change, remote *change) step {
	d := t.desc()
	m := &message{protocol: unix.NETLINK_GENERIC}
	switch op {
	case opLookup:
		m.msg = rawsys.Genl(f.ID, 0, d.GetCmd, t.attrs(nil))
	case opIterate:
		m.msg = rawsys.Genl(f.ID, unix.NLM_F_DUMP, d.GetCmd, nil)
	case opUpdate:
		m.msg = rawsys.Genl(f.ID, unix.NLM_F_ACK, d.SetCmd, t.attrs(ch))
		m.remote = rawsys.Genl(f.ID, unix.NLM_F_ACK, d.SetCmd, t.attrs(remote))
	case opDelete:
		m.msg = rawsys.Genl(f.ID, unix.NLM_F_ACK, d.DelCmd, t.attrs(&change{}))
	}
	return m
}

// elemStep is the same by its control map.
func elemStep(t table, fd int, op string, ch *change, remote *change) step {
	switch op {
	case opLookup:
		key, value := t.elem(nil)
		return &elem{cmd: unix.BPF_MAP_LOOKUP_ELEM, fd: fd, key: key, value: value}
	case opUpdate:
		key, value := t.elem(ch)
		_, there := t.elem(remote)
		return &elem{cmd: unix.BPF_MAP_UPDATE_ELEM, fd: fd, key: key, value: value, remote: there, flags: uint64(ch.how)}
	case opDelete:
		key, _ := t.elem(&change{})
		return &elem{cmd: unix.BPF_MAP_DELETE_ELEM, fd: fd, key: key}
	}
	return &walk{fd, t.desc().KeySize, t.desc().ValueSize}
}
