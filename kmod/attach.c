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
 * there and not yet in the books. Set under RTNL.
 */
static const struct net_device *attaching;

static void gone_work(struct work_struct *work);
static void reap_work(struct work_struct *work);

/* A queue of our own, since waiting for it at exit must not wait for others. */
static struct workqueue_struct *prog_wq;
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
	queue_work(prog_wq, &gone_wk);
}

/**
 * xdpctl_reap_dev() - let go of an attachment that was detached
 * @dev: the netdev
 *
 * Context: RTNL.
 */
void xdpctl_reap_dev(const struct net_device *dev)
{
	struct xdpctl_attachment *a = xdpctl_attachment_find(dev);

	if (a && !attachment_is_live(a))
		attachment_is_gone(a);
}

static void reap(void)
{
	struct xdpctl_attachment *a, *tmp;

	ASSERT_RTNL();
	list_for_each_entry_safe(a, tmp, &attached, list)
		if (!attachment_is_live(a))
			attachment_is_gone(a);
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
		queue_delayed_work(prog_wq, &reap_wk, REAP_INTERVAL);
}

/**
 * xdpctl_notify_detached() - tell that a netdev has no program any more
 * @req: the request
 * @ifindex: the netdev
 *
 * Context: process context, no RTNL.
 */
void xdpctl_notify_detached(struct xdpctl_req *req, u32 ifindex)
{
	struct xdpctl_prog_key key = {
		.ifindex = ifindex,
		.queue = XDPCTL_QUEUE_ALL,
	};
	struct xdpctl_prog value = {};

	xdpctl_net_changed(req->net);
	xdpctl_notify(req, XDPCTL_CTRL_TYPE_XDP_PROG, &key, &value);
}

