// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Whatever a netdev is told to be, reading it ends.
func FuzzNetdev(f *testing.F) {
	ae := netlink.NewAttributeEncoder()
	ae.String(unix.IFLA_IFNAME, "veth0")
	ae.Uint32(unix.IFLA_MTU, 1500)
	ae.Int32(unix.IFLA_LINK_NETNSID, 0)
	ae.Nested(unix.IFLA_LINKINFO, func(ae *netlink.AttributeEncoder) error {
		ae.String(unix.IFLA_INFO_KIND, "veth")
		return nil
	})
	ae.Nested(unix.IFLA_XDP, func(ae *netlink.AttributeEncoder) error {
		ae.Uint32(unix.IFLA_XDP_DRV_PROG_ID, 42)
		return nil
	})
	attrs, err := ae.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(make([]byte, unix.SizeofIfInfomsg), attrs...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := parseNetdev(b); (d == nil) == (err == nil) {
			t.Errorf("%+v and error %v", d, err)
		}
	})
}
