/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * kern_sys_bpf() is exported and declared in no header. From 6.2 on it is, as
 * are bpf_map_get() and bpf_link_get_from_fd(), in the namespace BPF_INTERNAL,
 * whose name is a string from 6.13 on.
 */
#ifndef XDPCTL_BPF_INTERNAL_H
#define XDPCTL_BPF_INTERNAL_H

#include <linux/module.h>

union bpf_attr;

int kern_sys_bpf(int cmd, union bpf_attr *attr, unsigned int size);

#ifdef XDPCTL_HAVE_BARE_IMPORT_NS
#define XDPCTL_IMPORT_BPF_INTERNAL	MODULE_IMPORT_NS(BPF_INTERNAL)
#else
#define XDPCTL_IMPORT_BPF_INTERNAL	MODULE_IMPORT_NS("BPF_INTERNAL")
#endif /* XDPCTL_HAVE_BARE_IMPORT_NS */

#endif /* XDPCTL_BPF_INTERNAL_H */
