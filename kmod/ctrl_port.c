// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control type xdp_port: the table of ports for multi-port TX.
 *
 * Each netns has a table from port to netdev in two maps that programs use: a
 * devmap by port for bpf_redirect_map(), and a hash map from ifindex to port, by
 * which a program knows the port that a frame came in through. The maps are made
 * with the first port and kept until the netns goes or the module is unloaded,
 * so that their ids stay.
 *
 * Nobody but this file writes them: they are frozen, which stops bpf(2), and
 * BPF_F_RDONLY_PROG, which stops programs. A devmap has that flag anyway. Unlike
 * an array, a frozen hash map is no constant to the verifier.
 *
 * What is in the devmap is in the hash map too, at any time: a port enters the
 * hash map first and leaves it last. When a port goes from one netdev to another,
 * both have its number for a moment, and the devmap has either the one or the
 * other.
 */
#include <linux/fdtable.h>
#include <linux/mm.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "attach.h"
#include "sysbpf.h"

/**
 * struct xdpctl_ports - the table of a netns
 * @devmap: file of the map from port to netdev
 * @index: file of the map from ifindex to port
 * @ifindex: netdev by port, 0 if the port is free; written under RTNL, read
 *	under anything
 */
struct xdpctl_ports {
	struct file *devmap;
	struct file *index;
	u32 ifindex[XDPCTL_PORTS];
};

/**
 * struct xdpctl_binding - a netdev has a port
 * @list: in gone, when it has it no more
 * @net: netns to tell that the port is free, referenced, or NULL; in gone only
 * @port: the port
 *
 * Each holds a reference to the module.
 */
struct xdpctl_binding {
	struct list_head list;
	struct net *net;
	u32 port;
};

/*
 * Bindings of netdevs that went, whom the notifier, under RTNL, could not tell
 * of. The work does, under xdpctl_change_mutex, so that what listeners hear of
 * a port comes in the order in which it happened. Under RTNL.
 */
static LIST_HEAD(gone);

static void gone_work(struct work_struct *work);
static DECLARE_WORK(gone_wk, gone_work);

/* The table of a netns, or NULL. Once there, it stays as long as the netns. */
static struct xdpctl_ports *ports_of(struct net *net)
{
	/* Pairs with the release in ports_make(). */
	return smp_load_acquire(&xdpctl_net(net)->ports);
}

/* The maps */

static struct file *map_make(u32 type, const char *name, u32 max_entries,
			     u32 flags)
{
	union bpf_attr attr = {};

	attr.map_type = type;
	attr.key_size = sizeof(u32);
	attr.value_size = sizeof(u32);
	attr.max_entries = max_entries;
	attr.map_flags = flags;
	strscpy(attr.map_name, name, sizeof(attr.map_name));
	return xdpctl_map_create_frozen(&attr);
}

/*
 * In a worker. The value of the devmap is an ifindex alone. With room for a
 * program it would be a map that contains programs, and those that use it would
 * all have to be with, or all without, multi-buffer support.
 */
static int maps_make(void *arg)
{
	struct xdpctl_ports *p = arg;

	p->devmap = map_make(BPF_MAP_TYPE_DEVMAP, "xdp_port", XDPCTL_PORTS, 0);
	if (IS_ERR(p->devmap))
		return PTR_ERR(p->devmap);
	/* one more, for the moment in which a port goes to another netdev */
	p->index = map_make(BPF_MAP_TYPE_HASH, "xdp_port_index",
			    XDPCTL_PORTS + 1, BPF_F_RDONLY_PROG);
	if (IS_ERR(p->index)) {
		fput(p->devmap);
		return PTR_ERR(p->index);
	}
	return 0;
}

/*
 * bpf(2) does this with instrumentation disabled, lest a program that traces it
 * comes for the lock that is held. A module cannot, and need not: the maps take
 * no writes from programs, and a devmap and a preallocated hash map use no locks
 * of others.
 */
static int map_set(struct file *file, u32 key, u32 value)
{
	struct bpf_map *map = xdpctl_file_map(file);
	int err;

	rcu_read_lock();
	err = map->ops->map_update_elem(map, &key, &value, BPF_ANY);
	rcu_read_unlock();
	return err;
}

