// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control type xdp_attr: the XDP settings of a netdev.
 *
 * Every netdev has an entry, so that nothing can be added, and a delete puts
 * back what there was. Each setting is a file of its own.
 */
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "attr.h"
#include "meter.h"

/**
 * struct command - what an update that sets something carries
 * @name: name of the command
 * @must: bits of present that it needs
 * @may: bits of present that it takes beside those
 */
struct command {
	const char *name;
	u64 must;
	u64 may;
};

#define FIELD(name)	BIT_ULL(XDPCTL_A_ATTR_ ## name)

static const struct command commands[] = {
	[XDPCTL_COMMAND_SETUP_REDIRECT] = {
		.name = "setup-redirect",
		.must = FIELD(COMMAND) | FIELD(RINGS_NUM),
		.may = FIELD(RINGS_SIZE),
	},
	[XDPCTL_COMMAND_SETUP_MD] = {
		.name = "setup-md",
		.must = FIELD(COMMAND) | FIELD(ENABLE_MD),
	},
	[XDPCTL_COMMAND_SETUP_METER] = {
		.name = "setup-meter",
		.must = FIELD(COMMAND) | FIELD(ENABLE_METER),
		.may = FIELD(FD),
	},
};

static const char *field_name(int attr)
{
	switch (attr) {
	case XDPCTL_A_ATTR_COMMAND:
		return "command";
	case XDPCTL_A_ATTR_RINGS_NUM:
		return "rings-num";
	case XDPCTL_A_ATTR_RINGS_SIZE:
		return "rings-size";
	case XDPCTL_A_ATTR_ENABLE_MD:
		return "enable-md";
	case XDPCTL_A_ATTR_ENABLE_METER:
		return "enable-meter";
	default:
		return "fd";
	}
}

static int lacks(struct xdpctl_req *req, int attr)
{
	NL_SET_ERR_ATTR_MISS(req->extack, NULL, attr);
	xdpctl_extack_fmt(req->extack, "%s is missing", field_name(attr));
	return -EINVAL;
}

static int check_fields(struct xdpctl_req *req, const struct xdpctl_attr *v)
{
	const struct command *c;
	u64 surplus, lacking;
	int attr;

	if (!(v->present & FIELD(COMMAND)))
		return lacks(req, XDPCTL_A_ATTR_COMMAND);
	if (v->command >= ARRAY_SIZE(commands) || !commands[v->command].name) {
		NL_SET_ERR_MSG(req->extack, "unknown command");
		return -EINVAL;
	}
	c = &commands[v->command];
	surplus = v->present & ~(c->must | c->may);
	if (surplus) {
		attr = __ffs64(surplus);
		if (req->info)
			NL_SET_BAD_ATTR(req->extack, req->info->attrs[attr]);
		xdpctl_extack_fmt(req->extack, "%s does not go with %s",
				  field_name(attr), c->name);
		return -EINVAL;
	}
	lacking = c->must & ~v->present;
	return lacking ? lacks(req, __ffs64(lacking)) : 0;
}

static u64 attr_needed(const void *value)
{
	const struct xdpctl_attr *v = value;

	switch (v->command) {
	case XDPCTL_COMMAND_SETUP_REDIRECT:
		return FIELD(COMMAND) | FIELD(RINGS_NUM) | FIELD(RINGS_SIZE);
	case XDPCTL_COMMAND_SETUP_MD:
		return FIELD(COMMAND) | FIELD(ENABLE_MD);
	case XDPCTL_COMMAND_SETUP_METER:
		return FIELD(COMMAND) | FIELD(ENABLE_METER);
	default:
		return FIELD(COMMAND);
	}
}

static int attr_prepare(struct xdpctl_req *req, const void *key,
			const void *value)
{
	const struct xdpctl_attr *v = value;
	int err;

	err = check_fields(req, v);
	if (!err && v->present & FIELD(FD))
		err = xdpctl_prog_resolve(req, v->fd);
	return err;
}

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

/**
 * xdpctl_attr_dev() - find the netdev whose settings are to be changed
 * @req: the request
 * @ifindex: the netdev
 *
 * Context: RTNL.
 * Return: the netdev or an error, with extack.
 */
struct xdpctl_dev *xdpctl_attr_dev(struct xdpctl_req *req, u32 ifindex)
{
	struct xdpctl_dev *xd = xdpctl_dev_get(req->net, ifindex);

	ASSERT_RTNL();
	if (!xd) {
		NL_SET_ERR_MSG(req->extack, "no such netdev");
		return ERR_PTR(-ENODEV);
	}
	if (xdpctl_ctldev_is(xd->dev)) {
		NL_SET_ERR_MSG(req->extack, "a control device has no settings");
		return ERR_PTR(-EOPNOTSUPP);
	}
	return xd;
}

/**
 * xdpctl_settings_get() - the settings of a netdev, made if there are none
 * @req: the request
 * @xd: the netdev
 *
 * Context: xdpctl_change_mutex, RTNL.
 * Return: the settings; NULL if there is no memory, with extack.
 */
