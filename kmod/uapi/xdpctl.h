/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	family/xdpctl.yaml */
#ifndef _UAPI_LINUX_XDPCTL_H
#define _UAPI_LINUX_XDPCTL_H

#include <linux/types.h>

/*
 * Control of XDP: statistics, settings, programs, capabilities and ports of
 * netdevs. Each control type (enum ctrl-type) is a table from a key to a
 * value. The operation TYPE-get reads it (do is lookup, dump is iterate),
 * TYPE-set updates, TYPE-del deletes. The same tables are served as BPF
 * control maps, created with bpf(2) on a netdev of kind xdpctl.
 *
 * Netlink door: generic netlink family XDPCTL_FAMILY_NAME. Operation NAME-get
 * is the command XDPCTL_CMD_NAME_GET, and so on; it has the attributes
 * XDPCTL_A_SET_* of its set, which is NAME or, for qstats, stats. Requests are
 * checked strictly: an attribute that an operation does not take is refused.
 *
 * Map door: maps of type BPF_MAP_TYPE_HASH, created with map_ifindex set to a
 * netdev of kind xdpctl. The sizes of key and value choose the control type
 * xdp_NAME; type-get tells them. The key is struct xdpctl_NAME_key, the value
 * struct xdpctl_NAME. A value is the reply of NAME-get written as a struct:
 * bit n of its member present is set if the attribute with id n is there, and
 * a member whose bit is not set means nothing. In an update the bits say which
 * members the caller gives. The flags of an update are those of enum
 * xdpctl_update.
 */

#define XDPCTL_FAMILY_NAME	"xdpctl"
#define XDPCTL_FAMILY_VERSION	1

/* The bit of an attribute in the member present of a value. */
#define XDPCTL_PRESENT(attr)	(1ULL << (attr))

/* In a key, the whole device instead of one RX queue. */
#define XDPCTL_QUEUE_ALL	0xffffffff

/* Size of struct xdpctl_stats before metered. */
#define XDPCTL_STATS_VALUE_SIZE_1	152

/* Size of struct xdpctl_qstats before metered. */
#define XDPCTL_QSTATS_VALUE_SIZE_1	120

/* Size of struct xdpctl_prog before required-features. */
#define XDPCTL_PROG_VALUE_SIZE_1	64

/* Size of struct xdpctl_caps before actions. */
#define XDPCTL_CAPS_VALUE_SIZE_1	80

/* Ports that the table of a network namespace has, numbered from 0. */
#define XDPCTL_PORTS	1024

/**
 * enum xdpctl_ctrl_type - Control types. The attribute set and operations of
 *   xdp-NAME are NAME's.
 * @XDPCTL_CTRL_TYPE_XDP_STATS: XDP counters of a netdev.
 * @XDPCTL_CTRL_TYPE_XDP_QSTATS: XDP counters of one RX queue of a netdev.
 * @XDPCTL_CTRL_TYPE_XDP_PROG: XDP programs attached to a netdev.
 * @XDPCTL_CTRL_TYPE_XDP_CAPS: What XDP can do on a netdev.
 * @XDPCTL_CTRL_TYPE_XDP_ATTR: XDP settings of a netdev.
 * @XDPCTL_CTRL_TYPE_XDP_PORT: The table of ports for multi-port TX.
 */
enum xdpctl_ctrl_type {
	XDPCTL_CTRL_TYPE_XDP_STATS = 1,
	XDPCTL_CTRL_TYPE_XDP_QSTATS,
	XDPCTL_CTRL_TYPE_XDP_PROG,
	XDPCTL_CTRL_TYPE_XDP_CAPS,
	XDPCTL_CTRL_TYPE_XDP_ATTR,
	XDPCTL_CTRL_TYPE_XDP_PORT,

	/* private: */
	__XDPCTL_CTRL_TYPE_MAX,
	XDPCTL_CTRL_TYPE_MAX = (__XDPCTL_CTRL_TYPE_MAX - 1)
};

