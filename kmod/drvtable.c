// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
/*
 * What the XDP counters of drivers mean: one list a driver, of the strings of
 * all kernels. A counter that means exactly what an attribute says is entered
 * under the attribute's name. The comment before a list says why a counter is
 * not, and derive() which attributes follow from it nevertheless.
 *
 * Left out altogether is who counts errors of ndo_xdp_xmit by what it has
 * taken in hand: all drivers but one refuse a whole batch without counting it
 * when they are down or have no program.
 *
 * Drivers that are not here have no XDP counters: what the module counts is
 * all there is to know of them.
 */
#include <linux/bitops.h>
#include <linux/kernel.h>

#include "drvstats.h"

#define DEV	XDPCTL_COUNTER_DEV
#define RXQ	XDPCTL_COUNTER_RXQ
#define NTH	XDPCTL_COUNTER_NTH
#define RAW(r)	XDPCTL_RAW_##r

/*
 * Number of native exceptions of the kinds in @kinds that are in the counters.
 * An exception tells no queue, and the last of a generic program may pass for
 * native ones, so there must be none of them.
 */
static bool exc_known(const struct xdpctl_witness *w, unsigned int kinds,
		      u64 *n)
{
	u64 native = 0, generic = 0;
	unsigned int i;

	*n = 0;
	if (!w->all_exc || ((kinds & BIT(XDPCTL_EXC_REDIRECT_ERR)) &&
			    !xdpctl_redirect_err_counted))
		return false;
	if (!w->exc)
		return true;
	for (; kinds; kinds &= kinds - 1) {
		i = __ffs(kinds);
		native += w->exc->n[XDPCTL_EXC_NATIVE][i];
		generic += w->exc->n[XDPCTL_EXC_GENERIC][i];
	}
	*n = native;
	return !generic && (!w->dev || w->one_queue || !native);
}

/*
 * @from less the exceptions of @kinds. An exception is traced before its frame
 * is counted, and the counters were read first: so the difference is never too
 * high, and too low only by frames in hand.
 */
static void derive_less(struct xdpctl_counts *c,
			const struct xdpctl_witness *w, enum xdpctl_raw to,
			enum xdpctl_raw from, unsigned int kinds)
{
	u64 n;

	if (!xdpctl_counts_have(c, from) || !exc_known(w, kinds, &n))
		return;
	xdpctl_counts_set(c, to, c->n[from] - min(n, c->n[from]));
	c->lower |= BIT(to);
}

/* @from less @less, which are counted together. */
static void derive_diff(struct xdpctl_counts *c, enum xdpctl_raw to,
			enum xdpctl_raw from, enum xdpctl_raw less)
{
	if (!xdpctl_counts_have(c, from) || !xdpctl_counts_have(c, less))
		return;
	xdpctl_counts_set(c, to, c->n[from] - min(c->n[less], c->n[from]));
}

/* @mask must be known. */
static u64 sum_of(const struct xdpctl_counts *c, u32 mask)
{
	u64 n = 0;

	for (; mask; mask &= mask - 1)
		n += c->n[__ffs(mask)];
	return n;
}

/* Where each frame that meets a program ends in exactly one of @mask. */
static void derive_packets(struct xdpctl_counts *c, u32 mask)
{
	if ((c->have & mask) == mask)
		xdpctl_counts_set(c, XDPCTL_RAW_PACKETS, sum_of(c, mask));
}

/* Where each of @total that is in none of @mask has passed. */
static void derive_pass(struct xdpctl_counts *c, enum xdpctl_raw total,
			u32 mask)
{
	u64 n;

	if (!xdpctl_counts_have(c, total) || (c->have & mask) != mask)
		return;
	n = sum_of(c, mask);
	xdpctl_counts_set(c, XDPCTL_RAW_PASS,
			  c->n[total] - min(n, c->n[total]));
}

#define EXC_ABORTED_INVALID \
	(BIT(XDPCTL_EXC_ABORTED) | BIT(XDPCTL_EXC_INVALID))

