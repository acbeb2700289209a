// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* An empty program array that live programs are grafted into. */
#include "bpf_elf.h"

MAP slots = {
	.type = BPF_MAP_TYPE_PROG_ARRAY,
	.size_key = sizeof(__u32),
	.size_value = sizeof(__u32),
	.max_elem = 2,
	.pinning = PIN_GLOBAL_NS,
};

ENTRY("first")
int put_first(struct __sk_buff *skb)
{
	return 11;
}

ENTRY("7/1")
int put_second(struct __sk_buff *skb)
{
	return 12;
}

ENTRY("classifier")
int entry(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &slots, 0);
	return 10;
}

char LICENSE[] ENTRY("license") = "GPL";
