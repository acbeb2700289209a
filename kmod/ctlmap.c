// SPDX-License-Identifier: GPL-2.0-only
/*
 * The map door: BPF control maps.
 *
 * A module cannot add a map type, but the maps that bpf(2) creates on a netdev
 * are served by callbacks of its driver. So there is a netdev of kind xdpctl
 * (ctldev.c), and a map created on it is a control type, chosen by the sizes of
 * key and value.
 *
 * Locks. The callbacks get_next, lookup, update and delete run under
 * down_read(&bpf_devs_lock) of the BPF core, which nests inside RTNL: alloc,
 * free and the unregistration of the device take RTNL and then that lock for
 * writing. A callback that waits for RTNL is a deadlock. So
 *
 * - update and delete queue themselves as task work, which runs in the context
 *   of the caller, without the lock, before he is back in user mode, and puts
 *   its result in the place of the system call's;
 * - a lookup that cannot get RTNL at once lets task work wait for it and
 *   restarts the system call, which is harmless for a lookup.
 *
 * alloc runs under both locks and waits for the worker of sysbpf.c, which takes
 * neither.
 */
#include <linux/bpf.h>
#include <linux/compat.h>
#include <linux/fdtable.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/nsproxy.h>
#include <linux/ptrace.h>
#include <linux/random.h>
#include <linux/rtnetlink.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/task_work.h>
#include <linux/workqueue.h>
#include <asm/syscall.h>

#include "ctrl.h"
#include "sysbpf.h"

/*
 * BTF
 *
 * All control maps share one BTF object, which the module holds by its file.
 * Userspace cannot pass BTF for a map on a device, and a module cannot take a
 * reference to BTF itself. So a donor, an ordinary map, is created with it,
 * and the reference is moved over. That needs fds, which is why it is done by
 * a kernel worker: no thread of the caller's can reach that table.
 */

static struct file *btf_file;
static u32 btf_id;

static int map_type(const struct bpf_offloaded_map *map)
{
	return (unsigned long)map->dev_priv;
}

/* The version of its value that a map has; NULL for the present one. */
static const struct xdpctl_old_value *
map_old_value(const struct bpf_offloaded_map *map)
{
	const struct xdpctl_type_desc *desc = &xdpctl_descs[map_type(map)];
	int i;

	for (i = 0; i < desc->n_old_values; i++)
		if (desc->old_values[i].size == map->map.value_size)
			return &desc->old_values[i];
	return NULL;
}

static int btf_load(void *arg)
{
	union bpf_attr attr = {
		.btf = (u64)(unsigned long)xdpctl_btf,
		.btf_size = xdpctl_btf_size,
	};

	btf_file = xdpctl_fd_take(kern_sys_bpf(BPF_BTF_LOAD, &attr,
					       sizeof(attr)));
	return PTR_ERR_OR_ZERO(btf_file);
}

static struct file *donor_create(const struct bpf_offloaded_map *map)
{
	const struct xdpctl_type_desc *desc = &xdpctl_descs[map_type(map)];
	const struct xdpctl_old_value *old = map_old_value(map);
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_HASH,
		.map_flags = BPF_F_NO_PREALLOC,
		.max_entries = 1,
		.key_size = desc->key_size,
		.value_size = map->map.value_size,
		.btf_key_type_id = desc->btf_key_id,
		.btf_value_type_id = old ? old->btf_id : desc->btf_value_id,
	};
	struct file *donor;

	attr.btf_fd = xdpctl_fd_install(btf_file);
	if ((int)attr.btf_fd < 0)
		return ERR_PTR((int)attr.btf_fd);
	donor = xdpctl_map_create(&attr);
	close_fd(attr.btf_fd);
	return donor;
}

/* Gives the BTF to the map @arg, whose control type is known. */
static int btf_move(void *arg)
{
	struct bpf_offloaded_map *map = arg;
	struct file *file = donor_create(map);
	struct bpf_map *donor;

	if (IS_ERR(file))
		return PTR_ERR(file);
	donor = xdpctl_file_map(file);
	map->map.btf = donor->btf;
	map->map.btf_key_type_id = donor->btf_key_type_id;
	map->map.btf_value_type_id = donor->btf_value_type_id;
	donor->btf_key_type_id = 0;
	donor->btf_value_type_id = 0;
	donor->btf = NULL;
	fput(file);
	return 0;
}

