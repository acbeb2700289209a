// SPDX-License-Identifier: GPL-2.0-only
/*
 * The control device: a netdev of kind xdpctl, on which control maps are
 * created. One per netns; it carries no packets.
 */
#include <linux/bpf.h>
#include <linux/if_arp.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/rtnetlink.h>
#include <net/rtnetlink.h>

#include "ctrl.h"

static bool ctldev = true;
module_param(ctldev, bool, 0444);
MODULE_PARM_DESC(ctldev, "Make a control device in the initial network namespace at load (default: yes)");

struct ctl_priv {
	struct bpf_offload_dev *offdev;
};

static int ctl_bpf(struct net_device *dev, struct netdev_bpf *bpf)
{
	switch (bpf->command) {
	case BPF_OFFLOAD_MAP_ALLOC:
		return xdpctl_map_alloc(bpf->offmap);
	case BPF_OFFLOAD_MAP_FREE:
		return xdpctl_map_free(bpf->offmap);
	case XDP_SETUP_PROG:
	case XDP_SETUP_PROG_HW:
		NL_SET_ERR_MSG(bpf->extack,
			       "a control device takes no program");
		return -EOPNOTSUPP;
	default:
		return -EOPNOTSUPP;
	}
}

/*
 * No program can be offloaded to a control device. The core calls prepare
 * first, and the others not once that has failed, but it does not check that
 * they are there.
 */
static int prog_prepare(struct bpf_prog *prog)
{
	return -EOPNOTSUPP;
}

static int prog_insn_hook(struct bpf_verifier_env *env, int insn_idx,
			  int prev_insn_idx)
{
	return -EOPNOTSUPP;
}

static int prog_finalize(struct bpf_verifier_env *env)
{
	return -EOPNOTSUPP;
}

static int prog_replace_insn(struct bpf_verifier_env *env, u32 off,
			     struct bpf_insn *insn)
{
	return -EOPNOTSUPP;
}

static int prog_remove_insns(struct bpf_verifier_env *env, u32 off, u32 cnt)
{
	return -EOPNOTSUPP;
}

static int prog_translate(struct bpf_prog *prog)
{
	return -EOPNOTSUPP;
}

static void prog_destroy(struct bpf_prog *prog)
{
}

static const struct bpf_prog_offload_ops prog_offload_ops = {
	.insn_hook = prog_insn_hook,
	.finalize = prog_finalize,
	.replace_insn = prog_replace_insn,
	.remove_insns = prog_remove_insns,
	.prepare = prog_prepare,
	.translate = prog_translate,
	.destroy = prog_destroy,
};

static int ctl_init(struct net_device *dev)
{
	struct xdpctl_net *xn = xdpctl_net(dev_net(dev));
	struct ctl_priv *priv = netdev_priv(dev);
	int err;

	if (xn->ctl)
		return -EEXIST;
	/*
	 * One each: when a netdev of a shared one goes, the core moves its
	 * maps to a sibling, which may be in another netns.
	 */
	priv->offdev = bpf_offload_dev_create(&prog_offload_ops, NULL);
	if (IS_ERR(priv->offdev))
		return PTR_ERR(priv->offdev);
	err = bpf_offload_dev_netdev_register(priv->offdev, dev);
	if (err) {
		bpf_offload_dev_destroy(priv->offdev);
		return err;
	}
	xn->ctl = dev;
	return 0;
}

static void ctl_uninit(struct net_device *dev)
{
	struct ctl_priv *priv = netdev_priv(dev);

	xdpctl_net(dev_net(dev))->ctl = NULL;
	bpf_offload_dev_netdev_unregister(priv->offdev, dev);
	bpf_offload_dev_destroy(priv->offdev);
}

static netdev_tx_t ctl_xmit(struct sk_buff *skb, struct net_device *dev)
{
	dev_core_stats_tx_dropped_inc(dev);
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops ctl_netdev_ops = {
	.ndo_init = ctl_init,
	.ndo_uninit = ctl_uninit,
	.ndo_start_xmit = ctl_xmit,
	.ndo_bpf = ctl_bpf,
};

/**
 * xdpctl_ctldev_is() - is a netdev a control device?
 * @dev: the netdev
 *
 * Return: whether it is.
 */
bool xdpctl_ctldev_is(const struct net_device *dev)
{
	return dev->netdev_ops == &ctl_netdev_ops;
}

static void ctl_setup(struct net_device *dev)
{
	dev->netdev_ops = &ctl_netdev_ops;
	dev->needs_free_netdev = true;
	dev->type = ARPHRD_NONE;
	dev->flags = IFF_NOARP;
	dev->priv_flags |= IFF_NO_QUEUE;
	xdpctl_netdev_keep_netns(dev);
}

static int ctl_validate(struct nlattr *tb[], struct nlattr *data[],
			struct netlink_ext_ack *extack)
{
	if (!tb[IFLA_ADDRESS])
		return 0;
	NL_SET_ERR_MSG_ATTR(extack, tb[IFLA_ADDRESS],
			    "a control device has no address");
	return -EINVAL;
}

static XDPCTL_NEWLINK(ctl_newlink)
{
	if (xdpctl_net(dev_net(dev))->ctl) {
		NL_SET_ERR_MSG(extack,
			       "there is a control device in this network namespace already");
		return -EEXIST;
	}
	return register_netdevice(dev);
}

static struct rtnl_link_ops ctl_link_ops __read_mostly = {
	.kind = XDPCTL_FAMILY_NAME,
	.priv_size = sizeof(struct ctl_priv),
	.setup = ctl_setup,
	.validate = ctl_validate,
	.newlink = ctl_newlink,
};

/* The control device that is there after load. */
static int ctl_create(void)
{
	struct net_device *dev;
	int err;

	dev = alloc_netdev(sizeof(struct ctl_priv), XDPCTL_FAMILY_NAME "%d",
			   NET_NAME_ENUM, ctl_setup);
	if (!dev)
		return -ENOMEM;
	dev->rtnl_link_ops = &ctl_link_ops;
	err = register_netdev(dev);
	if (err)
		free_netdev(dev);
	return err;
}

/**
 * xdpctl_ctldev_init() - open the map door
 *
 * Context: process context, no RTNL.
 * Return: 0 or an error.
 */
int __init xdpctl_ctldev_init(void)
{
	int err;

	err = rtnl_link_register(&ctl_link_ops);
	if (err || !ctldev)
		return err;
	err = ctl_create();
	if (err)
		rtnl_link_unregister(&ctl_link_ops);
	return err;
}

/**
 * xdpctl_ctldev_exit() - shut the map door
 *
 * Control devices go, and with them their maps: who has an fd of one gets
 * -ENODEV from then on.
 * Context: process context, no RTNL.
 */
void xdpctl_ctldev_exit(void)
{
	rtnl_link_unregister(&ctl_link_ops);
}

MODULE_ALIAS_RTNL_LINK(XDPCTL_FAMILY_NAME);
