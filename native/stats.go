// SPDX-License-Identifier: BSD-3-Clause

package native

import "github.com/xdpctl/xdpctl-nl/family"

// statsOps are the operations of control type xdp-stats.
func (c *Control) statsOps() ops[family.StatsKey, family.Stats] {
	return ops[family.StatsKey, family.Stats]{}
}
