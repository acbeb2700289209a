// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/family"
)

var (
	tU8     = &btf.Int{Name: "unsigned char", Size: 1}
	tChar   = &btf.Int{Name: "char", Size: 1, Encoding: btf.Signed}
	tU16    = &btf.Int{Name: "unsigned short", Size: 2}
	tU32    = &btf.Int{Name: "unsigned int", Size: 4}
	tS32    = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	tU64    = &btf.Int{Name: "unsigned long long", Size: 8}
	tBool   = &btf.Int{Name: "bool", Size: 1, Encoding: btf.Bool}
	tMode   = &btf.Enum{Name: "xdpctl_mode", Size: 4, Values: []btf.EnumValue{{Name: "XDPCTL_MODE_NATIVE", Value: 1}, {Name: "XDPCTL_MODE_GENERIC", Value: 2}, {Name: "XDPCTL_MODE_OFFLOAD", Value: 4}}}
	tOwner  = &btf.Enum{Name: "xdpctl_owner", Size: 4, Values: []btf.EnumValue{{Name: "XDPCTL_OWNER_MODULE", Value: 1}, {Name: "XDPCTL_OWNER_LINK", Value: 2}, {Name: "XDPCTL_OWNER_NETLINK", Value: 3}}}
	tSigned = &btf.Enum{Name: "level", Size: 4, Signed: true, Values: []btf.EnumValue{{Name: "LOW", Value: ^uint64(0)}}}
)

func arrayOf(t btf.Type, n uint32) *btf.Array {
	return &btf.Array{Index: tU32, Type: t, Nelems: n}
}

func typedef(name string, t btf.Type) *btf.Typedef {
	return &btf.Typedef{Name: name, Type: t}
}

// structOf lays members out one after the other; they must be aligned so.
func structOf(name string, members ...btf.Member) *btf.Struct {
	s := &btf.Struct{Name: name}
	for _, m := range members {
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			panic(err)
		}
		m.Offset = btf.Bits(s.Size * 8)
		s.Members = append(s.Members, m)
		s.Size += uint32(size)
	}
	return s
}

// ne32 and ne64 are integers as they lie in memory.
func ne32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
func ne64(v uint64) []byte { return binary.NativeEndian.AppendUint64(nil, v) }

