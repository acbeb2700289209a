// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/* Maps and variables of all kinds that BTF defines. */
#include <stdbool.h>
#include <linux/bpf.h>
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

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { [1] = &inner },
};

enum mode { MODE_OFF, MODE_ON = 7 };

const volatile __u32 verdict = XDP_PASS;
const volatile enum mode mode = MODE_OFF;
volatile __s16 level = -1;
volatile bool loud;
volatile char label[8] = "none";
volatile struct point origin;

SEC("xdp")
int count(struct xdp_md *ctx)
{
	__u32 zero = 0, one = 1;
	struct point *p = bpf_map_lookup_elem(&points, &zero);
	void *map = bpf_map_lookup_elem(&outer, &one);
	__u32 *n = map ? bpf_map_lookup_elem(map, &zero) : 0;

	if (p)
		__sync_fetch_and_add(&p->x, 1);
	if (n)
		__sync_fetch_and_add(n, 1);
	if (loud || mode == MODE_ON)
		level++;
	label[0] = 'x';
	origin.x++;
	return verdict;
}

char LICENSE[] SEC("license") = "GPL";
