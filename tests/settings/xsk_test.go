// SPDX-License-Identifier: BSD-3-Clause

package settings

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

const (
	xskFrames = 64
	xskFrame  = 4096
)

// xsk is an AF_XDP socket that receives, by copying, on one RX queue.
type xsk struct {
	t        *testing.T
	fd       int
	umem     []byte
	fill, rx ring
}

// ring is a ring that is shared with the kernel.
type ring struct {
	mem                []byte
	producer, consumer *uint32
	desc               []byte
}

func newXSK(t *testing.T, ns *testutil.NetNS, index int) *xsk {
	t.Helper()
	s := &xsk{t: t}
	var err error
	ns.Do(func() { s.fd, err = unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) })
	s.must("open socket", err)
	t.Cleanup(func() { unix.Close(s.fd) })
	s.umem = s.mmap(-1, 0, xskFrames*xskFrame, unix.MAP_ANONYMOUS)

	reg := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(&s.umem[0]))), Len: uint64(len(s.umem)), Size: xskFrame}
	s.must("register umem", unix.SetsockoptString(s.fd, unix.SOL_XDP, unix.XDP_UMEM_REG, string(unsafe.Slice((*byte)(unsafe.Pointer(&reg)), unsafe.Sizeof(reg)))))
	for _, opt := range []int{unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_RX_RING} {
		s.must("make ring", unix.SetsockoptInt(s.fd, unix.SOL_XDP, opt, xskFrames))
	}
	var off unix.XDPMmapOffsets
	size := uint32(unsafe.Sizeof(off))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_XDP, unix.XDP_MMAP_OFFSETS,
		uintptr(unsafe.Pointer(&off)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	s.fill = s.ring(unix.XDP_UMEM_PGOFF_FILL_RING, off.Fr, 8)
	s.rx = s.ring(unix.XDP_PGOFF_RX_RING, off.Rx, 16)
	for i := range uint32(xskFrames) {
		s.give(uint64(i) * xskFrame)
	}
	s.must("bind", unix.Bind(s.fd, &unix.SockaddrXDP{Flags: unix.XDP_COPY, Ifindex: uint32(index)}))
	return s
}

func (s *xsk) must(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("AF_XDP: %s: %v", what, err)
	}
}

func (s *xsk) mmap(fd int, off int64, size, flags int) []byte {
	s.t.Helper()
	if fd >= 0 {
		flags |= unix.MAP_SHARED
	} else {
		flags |= unix.MAP_PRIVATE
	}
	b, err := unix.Mmap(fd, off, size, unix.PROT_READ|unix.PROT_WRITE, flags|unix.MAP_POPULATE)
	s.must("map memory", err)
	s.t.Cleanup(func() { unix.Munmap(b) })
	return b
}

func (s *xsk) ring(pgoff int64, off unix.XDPRingOffset, size int) ring {
	s.t.Helper()
	b := s.mmap(s.fd, pgoff, int(off.Desc)+xskFrames*size, 0)
	return ring{
		mem:      b,
		producer: (*uint32)(unsafe.Pointer(&b[off.Producer])),
		consumer: (*uint32)(unsafe.Pointer(&b[off.Consumer])),
		desc:     b[off.Desc:],
	}
}

// give lets the kernel fill the frame at addr.
func (s *xsk) give(addr uint64) {
	n := atomic.LoadUint32(s.fill.producer)
	binary.NativeEndian.PutUint64(s.fill.desc[n%xskFrames*8:], addr)
	atomic.StoreUint32(s.fill.producer, n+1)
}

// receive returns the next packet, and what is in front of it.
func (s *xsk) receive() (front, packet []byte, err error) {
	n := atomic.LoadUint32(s.rx.consumer)
	if !testutil.Wait(20*time.Second, func() bool { return atomic.LoadUint32(s.rx.producer) != n }) {
		return nil, nil, fmt.Errorf("no packet came")
	}
	d := s.rx.desc[n%xskFrames*16:]
	addr, length := binary.NativeEndian.Uint64(d), binary.NativeEndian.Uint32(d[8:])
	frame := addr / xskFrame * xskFrame
	all := append([]byte(nil), s.umem[frame:addr+uint64(length)]...)
	atomic.StoreUint32(s.rx.consumer, n+1)
	s.give(frame)
	return all[:addr-frame], all[addr-frame:], nil
}
