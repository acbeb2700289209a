// SPDX-License-Identifier: BSD-3-Clause

package ctlmap

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// Spelling is how a [Dumper] writes names.
type Spelling int

const (
	// SpellC writes names as BTF has them, which is C.
	SpellC Spelling = iota
	// SpellSpec writes names as the family's spec has them: dashes, and
	// enumerators without the name of their enum.
	SpellSpec
)

func (s Spelling) member(name string) string {
	if s == SpellSpec {
		return strings.ReplaceAll(name, "_", "-")
	}
	return name
}

func (s Spelling) enumerator(enum, name string) string {
	short, ok := strings.CutPrefix(name, strings.ToUpper(enum)+"_")
	if s != SpellSpec || !ok || enum == "" || short == "" {
		return name
	}
	return strings.ReplaceAll(strings.ToLower(short), "_", "-")
}

// Dumper prints the entries of a map by the BTF of its key and value, whatever
// fields they have. It belongs to one goroutine.
//
// A value whose struct has a member present is printed without the members
// that are absent, and without present. The bit of a member is the attribute
// it is named after. Which bits belong to members that this binary has never
// heard of, BTF does not tell: if some of those bits are set and some are not,
// such a member counts as absent when it is 0 throughout, which is how the
// kernel writes absent ones.
type Dumper struct {
	// Spelling of names.
	Spelling Spelling

	key, value btf.Type
	bits       *presence
}

// Entry is one entry of a map as decoded by a [Dumper].
type Entry struct {
	// Key and Value are of the types that the fields of a [Struct] have.
	Key   any `json:"key"`
	Value any `json:"value"`
}

// NewDumper makes a dumper for a map from its BTF, which it reads from the
// kernel by id. Needs CAP_SYS_ADMIN.
//
// The error matches [errors.ErrUnsupported] if the map has no BTF.
func NewDumper(m *ebpf.Map) (*Dumper, error) {
	info, err := MapInfo(m)
	if err != nil {
		return nil, err
	}
	if info.BTFID == 0 || info.BTFValueID == 0 {
		return nil, fmt.Errorf("map %d has no BTF: %w", info.ID, errors.ErrUnsupported)
	}
	h, err := btf.NewHandleFromID(btf.ID(info.BTFID))
	if err != nil {
		return nil, fmt.Errorf("open BTF %d of map %d: %w", info.BTFID, info.ID, err)
	}
	defer h.Close()
	spec, err := h.Spec(nil)
	if err != nil {
		return nil, fmt.Errorf("read BTF %d of map %d: %w", info.BTFID, info.ID, err)
	}
	key, err := spec.TypeByID(btf.TypeID(info.BTFKeyID))
	if err != nil {
		return nil, fmt.Errorf("find key type %d in BTF %d: %w", info.BTFKeyID, info.BTFID, err)
	}
	value, err := spec.TypeByID(btf.TypeID(info.BTFValueID))
	if err != nil {
		return nil, fmt.Errorf("find value type %d in BTF %d: %w", info.BTFValueID, info.BTFID, err)
	}
	return NewTypeDumper(key, value), nil
}

// NewTypeDumper makes a dumper for a map whose key and value have these types.
func NewTypeDumper(key, value btf.Type) *Dumper {
	return &Dumper{key: key, value: value, bits: newPresence(value)}
}

// Decode decodes an entry.
func (d *Dumper) Decode(key, value []byte) (*Entry, error) {
	kd := decoder{spelling: d.Spelling}
	k, err := kd.decode(d.key, key, 0)
	if err != nil {
		return nil, fmt.Errorf("decode key: %w", err)
	}
	vd := decoder{spelling: d.Spelling, present: d.bits.of(value)}
	v, err := vd.decode(d.value, value, 0)
	if err != nil {
		return nil, fmt.Errorf("decode value: %w", err)
	}
	return &Entry{Key: k, Value: v}, nil
}

// AppendText appends an entry as text: the key on a line, then the fields of
// the value, one to an indented line.
func (d *Dumper) AppendText(b, key, value []byte) ([]byte, error) {
	e, err := d.Decode(key, value)
	if err != nil {
		return b, err
	}
	if k, ok := e.Key.(Struct); ok {
		b = append(b, k.String()...)
	} else {
		b = append(b, nodeString(e.Key)...)
	}
	b = append(b, ":\n"...)
	if v, ok := e.Value.(Struct); ok {
		return v.appendText(b, "    "), nil
	}
	b = append(b, "    "...)
	b = append(b, nodeString(e.Value)...)
	return append(b, '\n'), nil
}

// AppendJSON appends an entry as a JSON object with the members key and value.
func (d *Dumper) AppendJSON(b, key, value []byte) ([]byte, error) {
	e, err := d.Decode(key, value)
	if err != nil {
		return b, err
	}
	j, err := json.Marshal(e)
	if err != nil {
		return b, fmt.Errorf("encode entry: %w", err)
	}
	return append(b, j...), nil
}

// Walk calls f with each entry of a map, in the order of the map. The slices
// are f's until it returns, to read only. An entry that goes away meanwhile is passed
// over.
func Walk(m *ebpf.Map, f func(key, value []byte) error) error {
	fd := m.FD()
	key := make([]byte, m.KeySize())
	value := make([]byte, m.ValueSize())
	if t := m.Type(); t != ebpf.Hash && t != ebpf.Array {
		// Others may write more than the size of a value.
		return fmt.Errorf("walk map of type %s: %w", t, errors.ErrUnsupported)
	}

	prev := unsafe.Pointer(nil)
	for {
		errno := bpfElem(unix.BPF_MAP_GET_NEXT_KEY, fd, prev, unsafe.Pointer(&key[0]), 0)
		if errno == syscall.ENOENT {
			return nil
		}
		if errno != 0 {
			return fmt.Errorf("get next key: %w", errno)
		}
		prev = unsafe.Pointer(&key[0])

		errno = bpfElem(unix.BPF_MAP_LOOKUP_ELEM, fd, prev, unsafe.Pointer(&value[0]), 0)
		if errno == syscall.ENOENT {
			continue
		}
		if errno != 0 {
			return fmt.Errorf("look up %x: %w", key, errno)
		}
		if err := f(key, value); err != nil {
			return err
		}
	}
}
