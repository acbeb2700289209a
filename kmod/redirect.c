// SPDX-License-Identifier: GPL-2.0-only
/*
 * SETUP_REDIRECT: makes a netdev without an XDP program able to send the frames
 * that are redirected to it, by what its driver needs for that:
 *
 * - nothing, where ndo_xdp_xmit works at any time;
 * - GRO on the peer, for veth: frames are handed to the NAPI of the peer, which
 *   it has only with GRO or with a program, and while it is up. The peer has
 *   the rings, too, one of its RX queues each;
 * - a program, where the driver has its rings only with one: attach.c keeps a
 *   placeholder there. Such drivers change the number of their rings only
 *   without a program, so rings come first.
 */
#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "attr.h"
#include "drvstats.h"

/* What a veth makes its rings of, VETH_RING_SIZE. */
#define VETH_RING_SIZE	256

/*
 * The settings of the netdev that is waited for without RTNL; NULL if it has
 * gone. Set under RTNL, by who has xdpctl_change_mutex.
 */
static struct xdpctl_settings *pending;

static bool is_veth(const struct net_device *dev)
{
	const char *name = xdpctl_driver_parent(dev);

	return name && !strcmp(name, "veth") && dev->netdev_ops->ndo_get_peer_dev;
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

static bool veth_peer_has_napi(const struct net_device *peer)
{
	return netif_running(peer) && ((peer->features & NETIF_F_GRO) ||
				       xdpctl_state_prog(peer, XDP_MODE_DRV));
}

/* Is what is redirected to @dev sent, as things are now? */
static bool is_able(struct net_device *dev)
{
	const struct net_device *peer;
	u64 features;

	xdpctl_caps_features(dev, &features);
	if (!(features & XDPCTL_XDP_ACT_NDO_XMIT))
		return false;
	if (!is_veth(dev))
		return !xdpctl_caps_xmit_needs_prog(dev) ||
		       xdpctl_state_prog(dev, XDP_MODE_DRV);
	peer = veth_peer(dev);
	return peer && veth_peer_has_napi(peer);
}

/*
 * The features are not asked for a driver of the list: it has them while there
 * is a program, which may be somebody else's and go.
 */
static bool needs_placeholder(struct net_device *dev)
{
	u64 features;

	if (is_veth(dev))
		return false;
	if (xdpctl_caps_xmit_needs_prog(dev))
		return true;
	xdpctl_caps_features(dev, &features);
	return (features & XDPCTL_XDP_ACT_BASIC) &&
	       !(features & XDPCTL_XDP_ACT_NDO_XMIT);
}

/*
 * A veth in another netns is somebody else's, perhaps. Both who sends a netlink
 * message and who opened its socket must be allowed to change that. @req is NULL
 * if nobody asks.
 */
static bool may_change_peer(const struct xdpctl_req *req,
			    const struct net_device *dev,
			    const struct net_device *peer)
{
	struct user_namespace *owner = dev_net(peer)->user_ns;

	if (net_eq(dev_net(dev), dev_net(peer)))
		return true;
	if (!req)
		return false;
	return req->skb ? netlink_ns_capable(req->skb, owner, CAP_NET_ADMIN) :
			  ns_capable(owner, CAP_NET_ADMIN);
}

/*
 * Undoes what @r says, but for the placeholder, and for a peer that is out of
 * reach now: it was moved to another netns.
 */
static void redirect_restore(const struct xdpctl_req *req,
			     struct net_device *dev,
			     const struct xdpctl_redirect *r)
{
	struct net_device *peer;

	if (!is_veth(dev)) {
		xdpctl_rings_restore(dev, XDPCTL_RINGS_TX, &r->rings);
		return;
	}
	peer = veth_peer(dev);
	if (!peer)	/* both are going */
		return;
	xdpctl_rings_restore(dev, XDPCTL_RINGS_RX, &r->queues);
	if (!may_change_peer(req, dev, peer))
		return;
	if (r->gro) {
		peer->wanted_features &= ~NETIF_F_GRO;
		netdev_update_features(peer);
	}
	xdpctl_rings_restore(peer, XDPCTL_RINGS_RX, &r->rings);
}

static int check_peer(struct xdpctl_req *req, const struct net_device *dev,
		      const struct net_device *peer)
{
	if (!peer) {
		NL_SET_ERR_MSG(req->extack, "the veth has no peer");
		return -ENODEV;
	}
	if (!netif_running(peer)) {
		xdpctl_extack_fmt(req->extack,
				  "the peer %s of the veth must be up",
				  peer->name);
		return -ENETDOWN;
	}
	return 0;
}

static int check_peer_netns(const struct xdpctl_req *req,
			    const struct net_device *dev,
			    const struct net_device *peer)
{
	if (may_change_peer(req, dev, peer))
		return 0;
	xdpctl_extack_fmt(req->extack,
			  "the peer %s of the veth must be changed, which takes CAP_NET_ADMIN in its network namespace",
			  peer->name);
	return -EPERM;
}

static int peer_gro_on(struct xdpctl_req *req, struct net_device *peer)
{
	peer->wanted_features |= NETIF_F_GRO;
	netdev_update_features(peer);
	if (peer->features & NETIF_F_GRO)
		return 0;
	peer->wanted_features &= ~NETIF_F_GRO;
	xdpctl_extack_fmt(req->extack, "GRO cannot be turned on at the peer %s",
			  peer->name);
	return -EOPNOTSUPP;
}

/*
 * Does to a veth what it lacks. @r is what is done here; the caller undoes it
 * after an error.
 */
static int veth_prepare(struct xdpctl_req *req, struct net_device *dev,
			u32 num, u32 size, struct xdpctl_redirect *r)
{
	struct net_device *peer = veth_peer(dev);
	bool gro;
	int err;

	err = check_peer(req, dev, peer);
	if (err)
		return err;
	if (size > VETH_RING_SIZE) {
		xdpctl_extack_fmt(req->extack,
				  "a ring of a veth holds %u frames",
				  VETH_RING_SIZE);
		return -EOPNOTSUPP;
	}
	/* A program that has NAPI there may go. */
	gro = !(peer->features & NETIF_F_GRO);
	if (gro || num > peer->real_num_rx_queues) {
		err = check_peer_netns(req, dev, peer);
		if (err)
			return err;
	}
	err = xdpctl_rings_raise(req, peer, XDPCTL_RINGS_RX, num, &r->rings);
	if (err)
		return err;
	/* or veth has no XDP features, and the core redirects nothing */
	err = xdpctl_rings_raise(req, dev, XDPCTL_RINGS_RX,
				 peer->real_num_tx_queues, &r->queues);
	if (err || !gro)
		return err;
	err = peer_gro_on(req, peer);
	r->gro = !err;
	return err;
}

static int rings_prepare(struct xdpctl_req *req, struct net_device *dev,
			 u32 num, u32 size, struct xdpctl_redirect *r)
{
	int err;

	err = xdpctl_rings_raise(req, dev, XDPCTL_RINGS_TX, num, &r->rings);
	if (err || !size)
		return err;
	return xdpctl_rings_grow(req, dev, size, &r->rings);
}

static int check_driver(struct xdpctl_req *req, const struct net_device *dev)
{
	const char *name = xdpctl_driver_parent(dev);

	if (dev->netdev_ops->ndo_xdp_xmit)
		return 0;
	if (name)
		xdpctl_extack_fmt(req->extack,
				  "driver %s has no ndo_xdp_xmit, so that nothing can be redirected to the netdev",
				  name);
	else
		NL_SET_ERR_MSG(req->extack,
			       "the netdev has no ndo_xdp_xmit, so that nothing can be redirected to it");
	return -EOPNOTSUPP;
}

/* All but the placeholder, or nothing. */
static int prepare(struct xdpctl_req *req, struct net_device *dev, u32 num,
		   u32 size, struct xdpctl_redirect *r)
{
	int err;

	err = check_driver(req, dev);
	if (err)
		return err;
	if (is_veth(dev))
		err = veth_prepare(req, dev, num, size, r);
	else
		err = rings_prepare(req, dev, num, size, r);
	if (!err && !needs_placeholder(dev) && !is_able(dev)) {
		xdpctl_extack_fmt(req->extack,
				  "driver %s sends nothing that is redirected to the netdev in its present settings",
				  xdpctl_driver_parent(dev) ?: "of the netdev");
		err = -EOPNOTSUPP;
	}
	if (err)
		redirect_restore(req, dev, r);
	return err;
}

/*
 * Has attach.c keep a placeholder, or not any more. RTNL is let go of
 * meanwhile: @s is NULL afterwards if the netdev has gone.
 */
static int placeholder(struct xdpctl_req *req, u32 ifindex,
		       struct xdpctl_settings **s, bool on)
{
	const struct net_device *dev = (*s)->xd->dev;
	int err;

	lockdep_assert_held(&xdpctl_change_mutex);
	pending = *s;
	rtnl_unlock();
	err = xdpctl_placeholder_set(req, dev, ifindex, on);
	rtnl_lock();
	*s = pending;
	pending = NULL;
	return err;
}

static void change_merge(struct xdpctl_ring_change *c,
			 const struct xdpctl_ring_change *more)
{
	if (more->num_new) {
		if (!c->num_new || c->combined != more->combined)
			c->num_old = more->num_old;
		c->num_new = more->num_new;
		c->combined = more->combined;
	}
	if (more->size_new) {
		if (!c->size_new)
			c->size_old = more->size_old;
		c->size_new = more->size_new;
	}
}

static void redirect_merge(struct xdpctl_redirect *r,
			   const struct xdpctl_redirect *more)
{
	r->gro |= more->gro;
	change_merge(&r->rings, &more->rings);
	change_merge(&r->queues, &more->queues);
}

static void redirect_off(struct xdpctl_settings *s)
{
	memset(&s->redirect, 0, sizeof(s->redirect));
	module_put(THIS_MODULE);
}

/* Of a netdev that is set up already, this makes sure of it, and adds rings. */
static int redirect_on(struct xdpctl_req *req, struct xdpctl_dev *xd, u32 num,
		       u32 size)
{
	struct xdpctl_redirect done = {};
	struct xdpctl_settings *s;
	u32 ifindex = xd->ifindex;
	bool first;
	int err;

	s = xdpctl_settings_get(req, xd);
	if (!s)
		return -ENOMEM;
	first = !s->redirect.on;
	if (first && !try_module_get(THIS_MODULE)) {
		NL_SET_ERR_MSG(req->extack, "the module is being unloaded");
		return -ENODEV;
	}
	s->redirect.on = true;
	err = prepare(req, xd->dev, num, size, &done);
	if (err)
		goto err_off;
	if (s->redirect.placeholder || needs_placeholder(xd->dev)) {
		err = placeholder(req, ifindex, &s, true);
		if (!s) {
			NL_SET_ERR_MSG(req->extack, "no such netdev");
			return -ENODEV;
		}
		if (err)
			goto err_restore;
		s->redirect.placeholder = true;
	}
	redirect_merge(&s->redirect, &done);
	return 0;

err_restore:
	redirect_restore(req, s->xd->dev, &done);
err_off:
	if (first)
		redirect_off(s);
	return err;
}

static int redirect_undo(struct xdpctl_req *req, struct xdpctl_dev *xd)
{
	struct xdpctl_settings *s = xd->settings;
	int err;

	if (!s || !s->redirect.on)
		return 0;
	if (s->redirect.placeholder) {
		err = placeholder(req, xd->ifindex, &s, false);
		if (!s)		/* all of it has gone */
			return 0;
		if (err)
			return err;
	}
	redirect_restore(req, s->xd->dev, &s->redirect);
	redirect_off(s);
	return 0;
}

/**
 * xdpctl_redirect_set() - set up a netdev for frames that are redirected to it
 * @req: the request
 * @ifindex: the netdev
 * @num: rings that it must have at least, or 0 to undo
 * @size: frames that each must hold at least, or 0 for any
 *
 * Context: process context, xdpctl_change_mutex, no RTNL; current is the caller,
 * in the netns of @req.
 * Return: 0 or an error, with extack, and nothing is changed.
 */
int xdpctl_redirect_set(struct xdpctl_req *req, u32 ifindex, u32 num, u32 size)
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
	else if (num)
		err = redirect_on(req, xd, num, size);
	else
		err = redirect_undo(req, xd);
	rtnl_unlock();
	return err;
}

