/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_COMPAT_NET_GENETLINK_H
#define XDPCTL_COMPAT_NET_GENETLINK_H

#include_next <net/genetlink.h>

/* The parsed attributes of a dump request. */
static inline struct nlattr **xdpctl_dump_attrs(struct netlink_callback *cb)
{
#ifdef XDPCTL_HAVE_GENL_INFO_DUMP
	return genl_info_dump(cb)->attrs;
#else
	return genl_dumpit_info(cb)->attrs;
#endif /* XDPCTL_HAVE_GENL_INFO_DUMP */
}

/* The extack of a dump, in start and while it goes on. */
static inline struct netlink_ext_ack *
xdpctl_dump_extack(struct netlink_callback *cb)
{
	return cb->extack;
}

#endif /* XDPCTL_COMPAT_NET_GENETLINK_H */
