/* SPDX-License-Identifier: GPL-2.0-only */
/* Do not edit directly, auto-generated from: */
/*	family/xdpctl.yaml */
#ifndef XDPCTL_GEN_H
#define XDPCTL_GEN_H

#include <linux/netlink.h>
#include <linux/types.h>
#include <net/genetlink.h>

#include "uapi/xdpctl.h"

/* Where an attribute stands; flags of struct xdpctl_field. */
enum {
	XDPCTL_FIELD_KEY = 1,	/* in the key, else in the value */
	XDPCTL_FIELD_REPLY = 2,	/* in what TYPE-get returns */
	XDPCTL_FIELD_SET = 4,	/* in what TYPE-set takes */
};

enum {
	XDPCTL_KIND_U32,
	XDPCTL_KIND_U64,
	XDPCTL_KIND_STRING,
	XDPCTL_KIND_BINARY,
};

/**
 * struct xdpctl_field - where the structs of a control type hold an attribute
 * @attr: the attribute
 * @offset: in the key if @flags has XDPCTL_FIELD_KEY, else in the value
 * @size: of the member; of a string with the NUL and what fills it up
 * @kind: XDPCTL_KIND_*
 * @flags: XDPCTL_FIELD_*
 * @min: least value of a number that a caller gives
 * @max: greatest value of a number that a caller gives; 0: any
 */
struct xdpctl_field {
	u16 attr;
	u16 offset;
	u16 size;
	u8 kind;
	u8 flags;
	u32 min;
	u32 max;
};

/**
 * struct xdpctl_old_value - a value as it was in an earlier version, which is
 * what the first bytes of it are now
 * @size: its size
 * @btf_id: its type in xdpctl_btf
 * @mask: bits of present that it had
 */
struct xdpctl_old_value {
	u32 size;
	u32 btf_id;
	u64 mask;
};

/**
 * struct xdpctl_type_desc - what the spec says of a control type
 * @name: its name as a map has it
 * @key_size: size of the key
 * @value_size: size of the value
 * @old_values: the value in earlier versions
 * @n_old_values: their number
 * @btf_key_id: type of the key in xdpctl_btf
 * @btf_value_id: type of the value in xdpctl_btf
 * @cmd_get: command TYPE-get
 * @cmd_set: command TYPE-set; 0: none
 * @cmd_del: command TYPE-del; 0: none
 * @cmd_ntf: command TYPE-ntf; 0: none
 * @pad_attr: attribute for padding before 64-bit attributes; 0: none
 * @update_attr: attribute with the flags of an update; 0: none
 * @n_fields: number of @fields
 * @fields: the key's in their order, then the value's by attribute
 * @ops_mask: XDPCTL_CTRL_OP_*
 * @reply_mask: bits of present that TYPE-get can return
 * @set_mask: bits of present that TYPE-set takes
 */
struct xdpctl_type_desc {
	const char *name;
	u32 key_size;
	u32 value_size;
	const struct xdpctl_old_value *old_values;
	u8 n_old_values;
	u32 btf_key_id;
	u32 btf_value_id;
	u8 cmd_get;
	u8 cmd_set;
	u8 cmd_del;
	u8 cmd_ntf;
	u16 pad_attr;
	u16 update_attr;
	u16 n_fields;
	const struct xdpctl_field *fields;
	u32 ops_mask;
	u64 reply_mask;
	u64 set_mask;
};

/* By enum xdpctl_ctrl_type; [0] is empty. */
extern const struct xdpctl_type_desc xdpctl_descs[XDPCTL_CTRL_TYPE_MAX + 1];

/* BTF of keys and values, in the byte order of the machine. */
extern const void *const xdpctl_btf;
extern const u32 xdpctl_btf_size;

/* Types in it that are no key or value. */
#define XDPCTL_BTF_RX_METADATA	17

/* Names of flags, by bit, up to NULL. */
extern const char *const xdpctl_ctrl_op_names[];
extern const char *const xdpctl_mode_names[];
extern const char *const xdpctl_action_names[];
extern const char *const xdpctl_xdp_act_names[];
extern const char *const xdpctl_xdp_rx_metadata_names[];

extern const struct genl_ops xdpctl_ops[];
extern const unsigned int xdpctl_n_ops;

enum {
	XDPCTL_NLGRP_MGMT,
	XDPCTL_NLGRP_EXCEPTION,
};

extern const struct genl_multicast_group xdpctl_mcgrps[];
extern const unsigned int xdpctl_n_mcgrps;

/* Handlers, in netlink.c */
int xdpctl_nl_type_get_doit(struct sk_buff *skb, struct genl_info *info);
int xdpctl_nl_type_get_dumpit(struct sk_buff *skb,
			      struct netlink_callback *cb);
int xdpctl_nl_get_doit(struct sk_buff *skb, struct genl_info *info);
int xdpctl_nl_get_start(struct netlink_callback *cb);
int xdpctl_nl_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int xdpctl_nl_set_doit(struct sk_buff *skb, struct genl_info *info);
int xdpctl_nl_del_doit(struct sk_buff *skb, struct genl_info *info);

#endif /* XDPCTL_GEN_H */
