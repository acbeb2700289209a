// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// Sizes are the numbers of netdevs that are iterated over, if [Options] say
// nothing else.
var Sizes = []int{10, 100, 1000, 4000}

// Options say how to [Run].
type Options struct {
	// Unit of costs: [Nanoseconds] if empty. [Instructions] are what a
	// nanosecond is in a guest under QEMU's -icount, and nowhere else.
	Unit string
	// Sizes are numbers of netdevs, ascending, at least three; [Sizes] if
	// there are none.
	Sizes []int
	// Types are control types, as the spec has them; all if there are none.
	Types []string
	// Rounds is how often all is measured, and more often if it does not repeat;
	// the smallest cost counts. 3 if 0.
	Rounds int
	// Budget is what batches of one operation may cost in a round, and single
	// operations a tenth of it, but for a few of each; a second if 0.
	Budget float64
	// C is the path of build/bench-c, for what there is in C. If empty, that
	// is skipped.
	C string
	// YNL is the directory of a kernel source, with the YNL tools and specs. If
	// empty, they are skipped.
	YNL string

	// Progress is told what is being done. May be nil.
	Progress func(string) `json:"-"`
}

// Run measures every operation of every control type, by each way that there is.
// First it holds the answers against each other: one that differs is an error,
// apart from what docs/conformance.md lists.
//
// All happens in a process with a network namespace of its own, of which nothing
// is left. It takes root, and a program that has called [Main].
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Unit == "" {
		o.Unit = Nanoseconds
	}
	if o.Unit != Nanoseconds && o.Unit != Instructions {
		return nil, fmt.Errorf("compare: no unit: %s", o.Unit)
	}
	if o.Sizes == nil {
		o.Sizes = Sizes
	}
	if len(o.Sizes) < 3 || !slices.IsSorted(o.Sizes) || len(slices.Compact(slices.Clone(o.Sizes))) != len(o.Sizes) {
		return nil, fmt.Errorf("compare: sizes %v: expected three or more, ascending", o.Sizes)
	}
	for _, name := range o.Types {
		if !slices.ContainsFunc(family.Descs(), func(d family.TypeDesc) bool { return d.Name == name }) {
			return nil, fmt.Errorf("compare: there is no control type %s", name)
		}
	}
	if o.Rounds == 0 {
		o.Rounds = 3
	}
	if o.Budget == 0 {
		o.Budget = defaultBudget
	}
	return measureApart(ctx, o)
}

// memoryLimit is how much memory a process may take before it collects garbage after
// all, where it does not while something is measured.
const memoryLimit = 512 << 20

// ownPID is the process that measures.
var ownPID = os.Getpid()

// runner is a run.
type runner struct {
	o      Options
	result *Result
	bed    *bed
	ways   *ways
	tables []table
	// changeable are those that can be changed, by each command.
	changeable []table
	judge      *judge
	c          *replayer // nil without
	close      []func() error
}

// run is Run, in the process that measures.
func run(ctx context.Context, o Options) (_ *Result, err error) {
	runtime.GOMAXPROCS(1)
	// What a library leaves behind is collected, as it is in programs: memory that
	// is always new costs more.
	debug.SetGCPercent(100)
	if o.Unit == Instructions {
		debug.SetGCPercent(-1) // but when it is told
		debug.SetMemoryLimit(memoryLimit)
		if err := calm(slack); err != nil {
			return nil, fmt.Errorf("have timers be late: %w", err)
		}
	}
	r := &runner{o: o, result: &Result{Unit: o.Unit, CPUs: runtime.NumCPU()}}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	for _, part := range []func(context.Context) error{r.describe, r.changing, r.reading, r.tools, r.scaling} {
		if err := part(ctx); err != nil {
			return nil, err
		}
	}
	return r.result, nil
}

func (r *runner) progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, progressMark+format+"\n", args...)
}

