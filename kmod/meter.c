// SPDX-License-Identifier: GPL-2.0-only
/*
 * The meter: counts the verdicts of the program on a netdev, whatever driver and
 * mode, without the help of the program.
 */
#include "meter.h"

/**
 * xdpctl_meter_set() - turn the meter of a netdev on or off
 * @req: the request; @req->file is the program that the caller says is there,
 *	or NULL
 * @ifindex: the netdev
 * @on: which
 *
 * Context: process context, xdpctl_change_mutex, no RTNL.
 * Return: 0 or an error, with extack.
 */
int xdpctl_meter_set(struct xdpctl_req *req, u32 ifindex, bool on)
{
	return -EOPNOTSUPP;
}

/**
 * xdpctl_meter_fill() - report the setting
 * @xd: the netdev
 * @v: where
 *
 * Context: RTNL.
 */
void xdpctl_meter_fill(const struct xdpctl_dev *xd, struct xdpctl_attr *v)
{
}

/**
 * xdpctl_meter_read() - read the counters of a meter
 * @xd: the netdev
 * @queue: an RX queue, or XDPCTL_QUEUE_ALL for the sum of all
 * @counts: where they go, by action
 *
 * Context: RTNL.
 * Return: whether the verdicts of what is on the netdev are counted.
 */
bool xdpctl_meter_read(const struct xdpctl_dev *xd, u32 queue,
		       u64 counts[XDPCTL_METER_KINDS])
{
	return false;
}

/**
 * xdpctl_meter_dev_del() - the netdev goes
 * @xd: the netdev
 *
 * Context: RTNL.
 */
void xdpctl_meter_dev_del(struct xdpctl_dev *xd)
{
}

/**
 * xdpctl_tap_new() - count the verdicts of a program when it runs on a netdev
 * @req: the request, told why not
 * @m: the meter of the netdev
 * @prog: file of the program, which need not be on the netdev yet
 *
 * Both the program that is there and the one that takes its place have a tap for
 * a while, so that no verdict is missed.
 * Context: process context, xdpctl_change_mutex, no RTNL.
 * Return: the tap or an error.
 */
struct xdpctl_tap *xdpctl_tap_new(struct xdpctl_req *req,
				  struct xdpctl_meter *m, struct file *prog)
{
	return ERR_PTR(-EOPNOTSUPP);
}

/**
 * xdpctl_tap_swap() - the program on the netdev of a meter is another now
 * @m: the meter
 * @tap: the tap of the program that is there, or NULL
 *
 * Context: xdpctl_change_mutex, RTNL.
 * Return: the tap that was there before, to be freed, or NULL.
 */
struct xdpctl_tap *xdpctl_tap_swap(struct xdpctl_meter *m, struct xdpctl_tap *tap)
{
	return NULL;
}

/**
 * xdpctl_tap_free() - undo xdpctl_tap_new()
 * @tap: the tap, or NULL
 *
 * Context: process context, no RTNL.
 */
void xdpctl_tap_free(struct xdpctl_tap *tap)
{
}
