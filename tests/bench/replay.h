/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BENCH_REPLAY_H
#define BENCH_REPLAY_H

/*
 * bench replay: system calls as lines of standard input say, an answer a line.
 *
 * show STEP                              what it says, in hexadecimal
 * repeat N STEP                          does it; the number of entries
 * measure CLOCK N M UNITS STEP [; STEP]  costs of one operation: means of N
 *                                        batches, and of M single ones. After
 *                                        each the second step undoes it, which
 *                                        is not measured.
 *
 * A step is one of
 *
 * netlink PROTOCOL MESSAGE
 * elem COMMAND FD KEY VALUE FLAGS
 * walk FD KEYSIZE VALUESIZE
 * ethtool NETDEV
 *
 * with bytes in hexadecimal, "-" for none. Batches cost UNITS or one operation.
 */
#include "raw.h"

#define ELEM_ATTR_SIZE	32	/* of union bpf_attr, for elements */
#define ETHTOOL_MAX	256	/* counters */
#define CHANGE_MAX	10	/* in a batch */

struct step {
	int (*run)(struct step *step);
	int fd, cmd;
	uint64_t flags;
	size_t key_size, value_size;
	unsigned char key[4096], value[4096];
	struct ifreq ifr;
};

static bool shown;	/* print what is read */

static void show(const void *data, size_t len)
{
	const unsigned char *p = data;

	if (!shown)
		return;
	while (len--)
		printf("%02x", *p++);
}

/* All of a dump, what comes up to an acknowledgement, or one datagram. */
static int run_netlink(struct step *s)
{
	const struct nlmsghdr *nlh = (void *)s->key;
	uint16_t flags = nlh->nlmsg_flags;
	bool more = (flags & NLM_F_DUMP) == NLM_F_DUMP || flags & NLM_F_ACK;
	int entries = 0;
	ssize_t n;

	if (send(s->fd, s->key, s->key_size, 0) < 0)
		die("send netlink");
	do {
		n = recv(s->fd, reply, sizeof(reply), 0);
		if (n < 0)
			die("receive netlink");
		for (nlh = (void *)reply; NLMSG_OK(nlh, (size_t)n); nlh = NLMSG_NEXT(nlh, n)) {
			if (nlh->nlmsg_type == NLMSG_DONE)
				return entries;
			if (nlh->nlmsg_type == NLMSG_ERROR) {
				errno = -*(int *)NLMSG_DATA(nlh);
				if (errno)
					die("netlink");
				return entries;
			}
			show(nlh, NLMSG_ALIGN(nlh->nlmsg_len));
			entries++;
		}
	} while (more);
	return entries;
}

static int elem(int cmd, int fd, const void *key, void *value, uint64_t flags)
{
	union bpf_attr attr = {
		.map_fd = fd, .key = (uintptr_t)key,
		.value = (uintptr_t)value, .flags = flags,
	};

	return syscall(SYS_bpf, cmd, &attr, ELEM_ATTR_SIZE);
}

static int run_elem(struct step *s)
{
	if (elem(s->cmd, s->fd, s->key, s->value_size ? s->value : NULL, s->flags))
		die("bpf command %d", s->cmd);
	if (s->cmd == BPF_MAP_LOOKUP_ELEM) {
		show(s->key, s->key_size);
		show(s->value, s->value_size);
	}
	return 1;
}

/* The loop of the control map RFC. */
static int run_walk(struct step *s)
{
	unsigned char next[64];
	void *from = NULL;
	int entries = 0;

	while (!elem(BPF_MAP_GET_NEXT_KEY, s->fd, from, next, 0)) {
		if (elem(BPF_MAP_LOOKUP_ELEM, s->fd, next, s->value, 0))
			die("look up next key");
		show(next, s->key_size);
		show(s->value, s->value_size);
		memcpy(s->key, next, s->key_size);
		from = s->key;
		entries++;
	}
	if (errno != ENOENT)
		die("get next key");
	return entries;
}

static int run_ethtool(struct step *s)
{
	if (ioctl(s->fd, SIOCETHTOOL, &s->ifr))
		die("ethtool -S");
	return 1;
}

static struct ethtool_stats *ethtool_counters(int fd, struct ifreq *ifr)
{
	struct {
		struct ethtool_sset_info hdr;
		uint32_t len;
	} sset = { .hdr = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1 << ETH_SS_STATS } };
	struct ethtool_stats *stats;

	ifr->ifr_data = (void *)&sset;
	if (ioctl(fd, SIOCETHTOOL, ifr))
		die("ethtool: number of counters");
	if (sset.len > ETHTOOL_MAX)
		die("ethtool: %u counters", sset.len);
	stats = calloc(1, sizeof(*stats) + sset.len * sizeof(uint64_t));
	stats->cmd = ETHTOOL_GSTATS;
	stats->n_stats = sset.len;
	return stats;
}

static const char *word(char **line)
{
	const char *w = strtok_r(NULL, " \n", line);

	if (!w)
		die("a word is missing");
	return w;
}

static size_t unhex(const char *hex, unsigned char *to, size_t max)
{
	size_t n = 0;
	unsigned int byte;

	if (!strcmp(hex, "-"))
		return 0;
	for (; n < max && sscanf(hex, "%2x", &byte) == 1; hex += 2)
		to[n++] = byte;
	return n;
}

