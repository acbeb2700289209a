// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"context"

	"github.com/xdpctl/xdpctl-nl/family"
)

// client speaks to one door through family.Control.
type client struct {
	control family.Control
	bed     *bed
}

func (c *client) lookup(ifindex uint32) op {
	ctx, stats := context.Background(), c.control.Stats()
	key, value := &family.StatsKey{Ifindex: ifindex}, new(family.Stats)
	return func() (int, error) { return 1, stats.Lookup(ctx, key, value) }
}

func (c *client) iterate() op {
	ctx, stats := context.Background(), c.control.Stats()
	key, value := new(family.StatsKey), new(family.Stats)
	return func() (int, error) {
		cur := stats.Cursor(ctx, nil)
		defer cur.Close()
		entries := 0
		for cur.Next(key, value) {
			entries++
		}
		return entries, cur.Err()
	}
}

func (c *client) attach() op {
	ctx, prog := context.Background(), c.control.Prog()
	key := &family.ProgKey{Ifindex: c.bed.veth, Queue: family.QueueAll}
	return func() (int, error) {
		if err := prog.Update(ctx, key, attachValue(c.bed.programs[0]), family.UpdateNoexist); err != nil {
			return 0, err
		}
		return 1, prog.Delete(ctx, key)
	}
}

func (c *client) replace() op {
	ctx, prog := context.Background(), c.control.Prog()
	key := &family.ProgKey{Ifindex: c.bed.veth, Queue: family.QueueAll}
	turn := 0
	return func() (int, error) {
		turn++
		return 1, prog.Update(ctx, key, attachValue(c.bed.programs[turn&1]), family.UpdateExist)
	}
}
