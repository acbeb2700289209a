// SPDX-License-Identifier: BSD-3-Clause

package specgen

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

const root = "../.."

func loadFamily(t *testing.T) *Family {
	t.Helper()
	spec, err := LoadSpec(filepath.Join(root, SpecPath))
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFamily(spec, SpecPath)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// smallSpec is a family of one control type that can be read, written and
// deleted from. Tests replace parts of it.
const smallSpec = `
name: xdpctl
doc: A small family.
protocol: genetlink
uapi-header: linux/xdpctl.h
definitions:
  -
    type: enum
    name: ctrl-type
    value-start: 1
    doc: Control types.
    entries:
      - {name: xdp-port, doc: A port.}
      #TYPE
  -
    type: enum
    name: update
    doc: Flags of an update.
    entries:
      - {name: any, doc: Either.}
      - {name: noexist, doc: Add.}
  #DEFINITION
attribute-sets:
  -
    name: port
    doc: A port.
    attributes:
      - {name: number, type: u32, doc: Its number., checks: {min: 1}}
      - {name: update, type: u32, enum: update, doc: Flags.}
      - {name: pad, type: pad}
      - {name: ifindex, type: u32, doc: Its netdev.}
      - {name: label, type: string, doc: Its label., checks: {max-len: 20}}
      - {name: speed, type: u64, doc: Its speed.}
      #ATTRIBUTE
operations:
  list:
    -
      name: port-get
      doc: Get ports.
      attribute-set: port
      do: &get
        request: &key
          attributes: [number]
        reply:
          attributes: [number, speed, ifindex, label]
      dump: *get
    -
      name: port-set
      doc: Set a port.
      attribute-set: port
      flags: [admin-perm]
      do:
        request:
          attributes: [number, update, ifindex]
    #OPERATION
mcast-groups:
  list:
    -
      name: mgmt
`

// smallFamily returns the small family with parts replaced: old and new in turn.
func smallFamily(replace ...string) (*Family, error) {
	text := smallSpec
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			return nil, errors.New("test: nothing to replace: " + replace[i])
		}
		text = strings.Replace(text, replace[i], replace[i+1], 1)
	}
	spec, err := ParseSpec([]byte(text))
	if err != nil {
		return nil, err
	}
	return NewFamily(spec, "small.yaml")
}

