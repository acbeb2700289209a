// SPDX-License-Identifier: BSD-3-Clause

package conformance

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// TestMapInMap puts a control map into a map of maps, and makes one the template
// of another. The BPF core by itself would let it, and then run the code of a
// hash map on it.
func TestMapInMap(t *testing.T) {
	r := newRaw(t)
	outer := func(inner int) *testutil.MapAttr {
		return &testutil.MapAttr{
			Type: unix.BPF_MAP_TYPE_HASH_OF_MAPS, KeySize: 4, ValueSize: 4,
			MaxEntries: 1, InnerMapFD: uint32(inner),
		}
	}
	r.unchanged("template", func() {
		r.wantMapError("template", outer(r.progs), unix.EINVAL)
	})

	twin, err := testutil.CreateMap(&testutil.MapAttr{
		Type:    unix.BPF_MAP_TYPE_HASH,
		KeySize: uint32(unsafe.Sizeof(family.ProgKey{})), ValueSize: uint32(unsafe.Sizeof(family.Prog{})),
		MaxEntries: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(twin)
	maps, err := testutil.CreateMap(outer(twin))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(maps)

	put := func(fd int) error {
		return testutil.UpdateElem(maps, make([]byte, 4), binary.NativeEndian.AppendUint32(nil, uint32(fd)), 0)
	}
	if err := put(twin); err != nil {
		t.Fatalf("put an ordinary map into the map of maps: %v", err)
	}
	r.unchanged("inner map", func() {
		if err := put(r.progs); err != unix.EINVAL {
			t.Errorf("put a control map into the map of maps: got %v, want EINVAL", err)
		}
	})
}
