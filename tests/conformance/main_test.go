// SPDX-License-Identifier: BSD-3-Clause

// Package conformance holds every door to the same answers.
package conformance

import (
	"testing"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }
