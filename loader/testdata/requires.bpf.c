// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/*
 * Programs that need one thing each, for the tests of what is derived from
 * them.
 */
#include <stdbool.h>
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

enum xdp_rss_hash_type { XDP_RSS_TYPE_NONE };

extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx,
					 __u64 *timestamp) __ksym;
extern int bpf_xdp_metadata_rx_hash(const struct xdp_md *ctx, __u32 *hash,
				    enum xdp_rss_hash_type *rss_type) __ksym;
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __be16 *proto,
					__u16 *vlan_tci) __ksym __weak;

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} verdicts SEC(".maps");

int drop_or_tx(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct xdp_md *));
} jumps SEC(".maps") = {
	.values = { [1] = (void *)&drop_or_tx },
};

SEC("xdp")
int drop_or_tx(struct xdp_md *ctx)
{
	return ctx->rx_queue_index == 7 ? XDP_TX : XDP_DROP;
}

SEC("xdp.frags")
int frags(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp")
int redirect(struct xdp_md *ctx)
{
	return bpf_redirect(ctx->ingress_ifindex, 0);
}

SEC("xdp")
int to_cpu(struct xdp_md *ctx)
{
	return bpf_redirect_map(&cpus, 0, XDP_DROP);
}

SEC("xdp")
int to_socket(struct xdp_md *ctx)
{
	if (!bpf_map_lookup_elem(&sockets, &(__u32){ 0 }))
		return XDP_PASS;
	return XDP_ABORTED;
}

SEC("xdp")
int metadata(struct xdp_md *ctx)
{
	enum xdp_rss_hash_type type;
	__u64 timestamp;
	__u16 tci;
	__be16 proto;
	__u32 hash;

	if (bpf_xdp_metadata_rx_timestamp(ctx, &timestamp) ||
	    bpf_xdp_metadata_rx_hash(ctx, &hash, &type))
		return XDP_DROP;
	if ((void *)bpf_xdp_metadata_rx_vlan_tag &&
	    bpf_xdp_metadata_rx_vlan_tag(ctx, &proto, &tci))
		return XDP_DROP;
	return XDP_PASS;
}

/* Keeps what is a call a call. */
static __attribute__((noinline)) int choose(struct xdp_md *ctx)
{
	return ctx->rx_queue_index > 3 ? XDP_TX : XDP_PASS;
}

SEC("xdp")
int by_function(struct xdp_md *ctx)
{
	int verdict = choose(ctx);

	asm volatile("" : "+r"(verdict));
	return verdict;
}

SEC("xdp")
int returns_call(struct xdp_md *ctx)
{
	return choose(ctx);
}

SEC("xdp")
int by_map(struct xdp_md *ctx)
{
	__u32 key = ctx->rx_queue_index;
	__u32 *verdict = bpf_map_lookup_elem(&verdicts, &key);

	return verdict ? *verdict : XDP_DROP;
}

SEC("xdp")
int by_tail_call(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &jumps, 1);
	return XDP_PASS;
}

/* The verdict is carried along many ways, as clang likes it. */
SEC("xdp")
int carried(struct xdp_md *ctx)
{
	int verdict = XDP_PASS;

	if (ctx->rx_queue_index == 1)
		verdict = XDP_DROP;
	else if (ctx->rx_queue_index == 2)
		goto out;
	bpf_ktime_get_ns();
	if (ctx->ingress_ifindex == 9)
		verdict = XDP_ABORTED;
out:
	bpf_get_prandom_u32();
	return verdict;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
