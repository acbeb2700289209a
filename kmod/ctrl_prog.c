// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control type xdp_prog: the XDP programs on netdevs.
 *
 * A program is attached by a BPF link that the module makes and holds, so that
 * the core keeps its books as ever, and ip and bpftool show it. What is
 * attached is read from dev->xdp_state each time: others can detach or update
 * a link behind our back, by its id.
 */
#include <linux/bpf.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/filter.h>
#include <linux/if_link.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "bpf_internal.h"
#include "ctrl.h"

/**
 * struct attachment - a program that the module attached
 * @list: in attached, or in gone
 * @link: the BPF link, whose reference is ours
 * @xd: the netdev; NULL when not in attached
 * @net: netns to tell that it is gone, referenced; NULL while in attached
 * @ifindex: what to tell
 *
 * Each holds a reference to the module.
 */
struct attachment {
	struct list_head list;
	struct bpf_link *link;
	struct xdpctl_dev *xd;
	struct net *net;
	u32 ifindex;
};

/*
 * prog_mutex serialises attach, replace and detach, and keeps an attachment
 * that one of them has found from being freed. It is taken first, in process
 * context with no lock held, and then RTNL inside it, directly or in what the
 * BPF core does for us.
 *
 * The lists are under RTNL. The netdevice notifier, which is called under
 * RTNL and so cannot take prog_mutex, only moves attachments to gone; the work
 * takes both and frees.
 */
static DEFINE_MUTEX(prog_mutex);
static LIST_HEAD(attached);
static LIST_HEAD(gone);

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

static struct bpf_link *state_link(const struct net_device *dev,
				   enum bpf_xdp_mode mode)
{
	/* struct bpf_xdp_link is private to the core, and begins with this */
	return (struct bpf_link *)dev->xdp_state[mode].link;
}

static struct bpf_prog *state_prog(const struct net_device *dev,
				   enum bpf_xdp_mode mode)
{
	struct bpf_link *link = state_link(dev, mode);

	return link ? link->prog : dev->xdp_state[mode].prog;
}

/* The mode of the program that the host runs, of which there is at most one. */
static int host_mode(const struct net_device *dev)
{
	if (state_prog(dev, XDP_MODE_DRV))
		return XDP_MODE_DRV;
	if (state_prog(dev, XDP_MODE_SKB))
		return XDP_MODE_SKB;
	return -ENOENT;
}

static u32 mode_to_uapi(int mode)
{
	switch (mode) {
	case XDP_MODE_DRV:
		return XDPCTL_MODE_NATIVE;
	case XDP_MODE_SKB:
		return XDPCTL_MODE_GENERIC;
	default:
		return XDPCTL_MODE_OFFLOAD;
	}
}

static const char *mode_name(int mode)
{
	return mode == XDP_MODE_DRV ? "native" : "generic";
}

static struct attachment *attachment_find(const struct net_device *dev)
{
	struct xdpctl_dev *xd = xdpctl_dev_get(dev_net(dev), dev->ifindex);

	ASSERT_RTNL();
	return xd ? xd->attachment : NULL;
}

/* Is @a what is on its netdev, or was it detached behind our back? */
static bool attachment_is_live(const struct attachment *a)
{
	return state_link(a->xd->dev, XDP_MODE_DRV) == a->link ||
	       state_link(a->xd->dev, XDP_MODE_SKB) == a->link;
}

static void attachment_unlist(struct attachment *a)
{
	ASSERT_RTNL();
	list_del(&a->list);
	a->xd->attachment = NULL;
	a->xd = NULL;
}

static void attachment_is_gone(struct attachment *a)
{
	const struct net_device *dev = a->xd->dev;

	/* NULL for a netns that is going itself: nobody is there to be told */
	a->net = maybe_get_net(dev_net(dev));
	a->ifindex = dev->ifindex;
	attachment_unlist(a);
	list_add_tail(&a->list, &gone);
	queue_work(prog_wq, &gone_wk);
}

