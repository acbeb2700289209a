// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control types xdp_stats and xdp_qstats: the driver's counters where they
 * mean what an attribute says or it follows from them, and what the module
 * has counted itself.
 *
 * The two do not start at the same time. A driver's counters start with the
 * netdev, the module's own when it was loaded if that was later. An attribute
 * is from one of them; from both only if they started together, see @all_exc.
 */
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>

#include "drvstats.h"

/* Both values are @present and a u64 for each attribute from packets on. */
#define STATS_INDEX(attr)	(1 + (attr) - XDPCTL_A_STATS_PACKETS)
#define STATS_CHECK(type, member, attr) \
	static_assert(offsetof(struct type, member) == \
		      sizeof(u64) * STATS_INDEX(XDPCTL_A_STATS_##attr))

STATS_CHECK(xdpctl_stats, packets, PACKETS);
STATS_CHECK(xdpctl_stats, xmit_full, XMIT_FULL);
STATS_CHECK(xdpctl_stats, exception_invalid, EXCEPTION_INVALID);
STATS_CHECK(xdpctl_qstats, packets, PACKETS);
STATS_CHECK(xdpctl_qstats, xmit_full, XMIT_FULL);

/* The attributes are in the order of enum xdpctl_raw, too. */
#define RAW_CHECK(name) \
	static_assert(XDPCTL_A_STATS_##name - XDPCTL_A_STATS_PACKETS == \
		      (int)XDPCTL_RAW_##name)

RAW_CHECK(BYTES);
RAW_CHECK(ABORTED);
RAW_CHECK(DROP);
RAW_CHECK(INVALID);
RAW_CHECK(PASS);
RAW_CHECK(REDIRECT);
RAW_CHECK(REDIRECT_ERRORS);
RAW_CHECK(TX);
RAW_CHECK(TX_ERRORS);
RAW_CHECK(XMIT_PACKETS);
RAW_CHECK(XMIT_BYTES);
RAW_CHECK(XMIT_ERRORS);
RAW_CHECK(XMIT_FULL);

/* A driver knows nothing of what a generic program does, but what it sends. */
#define RAW_XMIT \
	(BIT(XDPCTL_RAW_XMIT_PACKETS) | BIT(XDPCTL_RAW_XMIT_BYTES) | \
	 BIT(XDPCTL_RAW_XMIT_ERRORS) | BIT(XDPCTL_RAW_XMIT_FULL))

static inline void stats_put(void *value, unsigned int attr, u64 n)
{
	u64 *v = value;

	v[0] |= BIT_ULL(attr);
	v[STATS_INDEX(attr)] = n;
}

static void stats_put_driver(void *value, const struct xdpctl_counts *c)
{
	unsigned int i;

	for (i = 0; i < XDPCTL_RAW_EXACT; i++)
		if (c->have & BIT(i))
			stats_put(value, XDPCTL_A_STATS_PACKETS + i, c->n[i]);
}

/* Of native and generic programs: they see the frames of the netdev. */
static inline u64 exc_verdicts(const struct xdpctl_exc *exc, unsigned int kind)
{
	return exc->n[XDPCTL_EXC_NATIVE][kind] +
	       exc->n[XDPCTL_EXC_GENERIC][kind];
}

static inline u64 exc_all(const struct xdpctl_exc *exc, unsigned int kind)
{
	return exc_verdicts(exc, kind) + exc->n[XDPCTL_EXC_MAP][kind];
}

/* What the module counts: @have of it the driver knows. */
static void stats_put_module(void *value, const struct xdpctl_exc *exc,
			     u32 drv_flags, u32 have)
{
	if (!(have & BIT(XDPCTL_RAW_ABORTED)) &&
	    !(drv_flags & XDPCTL_DRIVER_ABORTED_UNTRACED))
		stats_put(value, XDPCTL_A_STATS_ABORTED,
			  exc_verdicts(exc, XDPCTL_EXC_ABORTED));
	if (!(have & BIT(XDPCTL_RAW_INVALID)) &&
	    !(drv_flags & XDPCTL_DRIVER_INVALID_UNTRACED))
		stats_put(value, XDPCTL_A_STATS_INVALID,
			  exc_verdicts(exc, XDPCTL_EXC_INVALID));
	if (!(have & BIT(XDPCTL_RAW_TX_ERRORS)) &&
	    (drv_flags & XDPCTL_DRIVER_TX_TRACED))
		stats_put(value, XDPCTL_A_STATS_TX_ERRORS,
			  exc_verdicts(exc, XDPCTL_EXC_TX));
	if (!(have & BIT(XDPCTL_RAW_REDIRECT_ERRORS)) &&
	    xdpctl_exception_has_redirect_err())
		stats_put(value, XDPCTL_A_STATS_REDIRECT_ERRORS,
			  exc_verdicts(exc, XDPCTL_EXC_REDIRECT_ERR));

	stats_put(value, XDPCTL_A_STATS_EXCEPTION_ABORTED,
		  exc_all(exc, XDPCTL_EXC_ABORTED));
	stats_put(value, XDPCTL_A_STATS_EXCEPTION_TX,
		  exc_all(exc, XDPCTL_EXC_TX));
	stats_put(value, XDPCTL_A_STATS_EXCEPTION_REDIRECT,
		  exc_all(exc, XDPCTL_EXC_REDIRECT));
	stats_put(value, XDPCTL_A_STATS_EXCEPTION_INVALID,
		  exc_all(exc, XDPCTL_EXC_INVALID));
}

static ktime_t time_asleep(void)
{
	return ktime_mono_to_any(0, TK_OFFS_BOOT);
}

/* Fills in @w but for @w->dev. */
static void witness(const struct xdpctl_dev *xd, const struct xdpctl_exc *exc,
		    struct xdpctl_witness *w)
{
	struct xdpctl_drvstats *ds = xd->drv;
	u32 n_rxq = xd->dev->real_num_rx_queues;

	ASSERT_RTNL();
	if (ds->drv->flags & XDPCTL_DRIVER_VETH)
		xdpctl_veth_look(xd->dev, ds);
	if ((ds->drv->flags & XDPCTL_DRIVER_SLEEP_RESETS) &&
	    ds->asleep != time_asleep())
		ds->all_exc = false;
	if (n_rxq > ds->zero_rxq) {
		ds->all_exc = false;
		ds->all_seen = false;
	}
	if (netif_running(xd->dev))
		ds->max_rxq = max(ds->max_rxq, n_rxq);

	/* Drivers do not show queues that are out of use. */
	w->exc = exc;
	w->all_exc = ds->all_exc && n_rxq >= ds->max_rxq;
	w->all_seen = ds->all_seen && n_rxq >= ds->max_rxq;
	w->one_queue = xd->dev->num_rx_queues == 1;
	w->dev = NULL;
}

/* A counter that may be read too low must not go back for it. */
static void keep_rising(struct xdpctl_counts *c, enum xdpctl_raw raw, u64 *top)
{
	if (!(c->lower & BIT(raw)))
		return;
	*top = max(*top, c->n[raw]);
	c->n[raw] = *top;
}

/*
 * The counters of @queue, with what follows from them, and the exceptions.
 * The driver comes first: what it has counted has been traced before that.
 */
static int driver_counts(struct xdpctl_dev *xd, u32 queue,
			 struct xdpctl_counts *c, struct xdpctl_exc *exc)
{
	struct xdpctl_drvstats *ds = xd->drv;
	struct xdpctl_counts dev;
	struct xdpctl_witness w;
	int err;

	ASSERT_RTNL();
	memset(c, 0, sizeof(*c));
	err = -ENOENT;
	if (ds && ds->drv->counters)
		err = xdpctl_drvstats_read(xd->dev, ds);
	xdpctl_exception_read(xd, exc);
	if (err)
		return err;
	if (!xdpctl_layout_sum(&ds->layout, ds->data, queue, c))
		return -ENOENT;

	if (ds->drv->derive) {
		witness(xd, exc, &w);
		if (queue != XDPCTL_NO_QUEUE) {
			xdpctl_layout_sum(&ds->layout, ds->data,
					  XDPCTL_NO_QUEUE, &dev);
			w.dev = &dev;
		}
		ds->drv->derive(c, &w);
		if (!w.dev || w.one_queue) {
			keep_rising(c, XDPCTL_RAW_DROP, &ds->drop);
			keep_rising(c, XDPCTL_RAW_REDIRECT, &ds->redirect);
		}
	}
	if (rcu_access_pointer(xd->dev->xdp_prog))
		c->have &= RAW_XMIT;
	return 0;
}

static u32 drv_flags(const struct xdpctl_dev *xd)
{
	return xd->drv ? xd->drv->drv->flags : 0;
}

static int stats_lookup(struct xdpctl_req *req, const void *key, void *value)
{
	const struct xdpctl_stats_key *k = key;
	struct xdpctl_counts counts;
	struct xdpctl_exc exc;
	struct xdpctl_dev *xd;
	bool done = true;
	int err = -ENOENT;

	rcu_read_lock();
	xd = xdpctl_dev_get(req->net, k->ifindex);
	if (xd) {
		err = 0;
		done = !xd->drv || !xd->drv->drv->counters;
	}
	if (xd && done) {
		xdpctl_exception_read(xd, &exc);
		stats_put_module(value, &exc, drv_flags(xd), 0);
	}
	rcu_read_unlock();
	if (done)
		return err;

	err = xdpctl_req_rtnl(req);
	if (err)
		return err;
	xd = xdpctl_dev_get(req->net, k->ifindex);
	if (!xd) {
		rtnl_unlock();
		return -ENOENT;
	}
	/* What the driver refuses, and be it for lack of memory, is absent. */
	driver_counts(xd, XDPCTL_NO_QUEUE, &counts, &exc);
	stats_put_driver(value, &counts);
	stats_put_module(value, &exc, drv_flags(xd), counts.have);
	rtnl_unlock();
	return 0;
}

const struct xdpctl_type_ops xdpctl_stats_ops = {
	.get_next = xdpctl_ifindex_next,
	.lookup = stats_lookup,
};

/*
 * How many RX queues of a netdev have counters. Before the first look at them
 * and after a change of queues that is a guess, which lookup puts right.
 */
static u32 n_queues(const struct xdpctl_dev *xd)
{
	const struct xdpctl_drvstats *ds = xd->drv;
	u32 n_rxq = READ_ONCE(xd->dev->real_num_rx_queues);
	const struct xdpctl_counter *counter;

	if (!ds || !ds->drv->counters)
		return 0;
	/* Pairs with smp_store_release() in drvstats.c. */
	if (smp_load_acquire(&ds->ops) && READ_ONCE(ds->n_rxq) == n_rxq)
		return READ_ONCE(ds->layout.n_queues);
	for (counter = ds->drv->counters; counter->format; counter++)
		if (counter->flags & XDPCTL_COUNTER_RXQ)
			return n_rxq;
	return 0;
}

static int qstats_get_next(struct net *net, const void *key, void *next)
{
	const struct xdpctl_qstats_key *k = key;
	struct xdpctl_qstats_key *n = next;
	struct xdpctl_dev *xd = NULL;
	u32 ifindex = 0, queue = 0;
	int err = -ENOENT;

	rcu_read_lock();
	if (k) {
		ifindex = k->ifindex;
		xd = xdpctl_dev_get(net, ifindex);
		queue = k->queue + 1;
		if (xd && (!queue || queue >= n_queues(xd)))
			xd = NULL;
	}
	if (!xd) {
		queue = 0;
		do
			xd = xdpctl_dev_next(net, ifindex);
		while (xd && (ifindex = xd->ifindex, !n_queues(xd)));
	}
	if (xd) {
		n->ifindex = xd->ifindex;
		n->queue = queue;
		err = 0;
	}
	rcu_read_unlock();
	return err;
}

/*
 * Of the exceptions there is nothing to say for a queue, but for that of a
 * netdev that never had another.
 */
static int qstats_lookup(struct xdpctl_req *req, const void *key, void *value)
{
	const struct xdpctl_qstats_key *k = key;
	struct xdpctl_counts counts;
	struct xdpctl_exc exc;
	struct xdpctl_dev *xd;
	bool known;
	int err;

	rcu_read_lock();
	xd = xdpctl_dev_get(req->net, k->ifindex);
	known = xd && k->queue < n_queues(xd);
	rcu_read_unlock();
	if (!known)
		return -ENOENT;

	err = xdpctl_req_rtnl(req);
	if (err)
		return err;
	xd = xdpctl_dev_get(req->net, k->ifindex);
	err = -ENOENT;
	if (xd)
		err = driver_counts(xd, k->queue, &counts, &exc);
	if (!err)
		stats_put_driver(value, &counts);
	rtnl_unlock();
	return err == -EINTR || err == -EAGAIN || !err ? err : -ENOENT;
}

const struct xdpctl_type_ops xdpctl_qstats_ops = {
	.get_next = qstats_get_next,
	.lookup = qstats_lookup,
};

/* All counters are 0, of whatever meaning. */
static bool counters_are_0(struct net_device *dev, struct xdpctl_drvstats *ds)
{
	struct xdpctl_counts c;
	unsigned int i;

	if (xdpctl_drvstats_read(dev, ds))
		return false;
	xdpctl_layout_sum(&ds->layout, ds->data, XDPCTL_NO_QUEUE, &c);
	for (i = 0; i < XDPCTL_RAW_MAX; i++)
		if (c.n[i])
			return false;
	return true;
}

/**
 * xdpctl_stats_dev_add() - prepare for the counters of a netdev
 * @xd: the netdev; gets @xd->drv if there are any
 * @is_new: it was registered just now
 *
 * If there is no memory the netdev is taken for one without driver counters.
 * The driver of a new netdev is not called: it may be in the middle of
 * bringing it up.
 * Context: RTNL, after xdpctl_exception_add().
 */
void xdpctl_stats_dev_add(struct xdpctl_dev *xd, bool is_new)
{
	const struct xdpctl_driver *drv;
	struct xdpctl_drvstats *ds;

	ASSERT_RTNL();
	drv = xdpctl_driver_find(xd->dev);
	if (!drv)
		return;
	ds = kzalloc(sizeof(*ds), GFP_KERNEL);
	if (!ds)
		return;

	ds->drv = drv;
	ds->asleep = time_asleep();
	ds->zero_rxq = U32_MAX;
	if (drv->derive && !is_new) {
		ds->zero_rxq = xd->dev->real_num_rx_queues;
		/* The probes may have missed some of a poll that still runs. */
		if (netif_running(xd->dev) &&
		    dev_xdp_prog_count(xd->dev))
			synchronize_net();
		is_new = counters_are_0(xd->dev, ds);
	}
	ds->all_exc = is_new;
	ds->all_seen = is_new;
	if (drv->flags & XDPCTL_DRIVER_VETH)
		xdpctl_veth_look(xd->dev, ds);
	WRITE_ONCE(xd->drv, ds);
}

/**
 * xdpctl_stats_dev_del() - undo xdpctl_stats_dev_add()
 * @xd: the netdev, which no new reader finds
 *
 * Context: RTNL.
 */
void xdpctl_stats_dev_del(struct xdpctl_dev *xd)
{
	struct xdpctl_drvstats *ds = xd->drv;

	ASSERT_RTNL();
	if (!ds)
		return;
	xdpctl_drvstats_forget(ds);
	kfree_rcu(ds, rcu);
}

/**
 * xdpctl_stats_dev_event() - take note of what else happens to a netdev
 * @dev: any netdev
 * @event: NETDEV_*
 *
 * Context: RTNL, in the netdevice notifier.
 */
void xdpctl_stats_dev_event(struct net_device *dev, unsigned long event)
{
	xdpctl_veth_event(dev, event);
}
