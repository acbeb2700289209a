// SPDX-License-Identifier: BSD-3-Clause

package qualities

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/compare"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// What package unix lacks of enum nlctrl_attrs.
const (
	ctrlAttrPolicy   = 8
	ctrlAttrOpPolicy = 9
	policyDo         = 1
)

// policies is what the kernel says of the requests of a family.
type policies struct {
	byOp  map[uint8]uint32             // of a do: which policy
	attrs map[uint32]map[uint16][]byte // of a policy: its attributes
}

// distinct is how many policies and how many attributes are described.
func (p *policies) distinct() (n, attrs int) {
	for _, a := range p.attrs {
		attrs += len(a)
	}
	return len(p.attrs), attrs
}

// askFamily asks the controller for the family and its policies by name.
func askFamily(t *testing.T) (ops, groups int, p *policies) {
	t.Helper()
	g, err := testutil.DialGenl(t, unix.GENL_ID_CTRL)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	name := testutil.Attr(unix.CTRL_ATTR_FAMILY_NAME, append([]byte(family.FamilyName), 0))
	a := g.Do(unix.CTRL_CMD_GETFAMILY, 0, name)
	if a.Errno != 0 || len(a.Msgs) != 1 {
		t.Fatalf("get family: %v", a)
	}
	attrs := testutil.Attrs(a.Msgs[0].Attrs)
	ops = len(testutil.Attrs(attrs[unix.CTRL_ATTR_OPS]))
	groups = len(testutil.Attrs(attrs[unix.CTRL_ATTR_MCAST_GROUPS]))

	a = g.Do(unix.CTRL_CMD_GETPOLICY, unix.NLM_F_DUMP, name)
	if a.Errno != 0 {
		t.Fatalf("get policy: %v", a)
	}
	p = &policies{make(map[uint8]uint32), make(map[uint32]map[uint16][]byte)}
	for _, m := range a.Msgs {
		attrs := testutil.Attrs(m.Attrs)
		for op, b := range testutil.Attrs(attrs[ctrlAttrOpPolicy]) {
			if idx := testutil.Attrs(b)[policyDo]; len(idx) == 4 {
				p.byOp[uint8(op)] = *(*uint32)(unsafe.Pointer(&idx[0]))
			}
		}
		for idx, b := range testutil.Attrs(attrs[ctrlAttrPolicy]) {
			if p.attrs[uint32(idx)] == nil {
				p.attrs[uint32(idx)] = make(map[uint16][]byte)
			}
			for attr, desc := range testutil.Attrs(b) {
				p.attrs[uint32(idx)][attr] = desc
			}
		}
	}
	return ops, groups, p
}

// byID opens a BPF object by its id, or asks for the first id if that is 0, and
// returns the errno.
func byID(t *testing.T, cmd int, id uint32) unix.Errno {
	t.Helper()
	a := struct{ id, next, flags uint32 }{id: id}
	fd, err := testutil.BPF(cmd, unsafe.Pointer(&a), unsafe.Sizeof(a))
	if err == nil && id != 0 {
		unix.Close(fd)
	}
	return errno(t, err)
}

// structOf is a type of a BTF object that the kernel has.
func structOf(t *testing.T, object, id uint32) *btf.Struct {
	t.Helper()
	h, err := btf.NewHandleFromID(btf.ID(object))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	spec, err := h.Spec(nil)
	if err != nil {
		t.Fatal(err)
	}
	typ, err := spec.TypeByID(btf.TypeID(id))
	if err != nil {
		t.Fatal(err)
	}
	s, ok := typ.(*btf.Struct)
	if !ok {
		t.Fatalf("type %d is %v, want a struct", id, typ)
	}
	return s
}

// members is how many members the key and the value of a map have for its BTF,
// without padding.
func members(t *testing.T, m int) (n int) {
	t.Helper()
	info := testutil.MapInfoOf(t, m)
	for _, id := range []uint32{info.BTFKeyTypeID, info.BTFValueTypeID} {
		n += len(structOf(t, info.BTFID, id).Members)
	}
	return n
}

// described is how many fields key and value have for the spec, with present.
func described(desc *family.TypeDesc) int { return 1 + len(desc.Fields) }

