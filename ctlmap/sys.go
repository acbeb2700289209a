// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"fmt"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Pointers in a bpf_attr are 64 bits wide, and so they must be here: the module
// refuses 32-bit calls anyway.
const _ = uint(unsafe.Sizeof(uintptr(0)) - 8)

// elemAttr is the part of union bpf_attr for BPF_MAP_*_ELEM and
// BPF_MAP_GET_NEXT_KEY. value is next_key for the latter.
type elemAttr struct {
	mapFD uint32
	_     uint32
	key   unsafe.Pointer
	value unsafe.Pointer
	flags uint64
}

// bpfElem is one map operation.
//
// It allocates nothing: attr stays on the stack. It holds key and value as
// pointers and not as integers, so that they are alive and follow a stack
// that moves, and a stack does not move in a system call. It goes through
// Syscall and not RawSyscall, because the callbacks of a control map sleep.
//
// EINTR is retried for operations that change nothing; an update or a delete
// that was interrupted may have been done.
func bpfElem(cmd int, fd int, key, value unsafe.Pointer, flags uint64) syscall.Errno {
	attr := elemAttr{
		mapFD: uint32(fd),
		key:   key,
		value: value,
		flags: flags,
	}
	for {
		_, _, errno := syscall.Syscall(unix.SYS_BPF, uintptr(cmd),
			uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		if errno != syscall.EINTR || cmd == unix.BPF_MAP_UPDATE_ELEM || cmd == unix.BPF_MAP_DELETE_ELEM {
			return errno
		}
	}
}

// createAttr is the part of union bpf_attr for BPF_MAP_CREATE, as far as
// control maps need it.
type createAttr struct {
	mapType    uint32
	keySize    uint32
	valueSize  uint32
	maxEntries uint32
	mapFlags   uint32
	innerMapFD uint32
	numaNode   uint32
	mapName    [unix.BPF_OBJ_NAME_LEN]byte
	ifindex    uint32
}

// createMap makes an offloaded hash map, in the netns of the calling thread.
func createMap(l Layout, ifindex uint32) (*ebpf.Map, error) {
	attr := createAttr{
		mapType:    uint32(ebpf.Hash),
		keySize:    l.KeySize,
		valueSize:  l.ValueSize,
		maxEntries: maxEntries,
		ifindex:    ifindex,
	}
	if len(l.Name) >= len(attr.mapName) {
		return nil, fmt.Errorf("map name %q is longer than %d bytes", l.Name, len(attr.mapName)-1)
	}
	copy(attr.mapName[:], l.Name)

	for {
		fd, _, errno := syscall.Syscall(unix.SYS_BPF, unix.BPF_MAP_CREATE,
			uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		switch errno {
		case 0:
			// The kernel opens every bpf(2) descriptor close-on-exec.
			return ebpf.NewMapFromFD(int(fd))
		case syscall.EINTR, syscall.EAGAIN:
			continue
		default:
			return nil, errno
		}
	}
}

// mapInfo is struct bpf_map_info up to btf_vmlinux_id.
type mapInfo struct {
	Type          uint32
	ID            uint32
	KeySize       uint32
	ValueSize     uint32
	MaxEntries    uint32
	Flags         uint32
	Name          [unix.BPF_OBJ_NAME_LEN]byte
	Ifindex       uint32
	VmlinuxTypeID uint32
	NetnsDev      uint64
	NetnsIno      uint64
	BTFID         uint32
	BTFKeyID      uint32
	BTFValueID    uint32
	BTFVmlinuxID  uint32
}

// getMapInfo is BPF_OBJ_GET_INFO_BY_FD.
func getMapInfo(fd int) (*mapInfo, error) {
	info := new(mapInfo)
	attr := struct {
		fd   uint32
		len  uint32
		info unsafe.Pointer
	}{uint32(fd), uint32(unsafe.Sizeof(*info)), unsafe.Pointer(info)}

	for {
		_, _, errno := syscall.Syscall(unix.SYS_BPF, unix.BPF_OBJ_GET_INFO_BY_FD,
			uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		switch errno {
		case 0:
			return info, nil
		case syscall.EINTR:
			continue
		default:
			return nil, errno
		}
	}
}
