// SPDX-License-Identifier: BSD-3-Clause

package rxmeta

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

var (
	u8  = &btf.Int{Name: "unsigned char", Size: 1}
	u16 = &btf.Typedef{Name: "__u16", Type: &btf.Int{Name: "unsigned short", Size: 2}}
	u32 = &btf.Int{Name: "unsigned int", Size: 4}
	u64 = &btf.Int{Name: "unsigned long long", Size: 8}
	s32 = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
)

func member(name string, t btf.Type, offset uint32) btf.Member {
	return btf.Member{Name: name, Type: t, Offset: btf.Bits(offset * 8)}
}

// layout is another order than that of xdpctl.h, so that a compiled-in one would
// read something else.
var layout = &btf.Struct{Name: "md", Size: 24, Members: []btf.Member{
	member("valid", u32, 0),
	member("vlan_tci", u16, 4),
	member("vlan_proto", &btf.Const{Type: u16}, 6),
	member("rx_hash_type", &btf.Enum{Name: "rss", Size: 4}, 8),
	member("rx_hash", u32, 12),
	member("rx_timestamp", u64, 16),
}}

func bytes(valid uint32) []byte {
	n := binary.NativeEndian
	b := n.AppendUint32(nil, valid)
	b = n.AppendUint16(b, 0x2005)
	b = n.AppendUint16(b, 0x8100)
	b = n.AppendUint32(b, 8)
	b = n.AppendUint32(b, 0xcafe0001)
	return n.AppendUint64(b, 0x1122334455667788)
}

// got is all that the methods say.
type got struct {
	Fields           map[string]uint64
	Timestamp        uint64
	Hash, HashType   uint32
	Proto, TCI       uint16
	HasT, HasH, HasV bool
}

func all(m Metadata) got {
	g := got{Fields: map[string]uint64{}}
	for f := range m.Fields() {
		g.Fields[f.Name] = f.Value
	}
	g.Timestamp, g.HasT = m.Timestamp()
	g.Hash, g.HashType, g.HasH = m.Hash()
	g.Proto, g.TCI, g.HasV = m.VLAN()
	return g
}

