// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/*
 * A program that sends each test frame out of the port that it asks for.
 *
 * A test frame is one of verdict.bpf.c, but the byte after the Ethernet header
 * is the number of a port. In its place goes the number of the port that the
 * frame came in through, 255 if that netdev has none. If the port asked for is
 * free the frame passes, as all other frames do.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "xdpctl_port.h"

#define PORT_ETHERTYPE	0x88b5

SEC("xdp")
int port(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	__u8 *number = (__u8 *)(eth + 1);
	__u32 to;

	if ((void *)(number + 1) > end)
		return XDP_PASS;
	if (eth->h_proto != bpf_htons(PORT_ETHERTYPE))
		return XDP_PASS;

	to = *number;
	*number = xdpctl_port_in(ctx);
	return xdpctl_port_send(to, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
