// SPDX-License-Identifier: GPL-2.0-only
/* Do not edit directly, auto-generated from: */
/*	family/xdpctl.yaml */

#include <linux/build_bug.h>
#include <linux/kernel.h>
#include <linux/stddef.h>

#include "gen.h"

#define KEY		XDPCTL_FIELD_KEY
#define REPLY		XDPCTL_FIELD_REPLY
#define SET		XDPCTL_FIELD_SET

static_assert(sizeof(struct xdpctl_stats_key) == 4);
static_assert(sizeof(struct xdpctl_stats) == 160);
static_assert(sizeof(struct xdpctl_qstats_key) == 8);
static_assert(sizeof(struct xdpctl_qstats) == 128);
static_assert(sizeof(struct xdpctl_prog_key) == 8);
static_assert(sizeof(struct xdpctl_prog) == 96);
static_assert(sizeof(struct xdpctl_caps_key) == 4);
static_assert(sizeof(struct xdpctl_caps) == 88);
static_assert(sizeof(struct xdpctl_attr_key) == 4);
static_assert(sizeof(struct xdpctl_attr) == 56);
static_assert(sizeof(struct xdpctl_port_key) == 4);
static_assert(sizeof(struct xdpctl_port) == 24);

static const struct xdpctl_field stats_fields[] = {
	{ XDPCTL_A_STATS_IFINDEX, offsetof(struct xdpctl_stats_key, ifindex),
	  sizeof_field(struct xdpctl_stats_key, ifindex), XDPCTL_KIND_U32,
	  KEY, 1, 0 },
	{ XDPCTL_A_STATS_PACKETS, offsetof(struct xdpctl_stats, packets),
	  sizeof_field(struct xdpctl_stats, packets), XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_BYTES, offsetof(struct xdpctl_stats, bytes),
	  sizeof_field(struct xdpctl_stats, bytes), XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_ABORTED, offsetof(struct xdpctl_stats, aborted),
	  sizeof_field(struct xdpctl_stats, aborted), XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_DROP, offsetof(struct xdpctl_stats, drop),
	  sizeof_field(struct xdpctl_stats, drop), XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_INVALID, offsetof(struct xdpctl_stats, invalid),
	  sizeof_field(struct xdpctl_stats, invalid), XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_PASS, offsetof(struct xdpctl_stats, pass),
	  sizeof_field(struct xdpctl_stats, pass), XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_REDIRECT, offsetof(struct xdpctl_stats, redirect),
	  sizeof_field(struct xdpctl_stats, redirect), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_REDIRECT_ERRORS,
	  offsetof(struct xdpctl_stats, redirect_errors),
	  sizeof_field(struct xdpctl_stats, redirect_errors), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_TX, offsetof(struct xdpctl_stats, tx),
	  sizeof_field(struct xdpctl_stats, tx), XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_TX_ERRORS, offsetof(struct xdpctl_stats, tx_errors),
	  sizeof_field(struct xdpctl_stats, tx_errors), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_XMIT_PACKETS,
	  offsetof(struct xdpctl_stats, xmit_packets),
	  sizeof_field(struct xdpctl_stats, xmit_packets), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_XMIT_BYTES, offsetof(struct xdpctl_stats, xmit_bytes),
	  sizeof_field(struct xdpctl_stats, xmit_bytes), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_XMIT_ERRORS,
	  offsetof(struct xdpctl_stats, xmit_errors),
	  sizeof_field(struct xdpctl_stats, xmit_errors), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_XMIT_FULL, offsetof(struct xdpctl_stats, xmit_full),
	  sizeof_field(struct xdpctl_stats, xmit_full), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_EXCEPTION_ABORTED,
	  offsetof(struct xdpctl_stats, exception_aborted),
	  sizeof_field(struct xdpctl_stats, exception_aborted),
	  XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_EXCEPTION_TX,
	  offsetof(struct xdpctl_stats, exception_tx),
	  sizeof_field(struct xdpctl_stats, exception_tx), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_EXCEPTION_REDIRECT,
	  offsetof(struct xdpctl_stats, exception_redirect),
	  sizeof_field(struct xdpctl_stats, exception_redirect),
	  XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_EXCEPTION_INVALID,
	  offsetof(struct xdpctl_stats, exception_invalid),
	  sizeof_field(struct xdpctl_stats, exception_invalid),
	  XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_METERED, offsetof(struct xdpctl_stats, metered),
	  sizeof_field(struct xdpctl_stats, metered), XDPCTL_KIND_U64, REPLY },
};

static const struct xdpctl_old_value stats_old_values[] = {
	{ 152, 3, 0x3ffff0 },
};

