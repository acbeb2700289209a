/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_METER_H
#define XDPCTL_METER_H

#include "attach.h"
#include "ctrl.h"

/* A verdict is counted under its number, one that is no XDP action under this. */
#define XDPCTL_METER_INVALID	(XDP_REDIRECT + 1)
#define XDPCTL_METER_KINDS	(XDP_REDIRECT + 2)

struct xdpctl_tap;

int xdpctl_meter_set(struct xdpctl_req *req, u32 ifindex, bool on);
void xdpctl_meter_fill(const struct xdpctl_dev *xd, struct xdpctl_attr *v);
bool xdpctl_meter_read(const struct xdpctl_dev *xd, u32 queue,
		       u64 counts[XDPCTL_METER_KINDS]);
void xdpctl_meter_dev_del(struct xdpctl_dev *xd);

struct xdpctl_tap *xdpctl_tap_new(struct xdpctl_req *req,
				  struct xdpctl_meter *m, struct file *prog);
struct xdpctl_tap *xdpctl_tap_swap(struct xdpctl_meter *m, struct xdpctl_tap *tap);
void xdpctl_tap_free(struct xdpctl_tap *tap);

#endif /* XDPCTL_METER_H */
