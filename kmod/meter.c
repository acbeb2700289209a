// SPDX-License-Identifier: GPL-2.0-only
/*
 * The meter: counts the verdicts of the program on a netdev, whatever driver and
 * mode, without the help of the program.
 *
 * A tap is an fexit program on a program, of a dozen instructions, that counts
 * into a per-CPU array by RX queue and verdict if the frame came in on the netdev
 * of the meter: the same program may be on others as well. While one program
 * takes the place of another both have a tap, so that no verdict is missed.
 */
#include <linux/btf.h>
#include <linux/err.h>
#include <linux/fdtable.h>
#include <linux/filter.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <net/xdp.h>

#include "meter.h"
#include "sysbpf.h"

/**
 * struct xdpctl_meter - the meter of a netdev
 * @dev: the netdev, only to compare with
 * @map: file of the per-CPU array of counters, by RX queue and kind
 * @n_queues: RX queues that the netdev was made with
 * @tap: on the program on the netdev, as far as the module knows; or NULL
 * @gone: in the list of those whose netdev is gone
 *
 * Under RTNL; changed under xdpctl_change_mutex as well, but for dev_del(). Who
 * has the mutex can go on using one that he found under RTNL. Each holds the
 * module.
 */
struct xdpctl_meter {
	const struct net_device *dev;
	struct file *map;
	u32 n_queues;
	struct xdpctl_tap *tap;
	struct list_head gone;
};

/**
 * struct xdpctl_tap - counts the verdicts of a program on a netdev
 * @link: holds the fexit program on @prog, and @prog
 * @prog: the program whose verdicts are counted
 */
struct xdpctl_tap {
	struct bpf_link *link;
	struct bpf_prog *prog;
};

static void gone_work(struct work_struct *work);

/* Meters whose netdev is gone. Under RTNL. */
static LIST_HEAD(gone);
static DECLARE_WORK(gone_wk, gone_work);

/* Taps */

/**
 * struct tap_job - a tap to be made by a worker
 * @meter: the meter
 * @target: file of the program
 * @link: the result
 */
struct tap_job {
	const struct xdpctl_meter *meter;
	struct file *target;
	struct bpf_link *link;
};

/*
 * The counters are those of a CPU, and bottom halves are off while XDP runs, so
 * that nobody else adds to them meanwhile.
 */
static struct file *tap_load(const struct tap_job *job, int map_fd, int target_fd)
{
	const struct bpf_prog *target = xdpctl_file_prog(job->target);
	const struct xdpctl_meter *m = job->meter;
	const struct bpf_insn insns[] = {
		/* r6: struct xdp_buff, r7: the verdict */
		BPF_LDX_MEM(BPF_DW, BPF_REG_6, BPF_REG_1, 0),
		BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, 8),
		BPF_LDX_MEM(BPF_DW, BPF_REG_6, BPF_REG_6,
			    offsetof(struct xdp_buff, rxq)),
		BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_6,
			    offsetof(struct xdp_rxq_info, dev)),
		BPF_LD_IMM64(BPF_REG_3, (u64)(unsigned long)m->dev),
		BPF_JMP_REG(BPF_JNE, BPF_REG_2, BPF_REG_3, 16),
		BPF_LDX_MEM(BPF_W, BPF_REG_2, BPF_REG_6,
			    offsetof(struct xdp_rxq_info, queue_index)),
		BPF_MOV32_REG(BPF_REG_7, BPF_REG_7),
		BPF_JMP_IMM(BPF_JLE, BPF_REG_7, XDP_REDIRECT, 1),
		BPF_MOV64_IMM(BPF_REG_7, XDPCTL_METER_INVALID),
		BPF_ALU64_IMM(BPF_MUL, BPF_REG_2, XDPCTL_METER_KINDS),
		BPF_ALU64_REG(BPF_ADD, BPF_REG_2, BPF_REG_7),
		BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_2, -4),
		BPF_MOV64_REG(BPF_REG_2, BPF_REG_10),
		BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, -4),
		BPF_LD_MAP_FD(BPF_REG_1, map_fd),
		BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0,
			     BPF_FUNC_map_lookup_elem),
		BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, 3),
		BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_0, 0),
		BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, 1),
		BPF_STX_MEM(BPF_DW, BPF_REG_0, BPF_REG_1, 0),
		BPF_MOV64_IMM(BPF_REG_0, 0),
		BPF_EXIT_INSN(),
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_TRACING,
		.expected_attach_type = BPF_TRACE_FEXIT,
		.insns = (u64)(unsigned long)insns,
		.insn_cnt = ARRAY_SIZE(insns),
		.prog_name = "xdpctl_meter",
		.attach_prog_fd = target_fd,
		.attach_btf_id = target->aux->func_info[0].type_id,
	};

	return xdpctl_prog_load(&attr);
}

