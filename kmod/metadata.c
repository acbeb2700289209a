// SPDX-License-Identifier: GPL-2.0-only
/*
 * SETUP_MD: turns the RX metadata of a netdev on and off.
 *
 * A program asks the driver for it by kfuncs; what the driver has to answer
 * with depends on settings of the hardware. They are turned on here, and what
 * was turned on is turned off again after the last user. What is on is asked
 * of the netdev each time: somebody else can turn it off.
 */
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <net/netdev_lock.h>

#include "attr.h"
#include "compat/hwtstamp.h"
#include "drvstats.h"

/* A veth hands over what the skb has, and needs no setting. */
static bool needs_no_setting(const struct net_device *dev)
{
	const char *name = xdpctl_driver_parent(dev);

	return name && !strcmp(name, "veth");
}

/* The features of the netdev that @md rests on, where there is a choice. */
static netdev_features_t md_switches(const struct net_device *dev, u64 md)
{
	netdev_features_t switches = 0;

	if (needs_no_setting(dev))
		return 0;
	if (md & XDPCTL_XDP_RX_METADATA_HASH)
		switches |= NETIF_F_RXHASH;
	if (md & XDPCTL_XDP_RX_METADATA_VLAN_TAG)
		switches |= NETIF_F_HW_VLAN_CTAG_RX;
	return switches & dev->hw_features;
}

/* What is on of the metadata that there are kfuncs for. */
static u64 md_on(struct net_device *dev)
{
	netdev_features_t off;
	u64 md;

	xdpctl_caps_rx_metadata(dev, &md);
	if (needs_no_setting(dev))
		return md;
	off = md_switches(dev, md) & ~dev->features;
	if (off & NETIF_F_RXHASH)
		md &= ~XDPCTL_XDP_RX_METADATA_HASH;
	if (off & NETIF_F_HW_VLAN_CTAG_RX)
		md &= ~XDPCTL_XDP_RX_METADATA_VLAN_TAG;
	if (xdpctl_hwtstamp_rx_filter(dev) != HWTSTAMP_FILTER_ALL)
		md &= ~XDPCTL_XDP_RX_METADATA_TIMESTAMP;
	return md;
}

static void switch_features(struct net_device *dev, netdev_features_t features,
			    bool on)
{
	if (!features)
		return;
	if (on)
		dev->wanted_features |= features;
	else
		dev->wanted_features &= ~features;
	netdev_update_features(dev);
}

/* Turns on what is off; what cannot be turned on stays as it was. */
static void md_switch_on(struct net_device *dev, struct xdpctl_md *m)
{
	netdev_features_t missing;
	int filter;
	u64 md;

	xdpctl_caps_rx_metadata(dev, &md);
	netdev_lock_ops(dev);
	missing = md_switches(dev, md) & ~dev->features;
	switch_features(dev, missing, true);
	switch_features(dev, missing & ~dev->features, false);
	m->features |= missing & dev->features;

	if (md & XDPCTL_XDP_RX_METADATA_TIMESTAMP && !needs_no_setting(dev)) {
		filter = xdpctl_hwtstamp_rx_filter(dev);
		if (filter >= 0 && filter != HWTSTAMP_FILTER_ALL &&
		    !xdpctl_hwtstamp_set_rx_filter(dev, HWTSTAMP_FILTER_ALL)) {
			if (!m->stamps)
				m->rx_filter = filter;
			m->stamps = true;
		}
	}
	netdev_unlock_ops(dev);
}

static void md_switch_off(struct net_device *dev, struct xdpctl_md *m)
{
	netdev_lock_ops(dev);
	switch_features(dev, m->features, false);
	if (m->stamps &&
	    xdpctl_hwtstamp_rx_filter(dev) == HWTSTAMP_FILTER_ALL)
		xdpctl_hwtstamp_set_rx_filter(dev, m->rx_filter);
	netdev_unlock_ops(dev);
}

static int md_check(struct xdpctl_req *req, const struct net_device *dev)
{
	const char *name = xdpctl_driver_parent(dev);
	u64 md;

	if (!xdpctl_caps_rx_metadata(dev, &md)) {
		NL_SET_ERR_MSG(req->extack,
			       "the kernel has no RX metadata for XDP");
		return -EOPNOTSUPP;
	}
	if (md)
		return 0;
	if (name)
		xdpctl_extack_fmt(req->extack,
				  "driver %s gives no RX metadata", name);
	else
		NL_SET_ERR_MSG(req->extack, "the netdev gives no RX metadata");
	return -EOPNOTSUPP;
}

