// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control types, and what is kept of each netdev.
 *
 * Iteration and lookup must not scan the netdevs of a netns: every netns has
 * an xarray from ifindex to struct xdpctl_dev, kept by a netdevice notifier.
 */
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <net/netns/generic.h>

#include "ctrl.h"

const struct xdpctl_type_ops *const xdpctl_types[XDPCTL_CTRL_TYPE_MAX + 1] = {
	[XDPCTL_CTRL_TYPE_XDP_STATS] = &xdpctl_stats_ops,
	[XDPCTL_CTRL_TYPE_XDP_QSTATS] = &xdpctl_qstats_ops,
	[XDPCTL_CTRL_TYPE_XDP_PROG] = &xdpctl_prog_ops,
	[XDPCTL_CTRL_TYPE_XDP_CAPS] = &xdpctl_caps_ops,
	[XDPCTL_CTRL_TYPE_XDP_ATTR] = &xdpctl_attr_ops,
	[XDPCTL_CTRL_TYPE_XDP_PORT] = &xdpctl_port_ops,
};

static unsigned int xdpctl_net_id __read_mostly;

/*
 * Netdevs between NETDEV_UNREGISTER and NETDEV_REGISTER of a move to another
 * netns. The core holds RTNL from the one to the other, but other netdevs can
 * go in between: those on top of it, which some notifiers unregister. The
 * notifier of a netdev that stays registered is also called with
 * NETDEV_UNREGISTER when the notifier itself goes; no NETDEV_REGISTER follows
 * then, and net_destroy() frees what it finds here. Under RTNL.
 */
static LIST_HEAD(moving);

/*
 * The notifier is being registered, and is told of netdevs that are older than
 * the module. A netdev that is registered meanwhile is taken for old too, which
 * is the safe side: its driver counters are then read instead of being known
 * to be 0.
 */
static bool replaying;

struct xdpctl_net *xdpctl_net(struct net *net)
{
	return net_generic(net, xdpctl_net_id);
}

/**
 * xdpctl_req_rtnl() - take RTNL for a request
 * @req: the request
 *
 * Context: process context; sleeps unless @req->nowait.
 * Return: 0 with RTNL held; -EAGAIN if it cannot be waited for here; -EINTR if
 * the caller was killed.
 */
int xdpctl_req_rtnl(struct xdpctl_req *req)
{
	if (req->nowait)
		return rtnl_trylock() ? 0 : -EAGAIN;
	return rtnl_lock_killable();
}

/**
 * xdpctl_dev_get() - find a netdev by ifindex
 * @net: its netns
 * @ifindex: its ifindex
 *
 * Context: RTNL or rcu_read_lock(), which also keep xd->dev from going.
 * Return: the netdev, or NULL.
 */
struct xdpctl_dev *xdpctl_dev_get(struct net *net, u32 ifindex)
{
	return xa_load(&xdpctl_net(net)->devs, ifindex);
}

/**
 * xdpctl_dev_next() - find the netdev with the next higher ifindex
 * @net: the netns
 * @after: ifindex to start behind; 0 for the first netdev
 *
 * Context: RTNL or rcu_read_lock(), which also keep xd->dev from going.
 * Return: the netdev, or NULL if there is none behind @after.
 */
struct xdpctl_dev *xdpctl_dev_next(struct net *net, u32 after)
{
	unsigned long index = after;

	return xa_find_after(&xdpctl_net(net)->devs, &index, ULONG_MAX,
			     XA_PRESENT);
}

/**
 * xdpctl_ifindex_next() - get_next of a control type with an entry per netdev
 * @net: the netns
 * @key: an ifindex, or NULL
 * @next: where the next ifindex goes
 *
 * Context: any.
 * Return: 0, or -ENOENT at the end.
 */
int xdpctl_ifindex_next(struct net *net, const void *key, void *next)
{
	struct xdpctl_dev *xd;
	int err = -ENOENT;

	rcu_read_lock();
	xd = xdpctl_dev_next(net, key ? *(const u32 *)key : 0);
	if (xd) {
		*(u32 *)next = xd->ifindex;
		err = 0;
	}
	rcu_read_unlock();
	return err;
}

/**
 * xdpctl_net_changed() - note that what an iteration sees has changed
 * @net: the netns
 *
 * A dump that spans the change says NLM_F_DUMP_INTR.
 * Context: any.
 */
void xdpctl_net_changed(struct net *net)
{
	atomic_inc(&xdpctl_net(net)->gen);
}

static void dev_free_rcu(struct rcu_head *rcu)
{
	struct xdpctl_dev *xd = container_of(rcu, struct xdpctl_dev, rcu);

	free_percpu(xd->exc);
	kfree(xd);
}

