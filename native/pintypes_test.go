// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// pinnedDoc is the page that says what is in the pinned maps.
const pinnedDoc = "../docs/servers.md"

// kindOf is what a pin is called in that page.
func kindOf(path string) string {
	path = regexp.MustCompile(`^[0-9a-f]+/(\d+)/`).ReplaceAllString(path, "COOKIE/IFINDEX/")
	path = regexp.MustCompile(`^[0-9a-f]+/(port/|netns$)`).ReplaceAllString(path, "COOKIE/$1")
	return regexp.MustCompile(`-\d+$`).ReplaceAllString(path, "-ID")
}

// dumpPinned is what bpftool says of a pinned map.
func dumpPinned(t *testing.T, path string) []any {
	t.Helper()
	out, err := exec.Command("bpftool", "-j", "map", "dump", "pinned", path).CombinedOutput()
	var list []any
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		t.Fatalf("bpftool map dump %s: %v\n%s", path, err, out)
	}
	return list
}

// memberNames adds the names of the members in what bpftool printed.
func memberNames(v any, names map[string]bool) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			memberNames(e, names)
		}
	case map[string]any:
		for name, e := range v {
			names[name] = true
			memberNames(e, names)
		}
	}
}

func (b *statsBed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// setAll sets on veth1 whatever there is a map for.
func setAll(b *statsBed) {
	b.Helper()
	// Of which the kernel lets somebody see the verdicts, or not.
	whole, queue := verdictProgram(b.T, true), verdictProgram(b.T, true)
	dev := uint32(b.ns.Index("veth1"))
	prog := func(p *ebpf.Program, queue uint32) {
		var v family.Prog
		v.SetFD(uint32(p.FD()))
		v.SetRequiredFeatures(family.XDPActBasic)
		b.must(b.c.Prog().Update(b.Context(), &family.ProgKey{Ifindex: dev, Queue: queue}, &v, family.UpdateAny))
	}
	attr := func(ifindex uint32, fill func(*family.Attr)) {
		var v family.Attr
		fill(&v)
		b.must(b.c.Attr().Update(b.Context(), &family.AttrKey{Ifindex: ifindex}, &v, family.UpdateAny))
	}
	prog(whole, family.QueueAll)
	prog(queue, 0)
	attr(dev, func(v *family.Attr) { v.SetCommand(family.CommandSetupMeter); v.SetEnableMeter(1) })
	attr(dev, func(v *family.Attr) { v.SetCommand(family.CommandSetupMD); v.SetEnableMD(1) })
	b.must(bindPort(b.c, 3, dev, family.UpdateAny))
	b.attach(whole, link.XDPGenericMode, "port1")
	b.send("port0", "port1")
}

// TestPinnedMaps has bpftool print all maps. The page must have them, and the
// names that are printed.
func TestPinnedMaps(t *testing.T) {
	if _, err := exec.LookPath("bpftool"); err != nil {
		t.Skip("no bpftool")
	}
	page := readPinnedDoc(t)
	b := newStatsBed(t)
	setAll(b)
	pins, err := pinsBelow(b.c.state.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pins {
		m, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			continue // a program or a link
		}
		typ := m.Type()
		b.must(m.Close())
		rel, err := filepath.Rel(b.c.state.root, path)
		b.must(err)
		kind := kindOf(rel)
		row := page.row(kind)
		if row == "" {
			t.Errorf("%s has no row for %s", pinnedDoc, kind)
		}
		if typ == ebpf.DevMap {
			continue // no BTF
		}
		list := dumpPinned(t, path)
		if len(list) == 0 && kind != "trace/types" {
			t.Errorf("%s has no entries: nothing is shown", kind)
		}
		for _, e := range list {
			names := make(map[string]bool)
			memberNames(e.(map[string]any)["formatted"], names)
			if len(names) < 3 { // key, value and a member
				t.Errorf("bpftool prints %s without names: %v", kind, e)
			}
			for name := range names {
				if !slices.Contains(printed, name) && !strings.Contains(row, "`"+name+"`") {
					t.Errorf("%s does not have %s of %s", pinnedDoc, name, kind)
				}
			}
		}
	}
}

// printed are the names of what bpftool itself has to say.
var printed = []string{"key", "value", "values", "cpu"}

type pinnedPage string

func readPinnedDoc(t *testing.T) pinnedPage {
	t.Helper()
	b, err := os.ReadFile(pinnedDoc)
	if err != nil {
		t.Fatal(err)
	}
	return pinnedPage(b)
}

// row is the line of a map.
func (p pinnedPage) row(kind string) string {
	for line := range strings.Lines(string(p)) {
		if cells := strings.Split(line, "|"); len(cells) > 2 && strings.Contains(cells[1], "`"+kind+"`") {
			return line
		}
	}
	return ""
}

// TestPinnedExample runs the example of the page.
func TestPinnedExample(t *testing.T) {
	if _, err := exec.LookPath("bpftool"); err != nil {
		t.Skip("no bpftool")
	}
	const command = "    # bpftool map dump pinned "
	_, example, ok := strings.Cut(string(readPinnedDoc(t)), command)
	if !ok {
		t.Fatalf("%s has no example", pinnedDoc)
	}
	path, answer, _ := strings.Cut(example, "\n")
	answer, _, _ = strings.Cut(answer, "\n\n")
	ns := testutil.NewNetNS(t)
	c := newControl(t, ns, newBPFFS(t))
	if _, dev := ns.AddVeth("veth0", "veth1", testutil.VethOptions{}); dev != 2 {
		t.Fatalf("the netdev has ifindex %d, and in the example 2", dev)
	}
	if err := bindPort(c, 3, 2, family.UpdateAny); err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel("/sys/fs/bpf/xdpctl/bea", path)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("bpftool", "map", "dump", "pinned", filepath.Join(c.state.dir, rel)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got, want any
	if err := errors.Join(json.Unmarshal(out, &got), json.Unmarshal([]byte(answer), &want)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-%s +bpftool:\n%s", pinnedDoc, diff)
	}
}
