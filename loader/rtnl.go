// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

// Flags of IFLA_XDP, and the modes in which a program can be attached.
const (
	xdpIfNoexist = 1 << 0
	xdpSKB       = 1 << 1
	xdpDRV       = 1 << 2
	xdpReplace   = 1 << 4

	attachedDRV = 1
	attachedSKB = 2

	iflaXDPExpectedFD = 8 // unix has no name for it
)

// rtnl is a socket of rtnetlink, in a network namespace.
type rtnl struct{ *netlink.Conn }

// dialRtnl opens a socket; 0 is the namespace of the caller.
func dialRtnl(netns int) (*rtnl, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: netns, Strict: true})
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	return &rtnl{c}, nil
}

// onDevice is the program on a whole netdev; progID is 0 if there is none. Both
// tells that there is one in native and one in generic mode, or in hardware.
type onDevice struct {
	progID uint32
	mode   family.Mode
	both   bool
}

func ifinfomsg(ifindex uint32) []byte {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], ifindex)
	return b
}

// program asks which program a netdev has.
func (c *rtnl) program(ifindex uint32) (onDevice, error) {
	var on onDevice
	msgs, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request},
		Data:   ifinfomsg(ifindex),
	})
	if err != nil {
		return on, fmt.Errorf("get netdev %d: %w", ifindex, err)
	}
	for _, m := range msgs {
		if len(m.Data) < unix.SizeofIfInfomsg {
			return on, fmt.Errorf("get netdev %d: short reply", ifindex)
		}
		ad, err := netlink.NewAttributeDecoder(m.Data[unix.SizeofIfInfomsg:])
		if err != nil {
			return on, err
		}
		for ad.Next() {
			if ad.Type() == unix.IFLA_XDP {
				ad.Nested(on.decode)
			}
		}
		if err := ad.Err(); err != nil {
			return on, fmt.Errorf("get netdev %d: %w", ifindex, err)
		}
	}
	return on, nil
}

func (on *onDevice) decode(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_XDP_ATTACHED:
			switch n := ad.Uint8(); n {
			case attachedDRV:
				on.mode = family.ModeNative
			case attachedSKB:
				on.mode = family.ModeGeneric
			default:
				on.both = n != 0
			}
		case unix.IFLA_XDP_PROG_ID:
			on.progID = ad.Uint32()
		}
	}
	return ad.Err()
}

// setProgram attaches a program, or with fd -1 detaches, if the one there is
// expected; -1 is none.
func (c *rtnl) setProgram(ifindex uint32, fd, expected int, mode family.Mode) error {
	flags := uint32(xdpReplace)
	if expected < 0 {
		flags = xdpIfNoexist
	}
	switch mode {
	case family.ModeNative:
		flags |= xdpDRV
	case family.ModeGeneric:
		flags |= xdpSKB
	}
	ae := netlink.NewAttributeEncoder()
	ae.Nested(unix.IFLA_XDP, func(ae *netlink.AttributeEncoder) error {
		ae.Int32(unix.IFLA_XDP_FD, int32(fd))
		if expected >= 0 {
			ae.Int32(iflaXDPExpectedFD, int32(expected))
		}
		ae.Uint32(unix.IFLA_XDP_FLAGS, flags)
		return nil
	})
	attrs, err := ae.Encode()
	if err != nil {
		return err
	}
	_, err = c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_SETLINK, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(ifinfomsg(ifindex), attrs...),
	})
	var op *netlink.OpError
	if errors.As(err, &op) && op.Message != "" {
		return fmt.Errorf("%w: %s", op.Err, op.Message)
	}
	return err
}
