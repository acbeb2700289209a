// SPDX-License-Identifier: BSD-3-Clause
/*
 * Signal handlers that jump out of an update, and signal handlers that update
 * themselves.
 *
 * Where a signal hits is known by the address that the handler would return to:
 * after_bpf is the end of the one system call that is attacked. The result that
 * the call would return is in the frame, too.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "attack.h"

extern const char after_bpf[];

__attribute__((noinline, noclone)) static long attacked(struct request *r)
{
	long ret;

	asm volatile("syscall\n"
		     ".globl after_bpf\n"
		     "after_bpf:"
		     : "=a"(ret)
		     : "a"(SYS_bpf), "D"((long)r->cmd), "S"(&r->attr), "d"(sizeof(r->attr))
		     : "rcx", "r11", "memory");
	return ret;
}

static void catch(void (*fn)(int, siginfo_t *, void *), int flags)
{
	struct sigaction sa = { .sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags };

	sigaction(SIGALRM, &sa, NULL);
}

static void arm(long us)
{
	struct itimerval it = { .it_value = { us / 1000000, us % 1000000 } };

	call(SYS_setitimer, ITIMER_REAL, &it, NULL);
}

static bool is_after_bpf(const ucontext_t *uc)
{
	return uc->uc_mcontext.gregs[REG_RIP] == (greg_t)after_bpf;
}

/* What is attached to the netdev under attack: a program id, or 0. */
static __u32 has;

/* The changes. @want is the result, @then what is attached after. */
struct change {
	const char *what;
	struct request req;
	long want;
	__u32 then;
};

static void change(struct change *c, const struct args *a, int i)
{
	static __u32 pass, drop;

	if (!pass) {
		pass = prog_id(FD_PASS);
		drop = prog_id(FD_DROP);
	}
	c->want = 0;
	switch (i) {
	case 0:
		c->what = "replace or add pass";
		c->then = pass;
		request(&c->req, BPF_MAP_UPDATE_ELEM, a->dev, FD_PASS, BPF_ANY);
		break;
	case 1:
		c->what = "replace or add drop";
		c->then = drop;
		request(&c->req, BPF_MAP_UPDATE_ELEM, a->dev, FD_DROP, BPF_ANY);
		break;
	case 2:
		c->what = "add";
		c->want = has ? -EEXIST : 0;
		c->then = has ? has : pass;
		request(&c->req, BPF_MAP_UPDATE_ELEM, a->dev, FD_PASS, BPF_NOEXIST);
		break;
	case 3:
		c->what = "replace";
		c->want = has ? 0 : -ENOENT;
		c->then = has ? drop : 0;
		request(&c->req, BPF_MAP_UPDATE_ELEM, a->dev, FD_DROP, BPF_EXIST);
		break;
	case 4:
		c->what = "delete";
		c->want = has ? 0 : -ENOENT;
		c->then = 0;
		request(&c->req, BPF_MAP_DELETE_ELEM, a->dev, 0, 0);
		break;
	default:
		c->what = "update of no netdev";
		c->want = -ENODEV;
		c->then = has;
		request(&c->req, BPF_MAP_UPDATE_ELEM, a->missing, FD_PASS, BPF_ANY);
		break;
	}
}

/* The first call after the jump, which must have its own result. */
static void later(const struct args *a, int i)
{
	static pid_t parent;
	struct xdpctl_prog v;

	if (!parent)
		parent = getppid();
	switch (i) {
	case 0:
		expect("later lookup", lookup(a->missing, &v), (long)-ENOENT, 1L);
		break;
	case 1:
		expect("later update with a bad fd", update(a->dev, 9999, BPF_ANY), (long)-EBADF, 1L);
		break;
	case 2:
		expect("later delete", delete(a->missing), (long)-ENOENT, 1L);
		break;
	case 3:
		expect("later getppid", call(SYS_getppid, 0, 0, 0), (long)parent, 1L);
		break;
	default:
		expect("later update with no command", call(SYS_bpf, 9999, NULL, 0), (long)-EINVAL, 1L);
		break;
	}
}

