// SPDX-License-Identifier: BSD-3-Clause

package qualities

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpctl/xdpctl-nl/family"
	"github.com/xdpctl/xdpctl-nl/internal/compare"
)

// What of linux/audit.h is used.
const (
	auditSet     = 1001
	auditAddRule = 1011
	auditDelRule = 1012
	auditSyscall = 1300
	auditSockad  = 1306
	auditEnd     = 1320
	auditBPF     = 1334

	auditStatusEnabled = 1
	auditFilterExit    = 4
	auditAlways        = 2
	auditArch          = 11
	auditPPID          = 18
	auditEqual         = 0x40000000
	auditX86           = 0xc000003e
	auditReadLog       = 1 // multicast group
)

// auditor has the system calls bpf and sendto of this process's children
// audited until the test ends.
type auditor struct {
	t        *testing.T
	ctl, log int
	seq      uint32
}

func newAuditor(t *testing.T) *auditor {
	t.Helper()
	a := &auditor{t: t, ctl: -1, log: -1}
	for _, s := range []struct {
		fd     *int
		groups uint32
	}{{&a.ctl, 0}, {&a.log, auditReadLog}} {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_AUDIT)
		if err != nil {
			t.Fatalf("open audit: %v", err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		tv := unix.Timeval{Sec: int64(patience / time.Second)}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: s.groups}); err != nil {
			t.Fatalf("open audit: %v", err)
		}
		*s.fd = fd
	}
	a.enable(1)
	t.Cleanup(func() { a.enable(0) })
	rule := auditRule()
	a.request(auditAddRule, rule)
	t.Cleanup(func() { a.request(auditDelRule, rule) })
	return a
}

// enable is auditctl -e.
func (a *auditor) enable(on uint32) {
	a.t.Helper()
	status := make([]byte, 40)
	binary.NativeEndian.PutUint32(status, auditStatusEnabled)
	binary.NativeEndian.PutUint32(status[4:], on)
	a.request(auditSet, status)
}

// auditRule is struct audit_rule_data of
// auditctl -a always,exit -F arch=b64 -F ppid=PID -S bpf -S sendto.
func auditRule() []byte {
	const masks, fields = 64, 64
	b := binary.NativeEndian.AppendUint32(nil, auditFilterExit)
	b = binary.NativeEndian.AppendUint32(b, auditAlways)
	b = binary.NativeEndian.AppendUint32(b, 2)
	words := make([]uint32, masks+3*fields+1)
	for _, nr := range []int{unix.SYS_BPF, unix.SYS_SENDTO} {
		words[nr/32] |= 1 << (nr % 32)
	}
	for i, f := range [][2]uint32{{auditArch, auditX86}, {auditPPID, uint32(os.Getpid())}} {
		words[masks+i] = f[0]
		words[masks+fields+i] = f[1]
		words[masks+2*fields+i] = auditEqual
	}
	for _, w := range words {
		b = binary.NativeEndian.AppendUint32(b, w)
	}
	return b
}

// request sends a request and wants it acknowledged.
func (a *auditor) request(typ uint16, body []byte) {
	a.t.Helper()
	a.seq++
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	b = binary.NativeEndian.AppendUint32(b, a.seq)
	b = append(binary.NativeEndian.AppendUint32(b, 0), body...)
	if err := unix.Sendto(a.ctl, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		a.t.Fatalf("send to audit: %v", err)
	}
	buf := make([]byte, 16<<10)
	for {
		n, _, err := unix.Recvfrom(a.ctl, buf, 0)
		if err != nil {
			a.t.Fatalf("receive from audit: %v", err)
		}
		if n >= 20 && binary.NativeEndian.Uint16(buf[4:]) == unix.NLMSG_ERROR && binary.NativeEndian.Uint32(buf[8:]) == a.seq {
			if e := unix.Errno(-int32(binary.NativeEndian.Uint32(buf[16:]))); e != 0 {
				a.t.Fatalf("audit refuses %d: %v", typ, e)
			}
			return
		}
	}
}

// event is what audit says of one system call: its records by type.
type event map[uint16]string

// field is a field of the record of the call itself.
func (e event) field(name string) string {
	m := regexp.MustCompile(`\b` + name + `=(\S+)`).FindStringSubmatch(e[auditSyscall])
	if m == nil {
		return ""
	}
	return m[1]
}

