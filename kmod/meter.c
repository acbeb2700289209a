// SPDX-License-Identifier: GPL-2.0-only
/*
 * The meter: counts the verdicts of the program on a netdev, whatever driver and
 * mode, without the help of the program.
 *
 * A tap is an fexit program on a program, which counts into an array by RX queue
 * and verdict what came in on the netdev of the meter. While one program takes
 * the place of another both have a tap, so that no verdict is missed.
 *
 * When the kernel adds or takes away a tracer of a program, it does not call the
 * tracers for frames that are in the program just then. So a tap is freed when
 * its program has no frame of the netdev any more. What is out of our hands is
 * a tracer, or the meter of another netdev, on the same program.
 */
#include <linux/err.h>
#include <linux/fdtable.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "fexit.h"
#include "meter.h"
#include "sysbpf.h"

/**
 * struct xdpctl_meter - the meter of a netdev
 * @dev: the netdev; not to be looked at if @dead
 * @dead: it is gone
 * @map: file of the per-CPU array of struct xdpctl_counters, by RX queue, and
 *	one more for any other
 * @n_queues: RX queues that the netdev was made with
 * @tap: on the program on the netdev, as far as the module knows; or NULL
 * @next: on the program that is to be put there, or has just been; or NULL
 * @gone: in the list of those whose netdev is gone
 *
 * Under RTNL. It is taken off the netdev under xdpctl_change_mutex as well, but
 * for dev_del(), whose work takes the mutex: who has it can go on using one that
 * he found under RTNL. Each holds the module.
 */
struct xdpctl_meter {
	const struct net_device *dev;
	bool dead;
	struct file *map;
	u32 n_queues;
	struct xdpctl_tap *tap;
	struct xdpctl_tap *next;
	struct list_head gone;
};

/**
 * struct xdpctl_tap - counts the verdicts of a program on a netdev
 * @link: file of the link, which holds the fexit program on @prog, and @prog
 * @prog: the program whose verdicts are counted
 * @meter: the meter whose @tap or @next it is, or NULL
 * @refs: 2 while the program on the netdev is replaced by itself: each frame is
 *	to be counted once; under xdpctl_change_mutex
 * @stale: in the list of those whose program was taken away
 */
struct xdpctl_tap {
	struct file *link;
	struct bpf_prog *prog;
	struct xdpctl_meter *meter;
	int refs;
	struct list_head stale;
};

static void gone_work(struct work_struct *work);

/*
 * Meters whose netdev is gone, and taps whose program somebody else took off
 * the netdev. Under RTNL.
 */
static LIST_HEAD(gone);
static LIST_HEAD(stale);
static DECLARE_WORK(gone_wk, gone_work);

/* Taps */

/* The program that the host runs for a netdev, or NULL. */
static struct bpf_prog *host_prog(const struct net_device *dev)
{
	int mode = xdpctl_host_mode(dev);

	return mode < 0 ? NULL : xdpctl_state_prog(dev, mode);
}

/* Takes the tap off @m, to be freed. */
static struct xdpctl_tap *tap_take(struct xdpctl_meter *m)
{
	struct xdpctl_tap *tap = m->tap;

	m->tap = NULL;
	if (tap)
		tap->meter = NULL;
	return tap;
}

/* Frees the tap of @m, whose program is not on the netdev any more. */
static void tap_is_stale(struct xdpctl_meter *m)
{
	struct xdpctl_tap *tap = tap_take(m);

	ASSERT_RTNL();
	if (!tap)
		return;
	list_add(&tap->stale, &stale);
	queue_work(xdpctl_wq, &gone_wk);
}

/*
 * Lets go of the tap of a program that somebody else took off the netdev, so
 * that it is not taken for metered all the while if it comes back.
 */
static void find_stale(struct xdpctl_meter *m)
{
	ASSERT_RTNL();
	if (!m->dead && !m->next && m->tap && m->tap->prog != host_prog(m->dev))
		tap_is_stale(m);
}

/* A frame is not to be counted by one of these and by a new one. */
static void free_stale(void)
{
	struct xdpctl_tap *tap, *next;
	LIST_HEAD(taps);

	lockdep_assert_held(&xdpctl_change_mutex);
	rtnl_lock();
	list_splice_init(&stale, &taps);
	rtnl_unlock();
	if (!list_empty(&taps))
		synchronize_net();
	list_for_each_entry_safe(tap, next, &taps, stale)
		xdpctl_tap_free(tap);
}

/* Is there a tap already, since the program is to be replaced by itself? */
static struct xdpctl_tap *tap_again(struct xdpctl_meter *m,
				    const struct bpf_prog *prog)
{
	struct xdpctl_tap *tap = NULL;

	rtnl_lock();
	find_stale(m);
	if (m->tap && m->tap->prog == prog) {
		tap = m->tap;
		tap->refs++;
		m->next = tap;
	}
	rtnl_unlock();
	return tap;
}

