// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nlenc"
	"golang.org/x/sys/unix"
)

// Kind is the rtnl kind of a control device.
const Kind = "xdpctl"

// Device is a control device: the netdev that control maps are made on.
type Device struct {
	// Name of the netdev.
	Name string
	// Index of the netdev in its netns.
	Index uint32
}

// DeviceOptions says which control device is meant.
type DeviceOptions struct {
	// NetNSName is the netns to look in: a name, as ip-netns(8) gives it, or a
	// path, which has a slash in it. If empty, that of the calling thread.
	NetNSName string
	// NetNS is an open netns, used instead of NetNSName if it is not 0. It
	// stays the caller's.
	NetNS int
	// Name of the control device. Empty takes the one with the lowest
	// ifindex.
	Name string
	// Create makes a control device where there is none. Needs
	// CAP_NET_ADMIN, and loads the module if it is installed.
	Create bool
}

// FindDevice finds the control device of a netns.
//
// The error matches [os.ErrNotExist] if there is none, and says how to make
// one.
func FindDevice(opts DeviceOptions) (*Device, error) {
	ns, err := openNetNS(opts.NetNSName, opts.NetNS)
	if err != nil {
		return nil, err
	}
	if ns == nil {
		return findIn(0, opts)
	}
	defer ns.Close()
	return findIn(int(ns.Fd()), opts)
}

// findIn is FindDevice in the netns of fd, or, if it is 0, of the calling
// thread.
func findIn(fd int, opts DeviceOptions) (*Device, error) {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{NetNS: fd})
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	defer c.Close()

	dev, err := findDevice(c, opts.Name)
	if !errors.Is(err, os.ErrNotExist) || !opts.Create {
		return dev, err
	}
	if err := createDevice(c, opts.Name); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return findDevice(c, opts.Name)
}

// findDevice asks for links of kind xdpctl. A kernel without the module knows
// no such kind and answers with all links, so each is looked at again.
func findDevice(c *netlink.Conn, name string) (*Device, error) {
	data, err := linkRequest("")
	if err != nil {
		return nil, err
	}
	msgs, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request | netlink.Dump},
		Data:   data,
	})
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}

	var found *Device
	for _, m := range msgs {
		dev, kind, err := parseLink(m.Data)
		if err != nil {
			return nil, fmt.Errorf("parse link: %w", err)
		}
		if kind != Kind || (name != "" && dev.Name != name) {
			continue
		}
		if found == nil || dev.Index < found.Index {
			found = dev
		}
	}
	if found != nil {
		return found, nil
	}
	if name != "" {
		return nil, fmt.Errorf("find control device %s: %w; make it with: ip link add %s type %s", name, os.ErrNotExist, name, Kind)
	}
	return nil, fmt.Errorf("find control device: %w; make it with: ip link add type %s", os.ErrNotExist, Kind)
}

// createDevice is `ip link add [NAME] type xdpctl`.
func createDevice(c *netlink.Conn, name string) error {
	data, err := linkRequest(name)
	if err != nil {
		return err
	}
	_, err = c.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  unix.RTM_NEWLINK,
			Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl,
		},
		Data: data,
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("create control device: %w; load the module with: modprobe xdpctl", err)
	}
	if err != nil {
		return fmt.Errorf("create control device: %w", err)
	}
	return nil
}

// linkRequest is struct ifinfomsg and the attributes that name the kind and,
// unless empty, the link.
func linkRequest(name string) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	if name != "" {
		ae.String(unix.IFLA_IFNAME, name)
	}
	ae.Nested(unix.IFLA_LINKINFO, func(nae *netlink.AttributeEncoder) error {
		nae.String(unix.IFLA_INFO_KIND, Kind)
		return nil
	})
	attrs, err := ae.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode link request: %w", err)
	}
	return append(make([]byte, unix.SizeofIfInfomsg, unix.SizeofIfInfomsg+len(attrs)), attrs...), nil
}

// parseLink reads name, index and kind of a link.
func parseLink(b []byte) (*Device, string, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return nil, "", fmt.Errorf("link message of %d bytes is too short", len(b))
	}
	dev := &Device{Index: nlenc.Uint32(b[4:8])}
	kind := ""

	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return nil, "", err
	}
	for ad.Next() {
		switch ad.Type() {
		case unix.IFLA_IFNAME:
			dev.Name = ad.String()
		case unix.IFLA_LINKINFO:
			ad.Nested(func(nad *netlink.AttributeDecoder) error {
				for nad.Next() {
					if nad.Type() == unix.IFLA_INFO_KIND {
						kind = nad.String()
					}
				}
				return nil
			})
		}
	}
	return dev, kind, ad.Err()
}
