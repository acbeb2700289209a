// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* A counter in a map that is in two others. */
#include "bpf_elf.h"

#define INNER	5

MAP inner = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 1,
	.id = INNER,
	.inner_idx = 1,
	.pinning = PIN_GLOBAL_NS,
};

MAP by_index = {
	.type = BPF_MAP_TYPE_ARRAY_OF_MAPS,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 2,
	.inner_id = INNER,
	.pinning = PIN_GLOBAL_NS,
};

MAP by_key = {
	.type = BPF_MAP_TYPE_HASH_OF_MAPS,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 4,
	.inner_id = INNER,
};

static __attribute__((always_inline)) int count(void *outer)
{
	__u32 place = 1, zero = 0;
	void *map = bpf_map_lookup_elem(outer, &place);
	__u32 *n = map ? bpf_map_lookup_elem(map, &zero) : 0;

	if (!n)
		return 1;
	__sync_fetch_and_add(n, 1);
	return 2;
}

ENTRY("egress")
int out(struct __sk_buff *skb)
{
	return count(&by_index);
}

ENTRY("classifier")
int in(struct __sk_buff *skb)
{
	return count(&by_key);
}

char LICENSE[] ENTRY("license") = "GPL";
