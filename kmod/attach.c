// SPDX-License-Identifier: GPL-2.0-only
/*
 * The attachments of the module: BPF links that it makes and holds, so that
 * the core keeps its books as ever, and ip and bpftool show them.
 */
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "attach.h"
#include "bpf_internal.h"
#include "meter.h"

/*
 * Serialises attach, replace and detach, as well as the settings of xdp_attr,
 * and keeps an attachment that one of them has found from being freed. It is
 * taken first, in process context with
 * no lock held, and then RTNL inside it, directly or in what the BPF core does
 * for us.
 *
 * The lists are under RTNL. The netdevice notifier, which is called under
 * RTNL and so cannot take the mutex, only moves attachments to gone; the work
 * takes both and frees.
 */
DEFINE_MUTEX(xdpctl_change_mutex);
static LIST_HEAD(attached);
static LIST_HEAD(gone);

/*
 * The netdev that is being attached to, only to compare with. Its link may be
 * there and not yet in the books. Set under RTNL, by who has the mutex, and
 * cleared before he lets go of it.
 */
static const struct net_device *attaching;

/*
 * The attachment whose link gets another program, which is not in the books
 * yet. Under RTNL.
 */
static const struct xdpctl_attachment *replacing;

static void gone_work(struct work_struct *work);
static void reap_work(struct work_struct *work);

/* A queue of our own, since waiting for it at exit must not wait for others. */
struct workqueue_struct *xdpctl_wq;
static DECLARE_WORK(gone_wk, gone_work);
static DECLARE_DELAYED_WORK(reap_wk, reap_work);

/*
 * Nobody is told when somebody detaches our link by its id, so it is looked
 * for this often while there is an attachment, as well as at every request.
 */
#define REAP_INTERVAL	(2 * HZ)

/**
 * xdpctl_attachment_find() - the module's attachment to a netdev
 * @dev: the netdev
 *
 * It may have been detached behind our back; xdpctl_reap_dev() looks.
 * Context: RTNL.
 * Return: the attachment, or NULL.
 */
struct xdpctl_attachment *xdpctl_attachment_find(const struct net_device *dev)
{
	struct xdpctl_dev *xd = xdpctl_dev_get(dev_net(dev), dev->ifindex);

	ASSERT_RTNL();
	return xd ? xd->attachment : NULL;
}

/* Is @a what is on its netdev, or was it detached behind our back? */
static bool attachment_is_live(const struct xdpctl_attachment *a)
{
	return xdpctl_state_link(a->xd->dev, XDP_MODE_DRV) == a->link ||
	       xdpctl_state_link(a->xd->dev, XDP_MODE_SKB) == a->link;
}

static void attachment_unlist(struct xdpctl_attachment *a)
{
	ASSERT_RTNL();
	list_del(&a->list);
	a->xd->attachment = NULL;
	RCU_INIT_POINTER(a->xd->queues, NULL);
	a->xd = NULL;
}

static void attachment_is_gone(struct xdpctl_attachment *a)
{
	const struct net_device *dev = a->xd->dev;

	/* NULL for a netns that is going itself: nobody is there to be told */
	a->net = maybe_get_net(dev_net(dev));
	a->ifindex = dev->ifindex;
	attachment_unlist(a);
	list_add_tail(&a->list, &gone);
	queue_work(xdpctl_wq, &gone_wk);
}

static void attachment_is_lost(struct xdpctl_attachment *a)
{
	ASSERT_RTNL();
	a->lost = true;
	RCU_INIT_POINTER(a->xd->queues, NULL);
	xdpctl_net_changed(dev_net(a->xd->dev));
}

static void reap_attachment(struct xdpctl_attachment *a)
{
	if (!attachment_is_live(a))
		attachment_is_gone(a);
	else if (!a->lost && !xdpctl_attachment_top(a))
		attachment_is_lost(a);
}

/**
 * xdpctl_reap_dev() - let go of what somebody else took off a netdev
 * @dev: the netdev
 *
 * Context: RTNL.
 */
void xdpctl_reap_dev(const struct net_device *dev)
{
	struct xdpctl_attachment *a = xdpctl_attachment_find(dev);

	/* Who has the mutex may be putting another program into the link. */
	if (a && replacing != a)
		reap_attachment(a);
}

