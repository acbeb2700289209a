// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control type xdp_prog: the XDP programs on netdevs.
 *
 * What is attached is read from dev->xdp_state each time: others can detach or
 * update a link behind our back, by its id.
 */
#include <linux/bpf.h>
#include <linux/file.h>
#include <linux/filter.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>

#include "attach.h"

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

/* The RX queue, from @queue on, that has a program; queue-all comes last. */
static bool next_queue(const struct xdpctl_dev *xd, u32 queue, u32 *next)
{
	const struct xdpctl_queues *q = rcu_dereference(xd->queues);

	if (q) {
		for (; queue < q->n; queue++) {
			if (!READ_ONCE(q->slot[queue].file))
				continue;
			*next = queue;
			return true;
		}
	}
	*next = XDPCTL_QUEUE_ALL;
	return has_prog(xd->dev) && (!q || READ_ONCE(q->has_default));
}

static int prog_get_next(struct net *net, const void *key, void *next)
{
	const struct xdpctl_prog_key *k = key;
	struct xdpctl_prog_key *n = next;
	u32 after = k ? k->ifindex : 0;
	struct xdpctl_dev *xd;
	u32 queue = 0;
	int err = -ENOENT;

	/* (ifindex, queue) ascending, and queue-all is the highest queue */
	if (k && k->queue != XDPCTL_QUEUE_ALL && after) {
		queue = k->queue + 1;
		after--;
	}

	rcu_read_lock();
	while ((xd = xdpctl_dev_next(net, after))) {
		after = xd->ifindex;
		if (!k || after != k->ifindex)
			queue = 0;
		if (!next_queue(xd, queue, &n->queue))
			continue;
		n->ifindex = after;
		err = 0;
		break;
	}
	rcu_read_unlock();
	return err;
}

/* lookup */

static u32 owner_of(const struct net_device *dev, const struct bpf_link *link)
{
	const struct xdpctl_attachment *a = xdpctl_attachment_find(dev);

	if (!link)
		return XDPCTL_OWNER_NETLINK;
	if (!a || a->link != link)
		return XDPCTL_OWNER_LINK;
	return xdpctl_placeholder_id(dev) ? XDPCTL_OWNER_REDIRECT :
					    XDPCTL_OWNER_MODULE;
}

