// SPDX-License-Identifier: BSD-3-Clause

package qualities

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/compare"
	"github.com/xdpctl/xdpctl-nl/internal/testutil"
)

// tracer is an instance of tracefs of the test's own.
type tracer struct {
	t   *testing.T
	dir string
}

func newTracer(t *testing.T, events ...string) *tracer {
	t.Helper()
	tr := &tracer{t, "/sys/kernel/tracing/instances/qualities"}
	if err := os.Mkdir(tr.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Rmdir(tr.dir); err != nil {
			t.Error(err)
		}
	})
	for _, e := range events {
		tr.write("events/"+e+"/enable", "1")
	}
	return tr
}

func (tr *tracer) write(file, text string) {
	tr.t.Helper()
	if err := os.WriteFile(filepath.Join(tr.dir, file), []byte(text), 0); err != nil {
		tr.t.Fatal(err)
	}
}

// during is what fn, on a thread in the namespace, leaves in the trace.
func (tr *tracer) during(ns *testutil.NetNS, fn func()) []string {
	tr.t.Helper()
	ns.Do(func() {
		tr.write("set_event_pid", strconv.Itoa(unix.Gettid()))
		tr.write("trace", "")
		fn()
	})
	b, err := os.ReadFile(filepath.Join(tr.dir, "trace"))
	if err != nil {
		tr.t.Fatal(err)
	}
	var out []string
	for l := range strings.Lines(string(b)) {
		if !strings.HasPrefix(l, "#") {
			out = append(out, strings.TrimSpace(l))
		}
	}
	return out
}

// having counts the lines in which a pattern is found.
func having(lines []string, pattern string) (n int) {
	for _, l := range lines {
		if regexp.MustCompile(pattern).MatchString(l) {
			n++
		}
	}
	return n
}

// TestTracing makes changes that are refused under the kernel's tracepoints, a
// netdev that taps netlink, and strace.
func TestTracing(t *testing.T) {
	w := newWorld(t)
	m := w.control(family.CtrlTypeXDPProg)
	w.attach(w.veth0, w.pass)
	k, v := wholeDev(w.veth0), program(w.drop)
	none := new(family.Prog)
	none.SetFD(nobody)

	tr := newTracer(t, "syscalls/sys_enter_bpf", "syscalls/sys_exit_bpf", "syscalls/sys_exit_sendto", "netlink/netlink_extack")
	var refused, formatted *testutil.Answer
	got := tr.during(w.ns, func() {
		refused = w.genl.Do(family.CmdProgSet, 0, request(k, none, family.UpdateAny))
		formatted = w.genl.Do(family.CmdProgSet, 0, request(k, v, family.UpdateNoexist))
	})
	expect(t, "set", refused.Errno, unix.EBADF)
	expect(t, "set of a second", formatted.Errno, unix.EEXIST)
	expect(t, "set of a second has a text", formatted.Message != "", true)
	expect(t, "calls of sendto", having(got, `sys_sendto -> 0x`), 2)
	expect(t, "errors of sendto", having(got, `sys_sendto -> 0xf`), 0)
	expect(t, "texts traced", having(got, `netlink_extack: `), 1)
	expect(t, "text traced", having(got, `netlink_extack: .*`+regexp.QuoteMeta(refused.Message)), 1)

	var update unix.Errno
	got = tr.during(w.ns, func() {
		update = errno(t, testutil.UpdateElem(m, bytesOf(k), bytesOf(v), unix.BPF_NOEXIST))
	})
	expect(t, "update", update, unix.EEXIST)
	expect(t, "calls of bpf", having(got, `sys_bpf\(cmd: (0x)?2, `), 1)
	expect(t, "results of bpf", having(got, `sys_bpf -> 0x0$`), 1)
	if t.Failed() {
		t.Logf("trace: %s", strings.Join(got, "\n"))
	}

	tapped := w.tap(m, k, v)
	byMap, byNetlink := w.strace(m, k.Ifindex)

	line(t, compare.Quality{
		Name:     "tracing",
		Question: "What do the tools see that watch from outside, of a change that is refused?",
		Netlink: fmt.Sprintf("nlmon taps the whole conversation: request and refusal, %d messages. The tracepoint netlink_extack has the text of a refusal (%q), but not of one with figures in it, which this module formats by itself. strace names the family and has the refusal (%s).",
			tapped, refused.Message, byNetlink),
		Map: fmt.Sprintf("The tracepoints have the command and an address; sys_exit_bpf says 0 though the caller gets %s. strace has the map's descriptor, the flags and the true result (%s), of key and value addresses. nlmon has nothing of it.",
			name(update), byMap),
	})
}

