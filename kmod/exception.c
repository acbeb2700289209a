// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts XDP exceptions and failed redirects of every netdev, and tells of
 * exceptions.
 *
 * The probes run per packet, in softirq, under whatever the driver holds, so
 * they do nothing but find the netdev in a table of fixed size and add to a
 * per-CPU counter. The first exception of a netdev wakes a work, which tells
 * what there was; until it has run, the others see that it is awake. So a flood
 * costs no more per packet than a single one.
 */
#include <linux/bpf_trace.h>
#include <linux/filter.h>
#include <linux/hash.h>
#include <linux/hashtable.h>
#include <linux/irq_work.h>
#include <linux/jiffies.h>
#include <linux/percpu.h>
#include <linux/rculist.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <linux/workqueue.h>
#include <trace/events/xdp.h>

#include "ctrl.h"
#include "meter.h"

/*
 * By struct net_device *: an ifindex is unique in its netns only, and a netdev
 * keeps its address when it moves. Written under RTNL, read under RCU.
 */
static DEFINE_HASHTABLE(exc_table, 10);

/* Not exported, so found by name; NULL if the kernel has none. */
static struct tracepoint *redirect_err_tp __ro_after_init;

static void wake(struct irq_work *work);
static void event_work(struct work_struct *work);

static DEFINE_IRQ_WORK(wake_iw, wake);
static DECLARE_DELAYED_WORK(event_wk, event_work);

/* No event of a kind, netdev and queue comes sooner than this after another. */
#define EVENT_INTERVAL	(HZ / 10)

/* When the next event may come; of the work, and looked at by who wakes it. */
static unsigned long next_event = INITIAL_JIFFIES;

/* The family is there, so that events can be sent. */
static bool events_on;

/* Whether XDPCTL_EXC_REDIRECT_ERR of a netdev means anything. */
bool xdpctl_redirect_err_counted __ro_after_init;

/*
 * The program of an entry of a devmap or cpumap runs on frames that another
 * program has redirected already: its verdicts are none on the netdev. Of the
 * others, a generic one is entered in dev->xdp_prog, which native mode leaves
 * alone. The core clears it before the last packet is through, so the last
 * exceptions of a generic program may be taken for native ones.
 */
static __always_inline unsigned int exc_origin(const struct net_device *dev,
					       const struct bpf_prog *prog)
{
	if (unlikely(prog->expected_attach_type == BPF_XDP_DEVMAP ||
		     prog->expected_attach_type == BPF_XDP_CPUMAP))
		return XDPCTL_EXC_MAP;
	if (rcu_access_pointer(dev->xdp_prog))
		return XDPCTL_EXC_GENERIC;
	return XDPCTL_EXC_NATIVE;
}

/*
 * What a tracepoint itself holds is another kind of RCU on newer kernels, so the
 * probes take this kind around it.
 */
static __always_inline struct xdpctl_dev *
exc_find(const struct net_device *dev)
{
	struct xdpctl_dev *xd;

	hash_for_each_possible_rcu_notrace(exc_table, xd, node,
					   (unsigned long)dev)
		if (xd->dev == dev)
			return xd;
	return NULL;
}

static __always_inline void exc_count(struct xdpctl_dev *xd,
				      unsigned int origin, unsigned int kind)
{
	this_cpu_inc(xd->exc->n[origin][kind]);
	/*
	 * Before the driver counts the frame. Pairs with smp_rmb() in
	 * ctrl_stats.c.
	 */
	smp_wmb();
}

/*
 * Whoever sees @exc_awake set leaves the telling to a work that has yet to clear
 * it. The work waits for a grace period between clearing it and reading the
 * counters, so that those who saw it set have counted by then; whoever comes
 * later wakes the work again. That takes no barrier here.
 *
 * An irq_work may be queued in any context at all, and takes no lock: the
 * probe may stand in the middle of the driver, the scheduler's or the timers'
 * locks could be held where a netdev is polled for netconsole.
 */
static noinline void exc_wake(struct xdpctl_dev *xd)
{
	WRITE_ONCE(xd->exc_seen, true);
	smp_wmb();	/* as in exc_count() */
	WRITE_ONCE(xd->exc_awake, true);
	irq_work_queue(&wake_iw);
}

/* Mostly it is the same as before: then nothing is written that CPUs share. */
static __always_inline void exc_note(struct xdpctl_exc_last *last, u32 prog_id,
				     u32 action)
{
	if (unlikely(READ_ONCE(last->prog_id) != prog_id))
		WRITE_ONCE(last->prog_id, prog_id);
	if (unlikely(READ_ONCE(last->action) != action))
		WRITE_ONCE(last->action, action);
}

