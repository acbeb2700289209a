// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads the XDP counters of drivers, by what drvtable.c knows of them.
 *
 * Drivers show them through ethtool as an array of strings and an array of
 * numbers. Strings are asked for and parsed once, and again when the number
 * of counters or queues changes.
 */
#include <linux/ctype.h>
#include <linux/ethtool.h>
#include <linux/netdevice.h>
#include <linux/pm_runtime.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <net/netdev_lock.h>
#include <net/rtnetlink.h>

#include "drvstats.h"

/**
 * xdpctl_driver_parent() - name of what a netdev hangs on
 * @dev: the netdev
 *
 * The driver core clears ->driver after the driver's remove(), which takes
 * away the netdev first: so it stays while the netdev is found.
 * Context: RTNL or rcu_read_lock().
 * Return: name of the parent device's driver, else kind of the link, or NULL.
 */
const char *xdpctl_driver_parent(const struct net_device *dev)
{
	const struct device_driver *drv = NULL;

	if (dev->dev.parent)
		drv = READ_ONCE(dev->dev.parent->driver);
	if (drv)
		return drv->name;
	return dev->rtnl_link_ops ? dev->rtnl_link_ops->kind : NULL;
}

/**
 * xdpctl_driver_find() - find what is known of a netdev's driver
 * @dev: the netdev
 *
 * By its parent, so that the driver is not called. It may be another one's
 * netdev on the same parent still.
 * Context: RTNL or rcu_read_lock().
 * Return: the driver, or NULL.
 */
const struct xdpctl_driver *xdpctl_driver_find(const struct net_device *dev)
{
	const char *name = xdpctl_driver_parent(dev);
	u32 i;

	if (!name)
		return NULL;
	for (i = 0; i < xdpctl_n_drivers; i++)
		if (!strcmp(xdpctl_drivers[i].parent, name))
			return &xdpctl_drivers[i];
	return NULL;
}

/**
 * xdpctl_driver_begin() - do what ethtool does before it calls a driver
 * @dev: the netdev
 *
 * Context: RTNL; sleeps.
 * Return: 0; -ENODEV if the device is not there; what the driver refuses with.
 */
int xdpctl_driver_begin(struct net_device *dev)
{
	int err = -ENODEV;

	if (dev->dev.parent)
		pm_runtime_get_sync(dev->dev.parent);
	netdev_lock_ops(dev);
	if (!netif_device_present(dev))
		goto err;
	if (dev->ethtool_ops->begin) {
		err = dev->ethtool_ops->begin(dev);
		if (err < 0)
			goto err;
	}
	return 0;

err:
	netdev_unlock_ops(dev);
	if (dev->dev.parent)
		pm_runtime_put(dev->dev.parent);
	return err;
}

/**
 * xdpctl_driver_end() - undo xdpctl_driver_begin()
 * @dev: the netdev
 *
 * Context: RTNL; sleeps.
 */
void xdpctl_driver_end(struct net_device *dev)
{
	if (dev->ethtool_ops->complete)
		dev->ethtool_ops->complete(dev);
	netdev_unlock_ops(dev);
	if (dev->dev.parent)
		pm_runtime_put(dev->dev.parent);
}

/* Between xdpctl_driver_begin() and xdpctl_driver_end(). */
static int driver_name(struct net_device *dev, char *name, size_t size)
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	const char *parent;

	if (dev->ethtool_ops->get_drvinfo) {
		dev->ethtool_ops->get_drvinfo(dev, &info);
		info.driver[sizeof(info.driver) - 1] = '\0';
		strscpy(name, info.driver, size);
	} else {
		parent = xdpctl_driver_parent(dev);
		strscpy(name, parent ?: "", size);
	}
	return *name ? 0 : -ENOENT;
}

/**
 * xdpctl_driver_name() - name of a netdev's driver as ethtool -i says
 * @dev: the netdev
 * @name: where the name goes
 * @size: room there
 *
 * Context: RTNL.
 * Return: 0; -ENOENT if there is none; what the driver refuses with.
 */
