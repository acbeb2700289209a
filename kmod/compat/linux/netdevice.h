/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_COMPAT_LINUX_NETDEVICE_H
#define XDPCTL_COMPAT_LINUX_NETDEVICE_H

#include_next <linux/netdevice.h>

/* That a netdev stays in its netns was a feature, then a bit of two names. */
static inline void xdpctl_netdev_keep_netns(struct net_device *dev)
{
#if defined(XDPCTL_HAVE_NETNS_IMMUTABLE)
	dev->netns_immutable = true;
#elif defined(XDPCTL_HAVE_NETNS_LOCAL)
	dev->netns_local = true;
#else
	dev->features |= NETIF_F_NETNS_LOCAL;
#endif /* XDPCTL_HAVE_NETNS_IMMUTABLE */
}

#endif /* XDPCTL_COMPAT_LINUX_NETDEVICE_H */
