/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_ATTR_H
#define XDPCTL_ATTR_H

#include "attach.h"
#include "ctrl.h"

/* Which rings of a netdev are meant. */
enum xdpctl_ring_side {
	XDPCTL_RINGS_TX,
	XDPCTL_RINGS_RX,
};

/**
 * struct xdpctl_ring_change - what was changed of the rings of a netdev
 * @num_old: channels that there were, of the kind that was changed
 * @num_new: channels that were made of it; 0 if nothing was changed
 * @combined: they are combined channels, else those of the side
 * @size_old: frames that a TX ring held
 * @size_new: frames that it was made to hold; 0 if nothing was changed
 */
struct xdpctl_ring_change {
	u32 num_old;
	u32 num_new;
	bool combined;
	u32 size_old;
	u32 size_new;
};

/**
 * struct xdpctl_redirect - SETUP_REDIRECT of a netdev
 * @on: it is set up
 * @placeholder: the netdev needs a placeholder, and attach.c sees to it
 * @gro: GRO of the peer was turned on; of a veth only
 * @rings: the rings that take redirected frames; of a veth those are RX rings
 *	of its peer
 * @queues: RX rings of the netdev itself; of a veth only
 */
struct xdpctl_redirect {
	bool on;
	bool placeholder;
	bool gro;
	struct xdpctl_ring_change rings;
	struct xdpctl_ring_change queues;
};

/**
 * struct xdpctl_md - SETUP_MD of a netdev
 * @users: how many have turned it on
 * @features: features of the netdev that were turned on for it
 * @rx_filter: filter for hardware time stamps that there was, if @stamps
 * @stamps: hardware time stamps were turned on for it
 */
struct xdpctl_md {
	u32 users;
	netdev_features_t features;
	int rx_filter;
	bool stamps;
};

/**
 * struct xdpctl_settings - what xdp_attr has set on a netdev
 * @xd: the netdev
 * @redirect: SETUP_REDIRECT
 * @md: SETUP_MD
 *
 * Made by the first setting of a netdev and kept until the netdev goes. Under
 * RTNL; changed under xdpctl_change_mutex as well, and freed under RTNL alone.
 * Each setting that is on holds the module.
 */
struct xdpctl_settings {
	struct xdpctl_dev *xd;
	struct xdpctl_redirect redirect;
	struct xdpctl_md md;
};

/* ctrl_attr.c */
struct xdpctl_dev *xdpctl_attr_dev(struct xdpctl_req *req, u32 ifindex);
struct xdpctl_settings *xdpctl_settings_get(struct xdpctl_req *req,
					    struct xdpctl_dev *xd);

/* redirect.c */
int xdpctl_redirect_set(struct xdpctl_req *req, u32 ifindex, u32 num, u32 size);
void xdpctl_redirect_fill(const struct xdpctl_dev *xd, struct xdpctl_attr *v);
void xdpctl_redirect_dev_del(struct xdpctl_settings *s);

/* metadata.c */
int xdpctl_md_set(struct xdpctl_req *req, u32 ifindex, bool on);
int xdpctl_md_clear(struct xdpctl_req *req, u32 ifindex);
void xdpctl_md_fill(const struct xdpctl_dev *xd, struct xdpctl_attr *v);
void xdpctl_md_dev_del(struct xdpctl_settings *s);

/* rings.c */
u32 xdpctl_rings_num(struct net_device *dev, enum xdpctl_ring_side side);
u32 xdpctl_rings_size(struct net_device *dev);
int xdpctl_rings_raise(struct xdpctl_req *req, struct net_device *dev,
		       enum xdpctl_ring_side side, u32 num,
		       struct xdpctl_ring_change *c);
int xdpctl_rings_grow(struct xdpctl_req *req, struct net_device *dev, u32 size,
		      struct xdpctl_ring_change *c);
void xdpctl_rings_restore(struct net_device *dev, enum xdpctl_ring_side side,
			  const struct xdpctl_ring_change *c);

#endif /* XDPCTL_ATTR_H */
