// SPDX-License-Identifier: BSD-3-Clause

package ethtool

import (
	"maps"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// Whatever comes is read or refused, and what was read is the same when it is
// written and read once more.
func FuzzAnswers(f *testing.F) {
	f.Add(appendBitset(nil, map[string]bool{"rx-gro": true, "rx-lro": false}))
	f.Add(genl.AppendUint32(genl.AppendUint32(nil, unix.ETHTOOL_A_RINGS_RX_MAX, 4096), unix.ETHTOOL_A_RINGS_RX, 512))
	f.Fuzz(func(t *testing.T, b []byte) {
		var max, now uint32
		numbers := fields{unix.ETHTOOL_A_RINGS_RX_MAX: &max, unix.ETHTOOL_A_RINGS_RX: &now}
		_ = eachAttr(b, numbers.read)
		set, err := parseBitset(b)
		if err != nil {
			return
		}
		again, err := parseBitset(appendBitset(nil, set))
		if err != nil || !maps.Equal(set, again) {
			t.Errorf("%v is %v when read again: %v", set, again, err)
		}
	})
}
