// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* Programs for a dispatcher, with and without a place of their own. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int drop(struct xdp_md *ctx)
{
	return XDP_DROP;
}

SEC("xdp.frags")
int send_back(struct xdp_md *ctx)
{
	return XDP_TX;
}

/* Only in the place of what moves the bounds of a frame too. */
SEC("xdp")
int shorten(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_tail(ctx, -1) ? XDP_ABORTED : XDP_PASS;
}

/* What XDP_RUN_CONFIG of libxdp makes. */
struct {
	__uint(priority, 7);
	__uint(XDP_DROP, 1);
	__uint(XDP_TX, 1);
	__uint(XDP_PASS, 0);
} _send_back SEC(".xdp_run_config");

char LICENSE[] SEC("license") = "GPL";
