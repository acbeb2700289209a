// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// mountSysfs mounts sysfs once more, but nowhere: nobody else sees it, and it goes
// with the file. Sysfs has the netdevs of the network namespace in which it was
// mounted: here, that of the calling thread.
func mountSysfs() (*os.File, error) {
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
	return os.NewFile(uintptr(root), "sysfs"), nil
}

// openIn opens what is below a directory.
func openIn(dir *os.File, path string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), path, flags|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir.Name() + "/" + path, Err: err}
	}
	return os.NewFile(uintptr(fd), dir.Name()+"/"+path), nil
}

// classNet opens the directory of a netdev in sysfs. It runs on a thread in the
// network namespace.
//
// Returns an error matching os.ErrNotExist if there is no such netdev.
func classNet(name string) (*os.File, error) {
	root, err := mountSysfs()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return openIn(root, "class/net/"+name, unix.O_DIRECTORY)
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
	return countQueues(dir)
}

// countQueues counts the queues in the directory of a netdev in sysfs.
func countQueues(dir *os.File) (rx, tx uint32, err error) {
	list, err := openIn(dir, "queues", unix.O_DIRECTORY)
	if err != nil {
		return 0, 0, err
	}
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
