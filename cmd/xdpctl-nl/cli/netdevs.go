// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// rtextFilterSkipStats is RTEXT_FILTER_SKIP_STATS, which package unix lacks.
const rtextFilterSkipStats = 1 << 3

// netdevs translates between names and indexes of netdevs.
type netdevs interface {
	// index is the ifindex of a name. The error matches os.ErrNotExist if
	// there is no such netdev.
	index(name string) (uint32, error)
	// name is the name of an ifindex, with the same error.
	name(ifindex uint32) (string, error)
	// names are the names of all netdevs.
	names() ([]string, error)
	Close() error
}

// rtnetlink is the netdevs of a netns.
type rtnetlink struct{ c *netlink.Conn }

// openNetdevs opens rtnetlink in the netns of ns, or, if it is nil, in that of
// the calling thread.
func openNetdevs(ns *os.File) (netdevs, error) {
	cfg := &netlink.Config{}
	if ns != nil {
		cfg.NetNS = int(ns.Fd())
	}
	c, err := netlink.Dial(unix.NETLINK_ROUTE, cfg)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	return &rtnetlink{c}, nil
}

func (r *rtnetlink) Close() error { return r.c.Close() }

func (r *rtnetlink) index(name string) (uint32, error) {
	attr := uint16(unix.IFLA_IFNAME)
	if len(name) >= unix.IFNAMSIZ {
		attr = unix.IFLA_ALT_IFNAME
	}
	msgs, err := r.get(0, 0, func(ae *netlink.AttributeEncoder) { ae.String(attr, name) })
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ERANGE) {
		return 0, os.ErrNotExist
	}
	if err != nil {
		return 0, err
	}
	for _, m := range msgs {
		if len(m.Data) >= unix.SizeofIfInfomsg {
			return binary.NativeEndian.Uint32(m.Data[4:]), nil
		}
	}
	return 0, os.ErrNotExist
}

func (r *rtnetlink) name(ifindex uint32) (string, error) {
	msgs, err := r.get(ifindex, 0, nil)
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EINVAL) {
		return "", os.ErrNotExist
	}
	if err != nil {
		return "", err
	}
	for _, m := range msgs {
		return linkName(m.Data)
	}
	return "", os.ErrNotExist
}

func (r *rtnetlink) names() ([]string, error) {
	msgs, err := r.get(0, netlink.Dump, nil)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, m := range msgs {
		name, err := linkName(m.Data)
		if err != nil {
			return nil, err
		}
		list = append(list, name)
	}
	sort.Strings(list)
	return list, nil
}

// get is RTM_GETLINK without the statistics, which nobody wants here.
func (r *rtnetlink) get(ifindex uint32, flags netlink.HeaderFlags, fill func(*netlink.AttributeEncoder)) ([]netlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(unix.IFLA_EXT_MASK, rtextFilterSkipStats)
	if fill != nil {
		fill(ae)
	}
	attrs, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	data := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(data[4:], ifindex)
	return r.c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK, Flags: netlink.Request | flags},
		Data:   append(data, attrs...),
	})
}

// linkName is IFLA_IFNAME of a link.
func linkName(b []byte) (string, error) {
	if len(b) < unix.SizeofIfInfomsg {
		return "", errors.New("link message is too short")
	}
	ad, err := netlink.NewAttributeDecoder(b[unix.SizeofIfInfomsg:])
	if err != nil {
		return "", err
	}
	for ad.Next() {
		if ad.Type() == unix.IFLA_IFNAME {
			return ad.String(), nil
		}
	}
	return "", errors.Join(os.ErrNotExist, ad.Err())
}

// ifindex is the netdev that s names: by its name, or by its number.
func (a *app) ifindex(s string) (uint32, error) {
	n, err := a.netdevs()
	if err != nil {
		return 0, err
	}
	index, err := n.index(s)
	if !errors.Is(err, os.ErrNotExist) {
		return index, err
	}
	number, perr := strconv.ParseUint(s, 10, 31)
	if perr == nil && number > 0 {
		return uint32(number), nil
	}
	return 0, fmt.Errorf("netdev %q does not exist", s)
}

// devName is the name of a netdev, or ? if there is none.
func (a *app) devName(ifindex uint32) string {
	name := ""
	if n, err := a.netdevs(); err == nil {
		name, _ = n.name(ifindex)
	}
	if name == "" {
		name = "?"
	}
	return name
}

// label is a netdev as ip(8) begins a line with it: index and name.
func (a *app) label(ifindex uint32) string {
	return fmt.Sprintf("%d: %s:", ifindex, a.devName(ifindex))
}

// completeDev completes the names of netdevs.
func (a *app) completeDev() []string {
	if a.checkOptions() != nil {
		return nil
	}
	n, err := a.netdevs()
	if err != nil {
		return nil
	}
	names, err := n.names()
	if err != nil {
		return nil
	}
	return names
}