static void reap(void)
{
	struct xdpctl_attachment *a, *tmp;

	ASSERT_RTNL();
	list_for_each_entry_safe(a, tmp, &attached, list)
		if (a != replacing)
			reap_attachment(a);
}

static void reap_work(struct work_struct *work)
{
	bool again = true;

	if (rtnl_trylock()) {
		reap();
		again = !list_empty(&attached);
		rtnl_unlock();
	}
	if (again)
		queue_delayed_work(xdpctl_wq, &reap_wk, REAP_INTERVAL);
}

/**
 * xdpctl_notify_detached() - tell that there is no program any more
 * @req: the request
 * @ifindex: the netdev
 * @queue: the RX queue, or XDPCTL_QUEUE_ALL
 *
 * Context: process context, no RTNL.
 */
void xdpctl_notify_detached(struct xdpctl_req *req, u32 ifindex, u32 queue)
{
	struct xdpctl_prog_key key = { .ifindex = ifindex, .queue = queue };
	struct xdpctl_prog value = {};

	xdpctl_net_changed(req->net);
	xdpctl_notify(req, XDPCTL_CTRL_TYPE_XDP_PROG, &key, &value);
}

/* Drops an attachment in no list. Not under RTNL, which 6.1 takes here. */
static void attachment_free(struct xdpctl_attachment *a)
{
	bpf_link_put(a->link);
	xdpctl_stack_forget(a);
	kfree(a);
	module_put(THIS_MODULE);
}

/* Tells of each program that @a had. */
static void notify_gone(const struct xdpctl_attachment *a)
{
	struct xdpctl_req req = { .net = a->net };
	u32 queue;

	for (queue = 0; a->queues && queue < a->queues->n; queue++)
		if (a->queues->slot[queue].file)
			xdpctl_notify_detached(&req, a->ifindex, queue);
	if (a->prog.file || a->lost)
		xdpctl_notify_detached(&req, a->ifindex, XDPCTL_QUEUE_ALL);
}

static void gone_work(struct work_struct *work)
{
	struct xdpctl_attachment *a, *tmp;
	LIST_HEAD(free);

	mutex_lock(&xdpctl_change_mutex);
	rtnl_lock();
	list_splice_init(&gone, &free);
	rtnl_unlock();
	mutex_unlock(&xdpctl_change_mutex);

	list_for_each_entry_safe(a, tmp, &free, list) {
		if (a->net) {
			notify_gone(a);
			put_net(a->net);
		}
		/* last: without it the module may go, but for this work */
		attachment_free(a);
	}
}

/**
 * xdpctl_detach() - take a program off a netdev
 * @a: the attachment
 *
 * It stays in the books until the program is off, so that nobody sees a link
 * that seems to be somebody else's.
 * Context: process context, xdpctl_change_mutex, no RTNL.
 */
void xdpctl_detach(struct xdpctl_attachment *a)
{
	struct xdpctl_tap *tap = NULL;

	lockdep_assert_held(&xdpctl_change_mutex);
	a->link->ops->detach(a->link);

	rtnl_lock();
	if (a->xd) {
		if (a->xd->meter)
			tap = xdpctl_tap_swap(a->xd->meter, NULL);
		attachment_unlist(a);
	} else {	/* in gone, where the work waits for the mutex */
		list_del(&a->list);
		if (a->net)
			put_net(a->net);
	}
	rtnl_unlock();
	if (tap || a->queues)	/* until no frame is in the program any more */
		synchronize_net();
	xdpctl_tap_free(tap);
	attachment_free(a);
}

/**
 * xdpctl_prog_dev_del() - the module forgets a netdev
 * @xd: the netdev; if it is being unregistered, the core has taken the program
 *	already, else the program is detached
 *
 * Context: RTNL.
 */
void xdpctl_prog_dev_del(struct xdpctl_dev *xd)
{
	xdpctl_placeholder_drop(xd);
	if (xd->attachment)
		attachment_is_gone(xd->attachment);
}

/**
 * xdpctl_refuse_foreign() - say who holds a netdev
 * @req: the request that is refused
 * @dev: the netdev
 * @mode: mode of the program on it
 *
 * Context: RTNL.
 * Return: -EBUSY.
 */
