// SPDX-License-Identifier: BSD-3-Clause

// Package conformance holds every door to the same answers.
package conformance

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
	nativexdp "github.com/xdpctl/xdpctl-nl/native"
)

// tidy removes after the tests what the worlds share. Loading that anew for each
// would take most of the time.
type tidy struct{ *testing.M }

func (m tidy) Run() int {
	code := m.M.Run()
	if testutil.ModuleOnly() {
		return code
	}
	if _, err := nativexdp.Clean(context.Background(), nativexdp.CleanOptions{All: true}); err != nil {
		fmt.Fprintf(os.Stderr, "FAIL: %v\n", err)
		return 1
	}
	return code
}

func TestMain(m *testing.M) {
	testutil.OneProcessor()
	// The parent has loaded the module, and counts what is left.
	if os.Getenv(only) != "" {
		os.Exit(m.Run())
	}
	testutil.Main(tidy{m})
}
