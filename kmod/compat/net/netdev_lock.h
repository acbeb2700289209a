/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_COMPAT_NET_NETDEV_LOCK_H
#define XDPCTL_COMPAT_NET_NETDEV_LOCK_H

/* From 6.15 on some drivers have a lock of each netdev around their ops. */
#ifdef XDPCTL_HAVE_NETDEV_LOCK_OPS
#include_next <net/netdev_lock.h>
#else
#include <linux/netdevice.h>

static inline void netdev_lock_ops(struct net_device *dev)
{
}

static inline void netdev_unlock_ops(struct net_device *dev)
{
}
#endif /* XDPCTL_HAVE_NETDEV_LOCK_OPS */

#endif /* XDPCTL_COMPAT_NET_NETDEV_LOCK_H */
