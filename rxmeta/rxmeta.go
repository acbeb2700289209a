// SPDX-License-Identifier: BSD-3-Clause

// Package rxmeta reads the RX metadata that an XDP program put in front of a
// packet.
//
// The layout is not compiled in. It is the BTF type that attr-get names while
// the metadata of a netdev is on (setup-md), in md-btf-id and md-type-id:
//
//	d, err := rxmeta.LoadDecoder(attr.MDBTFID, attr.MDTypeID)
//	...
//	m, err := d.Decode(umem[:addr]) // the packet begins at addr
//	...
//	if hash, _, ok := m.Hash(); ok {
//
// What is compiled in is the meaning of the names rx_timestamp, rx_hash,
// rx_hash_type, vlan_proto and vlan_tci, and of the bits of valid, for the
// methods named after them. Members of other names are there as well, as numbers.
package rxmeta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"

	"github.com/cilium/ebpf/btf"
)

var (
	// ErrLayout is matched by errors for a BTF type that describes no
	// metadata.
	ErrLayout = errors.New("no layout of metadata")
	// ErrShort is matched by errors for fewer bytes than the metadata has.
	ErrShort = errors.New("too short for the metadata")
)

// maxSize is more than a driver leaves room for in front of a packet.
const maxSize = 256

// Bits of valid, those of the kernel's enum netdev_xdp_rx_metadata.
const (
	validTimestamp = 1 << iota
	validHash
	validVLANTag
)

// Decoder decodes the metadata of one layout. It may be used by several
// goroutines at once.
type Decoder struct {
	size   int
	fields []field
	byName map[string]int
	// places of the fields that the methods of Metadata read, or -1
	timestamp, hash, hashType, vlanProto, vlanTCI, valid int
}

type field struct {
	name         string
	offset, size int
}

// LoadDecoder returns a decoder for the layout that the kernel holds as type
// typeID of the BTF object btfID.
//
// Needs CAP_SYS_ADMIN. Returns an error matching [os.ErrNotExist] if there is no
// such object, btf.ErrNotFound if it has no such type, or [ErrLayout].
func LoadDecoder(btfID, typeID uint32) (*Decoder, error) {
	h, err := btf.NewHandleFromID(btf.ID(btfID))
	if err != nil {
		return nil, fmt.Errorf("open BTF %d: %w", btfID, err)
	}
	defer h.Close()
	spec, err := h.Spec(nil)
	if err != nil {
		return nil, fmt.Errorf("read BTF %d: %w", btfID, err)
	}
	typ, err := spec.TypeByID(btf.TypeID(typeID))
	if err != nil {
		return nil, fmt.Errorf("find type %d in BTF %d: %w", typeID, btfID, err)
	}
	d, err := NewDecoder(typ)
	if err != nil {
		return nil, fmt.Errorf("type %d of BTF %d: %w", typeID, btfID, err)
	}
	return d, nil
}

// NewDecoder returns a decoder for the layout t, a struct or a typedef of one.
//
// Members that are no unsigned numbers of 1, 2, 4 or 8 bytes are left out, so
// that a layout can grow. Returns an error matching [ErrLayout] if t is no
// struct, is larger than what fits in front of a packet, has a member beyond its
// end, or two of one name.
func NewDecoder(t btf.Type) (*Decoder, error) {
	if t == nil {
		return nil, fmt.Errorf("%w: no type", ErrLayout)
	}
	s, ok := btf.UnderlyingType(t).(*btf.Struct)
	if !ok {
		return nil, fmt.Errorf("%w: %q is no struct", ErrLayout, t.TypeName())
	}
	if s.Size == 0 || s.Size > maxSize {
		return nil, fmt.Errorf("%w: %q has %d bytes", ErrLayout, t.TypeName(), s.Size)
	}
	d := &Decoder{size: int(s.Size), byName: make(map[string]int)}
	for _, m := range s.Members {
		f, ok := number(m)
		if !ok {
			continue
		}
		if f.offset+f.size > d.size {
			return nil, fmt.Errorf("%w: %s ends at byte %d of %d", ErrLayout, f.name, f.offset+f.size, d.size)
		}
		if _, ok := d.byName[f.name]; ok {
			return nil, fmt.Errorf("%w: %s is there twice", ErrLayout, f.name)
		}
		d.byName[f.name] = len(d.fields)
		d.fields = append(d.fields, f)
	}
	d.timestamp, d.hash, d.hashType = d.index("rx_timestamp"), d.index("rx_hash"), d.index("rx_hash_type")
	d.vlanProto, d.vlanTCI, d.valid = d.index("vlan_proto"), d.index("vlan_tci"), d.index("valid")
	return d, nil
}

