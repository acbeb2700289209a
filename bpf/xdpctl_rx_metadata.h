/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
#ifndef XDPCTL_RX_METADATA_H
#define XDPCTL_RX_METADATA_H

/*
 * Puts the RX metadata of a frame in front of it, as struct xdpctl_rx_metadata
 * of linux/xdpctl.h, for who gets the frame next: an AF_XDP socket, a program of
 * a devmap or cpumap, or with XDP_PASS a program of tc.
 *
 * The program is to be loaded for the netdev that it runs on, since its driver
 * is asked: with BPF_F_XDP_DEV_BOUND_ONLY in prog_flags and the netdev in
 * prog_ifindex. On a kernel that lacks one of the kfuncs, what it would give is
 * not valid.
 *
 *	#include <linux/bpf.h>
 *	#include <bpf/bpf_helpers.h>
 *	#include "xdpctl_rx_metadata.h"
 *
 *	SEC("xdp")
 *	int prog(struct xdp_md *ctx)
 *	{
 *		if (xdpctl_rx_metadata_push(ctx))
 *			return XDP_ABORTED;
 *		...
 *	}
 */
#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Who has the header elsewhere includes it before. */
#ifndef _UAPI_LINUX_XDPCTL_H
#include <linux/xdpctl.h>
#endif

/* From libbpf 1.2 on it is there. */
#ifndef bpf_ksym_exists
#define bpf_ksym_exists(sym) (!!(sym))
#endif

/* As the kernel's own, of which there is one where the kfuncs are. */
enum xdpctl_rss_hash_type {
	XDPCTL_RSS_HASH_TYPE_NONE = 0,
	XDPCTL_RSS_HASH_TYPE_L3_IPV4 = 1 << 0,
	XDPCTL_RSS_HASH_TYPE_L3_IPV6 = 1 << 1,
	XDPCTL_RSS_HASH_TYPE_L3_DYNHDR = 1 << 2,
	XDPCTL_RSS_HASH_TYPE_L4 = 1 << 3,
	XDPCTL_RSS_HASH_TYPE_L4_TCP = 1 << 4,
	XDPCTL_RSS_HASH_TYPE_L4_UDP = 1 << 5,
	XDPCTL_RSS_HASH_TYPE_L4_SCTP = 1 << 6,
	XDPCTL_RSS_HASH_TYPE_L4_IPSEC = 1 << 7,
	XDPCTL_RSS_HASH_TYPE_L4_ICMP = 1 << 8,
};

int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp)
	__weak __ksym;
int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash,
			     enum xdpctl_rss_hash_type *rss_type) __weak __ksym;
int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __be16 *vlan_proto,
				 __u16 *vlan_tci) __weak __ksym;

/**
 * xdpctl_rx_metadata_read() - ask the driver for the metadata of a frame
 * @ctx: the frame
 * @m: where it goes; what the frame does not have is 0, and not in m->valid
 *
 * A driver may give a time stamp of 0 for a frame that has none.
 */
static __always_inline void
xdpctl_rx_metadata_read(struct xdp_md *ctx, struct xdpctl_rx_metadata *m)
{
	enum xdpctl_rss_hash_type type = XDPCTL_RSS_HASH_TYPE_NONE;
	__u64 timestamp = 0;
	__u16 tci = 0;
	__be16 proto = 0;
	__u32 hash = 0;

	__builtin_memset(m, 0, sizeof(*m));
	if (bpf_ksym_exists(bpf_xdp_metadata_rx_timestamp) &&
	    !bpf_xdp_metadata_rx_timestamp(ctx, &timestamp) && timestamp) {
		m->rx_timestamp = timestamp;
		m->valid |= XDPCTL_XDP_RX_METADATA_TIMESTAMP;
	}
	if (bpf_ksym_exists(bpf_xdp_metadata_rx_hash) &&
	    !bpf_xdp_metadata_rx_hash(ctx, &hash, &type)) {
		m->rx_hash = hash;
		m->rx_hash_type = type;
		m->valid |= XDPCTL_XDP_RX_METADATA_HASH;
	}
	if (bpf_ksym_exists(bpf_xdp_metadata_rx_vlan_tag) &&
	    !bpf_xdp_metadata_rx_vlan_tag(ctx, &proto, &tci)) {
		m->vlan_proto = bpf_ntohs(proto);
		m->vlan_tci = tci;
		m->valid |= XDPCTL_XDP_RX_METADATA_VLAN_TAG;
	}
}

/**
 * xdpctl_rx_metadata_push() - put the metadata of a frame in front of it
 * @ctx: the frame; pointers into it are to be read anew
 *
 * Return: 0, or a negative error if there is no room for it.
 */
static __always_inline int xdpctl_rx_metadata_push(struct xdp_md *ctx)
{
	struct xdpctl_rx_metadata m, *to;
	int err;

	/* before the frame changes, which the driver looks at */
	xdpctl_rx_metadata_read(ctx, &m);
	err = bpf_xdp_adjust_meta(ctx, -(int)sizeof(*to));
	if (err)
		return err;
	to = (void *)(long)ctx->data_meta;
	if ((void *)(to + 1) > (void *)(long)ctx->data)
		return -1;
	*to = m;
	return 0;
}

#endif /* XDPCTL_RX_METADATA_H */
