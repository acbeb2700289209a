// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* Programs that are attached, each in its way, and count that they ran. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct task_struct;

const volatile __u32 only_pid = 0;
__u64 seen_tp_btf, seen_raw_tp, seen_tracepoint, seen_kprobe, seen_fentry;
__u64 seen_multi, seen_return, seen_uprobe, seen_xdp, seen_cgroup;

static __always_inline int mine(void)
{
	return only_pid && bpf_get_current_pid_tgid() >> 32 == only_pid;
}

SEC("tp_btf/sys_enter")
int on_tp_btf(void *ctx)
{
	if (mine())
		seen_tp_btf++;
	return 0;
}

SEC("raw_tp/sys_enter")
int on_raw_tp(void *ctx)
{
	if (mine())
		seen_raw_tp++;
	return 0;
}

SEC("?tracepoint/syscalls/sys_enter_getpgid")
int on_tracepoint(void *ctx)
{
	if (mine())
		seen_tracepoint++;
	return 0;
}

SEC("?kprobe/do_getpgid")
int on_kprobe(void *ctx)
{
	if (mine())
		seen_kprobe++;
	return 0;
}

SEC("?kprobe.multi/do_getpg*d")
int on_kprobes(void *ctx)
{
	if (mine())
		seen_multi++;
	return 0;
}

SEC("?kretprobe.multi/do_getpgid")
int on_kretprobe(void *ctx)
{
	if (mine())
		seen_return++;
	return 0;
}

SEC("?uprobe.multi/libc.so.6:getp?id")
int on_uprobes(void *ctx)
{
	__sync_fetch_and_add(&seen_uprobe, 1);
	return 0;
}

SEC("?usdt/libc.so.6:libc:setjmp")
int on_usdt(void *ctx)
{
	return 0;
}

SEC("?fentry/do_getpgid")
int on_fentry(void *ctx)
{
	if (mine())
		seen_fentry++;
	return 0;
}

SEC("xdp")
int on_xdp(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&seen_xdp, 1);
	return XDP_PASS;
}

SEC("xdp")
int on_xdp_too(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&seen_xdp, 1000);
	return XDP_PASS;
}

SEC("cgroup_skb/egress")
int on_egress(struct __sk_buff *skb)
{
	__sync_fetch_and_add(&seen_cgroup, 1);
	return 1;
}

SEC("xdp/devmap")
int in_devmap(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("syscall")
int call(void *ctx)
{
	return 17;
}

char LICENSE[] SEC("license") = "GPL";
