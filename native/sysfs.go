// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// lazySysfs is the sysfs of the network namespace, which is mounted when it is
// needed.
type lazySysfs struct {
	mu   sync.Mutex
	root *os.File
}

// sysfs is the sysfs of the network namespace, mounted nowhere. It runs on a
// thread in the network namespace.
func (c *Control) sysfs() (*os.File, error) {
	c.sys.mu.Lock()
	defer c.sys.mu.Unlock()
	if c.sys.root == nil {
		root, err := mountSysfs()
		if err != nil {
			return nil, err
		}
		c.sys.root = root
	}
	return c.sys.root, nil
}

func (s *lazySysfs) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root == nil {
		return nil
	}
	err := s.root.Close()
	s.root = nil
	return err
}

// deviceID names a netdev for good. It is the inode number of its directory in
// sysfs, which no other netdev gets while the machine runs, and which stays when
// the netdev is renamed or moves to another network namespace. Programs read it
// from the netdev (bpf/xdpctl_exception.h).
type deviceID uint64

// devDir is the directory of a netdev in sysfs.
type devDir struct {
	*os.File
	id deviceID
}

// devDir opens the directory of a netdev in sysfs, to be closed. It runs on a
// thread in the network namespace.
//
// Refuses with ENOENT if the netdev is gone.
func (c *Control) devDir(d *netdev) (*devDir, error) {
	root, err := c.sysfs()
	if err != nil {
		return nil, err
	}
	name := d.name
	for range 10 {
		dir, err := openIn(root, "class/net/"+name, unix.O_DIRECTORY)
		if err == nil {
			index, err := readNumber(dir, "ifindex")
			if err == nil && index == uint64(d.index) {
				return identify(dir)
			}
			dir.Close()
			if err != nil && !isGone(err) {
				return nil, err
			}
		} else if !isGone(err) {
			return nil, err
		}
		// Somebody renamed it, or it is gone.
		now, err := c.netdev(d.index)
		if err != nil {
			return nil, err
		}
		name = now.name
	}
	return nil, fmt.Errorf("netdev %d does not keep its name: %w", d.index, unix.EAGAIN)
}

func identify(f *os.File) (*devDir, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		f.Close()
		return nil, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return &devDir{File: f, id: deviceID(st.Ino)}, nil
}

// isGone tells whether something in sysfs went with its netdev. What is open
// fails with ENODEV then.
func isGone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV)
}

// readNumber reads a file in a directory of sysfs; a number that begins with 0x is
// hexadecimal.
func readNumber(dir *os.File, name string) (uint64, error) {
	f, err := openIn(dir, name, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(b)), 0, 64)
}

// parentDriver is the name of what a netdev hangs on: of the driver of its parent
// device, else its kind, else "". Dir may be nil.
func (d *netdev) parentDriver(dir *devDir) (string, error) {
	if dir == nil {
		return d.kind, nil
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(dir.Fd()), "device/driver", buf)
	if isGone(err) {
		return d.kind, nil
	}
	if err != nil {
		return "", &os.PathError{Op: "readlink", Path: dir.Name() + "/device/driver", Err: err}
	}
	return filepath.Base(string(buf[:n])), nil
}
