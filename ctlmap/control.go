// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/xdpctl/xdpctl-nl/family"
)

// Options says which control maps [Open] uses.
type Options struct {
	// NetNSName is the netns whose netdevs are meant: a name, as ip-netns(8)
	// gives it, or a path, which has a slash in it. If empty, that of the
	// calling thread, in which everybody must be who updates or deletes.
	NetNSName string
	// NetNS is an open netns, used instead of NetNSName if it is not 0. It
	// stays the caller's.
	NetNS int
	// Device is the name of the control device. Empty takes the one with
	// the lowest ifindex.
	Device string
	// Create makes a control device where there is none. Needs
	// CAP_NET_ADMIN, and loads the module if it is installed.
	Create bool
	// PinPath is a directory with control maps pinned under their names,
	// such as xdp_stats. If set, maps come from there and none is created,
	// so that CAP_SYS_ADMIN is not needed; a type that is not pinned is
	// not supported.
	PinPath string
}

// Control is XDP control through control maps.
type Control struct {
	thread *thread
	maps   []*ebpf.Map
	types  []*family.TypeDesc // of maps

	stats  *table[family.StatsKey, family.Stats]
	qstats *table[family.QstatsKey, family.Qstats]
	prog   *table[family.ProgKey, family.Prog]
	caps   *table[family.CapsKey, family.Caps]
	attr   *table[family.AttrKey, family.Attr]
	port   *table[family.PortKey, family.Port]
}

var _ family.Control = (*Control)(nil)

// Open opens the map door: a control map of each type.
//
// The error matches [os.ErrNotExist] if there is no control device, and
// [os.ErrPermission] without CAP_SYS_ADMIN. The module lacking a type is no
// error: the operations on its table match [errors.ErrUnsupported].
func Open(opts Options) (*Control, error) {
	ns, err := openNetNS(opts.NetNSName, opts.NetNS)
	if err != nil {
		return nil, err
	}
	th, err := newThread(ns)
	if err != nil {
		return nil, err
	}
	c := &Control{thread: th}
	open, err := opener(th, opts)
	if err == nil {
		err = c.openTables(open)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// openFunc gives the map of a layout. Its error matches errors.ErrUnsupported
// if there is none.
type openFunc func(Layout) (*ebpf.Map, error)

// opener is the function that gives the map of a type.
func opener(th *thread, opts Options) (openFunc, error) {
	if opts.PinPath != "" {
		return func(l Layout) (*ebpf.Map, error) { return openPinned(opts.PinPath, l) }, nil
	}
	dev, err := findIn(th.fd(), DeviceOptions{Name: opts.Device, Create: opts.Create})
	if err != nil {
		return nil, err
	}
	return func(l Layout) (*ebpf.Map, error) { return createOn(th, l, dev) }, nil
}

// openPinned opens the map of a type from a directory.
func openPinned(dir string, l Layout) (*ebpf.Map, error) {
	m, err := OpenMap(filepath.Join(dir, l.Name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", errors.ErrUnsupported, err)
	}
	if err != nil {
		return nil, err
	}
	if m.KeySize() != l.KeySize || m.ValueSize() != l.ValueSize {
		m.Close()
		return nil, fmt.Errorf("open pinned map %s: %w: key and value have %d and %d bytes, not %d and %d",
			filepath.Join(dir, l.Name), errors.ErrUnsupported, m.KeySize(), m.ValueSize(), l.KeySize, l.ValueSize)
	}
	return m, nil
}

func (c *Control) openTables(open openFunc) (err error) {
	if c.stats, err = openTable[family.StatsKey, family.Stats](c, family.CtrlTypeXDPStats, open); err != nil {
		return err
	}
	if c.qstats, err = openTable[family.QstatsKey, family.Qstats](c, family.CtrlTypeXDPQstats, open); err != nil {
		return err
	}
	if c.prog, err = openTable[family.ProgKey, family.Prog](c, family.CtrlTypeXDPProg, open); err != nil {
		return err
	}
	if c.caps, err = openTable[family.CapsKey, family.Caps](c, family.CtrlTypeXDPCaps, open); err != nil {
		return err
	}
	if c.attr, err = openTable[family.AttrKey, family.Attr](c, family.CtrlTypeXDPAttr, open); err != nil {
		return err
	}
	c.port, err = openTable[family.PortKey, family.Port](c, family.CtrlTypeXDPPort, open)
	return err
}

// openTable makes the table of one type, which remembers why it has no map if
// that is because the type is not supported.
func openTable[K, V any](c *Control, id family.CtrlType, open openFunc) (*table[K, V], error) {
	d := id.Desc()
	m, err := open(LayoutOf(d))
	for _, size := range slices.Backward(d.OldSizes) {
		if !errors.Is(err, errors.ErrUnsupported) {
			break
		}
		old := LayoutOf(d)
		old.ValueSize = uint32(size)
		m, err = open(old)
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	if err == nil {
		c.maps = append(c.maps, m)
		c.types = append(c.types, d)
	}
	return newTable[K, V](d, m, err, c.thread), nil
}

// Stats implements [family.Control].
func (c *Control) Stats() family.Table[family.StatsKey, family.Stats] { return c.stats }

// Qstats implements [family.Control].
func (c *Control) Qstats() family.Table[family.QstatsKey, family.Qstats] { return c.qstats }

// Prog implements [family.Control].
func (c *Control) Prog() family.Table[family.ProgKey, family.Prog] { return c.prog }

// Caps implements [family.Control].
func (c *Control) Caps() family.Table[family.CapsKey, family.Caps] { return c.caps }

// Attr implements [family.Control].
func (c *Control) Attr() family.Table[family.AttrKey, family.Attr] { return c.attr }

// Port implements [family.Control].
func (c *Control) Port() family.Table[family.PortKey, family.Port] { return c.port }

// Types implements [family.Control]. Sizes and BTF ids are those of the maps;
// which operations a type supports is as the spec has it, since maps do not
// tell.
func (c *Control) Types(ctx context.Context) ([]family.Type, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var types []family.Type
	for i, m := range c.maps {
		info, err := MapInfo(m)
		if err != nil {
			return nil, err
		}
		types = append(types, typeOf(c.types[i], info))
	}
	return types, nil
}

func typeOf(d *family.TypeDesc, info *Info) family.Type {
	var t family.Type
	t.SetID(d.Type)
	t.SetName(d.MapName)
	t.SetKeySize(info.KeySize)
	t.SetValueSize(info.ValueSize)
	t.SetOperations(d.Operations)
	if info.BTFID != 0 {
		t.SetBTFID(info.BTFID)
		t.SetBTFKeyTypeID(info.BTFKeyID)
		t.SetBTFValueTypeID(info.BTFValueID)
	}
	return t
}

// Subscribe implements [family.Control]. Maps have no notifications: the error
// matches [errors.ErrUnsupported].
func (c *Control) Subscribe(context.Context) (family.Subscription, error) {
	return nil, fmt.Errorf("subscribe at the map door: %w", errors.ErrUnsupported)
}

// Name implements [family.Control]. It returns "map".
func (c *Control) Name() string { return "map" }

// Map is the control map of a type, nil if the type is not supported. It
// belongs to c.
func (c *Control) Map(id family.CtrlType) *ebpf.Map {
	for i, d := range c.types {
		if d.Type == id {
			return c.maps[i]
		}
	}
	return nil
}

// Close closes the maps. No operation may be under way or follow.
func (c *Control) Close() error {
	var errs []error
	for _, m := range c.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(append(errs, c.thread.close())...)
}