/* @act is what a program returned: any u32. */
static void probe_exception(void *data, const struct net_device *dev,
			    const struct bpf_prog *prog, u32 act)
{
	unsigned int origin = exc_origin(dev, prog);
	unsigned int kind = XDPCTL_EXC_INVALID;
	struct xdpctl_dev *xd;

	if (act == XDP_ABORTED)
		kind = XDPCTL_EXC_ABORTED;
	else if (act == XDP_TX && origin != XDPCTL_EXC_MAP)
		kind = XDPCTL_EXC_TX;
	else if (act == XDP_REDIRECT && origin != XDPCTL_EXC_MAP)
		kind = XDPCTL_EXC_REDIRECT;

	rcu_read_lock_sched_notrace();
	xd = exc_find(dev);
	if (likely(xd)) {
		exc_count(xd, origin, kind);
		exc_note(&xd->exc_last[kind], prog->aux->id, act);
		/* last, so that nothing has to be kept across the call */
		if (unlikely(!READ_ONCE(xd->exc_awake)))
			exc_wake(xd);
	}
	rcu_read_unlock_sched_notrace();
}

static void probe_redirect_err(void *data, const struct net_device *dev,
			       const struct bpf_prog *prog, const void *tgt,
			       int err, enum bpf_map_type map_type, u32 map_id,
			       u32 index)
{
	struct xdpctl_dev *xd;

	rcu_read_lock_sched_notrace();
	xd = exc_find(dev);
	if (likely(xd)) {
		if (unlikely(!READ_ONCE(xd->exc_seen)))
			WRITE_ONCE(xd->exc_seen, true);
		exc_count(xd, exc_origin(dev, prog), XDPCTL_EXC_REDIRECT_ERR);
	}
	rcu_read_unlock_sched_notrace();
}

static void __init find_redirect_err(struct tracepoint *tp, void *priv)
{
	if (!strcmp(tp->name, "xdp_redirect_err"))
		redirect_err_tp = tp;
}

/**
 * xdpctl_exception_add() - start to count the exceptions of a netdev
 * @xd: the netdev; gets @xd->exc
 *
 * Context: RTNL.
 * Return: 0 or -ENOMEM.
 */
int xdpctl_exception_add(struct xdpctl_dev *xd)
{
	ASSERT_RTNL();
	xd->exc = alloc_percpu(struct xdpctl_exc);
	if (!xd->exc)
		return -ENOMEM;
	hash_add_rcu(exc_table, &xd->node, (unsigned long)xd->dev);
	return 0;
}

/**
 * xdpctl_exception_del() - undo xdpctl_exception_add()
 * @xd: the netdev; @xd->exc must be freed by RCU
 *
 * Context: RTNL.
 */
void xdpctl_exception_del(struct xdpctl_dev *xd)
{
	ASSERT_RTNL();
	hash_del_rcu(&xd->node);
	kvfree(xd->exc_metered);
	xd->exc_metered = NULL;
}

/**
 * xdpctl_exception_read() - sum up the exceptions of a netdev
 * @xd: the netdev
 * @sum: where the sums go, if there are any; else it is left alone
 *
 * Context: RTNL or rcu_read_lock().
 * Return: whether there was any exception.
 */
bool xdpctl_exception_read(const struct xdpctl_dev *xd, struct xdpctl_exc *sum)
{
	const u64 *from;
	u64 *to = &sum->n[0][0];
	unsigned int i;
	int cpu;

	if (likely(!READ_ONCE(xd->exc_seen)))
		return false;
	memset(sum, 0, sizeof(*sum));
	for_each_possible_cpu(cpu) {
		from = &per_cpu_ptr(xd->exc, cpu)->n[0][0];
		for (i = 0; i < sizeof(*sum) / sizeof(u64); i++)
			to[i] += READ_ONCE(from[i]);
	}
	return true;
}

/*
 * Events
 *
 * One kind of exception each, but for failed redirects, which are no exceptions
 * to the core. What was told of a kind is subtracted from its counter, so that
 * the events add up to it.
 */

/**
 * struct xdpctl_exc_metered - what was told of the counters of a meter
 * @n: number of queues
 * @missed: something was told without the meter, so that @told is out of date
 * @told: by queue: aborted, invalid
 */
struct xdpctl_exc_metered {
	unsigned int n;
	bool missed;
	u64 told[][2];
};

