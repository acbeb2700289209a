// SPDX-License-Identifier: BSD-3-Clause
/*
 * Sends standard input on file descriptor 3, by a worker of io_uring.
 */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define AT(ring, off) ((volatile unsigned int *)((char *)(ring) + (off)))

static void *map(int fd, size_t size, off_t what)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, what);
}

int main(void)
{
	static char msg[4096];
	struct io_uring_params p = {};
	ssize_t len = read(0, msg, sizeof(msg));
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
	void *sq, *cq;
	int fd;

	fd = syscall(__NR_io_uring_setup, 1, &p);
	if (fd < 0) {
		perror("io_uring_setup");
		return 1;
	}
	sq = map(fd, p.sq_off.array + p.sq_entries * sizeof(int), IORING_OFF_SQ_RING);
	cq = map(fd, p.cq_off.cqes + p.cq_entries * sizeof(*cqe), IORING_OFF_CQ_RING);
	sqe = map(fd, p.sq_entries * sizeof(*sqe), IORING_OFF_SQES);
	*sqe = (struct io_uring_sqe) {
		.opcode = IORING_OP_SEND, .flags = IOSQE_ASYNC, .fd = 3,
		.addr = (uintptr_t)msg, .len = len,
	};
	*AT(sq, p.sq_off.array) = 0;
	__atomic_store_n(AT(sq, p.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0) {
		perror("io_uring_enter");
		return 1;
	}
	cqe = (void *)((char *)cq + p.cq_off.cqes);
	if (cqe->res != len) {
		errno = -cqe->res;
		perror("send");
		return 1;
	}
	return 0;
}
