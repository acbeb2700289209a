// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
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

// byteOrder is what encode needs of one.
type byteOrder interface {
	PutUint16([]byte, uint16)
	PutUint32([]byte, uint32)
	PutUint64([]byte, uint64)
}

// encode makes the bytes of a value.
func encode(typ btf.Type, size int, text string, bo byteOrder) ([]byte, error) {
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
func encodeInt(size int, enc btf.IntEncoding, text string, bo byteOrder) ([]byte, error) {
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

func putInt(size int, n uint64, bo byteOrder) ([]byte, error) {
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
