// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
)

// Exceptions are counted for the whole machine, by programs at the tracepoints
// xdp_exception and xdp_redirect_err (bpf/exception.bpf.c). Pinned below
// bpffs/xdpctl/trace are their maps, their links, and at last the link of
// xdp_exception: while that is there, all is there and counts.
const (
	pinException = "exception"    // the link, the commit point
	pinRedirect  = "redirect_err" // the other link
	pinSweep     = "sweep"        // the program that sweeps
	pinWitness   = "witness"      // what is known of when a netdev began to count
)

// traceMapNames are the maps, which are pinned under their names.
var traceMapNames = []string{bpf.ExceptionCounts, bpf.ExceptionDevices, bpf.ExceptionLost, pinWitness}

// excCounts is struct xdpctl_exception_counts.
type excCounts struct {
	Native, Generic, Map [excKinds]uint64
	NetNS                uint64
	Ifindex              uint32
	RXQueues             uint32
}

// witnessed is what was found of a netdev while exceptions were counted: its
// driver had counted nothing, and neither had the probes.
type witnessed struct {
	Asleep   uint64 // how long the machine had slept by then, in ns
	RXQueues uint32 // in use then: no others need have been at 0
	_        uint32
}

// traceSizes are the sizes of the values of the maps.
var traceSizes = map[string]uint32{
	bpf.ExceptionCounts: uint32(unsafe.Sizeof(excCounts{})), bpf.ExceptionDevices: 8,
	bpf.ExceptionLost: 8, pinWitness: uint32(unsafe.Sizeof(witnessed{})),
}

const maxWitnessed = 16384

// witnessSpec is the map of witnessed by deviceID. Of more netdevs than it has
// room for, those not asked for are forgotten, and less is derived for them.
func witnessSpec() *ebpf.MapSpec {
	return &ebpf.MapSpec{
		Name: "xdpctl_witness", Type: ebpf.LRUHash, KeySize: 8, ValueSize: traceSizes[pinWitness], MaxEntries: maxWitnessed,
		Key: btfStruct("xdpctl_exception_key", btfMember("device", btfU64)),
		Value: btfStruct("xdpctl_witness",
			btfMember("asleep", btfU64), btfMember("rx_queues", btfU32), btfMember("reserved", btfU32)),
	}
}

// tracing is what a Control knows of the probes.
type tracing struct {
	mu      sync.Mutex
	refused error                // why the kernel does not want them
	pin     unix.Stat_t          // of the link that the maps belong to
	maps    map[string]*ebpf.Map // nil: they are not open
}

func (t *tracing) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closeLocked()
}

func (t *tracing) closeLocked() error {
	var errs []error
	for _, m := range t.maps {
		errs = append(errs, m.Close())
	}
	t.maps = nil
	return errors.Join(errs...)
}

// traceDir is where the probes are pinned.
func (s *state) traceDir() string { return filepath.Join(s.root, traceName) }

// lockTrace makes the directory where they are pinned, and takes its lock.
func (s *state) lockTrace() (unlock func() error, err error) {
	return (&state{root: s.root, dir: s.traceDir()}).lock(context.Background())
}

// ExceptionsError says why the kernel does not let exceptions be counted; nil if
// it does, or has not been asked yet.
func (c *Control) ExceptionsError() error {
	c.trace.mu.Lock()
	defer c.trace.mu.Unlock()
	return c.trace.refused
}

