// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which program is on a netdev: that of the whole netdev, the dispatcher if RX
 * queues have programs of their own, or a placeholder if the netdev needs a
 * program for the sake of its queues alone. All are put into the one link of the
 * attachment, so that no frame ever meets a netdev without a program in between.
 */
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "attach.h"
#include "progs.h"

/* Books */

static void slot_clear(struct xdpctl_stack_slot *slot)
{
	struct file *old = slot->file;

	WRITE_ONCE(slot->file, NULL);
	slot->required = (struct xdpctl_required){};
	if (old)
		fput(old);
}

/* Takes a reference to the file of @c. Who looks meanwhile finds a program. */
static void slot_set(struct xdpctl_stack_slot *slot, const struct xdpctl_change *c)
{
	struct file *old = slot->file;

	slot->required = c->required;
	WRITE_ONCE(slot->file, get_file(c->file));
	if (old)
		fput(old);
}

static void queues_free(struct xdpctl_queues *q)
{
	u32 i;

	if (!q)
		return;
	for (i = 0; i < q->n; i++)
		slot_clear(&q->slot[i]);
	if (q->dispatcher)
		fput(q->dispatcher);
	if (q->array)
		fput(q->array);
	kvfree_rcu(q, rcu);
}

static void queues_publish(struct xdpctl_attachment *a,
			   struct xdpctl_queues *q)
{
	ASSERT_RTNL();
	a->queues = q;
	if (a->xd)
		rcu_assign_pointer(a->xd->queues, q);
}

/**
 * xdpctl_stack_forget() - let go of the programs that were asked for
 * @a: the attachment
 *
 * Context: xdpctl_change_mutex and RTNL, or @a is in no list.
 */
void xdpctl_stack_forget(struct xdpctl_attachment *a)
{
	struct xdpctl_queues *q = a->queues;

	if (a->xd)
		RCU_INIT_POINTER(a->xd->queues, NULL);
	a->queues = NULL;
	queues_free(q);
	slot_clear(&a->prog);
	if (a->top)
		fput(a->top);
	a->top = NULL;
}

/**
 * xdpctl_stack_prog() - the program of a netdev or of an RX queue
 * @a: the attachment
 * @queue: the RX queue, or XDPCTL_QUEUE_ALL
 *
 * Context: RTNL, after xdpctl_reap_dev().
 * Return: the program, or NULL if it has none of its own.
 */
struct bpf_prog *xdpctl_stack_prog(const struct xdpctl_attachment *a, u32 queue)
{
	const struct xdpctl_stack_slot *slot = &a->prog;

	ASSERT_RTNL();
	if (queue != XDPCTL_QUEUE_ALL) {
		if (a->lost || !a->queues || queue >= a->queues->n)
			return NULL;
		slot = &a->queues->slot[queue];
	} else if (a->lost) {
		return a->link->prog;
	}
	return slot->file ? slot->file->private_data : NULL;
}

/* Queues */

static const char *kind_of(const struct bpf_prog *prog)
{
	if (bpf_prog_is_dev_bound(prog->aux))
		return "is bound to a device";
	if (prog->aux->xdp_has_frags)
		return "has multi-buffer support";
	if (!prog->jited)
		return "is interpreted";
	return "is an ordinary one";
}

/* Can a dispatcher call both programs? */
static int check_pair(struct xdpctl_req *req, const struct bpf_prog *prog,
		      const struct bpf_prog *other)
{
	if (bpf_prog_is_dev_bound(prog->aux) ||
	    bpf_prog_is_dev_bound(other->aux) ||
	    prog->aux->xdp_has_frags != other->aux->xdp_has_frags ||
	    prog->jited != other->jited) {
		xdpctl_extack_fmt(req->extack,
				  "programs %u and %u cannot share the netdev by RX queue: the one %s, the other %s",
				  prog->aux->id, other->aux->id, kind_of(prog),
				  kind_of(other));
		return -EOPNOTSUPP;
	}
	if (prog->expected_attach_type != other->expected_attach_type) {
		xdpctl_extack_fmt(req->extack,
				  "programs %u and %u cannot share the netdev by RX queue: they have different expected attach types",
				  prog->aux->id, other->aux->id);
		return -EOPNOTSUPP;
	}
	return 0;
}

static int check_alone(struct xdpctl_req *req, const struct bpf_prog *prog)
{
	if (!bpf_prog_is_dev_bound(prog->aux))
		return 0;
	xdpctl_extack_fmt(req->extack,
			  "program %u cannot be that of an RX queue: it is bound to a device",
			  prog->aux->id);
	return -EOPNOTSUPP;
}

