// SPDX-License-Identifier: BSD-3-Clause

//go:build !race

package family

import "testing"

// The race detector makes sync.Pool forget things, and so cannot be on.
func TestClientAllocs(t *testing.T) {
	for name, fn := range clientOps(t, dialConst(t)) {
		if a := testing.AllocsPerRun(100, func() {
			if err := fn(); err != nil {
				t.Error(name, err)
			}
		}); a != 0 {
			t.Errorf("%s allocates %v times", name, a)
		}
	}
}