/*
 * veth, 6.1 and 6.12.
 *
 * xdp_packets: all frames that NAPI has taken, and that works for GRO too,
 *	without a program; what a program saw if none passed by (veth.c)
 * xdp_bytes: skbs without Ethernet header, frames with it: of no use
 * xdp_drops: XDP_DROP, XDP_ABORTED and invalid ones
 * drops: no memory before or after the program, failed redirects, XDP_TX that
 *	made no frame
 * xdp_tx, xdp_tx_errors: as of the flush, at the end of the poll
 * xdp_xmit_errors: not the frames to a peer without NAPI, which most errors
 *	are; and too long ones beside those for which the ring was full
 *
 * Each frame that NAPI takes ends in one of xdp_drops, drops, xdp_tx,
 * xdp_tx_errors, xdp_redirect or in the stack, so the last follows. During
 * a poll what it has in hand may count as passed: exact is what is read at
 * rest.
 */
static const struct xdpctl_counter veth_counters[] = {
	{ "rx_queue_%u_xdp_packets", RAW(FRAMES), DEV | RXQ },
	{ "rx_queue_%u_drops", RAW(OTHER_DROP), DEV | RXQ },
	{ "rx_queue_%u_xdp_redirect", RAW(REDIRECT), DEV | RXQ },
	{ "rx_queue_%u_xdp_drops", RAW(ANY_DROP), DEV | RXQ },
	{ "rx_queue_%u_xdp_tx", RAW(TX), DEV | RXQ },
	{ "rx_queue_%u_xdp_tx_errors", RAW(TX_UNSENT), DEV | RXQ },
	{ "tx_queue_%u_xdp_xmit", RAW(XMIT_PACKETS), DEV },
	{ }
};

static void veth_derive(struct xdpctl_counts *c, const struct xdpctl_witness *w)
{
	u64 n;

	derive_less(c, w, RAW(DROP), RAW(ANY_DROP), EXC_ABORTED_INVALID);
	if (xdpctl_counts_have(c, RAW(TX_UNSENT)) &&
	    exc_known(w, BIT(XDPCTL_EXC_TX), &n))
		xdpctl_counts_set(c, RAW(TX_ERRORS), c->n[RAW(TX_UNSENT)] + n);
	if (!w->all_seen || !xdpctl_counts_have(c, RAW(FRAMES)))
		return;
	derive_pass(c, RAW(FRAMES), BIT(RAW(OTHER_DROP)) | BIT(RAW(ANY_DROP)) |
		    BIT(RAW(REDIRECT)) | BIT(RAW(TX)) | BIT(RAW(TX_UNSENT)));
	/*
	 * Some of the other drops are frames that no program saw. If failed
	 * redirects and XDP_TX are all of them, there are none of those.
	 */
	if (exc_known(w, BIT(XDPCTL_EXC_REDIRECT_ERR) | BIT(XDPCTL_EXC_TX),
		      &n) && n == c->n[RAW(OTHER_DROP)])
		xdpctl_counts_set(c, RAW(PACKETS), c->n[RAW(FRAMES)]);
}

/*
 * virtio_net, 6.1 (rx_queue_0_) and 6.12 (rx0_).
 *
 * xdp_drops: all that fails before, in and after the program
 * rx xdp_tx: tried. One that finds the ring full makes no exception, and
 *	counts as xdp_tx_drops only, among those of ndo_xdp_xmit
 * tx xdp_tx: XDP_TX and ndo_xdp_xmit, tried
 *
 * So XDP_TX is known while nothing at all was left unsent, and ndo_xdp_xmit
 * while there was no XDP_TX, which RX counts at the end of the poll.
 */
static const struct xdpctl_counter virtio_counters[] = {
	{ "rx_queue_%u_xdp_packets", RAW(PACKETS), DEV | RXQ },
	{ "rx_queue_%u_xdp_tx", RAW(TX_TRIED), DEV | RXQ },
	{ "rx_queue_%u_xdp_redirects", RAW(REDIRECT_TRIED), DEV | RXQ },
	{ "tx_queue_%u_xdp_tx", RAW(SQ_TRIED), DEV },
	{ "tx_queue_%u_xdp_tx_drops", RAW(SQ_UNSENT), DEV },
	{ "rx%u_xdp_packets", RAW(PACKETS), DEV | RXQ },
	{ "rx%u_xdp_tx", RAW(TX_TRIED), DEV | RXQ },
	{ "rx%u_xdp_redirects", RAW(REDIRECT_TRIED), DEV | RXQ },
	{ "tx%u_xdp_tx", RAW(SQ_TRIED), DEV },
	{ "tx%u_xdp_tx_drops", RAW(SQ_UNSENT), DEV },
	{ }
};

