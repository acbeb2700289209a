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
#include "meter.h"

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

#define RAW_ALL		(BIT(XDPCTL_RAW_EXACT) - 1)

/* A driver knows nothing of what a generic program does, but what it sends. */
#define RAW_XMIT \
	(BIT(XDPCTL_RAW_XMIT_PACKETS) | BIT(XDPCTL_RAW_XMIT_BYTES) | \
	 BIT(XDPCTL_RAW_XMIT_ERRORS) | BIT(XDPCTL_RAW_XMIT_FULL))

static void stats_put_driver(void *value, const struct xdpctl_counts *c)
{
	u32 have = c->have & RAW_ALL;
	u64 *v = value;
	unsigned int i;

	v[0] |= (u64)have << XDPCTL_A_STATS_PACKETS;
	for (; have; have &= have - 1) {
		i = __ffs(have);
		v[STATS_INDEX(XDPCTL_A_STATS_PACKETS + i)] = c->n[i];
	}
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

/* What the module counts instead of the driver, and the kind it counts. */
static const struct {
	u8 raw;
	u8 kind;
} own_counters[] = {
	{ XDPCTL_RAW_ABORTED, XDPCTL_EXC_ABORTED },
	{ XDPCTL_RAW_INVALID, XDPCTL_EXC_INVALID },
	{ XDPCTL_RAW_REDIRECT_ERRORS, XDPCTL_EXC_REDIRECT_ERR },
	{ XDPCTL_RAW_TX_ERRORS, XDPCTL_EXC_TX },
};

/* Those of them that it counts all for a driver. */
static u32 own_mask(u32 drv_flags)
{
	u32 mask = BIT(XDPCTL_RAW_ABORTED) | BIT(XDPCTL_RAW_INVALID);

	if (drv_flags & XDPCTL_DRIVER_ABORTED_UNTRACED)
		mask &= ~BIT(XDPCTL_RAW_ABORTED);
	if (drv_flags & XDPCTL_DRIVER_INVALID_UNTRACED)
		mask &= ~BIT(XDPCTL_RAW_INVALID);
	if (drv_flags & XDPCTL_DRIVER_TX_TRACED)
		mask |= BIT(XDPCTL_RAW_TX_ERRORS);
	if (xdpctl_redirect_err_counted)
		mask |= BIT(XDPCTL_RAW_REDIRECT_ERRORS);
	return mask;
}

#define EXCEPTIONS \
	(BIT_ULL(XDPCTL_A_STATS_EXCEPTION_ABORTED) | \
	 BIT_ULL(XDPCTL_A_STATS_EXCEPTION_TX) | \
	 BIT_ULL(XDPCTL_A_STATS_EXCEPTION_REDIRECT) | \
	 BIT_ULL(XDPCTL_A_STATS_EXCEPTION_INVALID))

/*
 * What the module counts. @exc is NULL if that is 0, as @value is already, and
 * @have is what the driver knows.
 */
static void stats_put_module(struct xdpctl_stats *value,
			     const struct xdpctl_exc *exc, u32 drv_flags,
			     u32 have)
{
	u32 own = own_mask(drv_flags) & ~have;
	u64 *v = (u64 *)value;
	unsigned int i;

	value->present |= EXCEPTIONS | (u64)own << XDPCTL_A_STATS_PACKETS;
	if (!exc)
		return;
	for (i = 0; i < ARRAY_SIZE(own_counters); i++)
		if (own & BIT(own_counters[i].raw))
			v[STATS_INDEX(XDPCTL_A_STATS_PACKETS +
				      own_counters[i].raw)] =
				exc_verdicts(exc, own_counters[i].kind);
	value->exception_aborted = exc_all(exc, XDPCTL_EXC_ABORTED);
	value->exception_tx = exc_all(exc, XDPCTL_EXC_TX);
	value->exception_redirect = exc_all(exc, XDPCTL_EXC_REDIRECT);
	value->exception_invalid = exc_all(exc, XDPCTL_EXC_INVALID);
}

/* The attribute that counts a verdict, by kind of meter. */
static const u8 meter_attrs[XDPCTL_METER_KINDS] = {
	[XDP_ABORTED] = XDPCTL_A_STATS_ABORTED,
	[XDP_DROP] = XDPCTL_A_STATS_DROP,
	[XDP_PASS] = XDPCTL_A_STATS_PASS,
	[XDP_TX] = XDPCTL_A_STATS_TX,
	[XDP_REDIRECT] = XDPCTL_A_STATS_REDIRECT,
	[XDPCTL_METER_INVALID] = XDPCTL_A_STATS_INVALID,
};

/*
 * Puts what the meter counts in the place of what else is known of it, and
 * returns which attributes those are. @v is a struct xdpctl_stats or
 * xdpctl_qstats.
 */
static u64 stats_put_meter(const struct xdpctl_dev *xd, u32 queue, u64 *v)
{
	u64 metered = BIT_ULL(XDPCTL_A_STATS_PACKETS);
	u64 counts[XDPCTL_METER_KINDS], sum = 0;
	unsigned int i;

	if (!xd->meter || !xdpctl_meter_read(xd, queue, counts))
		return 0;
	for (i = 0; i < XDPCTL_METER_KINDS; i++) {
		v[STATS_INDEX(meter_attrs[i])] = counts[i];
		metered |= BIT_ULL(meter_attrs[i]);
		sum += counts[i];
	}
	v[STATS_INDEX(XDPCTL_A_STATS_PACKETS)] = sum;
	v[0] |= metered | BIT_ULL(XDPCTL_A_STATS_METERED);
	return metered;
}

static ktime_t time_asleep(void)
{
	return ktime_mono_to_any(0, TK_OFFS_BOOT);
}

static void witness(const struct xdpctl_dev *xd, const struct xdpctl_exc *exc,
		    struct xdpctl_witness *w)
{
	struct xdpctl_drvstats *ds = xd->drv;
	u32 n_rxq = xd->dev->real_num_rx_queues;

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
 * Adds what follows from the counters @c, which are those of a queue of @dev
 * unless that is NULL. @exc is NULL if there were no exceptions.
 */
static void derive(struct xdpctl_dev *xd, struct xdpctl_counts *c,
		   const struct xdpctl_counts *dev,
		   const struct xdpctl_exc *exc)
{
	struct xdpctl_drvstats *ds = xd->drv;
	struct xdpctl_witness w;

	if (ds->drv->derive) {
		witness(xd, exc, &w);
		w.dev = dev;
		ds->drv->derive(c, &w);
		if (!dev || w.one_queue) {
			keep_rising(c, XDPCTL_RAW_DROP, &ds->drop);
			keep_rising(c, XDPCTL_RAW_REDIRECT, &ds->redirect);
		}
	}
	if (rcu_access_pointer(xd->dev->xdp_prog))
		c->have &= RAW_XMIT;
}

/*
 * Reads the driver's counters, and then the exceptions: what the driver has
 * counted has been traced before that. @exc is set to NULL if there were none.
 */
static int read_counters(struct xdpctl_dev *xd, struct xdpctl_exc **exc)
{
	struct xdpctl_drvstats *ds = xd->drv;
	int err = -ENOENT;

	lockdep_assert(lockdep_rtnl_is_held());
	if (ds && ds->drv->counters)
		err = xdpctl_drvstats_read(xd->dev, ds);
	/* Pairs with smp_wmb() in exception.c. */
	smp_rmb();
	if (!xdpctl_exception_read(xd, *exc))
		*exc = NULL;
	return err;
}

static u32 drv_flags(const struct xdpctl_dev *xd)
{
	return xd->drv ? xd->drv->drv->flags : 0;
}

/*
 * A driver's refusal is no error: what it does not tell is absent. To have no
 * memory to ask it is one.
 */
static int stats_lookup_driver(struct xdpctl_req *req, u32 ifindex,
			       struct xdpctl_stats *value)
{
	struct xdpctl_exc sum, *exc = &sum;
	struct xdpctl_counts counts;
	struct xdpctl_dev *xd;
	int err;

	err = xdpctl_req_rtnl(req);
	if (err)
		return err;
	xd = xdpctl_dev_get(req->net, ifindex);
	if (!xd) {
		rtnl_unlock();
		return xdpctl_no_netdev(req);
	}
	counts.have = 0;
	err = read_counters(xd, &exc);
	if (err == -ENOMEM) {
		rtnl_unlock();
		return err;
	}
	if (!err &&
	    xdpctl_layout_sum(&xd->drv->layout, xd->drv->data,
			      XDPCTL_NO_QUEUE, &counts)) {
		derive(xd, &counts, NULL, exc);
		stats_put_driver(value, &counts);
	}
	stats_put_module(value, exc, drv_flags(xd), counts.have);
	value->metered = stats_put_meter(xd, XDPCTL_QUEUE_ALL, (u64 *)value);
	rtnl_unlock();
	return 0;
}

static void stats_put_own(const struct xdpctl_dev *xd,
			  struct xdpctl_stats *value)
{
	struct xdpctl_exc sum;

	xdpctl_exception_read(xd, &sum);
	stats_put_module(value, &sum, drv_flags(xd), 0);
}

/* The quick way has no room on its stack, which the compiler may clear. */
static int stats_lookup(struct xdpctl_req *req, const void *key, void *value)
{
	const struct xdpctl_stats_key *k = key;
	const struct xdpctl_dev *xd;

	rcu_read_lock();
	xd = xdpctl_dev_get(req->net, k->ifindex);
	if (!xd) {
		rcu_read_unlock();
		return xdpctl_no_netdev(req);
	}
	if ((xd->drv && xd->drv->drv->counters) || READ_ONCE(xd->meter)) {
		rcu_read_unlock();
		return stats_lookup_driver(req, k->ifindex, value);
	}
	if (READ_ONCE(xd->exc_seen))
		stats_put_own(xd, value);
	else
		stats_put_module(value, NULL, drv_flags(xd), 0);
	rcu_read_unlock();
	return 0;
}

const struct xdpctl_type_ops xdpctl_stats_ops = {
	.get_next = xdpctl_ifindex_next,
	.lookup = stats_lookup,
};

static u32 n_queues_driver(const struct xdpctl_dev *xd, u32 n_rxq)
{
	const struct xdpctl_drvstats *ds = xd->drv;
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

/*
 * How many RX queues of a netdev have counters. Before the first look at those
 * of the driver, after a change of queues, and while the meter does not count,
 * that is a guess, which lookup puts right.
 */
static u32 n_queues(const struct xdpctl_dev *xd)
{
	u32 n_rxq = READ_ONCE(xd->dev->real_num_rx_queues);
	u32 n = n_queues_driver(xd, n_rxq);

	return READ_ONCE(xd->meter) ? max(n, n_rxq) : n;
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

/* An exception tells no queue, so there are none of them. */
static int qstats_fill_driver(struct xdpctl_dev *xd, u32 queue,
			      struct xdpctl_qstats *value)
{
	struct xdpctl_exc sum, *exc = &sum;
	struct xdpctl_counts counts, dev;
	struct xdpctl_layout *l;
	int err;

	err = read_counters(xd, &exc);
	if (err)
		return err == -ENOMEM ? err : -ENOENT;
	l = &xd->drv->layout;
	if (!xdpctl_layout_sum(l, xd->drv->data, queue, &counts))
		return -ENOENT;
	xdpctl_layout_sum(l, xd->drv->data, XDPCTL_NO_QUEUE, &dev);
	derive(xd, &counts, &dev, exc);
	stats_put_driver(value, &counts);
	return 0;
}

/* Under RTNL. */
static int qstats_fill(struct xdpctl_dev *xd, u32 queue,
		       struct xdpctl_qstats *value)
{
	int err = qstats_fill_driver(xd, queue, value);

	if (err && err != -ENOENT)
		return err;
	value->metered = stats_put_meter(xd, queue, (u64 *)value);
	return value->metered ? 0 : err;
}

static int no_queue(struct xdpctl_req *req)
{
	NL_SET_ERR_MSG(req->extack, "no such queue");
	return -ENOENT;
}

static int qstats_lookup(struct xdpctl_req *req, const void *key, void *value)
{
	const struct xdpctl_qstats_key *k = key;
	struct xdpctl_dev *xd;
	bool known;
	int err;

	rcu_read_lock();
	xd = xdpctl_dev_get(req->net, k->ifindex);
	known = xd && k->queue < n_queues(xd);
	rcu_read_unlock();
	if (!xd)
		return xdpctl_no_netdev(req);
	if (!known)
		return no_queue(req);

	err = xdpctl_req_rtnl(req);
	if (err)
		return err;
	xd = xdpctl_dev_get(req->net, k->ifindex);
	if (xd)
		err = qstats_fill(xd, k->queue, value);
	else
		err = xdpctl_no_netdev(req);
	rtnl_unlock();
	return xd && err == -ENOENT ? no_queue(req) : err;
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
