// SPDX-License-Identifier: BSD-3-Clause
/* Processes that end, or become another program, in the midst of updates. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"

static void *updater(void *arg)
{
	const struct args *a = arg;
	long i;

	/* of several threads on one netdev, so only its kind is known */
	for (i = rnd(3);; i++) {
		if (i % 3 == 2)
			expect("delete", delete(a->dev), 0L, (long)-ENOENT, (long)-EBUSY, 1L);
		else
			expect("update", update(a->dev, i % 3 ? FD_DROP : FD_PASS, BPF_ANY),
			       0L, (long)-EBUSY, 1L);
	}
	return NULL;
}

static void become_another(void)
{
	execl("/proc/self/exe", "attack", "nothing", NULL);
	die("cannot execute");
}

static void *executor(void *arg)
{
	const struct args *a = arg;

	pause_us(rnd(3000));
	update(a->dev, FD_PASS, BPF_ANY);
	become_another();
	return NULL;
}

static void *leaver(void *arg)
{
	const struct args *a = arg;

	pause_us(rnd(3000));
	update(a->dev, FD_PASS, BPF_ANY);
	call(SYS_exit_group, 0, 0, 0);
	return NULL;
}

static int sharer(void *arg)
{
	updater(arg);
	return 0;
}

/* Another process on the same memory and fds; it dies with this one's death. */
static pid_t share(const struct args *a)
{
	size_t size = 64 << 10;
	char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	if (stack == MAP_FAILED)
		die("cannot map a stack");
	pid = clone(sharer, stack + size, CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD, (void *)a);
	if (pid < 0)
		die("cannot create a process");
	return pid;
}

static void __attribute__((noreturn)) child(const struct args *a, int how)
{
	pid_t pid = 0;
	int i;

	for (i = 0; i < 2; i++)
		start(updater, (void *)a);
	switch (how) {
	case 0:		/* the main thread leaves the others behind */
		pause_us(rnd(4000));
		become_another();
		break;
	case 1:		/* and ends them */
		pause_us(rnd(4000));
		_exit(0);
	case 2:		/* another thread does, fresh from an update */
		start(executor, (void *)a);
		break;
	case 3:
		start(leaver, (void *)a);
		break;
	default:	/* the main thread ends, and somebody else has the fds */
		pid = share(a);
		pause_us(rnd(4000));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		start(leaver, (void *)a);
		call(SYS_exit, 0, 0, 0);
	}
	updater((void *)a);
	_exit(2);
}

void attack_exits(const struct args *a)
{
	__u32 pass = prog_id(FD_PASS), drop = prog_id(FD_DROP), id;
	long i, none = 0, one = 0;
	int status;
	pid_t pid;

	for (i = 0; i < a->rounds; i++) {
		pid = fork();
		if (!pid)
			child(a, i % 5);
		waitpid(pid, &status, 0);
		if (status)
			die("round %ld: the child ended with %#x", i, status);
		id = attached(a->dev);
		if (id && id != pass && id != drop)
			die("round %ld: program %u is attached", i, id);
		none += !id;
		one += !!id;
		/* nothing of the child's comes later */
		expect("update after the end", update(a->dev, FD_PASS, BPF_ANY), 0L, 1L);
		if (attached(a->dev) != pass)
			die("round %ld: something was late", i);
		if (i % 3 == 0)
			expect("delete after the end", delete(a->dev), 0L, 1L);
	}
	printf("%ld ends, after which %ld times nothing was attached, %ld times something\n", i, none, one);
}