func cat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func TestDecode(t *testing.T) {
	inner := structOf("inner", btf.Member{Name: "a", Type: tU16}, btf.Member{Name: "b_c", Type: tU16})
	tests := []struct {
		name string
		typ  btf.Type
		data []byte
		want any
	}{
		{"u8", tU8, []byte{7}, uint64(7)},
		{"s32", tS32, ne32(0xfffffffe), int64(-2)},
		{"u64", tU64, ne64(1<<63 + 1), uint64(1<<63 + 1)},
		{"u128", &btf.Int{Name: "u128", Size: 16}, make([]byte, 16), strings.Repeat("0", 32)},
		{"bool", tBool, []byte{1}, true},
		{"float", &btf.Float{Name: "double", Size: 8}, ne64(0x3ff8000000000000), 1.5},
		{"not a number", &btf.Float{Name: "float", Size: 4}, ne32(0x7fc00000), "NaN"},
		{"pointer", &btf.Pointer{Target: tU8}, ne64(0x10), "0x10"},
		{"typedef", typedef("__u32", &btf.Const{Type: tU32}), ne32(5), uint64(5)},
		{"enum", tOwner, ne32(2), "link"},
		{"enum unknown", tOwner, ne32(9), uint64(9)},
		{"enum zero", tMode, ne32(0), uint64(0)},
		{"enum signed", tSigned, ne32(0xffffffff), "LOW"},
		{"enum signed unknown", tSigned, ne32(0xfffffff0), int64(-16)},
		{"flags", tMode, ne32(5), "native,offload"},
		{"flags unknown", tMode, ne32(9), uint64(9)},
		{"char array", arrayOf(tChar, 8), []byte("eth0\x00xyz"), "eth0"},
		{"char array without NUL", arrayOf(tChar, 4), []byte("eth0"), "eth0"},
		{"char array, gcc", arrayOf(&btf.Int{Name: "char", Size: 1}, 4), []byte("a\x00\x00\x00"), "a"},
		{"byte array", arrayOf(typedef("__u8", tU8), 4), []byte{0xde, 0xad, 0, 1}, "dead0001"},
		{"bool array", arrayOf(tBool, 2), []byte{1, 0}, []any{true, false}},
		{"int array", arrayOf(tU16, 2), cat(ne32(0)), []any{uint64(0), uint64(0)}},
		{"empty array", arrayOf(tU32, 0), nil, []any{}},
		{"array of nothing", arrayOf(structOf("nil"), 1<<31), nil, []any{}},
		{"nested", structOf("s", btf.Member{Name: "x_y", Type: inner}, btf.Member{Name: "pad0", Type: arrayOf(tU8, 4)}),
			cat([]byte{1, 1, 2, 2}, ne32(0)), Struct{{"x-y", Struct{{"a", uint64(0x101)}, {"b-c", uint64(0x202)}}}}},
		{"anonymous member", structOf("s", btf.Member{Type: inner}), make([]byte, 4), Struct{{"a", uint64(0)}, {"b-c", uint64(0)}}},
		{"union", &btf.Union{Name: "u", Size: 4, Members: []btf.Member{{Name: "n", Type: tU32}, {Name: "s", Type: arrayOf(tChar, 4)}}},
			[]byte("aaaa"), Struct{{"n", uint64(0x61616161)}, {"s", "aaaa"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decoder{spelling: SpellSpec}
			got, err := d.decode(tt.typ, tt.data, 0)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if _, err := json.Marshal(got); err != nil {
				t.Errorf("JSON: %v", err)
			}
		})
	}
}

func TestDecodeBitfield(t *testing.T) {
	if !littleEndian {
		t.Skip("bits are laid out for a little-endian machine")
	}
	s := &btf.Struct{Name: "s", Size: 4, Members: []btf.Member{
		{Name: "a", Type: tU32, Offset: 0, BitfieldSize: 3},
		{Name: "b", Type: tS32, Offset: 3, BitfieldSize: 2},
		{Name: "c", Type: tMode, Offset: 5, BitfieldSize: 11},
		{Name: "d", Type: tBool, Offset: 16, BitfieldSize: 1},
	}}
	d := decoder{}
	got, err := d.decode(s, []byte{0b010_11_101, 0, 1, 0}, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := Struct{{"a", uint64(5)}, {"b", int64(-1)}, {"c", "XDPCTL_MODE_GENERIC"}, {"d", true}}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDecodeErrors(t *testing.T) {
	deep := btf.Type(tU8)
	for range maxDepth + 2 {
		deep = structOf("s", btf.Member{Name: "m", Type: deep})
	}
	tests := []struct {
		name string
		typ  btf.Type
		data []byte
		want error
	}{
		{"short int", tU32, []byte{1}, errShort},
		{"short array", arrayOf(tU32, 2), ne32(1), errShort},
		{"member past the end", &btf.Struct{Size: 4, Members: []btf.Member{{Name: "m", Type: tU32, Offset: 32}}}, ne32(0), errShort},
		{"member across the end", &btf.Struct{Size: 4, Members: []btf.Member{{Name: "m", Type: tU32, Offset: 8}}}, ne32(0), errShort},
		{"unaligned member", &btf.Struct{Size: 4, Members: []btf.Member{{Name: "m", Type: tU8, Offset: 3}}}, ne32(0), errShort},
		{"bitfield past the end", &btf.Struct{Size: 4, Members: []btf.Member{{Name: "m", Type: tU32, Offset: 31, BitfieldSize: 2}}}, ne32(0), errShort},
		{"too deep", deep, []byte{0}, errTooDeep},
		{"too many", arrayOf(tBool, maxNodes), make([]byte, maxNodes), errTooBig},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decoder{}
			if v, err := d.decode(tt.typ, tt.data, 0); !errors.Is(err, tt.want) {
				t.Errorf("got %v, error %v, want error %v", v, err, tt.want)
			}
		})
	}
	d := decoder{}
	if _, err := d.decode(&btf.FuncProto{Return: tU32}, ne32(0), 0); err == nil {
		t.Error("a function prototype was decoded")
	}
}

// newerStats is struct xdpctl_stats of a later version: "teleported" is not in
// the spec this binary was made from.
func newerStats() *btf.Struct {
	return structOf("xdpctl_stats",
		btf.Member{Name: "present", Type: tU64},
		btf.Member{Name: "packets", Type: tU64},
		btf.Member{Name: "redirect_errors", Type: tU64},
		btf.Member{Name: "teleported", Type: tU64},
	)
}

func TestDumper(t *testing.T) {
	key := structOf("xdpctl_stats_key", btf.Member{Name: "ifindex", Type: typedef("__u32", tU32)})
	d := NewTypeDumper(key, newerStats())
	d.Spelling = SpellSpec
	newer := uint64(1) << (len(family.AttrSetStats.Attrs) + 1)
	const packets, redirectErrors = 1 << 4, 1 << 11
	teleported, other := newer, newer<<1

	tests := []struct {
		name, json, text string
		value            []byte
	}{
		{
			"all", `{"key":{"ifindex":3},"value":{"packets":12,"redirect-errors":0,"teleported":7}}`,
			"ifindex 3:\n    packets 12\n    redirect-errors 0\n    teleported 7\n",
			cat(ne64(packets|redirectErrors|teleported), ne64(12), ne64(0), ne64(7)),
		},
		{
			"new one is 0", `{"key":{"ifindex":3},"value":{"teleported":0}}`,
			"ifindex 3:\n    teleported 0\n",
			cat(ne64(teleported), make([]byte, 24)),
		},
		{
			"bits that are not in the struct", `{"key":{"ifindex":3},"value":{"teleported":7}}`,
			"ifindex 3:\n    teleported 7\n",
			cat(ne64(teleported|other), make([]byte, 16), ne64(7)),
		},
		{
			"absent", `{"key":{"ifindex":3},"value":{"packets":0}}`,
			"ifindex 3:\n    packets 0\n",
			cat(ne64(packets), ne64(0), ne64(1), ne64(0)),
		},
		{
			"nothing", `{"key":{"ifindex":3},"value":{}}`,
			"ifindex 3:\n",
			make([]byte, 32),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j, err := d.AppendJSON(nil, ne32(3), tt.value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.json, string(j)); diff != "" {
				t.Errorf("JSON, -want +got:\n%s", diff)
			}
			text, err := d.AppendText(nil, ne32(3), tt.value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.text, string(text)); diff != "" {
				t.Errorf("text, -want +got:\n%s", diff)
			}
		})
	}
}