// CountExceptions sees to it that exceptions are counted from now on, which
// otherwise begins with the first change of anything, and takes note of the
// netdevs of the network namespace whose drivers have counted nothing yet.
//
// Returns an error if the kernel does not let them be counted.
func (c *Control) CountExceptions(ctx context.Context) error {
	err := c.change(ctx, func() error {
		if err := c.traceOn(); err != nil {
			return err
		}
		list, err := c.netdevs()
		if err != nil {
			return err
		}
		for _, d := range list {
			if err := c.traceDev(d.index); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, c.ExceptionsError())
}

// traceOn sees to it that exceptions are counted, for the whole machine. It is
// called before the first change of anything. That the kernel refuses the probes
// is no error: what they would count is absent then, and ExceptionsError says
// why.
func (c *Control) traceOn() error {
	c.trace.mu.Lock()
	refused := c.trace.refused
	c.trace.mu.Unlock()
	if refused != nil {
		return nil
	}
	dir := c.state.traceDir()
	if _, err := os.Lstat(filepath.Join(dir, pinException)); err == nil {
		return sweepTrace(dir)
	}
	// Namespaces have locks of their own; this is the machine's, inside those.
	unlock, err := c.state.lockTrace()
	if err != nil {
		return err
	}
	if err = c.state.pinTypes(); err == nil {
		err = startTrace(dir)
	}
	var r *traceRefusal
	if errors.As(err, &r) {
		c.trace.mu.Lock()
		c.trace.refused = r
		c.trace.mu.Unlock()
		err = removeTrace(dir)
	}
	return errors.Join(err, unlock())
}

// traceRefusal is the error of a kernel that does not take the probes.
type traceRefusal struct{ err error }

func (r *traceRefusal) Error() string {
	return "XDP exceptions cannot be counted: " + r.err.Error()
}

func (r *traceRefusal) Unwrap() error { return r.err }

// refusal tells an error that comes again each time from one for want of memory.
func refusal(what string, err error) error {
	err = fmt.Errorf("%s: %w", what, err)
	if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return err
	}
	return &traceRefusal{err}
}

// startTrace loads, pins and attaches, under the lock.
func startTrace(dir string) (err error) {
	if _, err := os.Lstat(filepath.Join(dir, pinException)); err == nil {
		return nil // another process was faster
	}
	if err := clearTrace(dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, clearTrace(dir))
		}
	}()
	coll, err := loadTrace()
	if err != nil {
		return err
	}
	defer coll.Close()
	for _, name := range traceMapNames {
		if err := coll.Maps[name].Pin(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	if p := coll.Programs[bpf.ExceptionSweepProgram]; p != nil {
		if err := p.Pin(filepath.Join(dir, pinSweep)); err != nil {
			return fmt.Errorf("pin program %s: %w", pinSweep, err)
		}
	}
	if err := attachTrace(coll.Programs[bpf.ExceptionRedirectProgram], "xdp_redirect_err", filepath.Join(dir, pinRedirect)); err != nil {
		return err
	}
	return attachTrace(coll.Programs[bpf.ExceptionProgram], "xdp_exception", filepath.Join(dir, pinException))
}

// loadTrace loads the programs. That which sweeps reads memory by address, which
// a kernel in lockdown refuses: without it, the counters of netdevs that are gone
// stay until there is no room for more.
func loadTrace() (*ebpf.Collection, error) {
	spec, err := bpf.LoadException()
	if err != nil {
		return nil, err
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		delete(spec.Programs, bpf.ExceptionSweepProgram)
		var again error
		if coll, again = ebpf.NewCollection(spec); again != nil {
			return nil, refusal("load programs for tracepoints xdp_exception and xdp_redirect_err", again)
		}
	}
	coll.Maps[pinWitness], err = ebpf.NewMap(witnessSpec())
	if err != nil {
		delete(coll.Maps, pinWitness)
		coll.Close()
		return nil, fmt.Errorf("make map %s: %w", pinWitness, err)
	}
	return coll, nil
}

func attachTrace(p *ebpf.Program, tracepoint, pin string) error {
	l, err := link.AttachTracing(link.TracingOptions{Program: p})
	if err != nil {
		return refusal("attach to tracepoint "+tracepoint, err)
	}
	defer l.Close()
	if err := l.Pin(pin); err != nil {
		return fmt.Errorf("pin link at tracepoint %s: %w", tracepoint, err)
	}
	return nil
}

// tracePins are the names of all pins, the commit point first.
func tracePins() []string {
	return append([]string{pinException, pinRedirect, pinSweep}, traceMapNames...)
}

// clearTrace removes all pins. Under the lock.
func clearTrace(dir string) error {
	for _, name := range tracePins() {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// removeTrace removes all pins, and the directory if there is nothing else in it.
// Under its lock, which those who wait for it find removed.
func removeTrace(dir string) error {
	if err := clearTrace(dir); err != nil {
		return err
	}
	err := unix.Rmdir(dir)
	if err != nil && err != unix.ENOENT && err != unix.ENOTEMPTY {
		return &os.PathError{Op: "remove", Path: dir, Err: err}
	}
	return nil
}

// sweepTrace takes away the counters of netdevs that are gone, if there are
// counters at all.
func sweepTrace(dir string) error {
	devices, err := ebpf.LoadPinnedMap(filepath.Join(dir, bpf.ExceptionDevices), nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep exception counters: %w", err)
	}
	defer devices.Close()
	var first uint64
	if err := devices.NextKey(nil, &first); err != nil {
		return nil // none
	}
	p, err := ebpf.LoadPinnedProgram(filepath.Join(dir, pinSweep), nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil // see loadTrace
	}
	if err != nil {
		return fmt.Errorf("sweep exception counters: %w", err)
	}
	defer p.Close()
	if _, err := p.Run(&ebpf.RunOptions{}); err != nil {
		return fmt.Errorf("sweep exception counters: %w", err)
	}
	return nil
}

// traced calls f with the maps of the probes; not if they do not count, or if
// who asks may not know.
func (c *Control) traced(f func(maps map[string]*ebpf.Map) error) error {
	t := &c.trace
	t.mu.Lock()
	defer t.mu.Unlock()
	dir := c.state.traceDir()
	var st unix.Stat_t
	err := unix.Lstat(filepath.Join(dir, pinException), &st)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
		return t.closeLocked()
	}
	if err != nil {
		return &os.PathError{Op: "stat", Path: filepath.Join(dir, pinException), Err: err}
	}
	if t.maps != nil && (st.Ino != t.pin.Ino || st.Ctim != t.pin.Ctim) {
		if err := t.closeLocked(); err != nil {
			return err
		}
	}
	if t.maps == nil {
		maps, err := openTrace(dir)
		if maps == nil {
			return err
		}
		t.maps, t.pin = maps, st
	}
	return f(t.maps)
}

// openTrace opens the maps; nil if they are being removed.
func openTrace(dir string) (maps map[string]*ebpf.Map, err error) {
	maps = make(map[string]*ebpf.Map)
	for _, name := range traceMapNames {
		m, err := ebpf.LoadPinnedMap(filepath.Join(dir, name), nil)
		if err == nil {
			maps[name] = m
			if m.ValueSize() == traceSizes[name] {
				continue
			}
			err = errors.New("another version of this program has pinned it: clean up first")
		}
		for _, m := range maps {
			m.Close()
		}
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) {
			return nil, nil
		}
		return nil, fmt.Errorf("open %s: %w", filepath.Join(dir, name), err)
	}
	return maps, nil
}