static const struct xdpctl_field qstats_fields[] = {
	{ XDPCTL_A_STATS_IFINDEX, offsetof(struct xdpctl_qstats_key, ifindex),
	  sizeof_field(struct xdpctl_qstats_key, ifindex), XDPCTL_KIND_U32,
	  KEY, 1, 0 },
	{ XDPCTL_A_STATS_QUEUE, offsetof(struct xdpctl_qstats_key, queue),
	  sizeof_field(struct xdpctl_qstats_key, queue), XDPCTL_KIND_U32,
	  KEY },
	{ XDPCTL_A_STATS_PACKETS, offsetof(struct xdpctl_qstats, packets),
	  sizeof_field(struct xdpctl_qstats, packets), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_BYTES, offsetof(struct xdpctl_qstats, bytes),
	  sizeof_field(struct xdpctl_qstats, bytes), XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_ABORTED, offsetof(struct xdpctl_qstats, aborted),
	  sizeof_field(struct xdpctl_qstats, aborted), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_DROP, offsetof(struct xdpctl_qstats, drop),
	  sizeof_field(struct xdpctl_qstats, drop), XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_INVALID, offsetof(struct xdpctl_qstats, invalid),
	  sizeof_field(struct xdpctl_qstats, invalid), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_PASS, offsetof(struct xdpctl_qstats, pass),
	  sizeof_field(struct xdpctl_qstats, pass), XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_REDIRECT, offsetof(struct xdpctl_qstats, redirect),
	  sizeof_field(struct xdpctl_qstats, redirect), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_REDIRECT_ERRORS,
	  offsetof(struct xdpctl_qstats, redirect_errors),
	  sizeof_field(struct xdpctl_qstats, redirect_errors), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_TX, offsetof(struct xdpctl_qstats, tx),
	  sizeof_field(struct xdpctl_qstats, tx), XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_STATS_TX_ERRORS, offsetof(struct xdpctl_qstats, tx_errors),
	  sizeof_field(struct xdpctl_qstats, tx_errors), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_XMIT_PACKETS,
	  offsetof(struct xdpctl_qstats, xmit_packets),
	  sizeof_field(struct xdpctl_qstats, xmit_packets), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_XMIT_BYTES,
	  offsetof(struct xdpctl_qstats, xmit_bytes),
	  sizeof_field(struct xdpctl_qstats, xmit_bytes), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_XMIT_ERRORS,
	  offsetof(struct xdpctl_qstats, xmit_errors),
	  sizeof_field(struct xdpctl_qstats, xmit_errors), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_XMIT_FULL, offsetof(struct xdpctl_qstats, xmit_full),
	  sizeof_field(struct xdpctl_qstats, xmit_full), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_STATS_METERED, offsetof(struct xdpctl_qstats, metered),
	  sizeof_field(struct xdpctl_qstats, metered), XDPCTL_KIND_U64,
	  REPLY },
};

static const struct xdpctl_old_value qstats_old_values[] = {
	{ 120, 6, 0x3fff0 },
};

static const struct xdpctl_field prog_fields[] = {
	{ XDPCTL_A_PROG_IFINDEX, offsetof(struct xdpctl_prog_key, ifindex),
	  sizeof_field(struct xdpctl_prog_key, ifindex), XDPCTL_KIND_U32,
	  KEY, 1, 0 },
	{ XDPCTL_A_PROG_QUEUE, offsetof(struct xdpctl_prog_key, queue),
	  sizeof_field(struct xdpctl_prog_key, queue), XDPCTL_KIND_U32, KEY },
	{ XDPCTL_A_PROG_FD, offsetof(struct xdpctl_prog, fd),
	  sizeof_field(struct xdpctl_prog, fd), XDPCTL_KIND_U32, SET },
	{ XDPCTL_A_PROG_EXPECTED_PROG_ID,
	  offsetof(struct xdpctl_prog, expected_prog_id),
	  sizeof_field(struct xdpctl_prog, expected_prog_id), XDPCTL_KIND_U32,
	  SET, 1, 0 },
	{ XDPCTL_A_PROG_MODE, offsetof(struct xdpctl_prog, mode),
	  sizeof_field(struct xdpctl_prog, mode), XDPCTL_KIND_U32,
	  REPLY | SET },
	{ XDPCTL_A_PROG_PROG_ID, offsetof(struct xdpctl_prog, prog_id),
	  sizeof_field(struct xdpctl_prog, prog_id), XDPCTL_KIND_U32, REPLY },
	{ XDPCTL_A_PROG_LINK_ID, offsetof(struct xdpctl_prog, link_id),
	  sizeof_field(struct xdpctl_prog, link_id), XDPCTL_KIND_U32, REPLY },
	{ XDPCTL_A_PROG_OWNER, offsetof(struct xdpctl_prog, owner),
	  sizeof_field(struct xdpctl_prog, owner), XDPCTL_KIND_U32, REPLY },
	{ XDPCTL_A_PROG_HW_PROG_ID, offsetof(struct xdpctl_prog, hw_prog_id),
	  sizeof_field(struct xdpctl_prog, hw_prog_id), XDPCTL_KIND_U32,
	  REPLY },
	{ XDPCTL_A_PROG_TAG, offsetof(struct xdpctl_prog, tag),
	  sizeof_field(struct xdpctl_prog, tag), XDPCTL_KIND_BINARY, REPLY },
	{ XDPCTL_A_PROG_NAME, offsetof(struct xdpctl_prog, name),
	  sizeof_field(struct xdpctl_prog, name), XDPCTL_KIND_STRING, REPLY },
	{ XDPCTL_A_PROG_REQUIRED_FEATURES,
	  offsetof(struct xdpctl_prog, required_features),
	  sizeof_field(struct xdpctl_prog, required_features), XDPCTL_KIND_U64,
	  REPLY | SET },
	{ XDPCTL_A_PROG_REQUIRED_RX_METADATA_FEATURES,
	  offsetof(struct xdpctl_prog, required_rx_metadata_features),
	  sizeof_field(struct xdpctl_prog, required_rx_metadata_features),
	  XDPCTL_KIND_U64, REPLY | SET },
	{ XDPCTL_A_PROG_REQUIRED_ACTIONS,
	  offsetof(struct xdpctl_prog, required_actions),
	  sizeof_field(struct xdpctl_prog, required_actions), XDPCTL_KIND_U32,
	  REPLY | SET },
	{ XDPCTL_A_PROG_STATE, offsetof(struct xdpctl_prog, state),
	  sizeof_field(struct xdpctl_prog, state), XDPCTL_KIND_U32, REPLY },
	{ XDPCTL_A_PROG_DISPATCHER_PROG_ID,
	  offsetof(struct xdpctl_prog, dispatcher_prog_id),
	  sizeof_field(struct xdpctl_prog, dispatcher_prog_id),
	  XDPCTL_KIND_U32, REPLY },
};

static const struct xdpctl_old_value prog_old_values[] = {
	{ 64, 9, 0x3fe0 },
};

