// SPDX-License-Identifier: BSD-3-Clause
//go:build ignore

/*
 * What one operation costs, in C and without libraries: the anchors that
 * everybody knows beside both doors of xdpctl. Under QEMU's -icount a
 * nanosecond is an instruction of the guest, so the clock counts instructions.
 *
 * bench clock                            how long 1,000,000 instructions take
 * bench once control=I dev=I veth=NAME   one netdev; no doors with control=0
 * bench iterate control=I                all netdevs
 * bench attach control=I veth=NAME       attach and detach, and replace
 * bench packets veth=NAME verdict=N      a frame that asks for verdict N
 * bench replay                           what standard input says: replay.h
 * bench measure op=NAME control=I dev=I veth=NAME
 *                                        one operation by its name
 * bench loop count=N op=NAME ...         it N times, to be profiled
 *
 * One JSON object a line: the name of the operation and of a batch the
 * smallest, the median and the largest cost of one operation.
 */
#include "raw.h"
#include "replay.h"
#include "xdpctl.h"

#define FRAMES	16	/* in a batch of packets, one NAPI run each */

/* What the command line says. */
static uint32_t control, dev, veth, verdict, count;
static const char *veth_name, *op_name = "";

/* 1,000,000 instructions. */
static int op_clock(void)
{
	unsigned long n = 500000;

	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(n) : : "cc");
	return 1;
}

static int op_getppid(void)
{
	syscall(SYS_getppid);
	return 1;
}

/* Anchors */

static struct request getstats, getlink, linkdump, channels;
static int hash_map, ioctl_fd;
static struct ifreq ifr;

static int op_hash_lookup(void)
{
	struct xdpctl_stats value;
	uint32_t key = 1;

	if (map_elem(BPF_MAP_LOOKUP_ELEM, hash_map, &key, &value, 0))
		die("look up in hash map");
	return 1;
}

static int op_ethtool_stats(void)
{
	if (ioctl(ioctl_fd, SIOCETHTOOL, &ifr))
		die("ethtool -S");
	return 1;
}

static int op_getstats(void) { exchange(&getstats); return 1; }
static int op_getlink(void) { exchange(&getlink); return 1; }
static int op_channels(void) { exchange(&channels); return 1; }
static int op_linkdump(void) { return dump(&linkdump); }

static void hash_map_setup(void)
{
	struct xdpctl_stats value = {};
	uint32_t key = 1;

	hash_map = map_create("anchor", sizeof(key), sizeof(value), 0);
	if (map_elem(BPF_MAP_UPDATE_ELEM, hash_map, &key, &value, 0))
		die("fill hash map");
}

static void ethtool_setup(void)
{
	ioctl_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	strncpy(ifr.ifr_name, veth_name, sizeof(ifr.ifr_name) - 1);
	ifr.ifr_data = (void *)ethtool_counters(ioctl_fd, &ifr);
}

static void route_setup(uint32_t ifindex)
{
	struct if_stats_msg stats = {
		.ifindex = ifindex,
		.filter_mask = IFLA_STATS_FILTER_BIT(IFLA_STATS_LINK_64),
	};
	struct ifinfomsg link = { .ifi_index = ifindex };

	request(&getstats, route_fd, RTM_GETSTATS, 0, &stats, sizeof(stats));
	request(&getlink, route_fd, RTM_GETLINK, 0, &link, sizeof(link));
	link.ifi_index = 0;
	request(&linkdump, route_fd, RTM_GETLINK, NLM_F_DUMP, &link, sizeof(link));
}

static void channels_setup(void)
{
	uint16_t family = genl_family(ETHTOOL_GENL_NAME);
	struct nlattr *nest;

	genl_request(&channels, family, ETHTOOL_MSG_CHANNELS_GET, 0);
	nest = put(&channels, ETHTOOL_A_CHANNELS_HEADER | NLA_F_NESTED, NULL, 0);
	put_u32(&channels, ETHTOOL_A_HEADER_DEV_INDEX, veth);
	nest->nla_len = channels.buf + ((struct nlmsghdr *)channels.buf)->nlmsg_len - (char *)nest;
}

/* The doors, reading */

static struct request stats_own, stats_ack, stats_drv, caps_get, prog_get, stats_dump;
static int stats_map, caps_map, prog_map;

static int lookup(int fd, const void *key, void *value)
{
	if (map_elem(BPF_MAP_LOOKUP_ELEM, fd, key, value, 0))
		die("look up in control map");
	return 1;
}

