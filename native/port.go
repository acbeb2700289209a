// SPDX-License-Identifier: BSD-3-Clause

package native

import "github.com/xdpctl/xdpctl-nl/family"

// portOps are the operations of control type xdp-port.
func (c *Control) portOps() ops[family.PortKey, family.Port] {
	return ops[family.PortKey, family.Port]{}
}
