// SPDX-License-Identifier: BSD-3-Clause

package testutil

import (
	"encoding/binary"
	"fmt"
	"net"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ifinfo is struct ifinfomsg.
func ifinfo(index int, flags, change uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], flags)
	binary.NativeEndian.PutUint32(b[12:], change)
	return b
}

func (ns *NetNS) request(typ uint16, flags netlink.HeaderFlags, info []byte, fill func(*netlink.AttributeEncoder)) ([]netlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	if fill != nil {
		fill(ae)
	}
	b, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	return ns.rt.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(typ), Flags: netlink.Request | flags},
		Data:   append(info, b...),
	})
}

func (ns *NetNS) change(what string, typ uint16, flags netlink.HeaderFlags, info []byte, fill func(*netlink.AttributeEncoder)) error {
	if _, err := ns.request(typ, flags|netlink.Acknowledge, info, fill); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// NewLink is ip link add NAME type KIND.
func (ns *NetNS) NewLink(name, kind string, data func(*netlink.AttributeEncoder) error) error {
	return ns.change("add "+name, unix.RTM_NEWLINK, netlink.Create|netlink.Excl, ifinfo(0, unix.IFF_UP, unix.IFF_UP),
		func(ae *netlink.AttributeEncoder) {
			ae.String(unix.IFLA_IFNAME, name)
			ae.Nested(unix.IFLA_LINKINFO, func(ae *netlink.AttributeEncoder) error {
				ae.String(unix.IFLA_INFO_KIND, kind)
				if data != nil {
					ae.Nested(unix.IFLA_INFO_DATA, data)
				}
				return nil
			})
		})
}

// AddDummy makes a dummy netdev, and returns its ifindex.
func (ns *NetNS) AddDummy(name string) int {
	ns.tb.Helper()
	if err := ns.NewLink(name, "dummy", nil); err != nil {
		ns.tb.Fatal(err)
	}
	return ns.Index(name)
}

// AddControl makes the control device of the namespace, and returns its
// ifindex.
func (ns *NetNS) AddControl(name string) int {
	ns.tb.Helper()
	if err := ns.NewLink(name, "xdpctl", nil); err != nil {
		ns.tb.Fatal(err)
	}
	return ns.Index(name)
}

// VethOptions say how a veth pair is made.
type VethOptions struct {
	PeerNS *NetNS // where the peer goes; nil: the same namespace
	Queues int    // of each direction; 0: one
	Index  int    // that the first is to have; 0: any
	Down   bool   // both stay down
}

// AddVeth makes a pair of veth netdevs, both up, and returns the ifindexes.
func (ns *NetNS) AddVeth(name, peer string, o VethOptions) (int, int) {
	ns.tb.Helper()
	const vethInfoPeer = 1
	queues := func(ae *netlink.AttributeEncoder) {
		if o.Queues > 0 {
			ae.Uint32(unix.IFLA_NUM_RX_QUEUES, uint32(o.Queues))
			ae.Uint32(unix.IFLA_NUM_TX_QUEUES, uint32(o.Queues))
		}
	}
	peerAttrs := netlink.NewAttributeEncoder()
	peerAttrs.String(unix.IFLA_IFNAME, peer)
	queues(peerAttrs)
	if o.PeerNS != nil {
		peerAttrs.Uint32(unix.IFLA_NET_NS_FD, uint32(o.PeerNS.FD()))
	}
	b, err := peerAttrs.Encode()
	if err != nil {
		ns.tb.Fatal(err)
	}
	err = ns.change("add "+name, unix.RTM_NEWLINK, netlink.Create|netlink.Excl, ifinfo(o.Index, 0, 0),
		func(ae *netlink.AttributeEncoder) {
			ae.String(unix.IFLA_IFNAME, name)
			queues(ae)
			ae.Nested(unix.IFLA_LINKINFO, func(ae *netlink.AttributeEncoder) error {
				ae.String(unix.IFLA_INFO_KIND, "veth")
				ae.Nested(unix.IFLA_INFO_DATA, func(ae *netlink.AttributeEncoder) error {
					ae.Bytes(vethInfoPeer, append(ifinfo(0, 0, 0), b...))
					return nil
				})
				return nil
			})
		})
	if err != nil {
		ns.tb.Fatal(err)
	}
	other := ns
	if o.PeerNS != nil {
		other = o.PeerNS
	}
	if !o.Down {
		ns.Up(name)
		other.Up(peer)
	}
	return ns.Index(name), other.Index(peer)
}

// Up is ip link set NAME up.
func (ns *NetNS) Up(name string) {
	ns.tb.Helper()
	if err := ns.change("set "+name+" up", unix.RTM_NEWLINK, 0, ifinfo(0, unix.IFF_UP, unix.IFF_UP), named(name)); err != nil {
		ns.tb.Fatal(err)
	}
}

// ChannelCounts is what ethtool -l says.
type ChannelCounts struct {
	cmd, MaxRX, MaxTX, MaxOther, MaxCombined, RX, TX, Other, Combined uint32
}

// GetChannels is ethtool -l NAME.
func (ns *NetNS) GetChannels(name string) ChannelCounts {
	ns.tb.Helper()
	ch := ChannelCounts{cmd: 0x3c} // ETHTOOL_GCHANNELS
	var err error
	ns.Do(func() { err = ethtool(name, unsafe.Pointer(&ch)) })
	if err != nil {
		ns.tb.Fatalf("read channels of %s: %v", name, err)
	}
	return ch
}

// Channels is ethtool -L NAME rx N tx N.
func (ns *NetNS) Channels(name string, n int) {
	ns.tb.Helper()
	ch := ns.GetChannels(name)
	ch.cmd = 0x3d // ETHTOOL_SCHANNELS
	ch.RX, ch.TX = uint32(n), uint32(n)
	var err error
	ns.Do(func() { err = ethtool(name, unsafe.Pointer(&ch)) })
	if err != nil {
		ns.tb.Fatalf("set channels of %s to %d: %v", name, n, err)
	}
}

func ethtool(name string, data unsafe.Pointer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	req.data = data
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return errno
	}
	return nil
}

