// SPDX-License-Identifier: BSD-3-Clause

// Package native shows XDP control without the module at work, with frames, on
// the kernels of the virtual machine.
package native

import (
	"testing"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/native"
)

func TestMain(m *testing.M) { testutil.MainWithoutModule(m) }

// newControl opens XDP control of ns, with all its state in a bpffs of the
// test's own.
func newControl(t *testing.T, ns *testutil.NetNS) *native.Control {
	t.Helper()
	c, err := native.Open(native.Options{NetNS: ns.FD(), BPFFS: testutil.MountBPFFS(t)})
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
