// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
)

// point is a place in a plot of lines.
type point struct{ x, y float64 }

// series is a line.
type series struct {
	name   string
	way    Way
	layer  Layer
	points []point
	marks  []point // where markers stand; at every point if nil
}

// panel is one of several plots that are drawn alike.
type panel struct {
	title  string
	series []series
	x, y   scale // without pixels
}

// panels is how they are drawn.
type panels struct {
	columns        int
	step           bool // from point to point in steps, not straight
	named          bool // lines have their names at their ends; else a legend says
	height         float64
	xUnit, yUnit   string
	xTick, yTick   func(float64) string
	xTicks, yTicks []float64 // where ticks stand, if not where they are nice
}

// place is the pixels of a panel. The y axis of an inner one is that of the first
// in the row, which has its ticks.
type place struct {
	left, right, top, bottom float64
	inner                    bool
}

// draw draws panels in rows.
func (o *panels) draw(id, title, desc string, all []panel) string {
	c := &canvas{id: id}
	y := 4.0
	if !o.named {
		y = c.lineLegend(all)
	}
	for i, p := range all {
		top := y + float64(i/o.columns)*(o.height+86) + 26
		at := o.place(i%o.columns, nameWidth(all))
		at.top, at.bottom = top, top+o.height
		o.panel(c, &p, at)
	}
	rows := math.Ceil(float64(len(all)) / float64(o.columns))
	return c.finish(title, desc, plotWidth, y+rows*(o.height+86))
}

// place is where a column is: with room for the names at the ends of its lines if
// they have them, else close to the one before.
func (o *panels) place(column int, names float64) place {
	const axis, gap = 78, 26
	n, i := float64(o.columns), float64(column)
	if o.named {
		w := plotWidth / n
		return place{left: i*w + axis, right: (i+1)*w - names}
	}
	w := (plotWidth - axis) / n
	return place{left: axis + i*w, right: axis + (i+1)*w - gap, inner: column > 0}
}

// nameWidth is the room for the longest name.
func nameWidth(all []panel) float64 {
	w := 0.0
	for _, p := range all {
		for _, s := range p.series {
			w = max(w, textWidth(s.name, smallSize)+16)
		}
	}
	return w
}

// panel draws one plot.
func (o *panels) panel(c *canvas, p *panel, at place) {
	c.printf(`<g class="panel">`)
	defer c.printf("</g>")
	c.words(at.left, at.top-9, "head", "start", `font-weight="bold"`, p.title)
	x, y := o.axis(p.x, at.left, at.right, 42, o.xTicks), o.axis(p.y, at.bottom, at.top, 26, o.yTicks)
	for _, v := range y.ticks {
		c.line(at.left, y.at(v), at.right, y.at(v), "#d9d9d9", 1)
		if !at.inner {
			c.words(at.left-7, y.at(v)+4.5, "tick", "end", `font-size="`+px(smallSize)+`"`, o.yTick(v))
		}
	}
	for _, v := range x.ticks {
		c.line(x.at(v), at.bottom, x.at(v), at.bottom+5, "#1a1a1a", 1)
		c.line(x.at(v), at.top, x.at(v), at.bottom, "#ececec", 1)
		c.words(x.at(v), at.bottom+19, "tick", "middle", `font-size="`+px(smallSize)+`"`, o.xTick(v))
	}
	c.line(at.left, at.top, at.left, at.bottom, "#1a1a1a", 1.2)
	c.line(at.left, at.bottom, at.right, at.bottom, "#1a1a1a", 1.2)
	c.words((at.left+at.right)/2, at.bottom+38, "label", "middle", `font-size="`+px(smallSize)+`"`, o.xUnit)
	if !at.inner {
		c.words(0, 0, "label", "middle", fmt.Sprintf(`font-size="%s" transform="translate(%s %s) rotate(-90)"`, px(smallSize),
			px(at.left-64), px((at.top+at.bottom)/2)), o.yUnit)
	}
	if len(p.series) == 0 {
		c.words((at.left+at.right)/2, (at.top+at.bottom)/2, "label", "middle", `font-style="italic"`, absent)
	}
	// The first are drawn last: raw C is to be seen wherever others are as cheap.
	for _, s := range slices.Backward(p.series) {
		o.series(c, &s, &x, &y)
	}
	var ends []float64
	for _, s := range p.series {
		ends = append(ends, y.at(s.points[len(s.points)-1].y))
	}
	if !o.named {
		return
	}
	ends = spread(ends, 15, at.top, at.bottom)
	for i, s := range p.series {
		last := s.points[len(s.points)-1]
		c.line(x.at(last.x)+5, y.at(last.y), at.right+8, ends[i], "#999999", 0.8)
		c.words(at.right+11, ends[i]+4.5, "label", "start",
			fmt.Sprintf(`font-size="%s" fill="%s"`, px(smallSize), colour(s.way)), s.name)
	}
}

// axis gives a scale its pixels and ticks.
func (o *panels) axis(s scale, from, to, spacing float64, ticks []float64) scale {
	switch {
	case ticks != nil:
		s.from, s.to, s.ticks = from, to, ticks
	case s.log:
		s = logarithmic(s.lo, s.hi, from, to, spacing)
	default:
		s = linear(s.hi, from, to, spacing)
	}
	return s
}

