// SPDX-License-Identifier: BSD-3-Clause

package testutil

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// WithoutCaps runs fn on a thread of its own that lacks the given effective
// capabilities, in the network namespace ns (nil: the initial one). Fn must
// not end the test: it runs on another goroutine.
func WithoutCaps(tb testing.TB, ns *NetNS, caps []int, fn func()) {
	tb.Helper()
	errc := make(chan error)
	go func() {
		// Never unlocked, so that the thread and its credentials end here.
		runtime.LockOSThread()
		err := dropCaps(ns, caps)
		if err == nil {
			fn()
		}
		errc <- err
	}()
	if err := <-errc; err != nil {
		tb.Fatalf("drop capabilities: %v", err)
	}
}

func dropCaps(ns *NetNS, caps []int) error {
	if ns != nil {
		if err := unix.Setns(ns.FD(), unix.CLONE_NEWNET); err != nil {
			return err
		}
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return err
	}
	for _, c := range caps {
		data[c/32].Effective &^= 1 << (c % 32)
	}
	return unix.Capset(&hdr, &data[0])
}

// AllCaps is every capability there is.
func AllCaps() []int {
	var all []int
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		all = append(all, c)
	}
	return all
}
