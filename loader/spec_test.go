// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

// shape is what matters of a definition.
type shape struct {
	Type                   ebpf.MapType
	Key, Value, Max, Flags uint32
	Pin                    string
	Contents               []string
}

func shapes(s *Spec) map[string]shape {
	out := map[string]shape{}
	for name, m := range s.Collection.Maps {
		if isDataMap(name) {
			continue
		}
		sh := shape{Type: m.Type, Key: m.KeySize, Value: m.ValueSize, Max: m.MaxEntries, Flags: m.Flags, Pin: s.Pins[name].String()}
		for _, kv := range m.Contents {
			sh.Contents = append(sh.Contents, fmt.Sprint(kv.Key, " ", kv.Value))
		}
		out[name] = sh
	}
	return out
}

func mustOpen(t testing.TB, name string) *Spec {
	t.Helper()
	s, err := Open("testdata/" + name + ".bpf.o")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpen(t *testing.T) {
	const array, hash, progs = ebpf.Array, ebpf.Hash, ebpf.ProgramArray
	sizes := map[string]shape{
		"small": {Type: array, Key: 4, Value: 4, Max: 2, Pin: "none"},
		"large": {Type: hash, Key: 8, Value: 8, Max: 7, Pin: "none"},
	}
	tests := map[string]struct {
		route Route
		why   string
		maps  map[string]shape
		progs []string
	}{
		"object": {RouteStandard, "the maps are defined in BTF", map[string]shape{
			"points": {Type: hash, Key: 4, Value: 8, Max: 16, Pin: "by-name"},
			"inner":  {Type: array, Key: 4, Value: 4, Max: 1, Pin: "none"},
			"outer":  {Type: ebpf.ArrayOfMaps, Key: 4, Value: 4, Max: 2, Pin: "none", Contents: []string{"1 inner"}},
		}, []string{"count"}},
		"unlicensed": {RouteStandard, "it defines no maps", map[string]shape{}, []string{"print"}},
		"legacy_graft": {RouteCompat, "section maps has 1 map as struct bpf_elf_map of 36 bytes", map[string]shape{
			"slots": {Type: progs, Key: 4, Value: 4, Max: 2, Pin: "global"},
		}, []string{"entry", "put_first", "put_second"}},
		"legacy_nested": {RouteCompat, "section maps has 3 maps as struct bpf_elf_map of 36 bytes", map[string]shape{
			"inner":    {Type: array, Key: 4, Value: 4, Max: 1, Pin: "global"},
			"by_index": {Type: ebpf.ArrayOfMaps, Key: 4, Value: 4, Max: 2, Pin: "global", Contents: []string{"1 inner"}},
			"by_key":   {Type: ebpf.HashOfMaps, Key: 4, Value: 4, Max: 4, Pin: "none", Contents: []string{"1 inner"}},
		}, []string{"in", "out"}},
		"legacy_shared": {RouteCompat, "section maps has 1 map as struct bpf_elf_map of 36 bytes", map[string]shape{
			"shared": {Type: array, Key: 4, Value: 8, Max: 3, Pin: "object"},
		}, []string{"in", "out", "xdp"}},
		"legacy_tail": {RouteCompat, "section maps has 3 maps as struct bpf_elf_map of 36 bytes", map[string]shape{
			"steps":  {Type: progs, Key: 4, Value: 4, Max: 2, Pin: "object", Contents: []string{"0 step0", "1 step1"}},
			"last":   {Type: progs, Key: 4, Value: 4, Max: 1, Pin: "4", Contents: []string{"0 end"}},
			"visits": {Type: array, Key: 4, Value: 4, Max: 4, Pin: "object"},
		}, []string{"end", "entry", "step0", "step1"}},
		"legacy_size16": {RouteCompat, "section maps has 2 maps as struct bpf_elf_map of 16 bytes", sizes, []string{"entry"}},
		"legacy_size20": {RouteCompat, "section maps has 2 maps as struct bpf_elf_map of 20 bytes", sizes, []string{"entry"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, name)
			if s.Route != tt.route || s.Why != tt.why {
				t.Errorf("route %v, %q, want %v, %q", s.Route, s.Why, tt.route, tt.why)
			}
			if diff := cmp.Diff(tt.maps, shapes(s)); diff != "" {
				t.Errorf("maps (-want +got):\n%s", diff)
			}
			if got := slices.Sorted(maps.Keys(s.Collection.Programs)); !slices.Equal(got, tt.progs) {
				t.Errorf("programs %v, want %v", got, tt.progs)
			}
			want := "GPL"
			if name == "unlicensed" {
				want = ""
			}
			if s.License != want || len(s.UID) != 40 {
				t.Errorf("license %q, uid %q", s.License, s.UID)
			}
		})
	}
	if _, err := Open("testdata/nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v", err)
	}
}

