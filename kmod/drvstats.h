/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
#ifndef XDPCTL_DRVSTATS_H
#define XDPCTL_DRVSTATS_H

#include <linux/bits.h>
#include <linux/ethtool.h>
#include <linux/ktime.h>
#include <linux/types.h>

#include "ctrl.h"

/*
 * Driver counters by meaning. Those before XDPCTL_RAW_EXACT mean exactly what
 * the attribute of the same name says. Attributes are derived from the others,
 * or nothing is: the table of a driver says what is in them.
 */
enum xdpctl_raw {
	XDPCTL_RAW_PACKETS,
	XDPCTL_RAW_BYTES,
	XDPCTL_RAW_ABORTED,
	XDPCTL_RAW_DROP,
	XDPCTL_RAW_INVALID,
	XDPCTL_RAW_PASS,
	XDPCTL_RAW_REDIRECT,
	XDPCTL_RAW_REDIRECT_ERRORS,
	XDPCTL_RAW_TX,
	XDPCTL_RAW_TX_ERRORS,
	XDPCTL_RAW_XMIT_PACKETS,
	XDPCTL_RAW_XMIT_BYTES,
	XDPCTL_RAW_XMIT_ERRORS,
	XDPCTL_RAW_XMIT_FULL,
	XDPCTL_RAW_EXACT,

	XDPCTL_RAW_FRAMES = XDPCTL_RAW_EXACT,	/* with or without program */
	XDPCTL_RAW_ANY_DROP,		/* XDP_DROP and other verdicts */
	XDPCTL_RAW_OTHER_DROP,		/* neither verdict nor known cause */
	XDPCTL_RAW_REDIRECT_TRIED,
	XDPCTL_RAW_TX_TRIED,
	XDPCTL_RAW_TX_UNSENT,		/* failed XDP_TX, but for the traced */
	XDPCTL_RAW_SQ_TRIED,		/* XDP_TX and ndo_xdp_xmit together */
	XDPCTL_RAW_SQ_UNSENT,
	XDPCTL_RAW_XMIT_TRIED,
	XDPCTL_RAW_XMIT_UNSENT,		/* those of them that it counts */
	XDPCTL_RAW_MAX,
};

/**
 * struct xdpctl_counts - counters, by enum xdpctl_raw
 * @have: BIT(n) if n is known
 * @lower: BIT(n) if n may be too low by frames in hand, and never too high
 * @n: the counters; 0 if not known
 */
struct xdpctl_counts {
	u32 have;
	u32 lower;
	u64 n[XDPCTL_RAW_MAX];
};

static inline bool xdpctl_counts_have(const struct xdpctl_counts *c,
				      enum xdpctl_raw raw)
{
	return c->have & BIT(raw);
}

static inline void xdpctl_counts_set(struct xdpctl_counts *c,
				     enum xdpctl_raw raw, u64 n)
{
	c->have |= BIT(raw);
	c->n[raw] = n;
}

/**
 * struct xdpctl_witness - what derive() may rest on beside the counters
 * @exc: exceptions of the netdev, read after the counters; NULL if none
 * @all_exc: @exc has all since the counters were 0
 * @all_seen: every frame that was counted has met a program
 * @dev: counters of the whole netdev, for those of a queue; else NULL
 * @one_queue: the netdev was made with one RX queue
 */
struct xdpctl_witness {
	const struct xdpctl_exc *exc;
	bool all_exc;
	bool all_seen;
	const struct xdpctl_counts *dev;
	bool one_queue;
};

/* For the whole netdev, and for the RX queue that it belongs to. */
#define XDPCTL_COUNTER_DEV	BIT(0)
#define XDPCTL_COUNTER_RXQ	BIT(1)
/* Without a number: the n-th is of queue n. */
#define XDPCTL_COUNTER_NTH	BIT(2)

/**
 * struct xdpctl_counter - a counter of a driver
 * @format: its ethtool string; %u is a number, blanks before it allowed, and
 *	the last one is the queue
 * @raw: what it counts
 * @flags: XDPCTL_COUNTER_*
 */
struct xdpctl_counter {
	const char *format;
	u8 raw;
	u8 flags;
};

/* Every failed XDP_TX is an exception. */
#define XDPCTL_DRIVER_TX_TRACED		BIT(0)
/* XDP_ABORTED, an invalid action is not always an exception. */
#define XDPCTL_DRIVER_ABORTED_UNTRACED	BIT(1)
#define XDPCTL_DRIVER_INVALID_UNTRACED	BIT(2)
/* Its counters start anew when the machine wakes up. */
#define XDPCTL_DRIVER_SLEEP_RESETS	BIT(3)
/* Frames that it counts may have passed by the program: veth.c knows. */
#define XDPCTL_DRIVER_VETH		BIT(4)

