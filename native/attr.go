// SPDX-License-Identifier: BSD-3-Clause

package native

import "github.com/xdpctl/xdpctl-nl/family"

// attrOps are the operations of control type xdp-attr.
func (c *Control) attrOps() ops[family.AttrKey, family.Attr] {
	return ops[family.AttrKey, family.Attr]{}
}
