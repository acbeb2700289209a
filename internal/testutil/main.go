// SPDX-License-Identifier: BSD-3-Clause

package testutil

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sort"
	"strings"
	"time"
)

// deferred is how long objects may take to go that the kernel frees after a
// grace period or in a worker.
const deferred = 20 * time.Second

// Tests are what to run: a [testing.M], or one with something around it.
type Tests interface{ Run() int }

// Main loads the module, runs the tests, and unloads it. The run fails if a
// test does, if the module cannot be unloaded, if a BPF object, a file
// descriptor or a kernel report is left behind, and in the virtual machine if
// a test was skipped. Params are module parameters.
func Main(m Tests, params ...string) {
	inVM(func() error {
		return run(m, func() error { return LoadModule(params...) },
			func() error { return UnloadModule(deferred) })
	})
}

// MainWithoutModule is Main for tests of what works without the module.
func MainWithoutModule(m Tests) {
	nothing := func() error { return nil }
	inVM(func() error { return run(m, nothing, nothing) })
}

// OneProcessor has the Go code of this process, and of those it starts, run on one
// processor, for tests in which nothing happens at the same time on purpose. On two
// emulated ones the runtime spends a fifth of the time waiting for work of the other.
func OneProcessor() {
	runtime.GOMAXPROCS(1)
	os.Setenv("GOMAXPROCS", "1")
}

func inVM(run func() error) {
	flag.Parse()
	if !InVM() {
		fmt.Println("ok: these tests run in the virtual machine only, under vmrun")
		os.Exit(0)
	}
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "FAIL: %v\n", err)
		os.Exit(1)
	}
}

// run runs the tests between prepare and finish.
func run(m Tests, prepare, finish func() error) error {
	// Verbose is the only mode in which a skip is printed.
	if err := flag.Set("test.v", "true"); err != nil {
		return err
	}
	log, err := OpenKernelLog()
	if err != nil {
		return err
	}
	defer log.Close()
	before, err := takeCensus()
	if err != nil {
		return err
	}
	if err := prepare(); err != nil {
		return err
	}
	skips, err := watchSkips()
	if err != nil {
		return err
	}
	code := m.Run()
	var errs []error
	if code != 0 {
		errs = append(errs, fmt.Errorf("tests ended with %d", code))
	}
	if names := skips.stop(); len(names) > 0 {
		errs = append(errs, fmt.Errorf("skipped in the virtual machine: %s", strings.Join(names, ", ")))
	}
	errs = append(errs, settle(before, finish)...)
	if lines := log.Splats(); len(lines) > 0 {
		errs = append(errs, fmt.Errorf("the kernel reported:\n%s", strings.Join(lines, "\n")))
	}
	return errors.Join(errs...)
}

// settle finishes and waits until nothing is left of the run.
func settle(before *census, finish func() error) []error {
	var errs []error
	if err := finish(); err != nil {
		errs = append(errs, err)
	}
	var left []string
	ok := Wait(deferred, func() bool {
		// Connections of the standard library close with their finalizer.
		debug.FreeOSMemory()
		after, err := takeCensus()
		if err != nil {
			left = []string{err.Error()}
			return false
		}
		left = after.beyond(before)
		return len(left) == 0
	})
	if !ok {
		sort.Strings(left)
		errs = append(errs, fmt.Errorf("left behind: %s", strings.Join(left, ", ")))
	}
	return errs
}
