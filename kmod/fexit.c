// SPDX-License-Identifier: GPL-2.0-only
/*
 * The fexit program that counts the verdicts of another program, of two dozen
 * instructions. The same program may be on several netdevs, so it counts the
 * frames of one.
 */
#include <linux/btf.h>
#include <linux/err.h>
#include <linux/fdtable.h>
#include <linux/filter.h>
#include <net/xdp.h>

#include "fexit.h"
#include "sysbpf.h"

/**
 * struct fexit_job - a program to be made by a worker
 * @what: what is asked for
 * @link: the result
 */
struct fexit_job {
	const struct xdpctl_fexit *what;
	struct file *link;
};

/* Places on the stack, of which some are used one after the other. */
#define STACK_KEY		(-4)
#define STACK_RXQ_PTR	(-8)
#define STACK_RXQ		(-24)
#define STACK_RXQ_QUEUE	(-16)

/*
 * It begins with one of two heads, which find the netdev (r2), the RX queue (r8)
 * and the verdict (r7) of a frame. Where the BTF of the target says struct
 * xdp_md *, the verifier knows what that is.
 */
static const struct bpf_insn head_typed[] = {
	BPF_LDX_MEM(BPF_DW, BPF_REG_6, BPF_REG_1, 0),
	BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, sizeof(u64)),
	BPF_LDX_MEM(BPF_DW, BPF_REG_6, BPF_REG_6,
		    offsetof(struct xdp_buff, rxq)),
	BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_6,
		    offsetof(struct xdp_rxq_info, dev)),
	BPF_LDX_MEM(BPF_W, BPF_REG_8, BPF_REG_6,
		    offsetof(struct xdp_rxq_info, queue_index)),
};

static_assert(offsetof(struct xdp_rxq_info, dev) == 0);
static_assert(offsetof(struct xdp_rxq_info, queue_index) ==
	      STACK_RXQ_QUEUE - STACK_RXQ);

/*
 * Where it says something else, the kernel takes the program for a function of
 * five numbers, the first of which is the same pointer.
 */
static const struct bpf_insn head_untyped[] = {
	BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_1, 0),
	BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1,
		    MAX_BPF_FUNC_REG_ARGS * sizeof(u64)),
	BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, offsetof(struct xdp_buff, rxq)),
	BPF_MOV64_REG(BPF_REG_1, BPF_REG_10),
	BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, STACK_RXQ_PTR),
	BPF_MOV64_IMM(BPF_REG_2, sizeof(u64)),
	BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_probe_read_kernel),
	BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_10, STACK_RXQ_PTR),
	BPF_MOV64_REG(BPF_REG_1, BPF_REG_10),
	BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, STACK_RXQ),
	BPF_MOV64_IMM(BPF_REG_2, sizeof(u64) + sizeof(u32)),
	BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_probe_read_kernel),
	BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_10, STACK_RXQ),
	BPF_LDX_MEM(BPF_W, BPF_REG_8, BPF_REG_10, STACK_RXQ_QUEUE),
};

#define TAIL_LEN	22
#define MAX_LEN		(ARRAY_SIZE(head_untyped) + TAIL_LEN)

/*
 * The counters are those of a CPU, and bottom halves are off while XDP runs, so
 * that nobody else adds to them meanwhile.
 */
static void put_tail(struct bpf_insn *to, const struct xdpctl_fexit *f,
		     int map_fd)
{
	const struct bpf_insn tail[] = {
		BPF_LD_IMM64(BPF_REG_3, (u64)(unsigned long)f->dev),
		BPF_JMP_REG(BPF_JNE, BPF_REG_2, BPF_REG_3, 17),
		BPF_JMP_IMM(BPF_JLT, BPF_REG_8, f->n_queues, 1),
		BPF_MOV64_IMM(BPF_REG_8, f->n_queues),
		BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_8, STACK_KEY),
		BPF_MOV64_REG(BPF_REG_2, BPF_REG_10),
		BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, STACK_KEY),
		BPF_LD_MAP_FD(BPF_REG_1, map_fd),
		BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0,
			     BPF_FUNC_map_lookup_elem),
		BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, 8),
		BPF_MOV32_REG(BPF_REG_7, BPF_REG_7),
		BPF_JMP_IMM(BPF_JLE, BPF_REG_7, XDP_REDIRECT, 1),
		BPF_MOV64_IMM(BPF_REG_7, XDPCTL_METER_INVALID),
		BPF_ALU64_IMM(BPF_LSH, BPF_REG_7, ilog2(sizeof(u64))),
		BPF_ALU64_REG(BPF_ADD, BPF_REG_0, BPF_REG_7),
		BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_0, 0),
		BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, 1),
		BPF_STX_MEM(BPF_DW, BPF_REG_0, BPF_REG_1, 0),
		BPF_MOV64_IMM(BPF_REG_0, 0),
		BPF_EXIT_INSN(),
	};

	static_assert(ARRAY_SIZE(tail) == TAIL_LEN);
	memcpy(to, tail, sizeof(tail));
}