int xdpctl_refuse_foreign(struct xdpctl_req *req, const struct net_device *dev,
			  int mode)
{
	const struct bpf_link *link = xdpctl_state_link(dev, mode);
	u32 id = xdpctl_state_prog(dev, mode)->aux->id;

	if (link)
		xdpctl_extack_fmt(req->extack,
				  "the netdev is held by program %u, attached in %s mode by BPF link %u of somebody else",
				  id, xdpctl_mode_name(mode), link->id);
	else
		xdpctl_extack_fmt(req->extack,
				  "the netdev is held by program %u, attached in %s mode over rtnetlink",
				  id, xdpctl_mode_name(mode));
	return -EBUSY;
}

/**
 * xdpctl_replace() - put another program into the link of an attachment
 * @req: the request
 * @a: the attachment
 * @top: file of the program
 * @cur: the program that is there
 * @swap: what xdpctl_replace_done() needs
 *
 * After success RTNL is held, so that the books change with @a->top, and
 * xdpctl_replace_done() is due.
 * Context: process context, xdpctl_change_mutex, no RTNL.
 * Return: 0, XDPCTL_CHANGED if @cur is not there any more, or an error.
 */
int xdpctl_replace(struct xdpctl_req *req, struct xdpctl_attachment *a,
		   struct file *top, struct bpf_prog *cur,
		   struct xdpctl_swap *swap)
{
	struct bpf_prog *prog = top->private_data;
	struct xdpctl_tap *tap = NULL;
	struct xdpctl_meter *meter;
	bool still;
	int err;

	lockdep_assert_held(&xdpctl_change_mutex);
	rtnl_lock();
	meter = a->xd ? a->xd->meter : NULL;
	replacing = a;
	rtnl_unlock();
	if (meter)	/* it stays while we have the mutex */
		tap = xdpctl_tap_new(req, meter, top);
	if (!IS_ERR(tap)) {
		bpf_prog_inc(prog);
		err = a->link->ops->update_prog(a->link, prog, cur);
		if (err)
			bpf_prog_put(prog);
	} else {
		err = PTR_ERR(tap);
		tap = NULL;
	}

	rtnl_lock();
	replacing = NULL;
	if (!err) {
		swap->top = a->top;
		a->top = get_file(top);
		a->lost = false;
		swap->tap = a->xd && a->xd->meter ?
			    xdpctl_tap_swap(a->xd->meter, tap) : tap;
		return 0;
	}
	still = a->xd && attachment_is_live(a) && a->link->prog == cur;
	rtnl_unlock();
	if (tap || !meter) {
		xdpctl_tap_free(tap);
		/* The core says so with these, but drivers may, too. */
		if ((err == -EPERM || err == -ENOLINK) && !still)
			return XDPCTL_CHANGED;
		NL_SET_ERR_MSG(req->extack,
			       "the driver refused the program: it may lack multi-buffer support for the MTU, or be bound to another device");
	}
	return err;
}

/**
 * xdpctl_replace_done() - the books are right after xdpctl_replace()
 * @swap: what it left
 * @wait: wait until no frame is in the program that was there any more
 *
 * Context: process context, RTNL, which is released.
 */
void xdpctl_replace_done(struct xdpctl_swap *swap, bool wait)
{
	ASSERT_RTNL();
	rtnl_unlock();
	if (wait || swap->tap)
		synchronize_net();
	xdpctl_tap_free(swap->tap);
	if (swap->top)
		fput(swap->top);
}

/*
 * LINK_CREATE for a file of a program instead of an fd. The fds live in the
 * caller's table, where another thread of his can close or replace them at any
 * time, so what comes out is checked in attach_settle().
 */
static struct bpf_link *link_create(u32 ifindex, struct file *file,
				    u32 xdp_flags)
{
	union bpf_attr attr = {};
	struct bpf_link *link;
	int prog_fd, fd;

	prog_fd = get_unused_fd_flags(O_CLOEXEC);
	if (prog_fd < 0)
		return ERR_PTR(prog_fd);
	fd_install(prog_fd, get_file(file));
	attr.link_create.prog_fd = prog_fd;
	attr.link_create.target_ifindex = ifindex;
	attr.link_create.attach_type = BPF_XDP;
	attr.link_create.flags = xdp_flags;
	fd = kern_sys_bpf(BPF_LINK_CREATE, &attr, sizeof(attr));
	close_fd(prog_fd);
	if (fd < 0)
		return ERR_PTR(fd);
	link = bpf_link_get_from_fd(fd);
	close_fd(fd);
	return link;
}

