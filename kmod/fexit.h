/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef XDPCTL_FEXIT_H
#define XDPCTL_FEXIT_H

#include "ctrl.h"
#include "meter.h"

/* What a CPU has counted of an RX queue. */
struct xdpctl_counters {
	u64 n[XDPCTL_METER_KINDS];
};

/**
 * struct xdpctl_fexit - what is to be counted
 * @target: file of the program whose verdicts are meant
 * @dev: the netdev whose frames are meant; only compared with
 * @map: file of a per-CPU array of struct xdpctl_counters, by RX queue
 * @n_queues: its size, less the last element, which is for any other queue
 */
struct xdpctl_fexit {
	struct file *target;
	const struct net_device *dev;
	struct file *map;
	u32 n_queues;
};

struct file *xdpctl_fexit_new(struct xdpctl_req *req,
			      const struct xdpctl_fexit *what);
void xdpctl_fexit_free(struct file *link);

#endif /* XDPCTL_FEXIT_H */
