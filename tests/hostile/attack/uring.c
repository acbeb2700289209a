// SPDX-License-Identifier: BSD-3-Clause
/*
 * There is no operation of io_uring that is bpf(2). To show it, each operation
 * that there is, and some that may come, is made on the control map: with all
 * members zero, and with those that look like bpf(2)'s arguments; inline, by a
 * worker, and by a thread that polls the queue.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "attack.h"

enum { OPS = 96, WAIT_MS = 1000 };

struct ring {
	int fd;
	bool polled;
	struct io_uring_params p;
	char *sq, *cq;
	struct io_uring_sqe *sqes;
	size_t sq_size, cq_size;
};

static long ring_open(struct ring *r, unsigned int flags)
{
	*r = (struct ring) { .p.flags = flags, .polled = flags & IORING_SETUP_SQPOLL };
	r->p.sq_thread_idle = 1000;
	r->fd = call(SYS_io_uring_setup, 8, &r->p, 0);
	if (r->fd < 0)
		return r->fd;
	r->sq_size = r->p.sq_off.array + r->p.sq_entries * sizeof(__u32);
	r->cq_size = r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe);
	r->sq = mmap(NULL, r->sq_size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	r->cq = mmap(NULL, r->cq_size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, r->p.sq_entries * sizeof(*r->sqes), PROT_READ | PROT_WRITE,
		       MAP_SHARED, r->fd, IORING_OFF_SQES);
	if (r->sq == MAP_FAILED || r->cq == MAP_FAILED || r->sqes == MAP_FAILED)
		die("cannot map a ring");
	return 0;
}

static void ring_close(struct ring *r)
{
	munmap(r->sqes, r->p.sq_entries * sizeof(*r->sqes));
	munmap(r->cq, r->cq_size);
	munmap(r->sq, r->sq_size);
	close(r->fd);
}

static void ring_submit(struct ring *r, const struct io_uring_sqe *sqe)
{
	atomic_uint *tail = (void *)(r->sq + r->p.sq_off.tail);
	__u32 mask = *(__u32 *)(r->sq + r->p.sq_off.ring_mask);
	__u32 i = *tail & mask;

	r->sqes[i] = *sqe;
	((__u32 *)(r->sq + r->p.sq_off.array))[i] = i;
	atomic_fetch_add(tail, 1);
	call6(SYS_io_uring_enter, r->fd, 1, 0, r->polled ? IORING_ENTER_SQ_WAKEUP : 0, 0, 0);
}

/* The result of the operation, or -ETIMEDOUT if it does not end. */
static long ring_wait(struct ring *r, __u64 id)
{
	atomic_uint *head = (void *)(r->cq + r->p.cq_off.head);
	atomic_uint *tail = (void *)(r->cq + r->p.cq_off.tail);
	__u32 mask = *(__u32 *)(r->cq + r->p.cq_off.ring_mask);
	const struct io_uring_cqe *cqes = (void *)(r->cq + r->p.cq_off.cqes);
	int ms;

	for (ms = 0; ms < WAIT_MS; ms++) {
		while (*head != *tail) {
			struct io_uring_cqe e = cqes[*head & mask];

			atomic_fetch_add(head, 1);
			/* a notification of sendmsg without copy is no result */
			if (e.user_data == id && !(e.flags & IORING_CQE_F_NOTIF))
				return e.res;
		}
		/* what is left to do in the context of this thread */
		call6(SYS_io_uring_enter, r->fd, 0, 0, IORING_ENTER_GETEVENTS, 0, 0);
		if (*head == *tail)
			pause_us(ms < 10 ? 100 : 1000);
	}
	return -ETIMEDOUT;
}

/*
 * Operations that succeed and have nothing to do with what is in the map:
 * nothing, poll, close of the fd, advice, buffers of the ring, cancellation,
 * and a transfer of no bytes.
 */
static bool harmless(int op, bool like_bpf)
{
	switch (op) {
	case IORING_OP_READV:
	case IORING_OP_WRITEV:
	case IORING_OP_READ:
	case IORING_OP_WRITE:
	case IORING_OP_SPLICE:
	case IORING_OP_TEE:
		return !like_bpf;
	case IORING_OP_NOP:
	case IORING_OP_POLL_ADD:
	case IORING_OP_TIMEOUT:
	case IORING_OP_ASYNC_CANCEL:
	case IORING_OP_CLOSE:
	case IORING_OP_FILES_UPDATE:
	case IORING_OP_FADVISE:
	case IORING_OP_MADVISE:
	case IORING_OP_PROVIDE_BUFFERS:
	case IORING_OP_REMOVE_BUFFERS:
		return true;
	default:
		return false;
	}
}

static void attempt(struct ring *r, int op, bool like_bpf, bool async, struct request *req)
{
	struct io_uring_sqe sqe = {};
	static __u64 id;
	long res;

	sqe.opcode = op;
	sqe.flags = async ? IOSQE_ASYNC : 0;
	sqe.fd = dup(FD_MAP);
	sqe.user_data = ++id;
	if (like_bpf) {
		sqe.off = req->cmd;
		sqe.addr = (unsigned long)&req->attr;
		sqe.len = sizeof(req->attr);
	}
	ring_submit(r, &sqe);
	res = ring_wait(r, id);
	if (res >= 0 && !harmless(op, like_bpf))
		die("operation %d on the map, %s, async %d: got %ld", op,
		    like_bpf ? "like bpf(2)" : "zero", async, res);
	close(sqe.fd);
}

static long all(unsigned int setup, bool async, struct request *req)
{
	struct ring r;
	long err, n = 0;
	int op;

	err = ring_open(&r, setup);
	if (err)
		return err;
	for (op = 0; op < OPS; op++, n += 2) {
		attempt(&r, op, false, async, req);
		attempt(&r, op, true, async, req);
	}
	ring_close(&r);
	return n;
}

void attack_uring(const struct args *a)
{
	static const struct {
		const char *name;
		unsigned int setup;
		bool async;
	} ways[] = {
		{ "inline", 0, false },
		{ "by a worker", 0, true },
		{ "polled", IORING_SETUP_SQPOLL, false },
	};
	__u32 pass = prog_id(FD_PASS);
	static struct request req;
	size_t i;
	long n;

	expect("update", update(a->dev, FD_PASS, BPF_ANY), 0L, 1L);
	request(&req, BPF_MAP_UPDATE_ELEM, a->dev, FD_DROP, BPF_ANY);
	for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		n = all(ways[i].setup, ways[i].async, &req);
		if (n < 0)
			die("%s: cannot make a ring: %ld", ways[i].name, n);
		if (attached(a->dev) != pass)
			die("%s: program %u is attached, want %u", ways[i].name, attached(a->dev), pass);
		printf("%s: %ld operations\n", ways[i].name, n);
	}
	expect("delete", delete(a->dev), 0L, 1L);
}
