/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hardware time stamps of received frames, as SIOCSHWTSTAMP turns them on. From
 * 6.5 on drivers can be asked from inside the kernel; those that only have the
 * ioctl cannot.
 */
#ifndef XDPCTL_HWTSTAMP_H
#define XDPCTL_HWTSTAMP_H

#include <linux/net_tstamp.h>
#include <linux/netdevice.h>

#ifdef XDPCTL_HAVE_NDO_HWTSTAMP
static inline int xdpctl_hwtstamp_get(struct net_device *dev,
				      struct kernel_hwtstamp_config *cfg)
{
	const struct net_device_ops *ops = dev->netdev_ops;

	if (!ops->ndo_hwtstamp_get || !ops->ndo_hwtstamp_set)
		return -EOPNOTSUPP;
	if (!netif_device_present(dev))
		return -ENODEV;
	return ops->ndo_hwtstamp_get(dev, cfg);
}

/* The filter for received frames, HWTSTAMP_FILTER_*, or an error. */
static inline int xdpctl_hwtstamp_rx_filter(struct net_device *dev)
{
	struct kernel_hwtstamp_config cfg = {};

	return xdpctl_hwtstamp_get(dev, &cfg) ?: cfg.rx_filter;
}

/* What is sent stays as it is. */
static inline int xdpctl_hwtstamp_set_rx_filter(struct net_device *dev,
						int filter)
{
	struct kernel_hwtstamp_config cfg = {};
	struct netlink_ext_ack unused = {};
	int err;

	err = xdpctl_hwtstamp_get(dev, &cfg);
	if (err)
		return err;
	cfg.rx_filter = filter;
	return dev->netdev_ops->ndo_hwtstamp_set(dev, &cfg, &unused);
}
#else
static inline int xdpctl_hwtstamp_rx_filter(struct net_device *dev)
{
	return -EOPNOTSUPP;
}

static inline int xdpctl_hwtstamp_set_rx_filter(struct net_device *dev,
						int filter)
{
	return -EOPNOTSUPP;
}
#endif /* XDPCTL_HAVE_NDO_HWTSTAMP */

#endif /* XDPCTL_HWTSTAMP_H */
