// SPDX-License-Identifier: GPL-2.0-only
/*
 * Formatted texts for extended acknowledgements.
 */
#include <linux/module.h>
#include <linux/netlink.h>
#include <linux/slab.h>
#include <linux/task_work.h>

#include "ctrl.h"

/* A formatted extack text, which must live until the ACK has been sent. */
struct extack_text {
	struct callback_head free;
	char text[];
};

static void extack_text_free(struct callback_head *head)
{
	kfree(container_of(head, struct extack_text, free));
	module_put(THIS_MODULE);
}

/**
 * xdpctl_extack_fmt() - set a formatted extack message
 * @extack: where; may be NULL
 * @fmt: the format
 *
 * The text is kept until the caller's system call returns. NL_SET_ERR_MSG_FMT()
 * is not there on 6.1, and cuts at 80 characters. Where there is no memory the
 * bare format is set.
 * Context: process context, current is the requester.
 */
void xdpctl_extack_fmt(struct netlink_ext_ack *extack, const char *fmt, ...)
{
	struct extack_text *t = NULL;
	va_list args;
	int len;

	if (!extack)
		return;
	extack->_msg = fmt;
	if (!try_module_get(THIS_MODULE))
		return;
	va_start(args, fmt);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	t = kmalloc(struct_size(t, text, len + 1), GFP_KERNEL);
	if (!t)
		goto err_module;
	va_start(args, fmt);
	vsnprintf(t->text, len + 1, fmt, args);
	va_end(args);
	init_task_work(&t->free, extack_text_free);
	if (task_work_add(current, &t->free, TWA_RESUME))
		goto err_free;
	extack->_msg = t->text;
	return;

err_free:
	kfree(t);
err_module:
	module_put(THIS_MODULE);
}