/**
 * xdpctl_redirect_fill() - report the setting
 * @xd: the netdev
 * @v: where
 *
 * If what it rests on was changed by somebody else, it says that there are no
 * rings.
 * Context: RTNL; sleeps.
 */
void xdpctl_redirect_fill(const struct xdpctl_dev *xd, struct xdpctl_attr *v)
{
	struct net_device *dev = xd->dev;

	v->present |= BIT_ULL(XDPCTL_A_ATTR_RINGS_NUM);
	if (!xd->settings || !xd->settings->redirect.on)
		return;
	xdpctl_reap_dev(dev);
	v->placeholder_prog_id = xdpctl_placeholder_id(dev);
	if (v->placeholder_prog_id)
		v->present |= BIT_ULL(XDPCTL_A_ATTR_PLACEHOLDER_PROG_ID);
	if (!is_able(dev))
		return;
	if (is_veth(dev)) {
		v->rings_num = xdpctl_rings_num(veth_peer(dev),
						XDPCTL_RINGS_RX);
		v->rings_size = VETH_RING_SIZE;
	} else {
		v->rings_num = xdpctl_rings_num(dev, XDPCTL_RINGS_TX);
		v->rings_size = xdpctl_rings_size(dev);
	}
	if (v->rings_size)
		v->present |= BIT_ULL(XDPCTL_A_ATTR_RINGS_SIZE);
}

/**
 * xdpctl_redirect_dev_del() - the module forgets a netdev
 * @s: its settings
 *
 * If the netdev is being unregistered, so is what else was changed: the rings
 * and the program are its own, and the peer of a veth goes with it.
 * Context: RTNL.
 */
void xdpctl_redirect_dev_del(struct xdpctl_settings *s)
{
	ASSERT_RTNL();
	if (pending == s)
		pending = NULL;
	if (!s->redirect.on)
		return;
	if (s->xd->dev->reg_state == NETREG_REGISTERED)
		redirect_restore(NULL, s->xd->dev, &s->redirect);
	redirect_off(s);
}