static void map_clear(struct file *file, u32 key)
{
	struct bpf_map *map = xdpctl_file_map(file);

	rcu_read_lock();
	map->ops->map_delete_elem(map, &key);
	rcu_read_unlock();
}

/*
 * Gives a port to a netdev, in place of the one that has it, if any. The devmap
 * looks for the netdev in the netns of current.
 */
static int ports_set(struct xdpctl_ports *p, u32 port, u32 ifindex)
{
	u32 old = p->ifindex[port];
	int err;

	ASSERT_RTNL();
	err = map_set(p->index, ifindex, port);
	if (err)
		return err;
	err = map_set(p->devmap, port, ifindex);
	if (err) {
		map_clear(p->index, ifindex);
		return err;
	}
	WRITE_ONCE(p->ifindex[port], ifindex);
	if (old)
		map_clear(p->index, old);
	return 0;
}

/* The core may have taken a netdev that goes out of the devmap already. */
static void ports_clear(struct xdpctl_ports *p, u32 port)
{
	ASSERT_RTNL();
	map_clear(p->devmap, port);
	map_clear(p->index, p->ifindex[port]);
	WRITE_ONCE(p->ifindex[port], 0);
}

/* The table of the netns of a request, made if there is none. */
static struct xdpctl_ports *ports_make(struct xdpctl_req *req)
{
	struct xdpctl_net *xn = xdpctl_net(req->net);
	struct xdpctl_ports *p;
	int err;

	ASSERT_RTNL();
	if (xn->ports)
		return xn->ports;
	p = kvzalloc(sizeof(*p), GFP_KERNEL_ACCOUNT);
	if (!p) {
		NL_SET_ERR_MSG(req->extack, "no memory");
		return ERR_PTR(-ENOMEM);
	}
	err = xdpctl_in_worker(maps_make, p);
	if (err) {
		kvfree(p);
		NL_SET_ERR_MSG(req->extack,
			       "the maps of the port table cannot be made");
		return ERR_PTR(err);
	}
	/* Maps and all, to who takes no lock: pairs with ports_of(). */
	smp_store_release(&xn->ports, p);
	return p;
}

/* Bindings */

static struct xdpctl_binding *binding_new(struct xdpctl_req *req, u32 port)
{
	struct xdpctl_binding *b;

	if (!try_module_get(THIS_MODULE)) {
		NL_SET_ERR_MSG(req->extack, "the module is being unloaded");
		return ERR_PTR(-ENODEV);
	}
	b = kzalloc(sizeof(*b), GFP_KERNEL);
	if (!b) {
		NL_SET_ERR_MSG(req->extack, "no memory");
		module_put(THIS_MODULE);
		return ERR_PTR(-ENOMEM);
	}
	b->port = port;
	return b;
}

static void binding_free(struct xdpctl_binding *b)
{
	kfree(b);
	module_put(THIS_MODULE);
}

/* Frees the port of a netdev that has one. */
static struct xdpctl_binding *unbind(struct xdpctl_dev *xd)
{
	struct xdpctl_binding *b = xd->binding;

	ASSERT_RTNL();
	ports_clear(ports_of(xd->net), b->port);
	xd->binding = NULL;
	xdpctl_net_changed(xd->net);
	return b;
}

static void notify_free(struct xdpctl_req *req, u32 port)
{
	struct xdpctl_port_key key = { .port = port };
	struct xdpctl_port value = {};

	xdpctl_notify(req, XDPCTL_CTRL_TYPE_XDP_PORT, &key, &value);
}

static void gone_work(struct work_struct *work)
{
	struct xdpctl_binding *b, *tmp;
	LIST_HEAD(free);

	mutex_lock(&xdpctl_change_mutex);
	rtnl_lock();
	list_splice_init(&gone, &free);
	rtnl_unlock();
	list_for_each_entry(b, &free, list) {
		struct xdpctl_req req = { .net = b->net };

		if (!req.net)
			continue;
		/* another netdev may have it by now, which was told */
		if (!READ_ONCE(ports_of(req.net)->ifindex[b->port]))
			notify_free(&req, b->port);
		put_net(req.net);
	}
	mutex_unlock(&xdpctl_change_mutex);

	/* last: without them the module may go, but for this work */
	list_for_each_entry_safe(b, tmp, &free, list)
		binding_free(b);
}

