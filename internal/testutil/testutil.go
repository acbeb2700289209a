// SPDX-License-Identifier: BSD-3-Clause

// Package testutil is what the tests that run in the virtual machine share:
// the module, network namespaces and the netdevs in them, bpf(2) without any
// library, capabilities, and a watch over what a test run leaves behind.
package testutil

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// InVM reports whether the tests run in the virtual machine, where the kernel
// is known and nothing may be skipped. Vmrun says so.
func InVM() bool { return os.Getenv("VMRUN") == "1" || os.Getenv("XDPCTL_VM") == "1" }

// DebugKernel reports whether this is the slow kernel that checks everything.
func DebugKernel() bool { return os.Getenv("VMRUN_DEBUG") != "" }

// Release is the running kernel's release, as uname -r prints it.
func Release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// KernelAtLeast reports whether the running kernel is major.minor or newer.
func KernelAtLeast(major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(Release(), "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}

// Root is the top of the source tree.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("find go.mod: %w", os.ErrNotExist)
		}
		dir = up
	}
}

// Path is the absolute path of a file of the source tree.
func Path(tb testing.TB, elem ...string) string {
	tb.Helper()
	root, err := Root()
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(append([]string{root}, elem...)...)
}

// CacheDir is where fetched sources are kept: XDPCTL_CACHE, or
// /var/cache/xdpctl.
func CacheDir() string {
	if dir := os.Getenv("XDPCTL_CACHE"); dir != "" {
		return dir
	}
	return "/var/cache/xdpctl"
}

// Eventually fails the test unless cond becomes true within d.
func Eventually(tb testing.TB, d time.Duration, what string, cond func() bool) {
	tb.Helper()
	if !Wait(d, cond) {
		tb.Fatalf("waited %v for %s", d, what)
	}
}

// Wait reports whether cond becomes true within d.
func Wait(d time.Duration, cond func() bool) bool {
	for end := time.Now().Add(d); ; time.Sleep(5 * time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// skipWatch passes the testing package's output through and remembers the
// tests that were skipped, which it has no other way of telling.
type skipWatch struct {
	old  *os.File
	w    *os.File
	done chan struct{}
	skip []string
}

func watchSkips() (*skipWatch, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	s := &skipWatch{old: os.Stdout, w: w, done: make(chan struct{})}
	os.Stdout = w
	go func() {
		defer close(s.done)
		defer r.Close()
		var line []byte
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Read(buf)
			if n > 0 {
				s.old.Write(buf[:n])
				line = s.scan(append(line, buf[:n]...))
			}
			if err != nil {
				return
			}
		}
	}()
	return s, nil
}

func (s *skipWatch) scan(b []byte) []byte {
	for {
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		if !ok {
			return b
		}
		if _, name, ok := strings.Cut(string(line), "--- SKIP: "); ok {
			s.skip = append(s.skip, strings.Fields(name)[0])
		}
		b = rest
	}
}

// stop returns the names of the tests that were skipped.
func (s *skipWatch) stop() []string {
	os.Stdout = s.old
	s.w.Close()
	<-s.done
	return s.skip
}
