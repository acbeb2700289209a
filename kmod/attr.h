/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_ATTR_H
#define XDPCTL_ATTR_H

#include "attach.h"
#include "ctrl.h"

/**
 * struct xdpctl_settings - what xdp_attr has set on a netdev
 *
 * Made by the first setting of a netdev and kept until the netdev goes. Under
 * RTNL; changed under xdpctl_change_mutex as well. While anything is set the
 * module is held.
 */
struct xdpctl_settings {
	int todo;
};

/* redirect.c */
int xdpctl_redirect_set(struct xdpctl_req *req, u32 ifindex, u32 num, u32 size);
void xdpctl_redirect_fill(const struct xdpctl_dev *xd, struct xdpctl_attr *v);

/* metadata.c */
int xdpctl_md_set(struct xdpctl_req *req, u32 ifindex, bool on);
void xdpctl_md_fill(const struct xdpctl_dev *xd, struct xdpctl_attr *v);

#endif /* XDPCTL_ATTR_H */
