// SPDX-License-Identifier: BSD-3-Clause

// Package netns opens network namespaces and tells which one a thread is in.
package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// dir is where ip-netns(8) keeps the namespaces that have a name.
const dir = "/run/netns"

// current is the network namespace of the calling thread.
const current = "/proc/thread-self/ns/net"

// Open opens a network namespace by its name, as ip-netns(8) gives it, or,
// where there is a slash in it, by its path. The empty name is the namespace of
// the calling thread.
//
// Returns an error matching os.ErrNotExist if there is none of that name.
func Open(name string) (*os.File, error) {
	path := name
	switch {
	case name == "":
		path = current
	case !strings.Contains(name, "/"):
		path = filepath.Join(dir, name)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	return check(f, path)
}

// Dup opens the network namespace that fd refers to once more; fd stays the
// caller's.
func Dup(fd int) (*os.File, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", os.NewSyscallError("fcntl", err))
	}
	path := fmt.Sprintf("fd %d", fd)
	f := os.NewFile(uintptr(n), path)
	return check(f, path)
}

// check returns f if it is a network namespace, and closes it if not.
func check(f *os.File, path string) (*os.File, error) {
	// The ioctl fails with ENOTTY on what is no namespace at all. Kernels
	// without it are older than any that has the family.
	typ, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if err == nil && typ == unix.CLONE_NEWNET {
		return f, nil
	}
	f.Close()
	return nil, fmt.Errorf("open network namespace: %s: %w", path, errNoNetNS)
}

var errNoNetNS = errors.New("not a network namespace")

// IsCurrent tells whether the calling thread is in the network namespace f.
func IsCurrent(f *os.File) (bool, error) {
	var here, there unix.Stat_t
	if err := unix.Stat(current, &here); err != nil {
		return false, &os.PathError{Op: "stat", Path: current, Err: err}
	}
	if err := unix.Fstat(int(f.Fd()), &there); err != nil {
		return false, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return here.Dev == there.Dev && here.Ino == there.Ino, nil
}

// Do runs fn on a thread in the network namespace f. Goroutines that fn starts
// are elsewhere.
//
// Returns an error matching os.ErrPermission if the calling thread is in
// another network namespace and may not enter f.
func Do(f *os.File, fn func() error) error {
	runtime.LockOSThread()
	here, err := IsCurrent(f)
	if err != nil || here {
		defer runtime.UnlockOSThread()
		if err != nil {
			return err
		}
		return fn()
	}
	old, err := Open("")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer old.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter network namespace: %w", err)
	}
	defer func() {
		// A thread that cannot go back stays locked, and ends with the
		// goroutine.
		if unix.Setns(int(old.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}