// tap watches the same change at both doors, which is refused, by a netdev of kind
// nlmon, and returns how many messages went.
func (w *world) tap(m int, k *family.ProgKey, v *family.Prog) int {
	w.Helper()
	if out, err := exec.Command("modprobe", "nlmon").CombinedOutput(); err != nil {
		w.Fatalf("modprobe nlmon: %v: %s", err, out)
	}
	if err := w.ns.NewLink("nlmon0", "nlmon", nil); err != nil {
		w.Fatal(err)
	}
	s := w.ns.PacketSocket(w.ns.Index("nlmon0"), unix.ETH_P_ALL)
	expect(w.T, "update under nlmon", errno(w.T, w.setMap(m, k, v, family.UpdateNoexist)), unix.EEXIST)
	msg := w.genl.Message(family.CmdProgSet, 0, request(k, v, family.UpdateNoexist))
	var a *testutil.Answer
	w.ns.Do(func() { a = w.genl.Raw(msg) })
	expect(w.T, "request under nlmon", a.Errno, unix.EEXIST)
	var seen [][]byte
	buf := make([]byte, 32<<10)
	for {
		n, _, err := unix.Recvfrom(s, buf, 0)
		if errors.Is(err, unix.EAGAIN) {
			break
		}
		if err != nil {
			w.Fatal(err)
		}
		seen = append(seen, bytes.Clone(buf[:n]))
	}
	w.ns.Del("nlmon0")
	if len(seen) != 2 {
		w.Fatalf("nlmon saw %d messages, want the request and the refusal: %x", len(seen), seen)
	}
	expect(w.T, "request that nlmon saw", bytes.Equal(seen[0], msg), true)
	expect(w.T, "refusal that nlmon saw", binary.NativeEndian.Uint16(seen[1][4:]), unix.NLMSG_ERROR)
	expect(w.T, "refusal that nlmon saw has the text", bytes.Contains(seen[1], []byte(a.Message)), true)
	return len(seen)
}

// strace has a child make the same change at both doors, and returns what strace
// has of the results.
func (w *world) strace(m int, ifindex uint32) (byMap, byNetlink string) {
	w.Helper()
	log := filepath.Join(w.TempDir(), "log")
	cmd, done := w.command(order{Ifindex: ifindex, How: unix.BPF_NOEXIST, Steps: []string{"update", "set"}}, m, w.drop,
		"strace", "-f", "-e", "trace=bpf,sendto,recvfrom", "-e", "signal=none", "-o", log)
	w.run(cmd, done)
	b, err := os.ReadFile(log)
	if err != nil {
		w.Fatal(err)
	}
	find := func(pattern string) string {
		match := regexp.MustCompile(pattern).FindStringSubmatch(string(b))
		if match == nil {
			w.Fatalf("strace has no %s:\n%s", pattern, b)
		}
		return match[1]
	}
	byMap = find(`bpf\(BPF_MAP_UPDATE_ELEM, \{map_fd=3, key=0x[0-9a-f]+, value=0x[0-9a-f]+, flags=BPF_NOEXIST\}, \d+\) += -1 (\w+)`)
	find(`sendto\(\d+, \[?\{(?:nlmsg_)?len=\d+, (?:nlmsg_)?type=(xdpctl)`)
	byNetlink = find(`\{error=-(\w+),`)
	return byMap, byNetlink
}