static struct bpf_link *tap_link(struct file *prog)
{
	union bpf_attr attr = {};
	struct bpf_link *link;
	int fd;

	attr.raw_tracepoint.prog_fd = xdpctl_fd_install(prog);
	if ((int)attr.raw_tracepoint.prog_fd < 0)
		return ERR_PTR((int)attr.raw_tracepoint.prog_fd);
	fd = kern_sys_bpf(BPF_RAW_TRACEPOINT_OPEN, &attr, sizeof(attr));
	close_fd(attr.raw_tracepoint.prog_fd);
	if (fd < 0)
		return ERR_PTR(fd);
	link = bpf_link_get_from_fd(fd);
	close_fd(fd);
	if (!IS_ERR(link) && link->prog != xdpctl_file_prog(prog)) {
		bpf_link_put(link);
		return ERR_PTR(-EAGAIN);
	}
	return link;
}

static int tap_work(void *arg)
{
	struct tap_job *job = arg;
	int map_fd, target_fd;
	struct file *prog;

	map_fd = xdpctl_fd_install(job->meter->map);
	if (map_fd < 0)
		return map_fd;
	target_fd = xdpctl_fd_install(job->target);
	if (target_fd < 0) {
		close_fd(map_fd);
		return target_fd;
	}
	prog = tap_load(job, map_fd, target_fd);
	close_fd(target_fd);
	close_fd(map_fd);
	if (IS_ERR(prog))
		return PTR_ERR(prog);
	job->link = tap_link(prog);
	fput(prog);	/* the link holds it */
	return PTR_ERR_OR_ZERO(job->link);
}

static int tap_refused(struct xdpctl_req *req, const struct bpf_prog *prog,
		       int err)
{
	switch (err) {
	case -ENOMEM:
		NL_SET_ERR_MSG(req->extack, "no memory");
		return err;
	case -E2BIG:
		xdpctl_extack_fmt(req->extack,
				  "program %u is metered on, or traced by, as many as the kernel allows",
				  prog->aux->id);
		return err;
	default:
		xdpctl_extack_fmt(req->extack,
				  "the kernel does not let the meter count the verdicts of program %u (error %d): its BTF may not say struct xdp_md *, or it is extended by another",
				  prog->aux->id, err);
		return -EOPNOTSUPP;
	}
}

/**
 * xdpctl_tap_new() - count the verdicts of a program when it runs on a netdev
 * @req: the request, told why not
 * @m: the meter of the netdev
 * @prog: file of the program, which need not be on the netdev yet
 *
 * Context: process context, xdpctl_change_mutex, no RTNL.
 * Return: the tap or an error.
 */
struct xdpctl_tap *xdpctl_tap_new(struct xdpctl_req *req,
				  struct xdpctl_meter *m, struct file *prog)
{
	struct tap_job job = { .meter = m, .target = prog };
	struct bpf_prog *target = xdpctl_file_prog(prog);
	struct xdpctl_tap *tap;
	int err;