/**
 * enum xdpctl_ctrl_op - Operations that a control type supports.
 * @XDPCTL_CTRL_OP_GET_NEXT: Iterate; TYPE-get as a dump, BPF_MAP_GET_NEXT_KEY.
 * @XDPCTL_CTRL_OP_LOOKUP: TYPE-get as a do, BPF_MAP_LOOKUP_ELEM.
 * @XDPCTL_CTRL_OP_UPDATE: TYPE-set, BPF_MAP_UPDATE_ELEM.
 * @XDPCTL_CTRL_OP_DELETE: TYPE-del, BPF_MAP_DELETE_ELEM.
 */
enum xdpctl_ctrl_op {
	XDPCTL_CTRL_OP_GET_NEXT = 1,
	XDPCTL_CTRL_OP_LOOKUP = 2,
	XDPCTL_CTRL_OP_UPDATE = 4,
	XDPCTL_CTRL_OP_DELETE = 8,

	/* private: */
	XDPCTL_CTRL_OP_MASK = 15
};

/**
 * enum xdpctl_update - What an update does where there is an entry, and where
 *   there is none. The values are those of BPF_ANY, BPF_NOEXIST and BPF_EXIST.
 * @XDPCTL_UPDATE_ANY: Add or replace.
 * @XDPCTL_UPDATE_NOEXIST: Add; EEXIST if there is an entry.
 * @XDPCTL_UPDATE_EXIST: Replace; ENOENT if there is none.
 */
enum xdpctl_update {
	XDPCTL_UPDATE_ANY,
	XDPCTL_UPDATE_NOEXIST,
	XDPCTL_UPDATE_EXIST,
};

/**
 * enum xdpctl_mode - XDP mode. In an update at most one bit; 0 is best effort,
 *   native where the driver can and generic elsewhere.
 * @XDPCTL_MODE_NATIVE: In the driver, before an skb is allocated
 *   (XDP_FLAGS_DRV_MODE).
 * @XDPCTL_MODE_GENERIC: In the core, on an skb (XDP_FLAGS_SKB_MODE).
 * @XDPCTL_MODE_OFFLOAD: On the device (XDP_FLAGS_HW_MODE). Reported, never
 *   set.
 */
enum xdpctl_mode {
	XDPCTL_MODE_NATIVE = 1,
	XDPCTL_MODE_GENERIC = 2,
	XDPCTL_MODE_OFFLOAD = 4,

	/* private: */
	XDPCTL_MODE_MASK = 7
};

/**
 * enum xdpctl_owner - Who holds an attachment.
 * @XDPCTL_OWNER_MODULE: This family, through either door.
 * @XDPCTL_OWNER_LINK: A BPF link of somebody else.
 * @XDPCTL_OWNER_NETLINK: rtnetlink (IFLA_XDP), nobody in particular.
 * @XDPCTL_OWNER_REDIRECT: This family, for the sake of setup-redirect alone. A
 *   placeholder that passes every frame, and makes room for a program attached
 *   through this family.
 */
enum xdpctl_owner {
	XDPCTL_OWNER_MODULE = 1,
	XDPCTL_OWNER_LINK,
	XDPCTL_OWNER_NETLINK,
	XDPCTL_OWNER_REDIRECT,
};

/**
 * enum xdpctl_state - State of the program of an RX queue.
 * @XDPCTL_STATE_ACTIVE: It runs on the frames of its queue.
 * @XDPCTL_STATE_INACTIVE: The netdev has no such queue at present.
 */
enum xdpctl_state {
	XDPCTL_STATE_ACTIVE = 1,
	XDPCTL_STATE_INACTIVE,
};

/**
 * enum xdpctl_command - What an update of xdp-attr sets.
 * @XDPCTL_COMMAND_SETUP_REDIRECT: Whether frames can be redirected to the
 *   netdev though it has no XDP program, and the TX rings for them, by
 *   rings-num and rings-size.
 * @XDPCTL_COMMAND_SETUP_MD: RX metadata, by enable-md.
 * @XDPCTL_COMMAND_SETUP_METER: The counters of verdicts, by enable-meter.
 */