static struct file *fexit_load(const struct xdpctl_fexit *f, int map_fd,
			       int target_fd)
{
	const struct bpf_prog_aux *aux = xdpctl_file_prog(f->target)->aux;
	bool untyped = aux->func_info_aux[0].unreliable;
	const struct bpf_insn *head = untyped ? head_untyped : head_typed;
	u32 len = untyped ? ARRAY_SIZE(head_untyped) : ARRAY_SIZE(head_typed);
	struct bpf_insn insns[MAX_LEN];
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_TRACING,
		.expected_attach_type = BPF_TRACE_FEXIT,
		.insns = (u64)(unsigned long)insns,
		.insn_cnt = len + TAIL_LEN,
		.prog_name = "xdpctl_meter",
		.attach_prog_fd = target_fd,
		.attach_btf_id = aux->func_info[0].type_id,
	};

	memcpy(insns, head, len * sizeof(*insns));
	put_tail(insns + len, f, map_fd);
	return xdpctl_prog_load(&attr);
}

static struct file *fexit_link(struct file *prog)
{
	union bpf_attr attr = {};
	struct bpf_link *link;
	struct file *file;
	int fd;

	fd = xdpctl_fd_install(prog);
	if (fd < 0)
		return ERR_PTR(fd);
	attr.raw_tracepoint.prog_fd = fd;
	fd = kern_sys_bpf(BPF_RAW_TRACEPOINT_OPEN, &attr, sizeof(attr));
	close_fd(attr.raw_tracepoint.prog_fd);
	if (fd < 0)
		return ERR_PTR(fd);
	link = bpf_link_get_from_fd(fd);
	file = xdpctl_fd_take(fd);
	if (IS_ERR(link)) {
		if (!IS_ERR(file))
			fput(file);
		return ERR_CAST(link);
	}
	/* Kernel threads share a table: is it ours? */
	if (!IS_ERR(file) && (file->private_data != link ||
			      link->prog != xdpctl_file_prog(prog))) {
		fput(file);
		file = ERR_PTR(-EAGAIN);
	}
	bpf_link_put(link);
	return file;
}

static int fexit_work(void *arg)
{
	struct fexit_job *job = arg;
	int map_fd, target_fd;
	struct file *prog;

	map_fd = xdpctl_fd_install(job->what->map);
	if (map_fd < 0)
		return map_fd;
	target_fd = xdpctl_fd_install(job->what->target);
	if (target_fd < 0) {
		close_fd(map_fd);
		return target_fd;
	}
	prog = fexit_load(job->what, map_fd, target_fd);
	close_fd(target_fd);
	close_fd(map_fd);
	if (IS_ERR(prog))
		return PTR_ERR(prog);
	job->link = fexit_link(prog);
	fput(prog);	/* the link holds it */
	return PTR_ERR_OR_ZERO(job->link);
}

/*
 * The kernel puts off the last bpf_link_put(), but not the end of the file. Who
 * turns the meter off and on again must not run into the limit of tracers, nor
 * find the program traced after that.
 */
static int fexit_unlink(void *arg)
{
	__fput_sync(arg);
	return 0;
}

static int refused(struct xdpctl_req *req, const struct bpf_prog *prog,
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
	case -EBUSY:
		xdpctl_extack_fmt(req->extack,
				  "the main function of program %u is replaced by another program, and the kernel lets nobody see the verdicts of that",
				  prog->aux->id);
		return -EOPNOTSUPP;
	default:
		xdpctl_extack_fmt(req->extack,
				  "the kernel does not let the meter count the verdicts of program %u (error %d)",
				  prog->aux->id, err);
		return -EOPNOTSUPP;
	}
}

static int check_traceable(struct xdpctl_req *req, const struct bpf_prog *prog)
{
	if (!prog->aux->btf || !prog->aux->func_info_cnt)
		xdpctl_extack_fmt(req->extack,
				  "the meter is for programs with BTF, and program %u has none",
				  prog->aux->id);
	else if (!prog->jited)
		xdpctl_extack_fmt(req->extack,
				  "the meter is for programs in machine code, and the kernel interprets program %u",
				  prog->aux->id);
	else
		return 0;
	return -EOPNOTSUPP;
}

/**
 * xdpctl_fexit_new() - count the verdicts of a program when it runs on a netdev
 * @req: the request, told why not
 * @what: of what, and where to
 *
 * Context: process context; sleeps.
 * Return: file of the link, which holds the program and the array, or an error.
 */
struct file *xdpctl_fexit_new(struct xdpctl_req *req,
			      const struct xdpctl_fexit *what)
{
	struct bpf_prog *target = xdpctl_file_prog(what->target);
	struct fexit_job job = { .what = what };
	int err;

	err = check_traceable(req, target);
	if (err)
		return ERR_PTR(err);
	err = xdpctl_in_worker(fexit_work, &job);
	if (err)
		return ERR_PTR(refused(req, target, err));
	return job.link;
}

/**
 * xdpctl_fexit_free() - undo xdpctl_fexit_new()
 * @link: what it returned
 *
 * Context: process context; sleeps.
 */
void xdpctl_fexit_free(struct file *link)
{
	xdpctl_in_worker(fexit_unlink, link);
}
