// SPDX-License-Identifier: BSD-3-Clause

package native

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/xdpctl/xdpctl-nl/internal/drvgen"
)

// rawNames are the names that the self-tests of the module call counters by.
var rawNames = map[string]raw{
	"rawPackets": rawPackets, "rawBytes": rawBytes, "rawAborted": rawAborted, "rawDrop": rawDrop,
	"rawInvalid": rawInvalid, "rawPass": rawPass, "rawRedirect": rawRedirect,
	"rawRedirectErrors": rawRedirectErrors, "rawTX": rawTX, "rawTXErrors": rawTXErrors,
	"rawXmitPackets": rawXmitPackets, "rawXmitBytes": rawXmitBytes, "rawXmitErrors": rawXmitErrors,
	"rawXmitFull": rawXmitFull,
}

var excNames = map[string]excKind{
	"ABORTED": excAborted, "TX": excTX, "REDIRECT": excRedirect, "INVALID": excInvalid,
	"REDIRECT_ERR": excRedirectErr,
}

// TestModuleVectors does the self-tests of the module in Go.
func TestModuleVectors(t *testing.T) {
	src, err := os.ReadFile("../kmod/selftest/drvstats_test.c")
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := drvgen.Vectors(string(src))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) { testVector(t, &v) })
	}
}

func testVector(t *testing.T, v *drvgen.Vector) {
	d := findDriver(v.Parent)
	if d == nil {
		t.Fatalf("there is no driver %s", v.Parent)
	}
	l := parseLayout(d, v.Strings)
	if l.nQueues != v.Queues {
		t.Errorf("%d queues, want %d", l.nQueues, v.Queues)
	}
	w := witness{exc: &exceptions{}, all: !v.SomeExc, redirect: true, allSeen: v.AllSeen, oneQueue: !v.SeveralQueues}
	for origin, m := range v.Exceptions {
		to := map[string]*[excKinds]uint64{"NATIVE": &w.exc.native, "GENERIC": &w.exc.generic, "MAP": &w.exc.inMap}[origin]
		for kind, n := range m {
			to[excNames[kind]] = n
		}
	}
	dev := l.sum(v.Values, noQueue)
	whole := dev
	if d.derive != nil {
		d.derive(&whole, &w)
	}
	var want uint32
	for _, name := range v.Have {
		want |= bit(rawNames[name])
	}
	if got := whole.have & (1<<rawExact - 1); got != want {
		t.Errorf("has counters %#x, want %#x", got, want)
	}
	for _, e := range v.Expect {
		c := whole
		if e.Queue != "ALL" {
			q, err := strconv.ParseUint(e.Queue, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			c = l.sum(v.Values, uint32(q))
			if d.derive != nil {
				w := w
				w.dev = &dev
				d.derive(&c, &w)
			}
		}
		r, ok := rawNames[e.Raw]
		if !ok || !countsHave(&c, r) || c.n[r] != e.Value {
			t.Errorf("%s of queue %s is %d (known %v), want %d", e.Raw, e.Queue, c.n[r], countsHave(&c, r), e.Value)
		}
	}
}

// TestMatchString has what test_match() of the module has.
func TestMatchString(t *testing.T) {
	long := "rx_queue_0_xdp_tx_errors_and_mor"
	for _, tc := range []struct {
		format, s string
		queue     uint32
		ok        bool
	}{
		{long, long, 0, true},
		{"rx_queue_%u_xdp_tx_errors", long, 0, false},
		{"a%u", "a12", 12, true},
		{"a%u", "a", 0, false},
		{"a%u", "a-1", 0, false},
		{"a%ub", "a1", 0, false},
		{"a%u", "a4294967295", 0, false},
		{"Rx ring %u x", "Rx ring  7 x", 7, true},
		{"TC%u Queue[%u] x", "TC1 Queue[5] x", 5, true},
	} {
		queue, ok := matchString(tc.format, tc.s)
		if ok != tc.ok || ok && queue != tc.queue {
			t.Errorf("%q as %q: queue %d, %v; want %d, %v", tc.s, tc.format, queue, ok, tc.queue, tc.ok)
		}
	}
	if got := splitStrings([]byte(long + "x" + strings.Repeat("\x00", 31))); len(got) != 2 || got[0] != long || got[1] != "x" {
		t.Errorf("strings are %q", got)
	}
}

// TestExcKnown has what a driver's table may not take for known.
func TestExcKnown(t *testing.T) {
	one := &exceptions{native: [excKinds]uint64{excTX: 1}}
	for _, tc := range []struct {
		name  string
		w     witness
		kinds uint32
		n     uint64
		ok    bool
	}{
		{"all", witness{exc: one, all: true}, bit(excTX), 1, true},
		{"not all", witness{exc: one}, bit(excTX), 0, false},
		{"nothing known", witness{all: true}, bit(excTX), 0, false},
		{"redirects not counted", witness{exc: one, all: true}, bit(excRedirectErr), 0, false},
		{"redirects counted", witness{exc: one, all: true, redirect: true}, bit(excRedirectErr), 0, true},
		{"of a queue", witness{exc: one, all: true, dev: &counts{}}, bit(excTX), 1, false},
		{"of a queue, none", witness{exc: one, all: true, dev: &counts{}}, bit(excAborted), 0, true},
		{"of the only queue", witness{exc: one, all: true, dev: &counts{}, oneQueue: true}, bit(excTX), 1, true},
		{"generic", witness{exc: &exceptions{generic: [excKinds]uint64{1}}, all: true}, bit(excAborted), 0, false},
	} {
		var n uint64
		if ok := excKnown(&tc.w, tc.kinds, &n); ok != tc.ok || ok && n != tc.n {
			t.Errorf("%s: %d, %v; want %d, %v", tc.name, n, ok, tc.n, tc.ok)
		}
	}
}