int xdpctl_driver_name(struct net_device *dev, char *name, size_t size)
{
	int err;

	ASSERT_RTNL();
	err = xdpctl_driver_begin(dev);
	if (err)
		return err;
	err = driver_name(dev, name, size);
	xdpctl_driver_end(dev);
	return err;
}

/*
 * Whether @string, which need not end before @size, is @format. The last
 * number goes into @queue.
 */
static bool match(const char *format, const char *string, u32 size, u32 *queue)
{
	const char *end = string + strnlen(string, size);
	u32 n;

	while (*format) {
		if (format[0] != '%' || format[1] != 'u') {
			if (string == end || *string++ != *format++)
				return false;
			continue;
		}
		format += 2;
		while (string < end && *string == ' ')
			string++;
		if (string == end || !isdigit(*string))
			return false;
		for (n = 0; string < end && isdigit(*string); string++) {
			if (n > 99999)
				return false;
			n = n * 10 + *string - '0';
		}
		*queue = n;
	}
	return string == end;
}

static bool find_counter(const struct xdpctl_driver *drv, const char *string,
			 struct xdpctl_slot *slot)
{
	const struct xdpctl_counter *counter;

	for (counter = drv->counters; counter->format; counter++) {
		slot->queue = XDPCTL_NO_QUEUE;
		if (!match(counter->format, string, ETH_GSTRING_LEN,
			   &slot->queue))
			continue;
		slot->raw = counter->raw;
		slot->flags = counter->flags;
		return true;
	}
	return false;
}

/**
 * xdpctl_layout_parse() - find the known counters among a driver's strings
 * @l: where they go; l->slots is to be freed with kvfree()
 * @drv: the driver
 * @strings: its strings, ETH_GSTRING_LEN each
 * @n_strings: how many
 *
 * Context: may sleep.
 * Return: 0; -ENOENT if it has none; -ENOMEM.
 */
int xdpctl_layout_parse(struct xdpctl_layout *l,
			const struct xdpctl_driver *drv, const char *strings,
			u32 n_strings)
{
	struct xdpctl_slot *slots, *slot;
	u32 nth[XDPCTL_RAW_MAX] = { };
	u32 i, n_queues = 0;

	slots = kvcalloc(n_strings, sizeof(*slots), GFP_KERNEL);
	if (!slots)
		return -ENOMEM;

	slot = slots;
	for (i = 0; i < n_strings; i++) {
		if (!find_counter(drv, strings + i * ETH_GSTRING_LEN, slot))
			continue;
		slot->index = i;
		if (slot->flags & XDPCTL_COUNTER_NTH)
			slot->queue = nth[slot->raw]++;
		if (slot->flags & XDPCTL_COUNTER_RXQ)
			n_queues = max(n_queues, slot->queue + 1);
		slot++;
	}

	if (slot == slots) {
		kvfree(slots);
		return -ENOENT;
	}
	l->slots = slots;
	l->n_slots = slot - slots;
	WRITE_ONCE(l->n_queues, n_queues);
	return 0;
}

/**
 * xdpctl_layout_sum() - sum up counters by what they mean
 * @l: where they are
 * @data: the driver's numbers
 * @queue: RX queue to take; XDPCTL_NO_QUEUE: the whole netdev
 * @c: where the sums go
 *
 * Context: any.
 * Return: whether there are any.
 */
bool xdpctl_layout_sum(const struct xdpctl_layout *l, const u64 *data,
		       u32 queue, struct xdpctl_counts *c)
{
	const struct xdpctl_slot *slot, *end = l->slots + l->n_slots;

	memset(c, 0, sizeof(*c));
	for (slot = l->slots; slot < end; slot++) {
		if (queue == XDPCTL_NO_QUEUE) {
			if (!(slot->flags & XDPCTL_COUNTER_DEV))
				continue;
		} else if (slot->queue != queue ||
			   !(slot->flags & XDPCTL_COUNTER_RXQ)) {
			continue;
		}
		c->have |= BIT(slot->raw);
		c->n[slot->raw] += data[slot->index];
	}
	return c->have;
}

