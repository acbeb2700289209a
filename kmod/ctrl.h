/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_CTRL_H
#define XDPCTL_CTRL_H

#include <linux/netdevice.h>
#include <linux/netlink.h>
#include <linux/refcount.h>
#include <linux/xarray.h>
#include <net/net_namespace.h>

#include "gen.h"

struct bpf_link;
struct file;

/**
 * struct xdpctl_req - the context of one operation on a control type
 * @net: netns whose netdevs are meant
 * @extack: where a refusal says why; NULL at the map door
 * @info: the generic netlink request, for NLM_F_ECHO; NULL at the map door
 * @nowait: RTNL must not be waited for, since a lock that nests inside it is
 *	held; an operation that cannot go on without returns -EAGAIN, and the
 *	door waits in a safe place and calls again
 * @file: what @prepare resolved from a file descriptor of the caller
 */
struct xdpctl_req {
	struct net *net;
	struct netlink_ext_ack *extack;
	struct genl_info *info;
	bool nowait;
	struct file *file;
};

/**
 * struct xdpctl_type_ops - a control type
 * @key_defaults: fills in a key before what the caller gave is put over it;
 *	a key attribute that it sets may be absent. Optional.
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

/* Exceptions of a netdev, indexed by XDPCTL_EXC_*. */
enum {
	XDPCTL_EXC_ABORTED,
	XDPCTL_EXC_TX,
	XDPCTL_EXC_REDIRECT,
	XDPCTL_EXC_INVALID,
	XDPCTL_EXC_REDIRECT_ERR,	/* tracepoint xdp_redirect_err */
	XDPCTL_EXC_MAX,
};

/**
 * struct xdpctl_exc - exception counters of one netdev, per CPU
 * @n: by XDPCTL_EXC_*; written by the probes only
 */
struct xdpctl_exc {
	u64 n[XDPCTL_EXC_MAX];
};

/**
 * struct xdpctl_dev - what the module knows of a netdev
 * @dev: the netdev; no reference is held, the notifier frees this before the
 *	netdev goes
 * @node: in the hash of exception.c, by @dev
 * @exc: exception counters
 * @drv: driver counter cache of ctrl_stats.c; under RTNL
 * @ifindex: index in the xarray of @net
 * @net: netns of @dev, as of the last notification
 * @rcu: frees this
 *
 * Made and freed by the netdevice notifier, under RTNL; found under RTNL or
 * rcu_read_lock().
 */
struct xdpctl_dev {
	struct net_device *dev;
	struct hlist_node node;
	struct xdpctl_exc __percpu *exc;
	struct xdpctl_drvstats *drv;
	int ifindex;
	struct net *net;
	struct rcu_head rcu;
};

/* ctrl.c */
extern const struct xdpctl_type_ops *const xdpctl_types[];

int xdpctl_ctrl_init(void);
void xdpctl_ctrl_exit(void);
int xdpctl_req_rtnl(struct xdpctl_req *req);
struct xdpctl_dev *xdpctl_dev_get(struct net *net, u32 ifindex);
struct xdpctl_dev *xdpctl_dev_next(struct net *net, u32 after);
int xdpctl_ifindex_next(struct net *net, const void *key, void *next);
bool xdpctl_dev_is_ctl(const struct net_device *dev);

/* exception.c */
int xdpctl_exception_init(void);
void xdpctl_exception_exit(void);
int xdpctl_exception_add(struct xdpctl_dev *xd);
void xdpctl_exception_del(struct xdpctl_dev *xd);
void xdpctl_exception_read(const struct xdpctl_dev *xd,
			   u64 sum[XDPCTL_EXC_MAX]);

/* ctrl_stats.c: called by the notifier under RTNL */
void xdpctl_stats_dev_add(struct xdpctl_dev *xd, bool is_new);
void xdpctl_stats_dev_del(struct xdpctl_dev *xd);

/* ctrl_prog.c */
int xdpctl_prog_init(void);
void xdpctl_prog_exit(void);
void xdpctl_prog_dev_gone(struct net_device *dev);

/* netlink.c */
int xdpctl_netlink_init(void);
void xdpctl_netlink_exit(void);
void xdpctl_notify(struct xdpctl_req *req, enum xdpctl_ctrl_type type,
		   u8 cmd, const void *key, const void *value);

/* ctlmap.c */
int xdpctl_ctlmap_init(void);
void xdpctl_ctlmap_exit(void);
void xdpctl_ctlmap_btf(u32 *btf_id);

#endif /* XDPCTL_CTRL_H */
