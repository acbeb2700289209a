// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"fmt"
	"html"
	"slices"
)

// segment is a part of a bar.
type segment struct {
	kind  string
	value float64
}

// bar is a cost, whole or in parts, with a whisker to the 99th percentile.
type bar struct {
	label    string
	way      Way
	segments []segment
	total    float64
	p99      float64 // 0 if not known
}

// barGroup is bars with a heading.
type barGroup struct {
	label string
	bars  []bar
}

// legendEntry explains a fill.
type legendEntry struct{ kind, label string }

// Places in a plot of bars.
const (
	minLeft   = 180.0 // the labels are to the left of it
	maxLeft   = 400.0
	p99At     = 952.0
	barHeight = 15.0
	barStep   = 22.0
	headStep  = 24.0
)

// barPlot is where the columns of a plot of bars are.
type barPlot struct {
	axis                scale
	left, right, costAt float64 // both ends of the axis, and the end of the costs
	unit                string
}

// drawBars draws horizontal bars on one axis from 0.
func drawBars(id, title, desc, unit string, groups []barGroup, legend []legendEntry) string {
	c := &canvas{id: id}
	most, tail := 0.0, 0.0
	height, labels := 0.0, 0.0
	for _, g := range groups {
		height += headStep + barStep*float64(len(g.bars)) + 6
		for _, b := range g.bars {
			most, tail = max(most, b.total), max(tail, b.p99)
			labels = max(labels, textWidth(b.label, textSize))
		}
	}
	p := barPlot{unit: unit, left: min(maxLeft, max(minLeft, labels+16))}
	p.costAt = p99At - max(textWidth(number(tail), textSize), 30) - 20
	p.right = p.costAt - max(textWidth(number(most), textSize), 60) - 26
	// A tail may take half again as much room as the bars; what is longer ends in
	// an arrow.
	p.axis = linear(max(most*1.02, min(tail, most*1.5)), p.left, p.right, textWidth(number(most), textSize)+30)

	tick := number
	if most >= 1e6 {
		tick = short
	}
	y := 12.0
	if len(legend) > 0 {
		y = c.barLegend(legend)
	}
	c.words(p.costAt, y+8, "head", "end", `font-weight="bold"`, "cost")
	c.words(p99At, y+8, "head", "end", `font-weight="bold"`, "p99")
	top, bottom := y+14, y+14+height
	for _, v := range p.axis.ticks {
		c.line(p.axis.at(v), top, p.axis.at(v), bottom, "#d9d9d9", 1)
		c.words(p.axis.at(v), bottom+18, "tick", "middle", "", tick(v))
	}
	c.words((p.left+p.right)/2, bottom+38, "label", "middle", "", unit+" an operation")
	y = top
	for _, g := range groups {
		c.words(8, y+17, "head", "start", `font-weight="bold"`, g.label)
		y += headStep
		for _, b := range g.bars {
			c.bar(&p, &b, y, g.label)
			y += barStep
		}
		y += 6
	}
	c.line(p.left, top, p.left, bottom, "#1a1a1a", 1.2)
	return c.finish(title, desc, plotWidth, bottom+48)
}

// barLegend explains the fills, and returns where it ends.
func (c *canvas) barLegend(legend []legendEntry) float64 {
	x, y := 8.0, 6.0
	for _, l := range legend {
		w := 34 + textWidth(l.label, textSize) + 16
		if x+w > plotWidth {
			x, y = 8, y+24
		}
		c.part(l.kind, Netlink, x, y, 26, 14)
		c.words(x+33, y+12, "label", "start", "", l.label)
		x += w
	}
	return y + 34
}

