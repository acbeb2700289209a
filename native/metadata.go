// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/ethtool"
)

// setup-md turns the RX metadata of a netdev on and off, as kmod/metadata.c does:
// a program asks the driver for it by kfuncs, and what the driver answers with
// depends on settings of the hardware. What is on is asked of the netdev each
// time, since somebody else can turn it off.

// metadataName is the struct that programs write, bpf/xdpctl_rx_metadata.h.
const metadataName = "xdpctl_rx_metadata"

// metadataType describes that struct.
func metadataType() *btf.Struct {
	return btfStruct(metadataName,
		btfMember("rx_timestamp", btfU64),
		btfMember("rx_hash", btfU32),
		btfMember("rx_hash_type", btfU32),
		btfMember("vlan_proto", btfU16),
		btfMember("vlan_tci", btfU16),
		btfMember("valid", btfU32))
}

// metadataPin makes the map that keeps the BTF of the metadata for as long as it
// is on. Nothing is in it.
func (c *Control) metadataPin(ifindex uint32) error {
	m, err := makePinned(filepath.Join(c.state.dev(ifindex), pinMetadata), &ebpf.MapSpec{
		Name: metadataName, Type: ebpf.Array, KeySize: 4, ValueSize: 24, MaxEntries: 1,
		Key: btfU32, Value: metadataType(),
	})
	if err != nil {
		return fmt.Errorf("keep type of metadata: %w", err)
	}
	return m.Close()
}

// metadataIDs are the ids of the BTF of the metadata and of the type in it.
func (c *Control) metadataIDs(ifindex uint32) (object, typ uint32, err error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(c.state.dev(ifindex), pinMetadata), nil)
	if err != nil {
		return 0, 0, err
	}
	defer m.Close()
	info, err := m.Info()
	if err != nil {
		return 0, 0, err
	}
	id, ok := info.BTFID()
	if !ok {
		return 0, 0, errors.New("the map of the metadata has no BTF")
	}
	h, err := btf.NewHandleFromID(id)
	if err != nil {
		return 0, 0, err
	}
	defer h.Close()
	spec, err := h.Spec(nil)
	if err != nil {
		return 0, 0, err
	}
	var s *btf.Struct
	if err := spec.TypeByName(metadataName, &s); err != nil {
		return 0, 0, err
	}
	t, err := spec.TypeID(s)
	return uint32(id), uint32(t), err
}

// metadata is setup-md at work on a netdev.
type metadata struct {
	side
	driverName string
	has        family.XDPRXMetadata // what there are kfuncs for
	known      bool                 // the kernel has such a thing
	features   *ethtool.Features    // nil: a veth hands over what the skb has, and needs no setting
}

func (c *Control) metadata(ctx context.Context, dev *netdev) (*metadata, error) {
	m := &metadata{side: side{c: c, dev: dev}}
	caps, err := m.caps(ctx)
	if err != nil {
		return nil, err
	}
	m.has = caps.XDPRXMetadataFeatures
	m.known = caps.Has(family.AttrCapsXDPRXMetadataFeatures)
	if m.driverName, err = m.driver(); err != nil {
		return nil, err
	}
	return m, m.look(ctx)
}

// look reads the features of the netdev.
func (m *metadata) look(ctx context.Context) error {
	if m.has == 0 || m.dev.kind == "veth" {
		return nil
	}
	eth, err := m.c.ethtool()
	if err != nil {
		return err
	}
	m.features, err = eth.FeaturesGet(ctx, m.dev.index)
	return err
}

// lacks tells whether metadata rests on a feature that there is a choice of, and
// that is off.
func (m *metadata) lacks(md family.XDPRXMetadata, feature string) bool {
	return m.features != nil && m.has&md != 0 && m.features.HW[feature] && !m.features.Active[feature]
}

