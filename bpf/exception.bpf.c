// SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause
//go:build ignore

/*
 * Counts XDP exceptions and failed redirects of every netdev of the machine,
 * where there is no module to do it.
 *
 * The key is the netdev itself (see xdpctl_exc_device()) and not its ifindex,
 * which is unique in its network namespace only, changes when the netdev moves,
 * and is another netdev's one day: so a counter is never taken for another's.
 */
#include "xdpctl_exception.h"

#define XDPCTL_TRACE_DEVICES	16384

/* By what went wrong, in the order of enum xdpctl_exc_kind. */
struct xdpctl_exceptions {
	__u64 aborted;
	__u64 tx;
	__u64 redirect;
	__u64 invalid;
	__u64 redirect_errors;
};

/**
 * struct xdpctl_exception_counts - exceptions of a netdev on a CPU
 * @native: of its program in native mode
 * @generic: of its program in generic mode
 * @map: of programs of entries of a devmap or cpumap
 * @netns: cookie of its network namespace at the last one
 * @ifindex: its ifindex there
 * @rx_queues: most RX queues that were in use at any of them
 */
struct xdpctl_exception_counts {
	struct xdpctl_exceptions native;
	struct xdpctl_exceptions generic;
	struct xdpctl_exceptions map;
	__u64 netns;
	__u32 ifindex;
	__u32 rx_queues;
};

/* Which netdev: the inode number of its directory in sysfs. */
struct xdpctl_exception_key {
	__u64 device;
};

/**
 * struct xdpctl_exception_device - a netdev that has counters
 * @address: its struct net_device, if it is still there
 */
struct xdpctl_exception_device {
	__u64 address;
};

/**
 * struct xdpctl_exception_lost - what could not be counted
 * @exceptions: for want of memory or room, of netdevs that have no counters
 */
struct xdpctl_exception_lost {
	__u64 exceptions;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, XDPCTL_TRACE_DEVICES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct xdpctl_exception_key);
	__type(value, struct xdpctl_exception_counts);
} exceptions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, XDPCTL_TRACE_DEVICES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct xdpctl_exception_key);
	__type(value, struct xdpctl_exception_device);
} exception_devices SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xdpctl_exception_lost);
} exception_lost SEC(".maps");

static __noinline struct xdpctl_exception_counts *
exc_lost(void)
{
	struct xdpctl_exception_lost *lost;
	__u32 first = 0;

	lost = bpf_map_lookup_elem(&exception_lost, &first);
	if (lost)
		__sync_fetch_and_add(&lost->exceptions, 1);
	return NULL;
}

/* The counters of this CPU, which are made with the first exception. */
static __always_inline struct xdpctl_exception_counts *
exc_counts(const struct net_device *dev)
{
	struct xdpctl_exception_device device = { .address = (__u64)dev };
	struct xdpctl_exception_key key = { .device = xdpctl_exc_device(dev) };
	struct xdpctl_exception_counts zero = {};
	struct xdpctl_exception_counts *c;

	c = bpf_map_lookup_elem(&exceptions, &key);
	if (c)
		return c;
	/* First the netdev: what has counters can be swept. */
	if (!key.device || (bpf_map_update_elem(&exception_devices, &key,
						&device, BPF_ANY)))
		return exc_lost();
	bpf_map_update_elem(&exceptions, &key, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&exceptions, &key) ?: exc_lost();
}

/*
 * Nobody else writes the counters of this CPU: the tracepoints are passed with
 * softirqs off. The sum is ordered before the driver counts the frame, which
 * whoever reads both relies on.
 */
static __always_inline void exc_add(__u64 *n)
{
	__sync_fetch_and_add(n, 1);
}

static __always_inline void exc_count(const struct net_device *dev,
				      enum xdpctl_exc_origin origin,
				      enum xdpctl_exc_kind kind)
{
	struct xdpctl_exception_counts *c = exc_counts(dev);
	struct xdpctl_exceptions *e;

	if (!c)
		return;
	c->netns = dev->nd_net.net->net_cookie;
	c->ifindex = dev->ifindex;
	if (c->rx_queues < dev->real_num_rx_queues)
		c->rx_queues = dev->real_num_rx_queues;

	if (origin == XDPCTL_EXC_MAP)
		e = &c->map;
	else if (origin == XDPCTL_EXC_GENERIC)
		e = &c->generic;
	else
		e = &c->native;

	if (kind == XDPCTL_EXC_ABORTED)
		exc_add(&e->aborted);
	else if (kind == XDPCTL_EXC_TX)
		exc_add(&e->tx);
	else if (kind == XDPCTL_EXC_REDIRECT)
		exc_add(&e->redirect);
	else if (kind == XDPCTL_EXC_INVALID)
		exc_add(&e->invalid);
	else
		exc_add(&e->redirect_errors);
}

SEC("tp_btf/xdp_exception")
int BPF_PROG(xdpctl_exception, const struct net_device *dev,
	     const struct bpf_prog *prog, __u32 act)
{
	enum xdpctl_exc_origin origin = xdpctl_exc_origin(dev, prog);

	exc_count(dev, origin, xdpctl_exc_kind(origin, act));
	return 0;
}

SEC("tp_btf/xdp_redirect_err")
int BPF_PROG(xdpctl_redir_err, const struct net_device *dev,
	     const struct bpf_prog *prog)
{
	exc_count(dev, xdpctl_exc_origin(dev, prog), XDPCTL_EXC_REDIRECT_ERR);
	return 0;
}

/*
 * The core takes a netdev's directory away from it when it goes, and what the
 * memory is used for next is not a netdev with that directory.
 */
static long sweep_device(void *map, struct xdpctl_exception_key *key,
			 struct xdpctl_exception_device *device, void *unused)
{
	const struct net_device *dev = (const void *)device->address;
	struct xdpctl_exception_key gone = *key;
	const struct kernfs_node *dir = NULL;
	__u64 id = 0;

	if (!bpf_core_read(&dir, sizeof(dir), &dev->dev.kobj.sd) && dir)
		bpf_core_read(&id, sizeof(id), &dir->id);
	if (id == gone.device)
		return 0;
	bpf_map_delete_elem(&exceptions, &gone);
	bpf_map_delete_elem(&exception_devices, &gone);
	return 0;
}

/* Takes away the counters of netdevs that are gone. */
SEC("syscall")
int xdpctl_sweep(void *ctx)
{
	bpf_for_each_map_elem(&exception_devices, sweep_device, NULL, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
