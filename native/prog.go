// SPDX-License-Identifier: BSD-3-Clause

package native

import "github.com/xdpctl/xdpctl-nl/family"

// progOps are the operations of control type xdp-prog.
func (c *Control) progOps() ops[family.ProgKey, family.Prog] {
	return ops[family.ProgKey, family.Prog]{}
}
