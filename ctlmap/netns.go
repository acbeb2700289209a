// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"fmt"
	"os"
	"runtime"
	"sync"

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

// threadFor is a thread in the netns of fd, none if fd is 0.
func threadFor(fd int) (*thread, error) {
	if fd == 0 {
		return nil, nil
	}
	ns, err := netns.Dup(fd)
	if err != nil {
		return nil, err
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
