// SPDX-License-Identifier: BSD-3-Clause

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden holds the output of commands against files. Each file has the
// command line, and what it gave.
func TestGolden(t *testing.T) {
	tests := []struct{ name, args string }{
		{"compare-sizes", "compare --sizes 10,20,15"},
		{"compare-few", "-j compare --sizes 10,20"},
		{"compare-server", "--server embedded compare"},
		{"compare-no-file", "compare --bench-c /nowhere/bench-c"},
		{"compare-from", "compare --from testdata/compare.json"},
		{"compare-from-two", "compare --from testdata/compare.json,testdata/compare-before.json --csv"},
		{"compare-from-none", "compare --from testdata/nothing.json"},
		{"compare-csv", "compare --from testdata/compare.json --csv"},
		{"compare-csv-json", "-j compare --csv"},
		{"compare-against", "compare --from testdata/compare.json --csv --against testdata/compare-before.json"},
		{"compare-report-file", "compare --from testdata/compare.json --report cli.go"},
		{"stats-show", "stats show"},
		{"stats-show-queues", "stats show dev veth0 queues"},
		{"stats-show-json", "-j stats show"},
		{"stats-show-pretty", "-p stats show dev veth0"},
		{"stats-show-queues-json", "-j stats show queues"},
		{"stats-watch", "stats watch interval 0.001 count 2"},
		{"stats-watch-json", "-j stats watch dev veth0 interval 0.001 count 2"},
		{"prog-show", "prog show"},
		{"prog-show-number", "prog show dev 3"},
		{"prog-show-nothing", "prog show dev lo"},
		{"prog-show-json", "-j prog show"},
		{"prog-attach", "prog attach dev veth0 fd 77"},
		{"prog-attach-json", "-j prog attach dev veth0 fd 77 mode generic"},
		{"prog-attach-add", "prog attach dev veth0 fd 77 add"},
		{"prog-attach-add-json", "-j prog attach dev veth0 fd 77 add"},
		{"prog-attach-expect", "prog attach dev veth0 fd 77 replace expect 5"},
		{"prog-attach-busy", "prog attach dev veth1 fd 77"},
		{"prog-attach-badfd", "prog attach dev lo fd 5"},
		{"prog-replace-none", "prog replace dev lo fd 77"},
		{"prog-detach", "prog detach dev veth0"},
		{"prog-detach-none", "prog detach dev lo"},
		{"prog-attach-queue", "prog attach dev veth0 queue 3 fd 77"},
		{"prog-attach-queue-all", "prog attach dev veth0 queue 4294967295 fd 77"},
		{"prog-attach-require", "-j prog attach dev veth0 fd 77 require tx,rx-sg"},
		{"prog-attach-require-none", "prog attach dev veth0 fd 77 require-only none"},
		{"prog-attach-require-bad", "prog attach dev veth0 fd 77 require tx,everything"},
		{"prog-attach-require-both", "prog attach dev veth0 fd 77 require tx require-only drop"},
		{"prog-attach-lacks", "prog attach dev veth0 fd 77 require hash"},
		{"prog-detach-queue", "prog detach dev veth0 queue 5"},
		{"prog-detach-queue-none", "-j prog detach dev veth0 queue 4"},
		{"prog-requires", "prog requires obj ../../../loader/testdata/requires.bpf.o prog metadata"},
		{"prog-requires-section", "prog requires obj ../../../loader/testdata/requires.bpf.o prog xdp.frags"},
		{"prog-requires-all", "prog requires obj ../../../loader/testdata/requires.bpf.o"},
		{"prog-requires-json", "-j prog requires obj ../../../bpf/verdict.bpf.o"},
		{"prog-requires-none", "prog requires obj ../../../bpf/verdict.bpf.o prog x"},
		{"obj-show", "obj show ../../../loader/testdata/object.bpf.o"},
		{"obj-show-json", "-j obj show ../../../loader/testdata/object.bpf.o"},
		{"obj-show-legacy", "obj show ../../../loader/testdata/legacy_tail.bpf.o"},
		{"obj-show-nested", "-j obj show ../../../loader/testdata/legacy_nested.bpf.o"},
		{"obj-show-unlicensed", "obj show ../../../loader/testdata/unlicensed.bpf.o"},
		{"obj-show-damaged", "obj show cli.go"},
		{"obj-show-none", "obj show testdata/nothing.o"},
		{"obj-load-no-prog", "obj load ../../../loader/testdata/object.bpf.o pin /none prog x"},
		{"obj-load-set", "obj load ../../../loader/testdata/object.bpf.o pin /none set verdict"},
		{"obj-load-set-twice", "obj load ../../../loader/testdata/object.bpf.o pin /none set verdict=1 set verdict=2"},
		{"obj-load-set-bad", "obj load ../../../loader/testdata/object.bpf.o pin /none set verdict=x"},
		{"obj-load-map-none", "obj load ../../../loader/testdata/object.bpf.o pin /none map points=/none"},
		{"prog-repin-fd", "prog attach dev veth0 fd 77 --force-repin"},
		{"prog-join-fd", "prog attach dev veth0 fd 77 prio 3"},
		{"prog-join-chain-bad", "prog attach dev veth0 fd 77 chain-on everything"},
		{"prog-join-queue", "prog attach dev veth0 queue 1 obj x.o chain-on none"},
		{"obj-help", "obj help"},
		{"obj-load-help", "obj load help"},
		{"caps-show-obj", "caps show obj ../../../bpf/verdict.bpf.o"},
		{"caps-show-obj-json", "-j caps show dev veth0 obj ../../../loader/testdata/requires.bpf.o prog metadata"},
		{"caps-show-require", "caps show dev veth0 require-only redirect,hash"},
		{"caps-show-no-obj", "caps show dev veth0 obj testdata/nothing.o"},
		{"attr-show", "attr show"},
		{"attr-show-json", "-j attr show"},
		{"attr-reset", "attr reset dev veth0"},
		{"attr-reset-none", "-j attr reset dev lo"},
		{"redirect-set", "redirect set dev veth1 rings 4 size 512"},
		{"redirect-set-json", "-j redirect set dev veth1 rings 4"},
		{"redirect-set-zero", "redirect set dev veth1 rings 0"},
		{"redirect-unset", "redirect unset dev veth0"},
		{"metadata-set", "metadata set dev veth1 on"},
		{"metadata-set-refused", "metadata set dev lo on"},
		{"metadata-set-nothing", "metadata set dev lo"},
		{"meter-set", "meter set dev veth1 on fd 77"},
		{"meter-set-off", "-j meter set dev veth0 off"},
		{"meter-set-both", "meter set dev veth0 off fd 77"},
		{"meter-set-badfd", "meter set dev veth0 on fd 5"},
		{"port-show", "port show"},
		{"port-show-json", "-j port show"},
		{"port-show-one", "port show 7"},
		{"port-show-one-json", "-j port show 7"},
		{"port-show-none", "port show 8"},
		{"port-set", "port set 8 dev veth1"},
		{"port-set-json", "-j port set 1023 dev veth1 add"},
		{"port-set-bound", "port set 7 dev veth0 add"},
		{"port-set-free", "port set 8 dev veth0 replace"},
		{"port-set-great", "port set 1024 dev veth0"},
		{"port-del", "port del 7"},
		{"port-del-json", "-j port del 7"},
		{"port-del-none", "port del 8"},
		{"caps-show", "caps show"},
		{"caps-show-json", "-j caps show dev veth0"},
		{"type-show", "type show"},
		{"type-show-json", "-j type show"},
		{"monitor", "monitor count 12"},
		{"monitor-json", "-j monitor count 12"},
		{"monitor-map", "--via map monitor"},
		{"family-show", "family show"},
		{"family-show-json", "-j family show"},
		{"family-show-other", "family show name other"},
		{"no-netdev", "stats show dev eth7"},
		{"no-keyword", "stats show devv veth0"},
		{"no-keyword-json", "-j stats show devv veth0"},
		{"no-command", "stats shew"},
		{"no-object", "frobnicate"},
		{"no-type", "map create xdp-nothing"},
		{"nothing", ""},
		{"no-option", "--frobnicate"},
		{"no-door", "--via window stats show"},
		{"no-server", "--server cloud stats show"},
		{"map-embedded", "--server embedded map create xdp-stats"},
		{"serve-help", "serve help"},
		{"serve-path", "serve /run/x"},
		{"serve-mode", "serve mode 9"},
		{"no-obj", "prog attach dev veth0 obj testdata/nothing.o"},
		{"help", "help"},
		{"help-object", "prog help"},
		{"help-command", "prog attach help"},
		{"abbreviated", "st sh d veth0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newFake()
			c.events = fakeEvents()
			r := runFake(context.Background(), c, strings.Fields(tt.args)...)
			got := fmt.Sprintf("$ xdpctl-nl %s\n%s-- stderr --\n%s-- status %d --\n", tt.args, r.stdout, r.stderr, r.status)
			path := filepath.Join("testdata", tt.name+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if strings.Contains(tt.args, "-j ") && r.stdout != "" {
				checkJSON(t, r.stdout)
			}
		})
	}
}

