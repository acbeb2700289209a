// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/cilium/ebpf/btf"
)

const (
	maxDepth = 32      // nesting of types; deeper BTF is broken
	maxNodes = 1 << 16 // values decoded from one key or value
)

var (
	errTooDeep = errors.New("type is nested too deeply")
	errTooBig  = errors.New("type has too many members")
	errShort   = errors.New("type is larger than the data")
)

// padName matches the members that only fill a gap.
var padName = regexp.MustCompile(`^_*pad[0-9]*$`)

// decoder turns bytes into values by their BTF type.
type decoder struct {
	spelling Spelling
	present  func(member string, zero bool) bool
	nodes    int
}

// decode decodes b as a t. The outermost struct alone honours present.
func (d *decoder) decode(t btf.Type, b []byte, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	if d.nodes++; d.nodes > maxNodes {
		return nil, errTooBig
	}
	size, err := sizeof(t)
	if err != nil {
		return nil, err
	}
	if size > len(b) {
		return nil, errShort
	}
	b = b[:size]

	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Int:
		return decodeInt(t, b), nil
	case *btf.Enum:
		return d.decodeEnum(t, b), nil
	case *btf.Float:
		return decodeFloat(b), nil
	case *btf.Pointer:
		return fmt.Sprintf("%#x", getUint(b)), nil
	case *btf.Array:
		return d.decodeArray(t, b, depth)
	case *btf.Struct:
		return d.decodeMembers(t.Members, b, depth)
	case *btf.Union:
		return d.decodeMembers(t.Members, b, depth)
	default:
		return nil, fmt.Errorf("values of type %v cannot be printed", t)
	}
}

// sizeof is btf.Sizeof without its trust in the sizes of arrays.
func sizeof(t btf.Type) (int, error) {
	size, err := btf.Sizeof(t)
	if err != nil {
		return 0, err
	}
	if size < 0 {
		return 0, errTooBig
	}
	return size, nil
}

func (d *decoder) decodeMembers(members []btf.Member, b []byte, depth int) (any, error) {
	s := make(Struct, 0, min(len(members), maxNodes))
	for _, m := range members {
		if padName.MatchString(m.Name) {
			continue
		}
		if depth == 0 && d.present != nil {
			if m.Name == presentName {
				continue
			}
			if !d.present(m.Name, isZero(memberBytes(m, b))) {
				continue
			}
		}
		v, err := d.decodeMember(m, b, depth)
		if err != nil {
			return nil, fmt.Errorf("member %q: %w", m.Name, err)
		}
		if sub, ok := v.(Struct); ok && m.Name == "" {
			s = append(s, sub...)
			continue
		}
		s = append(s, Field{d.spelling.member(m.Name), v})
	}
	return s, nil
}

func (d *decoder) decodeMember(m btf.Member, b []byte, depth int) (any, error) {
	if m.BitfieldSize > 0 {
		if d.nodes++; d.nodes > maxNodes {
			return nil, errTooBig
		}
		return d.decodeBitfield(m, b)
	}
	off := uint64(m.Offset) / 8
	if m.Offset%8 != 0 || off > uint64(len(b)) {
		return nil, errShort
	}
	return d.decode(m.Type, b[off:], depth+1)
}

// decodeBitfield reads a bitfield. Bits are counted from the least
// significant one on little-endian machines, from the most significant one on
// big-endian machines.
func (d *decoder) decodeBitfield(m btf.Member, b []byte) (any, error) {
	n, off := uint64(m.BitfieldSize), uint64(m.Offset)
	if n > 64 || off+n > uint64(len(b))*8 {
		return nil, errShort
	}
	var raw uint64
	for i := range n {
		bit := off + i
		if littleEndian {
			raw |= uint64(b[bit/8]>>(bit%8)&1) << i
		} else {
			raw = raw<<1 | uint64(b[bit/8]>>(7-bit%8)&1)
		}
	}
	signed := func() int64 { return int64(raw<<(64-n)) >> (64 - n) }
	switch t := btf.UnderlyingType(m.Type).(type) {
	case *btf.Int:
		switch t.Encoding {
		case btf.Signed:
			return signed(), nil
		case btf.Bool:
			return raw != 0, nil
		}
		return raw, nil
	case *btf.Enum:
		if t.Signed {
			return d.enumName(t, uint64(signed())), nil
		}
		return d.enumName(t, raw), nil
	default:
		return nil, fmt.Errorf("bitfield of type %v", t)
	}
}

