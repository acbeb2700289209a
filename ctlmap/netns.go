// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/netns"
)

// thread runs functions in a netns: on an operating system thread that lives
// there and ends with close, so that no other goroutine ever runs on it. A nil
// thread runs them in place.
type thread struct {
	ns    *os.File
	calls chan func()
	stop  sync.Once
}

// openNetNS opens a netns by name or path, or by another descriptor of it. It
// is nil if there is neither, which means the netns of the calling thread.
func openNetNS(name string, fd int) (*os.File, error) {
	switch {
	case fd != 0:
		return netns.Dup(fd)
	case name != "":
		return netns.Open(name)
	}
	return nil, nil
}

// newThread is a thread in the netns ns, which it then owns; none if ns is nil.
func newThread(ns *os.File) (*thread, error) {
	if ns == nil {
		return nil, nil
	}
	t := &thread{ns: ns, calls: make(chan func())}
	started := make(chan error, 1)
	go t.start(started)
	if err := <-started; err != nil {
		ns.Close()
		return nil, err
	}
	return t, nil
}

// fd is the netns as netlink.Config has it.
func (t *thread) fd() int {
	if t == nil {
		return 0
	}
	return int(t.ns.Fd())
}

// start picks the thread. The leader of the process is passed over: it does
// not end with its goroutine, and /proc/PID/ns/net is the leader's.
func (t *thread) start(started chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		defer runtime.UnlockOSThread()
		busy := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(busy)
			t.run(started)
		}()
		<-busy
		return
	}
	t.run(started)
}

// run moves the thread into the netns and serves calls until close. It
// returns with the thread locked, which ends the thread.
func (t *thread) run(started chan<- error) {
	if err := unix.Setns(int(t.ns.Fd()), unix.CLONE_NEWNET); err != nil {
		started <- fmt.Errorf("enter netns: %w", err)
		return
	}
	started <- nil
	for f := range t.calls {
		f()
	}
}

// do runs f in the netns and waits for it. A caller that is in the netns
// already runs it himself, with the credentials of his own thread.
func (t *thread) do(f func()) error {
	if t == nil {
		f()
		return nil
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.IsCurrent(t.ns)
	if err != nil {
		return err
	}
	if here {
		f()
		return nil
	}
	done := make(chan struct{})
	t.calls <- func() {
		defer close(done)
		f()
	}
	<-done
	return nil
}

// elem is bpfElem, in the netns of the thread.
func (t *thread) elem(cmd, fd int, k, v unsafe.Pointer, flags uint64) (errno syscall.Errno, err error) {
	err = t.do(func() { errno = bpfElem(cmd, fd, k, v, flags) })
	return errno, err
}

// close ends the thread. No do may be under way or follow.
func (t *thread) close() error {
	if t == nil {
		return nil
	}
	var err error
	t.stop.Do(func() {
		close(t.calls)
		err = t.ns.Close()
	})
	return err
}