enum xdpctl_command {
	XDPCTL_COMMAND_SETUP_REDIRECT = 1,
	XDPCTL_COMMAND_SETUP_MD,
	XDPCTL_COMMAND_SETUP_METER,
};

/**
 * enum xdpctl_action - XDP actions. Bit n is the action n of enum xdp_action.
 * @XDPCTL_ACTION_ABORTED: XDP_ABORTED.
 * @XDPCTL_ACTION_DROP: XDP_DROP.
 * @XDPCTL_ACTION_PASS: XDP_PASS.
 * @XDPCTL_ACTION_TX: XDP_TX. A veth sends frames back only while its peer has
 *   NAPI.
 * @XDPCTL_ACTION_REDIRECT: XDP_REDIRECT.
 */
enum xdpctl_action {
	XDPCTL_ACTION_ABORTED = 1,
	XDPCTL_ACTION_DROP = 2,
	XDPCTL_ACTION_PASS = 4,
	XDPCTL_ACTION_TX = 8,
	XDPCTL_ACTION_REDIRECT = 16,

	/* private: */
	XDPCTL_ACTION_MASK = 31
};

/**
 * enum xdpctl_xdp_act - XDP features, with the names and values of the netdev
 *   family's xdp-act.
 * @XDPCTL_XDP_ACT_BASIC: XDP_ABORTED, XDP_DROP, XDP_PASS and XDP_TX.
 * @XDPCTL_XDP_ACT_REDIRECT: XDP_REDIRECT.
 * @XDPCTL_XDP_ACT_NDO_XMIT: The netdev implements ndo_xdp_xmit, so that frames
 *   can be redirected to it.
 * @XDPCTL_XDP_ACT_XSK_ZEROCOPY: AF_XDP in zero-copy mode.
 * @XDPCTL_XDP_ACT_HW_OFFLOAD: Programs can be offloaded to the device.
 * @XDPCTL_XDP_ACT_RX_SG: Non-linear XDP buffers on receive.
 * @XDPCTL_XDP_ACT_NDO_XMIT_SG: Non-linear XDP buffers in ndo_xdp_xmit.
 */
enum xdpctl_xdp_act {
	XDPCTL_XDP_ACT_BASIC = 1,
	XDPCTL_XDP_ACT_REDIRECT = 2,
	XDPCTL_XDP_ACT_NDO_XMIT = 4,
	XDPCTL_XDP_ACT_XSK_ZEROCOPY = 8,
	XDPCTL_XDP_ACT_HW_OFFLOAD = 16,
	XDPCTL_XDP_ACT_RX_SG = 32,
	XDPCTL_XDP_ACT_NDO_XMIT_SG = 64,

	/* private: */
	XDPCTL_XDP_ACT_MASK = 127
};

/**
 * enum xdpctl_xdp_rx_metadata - RX metadata features, with the names and
 *   values of the netdev family's xdp-rx-metadata.
 * @XDPCTL_XDP_RX_METADATA_TIMESTAMP: bpf_xdp_metadata_rx_timestamp().
 * @XDPCTL_XDP_RX_METADATA_HASH: bpf_xdp_metadata_rx_hash().
 * @XDPCTL_XDP_RX_METADATA_VLAN_TAG: bpf_xdp_metadata_rx_vlan_tag().
 */
enum xdpctl_xdp_rx_metadata {
	XDPCTL_XDP_RX_METADATA_TIMESTAMP = 1,
	XDPCTL_XDP_RX_METADATA_HASH = 2,
	XDPCTL_XDP_RX_METADATA_VLAN_TAG = 4,

	/* private: */
	XDPCTL_XDP_RX_METADATA_MASK = 7
};

