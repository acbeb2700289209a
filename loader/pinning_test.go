// SPDX-License-Identifier: BSD-3-Clause

package loader

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
)

func TestLoadPinning(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	iproute := write("bpf_pinning", "# comment\n\n1\tignored\n3 tracing # more\n0x4\tfoo/bar\n5 tc/cls1\n")
	conf := write("pinning.conf", "directory /sys/fs/bpf/mine\nvalue 5 other/\nmap a global\nmap b none\n")
	write("conf.d/20.conf", "map b /sys/fs/bpf/b   # last\n")
	write("conf.d/10.conf", "map b object\nmap c 3\nbpffs /bpf\n")
	write("conf.d/30.conf~", "nonsense\n")
	got, err := loadPinning(iproute, conf, filepath.Join(dir, "conf.d"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Pinning{
		Root: "/bpf", Directory: "/sys/fs/bpf/mine",
		Values: map[uint32]string{3: "tracing", 4: "foo/bar", 5: "other"},
		Maps: map[string]Pin{
			"a": {Kind: PinGlobal}, "b": {Kind: PinPath, Path: "/sys/fs/bpf/b"}, "c": {Kind: PinValue, Value: 3},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	none, err := loadPinning(dir+"/none", dir+"/none", dir+"/none")
	if diff := cmp.Diff(&Pinning{}, none); diff != "" || err != nil {
		t.Errorf("without files: %v (-want +got):\n%s", err, diff)
	}
	write("conf.d/40.conf", "map\n")
	if _, err := loadPinning(iproute, conf, filepath.Join(dir, "conf.d")); err == nil || !strings.Contains(err.Error(), `40.conf: line 1: "map" takes 2 words`) {
		t.Errorf("bad drop-in: got %v", err)
	}
}

func TestPinningErrors(t *testing.T) {
	tests := []struct {
		iproute    bool
		text, want string
	}{
		{true, "3\n", `line 1: "3" is not a number and a directory`},
		{true, "# x\nthree tracing\n", `line 2: "three" is not a pinning value`},
		{true, "3 ../../etc\n", `line 1: path "../../etc" has .. in it`},
		{true, "3 /\n", `line 1: path "/" leads nowhere`},
		{false, "dir /x\n", `line 1: "dir" is none of bpffs, directory, value, map`},
		{false, "directory x\n", `line 1: "x" is not an absolute path`},
		{false, "value 3\n", `line 1: "value" takes 2 words`},
		{false, "\n\nmap a b\n", `line 3: "b" is neither none, by-name, object, global, a number nor an absolute path`},
		{false, "map a /x/../y\n", `line 1: path "/x/../y" has .. in it`},
	}
	for _, tt := range tests {
		p := &Pinning{}
		read := p.Read
		if tt.iproute {
			read = p.ReadIproute
		}
		if err := read(strings.NewReader(tt.text)); err == nil || err.Error() != tt.want {
			t.Errorf("%q: got %v, want %s", tt.text, err, tt.want)
		}
	}
}

func TestPath(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, "legacy_tail")
	s.Pins["visits"] = Pin{Kind: PinByName}
	s.Pins["x"] = Pin{Kind: PinGlobal}
	p := &Pinning{Root: dir}
	check := func(what string, typ ebpf.ProgramType, name, want string) {
		t.Helper()
		got, err := p.Path(s, typ, name)
		if err != nil {
			got = err.Error()
		}
		if want != "" && strings.HasPrefix(want, "/") {
			want = dir + want
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", what, got, want)
		}
	}
	check("object", ebpf.SchedCLS, "steps", "/tc/"+s.UID+"/steps")
	check("object, no directory xdp", ebpf.XDP, "steps", "/tc/"+s.UID+"/steps")
	check("global", ebpf.LWTOut, "x", "/tc/globals/x")
	check("value that means nothing", ebpf.XDP, "last", "")
	p.Values = map[uint32]string{4: "foo/bar"}
	check("value", ebpf.XDP, "last", "/foo/bar/last")
	check("by name", ebpf.XDP, "visits", "/visits")
	check("not pinned", ebpf.XDP, "y", "")
	s.Pins["a.b"] = Pin{Kind: PinGlobal}
	check("dot", ebpf.XDP, "a.b", `map "a.b": no pin can have this name`)
	p.Directory = dir + "/d"
	p.Maps = map[string]Pin{"steps": {Kind: PinPath, Path: dir + "/p"}, "x": {}}
	check("by name elsewhere", ebpf.XDP, "visits", "/d/visits")
	check("overruled", ebpf.XDP, "steps", "/p")
	check("overruled, none", ebpf.XDP, "x", "")

	if err := os.Symlink(dir+"/tc/", dir+"/xdp"); err != nil {
		t.Fatal(err)
	}
	p.Maps = nil
	check("xdp is a link", ebpf.XDP, "x", "/tc/globals/x")
	if err := os.Mkdir(dir+"/ip", 0o755); err != nil {
		t.Fatal(err)
	}
	check("ip is a directory", ebpf.LWTIn, "x", "/ip/globals/x")
}

func TestProgramDir(t *testing.T) {
	for _, tt := range []struct{ dir, name, want string }{
		{"", "filter.bpf.o", "/sys/fs/bpf/filter"},
		{"/sys/fs/bpf/maps", "filter.o", "/sys/fs/bpf/maps/filter"},
		{"", "", ""},
		{"", ".o", ""},
	} {
		p := &Pinning{Directory: tt.dir}
		if got := p.ProgramDir(&Spec{Name: tt.name}); got != tt.want {
			t.Errorf("%q of object %q: got %q, want %q", tt.dir, tt.name, got, tt.want)
		}
	}
}

func TestLayout(t *testing.T) {
	p := &Pinning{}
	uid := strings.Repeat("0a", 20)
	for path, want := range map[string]Layout{
		"/sys/fs/bpf/tc/globals/m":                 LayoutIprouteGlobal,
		"/sys/fs/bpf/xdp/globals/m":                LayoutIprouteGlobal,
		"/sys/fs/bpf/tc/" + uid + "/m":             LayoutIprouteObject,
		"/sys/fs/bpf/tc/" + uid[1:] + "/m":         LayoutOther,
		"/sys/fs/bpf/xdp/dispatch-3-17/prog0-link": LayoutLibxdp,
		"/sys/fs/bpf/tc/dispatch-3-17":             LayoutLibxdp,
		"/sys/fs/bpf/tc/dispatch-3-17x":            LayoutOther,
		"/sys/fs/bpf/m":                            LayoutOther,
		"/elsewhere/tc/globals/m":                  LayoutOther,
	} {
		if got := p.Layout(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// FuzzPinning reads configuration that nobody would write.
func FuzzPinning(f *testing.F) {
	f.Add("3 tracing # x\n", true)
	f.Add("bpffs /bpf\ndirectory /x\nvalue 0x7 a/b\nmap a 9\nmap b /c\n", false)
	f.Fuzz(func(t *testing.T, text string, iproute bool) {
		p := &Pinning{}
		read := p.Read
		if iproute {
			read = p.ReadIproute
		}
		if read(strings.NewReader(text)) != nil {
			return
		}
		for v, dir := range p.Values {
			if v < 3 || checkPath(dir) != nil || strings.HasPrefix(dir, "/") {
				t.Errorf("value %d is %q", v, dir)
			}
		}
		for name, pin := range p.Maps {
			again, err := ParsePin(pin.String())
			if err != nil || again != pin {
				t.Errorf("map %s: %v is read as %v, error %v", name, pin, again, err)
			}
		}
	})
}
