// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whether all frames that a veth counts as XDP frames have met a program.
 *
 * It counts what it takes by NAPI, which it does for a program, but also for
 * GRO, and still while a program is being detached: so the counter says what
 * a program saw until one of these has happened. None of them is told to
 * others, but each can be seen:
 *
 * - NAPI works without a program if GRO is on. That is a feature of the veth,
 *   and looked at when the features change and when the veth comes up.
 * - Detaching gives back to the peer what a program takes from it, segmentation
 *   offload: the peer's features change before the core forgets the program.
 *   A peer that has none to lose shows nothing, and does not count as seen.
 * - Closing the veth detaches the program, too. Frames that were counted
 *   meanwhile may have missed it.
 *
 * Attaching sets the program before NAPI.
 */
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>

#include "drvstats.h"

/*
 * Those of NETIF_F_GSO_SOFTWARE that depend on no other feature, so that the
 * core does not take them away by itself.
 */
#define VETH_TELLTALE	(NETIF_F_GSO_SCTP | NETIF_F_GSO_FRAGLIST)

static bool has_native_prog(const struct net_device *dev)
{
	const struct bpf_xdp_entity *e = &dev->xdp_state[XDP_MODE_DRV];

	return e->prog || e->link;
}

/* RTNL keeps the peer. */
static struct net_device *veth_peer(struct net_device *dev)
{
	struct net_device *peer;

	ASSERT_RTNL();
	rcu_read_lock();
	peer = dev->netdev_ops->ndo_get_peer_dev(dev);
	rcu_read_unlock();
	return peer;
}

static struct xdpctl_drvstats *veth_stats(const struct net_device *dev)
{
	struct xdpctl_dev *xd = xdpctl_dev_get(dev_net(dev), dev->ifindex);

	if (!xd || xd->dev != dev || !xd->drv ||
	    !(xd->drv->drv->flags & XDPCTL_DRIVER_VETH) ||
	    !dev->netdev_ops->ndo_get_peer_dev)
		return NULL;
	return xd->drv;
}

/**
 * xdpctl_veth_look() - look whether frames may pass by the program now
 * @dev: a veth
 * @ds: its counters
 *
 * Context: RTNL.
 */
void xdpctl_veth_look(struct net_device *dev, struct xdpctl_drvstats *ds)
{
	const struct net_device *peer;

	if (!ds->all_seen)
		return;
	if (!dev->netdev_ops->ndo_get_peer_dev) {
		ds->all_seen = false;
		return;
	}
	if (netif_running(dev) && (dev->wanted_features & NETIF_F_GRO) &&
	    !has_native_prog(dev))
		ds->all_seen = false;
	peer = veth_peer(dev);
	if (peer && !(peer->wanted_features & VETH_TELLTALE))
		ds->all_seen = false;
}

/* The features of @peer have changed, with the program of @dev or without. */
static void peer_changed(struct net_device *dev, const struct net_device *peer)
{
	struct xdpctl_drvstats *ds = veth_stats(dev);

	if (!ds)
		return;
	if (netif_running(dev) && has_native_prog(dev) &&
	    (peer->features & VETH_TELLTALE))
		ds->all_seen = false;
	xdpctl_veth_look(dev, ds);
}

static u64 count_frames(struct net_device *dev, struct xdpctl_drvstats *ds)
{
	struct xdpctl_counts c;

	if (xdpctl_drvstats_read(dev, ds)) {
		ds->all_seen = false;
		return 0;
	}
	xdpctl_layout_sum(&ds->layout, ds->data, XDPCTL_NO_QUEUE, &c);
	return c.n[XDPCTL_RAW_FRAMES];
}

/**
 * xdpctl_veth_event() - take note of what happens to a veth
 * @dev: any netdev
 * @event: NETDEV_*
 *
 * Context: RTNL, in the netdevice notifier.
 */
void xdpctl_veth_event(struct net_device *dev, unsigned long event)
{
	struct xdpctl_drvstats *ds;
	struct net_device *peer;

	if (event != NETDEV_UP && event != NETDEV_FEAT_CHANGE &&
	    event != NETDEV_GOING_DOWN && event != NETDEV_DOWN)
		return;
	ds = veth_stats(dev);
	if (!ds)
		return;

	switch (event) {
	case NETDEV_FEAT_CHANGE:
		peer = veth_peer(dev);
		if (peer)
			peer_changed(peer, dev);
		fallthrough;
	case NETDEV_UP:
		xdpctl_veth_look(dev, ds);
		break;
	case NETDEV_GOING_DOWN:
		if (ds->all_seen && has_native_prog(dev))
			ds->frames = count_frames(dev, ds);
		break;
	case NETDEV_DOWN:
		if (ds->all_seen && has_native_prog(dev) &&
		    ds->frames != count_frames(dev, ds))
			ds->all_seen = false;
		break;
	}
}
