// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"fmt"
	"math/bits"
	"os"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// progChange is an update, taken apart.
type progChange struct {
	prog     *ebpf.Program
	id       uint32
	required required
	queue    uint32
	mode     family.Mode // 0 for best effort
	expected uint32      // id of the program to be replaced, or 0
	how      family.Update
}

func (c *Control) progUpdate(ctx context.Context, k *family.ProgKey, v *family.Prog, how family.Update) error {
	if !v.Has(family.AttrProgFD) {
		return missing("fd", "no program is given")
	}
	prog, id, err := progByFD(v.FD)
	if err != nil {
		return err
	}
	defer prog.Close()
	ch := &progChange{prog: prog, id: id, queue: k.Queue, how: how, required: requiredOf(v)}
	if v.Has(family.AttrProgMode) {
		ch.mode = v.Mode
	}
	if v.Has(family.AttrProgExpectedProgID) {
		ch.expected = v.ExpectedProgID
	}
	if err := ch.check(); err != nil {
		return err
	}
	return c.changeDev(k.Ifindex, func() error {
		return c.untilSettled(ctx, func() error { return c.progPut(ctx, k.Ifindex, *ch) })
	})
}

// progByFD opens the XDP program that a file descriptor of this process refers to.
func progByFD(fd uint32) (*ebpf.Program, uint32, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil || fd > 1<<31-1 {
		if err == nil {
			unix.Close(n)
		}
		return nil, 0, refuse(syscall.EBADF, "", "no such file descriptor")
	}
	notXDP := refuse(syscall.EINVAL, "", "not an XDP program")
	// A link has a kind, too, that of XDP links being that of XDP programs.
	what, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", n))
	if err != nil || !strings.HasSuffix(what, "bpf-prog") {
		unix.Close(n)
		return nil, 0, notXDP
	}
	info, err := progInfoOf(n)
	if err != nil || info.Type != uint32(ebpf.XDP) {
		unix.Close(n)
		return nil, 0, notXDP
	}
	prog, err := ebpf.NewProgramFromFD(n)
	return prog, info.ID, err
}

// check looks at what the update says by itself.
func (ch *progChange) check() error {
	switch {
	case bits.OnesCount32(uint32(ch.mode)) > 1:
		return refuse(syscall.EINVAL, "", "only one XDP mode can be set")
	case ch.mode == family.ModeOffload:
		return refuse(syscall.EOPNOTSUPP, "", "offload mode cannot be set")
	case ch.mode&^(family.ModeNative|family.ModeGeneric) != 0:
		return refuse(syscall.EINVAL, "", "unknown XDP mode")
	case !ch.required.isKnown():
		return refuse(syscall.EINVAL, "", "unknown feature is required")
	case ch.expected != 0 && ch.how == family.UpdateNoexist:
		return refuse(syscall.EINVAL, "", "an expected program id goes with a replace")
	}
	return nil
}

// progPut is progUpdate, but for errChanged.
func (c *Control) progPut(ctx context.Context, ifindex uint32, ch progChange) error {
	d, a, err := c.attachmentOf(ifindex)
	if err != nil {
		return noDevice(err)
	}
	defer a.close()
	if err := c.progCheck(ctx, d, a, &ch); err != nil {
		return err
	}
	return c.commit(ctx, d.index, func(t *txn) error { return c.explain(c.stackSet(t, d, a, &ch), a, &ch) })
}

// progCheck looks whether the netdev can have the program.
func (c *Control) progCheck(ctx context.Context, d *netdev, a *attachment, ch *progChange) error {
	if d.kind == "xdpctl" {
		return refuse(syscall.EOPNOTSUPP, "", "a control device takes no program")
	}
	if _, id := d.xdp.host(); id != 0 && a == nil {
		return c.refuseForeign(d)
	}
	cur := uint32(0)
	if a != nil {
		cur = a.progOf(ch.queue)
	}
	if err := ch.checkEntry(cur); err != nil {
		return err
	}
	if err := ch.checkQueue(d); err != nil {
		return err
	}
	wanted := ch.mode
	if a != nil {
		if err := ch.checkLink(a); err != nil {
			return err
		}
		wanted = a.mode
	}
	wanted, err := c.checkRequired(ctx, &ch.required, d.index, wanted)
	if err != nil {
		return err
	}
	ch.mode = wanted
	return nil
}

