// SPDX-License-Identifier: BSD-3-Clause

package native

import "context"

var testMeterFollow func(ifindex uint32) error

func (c *Control) meterFollow(_ context.Context, ifindex uint32) error {
	if testMeterFollow != nil {
		return testMeterFollow(ifindex)
	}
	return nil
}