// The sizes between come from an object of the largest, cut.
func TestSizes(t *testing.T) {
	full := mustOpen(t, "legacy_nested")
	for size := elfMapMin; size <= elfMapMax; size += 4 {
		raw := withMapSize(t, "legacy_nested", size)
		s, err := OpenReader(bytes.NewReader(raw))
		if size < 32 {
			// Without inner_id an outer map makes no sense.
			if err == nil || !strings.Contains(err.Error(), "it holds maps, but has no id of an inner map") {
				t.Errorf("%d bytes: got %v", size, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d bytes: %v", size, err)
			continue
		}
		want, got := shapes(full), shapes(s)
		if size < 36 { // no inner_idx: 0
			for _, name := range []string{"by_index", "by_key"} {
				sh := want[name]
				sh.Contents = []string{"0 inner"}
				want[name] = sh
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d bytes (-want +got):\n%s", size, diff)
		}
	}
}

// withMapSize is a test object with each entry of section maps cut or stretched.
func withMapSize(t testing.TB, name string, size int) []byte {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name + ".bpf.o")
	if err != nil {
		t.Fatal(err)
	}
	e, err := newELF(raw)
	if err != nil {
		t.Fatal(err)
	}
	sec, index := e.section("maps")
	n := int(sec.Size) / elfMapMax
	data, err := sec.Data()
	if err != nil {
		t.Fatal(err)
	}
	out := append(slices.Clone(raw), make([]byte, 8-len(raw)%8)...)
	offset := len(out)
	for i := range n {
		entry := append(slices.Clone(data[i*elfMapMax:(i+1)*elfMapMax]), make([]byte, 64)...)
		out = append(out, entry[:size]...)
	}
	bo := e.f.ByteOrder
	header := func(i int) []byte { return out[int(bo.Uint64(out[40:]))+i*64:] }
	bo.PutUint64(header(int(index))[shdrOffset:], uint64(offset))
	bo.PutUint64(header(int(index))[shdrSize:], uint64(n*size))
	for i, s := range e.f.Sections {
		if s.Name != ".symtab" {
			continue
		}
		table := out[bo.Uint64(header(i)[shdrOffset:]):][:s.FileSize]
		for ; len(table) >= sizeofSym; table = table[sizeofSym:] {
			if bo.Uint16(table[symShndx:]) == uint16(index) {
				bo.PutUint64(table[symValue:], bo.Uint64(table[symValue:])/elfMapMax*uint64(size))
				bo.PutUint64(table[symSize:], uint64(size))
			}
		}
	}
	return out
}

func TestDamaged(t *testing.T) {
	good, err := os.ReadFile("testdata/legacy_shared.bpf.o")
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int, b byte) []byte {
		out := slices.Clone(good)
		out[at] = b
		return out
	}
	tests := map[string]struct {
		raw  []byte
		want string
	}{
		"empty":         {nil, "not an ELF file for BPF"},
		"text":          {[]byte("int main(void) { return 0; }\n"), "not an ELF file for BPF"},
		"header alone":  {good[:64], "not an ELF file for BPF"},
		"half":          {good[:len(good)/2], "not an ELF file for BPF"},
		"32 bits":       {changed(4, 1), "not an ELF file for BPF"},
		"other machine": {changed(18, 62), "it is for EM_X86_64"},
		"executable":    {changed(16, 2), "it is of type ET_EXEC, not an object file"},
		"short maps":    {withMapSize(t, "legacy_shared", 12), "a map of 12 bytes is too short, struct bpf_elf_map has at least 16"},
		"long maps":     {withMapSize(t, "legacy_shared", 40), "a map of 40 bytes is too long, struct bpf_elf_map has at most 36"},
		"odd maps":      {withMapSize(t, "legacy_nested", 22), "66 bytes are not 3 maps of one size"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := OpenReader(bytes.NewReader(tt.raw))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// An inner map with the index -1 goes into no outer map.
func TestNoIndex(t *testing.T) {
	raw, err := os.ReadFile("testdata/legacy_nested.bpf.o")
	if err != nil {
		t.Fatal(err)
	}
	e, err := newELF(raw)
	if err != nil {
		t.Fatal(err)
	}
	sec, _ := e.section("maps")
	for _, sym := range e.symbols {
		if sym.Name == "inner" {
			e.f.ByteOrder.PutUint32(raw[sec.Offset+sym.Value+32:], 1<<32-1)
		}
	}
	s, err := OpenReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if got := shapes(s)["by_index"].Contents; got != nil {
		t.Errorf("it holds %v", got)
	}
}

// Programs of the compatibility path have no type of attachment, or they could not
// share program arrays with those that iproute2 loaded.
func TestAttachType(t *testing.T) {
	for name, want := range map[string]ebpf.AttachType{"object": ebpf.AttachXDP, "legacy_size20": ebpf.AttachNone} {
		for _, p := range mustOpen(t, name).Collection.Programs {
			if p.Type != ebpf.XDP || p.AttachType != want {
				t.Errorf("%s: %s is of type %s, attached as %s", name, p.Name, p.Type, p.AttachType)
			}
		}
	}
}

func TestTypes(t *testing.T) {
	m := mustOpen(t, "legacy_shared").Collection.Maps["shared"]
	key, ok := btf.UnderlyingType(m.Key).(*btf.Int)
	if !ok || key.Size != 4 {
		t.Errorf("key is %v", m.Key)
	}
	value, ok := btf.UnderlyingType(m.Value).(*btf.Int)
	if !ok || value.Size != 8 {
		t.Errorf("value is %v", m.Value)
	}
}

func TestTailNames(t *testing.T) {
	for name, want := range map[string]string{
		"1/2": "1 2", "0xabccba/0": "11259066 0", "010/7": "8 7", "-1/0": "4294967295 0", "+3/1": "3 1",
		"xdp/1": "", "1": "", "1/": "", "1/2/3": "", "09/1": "", "99999999999/1": "", "1_0/1": "", "": "",
	} {
		got := ""
		if id, key, ok := parseTail(name); ok {
			got = fmt.Sprint(id, " ", key)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestByID(t *testing.T) {
	s := mustOpen(t, "legacy_tail")
	if name, ok := s.MapByID(0x2a); name != "steps" || !ok {
		t.Errorf("got %q, %v", name, ok)
	}
	for _, id := range []uint32{0, 1} {
		if name, ok := s.MapByID(id); ok {
			t.Errorf("%d: got %q", id, name)
		}
	}
}

func TestChoose(t *testing.T) {
	tests := []struct {
		object, name string
		typ          ebpf.ProgramType
		want, err    string
	}{
		{"object", "", ebpf.XDP, "count", ""},
		{"object", "xdp", ebpf.XDP, "count", ""},
		{"object", "count", ebpf.SchedCLS, "", `program "count" is of type XDP, not SchedCLS`},
		{"object", "", ebpf.SchedCLS, "", "SchedCLS program: file does not exist"},
		{"object", "nothing", ebpf.XDP, "", `program "nothing": file does not exist`},
		{"requires", "", ebpf.XDP, "", "it has 11 XDP programs"},
		{"legacy_tail", "", ebpf.XDP, "entry", ""},
		{"legacy_shared", "", ebpf.XDP, "xdp", ""},
		{"legacy_shared", "", ebpf.SchedCLS, "in", ""},
		{"legacy_shared", "egress", ebpf.SchedCLS, "out", ""},
		{"legacy_graft", "7/1", ebpf.SchedCLS, "put_second", ""},
		{"legacy_graft", "classifier", ebpf.XDP, "entry", ""},
		{"legacy_graft", "", ebpf.XDP, "", "XDP program: file does not exist"},
	}
	for _, tt := range tests {
		got, err := mustOpen(t, tt.object).Choose(tt.name, tt.typ)
		if text := fmt.Sprint(err); got != tt.want || (err != nil && text != tt.err) || (err == nil && tt.err != "") {
			t.Errorf("%s %q %v: got %q, %v, want %q, %s", tt.object, tt.name, tt.typ, got, err, tt.want, tt.err)
		}
	}
}

func TestSetVariable(t *testing.T) {
	tests := []struct {
		name, text string
		want       []byte
		err        string
	}{
		{"verdict", "1", []byte{1, 0, 0, 0}, ""},
		{"verdict", "0x10", []byte{16, 0, 0, 0}, ""},
		{"verdict", "-1", nil, `variable verdict: "-1" is not a number`},
		{"verdict", "4294967296", nil, "variable verdict: 4294967296 does not fit into 32 bits"},
		{"mode", "MODE_ON", []byte{7, 0, 0, 0}, ""},
		{"mode", "3", []byte{3, 0, 0, 0}, ""},
		{"mode", "MODE_NONE", nil, `variable mode: "MODE_NONE" is not a number`},
		{"level", "-2", []byte{0xfe, 0xff}, ""},
		{"loud", "true", []byte{1}, ""},
		{"loud", "x", nil, `variable loud: "x" is not a number`},
		{"label", "abc", []byte{'a', 'b', 'c', 0, 0, 0, 0, 0}, ""},
		{"label", "12345678", nil, `variable label: "12345678" has more than 7 bytes`},
		{"origin", "0x0100000002000000", []byte{1, 0, 0, 0, 2, 0, 0, 0}, ""},
		{"origin", "0x01", nil, `variable origin: "0x01" is not 0x and 16 digits, for 8 bytes`},
		{"nothing", "1", nil, `variable "nothing": file does not exist`},
	}
	for _, tt := range tests {
		s := mustOpen(t, "object")
		err := s.SetVariable(tt.name, tt.text)
		if err != nil || tt.err != "" {
			if fmt.Sprint(err) != tt.err {
				t.Errorf("%s %s: got %v, want %s", tt.name, tt.text, err, tt.err)
			}
			continue
		}
		if diff := cmp.Diff(tt.want, s.Collection.Variables[tt.name].Value); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", tt.name, tt.text, diff)
		}
	}
}

// TestVariable reads what was set, and sets what was read.
func TestVariable(t *testing.T) {
	for _, tt := range []struct {
		name, set string
		want      any
	}{
		{"verdict", "", uint64(2)},
		{"verdict", "4294967295", uint64(1<<32 - 1)},
		{"mode", "", "MODE_OFF"},
		{"mode", "7", "MODE_ON"},
		{"mode", "3", uint64(3)},
		{"level", "", int64(-1)},
		{"level", "-32768", int64(-32768)},
		{"loud", "", false},
		{"loud", "true", true},
		{"label", "", "none"},
		{"label", "0x0078000000000000", "0x0078000000000000"},
		{"label", "0x3078000000000000", "0x3078000000000000"},
		{"label", "0x0000000000000000", ""},
		{"label", "0x4142434445464748", "0x4142434445464748"},
		{"origin", "0x0100000002000000", "0x0100000002000000"},
	} {
		s := mustOpen(t, "object")
		if tt.set != "" {
			if err := s.SetVariable(tt.name, tt.set); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Variable(tt.name)
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s %s: error %v, -want +got:\n%s", tt.name, tt.set, err, diff)
		}
		before := bytes.Clone(s.Collection.Variables[tt.name].Value)
		if err := s.SetVariable(tt.name, fmt.Sprint(got)); err != nil || !bytes.Equal(before, s.Collection.Variables[tt.name].Value) {
			t.Errorf("%s %v set again: %x, before %x, error %v", tt.name, got, s.Collection.Variables[tt.name].Value, before, err)
		}
	}
	if _, err := mustOpen(t, "object").Variable("nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// FuzzOpen reads what is no object, or a damaged one.
func FuzzOpen(f *testing.F) {
	for _, name := range []string{"legacy_nested", "legacy_tail", "legacy_size16", "object"} {
		raw, err := os.ReadFile("testdata/" + name + ".bpf.o")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := OpenReader(bytes.NewReader(raw))
		if err != nil {
			return
		}
		b, err := OpenReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatalf("the second time: %v", err)
		}
		if diff := cmp.Diff(shapes(a), shapes(b)); diff != "" {
			t.Errorf("first and second time differ:\n%s", diff)
		}
	})
}