// events receives the records of system calls up to one of number last.
func (a *auditor) events(last int) []event {
	a.t.Helper()
	id := regexp.MustCompile(`^audit\([0-9.]+:(\d+)\): `)
	byID := make(map[string]event)
	var list []event
	buf := make([]byte, 16<<10)
	for {
		n, _, err := unix.Recvfrom(a.log, buf, 0)
		if err != nil {
			a.t.Fatalf("receive records after %v: %v", list, err)
		}
		text := strings.TrimRight(string(buf[unix.NLMSG_HDRLEN:n]), "\x00\n")
		m := id.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		e := byID[m[1]]
		if e == nil {
			e = make(event)
			byID[m[1]] = e
		}
		typ := binary.NativeEndian.Uint16(buf[4:])
		e[typ] = text
		if typ != auditEnd || e[auditSyscall] == "" {
			continue
		}
		list = append(list, e)
		if e.field("syscall") == strconv.Itoa(last) {
			return list
		}
	}
}

// types are the types of the records, without PROCTITLE, which every call has.
func (e event) types() string {
	const proctitle = 1327
	return fmt.Sprint(slices.DeleteFunc(slices.Sorted(maps.Keys(e)), func(typ uint16) bool { return typ == proctitle }))
}

// TestAudit has a process read, and change what it must not, and looks at what
// audit has of it.
func TestAudit(t *testing.T) {
	w := newWorld(t)
	m := w.control(family.CtrlTypeXDPProg)
	w.attach(w.veth0, w.pass)
	a := newAuditor(t)
	cmd, done := w.command(order{
		Ifindex: w.veth0, How: unix.BPF_NOEXIST, Steps: []string{"load", "lookup", "update", "set"},
	}, m, w.drop)
	out := w.run(cmd, done)
	expect(t, "load in the child", out["load"].Errno, 0)
	for _, s := range []string{"update", "set"} {
		expect(t, s+" in the child", out[s].Errno, unix.EEXIST)
	}
	events := a.events(unix.SYS_SENDTO)
	one := func(nr int, cmd string) (found event) {
		t.Helper()
		for _, e := range events {
			if e.field("syscall") == strconv.Itoa(nr) && (cmd == "" || e.field("a0") == cmd) {
				found = e // the last: a load can begin anew
			}
		}
		if found == nil {
			t.Fatalf("audit has no call %d with command %q: %v", nr, cmd, events)
		}
		return found
	}
	load, update := one(unix.SYS_BPF, strconv.Itoa(unix.BPF_PROG_LOAD)), one(unix.SYS_BPF, strconv.Itoa(unix.BPF_MAP_UPDATE_ELEM))
	one(unix.SYS_BPF, strconv.Itoa(unix.BPF_MAP_LOOKUP_ELEM))
	send := one(unix.SYS_SENDTO, "")
	expect(t, "the load has the program's id", regexp.MustCompile(`prog-id=\d+ op=LOAD`).MatchString(load[auditBPF]), true)
	expect(t, "records of the update", update.types(), fmt.Sprint([]int{auditSyscall, auditEnd}))
	expect(t, "records of the request", send.types(), fmt.Sprint([]int{auditSyscall, auditSockad, auditEnd}))
	expect(t, "success of an update that is refused", update.field("success"), "yes")
	expect(t, "exit of an update that is refused", update.field("exit"), "0")
	size := 20 + len(request(wholeDev(w.veth0), program(w.drop), family.UpdateNoexist))
	expect(t, "success of a request that is refused", send.field("success"), "yes")
	expect(t, "exit of a request that is refused", send.field("exit"), strconv.Itoa(size))
	// AF_NETLINK to the kernel: no port, no group.
	expect(t, "the address has the kernel in it", strings.Contains(send[auditSockad], "saddr=100000000000000000000000"), true)

	line(t, compare.Quality{
		Name:     "audit",
		Question: "What does the kernel's audit have of the attachment of a program that is refused? Of its load it has the program's id.",
		Netlink: fmt.Sprintf("sendto of %s bytes to the kernel over netlink, success=%s. Not the family, not the request, and not the refusal (%s), which is in another message.",
			send.field("exit"), send.field("success"), name(out["set"].Errno)),
		Map: fmt.Sprintf("bpf with a0=%s, BPF_MAP_UPDATE_ELEM, and an address: not the map, key and value. It says success=%s exit=%s though the caller gets %s, since the module makes the change after audit has looked.",
			update.field("a0"), update.field("success"), update.field("exit"), name(out["update"].Errno)),
	})
}
