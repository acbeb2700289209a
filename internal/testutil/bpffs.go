// SPDX-License-Identifier: BSD-3-Clause

package testutil

import (
	"testing"

	"golang.org/x/sys/unix"
)

// MountBPFFS mounts a bpffs of the test's own, which goes with the test and all
// that is pinned in it, and returns where.
func MountBPFFS(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, "mode=0700"); err != nil {
		tb.Fatalf("mount bpffs: %v", err)
	}
	tb.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			tb.Errorf("unmount bpffs: %v", err)
		}
	})
	return dir
}