func TestGeneratedFilesAreUpToDate(t *testing.T) {
	files, err := Generate(loadFamily(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		got, err := os.ReadFile(filepath.Join(root, f.Path))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(got, f.Data) {
			t.Errorf("%s is out of date: run go generate ./...", f.Path)
		}
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "family", "zz_table_gone.go")
	if err := os.MkdirAll(filepath.Dir(stale), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stale, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Write(dir, []File{{"family/zz_new.go", []byte("x")}, {"docs/p.md", []byte("y")}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stale file: got %v, want %v", err, os.ErrNotExist)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "docs/p.md")); err != nil || string(b) != "y" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestAnchors(t *testing.T) {
	f := loadFamily(t)
	get, set := f.Op("prog-get"), f.Op("prog-set")
	if diff := cmp.Diff(names(get.Do.Request), names(get.Dump.Request)); diff != "" {
		t.Errorf("alias of a sequence: (-do +dump)\n%s", diff)
	}
	if diff := cmp.Diff(names(get.Do.Reply), names(set.Do.Reply)); diff != "" {
		t.Errorf("alias of a mapping: (-get +set)\n%s", diff)
	}
	if got := len(get.Do.Reply); got != 14 {
		t.Errorf("prog-get replies with %d attributes, want 14", got)
	}
}

func names(attrs []*Attr) []string {
	var out []string
	for _, a := range attrs {
		out = append(out, a.Name)
	}
	return out
}

func TestCommands(t *testing.T) {
	got := map[string]int{}
	for _, o := range loadFamily(t).Ops {
		got[o.Name] = o.Cmd
	}
	want := map[string]int{
		"type-get": 1, "stats-get": 2, "qstats-get": 3, "prog-get": 4,
		"prog-set": 5, "prog-del": 6, "prog-ntf": 7, "caps-get": 8,
	}
	// Later commands may come, these stay.
	for name, cmd := range want {
		if got[name] != cmd {
			t.Errorf("command of %s is %d, want %d", name, got[name], cmd)
		}
	}
}

func TestLayout(t *testing.T) {
	f, err := smallFamily()
	if err != nil {
		t.Fatal(err)
	}
	type member struct {
		Decl       string
		Offset     int
		Reply, Set bool
	}
	var got []member
	for _, m := range f.Types[0].Value.Members {
		got = append(got, member{cDecl(m), m.Offset, m.Reply, m.Set})
	}
	want := []member{
		{"__u64 present;", 0, false, false},
		{"__u32 ifindex;", 8, true, true},
		{"char label[24];", 12, true, false},
		{"__u32 pad0;", 36, false, false},
		{"__u64 speed;", 40, true, false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("value (-want +got):\n%s", diff)
	}
	if got := f.Types[0].UpdateAttr; got != 2 {
		t.Errorf("update attribute is %d, want 2", got)
	}
	if got := f.Types[0].PadAttr; got != 3 {
		t.Errorf("pad attribute is %d, want 3", got)
	}
}

func TestLayoutOddPadding(t *testing.T) {
	f, err := smallFamily(
		"#ATTRIBUTE", "- {name: hash, type: binary, doc: A hash., checks: {exact-len: 5}}",
		"label]", "label, hash]")
	if err != nil {
		t.Fatal(err)
	}
	v := f.Types[0].Value
	last := v.Members[len(v.Members)-1]
	if got, want := cDecl(last), "__u8 pad1[3];"; got != want || v.Size != 56 {
		t.Errorf("got %s in %d bytes, want %s in 56", got, v.Size, want)
	}
}

// grown is a definition that says that values of this many bytes came earlier.
func grown(n, size string) string {
	return "-\n    type: const\n    name: port-value-size-" + n + "\n    doc: Old.\n    value: " + size + "\n  #DEFINITION"
}

func TestGrownValue(t *testing.T) {
	f, err := smallFamily("#DEFINITION", grown("1", "40"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{40}, f.Types[0].OldSizes); diff != "" {
		t.Errorf("older sizes (-want +got):\n%s", diff)
	}
}

// frame is a struct with gaps: a set that no operation has.
const frame = `  -
    name: frame
    doc: What stands before a frame.
    attributes:
      - {name: proto, type: u16, doc: Its protocol.}
      - {name: hash, type: u32, doc: Its hash.}
      - {name: stamp, type: u64, doc: Its time.}
      - {name: tci, type: u16, doc: Its tag.}
operations:`

// alarm is an event of a set of its own.
const (
	alarmSet = `  -
    name: alarm
    doc: An alarm.
    attributes:
      - {name: pad, type: pad}
      - {name: port, type: u32, doc: Where it was.}
      - {name: count, type: u64, doc: How many.}
operations:`
	alarmEvent = `-
      name: alarm-ntf
      doc: Something happened.
      attribute-set: alarm
      mcgrp: mgmt
      event:
        attributes: [port, count]
    #OPERATION`
)

func TestStruct(t *testing.T) {
	f, err := smallFamily("operations:", frame)
	if err != nil {
		t.Fatal(err)
	}
	type member struct {
		Decl   string
		Offset int
	}
	var got []member
	for _, m := range f.Structs[0].Members {
		got = append(got, member{cDecl(m), m.Offset})
	}
	want := []member{
		{"__u16 proto;", 0}, {"__u8 pad0[2];", 2}, {"__u32 hash;", 4},
		{"__u64 stamp;", 8}, {"__u16 tci;", 16}, {"__u8 pad1[6];", 18},
	}
	if diff := cmp.Diff(want, got); diff != "" || f.Structs[0].Size != 24 {
		t.Errorf("%d bytes (-want +got):\n%s", f.Structs[0].Size, diff)
	}
	b, err := NewBTF(f)
	if err != nil {
		t.Fatal(err)
	}
	st := structByID(t, b, b.Structs[f.Structs[0]])
	if diff := cmp.Diff([]string{"proto 0 2", "hash 4 4", "stamp 8 8", "tci 16 2"}, memberList(t, st)); diff != "" || st.Name != "xdpctl_frame" || st.Size != 24 {
		t.Errorf("%s of %d bytes (-want +got):\n%s", st.Name, st.Size, diff)
	}
	generated(t, f, map[string]string{
		"kmod/uapi/xdpctl.h": "struct xdpctl_frame {\n\t__u16 proto;\n\t__u8 pad0[2];\n\t__u32 hash;\n",
		"docs/protocol.md":   "| 2 | 2 | `__u8 pad0[2];` | padding |",
	})
}

func structByID(t *testing.T, b *BTF, id btf.TypeID) *btf.Struct {
	t.Helper()
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(b.Raw))
	if err != nil {
		t.Fatal(err)
	}
	typ, err := spec.TypeByID(id)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := typ.(*btf.Struct)
	if !ok {
		t.Fatalf("type %d is %v", id, typ)
	}
	return st
}

// memberList is the name, offset and size of all members.
func memberList(t *testing.T, st *btf.Struct) []string {
	t.Helper()
	var list []string
	for _, m := range st.Members {
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%s %d %d", m.Name, m.Offset.Bytes(), size))
	}
	return list
}

// generated checks that the files of f contain a text each.
func generated(t *testing.T, f *Family, want map[string]string) {
	t.Helper()
	files, err := Generate(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if text, ok := want[file.Path]; ok && !strings.Contains(string(file.Data), text) {
			t.Errorf("%s lacks %q", file.Path, text)
		}
		delete(want, file.Path)
	}
	for path := range want {
		t.Errorf("%s is not generated", path)
	}
}

func TestEvent(t *testing.T) {
	f, err := smallFamily("operations:", alarmSet, "#OPERATION", alarmEvent)
	if err != nil {
		t.Fatal(err)
	}
	o := f.Op("alarm-ntf")
	if o.Cmd != 3 || o.Group != "mgmt" || o.Do != nil || o.Notify != nil {
		t.Errorf("got %+v", o)
	}
	if diff := cmp.Diff([]string{"port", "count"}, names(o.Event)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	for _, r := range f.RequestOps() {
		if r.Op == o {
			t.Error("an event can be asked for")
		}
	}
	if len(f.Objects) != 1 || !f.Objects[0].IsEvent() || f.Objects[0].Name != "alarm" || f.Objects[0].Value.Size != 24 {
		t.Errorf("got objects %+v", f.Objects)
	}
	generated(t, f, map[string]string{
		"family/zz_types.go":       "case CmdAlarmNtf:\n\t\tv := new(Alarm)\n",
		"family/zz_meta.go":        "CmdAlarmNtf uint8 = 3",
		"family/zz_table_alarm.go": "func (v *Alarm) DecodeAttrs(b []byte) error {",
		"kmod/uapi/xdpctl.h":       "XDPCTL_CMD_ALARM_NTF",
		"docs/protocol.md":         "Event with the attributes `port`, `count`, sent to multicast group `mgmt`.",
	})
}

// The older versions of a value have BTF of their own, which is the beginning of
// the present one's.
func TestOldValueBTF(t *testing.T) {
	f := loadFamily(t)
	b, err := NewBTF(f)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, ct := range f.Types {
		now := structByID(t, b, b.IDs[ct].Value)
		if len(b.Old[ct]) != len(ct.OldSizes) {
			t.Errorf("%s: %d older types, want %d", ct.Name, len(b.Old[ct]), len(ct.OldSizes))
			continue
		}
		for i, size := range ct.OldSizes {
			n++
			old := structByID(t, b, b.Old[ct][i])
			if old.Name != now.Name || int(old.Size) != size {
				t.Errorf("%s: got %s of %d bytes, want %s of %d", ct.Name, old.Name, old.Size, now.Name, size)
			}
			list := memberList(t, now)
			if diff := cmp.Diff(list[:len(old.Members)], memberList(t, old)); diff != "" || len(old.Members) >= len(list) {
				t.Errorf("%s of %d bytes (-want +got):\n%s", ct.Name, size, diff)
			}
			if next := now.Members[len(old.Members)]; int(next.Offset.Bytes()) < size {
				t.Errorf("%s of %d bytes lacks %s", ct.Name, size, next.Name)
			}
		}
	}
	if n == 0 {
		t.Error("no value has an older version")
	}
}

func TestRefuse(t *testing.T) {
	const otherType = "- {name: xdp-twin, doc: A twin.}"
	twin := func(reply string) string {
		return `-
      name: twin-get
      doc: Get twins.
      attribute-set: port
      do: &twin
        request:
          attributes: [number]
        reply:
          attributes: [` + reply + `]
      dump: *twin`
	}
	for _, tc := range []struct {
		name    string
		replace []string
		want    string
	}{
		{"size clash", []string{"#TYPE", otherType, "#OPERATION", twin("number, ifindex, label, speed")},
			"control types xdp-port and xdp-twin both have key size 4 and value size 48"},
		{"clash with an older size", []string{"#TYPE", otherType, "#OPERATION", twin("number, label, speed"),
			"#DEFINITION", grown("1", "40")},
			"control types an older xdp-port and xdp-twin both have key size 4 and value size 40"},
		{"older size is no boundary", []string{"#DEFINITION", grown("1", "16")},
			"port-value-size-1: 16 is not the size of an earlier value"},
		{"older size is no older", []string{"#DEFINITION", grown("1", "48")},
			"port-value-size-1: 48 is not the size of an earlier value"},
		{"older sizes with a gap", []string{"#DEFINITION", grown("2", "40")},
			"port-value-size-2: numbers do not follow from 1"},
		{"type without -get", []string{"#TYPE", otherType},
			"control type xdp-twin: no operation twin-get with do and dump"},
		{"type without prefix", []string{"xdp-port", "port"},
			"control type port: the name does not begin with xdp-"},
		{"type with a long name", []string{"xdp-port", "xdp-port-of-call"},
			"control type xdp-port-of-call: the name of a map has at most 15 characters"},
		{"key is not in reply", []string{"reply:\n          attributes: [number, ", "reply:\n          attributes: ["},
			"control type xdp-port: key attribute number is not in the reply"},
		{"set without key", []string{"[number, update, ifindex]", "[update, ifindex]"},
			"operation port-set lacks the key attribute number"},
		{"unknown verb", []string{"port-set", "port-put"},
			`operation port-put: unknown verb "put"`},
		{"operation of no type", []string{"port-set", "quay-set"},
			"operation quay-set belongs to no control type and is no -get with a do"},
		{"unknown attribute", []string{"[number, speed,", "[number, sped,"},
			`operation port-get: do: reply: no attribute "sped" in set port`},
		{"attribute named twice", []string{"[number, speed,", "[number, number,"},
			"operation port-get: do: reply: attribute number is named twice"},
		{"unknown enum", []string{"enum: update", "enum: updates"},
			`attribute update of port: no enum "updates"`},
		{"unknown set", []string{"attribute-set: port", "attribute-set: ports"},
			`operation port-get: no attribute set "ports"`},
		{"unknown type", []string{"type: u64", "type: s64"},
			`attribute speed of port: unknown type "s64"`},
		{"string without length", []string{", checks: {max-len: 20}", ""},
			"attribute label of port: a string needs the check max-len"},
		{"check of another type", []string{"{max-len: 20}", "{max-len: 20, min: 1}"},
			"attribute label of port: a check that does not go with type string"},
		{"great bound", []string{"{min: 1}", "{min: 40000}"},
			"attribute number of port: bound 40000 is greater than 32767"},
		{"enum in u32 and u64", []string{"type: u64", "type: u64, enum: update"},
			"attribute speed of port: enum update is used both in u32 and in u64"},
		{"enum in string", []string{"type: string", "type: string, enum: update"},
			"attribute label of port: enum update in an attribute of type string"},
		{"unknown display hint", []string{"type: u64", "type: u64, display-hint: mac"},
			`attribute speed of port: unknown display-hint "mac"`},
		{"two of a name", []string{"name: label", "name: speed"},
			"attribute of port speed: named twice"},
		{"bad name", []string{"name: label", "name: Label"},
			`attribute of port: bad name "Label"`},
		{"name of padding", []string{"name: ifindex", "name: pad0", "update, ifindex", "update, pad0", "speed, ifindex", "speed, pad0"},
			"control type xdp-port: attribute pad0 has the name of padding"},
		{"name of present", []string{"name: label", "name: present", "ifindex, label", "ifindex, present"},
			"control type xdp-port: two members are named present"},
		{"unknown flag", []string{"admin-perm", "uns-admin-perm"},
			`operation port-set: unknown flag "uns-admin-perm"`},
		{"notify of nothing", []string{"#OPERATION", "- {name: port-ntf, doc: Changed., notify: port-got, mcgrp: mgmt}"},
			`operation port-ntf: notify: no operation "port-got" with a do`},
		{"notify no group", []string{"#OPERATION", "- {name: port-ntf, doc: Changed., notify: port-get, mcgrp: all}"},
			`operation port-ntf: no multicast group "all"`},
		{"older sizes out of order", []string{"#ATTRIBUTE", "- {name: length, type: u64, doc: Its length.}", "label]", "label, length]",
			"#DEFINITION", grown("1", "48"), "#DEFINITION", grown("2", "40")},
			"port-value-size-2: 40 is not greater than the size before it"},
		{"event in no group", []string{"operations:", alarmSet, "#OPERATION", strings.Replace(alarmEvent, "mgmt", "all", 1)},
			`operation alarm-ntf: no multicast group "all"`},
		{"event without a group", []string{"operations:", alarmSet, "#OPERATION", strings.Replace(alarmEvent, "mcgrp: mgmt", "", 1)},
			`operation alarm-ntf: no multicast group ""`},
		{"event with a do", []string{"operations:", alarmSet, "#OPERATION", strings.Replace(alarmEvent, "event:", "do: {}\n      event:", 1)},
			"operation alarm-ntf: an event has neither do nor dump"},
		{"event that notifies", []string{"#OPERATION", "- {name: port-ntf, doc: Changed., notify: port-get, mcgrp: mgmt, event: {attributes: [number]}}"},
			"operation port-ntf: a notification has neither do nor dump"},
		{"event of nothing", []string{"operations:", alarmSet, "#OPERATION", strings.Replace(alarmEvent, "port, count", "", 1)},
			"operation alarm-ntf: event: no attributes"},
		{"event with an unknown attribute", []string{"operations:", alarmSet, "#OPERATION", strings.Replace(alarmEvent, "count]", "sum]", 1)},
			`operation alarm-ntf: event: no attribute "sum" in set alarm`},
		{"event of another name", []string{"operations:", alarmSet, "#OPERATION", strings.Replace(alarmEvent, "alarm-ntf", "alarm-get", 1)},
			"event alarm-get: the name does not end with -ntf"},
		{"event of a control type", []string{"#OPERATION", strings.NewReplacer("alarm-ntf", "port-ntf", "set: alarm", "set: port", "port, count", "number").Replace(alarmEvent)},
			"control type xdp-port: operation port-ntf does not notify of port-get"},
		{"group without an event", []string{"flags: [admin-perm]", "mcgrp: mgmt"},
			"operation port-set: mcgrp without notify or event"},
		{"struct of nothing", []string{"operations:", "  - {name: frame, doc: Empty.}\noperations:"},
			"struct frame: no members"},
		{"struct with a string", []string{"operations:", strings.Replace(frame, "u64", "string", 1)},
			`struct frame: member stamp: unknown type "string"`},
		{"struct with two of a name", []string{"operations:", strings.Replace(frame, "name: hash", "name: proto", 1)},
			"struct frame: member proto: named twice"},
		{"struct with a bad name", []string{"operations:", strings.Replace(frame, "name: hash", "name: Hash", 1)},
			`struct frame: member: bad name "Hash"`},
		{"struct with the name of a value", []string{"operations:", strings.Replace(frame, "name: frame", "name: port", 1)},
			"attribute set port: named twice"},
		{"struct with the name of a key", []string{"operations:", strings.Replace(frame, "name: frame", "name: port-key", 1)},
			"struct port-key: control type xdp-port has a struct of this name"},
		{"u16 in an attribute", []string{"type: u64", "type: u16"},
			`attribute speed of port: unknown type "u16"`},
		{"unknown property", []string{"uapi-header:", "version: 2\nuapi-header:"},
			`unknown field "version"`},
		{"other protocol", []string{"genetlink", "netlink-raw"},
			`protocol "netlink-raw", want genetlink`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := smallFamily(tc.replace...)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v\nwant %s", err, tc.want)
			}
		})
	}
}

func TestGenerateSmall(t *testing.T) {
	f, err := smallFamily("#DEFINITION", grown("1", "40"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := Generate(f)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range files {
		all[f.Path] = string(f.Data)
	}
	for _, tc := range []struct{ path, want string }{
		{"kmod/gen.c", "port_old_values[] = {\n\t{ 40, 3, 0x30 },\n};"},
		{"kmod/gen.c", ".n_old_values = ARRAY_SIZE(port_old_values),"},
		{"kmod/gen.c", "[XDPCTL_A_PORT_LABEL] ="},
		{"kmod/uapi/xdpctl.h", "#define XDPCTL_PORT_VALUE_SIZE_1\t40"},
		{"family/zz_meta.go", "OldSizes: []int{40},"},
		{"docs/protocol.md", "Values of 40 bytes, which earlier versions had"},
	} {
		got := strings.Contains(all[tc.path], tc.want)
		if want := tc.want != "[XDPCTL_A_PORT_LABEL] ="; got != want {
			t.Errorf("%s contains %q: %v, want %v", tc.path, tc.want, got, want)
		}
	}
}

func TestPolicy(t *testing.T) {
	f := loadFamily(t)
	for _, tc := range []struct{ set, attr, want string }{
		{"prog", "ifindex", "NLA_POLICY_MIN(NLA_U32, 1)"},
		{"prog", "queue", "{ .type = NLA_U32 }"},
		{"prog", "update", "NLA_POLICY_MAX(NLA_U32, 2)"},
		{"prog", "mode", "NLA_POLICY_MASK(NLA_U32, 0x7)"},
		{"prog", "owner", "NLA_POLICY_RANGE(NLA_U32, 1, 4)"},
		{"prog", "name", "{ .type = NLA_NUL_STRING, .len = 15 }"},
		{"prog", "tag", "NLA_POLICY_EXACT_LEN(8)"},
		{"stats", "packets", "{ .type = NLA_U64 }"},
	} {
		if got := cPolicy(f.Set(tc.set).Attr(tc.attr)); got != tc.want {
			t.Errorf("policy of %s %s: got %s, want %s", tc.set, tc.attr, got, tc.want)
		}
	}
}

func TestBTF(t *testing.T) {
	f := loadFamily(t)
	b, err := NewBTF(f)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(b.Raw))
	if err != nil {
		t.Fatal(err)
	}
	for _, ct := range f.Types {
		typ, err := spec.TypeByID(b.IDs[ct].Value)
		if err != nil {
			t.Fatal(err)
		}
		st, ok := typ.(*btf.Struct)
		if !ok {
			t.Fatalf("%s: value is %v", ct.Name, typ)
		}
		if want := "xdpctl_" + cName(ct.Base); st.Name != want || int(st.Size) != ct.Value.Size {
			t.Errorf("got %s of %d bytes, want %s of %d", st.Name, st.Size, want, ct.Value.Size)
		}
		for _, m := range st.Members {
			if strings.HasPrefix(m.Name, "pad") {
				t.Errorf("%s has member %s", st.Name, m.Name)
			}
		}
	}

	words, err := b.Words()
	if err != nil {
		t.Fatal(err)
	}
	if got := 4*len(words) + len(b.Strings()); got != len(b.Raw) {
		t.Errorf("words and strings have %d bytes, want %d", got, len(b.Raw))
	}
	rows := strings.NewReplacer(`"`, "", "\n", "", `\0`, "\x00").Replace(strings.Join(cStringRows(b.Strings()), "\n")) + "\x00"
	if diff := cmp.Diff(string(b.Strings()), rows); diff != "" {
		t.Errorf("string literals (-want +got):\n%s", diff)
	}
}

func TestBTFLoads(t *testing.T) {
	b, err := NewBTF(loadFamily(t))
	if err != nil {
		t.Fatal(err)
	}
	h, err := btf.NewHandleFromRawBTF(b.Raw)
	if errors.Is(err, os.ErrPermission) {
		t.Skip("no permission to load BTF:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
}

func TestNames(t *testing.T) {
	for _, tc := range []struct{ name, want string }{
		{"qstats", "Qstats"}, {"prog-id", "ProgID"}, {"xdp-rx-metadata", "XDPRXMetadata"},
		{"fd", "FD"}, {"tx-errors", "TXErrors"},
	} {
		if got := goName(tc.name); got != tc.want {
			t.Errorf("goName(%q) = %q, want %q", tc.name, got, tc.want)
		}
	}
	if got, want := macroName("xdpctl", "a", "prog", "prog-id"), "XDPCTL_A_PROG_PROG_ID"; got != want {
		t.Errorf("macroName: got %s, want %s", got, want)
	}
	if got, want := wrap("one two three", "* ", "  ", 9), "* one two\n  three"; got != want {
		t.Errorf("wrap: got %q, want %q", got, want)
	}
}
