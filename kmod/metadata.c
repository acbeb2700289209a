// SPDX-License-Identifier: GPL-2.0-only
/*
 * SETUP_MD: turns the RX metadata of a netdev on and off.
 */
#include "attr.h"

int xdpctl_md_set(struct xdpctl_req *req, u32 ifindex, bool on)
{
	return -EOPNOTSUPP;
}

void xdpctl_md_fill(const struct xdpctl_dev *xd, struct xdpctl_attr *v)
{
}
