// SPDX-License-Identifier: BSD-3-Clause

package ethtool

import (
	"context"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/genl"
)

// Names of features that this project has to do with, as the kernel has them.
const (
	FeatureGRO       = "rx-gro"
	FeatureRXHash    = "rx-hashing"
	FeatureRXVLANTag = "rx-vlan-hw-parse"
)

// Features are the features of a netdev, by the names that ethtool --show-features
// shows with --json, or the kernel's in any case. What is in none of the sets is off.
type Features struct {
	HW     map[string]bool // can be changed
	Wanted map[string]bool // somebody wants it on
	Active map[string]bool // is on
	Fixed  map[string]bool // cannot be changed at all
}

var featureNames = names{
	unix.ETHTOOL_A_FEATURES_HEADER: "header",
	unix.ETHTOOL_A_FEATURES_WANTED: "wanted",
}

// FeaturesGet reads the features of a netdev.
func (c *Conn) FeaturesGet(ctx context.Context, ifindex uint32) (*Features, error) {
	f := new(Features)
	sets := map[uint16]*map[string]bool{
		unix.ETHTOOL_A_FEATURES_HW:       &f.HW,
		unix.ETHTOOL_A_FEATURES_WANTED:   &f.Wanted,
		unix.ETHTOOL_A_FEATURES_ACTIVE:   &f.Active,
		unix.ETHTOOL_A_FEATURES_NOCHANGE: &f.Fixed,
	}
	err := c.do(ctx, "features-get", unix.ETHTOOL_MSG_FEATURES_GET, ifindex, 0, nil, featureNames,
		func(typ uint16, data []byte) (err error) {
			if set := sets[typ]; set != nil {
				*set, err = parseBitset(data)
			}
			return err
		})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// FeaturesSet turns features of a netdev on and off. What cannot be changed now
// stays as it is, and that is no error: [Conn.FeaturesGet] tells.
func (c *Conn) FeaturesSet(ctx context.Context, ifindex uint32, want map[string]bool) error {
	b := genl.AppendNested(nil, unix.ETHTOOL_A_FEATURES_WANTED, func(b []byte) []byte {
		return appendBitset(b, want)
	})
	return c.do(ctx, "features-set", unix.ETHTOOL_MSG_FEATURES_SET, ifindex, unix.ETHTOOL_FLAG_OMIT_REPLY, b, featureNames, nil)
}

// appendBitset appends a bitset in its verbose form, with a mask.
func appendBitset(b []byte, bits map[string]bool) []byte {
	return genl.AppendNested(b, unix.ETHTOOL_A_BITSET_BITS, func(b []byte) []byte {
		for _, name := range slices.Sorted(maps.Keys(bits)) {
			b = genl.AppendNested(b, unix.ETHTOOL_A_BITSET_BITS_BIT, func(b []byte) []byte {
				b = genl.AppendString(b, unix.ETHTOOL_A_BITSET_BIT_NAME, name)
				if bits[name] {
					b = genl.AppendAttr(b, unix.ETHTOOL_A_BITSET_BIT_VALUE, nil)
				}
				return b
			})
		}
		return b
	})
}

// parseBitset returns the names of the bits that are set in a bitset in its
// verbose form. Where it has no mask, the bits that are listed are set.
func parseBitset(b []byte) (map[string]bool, error) {
	set := make(map[string]bool)
	noMask := false
	err := eachAttr(b, func(typ uint16, data []byte) error {
		switch typ {
		case unix.ETHTOOL_A_BITSET_NOMASK:
			noMask = true
		case unix.ETHTOOL_A_BITSET_BITS:
			return eachAttr(data, func(typ uint16, data []byte) error {
				if typ != unix.ETHTOOL_A_BITSET_BITS_BIT {
					return nil
				}
				name, value, err := parseBit(data)
				if err == nil && (value || noMask) {
					set[name] = true
				}
				return err
			})
		}
		return nil
	})
	return set, err
}

func parseBit(b []byte) (name string, value bool, err error) {
	err = eachAttr(b, func(typ uint16, data []byte) error {
		switch typ {
		case unix.ETHTOOL_A_BITSET_BIT_NAME:
			name = unix.ByteSliceToString(data)
		case unix.ETHTOOL_A_BITSET_BIT_VALUE:
			value = true
		}
		return nil
	})
	return name, value, err
}
