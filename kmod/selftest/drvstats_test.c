// SPDX-License-Identifier: GPL-2.0-only
/*
 * Self-tests of drvstats.c and drvtable.c, run when a debug build is loaded:
 * strings as ethtool -S prints them, and what must be made of them.
 */

#define TEST_STRINGS	24
#define TEST_EXPECT	12

struct drvstats_test {
	const char *name;
	const char *parent;
	struct {
		const char *string;
		u64 value;
	} data[TEST_STRINGS];
	struct {
		u32 queue;
		u8 raw;
		u64 value;
	} expect[TEST_EXPECT];
	u32 n_queues;
	u32 have;		/* of the whole netdev, and no others */
	struct xdpctl_exc exc;
	bool some_exc;		/* not all exceptions were seen */
	bool all_seen;
	bool several_queues;
};

#define ALL	XDPCTL_NO_QUEUE
#define R(r)	XDPCTL_RAW_##r
#define B(r)	BIT(XDPCTL_RAW_##r)

static const struct drvstats_test drvstats_tests[] __initconst = {
	{
		.name = "veth", .parent = "veth",
		.data = {
			{ "peer_ifindex", 7 },
			{ "rx_queue_0_xdp_packets", 100 },
			{ "rx_queue_0_xdp_bytes", 5000 },
			{ "rx_queue_0_drops", 3 },
			{ "rx_queue_0_xdp_redirect", 20 },
			{ "rx_queue_0_xdp_drops", 30 },
			{ "rx_queue_0_xdp_tx", 10 },
			{ "rx_queue_0_xdp_tx_errors", 2 },
			{ "tx_queue_0_xdp_xmit", 8 },
			{ "tx_queue_0_xdp_xmit_errors", 9 },
			{ "rx_pp_alloc_fast", 1000 },
		},
		.exc.n[XDPCTL_EXC_NATIVE] = {
			[XDPCTL_EXC_ABORTED] = 4, [XDPCTL_EXC_INVALID] = 5,
			[XDPCTL_EXC_REDIRECT_ERR] = 3,
		},
		.exc.n[XDPCTL_EXC_MAP] = { [XDPCTL_EXC_ABORTED] = 6 },
		.all_seen = true,
		.n_queues = 1,
		.expect = {
			{ ALL, R(PACKETS), 100 }, { ALL, R(DROP), 21 },
			{ ALL, R(PASS), 35 }, { ALL, R(REDIRECT), 20 },
			{ ALL, R(TX), 10 }, { ALL, R(TX_ERRORS), 2 },
			{ ALL, R(XMIT_PACKETS), 8 },
			{ 0, R(DROP), 21 }, { 0, R(PASS), 35 },
		},
		.have = B(PACKETS) | B(DROP) | B(PASS) | B(REDIRECT) | B(TX) |
			B(TX_ERRORS) | B(XMIT_PACKETS),
	},
	{
		.name = "veth with another drop", .parent = "veth",
		.data = {
			{ "rx_queue_0_xdp_packets", 10 },
			{ "rx_queue_0_drops", 2 },
			{ "rx_queue_0_xdp_redirect", 0 },
			{ "rx_queue_0_xdp_drops", 4 },
			{ "rx_queue_0_xdp_tx", 0 },
			{ "rx_queue_0_xdp_tx_errors", 0 },
			{ "tx_queue_0_xdp_xmit", 0 },
		},
		.exc.n[XDPCTL_EXC_NATIVE] = { [XDPCTL_EXC_REDIRECT_ERR] = 1 },
		.exc.n[XDPCTL_EXC_GENERIC] = { [XDPCTL_EXC_ABORTED] = 1 },
		.all_seen = true,
		.n_queues = 1,
		.expect = { { ALL, R(PASS), 4 } },
		.have = B(PASS) | B(REDIRECT) | B(TX) | B(TX_ERRORS) |
			B(XMIT_PACKETS),
	},
	{
		.name = "veth older than the module", .parent = "veth",
		.data = {
			{ "rx_queue_0_xdp_packets", 10 },
			{ "rx_queue_0_drops", 0 },
			{ "rx_queue_0_xdp_redirect", 1 },
			{ "rx_queue_0_xdp_drops", 4 },
			{ "rx_queue_0_xdp_tx", 2 },
			{ "rx_queue_0_xdp_tx_errors", 0 },
			{ "rx_queue_1_xdp_packets", 10 },
			{ "rx_queue_1_drops", 0 },
			{ "rx_queue_1_xdp_redirect", 3 },
			{ "rx_queue_1_xdp_drops", 4 },
			{ "rx_queue_1_xdp_tx", 4 },
			{ "rx_queue_1_xdp_tx_errors", 0 },
			{ "tx_queue_0_xdp_xmit", 5 },
			{ "tx_queue_1_xdp_xmit", 6 },
		},
		.some_exc = true,
		.n_queues = 2,
		.expect = {
			{ ALL, R(REDIRECT), 4 }, { ALL, R(TX), 6 },
			{ ALL, R(XMIT_PACKETS), 11 },
			{ 1, R(REDIRECT), 3 }, { 1, R(TX), 4 },
		},
		.have = B(REDIRECT) | B(TX) | B(XMIT_PACKETS),
	},
	{
		.name = "virtio_net of 6.1", .parent = "virtio_net",
		.data = {
			{ "rx_queue_0_packets", 50 },
			{ "rx_queue_0_drops", 1 },
			{ "rx_queue_0_xdp_packets", 20 },
			{ "rx_queue_0_xdp_tx", 5 },
			{ "rx_queue_0_xdp_redirects", 6 },
			{ "rx_queue_0_xdp_drops", 7 },
			{ "tx_queue_0_xdp_tx", 9 },
			{ "tx_queue_0_xdp_tx_drops", 0 },
		},
		.exc.n[XDPCTL_EXC_NATIVE] = { [XDPCTL_EXC_REDIRECT_ERR] = 2 },
		.n_queues = 1,
		.expect = {
			{ ALL, R(PACKETS), 20 }, { ALL, R(TX), 5 },
			{ ALL, R(REDIRECT), 4 }, { ALL, R(TX_ERRORS), 0 },
			{ 0, R(PACKETS), 20 }, { 0, R(TX), 5 },
		},
		.have = B(PACKETS) | B(TX) | B(TX_ERRORS) | B(REDIRECT),
	},
	{
		.name = "virtio_net of 6.12", .parent = "virtio_net",
		.data = {
			{ "rx_xdp_packets", 70 }, { "rx_xdp_tx", 0 },
			{ "rx_xdp_redirects", 7 }, { "tx_xdp_tx", 12 },
			{ "tx_xdp_tx_drops", 2 },
			{ "rx0_xdp_packets", 30 }, { "rx0_xdp_tx", 0 },
			{ "rx0_xdp_redirects", 3 }, { "rx0_xdp_drops", 9 },
			{ "rx10_xdp_packets", 40 }, { "rx10_xdp_tx", 0 },
			{ "rx10_xdp_redirects", 4 }, { "rx10_xdp_drops", 9 },
			{ "tx0_xdp_tx", 5 }, { "tx0_xdp_tx_drops", 2 },
			{ "tx10_xdp_tx", 7 }, { "tx10_xdp_tx_drops", 0 },
		},
		.exc.n[XDPCTL_EXC_NATIVE] = { [XDPCTL_EXC_REDIRECT_ERR] = 1 },
		.several_queues = true,
		.n_queues = 11,
		.expect = {
			{ ALL, R(PACKETS), 70 }, { ALL, R(REDIRECT), 6 },
			{ ALL, R(XMIT_PACKETS), 10 },
			{ 10, R(PACKETS), 40 },
		},
		.have = B(PACKETS) | B(REDIRECT) | B(XMIT_PACKETS),
	},
	{
		.name = "vmxnet3", .parent = "vmxnet3",
		.data = {
			{ "Tx Queue#", 0 }, { "  xdp xmit", 3 },
			{ "  xdp xmit err", 1 },
			{ "Rx Queue#", 0 }, { "     xdp packets", 10 },
			{ "     xdp tx", 1 }, { "     xdp redirects", 2 },
			{ "     xdp drops", 3 }, { "     xdp aborted", 1 },
			{ "Rx Queue#", 1 }, { "     xdp packets", 20 },
			{ "     xdp tx", 2 }, { "     xdp redirects", 4 },
			{ "     xdp drops", 6 }, { "     xdp aborted", 2 },
		},
		.n_queues = 2,
		.expect = {
			{ ALL, R(PACKETS), 30 }, { ALL, R(PASS), 9 },
			{ ALL, R(XMIT_PACKETS), 3 },
			{ 1, R(PACKETS), 20 }, { 1, R(PASS), 6 },
		},
		.have = B(PACKETS) | B(PASS) | B(TX) | B(REDIRECT) |
			B(XMIT_PACKETS),
	},
	{
		.name = "enetc", .parent = "fsl_enetc",
		.data = {
			{ "Tx ring  0 XDP frames", 9 },
			{ "Rx ring  0 XDP drops", 5 },
			{ "Rx ring  0 redirects", 1 },
			{ "Rx ring  0 redirect failures", 2 },
			{ "Rx ring  0 redirect S/G", 3 },
			{ "Rx ring 10 redirects", 4 },
			{ "Rx ring xx redirects", 99 },
		},
		.n_queues = 11,
		.expect = {
			{ ALL, R(REDIRECT), 5 }, { ALL, R(REDIRECT_ERRORS), 5 },
			{ 0, R(REDIRECT), 1 }, { 10, R(REDIRECT), 4 },
		},
		.have = B(DROP) | B(REDIRECT) | B(REDIRECT_ERRORS),
	},
	{
		.name = "ena", .parent = "ena",
		.data = {
			{ "queue_0_rx_xdp_aborted", 1 },
			{ "queue_0_rx_xdp_drop", 2 },
			{ "queue_0_rx_xdp_pass", 3 },
			{ "queue_0_rx_xdp_tx", 4 },
			{ "queue_0_rx_xdp_invalid", 5 },
			{ "queue_0_rx_xdp_redirect", 6 },
			{ "queue_1_xdp_tx_cnt", 100 },
		},
		.n_queues = 1,
		.expect = {
			{ ALL, R(PACKETS), 21 }, { ALL, R(INVALID), 5 },
		},
		.have = B(PACKETS) | B(DROP) | B(PASS) | B(INVALID) |
			B(REDIRECT),
	},
	{
		.name = "mlx5", .parent = "mlx5_core",
		.data = {
			{ "rx_xdp_drop", 1 }, { "rx_xdp_redirect", 2 },
			{ "rx_xdp_tx_xmit", 3 }, { "rx_xsk_xdp_redirect", 4 },
			{ "tx_xdp_xmit", 5 }, { "rx0_xdp_redirect", 2 },
			{ "rx0_xdp_tx_xmit", 3 }, { "rx0_xsk_xdp_redirect", 4 },
			{ "ptp_rq0_xdp_redirect", 6 },
		},
		.n_queues = 1,
		.expect = {
			{ ALL, R(REDIRECT), 6 }, { ALL, R(TX), 3 },
			{ 0, R(REDIRECT), 6 },
		},
		.have = B(REDIRECT) | B(TX) | B(XMIT_PACKETS),
	},
	{
		.name = "atlantic", .parent = "atlantic",
		.data = {
			{ "Queue[0] XdpDrop", 1 },
			{ "TC1 Queue[5] XdpDrop", 2 },
			{ "PTP Queue[8] XdpDrop", 4 },
		},
		.n_queues = 6,
		.expect = { { ALL, R(DROP), 3 }, { 5, R(DROP), 2 } },
		.have = B(DROP),
	},
};

