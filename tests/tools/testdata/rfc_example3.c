// SPDX-License-Identifier: BSD-3-Clause
/*
 * Example 3 of the BPF control map proposal of 2019, on libbpf:
 *
 *	xdp_ctrl = bpf_create_map(BPF_MAP_TYPE_CONTROL, map_attr.ctrl_type =
 *	XDP_ATTR);
 *
 *	xdp_attr->command = SETUP_MD;
 *	xdp_attr->enable_md = 1;
 *	err = bpf_map_update_elem(xdp_ctrl, &ifindex, &xdp_attr);
 *	if (err) {
 *	printf("XDP meta data is not supported on this netdev");
 *	return;
 *	}
 *	// Query Meta data BTF
 *	bpf_map_lookup_elem(xdp_ctrl, &ifindex, &xdp_attr);
 *	md_btf = xdp_attr.md_btf;
 *
 * Arguments: the control device and the netdev. Prints the members of the
 * metadata as its BTF has them.
 */
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>

#include "xdpctl.h"

static int create_xdp_attr(const char *control_device)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts,
		    .map_ifindex = if_nametoindex(control_device));

	return bpf_map_create(BPF_MAP_TYPE_HASH, "xdp_attr",
			      sizeof(struct xdpctl_attr_key),
			      sizeof(struct xdpctl_attr), 1, &opts);
}

static int print_layout(__u32 btf_id, __u32 type_id)
{
	const struct btf_type *type;
	const struct btf_member *m;
	struct btf *md_btf;
	int i;

	md_btf = btf__load_from_kernel_by_id(btf_id);
	type = md_btf ? btf__type_by_id(md_btf, type_id) : NULL;
	if (!type || !btf_is_struct(type))
		return 1;
	printf("struct %s\n", btf__name_by_offset(md_btf, type->name_off));
	for (i = 0, m = btf_members(type); i < btf_vlen(type); i++, m++)
		printf("%u %s\n", m->offset / 8,
		       btf__name_by_offset(md_btf, m->name_off));
	btf__free(md_btf);
	return 0;
}

int main(int argc, char **argv)
{
	struct xdpctl_attr attr = {}, *xdp_attr = &attr;
	__u32 ifindex;
	int xdp_ctrl, err;

	if (argc != 3)
		return 2;
	ifindex = if_nametoindex(argv[2]);
	xdp_ctrl = create_xdp_attr(argv[1]);
	if (xdp_ctrl < 0) {
		perror("create xdp_attr");
		return 1;
	}

	xdp_attr->command = XDPCTL_COMMAND_SETUP_MD;
	xdp_attr->enable_md = 1;
	err = bpf_map_update_elem(xdp_ctrl, &ifindex, xdp_attr, BPF_ANY);
	if (err) {
		printf("XDP meta data is not supported on this netdev\n");
		return 0;
	}
	/* Query Meta data BTF */
	if (bpf_map_lookup_elem(xdp_ctrl, &ifindex, xdp_attr)) {
		perror("look up");
		return 1;
	}
	return print_layout(xdp_attr->md_btf_id, xdp_attr->md_type_id);
}
