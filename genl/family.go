// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Family is a generic netlink family, as the kernel describes it.
type Family struct {
	// ID is the message type of the family. Another load of its module
	// makes it another.
	ID uint16

	Name    string
	Version uint8

	// HeaderSize is the size of the family's own header in a message.
	HeaderSize int

	// MaxAttr is the highest attribute; 0 if every operation has its own.
	MaxAttr uint32

	Ops    []Op
	Groups []Group
}

// Op is an operation of a family.
type Op struct {
	ID    uint32
	Flags OpFlags
}

// OpFlags say what an operation can do and who may ask for it.
type OpFlags uint32

// What an operation can do and who may ask for it.
const (
	OpAdmin       OpFlags = unix.GENL_ADMIN_PERM     // needs CAP_NET_ADMIN of the host
	OpDo          OpFlags = unix.GENL_CMD_CAP_DO     // can be done
	OpDump        OpFlags = unix.GENL_CMD_CAP_DUMP   // can be dumped
	OpPolicies    OpFlags = unix.GENL_CMD_CAP_HASPOL // has policies
	OpAdminInNets OpFlags = unix.GENL_UNS_ADMIN_PERM // needs CAP_NET_ADMIN in the netns
)

// String returns the names of the flags, as the kernel spells them, joined with
// commas.
func (f OpFlags) String() string {
	var names []string
	for _, n := range []struct {
		flag OpFlags
		name string
	}{
		{OpAdmin, "admin-perm"},
		{OpDo, "do"},
		{OpDump, "dump"},
		{OpPolicies, "haspol"},
		{OpAdminInNets, "uns-admin-perm"},
	} {
		if f&n.flag != 0 {
			names = append(names, n.name)
			f &^= n.flag
		}
	}
	if f != 0 {
		names = append(names, fmt.Sprintf("%#x", uint32(f)))
	}
	return strings.Join(names, ",")
}

// Group is a multicast group.
type Group struct {
	ID   uint32
	Name string
}

// Group returns a multicast group by its name.
//
// Returns an error matching os.ErrNotExist if there is none.
func (f *Family) Group(name string) (Group, error) {
	for _, g := range f.Groups {
		if g.Name == name {
			return g, nil
		}
	}
	return Group{}, fmt.Errorf("multicast group %s of family %s: %w", name, f.Name, os.ErrNotExist)
}

// ctrlFamily is the family that tells of families.
var ctrlFamily = &Family{ID: unix.GENL_ID_CTRL, Name: "nlctrl", Version: 2}

// ctrlNotifyGroup is its multicast group "notify", whose id is fixed.
const ctrlNotifyGroup = unix.GENL_ID_CTRL

// ctrlNames names the attributes of nlctrl.
type ctrlNames struct{}

var ctrlAttrNames = [...]string{
	unix.CTRL_ATTR_FAMILY_ID:    "family-id",
	unix.CTRL_ATTR_FAMILY_NAME:  "family-name",
	unix.CTRL_ATTR_VERSION:      "version",
	unix.CTRL_ATTR_HDRSIZE:      "hdrsize",
	unix.CTRL_ATTR_MAXATTR:      "maxattr",
	unix.CTRL_ATTR_OPS:          "ops",
	unix.CTRL_ATTR_MCAST_GROUPS: "mcast-groups",
	unix.CTRL_ATTR_POLICY:       "policy",
	unix.CTRL_ATTR_OP_POLICY:    "op-policy",
	unix.CTRL_ATTR_OP:           "op",
}

// AttrName implements AttrNames.
func (ctrlNames) AttrName(typ uint16) string {
	if int(typ) < len(ctrlAttrNames) {
		return ctrlAttrNames[typ]
	}
	return ""
}

// Family returns the family of this name, or of one of which the kernel knows
// what module has it, which it then loads (CTRL_CMD_GETFAMILY).
//
// Returns an error matching os.ErrNotExist if there is none.
func (c *Conn) Family(ctx context.Context, name string) (*Family, error) {
	req := familyRequest("family " + name)
	req.Attrs = AppendString(nil, unix.CTRL_ATTR_FAMILY_NAME, name)
	var f *Family
	err := c.Do(ctx, req, func(m Message) (err error) {
		f, err = parseFamily(m.Attrs)
		return err
	})
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, fmt.Errorf("%s: %w: no reply", req.Op, ErrMalformed)
	}
	return f, nil
}

// Families returns all families.
func (c *Conn) Families(ctx context.Context) ([]*Family, error) {
	req := familyRequest("families")
	cur := c.Dump(ctx, req)
	defer cur.Close()
	var list []*Family
	for cur.Next() {
		f, err := parseFamily(cur.Attrs())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", req.Op, err)
		}
		list = append(list, f)
	}
	return list, cur.Err()
}

func familyRequest(op string) Request {
	return Request{
		Op:      op,
		Family:  ctrlFamily,
		Command: unix.CTRL_CMD_GETFAMILY,
		Names:   ctrlNames{},
	}
}

// parseFamily reads CTRL_ATTR_* of a family.
func parseFamily(b []byte) (*Family, error) {
	f := &Family{}
	err := attrs(b, func(typ uint16, data []byte) error {
		switch typ {
		case unix.CTRL_ATTR_FAMILY_ID:
			return number(&f.ID, data)
		case unix.CTRL_ATTR_FAMILY_NAME:
			f.Name = unix.ByteSliceToString(data)
		case unix.CTRL_ATTR_VERSION:
			return number(&f.Version, data)
		case unix.CTRL_ATTR_HDRSIZE:
			var n uint16
			err := number(&n, data)
			f.HeaderSize = int(n)
			return err
		case unix.CTRL_ATTR_MAXATTR:
			return number(&f.MaxAttr, data)
		case unix.CTRL_ATTR_OPS:
			return attrs(data, f.parseOp)
		case unix.CTRL_ATTR_MCAST_GROUPS:
			return attrs(data, f.parseGroup)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if f.ID < unix.GENL_MIN_ID {
		return nil, fmt.Errorf("%w: family %q with id %d", ErrMalformed, f.Name, f.ID)
	}
	return f, nil
}

// parseOp reads CTRL_ATTR_OP_*.
func (f *Family) parseOp(_ uint16, data []byte) error {
	var op Op
	err := attrs(data, func(typ uint16, data []byte) error {
		switch typ {
		case unix.CTRL_ATTR_OP_ID:
			return number(&op.ID, data)
		case unix.CTRL_ATTR_OP_FLAGS:
			return number((*uint32)(&op.Flags), data)
		}
		return nil
	})
	f.Ops = append(f.Ops, op)
	return err
}

// parseGroup reads CTRL_ATTR_MCAST_GRP_*.
func (f *Family) parseGroup(_ uint16, data []byte) error {
	var g Group
	err := attrs(data, func(typ uint16, data []byte) error {
		switch typ {
		case unix.CTRL_ATTR_MCAST_GRP_ID:
			return number(&g.ID, data)
		case unix.CTRL_ATTR_MCAST_GRP_NAME:
			g.Name = unix.ByteSliceToString(data)
		}
		return nil
	})
	f.Groups = append(f.Groups, g)
	return err
}
