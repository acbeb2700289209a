// SPDX-License-Identifier: BSD-3-Clause

package skel

import (
	"sync/atomic"
	"unsafe"
)

// Small are the types of one and two bytes, which sync/atomic has not.
type Small interface {
	~bool | ~uint8 | ~int8 | ~uint16 | ~int16
}

// LoadSmall reads what the kernel may write meanwhile. P is in a [Section].
func LoadSmall[T Small](p *T) T {
	word, shift := wordOf(unsafe.Pointer(p))
	v := atomic.LoadUint32(word) >> shift
	return *(*T)(unsafe.Pointer(&v))
}

// StoreSmall writes what the kernel may read or write meanwhile, and nothing
// next to it. P is in a [Section].
func StoreSmall[T Small](p *T, v T) {
	word, shift := wordOf(unsafe.Pointer(p))
	var bits uint32
	*(*T)(unsafe.Pointer(&bits)) = v
	mask := uint32(1)<<(8*unsafe.Sizeof(v)) - 1
	for {
		old := atomic.LoadUint32(word)
		if atomic.CompareAndSwapUint32(word, old, old&^(mask<<shift)|bits<<shift) {
			return
		}
	}
}

// wordOf is the word that p is in, and how many bits are before it.
func wordOf(p unsafe.Pointer) (*uint32, uint) {
	off := uintptr(p) & 3
	return (*uint32)(unsafe.Add(p, -int(off))), uint(8 * off)
}

// Copy reads what the kernel may write meanwhile, in whole words where it is
// aligned; the words are not of one moment. P is in a [Section].
func Copy[T any](p *T) T {
	var v T
	copyShared(unsafe.Pointer(&v), unsafe.Pointer(p), int(unsafe.Sizeof(v)))
	return v
}

// Put is the counterpart of [Copy].
func Put[T any](p *T, v T) {
	copyShared(unsafe.Pointer(p), unsafe.Pointer(&v), int(unsafe.Sizeof(v)))
}

// copyShared copies in the widest units that both sides are aligned to, each
// whole.
func copyShared(dst, src unsafe.Pointer, n int) {
	switch at := uintptr(dst) | uintptr(src); {
	case at&7 == 0:
		for ; n >= 8; n -= 8 {
			atomic.StoreUint64((*uint64)(dst), atomic.LoadUint64((*uint64)(src)))
			dst, src = unsafe.Add(dst, 8), unsafe.Add(src, 8)
		}
		fallthrough
	case at&3 == 0:
		for ; n >= 4; n -= 4 {
			atomic.StoreUint32((*uint32)(dst), atomic.LoadUint32((*uint32)(src)))
			dst, src = unsafe.Add(dst, 4), unsafe.Add(src, 4)
		}
		fallthrough
	case at&1 == 0:
		for ; n >= 2; n -= 2 {
			*(*uint16)(dst) = *(*uint16)(src)
			dst, src = unsafe.Add(dst, 2), unsafe.Add(src, 2)
		}
	}
	copy(unsafe.Slice((*byte)(dst), n), unsafe.Slice((*byte)(src), n))
}

// Bits reads a bitfield of size bits that begins off bits after p.
func Bits(p *byte, off, size uint) uint64 {
	b := unsafe.Slice(p, (off+size+7)/8)
	var v uint64
	for i := range size {
		v |= uint64(b[(off+i)/8]>>((off+i)%8)&1) << i
	}
	return v
}

// SignedBits is Bits for a bitfield with a sign.
func SignedBits(p *byte, off, size uint) int64 {
	return int64(Bits(p, off, size)<<(64-size)) >> (64 - size)
}

// SetBits writes a bitfield, and nothing next to it.
func SetBits(p *byte, off, size uint, v uint64) {
	b := unsafe.Slice(p, (off+size+7)/8)
	for i := range size {
		bit := byte(1) << ((off + i) % 8)
		if v>>i&1 != 0 {
			b[(off+i)/8] |= bit
		} else {
			b[(off+i)/8] &^= bit
		}
	}
}

// LoadBits is Bits for what the kernel may write meanwhile. P is in a
// [Section].
func LoadBits(p *byte, off, size uint) uint64 {
	var v uint64
	for done := uint(0); done < size; {
		word, shift := wordOf(unsafe.Add(unsafe.Pointer(p), (off+done)/8))
		shift += (off + done) % 8
		n := min(size-done, 32-shift)
		v |= uint64(atomic.LoadUint32(word)>>shift) & (1<<n - 1) << done
		done += n
	}
	return v
}

// LoadSignedBits is LoadBits for a bitfield with a sign.
func LoadSignedBits(p *byte, off, size uint) int64 {
	return int64(LoadBits(p, off, size)<<(64-size)) >> (64 - size)
}

// StoreBits is SetBits for what the kernel may read or write meanwhile. P is in
// a [Section].
func StoreBits(p *byte, off, size uint, v uint64) {
	for done := uint(0); done < size; {
		word, shift := wordOf(unsafe.Add(unsafe.Pointer(p), (off+done)/8))
		shift += (off + done) % 8
		n := min(size-done, 32-shift)
		mask := uint32(1<<n-1) << shift
		bits := uint32(v>>done) << shift & mask
		for {
			old := atomic.LoadUint32(word)
			if atomic.CompareAndSwapUint32(word, old, old&^mask|bits) {
				break
			}
		}
		done += n
	}
}

// CopyAt is [Copy] for what is not aligned.
func CopyAt[T any](p *byte) T {
	var v T
	copyShared(unsafe.Pointer(&v), unsafe.Pointer(p), int(unsafe.Sizeof(v)))
	return v
}

// PutAt is [Put] for what is not aligned.
func PutAt[T any](p *byte, v T) {
	copyShared(unsafe.Pointer(p), unsafe.Pointer(&v), int(unsafe.Sizeof(v)))
}

// Bit is a bitfield of one bit that is a bool.
func Bit(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}