static const struct xdpctl_field caps_fields[] = {
	{ XDPCTL_A_CAPS_IFINDEX, offsetof(struct xdpctl_caps_key, ifindex),
	  sizeof_field(struct xdpctl_caps_key, ifindex), XDPCTL_KIND_U32,
	  KEY, 1, 0 },
	{ XDPCTL_A_CAPS_XDP_FEATURES,
	  offsetof(struct xdpctl_caps, xdp_features),
	  sizeof_field(struct xdpctl_caps, xdp_features), XDPCTL_KIND_U64,
	  REPLY },
	{ XDPCTL_A_CAPS_XDP_RX_METADATA_FEATURES,
	  offsetof(struct xdpctl_caps, xdp_rx_metadata_features),
	  sizeof_field(struct xdpctl_caps, xdp_rx_metadata_features),
	  XDPCTL_KIND_U64, REPLY },
	{ XDPCTL_A_CAPS_XDP_ZC_MAX_SEGS,
	  offsetof(struct xdpctl_caps, xdp_zc_max_segs),
	  sizeof_field(struct xdpctl_caps, xdp_zc_max_segs), XDPCTL_KIND_U32,
	  REPLY },
	{ XDPCTL_A_CAPS_SOURCE, offsetof(struct xdpctl_caps, source),
	  sizeof_field(struct xdpctl_caps, source), XDPCTL_KIND_U32, REPLY },
	{ XDPCTL_A_CAPS_RX_QUEUES, offsetof(struct xdpctl_caps, rx_queues),
	  sizeof_field(struct xdpctl_caps, rx_queues), XDPCTL_KIND_U32,
	  REPLY },
	{ XDPCTL_A_CAPS_TX_QUEUES, offsetof(struct xdpctl_caps, tx_queues),
	  sizeof_field(struct xdpctl_caps, tx_queues), XDPCTL_KIND_U32,
	  REPLY },
	{ XDPCTL_A_CAPS_MAX_RX_QUEUES,
	  offsetof(struct xdpctl_caps, max_rx_queues),
	  sizeof_field(struct xdpctl_caps, max_rx_queues), XDPCTL_KIND_U32,
	  REPLY },
	{ XDPCTL_A_CAPS_MAX_TX_QUEUES,
	  offsetof(struct xdpctl_caps, max_tx_queues),
	  sizeof_field(struct xdpctl_caps, max_tx_queues), XDPCTL_KIND_U32,
	  REPLY },
	{ XDPCTL_A_CAPS_DRIVER, offsetof(struct xdpctl_caps, driver),
	  sizeof_field(struct xdpctl_caps, driver), XDPCTL_KIND_STRING,
	  REPLY },
	{ XDPCTL_A_CAPS_ACTIONS, offsetof(struct xdpctl_caps, actions),
	  sizeof_field(struct xdpctl_caps, actions), XDPCTL_KIND_U32, REPLY },
};

static const struct xdpctl_old_value caps_old_values[] = {
	{ 80, 12, 0xff8 },
};

static const struct xdpctl_field attr_fields[] = {
	{ XDPCTL_A_ATTR_IFINDEX, offsetof(struct xdpctl_attr_key, ifindex),
	  sizeof_field(struct xdpctl_attr_key, ifindex), XDPCTL_KIND_U32,
	  KEY, 1, 0 },
	{ XDPCTL_A_ATTR_COMMAND, offsetof(struct xdpctl_attr, command),
	  sizeof_field(struct xdpctl_attr, command), XDPCTL_KIND_U32,
	  SET, 1, 3 },
	{ XDPCTL_A_ATTR_RINGS_NUM, offsetof(struct xdpctl_attr, rings_num),
	  sizeof_field(struct xdpctl_attr, rings_num), XDPCTL_KIND_U32,
	  REPLY | SET },
	{ XDPCTL_A_ATTR_RINGS_SIZE, offsetof(struct xdpctl_attr, rings_size),
	  sizeof_field(struct xdpctl_attr, rings_size), XDPCTL_KIND_U32,
	  REPLY | SET },
	{ XDPCTL_A_ATTR_ENABLE_MD, offsetof(struct xdpctl_attr, enable_md),
	  sizeof_field(struct xdpctl_attr, enable_md), XDPCTL_KIND_U32,
	  REPLY | SET, 0, 1 },
	{ XDPCTL_A_ATTR_MD_BTF_ID, offsetof(struct xdpctl_attr, md_btf_id),
	  sizeof_field(struct xdpctl_attr, md_btf_id), XDPCTL_KIND_U32,
	  REPLY },
	{ XDPCTL_A_ATTR_MD_TYPE_ID, offsetof(struct xdpctl_attr, md_type_id),
	  sizeof_field(struct xdpctl_attr, md_type_id), XDPCTL_KIND_U32,
	  REPLY },
	{ XDPCTL_A_ATTR_ENABLE_METER,
	  offsetof(struct xdpctl_attr, enable_meter),
	  sizeof_field(struct xdpctl_attr, enable_meter), XDPCTL_KIND_U32,
	  REPLY | SET, 0, 1 },
	{ XDPCTL_A_ATTR_FD, offsetof(struct xdpctl_attr, fd),
	  sizeof_field(struct xdpctl_attr, fd), XDPCTL_KIND_U32, SET },
	{ XDPCTL_A_ATTR_MD_USERS, offsetof(struct xdpctl_attr, md_users),
	  sizeof_field(struct xdpctl_attr, md_users), XDPCTL_KIND_U32, REPLY },
	{ XDPCTL_A_ATTR_PLACEHOLDER_PROG_ID,
	  offsetof(struct xdpctl_attr, placeholder_prog_id),
	  sizeof_field(struct xdpctl_attr, placeholder_prog_id),
	  XDPCTL_KIND_U32, REPLY },
	{ XDPCTL_A_ATTR_MD_FEATURES, offsetof(struct xdpctl_attr, md_features),
	  sizeof_field(struct xdpctl_attr, md_features), XDPCTL_KIND_U64,
	  REPLY },
};

