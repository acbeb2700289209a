// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/bpf"
)

// Netdevs: a veth pair, of which one is asked about. Others to grow by have no driver
// that counts.
const (
	vethName = "cmp0"
	peerName = "cmp1"
)

// bed is what is measured on, in the network namespace of the process.
type bed struct {
	rtnl    *netlink.Conn
	veth    uint32
	dummies int
	skels   [2]*bpf.Pass // programs to attach
}

func newBed() (b *bed, err error) {
	b = &bed{}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	if b.rtnl, err = netlink.Dial(unix.NETLINK_ROUTE, nil); err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	// Nothing is to be sent but what is meant.
	err = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := b.addVeth(); err != nil {
		return nil, err
	}
	for i := range b.skels {
		if b.skels[i], err = bpf.OpenAndLoadPass(nil); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Close leaves the netdevs to the end of the network namespace.
func (b *bed) Close() {
	for _, s := range b.skels {
		if s != nil {
			s.Close()
		}
	}
	if b.rtnl != nil {
		b.rtnl.Close()
	}
}

// prog is the file descriptor of a program.
func (b *bed) prog(i int) int { return b.skels[i].Programs.Pass.Prog.FD() }

func (b *bed) addVeth() error {
	err := b.addLink(vethName, "veth", func(e *netlink.AttributeEncoder) error {
		peer := linkEncoder(peerName)
		attrs, err := peer.Encode()
		e.Bytes(vethInfoPeer, append(make([]byte, unix.SizeofIfInfomsg), attrs...))
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range []string{vethName, peerName} {
		dev, err := net.InterfaceByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		if name == vethName {
			b.veth = uint32(dev.Index)
		}
		if err := b.setUp(name, dev.Index); err != nil {
			return err
		}
	}
	return nil
}

// vethInfoPeer is VETH_INFO_PEER.
const vethInfoPeer = 1

func linkEncoder(name string) *netlink.AttributeEncoder {
	e := netlink.NewAttributeEncoder()
	e.String(unix.IFLA_IFNAME, name)
	return e
}

// addLink is ip link add NAME type KIND.
func (b *bed) addLink(name, kind string, data func(*netlink.AttributeEncoder) error) error {
	e := linkEncoder(name)
	e.Nested(unix.IFLA_LINKINFO, func(e *netlink.AttributeEncoder) error {
		e.String(unix.IFLA_INFO_KIND, kind)
		if data != nil {
			e.Nested(unix.IFLA_INFO_DATA, data)
		}
		return nil
	})
	attrs, err := e.Encode()
	if err != nil {
		return fmt.Errorf("add %s: %w", name, err)
	}
	return b.execute("add "+name+" of kind "+kind, unix.RTM_NEWLINK, netlink.Create|netlink.Excl,
		make([]byte, unix.SizeofIfInfomsg), attrs)
}

// setUp is ip link set NAME arp off up.
func (b *bed) setUp(name string, index int) error {
	msg := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(msg[4:], uint32(index))
	binary.NativeEndian.PutUint32(msg[8:], unix.IFF_UP|unix.IFF_NOARP)
	binary.NativeEndian.PutUint32(msg[12:], unix.IFF_UP|unix.IFF_NOARP)
	return b.execute("set "+name+" up", unix.RTM_NEWLINK, 0, msg, nil)
}

func (b *bed) execute(what string, typ netlink.HeaderType, flags netlink.HeaderFlags, header, attrs []byte) error {
	_, err := b.rtnl.Execute(netlink.Message{
		Header: netlink.Header{Type: typ, Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   append(header, attrs...),
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// growTo adds dummies until there are n netdevs in all.
func (b *bed) growTo(n int) error {
	devs, err := net.Interfaces()
	if err != nil {
		return err
	}
	if len(devs) > n {
		return fmt.Errorf("there are %d netdevs already, more than %d", len(devs), n)
	}
	for range n - len(devs) {
		if err := b.addDummy(fmt.Sprintf("cd%d", b.dummies)); err != nil {
			return err
		}
		b.dummies++
	}
	return nil
}

// addDummy adds a netdev that does nothing, of the first kind that the kernel
// knows.
func (b *bed) addDummy(name string) (err error) {
	for _, kind := range []string{"dummy", "ifb", "bridge"} {
		if err = b.addLink(name, kind, nil); !errors.Is(err, unix.EOPNOTSUPP) {
			break
		}
	}
	return err
}

// frames sends frames to the veth from its peer. They have arrived when it
// returns.
func (b *bed) frames(n int) error {
	peer, err := net.InterfaceByName(peerName)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	frame := make([]byte, 60)
	frame[0], frame[6] = 2, 2
	binary.BigEndian.PutUint16(frame[12:], 0x88b5) // for local experiments
	for range n {
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: peer.Index}); err != nil {
			return os.NewSyscallError("sendto", err)
		}
	}
	return nil
}