/**
 * struct xdpctl_driver - what is known of a driver's counters
 * @name: as ethtool -i says
 * @parent: driver of the parent device, or kind of the link
 * @counters: ethtool strings of all kernels, up to one without format; NULL:
 *	none is of use, and RTNL not needed
 * @flags: XDPCTL_DRIVER_*
 * @derive: derives exact counters from the others. Optional.
 */
struct xdpctl_driver {
	const char *name;
	const char *parent;
	const struct xdpctl_counter *counters;
	u32 flags;
	void (*derive)(struct xdpctl_counts *c, const struct xdpctl_witness *w);
};

#define XDPCTL_NO_QUEUE		U32_MAX

/**
 * struct xdpctl_slot - where in the driver's array a counter is
 * @index: there
 * @queue: RX queue, or XDPCTL_NO_QUEUE
 * @raw: what it counts
 * @flags: XDPCTL_COUNTER_*
 */
struct xdpctl_slot {
	u32 index;
	u32 queue;
	u8 raw;
	u8 flags;
};

/**
 * struct xdpctl_layout - a driver's array of counters, parsed
 * @slots: counters in it that are known
 * @n_slots: how many
 * @n_queues: RX queues that have counters, counted from 0
 */
struct xdpctl_layout {
	struct xdpctl_slot *slots;
	u32 n_slots;
	u32 n_queues;
};

/**
 * struct xdpctl_drvstats - driver counters of a netdev
 * @drv: its driver
 * @layout: its counters
 * @data: room for them
 * @n_data: how many there were when @layout was made,
 * @n_rxq: RX queues then
 * @n_txq: and TX queues
 * @ops: operations then; NULL: @layout is not valid
 * @max_rxq: most RX queues seen in use
 * @zero_rxq: RX queues that may have begun with other counters than 0 follow
 *	from here on
 * @all_exc: no exception was missed since the counters were 0
 * @all_seen: no frame that was counted has passed by the program
 * @frames: counted frames when the netdev was about to be closed
 * @asleep: how long the machine had slept when @all_exc was found
 * @drop: highest XDPCTL_RAW_DROP that was derived
 * @redirect: same of XDPCTL_RAW_REDIRECT
 * @rcu: frees this
 *
 * Under RTNL, but @drv, @ops, @n_rxq and @layout.n_queues may be read under
 * RCU.
 */
struct xdpctl_drvstats {
	const struct xdpctl_driver *drv;
	struct xdpctl_layout layout;
	u64 *data;
	u32 n_data;
	u32 n_rxq;
	u32 n_txq;
	const struct ethtool_ops *ops;
	u32 max_rxq;
	u32 zero_rxq;
	bool all_exc;
	bool all_seen;
	u64 frames;
	ktime_t asleep;
	u64 drop;
	u64 redirect;
	struct rcu_head rcu;
};

/* drvtable.c */
extern const struct xdpctl_driver xdpctl_drivers[];
extern const u32 xdpctl_n_drivers;

/* drvstats.c */
const struct xdpctl_driver *xdpctl_driver_find(const struct net_device *dev);
const char *xdpctl_driver_parent(const struct net_device *dev);
int xdpctl_driver_begin(struct net_device *dev);
void xdpctl_driver_end(struct net_device *dev);
int xdpctl_driver_name(struct net_device *dev, char *name, size_t size);
int xdpctl_layout_parse(struct xdpctl_layout *l,
			const struct xdpctl_driver *drv, const char *strings,
			u32 n_strings);
bool xdpctl_layout_sum(const struct xdpctl_layout *l, const u64 *data,
		       u32 queue, struct xdpctl_counts *c);
int xdpctl_drvstats_read(struct net_device *dev, struct xdpctl_drvstats *ds);
void xdpctl_drvstats_forget(struct xdpctl_drvstats *ds);

/* veth.c */
void xdpctl_veth_event(struct net_device *dev, unsigned long event);
void xdpctl_veth_look(struct net_device *dev, struct xdpctl_drvstats *ds);

/* selftest/drvstats_test.c */
#ifdef DEBUG
int xdpctl_drvstats_selftest(void);
#else
static inline int xdpctl_drvstats_selftest(void)
{
	return 0;
}
#endif

#endif /* XDPCTL_DRVSTATS_H */
