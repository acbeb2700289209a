/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the attacks share. A system call is made without the C library, so that
 * a handler that jumps out of it leaves no errno behind, and its result is what
 * the kernel says: a negative errno on failure.
 */
#ifndef ATTACK_H
#define ATTACK_H

#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>

#include "xdpctl.h"

/* The fds that an attack starts with. */
enum {
	FD_MAP = 3,	/* a control map of type xdp_prog */
	FD_PASS,	/* XDP programs */
	FD_DROP,
	FD_EVIL,	/* an XDP program that is never asked for */
	FD_NETNS,	/* another network namespace, with the same ifindexes */
};

/**
 * struct args - what an attack is told
 * @rounds: how often
 * @dev: ifindex of a netdev for the attack alone
 * @other: another one
 * @missing: ifindex of no netdev
 */
struct args {
	long rounds;
	__u32 dev;
	__u32 other;
	__u32 missing;
};

void attack_compat(const struct args *a);
void attack_exits(const struct args *a);
void attack_fds(const struct args *a);
void attack_jump(const struct args *a);
void attack_nest(const struct args *a);
void attack_netns(const struct args *a);
void attack_trace(const struct args *a);
void attack_uring(const struct args *a);

void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* Ends the process unless @got is one of the results given, of which 1 is the end. */
void expect(const char *what, long got, ...);
__u32 rnd(__u32 below);
void pause_us(long us);
/* Starts a thread that no signal comes to. */
void start(void *(*fn)(void *), void *arg);
/* The duration of an update with nothing in its way, in microseconds. */
long update_us(const struct args *a);

static inline long call6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register long r9 asm("r9") = f;
	long ret;

	asm volatile("syscall"
		     : "=a"(ret)
		     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return ret;
}

#define call(nr, a, b, c) call6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)

/**
 * struct request - all that bpf(2) needs for one element
 * @cmd: BPF_MAP_*_ELEM
 * @attr: refers to @key and @value, so that this cannot be copied
 * @key: the key
 * @value: the value
 */
struct request {
	int cmd;
	union bpf_attr attr;
	struct xdpctl_prog_key key;
	struct xdpctl_prog value;
};

void request(struct request *r, int cmd, __u32 dev, int prog, __u64 flags);

static inline long submit(struct request *r)
{
	return call(SYS_bpf, r->cmd, &r->attr, sizeof(r->attr));
}

/* In native mode, so that nothing is tried twice. */
long update(__u32 dev, int prog, __u64 flags);
long delete(__u32 dev);
long lookup(__u32 dev, struct xdpctl_prog *v);
/* The id of the program on @dev, which is ours, or 0 if there is none. */
__u32 attached(__u32 dev);
__u32 prog_id(int fd);

#endif
