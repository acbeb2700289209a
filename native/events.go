// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"

	"github.com/xdpctl/xdpctl-nl/family"
)

// Subscribe implements family.Control.
func (c *Control) Subscribe(context.Context) (family.Subscription, error) {
	return nil, errors.ErrUnsupported
}
