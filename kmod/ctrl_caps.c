// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control type xdp_caps: what XDP can do on a netdev, as the kernel says or,
 * where it does not say, as far as the driver's operations tell.
 */
#include <linux/ethtool.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "attach.h"
#include "compat/xdp_features.h"
#include "drvstats.h"

/* Send what is redirected to them only while they have a program. */
static const char *const xmit_needs_prog[] = {
	"bnxt_en", "ena", "funeth", "gve", "i40e", "ice", "igb", "igc",
	"ixgbe", "rvu_nicpf", "virtio_net", NULL
};

/* Run programs, but do not redirect, or only some of their devices do. */
static const char *const no_redirect[] = {
	"ixgbevf", "nfp", "nicvf", NULL
};

static bool is_one_of(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (!strcmp(name, *names))
			return true;
	return false;
}

static bool has_native_prog(const struct net_device *dev)
{
	const struct bpf_xdp_entity *e = &dev->xdp_state[XDP_MODE_DRV];

	return READ_ONCE(e->prog) || READ_ONCE(e->link);
}

/*
 * A veth takes a program only if it has an RX queue for each TX queue of its
 * peer, and sends only to a peer with NAPI.
 */
static u64 veth_features(struct net_device *dev)
{
	const struct net_device *peer = NULL;
	u64 features;

	if (dev->netdev_ops->ndo_get_peer_dev)
		peer = dev->netdev_ops->ndo_get_peer_dev(dev);
	if (!peer || READ_ONCE(peer->real_num_tx_queues) >
		     READ_ONCE(dev->real_num_rx_queues))
		return 0;
	features = XDPCTL_XDP_ACT_BASIC | XDPCTL_XDP_ACT_REDIRECT |
		   XDPCTL_XDP_ACT_RX_SG;
	if (has_native_prog(peer) ||
	    (READ_ONCE(peer->wanted_features) & NETIF_F_GRO))
		features |= XDPCTL_XDP_ACT_NDO_XMIT |
			    XDPCTL_XDP_ACT_NDO_XMIT_SG;
	return features;
}

/*
 * From the operations. ndo_bpf alone may mean nothing: the control device
 * serves maps with it, netdevsim takes programs that it never runs, a bond
 * asks its mode and its slaves, and ice refuses without its firmware package,
 * when it has no ndo_xdp_xmit either. A netdev without it has generic mode
 * only.
 */
static u64 derive_features(struct net_device *dev)
{
	const struct net_device_ops *ops = dev->netdev_ops;
	const char *name = xdpctl_driver_parent(dev) ?: "";
	u64 features = 0;

	if (!ops->ndo_bpf || xdpctl_ctldev_is(dev) ||
	    !strcmp(name, "bond"))
		return 0;
	if (!strcmp(name, "netdevsim"))
		return XDPCTL_XDP_ACT_HW_OFFLOAD;
	if (!strcmp(name, "veth"))
		return veth_features(dev);
	if (!strcmp(name, "ice") && !ops->ndo_xdp_xmit)
		return 0;

	features = XDPCTL_XDP_ACT_BASIC;
	if (!is_one_of(name, no_redirect))
		features |= XDPCTL_XDP_ACT_REDIRECT;
	if (ops->ndo_xdp_xmit &&
	    (has_native_prog(dev) || !is_one_of(name, xmit_needs_prog)))
		features |= XDPCTL_XDP_ACT_NDO_XMIT;
	if (ops->ndo_xsk_wakeup)
		features |= XDPCTL_XDP_ACT_XSK_ZEROCOPY;
	return features;
}

/**
 * xdpctl_caps_features() - XDP features of a netdev in native mode
 * @dev: the netdev
 * @features: XDPCTL_XDP_ACT_*
 *
 * Context: RTNL or rcu_read_lock().
 * Return: where they come from.
 */
enum xdpctl_source xdpctl_caps_features(struct net_device *dev, u64 *features)
{
	if (xdpctl_xdp_features(dev, features))
		return XDPCTL_SOURCE_KERNEL;
	rcu_read_lock();	/* asks a veth for its peer */
	*features = derive_features(dev);
	rcu_read_unlock();
	return XDPCTL_SOURCE_DERIVED;
}

/**
 * xdpctl_caps_xmit_needs_prog() - does the driver send what is redirected to a
 * netdev only while a program is on it?
 * @dev: the netdev
 *
 * Context: RTNL or rcu_read_lock().
 * Return: whether it is known to.
 */
bool xdpctl_caps_xmit_needs_prog(const struct net_device *dev)
{
	return is_one_of(xdpctl_driver_parent(dev) ?: "", xmit_needs_prog);
}