static void reap_dev(const struct net_device *dev)
{
	struct attachment *a = attachment_find(dev);

	if (a && !attachment_is_live(a))
		attachment_is_gone(a);
}

static void reap(void)
{
	struct attachment *a, *tmp;

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

static void notify_detached(struct xdpctl_req *req, u32 ifindex)
{
	struct xdpctl_prog_key key = {
		.ifindex = ifindex,
		.queue = XDPCTL_QUEUE_ALL,
	};
	struct xdpctl_prog value = {};

	xdpctl_net_changed(req->net);
	xdpctl_notify(req, XDPCTL_CTRL_TYPE_XDP_PROG, &key, &value);
}

/* Drops a link that is attached to nothing. Not under RTNL, which 6.1 takes. */
static void attachment_free(struct attachment *a)
{
	bpf_link_put(a->link);
	kfree(a);
	module_put(THIS_MODULE);
}

static void gone_work(struct work_struct *work)
{
	struct attachment *a, *tmp;
	LIST_HEAD(free);

	mutex_lock(&prog_mutex);
	rtnl_lock();
	list_splice_init(&gone, &free);
	rtnl_unlock();
	mutex_unlock(&prog_mutex);

	list_for_each_entry_safe(a, tmp, &free, list) {
		struct xdpctl_req req = { .net = a->net };
		u32 ifindex = a->ifindex;

		attachment_free(a);
		if (!req.net)
			continue;
		notify_detached(&req, ifindex);
		put_net(req.net);
	}
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

/* get_next */

static bool has_prog(const struct net_device *dev)
{
	int mode;

	for (mode = XDP_MODE_SKB; mode < __MAX_XDP_MODE; mode++)
		if (READ_ONCE(dev->xdp_state[mode].prog) ||
		    READ_ONCE(dev->xdp_state[mode].link))
			return true;
	return false;
}

static int prog_get_next(struct net *net, const void *key, void *next)
{
	const struct xdpctl_prog_key *k = key;
	struct xdpctl_prog_key *n = next;
	u32 after = k ? k->ifindex : 0;
	struct xdpctl_dev *xd;
	int err = -ENOENT;

	/* (ifindex, queue) ascending, and queue-all is the highest queue */
	if (k && k->queue != XDPCTL_QUEUE_ALL && after)
		after--;

	rcu_read_lock();
	while ((xd = xdpctl_dev_next(net, after))) {
		after = xd->ifindex;
		if (!has_prog(xd->dev))
			continue;
		n->ifindex = xd->ifindex;
		n->queue = XDPCTL_QUEUE_ALL;
		err = 0;
		break;
	}
	rcu_read_unlock();
	return err;
}

/* lookup */

static u32 owner_of(const struct net_device *dev, const struct bpf_link *link)
{
	const struct attachment *a = attachment_find(dev);

	if (!link)
		return XDPCTL_OWNER_NETLINK;
	return a && a->link == link ? XDPCTL_OWNER_MODULE : XDPCTL_OWNER_LINK;
}

static void fill(struct xdpctl_prog *v, const struct net_device *dev, int mode)
{
	const struct bpf_link *link = state_link(dev, mode);
	const struct bpf_prog *prog = state_prog(dev, mode);

	v->present |= BIT_ULL(XDPCTL_A_PROG_MODE) |
		      BIT_ULL(XDPCTL_A_PROG_PROG_ID) |
		      BIT_ULL(XDPCTL_A_PROG_OWNER) |
		      BIT_ULL(XDPCTL_A_PROG_TAG);
	v->mode = mode_to_uapi(mode);
	v->prog_id = prog->aux->id;
	v->owner = owner_of(dev, link);
	BUILD_BUG_ON(sizeof(v->tag) != sizeof(prog->tag));
	memcpy(v->tag, prog->tag, sizeof(v->tag));
	if (prog->aux->name[0]) {
		v->present |= BIT_ULL(XDPCTL_A_PROG_NAME);
		strscpy(v->name, prog->aux->name, sizeof(v->name));
	}
	if (link) {
		v->present |= BIT_ULL(XDPCTL_A_PROG_LINK_ID);
		v->link_id = link->id;
	}
}

static int lookup_rtnl(struct xdpctl_req *req, u32 ifindex,
		       struct xdpctl_prog *v)
{
	const struct bpf_prog *hw;
	struct net_device *dev;
	int mode;

	dev = __dev_get_by_index(req->net, ifindex);
	if (!dev) {
		NL_SET_ERR_MSG(req->extack, "no such netdev");
		return -ENOENT;
	}
	reap_dev(dev);
	mode = host_mode(dev);
	hw = state_prog(dev, XDP_MODE_HW);
	if (mode < 0 && !hw) {
		NL_SET_ERR_MSG(req->extack, "no program is attached");
		return -ENOENT;
	}
	fill(v, dev, mode < 0 ? XDP_MODE_HW : mode);
	if (mode >= 0 && hw) {
		v->present |= BIT_ULL(XDPCTL_A_PROG_HW_PROG_ID);
		v->hw_prog_id = hw->aux->id;
	}
	return 0;
}

static int check_queue(struct xdpctl_req *req, const struct xdpctl_prog_key *k)
{
	if (k->queue == XDPCTL_QUEUE_ALL)
		return 0;
	NL_SET_ERR_MSG(req->extack, "programs per RX queue are not supported");
	return -EOPNOTSUPP;
}

static int prog_lookup(struct xdpctl_req *req, const void *key, void *value)
{
	const struct xdpctl_prog_key *k = key;
	int err;

	err = check_queue(req, k);
	if (err)
		return err;
	err = xdpctl_req_rtnl(req);
	if (err)
		return err;
	err = lookup_rtnl(req, k->ifindex, value);
	rtnl_unlock();
	return err;
}

/* update */

/* Somebody changed what is attached while it was being replaced. */
#define CHANGED		(-ESTALE)

/**
 * struct change - an update, taken apart
 * @prog: the program; the file in the request holds it
 * @ifindex: the netdev
 * @mode: XDPCTL_MODE_*, 0 for best effort
 * @expected: id of the program to be replaced, or 0
 * @flags: BPF_ANY, BPF_NOEXIST or BPF_EXIST
 */
struct change {
	struct bpf_prog *prog;
	u32 ifindex;
	u32 mode;
	u32 expected;
	u64 flags;
};

static int prog_prepare(struct xdpctl_req *req, const void *key,
			const void *value)
{
	const struct xdpctl_prog *v = value;
	struct bpf_prog *prog;
	struct file *file;

	if (!(v->present & BIT_ULL(XDPCTL_A_PROG_FD))) {
		NL_SET_ERR_ATTR_MISS(req->extack, NULL, XDPCTL_A_PROG_FD);
		NL_SET_ERR_MSG(req->extack, "no program is given");
		return -EINVAL;
	}
	file = fget(v->fd);
	if (!file) {
		NL_SET_ERR_MSG(req->extack, "no such file descriptor");
		return -EBADF;
	}
	prog = bpf_prog_get_type_dev(v->fd, BPF_PROG_TYPE_XDP, false);
	if (IS_ERR(prog) || file->private_data != prog) {
		if (!IS_ERR(prog))
			bpf_prog_put(prog);
		fput(file);
		NL_SET_ERR_MSG(req->extack, "not an XDP program");
		return -EINVAL;
	}
	bpf_prog_put(prog);	/* the file holds it */
	req->file = file;
	return 0;
}

static int check_prog(struct xdpctl_req *req, const struct bpf_prog *prog)
{
	switch (prog->expected_attach_type) {
	case BPF_XDP_DEVMAP:
	case BPF_XDP_CPUMAP:
		NL_SET_ERR_MSG(req->extack,
			       "the program is for an entry of a devmap or cpumap, not for a netdev");
		return -EINVAL;
	default:
		return 0;
	}
}

static int change_parse(struct xdpctl_req *req, struct change *c,
			const struct xdpctl_prog_key *k,
			const struct xdpctl_prog *v, u64 flags)
{
	int err;

	err = check_queue(req, k);
	if (err)
		return err;
	*c = (struct change) {
		.prog = req->file->private_data,
		.ifindex = k->ifindex,
		.flags = flags,
	};
	if (v->present & BIT_ULL(XDPCTL_A_PROG_MODE))
		c->mode = v->mode;
	if (v->present & BIT_ULL(XDPCTL_A_PROG_EXPECTED_PROG_ID))
		c->expected = v->expected_prog_id;

	if (hweight32(c->mode) > 1) {
		NL_SET_ERR_MSG(req->extack, "only one XDP mode can be set");
		return -EINVAL;
	}
	if (c->mode == XDPCTL_MODE_OFFLOAD) {
		NL_SET_ERR_MSG(req->extack, "offload mode cannot be set");
		return -EOPNOTSUPP;
	}
	if (c->mode & ~(XDPCTL_MODE_NATIVE | XDPCTL_MODE_GENERIC)) {
		NL_SET_ERR_MSG(req->extack, "unknown XDP mode");
		return -EINVAL;
	}
	if (c->expected && flags == BPF_NOEXIST) {
		NL_SET_ERR_MSG(req->extack,
			       "an expected program id goes with a replace");
		return -EINVAL;
	}
	return check_prog(req, c->prog);
}

/* Says who is on the netdev. */
static int refuse_foreign(struct xdpctl_req *req, const struct net_device *dev,
			  int mode)
{
	const struct bpf_link *link = state_link(dev, mode);
	u32 id = state_prog(dev, mode)->aux->id;

	if (link)
		xdpctl_extack_fmt(req->extack,
				  "the netdev is held by program %u, attached in %s mode by BPF link %u of somebody else",
				  id, mode_name(mode), link->id);
	else
		xdpctl_extack_fmt(req->extack,
				  "the netdev is held by program %u, attached in %s mode over rtnetlink",
				  id, mode_name(mode));
	return -EBUSY;
}

static int check_replace(struct xdpctl_req *req, const struct change *c,
			 const struct net_device *dev, int mode)
{
	const struct bpf_prog *cur = state_prog(dev, mode);

	if (c->expected && cur->aux->id != c->expected) {
		xdpctl_extack_fmt(req->extack,
				  "active program %u does not match expected %u",
				  cur->aux->id, c->expected);
		return -EEXIST;
	}
	if (c->flags == BPF_NOEXIST) {
		xdpctl_extack_fmt(req->extack,
				  "program %u is attached already",
				  cur->aux->id);
		return -EEXIST;
	}
	if (c->mode && c->mode != mode_to_uapi(mode)) {
		xdpctl_extack_fmt(req->extack,
				  "program %u is attached in %s mode, which a replace cannot change: detach it first",
				  cur->aux->id, mode_name(mode));
		return -EINVAL;
	}
	if (cur->expected_attach_type != c->prog->expected_attach_type) {
		xdpctl_extack_fmt(req->extack,
				  "program %u was loaded with another expected attach type: detach it first",
				  cur->aux->id);
		return -EINVAL;
	}
	return 0;
}

/*
 * Finds what @c is to replace: an attachment, or NULL if there is none.
 * The program there goes to *@cur, with a reference.
 */
static struct attachment *find_replaced(struct xdpctl_req *req,
					const struct change *c,
					struct bpf_prog **cur)
{
	struct attachment *a;
	struct net_device *dev;
	int mode, err;

	ASSERT_RTNL();
	dev = __dev_get_by_index(req->net, c->ifindex);
	if (!dev) {
		NL_SET_ERR_MSG(req->extack, "no such netdev");
		return ERR_PTR(-ENODEV);
	}
	reap_dev(dev);
	if (xdpctl_ctlmap_is_ctl(dev)) {
		NL_SET_ERR_MSG(req->extack,
			       "a control device takes no program");
		return ERR_PTR(-EOPNOTSUPP);
	}
	mode = host_mode(dev);
	if (mode < 0) {
		if (!c->expected && c->flags != BPF_EXIST)
			return NULL;
		NL_SET_ERR_MSG(req->extack, "no program is attached");
		return ERR_PTR(-ENOENT);
	}
	a = attachment_find(dev);
	if (!a)
		return ERR_PTR(refuse_foreign(req, dev, mode));
	err = check_replace(req, c, dev, mode);
	if (err)
		return ERR_PTR(err);
	*cur = state_prog(dev, mode);
	bpf_prog_inc(*cur);
	return a;
}

static int replace(struct xdpctl_req *req, const struct change *c,
		   struct attachment *a, struct bpf_prog *cur)
{
	int err;

	lockdep_assert_held(&prog_mutex);
	bpf_prog_inc(c->prog);
	err = a->link->ops->update_prog(a->link, c->prog, cur);
	if (!err)
		return 0;
	bpf_prog_put(c->prog);
	switch (err) {
	case -EPERM:	/* @cur is not there any more */
	case -ENOLINK:	/* nor is the link */
		return CHANGED;
	default:
		NL_SET_ERR_MSG(req->extack,
			       "the driver refused the program: it may lack multi-buffer support for the MTU, or be bound to another device");
		return err;
	}
}

/*
 * LINK_CREATE for a file of a program instead of an fd. The fds live in the
 * caller's table, where another thread of his can close or replace them at any
 * time, so what comes out is checked in attach_settle().
 */
static struct bpf_link *link_create(const struct change *c, struct file *file,
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
static int attach_settle(struct xdpctl_req *req, const struct change *c,
			 struct attachment *a)
{
	struct xdpctl_dev *xd;
	int err = -ENODEV;

	rtnl_lock();
	xd = xdpctl_dev_get(req->net, c->ifindex);
	if (xd) {
		a->xd = xd;
		err = a->link->type == BPF_LINK_TYPE_XDP &&
		      a->link->prog == c->prog &&
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
static int attach_refused(struct xdpctl_req *req, const struct change *c,
			  int err)
{
	struct net_device *dev;
	int mode;

	rtnl_lock();
	dev = __dev_get_by_index(req->net, c->ifindex);
	mode = dev ? host_mode(dev) : -ENODEV;
	if (!dev) {
		NL_SET_ERR_MSG(req->extack, "no such netdev");
		err = -ENODEV;
	} else if (mode >= 0) {
		err = refuse_foreign(req, dev, mode);
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
				    const struct change *c)
{
	struct bpf_link *link = ERR_PTR(-EOPNOTSUPP);

	if (c->mode != XDPCTL_MODE_GENERIC)
		link = link_create(c, req->file, XDP_FLAGS_DRV_MODE);
	if (c->mode == XDPCTL_MODE_GENERIC ||
	    (!c->mode && IS_ERR(link) && other_mode_may_do(PTR_ERR(link))))
		link = link_create(c, req->file, XDP_FLAGS_SKB_MODE);
	return link;
}

static int attach(struct xdpctl_req *req, const struct change *c)
{
	struct attachment *a;
	int err;

	lockdep_assert_held(&prog_mutex);
	if (!try_module_get(THIS_MODULE))
		return -ENODEV;
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
	return 0;

err_link:
	/*
	 * Whatever is in the place of our link may be anything that the caller
	 * has an fd of, so it is only let go.
	 */
	if (a->link->type == BPF_LINK_TYPE_XDP && a->link->prog == c->prog)
		a->link->ops->detach(a->link);
	bpf_link_put(a->link);
err_free:
	kfree(a);
err_module:
	module_put(THIS_MODULE);
	return err;
}

static int change_apply(struct xdpctl_req *req, const struct change *c)
{
	struct bpf_prog *cur = NULL;
	struct attachment *a;
	int err;

	lockdep_assert_held(&prog_mutex);
	err = rtnl_lock_killable();
	if (err)
		return err;
	a = find_replaced(req, c, &cur);
	rtnl_unlock();
	if (IS_ERR(a))
		return PTR_ERR(a);
	if (!a)
		return attach(req, c);
	err = replace(req, c, a, cur);
	bpf_prog_put(cur);
	return err;
}

/* Tells of what is on the netdev now. */
static void notify_attached(struct xdpctl_req *req, u32 ifindex)
{
	struct xdpctl_prog_key key = {
		.ifindex = ifindex,
		.queue = XDPCTL_QUEUE_ALL,
	};
	struct xdpctl_req lookup = { .net = req->net };
	struct xdpctl_prog value = {};

	xdpctl_net_changed(req->net);
	if (!prog_lookup(&lookup, &key, &value))
		xdpctl_notify(req, XDPCTL_CTRL_TYPE_XDP_PROG, &key, &value);
}

static int prog_update(struct xdpctl_req *req, const void *key,
		       const void *value, u64 flags)
{
	struct change c;
	int err;

	err = change_parse(req, &c, key, value, flags);
	if (err)
		return err;
	err = mutex_lock_killable(&prog_mutex);
	if (err)
		return err;
	/* CHANGED: somebody changed the link by its id; look again */
	do {
		err = change_apply(req, &c);
	} while (err == CHANGED && !fatal_signal_pending(current));
	if (err == CHANGED)
		err = -EINTR;
	if (!err)
		notify_attached(req, c.ifindex);
	mutex_unlock(&prog_mutex);
	return err;
}

/* del */

static struct attachment *take_attachment(struct xdpctl_req *req, u32 ifindex)
{
	struct attachment *a;
	struct net_device *dev;
	int mode;

	ASSERT_RTNL();
	dev = __dev_get_by_index(req->net, ifindex);
	if (!dev) {
		NL_SET_ERR_MSG(req->extack, "no such netdev");
		return ERR_PTR(-ENOENT);
	}
	reap_dev(dev);
	mode = host_mode(dev);
	if (mode < 0) {
		NL_SET_ERR_MSG(req->extack, "no program is attached");
		return ERR_PTR(-ENOENT);
	}
	a = attachment_find(dev);
	if (!a)
		return ERR_PTR(refuse_foreign(req, dev, mode));
	attachment_unlist(a);
	return a;
}

static int prog_del(struct xdpctl_req *req, const void *key)
{
	const struct xdpctl_prog_key *k = key;
	struct attachment *a;
	int err;

	err = check_queue(req, k);
	if (err)
		return err;
	err = mutex_lock_killable(&prog_mutex);
	if (err)
		return err;
	err = rtnl_lock_killable();
	if (err)
		goto unlock;
	a = take_attachment(req, k->ifindex);
	rtnl_unlock();
	if (IS_ERR(a)) {
		err = PTR_ERR(a);
		goto unlock;
	}
	a->link->ops->detach(a->link);
	attachment_free(a);
	notify_detached(req, k->ifindex);
unlock:
	mutex_unlock(&prog_mutex);
	return err;
}

static void prog_key_defaults(void *key)
{
	((struct xdpctl_prog_key *)key)->queue = XDPCTL_QUEUE_ALL;
}

const struct xdpctl_type_ops xdpctl_prog_ops = {
	.key_defaults = prog_key_defaults,
	.key_optional = BIT_ULL(XDPCTL_A_PROG_QUEUE),
	.needed = BIT_ULL(XDPCTL_A_PROG_FD),
	.get_next = prog_get_next,
	.lookup = prog_lookup,
	.prepare = prog_prepare,
	.update = prog_update,
	.del = prog_del,
};

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