// bar draws one bar.
func (c *canvas) bar(p *barPlot, b *bar, y float64, heading string) {
	axis := &p.axis
	tip := fmt.Sprintf("%s, %s: %s", heading, b.label, number(b.total))
	if b.p99 > 0 {
		tip += ", p99 " + number(b.p99)
	}
	c.printf(`<g class="bar"><title>%s %s</title>`, html.EscapeString(tip), html.EscapeString(p.unit))
	c.words(p.left-8, y+12.5, "label", "end", "", elide(b.label, p.left-16))
	from := 0.0
	for i, s := range b.segments {
		to := min(b.total, from+s.value)
		if i == len(b.segments)-1 {
			to = b.total
		}
		if to <= from {
			continue
		}
		x, w := axis.at(from), axis.at(to)-axis.at(from)
		c.part(s.kind, b.way, x, y, w, barHeight)
		if len(b.segments) > 1 {
			c.segmentLabel(s, x+w/2, y, w, to-from)
		}
		from = to
	}
	c.words(p.costAt, y+12.5, "value", "end", "", number(b.total))
	if b.p99 > 0 {
		c.words(p99At, y+12.5, "value", "end", `fill="#444444"`, number(b.p99))
		c.whisker(axis.at(b.total), axis.at(b.p99), y+barHeight/2, b.p99 > axis.hi)
	}
	c.printf("</g>")
}

// segmentLabel writes what a part costs into it, if there is room. What was cut
// to fit the bar has no label: the table has the figure.
func (c *canvas) segmentLabel(s segment, x, y, room, drawn float64) {
	label := number(s.value)
	if textWidth(label, smallSize)+8 > room || number(drawn) != label {
		return
	}
	look := fmt.Sprintf(`font-size="%s" stroke="#ffffff" stroke-width="4" stroke-linejoin="round" paint-order="stroke"`, px(smallSize))
	if s.kind == fillKernel {
		look = fmt.Sprintf(`font-size="%s" fill="#ffffff"`, px(smallSize))
	}
	c.words(x, y+12, "value", "middle", look, label)
}

// whisker goes from the cost to the 99th percentile, or off the axis.
func (c *canvas) whisker(from, to, y float64, beyond bool) {
	c.line(from, y, to, y, "#1a1a1a", 1.4)
	if beyond {
		c.printf(`<path d="M%s %sl8 4l-8 4z" fill="#1a1a1a"/>`, px(to), px(y-4))
		return
	}
	c.line(to, y-4, to, y+4, "#1a1a1a", 1.4)
}

// layersFigure tells the layers of one operation apart, by the doors.
func (r *Result) layersFigure(id, op string) *figure {
	groups := ofOp(r.groups(func(c *Cell) bool { return ofOwn(c) && ofDoor(c) }), op)
	var bars []barGroup
	kinds := map[string]bool{}
	for _, g := range groups {
		bg := barGroup{label: g.typ + " " + g.op}
		for _, p := range g.apart() {
			b := p.bar()
			for _, s := range b.segments {
				kinds[s.kind] = kinds[s.kind] || s.value > 0
			}
			bg.bars = append(bg.bars, b)
		}
		if len(bg.bars) > 0 {
			bars = append(bars, bg)
		}
	}
	if len(bars) == 0 {
		return nil
	}
	var legend []legendEntry
	for _, l := range []legendEntry{
		{fillKernel, "kernel (raw C)"}, {fillDoor, "of raw C, more by this door"},
		{fillRuntime, "Go (raw Go less C)"}, {fillLibrary, "library (the rest)"},
		{fillUnknown, "not told apart: no raw C"},
	} {
		if kinds[l.kind] {
			legend = append(legend, l)
		}
	}
	title := fmt.Sprintf("What one %s costs, by layer", noun(op))
	desc := fmt.Sprintf("Horizontal bars from 0, in %s. Each is the cost of one way and library, cut into what the kernel, "+
		"the door, Go and the library take; the line goes on to the 99th percentile. %s.", r.Unit, r.headline())
	t := r.layers(groups)
	return &figure{id: id, title: title, desc: desc, table: t,
		svg: drawBars(id, title, desc, r.Unit, bars, legend)}
}

// bar cuts the cost of a library into its layers.
func (p *parts) bar() bar {
	c := p.cell
	b := bar{label: wayLayer(c.Way, c.Layer), way: c.Way, total: p.cost, p99: c.P99}
	if !p.hasC() {
		b.segments = []segment{{fillUnknown, p.cost}}
		return b
	}
	b.segments = []segment{{fillKernel, p.c - p.door}, {fillDoor, p.door}, {fillRuntime, p.runtime}, {fillLibrary, p.library}}
	b.segments = slices.DeleteFunc(b.segments, func(s segment) bool { return s.value <= 0 })
	return b
}