/*
 * Enters the link that link_create() made into the list. Returns with RTNL held
 * if it did.
 */
static int attach_settle(struct xdpctl_req *req, u32 ifindex,
			 struct xdpctl_attachment *a, struct xdpctl_tap *tap,
			 struct xdpctl_swap *swap)
{
	struct xdpctl_dev *xd;
	int err = -ENODEV;

	rtnl_lock();
	xd = xdpctl_dev_get(req->net, ifindex);
	if (xd) {
		/*
		 * It may be another netdev by now, which has not been checked,
		 * and whose meter @tap is not for.
		 */
		xdpctl_reap_dev(xd->dev);
		a->xd = xd;
		err = xd->dev == attaching &&
		      a->link->type == BPF_LINK_TYPE_XDP &&
		      xdpctl_attachment_top(a) && !xd->attachment &&
		      attachment_is_live(a) ? 0 : -EBUSY;
	}
	if (!err) {
		xd->attachment = a;
		list_add_tail(&a->list, &attached);
		queue_delayed_work(xdpctl_wq, &reap_wk, REAP_INTERVAL);
		swap->top = NULL;
		swap->tap = xd->meter ? xdpctl_tap_swap(xd->meter, tap) : tap;
		WRITE_ONCE(attaching, NULL);
		return 0;
	}
	rtnl_unlock();

	if (err == -ENODEV)
		NL_SET_ERR_MSG(req->extack, "no such netdev");
	else
		NL_SET_ERR_MSG(req->extack,
			       "the attachment was taken away while it was made");
	return err;
}

/* Is it the mode that @err complains of, so that another may do? */
static bool other_mode_may_do(int err)
{
	switch (err) {
	case -EOPNOTSUPP:
	case -EINVAL:
	case -ERANGE:
	case -E2BIG:
	case -ENOSPC:
		return true;
	default:
		return false;
	}
}

/* Names the cause of a failed LINK_CREATE, whose own extack is lost. */
static int attach_refused(struct xdpctl_req *req, u32 ifindex, u32 wanted,
			  int err)
{
	struct net_device *dev;
	int mode;

	rtnl_lock();
	dev = __dev_get_by_index(req->net, ifindex);
	mode = dev ? xdpctl_host_mode(dev) : -ENODEV;
	if (!dev) {
		NL_SET_ERR_MSG(req->extack, "no such netdev");
		err = -ENODEV;
	} else if (mode >= 0) {
		err = xdpctl_refuse_foreign(req, dev, mode);
	} else if (err == -EOPNOTSUPP && wanted == XDPCTL_MODE_NATIVE) {
		NL_SET_ERR_MSG(req->extack,
			       "the driver does not support XDP in native mode in its present settings");
	} else if (err == -EEXIST) {
		NL_SET_ERR_MSG(req->extack,
			       "an upper device of the netdev has a program");
	} else if (err == -EINVAL || err == -ERANGE) {
		NL_SET_ERR_MSG(req->extack,
			       "the driver refused the program: it may lack multi-buffer support for the MTU, or be bound to another device");
	} else {
		NL_SET_ERR_MSG(req->extack, "the program cannot be attached");
	}
	rtnl_unlock();
	return err;
}

static struct bpf_link *attach_link(u32 ifindex, u32 mode, struct file *top)
{
	struct bpf_link *link = ERR_PTR(-EOPNOTSUPP);

	if (mode != XDPCTL_MODE_GENERIC)
		link = link_create(ifindex, top, XDP_FLAGS_DRV_MODE);
	if (mode == XDPCTL_MODE_GENERIC ||
	    (!mode && IS_ERR(link) && other_mode_may_do(PTR_ERR(link))))
		link = link_create(ifindex, top, XDP_FLAGS_SKB_MODE);
	return link;
}

/**
 * xdpctl_attach_begin() - announce xdpctl_attach()
 * @dev: the netdev that has no program
 *
 * xdpctl_attach() undoes it; who does not get there, xdpctl_attach_cancel().
 * Context: xdpctl_change_mutex, RTNL.
 */
void xdpctl_attach_begin(const struct net_device *dev)
{
	lockdep_assert_held(&xdpctl_change_mutex);
	ASSERT_RTNL();
	WRITE_ONCE(attaching, dev);
}