	lockdep_assert_held(&xdpctl_change_mutex);
	if (!target->aux->btf || !target->aux->func_info_cnt) {
		xdpctl_extack_fmt(req->extack,
				  "the meter is for programs with BTF, and program %u has none",
				  target->aux->id);
		return ERR_PTR(-EOPNOTSUPP);
	}
	tap = kzalloc(sizeof(*tap), GFP_KERNEL);
	if (!tap)
		return ERR_PTR(-ENOMEM);
	err = xdpctl_in_worker(tap_work, &job);
	if (err) {
		kfree(tap);
		return ERR_PTR(tap_refused(req, target, err));
	}
	tap->link = job.link;
	tap->prog = target;
	return tap;
}

/**
 * xdpctl_tap_swap() - the program on the netdev of a meter is another now
 * @m: the meter
 * @tap: the tap of the program that is there, or NULL
 *
 * Context: xdpctl_change_mutex, RTNL.
 * Return: the tap that was there before, to be freed, or NULL.
 */
struct xdpctl_tap *xdpctl_tap_swap(struct xdpctl_meter *m,
				   struct xdpctl_tap *tap)
{
	struct xdpctl_tap *old = m->tap;

	ASSERT_RTNL();
	m->tap = tap;
	return old;
}

/**
 * xdpctl_tap_free() - undo xdpctl_tap_new()
 * @tap: the tap, or NULL
 *
 * Context: process context, no RTNL.
 */
void xdpctl_tap_free(struct xdpctl_tap *tap)
{
	if (!tap)
		return;
	bpf_link_put(tap->link);
	kfree(tap);
}

/* Meters */

static int map_work(void *arg)
{
	struct xdpctl_meter *m = arg;
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_PERCPU_ARRAY,
		.key_size = sizeof(u32),
		.value_size = sizeof(u64),
		.max_entries = m->n_queues * XDPCTL_METER_KINDS,
		.map_name = "xdpctl_meter",
	};

	m->map = xdpctl_map_create(&attr);
	return PTR_ERR_OR_ZERO(m->map);
}

static struct xdpctl_meter *meter_new(const struct net_device *dev, u32 n_queues)
{
	struct xdpctl_meter *m;
	int err = -ENODEV;

	if (!try_module_get(THIS_MODULE))
		return ERR_PTR(err);
	m = kzalloc(sizeof(*m), GFP_KERNEL);
	if (!m) {
		err = -ENOMEM;
		goto err_module;
	}
	m->dev = dev;
	m->n_queues = n_queues;
	err = xdpctl_in_worker(map_work, m);
	if (err)
		goto err_free;
	return m;

err_free:
	kfree(m);
err_module:
	module_put(THIS_MODULE);
	return ERR_PTR(err);
}

static void meter_free(struct xdpctl_meter *m)
{
	xdpctl_tap_free(m->tap);
	fput(m->map);
	kfree(m);
	module_put(THIS_MODULE);
}

static void gone_work(struct work_struct *work)
{
	struct xdpctl_meter *m, *tmp;
	LIST_HEAD(free);

	/* Until he who has found one of them is done with it. */
	mutex_lock(&xdpctl_change_mutex);
	rtnl_lock();
	list_splice_init(&gone, &free);
	rtnl_unlock();
	mutex_unlock(&xdpctl_change_mutex);

	list_for_each_entry_safe(m, tmp, &free, gone)
		meter_free(m);
}

/**
 * xdpctl_meter_dev_del() - the netdev goes
 * @xd: the netdev
 *
 * Context: RTNL.
 */
void xdpctl_meter_dev_del(struct xdpctl_dev *xd)
{
	struct xdpctl_meter *m = xd->meter;

	ASSERT_RTNL();
	if (!m)
		return;
	WRITE_ONCE(xd->meter, NULL);
	list_add(&m->gone, &gone);
	queue_work(xdpctl_wq, &gone_wk);
}

