// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rings of a netdev: how many, how large, and more of them, through the
 * driver's ethtool operations as ethtool uses them.
 *
 * Rings are only ever added. They are taken back if they are still what was
 * made of them, and if nobody has come to rely on them.
 */
#include <linux/ethtool.h>
#include <linux/ethtool_netlink.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <net/xdp_sock_drv.h>

#include "attr.h"
#include "drvstats.h"

/**
 * struct side - the channels of one side of a netdev
 * @count: those that are changed, in the ethtool_channels of the driver
 * @max: most of them
 * @others: those that count as well, and are left alone
 * @combined: @count are combined channels
 */
struct side {
	u32 *count;
	u32 max;
	u32 others;
	bool combined;
};

/* A driver that has both kinds goes on with the one that is in use. */
static struct side side_of(struct ethtool_channels *ch,
			   enum xdpctl_ring_side side)
{
	u32 *own = side == XDPCTL_RINGS_RX ? &ch->rx_count : &ch->tx_count;
	u32 max = side == XDPCTL_RINGS_RX ? ch->max_rx : ch->max_tx;

	if (max && !ch->combined_count)
		return (struct side){ .count = own, .max = max };
	return (struct side){
		.count = &ch->combined_count,
		.max = ch->max_combined,
		.others = *own,
		.combined = true,
	};
}

static u32 queues_of(const struct net_device *dev, enum xdpctl_ring_side side)
{
	return side == XDPCTL_RINGS_RX ? dev->real_num_rx_queues :
					 dev->real_num_tx_queues;
}

static const char *side_name(enum xdpctl_ring_side side)
{
	return side == XDPCTL_RINGS_RX ? "RX" : "TX";
}

static const char *name_of(const struct net_device *dev)
{
	return xdpctl_driver_parent(dev) ?: "of the netdev";
}

/**
 * xdpctl_rings_num() - how many rings a netdev has
 * @dev: the netdev
 * @side: which
 *
 * Context: RTNL; sleeps.
 * Return: their number.
 */
u32 xdpctl_rings_num(struct net_device *dev, enum xdpctl_ring_side side)
{
	struct ethtool_channels ch = { .cmd = ETHTOOL_GCHANNELS };
	u32 num = queues_of(dev, side);
	struct side s;

	ASSERT_RTNL();
	if (!dev->ethtool_ops->get_channels || xdpctl_driver_begin(dev))
		return num;
	dev->ethtool_ops->get_channels(dev, &ch);
	xdpctl_driver_end(dev);
	s = side_of(&ch, side);
	return *s.count + s.others ?: num;
}

/**
 * xdpctl_rings_size() - how many frames a TX ring of a netdev holds
 * @dev: the netdev
 *
 * Context: RTNL; sleeps.
 * Return: their number; 0 if the driver does not tell.
 */
u32 xdpctl_rings_size(struct net_device *dev)
{
	struct ethtool_ringparam ring = { .cmd = ETHTOOL_GRINGPARAM };
	struct kernel_ethtool_ringparam kring = {};

	ASSERT_RTNL();
	if (!dev->ethtool_ops->get_ringparam || xdpctl_driver_begin(dev))
		return 0;
	dev->ethtool_ops->get_ringparam(dev, &ring, &kring, NULL);
	xdpctl_driver_end(dev);
	return ring.tx_pending;
}

/* A driver that refuses because of a program does not say so. */
static int refused(struct xdpctl_req *req, const struct net_device *dev,
		   const char *what, int err)
{
	if (xdpctl_state_prog(dev, XDP_MODE_DRV)) {
		xdpctl_extack_fmt(req->extack,
				  "driver %s does not change %s while an XDP program is attached",
				  name_of(dev), what);
		return -EBUSY;
	}
	xdpctl_extack_fmt(req->extack, "driver %s refuses to change %s",
			  name_of(dev), what);
	return err;
}

/* Between xdpctl_driver_begin() and xdpctl_driver_end(). */
static int raise(struct xdpctl_req *req, struct net_device *dev,
		 enum xdpctl_ring_side side, u32 num,
		 struct xdpctl_ring_change *c)
{
	struct ethtool_channels ch = { .cmd = ETHTOOL_GCHANNELS };
	struct side s;
	u32 old;
	int err;

