/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_ATTACH_H
#define XDPCTL_ATTACH_H

#include <linux/bpf.h>
#include <linux/file.h>
#include <linux/filter.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>

#include "ctrl.h"

struct xdpctl_tap;

/**
 * struct xdpctl_required - what a program needs of its netdev
 * @present: bits of xdpctl_prog.present, of those below
 * @features: XDPCTL_XDP_ACT_*
 * @rx_metadata: XDPCTL_XDP_RX_METADATA_*
 * @actions: XDPCTL_ACTION_*
 */
struct xdpctl_required {
	u64 present;
	u64 features;
	u64 rx_metadata;
	u32 actions;
};

/**
 * struct xdpctl_stack_slot - a program that was asked for
 * @file: the program, whose reference is ours, or NULL
 * @required: what it needs
 */
struct xdpctl_stack_slot {
	struct file *file;
	struct xdpctl_required required;
};

/**
 * struct xdpctl_queues - the programs of the RX queues of a netdev
 * @array: program array, by RX queue; the program of the netdev is in slot @n
 * @dispatcher: the program that calls them, which is in the link
 * @n: RX queues that the netdev was made with
 * @used: how many of them have a program
 * @has_default: the netdev has a program for the others
 * @rcu: frees this
 * @slot: by RX queue
 *
 * Changed under xdpctl_change_mutex and RTNL. Who is under rcu_read_lock() may
 * only look at @has_default, and whether there is a file in a slot.
 */
struct xdpctl_queues {
	struct file *array;
	struct file *dispatcher;
	u32 n;
	u32 used;
	bool has_default;
	struct rcu_head rcu;
	struct xdpctl_stack_slot slot[];
};

/**
 * struct xdpctl_attachment - what the module attached to a netdev
 * @list: in attached, or in gone
 * @link: the BPF link, whose reference is ours
 * @top: file of the program that the module put into the link: the dispatcher,
 *	that of the netdev, or a placeholder
 * @prog: the program of the whole netdev
 * @queues: those of its RX queues, or NULL; also in @xd
 * @lost: somebody else has put another program into the link, by its id, and
 *	neither @top nor @prog nor @queues is on the netdev
 * @xd: the netdev; NULL when not in attached
 * @net: netns to tell that it is gone, referenced; NULL while in attached
 * @ifindex: what to tell
 *
 * Changed under xdpctl_change_mutex and RTNL, but for @lost, for which RTNL is
 * enough.
 * Each holds a reference to the module.
 */
struct xdpctl_attachment {
	struct list_head list;
	struct bpf_link *link;
	struct file *top;
	struct xdpctl_stack_slot prog;
	struct xdpctl_queues *queues;
	bool lost;
	struct xdpctl_dev *xd;
	struct net *net;
	u32 ifindex;
};

/**
 * struct xdpctl_swap - what was there before xdpctl_attach() or xdpctl_replace()
 * @top: the program, or NULL
 * @tap: the tap of the meter on it, or NULL
 */
struct xdpctl_swap {
	struct file *top;
	struct xdpctl_tap *tap;
};

/**
 * struct xdpctl_change - an update, taken apart
 * @file: file of the program
 * @prog: the program
 * @required: what it needs of the netdev
 * @ifindex: the netdev
 * @queue: RX queue, or XDPCTL_QUEUE_ALL
 * @mode: XDPCTL_MODE_*, 0 for best effort
 * @expected: id of the program to be replaced, or 0
 * @n_queues: RX queues that the netdev was made with
 * @flags: BPF_ANY, BPF_NOEXIST or BPF_EXIST
 */
struct xdpctl_change {
	struct file *file;
	struct bpf_prog *prog;
	struct xdpctl_required required;
	u32 ifindex;
	u32 queue;
	u32 mode;
	u32 expected;
	u32 n_queues;
	u64 flags;
};

static inline struct bpf_link *
xdpctl_state_link(const struct net_device *dev, enum bpf_xdp_mode mode)
{
	/* struct bpf_xdp_link is private to the core, and begins with this */
	return (struct bpf_link *)dev->xdp_state[mode].link;
}

