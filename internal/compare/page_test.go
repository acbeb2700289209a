// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// node is an element of a page.
type node struct {
	XMLName xml.Name
	Attrs   []xml.Attr `xml:",any,attr"`
	Text    string     `xml:",chardata"`
	Nodes   []node     `xml:",any"`
}

func (n *node) attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (n *node) number(t *testing.T, name string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(n.attr(name), 64)
	if err != nil {
		t.Errorf("%s of %s: %v", name, n.XMLName.Local, err)
	}
	return v
}

// all returns the elements of a name, and of a class if it is not empty.
func (n *node) all(name, class string) []*node {
	var found []*node
	for i := range n.Nodes {
		c := &n.Nodes[i]
		if c.XMLName.Local == name && (class == "" || c.attr("class") == class) {
			found = append(found, c)
		}
		found = append(found, c.all(name, class)...)
	}
	return found
}

// text is all text of an element.
func (n *node) text() string {
	s := n.Text
	for i := range n.Nodes {
		s += n.Nodes[i].text()
	}
	return strings.Join(strings.Fields(s), " ")
}

// parsePage parses a page, whose elements must nest but for those of HTML that
// have no end.
func parsePage(t *testing.T, page []byte) *node {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	root := &node{}
	if err := d.Decode(root); err != nil {
		t.Fatalf("parse the page: %v", err)
	}
	return root
}

var (
	svgs    = regexp.MustCompile(`(?s)<svg .*?</svg>`)
	figures = regexp.MustCompile(`-?[0-9]+(,[0-9]{3})*(\.[0-9]+)?`)
)

// wellFormed parses an SVG as strictly as XML can be.
func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Errorf("an SVG is not well-formed: %v", err)
			return
		}
	}
}

// checkPage holds a page to what every page must keep to.
func checkPage(t *testing.T, page []byte) {
	t.Helper()
	for _, bad := range []string{"<script", " src=", "url(", "@import", "<link", " onload"} {
		if bytes.Contains(page, []byte(bad)) {
			t.Errorf("the page is not by itself: it has %s", bad)
		}
	}
	rest := bytes.ReplaceAll(page, []byte(`xmlns="http://www.w3.org/2000/svg"`), nil)
	if bytes.Contains(rest, []byte("://")) {
		t.Error("the page refers to others")
	}
	for _, svg := range svgs.FindAll(page, -1) {
		wellFormed(t, svg)
	}
	root := parsePage(t, page)
	ids := map[string]bool{}
	var walk func(n *node)
	walk = func(n *node) {
		if id := n.attr("id"); id != "" {
			if ids[id] {
				t.Errorf("two elements have the id %s", id)
			}
			ids[id] = true
		}
		for i := range n.Nodes {
			walk(&n.Nodes[i])
		}
	}
	walk(root)
	for _, f := range root.all("figure", "") {
		checkFigure(t, f)
	}
}

// checkFigure holds a plot against the table beside it.
func checkFigure(t *testing.T, f *node) {
	t.Helper()
	title := f.all("figcaption", "")[0].text()
	cells := map[string]bool{}
	for _, c := range append(f.all("td", ""), f.all("th", "")...) {
		cells[c.text()] = true
	}
	if len(f.all("table", "")) != 1 {
		t.Errorf("%s: %d tables", title, len(f.all("table", "")))
	}
	for _, svg := range f.all("svg", "") {
		if svg.attr("role") != "img" || len(svg.all("desc", "")) != 1 || svg.all("desc", "")[0].text() == "" {
			t.Errorf("%s: not described", title)
		}
		for _, id := range strings.Fields(svg.attr("aria-labelledby")) {
			if !slices.ContainsFunc(svg.Nodes, func(n node) bool { return n.attr("id") == id && n.text() != "" }) {
				t.Errorf("%s: no %s to be labelled by", title, id)
			}
		}
		for _, v := range svg.all("text", "value") {
			if !cells[v.text()] {
				t.Errorf("%s: %s is not in its table", title, v.text())
			}
		}
		for _, b := range svg.all("g", "bar") {
			_, words, _ := strings.Cut(b.all("title", "")[0].text(), ": median ")
			for _, v := range figures.FindAllString(strings.Replace(words, "p99", "", 1), -1) {
				if !cells[v] {
					t.Errorf("%s: %s of %q is not in its table", title, v, words)
				}
			}
		}
		checkBars(t, title, svg)
		checkLines(t, title, svg, f.all("table", "")[0])
		checkRoom(t, title, svg)
	}
}

