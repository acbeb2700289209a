// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// Which program is on a netdev: that of the whole netdev, the dispatcher if RX
// queues have programs of their own, or a placeholder if the netdev needs a
// program for the sake of its queues alone. All are put into the one link of the
// attachment, so that no frame ever meets a netdev without a program in between.
//
// Each change is made by one system call: the link is pinned, updated or detached,
// or a slot of the dispatcher's program array is set or emptied. What comes before
// means nothing without it, and what comes after only sweeps.

// txn is a change while it may have to be undone.
type txn struct {
	undo []func() error
	held []io.Closer

	// next is told of a program before it is put on the netdev, and inner
	// before the dispatcher calls it.
	next, inner func(prog *ebpf.Program) error
}

// hold closes something when the change is over.
func (t *txn) hold(c io.Closer) { t.held = append(t.held, c) }

func (t *txn) onFail(f func() error) { t.undo = append(t.undo, f) }

// fail undoes what was done, the last first.
func (t *txn) fail() error {
	var errs []error
	for i := len(t.undo) - 1; i >= 0; i-- {
		errs = append(errs, t.undo[i]())
	}
	t.undo = nil
	return errors.Join(errs...)
}

func (t *txn) close() {
	for _, c := range t.held {
		c.Close()
	}
}

// commit makes a change of the programs of a netdev, under the lock. What goes
// with it follows; if that cannot be, the change is undone.
func (c *Control) commit(ctx context.Context, ifindex uint32, change func(t *txn) error) error {
	if err := c.traceOn(); err != nil {
		return err
	}
	if err := c.traceDev(ifindex); err != nil {
		return err
	}
	t := txn{
		next:  func(prog *ebpf.Program) error { return c.meterNext(ifindex, prog) },
		inner: func(prog *ebpf.Program) error { return c.meterInner(ifindex, prog) },
	}
	defer t.close()
	err := change(&t)
	switch {
	case err == errChanged:
		if undo := errors.Join(t.fail(), c.meterFollow(ctx, ifindex)); undo != nil {
			err = undo
		}
	case err != nil:
		err = joined(err, t.fail(), c.meterFollow(ctx, ifindex))
	default:
		if err = c.meterFollow(ctx, ifindex); err != nil {
			err = joined(err, t.fail(), c.meterFollow(ctx, ifindex))
		}
	}
	return err
}

// joined is err as it is if nothing else went wrong.
func joined(err error, more ...error) error {
	if also := errors.Join(more...); also != nil {
		return errors.Join(err, also)
	}
	return err
}

// refused says which step of a change the kernel refused.
func refused(err error, text string) error {
	errno := errnoOf(err)
	if errno == 0 {
		return err
	}
	if errno == syscall.EPERM {
		text = ""
	}
	return refuse(errno, "", "%s", text)
}

const driverRefused = "the driver refused the program: " +
	"it may lack multi-buffer support for the MTU, or be bound to another device"

// createLink attaches a program to a netdev that has none.
func createLink(d *netdev, prog *ebpf.Program, wanted family.Mode) (l link.Link, err error) {
	o := link.XDPOptions{Program: prog, Interface: int(d.index), Flags: link.XDPDriverMode}
	if wanted != family.ModeGeneric {
		l, err = link.AttachXDP(o)
	}
	if wanted == family.ModeGeneric || wanted == 0 && otherModeMayDo(err) {
		o.Flags = link.XDPGenericMode
		l, err = link.AttachXDP(o)
	}
	return l, err
}

// otherModeMayDo tells whether it is the mode that err complains of.
func otherModeMayDo(err error) bool {
	switch errnoOf(err) {
	case syscall.EOPNOTSUPP, syscall.EINVAL, syscall.ERANGE, syscall.E2BIG, syscall.ENOSPC:
		return true
	}
	return false
}

// attachRefused names the cause of a failed attachment, whose own text is lost.
func (c *Control) attachRefused(d *netdev, wanted family.Mode, err error) error {
	now, gone := c.netdev(d.index)
	if gone != nil {
		return noDevice(gone)
	}
	if _, id := now.xdp.host(); id != 0 {
		return c.refuseForeign(now)
	}
	switch errno := errnoOf(err); {
	case errno == syscall.EOPNOTSUPP && wanted == family.ModeNative:
		return refuse(errno, "", "the driver does not support XDP in native mode in its present settings")
	case errno == syscall.EEXIST:
		return refuse(errno, "", "an upper device of the netdev has a program")
	case errno == syscall.EINVAL || errno == syscall.ERANGE:
		return refuse(errno, "", driverRefused)
	}
	return refused(err, "the program cannot be attached")
}