/* Keeps RTNL and the lock of programs busy, and knows its own results. */
static void *contend(void *arg)
{
	const struct args *a = arg;

	for (;;) {
		expect("add of another thread", update(a->other, FD_PASS, BPF_NOEXIST), 0L, 1L);
		expect("replace of another thread", update(a->other, FD_DROP, BPF_EXIST), 0L, 1L);
		expect("delete of another thread", delete(a->other), 0L, 1L);
		pause_us(rnd(2000));
	}
	return NULL;
}

static sigjmp_buf out;
static volatile sig_atomic_t armed;
static volatile bool hit;	/* the end of the system call */
static volatile long result;	/* of that call */

static void on_jump(int sig, siginfo_t *si, void *ctx)
{
	const ucontext_t *uc = ctx;

	(void)sig;
	(void)si;
	if (!armed)
		return;
	armed = 0;
	hit = is_after_bpf(uc);
	result = uc->uc_mcontext.gregs[REG_RAX];
	siglongjmp(out, 1);
}

/* Makes one change, or jumps out of it. Returns whether it jumped. */
static bool try(struct change *c, long us)
{
	hit = false;
	if (sigsetjmp(out, 1))
		return true;
	armed = 1;
	arm(us);
	result = attacked(&c->req);
	armed = 0;
	hit = true;
	return false;
}

void attack_jump(const struct args *a)
{
	long us = update_us(a), tries = 0, jumps = 0, before = 0;
	static struct change c;
	bool jumped;
	__u32 now;

	catch(on_jump, 0);
	start(contend, (void *)a);
	has = attached(a->dev);
	for (; jumps < a->rounds; tries++) {
		if (tries > 100 * a->rounds + 1000)
			die("only %ld of %ld tries jumped out of an update", jumps, tries);
		change(&c, a, tries % 7 % 6);
		jumped = try(&c, 1 + rnd(us));
		later(a, rnd(5));
		arm(0);
		if (hit)
			expect(c.what, result, c.want, 1L);
		now = attached(a->dev);
		if (now != c.then && (hit || now != has))
			die("%s, jumped %d, hit %d: program %u is attached, was %u, want %u",
			    c.what, jumped, hit, now, has, c.then);
		jumps += jumped && hit;
		before += jumped && !hit;
		has = now;
	}
	printf("%ld tries, %ld jumped out of the call, %ld beside it, %ld us each\n", tries, jumps, before, us);
}

/* A handler that updates. */

static const struct args *nest_args;
static volatile long nested, hits;
static volatile int depth;
static long nest_us;
static __u32 nest_id[2];

static void on_nest(int sig, siginfo_t *si, void *ctx)
{
	struct xdpctl_prog v;
	int i = nested % 2;

	(void)sig;
	(void)si;
	hits += is_after_bpf(ctx);
	depth++;
	if (depth > 1) {	/* in the midst of the update below, or beside it */
		expect("lookup in a handler of a handler", lookup(nest_args->missing, &v), (long)-ENOENT, 1L);
		depth--;
		return;
	}
	arm(1 + rnd(nest_us));
	expect("update in a handler", update(nest_args->other, i ? FD_DROP : FD_PASS, BPF_ANY), 0L, 1L);
	if (attached(nest_args->other) != nest_id[i])
		die("an update in a handler has attached program %u, want %u",
		    attached(nest_args->other), nest_id[i]);
	if (nested % 5 == 4)
		expect("delete in a handler", delete(nest_args->other), 0L, 1L);
	nested++;
	depth--;
}

void attack_nest(const struct args *a)
{
	static struct change c;
	long tries = 0;

	nest_args = a;
	nest_us = update_us(a);
	nest_id[0] = prog_id(FD_PASS);
	nest_id[1] = prog_id(FD_DROP);
	has = attached(a->dev);
	catch(on_nest, SA_NODEFER);
	for (; hits < a->rounds; tries++) {
		if (tries > 100 * a->rounds + 1000)
			die("only %ld of %ld updates were hit", hits, tries);
		change(&c, a, tries % 7 % 6);
		arm(1 + rnd(nest_us));
		expect(c.what, attacked(&c.req), c.want, 1L);
		if (attached(a->dev) != c.then)
			die("%s: program %u is attached, want %u", c.what, attached(a->dev), c.then);
		has = c.then;
	}
	arm(0);
	printf("%ld updates, %ld hit, %ld updates in handlers\n", tries, hits, nested);
}