/**
 * enum xdpctl_source - Where a capability comes from.
 * @XDPCTL_SOURCE_KERNEL: The kernel's own xdp_features of the netdev.
 * @XDPCTL_SOURCE_DERIVED: The driver's operations and name, on kernels without
 *   xdp_features. A bit that is not set may still be there.
 */
enum xdpctl_source {
	XDPCTL_SOURCE_KERNEL = 1,
	XDPCTL_SOURCE_DERIVED,
};

enum {
	XDPCTL_A_TYPE_ID = 1,
	XDPCTL_A_TYPE_NAME,
	XDPCTL_A_TYPE_KEY_SIZE,
	XDPCTL_A_TYPE_VALUE_SIZE,
	XDPCTL_A_TYPE_OPERATIONS,
	XDPCTL_A_TYPE_BTF_ID,
	XDPCTL_A_TYPE_BTF_KEY_TYPE_ID,
	XDPCTL_A_TYPE_BTF_VALUE_TYPE_ID,

	__XDPCTL_A_TYPE_MAX,
	XDPCTL_A_TYPE_MAX = (__XDPCTL_A_TYPE_MAX - 1)
};

enum {
	XDPCTL_A_STATS_IFINDEX = 1,
	XDPCTL_A_STATS_QUEUE,
	XDPCTL_A_STATS_PAD,
	XDPCTL_A_STATS_PACKETS,
	XDPCTL_A_STATS_BYTES,
	XDPCTL_A_STATS_ABORTED,
	XDPCTL_A_STATS_DROP,
	XDPCTL_A_STATS_INVALID,
	XDPCTL_A_STATS_PASS,
	XDPCTL_A_STATS_REDIRECT,
	XDPCTL_A_STATS_REDIRECT_ERRORS,
	XDPCTL_A_STATS_TX,
	XDPCTL_A_STATS_TX_ERRORS,
	XDPCTL_A_STATS_XMIT_PACKETS,
	XDPCTL_A_STATS_XMIT_BYTES,
	XDPCTL_A_STATS_XMIT_ERRORS,
	XDPCTL_A_STATS_XMIT_FULL,
	XDPCTL_A_STATS_EXCEPTION_ABORTED,
	XDPCTL_A_STATS_EXCEPTION_TX,
	XDPCTL_A_STATS_EXCEPTION_REDIRECT,
	XDPCTL_A_STATS_EXCEPTION_INVALID,
	XDPCTL_A_STATS_METERED,

	__XDPCTL_A_STATS_MAX,
	XDPCTL_A_STATS_MAX = (__XDPCTL_A_STATS_MAX - 1)
};

enum {
	XDPCTL_A_PROG_IFINDEX = 1,
	XDPCTL_A_PROG_QUEUE,
	XDPCTL_A_PROG_PAD,
	XDPCTL_A_PROG_UPDATE,
	XDPCTL_A_PROG_FD,
	XDPCTL_A_PROG_EXPECTED_PROG_ID,
	XDPCTL_A_PROG_MODE,
	XDPCTL_A_PROG_PROG_ID,
	XDPCTL_A_PROG_LINK_ID,
	XDPCTL_A_PROG_OWNER,
	XDPCTL_A_PROG_HW_PROG_ID,
	XDPCTL_A_PROG_TAG,
	XDPCTL_A_PROG_NAME,
	XDPCTL_A_PROG_REQUIRED_FEATURES,
	XDPCTL_A_PROG_REQUIRED_RX_METADATA_FEATURES,
	XDPCTL_A_PROG_REQUIRED_ACTIONS,
	XDPCTL_A_PROG_STATE,
	XDPCTL_A_PROG_DISPATCHER_PROG_ID,

	__XDPCTL_A_PROG_MAX,
	XDPCTL_A_PROG_MAX = (__XDPCTL_A_PROG_MAX - 1)
};

