// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"context"
	"strings"
	"syscall"

	"github.com/xdpctl/xdpctl-nl/family"
)

const (
	allFeatures = family.XDPActBasic | family.XDPActRedirect | family.XDPActNDOXmit | family.XDPActXSKZerocopy |
		family.XDPActHWOffload | family.XDPActRXSG | family.XDPActNDOXmitSG
	allRXMetadata = family.XDPRXMetadataTimestamp | family.XDPRXMetadataHash | family.XDPRXMetadataVLANTag
	allActions    = family.ActionAborted | family.ActionDrop | family.ActionPass | family.ActionTX | family.ActionRedirect
)

func (r *required) isKnown() bool {
	return r.Features&^uint64(allFeatures) == 0 && r.RXMetadata&^uint64(allRXMetadata) == 0 &&
		r.Actions&^uint64(allActions) == 0
}

// lacks names what is needed of a netdev that it is not able to.
func (r *required) lacks(able *required) string {
	var names []string
	for _, s := range []string{
		family.XDPAct(r.Features &^ able.Features).String(),
		family.Action(r.Actions &^ able.Actions).String(),
		family.XDPRXMetadata(r.RXMetadata &^ able.RXMetadata).String(),
	} {
		if s != "0" {
			names = append(names, strings.ReplaceAll(s, "|", ", "))
		}
	}
	return strings.Join(names, ", ")
}

// ableIn is what a program can ask of a netdev. In generic mode the core does what
// a driver would have to. Frames that are redirected there are sent by the
// netdev's ordinary TX, so that ndo-xmit is asked of the driver all the same.
func ableIn(mode family.Mode, caps *family.Caps) *required {
	if mode == family.ModeNative {
		return &required{
			Features: uint64(caps.XDPFeatures), RXMetadata: uint64(caps.XDPRXMetadataFeatures),
			Actions: uint64(caps.Actions),
		}
	}
	features := caps.XDPFeatures & (family.XDPActNDOXmit | family.XDPActNDOXmitSG)
	features |= family.XDPActBasic | family.XDPActRedirect | family.XDPActRXSG
	return &required{Features: uint64(features), Actions: uint64(allActions)}
}

// checkRequired looks whether a netdev has what a program needs, in the mode that
// is wanted, 0 for best effort. If only one mode has it all, that is returned.
func (c *Control) checkRequired(ctx context.Context, r *required, ifindex uint32, wanted family.Mode) (family.Mode, error) {
	if r.Present == 0 {
		return wanted, nil
	}
	var caps family.Caps
	if err := c.caps.ops.lookup(ctx, &family.CapsKey{Ifindex: ifindex}, &caps); err != nil {
		return 0, err
	}
	generic, native := "", ""
	if wanted != family.ModeNative {
		generic = r.lacks(ableIn(family.ModeGeneric, &caps))
	}
	if wanted != family.ModeGeneric {
		native = r.lacks(ableIn(family.ModeNative, &caps))
	}
	switch {
	case wanted == family.ModeGeneric && generic != "":
		return 0, refuse(syscall.EOPNOTSUPP, "", "the netdev lacks in generic mode: %s", generic)
	case wanted == family.ModeNative && native != "", wanted == 0 && native != "" && generic != "":
		return 0, refuse(syscall.EOPNOTSUPP, "", "the netdev lacks in native mode: %s", native)
	case wanted == 0 && native != "":
		return family.ModeGeneric, nil
	case wanted == 0 && generic != "":
		return family.ModeNative, nil
	}
	return wanted, nil
}
