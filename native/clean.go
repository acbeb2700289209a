// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/dirlock"
)

// CleanOptions say what to [Clean].
type CleanOptions struct {
	Options

	// All is whether the state of all network namespaces is meant, and what
	// the machine has once. Settings can be put back in the network
	// namespace of Options alone, since the others cannot be entered.
	All bool
}

// Clean removes every trace: it puts settings back, detaches the programs, and
// removes what is pinned. It returns the pins that it removed, by their paths in
// bpffs, also if there is an error.
func Clean(ctx context.Context, o CleanOptions) (removed []string, err error) {
	c, err := Open(o.Options)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := checkAdmin(); err != nil {
		return nil, fmt.Errorf("clean up: %w", err)
	}
	if removed, err = c.clean(ctx); err == nil && o.All {
		var more []string
		more, err = c.cleanAll(ctx)
		removed = append(removed, more...)
	}
	mount := filepath.Dir(c.state.root) + "/"
	for i := range removed {
		removed[i] = strings.TrimPrefix(removed[i], mount)
	}
	if err != nil {
		return removed, fmt.Errorf("clean up: %w", err)
	}
	return removed, nil
}

// clean removes the state of the network namespace. What the settings themselves
// remove is told as well.
func (c *Control) clean(ctx context.Context) (removed []string, err error) {
	if _, err := os.Stat(c.state.dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	err = c.inNetNS(func() error {
		unlock, err := c.state.lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
		c.state.holder.Store(int32(unix.Gettid()))
		defer c.state.holder.Store(0)
		before, err := pinsBelow(c.state.dir)
		if err != nil {
			return err
		}
		err = c.resetAttrs(ctx)
		after, pinsErr := pinsBelow(c.state.dir)
		for _, path := range before {
			if !slices.Contains(after, path) {
				removed = append(removed, path)
			}
		}
		pins, removeErr := removeNetNS(c.state.dir)
		removed = append(removed, pins...)
		return errors.Join(err, pinsErr, removeErr, rmdir(c.state.root))
	})
	return removed, err
}

// resetAttrs puts the settings of all netdevs back.
func (c *Control) resetAttrs(ctx context.Context) error {
	if c.attr.ops.del == nil {
		return nil
	}
	devs, err := c.state.devs()
	if err != nil {
		return err
	}
	var errs []error
	for _, ifindex := range devs {
		err := c.attr.ops.del(ctx, &family.AttrKey{Ifindex: ifindex})
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("reset netdev %d: %w", ifindex, err))
		}
	}
	return errors.Join(errs...)
}

// pinsBelow lists the pins in a directory and those in it.
func pinsBelow(dir string) (pins []string, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			pins = append(pins, path)
		}
		return err
	})
	return pins, err
}

// cleanAll removes the state of the other network namespaces, and what the
// machine has once.
func (c *Control) cleanAll(ctx context.Context) (removed []string, err error) {
	list, err := os.ReadDir(c.state.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		path := filepath.Join(c.state.root, e.Name())
		var pins []string
		if _, err := strconv.ParseUint(e.Name(), 16, 64); err == nil {
			pins, err = cleanOther(ctx, path)
			if err != nil {
				return append(removed, pins...), err
			}
		} else if pins, err = removeTree(path); err != nil {
			return append(removed, pins...), err
		}
		removed = append(removed, pins...)
	}
	return removed, rmdir(c.state.root)
}

// cleanOther removes the state of another network namespace.
func cleanOther(ctx context.Context, dir string) ([]string, error) {
	unlock, err := dirlock.Take(ctx, dir, unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	return removeNetNS(dir)
}
