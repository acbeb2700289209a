// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control type xdp_attr: the XDP settings of a netdev.
 */
#include <linux/rtnetlink.h>

#include "attr.h"
#include "meter.h"

static int attr_lookup(struct xdpctl_req *req, const void *key, void *value)
{
	const struct xdpctl_attr_key *k = key;
	struct xdpctl_attr *v = value;
	struct xdpctl_dev *xd;
	int err;

	err = xdpctl_req_rtnl(req);
	if (err)
		return err;
	xd = xdpctl_dev_get(req->net, k->ifindex);
	if (xd) {
		xdpctl_redirect_fill(xd, v);
		xdpctl_md_fill(xd, v);
		xdpctl_meter_fill(xd, v);
	} else {
		err = xdpctl_no_netdev(req);
	}
	rtnl_unlock();
	return err;
}

static u64 attr_needed(const void *value)
{
	const struct xdpctl_attr *v = value;

	switch (v->command) {
	case XDPCTL_COMMAND_SETUP_REDIRECT:
		return BIT_ULL(XDPCTL_A_ATTR_COMMAND) |
		       BIT_ULL(XDPCTL_A_ATTR_RINGS_NUM) |
		       BIT_ULL(XDPCTL_A_ATTR_RINGS_SIZE);
	case XDPCTL_COMMAND_SETUP_MD:
		return BIT_ULL(XDPCTL_A_ATTR_COMMAND) |
		       BIT_ULL(XDPCTL_A_ATTR_ENABLE_MD);
	case XDPCTL_COMMAND_SETUP_METER:
		return BIT_ULL(XDPCTL_A_ATTR_COMMAND) |
		       BIT_ULL(XDPCTL_A_ATTR_ENABLE_METER);
	default:
		return BIT_ULL(XDPCTL_A_ATTR_COMMAND);
	}
}

static int attr_update(struct xdpctl_req *req, const void *key,
		       const void *value, u64 flags)
{
	const struct xdpctl_attr_key *k = key;
	const struct xdpctl_attr *v = value;
	int err;

	err = mutex_lock_killable(&xdpctl_change_mutex);
	if (err)
		return err;
	switch (v->command) {
	case XDPCTL_COMMAND_SETUP_REDIRECT:
		err = xdpctl_redirect_set(req, k->ifindex, v->rings_num,
					  v->rings_size);
		break;
	case XDPCTL_COMMAND_SETUP_MD:
		err = xdpctl_md_set(req, k->ifindex, v->enable_md);
		break;
	case XDPCTL_COMMAND_SETUP_METER:
		err = xdpctl_meter_set(req, k->ifindex, v->enable_meter);
		break;
	default:
		err = -EINVAL;
	}
	mutex_unlock(&xdpctl_change_mutex);
	return err;
}

static int attr_del(struct xdpctl_req *req, const void *key)
{
	return -EOPNOTSUPP;
}

void xdpctl_attr_dev_del(struct xdpctl_dev *xd)
{
	xdpctl_meter_dev_del(xd);
}

const struct xdpctl_type_ops xdpctl_attr_ops = {
	.needed = attr_needed,
	.get_next = xdpctl_ifindex_next,
	.lookup = attr_lookup,
	.update = attr_update,
	.del = attr_del,
};
