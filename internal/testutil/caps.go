// SPDX-License-Identifier: BSD-3-Clause

package testutil

import (
	"testing"

	"golang.org/x/sys/unix"
)

// WithoutCaps runs fn on a thread that lacks the given effective capabilities
// meanwhile, in the network namespace ns.
func WithoutCaps(tb testing.TB, ns *NetNS, caps []int, fn func()) {
	tb.Helper()
	ns.Do(func() {
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var all, less [2]unix.CapUserData
		if err := unix.Capget(&hdr, &all[0]); err != nil {
			tb.Fatalf("get capabilities: %v", err)
		}
		less = all
		for _, c := range caps {
			less[c/32].Effective &^= 1 << (c % 32)
		}
		if err := unix.Capset(&hdr, &less[0]); err != nil {
			tb.Fatalf("drop capabilities: %v", err)
		}
		defer func() {
			if err := unix.Capset(&hdr, &all[0]); err != nil {
				panic(err) // nothing that follows would mean anything
			}
		}()
		fn()
	})
}

// AllCaps is every capability there is.
func AllCaps() []int {
	var all []int
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		all = append(all, c)
	}
	return all
}
