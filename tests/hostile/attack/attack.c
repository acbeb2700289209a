// SPDX-License-Identifier: BSD-3-Clause
/* Runs one of the attacks: attack NAME ROUNDS DEV OTHER MISSING */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "attack.h"

void die(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	va_start(ap, fmt);
	vdprintf(STDERR_FILENO, fmt, ap);
	va_end(ap);
	dprintf(STDERR_FILENO, "\n");
	_exit(1);
}

void expect(const char *what, long got, ...)
{
	va_list ap;
	long want;

	va_start(ap, got);
	for (want = va_arg(ap, long); want != 1; want = va_arg(ap, long)) {
		if (got == want) {
			va_end(ap);
			return;
		}
	}
	va_end(ap);
	die("%s: got %ld (%s)", what, got, got < 0 ? strerror(-got) : "success");
}

static __thread unsigned int seed;

__u32 rnd(__u32 below)
{
	struct timespec ts;

	if (!seed) {
		clock_gettime(CLOCK_MONOTONIC, &ts);
		seed = ts.tv_nsec | 1;
	}
	return rand_r(&seed) % below;
}

void pause_us(long us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&ts, NULL);
}

void start(void *(*fn)(void *), void *arg)
{
	sigset_t all, old;
	pthread_t t;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	if (pthread_create(&t, NULL, fn, arg))
		die("cannot create a thread");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_detach(t);
}

void request(struct request *r, int cmd, __u32 dev, int prog, __u64 flags)
{
	memset(r, 0, sizeof(*r));
	r->cmd = cmd;
	r->key.ifindex = dev;
	r->key.queue = XDPCTL_QUEUE_ALL;
	r->value.present = XDPCTL_PRESENT(XDPCTL_A_PROG_FD) |
			   XDPCTL_PRESENT(XDPCTL_A_PROG_MODE);
	r->value.fd = prog;
	r->value.mode = XDPCTL_MODE_NATIVE;
	r->attr.map_fd = FD_MAP;
	r->attr.key = (unsigned long)&r->key;
	if (cmd != BPF_MAP_DELETE_ELEM)
		r->attr.value = (unsigned long)&r->value;
	r->attr.flags = flags;
}

long update(__u32 dev, int prog, __u64 flags)
{
	struct request r;

	request(&r, BPF_MAP_UPDATE_ELEM, dev, prog, flags);
	return submit(&r);
}

long delete(__u32 dev)
{
	struct request r;

	request(&r, BPF_MAP_DELETE_ELEM, dev, 0, 0);
	return submit(&r);
}

long lookup(__u32 dev, struct xdpctl_prog *v)
{
	struct request r;
	long err;

	request(&r, BPF_MAP_LOOKUP_ELEM, dev, 0, 0);
	err = submit(&r);
	*v = r.value;
	return err;
}

__u32 attached(__u32 dev)
{
	struct xdpctl_prog v;
	long err = lookup(dev, &v);

	expect("lookup", err, 0L, (long)-ENOENT, 1L);
	if (err)
		return 0;
	if (v.owner != XDPCTL_OWNER_MODULE)
		die("netdev %u: program %u has owner %u", dev, v.prog_id, v.owner);
	return v.prog_id;
}

__u32 prog_id(int fd)
{
	struct bpf_prog_info info = {};
	union bpf_attr attr = {};

	attr.info.bpf_fd = fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (unsigned long)&info;
	expect("program info", call(SYS_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)), 0L, 1L);
	return info.id;
}

long update_us(const struct args *a)
{
	struct timespec from, to;
	int i;

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (i = 0; i < 16; i++)
		expect("update", update(a->dev, i % 2 ? FD_PASS : FD_DROP, BPF_ANY), 0L, 1L);
	clock_gettime(CLOCK_MONOTONIC, &to);
	return ((to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000) / 16 + 1;
}

static const struct {
	const char *name;
	void (*run)(const struct args *a);
} attacks[] = {
	{ "compat", attack_compat },
	{ "exits", attack_exits },
	{ "fds", attack_fds },
	{ "jump", attack_jump },
	{ "nest", attack_nest },
	{ "netns", attack_netns },
	{ "trace", attack_trace },
	{ "uring", attack_uring },
};

int main(int argc, char **argv)
{
	struct args a;
	size_t i;

	if (argc == 2 && !strcmp(argv[1], "nothing"))
		return 0;
	if (argc != 6)
		die("usage: attack NAME ROUNDS DEV OTHER MISSING");
	a = (struct args) { atol(argv[2]), atoi(argv[3]), atoi(argv[4]), atoi(argv[5]) };
	for (i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		if (strcmp(argv[1], attacks[i].name))
			continue;
		attacks[i].run(&a);
		fflush(stdout);
		_exit(0);
	}
	die("there is no attack %s", argv[1]);
}