static const struct xdpctl_driver *__init test_driver(const char *parent)
{
	u32 i;

	for (i = 0; i < xdpctl_n_drivers; i++)
		if (!strcmp(xdpctl_drivers[i].parent, parent))
			return &xdpctl_drivers[i];
	return NULL;
}

static void __init test_derive(const struct drvstats_test *t,
			       const struct xdpctl_driver *drv,
			       struct xdpctl_counts *c,
			       const struct xdpctl_counts *dev)
{
	struct xdpctl_witness w = {
		.exc = &t->exc,
		.all_exc = !t->some_exc,
		.all_seen = t->all_seen,
		.one_queue = !t->several_queues,
		.dev = dev,
	};

	if (drv->derive)
		drv->derive(c, &w);
}

static bool __init test_counts(const struct drvstats_test *t,
			       const struct xdpctl_driver *drv,
			       const struct xdpctl_layout *l, const u64 *data)
{
	struct xdpctl_counts dev, sum, c;
	u32 i;

	xdpctl_layout_sum(l, data, ALL, &sum);
	dev = sum;
	test_derive(t, drv, &dev, NULL);
	if ((dev.have & (BIT(XDPCTL_RAW_EXACT) - 1)) != t->have)
		return false;

	for (i = 0; i < TEST_EXPECT; i++) {
		if (!t->expect[i].queue && !t->expect[i].raw &&
		    !t->expect[i].value)
			break;
		c = dev;
		if (t->expect[i].queue != ALL) {
			xdpctl_layout_sum(l, data, t->expect[i].queue, &c);
			test_derive(t, drv, &c, &sum);
		}
		if (!xdpctl_counts_have(&c, t->expect[i].raw) ||
		    c.n[t->expect[i].raw] != t->expect[i].value)
			return false;
	}
	return true;
}