/**
 * xdpctl_drvstats_forget() - drop what was parsed
 * @ds: the counters
 *
 * Context: RTNL.
 */
void xdpctl_drvstats_forget(struct xdpctl_drvstats *ds)
{
	WRITE_ONCE(ds->ops, NULL);
	WRITE_ONCE(ds->layout.n_queues, 0);
	kvfree(ds->layout.slots);
	ds->layout.slots = NULL;
	ds->layout.n_slots = 0;
	kvfree(ds->data);
	ds->data = NULL;
}

/* A netdev of @drv's parent, of another driver, has no known counters. */
static int layout_read(struct net_device *dev, struct xdpctl_drvstats *ds,
		       u32 count)
{
	char name[sizeof_field(struct ethtool_drvinfo, driver)];
	char *strings;
	int err;

	err = driver_name(dev, name, sizeof(name));
	if (!err && strcmp(name, ds->drv->name))
		err = -ENOENT;
	if (err)
		return err;

	strings = kvcalloc(count, ETH_GSTRING_LEN, GFP_KERNEL);
	ds->data = kvcalloc(count, sizeof(*ds->data), GFP_KERNEL);
	if (!strings || !ds->data) {
		kvfree(strings);
		return -ENOMEM;
	}
	dev->ethtool_ops->get_strings(dev, ETH_SS_STATS, (u8 *)strings);
	err = xdpctl_layout_parse(&ds->layout, ds->drv, strings, count);
	kvfree(strings);
	return err;
}

static int layout_update(struct net_device *dev, struct xdpctl_drvstats *ds,
			 u32 count)
{
	const struct ethtool_ops *ops = dev->ethtool_ops;
	int err;

	if (ds->ops == ops && ds->n_data == count &&
	    ds->n_rxq == dev->real_num_rx_queues &&
	    ds->n_txq == dev->real_num_tx_queues)
		return ds->layout.n_slots ? 0 : -ENOENT;

	xdpctl_drvstats_forget(ds);
	err = layout_read(dev, ds, count);
	if (err && err != -ENOENT)
		return err;
	ds->n_data = count;
	WRITE_ONCE(ds->n_rxq, dev->real_num_rx_queues);
	ds->n_txq = dev->real_num_tx_queues;
	/* Pairs with smp_load_acquire() in ctrl_stats.c. */
	smp_store_release(&ds->ops, ops);
	return err;
}

/**
 * xdpctl_drvstats_read() - read the counters of a netdev
 * @dev: the netdev
 * @ds: its counters; gets @ds->data and @ds->layout
 *
 * Context: RTNL; sleeps.
 * Return: 0; -ENOENT if there are none that are known; what the driver refuses
 * with; -ENOMEM.
 */
int xdpctl_drvstats_read(struct net_device *dev, struct xdpctl_drvstats *ds)
{
	const struct ethtool_ops *ops = dev->ethtool_ops;
	struct ethtool_stats stats = { .cmd = ETHTOOL_GSTATS };
	int count, err;

	lockdep_assert(lockdep_rtnl_is_held());
	if (!ops->get_sset_count || !ops->get_strings ||
	    !ops->get_ethtool_stats)
		return -ENOENT;

	err = xdpctl_driver_begin(dev);
	if (err)
		return err;
	count = ops->get_sset_count(dev, ETH_SS_STATS);
	if (count <= 0)
		err = count ?: -ENOENT;
	else if (count > S32_MAX / ETH_GSTRING_LEN)
		err = -ENOMEM;
	else
		err = layout_update(dev, ds, count);
	if (!err) {
		/* Some drivers add to what is there. */
		memset(ds->data, 0, count * sizeof(*ds->data));
		stats.n_stats = count;
		ops->get_ethtool_stats(dev, &stats, ds->data);
	}
	xdpctl_driver_end(dev);
	return err;
}

#ifdef DEBUG
#include "selftest/drvstats_test.c"
#endif
