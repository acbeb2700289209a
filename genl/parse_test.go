// SPDX-License-Identifier: BSD-3-Clause

package genl

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// What is appended reads the same through the decoder of another library.
func TestAppend(t *testing.T) {
	b := AppendUint16(nil, 1, 0x1234)
	b = AppendUint32(b, 2, 0x12345678)
	b = AppendString(b, 3, "abc")
	b = AppendString(b, 4, "")
	b = AppendAttr(b, 5, []byte{1, 2, 3, 4, 5})
	b = AppendNested(b, 6, func(b []byte) []byte { return AppendUint32(b, 1, 7) })
	b = AppendAttr(b, 7, nil)

	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		t.Fatal(err)
	}
	var got []any
	for ad.Next() {
		switch ad.Type() {
		case 1:
			got = append(got, ad.Uint16())
		case 2:
			got = append(got, ad.Uint32())
		case 3, 4:
			got = append(got, ad.String())
		case 5, 7:
			got = append(got, ad.Bytes())
		case 6:
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					got = append(got, ad.Type(), ad.Uint32())
				}
				return nil
			})
		}
	}
	if err := ad.Err(); err != nil {
		t.Fatal(err)
	}
	want := []any{uint16(0x1234), uint32(0x12345678), "abc", "", []byte{1, 2, 3, 4, 5}, uint16(1), uint32(7), []byte{}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func TestNextAttr(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		typ  uint16
		data []byte
		rest []byte
		ok   bool
	}{
		{"nothing", nil, 0, nil, nil, false},
		{"no header", []byte{4, 0, 1}, 0, nil, nil, false},
		{"empty", []byte{4, 0, 1, 0}, 1, []byte{}, []byte{}, true},
		{"shorter than a header", []byte{3, 0, 1, 0}, 0, nil, nil, false},
		{"longer than there is", []byte{6, 0, 1, 0, 9}, 0, nil, nil, false},
		{"last without padding", []byte{5, 0, 1, 0, 9}, 1, []byte{9}, []byte{}, true},
		{"one more", []byte{5, 0, 1, 0, 9, 0, 0, 0, 4}, 1, []byte{9}, []byte{4}, true},
		{"flags", []byte{4, 0, 1, 0xc0}, 1, []byte{}, []byte{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			typ, data, rest, ok := NextAttr(tt.b)
			if typ != tt.typ || ok != tt.ok {
				t.Errorf("got type %d, %v, want %d, %v", typ, ok, tt.typ, tt.ok)
			}
			if diff := cmp.Diff([][]byte{tt.data, tt.rest}, [][]byte{data, rest}); diff != "" {
				t.Errorf("data and rest (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNumber(t *testing.T) {
	var v uint16
	for _, data := range [][]byte{{7}, {7, 0}, {7, 0, 0, 0}, {7, 0, 0, 0, 0, 0, 0, 0}} {
		if err := number(&v, data); err != nil || v != 7 {
			t.Errorf("%v: got %d and error %v", data, v, err)
		}
	}
	for _, data := range [][]byte{nil, {1, 2, 3}, {0, 0, 1, 0}, make([]byte, 9)} {
		if err := number(&v, data); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v: got error %v, want %v", data, err, ErrMalformed)
		}
	}
}

// Whatever attributes of a family or of its policies are, reading them ends.
func FuzzControl(f *testing.F) {
	op := func(b []byte) []byte {
		return AppendNested(b, 1, func(b []byte) []byte {
			return AppendUint32(AppendUint32(b, unix.CTRL_ATTR_OP_ID, 3), unix.CTRL_ATTR_OP_FLAGS, 14)
		})
	}
	b := AppendUint16(nil, unix.CTRL_ATTR_FAMILY_ID, 0x20)
	b = AppendString(b, unix.CTRL_ATTR_FAMILY_NAME, "fake")
	b = AppendUint32(b, unix.CTRL_ATTR_VERSION, 3)
	b = AppendUint32(b, unix.CTRL_ATTR_HDRSIZE, 0)
	b = AppendNested(b, unix.CTRL_ATTR_OPS, op)
	b = AppendNested(b, unix.CTRL_ATTR_MCAST_GROUPS, func(b []byte) []byte {
		return AppendNested(b, 1, func(b []byte) []byte {
			return AppendString(AppendUint32(b, unix.CTRL_ATTR_MCAST_GRP_ID, 1), unix.CTRL_ATTR_MCAST_GRP_NAME, "events")
		})
	})
	f.Add(b)
	f.Add(AppendNested(nil, unix.CTRL_ATTR_OP_POLICY, func(b []byte) []byte {
		return AppendNested(b, 3, func(b []byte) []byte {
			return AppendUint32(AppendUint32(b, unix.CTRL_ATTR_POLICY_DO, 0), unix.CTRL_ATTR_POLICY_DUMP, 9)
		})
	}))
	f.Add(AppendNested(nil, unix.CTRL_ATTR_POLICY, func(b []byte) []byte {
		return AppendNested(b, 0, func(b []byte) []byte {
			return AppendNested(b, 1, func(b []byte) []byte {
				b = AppendUint32(b, unix.NL_POLICY_TYPE_ATTR_POLICY_IDX, 0) // itself
				return AppendUint32(b, unix.NL_POLICY_TYPE_ATTR_TYPE, unix.NL_ATTR_TYPE_NESTED)
			})
		})
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if fam, err := parseFamily(b); err == nil && fam.ID < unix.GENL_MIN_ID {
			t.Errorf("got family %+v", fam)
		}
		d := policyDump{sets: make(map[uint32]*PolicySet)}
		if attrs(b, d.message) != nil {
			return
		}
		for _, op := range d.finish() {
			for _, set := range []*PolicySet{op.Do, op.Dump} {
				if set == nil {
					continue
				}
				for _, p := range set.Attrs {
					_ = p.String()
				}
			}
		}
	})
}
