// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// TestBTF reads the types of keys and values as the kernel would.
func TestBTF(t *testing.T) {
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(BTF()))
	if err != nil {
		t.Fatal(err)
	}
	for i := range Descs() {
		d := &Descs()[i]
		key, value := d.BTFTypes()
		for _, want := range []struct {
			id   uint32
			name string
			size int
		}{
			{key, "xdpctl_" + d.MapName[len("xdp_"):] + "_key", d.KeySize},
			{value, "xdpctl_" + d.MapName[len("xdp_"):], d.ValueSize},
		} {
			typ, err := spec.TypeByID(btf.TypeID(want.id))
			if err != nil {
				t.Fatal(err)
			}
			size, err := btf.Sizeof(typ)
			if typ.TypeName() != want.name || size != want.size || err != nil {
				t.Errorf("type %d is %v of %d bytes, want %s of %d", want.id, typ, size, want.name, want.size)
			}
		}
	}
}