/* btf_obj_id() is not exported; the fdinfo of the file says it. */
static int btf_read_id(void)
{
	char buf[64] = "";
	struct seq_file seq = { .buf = buf, .size = sizeof(buf) - 1 };

	if (!btf_file->f_op->show_fdinfo)
		return -EOPNOTSUPP;
	btf_file->f_op->show_fdinfo(&seq, btf_file);
	return sscanf(buf, "btf_id:\t%u", &btf_id) == 1 ? 0 : -EOPNOTSUPP;
}

/**
 * xdpctl_ctlmap_btf_id() - id of the BTF that describes keys and values
 *
 * Return: the id.
 */
u32 xdpctl_ctlmap_btf_id(void)
{
	return btf_id;
}

/* The callbacks of a map */

/*
 * Is the caller a user thread in bpf(2) with @cmd? A BPF program of type
 * syscall, a kernel thread and io_uring can get here too, and then there is
 * no system call of ours to restart or to set the result of.
 */
static bool is_direct(enum bpf_cmd cmd)
{
	struct pt_regs *regs = task_pt_regs(current);
	unsigned long args[6];

	if (current->flags & (PF_KTHREAD | PF_IO_WORKER) || in_compat_syscall())
		return false;
	if (syscall_get_nr(current, regs) != __NR_bpf)
		return false;
	syscall_get_arguments(current, regs, args);
	return (u32)args[0] == cmd;
}

/*
 * Are the numbers that the caller gives in the bounds of the spec? The netlink
 * door has its policy for that. Fields of the key come first.
 */
static int check_bounds(const struct xdpctl_type_desc *desc, const void *key,
			const u64 *value)
{
	const struct xdpctl_field *f = desc->fields;
	u32 n;

	for (; f < desc->fields + desc->n_fields; f++) {
		if (f->flags & XDPCTL_FIELD_KEY)
			n = *(const u32 *)(key + f->offset);
		else if (!value)
			break;
		else if (f->kind == XDPCTL_KIND_U32 && *value & BIT_ULL(f->attr))
			n = *(const u32 *)((const void *)value + f->offset);
		else
			continue;
		if (n < f->min || (f->max && n > f->max))
			return -ERANGE;
	}
	return 0;
}

static int map_get_next(struct bpf_offloaded_map *map, void *key, void *next)
{
	return xdpctl_types[map_type(map)]->get_next(dev_net(map->netdev), key,
						     next);
}

static void rtnl_wait_work(struct callback_head *work)
{
	kfree(work);
	if (!(current->flags & PF_EXITING) && !rtnl_lock_killable())
		rtnl_unlock();
	module_put(THIS_MODULE);
}

/* Waits for RTNL on the way out, and lets the system call begin again. */
static int wait_and_restart(enum bpf_cmd cmd)
{
	struct callback_head *work;

	if (!is_direct(cmd))
		return -EBUSY;
	if (!try_module_get(THIS_MODULE))
		return -ENODEV;
	work = kmalloc(sizeof(*work), GFP_KERNEL);
	if (!work)
		goto err_module;
	init_task_work(work, rtnl_wait_work);
	if (task_work_add(current, work, TWA_RESUME))
		goto err_free;
	return restart_syscall();

err_free:
	kfree(work);
err_module:
	module_put(THIS_MODULE);
	return -ENOMEM;
}

static int lookup(const struct bpf_offloaded_map *map, struct xdpctl_req *req,
		  const void *key, void *value)
{
	memset64(value, 0, xdpctl_descs[map_type(map)].value_size / sizeof(u64));
	return xdpctl_types[map_type(map)]->lookup(req, key, value);
}