static int array_set(struct xdpctl_req *req, struct xdpctl_queues *q, u32 slot,
		     struct file *file)
{
	int err = xdpctl_prog_array_set(q->array, slot, file);

	if (err == -EINVAL) {
		NL_SET_ERR_MSG(req->extack,
			       "the kernel does not let the dispatcher call the program");
		return -EOPNOTSUPP;
	}
	if (err)
		NL_SET_ERR_MSG(req->extack,
			       "the program cannot be entered into the dispatcher");
	return err;
}

/* Makes a dispatcher that calls programs like that of @c. */
static struct xdpctl_queues *queues_new(struct xdpctl_req *req,
					const struct xdpctl_change *c)
{
	struct xdpctl_queues *q;
	struct file *file;
	int err;

	q = kvzalloc(struct_size(q, slot, c->n_queues), GFP_KERNEL_ACCOUNT);
	if (!q) {
		NL_SET_ERR_MSG(req->extack, "no memory");
		return ERR_PTR(-ENOMEM);
	}
	q->n = c->n_queues;
	file = xdpctl_prog_array_new(q->n + 1);
	if (IS_ERR(file)) {
		NL_SET_ERR_MSG(req->extack,
			       "the program array cannot be made");
		err = PTR_ERR(file);
		goto err;
	}
	q->array = file;
	/* first, since it decides what else the array takes */
	err = array_set(req, q, c->queue, c->file);
	if (err)
		goto err;
	file = xdpctl_dispatcher_load(q->array, q->n, c->prog);
	if (IS_ERR(file)) {
		NL_SET_ERR_MSG(req->extack, "the dispatcher cannot be loaded");
		err = PTR_ERR(file);
		goto err;
	}
	q->dispatcher = file;
	return q;

err:
	queues_free(q);
	return ERR_PTR(err);
}

/* Adds to, or replaces in, the queues that are there. */
static int queue_change(struct xdpctl_req *req, const struct xdpctl_change *c,
			struct xdpctl_attachment *a)
{
	struct xdpctl_queues *q = a->queues;
	int err;

	err = check_pair(req, c->prog, q->dispatcher->private_data);
	if (!err)
		err = array_set(req, q, c->queue, c->file);
	if (err)
		return err;
	rtnl_lock();
	if (a->xd && !a->lost) {
		if (!q->slot[c->queue].file)
			q->used++;
		slot_set(&q->slot[c->queue], c);
	} else {
		err = XDPCTL_CHANGED;
	}
	rtnl_unlock();
	return err;
}

/* The first program of a queue: a dispatcher comes to the netdev. */
static int queue_first(struct xdpctl_req *req, const struct xdpctl_change *c,
		       struct xdpctl_attachment *a, struct bpf_prog *cur)
{
	struct xdpctl_swap swap = {};
	struct xdpctl_queues *q;
	int err;

	err = check_alone(req, c->prog);
	if (!err && a && a->prog.file)
		err = check_pair(req, c->prog, a->prog.file->private_data);
	if (err)
		return err;
	q = queues_new(req, c);
	if (IS_ERR(q))
		return PTR_ERR(q);
	if (a && a->prog.file)
		err = array_set(req, q, q->n, a->prog.file);
	if (!err && a) {
		err = xdpctl_replace(req, a, q->dispatcher, cur, &swap);
	} else if (!err) {
		a = xdpctl_attach(req, c->ifindex, c->mode, q->dispatcher,
				  &swap);
		err = PTR_ERR_OR_ZERO(a);
	}
	if (err) {
		queues_free(q);
		return err;
	}
	slot_set(&q->slot[c->queue], c);
	q->used = 1;
	q->has_default = a->prog.file;
	queues_publish(a, q);
	xdpctl_replace_done(&swap, false);
	return 0;
}

/* The program of the whole netdev, while queues have their own. */
static int default_set(struct xdpctl_req *req, const struct xdpctl_change *c,
		       struct xdpctl_attachment *a)
{
	struct xdpctl_queues *q = a->queues;
	int err;

	err = check_pair(req, c->prog, q->dispatcher->private_data);
	if (!err)
		err = array_set(req, q, q->n, c->file);
	if (err)
		return err;
	rtnl_lock();
	if (a->xd && !a->lost) {
		slot_set(&a->prog, c);
		WRITE_ONCE(q->has_default, true);
	} else {
		err = XDPCTL_CHANGED;
	}
	rtnl_unlock();
	return err;
}

/**
 * xdpctl_stack_set() - give a netdev or an RX queue its program
 * @req: the request
 * @c: what is asked for, which has been checked
 * @a: the attachment; NULL if there is none, after xdpctl_attach_begin()
 * @cur: the program in its link, or NULL
 *
 * Context: process context, xdpctl_change_mutex, no RTNL; current is the caller,
 * in the netns of @req.
 * Return: 0, XDPCTL_CHANGED if @cur is not there any more, or an error.
 */
