// SPDX-License-Identifier: BSD-3-Clause

package specgen

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// BTF describes the keys and values of all control types.
type BTF struct {
	// Raw is in little-endian order.
	Raw []byte

	// IDs are the type ids of key and value, by control type; Structs are
	// those of the other structs.
	// Those of older values are in Old, in the order of OldSizes.
	IDs     map[*ControlType]BTFIDs
	Old     map[*ControlType][]btf.TypeID
	Structs map[*PlainStruct]btf.TypeID
}

// BTFIDs are the type ids of a key and a value.
type BTFIDs struct {
	Key, Value btf.TypeID
}

// btfBuilder makes types, each once.
type btfBuilder struct {
	u8, u16, u32, u64, char *btf.Int
	enums                   map[*Enum]*btf.Enum
}

// NewBTF describes the keys and values of f. It has plain types only: integers,
// enums, arrays and structs. Padding is left out, so that tools do not print it.
func NewBTF(f *Family) (*BTF, error) {
	tb := btfBuilder{
		u8:    &btf.Int{Name: "unsigned char", Size: 1, Encoding: btf.Unsigned},
		u16:   &btf.Int{Name: "unsigned short", Size: 2, Encoding: btf.Unsigned},
		u32:   &btf.Int{Name: "unsigned int", Size: 4, Encoding: btf.Unsigned},
		u64:   &btf.Int{Name: "unsigned long long", Size: 8, Encoding: btf.Unsigned},
		char:  &btf.Int{Name: "char", Size: 1, Encoding: btf.Char},
		enums: map[*Enum]*btf.Enum{},
	}
	b, err := btf.NewBuilder(nil, nil)
	if err != nil {
		return nil, fmt.Errorf("make BTF: %w", err)
	}
	ids := map[*ControlType]BTFIDs{}
	old := map[*ControlType][]btf.TypeID{}
	for _, t := range f.Types {
		name := f.Name + "_" + cName(t.Base)
		key, err := b.Add(tb.structType(f, name+"_key", t.Key))
		if err != nil {
			return nil, fmt.Errorf("make BTF of %s: %w", t.Name, err)
		}
		value, err := b.Add(tb.structType(f, name, t.Value))
		if err != nil {
			return nil, fmt.Errorf("make BTF of %s: %w", t.Name, err)
		}
		ids[t] = BTFIDs{key, value}
		for _, size := range t.OldSizes {
			id, err := b.Add(tb.structType(f, name, t.Value.Cut(size)))
			if err != nil {
				return nil, fmt.Errorf("make BTF of older %s: %w", t.Name, err)
			}
			old[t] = append(old[t], id)
		}
	}
	structs := map[*PlainStruct]btf.TypeID{}
	for _, s := range f.Structs {
		id, err := b.Add(tb.structType(f, f.Name+"_"+cName(s.Name), s.Struct))
		if err != nil {
			return nil, fmt.Errorf("make BTF of %s: %w", s.Name, err)
		}
		structs[s] = id
	}
	raw, err := b.Marshal(nil, &btf.MarshalOptions{Order: binary.LittleEndian})
	if err != nil {
		return nil, fmt.Errorf("make BTF: %w", err)
	}
	return &BTF{raw, ids, old, structs}, nil
}

func (tb *btfBuilder) structType(f *Family, name string, s Struct) *btf.Struct {
	st := &btf.Struct{Name: name, Size: uint32(s.Size)}
	for _, m := range s.Members {
		if m.Pad {
			continue
		}
		st.Members = append(st.Members, btf.Member{
			Name:   m.Name,
			Type:   tb.memberType(f, m),
			Offset: btf.Bits(m.Offset * 8),
		})
	}
	return st
}

// memberType returns the type of a member. An enum of 64 bits is a number, since
// older tools do not know it.
func (tb *btfBuilder) memberType(f *Family, m Member) btf.Type {
	switch {
	case m.Count > 0 && m.Attr.Kind == KindString:
		return &btf.Array{Index: tb.u32, Type: tb.char, Nelems: uint32(m.Count)}
	case m.Count > 0:
		return &btf.Array{Index: tb.u32, Type: tb.u8, Nelems: uint32(m.Count)}
	case m.Elem == 8:
		return tb.u64
	case m.Elem == 2:
		return tb.u16
	case m.Attr.Enum != nil:
		return tb.enumType(f, m.Attr.Enum)
	default:
		return tb.u32
	}
}

func (tb *btfBuilder) enumType(f *Family, e *Enum) *btf.Enum {
	if t, ok := tb.enums[e]; ok {
		return t
	}
	t := &btf.Enum{Name: f.Name + "_" + cName(e.Name), Size: 4}
	for _, ent := range e.Entries {
		t.Values = append(t.Values, btf.EnumValue{
			Name:  macroName(f.Name, e.Name, ent.Name),
			Value: ent.Value,
		})
	}
	tb.enums[e] = t
	return t
}

// btfHeaderLen is the length of struct btf_header.
const btfHeaderLen = 24

// Words returns header and types, which consist of 32-bit words but for the
// first, in which the magic number of 16 bits is followed by two bytes.
func (b *BTF) Words() ([]uint32, error) {
	le := binary.LittleEndian
	typeOff, typeLen, strOff := le.Uint32(b.Raw[8:]), le.Uint32(b.Raw[12:]), le.Uint32(b.Raw[16:])
	if le.Uint32(b.Raw[4:]) != btfHeaderLen || typeOff != 0 || strOff != typeLen || typeLen%4 != 0 {
		return nil, fmt.Errorf("make BTF: unexpected header % x", b.Raw[:btfHeaderLen])
	}
	var words []uint32
	for off := uint32(0); off < btfHeaderLen+typeLen; off += 4 {
		words = append(words, le.Uint32(b.Raw[off:]))
	}
	return words, nil
}

// Strings returns the string section.
func (b *BTF) Strings() []byte {
	off := btfHeaderLen + binary.LittleEndian.Uint32(b.Raw[16:])
	return b.Raw[off:]
}