/**
 * xdpctl_caps_rx_metadata() - RX metadata that a netdev has kfuncs for
 * @dev: the netdev
 * @features: XDPCTL_XDP_RX_METADATA_*
 *
 * Context: RTNL or rcu_read_lock().
 * Return: false on a kernel without RX metadata.
 */
bool xdpctl_caps_rx_metadata(const struct net_device *dev, u64 *features)
{
	bool timestamp, hash, vlan_tag;

	*features = 0;
	if (!xdpctl_xdp_rx_metadata(dev, &timestamp, &hash, &vlan_tag))
		return false;
	if (timestamp)
		*features |= XDPCTL_XDP_RX_METADATA_TIMESTAMP;
	if (hash)
		*features |= XDPCTL_XDP_RX_METADATA_HASH;
	if (vlan_tag)
		*features |= XDPCTL_XDP_RX_METADATA_VLAN_TAG;
	return true;
}

/* A veth sends back to its peer as it sends what is redirected to it. */
static u32 caps_actions(const struct net_device *dev, u64 features)
{
	const char *name = xdpctl_driver_parent(dev) ?: "";
	u32 actions;

	if (!(features & XDPCTL_XDP_ACT_BASIC))
		return 0;
	actions = XDPCTL_ACTION_ABORTED | XDPCTL_ACTION_DROP |
		  XDPCTL_ACTION_PASS;
	if (strcmp(name, "veth") || (features & XDPCTL_XDP_ACT_NDO_XMIT))
		actions |= XDPCTL_ACTION_TX;
	if (features & XDPCTL_XDP_ACT_REDIRECT)
		actions |= XDPCTL_ACTION_REDIRECT;
	return actions;
}

/*
 * What a program can ask of a netdev. In generic mode the core does what a driver
 * would have to. Frames that are redirected there are sent by the netdev's
 * ordinary TX, so that ndo-xmit is asked of the driver all the same.
 */
static void caps_able(struct net_device *dev, bool generic,
		      struct xdpctl_required *able)
{
	xdpctl_caps_features(dev, &able->features);
	if (!generic) {
		able->actions = caps_actions(dev, able->features);
		xdpctl_caps_rx_metadata(dev, &able->rx_metadata);
		return;
	}
	able->features &= XDPCTL_XDP_ACT_NDO_XMIT | XDPCTL_XDP_ACT_NDO_XMIT_SG;
	able->features |= XDPCTL_XDP_ACT_BASIC | XDPCTL_XDP_ACT_REDIRECT |
			  XDPCTL_XDP_ACT_RX_SG;
	able->actions = XDPCTL_ACTION_ABORTED | XDPCTL_ACTION_DROP |
			XDPCTL_ACTION_PASS | XDPCTL_ACTION_TX |
			XDPCTL_ACTION_REDIRECT;
	able->rx_metadata = 0;
}

/* Room for the names of all features. */
#define NAMES_MAX	256

static void add_names(char *buf, const char *const *names, u64 bits)
{
	for (; *names; names++, bits >>= 1) {
		if (!(bits & 1))
			continue;
		if (*buf)
			strlcat(buf, ", ", NAMES_MAX);
		strlcat(buf, *names, NAMES_MAX);
	}
}

/* Names what @need has and @able has not; false if that is nothing. */
static bool lacks(char *buf, const struct xdpctl_required *need,
		  const struct xdpctl_required *able)
{
	*buf = 0;
	add_names(buf, xdpctl_xdp_act_names, need->features & ~able->features);
	add_names(buf, xdpctl_action_names, need->actions & ~able->actions);
	add_names(buf, xdpctl_xdp_rx_metadata_names,
		  need->rx_metadata & ~able->rx_metadata);
	return *buf;
}

/**
 * xdpctl_caps_check() - does a netdev have what a program needs?
 * @req: the request, told what is lacking
 * @need: what the program needs
 * @dev: the netdev
 * @mode: XDPCTL_MODE_*, 0 for best effort; if only one mode has it all, that is
 *	set
 *
 * Context: RTNL.
 * Return: 0 or an error.
 */
int xdpctl_caps_check(struct xdpctl_req *req, const struct xdpctl_required *need,
		      struct net_device *dev, u32 *mode)
{
	struct xdpctl_required able = {};
	bool native, generic;
	char *names;
	int err = 0;

