// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/dirlock"
)

// rootName is the directory in bpffs below which everything is:
//
//	xdpctl/NETNS-COOKIE/netns        tells that the network namespace lives
//	xdpctl/NETNS-COOKIE/IFINDEX/...  what belongs to a netdev
//	xdpctl/NETNS-COOKIE/port/...     the port table
//	xdpctl/trace/...                 what the machine has once
const rootName = "xdpctl"

// traceName is the directory in the root of what the machine has once.
const traceName = "trace"

// state is where things are pinned.
type state struct {
	root string // bpffs/xdpctl
	dir  string // of the network namespace

	// holder is the thread that has the lock, 0 if it is none of this state.
	holder atomic.Int32
}

// open finds the place of the state of a network namespace. It makes nothing:
// what only reads leaves no trace.
func (s *state) open(bpffs string, cookie uint64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(bpffs, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: bpffs, Err: err}
	}
	if st.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("there is no bpffs at %s: mount it with \"mount -t bpf bpf %[1]s\"", bpffs)
	}
	s.root = filepath.Join(bpffs, rootName)
	s.dir = filepath.Join(s.root, strconv.FormatUint(cookie, 16))
	return nil
}

// dev is the directory of a netdev.
func (s *state) dev(ifindex uint32) string {
	return filepath.Join(s.dir, strconv.FormatUint(uint64(ifindex), 10))
}

// devs lists the netdevs that have a directory.
func (s *state) devs() ([]uint32, error) {
	list, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var devs []uint32
	for _, e := range list {
		if n, err := strconv.ParseUint(e.Name(), 10, 32); err == nil && e.IsDir() {
			devs = append(devs, uint32(n))
		}
	}
	return devs, nil
}

// lock makes the directory of the network namespace, and takes the lock without
// which nothing in it may change (flock on the directory itself).
func (s *state) lock(ctx context.Context) (unlock func() error, err error) {
	for {
		if err := mkdir(s.root); err != nil {
			return nil, err
		}
		err := mkdir(s.dir)
		if err == nil {
			unlock, err = dirlock.Take(ctx, s.dir, unix.LOCK_EX)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return unlock, err
		}
		// Somebody cleans up.
	}
}

func mkdir(path string) error {
	err := os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// settled runs f, which reads, while nobody changes anything: after a change that
// is under way, or as part of it. It does not if there is no state, and so
// nothing that could be changing.
func (s *state) settled(f func() error) error {
	if s.holder.Load() == int32(unix.Gettid()) {
		return f()
	}
	unlock, err := dirlock.Take(context.Background(), s.dir, unix.LOCK_SH)
	if errors.Is(err, fs.ErrNotExist) {
		return f()
	}
	if err != nil {
		return err
	}
	defer unlock()
	return f()
}

// onStep, if it is set, is called after each step of a change: where the process
// may be killed. For tests.
var onStep func(what string)

func step(what string) {
	if onStep != nil {
		onStep(what)
	}
}

// unpin removes a pin, if it is there.
func unpin(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	step("unpin " + filepath.Base(path))
	return err
}

// rmdir removes a directory, if there is nothing in it.
func rmdir(path string) error {
	err := unix.Rmdir(path)
	if err == nil || err == unix.ENOENT || err == unix.ENOTEMPTY {
		return nil
	}
	return &os.PathError{Op: "rmdir", Path: path, Err: err}
}

// change runs f, which changes something, in the network namespace and under the
// lock. What interrupted changes and netdevs that are gone have left is removed
// before.
func (c *Control) change(ctx context.Context, f func() error) error {
	return c.inNetNS(func() error {
		if err := checkAdmin(); err != nil {
			return err
		}
		unlock, err := c.state.lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		c.state.holder.Store(int32(unix.Gettid()))
		defer c.state.holder.Store(0)
		if err := c.collect(); err != nil {
			return fmt.Errorf("collect what is left over: %w", err)
		}
		err = f()
		if marked := c.mark(); marked != nil {
			return joined(fmt.Errorf("mark network namespace: %w", marked), err)
		}
		return err
	})
}

// checkAdmin refuses who is no network administrator, which the kernel itself does
// not for all that a change does.
func checkAdmin() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	if data[0].Effective&(1<<unix.CAP_NET_ADMIN) == 0 {
		return refuse(syscall.EPERM, "", "")
	}
	return nil
}

// mark removes the directory of the network namespace if there is nothing in it,
// else sees to it that others can tell when the namespace has gone.
func (c *Control) mark() error {
	list, err := os.ReadDir(c.state.dir)
	if err != nil {
		return err
	}
	path := filepath.Join(c.state.dir, beaconNetNS)
	switch len(list) {
	case 0:
	case 1:
		if list[0].Name() != beaconNetNS {
			return makeBeacon(path, loopback)
		}
		if err := unpin(path); err != nil {
			return err
		}
	default:
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		return makeBeacon(path, loopback)
	}
	return errors.Join(rmdir(c.state.dir), rmdir(c.state.root))
}