// checkJSON checks that each line is JSON.
func checkJSON(t *testing.T, s string) {
	t.Helper()
	for l := range strings.Lines(s) {
		if !json.Valid([]byte(l)) {
			t.Errorf("not JSON: %s", l)
		}
	}
}

func fakeEvents() []any {
	prog := func(ifindex, queue, id uint32) family.Event {
		v := new(family.Prog)
		if id != 0 {
			v.SetProgID(id)
			v.SetMode(family.ModeNative)
		}
		return family.Event{Op: "prog-ntf", Type: family.CtrlTypeXDPProg, Key: &family.ProgKey{Ifindex: ifindex, Queue: queue}, Value: v}
	}
	attr := new(family.Attr)
	attr.SetRingsNum(4)
	attr.SetEnableMD(0)
	attr.SetEnableMeter(1)
	port := fakePort(2)
	free := fakePort(0)
	free.Present &^= 1 << family.AttrPortIfindex
	aborted, invalid := new(family.Exception), new(family.Exception)
	aborted.SetIfindex(2)
	aborted.SetProgID(17)
	aborted.SetAction(0)
	aborted.SetCount(3)
	aborted.SetQueue(1)
	invalid.SetIfindex(3)
	invalid.SetProgID(9)
	invalid.SetAction(238)
	invalid.SetCount(1000000)
	return []any{
		prog(2, family.QueueAll, 17), // as it was
		unix.ENOBUFS,
		prog(2, family.QueueAll, 18),
		prog(2, family.QueueAll, 0),
		prog(2, family.QueueAll, 19),
		prog(2, 5, 22),
		prog(9, 1, 0),
		family.Event{Op: "attr-ntf", Type: family.CtrlTypeXDPAttr, Key: &family.AttrKey{Ifindex: 3}, Value: attr},
		family.Event{Op: "port-ntf", Type: family.CtrlTypeXDPPort, Key: &family.PortKey{Port: 4}, Value: &port},
		family.Event{Op: "port-ntf", Type: family.CtrlTypeXDPPort, Key: &family.PortKey{Port: 4}, Value: &free},
		family.Event{Op: "exception-ntf", Value: aborted},
		family.Event{Op: "exception-ntf", Value: invalid},
		family.Event{Op: "new-ntf", Type: 9, Key: family.StatsKey{Ifindex: 2}, Value: nil},
	}
}

