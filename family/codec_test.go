// SPDX-License-Identifier: BSD-3-Clause

package family

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The attributes below are those that the YNL library of Linux 6.12 encodes
// (tools/net/ynl/lib, YnlFamily._add_attr) from family/xdpctl.yaml for the
// values given, on a little-endian machine.

const (
	// {'ifindex': 3, 'queue': 0xffffffff, 'update': 'noexist', 'fd': 7,
	//  'expected-prog-id': 42, 'mode': ['generic']}
	progSet = "080001000300000008000200ffffffff08000400010000000800050007000000080006002a0000000800070002000000"

	// {'ifindex': 3, 'queue': 0xffffffff, 'mode': ['native'], 'prog-id': 42,
	//  'link-id': 9, 'owner': 'module', 'tag': '6deef7357e7b4530',
	//  'name': 'xdp_pass'}
	progReply = "080001000300000008000200ffffffff0800070001000000080008002a000000080009000900000008000a00010000000c000c006deef7357e7b45300d000d007864705f7061737300000000"

	// {'ifindex': 3, 'packets': 0x1122334455667788, 'exception-invalid': 1}
	statsReply = "08000100030000000c00040088776655443322110c0015000100000000000000"

	// {'ifindex': 3, 'xdp-features': ['basic', 'rx-sg'], 'source': 'derived',
	//  'driver': 'veth'}
	capsReply = "08000100030000000c0003002100000000000000080006000200000009000b007665746800000000"
)

