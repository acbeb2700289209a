// SPDX-License-Identifier: BSD-3-Clause

// Package servers runs the tool as its users do where there is no module: over
// the server in its own process, and over one on a socket. It needs no virtual
// machine, but runs there too.
package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/xdpctl/xdpctl-nl/internal/apart"
	"github.com/xdpctl/xdpctl-nl/internal/scripttest"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	"github.com/xdpctl/xdpctl-nl/native"
)

// withoutModule runs the tests, in the virtual machine with all that is checked
// there.
type withoutModule struct{ m *testing.M }

func (w withoutModule) Run() int {
	if !testutil.InVM() {
		return w.m.Run()
	}
	testutil.MainWithoutModule(w.m)
	return 0
}

func TestMain(m *testing.M) {
	if !scripttest.IsTool() {
		if err := apart.Enter(); err != nil {
			fmt.Fprintf(os.Stderr, "FAIL: %v\n", err)
			os.Exit(1)
		}
	}
	scripttest.Main(withoutModule{m})
}

// TestScripts runs the scripts that are run over the module too, and some more.
func TestScripts(t *testing.T) {
	// What the scripts leave pinned would count as left behind.
	t.Cleanup(func() {
		if _, err := native.Clean(context.Background(), native.CleanOptions{All: true}); err != nil {
			t.Error(err)
		}
	})
	// The module counts from its load on, whichever script comes first.
	c, err := native.Open(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.CountExceptions(t.Context()), c.Close()); err != nil {
		t.Fatal(err)
	}
	for _, server := range []string{"embedded", "socket"} {
		t.Run(server, func(t *testing.T) {
			scripttest.Run(t, scripttest.Way{
				Via: "netlink", Server: server,
				Skip: []string{"map"}, // control maps are the module's
			}, "../cli/testdata", "testdata")
		})
	}
}
