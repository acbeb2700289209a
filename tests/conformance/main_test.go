// SPDX-License-Identifier: BSD-3-Clause

// Package conformance holds every door to the same answers.
package conformance

import (
	"os"
	"testing"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) {
	// The parent has loaded the module, and counts what is left.
	if os.Getenv(only) != "" {
		os.Exit(m.Run())
	}
	testutil.Main(m)
}