/* Drops an attachment in no list. Not under RTNL, which 6.1 takes here. */
static void attachment_free(struct xdpctl_attachment *a)
{
	bpf_link_put(a->link);
	kfree(a);
	module_put(THIS_MODULE);
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
		struct xdpctl_req req = { .net = a->net };

		if (req.net) {
			xdpctl_notify_detached(&req, a->ifindex);
			put_net(req.net);
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
	lockdep_assert_held(&xdpctl_change_mutex);
	a->link->ops->detach(a->link);

	rtnl_lock();
	if (a->xd) {
		attachment_unlist(a);
	} else {	/* in gone, where the work waits for the mutex */
		list_del(&a->list);
		if (a->net)
			put_net(a->net);
	}
	rtnl_unlock();
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

/* Is @cur still what @a has attached? */
static bool still_attached(const struct xdpctl_attachment *a,
			   const struct bpf_prog *cur)
{
	bool still;

	rtnl_lock();
	still = a->xd && attachment_is_live(a) && a->link->prog == cur;
	rtnl_unlock();
	return still;
}

/**
 * xdpctl_replace() - put another program into an attachment
 * @req: the request
 * @c: what is asked for
 * @a: the attachment
 * @cur: the program that is there
 *
 * Context: process context, xdpctl_change_mutex, no RTNL.
 * Return: 0, XDPCTL_CHANGED if @cur is not there any more, or an error.
 */
int xdpctl_replace(struct xdpctl_req *req, const struct xdpctl_change *c,
		   struct xdpctl_attachment *a, struct bpf_prog *cur)
{
	int err;

	lockdep_assert_held(&xdpctl_change_mutex);
	bpf_prog_inc(c->prog);
	err = a->link->ops->update_prog(a->link, c->prog, cur);
	if (!err)
		return 0;
	bpf_prog_put(c->prog);
	/* The core says so with -EPERM or -ENOLINK, but drivers may, too. */
	if ((err == -EPERM || err == -ENOLINK) && !still_attached(a, cur))
		return XDPCTL_CHANGED;
	NL_SET_ERR_MSG(req->extack,
		       "the driver refused the program: it may lack multi-buffer support for the MTU, or be bound to another device");
	return err;
}

/*
 * LINK_CREATE for a file of a program instead of an fd. The fds live in the
 * caller's table, where another thread of his can close or replace them at any
 * time, so what comes out is checked in attach_settle().
 */
static struct bpf_link *link_create(const struct xdpctl_change *c,
				    struct file *file, u32 xdp_flags)
{
	union bpf_attr attr = {};
	struct bpf_link *link;
	int prog_fd, fd;

	prog_fd = get_unused_fd_flags(O_CLOEXEC);
	if (prog_fd < 0)
		return ERR_PTR(prog_fd);
	fd_install(prog_fd, get_file(file));
	attr.link_create.prog_fd = prog_fd;
	attr.link_create.target_ifindex = c->ifindex;
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

/* Enters the link that link_create() made into the list. */
static int attach_settle(struct xdpctl_req *req, const struct xdpctl_change *c,
			 struct xdpctl_attachment *a)
{
	struct xdpctl_dev *xd;
	int err = -ENODEV;

	rtnl_lock();
	xd = xdpctl_dev_get(req->net, c->ifindex);
	if (xd) {
		/* It may be another netdev by now, with an attachment. */
		xdpctl_reap_dev(xd->dev);
		a->xd = xd;
		err = a->link->type == BPF_LINK_TYPE_XDP &&
		      a->link->prog == c->prog && !xd->attachment &&
		      attachment_is_live(a) ? 0 : -EBUSY;
	}
	if (!err) {
		xd->attachment = a;
		list_add_tail(&a->list, &attached);
		queue_delayed_work(prog_wq, &reap_wk, REAP_INTERVAL);
	}
	rtnl_unlock();

	if (err == -ENODEV)
		NL_SET_ERR_MSG(req->extack, "no such netdev");
	else if (err)
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
static int attach_refused(struct xdpctl_req *req, const struct xdpctl_change *c,
			  int err)
{
	struct net_device *dev;
	int mode;

	rtnl_lock();
	dev = __dev_get_by_index(req->net, c->ifindex);
	mode = dev ? xdpctl_host_mode(dev) : -ENODEV;
	if (!dev) {
		NL_SET_ERR_MSG(req->extack, "no such netdev");
		err = -ENODEV;
	} else if (mode >= 0) {
		err = xdpctl_refuse_foreign(req, dev, mode);
	} else if (err == -EOPNOTSUPP && c->mode == XDPCTL_MODE_NATIVE) {
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

static struct bpf_link *attach_link(struct xdpctl_req *req,
				    const struct xdpctl_change *c)
{
	struct bpf_link *link = ERR_PTR(-EOPNOTSUPP);

	if (c->mode != XDPCTL_MODE_GENERIC)
		link = link_create(c, req->file, XDP_FLAGS_DRV_MODE);
	if (c->mode == XDPCTL_MODE_GENERIC ||
	    (!c->mode && IS_ERR(link) && other_mode_may_do(PTR_ERR(link))))
		link = link_create(c, req->file, XDP_FLAGS_SKB_MODE);
	return link;
}

/**
 * xdpctl_attach_begin() - announce xdpctl_attach()
 * @dev: the netdev that has no program
 *
 * Context: xdpctl_change_mutex, RTNL.
 */
void xdpctl_attach_begin(const struct net_device *dev)
{
	lockdep_assert_held(&xdpctl_change_mutex);
	ASSERT_RTNL();
	WRITE_ONCE(attaching, dev);
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

/**
 * xdpctl_attach() - attach a program to a netdev that has none
 * @req: the request
 * @c: what is asked for
 *
 * Needs xdpctl_attach_begin().
 * Context: process context, xdpctl_change_mutex, no RTNL; current is the caller,
 * in the netns of @req.
 * Return: 0 or an error.
 */
int xdpctl_attach(struct xdpctl_req *req, const struct xdpctl_change *c)
{
	struct xdpctl_attachment *a;
	int err;

	lockdep_assert_held(&xdpctl_change_mutex);
	if (!try_module_get(THIS_MODULE)) {
		err = -ENODEV;
		goto err_attaching;
	}
	a = kzalloc(sizeof(*a), GFP_KERNEL);
	if (!a) {
		err = -ENOMEM;
		goto err_module;
	}
	a->link = attach_link(req, c);
	if (IS_ERR(a->link)) {
		err = attach_refused(req, c, PTR_ERR(a->link));
		goto err_free;
	}
	err = attach_settle(req, c, a);
	if (err)
		goto err_link;
	WRITE_ONCE(attaching, NULL);
	return 0;

err_link:
	/* If it is ours, this detaches it; if it is the caller's, it is his. */
	bpf_link_put(a->link);
err_free:
	kfree(a);
err_module:
	module_put(THIS_MODULE);
err_attaching:
	WRITE_ONCE(attaching, NULL);
	return err;
}

/**
 * xdpctl_attachment_top() - the program that an attachment has on the netdev
 * @a: the attachment
 *
 * Context: xdpctl_change_mutex.
 * Return: its file, which lives as long as it is on the netdev; NULL if somebody
 * has put another program into the link by its id.
 */
struct file *xdpctl_attachment_top(const struct xdpctl_attachment *a)
{
	return NULL;
}

/**
 * xdpctl_placeholder_set() - keep a program on a netdev for its queues' sake
 * @req: the request
 * @ifindex: the netdev
 * @on: whether a placeholder in native mode is to be there while there is no
 *	other program
 *
 * Context: process context, xdpctl_change_mutex, no RTNL; current is the caller,
 * in the netns of @req if @on.
 * Return: 0 or an error, with extack.
 */
int xdpctl_placeholder_set(struct xdpctl_req *req, u32 ifindex, bool on)
{
	return -EOPNOTSUPP;
}

/**
 * xdpctl_placeholder_id() - the placeholder on a netdev
 * @dev: the netdev
 *
 * Context: RTNL.
 * Return: its program id, 0 if there is none at present.
 */
u32 xdpctl_placeholder_id(const struct net_device *dev)
{
	return 0;
}

/**
 * xdpctl_prog_init() - make room for attachments
 *
 * Return: 0 or -ENOMEM.
 */
int xdpctl_prog_init(void)
{
	prog_wq = alloc_workqueue("xdpctl", WQ_UNBOUND, 0);
	return prog_wq ? 0 : -ENOMEM;
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
	destroy_workqueue(prog_wq);
	WARN_ON_ONCE(!list_empty(&attached) || !list_empty(&gone));
}