static const struct xdpctl_field port_fields[] = {
	{ XDPCTL_A_PORT_PORT, offsetof(struct xdpctl_port_key, port),
	  sizeof_field(struct xdpctl_port_key, port), XDPCTL_KIND_U32,
	  KEY, 0, 1023 },
	{ XDPCTL_A_PORT_IFINDEX, offsetof(struct xdpctl_port, ifindex),
	  sizeof_field(struct xdpctl_port, ifindex), XDPCTL_KIND_U32,
	  REPLY | SET, 1, 0 },
	{ XDPCTL_A_PORT_DEVMAP_ID, offsetof(struct xdpctl_port, devmap_id),
	  sizeof_field(struct xdpctl_port, devmap_id), XDPCTL_KIND_U32,
	  REPLY },
	{ XDPCTL_A_PORT_INDEX_MAP_ID,
	  offsetof(struct xdpctl_port, index_map_id),
	  sizeof_field(struct xdpctl_port, index_map_id), XDPCTL_KIND_U32,
	  REPLY },
};

const struct xdpctl_type_desc xdpctl_descs[XDPCTL_CTRL_TYPE_MAX + 1] = {
	[XDPCTL_CTRL_TYPE_XDP_STATS] = {
		.name = "xdp_stats",
		.key_size = sizeof(struct xdpctl_stats_key),
		.value_size = sizeof(struct xdpctl_stats),
		.old_values = stats_old_values,
		.n_old_values = ARRAY_SIZE(stats_old_values),
		.btf_key_id = 1,
		.btf_value_id = 2,
		.cmd_get = XDPCTL_CMD_STATS_GET,
		.pad_attr = XDPCTL_A_STATS_PAD,
		.n_fields = ARRAY_SIZE(stats_fields),
		.fields = stats_fields,
		.ops_mask = XDPCTL_CTRL_OP_GET_NEXT |
			    XDPCTL_CTRL_OP_LOOKUP,
		.reply_mask = 0x7ffff0,
		.set_mask = 0x0,
	},
	[XDPCTL_CTRL_TYPE_XDP_QSTATS] = {
		.name = "xdp_qstats",
		.key_size = sizeof(struct xdpctl_qstats_key),
		.value_size = sizeof(struct xdpctl_qstats),
		.old_values = qstats_old_values,
		.n_old_values = ARRAY_SIZE(qstats_old_values),
		.btf_key_id = 4,
		.btf_value_id = 5,
		.cmd_get = XDPCTL_CMD_QSTATS_GET,
		.pad_attr = XDPCTL_A_STATS_PAD,
		.n_fields = ARRAY_SIZE(qstats_fields),
		.fields = qstats_fields,
		.ops_mask = XDPCTL_CTRL_OP_GET_NEXT |
			    XDPCTL_CTRL_OP_LOOKUP,
		.reply_mask = 0x43fff0,
		.set_mask = 0x0,
	},
	[XDPCTL_CTRL_TYPE_XDP_PROG] = {
		.name = "xdp_prog",
		.key_size = sizeof(struct xdpctl_prog_key),
		.value_size = sizeof(struct xdpctl_prog),
		.old_values = prog_old_values,
		.n_old_values = ARRAY_SIZE(prog_old_values),
		.btf_key_id = 7,
		.btf_value_id = 8,
		.cmd_get = XDPCTL_CMD_PROG_GET,
		.cmd_set = XDPCTL_CMD_PROG_SET,
		.cmd_del = XDPCTL_CMD_PROG_DEL,
		.cmd_ntf = XDPCTL_CMD_PROG_NTF,
		.pad_attr = XDPCTL_A_PROG_PAD,
		.update_attr = XDPCTL_A_PROG_UPDATE,
		.n_fields = ARRAY_SIZE(prog_fields),
		.fields = prog_fields,
		.ops_mask = XDPCTL_CTRL_OP_GET_NEXT |
			    XDPCTL_CTRL_OP_LOOKUP |
			    XDPCTL_CTRL_OP_UPDATE |
			    XDPCTL_CTRL_OP_DELETE,
		.reply_mask = 0x7ff80,
		.set_mask = 0x1c0e0,
	},
	[XDPCTL_CTRL_TYPE_XDP_CAPS] = {
		.name = "xdp_caps",
		.key_size = sizeof(struct xdpctl_caps_key),
		.value_size = sizeof(struct xdpctl_caps),
		.old_values = caps_old_values,
		.n_old_values = ARRAY_SIZE(caps_old_values),
		.btf_key_id = 10,
		.btf_value_id = 11,
		.cmd_get = XDPCTL_CMD_CAPS_GET,
		.pad_attr = XDPCTL_A_CAPS_PAD,
		.n_fields = ARRAY_SIZE(caps_fields),
		.fields = caps_fields,
		.ops_mask = XDPCTL_CTRL_OP_GET_NEXT |
			    XDPCTL_CTRL_OP_LOOKUP,
		.reply_mask = 0x1ff8,
		.set_mask = 0x0,
	},
	[XDPCTL_CTRL_TYPE_XDP_ATTR] = {
		.name = "xdp_attr",
		.key_size = sizeof(struct xdpctl_attr_key),
		.value_size = sizeof(struct xdpctl_attr),
		.btf_key_id = 13,
		.btf_value_id = 14,
		.cmd_get = XDPCTL_CMD_ATTR_GET,
		.cmd_set = XDPCTL_CMD_ATTR_SET,
		.cmd_del = XDPCTL_CMD_ATTR_DEL,
		.cmd_ntf = XDPCTL_CMD_ATTR_NTF,
		.pad_attr = XDPCTL_A_ATTR_PAD,
		.update_attr = XDPCTL_A_ATTR_UPDATE,
		.n_fields = ARRAY_SIZE(attr_fields),
		.fields = attr_fields,
		.ops_mask = XDPCTL_CTRL_OP_GET_NEXT |
			    XDPCTL_CTRL_OP_LOOKUP |
			    XDPCTL_CTRL_OP_UPDATE |
			    XDPCTL_CTRL_OP_DELETE,
		.reply_mask = 0x3bf0,
		.set_mask = 0x678,
	},
	[XDPCTL_CTRL_TYPE_XDP_PORT] = {
		.name = "xdp_port",
		.key_size = sizeof(struct xdpctl_port_key),
		.value_size = sizeof(struct xdpctl_port),
		.btf_key_id = 15,
		.btf_value_id = 16,
		.cmd_get = XDPCTL_CMD_PORT_GET,
		.cmd_set = XDPCTL_CMD_PORT_SET,
		.cmd_del = XDPCTL_CMD_PORT_DEL,
		.cmd_ntf = XDPCTL_CMD_PORT_NTF,
		.update_attr = XDPCTL_A_PORT_UPDATE,
		.n_fields = ARRAY_SIZE(port_fields),
		.fields = port_fields,
		.ops_mask = XDPCTL_CTRL_OP_GET_NEXT |
			    XDPCTL_CTRL_OP_LOOKUP |
			    XDPCTL_CTRL_OP_UPDATE |
			    XDPCTL_CTRL_OP_DELETE,
		.reply_mask = 0x38,
		.set_mask = 0x8,
	},
};