static struct xdpctl_tap *tap_make(struct xdpctl_req *req,
				   struct xdpctl_meter *m, struct file *prog)
{
	struct xdpctl_fexit what = {
		.target = prog,
		.dev = m->dev,
		.map = m->map,
		.n_queues = m->n_queues,
	};
	struct xdpctl_tap *tap;
	struct file *link;

	tap = kzalloc(sizeof(*tap), GFP_KERNEL);
	if (!tap) {
		NL_SET_ERR_MSG(req->extack, "no memory");
		return ERR_PTR(-ENOMEM);
	}
	link = xdpctl_fexit_new(req, &what);
	if (IS_ERR(link)) {
		kfree(tap);
		return ERR_CAST(link);
	}
	tap->link = link;
	tap->prog = xdpctl_file_prog(prog);
	tap->meter = m;
	tap->refs = 1;
	return tap;
}

/**
 * xdpctl_tap_new() - count the verdicts of a program when it runs on a netdev
 * @req: the request, told why not
 * @m: the meter of the netdev
 * @prog: file of the program, which need not be on the netdev yet
 *
 * xdpctl_tap_swap() or xdpctl_tap_free() is due before the mutex is released.
 * Context: process context, xdpctl_change_mutex, no RTNL.
 * Return: the tap or an error.
 */
struct xdpctl_tap *xdpctl_tap_new(struct xdpctl_req *req,
				  struct xdpctl_meter *m, struct file *prog)
{
	struct xdpctl_tap *tap;

	lockdep_assert_held(&xdpctl_change_mutex);
	tap = tap_again(m, xdpctl_file_prog(prog));
	if (tap)
		return tap;
	free_stale();
	tap = tap_make(req, m, prog);
	if (IS_ERR(tap))
		return tap;
	rtnl_lock();
	m->next = tap;
	rtnl_unlock();
	return tap;
}

/**
 * xdpctl_tap_swap() - the program on the netdev of a meter is another now
 * @m: the meter
 * @tap: the tap of the program that is there, or NULL
 *
 * Context: xdpctl_change_mutex, RTNL.
 * Return: the tap to be freed when no frame is in its program any more, or NULL:
 * the one that was there before, or @tap if it was made for another meter.
 */
struct xdpctl_tap *xdpctl_tap_swap(struct xdpctl_meter *m,
				   struct xdpctl_tap *tap)
{
	struct xdpctl_tap *old;

	ASSERT_RTNL();
	/* Another netdev, with a meter of its own, came to have the ifindex. */
	if (tap && tap->meter != m) {
		tap_is_stale(m);
		return tap;
	}
	m->next = NULL;
	if (tap && tap == m->tap)
		return tap;
	old = tap_take(m);
	m->tap = tap;
	return old;
}

/**
 * xdpctl_tap_free() - undo xdpctl_tap_new()
 * @tap: the tap, or NULL
 *
 * Context: process context, no RTNL; xdpctl_change_mutex unless its meter is
 * being freed.
 */
void xdpctl_tap_free(struct xdpctl_tap *tap)
{
	if (!tap)
		return;
	if (tap->meter) {
		lockdep_assert_held(&xdpctl_change_mutex);
		rtnl_lock();
		tap->meter->next = NULL;
		rtnl_unlock();
	}
	if (--tap->refs)
		return;
	xdpctl_fexit_free(tap->link);
	kfree(tap);
}

/* Meters */

static int map_work(void *arg)
{
	struct xdpctl_meter *m = arg;
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_PERCPU_ARRAY,
		.key_size = sizeof(u32),
		.value_size = sizeof(struct xdpctl_counters),
		.max_entries = m->n_queues + 1,
		.map_name = "xdpctl_meter",
	};

	m->map = xdpctl_map_create_frozen(&attr);
	return PTR_ERR_OR_ZERO(m->map);
}

static struct xdpctl_meter *meter_new(const struct net_device *dev, u32 n_queues)
{
	struct xdpctl_meter *m;
	int err = -ENODEV;

	if (!try_module_get(THIS_MODULE))
		return ERR_PTR(err);
	m = kzalloc(sizeof(*m), GFP_KERNEL);
	if (!m) {
		err = -ENOMEM;
		goto err_module;
	}
	m->dev = dev;
	m->n_queues = n_queues;
	err = xdpctl_in_worker(map_work, m);
	if (err)
		goto err_free;
	return m;

err_free:
	kfree(m);
err_module:
	module_put(THIS_MODULE);
	return ERR_PTR(err);
}

