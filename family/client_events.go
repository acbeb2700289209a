// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"context"
	"errors"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// Subscribe implements Control. Its Recv also returns an error matching
// os.ErrNotExist when the kernel module is unloaded.
func (c *Client) Subscribe(ctx context.Context) (Subscription, error) {
	// The ids of groups, too, are others after another load of the module.
	f, err := c.find(ctx)
	if err != nil {
		return nil, err
	}
	sub, err := c.conn.Subscribe(genl.SubscribeOptions{Family: f})
	if err != nil {
		return nil, err
	}
	return &clientSubscription{sub}, nil
}

// clientSubscription is a Subscription at the netlink door.
type clientSubscription struct {
	sub *genl.Subscription
}

// Recv implements Subscription.
func (s *clientSubscription) Recv(ctx context.Context) (Event, error) {
	for {
		m, err := s.sub.Receive(ctx)
		if err != nil {
			return Event{}, err
		}
		ev, err := DecodeEvent(m.Command, m.Attrs)
		// A newer module may tell more than is known here.
		if errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		return ev, err
	}
}

// Close implements Subscription.
func (s *clientSubscription) Close() error { return s.sub.Close() }