static void md_off(struct xdpctl_settings *s)
{
	md_switch_off(s->xd->dev, &s->md);
	memset(&s->md, 0, sizeof(s->md));
	module_put(THIS_MODULE);
}

static int md_get(struct xdpctl_req *req, struct xdpctl_dev *xd)
{
	struct xdpctl_settings *s;
	int err;

	err = md_check(req, xd->dev);
	if (err)
		return err;
	s = xdpctl_settings_get(req, xd);
	if (!s)
		return -ENOMEM;
	if (s->md.users == U32_MAX) {
		NL_SET_ERR_MSG(req->extack, "the metadata has too many users");
		return -EOPNOTSUPP;
	}
	if (!s->md.users && !try_module_get(THIS_MODULE)) {
		NL_SET_ERR_MSG(req->extack, "the module is being unloaded");
		return -ENODEV;
	}
	md_switch_on(xd->dev, &s->md);
	if (!s->md.users && !md_on(xd->dev)) {
		xdpctl_extack_fmt(req->extack,
				  "the RX metadata of driver %s cannot be turned on",
				  xdpctl_driver_parent(xd->dev) ?: "of the netdev");
		md_off(s);
		return -EOPNOTSUPP;
	}
	s->md.users++;
	return 0;
}

static void md_put(struct xdpctl_dev *xd, u32 users)
{
	struct xdpctl_settings *s = xd->settings;

	if (!s || !s->md.users)
		return;
	if (users < s->md.users)
		s->md.users -= users;
	else
		md_off(s);
}

static int md_change(struct xdpctl_req *req, u32 ifindex, bool on, u32 users)
{
	struct xdpctl_dev *xd;
	int err;

	lockdep_assert_held(&xdpctl_change_mutex);
	err = rtnl_lock_killable();
	if (err)
		return err;
	xd = xdpctl_attr_dev(req, ifindex);
	if (IS_ERR(xd))
		err = PTR_ERR(xd);
	else if (on)
		err = md_get(req, xd);
	else
		md_put(xd, users);
	rtnl_unlock();
	return err;
}

/**
 * xdpctl_md_set() - turn the RX metadata of a netdev on or off for one user
 * @req: the request
 * @ifindex: the netdev
 * @on: which
 *
 * Context: process context, xdpctl_change_mutex, no RTNL.
 * Return: 0 or an error, with extack, and nothing is changed.
 */
int xdpctl_md_set(struct xdpctl_req *req, u32 ifindex, bool on)
{
	return md_change(req, ifindex, on, 1);
}

/**
 * xdpctl_md_clear() - turn the RX metadata of a netdev off for all users
 * @req: the request
 * @ifindex: the netdev
 *
 * Context: process context, xdpctl_change_mutex, no RTNL.
 * Return: 0 or an error, with extack, and nothing is changed.
 */
int xdpctl_md_clear(struct xdpctl_req *req, u32 ifindex)
{
	return md_change(req, ifindex, false, U32_MAX);
}

/**
 * xdpctl_md_fill() - report the setting
 * @xd: the netdev
 * @v: where
 *
 * Context: RTNL; sleeps.
 */
void xdpctl_md_fill(const struct xdpctl_dev *xd, struct xdpctl_attr *v)
{
	v->present |= BIT_ULL(XDPCTL_A_ATTR_ENABLE_MD) |
		      BIT_ULL(XDPCTL_A_ATTR_MD_USERS);
	if (!xd->settings || !xd->settings->md.users)
		return;
	v->enable_md = 1;
	v->md_users = xd->settings->md.users;
	v->md_btf_id = xdpctl_ctlmap_btf_id();
	v->md_type_id = XDPCTL_BTF_RX_METADATA;
	v->md_features = md_on(xd->dev);
	v->present |= BIT_ULL(XDPCTL_A_ATTR_MD_BTF_ID) |
		      BIT_ULL(XDPCTL_A_ATTR_MD_TYPE_ID) |
		      BIT_ULL(XDPCTL_A_ATTR_MD_FEATURES);
}

/**
 * xdpctl_md_dev_del() - the module forgets a netdev
 * @s: its settings
 *
 * Context: RTNL.
 */
void xdpctl_md_dev_del(struct xdpctl_settings *s)
{
	ASSERT_RTNL();
	if (!s->md.users)
		return;
	if (s->xd->dev->reg_state == NETREG_REGISTERED)
		md_switch_off(s->xd->dev, &s->md);
	memset(&s->md, 0, sizeof(s->md));
	module_put(THIS_MODULE);
}