const (
	// {'ifindex': 3, 'rings-num': 4, 'rings-size': 512, 'enable-md': 1,
	//  'md-btf-id': 90, 'md-type-id': 44, 'enable-meter': 0, 'md-users': 2,
	//  'placeholder-prog-id': 12, 'md-features': ['hash', 'vlan-tag']}
	attrReply = "0800010003000000080004000400000008000500000200000800060001000000080007005a000000080008002c000000080009000000000008000b000200000008000c000c0000000c000d000600000000000000"

	// {'port': 1023, 'ifindex': 3, 'devmap-id': 60, 'index-map-id': 61}
	portReply = "08000100ff0300000800030003000000080004003c000000080005003d000000"

	// {'ifindex': 3, 'prog-id': 42, 'action': 238, 'count': 0x100000001,
	//  'queue': 1}
	exceptionEvent = "0800010003000000080003002a00000008000400ee0000000c00050001000000010000000800060001000000"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the captured bytes are little-endian")
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantProg() (ProgKey, Prog) {
	var v Prog
	v.SetMode(ModeNative)
	v.SetProgID(42)
	v.SetLinkID(9)
	v.SetOwner(OwnerModule)
	v.SetTag(Bytes8{0x6d, 0xee, 0xf7, 0x35, 0x7e, 0x7b, 0x45, 0x30})
	v.SetName("xdp_pass")
	return ProgKey{Ifindex: 3, Queue: QueueAll}, v
}

func TestEncodeProgSet(t *testing.T) {
	k := ProgKey{Ifindex: 3, Queue: QueueAll}
	var v Prog
	v.SetFD(7)
	v.SetExpectedProgID(42)
	v.SetMode(ModeGeneric)
	v.SetProgID(1) // not in a request

	b := k.AppendAttrs(nil)
	b = v.Desc().AppendUpdate(b, UpdateNoexist)
	b = v.AppendAttrs(b, true)
	if diff := cmp.Diff(progSet, hex.EncodeToString(b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	var gotKey ProgKey
	var got Prog
	if err := got.DecodeAttrs(b, &gotKey); err != nil {
		t.Fatal(err)
	}
	v.Present &^= 1 << AttrProgProgID
	v.ProgID = 0
	if diff := cmp.Diff(v, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(k, gotKey); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReplies(t *testing.T) {
	progKey, prog := wantProg()
	var stats Stats
	stats.SetPackets(0x1122334455667788)
	stats.SetExceptionInvalid(1)
	var caps Caps
	caps.SetXDPFeatures(XDPActBasic | XDPActRXSG)
	caps.SetSource(SourceDerived)
	caps.SetDriver("veth")

	testReply(t, progReply, progKey, prog)
	testReply(t, statsReply, StatsKey{Ifindex: 3}, stats)
	testReply(t, capsReply, CapsKey{Ifindex: 3}, caps)
	testReply(t, attrReply, AttrKey{Ifindex: 3}, wantAttr())
	testReply(t, portReply, PortKey{Port: 1023}, wantPort())
}

func wantAttr() Attr {
	var v Attr
	v.SetRingsNum(4)
	v.SetRingsSize(512)
	v.SetEnableMD(1)
	v.SetMDBTFID(90)
	v.SetMDTypeID(44)
	v.SetEnableMeter(0)
	v.SetMDUsers(2)
	v.SetPlaceholderProgID(12)
	v.SetMDFeatures(XDPRXMetadataHash | XDPRXMetadataVLANTag)
	return v
}

func wantPort() Port {
	var v Port
	v.SetIfindex(3)
	v.SetDevmapID(60)
	v.SetIndexMapID(61)
	return v
}

func wantException() Exception {
	var v Exception
	v.SetIfindex(3)
	v.SetProgID(42)
	v.SetAction(238)
	v.SetCount(1<<32 + 1)
	v.SetQueue(1)
	return v
}

type testKey[K any] interface {
	*K
	AppendAttrs([]byte) []byte
	AppendFilter([]byte) []byte
	DecodeAttrs([]byte) error
	Desc() *TypeDesc
}

type testValue[K, V any] interface {
	*V
	AppendAttrs([]byte, bool) []byte
	DecodeAttrs([]byte, *K) error
	Desc() *TypeDesc
	Has(uint16) bool
}

func testReply[K, V any, PK testKey[K], PV testValue[K, V]](t *testing.T, raw string, k K, v V) {
	t.Helper()
	name := PV(&v).Desc().Name
	b := PV(&v).AppendAttrs(PK(&k).AppendAttrs(nil), false)
	if diff := cmp.Diff(raw, hex.EncodeToString(b)); diff != "" {
		t.Errorf("encode %s (-want +got):\n%s", name, diff)
	}
	var gotKey K
	var got V
	if err := PV(&got).DecodeAttrs(unhex(t, raw), &gotKey); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, got); diff != "" {
		t.Errorf("decode %s (-want +got):\n%s", name, diff)
	}
	if diff := cmp.Diff(k, gotKey); diff != "" {
		t.Errorf("decode key of %s (-want +got):\n%s", name, diff)
	}
}

// fill sets all fields of v to values that differ from one another.
func fill(v reflect.Value, present uint64) {
	n := byte(1)
	for i := range v.NumField() {
		f := v.Field(i)
		if v.Type().Field(i).Name == "_" {
			continue
		}
		switch f.Kind() {
		case reflect.Uint32, reflect.Uint64:
			f.SetUint(uint64(n))
		case reflect.Array: // the last byte stays 0, which ends a string
			for j := range f.Len() - 1 {
				f.Index(j).SetUint(uint64('a' + n))
			}
		}
		n++
	}
	if f := v.FieldByName("Present"); f.IsValid() {
		f.SetUint(present)
	}
}

func TestRoundTrip(t *testing.T) {
	testRoundTrip[StatsKey, Stats](t)
	testRoundTrip[QstatsKey, Qstats](t)
	testRoundTrip[ProgKey, Prog](t)
	testRoundTrip[CapsKey, Caps](t)
	testRoundTrip[AttrKey, Attr](t)
	testRoundTrip[PortKey, Port](t)
}

func testRoundTrip[K, V any, PK testKey[K], PV testValue[K, V]](t *testing.T) {
	t.Helper()
	var k, gotKey K
	var v, got V
	desc := PV(&v).Desc()
	fill(reflect.ValueOf(&k).Elem(), 0)
	fill(reflect.ValueOf(&v).Elem(), desc.ReplyMask)

	// What is not in a reply is 0 after decoding.
	b := PV(&v).AppendAttrs(PK(&k).AppendAttrs(nil), false)
	b = append(b, 5, 0, 0xff, 0x3f, 1, 0, 0, 0) // unknown
	if err := PV(&got).DecodeAttrs(b, &gotKey); err != nil {
		t.Fatalf("%s: %v", desc.Name, err)
	}
	for _, f := range desc.Fields {
		if !f.Key && !f.Reply {
			reflect.ValueOf(&v).Elem().FieldByIndex(fieldAt(t, v, f.Offset)).SetZero()
		}
	}
	if diff := cmp.Diff(v, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", desc.Name, diff)
	}
	if diff := cmp.Diff(k, gotKey); diff != "" {
		t.Errorf("key of %s (-want +got):\n%s", desc.Name, diff)
	}

	var alone K
	if err := PK(&alone).DecodeAttrs(b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(k, alone); diff != "" {
		t.Errorf("key of %s alone (-want +got):\n%s", desc.Name, diff)
	}
	if got, want := PK(&k).AppendFilter(nil), b[:8]; !cmp.Equal(got, want) {
		t.Errorf("filter of %s: got % x, want % x", desc.Name, got, want)
	}
	testAllocs(t, desc.Name, &k, &v, PK(nil), PV(nil))
}

func fieldAt(t *testing.T, v any, offset int) []int {
	t.Helper()
	typ := reflect.TypeOf(v)
	for i := range typ.NumField() {
		if int(typ.Field(i).Offset) == offset {
			return []int{i}
		}
	}
	t.Fatalf("%s has no field at %d", typ, offset)
	return nil
}

func testAllocs[K, V any, PK testKey[K], PV testValue[K, V]](t *testing.T, name string, k *K, v *V, _ PK, _ PV) {
	t.Helper()
	buf := make([]byte, 0, 1024)
	allocs := testing.AllocsPerRun(100, func() {
		b := PK(k).AppendAttrs(buf)
		b = PV(v).Desc().AppendUpdate(b, UpdateAny)
		b = PV(v).AppendAttrs(b, false)
		if err := PV(v).DecodeAttrs(b, k); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%s: %v allocations, want 0", name, allocs)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, tc := range []struct{ name, raw, want string }{
		{"short u32", "080001000300000008000200ffffffff06000800aabb0000",
			"decode prog: malformed attributes: attribute prog-id has length 2"},
		{"long u32", "080001000300000008000200ffffffff0c00080001000000000000",
			"decode prog: malformed attributes: truncated"},
		{"u64 for u32", "080001000300000008000200ffffffff0c0008000100000000000000",
			"decode prog: malformed attributes: attribute prog-id has length 8"},
		{"short key", "0500010003000000",
			"decode prog: malformed attributes: attribute ifindex has length 1"},
		{"long string", "080001000300000008000200ffffffff14000d0061616161616161616161616161616161",
			"decode prog: malformed attributes: attribute name has length 16"},
		{"bytes after the string", "080001000300000008000200ffffffff08000d0061006200",
			"decode prog: malformed attributes: attribute name has length 4"},
		{"short binary", "080001000300000008000200ffffffff08000c0061626364",
			"decode prog: malformed attributes: attribute tag has length 4"},
		{"key is missing", "0800010003000000",
			"decode prog: malformed attributes: attribute queue is missing"},
		{"no header", "0800", "decode prog: malformed attributes: truncated"},
		{"length below header", "03000100", "decode prog: malformed attributes: truncated"},
		{"length beyond the end", "0c00010003000000", "decode prog: malformed attributes: truncated"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var k ProgKey
			var v Prog
			err := v.DecodeAttrs(unhex(t, tc.raw), &k)
			if !errors.Is(err, ErrMalformed) || err.Error() != tc.want {
				t.Errorf("got error %v\nwant %s", err, tc.want)
			}
		})
	}
}

func TestDecodeAccepts(t *testing.T) {
	var v Prog
	// A string without NUL, flags in the
	// type, the key last and not asked for.
	if err := v.DecodeAttrs(unhex(t, "0800088001000000"+"07000d0061626300"+"0800010003000000"+"08000200ffffffff"), nil); err != nil {
		t.Fatal(err)
	}
	if v.ProgID != 1 || v.Name.String() != "abc" {
		t.Errorf("got prog-id %d, name %q", v.ProgID, v.Name)
	}
}

func TestType(t *testing.T) {
	var v, got Type
	v.SetID(CtrlTypeXDPProg)
	v.SetName("xdp_prog")
	v.SetOperations(CtrlOpGetNext | CtrlOpLookup)
	if err := got.DecodeAttrs(v.AppendAttrs(nil, false)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(v, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The last attribute needs no padding.
	if err := got.DecodeAttrs(unhex(t, "07000200616263")); err != nil || got.Name.String() != "abc" {
		t.Errorf("got name %q, error %v", got.Name, err)
	}
	if got, want := hex.EncodeToString(v.AppendAttrs(nil, true)), "0800010003000000"; got != want {
		t.Errorf("request: got %s, want %s", got, want)
	}
	if err := got.DecodeAttrs(unhex(t, "0600010003000000")); !errors.Is(err, ErrMalformed) {
		t.Errorf("got error %v, want %v", err, ErrMalformed)
	}
}

func TestDecodeEvent(t *testing.T) {
	k, v := wantProg()
	attr, port, exception := wantAttr(), wantPort(), wantException()
	for _, tc := range []struct {
		cmd  uint8
		raw  string
		want Event
	}{
		{CmdProgNtf, progReply, Event{Op: "prog-ntf", Type: CtrlTypeXDPProg, Key: &k, Value: &v}},
		{CmdAttrNtf, attrReply, Event{Op: "attr-ntf", Type: CtrlTypeXDPAttr, Key: &AttrKey{3}, Value: &attr}},
		{CmdPortNtf, portReply, Event{Op: "port-ntf", Type: CtrlTypeXDPPort, Key: &PortKey{1023}, Value: &port}},
		// Free: a key, and nothing that tells of a netdev.
		{CmdPortNtf, "0800010000000000", Event{Op: "port-ntf", Type: CtrlTypeXDPPort, Key: &PortKey{0}, Value: &Port{}}},
		{CmdExceptionNtf, exceptionEvent, Event{Op: "exception-ntf", Value: &exception}},
	} {
		ev, err := DecodeEvent(tc.cmd, unhex(t, tc.raw))
		if err != nil {
			t.Errorf("%s: %v", tc.want.Op, err)
		}
		if diff := cmp.Diff(tc.want, ev); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.want.Op, diff)
		}
	}
	if _, err := DecodeEvent(CmdProgGet, nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got error %v, want %v", err, errors.ErrUnsupported)
	}
	for cmd, raw := range map[uint8]string{
		CmdExceptionNtf: "0600010003000000", // an ifindex of 2 bytes
		CmdPortNtf:      "0800030003000000", // no port
		CmdAttrNtf:      "0700",
	} {
		if _, err := DecodeEvent(cmd, unhex(t, raw)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got error %v, want %v", OpName(cmd), err, ErrMalformed)
		}
	}
}

func TestException(t *testing.T) {
	want := wantException()
	if got := hex.EncodeToString(want.AppendAttrs(nil, false)); got != exceptionEvent {
		t.Errorf("got %s, want %s", got, exceptionEvent)
	}
	// What is absent stays so, and what is new is passed over.
	var got Exception
	if err := got.DecodeAttrs(unhex(t, "08000100030000000800ff3f01000000")); err != nil {
		t.Fatal(err)
	}
	want = Exception{}
	want.SetIfindex(3)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Has(AttrExceptionQueue) || !got.Has(AttrExceptionIfindex) {
		t.Errorf("presence is %#x", got.Present)
	}
}

func TestJSON(t *testing.T) {
	k, v := wantProg()
	var typ Type
	typ.SetID(CtrlTypeXDPStats)
	typ.SetOperations(CtrlOpGetNext | CtrlOpLookup | 0x40)
	var caps Caps
	caps.SetXDPFeatures(0)
	caps.SetXDPRXMetadataFeatures(XDPRXMetadataHash | XDPRXMetadataVLANTag)
	caps.SetSource(9)
	const prog = `"mode":["native"],"prog-id":42,"link-id":9,"owner":"module","tag":"6deef7357e7b4530","name":"xdp_pass"`
	for _, tc := range []struct {
		value any
		want  string
	}{
		{Stats{}, `{}`},
		{Stats{Packets: 1}, `{}`},
		{k, `{"ifindex":3,"queue":4294967295}`},
		{v, `{` + prog + `}`},
		{Entry[ProgKey, Prog]{k, v}, `{"ifindex":3,"queue":4294967295,` + prog + `}`},
		{Entry[StatsKey, Stats]{StatsKey{2}, Stats{}}, `{"ifindex":2}`},
		{Event{"prog-ntf", CtrlTypeXDPProg, &k, &Prog{}}, `{"event":"prog-ntf","ifindex":3,"queue":4294967295}`},
		{Event{"port-ntf", CtrlTypeXDPPort, &PortKey{0}, &Port{}}, `{"event":"port-ntf","port":0}`},
		{Event{"exception-ntf", 0, nil, new(wantException())}, `{"event":"exception-ntf","ifindex":3,"prog-id":42,"action":238,"count":4294967297,"queue":1}`},
		{wantAttr(), `{"rings-num":4,"rings-size":512,"enable-md":1,"md-btf-id":90,"md-type-id":44,"enable-meter":0,"md-users":2,` +
			`"placeholder-prog-id":12,"md-features":["hash","vlan-tag"]}`},
		{typ, `{"id":"xdp-stats","operations":["get-next","lookup","0x40"]}`},
		{caps, `{"xdp-features":[],"xdp-rx-metadata-features":["hash","vlan-tag"],"source":9}`},
	} {
		b, err := json.Marshal(tc.value)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, string(b)); diff != "" {
			t.Errorf("%T (-want +got):\n%s", tc.value, diff)
		}
	}
}

func TestEnums(t *testing.T) {
	for _, tc := range []struct{ got, want string }{
		{ModeNative.String(), "native"},
		{(ModeNative | ModeOffload | 0x80).String(), "native|offload|0x80"},
		{Mode(0).String(), "0"},
		{OwnerLink.String(), "link"},
		{Owner(0).String(), "owner(0)"},
		{Owner(99).String(), "owner(99)"},
		{UpdateAny.String(), "any"},
	} {
		if tc.got != tc.want {
			t.Errorf("got %q, want %q", tc.got, tc.want)
		}
	}
	if v, err := ParseMode("native,generic"); err != nil || v != ModeNative|ModeGeneric {
		t.Errorf("got %v, %v", v, err)
	}
	if v, err := ParseOwner("netlink"); err != nil || v != OwnerNetlink {
		t.Errorf("got %v, %v", v, err)
	}
	_, err := ParseUpdate("maybe")
	if want := `parse update: unknown "maybe", want one of any, noexist, exist`; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

func TestStringsAreCutOff(t *testing.T) {
	var v Prog
	v.SetName(strings.Repeat("x", 40))
	if got, want := v.Name.String(), strings.Repeat("x", 15); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	v.SetName("y")
	if got, want := v.Name.String(), "y"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func BenchmarkDecodeStats(b *testing.B) {
	var k StatsKey
	var v Stats
	fill(reflect.ValueOf(&v).Elem(), v.Desc().ReplyMask)
	raw := v.AppendAttrs(k.AppendAttrs(nil), false)
	b.ReportAllocs()
	for b.Loop() {
		if err := v.DecodeAttrs(raw, &k); err != nil {
			b.Fatal(err)
		}
	}
}
