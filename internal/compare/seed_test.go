// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"hash/maphash"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unsafe"
)

// hashEnv has a process print a hash.
const hashEnv = "XDPCTL_COMPARE_HASH"

// hashed is a hash that depends on nothing but what the runtime hashes by.
func hashed() uint64 {
	same := uint64(1)
	return maphash.String(*(*maphash.Seed)(unsafe.Pointer(&same)), "xdp")
}

// hashOf is that of another process.
func hashOf(t *testing.T, start func(*exec.Cmd) error) string {
	t.Helper()
	var out, stderr strings.Builder
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), hashEnv+"=1")
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	return out.String()
}

func TestStartSeeded(t *testing.T) {
	if a, b := hashOf(t, startSeeded), hashOf(t, startSeeded); a != b || a == "" {
		t.Errorf("hashed with a seed: %q and %q", a, b)
	}
	if a, b := hashOf(t, (*exec.Cmd).Start), hashOf(t, (*exec.Cmd).Start); a == b {
		t.Errorf("hashed without a seed: %q twice", a)
	}
}

func TestStartSeededError(t *testing.T) {
	if err := startSeeded(exec.Command("/nonexistent")); err == nil {
		t.Error("started what is not there")
	}
}
