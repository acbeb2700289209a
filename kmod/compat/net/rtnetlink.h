/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_COMPAT_NET_RTNETLINK_H
#define XDPCTL_COMPAT_NET_RTNETLINK_H

#include_next <net/rtnetlink.h>

/* Head of a newlink function with the arguments dev and extack. */
#ifdef XDPCTL_HAVE_RTNL_NEWLINK_PARAMS
#define XDPCTL_NEWLINK(name)						\
	int name(struct net_device *dev,				\
		 struct rtnl_newlink_params *params,			\
		 struct netlink_ext_ack *extack)
#else
#define XDPCTL_NEWLINK(name)						\
	int name(struct net *src_net, struct net_device *dev,		\
		 struct nlattr *tb[], struct nlattr *data[],		\
		 struct netlink_ext_ack *extack)
#endif /* XDPCTL_HAVE_RTNL_NEWLINK_PARAMS */

#endif /* XDPCTL_COMPAT_NET_RTNETLINK_H */
