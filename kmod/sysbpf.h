/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_SYSBPF_H
#define XDPCTL_SYSBPF_H

#include <linux/bpf.h>
#include <linux/file.h>

#include "bpf_internal.h"

int xdpctl_sysbpf_init(void);
void xdpctl_sysbpf_exit(void);

int xdpctl_in_worker(int (*fn)(void *arg), void *arg);

int xdpctl_fd_install(struct file *file);
struct file *xdpctl_fd_take(int fd);
struct file *xdpctl_prog_load(union bpf_attr *attr);
struct file *xdpctl_map_create(union bpf_attr *attr);
struct file *xdpctl_map_create_frozen(union bpf_attr *attr);

/* The program, or the map, that is open in @file. */
static inline struct bpf_prog *xdpctl_file_prog(const struct file *file)
{
	return file->private_data;
}

static inline struct bpf_map *xdpctl_file_map(const struct file *file)
{
	return file->private_data;
}

#endif /* XDPCTL_SYSBPF_H */
