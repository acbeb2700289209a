// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* A tail call that calls itself, until the kernel has enough of it. */
#include "bpf_elf.h"

#define LOOP	0xabccba

MAP loop = {
	.type = BPF_MAP_TYPE_PROG_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 1,
	.id = LOOP,
	.pinning = PIN_OBJECT_NS,
};

MAP rounds = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 1,
	.pinning = PIN_OBJECT_NS,
};

TAIL(LOOP, 0)
int again(struct xdp_md *ctx)
{
	__u32 zero = 0, *n = bpf_map_lookup_elem(&rounds, &zero);

	if (n)
		__sync_fetch_and_add(n, 1);
	bpf_tail_call(ctx, &loop, 0);
	return XDP_DROP;
}

ENTRY("prog")
int entry(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &loop, 0);
	return XDP_ABORTED;
}

char LICENSE[] ENTRY("license") = "GPL";
