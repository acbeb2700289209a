// SPDX-License-Identifier: GPL-2.0-only
/*
 * xdpctl: XDP control with one backend and two doors, generic netlink
 * (netlink.c) and BPF control maps (ctlmap.c).
 */
#include <linux/module.h>
#include <linux/rcupdate.h>

#include "ctrl.h"
#include "drvstats.h"
#include "sysbpf.h"

static int __init xdpctl_init(void)
{
	int err;

	err = xdpctl_sysbpf_init();
	if (err)
		return err;
	err = xdpctl_exception_init();
	if (err)
		goto err_sysbpf;
	err = xdpctl_drvstats_selftest();
	if (err)
		goto err_exception;
	err = xdpctl_prog_init();
	if (err)
		goto err_exception;
	err = xdpctl_ctrl_init();
	if (err)
		goto err_prog;
	err = xdpctl_ctlmap_init();
	if (err)
		goto err_ctrl;
	err = xdpctl_ctldev_init();
	if (err)
		goto err_ctlmap;
	/* last: who attaches holds the module, which then must not fail */
	err = xdpctl_netlink_init();
	if (err)
		goto err_ctldev;
	xdpctl_exception_start();
	return 0;

err_ctldev:
	xdpctl_ctldev_exit();
err_ctlmap:
	xdpctl_ctlmap_exit();
err_ctrl:
	xdpctl_ctrl_exit();
	xdpctl_port_exit();
err_prog:
	xdpctl_prog_exit();
err_exception:
	xdpctl_exception_exit();
err_sysbpf:
	xdpctl_sysbpf_exit();
	return err;
}

static void __exit xdpctl_exit(void)
{
	xdpctl_exception_stop();	/* sends through the family */
	xdpctl_netlink_exit();
	xdpctl_ctldev_exit();
	xdpctl_ctlmap_exit();
	xdpctl_ctrl_exit();
	xdpctl_port_exit();
	xdpctl_prog_exit();
	xdpctl_exception_exit();
	xdpctl_sysbpf_exit();
	/*
	 * The last module_put() of a request is called by its task work, the
	 * tail of which still runs in the text of this module.
	 */
	synchronize_rcu_tasks();
}

module_init(xdpctl_init);
module_exit(xdpctl_exit);

MODULE_DESCRIPTION("XDP control over generic netlink and over BPF control maps");
MODULE_LICENSE("GPL");
