// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* What the kernel was configured with; what is weak may be missing. */
#include <stdbool.h>
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

extern int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern unsigned long CONFIG_HZ __kconfig __weak;
extern enum libbpf_tristate CONFIG_VETH __kconfig __weak;
extern char CONFIG_DEFAULT_HOSTNAME[16] __kconfig __weak;
extern __u32 CONFIG_NO_SUCH_NUMBER __kconfig __weak;
extern bool CONFIG_NO_SUCH_BOOL __kconfig __weak;

__u64 hz;
__u32 version, missing = 99;
bool has_bpf, missing_bool = true;
enum libbpf_tristate veth;
char first_letter;

SEC("xdp")
int read_config(struct xdp_md *ctx)
{
	version = LINUX_KERNEL_VERSION;
	has_bpf = CONFIG_BPF_SYSCALL;
	hz = CONFIG_HZ;
	veth = CONFIG_VETH;
	first_letter = CONFIG_DEFAULT_HOSTNAME[0];
	missing = CONFIG_NO_SUCH_NUMBER;
	missing_bool = CONFIG_NO_SUCH_BOOL;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
