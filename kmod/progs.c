// SPDX-License-Identifier: GPL-2.0-only
/*
 * The XDP programs of the module's own: the placeholder, which passes every
 * frame, and the dispatcher, which calls the program of a frame's RX queue.
 *
 * They carry BTF, since a meter sits on a program by its BTF.
 */
#include <linux/btf.h>
#include <linux/err.h>
#include <linux/fdtable.h>
#include <linux/filter.h>

#include "progs.h"
#include "sysbpf.h"

/* Type ids in own_btf. */
enum {
	BTF_INT = 1,
	BTF_XDP_MD,
	BTF_XDP_MD_PTR,
	BTF_PROTO,
	BTF_FUNC,
};

#define STRINGS		"\0int\0xdp_md\0ctx\0xdpctl"
#define STR_INT		1
#define STR_XDP_MD	5
#define STR_CTX		12
#define STR_XDPCTL	16

/* int xdpctl(struct xdp_md *ctx), of whose ctx the kernel knows the members. */
static const struct {
	struct btf_header header;
	struct {
		struct btf_type integer;
		u32 encoding;
		struct btf_type xdp_md, ptr, proto;
		struct btf_param ctx;
		struct btf_type func;
	} types;
	char strings[sizeof(STRINGS)];
} own_btf = {
	.header = {
		.magic = BTF_MAGIC,
		.version = BTF_VERSION,
		.hdr_len = sizeof(struct btf_header),
		.type_len = sizeof(own_btf.types),
		.str_off = sizeof(own_btf.types),
		.str_len = sizeof(own_btf.strings),
	},
	.types = {
		.integer = {
			.name_off = STR_INT,
			.info = BTF_KIND_INT << 24,
			.size = sizeof(int),
		},
		.encoding = BTF_INT_SIGNED << 24 | 32,
		.xdp_md = {
			.name_off = STR_XDP_MD,
			.info = BTF_KIND_STRUCT << 24,
			.size = sizeof(struct xdp_md),
		},
		.ptr = {
			.info = BTF_KIND_PTR << 24,
			.type = BTF_XDP_MD,
		},
		.proto = {
			.info = BTF_KIND_FUNC_PROTO << 24 | 1,
			.type = BTF_INT,
		},
		.ctx = {
			.name_off = STR_CTX,
			.type = BTF_XDP_MD_PTR,
		},
		.func = {
			.name_off = STR_XDPCTL,
			.info = BTF_KIND_FUNC << 24 | BTF_FUNC_GLOBAL,
			.type = BTF_PROTO,
		},
	},
	.strings = STRINGS,
};

/**
 * struct load_job - a program to be loaded by a worker
 * @name: its name
 * @like: the program whose kind it must be, to share a program array or a link
 *	with it; NULL for one with multi-buffer support
 * @array: the program array of a dispatcher
 * @slot: where in it the program of the whole netdev is
 * @file: the result
 */
struct load_job {
	const char *name;
	const struct bpf_prog *like;
	struct file *array;
	u32 slot;
	struct file *file;
};

static int load(struct load_job *job, const struct bpf_insn *insns, u32 n)
{
	const struct bpf_func_info info = { .type_id = BTF_FUNC };
	union bpf_attr btf = {
		.btf = (u64)(unsigned long)&own_btf,
		.btf_size = offsetofend(typeof(own_btf), strings),
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_XDP,
		.insns = (u64)(unsigned long)insns,
		.insn_cnt = n,
		.func_info = (u64)(unsigned long)&info,
		.func_info_cnt = 1,
		.func_info_rec_size = sizeof(info),
	};
	int btf_fd;

	attr.expected_attach_type = job->like ? job->like->expected_attach_type :
						BPF_XDP;
	if (!job->like || job->like->aux->xdp_has_frags)
		attr.prog_flags = BPF_F_XDP_HAS_FRAGS;
	strscpy(attr.prog_name, job->name, sizeof(attr.prog_name));

	btf_fd = kern_sys_bpf(BPF_BTF_LOAD, &btf, sizeof(btf));
	if (btf_fd < 0)
		return btf_fd;
	attr.prog_btf_fd = btf_fd;
	job->file = xdpctl_prog_load(&attr);
	close_fd(btf_fd);
	return PTR_ERR_OR_ZERO(job->file);
}

static int placeholder_work(void *arg)
{
	static const struct bpf_insn insns[] = {
		BPF_MOV64_IMM(BPF_REG_0, XDP_PASS),
		BPF_EXIT_INSN(),
	};

	return load(arg, insns, ARRAY_SIZE(insns));
}

