// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* A classifier with the pinned map of object.bpf.c, as libbpf has them. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct point {
	__u32 x;
	__u32 y;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, __u32);
	__type(value, struct point);
} points SEC(".maps");

SEC("tc")
int classify(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct point *p = bpf_map_lookup_elem(&points, &zero);

	if (p)
		__sync_fetch_and_add(&p->y, 1);
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
