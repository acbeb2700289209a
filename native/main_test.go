// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"fmt"
	"os"
	"testing"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) {
	if spec, ok := os.LookupEnv(doomedEnv); ok {
		if err := runDoomed(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testutil.WatchFDs(m)
}

// newBPFFS mounts a bpffs of the test's own, and returns where.
func newBPFFS(t *testing.T) string {
	t.Helper()
	return testutil.MountBPFFS(t)
}

// newControl opens a Control of ns, with all its state in the bpffs.
func newControl(t *testing.T, ns *testutil.NetNS, bpffs string) *Control {
	t.Helper()
	c, err := Open(Options{NetNS: ns.FD(), BPFFS: bpffs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}