struct xdpctl_settings *xdpctl_settings_get(struct xdpctl_req *req,
					    struct xdpctl_dev *xd)
{
	lockdep_assert_held(&xdpctl_change_mutex);
	ASSERT_RTNL();
	if (!xd->settings) {
		xd->settings = kzalloc(sizeof(*xd->settings), GFP_KERNEL);
		if (xd->settings)
			xd->settings->xd = xd;
		else
			NL_SET_ERR_MSG(req->extack, "no memory");
	}
	return xd->settings;
}

/* Is there a netdev whose settings can be changed, and by these flags? */
static int check_entry(struct xdpctl_req *req, u32 ifindex, u64 flags)
{
	struct xdpctl_dev *xd;
	int err;

	err = rtnl_lock_killable();
	if (err)
		return err;
	xd = xdpctl_attr_dev(req, ifindex);
	rtnl_unlock();
	if (IS_ERR(xd))
		return PTR_ERR(xd);
	if (flags == BPF_NOEXIST) {
		NL_SET_ERR_MSG(req->extack, "every netdev has settings already");
		return -EEXIST;
	}
	return 0;
}

static int attr_set(struct xdpctl_req *req, u32 ifindex,
		    const struct xdpctl_attr *v)
{
	switch (v->command) {
	case XDPCTL_COMMAND_SETUP_REDIRECT:
		return xdpctl_redirect_set(req, ifindex, v->rings_num,
					   v->present & FIELD(RINGS_SIZE) ?
					   v->rings_size : 0);
	case XDPCTL_COMMAND_SETUP_MD:
		return xdpctl_md_set(req, ifindex, v->enable_md);
	default:
		return xdpctl_meter_set(req, ifindex, v->enable_meter);
	}
}

/* One that cannot be undone does not keep the others from it. */
static int attr_clear(struct xdpctl_req *req, u32 ifindex)
{
	int redirect, md, meter;

	meter = xdpctl_meter_set(req, ifindex, false);
	md = xdpctl_md_clear(req, ifindex);
	redirect = xdpctl_redirect_set(req, ifindex, 0, 0);
	return meter ?: md ?: redirect;
}

/* Changes an entry by @v, or clears it if that is NULL, and tells of it. */
static int attr_change(struct xdpctl_req *req, const struct xdpctl_attr_key *k,
		       const struct xdpctl_attr *v)
{
	struct xdpctl_req lookup = { .net = req->net };
	struct xdpctl_attr before = {}, after = {};
	int err;

	lockdep_assert_held(&xdpctl_change_mutex);
	/* fails only for a netdev that is not there, as the change then does */
	attr_lookup(&lookup, k, &before);
	err = v ? attr_set(req, k->ifindex, v) : attr_clear(req, k->ifindex);
	if (!attr_lookup(&lookup, k, &after) &&
	    memcmp(&before, &after, sizeof(after))) {
		xdpctl_net_changed(req->net);
		xdpctl_notify(req, XDPCTL_CTRL_TYPE_XDP_ATTR, k, &after);
	}
	return err;
}

static int attr_update(struct xdpctl_req *req, const void *key,
		       const void *value, u64 flags)
{
	const struct xdpctl_attr_key *k = key;
	int err;

	err = mutex_lock_killable(&xdpctl_change_mutex);
	if (err)
		return err;
	err = check_entry(req, k->ifindex, flags);
	if (!err)
		err = attr_change(req, k, value);
	mutex_unlock(&xdpctl_change_mutex);
	return err;
}

static int attr_del(struct xdpctl_req *req, const void *key)
{
	const struct xdpctl_attr_key *k = key;
	int err;

	err = mutex_lock_killable(&xdpctl_change_mutex);
	if (err)
		return err;
	err = check_entry(req, k->ifindex, BPF_ANY);
	if (!err)
		err = attr_change(req, k, NULL);
	if (err == -ENODEV)	/* as every delete and lookup says */
		err = -ENOENT;
	mutex_unlock(&xdpctl_change_mutex);
	return err;
}

/**
 * xdpctl_attr_dev_del() - the module forgets a netdev
 * @xd: the netdev; if it is not being unregistered, what was set is undone as
 *	far as that can be done here
 *
 * Context: RTNL.
 */
void xdpctl_attr_dev_del(struct xdpctl_dev *xd)
{
	struct xdpctl_settings *s = xd->settings;

	xdpctl_meter_dev_del(xd);
	if (!s)
		return;
	xdpctl_redirect_dev_del(s);
	xdpctl_md_dev_del(s);
	xd->settings = NULL;
	kfree(s);
}

const struct xdpctl_type_ops xdpctl_attr_ops = {
	.needed = attr_needed,
	.get_next = xdpctl_ifindex_next,
	.lookup = attr_lookup,
	.prepare = attr_prepare,
	.update = attr_update,
	.del = attr_del,
};