int xdpctl_stack_set(struct xdpctl_req *req, const struct xdpctl_change *c,
		     struct xdpctl_attachment *a, struct bpf_prog *cur)
{
	struct xdpctl_swap swap = {};
	int err = 0;

	lockdep_assert_held(&xdpctl_change_mutex);
	if (c->queue != XDPCTL_QUEUE_ALL)
		return a && a->queues ? queue_change(req, c, a) :
					queue_first(req, c, a, cur);
	if (a && a->queues)
		return default_set(req, c, a);
	if (a) {
		err = xdpctl_replace(req, a, c->file, cur, &swap);
	} else {
		a = xdpctl_attach(req, c->ifindex, c->mode, c->file, &swap);
		err = PTR_ERR_OR_ZERO(a);
	}
	if (err)
		return err;
	slot_set(&a->prog, c);
	xdpctl_replace_done(&swap, false);
	return 0;
}

/*
 * What stays when a program is taken away: the file to be put into the link,
 * with a reference, or NULL for nothing.
 */
static struct file *rest_of(const struct xdpctl_attachment *a, u32 queue)
{
	struct file *file = NULL;

	rtnl_lock();
	if (queue != XDPCTL_QUEUE_ALL && a->prog.file)
		file = a->prog.file;
	else if (a->xd)
		file = a->xd->placeholder;
	if (file)
		get_file(file);
	rtnl_unlock();
	return file;
}

/* Takes the program of @queue out of the dispatcher, which stays. */
static int queues_shrink(struct xdpctl_req *req, struct xdpctl_attachment *a,
			 u32 queue)
{
	struct xdpctl_queues *q = a->queues;
	bool all = queue == XDPCTL_QUEUE_ALL;
	int err;

	err = array_set(req, q, all ? q->n : queue, NULL);
	if (err)
		return err;
	rtnl_lock();
	slot_clear(all ? &a->prog : &q->slot[queue]);
	if (all)
		WRITE_ONCE(q->has_default, false);
	else
		q->used--;
	rtnl_unlock();
	return 0;
}

/**
 * xdpctl_stack_del() - take away the program of a netdev or of an RX queue
 * @req: the request
 * @a: the attachment, which has it
 * @queue: the RX queue, or XDPCTL_QUEUE_ALL
 * @cur: the program in the link
 *
 * Context: process context, xdpctl_change_mutex, no RTNL.
 * Return: 0, XDPCTL_CHANGED if @cur is not there any more, or an error.
 */
int xdpctl_stack_del(struct xdpctl_req *req, struct xdpctl_attachment *a,
		     u32 queue, struct bpf_prog *cur)
{
	struct xdpctl_queues *q = a->queues;
	struct xdpctl_swap swap = {};
	struct file *rest;
	int err;

	lockdep_assert_held(&xdpctl_change_mutex);
	if (q && (queue == XDPCTL_QUEUE_ALL || q->used > 1))
		return queues_shrink(req, a, queue);
	rest = rest_of(a, queue);
	if (!rest) {
		xdpctl_detach(a);
		return 0;
	}
	err = xdpctl_replace(req, a, rest, cur, &swap);
	fput(rest);
	if (err)
		return err;
	queues_publish(a, NULL);
	if (queue == XDPCTL_QUEUE_ALL)
		slot_clear(&a->prog);
	/* the last fd of the array, whose programs go with it */
	xdpctl_replace_done(&swap, !!q);
	queues_free(q);
	return 0;
}

/* Placeholder */

static int placeholder_check(struct xdpctl_req *req, struct net_device *dev)
{
	int mode = xdpctl_host_mode(dev);
	struct bpf_prog *prog;

	ASSERT_RTNL();
	if (mode < 0)
		return 0;
	if (!xdpctl_attachment_find(dev))
		return xdpctl_refuse_foreign(req, dev, mode);
	if (mode == XDP_MODE_DRV)
		return 0;
	prog = xdpctl_state_prog(dev, mode);
	xdpctl_extack_fmt(req->extack,
			  "the netdev must have a program in native mode, and program %u is attached in generic mode: detach it first",
			  prog->aux->id);
	return -EBUSY;
}

static void placeholder_keep(struct xdpctl_dev *xd, struct file *file)
{
	xdpctl_placeholder_drop(xd);
	xd->placeholder = get_file(file);
}

static struct xdpctl_dev *placeholder_dev(struct xdpctl_req *req,
					  const struct net_device *dev,
					  u32 ifindex)
{
	struct xdpctl_dev *xd = xdpctl_dev_get(req->net, ifindex);

	return xd && xd->dev == dev ? xd : NULL;
}

