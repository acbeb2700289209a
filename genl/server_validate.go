// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"bytes"
	"fmt"
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// kind is the type of an attribute in a policy (enum NLA_*).
type kind uint8

const (
	kindUnspec kind = iota
	kindReject
	kindFlag
	kindU8
	kindU16
	kindU32
	kindU64
	kindUint
	kindS8
	kindS16
	kindS32
	kindS64
	kindSint
	kindBinary
	kindString
	kindNulString
	kindNested
	kindNestedArray
	kindBitfield32
)

// check is what is looked at beyond the type (enum nla_policy_validation).
type check uint8

const (
	checkNone check = iota
	checkRange
	checkMask
)

// kinds has, by AttrType, the type and the exact length of attributes of it.
var kinds = map[AttrType]struct {
	kind kind
	size int
}{
	unix.NL_ATTR_TYPE_FLAG:         {kindFlag, 0},
	unix.NL_ATTR_TYPE_U8:           {kindU8, 1},
	unix.NL_ATTR_TYPE_U16:          {kindU16, 2},
	unix.NL_ATTR_TYPE_U32:          {kindU32, 4},
	unix.NL_ATTR_TYPE_U64:          {kindU64, 8},
	unix.NL_ATTR_TYPE_S8:           {kindS8, 1},
	unix.NL_ATTR_TYPE_S16:          {kindS16, 2},
	unix.NL_ATTR_TYPE_S32:          {kindS32, 4},
	unix.NL_ATTR_TYPE_S64:          {kindS64, 8},
	unix.NL_ATTR_TYPE_BINARY:       {kindBinary, 0},
	unix.NL_ATTR_TYPE_STRING:       {kindString, 0},
	unix.NL_ATTR_TYPE_NUL_STRING:   {kindNulString, 0},
	unix.NL_ATTR_TYPE_NESTED:       {kindNested, 0},
	unix.NL_ATTR_TYPE_NESTED_ARRAY: {kindNestedArray, 0},
	unix.NL_ATTR_TYPE_BITFIELD32:   {kindBitfield32, 0},
	nlAttrTypeSint:                 {kindSint, 0},
	nlAttrTypeUint:                 {kindUint, 0},
}

// attrPolicy is the policy of an attribute (struct nla_policy).
type attrPolicy struct {
	kind     kind
	check    check
	typ      AttrType
	size     int // exact, of a number; 0: any
	length   int // at most, of strings and binary; 0: any
	min, max uint64
	smin     int64
	smax     int64
	mask     uint64
	nest     *policyTable
}

// policyTable are the policies of attributes that stand side by side.
type policyTable struct {
	max   int // the highest attribute
	attrs []attrPolicy
}

// rejectAll is the policy of operations that have none
// (genl_policy_reject_all).
var rejectAll = &policyTable{max: 1, attrs: []attrPolicy{{kind: kindReject}, {kind: kindReject}}}

// policyCompiler makes each set of policies into one table, so that they are
// told apart as the kernel does it, by their addresses.
type policyCompiler struct {
	tables map[policyKey]*policyTable
}

type policyKey struct {
	set *PolicySet
	max int
}

func newPolicyCompiler() *policyCompiler {
	return &policyCompiler{tables: make(map[policyKey]*policyTable)}
}

// top returns the policies of an operation.
func (c *policyCompiler) top(set *PolicySet, maxAttr uint16, loose bool) (*policyTable, error) {
	switch {
	case set == nil && loose:
		return nil, nil
	case set == nil:
		return rejectAll, nil
	case len(set.Attrs) == 0:
		return c.reject(set), nil
	}
	return c.table(set, max(highest(set), int(maxAttr)))
}

// reject returns the policies of a set without any, which is told apart from
// other such sets.
func (c *policyCompiler) reject(set *PolicySet) *policyTable {
	key := policyKey{set, rejectAll.max}
	if c.tables[key] == nil {
		t := *rejectAll
		c.tables[key] = &t
	}
	return c.tables[key]
}

func highest(set *PolicySet) int {
	top := 0
	for _, a := range set.Attrs {
		top = max(top, int(a.Attr))
	}
	return top
}

func (c *policyCompiler) table(set *PolicySet, maxAttr int) (*policyTable, error) {
	key := policyKey{set, maxAttr}
	if t := c.tables[key]; t != nil {
		return t, nil
	}
	t := &policyTable{max: maxAttr, attrs: make([]attrPolicy, maxAttr+1)}
	c.tables[key] = t
	for i := range set.Attrs {
		a := &set.Attrs[i]
		if int(a.Attr) > maxAttr || a.Attr&^attrTypeMask != 0 {
			return nil, fmt.Errorf("attribute %d: %w", a.Attr, unix.EINVAL)
		}
		p := compileAttr(&a.Policy)
		if p.kind == kindUnspec {
			return nil, fmt.Errorf("attribute %d of type %v: %w", a.Attr, a.Type, unix.EINVAL)
		}
		if err := c.nest(p, &a.Policy); err != nil {
			return nil, fmt.Errorf("attribute %d: %w", a.Attr, err)
		}
		t.attrs[a.Attr] = *p
	}
	return t, nil
}

