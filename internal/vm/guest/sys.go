// SPDX-License-Identifier: BSD-3-Clause

package guest

import (
	"fmt"
	"runtime"
	"syscall"
	"unsafe"
)

// Numbers that package syscall lacks, for amd64.
const (
	sysBPF          = 321
	sysFinitModule  = 313
	sysDeleteModule = syscall.SYS_DELETE_MODULE

	oPath = 0x200000
)

func finitModule(fd int) error {
	var params [1]byte
	_, _, errno := syscall.Syscall(sysFinitModule, uintptr(fd), uintptr(unsafe.Pointer(&params)), 0)
	return errnoErr(errno)
}

func deleteModule(name string) error {
	p, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	_, _, errno := syscall.Syscall(sysDeleteModule, uintptr(unsafe.Pointer(p)), syscall.O_NONBLOCK, 0)
	return errnoErr(errno)
}

func errnoErr(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// loopbackUp sets the loopback device up.
func loopbackUp() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	defer syscall.Close(fd)
	var req struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(req.name[:], "lo")
	req.flags = syscall.IFF_UP | syscall.IFF_RUNNING
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return fmt.Errorf("set lo up: %w", errno)
	}
	return nil
}

// bpf calls bpf(2). What attr points to must stay alive until then.
func bpf(cmd int, attr []byte) (int, error) {
	r, _, errno := syscall.Syscall(sysBPF, uintptr(cmd), uintptr(unsafe.Pointer(&attr[0])), uintptr(len(attr)))
	runtime.KeepAlive(attr)
	return int(r), errnoErr(errno)
}