func TestDecode(t *testing.T) {
	fields := map[string]uint64{
		"vlan_tci": 0x2005, "vlan_proto": 0x8100, "rx_hash_type": 8,
		"rx_hash": 0xcafe0001, "rx_timestamp": 0x1122334455667788,
	}
	with := func(valid uint64) map[string]uint64 {
		m := maps.Clone(fields)
		m["valid"] = valid
		return m
	}
	for _, tt := range []struct {
		name  string
		valid uint32
		want  got
	}{
		{"all", 7, got{
			Fields: with(7), Timestamp: 0x1122334455667788, HasT: true,
			Hash: 0xcafe0001, HashType: 8, HasH: true, Proto: 0x8100, TCI: 0x2005, HasV: true,
		}},
		{"nothing", 0, got{Fields: with(0)}},
		{"timestamp", 1, got{Fields: with(1), Timestamp: 0x1122334455667788, HasT: true}},
		{"hash", 2, got{Fields: with(2), Hash: 0xcafe0001, HashType: 8, HasH: true}},
		{"vlan", 4, got{Fields: with(4), Proto: 0x8100, TCI: 0x2005, HasV: true}},
		{"a bit of the future", 8, got{Fields: with(8)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := NewDecoder(&btf.Typedef{Name: "md_t", Type: layout})
			if err != nil {
				t.Fatal(err)
			}
			// Headroom in front, which is not the metadata.
			m, err := d.Decode(append(make([]byte, 100), bytes(tt.valid)...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, all(m)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for name, want := range tt.want.Fields {
				if v, ok := m.Value(name); v != want || !ok {
					t.Errorf("Value(%q) = %#x, %v", name, v, ok)
				}
			}
			if v, ok := m.Value("elephant"); ok {
				t.Errorf("there is an elephant: %d", v)
			}
		})
	}
}

// TestGrown reads a layout that has more, less and other things.
func TestGrown(t *testing.T) {
	d, err := NewDecoder(&btf.Struct{Size: 32, Members: []btf.Member{
		member("valid", u8, 0),
		member("mark", u8, 1),
		member("delta", s32, 4),
		member("queue", &btf.Array{Type: u8, Nelems: 4}, 8),
		member("", &btf.Struct{Size: 4, Members: []btf.Member{member("inner", u32, 0)}}, 12),
		{Name: "bits", Type: u32, Offset: 128, BitfieldSize: 3},
		{Name: "odd", Type: u8, Offset: 131},
		member("wide", &btf.Int{Size: 16}, 16),
		member("rx_hash", u64, 24),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"valid", "mark", "rx_hash"}, d.Names()); diff != "" {
		t.Errorf("names, -want +got:\n%s", diff)
	}
	b := make([]byte, 32)
	b[0], b[1] = 7, 9
	binary.NativeEndian.PutUint64(b[24:], 0x1_0000_0002)
	m, err := d.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	want := got{
		Fields: map[string]uint64{"valid": 7, "mark": 9, "rx_hash": 0x1_0000_0002},
		Hash:   2, HasH: true,
	}
	if diff := cmp.Diff(want, all(m)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNewDecoderRefused(t *testing.T) {
	cycle := &btf.Typedef{Name: "cycle"}
	cycle.Type = cycle
	for _, tt := range []struct {
		name string
		typ  btf.Type
		want string
	}{
		{"nil", nil, "no layout of metadata: no type"},
		{"int", u32, `no layout of metadata: "unsigned int" is no struct`},
		{"union", &btf.Union{Name: "u", Size: 8}, `no layout of metadata: "u" is no struct`},
		{"cycle", cycle, `no layout of metadata: "cycle" is no struct`},
		{"empty", &btf.Struct{Name: "e"}, `no layout of metadata: "e" has 0 bytes`},
		{"huge", &btf.Struct{Name: "h", Size: 1 << 31}, `no layout of metadata: "h" has 2147483648 bytes`},
		{"beyond the end", &btf.Struct{Size: 8, Members: []btf.Member{member("a", u64, 1)}}, "no layout of metadata: a ends at byte 9 of 8"},
		{"far beyond the end", &btf.Struct{Size: 8, Members: []btf.Member{member("a", u64, 1<<29-1)}}, "no layout of metadata: a ends at byte 536870919 of 8"},
		{"twice", &btf.Struct{Size: 8, Members: []btf.Member{member("a", u8, 0), member("a", u8, 1)}}, "no layout of metadata: a is there twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := NewDecoder(tt.typ)
			if d != nil || !errors.Is(err, ErrLayout) || err.Error() != tt.want {
				t.Errorf("got %v, %v\nwant %s", d, err, tt.want)
			}
		})
	}
}

func TestShort(t *testing.T) {
	d, err := NewDecoder(layout)
	if err != nil {
		t.Fatal(err)
	}
	for n := range d.Size() {
		m, err := d.Decode(make([]byte, n))
		if !errors.Is(err, ErrShort) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if diff := cmp.Diff(got{Fields: map[string]uint64{}}, all(m)); diff != "" {
			t.Errorf("%d bytes, -want +got:\n%s", n, diff)
		}
	}
}

func TestZero(t *testing.T) {
	var m Metadata
	if diff := cmp.Diff(got{Fields: map[string]uint64{}}, all(m)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if v, ok := m.Value("valid"); ok {
		t.Errorf("got %d", v)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	d, err := NewDecoder(layout)
	if err != nil {
		t.Fatal(err)
	}
	b := bytes(7)
	n := testing.AllocsPerRun(100, func() {
		m, err := d.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, ok := m.Hash(); !ok {
			t.Fatal("no hash")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzNewDecoder takes layouts of any offsets, sizes and kinds: what is taken can
// be decoded.
func FuzzNewDecoder(f *testing.F) {
	f.Add(uint32(24), []byte{0, 0, 1, 1, 2, 2, 3, 4})
	f.Add(uint32(1), []byte{3, 0})
	kinds := []btf.Type{u8, u16, u32, u64, s32, layout, &btf.Void{}, &btf.Pointer{Target: u8}}
	f.Fuzz(func(t *testing.T, size uint32, members []byte) {
		s := &btf.Struct{Name: "fuzz", Size: size}
		for i, pair := range slices.Collect(slices.Chunk(members, 2)) {
			if len(pair) == 2 {
				s.Members = append(s.Members, member(string(rune('a'+i%30)), kinds[int(pair[0])%len(kinds)], uint32(pair[1])))
			}
		}
		d, err := NewDecoder(s)
		if err != nil {
			if !errors.Is(err, ErrLayout) {
				t.Error(err)
			}
			return
		}
		m, err := d.Decode(make([]byte, d.Size()))
		if err != nil {
			t.Fatal(err)
		}
		all(m)
	})
}
