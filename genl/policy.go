// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// AttrType is the type of an attribute in a policy, NL_ATTR_TYPE_*.
type AttrType uint32

// What package unix has not got of enum netlink_attribute_type.
const (
	nlAttrTypeSint = 0x10
	nlAttrTypeUint = 0x11
)

var attrTypeNames = [...]string{
	unix.NL_ATTR_TYPE_FLAG:         "flag",
	unix.NL_ATTR_TYPE_U8:           "u8",
	unix.NL_ATTR_TYPE_U16:          "u16",
	unix.NL_ATTR_TYPE_U32:          "u32",
	unix.NL_ATTR_TYPE_U64:          "u64",
	unix.NL_ATTR_TYPE_S8:           "s8",
	unix.NL_ATTR_TYPE_S16:          "s16",
	unix.NL_ATTR_TYPE_S32:          "s32",
	unix.NL_ATTR_TYPE_S64:          "s64",
	unix.NL_ATTR_TYPE_BINARY:       "binary",
	unix.NL_ATTR_TYPE_STRING:       "string",
	unix.NL_ATTR_TYPE_NUL_STRING:   "nul-string",
	unix.NL_ATTR_TYPE_NESTED:       "nest",
	unix.NL_ATTR_TYPE_NESTED_ARRAY: "nest-array",
	unix.NL_ATTR_TYPE_BITFIELD32:   "bitfield32",
	nlAttrTypeSint:                 "sint",
	nlAttrTypeUint:                 "uint",
}

// String returns the name of the type, as a YNL spec spells it.
func (t AttrType) String() string {
	if int(t) < len(attrTypeNames) && attrTypeNames[t] != "" {
		return attrTypeNames[t]
	}
	return "#" + strconv.Itoa(int(t))
}

// Policy is what is accepted for an attribute. A nil pointer is a bound that
// was not named.
type Policy struct {
	Type AttrType

	// MinValue and MaxValue bound an unsigned number, MinSigned and
	// MaxSigned a signed one.
	MinValue, MaxValue   *uint64
	MinSigned, MaxSigned *int64

	// MinLength and MaxLength bound the bytes of a string or of binary data.
	MinLength, MaxLength *uint32

	// Mask has the bits that a number may have set, Bitfield32Mask those of
	// a bitfield32.
	Mask           *uint64
	Bitfield32Mask *uint32

	// NestIndex and NestMaxAttr are the index of the policies of what is
	// inside a nest, and the highest attribute there.
	NestIndex, NestMaxAttr *uint32

	// Nest are those policies, as [Conn.Policies] finds them. They may lead
	// back to this one.
	Nest *PolicySet
}

// String returns the policy in words, such as "u32 in 1..4294967295", without
// what is inside a nest; "" if p is nil.
func (p *Policy) String() string {
	if p == nil {
		return ""
	}
	var b strings.Builder
	b.WriteString(p.Type.String())
	if p.MinValue != nil || p.MaxValue != nil {
		b.WriteString(" in " + bounds(p.MinValue, p.MaxValue))
	}
	if p.MinSigned != nil || p.MaxSigned != nil {
		b.WriteString(" in " + bounds(p.MinSigned, p.MaxSigned))
	}
	if p.Mask != nil {
		fmt.Fprintf(&b, " within mask %#x", *p.Mask)
	}
	if p.Bitfield32Mask != nil {
		fmt.Fprintf(&b, " within mask %#x", *p.Bitfield32Mask)
	}
	if p.MinLength != nil || p.MaxLength != nil {
		b.WriteString(" of length " + bounds(p.MinLength, p.MaxLength))
	}
	return b.String()
}

// bounds returns "min..max", leaving out what is nil.
func bounds[T uint32 | uint64 | int64](lo, hi *T) string {
	var b strings.Builder
	if lo != nil {
		fmt.Fprint(&b, *lo)
	}
	b.WriteString("..")
	if hi != nil {
		fmt.Fprint(&b, *hi)
	}
	return b.String()
}

// PolicySet are the policies of the attributes that may stand side by side.
type PolicySet struct {
	// Index is the number of the set in the family.
	Index uint32

	// Attrs are in ascending order of their types. All others are refused.
	Attrs []AttrPolicy
}

// AttrPolicy is the policy of an attribute.
type AttrPolicy struct {
	Attr uint16
	Policy
}

// OpPolicy is what an operation accepts.
type OpPolicy struct {
	Op uint32

	// Do and Dump are nil if there is no such operation, or no policy.
	Do, Dump *PolicySet
}

