// SPDX-License-Identifier: BSD-3-Clause

// Package stress races everything that can happen to the module at once: what
// a door does against netdevs, network namespaces, control devices, processes
// and the module itself going away under it.
//
// XDPCTL_ROUNDS says how often each race is run. From soakRounds on, a race
// whose outcomes have not all been seen fails: it was none.
package stress

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// deferred is how long the kernel may take for what it puts off.
const deferred = 30 * time.Second

// soakRounds is how many rounds must show every outcome of a race.
const soakRounds = 200

// The main thread cannot end, so it must not be the one on which a goroutine
// enters a namespace for good.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if os.Getenv(victimEnv) != "" {
		os.Exit(victim())
	}
	if testutil.InVM() {
		if err := stageModule(); err != nil {
			fmt.Fprintf(os.Stderr, "FAIL: %v\n", err)
			os.Exit(1)
		}
	}
	testutil.Main(m)
}

// stageModule puts the module, without its debugging information, into the
// guest's memory, since it is loaded often, and loads those that the tests need.
func stageModule() error {
	from, err := testutil.ModulePath()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", "xdpctl-*.ko")
	if err != nil {
		return err
	}
	f.Close()
	if out, err := exec.Command("strip", "--strip-debug", "-o", f.Name(), from).CombinedOutput(); err != nil {
		return fmt.Errorf("strip module: %w: %s", err, out)
	}
	// The BTF of these stays, like the modules themselves.
	if out, err := exec.Command("modprobe", "-a", "veth", "dummy").CombinedOutput(); err != nil && !testutil.DebugKernel() {
		return fmt.Errorf("load modules of netdevs: %w: %s", err, out)
	}
	return os.Setenv("XDPCTL_KO", f.Name())
}

// rounds is how often to run a race that is run n times by default, on the
// debug kernel a third of that.
func rounds(t *testing.T, n int) int {
	t.Helper()
	if s := os.Getenv("XDPCTL_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			t.Fatalf("XDPCTL_ROUNDS is %q, want a number", s)
		}
		return n
	}
	if testutil.DebugKernel() {
		return (n + 2) / 3
	}
	return n
}

// stress runs a race, and then makes sure that nothing is left of it: no BPF
// object, no reference to the module, no report of the kernel.
func stress(t *testing.T, race func(t *testing.T)) {
	t.Helper()
	log, err := testutil.OpenKernelLog()
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	before := bpfObjects(t)
	start := time.Now()
	t.Run("race", race)
	t.Logf("the race took %v", time.Since(start).Round(time.Millisecond))
	if err := testutil.UnloadModule(deferred); err != nil {
		t.Fatal(err)
	}
	if left := settle(t, before); len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	if err := testutil.LoadModule(); err != nil {
		t.Fatal(err)
	}
	for _, line := range log.Splats() {
		t.Errorf("kernel: %s", line)
	}
}

// settle waits until there are no more BPF objects than before, and returns
// those that stay.
func settle(t *testing.T, before map[string]bool) []string {
	t.Helper()
	for end := time.Now().Add(deferred); ; time.Sleep(5 * time.Millisecond) {
		var left []string
		for o := range bpfObjects(t) {
			if !before[o] {
				left = append(left, o)
			}
		}
		if len(left) == 0 || time.Now().After(end) {
			slices.Sort(left)
			return left
		}
	}
}

// bpfObjects is the set of all BPF objects.
func bpfObjects(t *testing.T) map[string]bool {
	t.Helper()
	objects := make(map[string]bool)
	for kind, cmd := range map[string]int{
		"program": unix.BPF_PROG_GET_NEXT_ID,
		"map":     unix.BPF_MAP_GET_NEXT_ID,
		"link":    unix.BPF_LINK_GET_NEXT_ID,
		"BTF":     unix.BPF_BTF_GET_NEXT_ID,
	} {
		ids, err := nextIDs(cmd)
		if err != nil {
			t.Fatalf("list %s ids: %v", kind, err)
		}
		for _, id := range ids {
			objects[fmt.Sprintf("%s %d", kind, id)] = true
		}
	}
	return objects
}