static void dev_free(struct xdpctl_dev *xd)
{
	xdpctl_prog_dev_del(xd);
	xdpctl_attr_dev_del(xd);
	xdpctl_exception_del(xd);
	xdpctl_stats_dev_del(xd);
	call_rcu(&xd->rcu, dev_free_rcu);
}

/* Takes a netdev off the list of those that move; NULL if it is not there. */
static struct xdpctl_dev *moving_take(const struct net_device *dev)
{
	struct xdpctl_dev *xd;

	ASSERT_RTNL();
	list_for_each_entry(xd, &moving, moving) {
		if (xd->dev != dev)
			continue;
		list_del(&xd->moving);
		return xd;
	}
	return NULL;
}

/* Enters @xd into the netns that its netdev is in. */
static int dev_index(struct xdpctl_dev *xd)
{
	struct net *net = dev_net(xd->dev);
	int err;

	xd->ifindex = xd->dev->ifindex;
	xd->net = net;
	err = xa_err(xa_store(&xdpctl_net(net)->devs, xd->ifindex, xd,
			      GFP_KERNEL));
	if (!err)
		xdpctl_net_changed(net);
	return err;
}

static int dev_register(struct net_device *dev)
{
	struct xdpctl_dev *xd;
	int err;

	xd = moving_take(dev);
	if (xd) {
		err = dev_index(xd);
		if (err)
			dev_free(xd);
		return err;
	}

	xd = kzalloc(sizeof(*xd), GFP_KERNEL);
	if (!xd)
		return -ENOMEM;
	xd->dev = dev;
	err = xdpctl_exception_add(xd);
	if (err) {
		kfree(xd);
		return err;
	}
	xdpctl_stats_dev_add(xd, !READ_ONCE(replaying));
	err = dev_index(xd);
	if (err)
		dev_free(xd);
	return err;
}

static void dev_unregister(struct net_device *dev)
{
	struct net *net = dev_net(dev);
	struct xdpctl_dev *xd;

	/* The core says NETDEV_UNREGISTER again while references remain. */
	xd = xdpctl_dev_get(net, dev->ifindex);
	if (!xd || xd->dev != dev)
		return;
	xdpctl_port_dev_del(xd);
	xa_erase(&xdpctl_net(net)->devs, xd->ifindex);
	xdpctl_net_changed(net);
	if (dev->reg_state == NETREG_REGISTERED)
		list_add(&xd->moving, &moving);
	else
		dev_free(xd);
}

static int netdev_event(struct notifier_block *nb, unsigned long event,
			void *ptr)
{
	struct net_device *dev = netdev_notifier_info_to_dev(ptr);

	ASSERT_RTNL();
	switch (event) {
	case NETDEV_REGISTER:
		return notifier_from_errno(dev_register(dev));
	case NETDEV_UNREGISTER:
		dev_unregister(dev);
		break;
	default:
		xdpctl_stats_dev_event(dev, event);
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block netdev_nb = {
	.notifier_call = netdev_event,
};

static int __net_init net_init(struct net *net)
{
	struct xdpctl_net *xn = xdpctl_net(net);

	xa_init(&xn->devs);
	atomic_set(&xn->gen, 1);
	return 0;
}

/* A pernet subsystem goes after all netdevs of its netns. */
static void __net_exit net_exit(struct net *net)
{
	struct xdpctl_net *xn = xdpctl_net(net);

	WARN_ON_ONCE(!xa_empty(&xn->devs));
	xa_destroy(&xn->devs);
	xdpctl_port_net_exit(net);
}

static struct pernet_operations net_ops = {
	.init = net_init,
	.exit = net_exit,
	.id = &xdpctl_net_id,
	.size = sizeof(struct xdpctl_net),
};

static void net_destroy(void)
{
	struct xdpctl_dev *xd, *tmp;

	rtnl_lock();
	list_for_each_entry_safe(xd, tmp, &moving, moving)
		dev_free(xd);
	rtnl_unlock();
	unregister_pernet_subsys(&net_ops);
	rcu_barrier();	/* dev_free_rcu() */
}

/**
 * xdpctl_ctrl_init() - start to keep the netdevs
 *
 * Context: process context, no RTNL.
 * Return: 0 or an error.
 */
int xdpctl_ctrl_init(void)
{
	int err;

	err = register_pernet_subsys(&net_ops);
	if (err)
		return err;

	WRITE_ONCE(replaying, true);
	err = register_netdevice_notifier(&netdev_nb);
	WRITE_ONCE(replaying, false);
	if (err)
		net_destroy();
	return err;
}

/**
 * xdpctl_ctrl_exit() - undo xdpctl_ctrl_init()
 *
 * Context: process context, no RTNL; both doors are shut.
 */
void xdpctl_ctrl_exit(void)
{
	unregister_netdevice_notifier(&netdev_nb);
	net_destroy();
}
