// SPDX-License-Identifier: BSD-3-Clause

package traffic

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// InNetNS runs f in the network namespace at path, such as /run/netns/NAME. An
// empty path is the caller's own namespace. What f opens stays in the
// namespace; f must not start goroutines that rely on it.
func InNetNS(path string, f func() error) error {
	if path == "" {
		return f()
	}
	there, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer unix.Close(there)

	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, so that none
		// in another namespace goes back to the scheduler.
		runtime.LockOSThread()
		if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter network namespace %s: %w", path, err)
			return
		}
		done <- f()
	}()
	return <-done
}