// Del is ip link del NAME.
func (ns *NetNS) Del(name string) {
	ns.tb.Helper()
	if err := ns.DelLink(name); err != nil {
		ns.tb.Fatal(err)
	}
}

// DelLink is ip link del NAME.
func (ns *NetNS) DelLink(name string) error {
	return ns.change("delete "+name, unix.RTM_DELLINK, 0, ifinfo(0, 0, 0), named(name))
}

// Move is ip link set NAME netns TO.
func (ns *NetNS) Move(name string, to *NetNS) error {
	return ns.change("move "+name, unix.RTM_NEWLINK, 0, ifinfo(0, 0, 0), func(ae *netlink.AttributeEncoder) {
		ae.String(unix.IFLA_IFNAME, name)
		ae.Uint32(unix.IFLA_NET_NS_FD, uint32(to.FD()))
	})
}

// SetXDP is ip link set NAME xdp; an fd of -1 detaches.
func (ns *NetNS) SetXDP(name string, fd int, flags uint32) error {
	return ns.change("set XDP program of "+name, unix.RTM_NEWLINK, 0, ifinfo(0, 0, 0), func(ae *netlink.AttributeEncoder) {
		ae.String(unix.IFLA_IFNAME, name)
		ae.Nested(unix.IFLA_XDP, func(ae *netlink.AttributeEncoder) error {
			ae.Int32(unix.IFLA_XDP_FD, int32(fd))
			if flags != 0 {
				ae.Uint32(unix.IFLA_XDP_FLAGS, flags)
			}
			return nil
		})
	})
}

func named(name string) func(*netlink.AttributeEncoder) {
	return func(ae *netlink.AttributeEncoder) { ae.String(unix.IFLA_IFNAME, name) }
}

// Values of IFLA_XDP_ATTACHED.
const (
	XDPAttachedNone = iota
	XDPAttachedDrv
	XDPAttachedSkb
	XDPAttachedHW
	XDPAttachedMulti
)

// XDPState is what rtnetlink says of the XDP programs of a netdev.
type XDPState struct {
	Attached                               uint8 // XDP_ATTACHED_*
	ProgID, DrvProgID, SkbProgID, HWProgID uint32
}

// Link is what rtnetlink says of a netdev.
type Link struct {
	Index   int
	Name    string
	Address net.HardwareAddr
	XDP     XDPState
}

// Link asks for one netdev.
func (ns *NetNS) Link(name string) (*Link, error) {
	msgs, err := ns.request(unix.RTM_GETLINK, 0, ifinfo(0, 0, 0), named(name))
	if err != nil {
		return nil, err
	}
	if len(msgs) != 1 {
		return nil, fmt.Errorf("get %s: %d replies", name, len(msgs))
	}
	return parseLink(msgs[0].Data)
}

func parseLink(b []byte) (*Link, error) {
	l := &Link{Index: int(binary.NativeEndian.Uint32(b[4:]))}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return nil, err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			l.Name = ad.String()
		case unix.IFLA_ADDRESS:
			l.Address = ad.Bytes()
		case unix.IFLA_XDP:
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					switch ad.Type() {
					case unix.IFLA_XDP_ATTACHED:
						l.XDP.Attached = ad.Uint8()
					case unix.IFLA_XDP_PROG_ID:
						l.XDP.ProgID = ad.Uint32()
					case unix.IFLA_XDP_DRV_PROG_ID:
						l.XDP.DrvProgID = ad.Uint32()
					case unix.IFLA_XDP_SKB_PROG_ID:
						l.XDP.SkbProgID = ad.Uint32()
					case unix.IFLA_XDP_HW_PROG_ID:
						l.XDP.HWProgID = ad.Uint32()
					}
				}
				return ad.Err()
			})
		}
	}
	return l, ad.Err()
}

// Index is the ifindex of a netdev.
func (ns *NetNS) Index(name string) int {
	ns.tb.Helper()
	l, err := ns.Link(name)
	if err != nil {
		ns.tb.Fatalf("get %s: %v", name, err)
	}
	return l.Index
}

// XDP is what rtnetlink says of the XDP programs of a netdev.
func (ns *NetNS) XDP(name string) XDPState {
	ns.tb.Helper()
	l, err := ns.Link(name)
	if err != nil {
		ns.tb.Fatalf("get %s: %v", name, err)
	}
	return l.XDP
}

// Links lists all netdevs, in ascending order of ifindex.
func (ns *NetNS) Links() []*Link {
	ns.tb.Helper()
	msgs, err := ns.request(unix.RTM_GETLINK, netlink.Dump, ifinfo(0, 0, 0), nil)
	if err != nil {
		ns.tb.Fatal(err)
	}
	var out []*Link
	for _, m := range msgs {
		l, err := parseLink(m.Data)
		if err != nil {
			ns.tb.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}
