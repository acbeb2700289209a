// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"errors"
	"slices"
	"syscall"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/ethtool"
)

// What XDP can do on kernels that do not say, those before 6.3. The module looks
// at the operations of a driver. Nobody else can, and to try would disturb: so
// this has to know the driver, as it is in 6.1. Of others it says nothing.

// xdpDriver is what a driver of 6.1 can do.
type xdpDriver struct {
	parent string // driver of the parent device
	name   string // as ethtool -i says; "": the same. Others hang on the parent as well
	no     family.XDPAct
	more   family.XDPAct
}

// hardwareXDP are the drivers all of whose netdevs are alike in 6.1, with what
// differs from basic, redirect and ndo-xmit. Left out are those of which only some
// do XDP, and nothing shows which: ice (not without its firmware package), nfp,
// qede, stmmac (which has too many parents), dpaa.
var hardwareXDP = []xdpDriver{
	{parent: "atlantic"},
	{parent: "bnxt_en"},
	{parent: "cpsw"},
	{parent: "cpsw-switch"},
	{parent: "ena"},
	{parent: "fsl_dpaa2_eth"},
	{parent: "fsl_enetc"},
	{parent: "funeth"},
	{parent: "hv_netvsc"},
	{parent: "i40e", more: family.XDPActXSKZerocopy},
	{parent: "igb"},
	{parent: "igc", more: family.XDPActXSKZerocopy},
	{parent: "ixgbe", more: family.XDPActXSKZerocopy},
	{parent: "ixgbevf", no: family.XDPActRedirect | family.XDPActNDOXmit},
	{parent: "mana"},
	{parent: "mlx4_core", name: "mlx4_en", no: family.XDPActNDOXmit},
	{parent: "mlx5_core", name: "mlx5_core", more: family.XDPActXSKZerocopy},
	{parent: "mlx5_core.sf", name: "mlx5_core", more: family.XDPActXSKZerocopy},
	{parent: "mtk_soc_eth"},
	{parent: "mvneta"},
	{parent: "mvpp2"},
	{parent: "netsec"},
	{parent: "nicvf", no: family.XDPActRedirect | family.XDPActNDOXmit},
	{parent: "rvu_nicpf"},
	{parent: "sfc"},
	{parent: "sfc_siena"},
	{parent: "vif"},
	{parent: "virtio_net"},
}

// xmitNeedsProg are the drivers that send what is redirected to them only while
// they have a program.
var xmitNeedsProg = []string{
	"bnxt_en", "ena", "funeth", "gve", "i40e", "ice", "igb", "igc",
	"ixgbe", "rvu_nicpf", "virtio_net",
}

// softwareNoXDP are the kinds of link of 6.1 that have generic mode only, and the
// module's. A bond asks its mode and its slaves.
var softwareNoXDP = []string{
	"bareudp", "batadv", "bond", "bridge", "can", "dummy", "erspan", "geneve",
	"gre", "gretap", "gtp", "hsr", "ifb", "ip6erspan", "ip6gre", "ip6gretap",
	"ip6tnl", "ipip", "ipvlan", "ipvtap", "macsec", "macvlan", "macvtap", "nlmon",
	"sit", "team", "vcan", "vlan", "vrf", "vti", "vti6", "vxcan", "vxlan", "wireguard",
	"xdpctl", "xfrm",
}

// derivedFeatures finds out what is known of the netdev.
func (l *look) derivedFeatures(ctx context.Context, parent, name string, v *family.Caps) error {
	features, known, err := l.deriveFeatures(ctx, parent, name)
	if err != nil || !known {
		return err
	}
	v.SetXDPFeatures(features)
	v.SetSource(family.SourceDerived)
	if features&family.XDPActXSKZerocopy != 0 {
		v.SetXDPZCMaxSegs(netdevDefaultZCSegs)
	}
	return nil
}

func (l *look) deriveFeatures(ctx context.Context, parent, name string) (f family.XDPAct, known bool, err error) {
	switch {
	case parent == "veth":
		return l.vethFeatures(ctx)
	case parent == "netdevsim":
		return family.XDPActHWOffload, true, nil
	case parent == "tun":
		return l.tunFeatures()
	case slices.Contains(softwareNoXDP, parent), parent == "" && l.isLoopback():
		return 0, true, nil
	}
	i := slices.IndexFunc(hardwareXDP, func(x xdpDriver) bool { return x.parent == parent })
	if i < 0 {
		return 0, false, nil
	}
	x := &hardwareXDP[i]
	if x.name != "" && x.name != name {
		return 0, false, nil
	}
	f = family.XDPActBasic | family.XDPActRedirect | family.XDPActNDOXmit | x.more
	f &^= x.no
	if l.dev.xdp.native == 0 && slices.Contains(xmitNeedsProg, parent) {
		f &^= family.XDPActNDOXmit
	}
	return f, true, nil
}

// arphrdLoopback is ARPHRD_LOOPBACK, what sysfs says of loopback.
const arphrdLoopback = 772

func (l *look) isLoopback() bool {
	if l.dir == nil {
		return l.dev.name == "lo"
	}
	typ, err := readNumber(l.dir.File, "type")
	return err == nil && typ == arphrdLoopback
}

// tunFeatures: a tap does XDP, a tun does not.
func (l *look) tunFeatures() (f family.XDPAct, known bool, err error) {
	if l.dir == nil {
		return 0, false, nil
	}
	flags, err := readNumber(l.dir.File, "tun_flags")
	if isGone(err) {
		return 0, false, nil
	}
	const iffTap = 2
	if err == nil && flags&iffTap != 0 {
		f = family.XDPActBasic | family.XDPActRedirect | family.XDPActNDOXmit
	}
	return f, err == nil, err
}

// vethFeatures: a veth takes a program only if it has an RX queue for each TX
// queue of its peer, and sends only to a peer with NAPI. Of a peer in a network
// namespace that cannot be found nothing is known.
func (l *look) vethFeatures(ctx context.Context) (f family.XDPAct, known bool, err error) {
	peer, err := l.c.peer(l.dev)
	if errors.Is(err, syscall.ENODEV) {
		return 0, true, nil
	}
	if errors.Is(err, syscall.EPERM) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer peer.close()
	err = peer.c.inNetNS(func() error {
		f, known, err = peer.carries(ctx, l.rx)
		return err
	})
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENODEV) {
		return 0, true, nil // it is gone
	}
	return f, known, err
}

// carries is what a veth can do that has this peer and as many RX queues.
func (s *side) carries(ctx context.Context, rx uint32) (f family.XDPAct, known bool, err error) {
	_, tx, err := s.dev.queues()
	if errors.Is(err, syscall.EPERM) || err == nil && rx == 0 {
		return 0, false, nil
	}
	if err != nil || tx > rx {
		return 0, err == nil, err
	}
	eth, err := s.c.ethtool()
	if err != nil {
		return 0, false, err
	}
	features, err := eth.FeaturesGet(ctx, s.dev.index)
	if err != nil {
		return 0, false, err
	}
	f = family.XDPActBasic | family.XDPActRedirect | family.XDPActRXSG
	if s.dev.xdp.native != 0 || features.Wanted[ethtool.FeatureGRO] {
		f |= family.XDPActNDOXmit | family.XDPActNDOXmitSG
	}
	return f, true, nil
}
