// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"io"
	"slices"

	"golang.org/x/sys/unix"
)

// Policies of nlctrl (ctrl_policy_family, ctrl_policy_policy).
var (
	ctrlNameMax uint32 = genlNameSize - 1

	ctrlFamilyPolicy = &PolicySet{Attrs: []AttrPolicy{
		{Attr: unix.CTRL_ATTR_FAMILY_ID, Policy: Policy{Type: unix.NL_ATTR_TYPE_U16}},
		{Attr: unix.CTRL_ATTR_FAMILY_NAME, Policy: Policy{Type: unix.NL_ATTR_TYPE_NUL_STRING, MaxLength: &ctrlNameMax}},
	}}
	ctrlPolicyPolicy = &PolicySet{Attrs: append(slices.Clone(ctrlFamilyPolicy.Attrs),
		AttrPolicy{Attr: unix.CTRL_ATTR_OP, Policy: Policy{Type: unix.NL_ATTR_TYPE_U32}})}
)

// newCtrl returns the family that tells of families (genl_ctrl).
func newCtrl(s *Server) *ServedFamily {
	c := ctrl{s}
	validate := DontValidateStrict
	if s.old {
		validate |= DontValidateDump
	}
	return &ServedFamily{
		Name:       "nlctrl",
		Version:    2,
		LooseBelow: unix.CTRL_CMD_GETPOLICY + 1,
		Groups:     []ServedGroup{{Name: "notify"}},
		Ops: []ServedOp{
			{
				Command:   unix.CTRL_CMD_GETFAMILY,
				Policy:    ctrlFamilyPolicy,
				Validate:  validate,
				Do:        HandlerFunc(c.getFamily),
				Dump:      DumpFunc(c.dumpFamilies),
				DoneApart: s.old,
			},
			{
				Command:   unix.CTRL_CMD_GETPOLICY,
				Policy:    ctrlPolicyPolicy,
				Dump:      DumpFunc(c.dumpPolicies),
				DoneApart: true,
			},
		},
	}
}

// ctrl is nlctrl.
type ctrl struct{ s *Server }

// find returns the family that a request names, or nil; asked tells whether it
// names one.
func (c ctrl) find(r *ServerRequest) (f *served, asked bool) {
	t := c.s.families.Load()
	if data, ok := r.Attr(unix.CTRL_ATTR_FAMILY_ID); ok {
		f, asked = t.find(ne.Uint16(data)), true
	}
	return f, asked
}

func (c ctrl) named(r *ServerRequest) (f *served, asked bool) {
	data, ok := r.Attr(unix.CTRL_ATTR_FAMILY_NAME)
	if !ok {
		return nil, false
	}
	return c.s.families.Load().named(unix.ByteSliceToString(data)), true
}

// getFamily is CTRL_CMD_GETFAMILY, do.
func (c ctrl) getFamily(w *ReplyWriter, r *ServerRequest) error {
	f, asked := c.find(r)
	if named, ok := c.named(r); ok {
		f, asked = named, true
	}
	switch {
	case !asked:
		return unix.EINVAL
	case f == nil:
		return unix.ENOENT
	}
	attrs := f.appendInfo(w.Buffer(), c.s.old)
	if headerLen+genlHeaderLen+len(attrs) > minPart {
		return unix.EMSGSIZE
	}
	return w.ReplyMessage(Message{Command: unix.CTRL_CMD_NEWFAMILY, Version: c.s.ctrl.Version, Attrs: attrs})
}

// dumpFamilies is CTRL_CMD_GETFAMILY, dump.
func (c ctrl) dumpFamilies(*ServerRequest) (DumpCursor, error) {
	return &familyCursor{s: c.s}, nil
}

type familyCursor struct {
	s    *Server
	skip int // families that were told
	buf  []byte
}