static int op_lookup_own(void)
{
	struct xdpctl_stats_key key = { .ifindex = dev };
	struct xdpctl_stats value;

	return lookup(stats_map, &key, &value);
}

static int op_lookup_drv(void)
{
	struct xdpctl_stats_key key = { .ifindex = veth };
	struct xdpctl_stats value;

	return lookup(stats_map, &key, &value);
}

static int op_lookup_caps(void)
{
	struct xdpctl_caps_key key = { .ifindex = veth };
	struct xdpctl_caps value;

	return lookup(caps_map, &key, &value);
}

static int op_lookup_prog(void)
{
	struct xdpctl_prog_key key = { .ifindex = veth, .queue = XDPCTL_QUEUE_ALL };
	struct xdpctl_prog value;

	return lookup(prog_map, &key, &value);
}

static int op_do_own(void) { exchange(&stats_own); return 1; }
static int op_do_ack(void) { exchange_ack(&stats_ack); return 1; }
static int op_do_drv(void) { exchange(&stats_drv); return 1; }
static int op_do_caps(void) { exchange(&caps_get); return 1; }
static int op_do_prog(void) { exchange(&prog_get); return 1; }
static int op_stats_dump(void) { return dump(&stats_dump); }

/* The loop of the control map RFC. */
static int op_map_iterate(void)
{
	struct xdpctl_stats_key key, next;
	struct xdpctl_stats value;
	void *from = NULL;
	int entries = 0;

	while (!map_elem(BPF_MAP_GET_NEXT_KEY, stats_map, from, &next, 0)) {
		lookup(stats_map, &next, &value);
		key = next;
		from = &key;
		entries++;
	}
	if (errno != ENOENT)
		die("get next key");
	return entries;
}

static void doors_setup(void)
{
	uint16_t family = genl_family(XDPCTL_FAMILY_NAME);

	stats_map = map_create("xdp_stats", sizeof(struct xdpctl_stats_key),
			       sizeof(struct xdpctl_stats), control);
	caps_map = map_create("xdp_caps", sizeof(struct xdpctl_caps_key),
			      sizeof(struct xdpctl_caps), control);
	prog_map = map_create("xdp_prog", sizeof(struct xdpctl_prog_key),
			      sizeof(struct xdpctl_prog), control);
	genl_request(&stats_own, family, XDPCTL_CMD_STATS_GET, 0);
	put_u32(&stats_own, XDPCTL_A_STATS_IFINDEX, dev);
	genl_request(&stats_ack, family, XDPCTL_CMD_STATS_GET, NLM_F_ACK);
	put_u32(&stats_ack, XDPCTL_A_STATS_IFINDEX, dev);
	genl_request(&stats_drv, family, XDPCTL_CMD_STATS_GET, 0);
	put_u32(&stats_drv, XDPCTL_A_STATS_IFINDEX, veth);
	genl_request(&caps_get, family, XDPCTL_CMD_CAPS_GET, 0);
	put_u32(&caps_get, XDPCTL_A_CAPS_IFINDEX, veth);
	genl_request(&prog_get, family, XDPCTL_CMD_PROG_GET, 0);
	put_u32(&prog_get, XDPCTL_A_PROG_IFINDEX, veth);
	genl_request(&stats_dump, family, XDPCTL_CMD_STATS_GET, NLM_F_DUMP);
}

/* The doors, writing */

static struct request xdp_on, xdp_off, prog_set, prog_replace[2], prog_del;
static int prog_fd[2];
static unsigned int turn;

static int link_create(int prog)
{
	union bpf_attr attr = { .link_create = {
		.prog_fd = prog, .target_ifindex = veth,
		.attach_type = BPF_XDP, .flags = XDP_FLAGS_DRV_MODE,
	} };
	int fd = bpf(BPF_LINK_CREATE, &attr);

	if (fd < 0)
		die("attach by link");
	return fd;
}

static int op_link(void)
{
	close(link_create(prog_fd[0]));
	return 1;
}

static int link_fd;

static int op_link_replace(void)
{
	union bpf_attr attr = { .link_update = {
		.link_fd = link_fd, .new_prog_fd = prog_fd[turn++ & 1],
	} };

	if (bpf(BPF_LINK_UPDATE, &attr))
		die("replace by link");
	return 1;
}

static int op_route_attach(void) { exchange(&xdp_on); exchange(&xdp_off); return 1; }
static int op_prog_set(void) { exchange(&prog_set); exchange(&prog_del); return 1; }
static int op_prog_replace(void) { exchange(&prog_replace[turn++ & 1]); return 1; }

