// SPDX-License-Identifier: GPL-2.0-only
/*
 * bpf(2) from inside the kernel, for what the module needs of its own: BTF,
 * maps, programs.
 *
 * kern_sys_bpf() takes and returns fds of the current task. In the context of a
 * caller another of his threads could close or replace them at any time, a
 * pending signal makes the verifier give up, and his capabilities would be
 * asked for. So a kernel worker does it, whose table no thread of a user can
 * reach, and what comes out is a struct file.
 */
#include <linux/fdtable.h>
#include <linux/memcontrol.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/workqueue.h>

#include "sysbpf.h"

/*
 * Of its own, so that waiting for it under RTNL waits for nothing else: what
 * runs here takes no RTNL.
 */
static struct workqueue_struct *worker_wq;

struct worker_job {
	struct work_struct work;
	int (*fn)(void *arg);
	void *arg;
	struct mem_cgroup *memcg;
	int ret;
};

static void worker_work(struct work_struct *work)
{
	struct worker_job *job = container_of(work, struct worker_job, work);
	struct mem_cgroup *old;

	old = set_active_memcg(job->memcg);
	job->ret = job->fn(job->arg);
	set_active_memcg(old);
}

/**
 * xdpctl_in_worker() - call a function in a kernel worker
 * @fn: the function; takes no RTNL and leaves no fd behind
 * @arg: its argument
 *
 * What maps and programs take is charged to the memory cgroup of the caller.
 * Context: process context; sleeps. May be called under RTNL.
 * Return: what @fn returned.
 */
int xdpctl_in_worker(int (*fn)(void *arg), void *arg)
{
	struct worker_job job = {
		.fn = fn,
		.arg = arg,
		.memcg = get_mem_cgroup_from_mm(current->mm),
	};

	INIT_WORK_ONSTACK(&job.work, worker_work);
	queue_work(worker_wq, &job.work);
	flush_work(&job.work);
	destroy_work_on_stack(&job.work);
	mem_cgroup_put(job.memcg);
	return job.ret;
}

/**
 * xdpctl_fd_install() - make an fd for a file
 * @file: the file; it gets another reference
 *
 * Context: a worker; close_fd() it before it returns.
 * Return: the fd or an error.
 */
int xdpctl_fd_install(struct file *file)
{
	int fd = get_unused_fd_flags(O_CLOEXEC);

	if (fd >= 0)
		fd_install(fd, get_file(file));
	return fd;
}

/**
 * xdpctl_fd_take() - turn an fd into a file
 * @fd: the fd, which is closed, or an error
 *
 * Context: a worker.
 * Return: the file or an error.
 */
struct file *xdpctl_fd_take(int fd)
{
	struct file *file;

	if (fd < 0)
		return ERR_PTR(fd);
	file = fget(fd);
	close_fd(fd);
	return file ?: ERR_PTR(-EBADF);
}

/* Kernel threads share a table; a name of ours tells our fds from theirs. */
static void nonce(char *name, size_t size)
{
	snprintf(name, size, "xdpctl_%08x", get_random_u32());
}

/**
 * xdpctl_prog_load() - load a program
 * @attr: what BPF_PROG_LOAD takes, with pointers of the kernel; the name is
 *	kept if there is one
 *
 * Context: a worker.
 * Return: the file of the program or an error.
 */
struct file *xdpctl_prog_load(union bpf_attr *attr)
{
	struct bpf_prog *prog;
	struct file *file;
	int fd;

	if (!attr->prog_name[0])
		nonce(attr->prog_name, sizeof(attr->prog_name));
	attr->license = (u64)(unsigned long)"GPL";
	fd = kern_sys_bpf(BPF_PROG_LOAD, attr, sizeof(*attr));
	if (fd < 0)
		return ERR_PTR(fd);
	prog = bpf_prog_get_type_dev(fd, attr->prog_type, false);
	file = xdpctl_fd_take(fd);
	if (IS_ERR(prog)) {
		if (!IS_ERR(file))
			fput(file);
		return ERR_CAST(prog);
	}
	if (!IS_ERR(file) && (xdpctl_file_prog(file) != prog ||
			      strcmp(prog->aux->name, attr->prog_name))) {
		fput(file);
		file = ERR_PTR(-EAGAIN);
	}
	bpf_prog_put(prog);
	return file;
}

/**
 * xdpctl_map_create() - create a map
 * @attr: what BPF_MAP_CREATE takes; the name is kept if there is one
 *
 * Context: a worker.
 * Return: the file of the map or an error.
 */
struct file *xdpctl_map_create(union bpf_attr *attr)
{
	struct bpf_map *map;
	struct file *file;
	int fd;

	if (!attr->map_name[0])
		nonce(attr->map_name, sizeof(attr->map_name));
	fd = kern_sys_bpf(BPF_MAP_CREATE, attr, sizeof(*attr));
	if (fd < 0)
		return ERR_PTR(fd);
	map = bpf_map_get(fd);
	file = xdpctl_fd_take(fd);
	if (IS_ERR(map)) {
		if (!IS_ERR(file))
			fput(file);
		return ERR_CAST(map);
	}
	if (!IS_ERR(file) && (xdpctl_file_map(file) != map ||
			      strcmp(map->name, attr->map_name))) {
		fput(file);
		file = ERR_PTR(-EAGAIN);
	}
	bpf_map_put(map);
	return file;
}

static int freeze(struct file *map)
{
	union bpf_attr attr = {};
	int err, fd = xdpctl_fd_install(map);

	if (fd < 0)
		return fd;
	attr.map_fd = fd;
	err = kern_sys_bpf(BPF_MAP_FREEZE, &attr, sizeof(attr));
	close_fd(fd);
	return err;
}

/**
 * xdpctl_map_create_frozen() - create a map that nobody can write to by bpf(2)
 * @attr: as for xdpctl_map_create()
 *
 * Context: a worker.
 * Return: the file of the map or an error.
 */
struct file *xdpctl_map_create_frozen(union bpf_attr *attr)
{
	struct file *map = xdpctl_map_create(attr);
	int err;

	if (IS_ERR(map))
		return map;
	err = freeze(map);
	if (!err)
		return map;
	fput(map);
	return ERR_PTR(err);
}

/**
 * xdpctl_sysbpf_init() - start the worker
 *
 * Return: 0 or -ENOMEM.
 */
int __init xdpctl_sysbpf_init(void)
{
	worker_wq = alloc_workqueue("xdpctl_bpf", WQ_UNBOUND, 0);
	return worker_wq ? 0 : -ENOMEM;
}

/**
 * xdpctl_sysbpf_exit() - undo xdpctl_sysbpf_init()
 *
 * Context: process context; nobody waits for the worker.
 */
void xdpctl_sysbpf_exit(void)
{
	destroy_workqueue(worker_wq);
}

XDPCTL_IMPORT_BPF_INTERNAL;
