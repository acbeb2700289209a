// SPDX-License-Identifier: GPL-2.0-only
/*
 * The netlink door: generic netlink family xdpctl.
 *
 * Translates between messages and the keys and values of the control types,
 * by the tables in gen.c, and knows nothing of XDP.
 */
#include <linux/module.h>
#include <linux/nsproxy.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "ctrl.h"

static struct genl_family family;

/*
 * Struct to attributes
 *
 * An iteration puts a dozen attributes for each of thousands of netdevs.
 * nla_put() looks for room and moves the end of the skb for each of them; here
 * the room for a whole entry is made sure of first.
 */

/* Most bytes of attributes that an entry can have, by control type. */
static unsigned int entry_room[XDPCTL_CTRL_TYPE_MAX + 1] __ro_after_init;

static void __init entry_room_init(void)
{
	int type, i;

	for (type = 1; type <= XDPCTL_CTRL_TYPE_MAX; type++)
		for (i = 0; i < xdpctl_descs[type].n_fields; i++)
			entry_room[type] +=
				nla_total_size_64bit(xdpctl_descs[type].fields[i].size);
}

/*
 * Writes an attribute to @to, for which there is room; returns its end. Inline,
 * so that numbers are stored and not copied by a call.
 */
static __always_inline void *put_attr(void *to, u16 attr, const void *from, u16 len)
{
	struct nlattr *nla = to;

	nla->nla_len = nla_attr_size(len);
	nla->nla_type = attr;
	memcpy(nla_data(nla), from, len);
	memset(to + nla->nla_len, 0, nla_padlen(len));
	return to + nla_total_size(len);
}

static void *put_field(void *to, const struct xdpctl_type_desc *desc,
		       const struct xdpctl_field *f, const void *from)
{
	switch (f->kind) {
	case XDPCTL_KIND_U32:
		return put_attr(to, f->attr, from, sizeof(u32));
	case XDPCTL_KIND_U64:
		/* so that the number behind the header is aligned */
		if (!IS_ENABLED(CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS) &&
		    IS_ALIGNED((unsigned long)to, sizeof(u64)))
			to = put_attr(to, desc->pad_attr, NULL, 0);
		return put_attr(to, f->attr, from, sizeof(u64));
	case XDPCTL_KIND_STRING:
		return put_attr(to, f->attr, from,
				strnlen(from, f->size - 1) + 1);
	default:
		return put_attr(to, f->attr, from, f->size);
	}
}

static int put_entry(struct sk_buff *skb, int type, const void *key,
		     const void *value)
{
	const struct xdpctl_type_desc *desc = &xdpctl_descs[type];
	u64 present = *(const u64 *)value & desc->reply_mask;
	const struct xdpctl_field *f = desc->fields;
	void *to = skb_tail_pointer(skb);

	if (skb_tailroom(skb) < entry_room[type])
		return -EMSGSIZE;
	for (; f < desc->fields + desc->n_fields; f++) {
		if (f->flags & XDPCTL_FIELD_KEY)
			to = put_field(to, desc, f, key + f->offset);
		else if (present & BIT_ULL(f->attr))
			to = put_field(to, desc, f, value + f->offset);
	}
	skb_put(skb, to - (void *)skb_tail_pointer(skb));
	return 0;
}

/* Attributes to struct */

static void get_field(const struct xdpctl_field *f, const struct nlattr *attr,
		      void *to)
{
	switch (f->kind) {
	case XDPCTL_KIND_U32:
		*(u32 *)to = nla_get_u32(attr);
		break;
	case XDPCTL_KIND_U64:
		*(u64 *)to = nla_get_u64(attr);
		break;
	case XDPCTL_KIND_STRING:
		nla_strscpy(to, attr, f->size);
		break;
	default:
		nla_memcpy(to, attr, f->size);
		break;
	}
}

