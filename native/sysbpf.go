// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// progInfo is the beginning of the kernel's struct bpf_prog_info.
type progInfo struct {
	typ       uint32
	id        uint32
	tag       [8]byte
	_         [2]uint32
	_         [2]uint64
	_         uint64 // load_time
	_         uint32 // created_by_uid
	_         uint32 // nr_map_ids
	_         uint64 // map_ids
	name      [16]byte
	boundTo   uint32 // ifindex
	gplCompat uint32
}

func sysBPF(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
	runtime.KeepAlive(attr)
	if errno != 0 {
		return -1, errno
	}
	return int(r), nil
}

// progInfoOf reads what the kernel says of the program with an fd. It is a small
// part of what ebpf.ProgramInfo has, which reads all instructions.
func progInfoOf(fd int) (*progInfo, error) {
	info := new(progInfo)
	return info, objInfo(fd, unsafe.Pointer(info), unsafe.Sizeof(*info))
}

func objInfo(fd int, info unsafe.Pointer, size uintptr) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(info)
	attr := struct {
		fd, len uint32
		info    uint64
	}{uint32(fd), uint32(size), uint64(uintptr(info))}
	_, err := sysBPF(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return os.NewSyscallError("bpf", err)
}

// progInfoByID is progInfoOf for a program id.
//
// Returns an error matching fs.ErrNotExist if there is no such program.
func progInfoByID(id uint32) (*progInfo, error) {
	attr := struct{ id, next, flags uint32 }{id: id}
	fd, err := sysBPF(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err != nil {
		return nil, fmt.Errorf("open program %d: %w", id, os.NewSyscallError("bpf", err))
	}
	defer unix.Close(fd)
	return progInfoOf(fd)
}

// linkInfo is the beginning of the kernel's struct bpf_link_info, for XDP.
type linkInfo struct {
	typ, id, prog, _ uint32
	ifindex          uint32 // 0 if it is detached
	_                uint32
}

// xdpLinks finds the XDP links with a program on a netdev, whatever the network
// namespace, in ascending order of ids.
func xdpLinks(ifindex, prog uint32) ([]uint32, error) {
	var ids []uint32
	attr := struct{ id, next, flags uint32 }{}
	size := unsafe.Sizeof(attr)
	for {
		_, err := sysBPF(unix.BPF_LINK_GET_NEXT_ID, unsafe.Pointer(&attr), size)
		if err == unix.ENOENT {
			return ids, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list BPF links: %w", os.NewSyscallError("bpf", err))
		}
		attr.id, attr.next = attr.next, 0
		fd, err := sysBPF(unix.BPF_LINK_GET_FD_BY_ID, unsafe.Pointer(&attr), size)
		if err != nil {
			if err == unix.ENOENT || err == unix.EAGAIN {
				continue // gone, or coming
			}
			return nil, fmt.Errorf("open BPF link %d: %w", attr.id, os.NewSyscallError("bpf", err))
		}
		var info linkInfo
		err = objInfo(fd, unsafe.Pointer(&info), unsafe.Sizeof(info))
		unix.Close(fd)
		if err == nil && info.typ == unix.BPF_LINK_TYPE_XDP && info.ifindex == ifindex && info.prog == prog {
			ids = append(ids, info.id)
		}
	}
}

// errnoOf is the errno in err, or 0.
func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	errors.As(err, &errno)
	return errno
}
