// SPDX-License-Identifier: BSD-3-Clause

package native

import "github.com/xdpctl/xdpctl-nl/family"

// capsOps are the operations of control type xdp-caps.
func (c *Control) capsOps() ops[family.CapsKey, family.Caps] {
	return ops[family.CapsKey, family.Caps]{}
}