// Next implements DumpCursor. Like the kernel it counts the families that it has
// told, whatever comes and goes.
func (c *familyCursor) Next(w *DumpWriter) error {
	n := 0
	for _, f := range c.s.families.Load().byID {
		if f == nil {
			continue
		}
		if n++; n <= c.skip {
			continue
		}
		c.buf = f.appendInfo(c.buf[:0], c.s.old)
		if len(c.buf) > w.Room() {
			return ErrNoRoom
		}
		w.WriteMessage(Message{Command: unix.CTRL_CMD_NEWFAMILY, Version: c.s.ctrl.Version, Attrs: c.buf})
		c.skip++
		return nil
	}
	return io.EOF
}

func (c *familyCursor) Close() error { return nil }

// beginNest appends the header of a nest, whose length endNest puts there. Flag
// is NLA_F_NESTED, or 0 as nlctrl has it where it is old.
func beginNest(b []byte, typ, flag uint16) ([]byte, int) {
	return ne.AppendUint16(append(b, 0, 0), typ|flag), len(b)
}

func endNest(b []byte, start int) []byte {
	ne.PutUint16(b[start:], uint16(len(b)-start))
	return b
}

// appendInfo appends what nlctrl tells of a family (ctrl_fill_info).
func (f *served) appendInfo(b []byte, old bool) []byte {
	b = AppendString(b, unix.CTRL_ATTR_FAMILY_NAME, f.Name)
	b = AppendUint16(b, unix.CTRL_ATTR_FAMILY_ID, f.id)
	b = AppendUint32(b, unix.CTRL_ATTR_VERSION, uint32(f.Version))
	b = AppendUint32(b, unix.CTRL_ATTR_HDRSIZE, uint32(f.HeaderSize))
	b = AppendUint32(b, unix.CTRL_ATTR_MAXATTR, f.MaxAttr)
	var list, nest int
	if len(f.ops) > 0 {
		b, list = beginNest(b, unix.CTRL_ATTR_OPS, 0)
		for i := range f.ops {
			op := &f.ops[i]
			b, nest = beginNest(b, uint16(i+1), 0)
			b = AppendUint32(b, unix.CTRL_ATTR_OP_ID, uint32(op.Command))
			b = AppendUint32(b, unix.CTRL_ATTR_OP_FLAGS, uint32(op.told(old)))
			b = endNest(b, nest)
		}
		b = endNest(b, list)
	}
	if len(f.Groups) > 0 {
		b, list = beginNest(b, unix.CTRL_ATTR_MCAST_GROUPS, 0)
		for i := range f.Groups {
			b = f.appendGroup(b, uint16(i+1), i)
		}
		b = endNest(b, list)
	}
	return b
}

// appendGroup appends what nlctrl tells of a group.
func (f *served) appendGroup(b []byte, typ uint16, i int) []byte {
	b, nest := beginNest(b, typ, 0)
	b = AppendUint32(b, unix.CTRL_ATTR_MCAST_GRP_ID, f.groupID(i))
	b = AppendString(b, unix.CTRL_ATTR_MCAST_GRP_NAME, f.Groups[i].Name)
	return endNest(b, nest)
}

// ctrlEvent tells the listeners of nlctrl of a family, or of its group if that
// is not -1 (genl_ctrl_event).
func (s *Server) ctrlEvent(cmd uint8, f *served, group int) {
	if s.ctrl.listening[0].Load() == 0 {
		return
	}
	var b []byte
	if group < 0 {
		b = f.appendInfo(nil, s.old)
	} else {
		b = AppendString(nil, unix.CTRL_ATTR_FAMILY_NAME, f.Name)
		b = AppendUint16(b, unix.CTRL_ATTR_FAMILY_ID, f.id)
		var list int
		b, list = beginNest(b, unix.CTRL_ATTR_MCAST_GROUPS, 0)
		b = endNest(f.appendGroup(b, 1, group), list)
	}
	// Who does not get it is told by an overrun.
	_ = s.ctrl.notify(0, 0, cmd, b)
}

