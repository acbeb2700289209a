/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_ATTACH_H
#define XDPCTL_ATTACH_H

#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>

#include "ctrl.h"

/**
 * struct xdpctl_attachment - a program that the module attached
 * @list: in attached, or in gone
 * @link: the BPF link, whose reference is ours
 * @xd: the netdev; NULL when not in attached
 * @net: netns to tell that it is gone, referenced; NULL while in attached
 * @ifindex: what to tell
 *
 * Each holds a reference to the module.
 */
struct xdpctl_attachment {
	struct list_head list;
	struct bpf_link *link;
	struct xdpctl_dev *xd;
	struct net *net;
	u32 ifindex;
};

/**
 * struct xdpctl_change - an update, taken apart
 * @prog: the program; the file in the request holds it
 * @ifindex: the netdev
 * @mode: XDPCTL_MODE_*, 0 for best effort
 * @expected: id of the program to be replaced, or 0
 * @flags: BPF_ANY, BPF_NOEXIST or BPF_EXIST
 */
struct xdpctl_change {
	struct bpf_prog *prog;
	u32 ifindex;
	u32 mode;
	u32 expected;
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

struct xdpctl_attachment *xdpctl_attachment_find(const struct net_device *dev);
void xdpctl_reap_dev(const struct net_device *dev);
int xdpctl_refuse_foreign(struct xdpctl_req *req, const struct net_device *dev,
			  int mode);
void xdpctl_attach_begin(const struct net_device *dev);
bool xdpctl_attach_pending(const struct net_device *dev);
int xdpctl_attach(struct xdpctl_req *req, const struct xdpctl_change *c);
void xdpctl_detach(struct xdpctl_attachment *a);
int xdpctl_replace(struct xdpctl_req *req, const struct xdpctl_change *c,
		   struct xdpctl_attachment *a, struct bpf_prog *cur);
struct file *xdpctl_attachment_top(const struct xdpctl_attachment *a);
int xdpctl_placeholder_set(struct xdpctl_req *req, u32 ifindex, bool on);
u32 xdpctl_placeholder_id(const struct net_device *dev);
void xdpctl_notify_detached(struct xdpctl_req *req, u32 ifindex);

#endif /* XDPCTL_ATTACH_H */
