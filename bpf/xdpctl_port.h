/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * The table of ports of control type xdp_port, for programs.
 *
 * Who loads the program puts the maps of the module in the place of these two:
 * loader.PortMaps() in Go; with libbpf, bpf_map_get_fd_by_id() of the ids in
 * struct xdpctl_port, and bpf_map__reuse_fd(). Type, sizes, number of entries and
 * flags are those of the module, which loaders compare.
 */
#ifndef XDPCTL_PORT_H
#define XDPCTL_PORT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define XDPCTL_PORT_MAX_ENTRIES	1024

/* What xdpctl_port_in() returns for a netdev without a port. */
#define XDPCTL_PORT_NONE	0xffffffff

/* From port to netdev. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, XDPCTL_PORT_MAX_ENTRIES);
	__type(key, __u32);
	__type(value, __u32);
} xdp_port SEC(".maps");

/* From ifindex to port. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, XDPCTL_PORT_MAX_ENTRIES + 1);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, __u32);
	__type(value, __u32);
} xdp_port_index SEC(".maps");

/* The port that the frame came in through, or XDPCTL_PORT_NONE. */
static __always_inline __u32 xdpctl_port_in(const struct xdp_md *ctx)
{
	__u32 ifindex = ctx->ingress_ifindex;
	const __u32 *port = bpf_map_lookup_elem(&xdp_port_index, &ifindex);

	return port ? *port : XDPCTL_PORT_NONE;
}

/* What to return to send the frame out of @port; @action if the port is free. */
static __always_inline int xdpctl_port_send(__u32 port, enum xdp_action action)
{
	return bpf_redirect_map(&xdp_port, port, action);
}

#endif /* XDPCTL_PORT_H */
