// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* Programs in two program arrays, which the loader fills. */
#include "bpf_elf.h"

#define STEPS	0x2a
#define LAST	43

MAP steps = {
	.type = BPF_MAP_TYPE_PROG_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 2,
	.id = STEPS,
	.pinning = PIN_OBJECT_NS,
};

MAP last = {
	.type = BPF_MAP_TYPE_PROG_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 1,
	.id = LAST,
	.pinning = 4,
};

MAP visits = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 4,
	.pinning = PIN_OBJECT_NS,
};

static __attribute__((always_inline)) void visit(__u32 which)
{
	__u32 *n = bpf_map_lookup_elem(&visits, &which);

	if (n)
		__sync_fetch_and_add(n, 1);
}

TAIL(STEPS, 0)
int step0(struct xdp_md *ctx)
{
	visit(0);
	bpf_tail_call(ctx, &steps, 1);
	return XDP_ABORTED;
}

TAIL(STEPS, 1)
int step1(struct xdp_md *ctx)
{
	visit(1);
	bpf_tail_call(ctx, &last, 0);
	return XDP_ABORTED;
}

TAIL(LAST, 0)
int end(struct xdp_md *ctx)
{
	visit(2);
	return XDP_DROP;
}

ENTRY("prog")
int entry(struct xdp_md *ctx)
{
	visit(3);
	bpf_tail_call(ctx, &steps, 0);
	return XDP_ABORTED;
}

char LICENSE[] ENTRY("license") = "GPL";
