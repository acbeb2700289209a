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
static_assert(sizeof(struct xdpctl_stats) == 152);
static_assert(sizeof(struct xdpctl_qstats_key) == 8);
static_assert(sizeof(struct xdpctl_qstats) == 120);
static_assert(sizeof(struct xdpctl_prog_key) == 8);
static_assert(sizeof(struct xdpctl_prog) == 64);
static_assert(sizeof(struct xdpctl_caps_key) == 4);
static_assert(sizeof(struct xdpctl_caps) == 80);

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
};

const struct xdpctl_type_desc xdpctl_descs[XDPCTL_CTRL_TYPE_MAX + 1] = {
	[XDPCTL_CTRL_TYPE_XDP_STATS] = {
		.name = "xdp_stats",
		.key_size = sizeof(struct xdpctl_stats_key),
		.value_size = sizeof(struct xdpctl_stats),
		.btf_key_id = 1,
		.btf_value_id = 2,
		.cmd_get = XDPCTL_CMD_STATS_GET,
		.pad_attr = XDPCTL_A_STATS_PAD,
		.n_fields = ARRAY_SIZE(stats_fields),
		.fields = stats_fields,
		.ops_mask = XDPCTL_CTRL_OP_GET_NEXT |
			    XDPCTL_CTRL_OP_LOOKUP,
		.reply_mask = 0x3ffff0,
		.set_mask = 0x0,
	},
	[XDPCTL_CTRL_TYPE_XDP_QSTATS] = {
		.name = "xdp_qstats",
		.key_size = sizeof(struct xdpctl_qstats_key),
		.value_size = sizeof(struct xdpctl_qstats),
		.btf_key_id = 3,
		.btf_value_id = 4,
		.cmd_get = XDPCTL_CMD_QSTATS_GET,
		.pad_attr = XDPCTL_A_STATS_PAD,
		.n_fields = ARRAY_SIZE(qstats_fields),
		.fields = qstats_fields,
		.ops_mask = XDPCTL_CTRL_OP_GET_NEXT |
			    XDPCTL_CTRL_OP_LOOKUP,
		.reply_mask = 0x3fff0,
		.set_mask = 0x0,
	},
	[XDPCTL_CTRL_TYPE_XDP_PROG] = {
		.name = "xdp_prog",
		.key_size = sizeof(struct xdpctl_prog_key),
		.value_size = sizeof(struct xdpctl_prog),
		.btf_key_id = 5,
		.btf_value_id = 6,
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
		.reply_mask = 0x3f80,
		.set_mask = 0xe0,
	},
	[XDPCTL_CTRL_TYPE_XDP_CAPS] = {
		.name = "xdp_caps",
		.key_size = sizeof(struct xdpctl_caps_key),
		.value_size = sizeof(struct xdpctl_caps),
		.btf_key_id = 7,
		.btf_value_id = 8,
		.cmd_get = XDPCTL_CMD_CAPS_GET,
		.pad_attr = XDPCTL_A_CAPS_PAD,
		.n_fields = ARRAY_SIZE(caps_fields),
		.fields = caps_fields,
		.ops_mask = XDPCTL_CTRL_OP_GET_NEXT |
			    XDPCTL_CTRL_OP_LOOKUP,
		.reply_mask = 0xff8,
		.set_mask = 0x0,
	},
};

/* Header and types are 32-bit words but for the first. */
#ifdef __BIG_ENDIAN
#define BTF_WORD0	0xeb9f0100
#else
#define BTF_WORD0	0x0001eb9f
#endif

