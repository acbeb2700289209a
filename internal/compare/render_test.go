// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// The fixtures are invented, in the shape and about the size of what is measured.
func fixture(t *testing.T, name string) *Result {
	t.Helper()
	all, err := ReadResults([]string{filepath.Join("testdata", name+".json")})
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// partial is a run on one processor that got nowhere with much.
func partial() *Result {
	return &Result{
		Release: "6.1.0", Machine: "x86_64", CPUs: 1, Unit: Nanoseconds,
		Cells: []*Cell{
			{Type: "xdp_stats", Op: "lookup", Way: Netlink, Layer: RawC, Median: 2000, NotMeasured: []string{"system-calls", "sent", "received"}},
			{Type: "xdp_stats", Op: "lookup", Way: Netlink, Layer: Client, Equal: true, Median: 1900, NotMeasured: []string{"allocs"}},
			{Type: "xdp_stats", Op: "lookup", Way: Map, Layer: RawC, Skipped: "no module"},
			{Type: "xdp_stats", Op: "lookup", Way: Map, Layer: Client},
			{Type: "xdp_port", Op: "update", Way: Map, Layer: Client, Equal: true, Min: 10, Median: 12.25, P99: 900, Max: 1000,
				Histogram: []Bucket{{12.5, 50}, {900, 49}, {1000, 1}}},
			{Type: "odd", Op: "count", Way: "carrier pigeon", Layer: "RFC 1149", Median: 1e9},
			{Type: "ip <link> & \"more\"", Op: "iterate", Way: Peer, Layer: Tool, Median: 3e6},
			{Type: "RTM_GETSTATS", Op: "lookup", Way: Peer, Layer: RawC, Skipped: "no such message"},
		},
		Iterations: []*Slope{
			{Type: "xdp_stats", Way: Netlink, Layer: RawC, Points: []Point{{Netdevs: 10, Cost: 5000}}},
			{Type: "xdp_stats", Way: Map, Layer: RawC, Points: []Point{{Netdevs: 10, Cost: 5000}, {Netdevs: 100, Cost: 50000}}, Low: 500},
			{Type: "xdp_port", Way: Map, Layer: RawC, Skipped: "no module"},
		},
	}
}

// results are what is rendered in each test, by name.
func results(t *testing.T) map[string]*Result {
	return map[string]*Result{
		"instructions": fixture(t, "instructions"),
		"ns":           fixture(t, "ns"),
		"partial":      partial(),
		"empty":        {},
	}
}

// golden holds got against a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
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
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestText(t *testing.T) {
	for name, r := range results(t) {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := WriteText(&b, r); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", b.String())
		})
	}
}

func TestCSV(t *testing.T) {
	for name, r := range results(t) {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := WriteCSV(&b, r); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".csv", b.String())
		})
	}
}

// TestCSVFields looks at what is empty and what is 0.
func TestCSVFields(t *testing.T) {
	var b bytes.Buffer
	if err := WriteCSV(&b, partial()); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	field := func(line int, name string) string {
		for i, h := range lines[0] {
			if h == name {
				return lines[line][i]
			}
		}
		t.Fatalf("no field %s", name)
		return ""
	}
	for _, tt := range []struct {
		line        int
		field, want string
	}{
		{1, "system-calls", ""}, {1, "allocs", ""}, {1, "equal", "false"}, {1, "p99", ""}, {1, "operations", ""},
		{2, "system-calls", "0"}, {2, "allocs", ""}, {2, "median", "1900"},
		{3, "skipped", "no module"}, {3, "median", ""}, {3, "system-calls", ""}, {3, "equal", ""},
		{4, "skipped", ""}, {4, "median", ""},
		{5, "operations", "100"}, {5, "median", "12.25"},
	} {
		if got := field(tt.line, tt.field); got != tt.want {
			t.Errorf("line %d, %s = %q, want %q", tt.line, tt.field, got, tt.want)
		}
	}
}

// failing is a writer that is full.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestWriteErrors(t *testing.T) {
	r := fixture(t, "ns")
	if err := WriteText(failing{}, r); err == nil {
		t.Error("WriteText says nothing of a writer that fails")
	}
	if err := WriteCSV(failing{}, r); err == nil {
		t.Error("WriteCSV says nothing of a writer that fails")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteReport(filepath.Join(file, "below"), []*Result{r}); err == nil {
		t.Error("WriteReport says nothing of a directory that cannot be made")
	}
}

