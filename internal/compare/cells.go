// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"

	"github.com/xdpctl/xdpctl-nl/family"
)

// layersOf are the layers that there are of a way.
func layersOf(w Way) []Layer {
	switch w {
	case Netlink:
		return []Layer{RawC, RawGo, Client, Mdlayher}
	case Map:
		return []Layer{RawC, RawGo, Client, CiliumEBPF}
	}
	return []Layer{Client}
}

// skip adds a cell that is not measured.
func (r *runner) skip(typ, op string, w Way, l Layer, why string) {
	r.result.Cells = append(r.result.Cells, &Cell{Type: typ, Op: op, Way: w, Layer: l, Skipped: why})
}

// noC is why there is nothing in C.
const noC = "no program in C was given: build/bench-c"

// missing is why a layer of a way is not there, empty if it is.
func (r *runner) missing(w *way, l Layer) string {
	switch {
	case w != nil && w.skipped != "":
		return w.skipped
	case l == RawC && r.o.C == "":
		return noC
	}
	return ""
}

// changeCells measures updates and deletes of a control type, where they are
// supported.
func (r *runner) changeCells(t table, ch change, unsupported map[refusal]error) error {
	var tasks []*task
	for _, w := range r.ways.list {
		for _, l := range layersOf(w.name) {
			for _, op := range []string{opUpdate, opDelete} {
				why := r.missing(w, l)
				if refused := unsupported[refusal{t.name(), w.backend}]; refused != nil && why == "" {
					why = refused.Error()
				}
				if why != "" {
					r.skip(t.name(), op, w.name, l, why)
					continue
				}
				task, err := r.changeTask(t, w, l, op, ch)
				if err != nil {
					return errors.Join(err, closeTasks(tasks))
				}
				tasks = append(tasks, task)
			}
		}
	}
	// Each begins where the entry is as its operation wants it.
	err := r.measureChanges(t, ch, tasks)
	return errors.Join(err, closeTasks(tasks))
}

