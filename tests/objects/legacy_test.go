// SPDX-License-Identifier: BSD-3-Clause

package objects

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/loader"
)

// legacyCase is an object that both load.
type legacyCase struct {
	name, object, section string
	typ                   ebpf.ProgramType
}

var legacyCases = []legacyCase{
	{"graft", "legacy_graft", "classifier", ebpf.SchedCLS},
	{"map in map", "legacy_nested", "egress", ebpf.SchedCLS},
	{"map in map, not pinned", "legacy_nested", "classifier", ebpf.SchedCLS},
	{"shared", "legacy_shared", "classifier", ebpf.SchedCLS},
	{"shared, XDP", "legacy_shared", "prog", ebpf.XDP},
	{"tail calls", "legacy_tail", "prog", ebpf.XDP},
	{"cyclic", "legacy_cyclic", "prog", ebpf.XDP},
	{"16 bytes", "legacy_size16", "prog", ebpf.XDP},
	{"20 bytes", "legacy_size20", "xdp", ebpf.XDP},
}

// prepareLegacy gives iproute2 what it needs: SHA-1 from the kernel, and a
// directory for the pinning value 4.
func prepareLegacy(t *testing.T) {
	t.Helper()
	for _, mod := range []string{"algif_hash", "sha1_generic", "cls_bpf", "sch_ingress"} {
		if out, err := exec.Command("modprobe", mod).CombinedOutput(); err != nil {
			t.Fatalf("modprobe %s: %v: %s", mod, err, out)
		}
	}
	conf := filepath.Join(t.TempDir(), "bpf_pinning")
	if err := os.WriteFile(conf, []byte("# of a test\n4 some/where\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(conf, loader.IprouteConfig, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(loader.IprouteConfig, 0) })
}

// reference loads an object with iproute2 as it was.
func (l *lab) reference(c *legacyCase) {
	l.Helper()
	file := object(l, c.object)
	if c.typ == ebpf.XDP {
		l.run(legacyTool(l, "ip"), "link", "set", "dev", "veth0", "xdpgeneric", "off")
		l.run(legacyTool(l, "ip"), "link", "set", "dev", "veth0", "xdpgeneric", "obj", file, "sec", c.section)
		return
	}
	l.try("tc", "qdisc", "add", "dev", "veth0", "clsact")
	l.run(legacyTool(l, "tc"), "filter", "add", "dev", "veth0", "ingress", "bpf", "da", "obj", file, "sec", c.section)
}

// ours loads an object with the loader.
func (l *lab) ours(c *legacyCase) *loader.Object {
	l.Helper()
	s, err := loader.Open(object(l, c.object))
	if err != nil {
		l.Fatal(err)
	}
	obj, err := s.Load(context.Background(), loader.LoadOptions{Programs: []string{c.section}, Type: c.typ, Pinning: l.pins})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { obj.Close() })
	if obj.Route != loader.RouteCompat {
		l.Errorf("loaded by the %s path", obj.Route)
	}
	return obj
}

// compare holds what two loaders made against each other.
func (l *lab) compare(what string, want, got state) {
	l.Helper()
	// Where the links lead is where the file system is mounted.
	if len(want.Maps) == 0 {
		want.Links, got.Links = nil, nil // iproute2 makes them for nothing, too
	}
	for _, s := range []state{want, got} {
		for name, target := range s.Links {
			s.Links[name] = filepath.Base(target)
		}
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(state{}), cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "ids" }, cmp.Ignore())); diff != "" {
		l.Errorf("%s (-iproute2 +loader):\n%s", what, diff)
	}
}

// TestLegacy loads each object with iproute2 and with the loader. They make the
// same pins, and each uses what the other pinned.
func TestLegacy(t *testing.T) {
	prepareLegacy(t)
	for _, c := range legacyCases {
		t.Run(c.name, func(t *testing.T) {
			theirs := newLab(t)
			theirs.reference(&c)
			their := theirs.state()
			own := newLab(t)
			own.ours(&c)
			our := own.state()
			own.compare("pins", their, our)

			theirs.ours(&c)
			after := theirs.state()
			theirs.compare("pins with the loader after iproute2", their, after)
			if diff := cmp.Diff(their.ids, after.ids); diff != "" {
				t.Errorf("the loader did not use the maps of iproute2 (-before +after):\n%s", diff)
			}
			own.reference(&c)
			after = own.state()
			own.compare("pins with iproute2 after the loader", our, after)
			if diff := cmp.Diff(our.ids, after.ids); diff != "" {
				t.Errorf("iproute2 did not use the maps of the loader (-before +after):\n%s", diff)
			}
		})
	}
}

// TestLegacyGraft grafts with each into the map of the other.
func TestLegacyGraft(t *testing.T) {
	prepareLegacy(t)
	l := newLab(t)
	c := &legacyCases[0]
	file := object(t, c.object)
	entry := l.ours(c).Programs["entry"]
	verdict := func(want uint32) {
		t.Helper()
		got, _, err := entry.Test(make([]byte, 64))
		if err != nil || got != want {
			t.Errorf("verdict %d, error %v, want %d", got, err, want)
		}
	}
	verdict(10)
	l.run(legacyTool(t, "tc"), "exec", "bpf", "graft", "m:globals/slots", "key", "0", "obj", file, "sec", "first")
	verdict(11)
	s, err := loader.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	zero := uint32(0)
	if err := s.Graft(context.Background(), loader.GraftOptions{Map: "m:globals/slots", Key: &zero, Program: "7/1", Pinning: l.pins}); err != nil {
		t.Fatal(err)
	}
	verdict(12)
	l.run(legacyTool(t, "tc"), "exec", "bpf", "graft", "m:globals/slots", "obj", file, "sec", "7/1")
	if got := l.state().Maps["tc/globals/slots"].Filled; !cmp.Equal(got, []uint32{0, 1}) {
		t.Errorf("programs at %v", got)
	}
}

