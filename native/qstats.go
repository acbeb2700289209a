// SPDX-License-Identifier: BSD-3-Clause

package native

import "github.com/xdpctl/xdpctl-nl/family"

// qstatsOps are the operations of control type xdp-qstats.
func (c *Control) qstatsOps() ops[family.QstatsKey, family.Qstats] {
	return ops[family.QstatsKey, family.Qstats]{}
}
