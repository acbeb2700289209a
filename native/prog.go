// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// progOps are the operations of control type xdp-prog. What is attached is read
// from the netdev each time: others can detach or update a link behind our back,
// by its id.
func (c *Control) progOps() ops[family.ProgKey, family.Prog] {
	return ops[family.ProgKey, family.Prog]{
		keys:   c.progKeys,
		lookup: c.progLookup,
		update: c.progUpdate,
		del:    c.progDelete,
	}
}

func (c *Control) progKeys(_ context.Context, filter *family.ProgKey) ([]family.ProgKey, error) {
	devs, err := c.netdevs()
	if err != nil {
		return nil, err
	}
	var keys []family.ProgKey
	for _, d := range devs {
		if filter != nil && filter.Ifindex != d.index || d.xdp == (netdevXDP{}) {
			continue
		}
		d, a, err := c.attachmentOn(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		keys = a.keys(keys, d)
		a.close()
	}
	return keys, nil
}

// keys appends the keys of a netdev; queue-all comes last.
func (a *attachment) keys(keys []family.ProgKey, d *netdev) []family.ProgKey {
	if a != nil {
		for q, id := range a.queues {
			if id != 0 {
				keys = append(keys, family.ProgKey{Ifindex: d.index, Queue: uint32(q)})
			}
		}
	}
	if d.xdp == (netdevXDP{}) || a != nil && a.array != 0 && a.prog == 0 {
		return keys
	}
	return append(keys, family.ProgKey{Ifindex: d.index, Queue: family.QueueAll})
}

// noProg refuses what needs a program.
func noProg(queue uint32) error {
	if queue == family.QueueAll {
		return refuse(syscall.ENOENT, "", "no program is attached")
	}
	return refuse(syscall.ENOENT, "", "the RX queue has no program of its own")
}

func (c *Control) progLookup(_ context.Context, k *family.ProgKey, v *family.Prog) error {
	err := errChanged
	for i := 0; i < retries && err == errChanged; i++ {
		err = c.progRead(k, v)
	}
	return err
}

// progRead is progLookup, but for errChanged.
func (c *Control) progRead(k *family.ProgKey, v *family.Prog) error {
	d, a, err := c.attachmentOf(k.Ifindex)
	if err != nil {
		return err
	}
	defer a.close()
	*v = family.Prog{}
	return c.progFill(d, a, k.Queue, v)
}

// progFill says what the program of a queue is, or that of the whole netdev.
func (c *Control) progFill(d *netdev, a *attachment, queue uint32, v *family.Prog) error {
	mode, id := d.xdp.host()
	if a != nil {
		id = a.progOf(queue)
		if queue == family.QueueAll && a.isPlaceholder() {
			id = a.top
		}
	} else if queue != family.QueueAll {
		id = 0
	}
	hw := uint32(0)
	if queue == family.QueueAll {
		hw = d.xdp.hw
	}
	if id == 0 && hw == 0 {
		return noProg(queue)
	}
	if id == 0 {
		mode, id, a, hw = family.ModeOffload, hw, nil, 0
	}
	if hw != 0 {
		v.SetHWProgID(hw)
	}
	v.SetMode(mode)
	if err := fillInfo(id, v); err != nil {
		return err
	}
	if a == nil {
		return c.fillForeign(d, mode, id, v)
	}
	v.SetLinkID(a.id)
	v.SetOwner(family.OwnerModule)
	if a.isPlaceholder() {
		v.SetOwner(family.OwnerRedirect)
	}
	return a.fill(d, queue, v)
}

// fillInfo says what a program itself is.
func fillInfo(id uint32, v *family.Prog) error {
	info, err := progInfoByID(id)
	if errors.Is(err, fs.ErrNotExist) {
		return errChanged
	}
	if err != nil {
		return err
	}
	v.SetProgID(id)
	v.SetTag(family.Bytes8(info.Tag))
	if name := unix.ByteSliceToString(info.Name[:]); name != "" {
		v.SetName(name)
	}
	return nil
}

// fillForeign says by whom a program is attached that is not ours.
func (c *Control) fillForeign(d *netdev, mode family.Mode, prog uint32, v *family.Prog) error {
	id, is, err := c.foreignLink(d, mode, prog)
	if err != nil {
		return err
	}
	if is {
		v.SetOwner(family.OwnerLink)
		v.SetLinkID(id)
	} else {
		v.SetOwner(family.OwnerNetlink)
	}
	now, err := c.netdev(d.index)
	if err == nil && now.xdp != d.xdp {
		return errChanged
	}
	return err
}

// fill says what we know of the program of a queue beyond what the kernel does.
func (a *attachment) fill(d *netdev, queue uint32, v *family.Prog) error {
	if a.lost {
		return nil
	}
	if a.array != 0 {
		v.SetDispatcherProgID(a.top)
	}
	r, _, err := a.books.get(v.ProgID, queue)
	if err != nil {
		return err
	}
	r.fill(v)
	if queue == family.QueueAll {
		return nil
	}
	rx, _, err := d.queues()
	if err != nil {
		return err
	}
	if queue < rx {
		v.SetState(family.StateActive)
	} else {
		v.SetState(family.StateInactive)
	}
	return nil
}

// snapshotProgs reads the programs of all netdevs into all. It is made to be
// called often: it asks the kernel on only for those that have a program.
func (c *Control) snapshotProgs(ctx context.Context, devs []*netdev, all map[family.ProgKey]family.Prog) error {
	for _, d := range devs {
		if d.xdp == (netdevXDP{}) {
			continue
		}
		if err := c.snapshotDev(d, all); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// snapshotDev reads the programs of a netdev into all.
func (c *Control) snapshotDev(d *netdev, all map[family.ProgKey]family.Prog) (err error) {
	for range retries {
		var a *attachment
		if d, a, err = c.attachmentOn(d); err == nil {
			err = c.snapshotKeys(d, a, all)
			a.close()
		}
		if err != errChanged {
			break
		}
		if d, err = c.netdev(d.index); err != nil {
			break
		}
		err = errChanged
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has gone
	}
	return err
}

func (c *Control) snapshotKeys(d *netdev, a *attachment, all map[family.ProgKey]family.Prog) error {
	for _, k := range a.keys(nil, d) {
		var v family.Prog
		if err := c.progFill(d, a, k.Queue, &v); err != nil {
			return err
		}
		all[k] = v
	}
	return nil
}

func (c *Control) progDelete(ctx context.Context, k *family.ProgKey) error {
	return c.changeDev(k.Ifindex, func() error {
		return c.untilSettled(ctx, func() error { return c.progTake(ctx, k) })
	})
}

// progTake is progDelete, but for errChanged.
func (c *Control) progTake(ctx context.Context, k *family.ProgKey) error {
	d, a, err := c.attachmentOf(k.Ifindex)
	if err != nil {
		return err
	}
	defer a.close()
	if _, id := d.xdp.host(); id != 0 && a == nil {
		return c.refuseForeign(d)
	}
	if a == nil || a.progOf(k.Queue) == 0 {
		return noProg(k.Queue)
	}
	return c.commit(ctx, d.index, func(t *txn) error { return c.stackDel(t, a, k.Queue) })
}

// untilSettled runs f until nobody else changes the link in the midst of it.
func (c *Control) untilSettled(ctx context.Context, f func() error) error {
	err := f()
	for i := 0; i < retries && err == errChanged; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err = f()
	}
	return err
}
