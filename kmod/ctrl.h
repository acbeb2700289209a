/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_CTRL_H
#define XDPCTL_CTRL_H

#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/refcount.h>
#include <linux/xarray.h>
#include <net/net_namespace.h>

#include "gen.h"

struct xdpctl_attachment;
struct xdpctl_binding;
struct xdpctl_exc_metered;
struct xdpctl_meter;
struct xdpctl_ports;
struct xdpctl_queues;
struct xdpctl_settings;
struct bpf_link;
struct bpf_offloaded_map;
struct file;
struct workqueue_struct;

/**
 * struct xdpctl_req - the context of one operation on a control type
 * @net: netns whose netdevs are meant
 * @extack: where a refusal says why; NULL at the map door
 * @info: the generic netlink request, for NLM_F_ECHO; NULL at the map door
 * @skb: its message, for what the sender may do; NULL at the map door
 * @nowait: RTNL must not be waited for, since a lock that nests inside it is
 *	held; an operation that cannot go on without returns -EAGAIN, and the
 *	door waits in a safe place and calls again
 * @file: what @prepare resolved from a file descriptor of the caller
 */
struct xdpctl_req {
	struct net *net;
	struct netlink_ext_ack *extack;
	struct genl_info *info;
	const struct sk_buff *skb;
	bool nowait;
	struct file *file;
};

/**
 * struct xdpctl_type_ops - a control type
 * @key_defaults: fills in a key before what the caller gave is put over it.
 *	Needed with @key_optional.
 * @key_optional: bit n says that key attribute n may be absent
 * @needed: fields that an update of the map door means whose present is 0.
 *	Needed with @update.
 * @get_next: next key after @key (NULL: first) into @next, in ascending
 *	order; -ENOENT at the end. A key that is gone is no error. Takes no
 *	RTNL and does not sleep.
 * @lookup: value of @key into @value, which is zeroed; -ENOENT if there is
 *	none, -ENODEV never. Sets value->present.
 * @prepare: resolves what @value holds of the caller (file descriptors) into
 *	@req. Optional. Does not take RTNL.
 * @update: BPF_ANY, BPF_NOEXIST or BPF_EXIST in @flags. Process context,
 *	current is the caller, no locks held.
 * @del: same context as @update.
 *
 * All but get_next may sleep. One object per control type, in a file of its
 * own, entered into xdpctl_types[] in ctrl.c.
 */
struct xdpctl_type_ops {
	void (*key_defaults)(void *key);
	u64 key_optional;
	u64 (*needed)(const void *value);
	int (*get_next)(struct net *net, const void *key, void *next);
	int (*lookup)(struct xdpctl_req *req, const void *key, void *value);
	int (*prepare)(struct xdpctl_req *req, const void *key,
		       const void *value);
	int (*update)(struct xdpctl_req *req, const void *key,
		      const void *value, u64 flags);
	int (*del)(struct xdpctl_req *req, const void *key);
};

extern const struct xdpctl_type_ops xdpctl_stats_ops;
extern const struct xdpctl_type_ops xdpctl_qstats_ops;
extern const struct xdpctl_type_ops xdpctl_prog_ops;
extern const struct xdpctl_type_ops xdpctl_caps_ops;
extern const struct xdpctl_type_ops xdpctl_attr_ops;
extern const struct xdpctl_type_ops xdpctl_port_ops;

/* Whose program an exception comes from. */
enum {
	XDPCTL_EXC_NATIVE,
	XDPCTL_EXC_GENERIC,
	XDPCTL_EXC_MAP,			/* of an entry of a devmap or cpumap */
	XDPCTL_EXC_ORIGINS,
};

/* What went wrong. */
enum {
	XDPCTL_EXC_ABORTED,
	XDPCTL_EXC_TX,
	XDPCTL_EXC_REDIRECT,
	XDPCTL_EXC_INVALID,
	XDPCTL_EXC_EVENTS,		/* those before are told */
	XDPCTL_EXC_REDIRECT_ERR = XDPCTL_EXC_EVENTS,	/* tracepoint xdp_redirect_err */
	XDPCTL_EXC_KINDS,
};

