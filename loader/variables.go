// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// SetVariable gives a global variable a value that is written as text: a number, a
// constant of an enumeration, true or false, a text for an array of characters, or
// 0x with the bytes of anything, in memory order.
//
// Returns an error matching [os.ErrNotExist] if there is no such variable.
func (s *Spec) SetVariable(name, text string) error {
	v := s.Collection.Variables[name]
	if v == nil {
		return fmt.Errorf("variable %q: %w", name, os.ErrNotExist)
	}
	var typ btf.Type
	if v.Type != nil {
		typ = btf.UnderlyingType(v.Type.Type)
	}
	value, err := encode(typ, int(v.Size()), text, s.Collection.ByteOrder)
	if err != nil {
		return fmt.Errorf("variable %s: %w", name, err)
	}
	copy(v.Value, value)
	return nil
}

// Variable returns the value of a global variable as [Spec.SetVariable] takes it:
// a bool, an int64 or a uint64, the name of an enum's value, the text of a char
// array, or 0x and the bytes of anything else.
//
// Returns an error matching [os.ErrNotExist] if there is none of that name.
func (s *Spec) Variable(name string) (any, error) {
	v := s.Collection.Variables[name]
	if v == nil {
		return nil, fmt.Errorf("variable %q: %w", name, os.ErrNotExist)
	}
	var typ btf.Type
	if v.Type != nil {
		typ = btf.UnderlyingType(v.Type.Type)
	}
	return decode(typ, v.Value, s.Collection.ByteOrder), nil
}

// decode is the inverse of encode.
func decode(typ btf.Type, b []byte, bo binary.ByteOrder) any {
	switch t := typ.(type) {
	case *btf.Int:
		if v, ok := decodeInt(t.Encoding, b, bo); ok {
			return v
		}
	case *btf.Enum:
		n, ok := getInt(b, bo)
		for _, v := range t.Values {
			if ok && v.Value&(1<<(8*len(b))-1) == n {
				return v.Name
			}
		}
		if ok && t.Signed {
			return signed(n, len(b))
		}
		if ok {
			return n
		}
	case *btf.Array:
		text := unix.ByteSliceToString(b)
		i, ok := btf.UnderlyingType(t.Type).(*btf.Int)
		rest := bytes.Trim(b[len(text):], "\x00")
		if ok && i.Name == "char" && len(rest) == 0 && len(text) < len(b) && strconv.Quote(text) == `"`+text+`"` && !strings.HasPrefix(text, "0x") {
			return text
		}
	}
	return fmt.Sprintf("0x%x", b)
}

func decodeInt(enc btf.IntEncoding, b []byte, bo binary.ByteOrder) (any, bool) {
	n, ok := getInt(b, bo)
	switch {
	case !ok:
		return nil, false
	case enc == btf.Bool && n <= 1:
		return n == 1, true
	case enc == btf.Signed || enc == btf.Char:
		return signed(n, len(b)), true
	}
	return n, enc != btf.Bool
}

// signed is a number of size bytes that can be negative.
func signed(n uint64, size int) int64 {
	shift := 64 - 8*size
	return int64(n<<shift) >> shift
}

func getInt(b []byte, bo binary.ByteOrder) (uint64, bool) {
	switch len(b) {
	case 1:
		return uint64(b[0]), true
	case 2:
		return uint64(bo.Uint16(b)), true
	case 4:
		return uint64(bo.Uint32(b)), true
	case 8:
		return bo.Uint64(b), true
	}
	return 0, false
}

// encode makes the bytes of a value.
func encode(typ btf.Type, size int, text string, bo binary.ByteOrder) ([]byte, error) {
	switch t := typ.(type) {
	case *btf.Int:
		return encodeInt(size, t.Encoding, text, bo)
	case *btf.Enum:
		for _, v := range t.Values {
			if v.Name == text {
				return putInt(size, v.Value, bo)
			}
		}
		enc := btf.Unsigned
		if t.Signed {
			enc = btf.Signed
		}
		return encodeInt(size, enc, text, bo)
	case *btf.Array:
		if i, ok := btf.UnderlyingType(t.Type).(*btf.Int); ok && i.Size == 1 && !strings.HasPrefix(text, "0x") {
			if len(text) >= size {
				return nil, fmt.Errorf("%q has more than %d bytes", text, size-1)
			}
			return append([]byte(text), make([]byte, size-len(text))...), nil
		}
	}
	raw, ok := strings.CutPrefix(text, "0x")
	b, err := hex.DecodeString(raw)
	if !ok || err != nil || len(b) != size {
		return nil, fmt.Errorf("%q is not 0x and %d digits, for %d bytes", text, 2*size, size)
	}
	return b, nil
}

// encodeInt makes the bytes of a number.
func encodeInt(size int, enc btf.IntEncoding, text string, bo binary.ByteOrder) ([]byte, error) {
	bits := 8 * size
	var n uint64
	var err error
	switch {
	case enc == btf.Bool:
		var b bool
		if b, err = strconv.ParseBool(text); b {
			n = 1
		}
	case enc == btf.Signed || enc == btf.Char:
		var i int64
		i, err = strconv.ParseInt(text, 0, min(bits, 64))
		n = uint64(i)
	default:
		n, err = strconv.ParseUint(text, 0, min(bits, 64))
	}
	if errors.Is(err, strconv.ErrRange) {
		return nil, fmt.Errorf("%s does not fit into %d bits", text, bits)
	}
	if err != nil {
		return nil, fmt.Errorf("%q is not a number", text)
	}
	return putInt(size, n, bo)
}

func putInt(size int, n uint64, bo binary.ByteOrder) ([]byte, error) {
	b := make([]byte, size)
	switch size {
	case 1:
		b[0] = byte(n)
	case 2:
		bo.PutUint16(b, uint16(n))
	case 4:
		bo.PutUint32(b, uint32(n))
	case 8:
		bo.PutUint64(b, n)
	default:
		return nil, fmt.Errorf("a number of %d bytes cannot be set", size)
	}
	return b, nil
}
