// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

//go:generate go run ../comparedoc

// Names below docs/: the document, and the directory of its plots and of the
// results that it is made from.
const (
	DocumentName = "comparison.md"
	DocumentDir  = "comparison"
)

//go:embed comparison.md.tmpl
var documentTemplate string

// ReadResults reads results from files.
func ReadResults(paths []string) ([]*Result, error) {
	var all []*Result
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("read results: %w", err)
		}
		r := &Result{}
		if err := json.Unmarshal(data, r); err != nil {
			return nil, fmt.Errorf("read results of %s: %w", p, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// elements are what Marshal begins lines with.
var elements = regexp.MustCompile(`([\[,])(\{"(?:type|name)":)`)

// Marshal returns a result as JSON with a line for each cell. A quote within a
// string has a backslash before it, so nothing but a cell begins a line.
func (r *Result) Marshal() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("encode results: %w", err)
	}
	return elements.ReplaceAll(b.Bytes(), []byte("$1\n$2")), nil
}

// FileName is what the results of a kernel and a unit are called in DocumentDir.
func (r *Result) FileName() string {
	unit := r.Unit
	if unit == Instructions {
		unit = "instructions"
	}
	return "results-" + r.kernel() + "-" + unit + ".json"
}

// releaseBegin is the beginning of a release.
var releaseBegin = regexp.MustCompile(`^[0-9]+\.[0-9]+`)

// kernel is the release as far as it matters.
func (r *Result) kernel() string { return kernel(r.Release) }

func kernel(release string) string {
	if v := releaseBegin.FindString(release); v != "" {
		return v
	}
	return release
}

// Thin leaves out the qualities, which are kept elsewhere, and merges buckets, until
// the distributions are few enough lines to be kept in the repository.
func (r *Result) Thin() {
	r.Qualities = nil
	for _, c := range r.Cells {
		c.Histogram = thin(c.Histogram)
	}
}

// thin keeps a bucket for each twentieth of the operations, and more in the tail.
func thin(all []Bucket) []Bucket {
	total, sum, kept := 0, 0, 0
	for _, b := range all {
		total += b.Count
	}
	step := func(n int) int {
		s := n * 20 / total
		for _, tail := range []int{980, 990, 995, 999} {
			if n*1000 >= total*tail {
				s++
			}
		}
		return s
	}
	var few []Bucket
	for i, b := range all {
		sum += b.Count
		if i == len(all)-1 || step(sum) != step(kept) {
			few = append(few, Bucket{b.Bound, sum - kept})
			kept = sum
		}
	}
	return few
}