// Policies returns what the operations of a family accept, in the order in which
// the kernel tells; nothing if the family has no policies
// (CTRL_CMD_GETPOLICY).
//
// Returns an error matching os.ErrNotExist if the family is gone.
func (c *Conn) Policies(ctx context.Context, f *Family) ([]OpPolicy, error) {
	req := Request{
		Op:      "policies of family " + f.Name,
		Family:  ctrlFamily,
		Command: unix.CTRL_CMD_GETPOLICY,
		Attrs:   AppendUint16(nil, unix.CTRL_ATTR_FAMILY_ID, f.ID),
		Names:   ctrlNames{},
	}
	cur := c.Dump(ctx, req)
	defer cur.Close()

	d := policyDump{sets: make(map[uint32]*PolicySet)}
	for cur.Next() {
		if err := attrs(cur.Attrs(), d.message); err != nil {
			return nil, fmt.Errorf("%s: %w", req.Op, err)
		}
	}
	switch err := cur.Err(); {
	case errors.Is(err, unix.ENODATA):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return d.finish(), nil
}

// policyDump gathers what a dump of policies says.
type policyDump struct {
	ops  []opIndex
	sets map[uint32]*PolicySet
}

// opIndex tells the indexes of the sets of an operation; nil for none.
type opIndex struct {
	op       uint32
	do, dump *uint32
}

// message reads an attribute of a message of the dump.
func (d *policyDump) message(typ uint16, data []byte) error {
	switch typ {
	case unix.CTRL_ATTR_OP_POLICY:
		return attrs(data, d.op)
	case unix.CTRL_ATTR_POLICY:
		return attrs(data, func(index uint16, data []byte) error {
			set := d.set(uint32(index))
			return attrs(data, func(attr uint16, data []byte) error {
				p, err := parsePolicy(data)
				if err == nil {
					set.Attrs = append(set.Attrs, AttrPolicy{Attr: attr, Policy: *p})
				}
				return err
			})
		})
	}
	return nil
}

// op reads which sets an operation has.
func (d *policyDump) op(op uint16, data []byte) error {
	i := opIndex{op: uint32(op)}
	err := attrs(data, func(typ uint16, data []byte) error {
		switch typ {
		case unix.CTRL_ATTR_POLICY_DO:
			return numberPtr(&i.do, data)
		case unix.CTRL_ATTR_POLICY_DUMP:
			return numberPtr(&i.dump, data)
		}
		return nil
	})
	d.ops = append(d.ops, i)
	return err
}

// set returns a set by its index. One of which the kernel tells nothing accepts
// no attribute.
func (d *policyDump) set(index uint32) *PolicySet {
	set := d.sets[index]
	if set == nil {
		set = &PolicySet{Index: index}
		d.sets[index] = set
	}
	return set
}

// finish puts the sets in their places.
func (d *policyDump) finish() []OpPolicy {
	resolve := func(index *uint32) *PolicySet {
		if index == nil {
			return nil
		}
		return d.set(*index)
	}
	ops := make([]OpPolicy, 0, len(d.ops))
	for _, i := range d.ops {
		ops = append(ops, OpPolicy{Op: i.op, Do: resolve(i.do), Dump: resolve(i.dump)})
	}
	var found []*PolicySet
	for _, set := range d.sets {
		found = append(found, set)
	}
	for _, set := range found {
		slices.SortStableFunc(set.Attrs, func(a, b AttrPolicy) int { return cmp.Compare(a.Attr, b.Attr) })
		for i := range set.Attrs {
			set.Attrs[i].Nest = resolve(set.Attrs[i].NestIndex)
		}
	}
	return ops
}

// parsePolicy reads NL_POLICY_TYPE_ATTR_*.
func parsePolicy(b []byte) (*Policy, error) {
	p := &Policy{}
	err := attrs(b, func(typ uint16, data []byte) error {
		switch typ {
		case unix.NL_POLICY_TYPE_ATTR_TYPE:
			return number((*uint32)(&p.Type), data)
		case unix.NL_POLICY_TYPE_ATTR_MIN_VALUE_S:
			return signedPtr(&p.MinSigned, data)
		case unix.NL_POLICY_TYPE_ATTR_MAX_VALUE_S:
			return signedPtr(&p.MaxSigned, data)
		case unix.NL_POLICY_TYPE_ATTR_MIN_VALUE_U:
			return numberPtr(&p.MinValue, data)
		case unix.NL_POLICY_TYPE_ATTR_MAX_VALUE_U:
			return numberPtr(&p.MaxValue, data)
		case unix.NL_POLICY_TYPE_ATTR_MIN_LENGTH:
			return numberPtr(&p.MinLength, data)
		case unix.NL_POLICY_TYPE_ATTR_MAX_LENGTH:
			return numberPtr(&p.MaxLength, data)
		case unix.NL_POLICY_TYPE_ATTR_POLICY_IDX:
			return numberPtr(&p.NestIndex, data)
		case unix.NL_POLICY_TYPE_ATTR_POLICY_MAXTYPE:
			return numberPtr(&p.NestMaxAttr, data)
		case unix.NL_POLICY_TYPE_ATTR_BITFIELD32_MASK:
			return numberPtr(&p.Bitfield32Mask, data)
		case unix.NL_POLICY_TYPE_ATTR_MASK:
			return numberPtr(&p.Mask, data)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func numberPtr[T uint32 | uint64](dst **T, data []byte) error {
	*dst = new(T)
	return number(*dst, data)
}

func signedPtr(dst **int64, data []byte) error {
	var v uint64
	if err := number(&v, data); err != nil {
		return err
	}
	*dst = new(int64)
	**dst = int64(v)
	return nil
}