/* Frees a meter that is on no netdev. */
static void meter_free(struct xdpctl_meter *m)
{
	xdpctl_tap_free(tap_take(m));
	fput(m->map);
	kfree(m);
	module_put(THIS_MODULE);
}

static void gone_work(struct work_struct *work)
{
	struct xdpctl_meter *m, *next;
	LIST_HEAD(free);

	/* Until he who has found one of them is done with it. */
	mutex_lock(&xdpctl_change_mutex);
	free_stale();
	rtnl_lock();
	list_splice_init(&gone, &free);
	rtnl_unlock();
	mutex_unlock(&xdpctl_change_mutex);

	list_for_each_entry_safe(m, next, &free, gone)
		meter_free(m);
}

/**
 * xdpctl_meter_dev_del() - the netdev goes
 * @xd: the netdev
 *
 * Context: RTNL.
 */
void xdpctl_meter_dev_del(struct xdpctl_dev *xd)
{
	struct xdpctl_meter *m = xd->meter;

	ASSERT_RTNL();
	if (!m)
		return;
	WRITE_ONCE(xd->meter, NULL);
	m->dead = true;
	list_add(&m->gone, &gone);
	queue_work(xdpctl_wq, &gone_wk);
}

static bool is_tapped(const struct xdpctl_tap *tap, const struct bpf_prog *prog)
{
	return tap && tap->prog == prog;
}

/*
 * Are the verdicts of what is on the netdev counted? What somebody else put there
 * is not.
 */
static bool is_metered(const struct net_device *dev, struct xdpctl_meter *m)
{
	const struct bpf_prog *prog = host_prog(dev);

	find_stale(m);
	/* a netdev that runs a program itself hides frames from the host */
	if (xdpctl_state_prog(dev, XDP_MODE_HW))
		return false;
	return !prog || is_tapped(m->tap, prog) || is_tapped(m->next, prog);
}

/**
 * struct target - what a meter is to be put on
 * @dev: the netdev, only to compare with
 * @n_queues: RX queues that it was made with
 * @meter: the meter that it has, or NULL
 * @file: file of the program on it, with a reference, or NULL
 * @done: there is nothing to do
 */
struct target {
	const struct net_device *dev;
	u32 n_queues;
	struct xdpctl_meter *meter;
	struct file *file;
	bool done;
};

/* The program is somebody else's, so the caller must have given it. */
static int check_given(struct xdpctl_req *req, const struct bpf_prog *prog)
{
	if (!req->file) {
		xdpctl_extack_fmt(req->extack,
				  "program %u was attached by somebody else: give its file descriptor as well (fd)",
				  prog->aux->id);
		return -EINVAL;
	}
	if (xdpctl_file_prog(req->file) != prog) {
		xdpctl_extack_fmt(req->extack,
				  "program %u is given, but program %u is attached",
				  xdpctl_file_prog(req->file)->aux->id,
				  prog->aux->id);
		return -EINVAL;
	}
	return 0;
}

static int find_target(struct xdpctl_req *req, u32 ifindex, struct target *t)
{
	struct xdpctl_attachment *a;
	struct xdpctl_dev *xd;
	struct bpf_prog *prog;
	int err;

	ASSERT_RTNL();
	xd = xdpctl_dev_get(req->net, ifindex);
	if (!xd) {
		NL_SET_ERR_MSG(req->extack, "no such netdev");
		return -ENODEV;
	}
	if (netif_is_bond_master(xd->dev)) {
		NL_SET_ERR_MSG(req->extack,
			       "the program of a bond runs on the netdevs below it, each of which would need a meter");
		return -EOPNOTSUPP;
	}
	xdpctl_reap_dev(xd->dev);
	prog = host_prog(xd->dev);
	a = xdpctl_attachment_find(xd->dev);
	*t = (struct target) {
		.dev = xd->dev,
		.n_queues = xd->dev->num_rx_queues,
		.meter = xd->meter,
		.done = xd->meter && is_metered(xd->dev, xd->meter),
	};
	if (t->done || !prog)
		return 0;
	if (a && xdpctl_attachment_top(a)) {
		t->file = get_file(xdpctl_attachment_top(a));
		return 0;
	}
	err = check_given(req, prog);
	if (!err)
		t->file = get_file(req->file);
	return err;
}

/* Puts @m with @tap on the netdev, if it is still as it was found. */
static bool meter_settle(struct xdpctl_req *req, u32 ifindex,
			 const struct target *t, struct xdpctl_meter *m,
			 struct xdpctl_tap **tap)
{
	struct xdpctl_dev *xd;
	bool same;

