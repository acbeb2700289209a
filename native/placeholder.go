// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/family"
)

// placeholderID is the id of the placeholder on a netdev, 0 if there is none at
// present.
func (c *Control) placeholderID(ifindex uint32) (uint32, error) {
	_, a, err := c.attachmentOf(ifindex)
	if err != nil {
		return 0, err
	}
	defer a.close()
	if a == nil || !a.isPlaceholder() {
		return 0, nil
	}
	return a.top, nil
}

// placeholderOn keeps a program in native mode on a netdev for its queues' sake:
// a placeholder is there while there is no other. It returns the id of the
// placeholder, 0 if it waits until the other program goes. It is called under the
// lock.
//
// Refuses with ENODEV if there is no such netdev, with EBUSY if a program is on it
// that is somebody else's, or in generic mode.
func (c *Control) placeholderOn(ctx context.Context, ifindex uint32) (progID uint32, err error) {
	err = c.changeDev(ifindex, func() (err error) {
		progID, err = c.placeholderSet(ctx, ifindex)
		return err
	})
	return progID, err
}

func (c *Control) placeholderSet(ctx context.Context, ifindex uint32) (progID uint32, err error) {
	d, a, err := c.attachmentOf(ifindex)
	if err != nil {
		return 0, noDevice(err)
	}
	defer a.close()
	mode, id := d.xdp.host()
	switch {
	case a != nil && a.isPlaceholder():
		return a.top, nil
	case a != nil && a.spare != 0:
		return 0, nil
	case id != 0 && a == nil:
		return 0, c.refuseForeign(d)
	case mode == family.ModeGeneric:
		return 0, refuse(syscall.EBUSY, "",
			"the netdev must have a program in native mode, and program %d is attached in generic mode: detach it first", id)
	}
	prog, err := loadPlaceholder()
	if err != nil {
		return 0, refused(err, "the placeholder program cannot be loaded")
	}
	defer prog.Close()
	if a != nil {
		return 0, c.placeholderPin(d, prog, pinPlaceholder)
	}
	err = c.commit(ctx, d.index, func(t *txn) error {
		if err := c.placeholderPin(d, prog, pinComing); err != nil {
			return err
		}
		return c.attach(t, d, prog, family.ModeNative)
	})
	if err != nil {
		return 0, err
	}
	info, err := progInfoOf(prog.FD())
	if err != nil {
		return 0, err
	}
	return info.ID, nil
}

func (c *Control) placeholderPin(d *netdev, prog *ebpf.Program, name string) error {
	dir, err := c.claimDev(d.index)
	if err != nil {
		return err
	}
	if err := prog.Pin(filepath.Join(dir, name)); err != nil {
		return err
	}
	step("pin placeholder")
	return nil
}

// placeholderOff undoes placeholderOn. It is called under the lock. It does nothing
// if there is no placeholder, or no such netdev.
func (c *Control) placeholderOff(ctx context.Context, ifindex uint32) error {
	return c.changeDev(ifindex, func() error { return c.placeholderUnset(ctx, ifindex) })
}

func (c *Control) placeholderUnset(ctx context.Context, ifindex uint32) error {
	dir := c.state.dev(ifindex)
	_, a, err := c.attachmentOf(ifindex)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer a.close()
	if a == nil || !a.isPlaceholder() {
		return unpin(filepath.Join(dir, pinPlaceholder))
	}
	return c.commit(ctx, ifindex, func(*txn) error {
		// So that nothing is kept when it has been detached.
		err := os.Rename(filepath.Join(dir, pinPlaceholder), filepath.Join(dir, pinComing))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		step("rename placeholder")
		return linkDetach(a.link)
	})
}
