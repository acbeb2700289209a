// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/family"
)

// kind says why a program may not go with another.
func (p *progTraits) kind() string {
	switch {
	case p.isBound:
		return "is bound to a device"
	case p.hasFrags:
		return "has multi-buffer support"
	case !p.isJited:
		return "is interpreted"
	}
	return "is an ordinary one"
}

// checkPair looks whether a dispatcher can call both programs.
func checkPair(p, other *progTraits) error {
	if p.isBound || other.isBound || p.hasFrags != other.hasFrags || p.isJited != other.isJited {
		return refuse(syscall.EOPNOTSUPP, "",
			"programs %d and %d cannot share the netdev by RX queue: the one %s, the other %s",
			p.id, other.id, p.kind(), other.kind())
	}
	if p.attach != other.attach {
		return refuse(syscall.EOPNOTSUPP, "",
			"programs %d and %d cannot share the netdev by RX queue: they have different expected attach types",
			p.id, other.id)
	}
	return nil
}

func checkAlone(p *progTraits) error {
	if !p.isBound {
		return nil
	}
	return refuse(syscall.EOPNOTSUPP, "", "program %d cannot be that of an RX queue: it is bound to a device", p.id)
}

// sharing reads the traits of the program that is to share a netdev, and of the one
// in the link, which are of the same expected attach type; nil if there is none.
func (c *Control) sharing(a *attachment, ch *progChange) (p, top *progTraits, err error) {
	link := uint32(0)
	if a != nil {
		link = a.top
	}
	all, err := c.traitsOf(ch.id, link)
	if err != nil {
		return nil, nil, refuse(syscall.EOPNOTSUPP, "",
			"the kernel does not tell whether programs can share the netdev by RX queue: %v", err)
	}
	mine, ok := all[ch.id]
	if !ok {
		return nil, nil, errChanged
	}
	if link == 0 {
		return &mine, nil, nil
	}
	other, ok := all[link]
	switch {
	case !ok:
		return nil, nil, errChanged
	case mine.attach != other.attach:
		return nil, nil, anotherType(link)
	}
	return &mine, &other, nil
}

// slotOf is where in the array of the dispatcher the program of a queue is, or
// that of the whole netdev.
func (a *attachment) slotOf(queue uint32) uint32 {
	if queue == family.QueueAll {
		return uint32(len(a.queues))
	}
	return queue
}

// slotPut enters a program into the array of a dispatcher. A frame sees the
// program before or the one after.
func slotPut(array int, slot uint32, prog *ebpf.Program) error {
	err := mapPut(array, slot, uint32(prog.FD()))
	switch {
	case err == nil:
		step("set slot")
		return nil
	case errnoOf(err) == syscall.EINVAL:
		return refuse(syscall.EOPNOTSUPP, "", "the kernel does not let the dispatcher call the program")
	}
	return refused(err, "the program cannot be entered into the dispatcher")
}

func slotDelete(array int, slot uint32) error {
	if err := mapDelete(array, slot); err != nil {
		return refused(err, "the program cannot be taken out of the dispatcher")
	}
	step("empty slot")
	return nil
}

// slotSet adds to, or replaces in, what the dispatcher calls.
func (c *Control) slotSet(t *txn, d *netdev, a *attachment, ch *progChange) error {
	p, dispatcher, err := c.sharing(a, ch)
	if err != nil {
		return err
	}
	if err := checkPair(p, dispatcher); err != nil {
		return err
	}
	if err := c.enter(t, d, ch.id, ch.queue, &ch.required); err != nil {
		return err
	}
	if err := t.inner(ch.prog); err != nil {
		return err
	}
	if err := a.slotUndo(t, ch.queue); err != nil {
		return err
	}
	return slotPut(a.array, a.slotOf(ch.queue), ch.prog)
}

// slotUndo remembers what a queue has.
func (a *attachment) slotUndo(t *txn, queue uint32) error {
	slot, id := a.slotOf(queue), a.progOf(queue)
	if id == 0 {
		t.onFail(func() error { return slotDelete(a.array, slot) })
		return nil
	}
	old, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if err != nil {
		return err
	}
	t.hold(old)
	t.onFail(func() error { return slotPut(a.array, slot, old) })
	return nil
}

// slotEmpty takes a program out of the dispatcher, which stays.
func (a *attachment) slotEmpty(t *txn, queue uint32) error {
	if err := a.slotUndo(t, queue); err != nil {
		return err
	}
	return slotDelete(a.array, a.slotOf(queue))
}

// queueFirst gives a netdev its first program of a queue: a dispatcher comes to
// it.
func (c *Control) queueFirst(t *txn, d *netdev, a *attachment, ch *progChange) error {
	p, top, err := c.sharing(a, ch)
	if err != nil {
		return err
	}
	if err := checkAlone(p); err != nil {
		return err
	}
	whole := uint32(0)
	if a != nil {
		whole = a.prog // or there is a placeholder
	}
	if whole != 0 {
		if err := checkPair(p, top); err != nil {
			return err
		}
	}
	if err := t.inner(ch.prog); err != nil {
		return err
	}
	array, dispatcher, err := makeDispatcher(t, d.maxRX, ch.queue, ch.prog, p)
	if err != nil {
		return err
	}
	if whole != 0 {
		prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(whole))
		if err != nil {
			return err
		}
		t.hold(prog)
		if err := slotPut(array.FD(), d.maxRX, prog); err != nil {
			return err
		}
	}
	if err := c.enter(t, d, ch.id, ch.queue, &ch.required); err != nil {
		return err
	}
	info, err := progInfoOf(dispatcher.FD())
	if err != nil {
		return err
	}
	on := a
	if on == nil {
		on = &attachment{dir: c.state.dev(d.index)}
	}
	if err := array.Pin(on.queuesPin(info.ID)); err != nil {
		return err
	}
	step("pin queues")
	if a != nil {
		return a.replace(t, dispatcher)
	}
	return c.attach(t, d, dispatcher, ch.mode)
}

// makeDispatcher makes a dispatcher for n RX queues that calls programs like
// prog, which is that of a queue.
func makeDispatcher(t *txn, n, queue uint32, prog *ebpf.Program, like *progTraits) (*ebpf.Map, *ebpf.Program, error) {
	array, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "xdpctl_queues", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: n + 1,
		Key: btfQueue, Value: btfStruct("xdpctl_queues", btfMember("prog_id", btfU32)),
	})
	if err != nil {
		return nil, nil, refused(err, "the program array cannot be made")
	}
	t.hold(array)
	// First, since it decides what else the array takes.
	if err := slotPut(array.FD(), queue, prog); err != nil {
		return nil, nil, err
	}
	dispatcher, err := loadDispatcher(array, n, like)
	if err != nil {
		return nil, nil, refused(err, "the dispatcher cannot be loaded")
	}
	t.hold(dispatcher)
	return array, dispatcher, nil
}
