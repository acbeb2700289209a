// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
)

// Kind is the type of an attribute.
type Kind uint8

// Kinds of attributes.
const (
	KindU32 Kind = iota + 1
	KindU64
	KindString // ends with a NUL
	KindBinary // of fixed length
	KindPad    // no payload; aligns the next attribute
)

// AttrSet is an attribute set of the spec.
type AttrSet struct {
	Name  string
	Attrs []AttrInfo // in the order of their ids, which begin with 1
}

// AttrInfo describes an attribute.
type AttrInfo struct {
	ID   uint16
	Name string
	Kind Kind
	Enum string // the spec's name of its enum or flags, or ""

	// What a request may hold: a number from Min to Max, or to any if that is
	// 0; flags in Mask; at most Len bytes of a string without its NUL,
	// exactly Len of binary data.
	Min, Max, Mask uint64
	Len            int
}

// AttrName returns the spec's name of an attribute, such as "prog-id", or "#ID"
// if the set has none with this id. A path in [Error] is a dot and this name.
func (s *AttrSet) AttrName(id uint16) string {
	if id == 0 || int(id) > len(s.Attrs) {
		return "#" + strconv.Itoa(int(id))
	}
	return s.Attrs[id-1].Name
}

// Op describes an operation or a notification.
type Op struct {
	Name      string
	Cmd       uint8
	Set       *AttrSet
	Do, Dump  bool
	AdminPerm bool   // needs CAP_NET_ADMIN in the netns
	Notify    bool   // a notification, on multicast group Group
	Group     string // only of a notification
	Request   []uint16
}

// OpByCmd returns the operation with this command, or nil.
func OpByCmd(cmd uint8) *Op {
	if cmd == 0 || int(cmd) > len(Ops) {
		return nil
	}
	return &Ops[cmd-1]
}

// OpName returns the spec's name of a command, such as "prog-get", or "#CMD".
func OpName(cmd uint8) string {
	if op := OpByCmd(cmd); op != nil {
		return op.Name
	}
	return "#" + strconv.Itoa(int(cmd))
}

// TypeDesc describes a control type.
type TypeDesc struct {
	Type    CtrlType
	Name    string // of the spec, such as "xdp-prog"
	MapName string // of a control map, such as "xdp_prog"

	KeySize, ValueSize int

	// OldSizes are the sizes that the value had in earlier versions.
	OldSizes []int

	// Set is the attribute set.
	Set *AttrSet

	// Commands; 0 if the control type lacks the operation.
	GetCmd, SetCmd, DelCmd, NtfCmd uint8

	// UpdateAttr is the attribute that holds the Update flags; 0 for none.
	UpdateAttr uint16

	Operations CtrlOp

	// ReplyMask and SetMask are the bits of Present that a reply, or the
	// request of an update, can have.
	ReplyMask, SetMask uint64

	// Fields are the key's in their order, then the value's in the order of
	// their attributes.
	Fields []Field
}

// Field says where the structs of a control type hold an attribute.
type Field struct {
	Attr         uint16
	Offset, Size int

	// Key tells that the field is in the key, else it is in the value; Reply
	// that it is reported, Set that an update can carry it.
	Key, Reply, Set bool

	// Min and Max are the bounds of a number in the key; Max is 0 for none.
	Min, Max uint32
}

// Desc returns the description of a control type, or nil if t is none.
func (v CtrlType) Desc() *TypeDesc {
	if v == 0 || int(v) >= len(descs) {
		return nil
	}
	return &descs[v]
}

// Descs returns the descriptions of all control types, in the order of their
// ids.
func Descs() []TypeDesc {
	return descs[1:]
}

// AppendUpdate appends the update flags as the netlink attribute of this
// control type, or nothing if it has none.
func (d *TypeDesc) AppendUpdate(b []byte, how Update) []byte {
	if d.UpdateAttr == 0 {
		return b
	}
	return appendU32(b, d.UpdateAttr, how)
}

// errNoKey is the error of the first attribute of the key that was not seen, if not
// all were.
func errNoKey(d *TypeDesc, seen uint64) error {
	i := slices.IndexFunc(d.Fields, func(f Field) bool { return f.Key && seen&(1<<f.Attr) == 0 })
	return errMissing(d.Set, d.Fields[i].Attr)
}

func errNoEvent(cmd uint8) error {
	return fmt.Errorf("decode event: command %d is no notification: %w", cmd, errors.ErrUnsupported)
}

// jsonField is a member of a JSON object.
type jsonField struct {
	name    string
	value   any
	present bool
}

// marshalFields returns an object of the fields that are present.
func marshalFields(fields ...jsonField) ([]byte, error) {
	b := []byte{'{'}
	for _, f := range fields {
		if !f.present {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, f.name)
		b = append(b, ':')
		v, err := json.Marshal(f.value)
		if err != nil {
			return nil, err
		}
		b = append(b, v...)
	}
	return append(b, '}'), nil
}

// PresentAttrs returns the ids of the attributes in a mask of presence.
func PresentAttrs(present uint64) []uint16 {
	var ids []uint16
	for ; present != 0; present &= present - 1 {
		ids = append(ids, uint16(bits.TrailingZeros64(present)))
	}
	return ids
}
