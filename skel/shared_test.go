// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"bytes"
	"testing"
	"unsafe"
)

// TestBits writes every bitfield up to 64 bits at every place, and looks at it
// and at what is next to it, in both ways.
func TestBits(t *testing.T) {
	for _, way := range []struct {
		name   string
		load   func(p *byte, off, size uint) uint64
		signed func(p *byte, off, size uint) int64
		store  func(p *byte, off, size uint, v uint64)
	}{
		{"plain", Bits, SignedBits, SetBits},
		{"shared", LoadBits, LoadSignedBits, StoreBits},
	} {
		t.Run(way.name, func(t *testing.T) {
			for size := uint(1); size <= 64; size++ {
				for off := uint(0); off < 40; off++ {
					var words [4]uint64
					for i := range words {
						words[i] = 0xa5a5a5a5a5a5a5a5
					}
					p := (*byte)(unsafe.Pointer(&words[1]))
					mask := ^uint64(0) >> (64 - size)
					want := uint64(0x123456789abcdef1) & mask
					before, after := way.load(p, 0, max(off, 1)), way.load(p, off+size, 16)
					way.store(p, off, size, ^uint64(0)&^mask|want)
					if got := way.load(p, off, size); got != want {
						t.Fatalf("%d bits at %d: %#x, want %#x", size, off, got, want)
					}
					if off > 0 && way.load(p, 0, off) != before || way.load(p, off+size, 16) != after {
						t.Fatalf("%d bits at %d: something next to it changed", size, off)
					}
					way.store(p, off, size, mask)
					if got := way.signed(p, off, size); got != -1 {
						t.Fatalf("%d bits at %d: %d, want -1", size, off, got)
					}
				}
			}
		})
	}
}

func TestSmall(t *testing.T) {
	var words [2]uint32
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words)), 8)
	for i := range b {
		b[i] = byte(i)
	}
	for i := range b {
		if got := LoadSmall(&b[i]); got != byte(i) {
			t.Errorf("byte %d: %d", i, got)
		}
	}
	StoreSmall(&b[5], 0xff)
	StoreSmall((*int16)(unsafe.Pointer(&b[2])), -2)
	StoreSmall((*bool)(unsafe.Pointer(&b[0])), true)
	if want := []byte{1, 1, 0xfe, 0xff, 4, 0xff, 6, 7}; !bytes.Equal(b, want) {
		t.Errorf("%v, want %v", b, want)
	}
	if got := LoadSmall((*int16)(unsafe.Pointer(&b[2]))); got != -2 {
		t.Errorf("%d, want -2", got)
	}
}

func TestCopyShared(t *testing.T) {
	var from, to [8]uint64
	src := unsafe.Slice((*byte)(unsafe.Pointer(&from)), 64)
	dst := unsafe.Slice((*byte)(unsafe.Pointer(&to)), 64)
	for i := range src {
		src[i] = byte(i + 1)
	}
	for s := range 9 {
		for d := range 9 {
			for n := 1; n < 40; n++ {
				clear(dst)
				copyShared(unsafe.Pointer(&dst[d]), unsafe.Pointer(&src[s]), n)
				want := make([]byte, 64)
				copy(want[d:], src[s:s+n])
				if !bytes.Equal(dst, want) {
					t.Fatalf("%d bytes from %d to %d: %v, want %v", n, s, d, dst, want)
				}
			}
		}
	}
}