enum {
	XDPCTL_A_CAPS_IFINDEX = 1,
	XDPCTL_A_CAPS_PAD,
	XDPCTL_A_CAPS_XDP_FEATURES,
	XDPCTL_A_CAPS_XDP_RX_METADATA_FEATURES,
	XDPCTL_A_CAPS_XDP_ZC_MAX_SEGS,
	XDPCTL_A_CAPS_SOURCE,
	XDPCTL_A_CAPS_RX_QUEUES,
	XDPCTL_A_CAPS_TX_QUEUES,
	XDPCTL_A_CAPS_MAX_RX_QUEUES,
	XDPCTL_A_CAPS_MAX_TX_QUEUES,
	XDPCTL_A_CAPS_DRIVER,
	XDPCTL_A_CAPS_ACTIONS,

	__XDPCTL_A_CAPS_MAX,
	XDPCTL_A_CAPS_MAX = (__XDPCTL_A_CAPS_MAX - 1)
};

enum {
	XDPCTL_A_ATTR_IFINDEX = 1,
	XDPCTL_A_ATTR_PAD,
	XDPCTL_A_ATTR_COMMAND,
	XDPCTL_A_ATTR_RINGS_NUM,
	XDPCTL_A_ATTR_RINGS_SIZE,
	XDPCTL_A_ATTR_ENABLE_MD,
	XDPCTL_A_ATTR_MD_BTF_ID,
	XDPCTL_A_ATTR_MD_TYPE_ID,
	XDPCTL_A_ATTR_ENABLE_METER,
	XDPCTL_A_ATTR_FD,
	XDPCTL_A_ATTR_MD_USERS,
	XDPCTL_A_ATTR_PLACEHOLDER_PROG_ID,
	XDPCTL_A_ATTR_MD_FEATURES,
	XDPCTL_A_ATTR_UPDATE,

	__XDPCTL_A_ATTR_MAX,
	XDPCTL_A_ATTR_MAX = (__XDPCTL_A_ATTR_MAX - 1)
};

enum {
	XDPCTL_A_PORT_PORT = 1,
	XDPCTL_A_PORT_UPDATE,
	XDPCTL_A_PORT_IFINDEX,
	XDPCTL_A_PORT_DEVMAP_ID,
	XDPCTL_A_PORT_INDEX_MAP_ID,

	__XDPCTL_A_PORT_MAX,
	XDPCTL_A_PORT_MAX = (__XDPCTL_A_PORT_MAX - 1)
};

enum {
	XDPCTL_A_EXCEPTION_IFINDEX = 1,
	XDPCTL_A_EXCEPTION_PAD,
	XDPCTL_A_EXCEPTION_PROG_ID,
	XDPCTL_A_EXCEPTION_ACTION,
	XDPCTL_A_EXCEPTION_COUNT,
	XDPCTL_A_EXCEPTION_QUEUE,

	__XDPCTL_A_EXCEPTION_MAX,
	XDPCTL_A_EXCEPTION_MAX = (__XDPCTL_A_EXCEPTION_MAX - 1)
};

enum {
	XDPCTL_CMD_TYPE_GET = 1,
	XDPCTL_CMD_STATS_GET,
	XDPCTL_CMD_QSTATS_GET,
	XDPCTL_CMD_PROG_GET,
	XDPCTL_CMD_PROG_SET,
	XDPCTL_CMD_PROG_DEL,
	XDPCTL_CMD_PROG_NTF,
	XDPCTL_CMD_CAPS_GET,
	XDPCTL_CMD_ATTR_GET,
	XDPCTL_CMD_ATTR_SET,
	XDPCTL_CMD_ATTR_DEL,
	XDPCTL_CMD_ATTR_NTF,
	XDPCTL_CMD_PORT_GET,
	XDPCTL_CMD_PORT_SET,
	XDPCTL_CMD_PORT_DEL,
	XDPCTL_CMD_PORT_NTF,
	XDPCTL_CMD_EXCEPTION_NTF,

	__XDPCTL_CMD_MAX,
	XDPCTL_CMD_MAX = (__XDPCTL_CMD_MAX - 1)
};

#define XDPCTL_MCGRP_MGMT	"mgmt"
#define XDPCTL_MCGRP_EXCEPTION	"exception"

