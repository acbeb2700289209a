// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* The definition of a map as its first versions were, 20 bytes. */
#define ELF_MAP_SIZE 20
#include "bpf_elf.h"

MAP small = {
	.type = BPF_MAP_TYPE_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 2,
};

MAP large = {
	.type = BPF_MAP_TYPE_HASH,
	.size_key = sizeof(__u64),
	.size_value = sizeof(__u64),
	.max_elem = 7,
};

ENTRY("xdp")
int entry(struct xdp_md *ctx)
{
	__u32 one = 1, *n = bpf_map_lookup_elem(&small, &one);
	__u64 key = 9, *m = bpf_map_lookup_elem(&large, &key);

	return n && !m ? XDP_DROP : XDP_ABORTED;
}

char LICENSE[] ENTRY("license") = "GPL";
