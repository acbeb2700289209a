// SPDX-License-Identifier: BSD-3-Clause
/*
 * A tracer sees the true result of an update when the system call ends, and may
 * turn other calls into updates and updates into other calls. A seccomp filter
 * that refuses bpf(2) leaves nothing done.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attack.h"

/*
 * What the tracee does: one call by @nr, which the tracer turns into @real at
 * its start. Zero leaves it.
 */
struct play {
	const char *what;
	long nr;
	long real;
	struct request req;
	long want;
};

static void __attribute__((noreturn)) tracee(struct play *p, long n)
{
	long i, got;

	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	for (i = 0; i < n; i++) {
		got = call(p[i].nr, p[i].req.cmd, &p[i].req.attr, sizeof(p[i].req.attr));
		expect(p[i].what, got, p[i].want, 1L);
	}
	_exit(0);
}

/* Runs to the next stop at a system call of the tracee. */
static void next_stop(pid_t pid, struct user_regs_struct *regs)
{
	int status;

	if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL))
		die("cannot go on with the tracee: %m");
	waitpid(pid, &status, 0);
	if (!WIFSTOPPED(status) || WSTOPSIG(status) != (SIGTRAP | 0x80))
		die("the tracee came to %#x", status);
	if (ptrace(PTRACE_GETREGS, pid, NULL, regs))
		die("cannot get registers: %m");
}

static void trace(struct play *p, long n)
{
	struct user_regs_struct regs;
	int status;
	pid_t pid;
	long i;

	pid = fork();
	if (!pid)
		tracee(p, n);
	waitpid(pid, &status, 0);
	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	for (i = 0; i < n; i++) {
		do {	/* those that are none of the play end as they will */
			next_stop(pid, &regs);
			if ((long)regs.orig_rax == p[i].nr)
				break;
			next_stop(pid, &regs);
		} while (1);
		if (p[i].real) {
			regs.orig_rax = p[i].real;
			ptrace(PTRACE_SETREGS, pid, NULL, &regs);
		}
		next_stop(pid, &regs);
		if ((long)regs.rax != p[i].want)
			die("%s: the tracer sees %ld, want %ld", p[i].what, (long)regs.rax, p[i].want);
	}
	ptrace(PTRACE_CONT, pid, NULL, NULL);
	waitpid(pid, &status, 0);
	if (status)
		die("the tracee ended with %#x", status);
}

static void filtered(const struct args *a)
{
	struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(insns) / sizeof(insns[0]), insns };
	int status;
	pid_t pid;

	if (prctl(PR_GET_SECCOMP) < 0) {
		printf("seccomp: none\n");
		return;
	}
	pid = fork();
	if (!pid) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
			die("cannot set a filter: %m");
		expect("filtered update", update(a->dev, FD_DROP, BPF_ANY), (long)-EDOM, 1L);
		expect("filtered delete", delete(a->dev), (long)-EDOM, 1L);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status)
		die("the filtered child ended with %#x", status);
	printf("seccomp: refused\n");
}

void attack_trace(const struct args *a)
{
	__u32 pass = prog_id(FD_PASS), drop = prog_id(FD_DROP);
	static struct play p[7];

	expect("update", update(a->dev, FD_PASS, BPF_ANY), 0L, 1L);
	filtered(a);
	if (attached(a->dev) != pass)
		die("what was filtered was done");

	p[0] = (struct play) { "traced replace", SYS_bpf, 0, .want = 0 };
	request(&p[0].req, BPF_MAP_UPDATE_ELEM, a->dev, FD_DROP, BPF_EXIST);
	p[1] = (struct play) { "traced add", SYS_bpf, 0, .want = -EEXIST };
	request(&p[1].req, BPF_MAP_UPDATE_ELEM, a->dev, FD_DROP, BPF_NOEXIST);
	p[2] = (struct play) { "getppid that becomes an add", SYS_getppid, SYS_bpf, .want = 0 };
	request(&p[2].req, BPF_MAP_UPDATE_ELEM, a->other, FD_DROP, BPF_NOEXIST);
	p[3] = (struct play) { "delete that becomes getppid", SYS_bpf, SYS_getppid, .want = getpid() };
	request(&p[3].req, BPF_MAP_DELETE_ELEM, a->other, 0, 0);
	p[4] = (struct play) { "update that becomes nothing", SYS_bpf, -1, .want = -ENOSYS };
	request(&p[4].req, BPF_MAP_UPDATE_ELEM, a->other, FD_PASS, BPF_ANY);
	p[5] = (struct play) { "traced update of no netdev", SYS_bpf, 0, .want = -ENODEV };
	request(&p[5].req, BPF_MAP_UPDATE_ELEM, a->missing, FD_PASS, BPF_ANY);
	p[6] = (struct play) { "traced delete of nothing", SYS_bpf, 0, .want = -ENOENT };
	request(&p[6].req, BPF_MAP_DELETE_ELEM, a->missing, 0, 0);
	trace(p, 7);
	if (attached(a->dev) != drop || attached(a->other) != drop)
		die("programs %u and %u are attached, want %u", attached(a->dev), attached(a->other), drop);
	printf("the tracer sees what the tracee sees\n");
}