static const struct {
	u32 words[269];
	char strings[767];
} btf = {
	.words = {
		BTF_WORD0,
		0x00000018, 0x00000000, 0x0000041c, 0x0000041c, 0x000002ff, 0x00000001,
		0x04000001, 0x00000004, 0x00000012, 0x00000009, 0x00000000, 0x0000001a,
		0x04000013, 0x00000098, 0x00000027, 0x0000000a, 0x00000000, 0x0000002f,
		0x0000000a, 0x00000040, 0x00000037, 0x0000000a, 0x00000080, 0x0000003d,
		0x0000000a, 0x000000c0, 0x00000045, 0x0000000a, 0x00000100, 0x0000004a,
		0x0000000a, 0x00000140, 0x00000052, 0x0000000a, 0x00000180, 0x00000057,
		0x0000000a, 0x000001c0, 0x00000060, 0x0000000a, 0x00000200, 0x00000070,
		0x0000000a, 0x00000240, 0x00000073, 0x0000000a, 0x00000280, 0x0000007d,
		0x0000000a, 0x000002c0, 0x0000008a, 0x0000000a, 0x00000300, 0x00000095,
		0x0000000a, 0x00000340, 0x000000a1, 0x0000000a, 0x00000380, 0x000000ab,
		0x0000000a, 0x000003c0, 0x000000bd, 0x0000000a, 0x00000400, 0x000000ca,
		0x0000000a, 0x00000440, 0x000000dd, 0x0000000a, 0x00000480, 0x000000ef,
		0x04000002, 0x00000008, 0x00000012, 0x00000009, 0x00000000, 0x00000101,
		0x00000009, 0x00000020, 0x00000107, 0x0400000f, 0x00000078, 0x00000027,
		0x0000000a, 0x00000000, 0x0000002f, 0x0000000a, 0x00000040, 0x00000037,
		0x0000000a, 0x00000080, 0x0000003d, 0x0000000a, 0x000000c0, 0x00000045,
		0x0000000a, 0x00000100, 0x0000004a, 0x0000000a, 0x00000140, 0x00000052,
		0x0000000a, 0x00000180, 0x00000057, 0x0000000a, 0x000001c0, 0x00000060,
		0x0000000a, 0x00000200, 0x00000070, 0x0000000a, 0x00000240, 0x00000073,
		0x0000000a, 0x00000280, 0x0000007d, 0x0000000a, 0x000002c0, 0x0000008a,
		0x0000000a, 0x00000300, 0x00000095, 0x0000000a, 0x00000340, 0x000000a1,
		0x0000000a, 0x00000380, 0x00000115, 0x04000002, 0x00000008, 0x00000012,
		0x00000009, 0x00000000, 0x00000101, 0x00000009, 0x00000020, 0x00000125,
		0x0400000a, 0x00000040, 0x00000027, 0x0000000a, 0x00000000, 0x00000131,
		0x00000009, 0x00000040, 0x00000134, 0x00000009, 0x00000060, 0x00000145,
		0x0000000b, 0x00000080, 0x0000014a, 0x00000009, 0x000000a0, 0x00000152,
		0x00000009, 0x000000c0, 0x0000015a, 0x0000000c, 0x000000e0, 0x00000160,
		0x00000009, 0x00000100, 0x0000016b, 0x0000000e, 0x00000120, 0x0000016f,
		0x00000010, 0x00000160, 0x00000174, 0x04000001, 0x00000004, 0x00000012,
		0x00000009, 0x00000000, 0x00000184, 0x0400000a, 0x00000050, 0x00000027,
		0x0000000a, 0x00000000, 0x00000190, 0x0000000a, 0x00000040, 0x0000019d,
		0x0000000a, 0x00000080, 0x000001b6, 0x00000009, 0x000000c0, 0x000001c6,
		0x00000011, 0x000000e0, 0x000001cd, 0x00000009, 0x00000100, 0x000001d7,
		0x00000009, 0x00000120, 0x000001e1, 0x00000009, 0x00000140, 0x000001ef,
		0x00000009, 0x00000160, 0x000001fd, 0x00000012, 0x00000180, 0x00000204,
		0x01000000, 0x00000004, 0x00000020, 0x00000211, 0x01000000, 0x00000008,
		0x00000040, 0x00000224, 0x06000003, 0x00000004, 0x00000230, 0x00000001,
		0x00000243, 0x00000002, 0x00000257, 0x00000004, 0x0000026b, 0x06000003,
		0x00000004, 0x00000278, 0x00000001, 0x0000028c, 0x00000002, 0x0000029e,
		0x00000003, 0x000002b3, 0x01000000, 0x00000001, 0x00000008, 0x00000000,
		0x03000000, 0x00000000, 0x0000000d, 0x00000009, 0x00000008, 0x000002c1,
		0x01000000, 0x00000001, 0x02000008, 0x00000000, 0x03000000, 0x00000000,
		0x0000000f, 0x00000009, 0x00000010, 0x000002c6, 0x06000002, 0x00000004,
		0x000002d4, 0x00000001, 0x000002e9, 0x00000002, 0x00000000, 0x03000000,
		0x00000000, 0x0000000f, 0x00000009, 0x00000020,
	},
	.strings =
		"\0xdpctl_stats_key\0ifindex\0xdpctl_stats\0present\0packets\0bytes\0"
		"aborted\0drop\0invalid\0pass\0redirect\0redirect_errors\0tx\0"
		"tx_errors\0xmit_packets\0xmit_bytes\0xmit_errors\0xmit_full\0"
		"exception_aborted\0exception_tx\0exception_redirect\0"
		"exception_invalid\0xdpctl_qstats_key\0queue\0xdpctl_qstats\0"
		"xdpctl_prog_key\0xdpctl_prog\0fd\0expected_prog_id\0mode\0prog_id\0"
		"link_id\0owner\0hw_prog_id\0tag\0name\0xdpctl_caps_key\0xdpctl_caps\0"
		"xdp_features\0xdp_rx_metadata_features\0xdp_zc_max_segs\0source\0"
		"rx_queues\0tx_queues\0max_rx_queues\0max_tx_queues\0driver\0"
		"unsigned int\0unsigned long long\0xdpctl_mode\0XDPCTL_MODE_NATIVE\0"
		"XDPCTL_MODE_GENERIC\0XDPCTL_MODE_OFFLOAD\0xdpctl_owner\0"
		"XDPCTL_OWNER_MODULE\0XDPCTL_OWNER_LINK\0XDPCTL_OWNER_NETLINK\0"
		"unsigned char\0char\0xdpctl_source\0XDPCTL_SOURCE_KERNEL\0"
		"XDPCTL_SOURCE_DERIVED",
};

const void *const xdpctl_btf = &btf;
const u32 xdpctl_btf_size = sizeof(btf.words) + sizeof(btf.strings);

static const struct nla_policy type_get_policy[] = {
	[XDPCTL_A_TYPE_ID] = NLA_POLICY_RANGE(NLA_U32, 1, 4),
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
};

static const struct nla_policy prog_del_policy[] = {
	[XDPCTL_A_PROG_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
	[XDPCTL_A_PROG_QUEUE] = { .type = NLA_U32 },
};

static const struct nla_policy caps_get_policy[] = {
	[XDPCTL_A_CAPS_IFINDEX] = NLA_POLICY_MIN(NLA_U32, 1),
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
};

const unsigned int xdpctl_n_ops = ARRAY_SIZE(xdpctl_ops);

const struct genl_multicast_group xdpctl_mcgrps[] = {
	[XDPCTL_NLGRP_MGMT] = { .name = XDPCTL_MCGRP_MGMT },
};

const unsigned int xdpctl_n_mcgrps = ARRAY_SIZE(xdpctl_mcgrps);
