/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_PROGS_H
#define XDPCTL_PROGS_H

#include <linux/types.h>

struct bpf_prog;
struct file;

struct file *xdpctl_placeholder_load(void);
struct file *xdpctl_dispatcher_load(struct file *array, u32 slot,
				    const struct bpf_prog *like);
struct file *xdpctl_prog_array_new(u32 n);
int xdpctl_prog_array_set(struct file *array, u32 slot, struct file *prog);

#endif /* XDPCTL_PROGS_H */