static int get_key(const struct xdpctl_type_desc *desc,
		   const struct xdpctl_type_ops *ops, struct genl_info *info,
		   void *key)
{
	int i;

	if (ops->key_defaults)
		ops->key_defaults(key);
	for (i = 0; i < desc->n_fields; i++) {
		const struct xdpctl_field *f = &desc->fields[i];

		if (!(f->flags & XDPCTL_FIELD_KEY))
			break;
		if (info->attrs[f->attr]) {
			get_field(f, info->attrs[f->attr], key + f->offset);
		} else if (!(ops->key_optional & BIT_ULL(f->attr))) {
			NL_SET_ERR_ATTR_MISS(info->extack, NULL, f->attr);
			return -EINVAL;
		}
	}
	return 0;
}

static void get_value(const struct xdpctl_type_desc *desc,
		      struct genl_info *info, void *value)
{
	u64 *present = value;
	int i;

	for (i = 0; i < desc->n_fields; i++) {
		const struct xdpctl_field *f = &desc->fields[i];

		if (!(f->flags & XDPCTL_FIELD_SET) || !info->attrs[f->attr])
			continue;
		get_field(f, info->attrs[f->attr], value + f->offset);
		*present |= BIT_ULL(f->attr);
	}
}

/* The control type that a command belongs to. */
static int cmd_type(u8 cmd)
{
	int type;

	for (type = 1; type <= XDPCTL_CTRL_TYPE_MAX; type++) {
		const struct xdpctl_type_desc *d = &xdpctl_descs[type];

		if (cmd == d->cmd_get || cmd == d->cmd_set || cmd == d->cmd_del)
			break;
	}
	return type;
}

static int put_entry_msg(struct sk_buff *skb, u32 portid, u32 seq, u8 cmd,
			 int type, const void *key, const void *value)
{
	void *hdr = genlmsg_put(skb, portid, seq, &family, 0, cmd);

	if (!hdr || put_entry(skb, type, key, value))
		return -EMSGSIZE;
	genlmsg_end(skb, hdr);
	return 0;
}

static struct sk_buff *entry_msg(u32 portid, u32 seq, u8 cmd, int type,
				 const void *key, const void *value)
{
	struct sk_buff *skb;
	int err;

	skb = genlmsg_new(entry_room[type], GFP_KERNEL);
	if (!skb)
		return ERR_PTR(-ENOMEM);
	err = put_entry_msg(skb, portid, seq, cmd, type, key, value);
	if (err) {
		nlmsg_free(skb);
		return ERR_PTR(err);
	}
	return skb;
}

static int reply_entry(struct genl_info *info, int type, const void *key,
		       const void *value)
{
	struct sk_buff *skb;

	skb = entry_msg(info->snd_portid, info->snd_seq, info->genlhdr->cmd,
			type, key, value);
	if (IS_ERR(skb))
		return PTR_ERR(skb);
	return genlmsg_reply(skb, info);
}

/**
 * xdpctl_notify() - tell group mgmt of an entry
 * @req: the request that changed it; req->net is told
 * @type: its control type
 * @key: its key
 * @value: its value; nothing present if it is gone
 *
 * Context: process context, no RTNL.
 */
void xdpctl_notify(struct xdpctl_req *req, enum xdpctl_ctrl_type type,
		   const void *key, const void *value)
{
	bool echo = req->info && nlmsg_report(req->info->nlhdr);
	struct sk_buff *skb;

	if (!echo && !genl_has_listeners(&family, req->net, XDPCTL_NLGRP_MGMT))
		return;
	skb = entry_msg(0, 0, xdpctl_descs[type].cmd_ntf, type, key, value);
	if (IS_ERR(skb)) {
		/* to listeners the same as a full buffer: something is missing */
		genl_set_err(&family, req->net, 0, XDPCTL_NLGRP_MGMT, -ENOBUFS);
		return;
	}
	if (echo)
		genl_notify(&family, skb, req->info, XDPCTL_NLGRP_MGMT,
			    GFP_KERNEL);
	else
		genlmsg_multicast_netns(&family, req->net, skb, 0,
					XDPCTL_NLGRP_MGMT, GFP_KERNEL);
}

