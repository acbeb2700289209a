// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* An object without BTF: variables are bytes. */
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))

unsigned long long count;
const volatile unsigned int by = 3;

SEC("xdp")
int add(struct xdp_md *ctx)
{
	count += by;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