// series draws one line.
func (o *panels) series(c *canvas, s *series, x, y *scale) {
	c.printf(`<g class="series"><title>%s</title>`, html.EscapeString(s.name))
	path := ""
	for i, p := range s.points {
		switch {
		case i == 0:
			path = "M" + px(x.at(p.x)) + " " + px(y.at(p.y))
		case o.step:
			path += "H" + px(x.at(p.x)) + "V" + px(y.at(p.y))
		default:
			path += "L" + px(x.at(p.x)) + " " + px(y.at(p.y))
		}
	}
	dash := ""
	if d := dashes[s.layer]; d != "" {
		dash = ` stroke-dasharray="` + d + `"`
	}
	c.printf(`<path d="%s" fill="none" stroke="%s" stroke-width="1.8"%s/>`, path, colour(s.way), dash)
	marks := s.marks
	if marks == nil {
		marks = s.points
	}
	for _, p := range marks {
		c.marker(x.at(p.x), y.at(p.y), s.layer, colour(s.way))
	}
	c.printf("</g>")
}

// lineLegend says which line is which layer, and returns where it ends.
func (c *canvas) lineLegend(all []panel) float64 {
	x := 8.0
	for _, l := range layerOrder {
		if !slices.ContainsFunc(all, func(p panel) bool {
			return slices.ContainsFunc(p.series, func(s series) bool { return s.layer == l })
		}) {
			continue
		}
		dash := ""
		if d := dashes[l]; d != "" {
			dash = ` stroke-dasharray="` + d + `"`
		}
		c.printf(`<path d="M%s 14h44" stroke="#1a1a1a" stroke-width="1.8" fill="none"%s/>`, px(x), dash)
		c.marker(x+22, 14, l, "#1a1a1a")
		c.words(x+52, 19, "label", "start", "", string(l))
		x += 52 + textWidth(string(l), textSize) + 26
	}
	return 36
}

// distributionFigure shows how the costs of single operations are distributed:
// a row for each control type, a column for each way.
func (r *Result) distributionFigure(id, op string) *figure {
	groups := ofOp(r.groups(ofOwn), op)
	drawable := func(c *Cell, way Way) bool { return c.Way == way && c.measured() && len(c.Histogram) > 0 }
	columns := slices.DeleteFunc(slices.Clone(wayOrder), func(way Way) bool {
		return !slices.ContainsFunc(groups, func(g *cellGroup) bool {
			return slices.ContainsFunc(g.cells, func(c *Cell) bool { return drawable(c, way) })
		})
	})
	if len(columns) == 0 {
		return nil
	}
	var all []panel
	var drawn []*cellGroup
	for _, g := range groups {
		lo, hi := g.range999()
		if hi == 0 {
			continue
		}
		drawn = append(drawn, g)
		for _, way := range columns {
			p := panel{title: g.typ + ", " + string(way), x: scale{log: true, lo: lo / 1.1, hi: hi * 1.05}, y: scale{hi: 1}}
			for _, c := range g.cells {
				if drawable(c, way) {
					p.series = append(p.series, c.ecdf())
				}
			}
			all = append(all, p)
		}
	}
	title := fmt.Sprintf("How the cost of one %s is distributed", noun(op))
	desc := fmt.Sprintf("Share of operations that cost at most as much, over their cost in %s on a logarithmic axis, which ends where "+
		"999 of 1,000 are. It rises in steps at the bounds of what was counted together. Markers stand at the median and the 99th percentile. %s.", r.Unit, r.headline())
	o := panels{columns: len(columns), step: true, height: 130, xUnit: r.Unit + " (log)", yUnit: "share of operations",
		xTick: short, yTick: percent, yTicks: []float64{0, 0.25, 0.5, 0.75, 1}}
	return &figure{id: id, title: title, desc: desc, table: r.distribution(drawn), svg: o.draw(id, title, desc, all)}
}

// range999 is from the least cost to that of 999 in 1,000 operations.
func (g *cellGroup) range999() (lo, hi float64) {
	for _, c := range g.cells {
		if !c.measured() || len(c.Histogram) == 0 {
			continue
		}
		first := c.ecdf().points[0].x
		if lo == 0 || first < lo {
			lo = first
		}
		hi = max(hi, c.quantile(0.999), c.P99)
	}
	return lo, hi
}

// quantile is the least bound that so many operations are within.
func (c *Cell) quantile(q float64) float64 {
	n, sum := 0, 0
	for _, b := range c.Histogram {
		n += b.Count
	}
	for _, b := range c.Histogram {
		if sum += b.Count; float64(sum) >= q*float64(n) {
			return b.Bound
		}
	}
	return 0
}

