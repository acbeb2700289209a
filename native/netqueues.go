// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// classNet opens the directory of a netdev in sysfs. Sysfs has the netdevs of
// the network namespace in which it was mounted, so it is mounted here once
// more, but nowhere: nobody else sees it, and it goes with the file. It runs on a
// thread in the network namespace.
//
// Returns an error matching os.ErrNotExist if there is no such netdev.
func classNet(name string) (*os.File, error) {
	fs, err := unix.Fsopen("sysfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mount sysfs: %w", os.NewSyscallError("fsopen", err))
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("mount sysfs: %w", os.NewSyscallError("fsconfig", err))
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("mount sysfs: %w", os.NewSyscallError("fsmount", err))
	}
	defer unix.Close(root)
	path := "class/net/" + name
	fd, err := unix.Openat(root, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "sysfs/" + path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// queues counts the RX and TX queues that a netdev has in use. It runs on a
// thread in the network namespace.
//
// Refuses with ENOENT if the netdev is gone.
func (d *netdev) queues() (rx, tx uint32, err error) {
	if d.maxRX <= 1 && d.maxTX <= 1 {
		return d.maxRX, d.maxTX, nil
	}
	dir, err := classNet(d.name)
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0, noNetdev()
	}
	if err != nil {
		return 0, 0, err
	}
	defer dir.Close()
	fd, err := unix.Openat(int(dir.Fd()), "queues", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0, &os.PathError{Op: "open", Path: dir.Name() + "/queues", Err: err}
	}
	list := os.NewFile(uintptr(fd), dir.Name()+"/queues")
	defer list.Close()
	names, err := list.Readdirnames(-1)
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, "rx-"):
			rx++
		case strings.HasPrefix(name, "tx-"):
			tx++
		}
	}
	return rx, tx, nil
}