// TestLegacyRefuses has both refuse a map of another shape.
func TestLegacyRefuses(t *testing.T) {
	prepareLegacy(t)
	l := newLab(t)
	c := &legacyCases[0]
	l.ours(c)
	path := l.root + "/tc/globals/slots"
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Pin(path); err != nil {
		t.Fatal(err)
	}
	before := l.state()
	l.try("tc", "qdisc", "add", "dev", "veth0", "clsact")
	if _, err := l.try(legacyTool(t, "tc"), "filter", "add", "dev", "veth0", "ingress", "bpf", "da", "obj", object(t, c.object)); err == nil {
		t.Error("iproute2 used a map with more entries")
	}
	s, err := loader.Open(object(t, c.object))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Load(context.Background(), loader.LoadOptions{Programs: []string{c.section}, Type: c.typ, Pinning: l.pins})
	want := "load legacy_graft.bpf.o: map slots pinned at " + path + " differs from that of the object: max entries 3 (pinned) and 2 (object)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if diff := cmp.Diff(before.ids, l.state().ids); diff != "" {
		t.Errorf("pins changed (-before +after):\n%s", diff)
	}
}

// stockCase is an object with maps in BTF that iproute2 as it is loads.
type stockCase struct {
	name, object, prog string
	typ                ebpf.ProgramType
	globals            string // where iproute2 pins for that type
	load, undo         []string
}

var stockCases = []stockCase{
	{"ip", "object", "count", ebpf.XDP, "xdp/globals",
		[]string{"ip", "link", "set", "dev", "veth0", "xdpgeneric", "obj", "OBJECT", "sec", "xdp"},
		[]string{"ip", "link", "set", "dev", "veth0", "xdpgeneric", "off"}},
	{"tc", "classify", "classify", ebpf.SchedCLS, "tc/globals",
		[]string{"tc", "filter", "add", "dev", "veth0", "ingress", "bpf", "da", "obj", "OBJECT", "sec", "tc"},
		[]string{"tc", "filter", "del", "dev", "veth0", "ingress"}},
}

// stock has iproute2 load the object.
func (l *lab) stock(c *stockCase) {
	l.Helper()
	words := slices.Clone(c.load)
	words[slices.Index(words, "OBJECT")] = object(l, c.object)
	l.run(words[0], words[1:]...)
}

// standard loads the object with the loader, to where iproute2 pins.
func (l *lab) standard(c *stockCase) *loader.Object {
	l.Helper()
	s, err := loader.Open(object(l, c.object))
	if err != nil {
		l.Fatal(err)
	}
	pins := *l.pins
	pins.Directory = filepath.Join(l.root, c.globals)
	obj, err := s.Load(context.Background(), loader.LoadOptions{Pinning: &pins})
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { obj.Close() })
	if p := obj.Programs[c.prog]; p == nil || p.Type() != c.typ || obj.Route != loader.RouteStandard {
		l.Errorf("loaded %v by the %s path", p, obj.Route)
	}
	return obj
}

// TestStock loads objects with maps in BTF with iproute2 as it is and with the
// loader. Each uses what the other pinned.
func TestStock(t *testing.T) {
	prepareLegacy(t)
	for _, c := range stockCases {
		t.Run(c.name, func(t *testing.T) {
			theirs := newLab(t)
			theirs.run("tc", "qdisc", "add", "dev", "veth0", "clsact")
			theirs.stock(&c)
			their := theirs.state()
			obj := theirs.standard(&c)
			theirs.compare("pins", their, theirs.state())
			if diff := cmp.Diff(their.ids, theirs.state().ids); diff != "" {
				t.Errorf("the loader did not use the map of iproute2 (-before +after):\n%s", diff)
			}
			for _, st := range obj.States {
				if st.Reused != (st.Name == "points") {
					t.Errorf("map %s: reused %t", st.Name, st.Reused)
				}
			}
			// iproute2 makes its directories, then the loader pins first.
			own := newLab(t)
			own.run("tc", "qdisc", "add", "dev", "veth0", "clsact")
			own.stock(&c)
			own.run(c.undo[0], c.undo[1:]...)
			if err := os.Remove(own.root + "/tc/globals/points"); err != nil {
				t.Fatal(err)
			}
			own.standard(&c)
			our := own.state()
			own.stock(&c)
			own.compare("pins with iproute2 after the loader", our, own.state())
			if diff := cmp.Diff(our.ids, own.state().ids); diff != "" {
				t.Errorf("iproute2 did not use the map of the loader (-before +after):\n%s", diff)
			}
			if _, ok := our.ids["tc/globals/points"]; !ok || len(our.ids) != 1 {
				t.Errorf("pins %v", our.ids)
			}
		})
	}
}