// measureChanges judges and measures updates, then deletes, for which the entry
// has to be there.
func (r *runner) measureChanges(t table, ch change, tasks []*task) error {
	for _, backend := range []string{backendModule, backendNative} {
		for _, op := range []string{opUpdate, opDelete} {
			var some []*task
			for _, task := range tasks {
				if task.way.backend == backend && task.cell.Op == op {
					some = append(some, task)
				}
			}
			if len(some) == 0 {
				continue
			}
			if err := r.measureSome(t, ch, some, op == opDelete); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *runner) measureSome(t table, ch change, tasks []*task, there bool) (err error) {
	w := tasks[0].way
	set, del := t.change(w.control, ch), t.change(w.control, change{})
	states := make([]any, 2) // without and with the entry
	if states[0], err = r.judge.state(t, w); err != nil {
		return err
	}
	if err := set(); err != nil {
		return err
	}
	if states[1], err = r.judge.state(t, w); err != nil {
		return errors.Join(err, del())
	}
	at := 1
	if !there {
		at = 0
		if err := del(); err != nil {
			return err
		}
	} else {
		defer func() { err = errors.Join(err, del()) }()
	}
	for _, task := range tasks {
		if err := r.judgeChange(task, states[1-at], states[at]); err != nil {
			return task.failed(err)
		}
	}
	return r.measureAll(tasks)
}

// judgeChange wants a task to make of the entry what the client does.
func (r *runner) judgeChange(t *task, after, before any) error {
	for _, step := range []struct {
		do   func(*replayer) error
		want any
	}{{t.do, after}, {t.back, before}} {
		if err := step.do(r.c); err != nil {
			return err
		}
		got, err := r.judge.state(t.table, t.way)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(got, step.want) {
			return fmt.Errorf("the entry is %+v, and %+v where %s did it", got, step.want, Client)
		}
	}
	t.cell.Equal = true
	return nil
}

// changeTask is an update or a delete, undone by the other.
func (r *runner) changeTask(t table, w *way, l Layer, op string, ch change) (*task, error) {
	task := newTask(t, w, l, op)
	remote := ch
	if there, ok := t.set(firstExtra); ok {
		remote = there
	}
	other := map[string]string{opUpdate: opDelete, opDelete: opUpdate}[op]
	switch {
	case (l == RawC || l == RawGo) && w.name == Netlink:
		f := r.ways.family.Family()
		return task.ofStep(netlinkStep(t, f, op, &ch, &remote), netlinkStep(t, f, other, &ch, &remote), l == RawC)
	case l == RawC || l == RawGo:
		fd := r.ways.maps.Map(t.desc().Type).FD()
		return task.ofStep(elemStep(t, fd, op, &ch, &remote), elemStep(t, fd, other, &ch, &remote), l == RawC)
	}
	set, del, done, err := r.changers(t, w, l, ch)
	if err != nil {
		return nil, err
	}
	task.done = done
	task.op, task.undo = once(set), del
	if op == opDelete {
		task.op, task.undo = once(del), set
	}
	return task, nil
}

// changers set and delete by a library.
func (r *runner) changers(t table, w *way, l Layer, ch change) (set, del, done func() error, err error) {
	nothing := func() error { return nil }
	switch l {
	case CiliumEBPF:
		m := r.ways.maps.Map(t.desc().Type)
		return t.mapChange(m, ch), t.mapChange(m, change{}), nothing, nil
	case Mdlayher:
		c, err := r.mdlayher()
		if err != nil {
			return nil, nil, nil, err
		}
		d := t.desc()
		// A set is replied to, and its acknowledgement would be taken for
		// the answer to what comes next.
		return c.executor(d.SetCmd, 0, t.attrs(&ch), nil), c.executor(d.DelCmd, netlink.Acknowledge, t.attrs(&change{}), nil), c.Close, nil
	}
	return t.change(w.control, ch), t.change(w.control, change{}), nothing, nil
}

// mdlayher is a connection of package genetlink, as it comes.
type mdlayher struct {
	*genetlink.Conn
	family uint16
}

func (r *runner) mdlayher() (*mdlayher, error) {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return nil, err
	}
	return &mdlayher{c, r.ways.family.Family().ID}, nil
}

// executor is one Execute. Each is called with the attributes of what is answered,
// unless it is nil.
func (c *mdlayher) executor(cmd uint8, flags netlink.HeaderFlags, attrs []byte, each func([]byte) error) func() error {
	m := genetlink.Message{Header: genetlink.Header{Command: cmd, Version: family.FamilyVersion}, Data: attrs}
	return func() error {
		msgs, err := c.Execute(m, c.family, netlink.Request|flags)
		for i := range msgs {
			if each != nil && err == nil {
				err = each(msgs[i].Data)
			}
		}
		return err
	}
}

// readTasks are lookups and iterations, judged, with those of peers.
func (r *runner) readTasks(p *peers) (tasks []*task, err error) {
	for _, t := range r.tables {
		for _, w := range r.ways.list {
			for _, l := range layersOf(w.name) {
				for _, op := range []string{opLookup, opIterate} {
					if why := r.missing(w, l); why != "" {
						r.skip(t.name(), op, w.name, l, why)
						continue
					}
					task, err := r.readTask(t, w, l, op)
					if err != nil {
						return tasks, err
					}
					tasks = append(tasks, task)
					if err := r.judgeRead(task); err != nil {
						return tasks, task.failed(err)
					}
				}
			}
		}
	}
	more, err := r.peerTasks(p)
	return append(tasks, more...), err
}

// judgeRead judges what a task reads. What a library reads is kept while it is
// judged.
func (r *runner) judgeRead(t *task) error {
	if t.step != nil || t.cell.Layer == Client {
		return t.judgeRead(r.c)
	}
	t.answered = nil
	op, done, err := r.library(t.table, t.cell.Layer, t.cell.Op, func(e entry) { t.answered = append(t.answered, e) })
	if err != nil {
		return err
	}
	if _, err := op(); err != nil {
		return errors.Join(err, done())
	}
	return errors.Join(t.judgeRead(nil), done())
}

func (r *runner) readTask(t table, w *way, l Layer, op string) (*task, error) {
	task := newTask(t, w, l, op)
	switch {
	case (l == RawC || l == RawGo) && w.name == Netlink:
		return task.ofStep(netlinkStep(t, r.ways.family.Family(), op, nil, nil), nil, l == RawC)
	case l == RawC || l == RawGo:
		return task.ofStep(elemStep(t, r.ways.maps.Map(t.desc().Type).FD(), op, nil, nil), nil, l == RawC)
	case l == Client:
		task.another = func() (func() (int, error), func() error, error) {
			done := func() error { return nil }
			if op == opIterate {
				return t.iterate(w.control), done, nil
			}
			return once(t.lookup(w.control)), done, nil
		}
	default:
		task.another = func() (func() (int, error), func() error, error) { return r.library(t, l, op, nil) }
	}
	var err error
	task.op, task.done, err = task.another()
	return task, err
}

// library is reading by the library of a layer.
func (r *runner) library(t table, l Layer, op string, each func(entry)) (func() (int, error), func() error, error) {
	if l == CiliumEBPF {
		m, done := r.ways.maps.Map(t.desc().Type), func() error { return nil }
		if op == opIterate {
			return t.mapIterate(m, each), done, nil
		}
		return once(t.mapLookup(m, each)), done, nil
	}
	c, err := r.mdlayher()
	if err != nil {
		return nil, nil, err
	}
	n := 0
	decoded := func(attrs []byte) error {
		n++
		if each == nil {
			return nil
		}
		e, err := t.fromAttrs(attrs)
		each(e)
		return err
	}
	var run func() error
	if op == opIterate {
		run = c.executor(t.desc().GetCmd, netlink.Dump, nil, decoded)
	} else {
		run = c.executor(t.desc().GetCmd, 0, t.attrs(nil), decoded)
	}
	return func() (int, error) { n = 0; err := run(); return n, err }, c.Close, nil
}

// scaling is iteration over more and more netdevs.
func (r *runner) scaling(ctx context.Context) (err error) {
	p, err := newPeers(r.bed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := r.openC(ctx, r.mapFDs()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.closeC()) }()
	tasks, err := r.scalingTasks(p)
	if err != nil {
		return errors.Join(err, closeTasks(tasks))
	}
	defer func() { err = errors.Join(err, closeTasks(tasks)) }()
	slopes := make([]*Slope, len(tasks))
	for i, t := range tasks {
		t.coarse = true
		slopes[i] = &Slope{Type: t.cell.Type, Way: t.cell.Way, Layer: t.cell.Layer}
	}
	for _, n := range r.o.Sizes {
		if err := r.bed.growTo(n); err != nil {
			return err
		}
		r.progress("%d netdevs: answers", n)
		if err := r.judgeAll(tasks); err != nil {
			return fmt.Errorf("%d netdevs: %w", n, err)
		}
		for _, t := range tasks {
			t.rounds = nil
		}
		if err := r.measureRounds(tasks, fmt.Sprintf("%d netdevs: ", n)); err != nil {
			return err
		}
		for i, t := range tasks {
			t.finish()
			slopes[i].Points = append(slopes[i].Points, Point{Netdevs: n, Cost: t.cell.Min, Rounds: t.cell.Rounds, Spread: t.cell.Spread})
		}
	}
	for i, s := range slopes {
		s.Equal = tasks[i].cell.Equal
		s.fill()
		r.result.Iterations = append(r.result.Iterations, s)
	}
	return nil
}

// judgeAll holds what everybody says against each other once more.
func (r *runner) judgeAll(tasks []*task) error {
	if err := r.judge.reads(); err != nil {
		return err
	}
	for _, t := range tasks {
		if t.table == nil {
			continue
		}
		if err := r.judgeRead(t); err != nil {
			return t.failed(err)
		}
	}
	return nil
}

// fill derives the slopes from the points.
func (s *Slope) fill() {
	slope := func(a, b Point) float64 { return (b.Cost - a.Cost) / float64(b.Netdevs-a.Netdevs) }
	last := len(s.Points) - 1
	s.Low, s.High = slope(s.Points[0], s.Points[1]), slope(s.Points[1], s.Points[last])
}

// scalingTasks are iterations over statistics in all layers, over the others in
// our client, and those of peers.
func (r *runner) scalingTasks(p *peers) (tasks []*task, err error) {
	for _, t := range r.tables {
		for _, w := range r.ways.list {
			for _, l := range layersOf(w.name) {
				if l != Client && t.desc().Type != family.CtrlTypeXDPStats {
					continue
				}
				if why := r.missing(w, l); why != "" {
					r.result.Iterations = append(r.result.Iterations, &Slope{Type: t.name(), Way: w.name, Layer: l, Skipped: why})
					continue
				}
				task, err := r.readTask(t, w, l, opIterate)
				if err != nil {
					return tasks, err
				}
				tasks = append(tasks, task)
			}
		}
	}
	for _, peer := range p.list {
		if peer.op != opIterate {
			continue
		}
		for _, l := range []Layer{RawC, RawGo} {
			if why := r.missing(nil, l) + peer.skipped; why != "" {
				r.result.Iterations = append(r.result.Iterations, &Slope{Type: peer.name, Way: Peer, Layer: l, Skipped: why})
				continue
			}
			task, err := (&task{cell: peer.cell(l), done: func() error { return nil }}).ofStep(peer.step, nil, l == RawC)
			if err != nil {
				return tasks, err
			}
			tasks = append(tasks, task)
		}
	}
	return tasks, nil
}