// on is what is on of the metadata that there are kfuncs for.
func (m *metadata) on() family.XDPRXMetadata {
	md := m.has
	if m.features == nil {
		return md
	}
	if m.lacks(family.XDPRXMetadataHash, ethtool.FeatureRXHash) {
		md &^= family.XDPRXMetadataHash
	}
	if m.lacks(family.XDPRXMetadataVLANTag, ethtool.FeatureRXVLANTag) {
		md &^= family.XDPRXMetadataVLANTag
	}
	if md&family.XDPRXMetadataTimestamp != 0 {
		cfg, err := m.stamps()
		if err != nil || cfg.Rx_filter != unix.HWTSTAMP_FILTER_ALL {
			md &^= family.XDPRXMetadataTimestamp
		}
	}
	return md
}

// switchOn turns on what is off; what cannot be turned on stays as it was. What
// is turned on is taken down in s before.
func (m *metadata) switchOn(ctx context.Context, s *settings, record func() error) error {
	if m.features == nil {
		return record()
	}
	eth, err := m.c.ethtool()
	if err != nil {
		return err
	}
	old := *s
	want := map[string]bool{}
	if m.lacks(family.XDPRXMetadataHash, ethtool.FeatureRXHash) {
		want[ethtool.FeatureRXHash], s.MDHash = true, 1
	}
	if m.lacks(family.XDPRXMetadataVLANTag, ethtool.FeatureRXVLANTag) {
		want[ethtool.FeatureRXVLANTag], s.MDVLAN = true, 1
	}
	var cfg *unix.HwTstampConfig
	if m.has&family.XDPRXMetadataTimestamp != 0 {
		cfg, err = m.stamps()
		if err == nil && cfg.Rx_filter != unix.HWTSTAMP_FILTER_ALL {
			if s.MDStamps == 0 {
				s.MDFilter = uint32(cfg.Rx_filter)
			}
			s.MDStamps = 1
		} else {
			cfg = nil
		}
	}
	if err := record(); err != nil {
		return err
	}
	if len(want) > 0 {
		if err := eth.FeaturesSet(ctx, m.dev.index, want); err != nil {
			return err
		}
		if err := m.look(ctx); err != nil {
			return err
		}
		m.giveUp(ctx, eth, want, s, &old)
	}
	if cfg != nil && m.setStamps(cfg, unix.HWTSTAMP_FILTER_ALL) != nil {
		s.MDStamps, s.MDFilter = old.MDStamps, old.MDFilter
	}
	return record()
}

// giveUp forgets what could not be turned on.
func (m *metadata) giveUp(ctx context.Context, eth *ethtool.Conn, want map[string]bool, s, old *settings) {
	off := map[string]bool{}
	for name, mark := range map[string]*uint32{ethtool.FeatureRXHash: &s.MDHash, ethtool.FeatureRXVLANTag: &s.MDVLAN} {
		if want[name] && !m.features.Active[name] {
			off[name] = false
			*mark = old.MDHash
			if name == ethtool.FeatureRXVLANTag {
				*mark = old.MDVLAN
			}
		}
	}
	if len(off) > 0 {
		eth.FeaturesSet(ctx, m.dev.index, off) // it is off, but is wanted on
	}
}

// switchOff turns off what was turned on.
func (m *metadata) switchOff(ctx context.Context, s *settings) error {
	eth, err := m.c.ethtool()
	if err != nil {
		return err
	}
	off := map[string]bool{}
	if s.MDHash != 0 {
		off[ethtool.FeatureRXHash] = false
	}
	if s.MDVLAN != 0 {
		off[ethtool.FeatureRXVLANTag] = false
	}
	if len(off) > 0 {
		err = eth.FeaturesSet(ctx, m.dev.index, off)
	}
	if s.MDStamps != 0 {
		if cfg, stampErr := m.stamps(); stampErr == nil && cfg.Rx_filter == unix.HWTSTAMP_FILTER_ALL {
			m.setStamps(cfg, s.MDFilter)
		}
	}
	return err
}

// stamps reads how the hardware stamps frames.
func (m *metadata) stamps() (*unix.HwTstampConfig, error) {
	fd, err := m.ioctlSocket()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return unix.IoctlGetHwTstamp(fd, m.dev.name)
}