/**
 * struct xdpctl_stats_key - key of control type xdp_stats
 * @ifindex: The netdev.
 */
struct xdpctl_stats_key {
	__u32 ifindex;
};

/**
 * struct xdpctl_stats - value of control type xdp_stats
 * @present: bit n is set if the attribute with id n is there
 * @packets: Frames seen by an XDP program.
 * @bytes: Bytes in those frames.
 * @aborted: Frames dropped by verdict XDP_ABORTED.
 * @drop: Frames dropped by verdict XDP_DROP, and no others.
 * @invalid: Frames dropped because the verdict is no XDP action.
 * @pass: Frames passed to the stack by verdict XDP_PASS.
 * @redirect: Frames redirected by verdict XDP_REDIRECT.
 * @redirect_errors: Frames whose XDP_REDIRECT failed.
 * @tx: Frames sent back by verdict XDP_TX.
 * @tx_errors: Frames whose XDP_TX failed.
 * @xmit_packets: Frames sent out through ndo_xdp_xmit, redirected here from
 *   another netdev.
 * @xmit_bytes: Bytes in those frames.
 * @xmit_errors: Frames handed to ndo_xdp_xmit and not sent.
 * @xmit_full: Those of xmit-errors for which the TX ring was full.
 * @exception_aborted: Exceptions (tracepoint xdp_exception) with action
 *   XDP_ABORTED.
 * @exception_tx: Exceptions with action XDP_TX.
 * @exception_redirect: Exceptions with action XDP_REDIRECT.
 * @exception_invalid: Exceptions with an action that is no XDP action, or that
 *   has no business there.
 * @metered: Bit n is set if the attribute with id n was counted by the meter
 *   (setup-meter), since it was switched on. It counts verdicts, so that
 *   redirect and tx have the frames in them whose redirection or sending
 *   failed. Absent while the meter is off, or does not see the program on the
 *   netdev.
 */
struct xdpctl_stats {
	__u64 present;
	__u64 packets;
	__u64 bytes;
	__u64 aborted;
	__u64 drop;
	__u64 invalid;
	__u64 pass;
	__u64 redirect;
	__u64 redirect_errors;
	__u64 tx;
	__u64 tx_errors;
	__u64 xmit_packets;
	__u64 xmit_bytes;
	__u64 xmit_errors;
	__u64 xmit_full;
	__u64 exception_aborted;
	__u64 exception_tx;
	__u64 exception_redirect;
	__u64 exception_invalid;
	__u64 metered;
};

/**
 * struct xdpctl_qstats_key - key of control type xdp_qstats
 * @ifindex: The netdev.
 * @queue: RX queue, from 0.
 */
struct xdpctl_qstats_key {
	__u32 ifindex;
	__u32 queue;
};

/**
 * struct xdpctl_qstats - value of control type xdp_qstats
 * @present: bit n is set if the attribute with id n is there
 * @packets: Frames seen by an XDP program.
 * @bytes: Bytes in those frames.
 * @aborted: Frames dropped by verdict XDP_ABORTED.
 * @drop: Frames dropped by verdict XDP_DROP, and no others.
 * @invalid: Frames dropped because the verdict is no XDP action.
 * @pass: Frames passed to the stack by verdict XDP_PASS.
 * @redirect: Frames redirected by verdict XDP_REDIRECT.
 * @redirect_errors: Frames whose XDP_REDIRECT failed.
 * @tx: Frames sent back by verdict XDP_TX.
 * @tx_errors: Frames whose XDP_TX failed.
 * @xmit_packets: Frames sent out through ndo_xdp_xmit, redirected here from
 *   another netdev.
 * @xmit_bytes: Bytes in those frames.
 * @xmit_errors: Frames handed to ndo_xdp_xmit and not sent.
 * @xmit_full: Those of xmit-errors for which the TX ring was full.
 * @metered: Bit n is set if the attribute with id n was counted by the meter
 *   (setup-meter), since it was switched on. It counts verdicts, so that
 *   redirect and tx have the frames in them whose redirection or sending
 *   failed. Absent while the meter is off, or does not see the program on the
 *   netdev.
 */