static unsigned long event_delay(void)
{
	unsigned long now = jiffies, next = READ_ONCE(next_event);

	return time_before(now, next) ? next - now : 0;
}

static void wake(struct irq_work *work)
{
	if (READ_ONCE(events_on))
		schedule_delayed_work(&event_wk, event_delay());
}

/* The netns that an event goes to, referenced, until it is sent. */
static struct net **event_net(struct sk_buff *skb)
{
	return (struct net **)skb->cb;
}

/*
 * Adds an event to what is to be sent. Where nobody listens, or nobody can, it
 * counts as told. For want of memory it is kept for the next time.
 */
static int event_add(struct sk_buff_head *events, const struct xdpctl_dev *xd,
		     unsigned int kind, u32 queue, u64 count)
{
	struct xdpctl_exc_event ev = {
		.ifindex = xd->ifindex,
		.prog_id = READ_ONCE(xd->exc_last[kind].prog_id),
		.action = READ_ONCE(xd->exc_last[kind].action),
		.queue = queue,
		.count = count,
	};
	struct sk_buff *skb;
	struct net *net;

	if (!xdpctl_exception_wanted(xd->net))
		return 0;
	net = maybe_get_net(xd->net);
	if (!net)
		return 0;
	skb = xdpctl_exception_msg(net, &ev);
	if (!skb) {
		put_net(net);
		return -ENOMEM;
	}
	*event_net(skb) = net;
	__skb_queue_tail(events, skb);
	return 0;
}

/* Tells what the meter has counted of a verdict on a queue. */
static int collect_verdict(struct sk_buff_head *events, struct xdpctl_dev *xd,
			   unsigned int kind, u32 queue, u64 count, u64 *told)
{
	/* fewer: it was switched off and on */
	u64 n = count < *told ? count : count - *told;
	int err;

	if (n && !xd->exc_metered->missed) {
		err = event_add(events, xd, kind, queue, n);
		if (err)
			return err;
		xd->exc_told[kind] += n;
	}
	*told = count;
	return 0;
}

static struct xdpctl_exc_metered *metered(struct xdpctl_dev *xd)
{
	struct xdpctl_exc_metered *m = xd->exc_metered;

	if (m)
		return m;
	m = kvzalloc(struct_size(m, told, xd->dev->num_rx_queues), GFP_KERNEL);
	if (m)
		m->n = xd->dev->num_rx_queues;
	xd->exc_metered = m;
	return m;
}

/*
 * The tracepoint knows no queue, but the meter does. It counts a verdict before
 * the tracepoint is reached, and is read after the counters of the probe, so
 * that for a while more may be told than they have. What is told adds up to the
 * counters of the probe all the same: what the meter has not seen is told without
 * a queue, and what it has counted while it could not be read is not told again.
 */
static int collect_meter(struct sk_buff_head *events, struct xdpctl_dev *xd)
{
	struct xdpctl_exc_metered *m = metered(xd);
	u64 counts[XDPCTL_METER_KINDS];
	unsigned int i;
	int err = 0;

	if (!m)
		return -ENOMEM;
	if (!xdpctl_meter_read(xd, XDPCTL_QUEUE_ALL, counts)) {
		m->missed = true;
		return 0;
	}
	for (i = 0; i < m->n && !err; i++) {
		if (!xdpctl_meter_read(xd, i, counts))
			continue;
		err = collect_verdict(events, xd, XDPCTL_EXC_ABORTED, i,
				      counts[XDP_ABORTED], &m->told[i][0]) ?:
		      collect_verdict(events, xd, XDPCTL_EXC_INVALID, i,
				      counts[XDPCTL_METER_INVALID],
				      &m->told[i][1]);
	}
	if (!err)
		m->missed = false;
	return err;
}

/* The meter is off: what it was ahead is not waited for. */
static void forget_meter(struct xdpctl_dev *xd, const u64 *total)
{
	unsigned int kind;

	kvfree(xd->exc_metered);
	xd->exc_metered = NULL;
	for (kind = 0; kind < XDPCTL_EXC_EVENTS; kind++)
		xd->exc_told[kind] = min(xd->exc_told[kind], total[kind]);
}

