// SPDX-License-Identifier: BSD-3-Clause

package stress

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// tally counts the outcomes of what is done in a race.
type tally struct {
	mu sync.Mutex
	n  map[string]map[string]int
}

func newTally() *tally { return &tally{n: make(map[string]map[string]int)} }

func (y *tally) add(what, outcome string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.n[what] == nil {
		y.n[what] = make(map[string]int)
	}
	y.n[what][outcome]++
}

func (y *tally) count(what, outcome string) int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.n[what][outcome]
}

// check counts the outcome of an operation. It returns an error if the outcome
// is none of those that the operation may have.
func (y *tally) check(what string, err error, may ...unix.Errno) error {
	if err == nil {
		y.add(what, "ok")
		return nil
	}
	errno := unix.Errno(0)
	if !errors.As(err, &errno) {
		return fmt.Errorf("%s: %w", what, err)
	}
	y.add(what, unix.ErrnoName(errno))
	if slices.Contains(may, errno) {
		return nil
	}
	return fmt.Errorf("%s: got %w (%s), want success or one of %v", what, err, unix.ErrnoName(errno), may)
}

// report logs the counts, and after a soak fails for the outcomes that want
// names, as "what: outcome", and that never came.
func (y *tally) report(t *testing.T, done int, want ...string) {
	t.Helper()
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(y.n)) {
		var words []string
		for _, o := range slices.Sorted(maps.Keys(y.n[what])) {
			words = append(words, fmt.Sprintf("%s %d", o, y.n[what][o]))
		}
		t.Logf("%-28s %s", what, strings.Join(words, ", "))
	}
	for _, w := range want {
		what, outcome, _ := strings.Cut(w, ": ")
		if y.n[what][outcome] > 0 {
			continue
		}
		if done >= soakRounds {
			t.Errorf("the race was not hit: %s never came to %s in %d rounds", what, outcome, done)
		} else {
			t.Logf("not hit in %d rounds: %s", done, w)
		}
	}
}

// crew is a number of threads that do things until they are told to stop.
type crew struct {
	t      *testing.T
	stop   atomic.Bool
	failed atomic.Bool
	wg     sync.WaitGroup
}

func newCrew(t *testing.T) *crew { return &crew{t: t} }

// run runs fn on a thread of its own in a namespace (nil: the initial one).
func (c *crew) run(ns *testutil.NetNS, fn func() error) {
	entered := make(chan error)
	c.wg.Go(func() {
		// Never unlocked, so that the thread and its namespace end here.
		runtime.LockOSThread()
		var err error
		if ns != nil {
			err = unix.Setns(ns.FD(), unix.CLONE_NEWNET)
		}
		entered <- err
		if err != nil {
			return
		}
		if err := fn(); err != nil {
			c.failed.Store(true)
			c.t.Error(err)
		}
	})
	if err := <-entered; err != nil {
		c.t.Fatalf("enter network namespace: %v", err)
	}
}

// loop runs fn over and over on a thread of its own, until the crew halts or
// fn fails.
func (c *crew) loop(ns *testutil.NetNS, fn func() error) {
	c.run(ns, func() error {
		for !c.stop.Load() {
			if err := fn(); err != nil {
				return err
			}
		}
		return nil
	})
}

// halt ends the loops and waits for them. A thread that hangs in the kernel is
// a failure that ends the run, since nothing can be cleaned up after it.
func (c *crew) halt() {
	c.stop.Store(true)
	done := make(chan struct{})
	go func() { c.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(2 * deferred):
		panic("a thread hangs:\n" + kernelStacks())
	}
}

// kernelStacks is where the threads of this process are in the kernel.
func kernelStacks() string {
	var b strings.Builder
	files, _ := filepath.Glob("/proc/self/task/*/stack")
	for _, f := range files {
		if stack, err := os.ReadFile(f); err == nil {
			fmt.Fprintf(&b, "%s\n%s\n", f, stack)
		}
	}
	return b.String()
}

// times runs round n times, or until something fails.
func (c *crew) times(n int, round func(i int)) int {
	for i := range n {
		if c.failed.Load() || c.t.Failed() {
			return i
		}
		round(i)
	}
	return n
}

// pause waits for a random time of at most d, which may be none at all.
func pause(d time.Duration) {
	n := rand.Int64N(int64(d) + 1)
	if n < int64(50*time.Microsecond) {
		for end := time.Now().Add(time.Duration(n)); time.Now().Before(end); {
		}
		return
	}
	time.Sleep(time.Duration(n))
}

// window is a pause in which others are to get something done, for which they
// need longer on the debug kernel.
func window(d time.Duration) {
	if testutil.DebugKernel() {
		d *= 10
	}
	pause(d)
}

// line is where threads wait for each other, so as to start at once.
type line struct {
	n    int32
	here atomic.Int32
	turn atomic.Int32
}

// wait returns when n threads have called it.
func (l *line) wait() {
	turn := l.turn.Load()
	if l.here.Add(1) == l.n {
		l.here.Store(0)
		l.turn.Add(1)
		return
	}
	for l.turn.Load() == turn {
		runtime.Gosched()
	}
}
