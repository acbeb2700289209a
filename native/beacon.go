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
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/dirlock"
)

// A beacon is a pinned devmap with one netdev in it. The kernel takes it out when
// the netdev goes, or moves to another network namespace, and so tells from then
// on, to everybody, that what is kept of the netdev is of no use. Loopback stands
// for its network namespace.
const (
	beaconDev   = "netdev" // in the directory of a netdev
	beaconNetNS = "netns"  // in that of a network namespace
)

// loopback is the ifindex of the netdev that no network namespace is without.
const loopback = 1

// makeBeacon pins a beacon for a netdev of the calling thread's network
// namespace.
func makeBeacon(path string, ifindex uint32) error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "xdpctl_netdev", Type: ebpf.DevMap, KeySize: 4, ValueSize: 4, MaxEntries: 1,
	})
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Put(uint32(0), ifindex); err != nil {
		return err
	}
	if err := m.Pin(path); err != nil {
		return err
	}
	step("pin beacon")
	return nil
}

// isOut tells whether there is a beacon that says that its netdev is gone.
func isOut(path string) (bool, error) {
	fd, err := objGet(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	var ifindex uint32
	is, err := mapGet(fd, uint32(0), &ifindex)
	return !is, err
}

// claimDev makes the directory of a netdev, with a beacon.
func (c *Control) claimDev(ifindex uint32) (dir string, err error) {
	dir = c.state.dev(ifindex)
	if err := mkdir(dir); err != nil {
		return "", err
	}
	step("mkdir")
	beacon := filepath.Join(dir, beaconDev)
	if _, err := os.Stat(beacon); err == nil {
		return dir, nil
	}
	if err := makeBeacon(beacon, ifindex); err != nil {
		return "", errors.Join(fmt.Errorf("mark netdev: %w", err), rmdir(dir))
	}
	return dir, nil
}

// leaveDev removes the directory of a netdev if there is nothing else in it than
// the beacon.
func leaveDev(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(list) > 1 || len(list) == 1 && list[0].Name() != beaconDev {
		return nil
	}
	return errors.Join(unpin(filepath.Join(dir, beaconDev)), rmdir(dir))
}

// Collect removes what interrupted changes have left, and what is kept of netdevs
// and network namespaces that are gone. Every change does so by the way.
func (c *Control) Collect(ctx context.Context) error {
	return c.change(ctx, func() error { return nil })
}

// collect removes what interrupted changes have left, what is kept of netdevs
// that are gone, and of network namespaces that are.
func (c *Control) collect() error {
	if err := c.collectNetNS(); err != nil {
		return err
	}
	list, err := os.ReadDir(c.state.dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		ifindex, interrupted := strings.CutPrefix(e.Name(), changing)
		dir := filepath.Join(c.state.dir, ifindex)
		if _, err := strconv.ParseUint(ifindex, 10, 32); err != nil {
			continue
		}
		if interrupted {
			err = errors.Join(sweepDev(dir), rmdir(filepath.Join(c.state.dir, e.Name())))
		} else if out, outErr := isOut(filepath.Join(dir, beaconDev)); out {
			_, err = removeDev(dir)
		} else {
			err = outErr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// changing begins the name of the directory, beside that of a netdev, which is
// there while a change of its programs is under way, or was interrupted.
const changing = "changing-"

// changeDev runs f, which changes the programs of a netdev, and sweeps before and
// after.
func (c *Control) changeDev(ifindex uint32, f func() error) error {
	dir := c.state.dev(ifindex)
	mark := filepath.Join(c.state.dir, changing+filepath.Base(dir))
	if err := mkdir(mark); err != nil {
		return err
	}
	step("mark")
	if err := sweepDev(dir); err != nil {
		return err
	}
	err := f()
	if swept := errors.Join(sweepDev(dir), rmdir(mark)); err == nil {
		err = swept
	}
	step("unmark")
	return err
}

// sweepDev sweeps the directory of a netdev, and removes it if nothing is left.
func sweepDev(dir string) error { return errors.Join(sweep(dir), leaveDev(dir)) }

// collectNetNS removes what is kept of other network namespaces that are gone.
func (c *Control) collectNetNS() error {
	list, err := os.ReadDir(c.state.root)
	if err != nil {
		return err
	}
	for _, e := range list {
		dir := filepath.Join(c.state.root, e.Name())
		if _, err := strconv.ParseUint(e.Name(), 16, 64); err != nil || dir == c.state.dir {
			continue
		}
		if out, err := isOut(filepath.Join(dir, beaconNetNS)); err != nil || !out {
			continue // whoever is there will see
		}
		unlock, err := dirlock.Take(context.Background(), dir, unix.LOCK_EX|unix.LOCK_NB)
		if err != nil {
			continue // somebody else has begun
		}
		_, err = removeNetNS(dir)
		if err := errors.Join(err, unlock()); err != nil {
			return err
		}
	}
	return nil
}

// removeNetNS removes the directory of a network namespace with all that is in
// it, and returns what was there. The programs are detached.
func removeNetNS(dir string) (removed []string, err error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if !e.IsDir() {
			continue
		}
		pins, err := removeDev(filepath.Join(dir, e.Name()))
		removed = append(removed, pins...)
		if err != nil {
			return removed, err
		}
	}
	// Last, since it tells that the rest may be removed.
	pins, err := removeTree(dir)
	return append(removed, pins...), err
}

// removeDev removes the directory of a netdev with all that is in it, and returns
// what was there. The program is detached.
func removeDev(dir string) (removed []string, err error) {
	if removed, err = dropProgs(dir); err != nil {
		return removed, err
	}
	pins, err := removeTree(dir)
	return append(removed, pins...), err
}

// removeTree removes a directory, and returns the pins that were in it. The
// beacon goes last: as long as it is there the rest will be collected.
func removeTree(dir string) (removed []string, err error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var last []string
	for _, e := range list {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.Name() == beaconDev || e.Name() == beaconNetNS:
			last = append(last, path)
			continue
		case e.IsDir():
			pins, err := removeTree(path)
			removed = append(removed, pins...)
			if err != nil {
				return removed, err
			}
			continue
		}
		if err := unpin(path); err != nil {
			return removed, err
		}
		removed = append(removed, path)
	}
	for _, path := range last {
		if err := unpin(path); err != nil {
			return removed, err
		}
		removed = append(removed, path)
	}
	return removed, rmdir(dir)
}
