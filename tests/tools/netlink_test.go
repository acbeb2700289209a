// SPDX-License-Identifier: BSD-3-Clause

package tools

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
	policies := l.run("genl", "ctrl", "policy", "name", "xdpctl")
	for op, want := range map[int]string{1: "1", 2: "1", 3: "1 2", 4: "1 2", 5: "1 2 4 5 6 7 14 15 16", 6: "1 2", 8: "1",
		9: "1", 10: "1 3 4 5 6 9 10 14", 11: "1", 13: "1", 14: "1 2 3", 15: "1"} {
		if got := policyOf(policies, op); got != want {
			t.Errorf("operation %d takes attributes %q, want %q:\n%s", op, got, want, policies)
		}
	}
}

// policyOf is the attributes that an operation takes as a do, as genl ctrl
// policy prints them.
func policyOf(text string, op int) string {
	policy := regexp.MustCompile(fmt.Sprintf(`op %d policies: do=(\d+)`, op)).FindStringSubmatch(text)
	if policy == nil {
		return ""
	}
	var attrs []string
	for _, m := range regexp.MustCompile(`policy\[`+policy[1]+`\]:attr\[(\d+)\]`).FindAllStringSubmatch(text, -1) {
		attrs = append(attrs, m[1])
	}
	return strings.Join(attrs, " ")
}

// object is a message as a tool written in Python prints it.
type object = map[string]any

// stats is what stats-get dumps, as the tools print it.
func (l *lab) stats() []object {
	l.Helper()
	var out []object
	for e, err := range family.All(l.Context(), l.doors[0].Stats(), nil) {
		if err != nil {
			l.Fatal(err)
		}
		b, err := json.Marshal(e)
		if err != nil {
			l.Fatal(err)
		}
		out = append(out, parse[object](l, string(b)))
	}
	return out
}

// ynl runs the YNL command line with our spec, whose schema it checks. That is
// a minute of Python on the debug kernel and has nothing to do with the kernel,
// so there it is left out.
func (l *lab) ynl(args ...string) *result {
	l.Helper()
	schema := []string{"--schema", source(l.T, "Documentation", "netlink", "genetlink.yaml")}
	if testutil.DebugKernel() {
		schema = []string{"--no-schema"}
	}
	return l.try(slices.Concat([]string{"python3", source(l.T, "tools", "net", "ynl", "cli.py"),
		"--spec", testutil.Path(l, "family", "xdpctl.yaml"), "--output-json"}, schema, args)...)
}

// ynlSubscribe starts the YNL command line as a listener, and returns when it
// listens. The function returned waits for it to end, and returns what it
// printed.
func (l *lab) ynlSubscribe() func() string {
	l.Helper()
	group := l.ns.NewGenl(l.T, "xdpctl").Groups["mgmt"]
	out := make(chan *result)
	listen := "3" // seconds in which the change has to come
	if testutil.DebugKernel() {
		listen = "20"
	}
	go func() { out <- l.ynl("--subscribe", "mgmt", "--sleep", listen) }()
	testutil.Eventually(l.T, 5*time.Minute, "ynl to subscribe", func() bool {
		var table []byte
		l.ns.Do(func() { table, _ = os.ReadFile("/proc/thread-self/net/netlink") })
		for line := range strings.Lines(string(table)) {
			// sk, protocol, pid, the first 32 groups
			if f := strings.Fields(line); len(f) > 3 && f[1] == strconv.Itoa(unix.NETLINK_GENERIC) {
				if groups, err := strconv.ParseUint(f[3], 16, 32); err == nil && groups>>(group-1)&1 != 0 {
					return true
				}
			}
		}
		return false
	})
	return func() string {
		r := <-out
		if r.err != nil {
			l.Fatal(r)
		}
		return r.stdout
	}
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
	if diff := cmp.Diff(l.stats(), parse[[]object](l, do("--dump", "stats-get"))); diff != "" {
		t.Errorf("stats, -ours +theirs:\n%s", diff)
	}
	types := parse[[]object](l, do("--dump", "type-get"))
	if len(types) != 6 || types[2]["name"] != "xdp_prog" || types[2]["id"] != "xdp-prog" {
		t.Errorf("type-get: %v", types)
	}

	out := do("--do", "prog-set", "--json",
		fmt.Sprintf(`{"ifindex": %d, "fd": 3, "mode": ["native"], "update": "noexist"}`, veth0))
	v := l.attached("veth0")
	want := object{
		"ifindex": float64(veth0), "queue": float64(family.QueueAll), "mode": []any{"native"}, "prog-id": float64(v.ProgID),
		"link-id": float64(v.LinkID), "owner": "module", "tag": fmt.Sprintf("% x", v.Tag[:]), "name": "tools_pass",
	}
	if diff := cmp.Diff(want, parse[object](l, out)); diff != "" {
		t.Errorf("reply to prog-set, -want +got:\n%s", diff)
	}
	events := l.ynlSubscribe()
	l.attach("veth0") // which replaces the program by itself
	if diff := cmp.Diff([]object{{"name": "prog-ntf", "msg": want}}, parse[[]object](l, events())); diff != "" {
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
	veth0, stats := l.ns.Index("veth0"), l.stats()
	out := l.run("python3", testutil.Path(t, "tests", "tools", "testdata", "pyroute2_client.py"), strconv.Itoa(veth0))
	got := parse[struct {
		Stats, Prog []object
		Refused     int
	}](l, out)
	if diff := cmp.Diff(stats, got.Stats); diff != "" {
		t.Errorf("stats, -ours +theirs:\n%s", diff)
	}
	if len(got.Prog) != 1 {
		t.Fatalf("prog-get: %v", got.Prog)
	}
	p := got.Prog[0]
	delete(p, "link-id")
	want := object{
		"ifindex": float64(veth0), "queue": float64(family.QueueAll), "mode": float64(family.ModeNative),
		"prog-id": float64(l.prog.ID), "owner": float64(family.OwnerModule), "name": "tools_pass",
		"tag": fmt.Sprintf("% x", l.prog.Tag[:]),
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

// TestUserNamespace is somebody who is root in namespaces of his own only. He
// may do there what he may do with ip link, given a program, and no more.
func TestUserNamespace(t *testing.T) {
	l := newLab(t)
	cli := strings.Join([]string{"python3", source(t, "tools", "net", "ynl", "cli.py"),
		"--spec", testutil.Path(t, "family", "xdpctl.yaml"), "--no-schema", "--output-json"}, " ")
	out := l.run("unshare", "-Urn", "sh", "-ec", `
		ip link add dummy0 type dummy
		ip link add type xdpctl
		index=$(ip -o link show dummy0 | cut -d: -f1)
		`+cli+` --do prog-set --json '{"ifindex": '$index', "fd": 3}'
		ip -o link show dummy0
		! bpftool map create /sys/fs/bpf/userns type hash key 4 value 152 entries 1 name xdp_stats dev xdpctl0 2>&1
	`)
	for _, want := range []string{`"owner": "module"`, "xdpgeneric", fmt.Sprintf("prog/xdp id %d", l.prog.ID), "Operation not permitted"} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
}