static void virtio_derive(struct xdpctl_counts *c,
			  const struct xdpctl_witness *w)
{
	const struct xdpctl_counts *dev = w->dev ?: c;
	u64 n;

	derive_less(c, w, RAW(REDIRECT), RAW(REDIRECT_TRIED),
		    BIT(XDPCTL_EXC_REDIRECT_ERR));
	if (!xdpctl_counts_have(dev, RAW(SQ_UNSENT)))
		return;
	if (!dev->n[RAW(SQ_UNSENT)] &&
	    xdpctl_counts_have(c, RAW(TX_TRIED)) &&
	    exc_known(w, BIT(XDPCTL_EXC_TX), &n)) {
		xdpctl_counts_set(c, RAW(TX_ERRORS), n);
		xdpctl_counts_set(c, RAW(TX), c->n[RAW(TX_TRIED)] -
				  min(n, c->n[RAW(TX_TRIED)]));
	}
	if (!dev->n[RAW(TX_TRIED)])
		derive_diff(c, RAW(XMIT_PACKETS), RAW(SQ_TRIED),
			    RAW(SQ_UNSENT));
}

/*
 * mlx5, 6.1 and 6.12. Counters of AF_XDP queues are apart.
 *
 * xdp_drop: any failure too, and a change of the profile zeroes it unseen
 * tx_xdp_err, tx_xdp_full: once a batch
 */
static const struct xdpctl_counter mlx5_counters[] = {
	{ "rx_xdp_redirect", RAW(REDIRECT), DEV },
	{ "rx_xsk_xdp_redirect", RAW(REDIRECT), DEV },
	{ "rx_xdp_tx_xmit", RAW(TX), DEV },
	{ "tx_xdp_xmit", RAW(XMIT_PACKETS), DEV },
	{ "rx%u_xdp_redirect", RAW(REDIRECT), RXQ },
	{ "rx%u_xsk_xdp_redirect", RAW(REDIRECT), RXQ },
	{ "rx%u_xdp_tx_xmit", RAW(TX), RXQ },
	{ }
};

/*
 * mlx4, 6.1 and 6.12.
 *
 * xdp_drop: XDP_ABORTED and invalid ones too, and new rings start at 0
 * xdp_tx_full: not the failures while the port is down
 */
static const struct xdpctl_counter mlx4_counters[] = {
	{ "rx_xdp_redirect", RAW(REDIRECT), DEV },
	{ "rx_xdp_redirect_fail", RAW(REDIRECT_ERRORS), DEV },
	{ "rx_xdp_tx", RAW(TX), DEV },
	{ "rx%u_xdp_redirect", RAW(REDIRECT), RXQ },
	{ "rx%u_xdp_redirect_fail", RAW(REDIRECT_ERRORS), RXQ },
	{ "rx%u_xdp_tx", RAW(TX), RXQ },
	{ }
};

/*
 * mvneta and mvpp2, 6.1 and 6.12.
 *
 * rx_xdp_drop: XDP_ABORTED and invalid ones too
 */
static const struct xdpctl_counter marvell_counters[] = {
	{ "rx_xdp_redirect", RAW(REDIRECT), DEV },
	{ "rx_xdp_pass", RAW(PASS), DEV },
	{ "rx_xdp_drop", RAW(ANY_DROP), DEV },
	{ "rx_xdp_tx", RAW(TX), DEV },
	{ "rx_xdp_tx_errors", RAW(TX_ERRORS), DEV },
	{ "tx_xdp_xmit", RAW(XMIT_PACKETS), DEV },
	{ }
};

static void marvell_derive(struct xdpctl_counts *c,
			   const struct xdpctl_witness *w)
{
	derive_less(c, w, RAW(DROP), RAW(ANY_DROP), EXC_ABORTED_INVALID);
}