// setStamps sets the filter for received frames. What is sent stays as it is.
func (m *metadata) setStamps(cfg *unix.HwTstampConfig, filter uint32) error {
	fd, err := m.ioctlSocket()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	now := *cfg
	now.Rx_filter = int32(filter)
	return unix.IoctlSetHwTstamp(fd, m.dev.name, &now)
}

func (m *metadata) ioctlSocket() (fd int, err error) {
	err = m.c.inNetNS(func() (err error) {
		fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return os.NewSyscallError("socket", err)
	})
	return fd, err
}

func (m *metadata) check() error {
	switch {
	case !m.known:
		return refuse(syscall.EOPNOTSUPP, "", "the kernel has no RX metadata for XDP")
	case m.has != 0:
		return nil
	case m.driverName != "":
		return refuse(syscall.EOPNOTSUPP, "", "driver %s gives no RX metadata", m.driverName)
	default:
		return refuse(syscall.EOPNOTSUPP, "", "the netdev gives no RX metadata")
	}
}

// get adds a user.
func (m *metadata) get(ctx context.Context, s settings) error {
	if err := m.check(); err != nil {
		return err
	}
	if s.MDUsers == allUsers {
		return refuse(syscall.EOPNOTSUPP, "", "the metadata has too many users")
	}
	before := s
	s.MDUsers++
	record := func() error {
		if err := m.c.settingsPut(m.dev.index, &s); err != nil {
			return err
		}
		return m.c.metadataPin(m.dev.index)
	}
	err := m.switchOn(ctx, &s, record)
	if err == nil && (before.MDUsers != 0 || m.on() != 0) {
		return nil
	}
	if err == nil {
		err = refuse(syscall.EOPNOTSUPP, "", "the RX metadata of driver %s cannot be turned on", nameOf(m.driverName))
	}
	if before.MDUsers == 0 {
		err = errors.Join(err, m.off(ctx, s))
	} else {
		err = errors.Join(err, m.c.settingsPut(m.dev.index, &before))
	}
	return errors.Join(err, m.c.settingsTidy(m.dev.index))
}

// put takes users away.
func (m *metadata) put(ctx context.Context, s settings, users uint32) error {
	switch {
	case s.MDUsers == 0:
		return nil
	case users < s.MDUsers:
		s.MDUsers -= users
		return m.c.settingsPut(m.dev.index, &s)
	default:
		return m.off(ctx, s)
	}
}

func (m *metadata) off(ctx context.Context, s settings) error {
	if err := m.switchOff(ctx, &s); err != nil {
		return err
	}
	s.MDUsers, s.MDHash, s.MDVLAN, s.MDStamps, s.MDFilter = 0, 0, 0, 0, 0
	if err := m.c.settingsPut(m.dev.index, &s); err != nil {
		return err
	}
	return unpin(filepath.Join(m.c.state.dev(m.dev.index), pinMetadata))
}

// mdSet turns the RX metadata of a netdev on for a user, or off for as many.
func (c *Control) mdSet(ctx context.Context, dev *netdev, on bool, users uint32) error {
	s, err := c.settingsOf(dev.index)
	if err != nil {
		return err
	}
	if !on && s.MDUsers == 0 {
		return nil
	}
	m, err := c.metadata(ctx, dev)
	if err != nil {
		return err
	}
	if on {
		return m.get(ctx, s)
	}
	return m.put(ctx, s, users)
}

// mdFill reports the setting.
func (c *Control) mdFill(ctx context.Context, dev *netdev, s *settings, v *family.Attr) error {
	v.SetEnableMD(number(s.MDUsers != 0))
	v.SetMDUsers(s.MDUsers)
	if s.MDUsers == 0 {
		return nil
	}
	m, err := c.metadata(ctx, dev)
	if err != nil {
		return err
	}
	v.SetMDFeatures(m.on())
	object, typ, err := c.metadataIDs(dev.index)
	if errors.Is(err, os.ErrNotExist) {
		return nil // somebody was killed before, or turns it off just now
	}
	if err != nil {
		return fmt.Errorf("read type of metadata: %w", err)
	}
	v.SetMDBTFID(object)
	v.SetMDTypeID(typ)
	return nil
}
