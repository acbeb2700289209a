// SPDX-License-Identifier: BSD-3-Clause

package tools

import (
	"encoding/binary"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// controlType is a control type as bpftool is told of it.
type controlType struct {
	name       string
	key, value any
}

var controlTypes = []controlType{
	{"xdp_stats", family.StatsKey{}, family.Stats{}},
	{"xdp_qstats", family.QstatsKey{}, family.Qstats{}},
	{"xdp_prog", family.ProgKey{}, family.Prog{}},
	{"xdp_caps", family.CapsKey{}, family.Caps{}},
}

// createMap is bpftool map create; it returns where the map is pinned.
func (l *lab) createMap(typ controlType) string {
	l.Helper()
	path := l.pins + "/" + typ.name
	l.run("bpftool", "map", "create", path, "type", "hash",
		"key", strconv.Itoa(int(reflect.TypeOf(typ.key).Size())),
		"value", strconv.Itoa(int(reflect.TypeOf(typ.value).Size())),
		"entries", "1024", "name", typ.name, "dev", "xdpctl0")
	return path
}

// entry is an element of a map as bpftool -j map dump prints it.
type entry struct {
	Formatted struct {
		Key   map[string]any
		Value map[string]any
	}
}

// TestBpftoolMaps creates, shows, dumps and pins a control map of each type.
func TestBpftoolMaps(t *testing.T) {
	l := newLab(t)
	l.attach("veth0")
	for _, typ := range controlTypes {
		t.Run(typ.name, func(t *testing.T) {
			path := l.createMap(typ)
			info := parse[struct {
				ID         int
				Name, Type string
				BTFID      int `json:"btf_id"`
				Dev        struct{ Ifname string }
			}](l, l.run("bpftool", "-j", "map", "show", "pinned", path))
			if info.Name != typ.name || info.Type != "hash" || info.BTFID == 0 || info.Dev.Ifname != "xdpctl0" {
				t.Errorf("map show: %+v", info)
			}
			dump := parse[[]entry](l, l.run("bpftool", "-j", "map", "dump", "pinned", path))
			if len(dump) == 0 {
				t.Fatal("map dump prints nothing")
			}
			again := l.pins + "/again"
			l.run("bpftool", "map", "pin", "id", strconv.Itoa(info.ID), again)
			defer os.Remove(again)
			if diff := cmp.Diff(dump, parse[[]entry](l, l.run("bpftool", "-j", "map", "dump", "pinned", again))); diff != "" {
				t.Errorf("the second pin, -first +second:\n%s", diff)
			}
			l.compareDump(typ.name, dump)
		})
	}
}

// compareDump compares what bpftool prints, by the names of fields, with what
// the netlink door says.
func (l *lab) compareDump(name string, dump []entry) {
	l.Helper()
	switch c := l.doors[0]; name {
	case "xdp_stats":
		compareEntries(l, c.Stats(), dump)
	case "xdp_qstats":
		compareEntries(l, c.Qstats(), dump)
	case "xdp_prog":
		compareEntries(l, c.Prog(), dump)
	case "xdp_caps":
		compareEntries(l, c.Caps(), dump)
	}
}

func compareEntries[K, V any](l *lab, table family.Table[K, V], dump []entry) {
	l.Helper()
	i := 0
	for e, err := range family.All(l.Context(), table, nil) {
		if err != nil {
			l.Fatal(err)
		}
		if i >= len(dump) {
			l.Fatalf("bpftool prints %d entries, netlink has more", len(dump))
		}
		compareStruct(l, reflect.ValueOf(e.Key), dump[i].Formatted.Key)
		compareStruct(l, reflect.ValueOf(e.Value), dump[i].Formatted.Value)
		i++
	}
	if i != len(dump) {
		l.Errorf("bpftool prints %d entries, netlink has %d", len(dump), i)
	}
}

// compareStruct compares a generated type with the struct that bpftool printed.
// Its fields lie in the same order, so that they are compared one by one.
func compareStruct(l *lab, v reflect.Value, got map[string]any) {
	l.Helper()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Name == "_" {
			continue
		}
		name := ""
		for n := range got {
			if strings.EqualFold(strings.ReplaceAll(n, "_", ""), f.Name) {
				name = n
			}
		}
		if name == "" {
			l.Errorf("bpftool does not print %s of %s: %v", f.Name, v.Type(), got)
			continue
		}
		if g := number(got[name]); v.Field(i).CanUint() && f.Name != "Present" && g != v.Field(i).Uint() {
			l.Errorf("%s of %s is %v in bpftool, %d over netlink", name, v.Type(), got[name], v.Field(i).Uint())
		}
	}
}

// number is a number that bpftool printed, be it as an enumerator.
func number(v any) uint64 {
	switch v := v.(type) {
	case float64:
		return uint64(v)
	case string:
		for n, value := range enumerators {
			if v == n {
				return value
			}
		}
	}
	return ^uint64(0)
}