/*
 * mtk_eth_soc, 6.1 and 6.12. ndo_xdp_xmit refuses nothing beforehand.
 *
 * rx_xdp_drop: XDP_ABORTED, invalid ones and failed redirects too
 */
static const struct xdpctl_counter mtk_counters[] = {
	{ "rx_xdp_redirect", RAW(REDIRECT), DEV },
	{ "rx_xdp_pass", RAW(PASS), DEV },
	{ "rx_xdp_drop", RAW(ANY_DROP), DEV },
	{ "rx_xdp_tx", RAW(TX), DEV },
	{ "rx_xdp_tx_errors", RAW(TX_ERRORS), DEV },
	{ "tx_xdp_xmit", RAW(XMIT_PACKETS), DEV },
	{ "tx_xdp_xmit_errors", RAW(XMIT_ERRORS), DEV },
	{ }
};

static void mtk_derive(struct xdpctl_counts *c, const struct xdpctl_witness *w)
{
	derive_less(c, w, RAW(DROP), RAW(ANY_DROP),
		    EXC_ABORTED_INVALID | BIT(XDPCTL_EXC_REDIRECT_ERR));
}

/*
 * fec, 6.12.
 *
 * rx_xdp_drop: XDP_ABORTED and invalid ones too, and counted before they are
 *	traced, so that a racing difference would be too high
 * tx_xdp_xmit, tx_xdp_xmit_errors: shown, never counted
 */
static const struct xdpctl_counter fec_counters[] = {
	{ "rx_xdp_redirect", RAW(REDIRECT_TRIED), DEV },
	{ "rx_xdp_pass", RAW(PASS), DEV },
	{ "rx_xdp_tx", RAW(TX_TRIED), DEV },
	{ "rx_xdp_tx_errors", RAW(TX_ERRORS), DEV },
	{ }
};

static void fec_derive(struct xdpctl_counts *c, const struct xdpctl_witness *w)
{
	derive_diff(c, RAW(TX), RAW(TX_TRIED), RAW(TX_ERRORS));
}

/*
 * ena, 6.1 and 6.12. An invalid action makes no exception.
 *
 * xdp_aborted: failed redirects too
 * xdp_tx: also if the ring was full
 * queue_%u_xdp_tx_*: XDP_TX and ndo_xdp_xmit
 */
static const struct xdpctl_counter ena_counters[] = {
	{ "queue_%u_rx_xdp_aborted", RAW(OTHER_DROP), DEV | RXQ },
	{ "queue_%u_rx_xdp_drop", RAW(DROP), DEV | RXQ },
	{ "queue_%u_rx_xdp_pass", RAW(PASS), DEV | RXQ },
	{ "queue_%u_rx_xdp_tx", RAW(TX_TRIED), DEV | RXQ },
	{ "queue_%u_rx_xdp_invalid", RAW(INVALID), DEV | RXQ },
	{ "queue_%u_rx_xdp_redirect", RAW(REDIRECT), DEV | RXQ },
	{ }
};

static void ena_derive(struct xdpctl_counts *c, const struct xdpctl_witness *w)
{
	derive_packets(c, BIT(RAW(OTHER_DROP)) | BIT(RAW(DROP)) |
		       BIT(RAW(PASS)) | BIT(RAW(TX_TRIED)) |
		       BIT(RAW(INVALID)) | BIT(RAW(REDIRECT)));
}

/*
 * dpaa2, 6.1 and 6.12.
 *
 * xdp drop: XDP_ABORTED, invalid ones and failed redirects too
 * xdp tx errors: shown, never counted, for the flush empties the batch first
 */
static const struct xdpctl_counter dpaa2_counters[] = {
	{ "[drv] xdp drop", RAW(ANY_DROP), DEV },
	{ "[drv] xdp tx", RAW(TX), DEV },
	{ "[drv] xdp redirect", RAW(REDIRECT), DEV },
	{ }
};

/*
 * enetc, 6.1 and 6.12. 6.1 does not try to redirect frames of several buffers.
 *
 * XDP drops of RX: XDP_ABORTED and invalid ones too
 * XDP frames and drops of TX: XDP_TX and ndo_xdp_xmit
 */
