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

	"github.com/xdpctl/xdpctl-nl/internal/sysbpf"
)

// objGet opens what is pinned.
//
// Returns an error matching fs.ErrNotExist if there is nothing.
func objGet(path string) (int, error) {
	fd, err := sysbpf.ObjGet(path)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// elem is one of the map commands.
func elem[K, V any](cmd uintptr, fd int, k *K, v *V) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	attr := struct {
		fd, _             uint32
		key, value, flags uint64
	}{fd: uint32(fd)}
	if k != nil {
		pin.Pin(k)
		attr.key = uint64(uintptr(unsafe.Pointer(k)))
	}
	if v != nil {
		pin.Pin(v)
		attr.value = uint64(uintptr(unsafe.Pointer(v)))
	}
	_, err := sysbpf.Call(cmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return err
}

// mapGet reads an entry, and reports whether there is one.
func mapGet[K, V any](fd int, k K, v *V) (bool, error) {
	err := elem(unix.BPF_MAP_LOOKUP_ELEM, fd, &k, v)
	if err == unix.ENOENT {
		return false, nil
	}
	return err == nil, os.NewSyscallError("bpf", err)
}

func mapPut[K, V any](fd int, k K, v V) error {
	return os.NewSyscallError("bpf", elem(unix.BPF_MAP_UPDATE_ELEM, fd, &k, &v))
}

// mapDelete removes an entry, if there is one.
func mapDelete[K any](fd int, k K) error {
	err := elem[K, byte](unix.BPF_MAP_DELETE_ELEM, fd, &k, nil)
	if err == unix.ENOENT {
		return nil
	}
	return os.NewSyscallError("bpf", err)
}

// mapKeys lists the keys of a map that nobody changes meanwhile.
func mapKeys[K any](fd int) ([]K, error) {
	var keys []K
	var next K
	err := elem(unix.BPF_MAP_GET_NEXT_KEY, fd, (*K)(nil), &next)
	for ; err == nil; err = elem(unix.BPF_MAP_GET_NEXT_KEY, fd, &keys[len(keys)-1], &next) {
		keys = append(keys, next)
	}
	if err == unix.ENOENT {
		return keys, nil
	}
	return nil, os.NewSyscallError("bpf", err)
}

// mapInfo is the beginning of the kernel's struct bpf_map_info.
type mapInfo struct{ typ, id, keySize, valueSize, maxEntries, flags uint32 }

// progInfoOf reads what the kernel says of the program with an fd.
func progInfoOf(fd int) (*sysbpf.ProgInfo, error) {
	info, err := sysbpf.ProgInfoOf(fd)
	return info, os.NewSyscallError("bpf", err)
}

func objInfo(fd int, info unsafe.Pointer, size uintptr) error {
	return os.NewSyscallError("bpf", sysbpf.ObjInfo(fd, info, size))
}

// progInfoByID is progInfoOf for a program id.
//
// Returns an error matching fs.ErrNotExist if there is no such program.
func progInfoByID(id uint32) (*sysbpf.ProgInfo, error) {
	attr := struct{ id, next, flags uint32 }{id: id}
	fd, err := sysbpf.Call(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
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

func linkInfoOf(fd int) (*linkInfo, error) {
	info := new(linkInfo)
	err := objInfo(fd, unsafe.Pointer(info), unsafe.Sizeof(*info))
	if err == nil && info.typ != unix.BPF_LINK_TYPE_XDP {
		err = errors.New("not an XDP link")
	}
	return info, err
}

// linkUpdate puts a program into a link, in which old must be.
func linkUpdate(fd, prog, old int) error {
	attr := struct{ link, prog, flags, old uint32 }{uint32(fd), uint32(prog), unix.BPF_F_REPLACE, uint32(old)}
	_, err := sysbpf.Call(unix.BPF_LINK_UPDATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return os.NewSyscallError("bpf", err)
}

// linkDetach takes the program off, at once.
func linkDetach(fd int) error {
	attr := struct{ link uint32 }{uint32(fd)}
	_, err := sysbpf.Call(unix.BPF_LINK_DETACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	step("detach link")
	return os.NewSyscallError("bpf", err)
}

// xdpLinks finds the XDP links with a program on a netdev, whatever the network
// namespace, in ascending order of ids.
func xdpLinks(ifindex, prog uint32) ([]uint32, error) {
	var ids []uint32
	attr := struct{ id, next, flags uint32 }{}
	size := unsafe.Sizeof(attr)
	for {
		_, err := sysbpf.Call(unix.BPF_LINK_GET_NEXT_ID, unsafe.Pointer(&attr), size)
		if err == unix.ENOENT {
			return ids, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list BPF links: %w", os.NewSyscallError("bpf", err))
		}
		attr.id, attr.next = attr.next, 0
		fd, err := sysbpf.Call(unix.BPF_LINK_GET_FD_BY_ID, unsafe.Pointer(&attr), size)
		if err != nil {
			if err == unix.ENOENT || err == unix.EAGAIN {
				continue // gone, or coming
			}
			return nil, fmt.Errorf("open BPF link %d: %w", attr.id, os.NewSyscallError("bpf", err))
		}
		info, err := linkInfoOf(fd)
		unix.Close(fd)
		if err == nil && info.ifindex == ifindex && info.prog == prog {
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