	dev->ethtool_ops->get_channels(dev, &ch);
	s = side_of(&ch, side);
	if (num <= *s.count + s.others)
		return 0;
	if (!dev->ethtool_ops->set_channels) {
		xdpctl_extack_fmt(req->extack,
				  "driver %s has %u %s rings and cannot change that",
				  name_of(dev), *s.count + s.others,
				  side_name(side));
		return -EOPNOTSUPP;
	}
	if (num > s.max + s.others) {
		xdpctl_extack_fmt(req->extack,
				  "driver %s has at most %u %s rings here",
				  name_of(dev), s.max + s.others,
				  side_name(side));
		return -EOPNOTSUPP;
	}
	old = *s.count;
	*s.count = num - s.others;
	err = dev->ethtool_ops->set_channels(dev, &ch);
	if (err)
		return refused(req, dev, "the number of its rings", err);
	c->num_old = old;
	c->num_new = num - s.others;
	c->combined = s.combined;
	return 0;
}

/**
 * xdpctl_rings_raise() - see to it that a netdev has enough rings
 * @req: the request
 * @dev: the netdev
 * @side: which rings
 * @num: how many it must have at least
 * @c: takes what was changed, if anything was; zeroed by the caller
 *
 * Context: RTNL; sleeps.
 * Return: 0 or an error, with extack, and nothing is changed.
 */
int xdpctl_rings_raise(struct xdpctl_req *req, struct net_device *dev,
		       enum xdpctl_ring_side side, u32 num,
		       struct xdpctl_ring_change *c)
{
	int err;

	ASSERT_RTNL();
	if (!dev->ethtool_ops->get_channels) {
		if (num <= queues_of(dev, side))
			return 0;
		xdpctl_extack_fmt(req->extack,
				  "driver %s has %u %s rings and cannot change that",
				  name_of(dev), queues_of(dev, side),
				  side_name(side));
		return -EOPNOTSUPP;
	}
	err = xdpctl_driver_begin(dev);
	if (err) {
		NL_SET_ERR_MSG(req->extack, "the device is not there now");
		return err;
	}
	err = raise(req, dev, side, num, c);
	xdpctl_driver_end(dev);
	if (!err && c->num_new)
		ethtool_notify(dev, ETHTOOL_MSG_CHANNELS_NTF, NULL);
	return err;
}

/* Between xdpctl_driver_begin() and xdpctl_driver_end(). */
static int resize(struct net_device *dev, struct ethtool_ringparam *ring,
		  struct kernel_ethtool_ringparam *kring, u32 size)
{
	const struct ethtool_ops *ops = dev->ethtool_ops;
	struct netlink_ext_ack unused = {};
	int err;

	ring->tx_pending = size;
	err = ops->set_ringparam(dev, ring, kring, &unused);
	if (!err)
		ops->get_ringparam(dev, ring, kring, NULL);
	return err;
}

/* Between xdpctl_driver_begin() and xdpctl_driver_end(). */
static int grow(struct xdpctl_req *req, struct net_device *dev, u32 size,
		struct xdpctl_ring_change *c)
{
	struct ethtool_ringparam ring = { .cmd = ETHTOOL_GRINGPARAM };
	const struct ethtool_ops *ops = dev->ethtool_ops;
	struct kernel_ethtool_ringparam kring = {};
	u32 old;
	int err;

	ops->get_ringparam(dev, &ring, &kring, NULL);
	old = ring.tx_pending;
	if (size <= old)
		return 0;
	if (!ops->set_ringparam || size > ring.tx_max_pending) {
		xdpctl_extack_fmt(req->extack,
				  "a TX ring of driver %s holds at most %u frames",
				  name_of(dev), ops->set_ringparam ?
				  ring.tx_max_pending : old);
		return -EOPNOTSUPP;
	}
	err = resize(dev, &ring, &kring, size);
	if (err)
		return refused(req, dev, "the size of its rings", err);
	c->size_old = old;
	c->size_new = ring.tx_pending;
	return 0;
}