static void map_attach(int fd, uint64_t flags)
{
	struct xdpctl_prog_key key = { .ifindex = veth, .queue = XDPCTL_QUEUE_ALL };
	struct xdpctl_prog value = {
		.present = XDPCTL_PRESENT(XDPCTL_A_PROG_FD) | XDPCTL_PRESENT(XDPCTL_A_PROG_MODE),
		.fd = fd, .mode = XDPCTL_MODE_NATIVE,
	};

	if (map_elem(BPF_MAP_UPDATE_ELEM, prog_map, &key, &value, flags))
		die("attach by control map");
}

static void map_detach(void)
{
	struct xdpctl_prog_key key = { .ifindex = veth, .queue = XDPCTL_QUEUE_ALL };

	if (map_elem(BPF_MAP_DELETE_ELEM, prog_map, &key, NULL, 0))
		die("detach by control map");
}

static int op_map_attach(void) { map_attach(prog_fd[0], BPF_NOEXIST); map_detach(); return 1; }
static int op_map_replace(void) { map_attach(prog_fd[turn++ & 1], BPF_EXIST); return 1; }

static void route_xdp(struct request *r, int fd)
{
	struct ifinfomsg link = { .ifi_index = veth };
	struct nlattr *nest;

	request(r, route_fd, RTM_SETLINK, NLM_F_ACK, &link, sizeof(link));
	nest = put(r, IFLA_XDP | NLA_F_NESTED, NULL, 0);
	put_u32(r, IFLA_XDP_FD, fd);
	put_u32(r, IFLA_XDP_FLAGS, XDP_FLAGS_DRV_MODE);
	nest->nla_len = r->buf + ((struct nlmsghdr *)r->buf)->nlmsg_len - (char *)nest;
}

static void prog_request(struct request *r, uint16_t family, int fd, uint32_t how)
{
	genl_request(r, family, XDPCTL_CMD_PROG_SET, 0);
	put_u32(r, XDPCTL_A_PROG_IFINDEX, veth);
	put_u32(r, XDPCTL_A_PROG_UPDATE, how);
	put_u32(r, XDPCTL_A_PROG_FD, fd);
	put_u32(r, XDPCTL_A_PROG_MODE, XDPCTL_MODE_NATIVE);
}

static void measure_replace(void)
{
	link_fd = link_create(prog_fd[0]);
	measure("BPF_LINK_UPDATE", op_link_replace, true);
	close(link_fd);
	if (!control)
		return;
	exchange(&prog_set);
	measure("prog-set exist", op_prog_replace, true);
	measure("map update exist", op_map_replace, true);
	exchange(&prog_del);
}

static void attach(void)
{
	uint16_t family;
	int i;

	for (i = 0; i < 2; i++)
		prog_fd[i] = prog_load(i);
	route_xdp(&xdp_on, prog_fd[0]);
	route_xdp(&xdp_off, -1);
	measure("BPF_LINK_CREATE, close", op_link, true);
	measure("RTM_SETLINK xdp on, off", op_route_attach, true);
	if (control) {
		doors_setup();
		family = genl_family(XDPCTL_FAMILY_NAME);
		prog_request(&prog_set, family, prog_fd[0], XDPCTL_UPDATE_NOEXIST);
		for (i = 0; i < 2; i++)
			prog_request(&prog_replace[i], family, prog_fd[i], XDPCTL_UPDATE_EXIST);
		genl_request(&prog_del, family, XDPCTL_CMD_PROG_DEL, NLM_F_ACK);
		put_u32(&prog_del, XDPCTL_A_PROG_IFINDEX, veth);
		measure("prog-set, prog-del", op_prog_set, true);
		measure("map update, delete", op_map_attach, true);
	}
	measure_replace();
}

static void one_netdev(void)
{
	hash_map_setup();
	ethtool_setup();
	route_setup(veth);
	channels_setup();
	measure("getppid", op_getppid, false);
	measure("hash map lookup", op_hash_lookup, false);
	measure("ethtool -S ioctl", op_ethtool_stats, false);
	measure("RTM_GETSTATS", op_getstats, false);
	measure("ethtool CHANNELS_GET", op_channels, false);
	measure("RTM_GETLINK", op_getlink, false);
	if (!control)
		return;
	doors_setup();
	measure("map lookup stats own", op_lookup_own, false);
	measure("map lookup stats driver", op_lookup_drv, false);
	measure("map lookup caps", op_lookup_caps, false);
	measure("stats-get own", op_do_own, false);
	measure("stats-get own, ACK", op_do_ack, false);
	measure("stats-get driver", op_do_drv, false);
	measure("caps-get", op_do_caps, false);
	link_fd = link_create(prog_load(0));
	measure("map lookup prog", op_lookup_prog, false);
	measure("prog-get", op_do_prog, false);
	close(link_fd);
}

