// SPDX-License-Identifier: BSD-3-Clause

package skeltest

import (
	"os"
	"testing"
)

func TestSkeletons(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("loading a program needs root")
	}
	Run(t, os.Getenv("SKELTEST_STRICT") != "")
}
