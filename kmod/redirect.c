// SPDX-License-Identifier: GPL-2.0-only
/*
 * SETUP_REDIRECT: makes a netdev without an XDP program able to send the frames
 * that are redirected to it.
 */
#include "attr.h"

int xdpctl_redirect_set(struct xdpctl_req *req, u32 ifindex, u32 num, u32 size)
{
	return -EOPNOTSUPP;
}

void xdpctl_redirect_fill(const struct xdpctl_dev *xd, struct xdpctl_attr *v)
{
}
