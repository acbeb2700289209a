// SPDX-License-Identifier: BSD-3-Clause
/*
 * Example 1 of the BPF control map proposal of 2019, on libbpf:
 *
 *	xdp_ctrl = bpf_create_map(BPF_MAP_TYPE_CONTROL, map_attr.ctrl_type =
 *	XDP_STATS);
 *
 *	while (bpf_map_get_next_key(xdp_ctrl, &ifindex, &next_ifindex) == 0) {
 *	bpf_map_lookup_elem(xdp_ctrl, &next_ifindex, &stats);
 *	// we don't even need to know stats format in this case
 *	btf_pretty_print(xdp_ctrl->btf, &stats);
 *	ifindex = next_ifindex;
 *	}
 *
 * The loop is the proposal's. What it calls the control type is the sizes of
 * key and value on the control device, and btf_pretty_print() is
 * btf_dump__dump_type_data() of libbpf.
 */
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "xdpctl.h"

static struct bpf_map_info info;
static struct btf_dump *dump;

static void print(void *ctx, const char *fmt, va_list args)
{
	(void)ctx;
	vprintf(fmt, args);
}

static int create_xdp_stats(const char *control_device)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts,
		    .map_ifindex = if_nametoindex(control_device));

	return bpf_map_create(BPF_MAP_TYPE_HASH, "xdp_stats",
			      sizeof(struct xdpctl_stats_key),
			      sizeof(struct xdpctl_stats), 1, &opts);
}

/* Loads the BTF of the map, wherever it comes from. */
static int load_btf(int map)
{
	unsigned int len = sizeof(info);
	struct btf *btf;

	if (bpf_obj_get_info_by_fd(map, &info, &len))
		return -errno;
	btf = btf__load_from_kernel_by_id(info.btf_id);
	if (!btf)
		return -errno;
	dump = btf_dump__new(btf, print, NULL, NULL);
	return dump ? 0 : -errno;
}

static int btf_pretty_print(const void *value)
{
	LIBBPF_OPTS(btf_dump_type_data_opts, opts, .emit_zeroes = true);
	int n;

	n = btf_dump__dump_type_data(dump, info.btf_value_type_id, value,
				     info.value_size, &opts);
	printf("\n");
	return n;
}

int main(int argc, char **argv)
{
	__u32 ifindex = 0, next_ifindex;
	int xdp_ctrl, err;
	void *stats;

	xdp_ctrl = create_xdp_stats(argc > 1 ? argv[1] : "xdpctl0");
	if (xdp_ctrl < 0) {
		perror("create xdp_stats");
		return 1;
	}
	err = load_btf(xdp_ctrl);
	if (err) {
		fprintf(stderr, "load BTF: %s\n", strerror(-err));
		return 1;
	}
	stats = calloc(1, info.value_size);
	if (!stats)
		return 1;

	while (bpf_map_get_next_key(xdp_ctrl, &ifindex, &next_ifindex) == 0) {
		if (bpf_map_lookup_elem(xdp_ctrl, &next_ifindex, stats))
			perror("lookup");
		printf("%u: ", next_ifindex);
		if (btf_pretty_print(stats) < 0)
			return 1;
		ifindex = next_ifindex;
	}
	if (errno != ENOENT) {
		perror("get next key");
		return 1;
	}
	return 0;
}
