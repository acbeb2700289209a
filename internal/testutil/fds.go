// SPDX-License-Identifier: BSD-3-Clause

package testutil

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// WatchFDs runs the tests of a package that needs neither module nor virtual
// machine. The run fails if a test does, or if a file descriptor is left behind.
func WatchFDs(m *testing.M) {
	// The runtime opens its poller with the first file, and keeps it.
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	before := openFDs()
	code := m.Run()
	var left []string
	ok := Wait(5*time.Second, func() bool {
		// What only finalizers close is no leak.
		runtime.GC()
		left = left[:0]
		for fd, target := range openFDs() {
			if before[fd] != target {
				left = append(left, fd+" -> "+target)
			}
		}
		return len(left) == 0
	})
	if !ok {
		fmt.Fprintf(os.Stderr, "FAIL: file descriptors left open: %s\n", strings.Join(left, ", "))
		code = 1
	}
	os.Exit(code)
}

// openFDs tells what each file descriptor refers to.
func openFDs() map[string]string {
	fds := make(map[string]string)
	ents, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fds
	}
	for _, e := range ents {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(target, "/proc/") {
			continue // the directory itself
		}
		fds[e.Name()] = target
	}
	return fds
}
