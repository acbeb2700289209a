// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// served is a family as a [Server] has it.
type served struct {
	*ServedFamily
	srv *Server

	id         uint16
	firstGroup uint32
	ops        []servedOp
	byCmd      [256]*servedOp
	listening  []atomic.Int32 // sockets, by group

	running atomic.Int64  // calls into the family; below 0 when it is retired
	idle    chan struct{} // told when the last of them is over after that
}

// servedOp is an operation of one.
type servedOp struct {
	*ServedOp
	flags    OpFlags // with what it can do
	policy   *policyTable
	do, dump *policyTable // nil: attributes are not looked at
}

// newServed checks a family and prepares its policies (genl_validate_ops).
func newServed(s *Server, f *ServedFamily) (*served, error) {
	if !validName(f.Name) {
		return nil, fmt.Errorf("name %q: %w", f.Name, unix.EINVAL)
	}
	for _, g := range f.Groups {
		if !validName(g.Name) {
			return nil, fmt.Errorf("group name %q: %w", g.Name, unix.EINVAL)
		}
	}
	fam := &served{
		ServedFamily: f,
		srv:          s,
		ops:          make([]servedOp, len(f.Ops)),
		listening:    make([]atomic.Int32, len(f.Groups)),
		idle:         make(chan struct{}, 1),
	}
	c := newPolicyCompiler()
	for i := range f.Ops {
		op := &fam.ops[i]
		if err := op.init(&f.Ops[i], f.LooseBelow, c); err != nil {
			return nil, fmt.Errorf("command %d: %w", f.Ops[i].Command, err)
		}
		if fam.byCmd[op.Command] != nil {
			return nil, fmt.Errorf("command %d twice: %w", op.Command, unix.EINVAL)
		}
		fam.byCmd[op.Command] = op
	}
	return fam, nil
}

func (op *servedOp) init(o *ServedOp, looseBelow uint8, c *policyCompiler) (err error) {
	op.ServedOp = o
	op.flags = o.Flags &^ (OpDo | OpDump | OpPolicies)
	if o.Do != nil {
		op.flags |= OpDo
	}
	if o.Dump != nil {
		op.flags |= OpDump
	}
	if op.flags&(OpDo|OpDump) == 0 {
		return fmt.Errorf("can neither be done nor dumped: %w", unix.EINVAL)
	}
	loose := o.Command < looseBelow
	if !loose && o.Validate != 0 {
		return fmt.Errorf("checks left out: %w", unix.EINVAL)
	}
	if op.policy, err = c.top(o.Policy, o.MaxAttr, loose); err != nil {
		return err
	}
	op.do, op.dump = op.policy, op.policy
	if o.DumpPolicy != nil {
		if op.dump, err = c.top(o.DumpPolicy, 0, loose); err != nil {
			return err
		}
	}
	if o.Validate&DontValidateDump != 0 {
		op.dump = nil
	}
	return nil
}

func (op *servedOp) hasFD(typ uint16) bool { return slices.Contains(op.FDs, typ) }

// policies returns the policies that are told for an operation, nil for none.
func (op *servedOp) policies() (do, dump *policyTable) {
	if op.flags&OpDo != 0 {
		do = op.do
	}
	if op.flags&OpDump != 0 {
		dump = op.dump
	}
	return do, dump
}

// told returns the flags that nlctrl tells.
func (op *servedOp) told(old bool) OpFlags {
	do, dump := op.policies()
	if do != nil || dump != nil || old && op.policy != nil {
		return op.flags | OpPolicies
	}
	return op.flags
}

func (f *served) groupID(i int) uint32 { return f.firstGroup + uint32(i) }

// group returns the index of a group, or -1.
func (f *served) group(name string) int {
	return slices.IndexFunc(f.Groups, func(g ServedGroup) bool { return g.Name == name })
}

const retired = -1 << 62

// enter begins a call into the family, which leave ends. Returns false if the
// family is retired.
func (f *served) enter() bool {
	if f.running.Add(1) > 0 {
		return true
	}
	f.leave()
	return false
}

func (f *served) leave() {
	if f.running.Add(-1) == retired {
		select {
		case f.idle <- struct{}{}:
		default:
		}
	}
}

// retire waits for the calls into the family, and lets in no more.
func (f *served) retire() {
	if f.running.Add(retired) != retired {
		<-f.idle
	}
}

// Multicast sends a notification to a group.
//
// Returns an error matching unix.ESRCH if nobody got it, or unix.ENOBUFS if a
// socket with option BroadcastError did not. Those who did not get it are told
// by [ErrOverrun].
func (f *ServedFamily) Multicast(group string, cmd uint8, attrs []byte) error {
	fam := f.served.Load()
	if fam == nil {
		return unix.ESRCH
	}
	i := fam.group(group)
	if i < 0 {
		return fmt.Errorf("multicast group %s of family %s: %w", group, f.Name, unix.EINVAL)
	}
	if fam.listening[i].Load() == 0 {
		return unix.ESRCH
	}
	return fam.notify(i, 0, cmd, attrs)
}

// HasListeners tells whether a group has any.
func (f *ServedFamily) HasListeners(group string) bool {
	fam := f.served.Load()
	if fam == nil {
		return false
	}
	i := fam.group(group)
	return i >= 0 && fam.listening[i].Load() != 0
}

// SetErr tells all listeners of a group that they miss something, as if their
// buffers had been full (genl_set_err with ENOBUFS). Returns how many have
// option NoENOBUFS and so were not told.
func (f *ServedFamily) SetErr(group string) int {
	fam := f.served.Load()
	if fam == nil {
		return 0
	}
	i := fam.group(group)
	if i < 0 {
		return 0
	}
	return fam.srv.setErr(fam.groupID(i))
}

// notify sends a notification to a group, but to the socket with port id except.
func (f *served) notify(group int, except uint32, cmd uint8, attrs []byte) error {
	msg := f.appendMessage(nil, 0, 0, 0, &Message{Command: cmd, Version: f.Version, Attrs: attrs})
	return f.srv.multicast(f.groupID(group), except, msg)
}

// appendMessage appends a message of the family (genlmsg_put).
func (f *served) appendMessage(b []byte, flags uint16, seq, port uint32, m *Message) []byte {
	start := len(b)
	b = ne.AppendUint32(b, 0)
	b = ne.AppendUint16(b, f.id)
	b = ne.AppendUint16(b, flags)
	b = ne.AppendUint32(b, seq)
	b = ne.AppendUint32(b, port)
	b = append(b, m.Command, m.Version, 0, 0)
	if f.HeaderSize != 0 {
		n := len(b) + align(f.HeaderSize)
		b = append(b, m.Header[:min(len(m.Header), f.HeaderSize)]...)
		for len(b) < n {
			b = append(b, 0)
		}
	}
	b = append(b, m.Attrs...)
	ne.PutUint32(b[start:], uint32(len(b)-start))
	return b
}