static const struct xdpctl_counter enetc_counters[] = {
	{ "Rx ring %u XDP drops", RAW(ANY_DROP), DEV | RXQ },
	{ "Rx ring %u redirects", RAW(REDIRECT), DEV | RXQ },
	{ "Rx ring %u redirect failures", RAW(REDIRECT_ERRORS), DEV | RXQ },
	{ "Rx ring %u redirect S/G", RAW(REDIRECT_ERRORS), DEV | RXQ },
	{ }
};

static void enetc_derive(struct xdpctl_counts *c,
			 const struct xdpctl_witness *w)
{
	derive_less(c, w, RAW(DROP), RAW(ANY_DROP), EXC_ABORTED_INVALID);
}

/*
 * sfc and siena, 6.1 and 6.12; 32 bits wide, so they start anew after 2^32.
 *
 * rx_xdp_drops: XDP_ABORTED too
 * rx_xdp_bad_drops: failures in and before the program
 * tx-xdp-cpu-%hu.tx_packets: XDP_TX and ndo_xdp_xmit
 */
static const struct xdpctl_counter sfc_counters[] = {
	{ "rx_xdp_tx", RAW(TX), DEV },
	{ "rx_xdp_redirect", RAW(REDIRECT), DEV },
	{ }
};

/*
 * gve, 6.12. Makes no exceptions, and counts no invalid action.
 */
static const struct xdpctl_counter gve_counters[] = {
	{ "rx_xdp_aborted[%u]", RAW(ABORTED), DEV | RXQ },
	{ "rx_xdp_drop[%u]", RAW(DROP), DEV | RXQ },
	{ "rx_xdp_pass[%u]", RAW(PASS), DEV | RXQ },
	{ "rx_xdp_tx[%u]", RAW(TX_TRIED), DEV | RXQ },
	{ "rx_xdp_redirect[%u]", RAW(REDIRECT_TRIED), DEV | RXQ },
	{ "rx_xdp_tx_errors[%u]", RAW(TX_ERRORS), DEV | RXQ },
	{ "rx_xdp_redirect_errors[%u]", RAW(REDIRECT_ERRORS), DEV | RXQ },
	{ "tx_xdp_xmit[%u]", RAW(XMIT_TRIED), DEV },
	{ "tx_xdp_xmit_errors[%u]", RAW(XMIT_UNSENT), DEV },
	{ }
};

static void gve_derive(struct xdpctl_counts *c, const struct xdpctl_witness *w)
{
	derive_diff(c, RAW(TX), RAW(TX_TRIED), RAW(TX_ERRORS));
	derive_diff(c, RAW(REDIRECT), RAW(REDIRECT_TRIED),
		    RAW(REDIRECT_ERRORS));
	derive_diff(c, RAW(XMIT_PACKETS), RAW(XMIT_TRIED), RAW(XMIT_UNSENT));
}

/*
 * mana, 6.1 and 6.12. An invalid action makes no exception.
 *
 * xdp_drop: all but XDP_PASS, XDP_TX and redirected ones
 * xdp_tx, xdp_xmit: also if the queue was full
 */
static const struct xdpctl_counter mana_counters[] = {
	{ "rx_%u_xdp_redirect", RAW(REDIRECT), DEV | RXQ },
	{ }
};

/*
 * hv_netvsc, 6.1 and 6.12. An invalid action makes no exception.
 *
 * xdp_drop: failures in and before the program too
 * xdp_tx, xdp_xmit: also if the ring was full
 */
static const struct xdpctl_counter netvsc_counters[] = {
	{ "rx_queue_%u_xdp_redirect", RAW(REDIRECT), DEV | RXQ },
	{ }
};

/*
 * ionic, 6.12.
 *
 * xdp_aborted: all failures
 * xdp_frames: XDP_TX and ndo_xdp_xmit
 */