/**
 * xdpctl_exception_wanted() - is there anybody to be told of exceptions?
 * @net: the netns
 *
 * Context: any.
 * Return: whether group exception has a listener.
 */
bool xdpctl_exception_wanted(struct net *net)
{
	return genl_has_listeners(&family, net, XDPCTL_NLGRP_EXCEPTION);
}

static int put_exception(struct sk_buff *skb, const struct xdpctl_exc_event *ev)
{
	return nla_put_u32(skb, XDPCTL_A_EXCEPTION_IFINDEX, ev->ifindex) ?:
	       nla_put_u32(skb, XDPCTL_A_EXCEPTION_PROG_ID, ev->prog_id) ?:
	       nla_put_u32(skb, XDPCTL_A_EXCEPTION_ACTION, ev->action) ?:
	       nla_put_u64_64bit(skb, XDPCTL_A_EXCEPTION_COUNT, ev->count,
				 XDPCTL_A_EXCEPTION_PAD) ?:
	       (ev->queue == XDPCTL_QUEUE_ALL ? 0 :
		nla_put_u32(skb, XDPCTL_A_EXCEPTION_QUEUE, ev->queue));
}

/**
 * xdpctl_exception_msg() - make an exception-ntf
 * @net: the netns that is to be told; if there is no memory, it is told that
 *	something is missing
 * @ev: what happened
 *
 * Context: process context.
 * Return: the message, for xdpctl_exception_send(), or NULL.
 */
struct sk_buff *xdpctl_exception_msg(struct net *net,
				     const struct xdpctl_exc_event *ev)
{
	struct sk_buff *skb;
	void *hdr;

	skb = genlmsg_new(5 * nla_total_size_64bit(sizeof(u64)), GFP_KERNEL);
	if (!skb)
		goto err;
	hdr = genlmsg_put(skb, 0, 0, &family, 0, XDPCTL_CMD_EXCEPTION_NTF);
	if (WARN_ON_ONCE(!hdr || put_exception(skb, ev)))
		goto err;
	genlmsg_end(skb, hdr);
	return skb;

err:
	nlmsg_free(skb);
	genl_set_err(&family, net, 0, XDPCTL_NLGRP_EXCEPTION, -ENOBUFS);
	return NULL;
}

/**
 * xdpctl_exception_send() - tell group exception
 * @net: the netns
 * @skb: what; consumed
 *
 * Context: process context, no RTNL.
 */
void xdpctl_exception_send(struct net *net, struct sk_buff *skb)
{
	genlmsg_multicast_netns(&family, net, skb, 0, XDPCTL_NLGRP_EXCEPTION,
				GFP_KERNEL);
}

/* What attaches works in the caller's netns, so it has to be the socket's. */
static int check_netns(struct genl_info *info)
{
	if (net_eq(current->nsproxy->net_ns, genl_info_net(info)))
		return 0;
	NL_SET_ERR_MSG(info->extack,
		       "the caller is in another network namespace than its socket");
	return -EXDEV;
}

/* TYPE-get, do */
int xdpctl_nl_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	int type = cmd_type(info->genlhdr->cmd);
	u64 value[XDPCTL_VALUE_MAX / sizeof(u64)];
	u64 key[XDPCTL_KEY_MAX / sizeof(u64)] = {};
	struct xdpctl_req req = {
		.net = genl_info_net(info),
		.extack = info->extack,
	};
	int err;

	err = get_key(&xdpctl_descs[type], xdpctl_types[type], info, key);
	if (err)
		return err;
	memset64(value, 0, xdpctl_descs[type].value_size / sizeof(u64));
	err = xdpctl_types[type]->lookup(&req, key, value);
	if (err)
		return err;
	return reply_entry(info, type, key, value);
}