struct xdpctl_qstats {
	__u64 present;
	__u64 packets;
	__u64 bytes;
	__u64 aborted;
	__u64 drop;
	__u64 invalid;
	__u64 pass;
	__u64 redirect;
	__u64 redirect_errors;
	__u64 tx;
	__u64 tx_errors;
	__u64 xmit_packets;
	__u64 xmit_bytes;
	__u64 xmit_errors;
	__u64 xmit_full;
	__u64 metered;
};

/**
 * struct xdpctl_prog_key - key of control type xdp_prog
 * @ifindex: The netdev.
 * @queue: RX queue, or queue-all for the whole netdev, which is also meant
 *   where the attribute is absent.
 */
struct xdpctl_prog_key {
	__u32 ifindex;
	__u32 queue;
};

/**
 * struct xdpctl_prog - value of control type xdp_prog
 * @present: bit n is set if the attribute with id n is there
 * @fd: File descriptor, in the caller, of the program to attach. Never
 *   reported.
 * @expected_prog_id: In an update, the id that the attached program must have;
 *   EEXIST if it has another, ENOENT if there is none. Never reported.
 * @mode: XDP mode.
 * @prog_id: Id of the attached program.
 * @link_id: Id of the BPF link that holds it; absent for owner netlink.
 * @owner: Who holds the attachment.
 * @hw_prog_id: Id of the program offloaded to the device beside the one that
 *   prog-id names.
 * @tag: Tag of the program, the kernel's hash of its instructions.
 * @name: Name of the program.
 * @pad0: padding, 0
 * @required_features: XDP features that the program needs. An update is
 *   refused if the netdev lacks one in the mode asked for.
 * @required_rx_metadata_features: RX metadata features that the program needs.
 * @required_actions: XDP actions that the program needs.
 * @state: State of the program of an RX queue; absent for that of the whole
 *   netdev.
 * @dispatcher_prog_id: Id of the program that the netdev has in the place of
 *   this one, and that calls the program of each RX queue. Absent while no
 *   queue has a program of its own.
 * @pad1: padding, 0
 */
struct xdpctl_prog {
	__u64 present;
	__u32 fd;
	__u32 expected_prog_id;
	__u32 mode;
	__u32 prog_id;
	__u32 link_id;
	__u32 owner;
	__u32 hw_prog_id;
	__u8 tag[8];
	char name[16];
	__u32 pad0;
	__u64 required_features;
	__u64 required_rx_metadata_features;
	__u32 required_actions;
	__u32 state;
	__u32 dispatcher_prog_id;
	__u32 pad1;
};

/**
 * struct xdpctl_caps_key - key of control type xdp_caps
 * @ifindex: The netdev.
 */
struct xdpctl_caps_key {
	__u32 ifindex;
};

/**
 * struct xdpctl_caps - value of control type xdp_caps
 * @present: bit n is set if the attribute with id n is there
 * @xdp_features: XDP features.
 * @xdp_rx_metadata_features: RX metadata features; absent on kernels without
 *   RX metadata.
 * @xdp_zc_max_segs: Most segments of an AF_XDP zero-copy frame; absent without
 *   xsk-zerocopy.
 * @source: Where xdp-features comes from.
 * @rx_queues: RX queues in use.
 * @tx_queues: TX queues in use.
 * @max_rx_queues: RX queues that the netdev was made with.
 * @max_tx_queues: TX queues that the netdev was made with.
 * @driver: Name of the driver; absent where there is none.
 * @actions: XDP actions that do in native mode what they say, in the present
 *   settings; absent where xdp-features lacks basic.
 * @pad0: padding, 0
 */
