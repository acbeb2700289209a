// SPDX-License-Identifier: BSD-3-Clause

// Package sysbpf is bpf(2) for what package ebpf does not do, or asks the kernel
// five times as much for. Errors are errnos.
package sysbpf

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Call is bpf(2). What attr points to has to be pinned.
func Call(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
	runtime.KeepAlive(attr)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

// ObjGet opens what is pinned. The fd is close-on-exec.
func ObjGet(path string) (fd int, err error) { return obj(unix.BPF_OBJ_GET, path, 0) }

// ObjPin pins what fd refers to. Maps and programs of package ebpf would remember
// their pins, which an undo makes wrong.
func ObjPin(fd int, path string) error {
	_, err := obj(unix.BPF_OBJ_PIN, path, fd)
	return err
}

func obj(cmd uintptr, path string, fd int) (int, error) {
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(name)
	attr := struct {
		path      uint64
		fd, flags uint32
	}{path: uint64(uintptr(unsafe.Pointer(name))), fd: uint32(fd)}
	return Call(cmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

// ObjInfo reads what the kernel knows of a map, program, link or BTF: as much of it
// as there is room for.
func ObjInfo(fd int, info unsafe.Pointer, size uintptr) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(info)
	attr := struct {
		fd, len uint32
		info    uint64
	}{uint32(fd), uint32(size), uint64(uintptr(info))}
	_, err := Call(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// ProgInfo is the beginning of the kernel's struct bpf_prog_info. That of package
// ebpf reads all instructions.
type ProgInfo struct {
	Type      uint32
	ID        uint32
	Tag       [8]byte
	_         [2]uint32
	_         [2]uint64
	_         uint64 // load_time
	_         uint32 // created_by_uid
	_         uint32 // nr_map_ids
	_         uint64 // map_ids
	Name      [unix.BPF_OBJ_NAME_LEN]byte
	BoundTo   uint32 // ifindex
	GPLCompat uint32
}

// ProgInfoOf reads what the kernel knows of a program.
func ProgInfoOf(fd int) (*ProgInfo, error) {
	info := new(ProgInfo)
	return info, ObjInfo(fd, unsafe.Pointer(info), unsafe.Sizeof(*info))
}