// TestDiscoverability knows the name of the family, or has an open control map,
// and asks what there is.
func TestDiscoverability(t *testing.T) {
	w := newWorld(t)
	desc := family.CtrlTypeXDPProg.Desc()
	m := w.control(desc.Type)
	info := testutil.MapInfoOf(t, m)

	var ops, groups, types int
	var p *policies
	var list, byMapID, byBTFID, own unix.Errno
	testutil.WithoutCaps(t, w.ns, testutil.AllCaps(), func() {
		ops, groups, p = askFamily(t)
		types = len(w.genl.Do(family.CmdTypeGet, unix.NLM_F_DUMP, nil).Msgs)
		list = byID(t, unix.BPF_MAP_GET_NEXT_ID, 0)
		byMapID = byID(t, unix.BPF_MAP_GET_FD_BY_ID, info.ID)
		byBTFID = byID(t, unix.BPF_BTF_GET_FD_BY_ID, info.BTFID)
		var again testutil.MapInfo
		own = errno(t, testutil.ObjInfo(m, unsafe.Pointer(&again), unsafe.Sizeof(again)))
		expect(t, "sizes of an open map", again.ValueSize, uint32(desc.ValueSize))
		expect(t, "BTF id of an open map", again.BTFID, info.BTFID)
	})
	wantOps := 0
	for _, op := range family.Ops {
		if !op.Notify {
			wantOps++
		}
	}
	expect(t, "operations", ops, wantOps)
	expect(t, "operations with a policy", len(p.byOp), wantOps)
	expect(t, "groups", groups, 2)
	expect(t, "control types", types, len(family.Descs()))
	n, attrs := p.distinct()
	for what, e := range map[string]unix.Errno{"list": list, "map by id": byMapID, "BTF by id": byBTFID} {
		expect(t, what+" without capabilities", e, unix.EPERM)
	}
	expect(t, "info of an open map", own, 0)
	expect(t, "BTF by id as root", byID(t, unix.BPF_BTF_GET_FD_BY_ID, info.BTFID), 0)
	expect(t, "members", members(t, m), described(desc))
	_, err := w.create(desc, desc.ValueSize+8)
	expect(t, "create with a size that is none", errno(t, err), unix.EINVAL)

	line(t, compare.Quality{
		Name:     "discoverability",
		Question: "What can be learned of the interface from the running kernel, with no more than its name, or an open map?",
		Netlink: fmt.Sprintf("Without any capability: %d operations and %d groups; what each request may hold (%d policies with types and bounds of %d attributes, by number, not by name); %d control types with their sizes and BTF ids.",
			ops, groups, n, attrs, types),
		Map: fmt.Sprintf("From an open map without any capability: sizes and BTF ids. The BTF, in which all %d members of its key and value have names and types, takes CAP_SYS_ADMIN to open by id (%s without), as do listing maps (%s) and opening one (%s). No call of bpf(2) lists the control types: who creates a map knows the sizes, and others are refused (%s).",
			members(t, m), name(byBTFID), name(list), name(byMapID), name(errno(t, err))),
	})
}

// tool runs a command in the namespace that must succeed.
func (w *world) tool(args ...string) string {
	w.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	var out []byte
	var err error
	w.ns.Do(func() { out, err = cmd.Output() })
	if err != nil {
		w.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// bpftoolDump has bpftool print the one entry of xdp_prog, and returns how many
// members it names, and how many of them it prints as 0 that are absent.
func (w *world) bpftoolDump(desc *family.TypeDesc, m int) (named, absent int) {
	w.Helper()
	var dump []struct {
		Formatted struct{ Key, Value map[string]any }
	}
	text := w.tool("bpftool", "-j", "map", "dump", "id", strconv.Itoa(int(testutil.MapInfoOf(w.T, m).ID)))
	if err := json.Unmarshal([]byte(text), &dump); err != nil || len(dump) != 1 {
		w.Fatalf("parse %q: %v", text, err)
	}
	value := dump[0].Formatted.Value
	named = len(dump[0].Formatted.Key) + len(value)
	expect(w.T, "members that bpftool names", named, described(desc))
	expect[any](w.T, "mode that bpftool prints", value["mode"], "XDPCTL_MODE_NATIVE")
	present, _ := value["present"].(float64)
	for _, f := range desc.Fields {
		member := strings.ReplaceAll(desc.Set.AttrName(f.Attr), "-", "_")
		if !f.Key && uint64(present)>>f.Attr&1 == 0 && fmt.Sprint(value[member]) == "0" {
			absent++
		}
	}
	if absent == 0 {
		w.Errorf("bpftool prints no field that is absent: %v", value)
	}
	return named, absent
}

// TestIntrospection has tools print what they have never heard of.
func TestIntrospection(t *testing.T) {
	w := newWorld(t)
	desc := family.CtrlTypeXDPProg.Desc()
	m := w.control(desc.Type)
	w.attach(w.veth0, w.pass)

	policy := w.tool("genl", "ctrl", "policy", "name", family.FamilyName)
	for _, a := range desc.Set.Attrs {
		if a.Name != "pad" && strings.Contains(policy, a.Name) && strings.Contains(a.Name, "-") {
			t.Errorf("the policy has the name of %s:\n%s", a.Name, policy)
		}
	}
	_, _, p := askFamily(t)
	a := w.do(family.CmdProgGet, 0, wholeDev(w.veth0).AppendAttrs(nil))
	if a.Errno != 0 || len(a.Msgs) != 1 {
		t.Fatalf("prog-get: %v", a)
	}
	reply, inPolicy := 0, 0
	for attr := range testutil.Attrs(a.Msgs[0].Attrs) {
		reply++
		if p.attrs[p.byOp[family.CmdProgGet]][attr] != nil {
			inPolicy++
		}
	}
	expect(t, "attributes of the reply that the policy has", inPolicy, 2)

	named, absent := w.bpftoolDump(desc, m)

	line(t, compare.Quality{
		Name:     "introspection",
		Question: "What does a tool print that has never heard of this interface?",
		Netlink: fmt.Sprintf("genl ctrl policy prints types and bounds of what requests hold, by number. Of the %d attributes of a reply to prog-get the operation's policy has %d; names, and what replies hold, are in the spec, a file that the tool must be given.",
			reply, inPolicy),
		Map: fmt.Sprintf("bpftool map dump prints all %d members of key and value by name, enumerators too, from the BTF in the kernel. It does not know what present means: of the fields that are absent it prints %d as 0.",
			named, absent),
	})
}