/**
 * xdpctl_attach_cancel() - undo xdpctl_attach_begin()
 *
 * Nothing happens if nothing is announced.
 * Context: xdpctl_change_mutex.
 */
void xdpctl_attach_cancel(void)
{
	lockdep_assert_held(&xdpctl_change_mutex);
	WRITE_ONCE(attaching, NULL);
}

/**
 * xdpctl_attach_pending() - is an attachment to a netdev being made?
 * @dev: the netdev
 *
 * Context: RTNL.
 * Return: whether a link on @dev may be ours although there is no attachment;
 * who has the mutex knows.
 */
bool xdpctl_attach_pending(const struct net_device *dev)
{
	ASSERT_RTNL();
	return READ_ONCE(attaching) == dev;
}

/* The meter of a netdev; it stays while we have the mutex. */
static struct xdpctl_meter *meter_of(struct net *net, u32 ifindex)
{
	struct xdpctl_dev *xd;
	struct xdpctl_meter *meter;

	rtnl_lock();
	xd = xdpctl_dev_get(net, ifindex);
	meter = xd ? xd->meter : NULL;
	rtnl_unlock();
	return meter;
}

/**
 * xdpctl_attach() - attach a program to a netdev that has none
 * @req: the request
 * @ifindex: the netdev
 * @mode: XDPCTL_MODE_*, 0 for best effort
 * @top: file of the program
 * @swap: what xdpctl_replace_done() needs
 *
 * Needs xdpctl_attach_begin(). After success RTNL is held, so that the caller
 * enters into the books what is attached, and xdpctl_replace_done() is due.
 * Context: process context, xdpctl_change_mutex, no RTNL; current is the caller,
 * in the netns of @req.
 * Return: the attachment or an error.
 */
struct xdpctl_attachment *xdpctl_attach(struct xdpctl_req *req, u32 ifindex,
					u32 mode, struct file *top,
					struct xdpctl_swap *swap)
{
	struct xdpctl_meter *meter = meter_of(req->net, ifindex);
	struct xdpctl_tap *tap = NULL;
	struct xdpctl_attachment *a;
	int err = -ENODEV;

	lockdep_assert_held(&xdpctl_change_mutex);
	if (!try_module_get(THIS_MODULE)) {
		NL_SET_ERR_MSG(req->extack, "the module is being unloaded");
		goto err_attaching;
	}
	err = -ENOMEM;
	a = kzalloc(sizeof(*a), GFP_KERNEL);
	if (!a) {
		NL_SET_ERR_MSG(req->extack, "no memory");
		goto err_module;
	}
	if (meter)
		tap = xdpctl_tap_new(req, meter, top);
	if (IS_ERR(tap)) {
		err = PTR_ERR(tap);
		goto err_free;
	}
	a->top = get_file(top);
	a->link = attach_link(ifindex, mode, top);
	if (IS_ERR(a->link)) {
		err = attach_refused(req, ifindex, mode, PTR_ERR(a->link));
		goto err_tap;
	}
	err = attach_settle(req, ifindex, a, tap, swap);
	if (!err)
		return a;

	/* If it is ours, this detaches it; if it is the caller's, it is his. */
	bpf_link_put(a->link);
err_tap:
	xdpctl_tap_free(tap);
	fput(a->top);
err_free:
	kfree(a);
err_module:
	module_put(THIS_MODULE);
err_attaching:
	xdpctl_attach_cancel();
	return ERR_PTR(err);
}

/**
 * xdpctl_prog_init() - make room for attachments
 *
 * Return: 0 or -ENOMEM.
 */
int xdpctl_prog_init(void)
{
	xdpctl_wq = alloc_workqueue("xdpctl", WQ_UNBOUND, 0);
	return xdpctl_wq ? 0 : -ENOMEM;
}

/**
 * xdpctl_prog_exit() - undo xdpctl_prog_init()
 *
 * There is no attachment left: each holds the module.
 * Context: process context, no RTNL; both doors are shut.
 */
void xdpctl_prog_exit(void)
{
	cancel_delayed_work_sync(&reap_wk);
	destroy_workqueue(xdpctl_wq);
	WARN_ON_ONCE(!list_empty(&attached) || !list_empty(&gone));
}
