// SPDX-License-Identifier: BSD-3-Clause

package hostile

import "testing"

// TestJump jumps out of updates with a signal handler: they were done or not,
// and the calls that follow have results of their own.
func TestJump(t *testing.T) {
	w := newWorld(t)
	w.run("jump", rounds(t, 1000))
	w.settle()
}

// TestNested updates in a signal handler that interrupts an update.
func TestNested(t *testing.T) {
	w := newWorld(t)
	w.run("nest", rounds(t, 300))
	w.settle()
}

// TestExits executes and exits while other threads update.
func TestExits(t *testing.T) {
	w := newWorld(t)
	w.run("exits", rounds(t, 60))
	w.settle()
}

// TestFDs replaces the fds that an update needs for a moment.
func TestFDs(t *testing.T) {
	w := newWorld(t)
	w.run("fds", 2*rounds(t, 1000))
	w.settle()
}

// TestNamespaces changes namespaces between updates and beside them.
func TestNamespaces(t *testing.T) {
	w := newWorld(t)
	w.run("netns", rounds(t, 100))
	w.settle()
}
