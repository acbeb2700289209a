// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Pins of the settings of a netdev.
const (
	pinSettings = "settings" // a struct settings
	pinMetadata = "metadata" // holds the BTF of the metadata
)

// ringChange is what was changed of the rings of a netdev, struct
// xdpctl_ring_change of kmod/attr.h.
type ringChange struct {
	NumOld   uint32 // channels that there were, of the kind that was changed
	NumNew   uint32 // channels that were made of it; 0 if nothing was changed
	Combined uint32 // they are combined channels, else those of the side
	SizeOld  uint32 // frames that a TX ring held
	SizeNew  uint32 // frames that it was made to hold; 0 if nothing was changed
}

// settings are what was set on a netdev and how to undo it. They are written
// before the netdev is changed, so that who is killed in between leaves at most
// a change to be undone that was not made; what is undone is only what is still
// as it was made.
type settings struct {
	Changed     uint64 // when what is reported changed last, or 0
	Redirect    uint32 // it is set up
	Placeholder uint32 // it needs a placeholder
	GRO         uint32 // GRO of the peer was turned on
	Rings       ringChange
	Queues      ringChange
	MDUsers     uint32
	MDHash      uint32 // the feature was turned on
	MDVLAN      uint32
	MDStamps    uint32 // hardware time stamps were turned on
	MDFilter    uint32 // the filter for them that there was
}

// any tells whether anything is set.
func (s *settings) any() bool { return s.Redirect != 0 || s.MDUsers != 0 }

// settingsMap is the spec of the map of a settings, with names to print.
func settingsMap() *ebpf.MapSpec {
	change := btfStruct("xdpctl_ring_change",
		btfMember("num_old", btfU32), btfMember("num_new", btfU32), btfMember("combined", btfU32),
		btfMember("size_old", btfU32), btfMember("size_new", btfU32))
	value := btfStruct("xdpctl_settings",
		btfMember("changed", btfU64),
		btfMember("redirect", btfU32), btfMember("placeholder", btfU32), btfMember("gro", btfU32),
		btfMember("rings", change), btfMember("queues", change),
		btfMember("md_users", btfU32), btfMember("md_hash", btfU32), btfMember("md_vlan", btfU32),
		btfMember("md_stamps", btfU32), btfMember("md_filter", btfU32))
	return &ebpf.MapSpec{
		Name: "xdpctl_settings", Type: ebpf.Array, KeySize: 4, ValueSize: 80, MaxEntries: 1,
		Key: btfU32, Value: value,
	}
}

// settingsOf reads the settings of a netdev; all 0 if there are none.
func (c *Control) settingsOf(ifindex uint32) (s settings, err error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(c.state.dev(ifindex), pinSettings), nil)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read settings: %w", err)
	}
	defer m.Close()
	if out, err := isOut(filepath.Join(c.state.dev(ifindex), beaconDev)); err != nil || out {
		return s, err
	}
	if err := m.Lookup(uint32(0), &s); err != nil {
		return s, fmt.Errorf("read settings: %w", err)
	}
	return s, nil
}

// settingsPut writes the settings of a netdev.
func (c *Control) settingsPut(ifindex uint32, s *settings) error {
	if err := c.traceOn(); err != nil {
		return err
	}
	dir, err := c.claimDev(ifindex)
	if err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	m, err := makePinned(filepath.Join(dir, pinSettings), settingsMap())
	if err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	defer m.Close()
	if err := m.Put(uint32(0), s); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	step("write settings")
	return nil
}

// settingsStamp takes down that what is reported of a netdev has changed, and
// removes what is not needed any more.
func (c *Control) settingsStamp(ifindex uint32) error {
	s, err := c.settingsOf(ifindex)
	if err != nil {
		return err
	}
	s.Changed = monotonic()
	if err := c.settingsPut(ifindex, &s); err != nil {
		return err
	}
	return c.settingsTidy(ifindex)
}

// settingsTidy removes the settings of a netdev if nothing is set.
func (c *Control) settingsTidy(ifindex uint32) error {
	s, err := c.settingsOf(ifindex)
	if err != nil || s.any() {
		return err
	}
	metered, err := c.isMetered(ifindex)
	if err != nil || metered {
		return err
	}
	return c.attrForget(ifindex)
}

// monotonic is a number that no later call returns, on this machine, until it is
// started anew.
func monotonic() uint64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return uint64(time.Now().UnixNano())
	}
	return uint64(ts.Nano())
}

// attrForget removes the settings and the meter of a netdev, without undoing
// anything, and its directory if that was all.
func (c *Control) attrForget(ifindex uint32) error {
	dir := c.state.dev(ifindex)
	err := errors.Join(
		c.meterForget(ifindex),
		unpin(filepath.Join(dir, pinMetadata)),
		unpin(filepath.Join(dir, pinSettings)))
	if err != nil {
		return fmt.Errorf("remove settings: %w", err)
	}
	return leaveDev(dir)
}