// ecdf is the share of operations that cost at most as much, as far as it is known:
// at the bounds of the buckets, the median, the 99th percentile and the maximum.
func (c *Cell) ecdf() series {
	s := series{name: wayLayer(c.Way, c.Layer), way: c.Way, layer: c.Layer}
	n, sum := 0, 0
	for _, b := range c.Histogram {
		n += b.Count
	}
	known := []point{{c.Median, 0.5}}
	if c.P99 > 0 {
		known = append(known, point{c.P99, 0.99})
	}
	s.marks = slices.Clone(known)
	for _, b := range c.Histogram {
		sum += b.Count
		p := point{b.Bound, float64(sum) / float64(n)}
		if sum == n && c.Max > 0 {
			p.x = min(p.x, c.Max)
		}
		known = append(known, p)
	}
	slices.SortFunc(known, func(a, b point) int { return cmp.Or(cmp.Compare(a.x, b.x), cmp.Compare(a.y, b.y)) })
	s.points = []point{{known[0].x, 0}}
	for _, p := range known {
		last := &s.points[len(s.points)-1]
		switch {
		case p.y <= last.y: // it was known before
		case p.x == last.x && last.y > 0:
			last.y = p.y
		default:
			s.points = append(s.points, p)
		}
	}
	return s
}

// short writes thousands and millions of ticks by a letter.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	}
	return number(v)
}

func percent(v float64) string { return strconv.FormatFloat(100*v, 'f', -1, 64) + " %" }

// scalingFigure shows what a netdev costs in iterations over ever more.
func (r *Result) scalingFigure(id string) *figure {
	var all []panel
	lo, hi := math.Inf(1), 0.0
	for _, s := range r.slopes() {
		line := series{name: wayLayer(s.Way, s.Layer), way: s.Way, layer: s.Layer}
		title := s.Type
		if s.Way == Peer {
			line.name, title = s.Type+", "+string(s.Layer), "peers"
		}
		for _, p := range s.Points {
			if v, ok := s.per(p.Netdevs); ok {
				line.points = append(line.points, point{float64(p.Netdevs), v})
				lo, hi = min(lo, v), max(hi, v)
			}
		}
		if len(line.points) == 0 {
			continue
		}
		i := slices.IndexFunc(all, func(p panel) bool { return p.title == title })
		if i < 0 {
			i = len(all)
			all = append(all, panel{title: title})
		}
		all[i].series = append(all[i].series, line)
	}
	if len(all) == 0 {
		return nil
	}
	var ticks []float64
	for _, n := range r.sizes() {
		ticks = append(ticks, float64(n))
	}
	first, last := ticks[0], ticks[len(ticks)-1]
	if first == last {
		first, last = first/2, last*2
	}
	for i := range all {
		all[i].x = scale{log: true, lo: first, hi: last}
		all[i].y = scale{log: true, lo: lo / 1.1, hi: hi * 1.1}
	}
	title := "What a netdev costs, over how many are iterated"
	desc := fmt.Sprintf("Lines on logarithmic axes: netdevs from left to right, %s for each of them from below. "+
		"A level line is an iteration whose cost grows with the netdevs and no faster. %s.", r.Unit, r.headline())
	o := panels{columns: min(2, len(all)), named: true, height: 210, xUnit: "netdevs (log)", yUnit: r.Unit + " a netdev (log)",
		xTick: number, yTick: short, xTicks: ticks}
	return &figure{id: id, title: title, desc: desc, table: r.iteration(), svg: o.draw(id, title, desc, all)}
}

// throughputFigure shows operations a second by callers.
func (r *Result) throughputFigure(id, op string) *figure {
	const margin = 0.3 // beside the first and the last callers
	callers := r.callers()
	groups := slices.DeleteFunc(ofOp(r.groups(ofOwn), op), func(g *cellGroup) bool {
		return !slices.ContainsFunc(g.cells, func(c *Cell) bool { return len(c.Rates) > 0 })
	})
	if len(callers) == 0 || len(groups) == 0 {
		return nil
	}
	var all []panel
	most := 0.0
	for _, g := range groups {
		p := panel{title: g.typ + " " + g.op}
		for _, c := range g.cells {
			s := series{name: wayLayer(c.Way, c.Layer), way: c.Way, layer: c.Layer}
			for _, n := range callers {
				if v, ok := c.Rates[n]; ok {
					s.points = append(s.points, point{float64(slices.Index(callers, n)) + margin, v})
					most = max(most, v)
				}
			}
			if len(s.points) > 0 {
				p.series = append(p.series, s)
			}
		}
		all = append(all, p)
	}
	var ticks []float64
	for i := range callers {
		ticks = append(ticks, float64(i)+margin)
	}
	last := float64(len(callers)-1) + 2*margin
	for i := range all {
		all[i].x, all[i].y = scale{hi: last}, scale{hi: most}
	}
	title := fmt.Sprintf("Throughput of %s by callers", noun(op))
	desc := fmt.Sprintf("Lines: callers at once from left to right, each number as far from the next; operations a second from below, from 0. %s.", r.headline())
	o := panels{columns: min(2, len(all)), named: true, height: 240, xUnit: "callers (not to scale)", yUnit: "operations a second",
		xTick: func(v float64) string { return number(float64(callers[int(v)])) },
		yTick: short, xTicks: ticks}
	return &figure{id: id, title: title, desc: desc, table: r.throughput(groups), svg: o.draw(id, title, desc, all)}
}