/**
 * xdpctl_port_dev_del() - a netdev goes, or leaves its netns
 * @xd: the netdev, still with the netns that it leaves
 *
 * Context: RTNL.
 */
void xdpctl_port_dev_del(struct xdpctl_dev *xd)
{
	struct xdpctl_binding *b;

	ASSERT_RTNL();
	if (!xd->binding)
		return;
	b = unbind(xd);
	/* NULL for a netns that is going itself: nobody is there to be told */
	b->net = maybe_get_net(xd->net);
	list_add_tail(&b->list, &gone);
	schedule_work(&gone_wk);
}

/**
 * xdpctl_port_net_exit() - a netns goes, or the module
 * @net: the netns
 *
 * Programs may hold the maps on, which are empty and stay so.
 * Context: process context; no netdev of @net is left.
 */
void xdpctl_port_net_exit(struct net *net)
{
	struct xdpctl_ports *p = xdpctl_net(net)->ports;

	if (!p)
		return;
	WARN_ON_ONCE(memchr_inv(p->ifindex, 0, sizeof(p->ifindex)));
	fput(p->index);
	fput(p->devmap);
	kvfree(p);
}

/**
 * xdpctl_port_exit() - wait for what remains to be told
 *
 * Each binding holds the module until it is told of, so that there is nothing
 * left but the end of the work.
 * Context: process context, no RTNL; there are no netdevs any more.
 */
void xdpctl_port_exit(void)
{
	flush_work(&gone_wk);
	WARN_ON_ONCE(!list_empty(&gone));
}

/* get_next, lookup */

static int port_get_next(struct net *net, const void *key, void *next)
{
	const struct xdpctl_port_key *k = key;
	const struct xdpctl_ports *p = ports_of(net);
	struct xdpctl_port_key *n = next;
	u32 port = 0;

	if (!p || (k && k->port >= XDPCTL_PORTS))
		return -ENOENT;
	for (port = k ? k->port + 1 : 0; port < XDPCTL_PORTS; port++) {
		if (READ_ONCE(p->ifindex[port])) {
			n->port = port;
			return 0;
		}
	}
	return -ENOENT;
}

static int refuse_free(struct xdpctl_req *req)
{
	NL_SET_ERR_MSG(req->extack, "the port is free");
	return -ENOENT;
}

static int port_lookup(struct xdpctl_req *req, const void *key, void *value)
{
	const struct xdpctl_port_key *k = key;
	const struct xdpctl_ports *p = ports_of(req->net);
	struct xdpctl_port *v = value;

	v->ifindex = p ? READ_ONCE(p->ifindex[k->port]) : 0;
	if (!v->ifindex)
		return refuse_free(req);
	v->devmap_id = xdpctl_file_map(p->devmap)->id;
	v->index_map_id = xdpctl_file_map(p->index)->id;
	v->present = BIT_ULL(XDPCTL_A_PORT_IFINDEX) |
		     BIT_ULL(XDPCTL_A_PORT_DEVMAP_ID) |
		     BIT_ULL(XDPCTL_A_PORT_INDEX_MAP_ID);
	return 0;
}

/* update */

/* The netdev that has a port, or NULL. */
static struct xdpctl_dev *holder_of(struct net *net, u32 port)
{
	const struct xdpctl_ports *p = ports_of(net);

	ASSERT_RTNL();
	return p && p->ifindex[port] ? xdpctl_dev_get(net, p->ifindex[port]) :
				       NULL;
}