// dumpPolicies begins CTRL_CMD_GETPOLICY (ctrl_dumppolicy_start).
func (c ctrl) dumpPolicies(r *ServerRequest) (DumpCursor, error) {
	f, asked := c.find(r)
	if !asked {
		f, asked = c.named(r)
	}
	switch {
	case !asked:
		return nil, unix.EINVAL
	case f == nil:
		return nil, unix.ENOENT
	}
	cur := &policyCursor{s: c.s, id: f.id}
	cmd, single := r.Uint32(unix.CTRL_ATTR_OP)
	for i := range f.ops {
		op := &f.ops[i]
		if single && uint32(op.Command) != cmd {
			continue
		}
		cur.ops = append(cur.ops, op)
		for _, t := range op.listed(c.s.old) {
			if t != nil {
				cur.list.add(t)
			}
		}
	}
	if single && len(cur.ops) == 0 {
		return nil, &Error{Errno: unix.ENOENT, Offset: r.Offset(unix.CTRL_ATTR_OP)}
	}
	if len(cur.list) == 0 {
		return nil, unix.ENODATA
	}
	return cur, nil
}

// listed returns the policies that are listed for an operation. Linux 6.1 lists
// the one of an operation that does not use it, too.
func (op *servedOp) listed(old bool) [3]*policyTable {
	do, dump := op.policies()
	if old {
		return [3]*policyTable{op.policy, do, dump}
	}
	return [3]*policyTable{do, dump}
}

// policyCursor is a dump of policies (struct ctrl_dump_policy_ctx).
type policyCursor struct {
	s    *Server
	id   uint16
	ops  []*servedOp // to come
	list policyList
	next int // in list
	attr int // in that
	buf  []byte
}

// Next implements DumpCursor.
func (c *policyCursor) Next(w *DumpWriter) error {
	b := AppendUint16(c.buf[:0], unix.CTRL_ATTR_FAMILY_ID, c.id)
	start := len(b)
	ops, next, attr := c.ops, c.next, c.attr
	for len(b) == start {
		switch {
		case len(c.ops) > 0:
			b = c.appendOp(b, c.ops[0])
			c.ops = c.ops[1:]
		case c.next < len(c.list):
			b = c.appendAttr(b)
		default:
			return io.EOF
		}
	}
	c.buf = b
	if len(b) > w.Room() {
		c.ops, c.next, c.attr = ops, next, attr
		return ErrNoRoom
	}
	w.WriteMessage(Message{Command: unix.CTRL_CMD_GETPOLICY, Version: c.s.ctrl.Version, Attrs: b})
	return nil
}

func (c *policyCursor) Close() error { return nil }

// appendOp appends which policies an operation has (ctrl_dumppolicy_put_op).
func (c *policyCursor) appendOp(b []byte, op *servedOp) []byte {
	do, dump := op.policies()
	if do == nil && dump == nil {
		return b
	}
	b, outer := beginNest(b, unix.CTRL_ATTR_OP_POLICY, unix.NLA_F_NESTED)
	b, inner := beginNest(b, uint16(op.Command), unix.NLA_F_NESTED)
	if do != nil {
		b = AppendUint32(b, unix.CTRL_ATTR_POLICY_DO, c.list.index(do))
	}
	if dump != nil {
		b = AppendUint32(b, unix.CTRL_ATTR_POLICY_DUMP, c.list.index(dump))
	}
	return endNest(endNest(b, inner), outer)
}

// appendAttr appends the next policy, if it is one of an attribute that there
// may be (netlink_policy_dump_write).
func (c *policyCursor) appendAttr(b []byte) []byte {
	t, attr, index := c.list[c.next], c.attr, c.next
	if c.attr++; c.attr > t.max {
		c.next, c.attr = c.next+1, 0
	}
	p := &t.attrs[attr]
	if p.kind == kindUnspec || p.kind == kindReject {
		return b
	}
	b, outer := beginNest(b, unix.CTRL_ATTR_POLICY, unix.NLA_F_NESTED)
	b, inner := beginNest(b, uint16(index), unix.NLA_F_NESTED)
	b = p.append(b, uint16(attr), c.list.index)
	return endNest(endNest(b, inner), outer)
}