// Document returns the document and its plots, by their paths below docs/.
func Document(results []*Result, profiles ...*Profile) (map[string][]byte, error) {
	results = slices.Clone(results)
	slices.SortStableFunc(results, func(a, b *Result) int {
		return cmp.Or(compareKernels(a.kernel(), b.kernel()), cmp.Compare(unitRank(a), unitRank(b)))
	})
	files := map[string][]byte{}
	unit, same := summedUp(results)
	page := documentPage{Unit: unit, Overall: overall(same), Findings: findingsTable(results).markdown(), Qualities: qualities(results), Profile: profileSection(profiles)}
	for _, r := range results {
		page.Results = append(page.Results, documentResult{r.headline(), r.netdev(), r.glance().markdown(), r.noRatesIf()})
	}
	for _, k := range documentPlots {
		section := documentSection{Title: k.title, Text: k.text}
		for _, r := range k.choose(results) {
			id := strings.TrimSuffix(strings.TrimPrefix(r.FileName(), "results-"), ".json") + "-" + k.name
			f := k.draw(r, id)
			if f == nil {
				continue
			}
			p := documentPlot{Title: f.title + ": Linux " + r.kernel() + ", " + r.Unit, Desc: f.desc, Table: f.table.markdown()}
			if f.more != nil {
				p.More = f.more.markdown()
			}
			if f.svg != "" {
				p.Path = path.Join(DocumentDir, id+".svg")
				files[p.Path] = []byte(f.svg)
			}
			section.Plots = append(section.Plots, p)
		}
		if len(section.Plots) == 0 {
			section.Missing = true
		}
		page.Sections = append(page.Sections, section)
	}
	t, err := template.New("document").Funcs(template.FuncMap{"cell": markdownCell}).Parse(documentTemplate)
	if err != nil {
		return nil, fmt.Errorf("parse the document's template: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, page); err != nil {
		return nil, fmt.Errorf("fill the document: %w", err)
	}
	files[DocumentName] = b.Bytes()
	return files, nil
}

// What the template reads.
type (
	documentPage struct {
		Unit      string // of Overall
		Overall   []string
		Findings  string
		Results   []documentResult
		Sections  []documentSection
		Qualities []reportQualities
		Profile   string
	}
	documentResult struct {
		Headline, Netdev, Glance, NoRates string
	}
	documentSection struct {
		Title, Text string
		Plots       []documentPlot
		Missing     bool
	}
	documentPlot struct{ Title, Desc, Path, Table, More string }
)

// plotKind is a plot of the document, drawn for each kernel. Those of time are of
// nanoseconds, the others of instructions, if there is a choice.
type plotKind struct {
	name, title, text string
	time              bool
	draw              func(r *Result, id string) *figure
}

var documentPlots = []plotKind{
	{"layers", "Who costs what", "The kernel costs what raw C does; of that the door costs what raw C costs more by it than by the other door. " +
		"A library costs what is above raw Go on the same socket or file descriptor.",
		false, func(r *Result, id string) *figure { return r.layersFigure(id, "lookup") }},
	{"updates", "Changes", "The same for updates.",
		false, func(r *Result, id string) *figure { return r.layersFigure(id, "update") }},
	{"scaling", "Iteration", "What one netdev costs when all are iterated over.",
		false, func(r *Result, id string) *figure { return r.scalingFigure(id) }},
	{"distribution", "Distribution", "How the costs of single lookups are distributed.",
		true, func(r *Result, id string) *figure { return r.distributionFigure(id, "lookup") }},
	{"throughput", "Throughput", "Lookups a second, by callers at once.",
		true, func(r *Result, id string) *figure { return r.throughputFigure(id, "lookup") }},
	{"servers", "Without the module", "The server in userspace has the same operations. It asks the kernel by several system calls for what the module looks up.",
		false, func(r *Result, id string) *figure { return r.serversFigure(id, "lookup") }},
	{"peers", "Peers", "What others cost for the same information, or the part of it that they have. None has exactly the same.",
		false, func(r *Result, id string) *figure { return r.peersFigure(id, "lookup").with(r.peerRatios()) }},
	{"tools", "Tools", "A process for each request.",
		true, func(r *Result, id string) *figure { return r.toolsFigure(id) }},
}

// choose returns one result a kernel, of the unit that fits if there is one that
// can be drawn.
func (k *plotKind) choose(results []*Result) []*Result {
	want := Instructions
	if k.time {
		want = Nanoseconds
	}
	best := map[string]*Result{}
	var kernels []string
	for _, r := range results {
		if k.draw(r, "x") == nil {
			continue
		}
		old := best[r.kernel()]
		if old == nil {
			kernels = append(kernels, r.kernel())
		}
		if old == nil || r.Unit == want {
			best[r.kernel()] = r
		}
	}
	var all []*Result
	for _, v := range kernels {
		all = append(all, best[v])
	}
	return all
}

// with gives a figure another table that has all of its figures, if it is there.
func (f *figure) with(t *sheet) *figure {
	if f != nil {
		f.more = t
	}
	return f
}

// compareKernels orders 6.1 before 6.12.
func compareKernels(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		m, err1 := strconv.Atoi(x[i])
		n, err2 := strconv.Atoi(y[i])
		if err1 != nil || err2 != nil {
			return cmp.Compare(a, b)
		}
		if m != n {
			return cmp.Compare(m, n)
		}
	}
	return cmp.Compare(len(x), len(y))
}

func unitRank(r *Result) int { return rank(unitOrder, r.Unit) }

// noRatesIf is noRates if there are none.
func (r *Result) noRatesIf() string {
	if len(r.callers()) > 0 {
		return ""
	}
	return capital(r.noRates()) + "."
}

// markdown writes the table as Markdown has them.
func (t *sheet) markdown() string {
	if len(t.rows) == 0 {
		return capital(absent) + "."
	}
	var b strings.Builder
	line := func(cells []string) {
		b.WriteString("|")
		for i := range t.head {
			c := ""
			if i < len(cells) {
				c = cells[i]
			}
			b.WriteString(" " + c + " |")
		}
		b.WriteString("\n")
	}
	escaped := func(cells ...string) []string {
		for i, c := range cells {
			cells[i] = markdownCell(c)
		}
		return cells
	}
	line(t.head)
	for i := range t.head {
		if i < t.labels {
			b.WriteString("|---")
		} else {
			b.WriteString("|--:")
		}
	}
	b.WriteString("|\n")
	for _, r := range t.rows {
		switch {
		case r.heading != "":
			line([]string{"**" + markdownCell(r.heading) + "**"})
		case r.rest != "":
			line(escaped(append(slices.Clone(r.cells), r.rest)...))
		default:
			line(escaped(slices.Clone(r.cells)...))
		}
	}
	for _, n := range t.notes {
		b.WriteString("\n" + n + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// markdownCell is text in a cell of a table.
func markdownCell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "\n", " ").Replace(s)
}