static void fill(struct xdpctl_prog *v, const struct net_device *dev, int mode,
		 const struct bpf_prog *prog)
{
	const struct bpf_link *link = xdpctl_state_link(dev, mode);

	v->present |= BIT_ULL(XDPCTL_A_PROG_MODE) |
		      BIT_ULL(XDPCTL_A_PROG_PROG_ID) |
		      BIT_ULL(XDPCTL_A_PROG_OWNER) |
		      BIT_ULL(XDPCTL_A_PROG_TAG);
	v->mode = xdpctl_mode_to_uapi(mode);
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

static void fill_required(struct xdpctl_prog *v,
			  const struct xdpctl_required *r)
{
	v->present |= r->present;
	v->required_features = r->features;
	v->required_rx_metadata_features = r->rx_metadata;
	v->required_actions = r->actions;
}

/* What the module knows of the program of @queue beyond what the core does. */
static void fill_stack(struct xdpctl_prog *v, const struct net_device *dev,
		       const struct xdpctl_attachment *a, u32 queue)
{
	if (a->lost)
		return;
	if (a->queues) {
		v->present |= BIT_ULL(XDPCTL_A_PROG_DISPATCHER_PROG_ID);
		v->dispatcher_prog_id = a->link->prog->aux->id;
	}
	if (queue == XDPCTL_QUEUE_ALL) {
		fill_required(v, &a->prog.required);
		return;
	}
	fill_required(v, &a->queues->slot[queue].required);
	v->present |= BIT_ULL(XDPCTL_A_PROG_STATE);
	v->state = queue < dev->real_num_rx_queues ? XDPCTL_STATE_ACTIVE :
						     XDPCTL_STATE_INACTIVE;
}

/*
 * The program of @queue, or NULL. That of the whole netdev is a placeholder if
 * there is one.
 */
static struct bpf_prog *prog_of(const struct net_device *dev, int mode,
				const struct xdpctl_attachment *a, u32 queue)
{
	if (!a)
		return queue == XDPCTL_QUEUE_ALL && mode >= 0 ?
		       xdpctl_state_prog(dev, mode) : NULL;
	if (queue == XDPCTL_QUEUE_ALL && xdpctl_placeholder_id(dev))
		return a->link->prog;
	return xdpctl_stack_prog(a, queue);
}

static int lookup_none(struct xdpctl_req *req, u32 queue)
{
	if (queue == XDPCTL_QUEUE_ALL)
		NL_SET_ERR_MSG(req->extack, "no program is attached");
	else
		NL_SET_ERR_MSG(req->extack,
			       "the RX queue has no program of its own");
	return -ENOENT;
}

static int lookup_rtnl(struct xdpctl_req *req, const struct xdpctl_prog_key *k,
		       struct xdpctl_prog *v)
{
	const struct bpf_prog *hw, *prog;
	struct xdpctl_attachment *a;
	struct net_device *dev;
	int mode;

	dev = __dev_get_by_index(req->net, k->ifindex);
	if (!dev)
		return xdpctl_no_netdev(req);
	xdpctl_reap_dev(dev);
	mode = xdpctl_host_mode(dev);
	a = xdpctl_attachment_find(dev);
	if (!a && xdpctl_attach_pending(dev))
		return -EAGAIN;
	/* It may be gone while another program is being put into its link. */
	if (a && (mode < 0 || xdpctl_state_link(dev, mode) != a->link))
		a = NULL;
	prog = prog_of(dev, mode, a, k->queue);
	hw = k->queue == XDPCTL_QUEUE_ALL ?
	     xdpctl_state_prog(dev, XDP_MODE_HW) : NULL;
	if (!prog && !hw)
		return lookup_none(req, k->queue);
	fill(v, dev, prog ? mode : XDP_MODE_HW, prog ?: hw);
	if (prog && a)
		fill_stack(v, dev, a, k->queue);
	if (prog && hw) {
		v->present |= BIT_ULL(XDPCTL_A_PROG_HW_PROG_ID);
		v->hw_prog_id = hw->aux->id;
	}
	return 0;
}

static int prog_lookup(struct xdpctl_req *req, const void *key, void *value)
{
	int err;

	err = xdpctl_req_rtnl(req);
	if (err)
		return err;
	err = lookup_rtnl(req, key, value);
	rtnl_unlock();
	if (err != -EAGAIN || req->nowait)
		return err;

	/* Ours or not? Who makes the attachment, if it is one, has the mutex. */
	err = mutex_lock_killable(&xdpctl_change_mutex);
	if (err)
		return err;
	err = rtnl_lock_killable();
	if (!err) {
		err = lookup_rtnl(req, key, value);
		rtnl_unlock();
	}
	mutex_unlock(&xdpctl_change_mutex);
	return err;
}

/* update */

/**
 * xdpctl_prog_resolve() - find the XDP program that a request names
 * @req: the request; gets the file of the program
 * @fd: file descriptor of it in the caller
 *
 * Context: process context, current is the caller.
 * Return: 0 or an error, with extack.
 */
int xdpctl_prog_resolve(struct xdpctl_req *req, u32 fd)
{
	struct bpf_prog *prog;
	struct file *file;

	file = fget(fd);
	if (!file) {
		NL_SET_ERR_MSG(req->extack, "no such file descriptor");
		return -EBADF;
	}
	prog = bpf_prog_get_type_dev(fd, BPF_PROG_TYPE_XDP, false);
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

static int prog_prepare(struct xdpctl_req *req, const void *key,
			const void *value)
{
	const struct xdpctl_prog *v = value;

	if (!(v->present & BIT_ULL(XDPCTL_A_PROG_FD))) {
		NL_SET_ERR_ATTR_MISS(req->extack, NULL, XDPCTL_A_PROG_FD);
		NL_SET_ERR_MSG(req->extack, "no program is given");
		return -EINVAL;
	}
	return xdpctl_prog_resolve(req, v->fd);
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

static int check_mode(struct xdpctl_req *req, u32 mode)
{
	if (hweight32(mode) > 1) {
		NL_SET_ERR_MSG(req->extack, "only one XDP mode can be set");
		return -EINVAL;
	}
	if (mode == XDPCTL_MODE_OFFLOAD) {
		NL_SET_ERR_MSG(req->extack, "offload mode cannot be set");
		return -EOPNOTSUPP;
	}
	if (mode & ~(XDPCTL_MODE_NATIVE | XDPCTL_MODE_GENERIC)) {
		NL_SET_ERR_MSG(req->extack, "unknown XDP mode");
		return -EINVAL;
	}
	return 0;
}

static int required_parse(struct xdpctl_req *req, struct xdpctl_required *r,
			  const struct xdpctl_prog *v)
{
	r->present = v->present &
		     (BIT_ULL(XDPCTL_A_PROG_REQUIRED_FEATURES) |
		      BIT_ULL(XDPCTL_A_PROG_REQUIRED_RX_METADATA_FEATURES) |
		      BIT_ULL(XDPCTL_A_PROG_REQUIRED_ACTIONS));
	if (r->present & BIT_ULL(XDPCTL_A_PROG_REQUIRED_FEATURES))
		r->features = v->required_features;
	if (r->present & BIT_ULL(XDPCTL_A_PROG_REQUIRED_RX_METADATA_FEATURES))
		r->rx_metadata = v->required_rx_metadata_features;
	if (r->present & BIT_ULL(XDPCTL_A_PROG_REQUIRED_ACTIONS))
		r->actions = v->required_actions;
	if (r->features & ~XDPCTL_XDP_ACT_MASK ||
	    r->rx_metadata & ~XDPCTL_XDP_RX_METADATA_MASK ||
	    r->actions & ~XDPCTL_ACTION_MASK) {
		NL_SET_ERR_MSG(req->extack, "unknown feature is required");
		return -EINVAL;
	}
	return 0;
}

static int change_parse(struct xdpctl_req *req, struct xdpctl_change *c,
			const struct xdpctl_prog_key *k,
			const struct xdpctl_prog *v, u64 flags)
{
	int err;

	*c = (struct xdpctl_change) {
		.file = req->file,
		.prog = req->file->private_data,
		.ifindex = k->ifindex,
		.queue = k->queue,
		.flags = flags,
	};
	if (v->present & BIT_ULL(XDPCTL_A_PROG_MODE))
		c->mode = v->mode;
	if (v->present & BIT_ULL(XDPCTL_A_PROG_EXPECTED_PROG_ID))
		c->expected = v->expected_prog_id;
	err = check_mode(req, c->mode);
	if (err)
		return err;
	err = required_parse(req, &c->required, v);
	if (err)
		return err;
	if (c->expected && flags == BPF_NOEXIST) {
		NL_SET_ERR_MSG(req->extack,
			       "an expected program id goes with a replace");
		return -EINVAL;
	}
	return check_prog(req, c->prog);
}

/* Is what the entry has, or has not, what @c expects? */
static int check_entry(struct xdpctl_req *req, const struct xdpctl_change *c,
		       const struct bpf_prog *cur)
{
	if (!cur) {
		if (!c->expected && c->flags != BPF_EXIST)
			return 0;
		return lookup_none(req, c->queue);
	}
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
	return 0;
}

/* Can the program of @c be put into the link of @a, where another is? */
static int check_link(struct xdpctl_req *req, const struct xdpctl_change *c,
		      const struct xdpctl_attachment *a, int mode)
{
	const struct bpf_prog *cur = a->link->prog;

	if (a->lost && c->queue != XDPCTL_QUEUE_ALL) {
		xdpctl_extack_fmt(req->extack,
				  "somebody else put program %u into the link: attach one to the whole netdev first",
				  cur->aux->id);
		return -EBUSY;
	}
	if (c->mode && c->mode != xdpctl_mode_to_uapi(mode)) {
		xdpctl_extack_fmt(req->extack,
				  "program %u is attached in %s mode, which a replace cannot change: detach it first",
				  cur->aux->id, xdpctl_mode_name(mode));
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

static int check_queue(struct xdpctl_req *req, const struct xdpctl_change *c,
		       const struct net_device *dev)
{
	if (c->queue == XDPCTL_QUEUE_ALL ||
	    c->queue < dev->real_num_rx_queues)
		return 0;
	xdpctl_extack_fmt(req->extack,
			  "the netdev has %u RX queues, from 0 to %u",
			  dev->real_num_rx_queues,
			  dev->real_num_rx_queues - 1);
	return -EINVAL;
}

/*
 * Finds the attachment that @c is to change, or NULL if there is none. The
 * program in its link goes to *@cur, with a reference.
 */
static struct xdpctl_attachment *
find_changed(struct xdpctl_req *req, struct xdpctl_change *c,
	     struct bpf_prog **cur)
{
	struct xdpctl_attachment *a;
	struct net_device *dev;
	int mode, err;
	u32 wanted;

	ASSERT_RTNL();
	dev = __dev_get_by_index(req->net, c->ifindex);
	if (!dev) {
		NL_SET_ERR_MSG(req->extack, "no such netdev");
		return ERR_PTR(-ENODEV);
	}
	xdpctl_reap_dev(dev);
	if (xdpctl_ctldev_is(dev)) {
		NL_SET_ERR_MSG(req->extack,
			       "a control device takes no program");
		return ERR_PTR(-EOPNOTSUPP);
	}
	mode = xdpctl_host_mode(dev);
	a = xdpctl_attachment_find(dev);
	if (mode >= 0 && !a)
		return ERR_PTR(xdpctl_refuse_foreign(req, dev, mode));
	err = check_entry(req, c, a ? xdpctl_stack_prog(a, c->queue) : NULL);
	if (!err)
		err = check_queue(req, c, dev);
	if (!err && a)
		err = check_link(req, c, a, mode);
	wanted = a ? xdpctl_mode_to_uapi(mode) : c->mode;
	if (!err)
		err = xdpctl_caps_check(req, &c->required, dev, &wanted);
	if (err)
		return ERR_PTR(err);
	c->n_queues = dev->num_rx_queues;
	if (!a) {
		c->mode = wanted;
		xdpctl_attach_begin(dev);
		return NULL;
	}
	if (a->lost)
		xdpctl_stack_forget(a);
	*cur = a->link->prog;
	bpf_prog_inc(*cur);
	return a;
}

/* @asked is kept as it is: it may have to be tried again. */
static int change_apply(struct xdpctl_req *req,
			const struct xdpctl_change *asked)
{
	struct xdpctl_change c = *asked;
	struct bpf_prog *cur = NULL;
	struct xdpctl_attachment *a;
	int err;

	lockdep_assert_held(&xdpctl_change_mutex);
	err = rtnl_lock_killable();
	if (err)
		return err;
	a = find_changed(req, &c, &cur);
	rtnl_unlock();
	if (IS_ERR(a))
		return PTR_ERR(a);
	err = xdpctl_stack_set(req, &c, a, cur);
	xdpctl_attach_cancel();	/* it may have failed before it attached */
	if (cur)
		bpf_prog_put(cur);
	return err;
}

/**
 * xdpctl_notify_attached() - tell of the program that there is now
 * @req: the request
 * @ifindex: the netdev
 * @queue: the RX queue, or XDPCTL_QUEUE_ALL
 *
 * Context: process context, no RTNL.
 */
void xdpctl_notify_attached(struct xdpctl_req *req, u32 ifindex, u32 queue)
{
	struct xdpctl_prog_key key = { .ifindex = ifindex, .queue = queue };
	struct xdpctl_req lookup = { .net = req->net };
	struct xdpctl_prog value = {};

	xdpctl_net_changed(req->net);
	if (!prog_lookup(&lookup, &key, &value))
		xdpctl_notify(req, XDPCTL_CTRL_TYPE_XDP_PROG, &key, &value);
}

static int prog_update(struct xdpctl_req *req, const void *key,
		       const void *value, u64 flags)
{
	struct xdpctl_change c;
	int err;

	err = change_parse(req, &c, key, value, flags);
	if (err)
		return err;
	err = mutex_lock_killable(&xdpctl_change_mutex);
	if (err)
		return err;
	/* XDPCTL_CHANGED: somebody changed the link by its id; look again */
	do {
		err = change_apply(req, &c);
	} while (err == XDPCTL_CHANGED && !fatal_signal_pending(current));
	if (err == XDPCTL_CHANGED)
		err = -EINTR;
	if (!err)
		xdpctl_notify_attached(req, c.ifindex, c.queue);
	mutex_unlock(&xdpctl_change_mutex);
	return err;
}

/* del */

/*
 * Finds the attachment that has the program of @k. The program in its link goes
 * to *@cur, with a reference.
 */
static struct xdpctl_attachment *
find_detached(struct xdpctl_req *req, const struct xdpctl_prog_key *k,
	      struct bpf_prog **cur)
{
	struct xdpctl_attachment *a;
	struct net_device *dev;
	int mode;

	ASSERT_RTNL();
	dev = __dev_get_by_index(req->net, k->ifindex);
	if (!dev)
		return ERR_PTR(xdpctl_no_netdev(req));
	xdpctl_reap_dev(dev);
	mode = xdpctl_host_mode(dev);
	a = xdpctl_attachment_find(dev);
	if (mode >= 0 && !a)
		return ERR_PTR(xdpctl_refuse_foreign(req, dev, mode));
	if (!a || !xdpctl_stack_prog(a, k->queue))
		return ERR_PTR(lookup_none(req, k->queue));
	if (a->lost)
		xdpctl_stack_forget(a);
	*cur = a->link->prog;
	bpf_prog_inc(*cur);
	return a;
}

static int entry_del(struct xdpctl_req *req, const struct xdpctl_prog_key *k)
{
	struct xdpctl_attachment *a;
	struct bpf_prog *cur;
	int err;

	err = rtnl_lock_killable();
	if (err)
		return err;
	a = find_detached(req, k, &cur);
	rtnl_unlock();
	if (IS_ERR(a))
		return PTR_ERR(a);
	err = xdpctl_stack_del(req, a, k->queue, cur);
	bpf_prog_put(cur);
	return err;
}

/* What there is now where a program was taken away. */
static void notify_deleted(struct xdpctl_req *req,
			   const struct xdpctl_prog_key *k)
{
	struct xdpctl_req lookup = { .net = req->net };
	struct xdpctl_prog value = {};

	if (k->queue == XDPCTL_QUEUE_ALL && !prog_lookup(&lookup, k, &value))
		xdpctl_notify_attached(req, k->ifindex, k->queue);
	else
		xdpctl_notify_detached(req, k->ifindex, k->queue);
}

static int prog_del(struct xdpctl_req *req, const void *key)
{
	int err;

	err = mutex_lock_killable(&xdpctl_change_mutex);
	if (err)
		return err;
	do {
		err = entry_del(req, key);
	} while (err == XDPCTL_CHANGED && !fatal_signal_pending(current));
	if (err == XDPCTL_CHANGED)
		err = -EINTR;
	if (!err)
		notify_deleted(req, key);
	mutex_unlock(&xdpctl_change_mutex);
	return err;
}

static void prog_key_defaults(void *key)
{
	((struct xdpctl_prog_key *)key)->queue = XDPCTL_QUEUE_ALL;
}

static u64 prog_needed(const void *value)
{
	return BIT_ULL(XDPCTL_A_PROG_FD);
}

const struct xdpctl_type_ops xdpctl_prog_ops = {
	.key_defaults = prog_key_defaults,
	.key_optional = BIT_ULL(XDPCTL_A_PROG_QUEUE),
	.needed = prog_needed,
	.get_next = prog_get_next,
	.lookup = prog_lookup,
	.prepare = prog_prepare,
	.update = prog_update,
	.del = prog_del,
};