/* The program that the host runs for a netdev, or NULL. */
static struct bpf_prog *host_prog(const struct net_device *dev)
{
	int mode = xdpctl_host_mode(dev);

	return mode < 0 ? NULL : xdpctl_state_prog(dev, mode);
}

static struct bpf_prog *tapped(const struct xdpctl_meter *m)
{
	return m->tap ? m->tap->prog : NULL;
}

/**
 * struct target - what a meter is to be put on
 * @dev: the netdev, only to compare with
 * @n_queues: RX queues that it was made with
 * @meter: the meter that it has, or NULL
 * @file: file of the program on it, with a reference, or NULL
 * @done: there is nothing to do
 */
struct target {
	const struct net_device *dev;
	u32 n_queues;
	struct xdpctl_meter *meter;
	struct file *file;
	bool done;
};

/* The program is somebody else's, so the caller must have given it. */
static int check_given(struct xdpctl_req *req, const struct bpf_prog *prog)
{
	if (!req->file) {
		xdpctl_extack_fmt(req->extack,
				  "program %u was attached by somebody else: give its file descriptor as well (fd)",
				  prog->aux->id);
		return -EINVAL;
	}
	if (xdpctl_file_prog(req->file) != prog) {
		xdpctl_extack_fmt(req->extack,
				  "program %u is given, but program %u is attached",
				  xdpctl_file_prog(req->file)->aux->id,
				  prog->aux->id);
		return -EINVAL;
	}
	return 0;
}

static int find_target(struct xdpctl_req *req, u32 ifindex, struct target *t)
{
	struct xdpctl_attachment *a;
	struct xdpctl_dev *xd;
	struct bpf_prog *prog;
	int err;

	ASSERT_RTNL();
	xd = xdpctl_dev_get(req->net, ifindex);
	if (!xd) {
		NL_SET_ERR_MSG(req->extack, "no such netdev");
		return -ENODEV;
	}
	xdpctl_reap_dev(xd->dev);
	prog = host_prog(xd->dev);
	a = xdpctl_attachment_find(xd->dev);
	*t = (struct target) {
		.dev = xd->dev,
		.n_queues = xd->dev->num_rx_queues,
		.meter = xd->meter,
		.done = xd->meter && tapped(xd->meter) == prog,
	};
	if (t->done || !prog)
		return 0;
	if (a && xdpctl_attachment_top(a)) {
		t->file = get_file(xdpctl_attachment_top(a));
		return 0;
	}
	err = check_given(req, prog);
	if (!err)
		t->file = get_file(req->file);
	return err;
}

/* Puts @m with @tap on the netdev, if it is still as it was found. */
static bool meter_settle(struct xdpctl_req *req, u32 ifindex,
			 const struct target *t, struct xdpctl_meter *m,
			 struct xdpctl_tap **tap)
{
	struct xdpctl_dev *xd;
	bool same;

	rtnl_lock();
	xd = xdpctl_dev_get(req->net, ifindex);
	same = xd && xd->dev == t->dev && xd->meter == t->meter &&
	       host_prog(xd->dev) == (t->file ? xdpctl_file_prog(t->file) : NULL);
	if (same) {
		*tap = xdpctl_tap_swap(m, *tap);
		WRITE_ONCE(xd->meter, m);
	}
	rtnl_unlock();
	return same;
}