/**
 * struct xdpctl_exc - exception counters of one netdev, per CPU or summed up
 * @n: by origin and kind; per CPU, written by the probes only
 */
struct xdpctl_exc {
	u64 n[XDPCTL_EXC_ORIGINS][XDPCTL_EXC_KINDS];
};

/**
 * struct xdpctl_exc_last - the last exception of a kind
 * @prog_id: the program that it came from
 * @action: what that returned
 *
 * Written by the probe, one after the other: of two at the same time, on two
 * CPUs, each may leave one.
 */
struct xdpctl_exc_last {
	u32 prog_id;
	u32 action;
};

/**
 * struct xdpctl_exc_event - what exception-ntf tells
 * @ifindex: the netdev
 * @prog_id: program of the last
 * @action: action of the last
 * @queue: RX queue, or XDPCTL_QUEUE_ALL if it is not known
 * @count: how many since the last event
 */
struct xdpctl_exc_event {
	u32 ifindex;
	u32 prog_id;
	u32 action;
	u32 queue;
	u64 count;
};

/**
 * struct xdpctl_dev - what the module knows of a netdev
 * @dev: the netdev; no reference is held, the notifier frees this before the
 *	netdev goes
 * @node: in the hash of exception.c, by @dev
 * @exc: exception counters
 * @exc_seen: there was an exception
 * @exc_awake: of exceptions the work of exception.c will tell
 * @exc_due: it is to tell now; of the work
 * @exc_last: the last exception of a kind
 * @exc_told: how many of a kind were told; under RTNL
 * @exc_metered: what was told by queue, or NULL; under RTNL
 * @drv: driver counter cache of ctrl_stats.c; under RTNL
 * @attachment: what attach.c attached to it, or NULL; under RTNL
 * @queues: programs of its RX queues, or NULL; written under RTNL, read under
 *	RTNL or rcu_read_lock()
 * @placeholder: file of the placeholder that stack.c keeps ready for it, or
 *	NULL; written under RTNL and xdpctl_change_mutex
 * @settings: what ctrl_attr.c has set, or NULL; under RTNL
 * @binding: the port that ctrl_port.c gave it, or NULL; under RTNL
 * @meter: the meter of meter.c, or NULL; written under RTNL and
 *	xdpctl_change_mutex
 * @driver: name of the driver if @driver_known, of ctrl_caps.c; written under
 *	RTNL
 * @driver_known: @driver is there, and stays
 * @ifindex: index in the xarray of @net
 * @net: netns of @dev, as of the last notification
 * @moving: in the list of ctrl.c while @dev is on its way to another netns
 * @rcu: frees this
 *
 * Made and freed by the netdevice notifier, under RTNL; found under RTNL or
 * rcu_read_lock().
 */
struct xdpctl_dev {
	struct net_device *dev;
	struct hlist_node node;
	struct xdpctl_exc __percpu *exc;
	bool exc_seen;
	bool exc_awake;
	bool exc_due;
	struct xdpctl_exc_last exc_last[XDPCTL_EXC_EVENTS];
	u64 exc_told[XDPCTL_EXC_EVENTS];
	struct xdpctl_exc_metered *exc_metered;
	struct xdpctl_drvstats *drv;
	struct xdpctl_attachment *attachment;
	struct xdpctl_queues __rcu *queues;
	struct file *placeholder;
	struct xdpctl_settings *settings;
	struct xdpctl_binding *binding;
	struct xdpctl_meter *meter;
	char driver[32];
	bool driver_known;
	int ifindex;
	struct net *net;
	struct list_head moving;
	struct rcu_head rcu;
};

/**
 * struct xdpctl_net - what the module keeps per netns
 * @devs: struct xdpctl_dev by ifindex; written under RTNL, read under RTNL or
 *	rcu_read_lock()
 * @gen: changes whenever an iteration would see something else
 * @ctl: the control device, or NULL; under RTNL
 * @ports: the table of ports of ctrl_port.c, or NULL; written once, under RTNL
 */
