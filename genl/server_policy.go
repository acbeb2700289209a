// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// appendUint64 appends an attribute of type u64. It is not aligned: the kernel
// aligns where it has to, and so not on the machines that most have.
func appendUint64(b []byte, typ uint16, v uint64) []byte {
	b = ne.AppendUint16(b, attrHeaderLen+8)
	b = ne.AppendUint16(b, typ)
	return ne.AppendUint64(b, v)
}

// append appends what the policy of an attribute is, as attribute typ, and
// nothing if it is that there may be none (netlink_policy_dump_write_attr).
// Index, if not nil, tells the index of the policies of what is inside.
func (p *attrPolicy) append(b []byte, typ uint16, index func(*policyTable) uint32) []byte {
	if p.kind == kindUnspec || p.kind == kindReject {
		return b
	}
	start := len(b)
	b = append(b, 0, 0)
	b = ne.AppendUint16(b, typ|unix.NLA_F_NESTED)
	switch p.kind {
	case kindNested, kindNestedArray:
		if index != nil && p.nest != nil {
			b = AppendUint32(b, unix.NL_POLICY_TYPE_ATTR_POLICY_IDX, index(p.nest))
			b = AppendUint32(b, unix.NL_POLICY_TYPE_ATTR_POLICY_MAXTYPE, uint32(p.nest.max))
		}
	case kindU8, kindU16, kindU32, kindU64, kindUint:
		if p.check == checkMask {
			b = appendUint64(b, unix.NL_POLICY_TYPE_ATTR_MASK, p.mask)
			break
		}
		b = appendUint64(b, unix.NL_POLICY_TYPE_ATTR_MIN_VALUE_U, p.min)
		b = appendUint64(b, unix.NL_POLICY_TYPE_ATTR_MAX_VALUE_U, p.max)
	case kindS8, kindS16, kindS32, kindS64, kindSint:
		b = appendUint64(b, unix.NL_POLICY_TYPE_ATTR_MIN_VALUE_S, uint64(p.smin))
		b = appendUint64(b, unix.NL_POLICY_TYPE_ATTR_MAX_VALUE_S, uint64(p.smax))
	case kindBitfield32:
		b = AppendUint32(b, unix.NL_POLICY_TYPE_ATTR_BITFIELD32_MASK, uint32(p.mask))
	case kindString, kindNulString, kindBinary:
		b = p.appendLength(b)
	}
	b = AppendUint32(b, unix.NL_POLICY_TYPE_ATTR_TYPE, uint32(p.typ))
	ne.PutUint16(b[start:], uint16(len(b)-start))
	return b
}

func (p *attrPolicy) appendLength(b []byte) []byte {
	if p.check != checkRange {
		if p.length != 0 {
			b = AppendUint32(b, unix.NL_POLICY_TYPE_ATTR_MAX_LENGTH, uint32(p.length))
		}
		return b
	}
	if p.min != 0 {
		b = AppendUint32(b, unix.NL_POLICY_TYPE_ATTR_MIN_LENGTH, uint32(p.min))
	}
	if p.max < math.MaxUint16 {
		b = AppendUint32(b, unix.NL_POLICY_TYPE_ATTR_MAX_LENGTH, uint32(p.max))
	}
	return b
}

// policyList are the policies that a dump of policies tells, in its order.
type policyList []*policyTable

// add adds policies, and those of what is inside, unless they are there
// (netlink_policy_dump_add_policy).
func (l *policyList) add(t *policyTable) {
	l.addOne(t)
	for i := 0; i < len(*l); i++ {
		for a := range (*l)[i].attrs {
			l.addOne((*l)[i].attrs[a].nest)
		}
	}
}

func (l *policyList) addOne(t *policyTable) {
	if t != nil && !slices.Contains(*l, t) {
		*l = append(*l, t)
	}
}

func (l policyList) index(t *policyTable) uint32 { return uint32(slices.Index(l, t)) }
