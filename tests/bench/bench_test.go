// SPDX-License-Identifier: BSD-3-Clause

package main

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/xdpctl/xdpctl-nl/internal/compare"
)

func TestNumber(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0", 0.4: "0", 999.5: "1,000", 12: "12", 1234567: "1,234,567", -1: "-1", -123456: "-123,456",
	} {
		if got := number(f); got != want {
			t.Errorf("number(%v) = %q, want %q", f, got, want)
		}
	}
	if got := number(math.NaN()); got != "" {
		t.Errorf("number(NaN) = %q", got)
	}
}

func TestMeasure(t *testing.T) {
	var kept [][]byte
	f, err := measure(langGo, "op", false, func() (int, error) {
		kept = append(kept[:0], make([]byte, 100), make([]byte, 100))
		return 4, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if f.Min <= 0 || f.Min > f.Median || f.Median > f.Max || f.Entries != 4 || f.Allocs != 2 {
		t.Errorf("got %+v", f)
	}
}

func TestReport(t *testing.T) {
	r := &Report{Release: "6.1.0"}
	add := func(name, lang string, netdevs, entries int, min, allocs float64) {
		r.Figures = append(r.Figures, &Figure{Name: name, Lang: lang, Netdevs: netdevs, Min: min, Median: min,
			Entries: entries, Allocs: allocs})
	}
	add(hashLookup, langC, 0, 1, 1000, 0)
	add(lookupOwn, langC, 0, 1, 1001, 0)
	add(lookupOwn, langClient, 0, 1, 1500, 1)
	add(lookupDriver, langC, 0, 1, 1500, 0)
	// 1,000 a netdev beside 500 once; then 1,200 a netdev.
	add(statsDump, langC, 10, 10, 1050, 0)
	add(statsDump, langC, 100, 100, 1005, 0)
	add(statsDump, langC, 4000, 4000, (100*1005+3900*1200)/4000., 0)
	for phase, cost := range map[string]float64{phaseBefore: 4000, phaseLoaded: 4050, phaseAfter: 4010} {
		add("frame aborted, "+phase, langC, 0, 1, cost, 0)
		add("frame drop, "+phase, langC, 0, 1, 3000, 0)
	}
	r.finish()

	want := []Slope{{statsDump, langC, 10, 100, 1000}, {statsDump, langC, 100, 4000, 1200}}
	if diff := cmp.Diff(want, r.Slopes); diff != "" {
		t.Errorf("slopes (-want +got):\n%s", diff)
	}
	met := map[string]bool{}
	for _, target := range r.Targets {
		met[target.What] = target.Met
	}
	wantMet := map[string]bool{
		"map lookup of the module's own counters, to a hash map lookup": false,
		"map lookup with driver counters, to 1.5 hash map lookups":      true,
		"stats-get dump, a netdev from 10 to 100":                       true,
		"stats-get dump, a netdev from 100 to 4000":                     true,
		"stats-get dump: difference of the slopes in %":                 false,
		"Go client, map lookup stats own, to 1.5 of C":                  true,
		"Go client, map lookup stats own, allocations":                  false,
		"exception probe, an aborted frame":                             true,
	}
	if diff := cmp.Diff(wantMet, met); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
	if r.ExceptionProbe != 40 || r.OtherFrames != 0 {
		t.Errorf("a frame costs %v and %v", r.ExceptionProbe, r.OtherFrames)
	}
	var out strings.Builder
	r.print(&out)
	if !strings.Contains(out.String(), "5 of 8 targets met") {
		t.Errorf("printed:\n%s", &out)
	}
}

func TestSymbols(t *testing.T) {
	all := symbols{{addr: 0x401000, Sampled: compare.Sampled{Name: "main", User: true}}, {addr: 0x401100, Sampled: compare.Sampled{Name: "jitter", User: true}}}
	all, err := all.addKernel(strings.NewReader(`ffffffff81000100 T do_syscall_64
ffffffff82000000 D some_data
ffffffffc0000000 t put_entry	[xdpctl]
ffffffff81000000 t _stext
`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := all.count(strings.NewReader(`
          401000
          4010ff
          401104
ffffffff81000100
ffffffff810001ff
ffffffffc0000010
            1000
`[1:]))
	if err != nil {
		t.Fatal(err)
	}
	want := []compare.Sampled{
		{Name: "main", User: true, Samples: 2},
		{Name: "do_syscall_64", Samples: 2},
		{Name: "put_entry", Module: "xdpctl", Samples: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := (symbols{}).addKernel(strings.NewReader("0000000000000000 T do_syscall_64\n")); err == nil {
		t.Error("addresses that may not be seen are no error")
	}
	for name, text := range map[string]string{"nothing": "", "words": "no address\n"} {
		if _, err := all.count(strings.NewReader(text)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