/* Returns XDPCTL_CHANGED if the netdev got another program meanwhile. */
static int meter_on(struct xdpctl_req *req, u32 ifindex)
{
	struct xdpctl_tap *tap = NULL;
	struct xdpctl_meter *m;
	struct target t;
	int err;

	rtnl_lock();
	err = find_target(req, ifindex, &t);
	rtnl_unlock();
	if (err || t.done)
		return err;
	m = t.meter ?: meter_new(t.dev, t.n_queues);
	if (IS_ERR(m)) {
		err = PTR_ERR(m);
		NL_SET_ERR_MSG(req->extack, "no memory for the counters");
		goto put_file;
	}
	if (t.file)
		tap = xdpctl_tap_new(req, m, t.file);
	if (IS_ERR(tap)) {
		err = PTR_ERR(tap);
		tap = NULL;
	} else if (!meter_settle(req, ifindex, &t, m, &tap)) {
		err = XDPCTL_CHANGED;
	}
	/* the one that is not needed, be it the old or the new */
	xdpctl_tap_free(tap);
	if (err && !t.meter)
		meter_free(m);
put_file:
	if (t.file)
		fput(t.file);
	return err;
}

static void meter_off(struct xdpctl_req *req, u32 ifindex)
{
	struct xdpctl_meter *m = NULL;
	struct xdpctl_dev *xd;

	rtnl_lock();
	xd = xdpctl_dev_get(req->net, ifindex);
	if (xd && xd->meter) {
		m = xd->meter;
		WRITE_ONCE(xd->meter, NULL);
	}
	rtnl_unlock();
	if (m)
		meter_free(m);
}

/**
 * xdpctl_meter_set() - turn the meter of a netdev on or off
 * @req: the request; @req->file is the program that the caller says is there,
 *	or NULL
 * @ifindex: the netdev
 * @on: which
 *
 * Context: process context, xdpctl_change_mutex, no RTNL.
 * Return: 0 or an error, with extack.
 */
int xdpctl_meter_set(struct xdpctl_req *req, u32 ifindex, bool on)
{
	int err;

	lockdep_assert_held(&xdpctl_change_mutex);
	if (!on) {
		meter_off(req, ifindex);
		return 0;
	}
	do {
		err = meter_on(req, ifindex);
	} while (err == XDPCTL_CHANGED && !fatal_signal_pending(current));
	return err == XDPCTL_CHANGED ? -EINTR : err;
}

/**
 * xdpctl_meter_fill() - report the setting
 * @xd: the netdev
 * @v: where
 *
 * Context: RTNL.
 */
void xdpctl_meter_fill(const struct xdpctl_dev *xd, struct xdpctl_attr *v)
{
	v->present |= BIT_ULL(XDPCTL_A_ATTR_ENABLE_METER);
	v->enable_meter = !!xd->meter;
}

static u64 read_counter(struct bpf_map *map, u32 index)
{
	const u64 *n;
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		n = map->ops->map_lookup_percpu_elem(map, &index, cpu);
		sum += READ_ONCE(*n);
	}
	return sum;
}

/**
 * xdpctl_meter_read() - read the counters of a meter
 * @xd: the netdev
 * @queue: an RX queue, or XDPCTL_QUEUE_ALL for the sum of all
 * @counts: where they go, by action
 *
 * Context: RTNL.
 * Return: whether there is a meter, and it counts the verdicts of what is on the
 * netdev.
 */
bool xdpctl_meter_read(const struct xdpctl_dev *xd, u32 queue,
		       u64 counts[XDPCTL_METER_KINDS])
{
	bool all = queue == XDPCTL_QUEUE_ALL;
	const struct xdpctl_meter *m = xd->meter;
	struct bpf_map *map;
	u32 end, i;

	ASSERT_RTNL();
	if (!m || tapped(m) != host_prog(xd->dev) ||
	    (!all && queue >= m->n_queues))
		return false;
	map = xdpctl_file_map(m->map);
	memset(counts, 0, XDPCTL_METER_KINDS * sizeof(*counts));
	i = all ? 0 : queue * XDPCTL_METER_KINDS;
	end = all ? m->n_queues * XDPCTL_METER_KINDS : i + XDPCTL_METER_KINDS;
	rcu_read_lock();
	for (; i < end; i++)
		counts[i % XDPCTL_METER_KINDS] += read_counter(map, i);
	rcu_read_unlock();
	return true;
}