static noinline int lookup_old(const struct bpf_offloaded_map *map,
			       struct xdpctl_req *req, const void *key,
			       void *value)
{
	u64 now[XDPCTL_VALUE_MAX / sizeof(u64)];
	int err;

	err = lookup(map, req, key, now);
	if (err)
		return err;
	now[0] &= map_old_value(map)->mask;
	memcpy(value, now, map->map.value_size);
	return 0;
}

static int map_lookup(struct bpf_offloaded_map *map, void *key, void *value)
{
	struct xdpctl_req req = {
		.net = dev_net(map->netdev),
		.nowait = true,
	};
	int err;

	err = check_bounds(&xdpctl_descs[map_type(map)], key, NULL);
	if (err)
		return err;
	if (unlikely(map->map.value_size != xdpctl_descs[map_type(map)].value_size))
		err = lookup_old(map, &req, key, value);
	else
		err = lookup(map, &req, key, value);
	return err == -EAGAIN ? wait_and_restart(BPF_MAP_LOOKUP_ELEM) : err;
}

/**
 * struct change - an update or delete on its way to task work
 * @work: the work
 * @req: the request; holds req.net and req.file
 * @flags: of the update
 * @type: the control type
 * @del: delete instead of update
 * @key: the key
 * @value: the value of an update
 *
 * Holds the module.
 */
struct change {
	struct callback_head work;
	struct xdpctl_req req;
	u64 flags;
	int type;
	bool del;
	u64 key[XDPCTL_KEY_MAX / sizeof(u64)];
	u64 value[];
};

static void change_free(struct change *c)
{
	if (c->req.file)
		fput(c->req.file);
	put_net(c->req.net);
	kfree(c);
	module_put(THIS_MODULE);
}

static void change_work(struct callback_head *work)
{
	struct change *c = container_of(work, struct change, work);
	const struct xdpctl_type_ops *ops = xdpctl_types[c->type];
	int err;

	/* files and namespaces of a task that exits are gone */
	if (!(current->flags & PF_EXITING)) {
		err = c->del ? ops->del(&c->req, c->key) :
			       ops->update(&c->req, c->key, c->value, c->flags);
		syscall_set_return_value(current, task_pt_regs(current), err,
					 0);
	}
	change_free(c);
}

static int change_permitted(const struct bpf_offloaded_map *map,
			    enum bpf_cmd cmd)
{
	struct net *net = dev_net(map->netdev);

	if (!is_direct(cmd))
		return -EOPNOTSUPP;
	if (!net_eq(current->nsproxy->net_ns, net))
		return -EXDEV;
	if (!ns_capable(net->user_ns, CAP_NET_ADMIN))
		return -EPERM;
	return 0;
}

/* Queues an update, or with @value == NULL a delete. */
static int map_change(struct bpf_offloaded_map *map, const void *key,
		      u64 *value, u64 flags)
{
	enum bpf_cmd cmd = value ? BPF_MAP_UPDATE_ELEM : BPF_MAP_DELETE_ELEM;
	const struct xdpctl_type_desc *desc = &xdpctl_descs[map_type(map)];
	const struct xdpctl_type_ops *ops = xdpctl_types[map_type(map)];
	const struct xdpctl_old_value *old = map_old_value(map);
	struct change *c;
	int err;

	if (value ? !ops->update : !ops->del)
		return -EOPNOTSUPP;
	err = change_permitted(map, cmd);
	if (err)
		return err;
	if (value && *value & ~(old ? desc->set_mask & old->mask :
				      desc->set_mask))
		return -EINVAL;
	if (value && !*value)
		*value = ops->needed(value);
	err = check_bounds(desc, key, value);
	if (err)
		return err;
	if (!try_module_get(THIS_MODULE))
		return -ENODEV;
	c = kzalloc(struct_size(c, value, desc->value_size / sizeof(u64)),
		    GFP_KERNEL_ACCOUNT);
	if (!c) {
		module_put(THIS_MODULE);
		return -ENOMEM;
	}
	c->req.net = get_net(dev_net(map->netdev));
	c->type = map_type(map);
	c->flags = flags;
	c->del = !value;
	memcpy(c->key, key, desc->key_size);
	if (value)
		memcpy(c->value, value, map->map.value_size);
	if (value && ops->prepare)
		err = ops->prepare(&c->req, c->key, c->value);
	if (!err) {
		init_task_work(&c->work, change_work);
		err = task_work_add(current, &c->work, TWA_RESUME);
	}
	if (err)
		change_free(c);
	return err;
}