/*
 * The reply to TYPE-set: what is there now, if it is still there. The change is
 * made, so nothing here may be taken for its failure.
 */
static void reply_current(struct sk_buff *skb, struct genl_info *info, int type,
			  const void *key)
{
	u64 value[XDPCTL_VALUE_MAX / sizeof(u64)] = {};
	struct xdpctl_req req = { .net = genl_info_net(info) };

	if (xdpctl_types[type]->lookup(&req, key, value) ||
	    put_entry_msg(skb, info->snd_portid, info->snd_seq,
			  info->genlhdr->cmd, type, key, value)) {
		nlmsg_free(skb);
		return;
	}
	genlmsg_reply(skb, info);
}

/* TYPE-set */
int xdpctl_nl_set_doit(struct sk_buff *skb, struct genl_info *info)
{
	int type = cmd_type(info->genlhdr->cmd);
	const struct xdpctl_type_desc *desc = &xdpctl_descs[type];
	const struct xdpctl_type_ops *ops = xdpctl_types[type];
	u64 value[XDPCTL_VALUE_MAX / sizeof(u64)] = {};
	u64 key[XDPCTL_KEY_MAX / sizeof(u64)] = {};
	struct xdpctl_req req = {
		.net = genl_info_net(info),
		.extack = info->extack,
		.info = info,
		.skb = skb,
	};
	struct sk_buff *reply;
	u64 flags = 0;
	int err;

	err = check_netns(info);
	if (err)
		return err;
	err = get_key(desc, ops, info, key);
	if (err)
		return err;
	get_value(desc, info, value);
	if (desc->update_attr && info->attrs[desc->update_attr])
		flags = nla_get_u32(info->attrs[desc->update_attr]);
	if (ops->prepare) {
		err = ops->prepare(&req, key, value);
		if (err)
			return err;
	}
	/* before the change, which must not fail once it is made */
	reply = genlmsg_new(entry_room[type], GFP_KERNEL);
	err = reply ? ops->update(&req, key, value, flags) : -ENOMEM;
	if (req.file)
		fput(req.file);
	if (err)
		nlmsg_free(reply);
	else
		reply_current(reply, info, type, key);
	return err;
}

/* TYPE-del */
int xdpctl_nl_del_doit(struct sk_buff *skb, struct genl_info *info)
{
	int type = cmd_type(info->genlhdr->cmd);
	u64 key[XDPCTL_KEY_MAX / sizeof(u64)] = {};
	struct xdpctl_req req = {
		.net = genl_info_net(info),
		.extack = info->extack,
		.info = info,
		.skb = skb,
	};
	int err;

	err = check_netns(info);
	if (err)
		return err;
	err = get_key(&xdpctl_descs[type], xdpctl_types[type], info, key);
	if (err)
		return err;
	return xdpctl_types[type]->del(&req, key);
}

/**
 * struct dump_ctx - where a dump is
 * @key: the last key that was sent, if @has_key
 * @filter: attributes of the key that entries must match; bit per attribute
 * @want: the values of those
 * @type: the control type
 * @has_key: the dump is under way
 */
struct dump_ctx {
	u8 key[XDPCTL_KEY_MAX];
	u8 want[XDPCTL_KEY_MAX];
	u64 filter;
	u8 type;
	bool has_key;
};

