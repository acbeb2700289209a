// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/internal/netns"
)

// side is a netdev with the network namespace that it is in, such as the peer of
// a veth.
type side struct {
	c   *Control // of that namespace
	dev *netdev
	own bool // c is to be closed
}

func (s *side) close() error {
	if s.own {
		return s.c.Close()
	}
	return nil
}

// peer finds the peer of a veth.
func (c *Control) peer(dev *netdev) (*side, error) {
	if dev.peer == 0 {
		return nil, refuse(syscall.ENODEV, "", "the veth has no peer")
	}
	s := &side{c: c}
	if dev.peerNSID >= 0 {
		f, err := c.netnsByID(dev.peerNSID)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		s.c, err = Open(Options{NetNS: int(f.Fd()), BPFFS: filepath.Dir(c.state.root)})
		if err != nil {
			return nil, err
		}
		s.own = true
	}
	err := s.c.inNetNS(func() (err error) {
		s.dev, err = s.c.netdev(dev.peer)
		return err
	})
	if err != nil {
		s.close()
		return nil, refuse(syscall.ENODEV, "", "the veth has no peer")
	}
	return s, nil
}

// netnsByID opens the network namespace that has an id in this one. The kernel
// tells the ids of namespaces, but does not open one by its id, so it is looked
// for where namespaces are: under their names, at processes, in mounts, in file
// descriptors.
func (c *Control) netnsByID(id int32) (*os.File, error) {
	seen := map[uint64]bool{}
	for path := range netnsPaths() {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || seen[st.Ino] {
			continue
		}
		f, err := netns.Open(path)
		if err != nil {
			continue
		}
		seen[st.Ino] = true
		if got, err := c.netnsID(f); err == nil && got == id {
			return f, nil
		}
		f.Close()
	}
	return nil, refuse(syscall.EPERM, "",
		"the peer of the veth is in a network namespace that cannot be found from here")
}

// netnsPaths yields where network namespaces may be, the likely places first.
func netnsPaths() func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, pattern := range []string{"/run/netns/*", "/proc/[0-9]*/ns/net"} {
			list, _ := filepath.Glob(pattern)
			for _, path := range list {
				if !yield(path) {
					return
				}
			}
		}
		for _, path := range netnsMounts() {
			if !yield(path) {
				return
			}
		}
		list, _ := filepath.Glob("/proc/[0-9]*/fd/*")
		for _, path := range list {
			if to, err := os.Readlink(path); err != nil || !strings.HasPrefix(to, "net:[") {
				continue
			}
			if !yield(path) {
				return
			}
		}
	}
}

// netnsMounts lists the network namespaces that are mounted somewhere.
func netnsMounts() []string {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	defer f.Close()
	var list []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// ID PARENT DEV ROOT WHERE ...
		if f := strings.Fields(lines.Text()); len(f) > 4 && strings.HasPrefix(f[3], "net:[") {
			list = append(list, f[4])
		}
	}
	return list
}

// netnsID is the id that a network namespace has in this one, or -1.
func (c *Control) netnsID(f *os.File) (int32, error) {
	const (
		netnsaNSID = 1
		netnsaFD   = 3
	)
	b := make([]byte, 4) // struct rtgenmsg, padded
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(netnsaFD, uint32(f.Fd()))
	attrs, err := ae.Encode()
	if err != nil {
		return -1, err
	}
	msgs, err := c.rtnl.request(netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETNSID, Flags: netlink.Request},
		Data:   append(b, attrs...),
	})
	if err != nil {
		return -1, fmt.Errorf("read id of network namespace: %w", err)
	}
	for _, m := range msgs {
		ad, err := netlink.NewAttributeDecoder(m.Data[min(4, len(m.Data)):])
		if err != nil {
			return -1, err
		}
		ad.ByteOrder = binary.NativeEndian
		for ad.Next() {
			if ad.Type() == netnsaNSID {
				return ad.Int32(), nil
			}
		}
	}
	return -1, nil
}