struct xdpctl_caps {
	__u64 present;
	__u64 xdp_features;
	__u64 xdp_rx_metadata_features;
	__u32 xdp_zc_max_segs;
	__u32 source;
	__u32 rx_queues;
	__u32 tx_queues;
	__u32 max_rx_queues;
	__u32 max_tx_queues;
	char driver[32];
	__u32 actions;
	__u32 pad0;
};

/**
 * struct xdpctl_attr_key - key of control type xdp_attr
 * @ifindex: The netdev.
 */
struct xdpctl_attr_key {
	__u32 ifindex;
};

/**
 * struct xdpctl_attr - value of control type xdp_attr
 * @present: bit n is set if the attribute with id n is there
 * @command: What an update sets. Never reported.
 * @rings_num: TX rings for frames redirected here. In an update the least
 *   number that will do, or 0 to undo setup-redirect; reported as the number
 *   there is, 0 without setup-redirect.
 * @rings_size: Frames that such a ring holds. In an update the least number
 *   that will do, 0 or absent for any; reported as the number there is, absent
 *   where the driver does not tell.
 * @enable_md: 1 turns the RX metadata of the netdev on and 0 off; it stays on
 *   until all who turned it on have turned it off.
 * @md_btf_id: BTF object that describes the metadata; absent while it is off.
 * @md_type_id: BTF type in md-btf-id, a struct, of the metadata; absent while
 *   it is off.
 * @enable_meter: 1 turns the counters of verdicts on and 0 off.
 * @fd: File descriptor, in the caller, of the program to count the verdicts
 *   of, where somebody else attached it. Never reported.
 * @md_users: How many have turned the metadata on.
 * @placeholder_prog_id: Id of the program that setup-redirect put on the
 *   netdev; absent without one, and while another program has its place.
 * @md_features: RX metadata that is on.
 */
struct xdpctl_attr {
	__u64 present;
	__u32 command;
	__u32 rings_num;
	__u32 rings_size;
	__u32 enable_md;
	__u32 md_btf_id;
	__u32 md_type_id;
	__u32 enable_meter;
	__u32 fd;
	__u32 md_users;
	__u32 placeholder_prog_id;
	__u64 md_features;
};

/**
 * struct xdpctl_port_key - key of control type xdp_port
 * @port: Number of the port.
 */
struct xdpctl_port_key {
	__u32 port;
};

/**
 * struct xdpctl_port - value of control type xdp_port
 * @present: bit n is set if the attribute with id n is there
 * @ifindex: The netdev. A netdev has at most one port. Absent in a
 *   notification of a port that is free.
 * @devmap_id: Id of the devmap from port to netdev.
 * @index_map_id: Id of the hash map from ifindex to port, both u32.
 * @pad0: padding, 0
 */
struct xdpctl_port {
	__u64 present;
	__u32 ifindex;
	__u32 devmap_id;
	__u32 index_map_id;
	__u32 pad0;
};

/**
 * struct xdpctl_rx_metadata - What a program that uses xdpctl_rx_metadata.h
 *   puts in front of a frame: the RX metadata of a netdev with setup-md. No
 *   operation sends it; it is a struct of these members. attr-get names the
 *   BTF type of it, so that nobody needs to compile it in.
 * @rx_timestamp: Nanoseconds of the netdev's clock.
 * @rx_hash: Hash of the flow.
 * @rx_hash_type: What the hash is of, bits of the kernel's enum
 *   xdp_rss_hash_type.
 * @vlan_proto: Protocol of the VLAN tag, 0x8100 or 0x88a8, in the byte order
 *   of the machine.
 * @vlan_tci: VLAN tag, whose lower 12 bits are the VLAN id.
 * @valid: Which of them the frame has, bits of enum xdpctl_xdp_rx_metadata.
 *   The others are 0.
 */
struct xdpctl_rx_metadata {
	__u64 rx_timestamp;
	__u32 rx_hash;
	__u32 rx_hash_type;
	__u16 vlan_proto;
	__u16 vlan_tci;
	__u32 valid;
};

#endif /* _UAPI_LINUX_XDPCTL_H */