// noDevice makes of the refusal to read of a netdev that is not there the one to
// change it.
func noDevice(err error) error {
	var e *family.Error
	if errors.As(err, &e) && e.Errno == syscall.ENOENT {
		return refuse(syscall.ENODEV, "", "%s", e.Message)
	}
	return err
}

// attach attaches a program to a netdev that has none. The link goes with the
// process until it is pinned.
func (c *Control) attach(t *txn, d *netdev, prog *ebpf.Program, wanted family.Mode) error {
	dir, err := c.claimDev(d.index)
	if err != nil {
		return err
	}
	if err := t.next(prog); err != nil {
		return err
	}
	l, err := createLink(d, prog, wanted)
	if err != nil {
		return c.attachRefused(d, wanted, err)
	}
	t.hold(l)
	t.onFail(l.Detach)
	step("create link")
	// Another netdev may have the ifindex by now, which was not looked at.
	if out, err := isOut(filepath.Join(dir, beaconDev)); err != nil {
		return err
	} else if out {
		return refuse(syscall.ENODEV, "", "no such netdev")
	}
	if err := l.Pin(filepath.Join(dir, pinLink)); err != nil {
		return err
	}
	step("pin link")
	return nil
}

// replace puts another program into the link.
//
// Returns errChanged if the link is not there any more, or has another program
// than was seen.
func (a *attachment) replace(t *txn, prog *ebpf.Program) error {
	old, err := ebpf.NewProgramFromID(ebpf.ProgramID(a.top))
	if errors.Is(err, unix.ENOENT) {
		return errChanged
	}
	if err != nil {
		return err
	}
	t.hold(old)
	if err := t.next(prog); err != nil {
		return err
	}
	if err := a.update(prog, old); err != nil {
		return err
	}
	t.onFail(func() error { return a.update(old, prog) })
	return nil
}

func (a *attachment) update(prog, old *ebpf.Program) error {
	err := linkUpdate(a.link, prog.FD(), old.FD())
	if err == nil {
		step("update link")
		return nil
	}
	// The core says so with these, but drivers may, too.
	if errno := errnoOf(err); errno == syscall.EPERM || errno == syscall.ENOLINK {
		info, err := linkInfoOf(a.link)
		if err != nil {
			return err
		}
		if info.ifindex == 0 || info.prog != a.top {
			return errChanged
		}
	}
	return refused(err, driverRefused)
}

// enter writes into the books what a program needs.
func (c *Control) enter(t *txn, d *netdev, prog, queue uint32, r *required) error {
	dir, err := c.claimDev(d.index)
	if err != nil {
		return err
	}
	b, err := makeBooks(dir, d.maxRX)
	if err != nil {
		return err
	}
	t.hold(b)
	old, was, err := b.get(prog, queue)
	if err != nil {
		return err
	}
	if was {
		t.onFail(func() error { return b.put(prog, queue, &old) })
	}
	return b.put(prog, queue, r)
}

// stackSet gives a netdev or an RX queue its program. What is asked for has been
// checked.
func (c *Control) stackSet(t *txn, d *netdev, a *attachment, ch *progChange) error {
	switch {
	case a != nil && a.array != 0:
		return c.slotSet(t, d, a, ch)
	case ch.queue != family.QueueAll:
		return c.queueFirst(t, d, a, ch)
	}
	if err := c.enter(t, d, ch.id, family.QueueAll, &ch.required); err != nil {
		return err
	}
	if a != nil {
		return a.replace(t, ch.prog)
	}
	return c.attach(t, d, ch.prog, ch.mode)
}

// stackDel takes away the program of a netdev or of an RX queue.
func (c *Control) stackDel(t *txn, a *attachment, queue uint32) error {
	if a.array != 0 && (queue == family.QueueAll || a.used() > 1) {
		return a.slotEmpty(t, queue)
	}
	rest := a.spare
	if queue != family.QueueAll && a.prog != 0 {
		rest = a.prog
	}
	if rest == 0 {
		return linkDetach(a.link)
	}
	prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(rest))
	if err != nil {
		return err
	}
	t.hold(prog)
	return a.replace(t, prog)
}
