/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's own word on what XDP can do on a netdev: xdp_features and RX
 * metadata from 6.3 on, segments from 6.6 on, VLAN tags from 6.8 on.
 */
#ifndef XDPCTL_XDP_FEATURES_H
#define XDPCTL_XDP_FEATURES_H

#include <linux/netdevice.h>
#include <net/xdp.h>

#ifdef XDPCTL_HAVE_XDP_FEATURES
static inline bool xdpctl_xdp_features(const struct net_device *dev,
				       u64 *features)
{
	*features = READ_ONCE(dev->xdp_features);
	return true;
}
#else
static inline bool xdpctl_xdp_features(const struct net_device *dev,
				       u64 *features)
{
	return false;
}
#endif /* XDPCTL_HAVE_XDP_FEATURES */

#ifdef XDPCTL_HAVE_XDP_ZC_MAX_SEGS
static inline u32 xdpctl_xdp_zc_max_segs(const struct net_device *dev)
{
	return READ_ONCE(dev->xdp_zc_max_segs);
}
#else
/* One was all there could be. */
static inline u32 xdpctl_xdp_zc_max_segs(const struct net_device *dev)
{
	return 1;
}
#endif /* XDPCTL_HAVE_XDP_ZC_MAX_SEGS */

#ifdef XDPCTL_HAVE_XDP_METADATA_OPS
static inline bool xdpctl_xdp_rx_metadata(const struct net_device *dev,
					  bool *timestamp, bool *hash,
					  bool *vlan_tag)
{
	const struct xdp_metadata_ops *ops = READ_ONCE(dev->xdp_metadata_ops);

	*timestamp = ops && ops->xmo_rx_timestamp;
	*hash = ops && ops->xmo_rx_hash;
#ifdef XDPCTL_HAVE_XDP_RX_VLAN_TAG
	*vlan_tag = ops && ops->xmo_rx_vlan_tag;
#else
	*vlan_tag = false;
#endif /* XDPCTL_HAVE_XDP_RX_VLAN_TAG */
	return true;
}
#else
static inline bool xdpctl_xdp_rx_metadata(const struct net_device *dev,
					  bool *timestamp, bool *hash,
					  bool *vlan_tag)
{
	return false;
}
#endif /* XDPCTL_HAVE_XDP_METADATA_OPS */

#endif /* XDPCTL_XDP_FEATURES_H */