// checkEntry looks whether the entry has, or has not, what is expected.
func (ch *progChange) checkEntry(cur uint32) error {
	switch {
	case cur == 0 && ch.expected == 0 && ch.how != family.UpdateExist:
		return nil
	case cur == 0:
		return noProg(ch.queue)
	case ch.expected != 0 && cur != ch.expected:
		return refuse(syscall.EEXIST, "", "active program %d does not match expected %d", cur, ch.expected)
	case ch.how == family.UpdateNoexist:
		return refuse(syscall.EEXIST, "", "program %d is attached already", cur)
	}
	return nil
}

func (ch *progChange) checkQueue(d *netdev) error {
	if ch.queue == family.QueueAll {
		return nil
	}
	rx, _, err := d.queues()
	if err != nil || ch.queue < rx {
		return err
	}
	return refuse(syscall.EINVAL, "", "the netdev has %d RX queues, from 0 to %d", rx, rx-1)
}

// checkLink looks whether the program can be put into the link, where another is.
func (ch *progChange) checkLink(a *attachment) error {
	if a.lost && ch.queue != family.QueueAll {
		return refuse(syscall.EBUSY, "",
			"somebody else put program %d into the link: attach one to the whole netdev first", a.top)
	}
	if ch.mode != 0 && ch.mode != a.mode {
		return refuse(syscall.EINVAL, "",
			"program %d is attached in %s mode, which a replace cannot change: detach it first", a.top, a.mode)
	}
	return nil
}

// explain finds the cause of a refusal that the kernel does not tell from others:
// what a program is for. To look at it first would cost every change.
func (c *Control) explain(err error, a *attachment, ch *progChange) error {
	if err == errChanged || errnoOf(err) != syscall.EINVAL {
		return err
	}
	top := uint32(0)
	if a != nil {
		top = a.top
	}
	traits, traitsErr := c.traitsOf(ch.id, top)
	if traitsErr != nil {
		return err // the kernel's own word has to do
	}
	is := traits[ch.id]
	switch is.attach {
	case uint32(ebpf.AttachXDPDevMap), uint32(ebpf.AttachXDPCPUMap):
		return refuse(syscall.EINVAL, "", "the program is for an entry of a devmap or cpumap, not for a netdev")
	}
	if cur, known := traits[top]; known && cur.attach != is.attach {
		return anotherType(top)
	}
	return err
}

func anotherType(prog uint32) error {
	return refuse(syscall.EINVAL, "", "program %d was loaded with another expected attach type: detach it first", prog)
}

// foreignLink finds the link by which somebody else has attached a program to a
// netdev, in a mode. Is is false if there is none, so that it was done over
// rtnetlink.
func (c *Control) foreignLink(d *netdev, mode family.Mode, prog uint32) (id uint32, is bool, err error) {
	ids, err := xdpLinks(d.index, prog)
	if err != nil || len(ids) == 0 {
		return 0, false, err
	}
	// It may be of a netdev with the same ifindex elsewhere.
	if is, err = c.isLinked(d, mode); err != nil || !is {
		return 0, false, err
	}
	return ids[0], true, nil
}

// refuseForeign says who holds a netdev.
func (c *Control) refuseForeign(d *netdev) error {
	mode, prog := d.xdp.host()
	id, is, err := c.foreignLink(d, mode, prog)
	if err != nil {
		return err
	}
	if is {
		return refuse(syscall.EBUSY, "",
			"the netdev is held by program %d, attached in %s mode by BPF link %d of somebody else", prog, mode, id)
	}
	return refuse(syscall.EBUSY, "",
		"the netdev is held by program %d, attached in %s mode over rtnetlink", prog, mode)
}