// TestDeterminism renders the same results often, and read again from JSON, where
// maps have an order of their own.
func TestDeterminism(t *testing.T) {
	render := func(results []*Result) string {
		var b strings.Builder
		for _, r := range results {
			if err := WriteText(&b, r); err != nil {
				t.Fatal(err)
			}
			if err := WriteCSV(&b, r); err != nil {
				t.Fatal(err)
			}
		}
		page, err := report(results)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(page)
		files, err := Document(results)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := json.Marshal(files)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(doc)
		return b.String()
	}
	all := []*Result{fixture(t, "ns"), fixture(t, "instructions"), partial()}
	want := render(all)
	for range 5 {
		var again []*Result
		for _, r := range all {
			data, err := r.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			c := &Result{}
			if err := json.Unmarshal(data, c); err != nil {
				t.Fatal(err)
			}
			again = append(again, c)
		}
		if got := render(again); got != want {
			t.Fatal("the same results are rendered in two ways")
		}
	}
}

// random is a result with anything missing that can be.
func random(rnd *rand.Rand) *Result {
	pick := func(n int) bool { return rnd.IntN(n) == 0 }
	cost := func() float64 { return float64(rnd.IntN(1_000_000)) / float64(1+rnd.IntN(100)) }
	r := &Result{Release: "6.12.1", Machine: "x86_64", CPUs: 1 + rnd.IntN(4), Unit: []string{Instructions, Nanoseconds}[rnd.IntN(2)], Driver: "veth"}
	for range rnd.IntN(40) {
		c := &Cell{Type: "xdp_" + string(rune('a'+rnd.IntN(3))), Op: opOrder[rnd.IntN(4)], Way: wayOrder[rnd.IntN(5)],
			Layer: layerOrder[rnd.IntN(6)], Equal: pick(2), SystemCalls: float64(rnd.IntN(3))}
		if pick(5) {
			c.Skipped = "because"
		} else {
			c.Min, c.Median, c.P99, c.Max = cost(), cost(), cost(), cost()
		}
		if r.find(c) {
			continue
		}
		if c.Skipped == "" && pick(2) {
			for bound := 1.0; pick(2) || bound == 1; bound += cost() {
				c.Histogram = append(c.Histogram, Bucket{bound, 1 + rnd.IntN(100)})
			}
			c.Min, c.Median, c.P99, c.Max = c.quantile(0), c.quantile(0.5), c.quantile(0.99), c.quantile(1)
		}
		for n := range rnd.IntN(4) {
			if c.Rates == nil {
				c.Rates = map[int]float64{}
			}
			c.Rates[1<<n] = cost()
		}
		if pick(2) {
			c.Beside = "xdp_a"
		}
		r.Cells = append(r.Cells, c)
	}
	for range rnd.IntN(8) {
		s := &Slope{Type: "type " + strconv.Itoa(len(r.Iterations)) + "_" + string(rune('a'+rnd.IntN(3))), Way: wayOrder[rnd.IntN(5)], Layer: layerOrder[rnd.IntN(6)], Low: cost(), High: cost()}
		for _, n := range []int{10, 100, 1000, 4000} {
			if !pick(4) {
				s.Points = append(s.Points, Point{Netdevs: n, Cost: cost()})
			}
		}
		r.Iterations = append(r.Iterations, s)
	}
	return r
}

// find tells whether a result has such a cell.
func (r *Result) find(c *Cell) bool {
	return slices.ContainsFunc(r.Cells, func(o *Cell) bool {
		return o.Type == c.Type && o.Op == c.Op && o.Way == c.Way && o.Layer == c.Layer
	})
}

// TestRandom looks for what no result may lead to, in many of them.
func TestRandom(t *testing.T) {
	for seed := range uint64(40) {
		r := random(rand.New(rand.NewPCG(seed, 0)))
		var b strings.Builder
		if err := WriteText(&b, r); err != nil {
			t.Fatal(err)
		}
		page, err := report([]*Result{r})
		if err != nil {
			t.Fatal(err)
		}
		files, err := Document([]*Result{r})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(page)
		b.Write(files[DocumentName])
		for _, bad := range []string{"NaN", "Inf", "%!", "<no value>"} {
			if i := strings.Index(b.String(), bad); i >= 0 {
				t.Fatalf("seed %d: %s in %q", seed, bad, b.String()[max(0, i-80):i+20])
			}
		}
		checkPage(t, page)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
