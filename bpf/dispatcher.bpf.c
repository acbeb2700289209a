// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/*
 * A dispatcher as libxdp has them, so that libxdp reads it as its own: it calls
 * up to ten programs one after the other, each of which takes the place of a
 * function here (freplace). What it is told is in read-only data, where the
 * kernel finds it before it verifies the program. This is version 2 of the
 * protocol; version 3 is the same but for more data after it, of which the
 * program knows nothing.
 */
#include <stdbool.h>
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define MAGIC		236
#define VERSION		2
#define MAX_PROGS	10

/* What a function returns that no program took the place of. */
#define NOT_REPLACED	31

struct xdp_dispatcher_config {
	__u8 magic;
	__u8 dispatcher_version;
	__u8 num_progs_enabled;
	__u8 is_xdp_frags;
	__u32 chain_call_actions[MAX_PROGS];
	__u32 run_prios[MAX_PROGS];
	__u32 program_flags[MAX_PROGS];
};

const struct xdp_dispatcher_config conf = {};

/*
 * The compiler must not know what comes out, which is another program's matter.
 * Kernels let programs that move the bounds of a frame take the place of such
 * functions alone; here they stay where they are.
 */
static __always_inline int not_replaced(struct xdp_md *ctx)
{
	int verdict = NOT_REPLACED;

	asm volatile("" : "+r"(verdict));
	if (!ctx)
		return XDP_ABORTED;
	bpf_xdp_adjust_tail(ctx, 0);
	return verdict;
}

__noinline int prog0(struct xdp_md *ctx)
{
	return not_replaced(ctx);
}

__noinline int prog1(struct xdp_md *ctx)
{
	return not_replaced(ctx);
}

__noinline int prog2(struct xdp_md *ctx)
{
	return not_replaced(ctx);
}

__noinline int prog3(struct xdp_md *ctx)
{
	return not_replaced(ctx);
}

__noinline int prog4(struct xdp_md *ctx)
{
	return not_replaced(ctx);
}

__noinline int prog5(struct xdp_md *ctx)
{
	return not_replaced(ctx);
}

__noinline int prog6(struct xdp_md *ctx)
{
	return not_replaced(ctx);
}

__noinline int prog7(struct xdp_md *ctx)
{
	return not_replaced(ctx);
}

__noinline int prog8(struct xdp_md *ctx)
{
	return not_replaced(ctx);
}

__noinline int prog9(struct xdp_md *ctx)
{
	return not_replaced(ctx);
}

/* libxdp tries with it what the kernel can do. */
__noinline int compat_test(struct xdp_md *ctx)
{
	return not_replaced(ctx);
}

static __always_inline bool ends_chain(const struct xdp_dispatcher_config *c,
				       int n, int verdict)
{
	return !(1U << (verdict & 31) & c->chain_call_actions[n]);
}

SEC("xdp")
int xdp_dispatcher(struct xdp_md *ctx)
{
	const struct xdp_dispatcher_config *c = &conf;
	int verdict;

	/* Or it takes the configuration for what it is here, zeroes. */
	asm volatile("" : "+r"(c));

	if (c->num_progs_enabled <= 0)
		return XDP_PASS;
	verdict = prog0(ctx);
	if (ends_chain(c, 0, verdict))
		return verdict;

	if (c->num_progs_enabled <= 1)
		return XDP_PASS;
	verdict = prog1(ctx);
	if (ends_chain(c, 1, verdict))
		return verdict;

	if (c->num_progs_enabled <= 2)
		return XDP_PASS;
	verdict = prog2(ctx);
	if (ends_chain(c, 2, verdict))
		return verdict;

	if (c->num_progs_enabled <= 3)
		return XDP_PASS;
	verdict = prog3(ctx);
	if (ends_chain(c, 3, verdict))
		return verdict;

	if (c->num_progs_enabled <= 4)
		return XDP_PASS;
	verdict = prog4(ctx);
	if (ends_chain(c, 4, verdict))
		return verdict;

	if (c->num_progs_enabled <= 5)
		return XDP_PASS;
	verdict = prog5(ctx);
	if (ends_chain(c, 5, verdict))
		return verdict;

	if (c->num_progs_enabled <= 6)
		return XDP_PASS;
	verdict = prog6(ctx);
	if (ends_chain(c, 6, verdict))
		return verdict;

	if (c->num_progs_enabled <= 7)
		return XDP_PASS;
	verdict = prog7(ctx);
	if (ends_chain(c, 7, verdict))
		return verdict;

	if (c->num_progs_enabled <= 8)
		return XDP_PASS;
	verdict = prog8(ctx);
	if (ends_chain(c, 8, verdict))
		return verdict;

	if (c->num_progs_enabled <= 9)
		return XDP_PASS;
	verdict = prog9(ctx);
	if (ends_chain(c, 9, verdict))
		return verdict;

	/* Something has to call it. */
	if (c->num_progs_enabled > MAX_PROGS)
		compat_test(ctx);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";

/* Where versions of libxdp look that do not know the magic. */
__uint(dispatcher_version, VERSION) SEC("xdp_metadata");
