// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/genl"
)

// netdev is what rtnetlink says of a netdev.
type netdev struct {
	index uint32
	name  string
	kind  string // of rtnl_link_ops, such as "veth"; "" for hardware
	up    bool   // administratively
	mtu   uint32

	// RX and TX queues that the netdev was made with. Those in use are
	// asked for by queues.
	maxRX, maxTX uint32

	// What rtnl_link_ops call the link: of a veth its peer, of a VLAN the
	// lower device. It is in the namespace of peerNSID, or, if that is -1,
	// in the same. 0 if there is none, or it is out of reach.
	peer     uint32
	peerNSID int32

	xdp netdevXDP
}

// netdevXDP is the ids of the programs on a netdev by mode, 0 for none.
type netdevXDP struct{ native, generic, hw uint32 }

// host is the mode and the id of the program that runs on the host; a netdev has
// one in one mode only. The mode is 0 if there is none.
func (x *netdevXDP) host() (family.Mode, uint32) {
	switch {
	case x.native != 0:
		return family.ModeNative, x.native
	case x.generic != 0:
		return family.ModeGeneric, x.generic
	default:
		return 0, 0
	}
}

// noNetdev refuses to read of a netdev that is not there. An update says ENODEV
// of it.
func noNetdev() error { return refuse(syscall.ENOENT, "", "no such netdev") }

// rtnl is a socket for requests to rtnetlink, which is opened when it is needed.
type rtnl struct {
	mu   sync.Mutex
	conn *netlink.Conn
}

// request sends a request in the network namespace of the calling thread, to
// which the socket then belongs.
func (r *rtnl) request(m netlink.Message) ([]netlink.Message, error) {
	r.mu.Lock()
	if r.conn == nil {
		conn, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{MessageBufferSize: 32 << 10})
		if err != nil {
			r.mu.Unlock()
			return nil, err
		}
		r.conn = conn
	}
	conn := r.conn
	r.mu.Unlock()
	return conn.Execute(m)
}

func (r *rtnl) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == nil {
		return nil
	}
	err := r.conn.Close()
	r.conn = nil
	return err
}

// netdev reads a netdev. It runs on a thread in the network namespace.
//
// Refuses with ENOENT if there is none.
func (c *Control) netdev(ifindex uint32) (*netdev, error) {
	if ifindex == 0 || ifindex > math.MaxInt32 {
		return nil, noNetdev()
	}
	list, err := c.getLink(ifindex, 0)
	if errors.Is(err, unix.ENODEV) {
		return nil, noNetdev()
	}
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("read netdev %d: %d replies", ifindex, len(list))
	}
	return list[0], nil
}

// netdevs reads all netdevs, in ascending order of ifindex. It runs on a thread
// in the network namespace.
func (c *Control) netdevs() ([]*netdev, error) {
	// One that came or went during the dump is there or not; a dump that the
	// kernel calls inconsistent for that is as good as any.
	list, err := c.getLink(0, netlink.Dump)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b *netdev) int { return int(a.index) - int(b.index) })
	return slices.CompactFunc(list, func(a, b *netdev) bool { return a.index == b.index }), nil
}

// rtextFilterSkipStats asks for no counters.
const rtextFilterSkipStats = 1 << 3

func (c *Control) getLink(ifindex uint32, flags netlink.HeaderFlags) ([]*netdev, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.IFLA_EXT_MASK, rtextFilterSkipStats)
	attrs, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	info := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(info[4:], ifindex)
	msgs, err := c.rtnl.request(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request | flags},
		Data:   append(info, attrs...),
	})
	if err != nil {
		return nil, fmt.Errorf("read netdevs: %w", err)
	}
	var list []*netdev
	for _, m := range msgs {
		if m.Header.Type != unix.RTM_NEWLINK {
			continue
		}
		d, err := parseNetdev(m.Data)
		if err != nil {
			return nil, fmt.Errorf("read netdevs: %w", err)
		}
		list = append(list, d)
	}
	return list, nil
}