/* Header and types are 32-bit words but for the first. */
#ifdef __BIG_ENDIAN
#define BTF_WORD0	0xeb9f0100
#else
#define BTF_WORD0	0x0001eb9f
#endif

static const struct {
	u32 words[607];
	char strings[1452];
} btf = {
	.words = {
		BTF_WORD0,
		0x00000018, 0x00000000, 0x00000964, 0x00000964, 0x000005ac, 0x00000001,
		0x04000001, 0x00000004, 0x00000012, 0x00000012, 0x00000000, 0x0000001a,
		0x04000014, 0x000000a0, 0x00000027, 0x00000013, 0x00000000, 0x0000002f,
		0x00000013, 0x00000040, 0x00000037, 0x00000013, 0x00000080, 0x0000003d,
		0x00000013, 0x000000c0, 0x00000045, 0x00000013, 0x00000100, 0x0000004a,
		0x00000013, 0x00000140, 0x00000052, 0x00000013, 0x00000180, 0x00000057,
		0x00000013, 0x000001c0, 0x00000060, 0x00000013, 0x00000200, 0x00000070,
		0x00000013, 0x00000240, 0x00000073, 0x00000013, 0x00000280, 0x0000007d,
		0x00000013, 0x000002c0, 0x0000008a, 0x00000013, 0x00000300, 0x00000095,
		0x00000013, 0x00000340, 0x000000a1, 0x00000013, 0x00000380, 0x000000ab,
		0x00000013, 0x000003c0, 0x000000bd, 0x00000013, 0x00000400, 0x000000ca,
		0x00000013, 0x00000440, 0x000000dd, 0x00000013, 0x00000480, 0x000000ef,
		0x00000013, 0x000004c0, 0x0000001a, 0x04000013, 0x00000098, 0x00000027,
		0x00000013, 0x00000000, 0x0000002f, 0x00000013, 0x00000040, 0x00000037,
		0x00000013, 0x00000080, 0x0000003d, 0x00000013, 0x000000c0, 0x00000045,
		0x00000013, 0x00000100, 0x0000004a, 0x00000013, 0x00000140, 0x00000052,
		0x00000013, 0x00000180, 0x00000057, 0x00000013, 0x000001c0, 0x00000060,
		0x00000013, 0x00000200, 0x00000070, 0x00000013, 0x00000240, 0x00000073,
		0x00000013, 0x00000280, 0x0000007d, 0x00000013, 0x000002c0, 0x0000008a,
		0x00000013, 0x00000300, 0x00000095, 0x00000013, 0x00000340, 0x000000a1,
		0x00000013, 0x00000380, 0x000000ab, 0x00000013, 0x000003c0, 0x000000bd,
		0x00000013, 0x00000400, 0x000000ca, 0x00000013, 0x00000440, 0x000000dd,
		0x00000013, 0x00000480, 0x000000f7, 0x04000002, 0x00000008, 0x00000012,
		0x00000012, 0x00000000, 0x00000109, 0x00000012, 0x00000020, 0x0000010f,
		0x04000010, 0x00000080, 0x00000027, 0x00000013, 0x00000000, 0x0000002f,
		0x00000013, 0x00000040, 0x00000037, 0x00000013, 0x00000080, 0x0000003d,
		0x00000013, 0x000000c0, 0x00000045, 0x00000013, 0x00000100, 0x0000004a,
		0x00000013, 0x00000140, 0x00000052, 0x00000013, 0x00000180, 0x00000057,
		0x00000013, 0x000001c0, 0x00000060, 0x00000013, 0x00000200, 0x00000070,
		0x00000013, 0x00000240, 0x00000073, 0x00000013, 0x00000280, 0x0000007d,
		0x00000013, 0x000002c0, 0x0000008a, 0x00000013, 0x00000300, 0x00000095,
		0x00000013, 0x00000340, 0x000000a1, 0x00000013, 0x00000380, 0x000000ef,
		0x00000013, 0x000003c0, 0x0000010f, 0x0400000f, 0x00000078, 0x00000027,
		0x00000013, 0x00000000, 0x0000002f, 0x00000013, 0x00000040, 0x00000037,
		0x00000013, 0x00000080, 0x0000003d, 0x00000013, 0x000000c0, 0x00000045,
		0x00000013, 0x00000100, 0x0000004a, 0x00000013, 0x00000140, 0x00000052,
		0x00000013, 0x00000180, 0x00000057, 0x00000013, 0x000001c0, 0x00000060,
		0x00000013, 0x00000200, 0x00000070, 0x00000013, 0x00000240, 0x00000073,
		0x00000013, 0x00000280, 0x0000007d, 0x00000013, 0x000002c0, 0x0000008a,
		0x00000013, 0x00000300, 0x00000095, 0x00000013, 0x00000340, 0x000000a1,
		0x00000013, 0x00000380, 0x0000011d, 0x04000002, 0x00000008, 0x00000012,
		0x00000012, 0x00000000, 0x00000109, 0x00000012, 0x00000020, 0x0000012d,
		0x0400000f, 0x00000060, 0x00000027, 0x00000013, 0x00000000, 0x00000139,
		0x00000012, 0x00000040, 0x0000013c, 0x00000012, 0x00000060, 0x0000014d,
		0x00000014, 0x00000080, 0x00000152, 0x00000012, 0x000000a0, 0x0000015a,
		0x00000012, 0x000000c0, 0x00000162, 0x00000015, 0x000000e0, 0x00000168,
		0x00000012, 0x00000100, 0x00000173, 0x00000017, 0x00000120, 0x00000177,
		0x00000019, 0x00000160, 0x0000017c, 0x00000013, 0x00000200, 0x0000018e,
		0x00000013, 0x00000240, 0x000001ac, 0x0000001a, 0x00000280, 0x000001bd,
		0x0000001b, 0x000002a0, 0x000001c3, 0x00000012, 0x000002c0, 0x0000012d,
		0x0400000a, 0x00000040, 0x00000027, 0x00000013, 0x00000000, 0x00000139,
		0x00000012, 0x00000040, 0x0000013c, 0x00000012, 0x00000060, 0x0000014d,
		0x00000014, 0x00000080, 0x00000152, 0x00000012, 0x000000a0, 0x0000015a,
		0x00000012, 0x000000c0, 0x00000162, 0x00000015, 0x000000e0, 0x00000168,
		0x00000012, 0x00000100, 0x00000173, 0x0000001c, 0x00000120, 0x00000177,
		0x0000001d, 0x00000160, 0x000001d6, 0x04000001, 0x00000004, 0x00000012,
		0x00000012, 0x00000000, 0x000001e6, 0x0400000b, 0x00000058, 0x00000027,
		0x00000013, 0x00000000, 0x000001f2, 0x00000013, 0x00000040, 0x000001ff,
		0x00000013, 0x00000080, 0x00000218, 0x00000012, 0x000000c0, 0x00000228,
		0x0000001e, 0x000000e0, 0x0000022f, 0x00000012, 0x00000100, 0x00000239,
		0x00000012, 0x00000120, 0x00000243, 0x00000012, 0x00000140, 0x00000251,
		0x00000012, 0x00000160, 0x0000025f, 0x0000001f, 0x00000180, 0x00000266,
		0x0000001a, 0x00000280, 0x000001e6, 0x0400000a, 0x00000050, 0x00000027,
		0x00000013, 0x00000000, 0x000001f2, 0x00000013, 0x00000040, 0x000001ff,
		0x00000013, 0x00000080, 0x00000218, 0x00000012, 0x000000c0, 0x00000228,
		0x0000001e, 0x000000e0, 0x0000022f, 0x00000012, 0x00000100, 0x00000239,
		0x00000012, 0x00000120, 0x00000243, 0x00000012, 0x00000140, 0x00000251,
		0x00000012, 0x00000160, 0x0000025f, 0x00000020, 0x00000180, 0x0000026e,
		0x04000001, 0x00000004, 0x00000012, 0x00000012, 0x00000000, 0x0000027e,
		0x0400000c, 0x00000038, 0x00000027, 0x00000013, 0x00000000, 0x0000028a,
		0x00000021, 0x00000040, 0x00000292, 0x00000012, 0x00000060, 0x0000029c,
		0x00000012, 0x00000080, 0x000002a7, 0x00000012, 0x000000a0, 0x000002b1,
		0x00000012, 0x000000c0, 0x000002bb, 0x00000012, 0x000000e0, 0x000002c6,
		0x00000012, 0x00000100, 0x00000139, 0x00000012, 0x00000120, 0x000002d3,
		0x00000012, 0x00000140, 0x000002dc, 0x00000012, 0x00000160, 0x000002f0,
		0x00000013, 0x00000180, 0x000002fc, 0x04000001, 0x00000004, 0x0000030c,
		0x00000012, 0x00000000, 0x00000311, 0x04000004, 0x00000018, 0x00000027,
		0x00000013, 0x00000000, 0x00000012, 0x00000012, 0x00000040, 0x0000031d,
		0x00000012, 0x00000060, 0x00000327, 0x00000012, 0x00000080, 0x00000334,
		0x04000006, 0x00000018, 0x00000347, 0x00000013, 0x00000000, 0x00000354,
		0x00000012, 0x00000040, 0x0000035c, 0x00000012, 0x00000060, 0x00000369,
		0x00000022, 0x00000080, 0x00000374, 0x00000022, 0x00000090, 0x0000037d,
		0x00000012, 0x000000a0, 0x00000383, 0x01000000, 0x00000004, 0x00000020,
		0x00000390, 0x01000000, 0x00000008, 0x00000040, 0x000003a3, 0x06000003,
		0x00000004, 0x000003af, 0x00000001, 0x000003c2, 0x00000002, 0x000003d6,
		0x00000004, 0x000003ea, 0x06000004, 0x00000004, 0x000003f7, 0x00000001,
		0x0000040b, 0x00000002, 0x0000041d, 0x00000003, 0x00000432, 0x00000004,
		0x00000448, 0x01000000, 0x00000001, 0x00000008, 0x00000000, 0x03000000,
		0x00000000, 0x00000016, 0x00000012, 0x00000008, 0x00000456, 0x01000000,
		0x00000001, 0x02000008, 0x00000000, 0x03000000, 0x00000000, 0x00000018,
		0x00000012, 0x00000010, 0x0000045b, 0x06000005, 0x00000004, 0x00000469,
		0x00000001, 0x0000047f, 0x00000002, 0x00000492, 0x00000004, 0x000004a5,
		0x00000008, 0x000004b6, 0x00000010, 0x000004cd, 0x06000002, 0x00000004,
		0x000004da, 0x00000001, 0x000004ee, 0x00000002, 0x00000000, 0x03000000,
		0x00000000, 0x00000016, 0x00000012, 0x00000008, 0x00000000, 0x03000000,
		0x00000000, 0x00000018, 0x00000012, 0x00000010, 0x00000504, 0x06000002,
		0x00000004, 0x00000512, 0x00000001, 0x00000527, 0x00000002, 0x00000000,
		0x03000000, 0x00000000, 0x00000018, 0x00000012, 0x00000020, 0x00000000,
		0x03000000, 0x00000000, 0x00000018, 0x00000012, 0x00000020, 0x0000053d,
		0x06000003, 0x00000004, 0x0000054c, 0x00000001, 0x0000056a, 0x00000002,
		0x00000582, 0x00000003, 0x0000059d, 0x01000000, 0x00000002, 0x00000010,
	},
	.strings =
		"\0xdpctl_stats_key\0ifindex\0xdpctl_stats\0present\0packets\0bytes\0"
		"aborted\0drop\0invalid\0pass\0redirect\0redirect_errors\0tx\0"
		"tx_errors\0xmit_packets\0xmit_bytes\0xmit_errors\0xmit_full\0"
		"exception_aborted\0exception_tx\0exception_redirect\0"
		"exception_invalid\0metered\0xdpctl_qstats_key\0queue\0xdpctl_qstats\0"
		"xdpctl_prog_key\0xdpctl_prog\0fd\0expected_prog_id\0mode\0prog_id\0"
		"link_id\0owner\0hw_prog_id\0tag\0name\0required_features\0"
		"required_rx_metadata_features\0required_actions\0state\0"
		"dispatcher_prog_id\0xdpctl_caps_key\0xdpctl_caps\0xdp_features\0"
		"xdp_rx_metadata_features\0xdp_zc_max_segs\0source\0rx_queues\0"
		"tx_queues\0max_rx_queues\0max_tx_queues\0driver\0actions\0"
		"xdpctl_attr_key\0xdpctl_attr\0command\0rings_num\0rings_size\0"
		"enable_md\0md_btf_id\0md_type_id\0enable_meter\0md_users\0"
		"placeholder_prog_id\0md_features\0xdpctl_port_key\0port\0"
		"xdpctl_port\0devmap_id\0index_map_id\0xdpctl_rx_metadata\0"
		"rx_timestamp\0rx_hash\0rx_hash_type\0vlan_proto\0vlan_tci\0valid\0"
		"unsigned int\0unsigned long long\0xdpctl_mode\0XDPCTL_MODE_NATIVE\0"
		"XDPCTL_MODE_GENERIC\0XDPCTL_MODE_OFFLOAD\0xdpctl_owner\0"
		"XDPCTL_OWNER_MODULE\0XDPCTL_OWNER_LINK\0XDPCTL_OWNER_NETLINK\0"
		"XDPCTL_OWNER_REDIRECT\0unsigned char\0char\0xdpctl_action\0"
		"XDPCTL_ACTION_ABORTED\0XDPCTL_ACTION_DROP\0XDPCTL_ACTION_PASS\0"
		"XDPCTL_ACTION_TX\0XDPCTL_ACTION_REDIRECT\0xdpctl_state\0"
		"XDPCTL_STATE_ACTIVE\0XDPCTL_STATE_INACTIVE\0xdpctl_source\0"
		"XDPCTL_SOURCE_KERNEL\0XDPCTL_SOURCE_DERIVED\0xdpctl_command\0"
		"XDPCTL_COMMAND_SETUP_REDIRECT\0XDPCTL_COMMAND_SETUP_MD\0"
		"XDPCTL_COMMAND_SETUP_METER\0unsigned short",
};

