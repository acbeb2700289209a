// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"bytes"
	"compress/gzip"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

func TestParseConfig(t *testing.T) {
	const text = "# comment\n# CONFIG_OFF is not set\nCONFIG_A=y\nCONFIG_TEXT=\"a=b\"\nOTHER=1\n"
	want := map[string]string{"CONFIG_A": "y", "CONFIG_TEXT": `"a=b"`}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte(text))
	z.Close()
	for name, b := range map[string][]byte{"plain": []byte(text), "gzip": packed.Bytes()} {
		got, err := parseConfig(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, -want +got:\n%s", name, diff)
		}
	}
	if _, err := parseConfig([]byte{0x1f, 0x8b, 0}); err == nil {
		t.Error("half a file was read")
	}
}

func TestPutConfig(t *testing.T) {
	boolean := &btf.Int{Name: "_Bool", Size: 1, Encoding: btf.Bool}
	char := &btf.Int{Name: "char", Size: 1, Encoding: btf.Signed}
	u8 := &btf.Int{Name: "unsigned char", Size: 1}
	i32 := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	u64 := &btf.Int{Name: "unsigned long", Size: 8}
	tristate := &btf.Enum{Name: "libbpf_tristate", Size: 4}
	text := &btf.Array{Type: char, Nelems: 4}
	for _, tt := range []struct {
		t    btf.Type
		text string
		want []byte // nil: refused
	}{
		{boolean, "y", []byte{1}}, {boolean, "n", []byte{0}}, {boolean, "m", nil}, {boolean, "2", nil}, {boolean, "1", []byte{1}},
		{char, "m", []byte{'m'}}, {char, "65", []byte{65}}, {char, "300", nil},
		{u8, "255", []byte{255}}, {u8, "256", nil}, {u8, "-1", nil}, {u8, "y", nil},
		{i32, "-2", []byte{0xfe, 0xff, 0xff, 0xff}}, {i32, "0x7fffffff", []byte{0xff, 0xff, 0xff, 0x7f}}, {i32, "0x80000000", nil},
		{u64, "0xffffffffffffffff", []byte{255, 255, 255, 255, 255, 255, 255, 255}}, {u64, "y", nil}, {u64, `"1"`, nil},
		{tristate, "y", []byte{1, 0, 0, 0}}, {tristate, "m", []byte{2, 0, 0, 0}}, {tristate, "n", []byte{0, 0, 0, 0}}, {tristate, "1", nil},
		{text, `"ab"`, []byte{'a', 'b', 0, 0}}, {text, `"abcdef"`, []byte{'a', 'b', 'c', 0}}, {text, "ab", nil},
		{&btf.Pointer{}, "1", nil},
	} {
		size, err := btf.Sizeof(tt.t)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]byte, size)
		err = putConfig(dst, tt.t, tt.text)
		switch {
		case tt.want == nil && err == nil:
			t.Errorf("%v of %s: taken", tt.t, tt.text)
		case tt.want != nil && (err != nil || !bytes.Equal(dst, tt.want)):
			t.Errorf("%v of %s: %v, error %v; want %v", tt.t, tt.text, dst, err, tt.want)
		}
	}
}