static void parse_step(struct step *s, char **line)
{
	const char *kind = word(line);

	memset(s, 0, sizeof(*s));
	if (!strcmp(kind, "netlink")) {
		s->run = run_netlink;
		s->fd = atoi(word(line)) == NETLINK_ROUTE ? route_fd : genl_fd;
		s->key_size = unhex(word(line), s->key, sizeof(s->key));
	} else if (!strcmp(kind, "elem")) {
		s->run = run_elem;
		s->cmd = atoi(word(line));
		s->fd = atoi(word(line));
		s->key_size = unhex(word(line), s->key, sizeof(s->key));
		s->value_size = unhex(word(line), s->value, sizeof(s->value));
		s->flags = strtoull(word(line), NULL, 10);
	} else if (!strcmp(kind, "walk")) {
		s->run = run_walk;
		s->fd = atoi(word(line));
		s->key_size = atoi(word(line));
		s->value_size = atoi(word(line));
	} else if (!strcmp(kind, "ethtool")) {
		s->run = run_ethtool;
		s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		strncpy(s->ifr.ifr_name, word(line), sizeof(s->ifr.ifr_name) - 1);
		s->ifr.ifr_data = (void *)ethtool_counters(s->fd, &s->ifr);
	} else {
		errno = EINVAL;
		die("step %s", kind);
	}
}

/* What reading the clock costs, which is not the operation's. */
static uint64_t clock_cost(clockid_t clock)
{
	uint64_t least = UINT64_MAX, start, cost;
	int i;

	for (i = 0; i < 1000; i++) {
		start = now(clock);
		cost = now(clock) - start;
		if (cost < least)
			least = cost;
	}
	return least;
}

/*
 * Before what is undone, where the clock stands still meanwhile: the same as in
 * internal/compare, which says why.
 */
static void change_pause(void)
{
	static unsigned int n;
	double turn = n++ * 0.6180339887;
	uint64_t end = now(CLOCK_MONOTONIC) + 20000000 + 4000000 * (turn - (uint64_t)turn);
	struct timespec ts = { .tv_sec = end / 1000000000, .tv_nsec = end % 1000000000 };

	/* Who started this may let its timers be late. */
	prctl(PR_SET_TIMERSLACK, 1);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

/* The cost of one operation, which is undone. */
static double once(clockid_t clock, struct step *s, struct step *undo, uint64_t own)
{
	uint64_t start, cost;

	if (undo->run && clock != CLOCK_MONOTONIC) {
		change_pause();
		now(clock);	/* the first time after it takes longer */
	}
	start = now(clock);
	s->run(s);
	cost = now(clock) - start;
	if (undo->run)
		undo->run(undo);
	return cost < own ? 0 : cost - own;
}

static double batch(clockid_t clock, struct step *s, struct step *undo, uint64_t own, int n)
{
	double sum = 0;
	uint64_t start;
	int i;

	/* What is undone is timed by itself. */
	if (undo->run) {
		for (i = 0; i < n; i++)
			sum += once(clock, s, undo, own);
		return sum / n;
	}
	start = now(clock);
	for (i = 0; i < n; i++)
		s->run(s);
	return (double)(now(clock) - start) / n;
}

static void measure_step(char **line)
{
	clockid_t clock = atoi(word(line));
	int batches = atoi(word(line)), singles = atoi(word(line)), i, n;
	double units = atof(word(line)), first;
	static struct step s, undo;
	const char *more;
	uint64_t own;

	parse_step(&s, line);
	more = strtok_r(NULL, " \n", line);
	undo.run = NULL;
	if (more)
		parse_step(&undo, line);
	own = clock_cost(clock);
	once(clock, &s, &undo, own);
	first = once(clock, &s, &undo, own);
	n = first > units ? 1 : first * BATCH_MAX < units ? BATCH_MAX : units / first;
	if (undo.run && n > CHANGE_MAX)
		n = CHANGE_MAX;
	printf("{\"batches\":[");
	for (i = 0; i < batches; i++)
		printf("%s%.3f", i ? "," : "", batch(clock, &s, &undo, own, n));
	printf("],\"singles\":[");
	for (i = 0; i < singles; i++)
		printf("%s%.0f", i ? "," : "", once(clock, &s, &undo, own));
	printf("]}\n");
}

static void replay(void)
{
	static struct step s;
	char *line = NULL, *rest, *word1;
	size_t size = 0;
	int n, entries = 0;

	while (getline(&line, &size, stdin) > 0) {
		word1 = strtok_r(line, " \n", &rest);
		if (word1 && !strcmp(word1, "measure")) {
			measure_step(&rest);
		} else if (word1 && !strcmp(word1, "repeat")) {
			n = atoi(word(&rest));
			parse_step(&s, &rest);
			while (n-- > 0)
				entries = s.run(&s);
			printf("{\"entries\":%d}\n", entries);
		} else if (word1 && !strcmp(word1, "show")) {
			parse_step(&s, &rest);
			printf("{\"reply\":\"");
			shown = true;
			entries = s.run(&s);
			shown = false;
			printf("\",\"entries\":%d}\n", entries);
		} else {
			errno = EINVAL;
			die("replay: %s", word1 ? word1 : "nothing");
		}
		fflush(stdout);
	}
}

#endif /* BENCH_REPLAY_H */
