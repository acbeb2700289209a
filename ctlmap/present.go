// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"math/bits"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/xdpctl/xdpctl-nl/family"
)

// presentName is the first member of a value, which says what others are there.
const presentName = "present"

// presence knows how the members of a value and the bits of present belong
// together. A nil presence has every member there.
type presence struct {
	bits    map[string]uint // of members known to the spec
	known   uint64          // bits known to the spec
	unknown int             // members unknown to it
}

// newPresence is nil if values of type t do not begin with present.
func newPresence(t btf.Type) *presence {
	s, ok := btf.UnderlyingType(t).(*btf.Struct)
	if !ok || len(s.Members) == 0 || s.Members[0].Name != presentName || s.Members[0].Offset != 0 {
		return nil
	}
	if i, ok := btf.UnderlyingType(s.Members[0].Type).(*btf.Int); !ok || i.Size != 8 {
		return nil
	}

	p := &presence{bits: map[string]uint{}}
	if d := descOf(s.Name); d != nil {
		for _, f := range d.Fields {
			if !f.Key {
				p.bits[memberName(d, f.Attr)] = uint(f.Attr)
			}
		}
		p.known = 1<<(len(d.Set.Attrs)+1) - 1
	}
	for _, m := range s.Members[1:] {
		if _, known := p.bits[m.Name]; !known && !padName.MatchString(m.Name) {
			p.unknown++
		}
	}
	return p
}

// descOf finds the control type whose value is the C struct of this name.
func descOf(name string) *family.TypeDesc {
	descs := family.Descs()
	for i := range descs {
		if "xdpctl_"+strings.TrimPrefix(descs[i].MapName, "xdp_") == name {
			return &descs[i]
		}
	}
	return nil
}

func memberName(d *family.TypeDesc, attr uint16) string {
	return strings.ReplaceAll(d.Set.AttrName(attr), "-", "_")
}

// of tells the members that are there in one value; zero says whether the
// member is 0 throughout.
func (p *presence) of(value []byte) func(member string, zero bool) bool {
	if p == nil || len(value) < 8 {
		return nil
	}
	present := getUint(value[:8])
	strange := bits.OnesCount64(present &^ p.known)
	return func(member string, zero bool) bool {
		if bit, ok := p.bits[member]; ok {
			return present&(1<<bit) != 0
		}
		switch strange {
		case 0:
			return false
		case p.unknown:
			return true
		}
		return !zero
	}
}