/* Puts the placeholder of a netdev into its place, if there is nothing else. */
static int placeholder_attach(struct xdpctl_req *req,
			      const struct net_device *dev, u32 ifindex,
			      struct file *file)
{
	struct xdpctl_attachment *a;
	struct xdpctl_swap swap;
	struct xdpctl_dev *xd;
	int err;

	rtnl_lock();
	xd = placeholder_dev(req, dev, ifindex);
	if (!xd) {
		NL_SET_ERR_MSG(req->extack, "no such netdev");
		err = -ENODEV;
		goto unlock;
	}
	xdpctl_reap_dev(xd->dev);
	err = placeholder_check(req, xd->dev);
	if (err)
		goto unlock;
	if (xd->attachment) {
		/* It waits until the other program goes. */
		placeholder_keep(xd, file);
		goto unlock;
	}
	xdpctl_attach_begin(xd->dev);
	rtnl_unlock();

	a = xdpctl_attach(req, ifindex, XDPCTL_MODE_NATIVE, file, &swap);
	if (IS_ERR(a))
		return PTR_ERR(a);
	placeholder_keep(a->xd, file);
	xdpctl_replace_done(&swap, false);
	xdpctl_notify_attached(req, ifindex, XDPCTL_QUEUE_ALL);
	return 0;

unlock:
	rtnl_unlock();
	return err;
}

static int placeholder_on(struct xdpctl_req *req, const struct net_device *dev,
			  u32 ifindex)
{
	struct xdpctl_dev *xd;
	struct file *file;
	bool is_there;
	int err;

	rtnl_lock();
	xd = placeholder_dev(req, dev, ifindex);
	if (xd)
		xdpctl_reap_dev(xd->dev);
	is_there = xd && xd->placeholder && xd->attachment;
	rtnl_unlock();
	if (is_there)
		return 0;
	file = xdpctl_placeholder_load();
	if (IS_ERR(file)) {
		NL_SET_ERR_MSG(req->extack,
			       "the placeholder program cannot be loaded");
		return PTR_ERR(file);
	}
	err = placeholder_attach(req, dev, ifindex, file);
	fput(file);
	return err;
}

static void placeholder_off(struct xdpctl_req *req,
			    const struct net_device *dev, u32 ifindex)
{
	struct xdpctl_attachment *a = NULL;
	struct xdpctl_dev *xd;

	rtnl_lock();
	xd = placeholder_dev(req, dev, ifindex);
	if (xd) {
		xdpctl_reap_dev(xd->dev);
		if (xdpctl_placeholder_id(xd->dev))
			a = xd->attachment;
		xdpctl_placeholder_drop(xd);
	}
	rtnl_unlock();
	if (!a)
		return;
	xdpctl_detach(a);
	xdpctl_notify_detached(req, ifindex, XDPCTL_QUEUE_ALL);
}

/**
 * xdpctl_placeholder_set() - keep a program on a netdev for its queues' sake
 * @req: the request
 * @dev: the netdev, only to compare with: it may have gone
 * @ifindex: its ifindex, which another netdev may have by now
 * @on: whether a placeholder in native mode is to be there while there is no
 *	other program
 *
 * Context: process context, xdpctl_change_mutex, no RTNL; current is the caller,
 * in the netns of @req if @on.
 * Return: 0 or an error, with extack.
 */
int xdpctl_placeholder_set(struct xdpctl_req *req,
			   const struct net_device *dev, u32 ifindex, bool on)
{
	lockdep_assert_held(&xdpctl_change_mutex);
	if (on)
		return placeholder_on(req, dev, ifindex);
	placeholder_off(req, dev, ifindex);
	return 0;
}

/**
 * xdpctl_placeholder_drop() - keep no placeholder ready any more
 * @xd: the netdev
 *
 * Context: RTNL.
 */
void xdpctl_placeholder_drop(struct xdpctl_dev *xd)
{
	ASSERT_RTNL();
	if (xd->placeholder)
		fput(xd->placeholder);
	xd->placeholder = NULL;
}

/**
 * xdpctl_placeholder_id() - the placeholder on a netdev
 * @dev: the netdev
 *
 * Context: RTNL, after xdpctl_reap_dev().
 * Return: its program id, 0 if there is none at present.
 */
u32 xdpctl_placeholder_id(const struct net_device *dev)
{
	const struct xdpctl_attachment *a = xdpctl_attachment_find(dev);

	if (!a || !a->xd->placeholder || a->top != a->xd->placeholder ||
	    !xdpctl_attachment_top(a))
		return 0;
	return a->link->prog->aux->id;
}