struct xdpctl_net {
	struct xarray devs;
	atomic_t gen;
	struct net_device *ctl;
	struct xdpctl_ports *ports;
};

/* Refuses a request for an entry of a netdev that is not there. */
static inline int xdpctl_no_netdev(struct xdpctl_req *req)
{
	NL_SET_ERR_MSG(req->extack, "no such netdev");
	return -ENOENT;
}

/* ctrl.c */
extern const struct xdpctl_type_ops *const xdpctl_types[];

struct xdpctl_net *xdpctl_net(struct net *net);
void xdpctl_net_changed(struct net *net);

int xdpctl_ctrl_init(void);
void xdpctl_ctrl_exit(void);
int xdpctl_req_rtnl(struct xdpctl_req *req);
struct xdpctl_dev *xdpctl_dev_get(struct net *net, u32 ifindex);
struct xdpctl_dev *xdpctl_dev_next(struct net *net, u32 after);
int xdpctl_ifindex_next(struct net *net, const void *key, void *next);

/* exception.c */
int xdpctl_exception_init(void);
void xdpctl_exception_exit(void);
void xdpctl_exception_start(void);
void xdpctl_exception_stop(void);
int xdpctl_exception_add(struct xdpctl_dev *xd);	/* allocates xd->exc, hashes */
void xdpctl_exception_del(struct xdpctl_dev *xd);	/* unhashes; ctrl.c frees by RCU */
bool xdpctl_exception_read(const struct xdpctl_dev *xd, struct xdpctl_exc *sum);
extern bool xdpctl_redirect_err_counted;

/* ctrl_stats.c: called by the notifier under RTNL */
void xdpctl_stats_dev_add(struct xdpctl_dev *xd, bool is_new);
void xdpctl_stats_dev_del(struct xdpctl_dev *xd);
void xdpctl_stats_dev_event(struct net_device *dev, unsigned long event);

/* attach.c */
extern struct workqueue_struct *xdpctl_wq;

int xdpctl_prog_init(void);
void xdpctl_prog_exit(void);
void xdpctl_prog_dev_del(struct xdpctl_dev *xd);

/* ctrl_caps.c */
u32 xdpctl_caps_features(struct net_device *dev, u64 *features);
bool xdpctl_caps_xmit_needs_prog(const struct net_device *dev);

/* ctrl_prog.c */
int xdpctl_prog_resolve(struct xdpctl_req *req, u32 fd);

/* ctrl_attr.c */
void xdpctl_attr_dev_del(struct xdpctl_dev *xd);

/* ctrl_port.c */
void xdpctl_port_exit(void);
void xdpctl_port_dev_del(struct xdpctl_dev *xd);
void xdpctl_port_net_exit(struct net *net);

/* netlink.c */
int xdpctl_netlink_init(void);
void xdpctl_netlink_exit(void);
void xdpctl_notify(struct xdpctl_req *req, enum xdpctl_ctrl_type type,
		   const void *key, const void *value);
bool xdpctl_exception_wanted(struct net *net);
struct sk_buff *xdpctl_exception_msg(struct net *net,
				     const struct xdpctl_exc_event *ev);
void xdpctl_exception_send(struct net *net, struct sk_buff *skb);

/* Room for the key and for the value of any control type, in bytes. */
#define XDPCTL_KEY_MAX		16
#define XDPCTL_VALUE_MAX	512

/* extack.c */
__printf(2, 3)
void xdpctl_extack_fmt(struct netlink_ext_ack *extack, const char *fmt, ...);

/* ctlmap.c */
int xdpctl_ctlmap_init(void);
void xdpctl_ctlmap_exit(void);
u32 xdpctl_ctlmap_btf_id(void);
int xdpctl_map_alloc(struct bpf_offloaded_map *map);
int xdpctl_map_free(const struct bpf_offloaded_map *map);

/* ctldev.c */
int xdpctl_ctldev_init(void);
void xdpctl_ctldev_exit(void);
bool xdpctl_ctldev_is(const struct net_device *dev);

#endif /* XDPCTL_CTRL_H */
