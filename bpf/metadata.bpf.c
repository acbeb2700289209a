// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/*
 * Gives each frame to the AF_XDP socket of its RX queue, with the RX metadata of
 * the driver in front of it. It is loaded for one netdev.
 */
#include "../kmod/uapi/xdpctl.h"
#include "xdpctl_rx_metadata.h"

/* Sockets by RX queue; frames of a queue without one pass. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} metadata_sockets SEC(".maps");

SEC("xdp")
int metadata(struct xdp_md *ctx)
{
	if (xdpctl_rx_metadata_push(ctx))
		return XDP_ABORTED;
	return bpf_redirect_map(&metadata_sockets, ctx->rx_queue_index,
				XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
