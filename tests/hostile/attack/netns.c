// SPDX-License-Identifier: BSD-3-Clause
/* Threads that change their namespaces, and others that do not, share a map. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"

static atomic_bool done;
static atomic_long stayed;

/* Stays where the map is, and is never disturbed. */
static void *stay(void *arg)
{
	const struct args *a = arg;
	__u32 id[2] = { prog_id(FD_PASS), prog_id(FD_DROP) };

	for (; !done; stayed++) {
		int i = stayed % 2;

		expect("update of who stays", update(a->dev, i ? FD_DROP : FD_PASS, BPF_ANY), 0L, 1L);
		if (attached(a->dev) != id[i])
			die("who stays has attached program %u, want %u", attached(a->dev), id[i]);
	}
	return NULL;
}

/* Alone in its process, as it must be to make a user namespace. */
static void in_user_namespace(const struct args *a, int flags, long want)
{
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		if (unshare(CLONE_NEWUSER | flags))
			die("cannot make a user namespace: %m");
		expect("update from a user namespace", update(a->other, FD_DROP, BPF_ANY), want, 1L);
		expect("delete from a user namespace", delete(a->other), want, 1L);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		die("the child in a user namespace ended with %#x", status);
}

static void refused(const struct args *a, const char *where, __u32 want)
{
	struct xdpctl_prog v;

	expect(where, update(a->other, FD_DROP, BPF_ANY), (long)-EXDEV, 1L);
	expect(where, update(a->dev, FD_DROP, BPF_NOEXIST), (long)-EXDEV, 1L);
	expect(where, delete(a->other), (long)-EXDEV, 1L);
	/* a map reads the namespace that it belongs to, from everywhere */
	expect(where, lookup(a->other, &v), 0L, 1L);
	if (v.prog_id != want)
		die("%s: the map says program %u, want %u", where, v.prog_id, want);
}

void attack_netns(const struct args *a)
{
	int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	__u32 id[2] = { prog_id(FD_PASS), prog_id(FD_DROP) };
	long n;

	if (home < 0)
		die("cannot open the network namespace");
	expect("update before all", update(a->other, FD_PASS, BPF_ANY), 0L, 1L);
	in_user_namespace(a, 0, -EPERM);
	in_user_namespace(a, CLONE_NEWNET, -EXDEV);

	start(stay, (void *)a);
	for (n = 0; n < a->rounds; n++) {
		int i = n % 2;

		expect("update at home", update(a->other, i ? FD_DROP : FD_PASS, BPF_ANY), 0L, 1L);
		if (n % 8 == 7) {
			if (unshare(CLONE_NEWNET | CLONE_FILES | CLONE_FS))
				die("cannot unshare: %m");
			refused(a, "in a new namespace", id[i]);
		} else {
			if (setns(FD_NETNS, CLONE_NEWNET))
				die("cannot enter the other namespace: %m");
			refused(a, "in the other namespace", id[i]);
		}
		if (setns(home, CLONE_NEWNET))
			die("cannot go home: %m");
	}
	done = 1;
	printf("%ld moves, %ld updates beside them\n", n, (long)stayed);
}