static inline struct bpf_prog *
xdpctl_state_prog(const struct net_device *dev, enum bpf_xdp_mode mode)
{
	struct bpf_link *link = xdpctl_state_link(dev, mode);

	return link ? link->prog : dev->xdp_state[mode].prog;
}

/* The mode of the program that the host runs, of which there is at most one. */
static inline int xdpctl_host_mode(const struct net_device *dev)
{
	if (xdpctl_state_prog(dev, XDP_MODE_DRV))
		return XDP_MODE_DRV;
	if (xdpctl_state_prog(dev, XDP_MODE_SKB))
		return XDP_MODE_SKB;
	return -ENOENT;
}

static inline u32 xdpctl_mode_to_uapi(int mode)
{
	switch (mode) {
	case XDP_MODE_DRV:
		return XDPCTL_MODE_NATIVE;
	case XDP_MODE_SKB:
		return XDPCTL_MODE_GENERIC;
	default:
		return XDPCTL_MODE_OFFLOAD;
	}
}

static inline const char *xdpctl_mode_name(int mode)
{
	return mode == XDP_MODE_DRV ? "native" : "generic";
}

/* Somebody changed what is attached while it was being replaced. */
#define XDPCTL_CHANGED		(-ESTALE)

extern struct mutex xdpctl_change_mutex;

/**
 * xdpctl_attachment_top() - the program that an attachment has on the netdev
 * @a: the attachment
 *
 * Context: RTNL; the file lives as long as xdpctl_change_mutex is held.
 * Return: its file, or NULL if somebody has put another program into the link by
 * its id.
 */
static inline struct file *
xdpctl_attachment_top(const struct xdpctl_attachment *a)
{
	return a->top && a->top->private_data == a->link->prog ? a->top : NULL;
}

struct xdpctl_attachment *xdpctl_attachment_find(const struct net_device *dev);
void xdpctl_reap_dev(const struct net_device *dev);
int xdpctl_refuse_foreign(struct xdpctl_req *req, const struct net_device *dev,
			  int mode);
void xdpctl_attach_begin(const struct net_device *dev);
void xdpctl_attach_cancel(void);
bool xdpctl_attach_pending(const struct net_device *dev);
struct xdpctl_attachment *xdpctl_attach(struct xdpctl_req *req, u32 ifindex,
					u32 mode, struct file *top,
					struct xdpctl_swap *swap);
void xdpctl_detach(struct xdpctl_attachment *a);
int xdpctl_replace(struct xdpctl_req *req, struct xdpctl_attachment *a,
		   struct file *top, struct bpf_prog *cur,
		   struct xdpctl_swap *swap);
void xdpctl_replace_done(struct xdpctl_swap *swap, bool wait);
void xdpctl_notify_detached(struct xdpctl_req *req, u32 ifindex, u32 queue);

/* stack.c */
int xdpctl_stack_set(struct xdpctl_req *req, const struct xdpctl_change *c,
		     struct xdpctl_attachment *a, struct bpf_prog *cur);
int xdpctl_stack_del(struct xdpctl_req *req, struct xdpctl_attachment *a,
		     u32 queue, struct bpf_prog *cur);
struct bpf_prog *xdpctl_stack_prog(const struct xdpctl_attachment *a,
				   u32 queue);
void xdpctl_stack_forget(struct xdpctl_attachment *a);
void xdpctl_placeholder_drop(struct xdpctl_dev *xd);
int xdpctl_placeholder_set(struct xdpctl_req *req,
			   const struct net_device *dev, u32 ifindex, bool on);
u32 xdpctl_placeholder_id(const struct net_device *dev);

/* ctrl_caps.c */
enum xdpctl_source xdpctl_caps_features(struct net_device *dev, u64 *features);
bool xdpctl_caps_xmit_needs_prog(const struct net_device *dev);
bool xdpctl_caps_rx_metadata(const struct net_device *dev, u64 *features);
int xdpctl_caps_check(struct xdpctl_req *req, const struct xdpctl_required *need,
		      struct net_device *dev, u32 *mode);

/* ctrl_prog.c */
void xdpctl_notify_attached(struct xdpctl_req *req, u32 ifindex, u32 queue);

#endif /* XDPCTL_ATTACH_H */