/**
 * xdpctl_rings_grow() - see to it that the TX rings of a netdev are large enough
 * @req: the request
 * @dev: the netdev
 * @size: frames that each must hold
 * @c: takes what was changed, if anything was; zeroed by the caller
 *
 * Context: RTNL; sleeps.
 * Return: 0 or an error, with extack, and nothing is changed.
 */
int xdpctl_rings_grow(struct xdpctl_req *req, struct net_device *dev, u32 size,
		      struct xdpctl_ring_change *c)
{
	int err;

	ASSERT_RTNL();
	if (!dev->ethtool_ops->get_ringparam) {
		xdpctl_extack_fmt(req->extack,
				  "driver %s does not tell what its TX rings hold",
				  name_of(dev));
		return -EOPNOTSUPP;
	}
	err = xdpctl_driver_begin(dev);
	if (err) {
		NL_SET_ERR_MSG(req->extack, "the device is not there now");
		return err;
	}
	err = grow(req, dev, size, c);
	xdpctl_driver_end(dev);
	if (!err && c->size_new)
		ethtool_notify(dev, ETHTOOL_MSG_RINGS_NTF, NULL);
	return err;
}

/*
 * Has somebody come to rely on RX rings from @from on? ethtool looks exactly at
 * its table and rules; here it is enough that there are any.
 */
static bool rings_relied_on(struct net_device *dev, u32 from, u32 to)
{
	struct ethtool_rxnfc rules = { .cmd = ETHTOOL_GRXCLSRLCNT };

	for (; from < to; from++)
		if (xsk_get_pool_from_qid(dev, from))
			return true;
	if (netif_is_rxfh_configured(dev))
		return true;
	return dev->ethtool_ops->get_rxnfc &&
	       !dev->ethtool_ops->get_rxnfc(dev, &rules, NULL) &&
	       rules.rule_cnt;
}

/* Between xdpctl_driver_begin() and xdpctl_driver_end(). */
static bool lower(struct net_device *dev, enum xdpctl_ring_side side,
		  const struct xdpctl_ring_change *c)
{
	struct ethtool_channels ch = { .cmd = ETHTOOL_GCHANNELS };
	u32 before, after;
	struct side s;

	dev->ethtool_ops->get_channels(dev, &ch);
	s = side_of(&ch, side);
	if (s.combined != c->combined || *s.count != c->num_new)
		return false;
	before = ch.combined_count + max(ch.rx_count, ch.tx_count);
	*s.count = c->num_old;
	after = ch.combined_count + min(ch.rx_count, ch.tx_count);
	if (rings_relied_on(dev, after, before))
		return false;
	return !dev->ethtool_ops->set_channels(dev, &ch);
}

/* Between xdpctl_driver_begin() and xdpctl_driver_end(). */
static bool shrink(struct net_device *dev, const struct xdpctl_ring_change *c)
{
	struct ethtool_ringparam ring = { .cmd = ETHTOOL_GRINGPARAM };
	struct kernel_ethtool_ringparam kring = {};

	dev->ethtool_ops->get_ringparam(dev, &ring, &kring, NULL);
	return ring.tx_pending == c->size_new &&
	       !resize(dev, &ring, &kring, c->size_old);
}

/**
 * xdpctl_rings_restore() - undo xdpctl_rings_raise() and xdpctl_rings_grow()
 * @dev: the netdev
 * @side: the rings that were raised
 * @c: what was changed
 *
 * What somebody else has changed since, has come to rely on, or what the driver
 * does not give back now, stays.
 * Context: RTNL; sleeps.
 */
void xdpctl_rings_restore(struct net_device *dev, enum xdpctl_ring_side side,
			  const struct xdpctl_ring_change *c)
{
	bool num = false, size = false;

	ASSERT_RTNL();
	if ((!c->num_new && !c->size_new) || xdpctl_driver_begin(dev))
		return;
	if (c->size_new)
		size = shrink(dev, c);
	if (c->num_new)
		num = lower(dev, side, c);
	xdpctl_driver_end(dev);
	if (size)
		ethtool_notify(dev, ETHTOOL_MSG_RINGS_NTF, NULL);
	if (num)
		ethtool_notify(dev, ETHTOOL_MSG_CHANNELS_NTF, NULL);
}
