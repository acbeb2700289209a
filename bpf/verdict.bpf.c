// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/*
 * A program that answers each test frame with the verdict that the frame asks
 * for, so that every outcome of XDP can be produced a known number of times.
 *
 * A test frame is an Ethernet frame of type 0x88b5 (IEEE 802 local
 * experimental 1). The byte after the Ethernet header is the value to return:
 * an XDP action, or anything else for an invalid one. XDP_TX goes back with
 * the addresses swapped, XDP_REDIRECT through entry 0 of verdict_ports. All
 * other frames pass.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define VERDICT_ETHERTYPE	0x88b5

/* Where XDP_REDIRECT goes; an empty entry aborts the frame. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} verdict_ports SEC(".maps");

static __always_inline void swap_addresses(struct ethhdr *eth)
{
	__u8 addr[ETH_ALEN];

	__builtin_memcpy(addr, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, addr, ETH_ALEN);
}

SEC("xdp")
int verdict(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	__u8 *wanted = (__u8 *)(eth + 1);

	if ((void *)(wanted + 1) > end)
		return XDP_PASS;
	if (eth->h_proto != bpf_htons(VERDICT_ETHERTYPE))
		return XDP_PASS;

	switch (*wanted) {
	case XDP_TX:
		swap_addresses(eth);
		return XDP_TX;
	case XDP_REDIRECT:
		return bpf_redirect_map(&verdict_ports, 0, XDP_ABORTED);
	default:
		return *wanted;
	}
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
