// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/*
 * A dispatcher as libxdp has them, so that libxdp reads it as its own: it calls
 * up to ten programs one after the other, each of which takes the place of a
 * function here (freplace). What it is told is in read-only data, where the
 * kernel finds it before it verifies the program. This is version 2 of the
 * protocol.
 */
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

/* Volatile, or the compiler takes it for zeroes. */
const volatile struct xdp_dispatcher_config conf = {};

#define PLACE(name)						\
	__attribute__((noinline)) int name(struct xdp_md *ctx)	\
	{							\
		volatile int verdict = NOT_REPLACED;		\
								\
		return ctx ? verdict : XDP_ABORTED;		\
	}

PLACE(prog0)
PLACE(prog1)
PLACE(prog2)
PLACE(prog3)
PLACE(prog4)
PLACE(prog5)
PLACE(prog6)
PLACE(prog7)
PLACE(prog8)
PLACE(prog9)

/* libxdp tries with it what the kernel can do. */
PLACE(compat_test)

#define CALL(n)								\
	do {								\
		if (enabled <= (n))					\
			return XDP_PASS;				\
		verdict = prog##n(ctx);					\
		if (!(1U << (verdict & 31) & conf.chain_call_actions[n])) \
			return verdict;					\
	} while (0)

SEC("xdp")
int xdp_dispatcher(struct xdp_md *ctx)
{
	__u8 enabled = conf.num_progs_enabled;
	int verdict;

	CALL(0);
	CALL(1);
	CALL(2);
	CALL(3);
	CALL(4);
	CALL(5);
	CALL(6);
	CALL(7);
	CALL(8);
	CALL(9);
	if (enabled > MAX_PROGS)
		compat_test(ctx);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";

/* Where versions of libxdp look that do not know the magic. */
__uint(dispatcher_version, VERSION) SEC("xdp_metadata");