/* TYPE-get, dump: reads the filter */
int xdpctl_nl_get_start(struct netlink_callback *cb)
{
	struct nlattr **attrs = xdpctl_dump_attrs(cb);
	struct genlmsghdr *ghdr = nlmsg_data(cb->nlh);
	struct dump_ctx *ctx = (void *)cb->ctx;
	const struct xdpctl_type_desc *desc;
	int i;

	BUILD_BUG_ON(sizeof(*ctx) > sizeof(cb->ctx));
	memset(ctx, 0, sizeof(*ctx));
	ctx->type = cmd_type(ghdr->cmd);
	desc = &xdpctl_descs[ctx->type];
	for (i = 0; i < desc->n_fields; i++) {
		const struct xdpctl_field *f = &desc->fields[i];

		if (!(f->flags & XDPCTL_FIELD_KEY) || !attrs[f->attr])
			continue;
		get_field(f, attrs[f->attr], ctx->want + f->offset);
		ctx->filter |= BIT_ULL(f->attr);
		/* keys are ordered by their first member: begin before it */
		if (!f->offset && *(u32 *)ctx->want > 1) {
			memset(ctx->key, 0xff, desc->key_size);
			*(u32 *)ctx->key = *(u32 *)ctx->want - 1;
			ctx->has_key = true;
		}
	}
	return 0;
}

/* 0 if @key is wanted, 1 if it is not, -1 if none behind it can be */
static int dump_filter(const struct dump_ctx *ctx,
		       const struct xdpctl_type_desc *desc, const void *key)
{
	int i;

	for (i = 0; i < desc->n_fields && ctx->filter; i++) {
		const struct xdpctl_field *f = &desc->fields[i];

		if (!(f->flags & XDPCTL_FIELD_KEY) ||
		    !(ctx->filter & BIT_ULL(f->attr)))
			continue;
		if (!f->offset && *(const u32 *)key > *(u32 *)ctx->want)
			return -1;
		if (memcmp(key + f->offset, ctx->want + f->offset, f->size))
			return 1;
	}
	return 0;
}

static int dump_entry(struct sk_buff *skb, struct netlink_callback *cb,
		      const void *key)
{
	struct dump_ctx *ctx = (void *)cb->ctx;
	const struct xdpctl_type_desc *desc = &xdpctl_descs[ctx->type];
	u64 value[XDPCTL_VALUE_MAX / sizeof(u64)];
	struct xdpctl_req req = {
		.net = sock_net(skb->sk),
		.extack = xdpctl_dump_extack(cb),
	};
	void *hdr;
	int err;

	memset64(value, 0, desc->value_size / sizeof(u64));
	err = xdpctl_types[ctx->type]->lookup(&req, key, value);
	if (err)
		return err;
	hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
			  &family, NLM_F_MULTI, desc->cmd_get);
	if (!hdr)
		return -EMSGSIZE;
	if (put_entry(skb, ctx->type, key, value)) {
		genlmsg_cancel(skb, hdr);
		return -EMSGSIZE;
	}
	genl_dump_check_consistent(cb, hdr);
	genlmsg_end(skb, hdr);
	return 0;
}

/* TYPE-get, dump */
int xdpctl_nl_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct dump_ctx *ctx = (void *)cb->ctx;
	const struct xdpctl_type_desc *desc = &xdpctl_descs[ctx->type];
	const struct xdpctl_type_ops *ops = xdpctl_types[ctx->type];
	struct net *net = sock_net(skb->sk);
	u64 next[XDPCTL_KEY_MAX / sizeof(u64)] = {};
	int err = 0, match;

	/* 0 would mean that nobody counts */
	cb->seq = atomic_read(&xdpctl_net(net)->gen) ?: 1;
	while (!ops->get_next(net, ctx->has_key ? ctx->key : NULL, next)) {
		match = dump_filter(ctx, desc, next);
		if (match < 0)
			break;
		if (!match)
			err = dump_entry(skb, cb, next);
		if (err == -ENOENT)	/* went since get_next */
			err = 0;
		if (err)
			break;
		memcpy(ctx->key, next, desc->key_size);
		ctx->has_key = true;
	}
	if (err && (err != -EMSGSIZE || !skb->len))
		return err;
	return skb->len;
}

/* type-get */