static int map_update(struct bpf_offloaded_map *map, void *key, void *value,
		      u64 flags)
{
	return map_change(map, key, value, flags);
}

static int map_delete(struct bpf_offloaded_map *map, void *key)
{
	return map_change(map, key, NULL, 0);
}

static const struct bpf_map_dev_ops map_dev_ops = {
	.map_get_next_key = map_get_next,
	.map_lookup_elem = map_lookup,
	.map_update_elem = map_update,
	.map_delete_elem = map_delete,
};

/* Are these the sizes of a control type, as it is or as it was? */
static bool type_has_size(const struct xdpctl_type_desc *desc, u32 key_size,
			  u32 value_size)
{
	int i;

	if (desc->key_size != key_size)
		return false;
	for (i = 0; i < desc->n_old_values; i++)
		if (desc->old_values[i].size == value_size)
			return true;
	return desc->value_size == value_size;
}

static int type_by_size(u32 key_size, u32 value_size)
{
	int type;

	for (type = 1; type <= XDPCTL_CTRL_TYPE_MAX; type++)
		if (type_has_size(&xdpctl_descs[type], key_size, value_size))
			return type;
	return -EINVAL;
}

/**
 * xdpctl_map_alloc() - make a control map of a map that is being created
 * @map: the map
 *
 * Context: process context; RTNL and bpf_devs_lock for writing.
 * Return: 0 or an error.
 */
int xdpctl_map_alloc(struct bpf_offloaded_map *map)
{
	int type;

	/* the core lets the flags of an ordinary hash map through */
	if (map->map.map_type != BPF_MAP_TYPE_HASH || map->map.map_flags ||
	    map->map.map_extra)
		return -EINVAL;
	type = type_by_size(map->map.key_size, map->map.value_size);
	if (type < 0)
		return type;
	map->dev_ops = &map_dev_ops;
	map->dev_priv = (void *)(unsigned long)type;
	/*
	 * The core would take this for a hash map as the inner map of another,
	 * where a program then runs the code of a hash map on it. As a template
	 * it is refused for being a map in map, and under a template for a flag
	 * that no hash map has.
	 */
	map->map.inner_map_meta = &map->map;
	map->map.map_flags |= BPF_F_INNER_MAP;
	/* last: nobody puts the BTF of a map that is refused */
	return xdpctl_in_worker(btf_move, map);
}

/**
 * xdpctl_map_free() - let go of a control map
 * @map: the map
 *
 * BTF that the caller of BPF_MAP_CREATE gives is refused, but only after the
 * core has put it in the place of ours, which is lost then: put it here, as
 * its file does when it is closed. The pointer alone is looked at, since 6.1
 * has put what is there.
 * Context: process context; RTNL and bpf_devs_lock for writing.
 * Return: 0.
 */
int xdpctl_map_free(const struct bpf_offloaded_map *map)
{
	if (map->map.btf != btf_file->private_data)
		btf_file->f_op->release(file_inode(btf_file), btf_file);
	return 0;
}

/**
 * xdpctl_ctlmap_init() - load what control maps need
 *
 * Context: process context, no RTNL.
 * Return: 0 or an error.
 */
int __init xdpctl_ctlmap_init(void)
{
	int err;

	err = xdpctl_in_worker(btf_load, NULL);
	if (err)
		return err;
	err = btf_read_id();
	if (err)
		fput(btf_file);
	return err;
}

/**
 * xdpctl_ctlmap_exit() - undo xdpctl_ctlmap_init()
 *
 * Context: process context, no RTNL; there is no control device.
 */
void xdpctl_ctlmap_exit(void)
{
	fput(btf_file);
}