func (r *runner) Close() error {
	var errs []error
	for i := len(r.close) - 1; i >= 0; i-- {
		errs = append(errs, r.close[i]())
	}
	return errors.Join(errs...)
}

func (r *runner) open(ctx context.Context) (err error) {
	if r.bed, err = newBed(); err != nil {
		return err
	}
	r.close = append(r.close, func() error { r.bed.Close(); return nil })
	if r.ways, err = openWays(ctx, r.o.Unit); err != nil {
		return err
	}
	r.close = append(r.close, r.ways.Close)
	unwanted := func(t table) bool {
		return len(r.o.Types) > 0 && !slices.Contains(r.o.Types, t.desc().Name)
	}
	r.tables = slices.DeleteFunc(tables(r.bed.veth), unwanted)
	r.changeable = slices.DeleteFunc(changeable(r.bed.veth), unwanted)
	r.judge = &judge{r.tables, r.changeable, r.ways}
	// Better now than after all the rest.
	devs, err := net.Interfaces()
	if err == nil && len(devs) > r.o.Sizes[0] {
		err = fmt.Errorf("sizes %v: there are %d netdevs to begin with", r.o.Sizes, len(devs))
	}
	return err
}

// openC starts the program in C with what its steps need.
func (r *runner) openC(ctx context.Context, fds []int) (err error) {
	if r.o.C == "" {
		return nil
	}
	if r.c, err = startReplayer(ctx, r.o.C, fds); err != nil {
		return err
	}
	return nil
}

func (r *runner) closeC() error {
	if r.c == nil {
		return nil
	}
	c := r.c
	r.c = nil
	return c.Close()
}

// describe says what it is that is measured.
func (r *runner) describe(ctx context.Context) error {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return os.NewSyscallError("uname", err)
	}
	r.result.Release = unix.ByteSliceToString(uts.Release[:])
	if r.ways.family != nil {
		if err := r.result.Qualify(); err != nil {
			return err
		}
	}
	r.result.Machine = unix.ByteSliceToString(uts.Machine[:])
	if r.o.Unit == Nanoseconds {
		info, err := os.ReadFile("/proc/cpuinfo")
		if err != nil {
			return err
		}
		r.result.Processor = processorOf(string(info))
	}
	for _, w := range r.ways.list {
		if w.control == nil {
			continue
		}
		var v family.Caps
		if err := w.control.Caps().Lookup(ctx, &family.CapsKey{Ifindex: r.bed.veth}, &v); err != nil {
			return err
		}
		r.result.Driver = v.Driver.String()
		r.result.RXQueues, r.result.TXQueues = int(v.RXQueues), int(v.TXQueues)
		return nil
	}
	return errors.New("nobody can be asked")
}

// processorOf is the first model that /proc/cpuinfo names.
func processorOf(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if key, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return ""
}

// changing is updates and deletes, where nothing is attached.
func (r *runner) changing(ctx context.Context) error {
	r.progress("answers to changes")
	unsupported, err := r.judge.changes(r.bed.prog(0))
	if err != nil {
		return err
	}
	if err := r.openC(ctx, append([]int{r.bed.prog(0)}, r.mapFDs()...)); err != nil {
		return err
	}
	var errs []error
	for _, t := range r.changeable {
		ch, _ := t.set(r.bed.prog(0))
		if err := r.changeCells(t, ch, unsupported); err != nil {
			errs = append(errs, err)
			break
		}
	}
	return errors.Join(append(errs, r.closeC())...)
}

// mapFDs are the control maps, in the order of the tables.
func (r *runner) mapFDs() (fds []int) {
	if r.ways.maps == nil {
		return nil
	}
	for _, t := range r.tables {
		if m := r.ways.maps.Map(t.desc().Type); m != nil {
			fds = append(fds, m.FD())
		}
	}
	return fds
}

