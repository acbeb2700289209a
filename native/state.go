// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// rootName is the directory in bpffs below which everything is:
//
//	xdpctl/NETNS-COOKIE/IFINDEX/...  what belongs to a netdev
//	xdpctl/NETNS-COOKIE/port/...     the port table
//	xdpctl/trace/...                 what the machine has once
const rootName = "xdpctl"

// state is where things are pinned.
type state struct {
	root string // bpffs/xdpctl
	dir  string // of the network namespace
}

// openState finds the place of the state of a network namespace. It makes
// nothing: what only reads leaves no trace.
func openState(bpffs string, cookie uint64) (state, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(bpffs, &fs); err != nil {
		return state{}, &os.PathError{Op: "statfs", Path: bpffs, Err: err}
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		return state{}, fmt.Errorf("there is no bpffs at %s: mount it with \"mount -t bpf bpf %[1]s\"", bpffs)
	}
	root := filepath.Join(bpffs, rootName)
	return state{root: root, dir: filepath.Join(root, strconv.FormatUint(cookie, 16))}, nil
}

func (s *state) close() error { return nil }

// dev is the directory of a netdev.
func (s *state) dev(ifindex uint32) string {
	return filepath.Join(s.dir, strconv.FormatUint(uint64(ifindex), 10))
}

// lock makes the directory of the network namespace, and takes the lock without
// which nothing in it may change (flock on the directory itself).
func (s *state) lock() (unlock func() error, err error) {
	for {
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return nil, err
		}
		d, err := os.Open(s.dir)
		if errors.Is(err, os.ErrNotExist) {
			continue // somebody cleans up
		}
		if err != nil {
			return nil, err
		}
		if err := flock(d); err != nil {
			d.Close()
			return nil, err
		}
		// What was locked may have been removed in the meantime.
		var have, want unix.Stat_t
		if unix.Fstat(int(d.Fd()), &have) == nil && unix.Stat(s.dir, &want) == nil && have.Ino == want.Ino {
			return d.Close, nil
		}
		d.Close()
	}
}

func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			return os.NewSyscallError("flock", err)
		}
	}
}

// change runs f, which changes something, in the network namespace and under the
// lock.
func (c *Control) change(f func() error) error {
	return c.inNetNS(func() error {
		unlock, err := c.state.lock()
		if err != nil {
			return err
		}
		return errors.Join(f(), unlock())
	})
}
