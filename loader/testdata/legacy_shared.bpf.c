// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* One map for all programs of the object, and of no other object. */
#include "bpf_elf.h"

MAP shared = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u64),
	.max_elem = 3,
	.pinning = PIN_OBJECT_NS,
};

KV_PAIR(shared, __u32, __u64);

static __attribute__((always_inline)) int count(__u32 which)
{
	__u64 *n = bpf_map_lookup_elem(&shared, &which);

	if (n)
		__sync_fetch_and_add(n, 1);
	return 2;
}

ENTRY("classifier")
int in(struct __sk_buff *skb)
{
	return count(0);
}

ENTRY("egress")
int out(struct __sk_buff *skb)
{
	return count(1);
}

ENTRY("prog")
int xdp(struct xdp_md *ctx)
{
	return count(2);
}

char LICENSE[] ENTRY("license") = "GPL";
