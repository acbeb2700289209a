// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setThreadIDs makes the calling thread, and it alone, another user's.
func setThreadIDs(uid, gid int, groups []uint32) error {
	p := unsafe.Pointer(unsafe.SliceData(append(groups, 0)))
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(p), 0); errno != 0 {
		return os.NewSyscallError("setgroups", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); errno != 0 {
		return os.NewSyscallError("setresgid", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
		return os.NewSyscallError("setresuid", errno)
	}
	return nil
}
