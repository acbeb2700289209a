// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/*
 * Tells of the XDP exceptions in a network namespace, where there is no module to
 * do it, as kmod/exception.c does.
 *
 * Exceptions are counted by netdev and kind. The first wakes whoever listens,
 * and until he is about to look at the counter, the others see that he is awake.
 * So a flood costs no more per packet than a single one.
 */
#include "xdpctl_exception.h"

#define MONITOR_ENTRIES	16384

/* The cookie of the network namespace; it is put in before this is loaded. */
__u64 monitor_netns;

struct monitor_key {
	__u32 ifindex;
	__u32 kind;		/* enum xdpctl_exc_kind */
};

/**
 * struct monitor_count - exceptions of a kind
 * @count: how many there were
 * @prog_id: program of the last
 * @action: its action
 */
struct monitor_count {
	__u64 count;
	__u32 prog_id;
	__u32 action;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MONITOR_ENTRIES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct monitor_key);
	__type(value, struct monitor_count);
} monitor_counts SEC(".maps");

/* Those that somebody was woken for. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MONITOR_ENTRIES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct monitor_key);
	__type(value, __u32);
} monitor_awake SEC(".maps");

/* The keys of those. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 19);
} monitor_ring SEC(".maps");

/* How many were not counted, for want of memory or room. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} monitor_lost SEC(".maps");

static __noinline int monitor_lose(void)
{
	__u32 first = 0;
	__u64 *lost = bpf_map_lookup_elem(&monitor_lost, &first);

	if (lost)
		__sync_fetch_and_add(lost, 1);
	return 0;
}

SEC("tp_btf/xdp_exception")
int BPF_PROG(monitor, const struct net_device *dev, const struct bpf_prog *prog,
	     __u32 act)
{
	struct monitor_key key = { .ifindex = dev->ifindex };
	struct monitor_count *count, zero = {};
	__u32 awake = 1;
	__u64 before;

	if (dev->nd_net.net->net_cookie != monitor_netns)
		return 0;
	key.kind = xdpctl_exc_kind(xdpctl_exc_origin(dev, prog), act);
	count = bpf_map_lookup_elem(&monitor_counts, &key);
	if (!count) {
		bpf_map_update_elem(&monitor_counts, &key, &zero, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&monitor_counts, &key);
		if (!count)
			return monitor_lose();
	}
	count->prog_id = prog->aux->id;
	count->action = act;
	/*
	 * In this order: who listens takes the key out of monitor_awake before
	 * he reads the counter. An addition that returns something is a full
	 * barrier.
	 */
	before = __sync_fetch_and_add(&count->count, 1);
	asm volatile("" :: "r"(before));
	if (bpf_map_lookup_elem(&monitor_awake, &key) ||
	    bpf_map_update_elem(&monitor_awake, &key, &awake, BPF_NOEXIST))
		return 0;
	if (bpf_ringbuf_output(&monitor_ring, &key, sizeof(key), 0))
		bpf_map_delete_elem(&monitor_awake, &key);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
