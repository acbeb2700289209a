// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* A program without a license that calls what takes one. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int print(struct xdp_md *ctx)
{
	bpf_printk("seen");
	return XDP_PASS;
}