// enumerators of the uapi header that occur as values of fields.
var enumerators = map[string]uint64{
	"XDPCTL_MODE_NATIVE": 1, "XDPCTL_MODE_GENERIC": 2, "XDPCTL_OWNER_MODULE": 1,
	"XDPCTL_OWNER_LINK": 2, "XDPCTL_OWNER_NETLINK": 3, "XDPCTL_SOURCE_KERNEL": 1,
	"XDPCTL_SOURCE_DERIVED": 2,
}

// hexBytes is how bpftool wants bytes.
func hexBytes(b []byte) []string {
	out := []string{"hex"}
	for _, c := range b {
		out = append(out, fmt.Sprintf("%02x", c))
	}
	return out
}

func keyBytes(ifindex int, more ...uint32) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(ifindex))
	for _, v := range more {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// progBytes is struct xdpctl_prog with a program's fd and a mode.
func progBytes(fd uint32, mode family.Mode) []byte {
	var v family.Prog
	v.SetFD(fd)
	if mode != 0 {
		v.SetMode(mode)
	}
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v))...)
}

// TestBpftoolElements reads one element, goes from key to key, attaches by
// writing bytes, and detaches by deleting.
func TestBpftoolElements(t *testing.T) {
	l := newLab(t)
	stats, progs := l.createMap(controlTypes[0]), l.createMap(controlTypes[2])
	veth0 := l.ns.Index("veth0")
	bpftool := func(words ...any) []string {
		var args []string
		for _, w := range words {
			switch w := w.(type) {
			case string:
				args = append(args, w)
			case []string:
				args = append(args, w...)
			}
		}
		return append([]string{"bpftool"}, args...)
	}

	l.says([]string{`"present"`, `"exception_aborted"`}, bpftool("map", "lookup", "pinned", stats, "key", hexBytes(keyBytes(veth0)))...)
	l.refused([]string{"No such file or directory"}, bpftool("map", "getnext", "pinned", stats, "key", hexBytes(keyBytes(9999)))...)
	var keys []int
	for key := []byte(nil); ; {
		args := []any{"-j", "map", "getnext", "pinned", stats}
		if key != nil {
			args = append(args, "key", hexBytes(key))
		}
		r := l.try(bpftool(args...)...)
		if r.err != nil {
			break
		}
		next := parse[struct {
			NextKey []string `json:"next_key"`
		}](l, r.stdout)
		key = key[:0]
		for _, s := range next.NextKey {
			b, err := strconv.ParseUint(s, 0, 8)
			if err != nil {
				t.Fatal(err)
			}
			key = append(key, byte(b))
		}
		keys = append(keys, int(binary.NativeEndian.Uint32(key)))
	}
	var want []int
	for _, link := range l.ns.Links() {
		want = append(want, link.Index)
	}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Errorf("getnext, -ip link +bpftool:\n%s", diff)
	}

	key := hexBytes(keyBytes(veth0, family.QueueAll))
	value := hexBytes(progBytes(3, family.ModeNative))
	l.refused([]string{"No such file or directory"}, bpftool("map", "update", "pinned", progs, "key", key, "value", value, "exist")...)
	l.run(bpftool("map", "update", "pinned", progs, "key", key, "value", value, "noexist")...)
	if v := l.attached("veth0"); v.ProgID != l.prog.ID || v.Owner != family.OwnerModule || v.Mode != family.ModeNative {
		t.Errorf("after map update veth0 has %+v", v)
	}
	l.refused([]string{"File exists"}, bpftool("map", "update", "pinned", progs, "key", key, "value", value, "noexist")...)
	l.says([]string{`"name"`, "tools_pass"}, bpftool("-p", "map", "lookup", "pinned", progs, "key", key)...)
	l.run(bpftool("map", "update", "pinned", progs, "key", key, "value", value, "exist")...)
	l.run(bpftool("map", "delete", "pinned", progs, "key", key)...)
	if v := l.attached("veth0"); v.Present != 0 {
		t.Errorf("after map delete veth0 has %+v", v)
	}
	l.refused([]string{"No such file or directory"}, bpftool("map", "delete", "pinned", progs, "key", key)...)
	l.refused([]string{"Bad file descriptor"}, bpftool("map", "update", "pinned", progs, "key", key, "value", hexBytes(progBytes(999, 0)))...)
}

// TestBpftoolShows looks at what we attached, with tools that know nothing of
// us, and detaches it behind our back.
func TestBpftoolShows(t *testing.T) {
	l := newLab(t)
	v := l.attach("veth0")
	id := fmt.Sprintf("prog/xdp id %d", v.ProgID)
	l.says([]string{id}, "ip", "link", "show", "dev", "veth0")
	l.says([]string{"veth0(" + strconv.Itoa(l.ns.Index("veth0")) + ") driver id " + strconv.Itoa(int(v.ProgID))}, "bpftool", "net", "show", "dev", "veth0")
	type link struct {
		ID     uint32
		Type   string
		ProgID uint32 `json:"prog_id"`
	}
	got := parse[link](l, l.run("bpftool", "-j", "link", "show", "id", strconv.Itoa(int(v.LinkID))))
	if want := (link{v.LinkID, "xdp", v.ProgID}); got != want {
		t.Errorf("bpftool link shows %+v, want %+v", got, want)
	}
	l.run("bpftool", "link", "detach", "id", strconv.Itoa(int(v.LinkID)))
	if v := l.attached("veth0"); v.Present != 0 {
		t.Errorf("after link detach veth0 has %+v", v)
	}
	l.attach("veth0")
}