static int collect(struct sk_buff_head *events, struct xdpctl_dev *xd)
{
	u64 total[XDPCTL_EXC_EVENTS] = {};
	struct xdpctl_exc sum;
	unsigned int i, kind;
	int err = 0;

	ASSERT_RTNL();
	if (!xdpctl_exception_read(xd, &sum))
		return 0;
	for (i = 0; i < XDPCTL_EXC_ORIGINS; i++)
		for (kind = 0; kind < XDPCTL_EXC_EVENTS; kind++)
			total[kind] += sum.n[i][kind];

	if (xd->meter)
		err = collect_meter(events, xd);
	else if (xd->exc_metered)
		forget_meter(xd, total);
	for (kind = 0; kind < XDPCTL_EXC_EVENTS && !err; kind++) {
		if (total[kind] <= xd->exc_told[kind])
			continue;
		err = event_add(events, xd, kind, XDPCTL_QUEUE_ALL,
				total[kind] - xd->exc_told[kind]);
		if (!err)
			xd->exc_told[kind] = total[kind];
	}
	return err;
}

/* Finds the netdevs that have something to tell. */
static bool find_due(void)
{
	struct xdpctl_dev *xd;
	bool found = false;
	int i;

	rcu_read_lock();
	hash_for_each_rcu(exc_table, i, xd, node) {
		if (READ_ONCE(xd->exc_awake)) {
			WRITE_ONCE(xd->exc_awake, false);
			xd->exc_due = true;
		}
		found |= xd->exc_due;
	}
	rcu_read_unlock();
	return found;
}

/*
 * Collects under RTNL, for the meter and so that no netdev goes or moves, and
 * sends without.
 */
static void event_work(struct work_struct *work)
{
	unsigned long delay = event_delay();
	struct sk_buff_head events;
	struct xdpctl_dev *xd;
	struct sk_buff *skb;
	bool again = false;
	struct net *net;
	int i;

	if (delay) {	/* woken while it ran the last time */
		schedule_delayed_work(&event_wk, delay);
		return;
	}
	if (!find_due())
		return;
	synchronize_rcu();	/* see exc_wake() */

	__skb_queue_head_init(&events);
	rtnl_lock();
	hash_for_each(exc_table, i, xd, node) {
		if (!xd->exc_due)
			continue;
		xd->exc_due = collect(&events, xd);
		again |= xd->exc_due;
	}
	rtnl_unlock();

	while ((skb = __skb_dequeue(&events))) {
		net = *event_net(skb);
		memset(skb->cb, 0, sizeof(skb->cb));
		xdpctl_exception_send(net, skb);
		put_net(net);
	}
	WRITE_ONCE(next_event, jiffies + EVENT_INTERVAL);
	if (again)
		schedule_delayed_work(&event_wk, EVENT_INTERVAL);
}

/**
 * xdpctl_exception_start() - start to tell of exceptions
 *
 * Also of those that there were since xdpctl_exception_init().
 * Context: process context; the netlink door is open.
 */
void xdpctl_exception_start(void)
{
	WRITE_ONCE(events_on, true);
	schedule_delayed_work(&event_wk, 0);
}

/**
 * xdpctl_exception_stop() - undo xdpctl_exception_start()
 *
 * Context: process context, no RTNL.
 */
void xdpctl_exception_stop(void)
{
	WRITE_ONCE(events_on, false);
	/*
	 * Either wake() sees that, or it is waited for. Pairs with the atomic
	 * that irq_work_queue() claims the work by.
	 */
	smp_mb();
	irq_work_sync(&wake_iw);
	cancel_delayed_work_sync(&event_wk);
}

/**
 * xdpctl_exception_init() - register the probes
 *
 * Context: process context.
 * Return: 0 or an error.
 */
int __init xdpctl_exception_init(void)
{
	int err;

	check_trace_callback_type_xdp_redirect_err(probe_redirect_err);
	err = register_trace_xdp_exception(probe_exception, NULL);
	if (err)
		return err;

	for_each_kernel_tracepoint(find_redirect_err, NULL);
	if (!redirect_err_tp)
		return 0;
	err = tracepoint_probe_register(redirect_err_tp, probe_redirect_err,
					NULL);
	if (!err) {
		xdpctl_redirect_err_counted = true;
		return 0;
	}

	unregister_trace_xdp_exception(probe_exception, NULL);
	tracepoint_synchronize_unregister();
	irq_work_sync(&wake_iw);
	return err;
}

/**
 * xdpctl_exception_exit() - undo xdpctl_exception_init()
 *
 * Context: process context; no netdev is left in the table.
 */
void xdpctl_exception_exit(void)
{
	if (redirect_err_tp)
		tracepoint_probe_unregister(redirect_err_tp, probe_redirect_err,
					    NULL);
	unregister_trace_xdp_exception(probe_exception, NULL);
	tracepoint_synchronize_unregister();
	irq_work_sync(&wake_iw);
}