const void *const xdpctl_btf = &btf;
const u32 xdpctl_btf_size = sizeof(btf.words) + sizeof(btf.strings);

static const struct nla_policy type_get_policy[] = {
	[XDPCTL_A_TYPE_ID] = NLA_POLICY_RANGE(NLA_U32, 1, 6),
};

static const struct nla_policy stats_get_policy[] = {
	[XDPCTL_A_STATS_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy qstats_get_policy[] = {
	[XDPCTL_A_STATS_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[XDPCTL_A_STATS_QUEUE] = { .type = NLA_U32 },
};

static const struct nla_policy prog_get_policy[] = {
	[XDPCTL_A_PROG_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[XDPCTL_A_PROG_QUEUE] = { .type = NLA_U32 },
};

static const struct nla_policy prog_set_policy[] = {
	[XDPCTL_A_PROG_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[XDPCTL_A_PROG_QUEUE] = { .type = NLA_U32 },
	[XDPCTL_A_PROG_UPDATE] = NLA_POLICY_MAX(NLA_U32, 2),
	[XDPCTL_A_PROG_FD] = { .type = NLA_U32 },
	[XDPCTL_A_PROG_EXPECTED_PROG_ID] = NLA_POLICY_MIN(NLA_U32, 1),
	[XDPCTL_A_PROG_MODE] = NLA_POLICY_MASK(NLA_U32, 0x7),
	[XDPCTL_A_PROG_REQUIRED_FEATURES] = NLA_POLICY_MASK(NLA_U64, 0x7f),
	[XDPCTL_A_PROG_REQUIRED_RX_METADATA_FEATURES] = NLA_POLICY_MASK(NLA_U64, 0x7),
	[XDPCTL_A_PROG_REQUIRED_ACTIONS] = NLA_POLICY_MASK(NLA_U32, 0x1f),
};

static const struct nla_policy prog_del_policy[] = {
	[XDPCTL_A_PROG_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[XDPCTL_A_PROG_QUEUE] = { .type = NLA_U32 },
};

static const struct nla_policy caps_get_policy[] = {
	[XDPCTL_A_CAPS_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy attr_get_policy[] = {
	[XDPCTL_A_ATTR_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy attr_set_policy[] = {
	[XDPCTL_A_ATTR_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[XDPCTL_A_ATTR_COMMAND] = NLA_POLICY_RANGE(NLA_U32, 1, 3),
	[XDPCTL_A_ATTR_RINGS_NUM] = { .type = NLA_U32 },
	[XDPCTL_A_ATTR_RINGS_SIZE] = { .type = NLA_U32 },
	[XDPCTL_A_ATTR_ENABLE_MD] = NLA_POLICY_MAX(NLA_U32, 1),
	[XDPCTL_A_ATTR_ENABLE_METER] = NLA_POLICY_MAX(NLA_U32, 1),
	[XDPCTL_A_ATTR_FD] = { .type = NLA_U32 },
	[XDPCTL_A_ATTR_UPDATE] = NLA_POLICY_MAX(NLA_U32, 2),
};

static const struct nla_policy attr_del_policy[] = {
	[XDPCTL_A_ATTR_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy port_get_policy[] = {
	[XDPCTL_A_PORT_PORT] = NLA_POLICY_MAX(NLA_U32, 1023),
};

static const struct nla_policy port_set_policy[] = {
	[XDPCTL_A_PORT_PORT] = NLA_POLICY_MAX(NLA_U32, 1023),
	[XDPCTL_A_PORT_UPDATE] = NLA_POLICY_MAX(NLA_U32, 2),
	[XDPCTL_A_PORT_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
};

static const struct nla_policy port_del_policy[] = {
	[XDPCTL_A_PORT_PORT] = NLA_POLICY_MAX(NLA_U32, 1023),
};

const char *const xdpctl_ctrl_op_names[] = {
	"get-next",
	"lookup",
	"update",
	"delete",
	NULL
};

const char *const xdpctl_mode_names[] = {
	"native",
	"generic",
	"offload",
	NULL
};

const char *const xdpctl_action_names[] = {
	"aborted",
	"drop",
	"pass",
	"tx",
	"redirect",
	NULL
};

const char *const xdpctl_xdp_act_names[] = {
	"basic",
	"redirect",
	"ndo-xmit",
	"xsk-zerocopy",
	"hw-offload",
	"rx-sg",
	"ndo-xmit-sg",
	NULL
};

const char *const xdpctl_xdp_rx_metadata_names[] = {
	"timestamp",
	"hash",
	"vlan-tag",
	NULL
};

const struct genl_ops xdpctl_ops[] = {
	{
		.cmd = XDPCTL_CMD_TYPE_GET,
		.doit = xdpctl_nl_type_get_doit,
		.dumpit = xdpctl_nl_type_get_dumpit,
		.policy = type_get_policy,
		.maxattr = ARRAY_SIZE(type_get_policy) - 1,
	},
	{
		.cmd = XDPCTL_CMD_STATS_GET,
		.doit = xdpctl_nl_get_doit,
		.start = xdpctl_nl_get_start,
		.dumpit = xdpctl_nl_get_dumpit,
		.policy = stats_get_policy,
		.maxattr = ARRAY_SIZE(stats_get_policy) - 1,
	},
	{
		.cmd = XDPCTL_CMD_QSTATS_GET,
		.doit = xdpctl_nl_get_doit,
		.start = xdpctl_nl_get_start,
		.dumpit = xdpctl_nl_get_dumpit,
		.policy = qstats_get_policy,
		.maxattr = ARRAY_SIZE(qstats_get_policy) - 1,
	},
	{
		.cmd = XDPCTL_CMD_PROG_GET,
		.doit = xdpctl_nl_get_doit,
		.start = xdpctl_nl_get_start,
		.dumpit = xdpctl_nl_get_dumpit,
		.policy = prog_get_policy,
		.maxattr = ARRAY_SIZE(prog_get_policy) - 1,
	},
	{
		.cmd = XDPCTL_CMD_PROG_SET,
		.doit = xdpctl_nl_set_doit,
		.policy = prog_set_policy,
		.maxattr = ARRAY_SIZE(prog_set_policy) - 1,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = XDPCTL_CMD_PROG_DEL,
		.doit = xdpctl_nl_del_doit,
		.policy = prog_del_policy,
		.maxattr = ARRAY_SIZE(prog_del_policy) - 1,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = XDPCTL_CMD_CAPS_GET,
		.doit = xdpctl_nl_get_doit,
		.start = xdpctl_nl_get_start,
		.dumpit = xdpctl_nl_get_dumpit,
		.policy = caps_get_policy,
		.maxattr = ARRAY_SIZE(caps_get_policy) - 1,
	},
	{
		.cmd = XDPCTL_CMD_ATTR_GET,
		.doit = xdpctl_nl_get_doit,
		.start = xdpctl_nl_get_start,
		.dumpit = xdpctl_nl_get_dumpit,
		.policy = attr_get_policy,
		.maxattr = ARRAY_SIZE(attr_get_policy) - 1,
	},
	{
		.cmd = XDPCTL_CMD_ATTR_SET,
		.doit = xdpctl_nl_set_doit,
		.policy = attr_set_policy,
		.maxattr = ARRAY_SIZE(attr_set_policy) - 1,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = XDPCTL_CMD_ATTR_DEL,
		.doit = xdpctl_nl_del_doit,
		.policy = attr_del_policy,
		.maxattr = ARRAY_SIZE(attr_del_policy) - 1,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = XDPCTL_CMD_PORT_GET,
		.doit = xdpctl_nl_get_doit,
		.start = xdpctl_nl_get_start,
		.dumpit = xdpctl_nl_get_dumpit,
		.policy = port_get_policy,
		.maxattr = ARRAY_SIZE(port_get_policy) - 1,
	},
	{
		.cmd = XDPCTL_CMD_PORT_SET,
		.doit = xdpctl_nl_set_doit,
		.policy = port_set_policy,
		.maxattr = ARRAY_SIZE(port_set_policy) - 1,
		.flags = GENL_UNS_ADMIN_PERM,
	},
	{
		.cmd = XDPCTL_CMD_PORT_DEL,
		.doit = xdpctl_nl_del_doit,
		.policy = port_del_policy,
		.maxattr = ARRAY_SIZE(port_del_policy) - 1,
		.flags = GENL_UNS_ADMIN_PERM,
	},
};

const unsigned int xdpctl_n_ops = ARRAY_SIZE(xdpctl_ops);

const struct genl_multicast_group xdpctl_mcgrps[] = {
	[XDPCTL_NLGRP_MGMT] = { .name = XDPCTL_MCGRP_MGMT },
	[XDPCTL_NLGRP_EXCEPTION] = { .name = XDPCTL_MCGRP_EXCEPTION },
};

const unsigned int xdpctl_n_mcgrps = ARRAY_SIZE(xdpctl_mcgrps);
