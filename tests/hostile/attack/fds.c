// SPDX-License-Identifier: BSD-3-Clause
/*
 * The module makes a link with fds that are in the caller's table for a moment.
 * Threads that share the table put other files in their place.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attack.h"

enum { FIRST = 16, LAST = 24, AWAY = 64, ENEMIES = 2 };

static int bad[6];	/* what is put in the place of fds */

static void *enemy(void *arg)
{
	int fd, kept;

	(void)arg;
	for (;;) {
		fd = FIRST + rnd(LAST - FIRST);
		switch (rnd(4)) {
		case 0:
			call(SYS_close, fd, 0, 0);
			break;
		case 1:
			/* a reference that outlives the module's own fd */
			kept = call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, AWAY);
			if (kept >= 0) {
				pause_us(rnd(200));
				call(SYS_close, kept, 0, 0);
			}
			break;
		default:
			/* only where there is one, or there is no room for new ones */
			if (call(SYS_fcntl, fd, F_GETFD, 0) >= 0)
				call(SYS_dup3, bad[rnd(6)], fd, O_CLOEXEC);
			break;
		}
	}
	return NULL;
}

static long link_create(__u32 dev, int prog)
{
	union bpf_attr attr = {};

	attr.link_create.prog_fd = prog;
	attr.link_create.target_ifindex = dev;
	attr.link_create.attach_type = BPF_XDP;
	attr.link_create.flags = 4;	/* XDP_FLAGS_DRV_MODE */
	return call(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
}

/* High up, so that the enemies leave it alone. */
static int keep(long fd)
{
	int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, AWAY * 2);

	if (high < 0)
		die("cannot get a file: %ld", fd);
	close(fd);
	return high;
}

void attack_fds(const struct args *a)
{
	long tries, ok = 0, refused = 0, foreign = 0, err;
	__u32 id[2] = { prog_id(FD_PASS), prog_id(FD_DROP) };
	struct xdpctl_prog v;
	int i, fd;

	/* so that new fds are those that are attacked */
	while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) < FIRST)
		if (fd < 0)
			die("cannot open /dev/null");
	close(fd);
	bad[0] = keep(dup(FD_EVIL));
	bad[1] = keep(dup(FD_DROP));
	bad[2] = keep(socket(AF_UNIX, SOCK_DGRAM, 0));
	bad[3] = keep(dup(FD_MAP));
	bad[4] = keep(link_create(a->other, FD_PASS));	/* the same program elsewhere */
	bad[5] = keep(open("/dev/null", O_RDONLY));
	for (i = 0; i < ENEMIES; i++)
		start(enemy, NULL);

	for (tries = 0; tries < a->rounds; tries++) {
		i = tries % 2;
		err = update(a->dev, i ? FD_DROP : FD_PASS, BPF_ANY);
		expect("update", err, 0L, (long)-EBADF, (long)-EINVAL, (long)-EBUSY, 1L);
		ok += !err;
		refused += !!err;
		if (lookup(a->dev, &v) && !err)
			die("try %ld: an update that was done left nothing", tries);
		/*
		 * A link of ours that an enemy keeps alive is somebody else's
		 * once the update has failed. Never does our name stand for
		 * what nobody asked for.
		 */
		if (!err && v.owner != XDPCTL_OWNER_MODULE)
			die("try %ld: an update that was done left owner %u", tries, v.owner);
		if (v.owner == XDPCTL_OWNER_MODULE && v.prog_id != id[i])
			die("try %ld: program %u under our name, want %u (%ld)", tries, v.prog_id, id[i], err);
		foreign += v.owner == XDPCTL_OWNER_LINK;
		expect("delete", delete(a->dev), 0L, (long)-ENOENT, (long)-EBUSY, 1L);
	}
	/* all fds go with the process, and what they keep alive */
	printf("%ld updates, %ld done, %ld refused, %ld left a link with an enemy\n", tries, ok, refused, foreign);
}