// nest adds the policies of what is inside an attribute.
func (c *policyCompiler) nest(p *attrPolicy, from *Policy) (err error) {
	if p.kind != kindNested && p.kind != kindNestedArray || from.Nest == nil {
		return nil
	}
	top := highest(from.Nest)
	if from.NestMaxAttr != nil {
		top = max(top, int(*from.NestMaxAttr))
	}
	if top == 0 || top > math.MaxInt16 {
		return nil
	}
	p.nest, err = c.table(from.Nest, top)
	return err
}

// compileAttr returns the policy of an attribute, without what is inside it; of
// kindUnspec if its type is not known.
func compileAttr(from *Policy) *attrPolicy {
	k := kinds[from.Type]
	p := &attrPolicy{kind: k.kind, typ: from.Type, size: k.size}
	switch k.kind {
	case kindU8, kindU16, kindU32, kindU64, kindUint:
		p.check, p.max = checkRange, math.MaxUint64
		if k.size != 0 {
			p.max >>= 64 - 8*k.size
		}
		if from.Mask != nil { // has no bounds then
			p.check, p.mask = checkMask, *from.Mask
			break
		}
		setIf(&p.min, from.MinValue)
		setIf(&p.max, from.MaxValue)
	case kindS8, kindS16, kindS32, kindS64, kindSint:
		p.check, p.smin, p.smax = checkRange, math.MinInt64, math.MaxInt64
		if k.size != 0 {
			p.smin >>= 64 - 8*k.size
			p.smax >>= 64 - 8*k.size
		}
		setIf(&p.smin, from.MinSigned)
		setIf(&p.smax, from.MaxSigned)
	case kindBinary, kindString, kindNulString:
		p.lengths(from)
	case kindBitfield32:
		if from.Bitfield32Mask != nil {
			p.mask = uint64(*from.Bitfield32Mask)
		}
	}
	return p
}

// lengths takes over the bounds of a length. Only binary data has a least one.
func (p *attrPolicy) lengths(from *Policy) {
	if p.kind != kindBinary || from.MinLength == nil {
		if from.MaxLength != nil {
			p.length = int(*from.MaxLength)
		}
		return
	}
	p.check, p.min, p.max = checkRange, uint64(*from.MinLength), math.MaxUint16
	if from.MaxLength != nil {
		p.max = uint64(*from.MaxLength)
	}
}

func setIf[T any](dst, src *T) {
	if src != nil {
		*dst = *src
	}
}

// maxNesting is how deep attributes are looked at (MAX_POLICY_RECURSION_DEPTH).
const maxNesting = 10

// validator checks the attributes of a message as lib/nlattr.c does.
type validator struct {
	msg    nlmsg
	strict bool // NL_VALIDATE_STRICT, or else NL_VALIDATE_LIBERAL
	ext    *extAck
}

// refuse refuses the attribute at off.
func (v *validator) refuse(off int, p *attrPolicy, errno syscall.Errno, msg string) syscall.Errno {
	v.ext.msg, v.ext.bad = msg, uint32(off)
	if p != nil {
		v.ext.policy = p
	}
	return errno
}

// attrs checks the attributes from off to end, and puts into tb, unless that is
// nil, where the last one of each type starts (__nla_validate_parse).
func (v *validator) attrs(off, end int, t *policyTable, tb []int32, depth int) syscall.Errno {
	if depth >= maxNesting {
		v.ext.msg = "allowed policy recursion depth exceeded"
		return unix.EINVAL
	}
	for end-off >= attrHeaderLen {
		n := int(ne.Uint16(v.msg[off:]))
		if n < attrHeaderLen || n > end-off {
			break
		}
		typ := int(ne.Uint16(v.msg[off+2:]) & attrTypeMask)
		switch {
		case typ != 0 && typ <= t.max:
			if errno := v.attr(off, n, &t.attrs[typ], depth); errno != 0 {
				return errno
			}
			if tb != nil {
				tb[typ] = int32(off)
			}
		case v.strict:
			return v.refuse(off, nil, unix.EINVAL, "Unknown attribute type")
		}
		off += align(n)
	}
	if end > off {
		v.ext.msg = "bytes leftover after parsing attributes"
		if v.strict {
			return unix.EINVAL
		}
	}
	return 0
}

const failed = "Attribute failed policy validation"