func parseNetdev(b []byte) (*netdev, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return nil, errors.New("short message")
	}
	d := &netdev{
		index:    binary.NativeEndian.Uint32(b[4:]),
		up:       binary.NativeEndian.Uint32(b[8:])&unix.IFF_UP != 0,
		peerNSID: -1,
	}
	err := eachAttr(b[unix.SizeofIfInfomsg:], func(typ uint16, data []byte) error {
		switch typ {
		case unix.IFLA_IFNAME:
			d.name = unix.ByteSliceToString(data)
		case unix.IFLA_MTU:
			return attrUint32(&d.mtu, data)
		case unix.IFLA_NUM_RX_QUEUES:
			return attrUint32(&d.maxRX, data)
		case unix.IFLA_NUM_TX_QUEUES:
			return attrUint32(&d.maxTX, data)
		case unix.IFLA_LINK:
			return attrUint32(&d.peer, data)
		case unix.IFLA_LINK_NETNSID:
			var id uint32
			err := attrUint32(&id, data)
			d.peerNSID = int32(id)
			return err
		case unix.IFLA_LINKINFO:
			return eachAttr(data, d.parseInfo)
		case unix.IFLA_XDP:
			return eachAttr(data, d.xdp.parse)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (d *netdev) parseInfo(typ uint16, data []byte) error {
	if typ == unix.IFLA_INFO_KIND {
		d.kind = unix.ByteSliceToString(data)
	}
	return nil
}

func (x *netdevXDP) parse(typ uint16, data []byte) error {
	switch typ {
	case unix.IFLA_XDP_DRV_PROG_ID:
		return attrUint32(&x.native, data)
	case unix.IFLA_XDP_SKB_PROG_ID:
		return attrUint32(&x.generic, data)
	case unix.IFLA_XDP_HW_PROG_ID:
		return attrUint32(&x.hw, data)
	}
	return nil
}

// eachAttr calls f with each attribute. Netdevs have many that nobody asked for,
// and are read for whatever is asked of one, so it allocates nothing for them.
func eachAttr(b []byte, f func(typ uint16, data []byte) error) error {
	for len(b) > 0 {
		typ, data, rest, ok := genl.NextAttr(b)
		if !ok {
			return errors.New("truncated attribute")
		}
		if err := f(typ, data); err != nil {
			return fmt.Errorf("attribute %d: %w", typ, err)
		}
		b = rest
	}
	return nil
}

func attrUint32(dst *uint32, data []byte) error {
	if len(data) != 4 {
		return fmt.Errorf("number of %d bytes", len(data))
	}
	*dst = binary.NativeEndian.Uint32(data)
	return nil
}

// isLinked tells whether it is by a link that a netdev has its program in a mode.
// Rtnetlink does not say so, but refuses with another errno: to detach a program over
// a link, and to detach another program than there is.
func (c *Control) isLinked(d *netdev, mode family.Mode) (bool, error) {
	flags := uint32(unix.XDP_FLAGS_REPLACE)
	switch mode {
	case family.ModeNative:
		flags |= unix.XDP_FLAGS_DRV_MODE
	case family.ModeGeneric:
		flags |= unix.XDP_FLAGS_SKB_MODE
	default:
		flags |= unix.XDP_FLAGS_HW_MODE
	}
	ae := netlink.NewAttributeEncoder()
	ae.Nested(unix.IFLA_XDP, func(ae *netlink.AttributeEncoder) error {
		ae.Int32(unix.IFLA_XDP_FD, -1)
		ae.Int32(unix.IFLA_XDP_EXPECTED_FD, -1)
		ae.Uint32(unix.IFLA_XDP_FLAGS, flags)
		return nil
	})
	attrs, err := ae.Encode()
	if err != nil {
		return false, err
	}
	info := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(info[4:], d.index)
	_, err = c.rtnl.request(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_SETLINK, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(info, attrs...),
	})
	switch {
	case errors.Is(err, unix.EEXIST):
		return false, nil
	case errors.Is(err, unix.EBUSY), errors.Is(err, unix.EPERM):
		return true, nil // who may not ask believes the link
	case err == nil, errors.Is(err, unix.ENODEV):
		return false, errChanged // there is nothing to be detached
	default:
		return false, fmt.Errorf("ask for a link on netdev %d: %w", d.index, err)
	}
}
