// SPDX-License-Identifier: BSD-3-Clause
/*
 * Example 2 of the BPF control map proposal of 2019, on libbpf:
 *
 *	xdp_ctrl = bpf_create_map(BPF_MAP_TYPE_CONTROL, map_attr.ctrl_type =
 *	XDP_ATTR);
 *
 *	xdp_attr->command = SETUP_REDIRECT;
 *	xdp_attr->rings.num = 12;
 *	xdp_attr->rings.size = 128;
 *	bpf_map_update_elem(xdp_ctrl, &ifindex, &xdp_attr);
 *
 * Arguments: the control device and the netdev.
 */
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>

#include "xdpctl.h"

static int create_xdp_attr(const char *control_device)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts,
		    .map_ifindex = if_nametoindex(control_device));

	return bpf_map_create(BPF_MAP_TYPE_HASH, "xdp_attr",
			      sizeof(struct xdpctl_attr_key),
			      sizeof(struct xdpctl_attr), 1, &opts);
}

int main(int argc, char **argv)
{
	struct xdpctl_attr attr = {}, *xdp_attr = &attr;
	__u32 ifindex;
	int xdp_ctrl;

	if (argc != 3)
		return 2;
	ifindex = if_nametoindex(argv[2]);
	xdp_ctrl = create_xdp_attr(argv[1]);
	if (xdp_ctrl < 0) {
		perror("create xdp_attr");
		return 1;
	}

	xdp_attr->command = XDPCTL_COMMAND_SETUP_REDIRECT;
	xdp_attr->rings_num = 12;
	xdp_attr->rings_size = 128;
	if (bpf_map_update_elem(xdp_ctrl, &ifindex, xdp_attr, BPF_ANY)) {
		perror("set up redirect");
		return 1;
	}

	memset(xdp_attr, 0, sizeof(*xdp_attr));
	if (bpf_map_lookup_elem(xdp_ctrl, &ifindex, xdp_attr)) {
		perror("look up");
		return 1;
	}
	printf("rings %u size %u\n", xdp_attr->rings_num, xdp_attr->rings_size);
	return 0;
}
