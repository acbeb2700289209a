// SPDX-License-Identifier: BSD-3-Clause

package tools

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// TestGenl lists the family and its policies with iproute2 and libnl.
func TestGenl(t *testing.T) {
	l := newLab(t)
	l.says([]string{"Name: xdpctl"}, "genl", "ctrl", "list")
	l.says([]string{"Name: xdpctl", "#1:  ID-0x"}, "genl", "ctrl", "get", "name", "xdpctl")
	l.says([]string{"xdpctl"}, "genl-ctrl-list")
	policy := l.says([]string{"U32", "min:1"}, "genl", "ctrl", "policy", "name", "xdpctl")
	// The highest attributes of stats-get, prog-get and prog-set.
	for _, attr := range []string{"attr[1]", "attr[2]", "attr[7]"} {
		if !strings.Contains(policy, attr) {
			t.Errorf("genl ctrl policy does not show %s:\n%s", attr, policy)
		}
	}
}

// object is a message as a tool written in Python prints it.
type object = map[string]any

// sameStats compares what a tool prints of stats-get with what we read.
func (l *lab) sameStats(got []object) {
	l.Helper()
	i := 0
	for e, err := range family.All(l.Context(), l.doors[0].Stats(), nil) {
		if err != nil {
			l.Fatal(err)
		}
		if i >= len(got) {
			l.Fatalf("%d entries, want more", len(got))
		}
		b, err := json.Marshal(e)
		if err != nil {
			l.Fatal(err)
		}
		want := parse[object](l, string(b))
		if diff := cmp.Diff(want, got[i]); diff != "" {
			l.Errorf("entry %d, -ours +theirs:\n%s", i, diff)
		}
		i++
	}
	if i != len(got) {
		l.Errorf("%d entries, want %d", len(got), i)
	}
}

// ynl runs the YNL command line with our spec, whose schema it checks.
func (l *lab) ynl(args ...string) *result {
	l.Helper()
	return l.try(append([]string{"python3", source(l.T, "tools", "net", "ynl", "cli.py"),
		"--spec", testutil.Path(l, "family", "xdpctl.yaml"),
		"--schema", source(l.T, "Documentation", "netlink", "genetlink.yaml"), "--output-json"}, args...)...)
}

// TestYNL drives the family by its spec.
func TestYNL(t *testing.T) {
	l := newLab(t)
	veth0 := l.ns.Index("veth0")
	do := func(args ...string) string {
		t.Helper()
		r := l.ynl(args...)
		if r.err != nil {
			t.Fatal(r)
		}
		return r.stdout
	}
	l.sameStats(parse[[]object](l, do("--dump", "stats-get")))
	types := parse[[]object](l, do("--dump", "type-get"))
	if len(types) != 4 || types[2]["name"] != "xdp_prog" || types[2]["id"] != "xdp-prog" {
		t.Errorf("type-get: %v", types)
	}

	// The notification of one's own change comes before the reply.
	out := do("--subscribe", "mgmt", "--do", "prog-set",
		"--json", fmt.Sprintf(`{"ifindex": %d, "fd": 3, "mode": ["native"], "update": "noexist"}`, veth0))
	v := l.attached("veth0")
	want := object{
		"ifindex": float64(veth0), "queue": float64(family.QueueAll), "mode": []any{"native"}, "prog-id": float64(v.ProgID),
		"link-id": float64(v.LinkID), "owner": "module", "tag": v.Tag.String(), "name": "tools_pass",
	}
	first, second, _ := strings.Cut(out, "\n")
	reply, events := parse[object](l, first), parse[[]object](l, second)
	if diff := cmp.Diff(want, reply); diff != "" {
		t.Errorf("reply to prog-set, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]object{{"name": "prog-ntf", "msg": want}}, events); diff != "" {
		t.Errorf("notifications, -want +got:\n%s", diff)
	}
	got := parse[object](l, do("--do", "prog-get", "--json", fmt.Sprintf(`{"ifindex": %d}`, veth0)))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("prog-get, -want +got:\n%s", diff)
	}

	r := l.ynl("--do", "prog-set", "--json", fmt.Sprintf(`{"ifindex": %d, "fd": 3, "expected-prog-id": 77}`, veth0))
	if want := fmt.Sprintf("active program %d does not match expected 77", v.ProgID); r.err == nil || !strings.Contains(r.String(), want) {
		t.Errorf("not refused with %q: %v", want, r)
	}
	r = l.ynl("--do", "stats-get", "--json", `{"ifindex": 0}`)
	if want := "'bad-attr': '.ifindex'"; r.err == nil || !strings.Contains(r.String(), want) {
		t.Errorf("not refused with %q: %v", want, r)
	}
	r = l.ynl("--do", "qstats-get", "--json", fmt.Sprintf(`{"ifindex": %d}`, veth0))
	if want := "'miss-type': 'queue'"; r.err == nil || !strings.Contains(r.String(), want) {
		t.Errorf("not refused with %q: %v", want, r)
	}
	do("--do", "prog-del", "--json", fmt.Sprintf(`{"ifindex": %d}`, veth0))
	if v := l.attached("veth0"); v.Present != 0 {
		t.Errorf("after prog-del veth0 has %+v", v)
	}
}

// TestPyroute2 drives the family by message classes written for pyroute2.
func TestPyroute2(t *testing.T) {
	l := newLab(t)
	veth0 := l.ns.Index("veth0")
	out := l.run("python3", testutil.Path(t, "tests", "tools", "testdata", "pyroute2_client.py"), strconv.Itoa(veth0))
	got := parse[struct {
		Stats, Prog []object
		Refused     int
	}](l, out)
	l.sameStats(got.Stats)
	if len(got.Prog) != 1 {
		t.Fatalf("prog-get: %v", got.Prog)
	}
	p := got.Prog[0]
	delete(p, "link-id")
	want := object{
		"ifindex": float64(veth0), "queue": float64(family.QueueAll), "mode": float64(family.ModeNative),
		"prog-id": float64(l.prog.ID), "owner": float64(family.OwnerModule), "name": "tools_pass",
		"tag": fmt.Sprintf("% x", l.prog.Tag),
	}
	if tag, ok := p["tag"].(string); ok {
		p["tag"] = strings.ReplaceAll(tag, ":", " ")
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("prog-get, -want +got:\n%s", diff)
	}
	if got.Refused != int(unix.EEXIST) {
		t.Errorf("refused with %d, want %d", got.Refused, int(unix.EEXIST))
	}
	if v := l.attached("veth0"); v.Present != 0 {
		t.Errorf("after prog-del veth0 has %+v", v)
	}
}
