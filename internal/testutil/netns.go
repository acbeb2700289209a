// SPDX-License-Identifier: BSD-3-Clause

package testutil

import (
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// NetNS is a network namespace of a test's own, with loopback up.
type NetNS struct {
	tb   testing.TB
	f    *os.File
	rt   *netlink.Conn
	once sync.Once
}

// NewNetNS makes a network namespace that goes with the test. Its netdevs send
// nothing by themselves.
func NewNetNS(tb testing.TB) *NetNS {
	tb.Helper()
	ns := &NetNS{tb: tb}
	back := lockThread(tb)
	defer back()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		tb.Fatalf("make network namespace: %v", err)
	}
	if err := ns.open(); err != nil {
		tb.Fatalf("open network namespace: %v", err)
	}
	tb.Cleanup(ns.Close)
	ns.Do(func() {
		// Where there is no IPv6, nothing has to be kept quiet.
		os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	})
	ns.Up("lo")
	return ns
}

// InitialNetNS is the namespace that the test process runs in.
func InitialNetNS(tb testing.TB) *NetNS {
	tb.Helper()
	ns := &NetNS{tb: tb}
	if err := ns.open(); err != nil {
		tb.Fatalf("open network namespace: %v", err)
	}
	tb.Cleanup(ns.Close)
	return ns
}

func (ns *NetNS) open() error {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	rt, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Strict: true})
	if err != nil {
		f.Close()
		return err
	}
	ns.f, ns.rt = f, rt
	return nil
}

// Close lets go of the namespace, which ends when nobody else holds it.
func (ns *NetNS) Close() {
	ns.once.Do(func() {
		ns.rt.Close()
		ns.f.Close()
	})
}

// FD refers to the namespace, for setns(2).
func (ns *NetNS) FD() int { return int(ns.f.Fd()) }

// Path is a path of the namespace that children can open while it is open.
func (ns *NetNS) Path() string {
	return "/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(ns.FD())
}

// Do runs fn on a thread in the namespace. Goroutines that fn starts are not
// in it, commands that it starts are.
func (ns *NetNS) Do(fn func()) {
	ns.tb.Helper()
	back := lockThread(ns.tb)
	defer back()
	if err := unix.Setns(ns.FD(), unix.CLONE_NEWNET); err != nil {
		ns.tb.Fatalf("enter network namespace: %v", err)
	}
	fn()
}

// lockThread keeps the goroutine on its thread, and returns the function that
// brings the thread back to the namespace that it is in now. Ending the thread
// instead would not do: the first of a process does not end.
func lockThread(tb testing.TB) (back func()) {
	tb.Helper()
	runtime.LockOSThread()
	old, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		tb.Fatal(err)
	}
	return func() {
		defer old.Close()
		if err := unix.Setns(int(old.Fd()), unix.CLONE_NEWNET); err != nil {
			tb.Errorf("leave network namespace: %v", err)
			return // with the thread locked, so that nobody else gets it
		}
		runtime.UnlockOSThread()
	}
}