// checkBars holds the lengths of bars against the medians beside them, all on one
// axis from 0.
func checkBars(t *testing.T, title string, svg *node) {
	t.Helper()
	perPixel := 0.0
	for _, b := range svg.all("g", "bar") {
		length := 0.0
		for _, r := range b.all("rect", "") {
			length += r.number(t, "width")
		}
		var total float64
		for _, v := range b.all("text", "value") {
			if v.attr("font-size") == "" { // not of a part
				total, _ = strconv.ParseFloat(strings.ReplaceAll(v.text(), ",", ""), 64)
				break
			}
		}
		// A bar of 20 pixels or more is drawn to 2 %.
		if length < 20 {
			continue
		}
		if perPixel == 0 {
			perPixel = total / length
		}
		if got := total / length; math.Abs(got/perPixel-1) > 0.02 {
			t.Errorf("%s: a bar of %g pixels is %g, another has %g a pixel", title, length, total, perPixel)
		}
	}
}

// tickValue reads what is written at an axis.
func tickValue(t *testing.T, s string) float64 {
	t.Helper()
	unit := 1.0
	for suffix, u := range map[string]float64{"k": 1e3, "M": 1e6, " %": 0.01} {
		if strings.HasSuffix(s, suffix) {
			s, unit = strings.TrimSuffix(s, suffix), u
		}
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(s, ",", ""), 64)
	if err != nil {
		t.Errorf("tick: %v", err)
	}
	return v * unit
}

// axis reads values off pixels, by the first tick and the last.
type axis struct {
	log        bool
	at, values [2]float64
}

func newAxis(t *testing.T, ticks []*node, anchor, pixel string, offset float64) *axis {
	t.Helper()
	a := &axis{log: true}
	n := 0
	for _, e := range ticks {
		if e.attr("text-anchor") != anchor {
			continue
		}
		i := min(n, 1)
		a.at[i], a.values[i] = e.number(t, pixel)-offset, tickValue(t, e.text())
		a.log = a.log && a.values[i] != 0
		n++
	}
	if n < 2 {
		return nil
	}
	return a
}

func (a *axis) value(pixel float64) float64 {
	share := (pixel - a.at[0]) / (a.at[1] - a.at[0])
	if a.log {
		return a.values[0] * math.Pow(a.values[1]/a.values[0], share)
	}
	return a.values[0] + share*(a.values[1]-a.values[0])
}

// coordinates are the points of a path of M, L, H and V.
func coordinates(t *testing.T, path string) [][2]float64 {
	t.Helper()
	var all [][2]float64
	x, y := 0.0, 0.0
	for _, step := range regexp.MustCompile(`[A-Za-z][^A-Za-z]*`).FindAllString(path, -1) {
		var v []float64
		for _, w := range strings.Fields(step[1:]) {
			n, err := strconv.ParseFloat(w, 64)
			if err != nil {
				t.Errorf("path %s: %v", path, err)
			}
			v = append(v, n)
		}
		switch {
		case (step[0] == 'M' || step[0] == 'L') && len(v) == 2:
			x, y = v[0], v[1]
		case step[0] == 'H' && len(v) == 1:
			x = v[0]
		case step[0] == 'V' && len(v) == 1:
			y = v[0]
		default:
			t.Errorf("path %s: what is %s?", path, step)
		}
		all = append(all, [2]float64{x, y})
	}
	return all
}

// checkLines reads the lines of a plot off its axes, and holds them against the
// table: each of its points, or of a distribution its ends and its median.
func checkLines(t *testing.T, title string, svg, table *node) {
	t.Helper()
	columns := map[string]int{}
	for i, e := range table.all("th", "n") {
		columns[e.text()] = i
	}
	rows := map[string][]string{}
	heading := ""
	for _, tr := range table.all("tr", "")[1:] {
		words, cells := tr.all("th", ""), tr.all("td", "n")
		if len(words) == 1 {
			heading = words[0].text()
			continue
		}
		for _, c := range cells {
			key := heading + ": " + words[0].text() + ", " + words[1].text()
			rows[key] = append(rows[key], c.text())
		}
	}
	for _, panel := range svg.all("g", "panel") {
		head := panel.all("text", "head")[0].text()
		ticks := panel.all("text", "tick")
		x := newAxis(t, ticks, "middle", "x", 0)
		if y := newAxis(t, ticks, "end", "y", 4.5); y != nil && x != nil {
			for _, s := range panel.all("g", "series") {
				checkLine(t, title, head, s, x, y, columns, rows)
			}
		}
	}
}