// serversFigure puts the server in userspace beside the module, all by our client:
// what stands below it is not told apart.
func (r *Result) serversFigure(id, op string) *figure {
	var bars []barGroup
	var shown []*Cell
	for _, g := range ofOp(r.groups(func(c *Cell) bool { return c.Layer == Client }), op) {
		if !slices.ContainsFunc(g.cells, func(c *Cell) bool { return !ofDoor(c) && c.measured() }) {
			continue
		}
		bg := barGroup{label: g.typ + " " + g.op}
		for _, c := range g.cells {
			shown = append(shown, c)
			if c.measured() {
				bg.bars = append(bg.bars, r.whole(c))
			}
		}
		bars = append(bars, bg)
	}
	if len(bars) == 0 {
		return nil
	}
	title := fmt.Sprintf("The server in userspace beside the module: %s", noun(op))
	desc := fmt.Sprintf("Horizontal bars from 0, in %s: costs through our client, and a line to the 99th percentile. The server needs no "+
		"module; netlink and map are the module's. %s.", r.Unit, r.headline())
	return &figure{id: id, title: title, desc: desc, svg: drawBars(id, title, desc, r.Unit, bars, nil),
		table: r.costs("Server and module, through our client", true, func(c *Cell) bool { return slices.Contains(shown, c) })}
}

// whole is a bar that is not cut.
func (r *Result) whole(c *Cell) bar {
	return bar{label: wayLayer(c.Way, c.Layer), way: c.Way, total: r.cost(c), p99: c.P99,
		segments: []segment{{fillKernel, r.cost(c)}}}
}

// peersFigure puts what others cost for an operation beside the ways, in raw C.
func (r *Result) peersFigure(id, op string) *figure {
	return r.besideFigure(id, "Peers: "+noun(op), func(c *Cell) bool { return !ofOwn(c) && c.Layer != Tool && c.Op == op })
}

// toolsFigure does so with processes.
func (r *Result) toolsFigure(id string) *figure {
	return r.besideFigure(id, "Tools: a process for each request", func(c *Cell) bool { return c.Layer == Tool })
}

func (r *Result) besideFigure(id, title string, isPeer func(*Cell) bool) *figure {
	var bars []barGroup
	shown := map[*Cell]bool{}
	for _, c := range r.Cells {
		if !isPeer(c) {
			continue
		}
		shown[c] = true
		if !c.measured() {
			continue
		}
		subject := c.Beside
		if c.Way != Peer {
			subject = c.Type
		}
		bg := r.peerGroup(&bars, subject, c.Op, shown)
		b := r.whole(c)
		if c.Way == Peer {
			b.label = c.Type + ", " + string(c.Layer)
		}
		bg.bars = append(bg.bars, b)
	}
	if len(shown) == 0 {
		return nil
	}
	desc := fmt.Sprintf("Horizontal bars from 0, in %s: costs, and a line to the 99th percentile. The ways of XDP control are "+
		"given by raw C for comparison. %s.", r.Unit, r.headline())
	f := &figure{id: id, title: title, desc: desc, table: r.costs(title, true, func(c *Cell) bool { return shown[c] })}
	if len(bars) > 0 {
		f.svg = drawBars(id, title, desc, r.Unit, bars, nil)
	}
	return f
}

// peerGroup finds or begins the group of bars of one subject, with our own ways.
func (r *Result) peerGroup(bars *[]barGroup, subject, op string, shown map[*Cell]bool) *barGroup {
	label := subject + " " + op
	if subject == "" {
		label = op + ", of no control type"
	}
	i := slices.IndexFunc(*bars, func(g barGroup) bool { return g.label == label })
	if i >= 0 {
		return &(*bars)[i]
	}
	bg := barGroup{label: label}
	for _, way := range wayOrder {
		for _, c := range r.Cells {
			if c.Type == subject && c.Op == op && c.Way == way && c.Layer == RawC && ofOwn(c) && c.measured() {
				shown[c] = true
				bg.bars = append(bg.bars, r.whole(c))
			}
		}
	}
	*bars = append(*bars, bg)
	return &(*bars)[len(*bars)-1]
}
