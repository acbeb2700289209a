// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// maxEntries is what control maps are created with. It limits nothing in the kernel,
// but iterators of packages that mean to end may give up after so many keys.
const maxEntries = 1 << 20

// Layout is a control type as a map: what BPF_MAP_CREATE takes.
type Layout struct {
	// Name of the map, such as "xdp_stats".
	Name string
	// KeySize and ValueSize choose the control type, in bytes.
	KeySize, ValueSize uint32
}

// LayoutOf is the layout of a control type that this binary knows.
func LayoutOf(d *family.TypeDesc) Layout {
	return Layout{Name: d.MapName, KeySize: uint32(d.KeySize), ValueSize: uint32(d.ValueSize)}
}

// FindLayout finds the layout of a control type by the name of the type or of
// its map.
//
// The error matches [os.ErrNotExist] if there is none of that name.
func FindLayout(name string) (Layout, error) {
	for _, d := range family.Descs() {
		if name == d.Name || name == d.MapName {
			return LayoutOf(&d), nil
		}
	}
	return Layout{}, fmt.Errorf("control type %q: %w", name, os.ErrNotExist)
}

// MapOptions says what control map [CreateMap] makes, and where.
type MapOptions struct {
	// Type of the entries, if this binary knows it.
	Type family.CtrlType
	// Layout of a type that this binary does not know, as type-get tells it
	// at the netlink door. Used if Type is 0.
	Layout Layout
	// DeviceOptions say on which control device.
	DeviceOptions
}

// CreateMap creates a control map on the control device of a netns. The
// caller closes it.
//
// Needs CAP_SYS_ADMIN. The error matches [os.ErrNotExist] if there is no
// control device, [os.ErrPermission] without the capability, and
// [errors.ErrUnsupported] if the module has no control type of these sizes.
func CreateMap(opts MapOptions) (*ebpf.Map, error) {
	layout := opts.Layout
	if opts.Type != 0 {
		d := opts.Type.Desc()
		if d == nil {
			return nil, fmt.Errorf("create control map of %v: %w", opts.Type, errors.ErrUnsupported)
		}
		layout = LayoutOf(d)
	}
	ns, err := openNetNS(opts.NetNSName, opts.NetNS)
	if err != nil {
		return nil, err
	}
	th, err := newThread(ns)
	if err != nil {
		return nil, err
	}
	defer th.close()
	dev, err := findIn(th.fd(), opts.DeviceOptions)
	if err != nil {
		return nil, err
	}
	return createOn(th, layout, dev)
}

func createOn(th *thread, l Layout, dev *Device) (m *ebpf.Map, err error) {
	if e := th.do(func() { m, err = createMap(l, dev.Index) }); e != nil {
		err = e
	}
	if errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("create control map %s on %s: %w: no control type has a key of %d and a value of %d bytes",
			l.Name, dev.Name, errors.ErrUnsupported, l.KeySize, l.ValueSize)
	}
	if err != nil {
		return nil, fmt.Errorf("create control map %s on %s: %w", l.Name, dev.Name, err)
	}
	return m, nil
}

// OpenMap opens a pinned control map. The caller closes it.
//
// The error matches [os.ErrNotExist] if nothing is pinned there.
func OpenMap(path string) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err != nil {
		return nil, fmt.Errorf("open pinned map %s: %w", path, err)
	}
	info, err := getMapInfo(m.FD())
	if err == nil && info.Ifindex == 0 {
		err = errors.New("not a control map: it belongs to no netdev")
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("open pinned map %s: %w", path, err)
	}
	return m, nil
}

// Info is what the kernel tells of a control map.
type Info struct {
	// ID and Name of the map.
	ID   uint32
	Name string
	// KeySize and ValueSize in bytes.
	KeySize, ValueSize uint32
	// Ifindex of the control device, in its netns.
	Ifindex uint32
	// NetnsIno is the inode number of that netns.
	NetnsIno uint64
	// BTFID is the BTF object that describes key and value by the type ids
	// BTFKeyID and BTFValueID. 0 if there is none.
	BTFID, BTFKeyID, BTFValueID uint32
}

// MapInfo reads the kernel's information on a map.
func MapInfo(m *ebpf.Map) (*Info, error) {
	i, err := getMapInfo(m.FD())
	if err != nil {
		return nil, fmt.Errorf("get map info: %w", err)
	}
	name, _, _ := strings.Cut(string(i.Name[:]), "\x00")
	return &Info{
		ID: i.ID, Name: name,
		KeySize: i.KeySize, ValueSize: i.ValueSize,
		Ifindex: i.Ifindex, NetnsIno: i.NetnsIno,
		BTFID: i.BTFID, BTFKeyID: i.BTFKeyID, BTFValueID: i.BTFValueID,
	}, nil
}

// Type is the control type of the map, or nil if this binary knows none of its
// sizes.
func (i *Info) Type() *family.TypeDesc {
	descs := family.Descs()
	for n := range descs {
		d := &descs[n]
		if uint32(d.KeySize) != i.KeySize {
			continue
		}
		if uint32(d.ValueSize) == i.ValueSize || slices.Contains(d.OldSizes, int(i.ValueSize)) {
			return d
		}
	}
	return nil
}

// Maps opens every control map there is, in ascending order of ids, and calls
// f with each. A map is closed when f returns. Needs CAP_SYS_ADMIN.
//
// Maps that other devices offload, which no control device made, are told
// apart by their sizes alone.
func Maps(f func(m *ebpf.Map, info *Info) error) error {
	id := ebpf.MapID(0)
	for {
		next, err := ebpf.MapGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list maps: %w", err)
		}
		id = next
		if err := visitMap(id, f); err != nil {
			return err
		}
	}
}

// visitMap is one step of Maps. A map that is gone meanwhile is passed over.
func visitMap(id ebpf.MapID, f func(m *ebpf.Map, info *Info) error) error {
	m, err := ebpf.NewMapFromID(id)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open map %d: %w", id, err)
	}
	defer m.Close()

	info, err := MapInfo(m)
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Ifindex == 0 || (info.Type() == nil && !strings.HasPrefix(info.Name, "xdp_")) {
		return nil
	}
	return f(m, info)
}
