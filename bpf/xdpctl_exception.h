/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * What an XDP exception is, for tp_btf programs at xdp_exception and
 * xdp_redirect_err. It is kmod/exception.c that this follows.
 */
#ifndef XDPCTL_EXCEPTION_H
#define XDPCTL_EXCEPTION_H

#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* What is read of the kernel's types; the loader finds out where it is. */
#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct kernfs_node {
	__u64 id;
};

struct kobject {
	struct kernfs_node *sd;
};

struct device {
	struct kobject kobj;
};

struct net {
	__u64 net_cookie;
};

struct bpf_prog_aux {
	__u32 id;
};

struct bpf_prog {
	enum bpf_attach_type expected_attach_type;
	struct bpf_prog_aux *aux;
};

struct net_device {
	int ifindex;
	unsigned int real_num_rx_queues;
	struct bpf_prog *xdp_prog;
	struct {
		struct net *net;
	} nd_net;
	struct device dev;
};

#pragma clang attribute pop

/* Whose program an exception comes from. */
enum xdpctl_exc_origin {
	XDPCTL_EXC_NATIVE,
	XDPCTL_EXC_GENERIC,
	XDPCTL_EXC_MAP,			/* of an entry of a devmap or cpumap */
};

/* What went wrong. */
enum xdpctl_exc_kind {
	XDPCTL_EXC_ABORTED,
	XDPCTL_EXC_TX,
	XDPCTL_EXC_REDIRECT,
	XDPCTL_EXC_INVALID,
	XDPCTL_EXC_REDIRECT_ERR,	/* tracepoint xdp_redirect_err */
};

/*
 * Which netdev it is: the inode number of its directory in sysfs, which no other
 * gets while the machine runs, and which stays when the netdev is renamed or
 * moves to another network namespace. 0 if it has none, being about to go.
 */
static __always_inline __u64 xdpctl_exc_device(const struct net_device *dev)
{
	const struct kernfs_node *dir = dev->dev.kobj.sd;

	return dir ? dir->id : 0;
}

/*
 * The program of an entry of a devmap or cpumap runs on frames that another
 * program has redirected already. Of the others, a generic one is entered in
 * dev->xdp_prog, which native mode leaves alone.
 */
static __always_inline enum xdpctl_exc_origin
xdpctl_exc_origin(const struct net_device *dev, const struct bpf_prog *prog)
{
	enum bpf_attach_type type = prog->expected_attach_type;

	if (type == BPF_XDP_DEVMAP || type == BPF_XDP_CPUMAP)
		return XDPCTL_EXC_MAP;
	return dev->xdp_prog ? XDPCTL_EXC_GENERIC : XDPCTL_EXC_NATIVE;
}

/* @act is what a program returned: any u32. */
static __always_inline enum xdpctl_exc_kind
xdpctl_exc_kind(enum xdpctl_exc_origin origin, __u32 act)
{
	if (act == XDP_ABORTED)
		return XDPCTL_EXC_ABORTED;
	if (act == XDP_TX && origin != XDPCTL_EXC_MAP)
		return XDPCTL_EXC_TX;
	if (act == XDP_REDIRECT && origin != XDPCTL_EXC_MAP)
		return XDPCTL_EXC_REDIRECT;
	return XDPCTL_EXC_INVALID;
}

#endif /* XDPCTL_EXCEPTION_H */
