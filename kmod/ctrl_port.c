// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control type xdp_port: the table of ports for multi-port TX.
 */
#include "ctrl.h"

static int port_get_next(struct net *net, const void *key, void *next)
{
	return -ENOENT;
}

static int port_lookup(struct xdpctl_req *req, const void *key, void *value)
{
	return -ENOENT;
}

const struct xdpctl_type_ops xdpctl_port_ops = {
	.get_next = port_get_next,
	.lookup = port_lookup,
};
