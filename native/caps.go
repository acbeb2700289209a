// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
)

// capsOps are the operations of control type xdp-caps.
func (c *Control) capsOps() ops[family.CapsKey, family.Caps] {
	return ops[family.CapsKey, family.Caps]{
		keys: func(_ context.Context, filter *family.CapsKey) ([]family.CapsKey, error) {
			return netdevKeys(c, filter, func(k *family.CapsKey) *uint32 { return &k.Ifindex })
		},
		lookup: c.capsLookup,
	}
}

func (c *Control) capsLookup(ctx context.Context, k *family.CapsKey, v *family.Caps) error {
	d, err := c.netdev(k.Ifindex)
	if err != nil {
		return err
	}
	l, err := c.lookAt(d)
	if err != nil {
		return err
	}
	defer l.close()
	parent, err := d.parentDriver(l.dir)
	if err != nil {
		return err
	}
	name, err := c.driverName(d.index)
	if err != nil {
		return err
	}
	if name != "" {
		v.SetDriver(name)
	}
	l.capsQueues(v)
	known, err := c.kernelFeatures(ctx, d.index, v)
	if err == nil && !known {
		err = l.derivedFeatures(ctx, parent, name, v)
	}
	if err != nil {
		return err
	}
	if actions := capsActions(parent, v.XDPFeatures); actions != 0 {
		v.SetActions(actions)
	}
	return nil
}

// driverName is the name of the driver as ethtool -i says; "" if there is none, or
// the device is not there just now.
func (c *Control) driverName(ifindex uint32) (string, error) {
	eth, err := c.ethtool()
	if err != nil {
		return "", err
	}
	info, err := eth.DrvInfo(ifindex)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENODEV) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return info.Driver, nil
}

func (l *look) capsQueues(v *family.Caps) {
	if l.rx != 0 {
		v.SetRXQueues(l.rx)
		v.SetTXQueues(l.tx)
	}
	v.SetMaxRXQueues(l.dev.maxRX)
	v.SetMaxTXQueues(l.dev.maxTX)
}

// capsActions are the XDP actions that do what they say. A veth sends back to its
// peer as it sends what is redirected to it.
func capsActions(parent string, features family.XDPAct) family.Action {
	if features&family.XDPActBasic == 0 {
		return 0
	}
	actions := family.ActionAborted | family.ActionDrop | family.ActionPass
	if parent != "veth" || features&family.XDPActNDOXmit != 0 {
		actions |= family.ActionTX
	}
	if features&family.XDPActRedirect != 0 {
		actions |= family.ActionRedirect
	}
	return actions
}

// Numbers of the netdev family, from Documentation/netlink/specs/netdev.yaml.
const (
	netdevFamily        = "netdev"
	netdevDevGet        = 1
	netdevIfindex       = 1
	netdevXDPFeatures   = 3
	netdevZCMaxSegs     = 4
	netdevRXMetadata    = 5
	netdevDefaultZCSegs = 1 // all there could be before kernels told
)

// lazyNetdev is the netdev family, which is found when it is needed.
type lazyNetdev struct {
	mu     sync.Mutex
	conn   *genl.Conn
	family *genl.Family
	absent bool // the kernel has none
}

// netdevFamily finds the netdev family; nil if the kernel, before 6.3, has none.
func (c *Control) netdevFamily(ctx context.Context) (*genl.Conn, *genl.Family, error) {
	n := &c.genl
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.absent || n.family != nil {
		return n.conn, n.family, nil
	}
	if n.conn == nil {
		conn, err := genl.Dial(genl.Options{NetNS: int(c.ns.Fd())})
		if err != nil {
			return nil, nil, err
		}
		n.conn = conn
	}
	f, err := n.conn.Family(ctx, netdevFamily)
	if errors.Is(err, os.ErrNotExist) {
		n.absent = true
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	n.family = f
	return n.conn, f, nil
}

func (n *lazyNetdev) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conn == nil {
		return nil
	}
	err := n.conn.Close()
	n.conn, n.family = nil, nil
	return err
}

// kernelFeatures takes the kernel's own word, if it has one.
func (c *Control) kernelFeatures(ctx context.Context, ifindex uint32, v *family.Caps) (known bool, err error) {
	conn, fam, err := c.netdevFamily(ctx)
	if err != nil || fam == nil {
		return false, err
	}
	segs := uint32(netdevDefaultZCSegs)
	err = conn.Do(ctx, genl.Request{
		Op: "dev-get", Family: fam, Command: netdevDevGet,
		Attrs: genl.AppendUint32(nil, netdevIfindex, ifindex),
	}, func(m genl.Message) error {
		for b := m.Attrs; len(b) > 0; {
			typ, data, rest, ok := genl.NextAttr(b)
			if !ok {
				return genl.ErrMalformed
			}
			b = rest
			switch {
			case typ == netdevXDPFeatures && len(data) == 8:
				v.SetXDPFeatures(family.XDPAct(binary.NativeEndian.Uint64(data)))
				known = true
			case typ == netdevRXMetadata && len(data) == 8:
				v.SetXDPRXMetadataFeatures(family.XDPRXMetadata(binary.NativeEndian.Uint64(data)))
			case typ == netdevZCMaxSegs && len(data) == 4:
				segs = binary.NativeEndian.Uint32(data)
			}
		}
		return nil
	})
	if errors.Is(err, unix.ENODEV) {
		return false, noNetdev()
	}
	if err != nil {
		return false, fmt.Errorf("read XDP features: %w", err)
	}
	if known {
		v.SetSource(family.SourceKernel)
	}
	if v.XDPFeatures&family.XDPActXSKZerocopy != 0 {
		v.SetXDPZCMaxSegs(segs)
	}
	return known, nil
}
