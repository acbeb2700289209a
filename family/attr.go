// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// ErrMalformed is the error of an attribute stream that ends within an
// attribute, or in which a known attribute has the wrong length.
var ErrMalformed = errors.New("malformed attributes")

const (
	attrHeaderLen = 4
	attrTypeMask  = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
)

// ne is the byte order of generic netlink, which is that of the machine.
var ne = binary.NativeEndian

// nextAttr splits the first attribute off b.
func nextAttr(b []byte) (id uint16, payload, rest []byte, ok bool) {
	if len(b) < attrHeaderLen {
		return 0, nil, nil, false
	}
	n := int(ne.Uint16(b))
	if n < attrHeaderLen || n > len(b) {
		return 0, nil, nil, false
	}
	id = ne.Uint16(b[2:]) & attrTypeMask
	end := min((n+3)&^3, len(b))
	return id, b[attrHeaderLen:n], b[end:], true
}

// attrU64Len is the length of an attribute that is a number of 64 bits.
const attrU64Len = attrHeaderLen + 8

// numbers has by attribute id where a struct has numbers of 64 bits. None is at its
// beginning.
type numbers [64]uint16

// decode stores the attributes that b begins with in the struct at v, as long as
// they are such numbers. It returns a bit for each of them, and what comes behind:
// most of a dump is such numbers, so that it does nothing twice.
func (n *numbers) decode(b []byte, v unsafe.Pointer) (seen uint64, rest []byte) {
	at := 0
	for at+attrU64Len <= len(b) {
		a := (*[attrU64Len]byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), at))
		id := ne.Uint16(a[2:]) // with flags it is none of them
		if ne.Uint16(a[:]) != attrU64Len || int(id) >= len(n) || n[id] == 0 {
			break
		}
		*(*uint64)(unsafe.Add(v, n[id])) = ne.Uint64(a[attrHeaderLen:])
		seen |= 1 << id
		at += attrU64Len
	}
	return seen, b[at:]
}

func errTruncated(set *AttrSet) error {
	return fmt.Errorf("decode %s: %w: truncated", set.Name, ErrMalformed)
}

func errLength(set *AttrSet, id uint16, p []byte) error {
	return fmt.Errorf("decode %s: %w: attribute %s has length %d",
		set.Name, ErrMalformed, set.AttrName(id), len(p))
}

func errMissing(set *AttrSet, id uint16) error {
	return fmt.Errorf("decode %s: %w: attribute %s is missing",
		set.Name, ErrMalformed, set.AttrName(id))
}

func getU32[T ~uint32](p []byte, dst *T) bool {
	if len(p) != 4 {
		return false
	}
	*dst = T(ne.Uint32(p))
	return true
}

func getU64[T ~uint64](p []byte, dst *T) bool {
	if len(p) != 8 {
		return false
	}
	*dst = T(ne.Uint64(p))
	return true
}

// getString copies a string of at most maxLen bytes, with or without the NUL
// that ends it, to dst, which is longer than maxLen.
func getString(p, dst []byte, maxLen int) bool {
	if i := bytes.IndexByte(p, 0); i >= 0 {
		if i != len(p)-1 {
			return false
		}
		p = p[:i]
	}
	if len(p) > maxLen {
		return false
	}
	clear(dst[copy(dst, p):])
	return true
}

func getBytes(p, dst []byte) bool {
	return len(p) == len(dst) && copy(dst, p) == len(dst)
}

func appendU32[T ~uint32](b []byte, id uint16, v T) []byte {
	b = ne.AppendUint16(b, attrHeaderLen+4)
	b = ne.AppendUint16(b, id)
	return ne.AppendUint32(b, uint32(v))
}

func appendU64[T ~uint64](b []byte, id uint16, v T) []byte {
	b = ne.AppendUint16(b, attrHeaderLen+8)
	b = ne.AppendUint16(b, id)
	return ne.AppendUint64(b, uint64(v))
}

// appendString appends the string in s, which ends at the first NUL, and a NUL.
func appendString(b []byte, id uint16, s []byte) []byte {
	s = cstring(s)
	b = ne.AppendUint16(b, uint16(attrHeaderLen+len(s)+1))
	b = ne.AppendUint16(b, id)
	b = append(b, s...)
	return appendPadding(append(b, 0), len(s)+1)
}

func appendBytes(b []byte, id uint16, p []byte) []byte {
	b = ne.AppendUint16(b, uint16(attrHeaderLen+len(p)))
	b = ne.AppendUint16(b, id)
	return appendPadding(append(b, p...), len(p))
}

func appendPadding(b []byte, n int) []byte {
	for ; n&3 != 0; n++ {
		b = append(b, 0)
	}
	return b
}

// cstring returns b up to the first NUL.
func cstring(b []byte) []byte {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i]
	}
	return b
}

// enumString returns the name of v, or "what(v)" if it has none.
func enumString(names []string, start, v uint64, what string) string {
	if i := v - start; v >= start && i < uint64(len(names)) {
		return names[i]
	}
	return what + "(" + strconv.FormatUint(v, 10) + ")"
}

// flagNames returns the names of the bits set in v, unknown bits as one
// hexadecimal number.
func flagNames(names []string, v uint64) []string {
	list := []string{}
	for i, name := range names {
		if v&(1<<i) != 0 {
			list = append(list, name)
			v &^= 1 << i
		}
	}
	if v != 0 {
		list = append(list, "0x"+strconv.FormatUint(v, 16))
	}
	return list
}

func flagString(names []string, v uint64) string {
	if v == 0 {
		return "0"
	}
	return strings.Join(flagNames(names, v), "|")
}

// enumJSON returns the name of v, or its number if it has none.
func enumJSON(names []string, start, v uint64) ([]byte, error) {
	if i := v - start; v >= start && i < uint64(len(names)) {
		return json.Marshal(names[i])
	}
	return json.Marshal(v)
}

func parseEnum(names []string, start uint64, s, what string) (uint64, error) {
	for i, name := range names {
		if s == name {
			return start + uint64(i), nil
		}
	}
	return 0, fmt.Errorf("parse %s: unknown %q, want one of %s",
		what, s, strings.Join(names, ", "))
}

func parseFlags(names []string, s, what string) (uint64, error) {
	var v uint64
	for f := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '|' || r == ',' }) {
		bit, err := parseEnum(names, 0, f, what)
		if err != nil {
			return 0, err
		}
		v |= 1 << bit
	}
	return v, nil
}

// mergeJSON returns one object with the members of all objects given.
func mergeJSON(objects ...any) ([]byte, error) {
	out := []byte{'{'}
	for _, o := range objects {
		if o == nil {
			continue
		}
		b, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		if b = bytes.TrimSpace(b); len(b) <= len("{}") || b[0] != '{' {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, b[1:len(b)-1]...)
	}
	return append(out, '}'), nil
}

// isOverrun tells whether err says that notifications were lost.
func isOverrun(err error) bool {
	return errors.Is(err, syscall.ENOBUFS)
}