// TestIPRoute2Foreign attaches with ip link, which we then leave alone.
func TestIPRoute2Foreign(t *testing.T) {
	l := newLab(t)
	object := testutil.Path(t, "bpf", "pass.bpf.o")
	for _, tc := range []struct {
		how  string
		mode family.Mode
	}{{"xdpdrv", family.ModeNative}, {"xdpgeneric", family.ModeGeneric}} {
		l.run("ip", "link", "set", "dev", "veth0", tc.how, "obj", object, "sec", "xdp")
		v := l.attached("veth0")
		if v.Owner != family.OwnerNetlink || v.Mode != tc.mode || v.Has(family.AttrProgLinkID) {
			t.Errorf("ip link set %s: %+v", tc.how, v)
		}
		l.run("ip", "link", "set", "dev", "veth0", tc.how, "off")
		if v := l.attached("veth0"); v.Present != 0 {
			t.Errorf("after ip link set off veth0 has %+v", v)
		}
	}
	l.attach("veth0")
	l.refused([]string{"Can't replace active BPF XDP link"}, "ip", "link", "set", "dev", "veth0", "xdpdrv", "obj", object, "sec", "xdp")
}

// TestControlDevice makes one, and does to it what it must refuse.
func TestControlDevice(t *testing.T) {
	ns := testutil.NewNetNS(t)
	l := &lab{T: t, ns: ns, prog: testutil.NewXDP(t, "tools_pass", 2)}
	object := testutil.Path(t, "bpf", "pass.bpf.o")
	l.run("ip", "link", "add", "type", "xdpctl")
	l.says([]string{"xdpctl0"}, "ip", "-d", "link", "show", "type", "xdpctl")
	l.refused([]string{"there is a control device in this network namespace already"}, "ip", "link", "add", "type", "xdpctl")
	l.refused([]string{"there is a control device in this network namespace already"}, "ip", "link", "add", "other", "type", "xdpctl")
	l.refused([]string{"a control device takes no program"}, "ip", "link", "set", "dev", "xdpctl0", "xdp", "obj", object, "sec", "xdp")
	l.refused([]string{"Operation not supported"}, "ip", "link", "set", "dev", "xdpctl0", "xdpoffload", "obj", object, "sec", "xdp")
	l.refused(nil, "ip", "link", "set", "dev", "xdpctl0", "netns", "1")
	pin := "/sys/fs/bpf/tools_refused"
	l.refused(nil, "bpftool", "prog", "load", object, pin, "type", "xdp", "dev", "xdpctl0")
	if _, err := os.Stat(pin); err == nil {
		os.Remove(pin)
		t.Error("bpftool prog load pinned a program")
	}
	l.refused([]string{"Invalid argument"}, "bpftool", "map", "create", "/sys/fs/bpf/tools_array", "type", "array",
		"key", "4", "value", "8", "entries", "4", "name", "array", "dev", "xdpctl0")
	l.run("ip", "link", "del", "xdpctl0")
	l.run("ip", "link", "add", "mine", "type", "xdpctl")
	l.says([]string{"mine"}, "ip", "link", "show", "type", "xdpctl")
	l.run("ip", "link", "del", "mine")
}

// TestStrace sees the errno of an update that ran after the system call had
// returned its placeholder.
func TestStrace(t *testing.T) {
	l := newLab(t)
	if err := l.ns.SetXDP("veth0", l.prog.FD, 0); err != nil {
		t.Fatal(err)
	}
	progs := l.createMap(controlTypes[2])
	update := func(dev string, fd uint32) string {
		args := append([]string{"strace", "-f", "-e", "trace=bpf", "bpftool", "map", "update", "pinned", progs, "key"},
			hexBytes(keyBytes(l.ns.Index(dev), family.QueueAll))...)
		args = append(append(args, "value"), hexBytes(progBytes(fd, 0))...)
		r := l.try(args...)
		for line := range strings.Lines(r.stderr) {
			if strings.Contains(line, "BPF_MAP_UPDATE_ELEM") {
				return strings.TrimSpace(line)
			}
		}
		return r.String()
	}
	for _, tc := range []struct {
		dev    string
		fd     uint32
		suffix string
	}{
		{"veth0", 3, "= -1 EBUSY (Device or resource busy)"},
		{"veth1", 999, "= -1 EBADF (Bad file descriptor)"},
		{"veth1", 3, "= 0"},
	} {
		if got := update(tc.dev, tc.fd); !strings.HasSuffix(got, tc.suffix) {
			t.Errorf("update of %s with fd %d: strace says %s, want %s", tc.dev, tc.fd, got, tc.suffix)
		}
	}
	if err := l.ns.SetXDP("veth0", -1, 0); err != nil && err != unix.ENOENT {
		t.Fatal(err)
	}
}
