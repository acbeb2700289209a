// SPDX-License-Identifier: BSD-3-Clause
/*
 * bpf(2) by the other ways into the kernel: int $0x80, which is the 32-bit call
 * whatever the program is, and the x32 number.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"

#define NR_GETPID_32	20
#define NR_BPF_32	357
#define X32_BIT		0x40000000

static long call32(long nr, long a, long b, long c)
{
	long ret;

	asm volatile("int $0x80"
		     : "=a"(ret)
		     : "a"(nr), "b"(a), "c"(b), "d"(c)
		     : "r8", "r9", "r10", "r11", "memory");
	return (int)ret;
}

/* Without 32-bit calls, int $0x80 is not for user mode. */
static bool have_32(void)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid)
		_exit(call32(NR_GETPID_32, 0, 0, 0) == getpid() ? 0 : 1);
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV)
		return false;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		die("the 32-bit getpid ended with %#x", status);
	return true;
}

/* @r is below 4 GiB. */
static long bpf32(struct request *r, int cmd, __u32 dev, int prog, __u64 flags)
{
	request(r, cmd, dev, prog, flags);
	return call32(NR_BPF_32, cmd, (long)&r->attr, sizeof(r->attr));
}

static void by_int80(const struct args *a, struct request *r)
{
	__u32 pass = prog_id(FD_PASS), seen = 0;
	long i, err;

	expect("32-bit replace", bpf32(r, BPF_MAP_UPDATE_ELEM, a->dev, FD_DROP, BPF_ANY), (long)-EOPNOTSUPP, 1L);
	expect("32-bit add", bpf32(r, BPF_MAP_UPDATE_ELEM, a->other, FD_DROP, BPF_NOEXIST), (long)-EOPNOTSUPP, 1L);
	expect("32-bit update of no netdev", bpf32(r, BPF_MAP_UPDATE_ELEM, a->missing, FD_DROP, BPF_ANY),
	       (long)-EOPNOTSUPP, 1L);
	expect("32-bit delete", bpf32(r, BPF_MAP_DELETE_ELEM, a->dev, 0, 0), (long)-EOPNOTSUPP, 1L);
	expect("32-bit delete of nothing", bpf32(r, BPF_MAP_DELETE_ELEM, a->missing, 0, 0), (long)-EOPNOTSUPP, 1L);
	/* flags that the core refuses before the map is asked */
	expect("32-bit update with unknown flags", bpf32(r, BPF_MAP_UPDATE_ELEM, a->dev, FD_DROP, 1 << 20),
	       (long)-EINVAL, 1L);

	/* EBUSY is for a lookup that would have to wait for RTNL. */
	for (i = 0; i < 1000; i++) {
		err = bpf32(r, BPF_MAP_LOOKUP_ELEM, a->dev, 0, 0);
		if (err != -EBUSY)
			break;
		pause_us(1000);
	}
	expect("32-bit lookup", err, 0L, 1L);
	if (r->value.prog_id != pass || r->value.owner != XDPCTL_OWNER_MODULE)
		die("32-bit lookup: got program %u of owner %u", r->value.prog_id, r->value.owner);
	expect("32-bit lookup of no netdev", bpf32(r, BPF_MAP_LOOKUP_ELEM, a->missing, 0, 0),
	       (long)-ENOENT, (long)-EBUSY, 1L);

	request(r, BPF_MAP_GET_NEXT_KEY, 0, 0, 0);
	r->attr.key = 0;
	r->attr.value = (unsigned long)&r->key;
	while (!(err = call32(NR_BPF_32, BPF_MAP_GET_NEXT_KEY, (long)&r->attr, sizeof(r->attr)))) {
		seen += r->key.ifindex == a->dev;
		r->attr.key = (unsigned long)&r->key;
	}
	expect("32-bit iteration", err, (long)-ENOENT, 1L);
	if (seen != 1)
		die("32-bit iteration has seen the netdev %u times", seen);
}

void attack_compat(const struct args *a)
{
	struct request *r;
	long err;

	r = mmap(NULL, sizeof(*r), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (r == MAP_FAILED)
		die("cannot map memory below 4 GiB");
	if (have_32()) {
		by_int80(a, r);
		printf("int80: refused\n");
	} else {
		printf("int80: none\n");
	}

	request(r, BPF_MAP_UPDATE_ELEM, a->dev, FD_DROP, BPF_ANY);
	err = call(SYS_bpf | X32_BIT, r->cmd, &r->attr, sizeof(r->attr));
	expect("x32 update", err, (long)-ENOSYS, (long)-EOPNOTSUPP, 1L);
	request(r, BPF_MAP_DELETE_ELEM, a->dev, 0, 0);
	expect("x32 delete", call(SYS_bpf | X32_BIT, r->cmd, &r->attr, sizeof(r->attr)), err, 1L);
	printf("x32: %s\n", err == -ENOSYS ? "none" : "refused");
	/* what goes beyond the 32 bits of a number or a command is cut off */
	request(r, BPF_MAP_UPDATE_ELEM, a->dev, FD_PASS, BPF_EXIST);
	expect("update, command of 64 bits", call(SYS_bpf, r->cmd | 0xdeadL << 32, &r->attr, sizeof(r->attr)), 0L, 1L);
	expect("update, number of 64 bits", call(SYS_bpf | 0xdeadL << 32, r->cmd, &r->attr, sizeof(r->attr)),
	       0L, (long)-ENOSYS, 1L);
}