// decodeArray makes a string of char arrays, hex digits of byte arrays, and a
// list of all others.
func (d *decoder) decodeArray(t *btf.Array, b []byte, depth int) (any, error) {
	if e, ok := btf.UnderlyingType(t.Type).(*btf.Int); ok && e.Size == 1 && e.Encoding != btf.Bool {
		if isChar(t.Type) {
			s, _, _ := strings.Cut(string(b), "\x00")
			return s, nil
		}
		return hex.EncodeToString(b), nil
	}
	size, err := sizeof(t.Type)
	if err != nil {
		return nil, err
	}
	list := []any{}
	if size == 0 {
		return list, nil
	}
	for ; len(b) >= size; b = b[size:] {
		v, err := d.decode(t.Type, b, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// isChar tells char from the other integers of one byte: compilers do not
// agree on its encoding, but all name it so.
func isChar(t btf.Type) bool {
	i, ok := btf.QualifiedType(t).(*btf.Int)
	return ok && (i.Encoding == btf.Char || i.Name == "char")
}

func (d *decoder) decodeEnum(t *btf.Enum, b []byte) any {
	raw := getUint(b)
	if shift := 64 - 8*uint(len(b)); t.Signed && len(b) <= 8 {
		raw = uint64(int64(raw<<shift) >> shift)
	}
	return d.enumName(t, raw)
}

// enumName is the name of an enumerator, the names of all bits that are set
// if the enum is one of flags, or else a number.
func (d *decoder) enumName(t *btf.Enum, raw uint64) any {
	for _, v := range t.Values {
		if v.Value == raw {
			return d.spelling.enumerator(t.Name, v.Name)
		}
	}
	if names, ok := d.flagNames(t, raw); ok {
		return names
	}
	if t.Signed {
		return int64(raw)
	}
	return raw
}

// flagNames splits raw into flags. It fails if an enumerator is no single
// bit, or if a bit of raw has no name.
func (d *decoder) flagNames(t *btf.Enum, raw uint64) (string, bool) {
	var names []string
	rest := raw
	for _, v := range t.Values {
		if v.Value == 0 {
			continue
		}
		if v.Value&(v.Value-1) != 0 {
			return "", false
		}
		if rest&v.Value != 0 {
			names = append(names, d.spelling.enumerator(t.Name, v.Name))
			rest &^= v.Value
		}
	}
	if rest != 0 || len(names) == 0 {
		return "", false
	}
	return strings.Join(names, ","), true
}

func decodeInt(t *btf.Int, b []byte) any {
	if len(b) > 8 || len(b) == 0 {
		return hex.EncodeToString(b)
	}
	raw := getUint(b)
	switch {
	case t.Encoding == btf.Bool:
		return raw != 0
	case t.Encoding == btf.Signed:
		shift := 64 - 8*uint(len(b))
		return int64(raw<<shift) >> shift
	}
	return raw
}

func decodeFloat(b []byte) any {
	var f float64
	switch len(b) {
	case 4:
		f = float64(math.Float32frombits(uint32(getUint(b))))
	case 8:
		f = math.Float64frombits(getUint(b))
	default:
		return hex.EncodeToString(b)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		// JSON has no number for these.
		return fmt.Sprint(f)
	}
	return f
}

// littleEndian tells the byte order of this machine.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// getUint reads an integer of up to 8 bytes in the machine's byte order.
func getUint(b []byte) uint64 {
	var v uint64
	for i := range b {
		if littleEndian {
			v |= uint64(b[i]) << (8 * uint(i))
		} else {
			v = v<<8 | uint64(b[i])
		}
	}
	return v
}

// memberBytes is what a member covers, or nothing where it is out of bounds.
func memberBytes(m btf.Member, b []byte) []byte {
	size, err := sizeof(m.Type)
	off := uint64(m.Offset) / 8
	if err != nil || off > uint64(len(b)) || uint64(size) > uint64(len(b))-off {
		return nil
	}
	return b[off : off+uint64(size)]
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