// reading is lookups and iterations, where somebody else has attached a program,
// which all backends see alike, and a port is bound in each of them.
func (r *runner) reading(ctx context.Context) (err error) {
	l, err := link.AttachXDP(link.XDPOptions{
		Program: r.bed.skels[0].Programs.Pass.Prog, Interface: int(r.bed.veth), Flags: link.XDPDriverMode,
	})
	if err != nil {
		return fmt.Errorf("attach by link: %w", err)
	}
	// They stay for scaling.
	r.close = append(r.close, l.Close)
	bound := map[string]bool{}
	for _, w := range r.judge.present() {
		if bound[w.backend] {
			continue
		}
		bound[w.backend] = true
		ports, key := w.control.Port(), &family.PortKey{Port: portNumber}
		var v family.Port
		v.SetIfindex(r.bed.veth)
		if err := ports.Update(ctx, key, &v, family.UpdateNoexist); err != nil {
			return err
		}
		r.close = append(r.close, func() error { return ports.Delete(context.Background(), key) })
	}
	if err := r.bed.frames(5); err != nil {
		return err
	}
	r.progress("answers to questions")
	if err := r.judge.reads(); err != nil {
		return err
	}
	p, err := newPeers(r.bed)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if err := r.openC(ctx, append(r.mapFDs(), p.hash.FD())); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.closeC()) }()
	tasks, err := r.readTasks(p)
	if err != nil {
		return errors.Join(err, closeTasks(tasks))
	}
	return errors.Join(r.measureAll(tasks), closeTasks(tasks))
}

func closeTasks(tasks []*task) error {
	var errs []error
	for _, t := range tasks {
		if t.done != nil {
			errs = append(errs, t.done())
		}
	}
	return errors.Join(errs...)
}

// extraRounds is how many rounds more there are at most of what no two agree on.
const extraRounds = 4

// measureRounds measures tasks round by round: what memory looks like in one round of a
// task, which the kernel's allocator is quicker or slower for, it need not in the next.
// Where instructions are counted, tasks that are not settled have some rounds more.
func (r *runner) measureRounds(tasks []*task, what string) error {
	rounds := r.o.Rounds
	if r.o.Unit == Instructions && rounds > 1 {
		rounds += extraRounds
	}
	for round := range rounds {
		if round >= r.o.Rounds {
			tasks = slices.DeleteFunc(slices.Clone(tasks), (*task).settled)
		}
		for _, t := range tasks {
			r.progress("%s%s %s by %s in %s, round %d", what, t.cell.Type, t.cell.Op, t.cell.Way, t.cell.Layer, round+1)
			if err := t.measure(&r.o, r.c); err != nil {
				return t.failed(err)
			}
		}
	}
	return nil
}

// measureAll measures tasks and adds their cells to the result.
func (r *runner) measureAll(tasks []*task) error {
	if err := r.measureRounds(tasks, ""); err != nil {
		return err
	}
	for _, t := range tasks {
		if err := t.rates(&r.o); err != nil {
			return t.failed(err)
		}
	}
	r.progress("system calls")
	if err := r.countAll(tasks); err != nil {
		return err
	}
	for _, t := range tasks {
		t.finish()
		r.result.Cells = append(r.result.Cells, t.cell)
	}
	return nil
}

func (t *task) failed(err error) error {
	return fmt.Errorf("%s of %s by way of %s in %s: %w", t.cell.Op, t.cell.Type, t.cell.Way, t.cell.Layer, err)
}

func (r *runner) countAll(tasks []*task) (err error) {
	c, err := newCounter()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	seen := map[int]bool{}
	for _, w := range r.judge.present() {
		for _, pid := range w.pids {
			if seen[pid] {
				continue
			}
			seen[pid] = true
			if err := c.watch(pid); err != nil {
				return err
			}
		}
	}
	for _, t := range tasks {
		if err := t.count(c, r.c); err != nil {
			return t.failed(err)
		}
	}
	return nil
}
