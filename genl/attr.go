// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// attrHeaderLen is the size of struct nlattr.
const attrHeaderLen = unix.NLA_HDRLEN

// attrTypeMask is an attribute's type without NLA_F_NESTED and
// NLA_F_NET_BYTEORDER.
const attrTypeMask = ^uint16(unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)

// NextAttr splits the first attribute off b: its type without flags, its
// payload, and the attributes after it. Ok is false if b is empty or ends within
// an attribute.
//
//	for len(b) > 0 {
//		typ, data, rest, ok := genl.NextAttr(b)
//		if !ok {
//			return genl.ErrMalformed
//		}
//		...
//		b = rest
//	}
func NextAttr(b []byte) (typ uint16, data, rest []byte, ok bool) {
	if len(b) < attrHeaderLen {
		return 0, nil, nil, false
	}
	n := int(ne.Uint16(b))
	if n < attrHeaderLen || n > len(b) {
		return 0, nil, nil, false
	}
	return ne.Uint16(b[2:]) & attrTypeMask, b[attrHeaderLen:n], b[min(align(n), len(b)):], true
}

// AppendAttr appends an attribute with the payload data to b.
func AppendAttr(b []byte, typ uint16, data []byte) []byte {
	b = ne.AppendUint16(b, uint16(attrHeaderLen+len(data)))
	b = ne.AppendUint16(b, typ)
	b = append(b, data...)
	return appendPadding(b, len(data))
}

// AppendUint16 appends an attribute of type u16 to b.
func AppendUint16(b []byte, typ, v uint16) []byte {
	b = ne.AppendUint16(b, attrHeaderLen+2)
	b = ne.AppendUint16(b, typ)
	b = ne.AppendUint16(b, v)
	return append(b, 0, 0)
}

// AppendUint32 appends an attribute of type u32 to b.
func AppendUint32(b []byte, typ uint16, v uint32) []byte {
	b = ne.AppendUint16(b, attrHeaderLen+4)
	b = ne.AppendUint16(b, typ)
	return ne.AppendUint32(b, v)
}

// AppendString appends an attribute with a string and the NUL that ends it to b.
func AppendString(b []byte, typ uint16, s string) []byte {
	b = ne.AppendUint16(b, uint16(attrHeaderLen+len(s)+1))
	b = ne.AppendUint16(b, typ)
	b = append(b, s...)
	return appendPadding(append(b, 0), len(s)+1)
}

// AppendNested appends an attribute that holds the attributes which fill
// appends.
func AppendNested(b []byte, typ uint16, fill func(b []byte) []byte) []byte {
	start := len(b)
	b = ne.AppendUint16(b, 0)
	b = ne.AppendUint16(b, typ|unix.NLA_F_NESTED)
	b = fill(b)
	ne.PutUint16(b[start:], uint16(len(b)-start))
	return b
}

func appendPadding(b []byte, n int) []byte {
	for ; n&3 != 0; n++ {
		b = append(b, 0)
	}
	return b
}

// AttrNames names the attributes of an attribute set, so that errors can.
type AttrNames interface {
	// AttrName returns the name of an attribute, or "" if it has none.
	AttrName(typ uint16) string
}

// NestNames is implemented by [AttrNames] of a set that has nested attributes.
type NestNames interface {
	// NestNames returns the names of the attributes in attribute typ, or
	// nil.
	NestNames(typ uint16) AttrNames
}

// attrPath returns the path of the attribute that starts off bytes into attrs,
// such as ".linkinfo.kind", and the names of what is inside it. A number stands
// for an attribute that names does not know. Returns "" if no attribute starts
// there.
func attrPath(attrs []byte, off int, names AttrNames) (string, AttrNames) {
	path := ""
	for off >= 0 {
		typ, data, rest, ok := NextAttr(attrs)
		if !ok {
			return "", nil
		}
		size := len(attrs) - len(rest)
		switch {
		case off == 0:
			return path + pathElem(typ, names), nestNames(typ, names)
		case off < size:
			path += pathElem(typ, names)
			names = nestNames(typ, names)
			attrs, off = data, off-attrHeaderLen
		default:
			attrs, off = rest, off-size
		}
	}
	return "", nil
}

func pathElem(typ uint16, names AttrNames) string {
	if names != nil {
		if name := names.AttrName(typ); name != "" {
			return "." + name
		}
	}
	return "." + strconv.Itoa(int(typ))
}

func nestNames(typ uint16, names AttrNames) AttrNames {
	if n, ok := names.(NestNames); ok {
		return n.NestNames(typ)
	}
	return nil
}

// attrs calls fn for each attribute in b.
func attrs(b []byte, fn func(typ uint16, data []byte) error) error {
	for len(b) > 0 {
		typ, data, rest, ok := NextAttr(b)
		if !ok {
			return fmt.Errorf("%w: attribute cut off", ErrMalformed)
		}
		if err := fn(typ, data); err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// number is the payload of an attribute with an unsigned number of any width.
func number[T uint8 | uint16 | uint32 | uint64](dst *T, data []byte) error {
	var v uint64
	switch len(data) {
	case 1:
		v = uint64(data[0])
	case 2:
		v = uint64(ne.Uint16(data))
	case 4:
		v = uint64(ne.Uint32(data))
	case 8:
		v = ne.Uint64(data)
	default:
		return fmt.Errorf("%w: number of %d bytes", ErrMalformed, len(data))
	}
	*dst = T(v)
	if uint64(*dst) != v {
		return fmt.Errorf("%w: number %d out of range", ErrMalformed, v)
	}
	return nil
}
