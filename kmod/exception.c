// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts XDP exceptions and failed redirects of every netdev.
 *
 * The probes run per packet, in softirq, under whatever the driver holds, so
 * they do nothing but find the netdev in a table of fixed size and add to a
 * per-CPU counter.
 */
#include <linux/bpf_trace.h>
#include <linux/filter.h>
#include <linux/hash.h>
#include <linux/hashtable.h>
#include <linux/percpu.h>
#include <linux/rculist.h>
#include <linux/rtnetlink.h>
#include <linux/tracepoint.h>
#include <trace/events/xdp.h>

#include "ctrl.h"

/*
 * By struct net_device *: an ifindex is unique in its netns only, and a netdev
 * keeps its address when it moves. Written under RTNL, read under RCU.
 */
static DEFINE_HASHTABLE(exc_table, 10);

/* Not exported, so found by name; NULL if the kernel has none. */
static struct tracepoint *redirect_err_tp __ro_after_init;

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

static __always_inline void exc_count(const struct net_device *dev,
				      unsigned int origin, unsigned int kind)
{
	struct xdpctl_dev *xd;

	/*
	 * What a tracepoint itself holds is another kind of RCU on newer
	 * kernels.
	 */
	rcu_read_lock_sched_notrace();
	hash_for_each_possible_rcu_notrace(exc_table, xd, node,
					   (unsigned long)dev) {
		if (xd->dev != dev)
			continue;
		if (unlikely(!xd->exc_seen))
			WRITE_ONCE(xd->exc_seen, true);
		this_cpu_inc(xd->exc->n[origin][kind]);
		/*
		 * Before the driver counts the frame. Pairs with smp_rmb() in
		 * ctrl_stats.c.
		 */
		smp_wmb();
		break;
	}
	rcu_read_unlock_sched_notrace();
}

/* @act is what a program returned: any u32. */
static void probe_exception(void *data, const struct net_device *dev,
			    const struct bpf_prog *prog, u32 act)
{
	unsigned int origin = exc_origin(dev, prog);
	unsigned int kind = XDPCTL_EXC_INVALID;

	if (act == XDP_ABORTED)
		kind = XDPCTL_EXC_ABORTED;
	else if (act == XDP_TX && origin != XDPCTL_EXC_MAP)
		kind = XDPCTL_EXC_TX;
	else if (act == XDP_REDIRECT && origin != XDPCTL_EXC_MAP)
		kind = XDPCTL_EXC_REDIRECT;
	exc_count(dev, origin, kind);
}

static void probe_redirect_err(void *data, const struct net_device *dev,
			       const struct bpf_prog *prog, const void *tgt,
			       int err, enum bpf_map_type map_type, u32 map_id,
			       u32 index)
{
	exc_count(dev, exc_origin(dev, prog), XDPCTL_EXC_REDIRECT_ERR);
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
}
