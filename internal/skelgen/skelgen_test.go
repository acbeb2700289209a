// SPDX-License-Identifier: BSD-3-Clause

package skelgen

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

func TestDeterministic(t *testing.T) {
	object, err := os.ReadFile("../skeltest/vars.bpf.o")
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{Package: "p", File: "vars.bpf.o"}
	first, err := Generate(object, opts)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := Generate(object, opts)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, again) {
			t.Fatalf("two skeletons of one object differ: %s", cmp.Diff(string(first), string(again)))
		}
	}
	for _, want := range []string{Hash(), "SHA-256 "} {
		if !strings.Contains(string(first), want) {
			t.Errorf("there is no %s", want)
		}
	}
}

// TestDamaged generates from objects with bytes changed or cut off: no input
// makes the generator fail but with an error.
func TestDamaged(t *testing.T) {
	for _, name := range []string{"../skeltest/kconfig.bpf.o", "../skeltest/opsupdate.bpf.o"} {
		object, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		opts := Options{Package: "p", File: "damaged.o"}
		for n := 0; n < len(object); n += 97 {
			Generate(object[:n], opts)
			damaged := bytes.Clone(object)
			damaged[n] ^= 0xff
			Generate(damaged, opts)
		}
	}
}

func TestCamel(t *testing.T) {
	for in, want := range map[string]string{
		"packets": "Packets", "tx_bytes": "TxBytes", "MODE_IDLE": "ModeIdle", "_pad": "Pad", "__": "X",
		"1st": "X1st", "aB_cD": "ABCD", ".data.custom": "DataCustom", "struct_ops.link": "StructOpsLink", "a": "A", "A_b": "AB",
	} {
		if got := camel(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	p := pool{}
	for _, want := range []string{"Get", "Get_2", "Get_3"} {
		if got := p.take("Get", "Set"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := p.take("SetGet"); got == "SetGet" {
		t.Error("a setter's name was given away")
	}
}

func TestObjectName(t *testing.T) {
	for in, want := range map[string]string{
		"a/b/xdp_pass.bpf.o": "XdpPass", "counter_bpfel.o": "Counter", "trace_kern.o": "Trace", "x.o": "X",
	} {
		if got := ObjectName(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestLayouts renders types whose fields Go would lay out otherwise.
func TestLayouts(t *testing.T) {
	u8 := &btf.Int{Name: "u8", Size: 1}
	u32 := &btf.Int{Name: "u32", Size: 4}
	u64 := &btf.Int{Name: "u64", Size: 8}
	for _, tt := range []struct {
		name  string
		t     *btf.Struct
		align uint32
		want  []string
	}{
		{"padding", &btf.Struct{Name: "s", Size: 16, Members: []btf.Member{{Name: "a", Type: u8}, {Name: "b", Type: u64, Offset: 64}}},
			8, []string{"A uint8", "pad0 [7]byte", "B uint64"}},
		{"packed", &btf.Struct{Name: "s", Size: 9, Members: []btf.Member{{Name: "a", Type: u64}, {Name: "b", Type: u8, Offset: 64}}},
			1, []string{"a [8]byte", "B uint8"}},
		{"packed to four", &btf.Struct{Name: "s", Size: 12, Members: []btf.Member{{Name: "a", Type: u64}, {Name: "b", Type: u32, Offset: 64}}},
			4, []string{"a [8]byte", "B uint32"}},
		{"names that meet", &btf.Struct{Name: "s", Size: 12, Members: []btf.Member{
			{Name: "a_b", Type: u32}, {Name: "aB", Type: u32, Offset: 32}, {Name: "a_B", Type: u32, Offset: 64}}},
			4, []string{"AB uint32", "AB_2 uint32", "AB_3 uint32"}},
		{"flexible array", &btf.Struct{Name: "s", Size: 4, Members: []btf.Member{
			{Name: "n", Type: u32}, {Name: "rest", Type: &btf.Array{Index: u32, Type: u64}, Offset: 32}}},
			4, []string{"N uint32"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ts := &types{names: pool{}, known: make(map[typeKey]goType)}
			gt, err := ts.plain(tt.t, "")
			if err != nil {
				t.Fatal(err)
			}
			var fields []string
			_, rest, _ := strings.Cut(ts.decls[0], "_ structs.HostLayout\n")
			body, _, _ := strings.Cut(rest, "\n}")
			for _, line := range strings.Split(body, "\n") {
				fields = append(fields, strings.TrimSpace(line))
			}
			if diff := cmp.Diff(tt.want, fields); diff != "" || gt.align != tt.align {
				t.Errorf("alignment %d, want %d; fields, -want +got:\n%s", gt.align, tt.align, diff)
			}
		})
	}
	ts := &types{names: pool{}, known: make(map[typeKey]goType)}
	if _, err := ts.plain(&btf.Fwd{Name: "nothing"}, ""); !errors.Is(err, errOpaque) {
		t.Errorf("a type without a size: %v", err)
	}
}