// TestDumperPlain prints a map that has nothing to do with control types.
func TestDumperPlain(t *testing.T) {
	d := NewTypeDumper(tU32, arrayOf(tChar, 8))
	text, err := d.AppendText(nil, ne32(1), []byte("a b\n\x00\x00\x00\x00"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "1:\n    \"a b\\n\"\n"; string(text) != want {
		t.Errorf("got %q, want %q", text, want)
	}
	// A present that is no mask of bits is a field as any other.
	s := structOf("s", btf.Member{Name: "present", Type: tU32}, btf.Member{Name: "n", Type: tU32})
	j, err := NewTypeDumper(tU32, s).AppendJSON(nil, ne32(1), make([]byte, 8))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"key":1,"value":{"present":0,"n":0}}`; string(j) != want {
		t.Errorf("got %s, want %s", j, want)
	}
}

// FuzzDecode decodes arbitrary data by arbitrary BTF.
func FuzzDecode(f *testing.F) {
	for _, typ := range []btf.Type{newerStats(), tMode, arrayOf(structOf("s", btf.Member{Name: "c", Type: arrayOf(tChar, 4)}), 2)} {
		b, err := btf.NewBuilder([]btf.Type{typ}, nil)
		if err != nil {
			f.Fatal(err)
		}
		raw, err := b.Marshal(nil, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, make([]byte, 32))
	}
	f.Fuzz(func(t *testing.T, raw, data []byte) {
		spec, err := btf.LoadSpecFromReader(strings.NewReader(string(raw)))
		if err != nil {
			return
		}
		n := 0
		for typ, err := range spec.All() {
			if err != nil || n > 64 {
				return
			}
			n++
			dumpAny(t, typ, data)
		}
	})
}

// FuzzDecodeType decodes arbitrary data by a type that is well-formed BTF but
// need not be what a compiler would write.
func FuzzDecodeType(f *testing.F) {
	f.Add([]byte{8, 3, 0, 1, 2, 3, 4, 5, 6, 7}, make([]byte, 64))
	f.Add([]byte{7, 4, 1, 1, 9, 0}, []byte("abcdefgh"))
	f.Fuzz(func(t *testing.T, shape, data []byte) {
		dumpAny(t, fuzzType(&shape, 0), data)
	})
}

// fuzzType builds a type from bytes.
func fuzzType(shape *[]byte, depth int) btf.Type {
	next := func() uint32 {
		if len(*shape) == 0 {
			return 0
		}
		c := (*shape)[0]
		*shape = (*shape)[1:]
		return uint32(c)
	}
	if depth > 8 {
		return tU8
	}
	switch next() % 10 {
	case 0:
		return &btf.Int{Name: "i", Size: next(), Encoding: btf.IntEncoding(next() % 8)}
	case 1:
		return &btf.Enum{Name: "e", Size: next(), Signed: next()&1 != 0, Values: []btf.EnumValue{{Name: "E_A", Value: uint64(next())}}}
	case 2:
		return &btf.Float{Size: next()}
	case 3:
		return &btf.Pointer{Target: tU8}
	case 4:
		return arrayOf(fuzzType(shape, depth+1), next()*next()*next())
	case 5:
		return tChar
	case 6:
		return &btf.FuncProto{Return: tU8}
	case 7:
		return &btf.Union{Size: next(), Members: fuzzMembers(shape, next()%8, depth)}
	default:
		return &btf.Struct{Name: "xdpctl_stats", Size: next() * 2, Members: fuzzMembers(shape, next()%8, depth)}
	}
}

func fuzzMembers(shape *[]byte, n uint32, depth int) []btf.Member {
	names := []string{"present", "packets", "", "new", "pad0"}
	var members []btf.Member
	for i := range n {
		m := btf.Member{Name: names[int(i)%len(names)], Type: fuzzType(shape, depth+1)}
		if len(*shape) > 1 {
			m.Offset, m.BitfieldSize = btf.Bits((*shape)[0]), btf.Bits((*shape)[1]%70)
			*shape = (*shape)[2:]
		}
		members = append(members, m)
	}
	return members
}

// dumpAny prints data as a key and as a value; what can be decoded must be
// valid JSON.
func dumpAny(t *testing.T, typ btf.Type, data []byte) {
	d := NewTypeDumper(typ, typ)
	j, err := d.AppendJSON(nil, data, data)
	if err == nil && !json.Valid(j) {
		t.Errorf("not JSON: %s", j)
	}
	if _, err2 := d.AppendText(nil, data, data); (err == nil) != (err2 == nil) {
		t.Errorf("JSON says %v, text says %v", err, err2)
	}
}
