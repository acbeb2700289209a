// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/tests/traffic"
)

func TestParse(t *testing.T) {
	want := answer{1: {}, 2: {"packets": 7, "exception-aborted": 1 << 63}}

	got, err := parseTool([]byte(`[{"ifindex":1,"dev":"lo"},
		{"ifindex":2,"dev":"in","packets":7,"exception-aborted":9223372036854775808}]`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("xdpctl-nl (-want +got):\n%s", diff)
	}

	// Bits 4 and 18 are packets and exception-aborted.
	got, err = parseBpftool([]byte(`[
		{"key":["0x01"],"value":["0x00"],"formatted":{"key":{"ifindex":1},"value":{"present":0,"packets":5}}},
		{"key":["0x02"],"value":["0x00"],"formatted":{"key":{"ifindex":2},
			"value":{"present":262160,"packets":7,"bytes":8,"exception_aborted":9223372036854775808}}}]`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bpftool (-want +got):\n%s", diff)
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		parse func([]byte) (answer, error)
		in    string
	}{
		{"tool: no JSON", parseTool, "Device"},
		{"tool: no ifindex", parseTool, `[{"packets":1}]`},
		{"tool: no number", parseTool, `[{"ifindex":1,"packets":"many"}]`},
		{"bpftool: no BTF", parseBpftool, `[{"key":["0x01"],"value":["0x00"]}]`},
		{"bpftool: no such member", parseBpftool, `[{"formatted":{"key":{"ifindex":1},"value":{"present":16}}}]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a, err := tt.parse([]byte(tt.in)); err == nil {
				t.Errorf("no error, but %v", a)
			}
		})
	}
}

func TestDifferences(t *testing.T) {
	one := answer{1: {"packets": 1}}
	for _, tt := range []struct {
		name    string
		answers []answer
		want    int
	}{
		{"same", []answer{one, {1: {"packets": 1}}, one}, 0},
		{"number", []answer{one, one, {1: {"packets": 2}}}, 1},
		{"absent counter", []answer{one, {1: {}}, one}, 1},
		{"absent netdev", []answer{one, {}, {1: {"packets": 1}, 2: {}}}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := differences([]string{"a", "b", "c"}, tt.answers); len(got) != tt.want {
				t.Errorf("%d differences, want %d: %q", len(got), tt.want, got)
			}
		})
	}
}

// TestCompareDev shows that the table notices what is wrong.
func TestCompareDev(t *testing.T) {
	e := expectation{right, "in", stats{"packets": 3, "drop": 2}, []string{"packets", "redirect"}}
	good := stats{"packets": 3, "drop": 2, "redirect": 0, "tx": 0}
	with := func(name string, n uint64) stats {
		s := stats{}
		for k, v := range good {
			s[k] = v
		}
		s[name] = n
		return s
	}
	for _, tt := range []struct {
		name           string
		last           stats
		checked, wrong int
	}{
		{"good", good, 4, 0},
		{"number", with("drop", 1), 4, 1},
		{"not 0", with("tx", 1), 4, 1},
		{"unexpected counter", with("pass", 0), 5, 1},
		{"nothing", nil, 4, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			d := &demo{shell: shell{out: &out}}
			checked, wrong := d.compareDev(e, 2, []answer{{2: good}, {2: good}, {2: tt.last}})
			if checked != tt.checked || wrong != tt.wrong {
				t.Errorf("checked %d, wrong %d; want %d, %d\n%s", checked, wrong, tt.checked, tt.wrong, &out)
			}
			if got := strings.Count(out.String(), "differs"); got != tt.wrong {
				t.Errorf("%d lines marked, want %d\n%s", got, tt.wrong, &out)
			}
		})
	}

	// Nobody tells a counter that must be told.
	d := &demo{shell: shell{out: &strings.Builder{}}}
	if _, wrong := d.compareDev(e, 2, []answer{{2: {"packets": 3}}, {2: {"packets": 3}}}); wrong != 1 {
		t.Errorf("wrong %d, want 1", wrong)
	}
}

// TestFrames shows that no sum of verdicts is mistaken for another.
func TestFrames(t *testing.T) {
	seen := map[uint64]int{}
	for set := 1; set < 1<<len(traffic.Verdicts); set++ {
		sum := uint64(0)
		for i, v := range traffic.Verdicts {
			if set&(1<<i) != 0 {
				sum += frames[v]
			}
		}
		if other, ok := seen[sum]; ok {
			t.Errorf("verdicts %b and %b both add up to %d", set, other, sum)
		}
		seen[sum] = set
	}
}