/**
 * xdpctl_placeholder_load() - load a program that passes every frame
 *
 * It has multi-buffer support, so that no driver refuses it for the MTU.
 * Context: process context.
 * Return: its file or an error.
 */
struct file *xdpctl_placeholder_load(void)
{
	struct load_job job = { .name = "xdpctl_pass" };
	int err = xdpctl_in_worker(placeholder_work, &job);

	return err ? ERR_PTR(err) : job.file;
}

static int dispatcher_work(void *arg)
{
	struct load_job *job = arg;
	int err, fd = xdpctl_fd_install(job->array);
	struct bpf_insn insns[] = {
		BPF_MOV64_REG(BPF_REG_6, BPF_REG_1),
		BPF_LDX_MEM(BPF_W, BPF_REG_3, BPF_REG_1,
			    offsetof(struct xdp_md, rx_queue_index)),
		BPF_LD_MAP_FD(BPF_REG_2, fd),
		BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call),
		/* the queue has none */
		BPF_MOV64_REG(BPF_REG_1, BPF_REG_6),
		BPF_LD_MAP_FD(BPF_REG_2, fd),
		BPF_MOV64_IMM(BPF_REG_3, job->slot),
		BPF_RAW_INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call),
		/* the netdev has none */
		BPF_MOV64_IMM(BPF_REG_0, XDP_PASS),
		BPF_EXIT_INSN(),
	};

	if (fd < 0)
		return fd;
	err = load(job, insns, ARRAY_SIZE(insns));
	close_fd(fd);
	return err;
}

/**
 * xdpctl_dispatcher_load() - load a program that calls those of RX queues
 * @array: the program array, by RX queue
 * @slot: where in @array the program for the other queues is
 * @like: a program that it is to call
 *
 * Context: process context.
 * Return: its file or an error.
 */
struct file *xdpctl_dispatcher_load(struct file *array, u32 slot,
				    const struct bpf_prog *like)
{
	struct load_job job = {
		.name = "xdpctl_dispatch",
		.like = like,
		.array = array,
		.slot = slot,
	};
	int err = xdpctl_in_worker(dispatcher_work, &job);

	return err ? ERR_PTR(err) : job.file;
}

static int array_new_work(void *arg)
{
	struct load_job *job = arg;
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_PROG_ARRAY,
		.key_size = sizeof(u32),
		.value_size = sizeof(u32),
		.max_entries = job->slot,
	};

	strscpy(attr.map_name, job->name, sizeof(attr.map_name));
	job->file = xdpctl_map_create(&attr);
	return PTR_ERR_OR_ZERO(job->file);
}

/**
 * xdpctl_prog_array_new() - make a program array
 * @n: number of slots
 *
 * It keeps its programs as long as the file is held.
 * Context: process context.
 * Return: its file or an error.
 */
struct file *xdpctl_prog_array_new(u32 n)
{
	struct load_job job = { .name = "xdpctl_queues", .slot = n };
	int err = xdpctl_in_worker(array_new_work, &job);

	return err ? ERR_PTR(err) : job.file;
}

static int array_set_work(void *arg)
{
	struct load_job *job = arg;
	int err, prog_fd = -1, map_fd = xdpctl_fd_install(job->array);
	union bpf_attr attr = {
		.map_fd = map_fd,
		.key = (u64)(unsigned long)&job->slot,
		.value = (u64)(unsigned long)&prog_fd,
	};

	if (map_fd < 0)
		return map_fd;
	if (job->file) {
		prog_fd = xdpctl_fd_install(job->file);
		err = prog_fd;
		if (prog_fd >= 0)
			err = kern_sys_bpf(BPF_MAP_UPDATE_ELEM, &attr,
					   sizeof(attr));
		if (prog_fd >= 0)
			close_fd(prog_fd);
	} else {
		attr.value = 0;
		err = kern_sys_bpf(BPF_MAP_DELETE_ELEM, &attr, sizeof(attr));
	}
	close_fd(map_fd);
	return err;
}

/**
 * xdpctl_prog_array_set() - put a program into a program array
 * @array: the array
 * @slot: where
 * @prog: file of the program; NULL empties the slot
 *
 * A frame sees the program before or the one after.
 * Context: process context.
 * Return: 0 or an error.
 */
int xdpctl_prog_array_set(struct file *array, u32 slot, struct file *prog)
{
	struct load_job job = { .array = array, .slot = slot, .file = prog };

	return xdpctl_in_worker(array_set_work, &job);
}
