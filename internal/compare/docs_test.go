// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocument looks at the plots of a document, and at its words.
func TestDocument(t *testing.T) {
	older := fixture(t, "instructions")
	older.Release = "6.1.0-1"
	profiles, err := ReadProfiles(profilesIn(t, "testdata"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := Document([]*Result{fixture(t, "ns"), fixture(t, "instructions"), older}, profiles...)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(files[DocumentName])
	golden(t, "document.md.txt", doc)
	images := map[string]bool{}
	for _, m := range regexp.MustCompile(`!\[[^\]]*\]\(([^)]*)\)`).FindAllStringSubmatch(doc, -1) {
		images[m[1]] = true
		if files[m[1]] == nil {
			t.Errorf("no plot %s", m[1])
		}
	}
	for name, data := range files {
		if name == DocumentName {
			continue
		}
		if !images[name] {
			t.Errorf("%s is in no document", name)
		}
		wellFormed(t, data)
	}
	// 6.1 has instructions alone, of which its distribution is; 6.12 has both.
	for _, want := range []string{"comparison/6.1-instructions-distribution.svg", "comparison/6.12-ns-distribution.svg", "comparison/6.12-instructions-layers.svg"} {
		if files[want] == nil {
			t.Errorf("no %s", want)
		}
	}
	if i, j := strings.Index(doc, "Linux 6.1.0-1"), strings.Index(doc, "Linux 6.12.0"); i > j {
		t.Error("6.12 is before 6.1")
	}
	for _, l := range strings.Split(doc, "\n") {
		if strings.HasPrefix(l, "|") && !strings.HasSuffix(l, "|") {
			t.Errorf("a line of a table does not end: %s", l)
		}
	}
}

// TestDocumentTables wants as many cells in each line of a table as in its first.
func TestDocumentTables(t *testing.T) {
	files, err := Document([]*Result{partial(), fixture(t, "ns")})
	if err != nil {
		t.Fatal(err)
	}
	columns := 0
	for _, l := range strings.Split(string(files[DocumentName]), "\n") {
		if !strings.HasPrefix(l, "|") {
			columns = 0
			continue
		}
		n := strings.Count(strings.ReplaceAll(l, `\|`, ""), "|")
		if columns == 0 {
			columns = n
		}
		if n != columns {
			t.Errorf("%d cells, want %d: %s", n-1, columns-1, l)
		}
	}
}

// TestCommittedDocument holds the document against the results beside it. There is
// none until there are results.
func TestCommittedDocument(t *testing.T) {
	docs := filepath.Join("..", "..", "docs")
	paths, err := filepath.Glob(filepath.Join(docs, DocumentDir, "results-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, pattern := range []string{DocumentName, filepath.Join(DocumentDir, "*.svg")} {
		found, err := filepath.Glob(filepath.Join(docs, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			name, err := filepath.Rel(docs, f)
			if err != nil {
				t.Fatal(err)
			}
			have[name] = true
		}
	}
	if len(paths) == 0 {
		if len(have) > 0 {
			t.Errorf("there are no results for %v", have)
		}
		return
	}
	results, err := ReadResults(paths)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if err := r.Qualify(); err != nil {
			t.Fatal(err)
		}
	}
	profiles, err := ReadProfiles(profilesIn(t, filepath.Join(docs, DocumentDir)))
	if err != nil {
		t.Fatal(err)
	}
	files, err := Document(results, profiles...)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(docs, name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is not what its results make; run go generate", name)
		}
		delete(have, name)
	}
	for name := range have {
		t.Errorf("%s is of no results", name)
	}
}

func TestDoors(t *testing.T) {
	for _, tt := range []struct {
		ratios []ratio
		want   string
	}{
		{[]ratio{{"a", 2}}, "netlink costs 2.00 times what the map does"},
		{[]ratio{{"a", 2}, {"b", 1.5}}, "netlink costs 1.50 to 2.00 times what the map does"},
		{[]ratio{{"a", 0.5}, {"b", 0.25}}, "the map costs 2.00 to 4.00 times what netlink does"},
		{[]ratio{{"a", 0.5}, {"b", 1.5}}, "neither is always cheaper: netlink costs from 0.50 (a) to 1.50 times (b) what the map does"},
		{[]ratio{{"a", 1}}, "neither is always cheaper: netlink costs from 1.00 (a) to 1.00 times (a) what the map does"},
	} {
		if got := doors(tt.ratios); got != tt.want {
			t.Errorf("doors(%v) = %q, want %q", tt.ratios, got, tt.want)
		}
	}
}

// TestFindings looks at what is said of answers that differ.
func TestFindings(t *testing.T) {
	got := partial().findings()
	want := []finding{
		{"answers that were equal", "All but 2 of 4 cells: xdp_stats lookup by netlink, C; odd count by carrier pigeon, RFC 1149; 3 cells not measured"},
		{"one lookup by netlink through this project's client, to raw C", "0.95 times"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(finding{})); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestMarshal(t *testing.T) {
	for name, r := range results(t) {
		data, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "r.json")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := ReadResults([]string{path})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, got[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if lines := bytes.Count(data, []byte("\n")); lines != 1+len(r.Cells)+len(r.Iterations)+len(r.Qualities) {
			t.Errorf("%s has %d lines", name, lines)
		}
	}
	if _, err := ReadResults([]string{"testdata/none.json"}); err == nil {
		t.Error("ReadResults reads what is not there")
	}
	if _, err := ReadResults([]string{"testdata/ns.csv"}); err == nil {
		t.Error("ReadResults reads CSV")
	}
}

func TestThin(t *testing.T) {
	var all []Bucket
	for i := range 10000 {
		all = append(all, Bucket{float64(i + 1), 1})
	}
	few := thin(all)
	if len(few) != 24 {
		t.Errorf("%d buckets are left, want 24", len(few))
	}
	sum := 0
	for _, b := range few {
		if sum += b.Count; float64(sum) != b.Bound {
			t.Errorf("%d are at most %g", sum, b.Bound)
		}
	}
	if sum != 10000 {
		t.Errorf("%d operations are left", sum)
	}
	if diff := cmp.Diff(few, thin(few)); diff != "" {
		t.Errorf("thinned twice (-once +twice):\n%s", diff)
	}
	if got := thin(nil); got != nil {
		t.Errorf("thin(nil) = %v", got)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.04: "0", -0.04: "0", 0.5: "0.5", -12.34: "-12.3", 99.94: "99.9", 99.96: "100", 100.4: "100", 999.6: "1,000",
		1234567.8: "1,234,568", -1234: "-1,234", -100: "-100",
	} {
		if got := number(v); got != want {
			t.Errorf("number(%g) = %q, want %q", v, got, want)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, tt := range []struct{ places, want []float64 }{
		{[]float64{10, 50}, []float64{10, 50}},
		{[]float64{50, 52, 48}, []float64{58, 68, 48}},
		{[]float64{99, 100, 98}, []float64{90, 100, 80}},
		{[]float64{-5}, []float64{0}},
	} {
		if diff := cmp.Diff(tt.want, spread(tt.places, 10, 0, 100)); diff != "" {
			t.Errorf("spread(%v) (-want +got):\n%s", tt.places, diff)
		}
	}
}

// TestScales wants few ticks, at places that are round, and values between them.
func TestScales(t *testing.T) {
	for _, hi := range []float64{0.3, 1, 7, 99, 1234, 50000, 3.1e8} {
		s := linear(hi, 0, 600, 80)
		if n := len(s.ticks); n < 3 || n > 9 || s.ticks[0] != 0 || s.hi < hi {
			t.Errorf("linear(%g) ends at %g, with ticks %v", hi, s.hi, s.ticks)
		}
		if got := s.at(hi); got > 600 || got < 300 {
			t.Errorf("linear(%g).at = %g", hi, got)
		}
	}
	for _, tt := range []struct{ lo, hi float64 }{{900, 1000}, {2000, 9000}, {3, 3e8}, {5, 5}, {2100, 2200}} {
		s := logarithmic(tt.lo, tt.hi, 0, 200, 42)
		if n := len(s.ticks); n < 2 || n > 6 {
			t.Errorf("logarithmic(%g, %g) has ticks %v", tt.lo, tt.hi, s.ticks)
		}
		if !s.spaced(42) {
			t.Errorf("logarithmic(%g, %g): ticks %v are too close", tt.lo, tt.hi, s.ticks)
		}
	}
	s := logarithmic(10, 1000, 0, 200, 42)
	for v, want := range map[float64]float64{10: 0, 100: 100, 1000: 200, 1: 0, 1e6: 200} {
		if got := s.at(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("at(%g) = %g, want %g", v, got, want)
		}
	}
}

// TestDistribution holds the line of a distribution against its buckets.
func TestDistribution(t *testing.T) {
	c := &Cell{Median: 10, P99: 30, Max: 35, Histogram: []Bucket{{5, 2}, {12, 58}, {30, 39}, {40, 1}}}
	want := []point{{5, 0}, {5, 0.02}, {10, 0.5}, {12, 0.6}, {30, 0.99}, {35, 1}}
	if diff := cmp.Diff(want, c.ecdf().points, cmp.AllowUnexported(point{})); diff != "" {
		t.Errorf("points (-want +got):\n%s", diff)
	}
	one := &Cell{Median: 10, P99: 10, Max: 10, Histogram: []Bucket{{12, 7}}}
	want = []point{{10, 0}, {10, 1}}
	if diff := cmp.Diff(want, one.ecdf().points, cmp.AllowUnexported(point{})); diff != "" {
		t.Errorf("points of one cost (-want +got):\n%s", diff)
	}
	for q, want := range map[float64]float64{0.01: 5, 0.5: 12, 0.6: 12, 0.61: 30, 0.99: 30, 0.999: 40, 1: 40} {
		if got := c.quantile(q); got != want {
			t.Errorf("quantile(%g) = %g, want %g", q, got, want)
		}
	}
}

// TestContrast wants 4.5 to 1 of every colour on white, as text in it needs.
func TestContrast(t *testing.T) {
	for way, col := range wayColours {
		var l float64
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			var c float64
			for _, d := range strings.ToLower(col[1+2*i : 3+2*i]) {
				c = c*16 + float64(strings.IndexRune("0123456789abcdef", d))
			}
			if c /= 255; c <= 0.04045 {
				c /= 12.92
			} else {
				c = math.Pow((c+0.055)/1.055, 2.4)
			}
			l += weight * c
		}
		if contrast := 1.05 / (l + 0.05); contrast < 4.5 {
			t.Errorf("%s in %s has a contrast of %.1f to 1", way, col, contrast)
		}
	}
}
