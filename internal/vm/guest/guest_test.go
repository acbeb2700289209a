// SPDX-License-Identifier: BSD-3-Clause

package guest

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRecord(t *testing.T) {
	tests := []struct {
		in   string
		want record
		ok   bool
	}{
		{"6,339,5140900,-;NET: Registered PF_INET6\n", record{0, 339, "NET: Registered PF_INET6"}, true},
		{"12,7,1,-;hello; world\n", record{1, 7, "hello; world"}, true},
		{"4,8,1,c;usb\n SUBSYSTEM=usb\n DEVICE=c1:1\n", record{0, 8, "usb"}, true},
		{`4,9,1,-;\x0aBUG: x\x0ay\x0a` + "\n", record{0, 9, "BUG: x\ny"}, true},
		{"6;x\n", record{}, false},
		{"x,1,1,-;x\n", record{}, false},
		{"", record{}, false},
	}
	for _, tt := range tests {
		got, err := parseRecord(tt.in)
		if (err == nil) != tt.ok {
			t.Errorf("parseRecord(%q): %v", tt.in, err)
		}
		if got != tt.want {
			t.Errorf("parseRecord(%q) = %+v, want %+v", tt.in, got, tt.want)
		}
	}
}

func TestTrouble(t *testing.T) {
	bad := []string{
		"WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 x+0x1/0x2 [xdpctl]",
		"WARNING: possible circular locking dependency detected",
		"WARNING: suspicious RCU usage",
		"WARNING: lock held when returning to user space!",
		"BUG: KASAN: slab-use-after-free in x+0x1/0x2",
		"BUG: kernel NULL pointer dereference, address: 0000000000000000",
		"BUG: sleeping function called from invalid context at kernel/locking/mutex.c:283",
		"BUG: scheduling while atomic: x/1/0x00000002",
		"kernel BUG at net/core/dev.c:1!",
		"BUG kmalloc-64 (Tainted: G           O      ): Redzone overwritten",
		"Oops: 0000 [#1] PREEMPT SMP",
		"UBSAN: array-index-out-of-bounds in x.c:1:2",
		"INFO: task rmmod:123 blocked for more than 120 seconds.",
		"INFO: trying to register non-static key.",
		"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
		"rcu: INFO: rcu_preempt self-detected stall on CPU",
		"watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
		"unregister_netdevice: waiting for veth0 to become free. Usage count = 2",
		"ODEBUG: free active (active state 0) object: 00000000 object type: work_struct hint: x",
		"refcount_t: underflow; use-after-free.",
		"ref_tracker: veth0@00000000 has 1/2 users at",
		"list_del corruption. prev->next should be 0, but was 0",
		"general protection fault, probably for non-canonical address 0xdead: 0000 [#1]",
	}
	good := []string{
		"xdpctl: loading out-of-tree module taints kernel.",
		"xdpctl: module verification failed: signature and/or required key missing - tainting kernel",
		"FAULT_INJECTION: forcing a failure.",
		"Call Trace:",
		"IPv6: ADDRCONF(NETDEV_CHANGE): veth0: link becomes ready",
		"INFO: NMI handler (nmi_cpu_backtrace_handler) took too long to run: 1.900 msecs",
		"kmemleak: Kernel memory leak detector initialized (mem pool available: 64000)",
		"Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
		"Running RCU self tests",
		"debug: DEBUG_INFO",
	}
	for _, s := range bad {
		if got := reports([]record{{0, 1, s}}); len(got) != 1 {
			t.Errorf("not seen: %s", s)
		}
		if got := reports([]record{{1, 1, s}}); len(got) != 0 {
			t.Errorf("seen from user space: %s", s)
		}
	}
	for _, s := range good {
		if got := reports([]record{{0, 1, s}}); len(got) != 0 {
			t.Errorf("seen: %s", s)
		}
	}
}

func TestReports(t *testing.T) {
	var log []record
	for range 3 {
		log = append(log, record{text: "BUG: x"})
		for range reportLines + 10 {
			log = append(log, record{text: "line"})
		}
	}
	got := reports(log)
	if len(got) != 3 {
		t.Fatalf("%d reports, want 3", len(got))
	}
	if lines := strings.Count(got[0], "\n"); lines != reportLines {
		t.Errorf("%d lines, want %d", lines, reportLines)
	}

	got = reports([]record{{text: "BUG: x\ny"}})
	if diff := cmp.Diff([]string{"  BUG: x\n  y\n"}, got); diff != "" {
		t.Errorf("line feeds (-want +got):\n%s", diff)
	}
}

func TestTaintNames(t *testing.T) {
	tests := []struct {
		value uint64
		want  []string
	}{
		{0, nil},
		{1<<12 | 1<<13, nil},
		{1<<9 | 1<<12, []string{"warning (bit 9)"}},
		{1<<7 | 1<<40, []string{"oops or BUG (bit 7)", "unknown reason (bit 40)"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, taintNames(tt.value)); diff != "" {
			t.Errorf("taintNames(%#x) (-want +got):\n%s", tt.value, diff)
		}
	}
}

func TestParseKmemleak(t *testing.T) {
	syms := parseSymbols(strings.Join([]string{
		"ffffffff81000000 T _text",
		"ffffffffa0000100 t xdpctl_ctrl_update\t[xdpctl]",
		"ffffffffa0000000 t xdpctl_init\t[xdpctl]",
		"ffffffffa0010000 t veth_open\t[veth]",
	}, "\n"), "xdpctl")
	got := parseKmemleak(`unreferenced object 0xffff888003e4a000 (size 64):
  comm "test", pid 100, jiffies 4294900000
  backtrace (crc 1234):
    [<00000000deadbeef>] kmalloc_trace+0x20/0x90
    0xffffffffa0000110
unreferenced object 0xffff888003e4b000 (size 8):
  backtrace (crc 0):
    0xffffffff90000000
`, syms)
	want := []string{`unreferenced object 0xffff888003e4a000 (size 64):
  comm "test", pid 100, jiffies 4294900000
  backtrace (crc 1234):
    [<00000000deadbeef>] kmalloc_trace+0x20/0x90
    0xffffffffa0000110 xdpctl_ctrl_update [xdpctl]+0x10
`, `unreferenced object 0xffff888003e4b000 (size 8):
  backtrace (crc 0):
    0xffffffff90000000
`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	if got := parseKmemleak("", nil); got != nil {
		t.Errorf("reports of nothing: %q", got)
	}
}

func TestLeaked(t *testing.T) {
	before := map[bpfObject]string{{0, 1}: "program 1", {1, 1}: "map 1"}
	after := map[bpfObject]string{{1, 1}: "map 1", {0, 2}: "program 2", {3, 9}: "BTF object 9"}
	if diff := cmp.Diff([]string{"BTF object 9", "program 2"}, leaked(before, after)); diff != "" {
		t.Errorf("leaked (-want +got):\n%s", diff)
	}
	if got := leaked(before, before); len(got) != 0 {
		t.Errorf("leaked from nothing: %q", got)
	}
}