static int put_type(struct sk_buff *skb, int type)
{
	const struct xdpctl_type_desc *d = &xdpctl_descs[type];

	return nla_put_u32(skb, XDPCTL_A_TYPE_ID, type) ?:
	       nla_put_string(skb, XDPCTL_A_TYPE_NAME, d->name) ?:
	       nla_put_u32(skb, XDPCTL_A_TYPE_KEY_SIZE, d->key_size) ?:
	       nla_put_u32(skb, XDPCTL_A_TYPE_VALUE_SIZE, d->value_size) ?:
	       nla_put_u32(skb, XDPCTL_A_TYPE_OPERATIONS, d->ops_mask) ?:
	       nla_put_u32(skb, XDPCTL_A_TYPE_BTF_ID,
			   xdpctl_ctlmap_btf_id()) ?:
	       nla_put_u32(skb, XDPCTL_A_TYPE_BTF_KEY_TYPE_ID,
			   d->btf_key_id) ?:
	       nla_put_u32(skb, XDPCTL_A_TYPE_BTF_VALUE_TYPE_ID,
			   d->btf_value_id);
}

int xdpctl_nl_type_get_doit(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *reply;
	void *hdr;
	u32 type;

	if (GENL_REQ_ATTR_CHECK(info, XDPCTL_A_TYPE_ID))
		return -EINVAL;
	type = nla_get_u32(info->attrs[XDPCTL_A_TYPE_ID]);
	if (type > XDPCTL_CTRL_TYPE_MAX) {
		NL_SET_ERR_MSG_ATTR(info->extack,
				    info->attrs[XDPCTL_A_TYPE_ID],
				    "no such control type");
		return -ENOENT;
	}
	reply = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!reply)
		return -ENOMEM;
	hdr = genlmsg_put_reply(reply, info, &family, 0, XDPCTL_CMD_TYPE_GET);
	if (!hdr || put_type(reply, type)) {
		nlmsg_free(reply);
		return -EMSGSIZE;
	}
	genlmsg_end(reply, hdr);
	return genlmsg_reply(reply, info);
}

int xdpctl_nl_type_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb)
{
	unsigned long *last = (void *)cb->ctx;
	int type;
	void *hdr;

	for (type = *last + 1; type <= XDPCTL_CTRL_TYPE_MAX; type++) {
		hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid,
				  cb->nlh->nlmsg_seq, &family, NLM_F_MULTI,
				  XDPCTL_CMD_TYPE_GET);
		if (!hdr)
			break;
		if (put_type(skb, type)) {
			genlmsg_cancel(skb, hdr);
			break;
		}
		genlmsg_end(skb, hdr);
		*last = type;
	}
	if (type <= XDPCTL_CTRL_TYPE_MAX && !skb->len)
		return -EMSGSIZE;
	return skb->len;
}

static struct genl_family family __ro_after_init = {
	.name = XDPCTL_FAMILY_NAME,
	.version = XDPCTL_FAMILY_VERSION,
	.netnsok = true,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.ops = xdpctl_ops,
	.mcgrps = xdpctl_mcgrps,
};

/**
 * xdpctl_netlink_init() - open the netlink door
 *
 * Context: process context, no RTNL.
 * Return: 0 or an error.
 */
int __init xdpctl_netlink_init(void)
{
	int type;

	for (type = 1; type <= XDPCTL_CTRL_TYPE_MAX; type++)
		if (WARN_ON(xdpctl_descs[type].key_size > XDPCTL_KEY_MAX ||
			    xdpctl_descs[type].value_size > XDPCTL_VALUE_MAX))
			return -EINVAL;
	entry_room_init();
	family.n_ops = xdpctl_n_ops;
	family.n_mcgrps = xdpctl_n_mcgrps;
	return genl_register_family(&family);
}

/**
 * xdpctl_netlink_exit() - shut the netlink door
 *
 * Waits for the operations that are under way.
 * Context: process context, no RTNL.
 */
void xdpctl_netlink_exit(void)
{
	genl_unregister_family(&family);
}

MODULE_ALIAS_GENL_FAMILY(XDPCTL_FAMILY_NAME);