// attr checks the attribute of n bytes at off (validate_nla).
func (v *validator) attr(off, n int, p *attrPolicy, depth int) syscall.Errno {
	data := v.msg[off+attrHeaderLen : off+n]
	if v.strict {
		if p.size != 0 && len(data) != p.size {
			return v.refuse(off, p, unix.EINVAL, "invalid attribute length")
		}
		flagged := ne.Uint16(v.msg[off+2:])&unix.NLA_F_NESTED != 0
		nested := p.kind == kindNested || p.kind == kindNestedArray
		if nested && !flagged {
			return v.refuse(off, p, unix.EINVAL, "NLA_F_NESTED is missing")
		}
		if !nested && flagged && p.kind != kindUnspec {
			return v.refuse(off, p, unix.EINVAL, "NLA_F_NESTED not expected")
		}
	}
	errno := syscall.Errno(0)
	switch p.kind {
	case kindUnspec:
		if v.strict {
			return v.refuse(off, nil, unix.EINVAL, "Unsupported attribute")
		}
	case kindNested, kindNestedArray:
		return v.nest(off, data, p, depth)
	case kindSint, kindUint:
		if len(data) != 4 && len(data) != 8 {
			return v.refuse(off, p, unix.EINVAL, "invalid attribute length")
		}
	default:
		errno = p.fits(data)
	}
	if errno != 0 {
		return v.refuse(off, p, errno, failed)
	}
	switch p.check {
	case checkRange:
		return v.bounds(off, data, p)
	case checkMask:
		if unsigned(data, p)&^p.mask != 0 {
			return v.refuse(off, nil, unix.EINVAL, "reserved bit set")
		}
	}
	return 0
}

// fits checks the payload of an attribute by its type.
func (p *attrPolicy) fits(data []byte) syscall.Errno {
	bad := false
	switch p.kind {
	case kindReject:
		return unix.EINVAL
	case kindFlag:
		bad = len(data) > 0
	case kindBitfield32:
		if bad = len(data) != 8; !bad {
			value, selector := ne.Uint32(data), ne.Uint32(data[4:])
			mask := uint32(p.mask)
			if mask == 0 || selector&^mask != 0 || value&^mask != 0 || value&^selector != 0 {
				return unix.EINVAL
			}
		}
	case kindNulString:
		end := len(data)
		if p.length != 0 {
			end = min(end, p.length+1)
		}
		if bytes.IndexByte(data[:end], 0) < 0 {
			return unix.EINVAL
		}
		bad = p.tooLong(data)
	case kindString:
		bad = len(data) < 1 || p.tooLong(data)
	case kindBinary:
		bad = p.length != 0 && len(data) > p.length
	default:
		bad = len(data) < p.size
	}
	if bad {
		return unix.ERANGE
	}
	return 0
}

// tooLong tells whether a string is, not counting a NUL at its end.
func (p *attrPolicy) tooLong(data []byte) bool {
	if p.length == 0 {
		return false
	}
	n := len(data)
	if data[n-1] == 0 {
		n--
	}
	return n > p.length
}

// nest checks what is inside an attribute.
func (v *validator) nest(off int, data []byte, p *attrPolicy, depth int) syscall.Errno {
	if len(data) == 0 {
		return 0
	}
	if len(data) < attrHeaderLen {
		return v.refuse(off, p, unix.ERANGE, failed)
	}
	if p.nest == nil {
		return 0
	}
	start, end := off+attrHeaderLen, off+attrHeaderLen+len(data)
	if p.kind == kindNested {
		return v.attrs(start, end, p.nest, nil, depth+1)
	}
	return v.array(start, end, p.nest, depth)
}

// array checks the elements of an array (nla_validate_array).
func (v *validator) array(off, end int, t *policyTable, depth int) syscall.Errno {
	for end-off >= attrHeaderLen {
		n := int(ne.Uint16(v.msg[off:]))
		if n < attrHeaderLen || n > end-off {
			break
		}
		switch inside := n - attrHeaderLen; {
		case inside == 0:
		case inside < attrHeaderLen:
			return v.refuse(off, &t.attrs[0], unix.ERANGE, "Array element too short")
		default:
			if errno := v.attrs(off+attrHeaderLen, off+n, t, nil, depth+1); errno != 0 {
				return errno
			}
		}
		off += align(n)
	}
	return 0
}

// bounds checks a number, or the length of binary data
// (nla_validate_int_range).
func (v *validator) bounds(off int, data []byte, p *attrPolicy) syscall.Errno {
	switch p.kind {
	case kindBinary:
		if n := uint64(len(data)); n < p.min || n > p.max {
			return v.refuse(off, p, unix.ERANGE, "binary attribute size out of range")
		}
	case kindS8, kindS16, kindS32, kindS64, kindSint:
		if n := signed(data, p); n < p.smin || n > p.smax {
			return v.refuse(off, p, unix.ERANGE, "integer out of range")
		}
	default:
		if n := unsigned(data, p); n < p.min || n > p.max {
			return v.refuse(off, p, unix.ERANGE, "integer out of range")
		}
	}
	return 0
}

// width returns the size of the number in an attribute, which may be longer.
func (p *attrPolicy) width(data []byte) int {
	if p.size != 0 {
		return p.size
	}
	return len(data)
}

func unsigned(data []byte, p *attrPolicy) uint64 {
	switch p.width(data) {
	case 1:
		return uint64(data[0])
	case 2:
		return uint64(ne.Uint16(data))
	case 4:
		return uint64(ne.Uint32(data))
	}
	return ne.Uint64(data)
}

func signed(data []byte, p *attrPolicy) int64 {
	switch p.width(data) {
	case 1:
		return int64(int8(data[0]))
	case 2:
		return int64(int16(ne.Uint16(data)))
	case 4:
		return int64(int32(ne.Uint32(data)))
	}
	return int64(ne.Uint64(data))
}