	if (!need->present)
		return 0;
	names = kmalloc(NAMES_MAX, GFP_KERNEL);
	if (!names) {
		NL_SET_ERR_MSG(req->extack, "no memory");
		return -ENOMEM;
	}
	caps_able(dev, true, &able);
	generic = *mode != XDPCTL_MODE_NATIVE && !lacks(names, need, &able);
	native = false;
	if (*mode != XDPCTL_MODE_GENERIC) {
		caps_able(dev, false, &able);
		native = !lacks(names, need, &able);
	}
	if (!native && !generic) {
		xdpctl_extack_fmt(req->extack, "the netdev lacks in %s mode: %s",
				  *mode == XDPCTL_MODE_GENERIC ? "generic" :
								 "native",
				  names);
		err = -EOPNOTSUPP;
	} else if (native != generic) {
		*mode = native ? XDPCTL_MODE_NATIVE : XDPCTL_MODE_GENERIC;
	}
	kfree(names);
	return err;
}

static void caps_features(struct net_device *dev, struct xdpctl_caps *caps)
{
	caps->source = xdpctl_caps_features(dev, &caps->xdp_features);
	caps->present |= BIT_ULL(XDPCTL_A_CAPS_SOURCE) |
			 BIT_ULL(XDPCTL_A_CAPS_XDP_FEATURES);

	if (caps->xdp_features & XDPCTL_XDP_ACT_XSK_ZEROCOPY) {
		caps->xdp_zc_max_segs = xdpctl_xdp_zc_max_segs(dev);
		caps->present |= BIT_ULL(XDPCTL_A_CAPS_XDP_ZC_MAX_SEGS);
	}

	if (xdpctl_caps_rx_metadata(dev, &caps->xdp_rx_metadata_features))
		caps->present |=
			BIT_ULL(XDPCTL_A_CAPS_XDP_RX_METADATA_FEATURES);

	caps->actions = caps_actions(dev, caps->xdp_features);
	if (caps->actions)
		caps->present |= BIT_ULL(XDPCTL_A_CAPS_ACTIONS);
}

static void caps_queues(const struct net_device *dev, struct xdpctl_caps *caps)
{
	caps->rx_queues = READ_ONCE(dev->real_num_rx_queues);
	caps->tx_queues = READ_ONCE(dev->real_num_tx_queues);
	caps->max_rx_queues = dev->num_rx_queues;
	caps->max_tx_queues = dev->num_tx_queues;
	caps->present |= BIT_ULL(XDPCTL_A_CAPS_RX_QUEUES) |
			 BIT_ULL(XDPCTL_A_CAPS_TX_QUEUES) |
			 BIT_ULL(XDPCTL_A_CAPS_MAX_RX_QUEUES) |
			 BIT_ULL(XDPCTL_A_CAPS_MAX_TX_QUEUES);
}

static void caps_driver(const char *name, struct xdpctl_caps *caps)
{
	if (!name || !*name)
		return;
	strscpy(caps->driver, name, sizeof(caps->driver));
	caps->present |= BIT_ULL(XDPCTL_A_CAPS_DRIVER);
}

/*
 * A driver that names itself must be asked under RTNL, and what it says is
 * kept: it does not change.
 */
static bool caps_driver_fast(const struct xdpctl_dev *xd,
			     struct xdpctl_caps *caps)
{
	/* Pairs with smp_store_release() in caps_lookup(). */
	if (smp_load_acquire(&xd->driver_known))
		caps_driver(xd->driver, caps);
	else if (!xd->dev->ethtool_ops->get_drvinfo)
		caps_driver(xdpctl_driver_parent(xd->dev), caps);
	else
		return false;
	return true;
}

static int caps_lookup(struct xdpctl_req *req, const void *key, void *value)
{
	const struct xdpctl_caps_key *k = key;
	struct xdpctl_caps *caps = value;
	struct xdpctl_dev *xd;
	int err = -ENOENT;
	bool done = true;

	rcu_read_lock();
	xd = xdpctl_dev_get(req->net, k->ifindex);
	if (xd) {
		caps_features(xd->dev, caps);
		caps_queues(xd->dev, caps);
		done = caps_driver_fast(xd, caps);
		err = 0;
	}
	rcu_read_unlock();
	if (err)
		return xdpctl_no_netdev(req);
	if (done)
		return 0;

	err = xdpctl_req_rtnl(req);
	if (err)
		return err;
	xd = xdpctl_dev_get(req->net, k->ifindex);
	if (!xd) {
		err = xdpctl_no_netdev(req);
	} else {
		if (!xd->driver_known &&
		    !xdpctl_driver_name(xd->dev, xd->driver,
					sizeof(xd->driver)))
			/* Pairs with that in caps_driver_fast(). */
			smp_store_release(&xd->driver_known, true);
		/* The name of a device that is not there is asked again. */
		if (xd->driver_known)
			caps_driver(xd->driver, caps);
	}
	rtnl_unlock();
	return err;
}

const struct xdpctl_type_ops xdpctl_caps_ops = {
	.get_next = xdpctl_ifindex_next,
	.lookup = caps_lookup,
};
