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
	const struct xdpctl_attachment *a = xdpctl_attachment_find(dev);

	if (!link)
		return XDPCTL_OWNER_NETLINK;
	return a && a->link == link ? XDPCTL_OWNER_MODULE : XDPCTL_OWNER_LINK;
}

static void fill(struct xdpctl_prog *v, const struct net_device *dev, int mode)
{
	const struct bpf_link *link = xdpctl_state_link(dev, mode);
	const struct bpf_prog *prog = xdpctl_state_prog(dev, mode);

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

static int lookup_rtnl(struct xdpctl_req *req, u32 ifindex,
		       struct xdpctl_prog *v)
{
	const struct bpf_prog *hw;
	struct net_device *dev;
	int mode;

	dev = __dev_get_by_index(req->net, ifindex);
	if (!dev)
		return xdpctl_no_netdev(req);
	xdpctl_reap_dev(dev);
	mode = xdpctl_host_mode(dev);
	hw = xdpctl_state_prog(dev, XDP_MODE_HW);
	if (mode < 0 && !hw) {
		NL_SET_ERR_MSG(req->extack, "no program is attached");
		return -ENOENT;
	}
	if (!xdpctl_attachment_find(dev) && xdpctl_attach_pending(dev))
		return -EAGAIN;
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
	if (err != -EAGAIN || req->nowait)
		return err;

	/* Ours or not? Who makes the attachment, if it is one, has the mutex. */
	err = mutex_lock_killable(&xdpctl_change_mutex);
	if (err)
		return err;
	err = rtnl_lock_killable();
	if (!err) {
		err = lookup_rtnl(req, k->ifindex, value);
		rtnl_unlock();
	}
	mutex_unlock(&xdpctl_change_mutex);
	return err;
}

/* update */

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

static int change_parse(struct xdpctl_req *req, struct xdpctl_change *c,
			const struct xdpctl_prog_key *k,
			const struct xdpctl_prog *v, u64 flags)
{
	int err;

	err = check_queue(req, k);
	if (err)
		return err;
	*c = (struct xdpctl_change) {
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

static int check_replace(struct xdpctl_req *req, const struct xdpctl_change *c,
			 const struct net_device *dev, int mode)
{
	const struct bpf_prog *cur = xdpctl_state_prog(dev, mode);

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

/*
 * Finds what @c is to replace: an attachment, or NULL if there is none.
 * The program there goes to *@cur, with a reference.
 */
static struct xdpctl_attachment *
find_replaced(struct xdpctl_req *req, const struct xdpctl_change *c,
	      struct bpf_prog **cur)
{
	struct xdpctl_attachment *a;
	struct net_device *dev;
	int mode, err;

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
	if (mode < 0) {
		if (!c->expected && c->flags != BPF_EXIST) {
			xdpctl_attach_begin(dev);
			return NULL;
		}
		NL_SET_ERR_MSG(req->extack, "no program is attached");
		return ERR_PTR(-ENOENT);
	}
	a = xdpctl_attachment_find(dev);
	if (!a)
		return ERR_PTR(xdpctl_refuse_foreign(req, dev, mode));
	err = check_replace(req, c, dev, mode);
	if (err)
		return ERR_PTR(err);
	*cur = xdpctl_state_prog(dev, mode);
	bpf_prog_inc(*cur);
	return a;
}

static int change_apply(struct xdpctl_req *req, const struct xdpctl_change *c)
{
	struct bpf_prog *cur = NULL;
	struct xdpctl_attachment *a;
	int err;

	lockdep_assert_held(&xdpctl_change_mutex);
	err = rtnl_lock_killable();
	if (err)
		return err;
	a = find_replaced(req, c, &cur);
	rtnl_unlock();
	if (IS_ERR(a))
		return PTR_ERR(a);
	if (!a)
		return xdpctl_attach(req, c);
	err = xdpctl_replace(req, c, a, cur);
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
		notify_attached(req, c.ifindex);
	mutex_unlock(&xdpctl_change_mutex);
	return err;
}

/* del */

static struct xdpctl_attachment *find_detached(struct xdpctl_req *req,
					       u32 ifindex)
{
	struct xdpctl_attachment *a;
	struct net_device *dev;
	int mode;

	ASSERT_RTNL();
	dev = __dev_get_by_index(req->net, ifindex);
	if (!dev)
		return ERR_PTR(xdpctl_no_netdev(req));
	xdpctl_reap_dev(dev);
	mode = xdpctl_host_mode(dev);
	if (mode < 0) {
		NL_SET_ERR_MSG(req->extack, "no program is attached");
		return ERR_PTR(-ENOENT);
	}
	a = xdpctl_attachment_find(dev);
	return a ?: ERR_PTR(xdpctl_refuse_foreign(req, dev, mode));
}

static int prog_del(struct xdpctl_req *req, const void *key)
{
	const struct xdpctl_prog_key *k = key;
	struct xdpctl_attachment *a;
	int err;

	err = check_queue(req, k);
	if (err)
		return err;
	err = mutex_lock_killable(&xdpctl_change_mutex);
	if (err)
		return err;
	err = rtnl_lock_killable();
	if (err)
		goto unlock;
	a = find_detached(req, k->ifindex);
	rtnl_unlock();
	if (IS_ERR(a)) {
		err = PTR_ERR(a);
		goto unlock;
	}
	xdpctl_detach(a);
	xdpctl_notify_detached(req, k->ifindex);
unlock:
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