static int check_bind(struct xdpctl_req *req, u32 port,
		      const struct xdpctl_dev *xd,
		      const struct xdpctl_dev *holder, u64 flags)
{
	if (!xd) {
		NL_SET_ERR_MSG(req->extack, "no such netdev");
		return -ENODEV;
	}
	if (xdpctl_ctldev_is(xd->dev)) {
		NL_SET_ERR_MSG(req->extack, "a control device takes no port");
		return -EOPNOTSUPP;
	}
	if (holder && flags == BPF_NOEXIST) {
		xdpctl_extack_fmt(req->extack,
				  "the port is bound to ifindex %d already",
				  holder->ifindex);
		return -EEXIST;
	}
	if (!holder && flags == BPF_EXIST)
		return refuse_free(req);
	if (xd->binding && xd->binding->port != port) {
		xdpctl_extack_fmt(req->extack,
				  "the netdev has port %u already: free it first",
				  xd->binding->port);
		return -EBUSY;
	}
	return 0;
}

static int bind(struct xdpctl_req *req, u32 port, u32 ifindex, u64 flags)
{
	struct xdpctl_dev *xd = xdpctl_dev_get(req->net, ifindex);
	struct xdpctl_dev *holder = holder_of(req->net, port);
	struct xdpctl_binding *b;
	struct xdpctl_ports *p;
	int err;

	ASSERT_RTNL();
	err = check_bind(req, port, xd, holder, flags);
	if (err || xd == holder)
		return err;
	p = ports_make(req);
	if (IS_ERR(p))
		return PTR_ERR(p);
	b = holder ? holder->binding : binding_new(req, port);
	if (IS_ERR(b))
		return PTR_ERR(b);
	err = ports_set(p, port, ifindex);
	if (err) {
		if (!holder)
			binding_free(b);
		NL_SET_ERR_MSG(req->extack, "the port cannot be entered into its maps");
		return err;
	}
	if (holder)
		holder->binding = NULL;
	xd->binding = b;
	xdpctl_net_changed(req->net);
	return 0;
}

/* Tells who has a port now. */
static void notify_bound(struct xdpctl_req *req,
			 const struct xdpctl_port_key *key)
{
	struct xdpctl_req lookup = { .net = req->net };
	struct xdpctl_port value = {};

	if (!port_lookup(&lookup, key, &value))
		xdpctl_notify(req, XDPCTL_CTRL_TYPE_XDP_PORT, key, &value);
}

static int port_update(struct xdpctl_req *req, const void *key,
		       const void *value, u64 flags)
{
	const struct xdpctl_port_key *k = key;
	const struct xdpctl_port *v = value;
	int err;

	if (!(v->present & BIT_ULL(XDPCTL_A_PORT_IFINDEX))) {
		NL_SET_ERR_ATTR_MISS(req->extack, NULL, XDPCTL_A_PORT_IFINDEX);
		NL_SET_ERR_MSG(req->extack, "no netdev is given");
		return -EINVAL;
	}
	err = mutex_lock_killable(&xdpctl_change_mutex);
	if (err)
		return err;
	err = rtnl_lock_killable();
	if (!err) {
		err = bind(req, k->port, v->ifindex, flags);
		rtnl_unlock();
	}
	if (!err)
		notify_bound(req, k);
	mutex_unlock(&xdpctl_change_mutex);
	return err;
}

/* del */

static int port_del(struct xdpctl_req *req, const void *key)
{
	const struct xdpctl_port_key *k = key;
	struct xdpctl_binding *b = NULL;
	struct xdpctl_dev *xd;
	int err;

	err = mutex_lock_killable(&xdpctl_change_mutex);
	if (err)
		return err;
	err = rtnl_lock_killable();
	if (!err) {
		xd = holder_of(req->net, k->port);
		if (xd)
			b = unbind(xd);
		else
			err = refuse_free(req);
		rtnl_unlock();
	}
	if (b) {
		notify_free(req, k->port);
		binding_free(b);
	}
	mutex_unlock(&xdpctl_change_mutex);
	return err;
}

static u64 port_needed(const void *value)
{
	return BIT_ULL(XDPCTL_A_PORT_IFINDEX);
}

const struct xdpctl_type_ops xdpctl_port_ops = {
	.needed = port_needed,
	.get_next = port_get_next,
	.lookup = port_lookup,
	.update = port_update,
	.del = port_del,
};