static bool __init test_one(const struct drvstats_test *t)
{
	const struct xdpctl_driver *drv = test_driver(t->parent);
	static char strings[TEST_STRINGS][ETH_GSTRING_LEN] __initdata;
	static u64 data[TEST_STRINGS] __initdata;
	struct xdpctl_layout l = { };
	u32 i, n = 0;
	bool pass;

	memset(strings, 0, sizeof(strings));
	for (i = 0; i < TEST_STRINGS && t->data[i].string; i++, n++) {
		strscpy(strings[i], t->data[i].string, sizeof(strings[i]));
		data[i] = t->data[i].value;
	}
	if (!drv || xdpctl_layout_parse(&l, drv, strings[0], n))
		return false;
	pass = l.n_queues == t->n_queues && test_counts(t, drv, &l, data);
	kvfree(l.slots);
	return pass;
}

/* Strings need not be terminated, and numbers must not run wild. */
static bool __init test_match(void)
{
	static const char full[] __initconst =
		"rx_queue_0_xdp_tx_errors_and_mor";
	u32 queue;

	BUILD_BUG_ON(sizeof(full) - 1 != ETH_GSTRING_LEN);
	return match(full, full, ETH_GSTRING_LEN, &queue) &&
	       !match("rx_queue_%u_xdp_tx_errors", full, ETH_GSTRING_LEN,
		      &queue) &&
	       match("a%u", "a12", 3, &queue) && queue == 12 &&
	       match("a%u", "a123", 3, &queue) && queue == 12 &&
	       !match("a%u", "a", 2, &queue) &&
	       !match("a%u", "a-1", 4, &queue) &&
	       !match("a%ub", "a1", 3, &queue) &&
	       !match("a%u", "a4294967295", 12, &queue);
}

/**
 * xdpctl_drvstats_selftest() - test what is made of drivers' strings
 *
 * Context: process context, at load.
 * Return: 0, or -ENOTRECOVERABLE.
 */
int __init xdpctl_drvstats_selftest(void)
{
	bool pass = test_match();
	u32 i;

	if (!pass)
		pr_err("xdpctl: drvstats self-test match: FAIL\n");
	for (i = 0; i < ARRAY_SIZE(drvstats_tests); i++) {
		if (test_one(&drvstats_tests[i]))
			continue;
		pr_err("xdpctl: drvstats self-test %s: FAIL\n",
		       drvstats_tests[i].name);
		pass = false;
	}
	if (!pass)
		return -ENOTRECOVERABLE;
	pr_info("xdpctl: drvstats self-tests: pass\n");
	return 0;
}