	rtnl_lock();
	xd = xdpctl_dev_get(req->net, ifindex);
	same = xd && xd->dev == t->dev && xd->meter == t->meter &&
	       xd->dev->num_rx_queues == t->n_queues &&
	       host_prog(xd->dev) == (t->file ? xdpctl_file_prog(t->file) : NULL);
	if (same) {
		*tap = xdpctl_tap_swap(m, *tap);
		WRITE_ONCE(xd->meter, m);
	}
	rtnl_unlock();
	return same;
}

/* Returns XDPCTL_CHANGED if the netdev got another program meanwhile. */
static int meter_on(struct xdpctl_req *req, u32 ifindex)
{
	struct xdpctl_tap *tap = NULL;
	struct xdpctl_meter *m;
	struct target t;
	int err;

	err = rtnl_lock_killable();
	if (err)
		return err;
	err = find_target(req, ifindex, &t);
	rtnl_unlock();
	if (err || t.done)
		return err;
	m = t.meter ?: meter_new(t.dev, t.n_queues);
	if (IS_ERR(m)) {
		err = PTR_ERR(m);
		NL_SET_ERR_MSG(req->extack,
			       "the counters of the meter cannot be made");
		goto put_file;
	}
	if (t.file)
		tap = xdpctl_tap_new(req, m, t.file);
	if (IS_ERR(tap)) {
		err = PTR_ERR(tap);
		tap = NULL;
	} else if (!meter_settle(req, ifindex, &t, m, &tap)) {
		err = XDPCTL_CHANGED;
	}
	/* the one that is not needed, be it the old or the new */
	xdpctl_tap_free(tap);
	if (err && !t.meter)
		meter_free(m);
put_file:
	if (t.file)
		fput(t.file);
	return err;
}

static void meter_off(struct xdpctl_req *req, u32 ifindex)
{
	struct xdpctl_meter *m = NULL;
	struct xdpctl_dev *xd;

	rtnl_lock();
	xd = xdpctl_dev_get(req->net, ifindex);
	if (xd && xd->meter) {
		m = xd->meter;
		WRITE_ONCE(xd->meter, NULL);
	}
	rtnl_unlock();
	if (m)
		meter_free(m);
}

/**
 * xdpctl_meter_set() - turn the meter of a netdev on or off
 * @req: the request; @req->file is the program that the caller says is there,
 *	or NULL
 * @ifindex: the netdev
 * @on: which
 *
 * Context: process context, xdpctl_change_mutex, no RTNL.
 * Return: 0 or an error, with extack.
 */
int xdpctl_meter_set(struct xdpctl_req *req, u32 ifindex, bool on)
{
	int err;

	lockdep_assert_held(&xdpctl_change_mutex);
	if (!on) {
		meter_off(req, ifindex);
		return 0;
	}
	do {
		err = meter_on(req, ifindex);
	} while (err == XDPCTL_CHANGED && !fatal_signal_pending(current));
	return err == XDPCTL_CHANGED ? -EINTR : err;
}

/**
 * xdpctl_meter_fill() - report the setting
 * @xd: the netdev
 * @v: where
 *
 * Context: RTNL.
 */
void xdpctl_meter_fill(const struct xdpctl_dev *xd, struct xdpctl_attr *v)
{
	v->present |= BIT_ULL(XDPCTL_A_ATTR_ENABLE_METER);
	v->enable_meter = !!xd->meter;
}

/**
 * xdpctl_meter_read() - read the counters of a meter
 * @xd: the netdev
 * @queue: an RX queue, or XDPCTL_QUEUE_ALL for the sum of all
 * @counts: where they go, by action
 *
 * Context: RTNL.
 * Return: whether there is a meter, and it counts the verdicts of what is on the
 * netdev.
 */
bool xdpctl_meter_read(const struct xdpctl_dev *xd, u32 queue,
		       u64 counts[XDPCTL_METER_KINDS])
{
	bool all = queue == XDPCTL_QUEUE_ALL;
	struct xdpctl_meter *m = xd->meter;
	const struct xdpctl_counters *c;
	struct bpf_map *map;
	u32 i, kind;
	int cpu;

	ASSERT_RTNL();
	if (!m || (!all && queue >= m->n_queues) || !is_metered(xd->dev, m))
		return false;
	map = xdpctl_file_map(m->map);
	memset(counts, 0, XDPCTL_METER_KINDS * sizeof(*counts));
	rcu_read_lock();
	for (i = all ? 0 : queue; i <= (all ? m->n_queues : queue); i++) {
		for_each_possible_cpu(cpu) {
			c = map->ops->map_lookup_percpu_elem(map, &i, cpu);
			for (kind = 0; kind < XDPCTL_METER_KINDS; kind++)
				counts[kind] += READ_ONCE(c->n[kind]);
		}
	}
	rcu_read_unlock();
	return true;
}