static const struct xdpctl_counter ionic_counters[] = {
	{ "xdp_drop", RAW(DROP), DEV },
	{ "xdp_aborted", RAW(OTHER_DROP), DEV },
	{ "xdp_pass", RAW(PASS), DEV },
	{ "xdp_tx", RAW(TX), DEV },
	{ "xdp_redirect", RAW(REDIRECT), DEV },
	{ "rx_%u_xdp_drop", RAW(DROP), RXQ },
	{ "rx_%u_xdp_aborted", RAW(OTHER_DROP), RXQ },
	{ "rx_%u_xdp_pass", RAW(PASS), RXQ },
	{ "rx_%u_xdp_tx", RAW(TX), RXQ },
	{ "rx_%u_xdp_redirect", RAW(REDIRECT), RXQ },
	{ }
};

/*
 * funeth, 6.1 and 6.12. XDP_TX and XDP_REDIRECT of a frame that others hold
 * pass it instead.
 *
 * tx_xdp_pkts, tx_xdp_bytes: XDP_TX and ndo_xdp_xmit
 * tx_xdp_full, tx_xdp_mapping_errors: the same, and once a batch
 */
static const struct xdpctl_counter funeth_counters[] = {
	{ "rx_xdp_tx", RAW(TX), DEV },
	{ "rx_xdp_redir", RAW(REDIRECT), DEV },
	{ "rx_xdp_drops", RAW(DROP), DEV },
	{ "rx_xdp_tx[%u]", RAW(TX), RXQ },
	{ "rx_xdp_redir[%u]", RAW(REDIRECT), RXQ },
	{ "rx_xdp_drops[%u]", RAW(DROP), RXQ },
	{ }
};

/*
 * atlantic, 6.1 and 6.12. PTP queues have no program.
 *
 * XdpAbort: all failures
 * XdpInvalid: shown, never counted
 */
static const struct xdpctl_counter atlantic_counters[] = {
	{ "Queue[%u] XdpAbort", RAW(OTHER_DROP), DEV | RXQ },
	{ "Queue[%u] XdpDrop", RAW(DROP), DEV | RXQ },
	{ "Queue[%u] XdpPass", RAW(PASS), DEV | RXQ },
	{ "Queue[%u] XdpTx", RAW(TX), DEV | RXQ },
	{ "Queue[%u] XdpRedirect", RAW(REDIRECT), DEV | RXQ },
	{ "TC%u Queue[%u] XdpAbort", RAW(OTHER_DROP), DEV | RXQ },
	{ "TC%u Queue[%u] XdpDrop", RAW(DROP), DEV | RXQ },
	{ "TC%u Queue[%u] XdpPass", RAW(PASS), DEV | RXQ },
	{ "TC%u Queue[%u] XdpTx", RAW(TX), DEV | RXQ },
	{ "TC%u Queue[%u] XdpRedirect", RAW(REDIRECT), DEV | RXQ },
	{ }
};

/* ionic and atlantic: one of the counters for each frame. */
static void each_derive(struct xdpctl_counts *c, const struct xdpctl_witness *w)
{
	derive_packets(c, BIT(RAW(OTHER_DROP)) | BIT(RAW(DROP)) |
		       BIT(RAW(PASS)) | BIT(RAW(TX)) | BIT(RAW(REDIRECT)));
}

/*
 * vmxnet3, 6.12. All others than these end in the stack.
 *
 * xdp drops: failed redirects and XDP_TX too
 * xdp aborted: invalid ones too
 * xdp xmit err: once a batch
 */
static const struct xdpctl_counter vmxnet3_counters[] = {
	{ "     xdp packets", RAW(PACKETS), DEV | RXQ | NTH },
	{ "     xdp tx", RAW(TX), DEV | RXQ | NTH },
	{ "     xdp redirects", RAW(REDIRECT), DEV | RXQ | NTH },
	{ "     xdp drops", RAW(ANY_DROP), DEV | RXQ | NTH },
	{ "     xdp aborted", RAW(OTHER_DROP), DEV | RXQ | NTH },
	{ "  xdp xmit", RAW(XMIT_PACKETS), DEV },
	{ }
};

static void vmxnet3_derive(struct xdpctl_counts *c,
			   const struct xdpctl_witness *w)
{
	derive_pass(c, RAW(PACKETS), BIT(RAW(ANY_DROP)) |
		    BIT(RAW(OTHER_DROP)) | BIT(RAW(TX)) | BIT(RAW(REDIRECT)));
}