// TestTree walks all commands: each has help and an example, which is a command
// line that parses, and all its keywords are in its synopsis.
func TestTree(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		path := c.CommandPath()
		if c.Short == "" || c.Long == "" || c.Example == "" {
			t.Errorf("%s: short, long or example is missing", path)
		}
		if strings.HasSuffix(c.Short, ".") || c.Short[:1] != strings.ToUpper(c.Short[:1]) {
			t.Errorf("%s: short help %q does not look like the others", path, c.Short)
		}
		_, keywords, _ := strings.Cut(c.Long, "Keywords:\n\n")
		for l := range strings.Lines(keywords) {
			if name := strings.Fields(l)[0]; !strings.Contains(c.Use, name) {
				t.Errorf("%s: %q is not in the synopsis %q", path, name, c.Use)
			}
		}
		for l := range strings.Lines(c.Example) {
			words := strings.Fields(l)
			if len(words) == 0 || words[0] != "xdpctl-nl" {
				t.Errorf("%s: example %q is no command line", path, l)
				continue
			}
			if r := parseOnly(words[1:]); r.status == exitSyntax {
				t.Errorf("%s: example %q: %s", path, l, r.stderr)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(Command())
}

// parseOnly parses a command line, and fails where it would be run.
func parseOnly(args []string) result {
	var stdout, stderr bytes.Buffer
	a := newApp(&stdout, &stderr)
	a.exec = func(context.Context, func(context.Context) error) error { return errors.New("nothing is run") }
	a.openControl = func(*app) (opened, error) { panic("opened") }
	a.openNetdevs = func(*os.File) (netdevs, error) { panic("opened") }
	status := a.run(context.Background(), args)
	return result{status, stdout.String(), stderr.String()}
}

// TestHelpOpensNothing asks for help where no socket can be opened.
func TestHelpOpensNothing(t *testing.T) {
	var walk func(c *cobra.Command, path []string)
	walk = func(c *cobra.Command, path []string) {
		for _, args := range [][]string{append(path, "help"), append(path, "--help")} {
			r := parseOnly(args)
			if r.status != exitOK || !strings.Contains(r.stdout, "Usage: xdpctl-nl") || r.stderr != "" {
				t.Errorf("%v: status %d, stdout %q, stderr %q", args, r.status, r.stdout, r.stderr)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub, append(path[:len(path):len(path)], sub.Name()))
		}
	}
	walk(Command(), nil)
}

func TestClosed(t *testing.T) {
	c := newFake()
	if r := runFake(context.Background(), c, "prog", "show"); r.status != exitOK {
		t.Fatal(r)
	}
	if !c.closed {
		t.Error("the door was left open")
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, args := range []string{"stats watch", "monitor"} {
		c := newFake()
		c.events = fakeEvents()
		if r := runFake(ctx, c, strings.Fields(args)...); r.status != exitOK || r.stderr != "" {
			t.Errorf("%s: status %d, stderr %q", args, r.status, r.stderr)
		}
	}
}

func TestHints(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"permission", &family.Error{Op: "prog-set", Errno: unix.EPERM}, "as root"},
		{"busy", &family.Error{Op: "prog-set", Errno: unix.EBUSY}, "prog show"},
		{"exists", &family.Error{Op: "prog-set", Errno: unix.EEXIST}, "prog show"},
		{"none", &family.Error{Op: "prog-set", Errno: unix.ENOENT}, "leave out replace"},
		{"port exists", &family.Error{Op: "port-set", Errno: unix.EEXIST}, "port show"},
		{"port busy", &family.Error{Op: "port-set", Errno: unix.EBUSY}, "port show"},
		{"port none", &family.Error{Op: "port-set", Errno: unix.ENOENT}, "leave out replace"},
		{"setting", &family.Error{Op: "attr-set", Errno: unix.EOPNOTSUPP}, "caps show"},
		{"lacks", &family.Error{Op: "prog-set", Errno: unix.EOPNOTSUPP}, "caps show"},
		{"netns", &family.Error{Op: "prog-set", Errno: unix.EXDEV}, "-n NETNS"},
		{"hinted", fmt.Errorf("wrapped: %w", &hinted{errors.New("x"), "do y"}), "do y"},
		{"nothing", errors.New("x"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(nil, nil)
			if got := a.hint(tt.err); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNoDevice(t *testing.T) {
	for name, want := range map[string]string{
		"":         "Load the kernel module with: modprobe xdpctl",
		"blue":     "Make one there with: ip -n blue link add type xdpctl",
		"/proc/ns": "Make one there with: nsenter --net=/proc/ns ip link add type xdpctl",
	} {
		a := newApp(nil, nil)
		a.netnsName = name
		if got := a.hint(a.noDevice(os.ErrNotExist)); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// TestVerifier shows the end of what the verifier says.
func TestVerifier(t *testing.T) {
	ve := &ebpf.VerifierError{Cause: unix.EACCES}
	for i := range 30 {
		ve.Log = append(ve.Log, fmt.Sprintf("insn %d", i))
	}
	got := message(fmt.Errorf("load x.o: %w", ve))
	if strings.Contains(got, "insn 17\n") || !strings.Contains(got, "insn 18\n") || !strings.HasSuffix(got, "insn 29") {
		t.Errorf("got %q", got)
	}
	a := newApp(nil, nil)
	if got := a.hint(ve); got != "" {
		t.Errorf("a refusal by the verifier is no question of permission: %q", got)
	}
}

func TestBpftool(t *testing.T) {
	if got, want := bpftool("map", "pin", "pinned", "/a b", "/it's"), `bpftool map pin pinned '/a b' '/it'\''s'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	a := newApp(nil, nil)
	for name, want := range map[string]string{"": "x", "blue": "nsenter --net=/run/netns/blue x", "/a": "nsenter --net=/a x"} {
		a.netnsName = name
		if got := a.inNetns("x"); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestRates(t *testing.T) {
	before := []counter{{name: "packets", n: 100}, {name: "drop", n: 50}, {name: "gone", n: 1}}
	after := []counter{{name: "packets", n: 160}, {name: "drop", n: 10}, {name: "new", n: 5}}
	want := []counter{{name: "packets", rate: 30, rated: true}}
	if diff := cmp.Diff(want, ratesOf(before, after, 2), cmp.AllowUnexported(counter{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := ratesOf(nil, after, 2); got != nil {
		t.Errorf("a netdev that was not there has rates %v", got)
	}
}

// TestNewCounter shows a counter that no section has heard of.
func TestNewCounter(t *testing.T) {
	var b bytes.Buffer
	a := newApp(&b, nil)
	a.printCounters("  ", []counter{{name: "teleported", n: 12345678901}, {name: "packets", n: 1}}, "")
	want := "  RX:        packets\n                   1\n  Other:      teleported\n             12345678901\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestCompletion(t *testing.T) {
	tests := []struct {
		args string
		want []string
	}{
		{"stats show ", []string{"dev", "queues"}},
		{"stats show dev ", []string{"lo", "veth0", "veth1"}},
		{"stats show dev lo ", []string{"queues"}},
		{"prog attach dev lo ", []string{"queue", "fd", "id", "pinned", "obj", "mode", "require", "require-only", "prio", "chain-on", "add", "replace"}},
		{"prog attach dev lo obj x.o ", []string{"queue", "prog", "map", "set", "mode", "require", "require-only", "prio", "chain-on", "add", "replace"}},
		{"prog attach dev lo id 5 replace ", []string{"queue", "mode", "require", "require-only", "prio", "chain-on", "expect"}},
		{"prog attach require ", []string{"basic", "redirect", "ndo-xmit", "xsk-zerocopy", "hw-offload", "rx-sg", "ndo-xmit-sg",
			"timestamp", "hash", "vlan-tag", "aborted", "drop", "pass", "tx"}},
		{"caps show require-only redirect,hash,t", []string{"redirect,hash,timestamp", "redirect,hash,tx"}},
		{"port del ", []string{"0", "7"}},
		{"port set 3 ", []string{"dev", "add", "replace"}},
		{"meter set dev lo ", []string{"on", "off"}},
		{"meter set on dev ", []string{"lo", "veth0", "veth1"}},
		{"meter set on ", []string{"dev", "fd", "id", "pinned"}},
		{"prog attach mode ", []string{"native", "generic", "auto"}},
		{"map create ", []string{"xdp-stats", "xdp-qstats", "xdp-prog", "xdp-caps", "xdp-attr", "xdp-port"}},
		{"map create xdp-stats ", []string{"pin", "dev"}},
		{"--server ", []string{"kernel", "embedded", "unix:/run/xdpctl.sock"}},
		{"serve ", []string{"group", "mode"}},
		{"serve unix:/x ", []string{"group", "mode"}},
		{"serve mode 0660 ", []string{"group"}},
		{"--via ", []string{"netlink", "map", "auto"}},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			words := strings.Split(tt.args, " ")
			r := runFake(context.Background(), newFake(), append([]string{"__complete"}, words...)...)
			var got []string
			for l := range strings.Lines(r.stdout) {
				if name, _, _ := strings.Cut(strings.TrimSpace(l), "\t"); !strings.HasPrefix(name, ":") {
					got = append(got, name)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	for _, args := range []string{"prog attach obj ", "map dump pinned ", "prog requires obj ", "caps show obj "} {
		r := runFake(context.Background(), newFake(), append([]string{"__complete"}, strings.Split(args, " ")...)...)
		if !strings.HasPrefix(r.stdout, ":0\n") {
			t.Errorf("%s: files are not completed: %q", args, r.stdout)
		}
	}
	if r := runFake(context.Background(), nil, "completion", "bash"); r.status != exitOK || !strings.Contains(r.stdout, "__start_xdpctl-nl") {
		t.Errorf("completion bash: status %d", r.status)
	}
}

func TestVersion(t *testing.T) {
	for _, opt := range []string{"-V", "--version"} {
		if r := runFake(context.Background(), nil, opt); r.status != exitOK || !strings.HasPrefix(r.stdout, "xdpctl-nl ") {
			t.Errorf("%s: got %+v", opt, r)
		}
	}
}