// number returns where m is if it is an unsigned number.
func number(m btf.Member) (field, bool) {
	var size uint32
	switch t := btf.UnderlyingType(m.Type).(type) {
	case *btf.Int:
		if t.Encoding == btf.Signed {
			return field{}, false
		}
		size = t.Size
	case *btf.Enum:
		if t.Signed {
			return field{}, false
		}
		size = t.Size
	default:
		return field{}, false
	}
	if m.Name == "" || m.BitfieldSize != 0 || m.Offset%8 != 0 {
		return field{}, false
	}
	switch size {
	case 1, 2, 4, 8:
		return field{name: m.Name, offset: int(m.Offset / 8), size: int(size)}, true
	default:
		return field{}, false
	}
}

func (d *Decoder) index(name string) int {
	if i, ok := d.byName[name]; ok {
		return i
	}
	return -1
}

// Size is how many bytes in front of a packet are its metadata.
func (d *Decoder) Size() int { return d.size }

// Names are the names of the numbers, in their order.
func (d *Decoder) Names() []string {
	names := make([]string, len(d.fields))
	for i, f := range d.fields {
		names[i] = f.name
	}
	return names
}

// Decode returns the metadata of the packet that begins where b ends. What it
// returns refers to b, and is good as long as b is.
//
// Returns an error matching [ErrShort] if b is shorter than Size. Allocates
// nothing when it succeeds.
func (d *Decoder) Decode(b []byte) (Metadata, error) {
	if len(b) < d.size {
		return Metadata{}, fmt.Errorf("decode %d bytes: %w of %d", len(b), ErrShort, d.size)
	}
	return Metadata{d: d, b: b[len(b)-d.size:]}, nil
}

// Metadata is the metadata of one packet. The zero value has nothing.
type Metadata struct {
	d *Decoder
	b []byte
}

// Field is a number of the metadata.
type Field struct {
	Name  string
	Value uint64
}

// Fields iterates over all numbers in their order, valid or not.
func (m Metadata) Fields() iter.Seq[Field] {
	return func(yield func(Field) bool) {
		if m.d == nil {
			return
		}
		for i, f := range m.d.fields {
			if !yield(Field{f.name, m.at(i)}) {
				return
			}
		}
	}
}

// Value returns the number of that name, valid or not; false if the layout has
// none.
func (m Metadata) Value(name string) (uint64, bool) {
	if m.d == nil {
		return 0, false
	}
	i, ok := m.d.byName[name]
	if !ok {
		return 0, false
	}
	return m.at(i), true
}

func (m Metadata) at(i int) uint64 {
	f := m.d.fields[i]
	b := m.b[f.offset:]
	switch f.size {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.NativeEndian.Uint16(b))
	case 4:
		return uint64(binary.NativeEndian.Uint32(b))
	default:
		return binary.NativeEndian.Uint64(b)
	}
}

// has reports whether the layout has field i and the packet what bit says.
func (m Metadata) has(bit uint64, i int) bool {
	return m.d != nil && i >= 0 && m.d.valid >= 0 && m.at(m.d.valid)&bit != 0
}

// Timestamp returns when the packet was received, in nanoseconds of the netdev's
// clock; false if it is not known.
func (m Metadata) Timestamp() (uint64, bool) {
	if m.d == nil || !m.has(validTimestamp, m.d.timestamp) {
		return 0, false
	}
	return m.at(m.d.timestamp), true
}

// Hash returns the hash of the packet's flow, and what it is of, as bits of the
// kernel's enum xdp_rss_hash_type, 0 where that is not known; false if there is
// no hash.
func (m Metadata) Hash() (hash, typ uint32, ok bool) {
	if m.d == nil || !m.has(validHash, m.d.hash) {
		return 0, 0, false
	}
	if m.d.hashType >= 0 {
		typ = uint32(m.at(m.d.hashType))
	}
	return uint32(m.at(m.d.hash)), typ, true
}

// VLAN returns the protocol, 0x8100 or 0x88a8, and the tag of the packet, whose
// lower 12 bits are the VLAN id; false if it has no tag, or still has it in its
// header.
func (m Metadata) VLAN() (proto, tci uint16, ok bool) {
	if m.d == nil || !m.has(validVLANTag, m.d.vlanTCI) {
		return 0, 0, false
	}
	if m.d.vlanProto >= 0 {
		proto = uint16(m.at(m.d.vlanProto))
	}
	return proto, uint16(m.at(m.d.vlanTCI)), true
}
