// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* Maps of every kind that has a type in Go. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct flow {
	__u32 address;
	__u16 port;
};

struct counters {
	__u64 packets;
	__u32 last;
};

struct event {
	__u64 number;
	char text[8];
};

struct prefix {
	__u32 bits;
	__u8 address[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct flow);
	__type(value, struct counters);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} by_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8);
	__type(key, struct flow);
	__type(value, __u32);
} flows_by_cpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 8);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u32);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
	__type(value, struct event);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} untyped SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
} perf SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, __u32);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 4);
	__type(value, struct counters);
} stack SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__uint(key_size, 6);
	__uint(value_size, 3);
} by_size SEC(".maps");

struct inner_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct counters);
} first_inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner_map);
} outer SEC(".maps") = {
	.values = { [0] = &first_inner },
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, struct flow);
	__array(values, struct inner_map);
} outer_hash SEC(".maps");

int target(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct xdp_md *));
} jumps SEC(".maps") = {
	.values = { [0] = (void *)&target },
};

__u32 jumped;
__u32 jump_to;

SEC("xdp")
int target(struct xdp_md *ctx)
{
	jumped++;
	return XDP_TX;
}

SEC("xdp")
int other_target(struct xdp_md *ctx)
{
	jumped += 100;
	return XDP_DROP;
}

static __always_inline void count(struct counters *c, __u32 last)
{
	if (!c)
		return;
	__sync_fetch_and_add(&c->packets, 1);
	c->last = last;
}

static __always_inline void use_inner(void *map)
{
	__u32 zero = 0;

	if (map)
		count(bpf_map_lookup_elem(map, &zero), 77);
}

SEC("xdp")
int use_maps(struct xdp_md *ctx)
{
	struct flow flow = { .address = 0x7f000001, .port = 80 };
	struct counters fresh = { .packets = 1, .last = 6 };
	struct event event = { .number = 12, .text = "hello" };
	__u32 zero = 0, value = 1;
	struct counters *c;
	__u32 *n;
	__u64 *slot;

	c = bpf_map_lookup_elem(&flows, &flow);
	if (c)
		count(c, 5);
	else
		bpf_map_update_elem(&flows, &flow, &fresh, BPF_ANY);
	slot = bpf_map_lookup_elem(&slots, &zero);
	if (slot)
		*slot += 3;
	count(bpf_map_lookup_elem(&by_cpu, &zero), 8);
	n = bpf_map_lookup_elem(&flows_by_cpu, &flow);
	if (n)
		*n += 1;
	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
	bpf_ringbuf_output(&untyped, "raw", 4, 0);
	bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &event, sizeof(event));
	bpf_map_push_elem(&queue, &value, BPF_ANY);
	bpf_map_push_elem(&stack, &fresh, BPF_ANY);
	use_inner(bpf_map_lookup_elem(&outer, &zero));
	use_inner(bpf_map_lookup_elem(&outer_hash, &flow));
	bpf_tail_call(ctx, &jumps, jump_to);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
