// SPDX-License-Identifier: BSD-3-Clause

// Package cli runs the tool as its users do: scripts of command lines, over
// the module, through either door.
package cli

import (
	"testing"

	"github.com/xdpctl/xdpctl-nl/internal/scripttest"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// module loads and unloads the module around the tests.
type module struct{ m *testing.M }

func (m module) Run() int {
	testutil.Main(m.m)
	return 0
}

func TestMain(m *testing.M) {
	if !testutil.InVM() && !scripttest.IsTool() {
		testutil.Main(m) // which ends here, and has nothing to clean up
	}
	scripttest.Main(module{m})
}

// TestScripts runs the scripts through each door.
func TestScripts(t *testing.T) {
	var skip []string
	if testutil.DebugKernel() {
		skip = []string{"object"} // minutes of the verifier, and little of the module
	}
	for _, via := range []string{"netlink", "map"} {
		t.Run(via, func(t *testing.T) {
			scripttest.Run(t, scripttest.Way{Via: via, Skip: skip}, "testdata")
		})
	}
}