func checkLine(t *testing.T, title, head string, s *node, x, y *axis, columns map[string]int, rows map[string][]string) {
	t.Helper()
	name := s.all("title", "")[0].text()
	points := coordinates(t, s.all("path", "")[0].attr("d"))
	row, ok := rows[head+": "+name]
	if !ok {
		// Of a distribution the panel names the way, of peers the line the type.
		op := title[strings.LastIndex(title, "one ")+len("one "):]
		typ, _, _ := strings.Cut(head, ", ")
		row = rows[typ+" "+strings.TrimSuffix(strings.Replace(op, "iteration", "iterate", 1), " is distributed")+": "+name]
	}
	if head == "peers" {
		typ, layer, _ := strings.Cut(name, ", ")
		row = rows[typ+": peer, "+layer]
	}
	// A pixel is drawn to a tenth, and a cell rounded to one or a tenth.
	near := func(what, cell string, a *axis, pixel float64) {
		got, blur := a.value(pixel), math.Abs(a.value(pixel+0.2)-a.value(pixel-0.2))
		want, err := strconv.ParseFloat(strings.ReplaceAll(cell, ",", ""), 64)
		if err != nil || math.Abs(got-want) > blur+0.5 {
			t.Errorf("%s, %s, %s: %s is drawn as %g, and %q in the table", title, head, name, what, got, cell)
		}
	}
	if len(row) == 0 {
		t.Errorf("%s, %s: %s is not in the table", title, head, name)
		return
	}
	if median, ok := columns["median"]; ok {
		i := slices.IndexFunc(points, func(p [2]float64) bool { return y.value(p[1]) > 0.499 })
		near("the median", row[median], x, points[i][0])
		return
	}
	drawn := 0
	for i, cell := range row[:min(len(row), len(columns))] {
		if cell == absent || drawn == len(points) {
			continue
		}
		near(strconv.Itoa(i), cell, y, points[drawn][1])
		drawn++
	}
	if drawn < len(points) {
		t.Errorf("%s, %s, %s: %d points, of which the table has %d", title, head, name, len(points), drawn)
	}
}

// checkRoom looks for text that is cut at the edges, and for ticks that touch.
func checkRoom(t *testing.T, title string, svg *node) {
	t.Helper()
	box := strings.Fields(svg.attr("viewBox"))
	w, _ := strconv.ParseFloat(box[2], 64)
	h, _ := strconv.ParseFloat(box[3], 64)
	type span struct{ from, to float64 }
	ticks := map[string][]span{}
	for _, e := range svg.all("text", "") {
		if e.attr("transform") != "" {
			continue
		}
		x, y := e.number(t, "x"), e.number(t, "y")
		size := textSize
		if e.attr("font-size") != "" {
			size = e.number(t, "font-size")
		}
		width := textWidth(e.text(), size)
		switch e.attr("text-anchor") {
		case "middle":
			x -= width / 2
		case "end":
			x -= width
		}
		if x < -1 || x+width > w+1 || y < size/2 || y > h {
			t.Errorf("%s: %q is cut: from %g to %g of %g, at %g of %g", title, e.text(), x, x+width, w, y, h)
		}
		if e.attr("class") == "tick" && e.attr("text-anchor") == "middle" {
			ticks[e.attr("y")] = append(ticks[e.attr("y")], span{x, x + width})
		}
	}
	for _, row := range ticks {
		slices.SortFunc(row, func(a, b span) int { return int(math.Copysign(1, a.from-b.from)) })
		for i := 1; i < len(row); i++ {
			if row[i].from < row[i-1].to {
				t.Errorf("%s: ticks touch, from %g and to %g", title, row[i].from, row[i-1].to)
			}
		}
	}
}

func TestReport(t *testing.T) {
	all := results(t)
	for name, want := range map[string][]*Result{
		"full":    {all["instructions"], all["ns"]},
		"partial": {all["partial"]},
		"empty":   {all["empty"]},
		"none":    nil,
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new")
			if err := WriteReport(dir, want); err != nil {
				t.Fatal(err)
			}
			page, err := os.ReadFile(filepath.Join(dir, ReportName))
			if err != nil {
				t.Fatal(err)
			}
			checkPage(t, page)
			golden(t, "report-"+name+".txt", outline(parsePage(t, page)))
		})
	}
}

// outline is what the structure of a page is: headings, plots with their panels or
// groups of bars, and tables with their columns and rows.
func outline(root *node) string {
	var b strings.Builder
	var walk func(n *node)
	walk = func(n *node) {
		switch n.XMLName.Local {
		case "h1", "h2", "h3", "figcaption":
			b.WriteString(n.XMLName.Local + " " + n.text() + "\n")
		case "svg":
			for _, e := range n.all("text", "head") {
				if s := e.text(); s != "cost" && s != "p99" {
					b.WriteString("  plot " + s + "\n")
				}
			}
			b.WriteString("  bars " + strconv.Itoa(len(n.all("g", "bar"))) + ", lines " + strconv.Itoa(len(n.all("g", "series"))) + "\n")
			return
		case "table":
			b.WriteString("  table " + strconv.Itoa(len(n.all("tr", ""))) + " rows:")
			for _, e := range n.all("th", "") {
				if e.attr("scope") == "col" {
					b.WriteString(" [" + e.text() + "]")
				}
			}
			b.WriteString("\n")
			return
		}
		for i := range n.Nodes {
			walk(&n.Nodes[i])
		}
	}
	walk(root)
	return b.String()
}
