/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

/* What bench.c measures with, and bpf(2) and netlink as they are. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/ethtool_netlink.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BATCHES		40
#define BATCH_COST	400000	/* below a tick of 4,000,000 instructions */
#define BATCH_MAX	1000
#define RECV_SIZE	32768

static void die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "bench: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, ": %s\n", strerror(err));
	va_end(ap);
	exit(1);
}

/* Measuring */

static uint64_t now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * Measures op, which returns how many operations it did. An operation that
 * sleeps is measured in the time that this thread runs, since the clock goes
 * on when nobody does.
 */
static void measure(const char *name, int (*op)(void), bool sleeps)
{
	clockid_t clock = sleeps ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
	double cost[BATCHES];
	uint64_t start, once, done = 0;
	unsigned int n, i, b;

	op();
	start = now(clock);
	done = op();
	once = now(clock) - start;
	n = once ? BATCH_COST / once : BATCH_MAX;
	n = n < 1 ? 1 : n > BATCH_MAX ? BATCH_MAX : n;
	for (b = 0; b < BATCHES; b++) {
		done = 0;
		start = now(clock);
		for (i = 0; i < n; i++)
			done += op();
		cost[b] = (double)(now(clock) - start) / done;
	}
	qsort(cost, BATCHES, sizeof(*cost), by_value);
	printf("{\"name\":\"%s\",\"min\":%.1f,\"median\":%.1f,\"max\":%.1f,",
	       name, cost[0], cost[BATCHES / 2], cost[BATCHES - 1]);
	printf("\"batches\":%d,\"entries\":%llu}\n", BATCHES,
	       (unsigned long long)(done / n));
	fflush(stdout);
}

/* bpf(2) */

static int bpf(int cmd, union bpf_attr *attr)
{
	return syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static int map_create(const char *name, uint32_t key, uint32_t value, uint32_t ifindex)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_HASH, .key_size = key,
		.value_size = value, .max_entries = 1024, .map_ifindex = ifindex,
	};
	int fd;

	strncpy(attr.map_name, name, sizeof(attr.map_name) - 1);
	fd = bpf(BPF_MAP_CREATE, &attr);
	if (fd < 0)
		die("create map %s", name);
	return fd;
}

static int map_elem(int cmd, int fd, const void *key, void *value, uint64_t flags)
{
	union bpf_attr attr = {
		.map_fd = fd, .key = (uintptr_t)key,
		.value = (uintptr_t)value, .flags = flags,
	};

	return bpf(cmd, &attr);
}

/* A program that passes everything; two of them differ in what they do not do. */
static int prog_load(int32_t unused)
{
	struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 1, .imm = unused },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_XDP, .expected_attach_type = BPF_XDP,
		.insns = (uintptr_t)insns, .insn_cnt = 3,
		.license = (uintptr_t)"GPL", .prog_name = "bench",
	};
	int fd = bpf(BPF_PROG_LOAD, &attr);

	if (fd < 0)
		die("load program");
	return fd;
}

/* Netlink */

struct request {
	int fd;
	char buf[256];
};

static char reply[RECV_SIZE];
static int route_fd, genl_fd;

static int netlink_open(int protocol)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	int one = 1, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd < 0 || connect(fd, (void *)&addr, sizeof(addr)))
		die("open netlink");
	if (setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &one, sizeof(one)) ||
	    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one)))
		die("set up netlink");
	return fd;
}

static void request(struct request *r, int fd, uint16_t type, uint16_t flags,
		    const void *header, size_t len)
{
	struct nlmsghdr *nlh = (void *)r->buf;

	memset(r, 0, sizeof(*r));
	r->fd = fd;
	nlh->nlmsg_type = type;
	nlh->nlmsg_flags = NLM_F_REQUEST | flags;
	nlh->nlmsg_len = NLMSG_LENGTH(len);
	memcpy(NLMSG_DATA(nlh), header, len);
}

static struct nlattr *put(struct request *r, uint16_t type, const void *data, size_t len)
{
	struct nlmsghdr *nlh = (void *)r->buf;
	struct nlattr *nla = (void *)(r->buf + NLMSG_ALIGN(nlh->nlmsg_len));

	nla->nla_type = type;
	nla->nla_len = NLA_HDRLEN + len;
	if (len)
		memcpy((char *)nla + NLA_HDRLEN, data, len);
	nlh->nlmsg_len = (char *)nla - r->buf + NLA_ALIGN(nla->nla_len);
	return nla;
}

static void put_u32(struct request *r, uint16_t type, uint32_t v)
{
	put(r, type, &v, sizeof(v));
}

static void genl_request(struct request *r, uint16_t family, uint8_t cmd, uint16_t flags)
{
	struct genlmsghdr genl = { .cmd = cmd, .version = 1 };

	request(r, genl_fd, family, flags, &genl, sizeof(genl));
}

/* One message there, one back. */
static void exchange(const struct request *r)
{
	const struct nlmsghdr *nlh = (void *)r->buf;
	ssize_t n;

	if (send(r->fd, r->buf, nlh->nlmsg_len, 0) < 0)
		die("send netlink");
	n = recv(r->fd, reply, sizeof(reply), 0);
	nlh = (void *)reply;
	if (n < 0)
		die("receive netlink");
	if (nlh->nlmsg_type == NLMSG_ERROR && *(int *)NLMSG_DATA(nlh)) {
		errno = -*(int *)NLMSG_DATA(nlh);
		die("netlink message type %d", ((struct nlmsghdr *)r->buf)->nlmsg_type);
	}
}

/* The same with the acknowledgement behind the reply. */
static void exchange_ack(const struct request *r)
{
	exchange(r);
	if (recv(r->fd, reply, sizeof(reply), 0) < 0)
		die("receive acknowledgement");
}

/* A dump; the number of entries. */
static int dump(const struct request *r)
{
	const struct nlmsghdr *nlh = (void *)r->buf;
	int entries = 0;
	ssize_t n;

	if (send(r->fd, r->buf, nlh->nlmsg_len, 0) < 0)
		die("send netlink");
	for (;;) {
		n = recv(r->fd, reply, sizeof(reply), 0);
		if (n < 0)
			die("receive netlink");
		for (nlh = (void *)reply; NLMSG_OK(nlh, (size_t)n); nlh = NLMSG_NEXT(nlh, n)) {
			if (nlh->nlmsg_type == NLMSG_DONE)
				return entries;
			if (nlh->nlmsg_type == NLMSG_ERROR) {
				errno = -*(int *)NLMSG_DATA(nlh);
				die("dump");
			}
			entries++;
		}
	}
}

static uint16_t genl_family(const char *name)
{
	struct request r;
	struct nlattr *nla;

	genl_request(&r, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
	put(&r, CTRL_ATTR_FAMILY_NAME, name, strlen(name) + 1);
	exchange(&r);
	nla = (void *)(reply + NLMSG_LENGTH(GENL_HDRLEN));
	while (nla->nla_type != CTRL_ATTR_FAMILY_ID)
		nla = (void *)((char *)nla + NLA_ALIGN(nla->nla_len));
	return *(uint16_t *)((char *)nla + NLA_HDRLEN);
}

#endif /* BENCH_RAW_H */
