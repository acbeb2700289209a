// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// ReportName is what WriteReport calls its page.
const ReportName = "index.html"

//go:embed report.html.tmpl
var reportTemplate string

// figure is a plot, and the table with its figures. Where nothing could be
// drawn there is no SVG.
type figure struct {
	id, title, desc string
	table           *sheet
	more            *sheet // what else there is to say, or nil
	svg             string
}

// WriteReport writes one page about all results to dir, which is made if need be.
// It needs nothing else to be read.
func WriteReport(dir string, results []*Result) error {
	page, err := report(results)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the report's directory: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ReportName), page, 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// What the template reads.
type (
	reportPage struct {
		Results   []reportResult
		Qualities []reportQualities
	}
	reportResult struct {
		ID, Headline, Netdev string
		Figures              []reportFigure
		NoRates              string
		Glance, All          reportTable
	}
	reportFigure struct {
		ID, Title, Desc string
		SVG             template.HTML
		Table           reportTable
	}
	reportTable struct {
		Title   string
		Head    []reportCell
		Rows    []reportRow
		Notes   []string
		Columns int
	}
	reportRow struct {
		Heading string
		Cells   []reportCell
		Rest    string
		Span    int
	}
	reportCell struct {
		Text         string
		Number, Head bool
	}
	reportQualities struct {
		Releases string
		Lines    []Quality
	}
)

func report(results []*Result) ([]byte, error) {
	t, err := template.New("report").Parse(reportTemplate)
	if err != nil {
		return nil, fmt.Errorf("parse the report's template: %w", err)
	}
	page := reportPage{Qualities: qualities(results)}
	for i, r := range results {
		page.Results = append(page.Results, r.forReport(fmt.Sprintf("r%d", i+1)))
	}
	var b bytes.Buffer
	if err := t.Execute(&b, page); err != nil {
		return nil, fmt.Errorf("fill the report: %w", err)
	}
	return b.Bytes(), nil
}

func (r *Result) forReport(id string) reportResult {
	p := reportResult{ID: id, Headline: r.headline(), Netdev: r.netdev(), Glance: r.glance().forReport(),
		All: r.costs("All that was measured of control types", true, ofOwn).forReport()}
	for _, f := range r.figures(id) {
		p.Figures = append(p.Figures, reportFigure{f.id, f.title, f.desc, template.HTML(f.svg), f.table.forReport()})
	}
	if len(r.callers()) == 0 {
		p.NoRates = capital(r.noRates())
	}
	return p
}

// figures draws all there is to draw.
func (r *Result) figures(id string) []*figure {
	ops := opsOf(r.groups(ofOwn))
	var all []*figure
	for _, op := range ops {
		all = append(all, r.layersFigure(id+"-layers-"+op, op))
	}
	for _, op := range ops {
		all = append(all, r.serversFigure(id+"-servers-"+op, op))
	}
	for _, op := range ops {
		all = append(all, r.distributionFigure(id+"-distribution-"+op, op))
	}
	all = append(all, r.scalingFigure(id+"-scaling"))
	for _, op := range ops {
		all = append(all, r.throughputFigure(id+"-throughput-"+op, op))
	}
	for _, op := range opsOf(r.groups(func(c *Cell) bool { return c.Way == Peer })) {
		all = append(all, r.peersFigure(id+"-peers-"+op, op))
	}
	all = append(all, r.toolsFigure(id+"-tools"))
	return slices.DeleteFunc(all, func(f *figure) bool { return f == nil })
}

func (t *sheet) forReport() reportTable {
	p := reportTable{Title: t.title, Notes: t.notes, Columns: len(t.head)}
	for i, h := range t.head {
		p.Head = append(p.Head, reportCell{h, i >= t.labels, true})
	}
	for _, r := range t.rows {
		row := reportRow{Heading: r.heading, Rest: r.rest, Span: len(t.head) - len(r.cells)}
		for i, c := range r.cells {
			row.Cells = append(row.Cells, reportCell{c, i >= t.labels, i < t.labels})
		}
		p.Rows = append(p.Rows, row)
	}
	return p
}

// qualities returns what no stopwatch shows, once if it is the same on several
// kernels.
func qualities(results []*Result) []reportQualities {
	var all []reportQualities
	for _, r := range results {
		if len(r.Qualities) == 0 {
			continue
		}
		i := slices.IndexFunc(all, func(q reportQualities) bool { return reflect.DeepEqual(q.Lines, r.Qualities) })
		switch {
		case i < 0:
			all = append(all, reportQualities{r.Release, r.Qualities})
		case !slices.Contains(strings.Split(all[i].Releases, ", "), r.Release):
			all[i].Releases += ", " + r.Release
		}
	}
	return all
}