/*
 * ixgbevf, 6.1 and 6.12. Has an XDP ring for each RX ring and no
 * ndo_xdp_xmit; counts when the frame is out.
 */
static const struct xdpctl_counter ixgbevf_counters[] = {
	{ "xdp_queue_%u_packets", RAW(TX), DEV | RXQ },
	{ }
};

#define DRIVER(_name, _parent, _counters, _flags, _derive) \
	{ \
		.name = _name, .parent = _parent, .counters = _counters, \
		.flags = _flags, .derive = _derive, \
	}

#define TX_TRACED	XDPCTL_DRIVER_TX_TRACED
#define NO_INVALID	XDPCTL_DRIVER_INVALID_UNTRACED
#define NO_ABORTED	XDPCTL_DRIVER_ABORTED_UNTRACED
#define SLEEP		XDPCTL_DRIVER_SLEEP_RESETS

/*
 * qede is not here: xdp_no_pass is the sum of all but XDP_PASS, and the
 * counters of an XDP queue are of XDP_TX and ndo_xdp_xmit together.
 */
const struct xdpctl_driver xdpctl_drivers[] = {
	DRIVER("veth", "veth", veth_counters, XDPCTL_DRIVER_VETH, veth_derive),
	DRIVER("virtio_net", "virtio_net", virtio_counters, SLEEP,
	       virtio_derive),
	DRIVER("mlx5_core", "mlx5_core", mlx5_counters, TX_TRACED, NULL),
	DRIVER("mlx5_core", "mlx5_core.sf", mlx5_counters, TX_TRACED, NULL),
	DRIVER("mlx4_en", "mlx4_core", mlx4_counters, TX_TRACED, NULL),
	DRIVER("mvneta", "mvneta", marvell_counters, SLEEP, marvell_derive),
	DRIVER("mvpp2", "mvpp2", marvell_counters, SLEEP, marvell_derive),
	DRIVER("mtk_soc_eth", "mtk_soc_eth", mtk_counters, SLEEP, mtk_derive),
	DRIVER("fec", "fec", fec_counters, 0, fec_derive),
	DRIVER("ena", "ena", ena_counters, NO_INVALID, ena_derive),
	DRIVER("fsl_dpaa2_eth", "fsl_dpaa2_eth", dpaa2_counters, SLEEP,
	       mtk_derive),
	DRIVER("fsl_enetc", "fsl_enetc", enetc_counters, SLEEP, enetc_derive),
	DRIVER("fsl_enetc_vf", "fsl_enetc_vf", enetc_counters, SLEEP,
	       enetc_derive),
	DRIVER("sfc", "sfc", sfc_counters, TX_TRACED, NULL),
	DRIVER("sfc_siena", "sfc_siena", sfc_counters, TX_TRACED, NULL),
	DRIVER("gve", "gve", gve_counters, NO_ABORTED | NO_INVALID,
	       gve_derive),
	DRIVER("mana", "mana", mana_counters, NO_INVALID, NULL),
	DRIVER("hv_netvsc", "hv_netvsc", netvsc_counters, NO_INVALID, NULL),
	DRIVER("ionic", "ionic", ionic_counters, TX_TRACED, each_derive),
	DRIVER("funeth", "funeth", funeth_counters, 0, NULL),
	DRIVER("atlantic", "atlantic", atlantic_counters, TX_TRACED,
	       each_derive),
	DRIVER("vmxnet3", "vmxnet3", vmxnet3_counters, 0, vmxnet3_derive),
	DRIVER("ixgbevf", "ixgbevf", ixgbevf_counters, TX_TRACED, NULL),

	/* No counters of use, and not all is traced. */
	{ .name = "rvu_nicpf", .parent = "rvu_nicpf", .flags = NO_INVALID },
	{ .name = "rvu_nicvf", .parent = "rvu_nicvf", .flags = NO_INVALID },
	{ .name = "vif", .parent = "vif", .flags = NO_INVALID },
};

const u32 xdpctl_n_drivers = ARRAY_SIZE(xdpctl_drivers);