static void iterate(void)
{
	route_setup(0);
	measure("RTM_GETLINK dump", op_linkdump, false);
	if (!control)
		return;
	doors_setup();
	measure("stats-get dump", op_stats_dump, false);
	measure("map iterate", op_map_iterate, false);
}

/* Packets */

static int packet_fd;
static unsigned char frame[60] = { 2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5 };

/* Frames into a veth; its peer's program has run when a send returns. */
static int op_packets(void)
{
	int i;

	for (i = 0; i < FRAMES; i++)
		if (send(packet_fd, frame, sizeof(frame), 0) < 0)
			die("send frame");
	return FRAMES;
}

static void packets(void)
{
	struct sockaddr_ll addr = { .sll_family = AF_PACKET, .sll_ifindex = veth };

	packet_fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (packet_fd < 0 || bind(packet_fd, (void *)&addr, sizeof(addr)))
		die("open packet socket on %s", veth_name);
	frame[14] = verdict;
	measure("frame", op_packets, false);
}

/* One operation by its name */

static const struct {
	const char *name;
	int (*op)(void);
} operations[] = {
	{ "stats-get own", op_do_own },
	{ "RTM_GETSTATS", op_getstats },
	{ "ethtool CHANNELS_GET", op_channels },
	{ "map lookup stats own", op_lookup_own },
	{ "hash map lookup", op_hash_lookup },
	{ "ethtool -S ioctl", op_ethtool_stats },
	{ "stats-get dump", op_stats_dump },
	{ "map iterate", op_map_iterate },
};

/*
 * Up to 8,000 instructions: samples are taken at regular intervals, and would
 * otherwise fall in step with what is always of the same length.
 */
static __attribute__((noinline)) void jitter(void)
{
	static uint64_t state = 1;
	unsigned long n;

	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	n = 1 + (state >> 52);
	__asm__ volatile("1: dec %0; jnz 1b" : "+r"(n) : : "cc");
}

static int by_name(bool loop)
{
	unsigned int i;

	for (i = 0; strcmp(operations[i].name, op_name);)
		if (++i == sizeof(operations) / sizeof(*operations))
			return fprintf(stderr, "bench: no operation %s\n", op_name), 1;
	hash_map_setup();
	ethtool_setup();
	route_setup(veth);
	channels_setup();
	doors_setup();
	if (!loop)
		measure(op_name, operations[i].op, false);
	for (; loop && count; count--) {
		operations[i].op();
		jitter();
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *value;
	int i;

	for (i = 2; i < argc; i++) {
		value = strchr(argv[i], '=');
		value = value ? value + 1 : "";
		if (!strncmp(argv[i], "control=", 8))
			control = atoi(value);
		else if (!strncmp(argv[i], "dev=", 4))
			dev = atoi(value);
		else if (!strncmp(argv[i], "verdict=", 8))
			verdict = atoi(value);
		else if (!strncmp(argv[i], "count=", 6))
			count = atoi(value);
		else if (!strncmp(argv[i], "op=", 3))
			op_name = value;
		else if (!strncmp(argv[i], "veth=", 5))
			veth_name = value;
	}
	if (veth_name) {
		veth = if_nametoindex(veth_name);
		if (!veth)
			die("find %s", veth_name);
	}
	route_fd = netlink_open(NETLINK_ROUTE);
	genl_fd = netlink_open(NETLINK_GENERIC);

	if (argc > 1 && !strcmp(argv[1], "clock"))
		measure("1,000,000 instructions", op_clock, false);
	else if (argc > 1 && !strcmp(argv[1], "once") && veth)
		one_netdev();
	else if (argc > 1 && !strcmp(argv[1], "iterate"))
		iterate();
	else if (argc > 1 && !strcmp(argv[1], "attach") && veth)
		attach();
	else if (argc > 1 && !strcmp(argv[1], "packets") && veth)
		packets();
	else if (argc > 1 && !strcmp(argv[1], "replay"))
		replay();
	else if (argc > 1 && (!strcmp(argv[1], "measure") || !strcmp(argv[1], "loop")) && veth)
		return by_name(!strcmp(argv[1], "loop"));
	else
		return fprintf(stderr, "bench: see bench.c for usage\n"), 1;
	return 0;
}
