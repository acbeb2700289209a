// SPDX-License-Identifier: BSD-3-Clause

package compare

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Sizes in plots, in pixels. A character is about charWidth of its size wide.
const (
	plotWidth = 960.0
	textSize  = 14.0
	smallSize = 12.5
	charWidth = 0.58
)

// Colours that colour-blind readers tell apart (Okabe and Ito). None of them is
// the only way to tell: lines have dashes, markers and names, bars patterns.
var (
	wayColours = map[Way]string{Netlink: "#0072B2", Map: "#B84A00", Embedded: "#00785A", Socket: "#A34E80", Peer: "#505050"}
	dashes     = map[Layer]string{RawC: "", RawGo: "7 4", Client: "12 3 2 3", Mdlayher: "2 3", CiliumEBPF: "4 2 1 2", Tool: "1 2"}
)

func colour(w Way) string {
	if c := wayColours[w]; c != "" {
		return c
	}
	return "#505050"
}

// canvas is an SVG that is being drawn. Text of class value is a figure that the
// table beside the plot has too; that of class tick belongs to an axis.
type canvas struct {
	id   string
	body strings.Builder
}

// px writes a coordinate.
func px(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// finish returns the whole image.
func (c *canvas) finish(title, desc string, w, h float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" id="%s" viewBox="0 0 %s %s" width="%[2]s" height="%[3]s" role="img" aria-labelledby="%[1]s-title %[1]s-desc" font-family="system-ui, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif" font-size="%[4]s" fill="#1a1a1a">`+"\n",
		c.id, px(w), px(h), px(textSize))
	fmt.Fprintf(&b, "<title id=\"%s-title\">%s</title>\n<desc id=\"%s-desc\">%s</desc>\n",
		c.id, html.EscapeString(title), c.id, html.EscapeString(desc))
	fmt.Fprintf(&b, `<rect width="%s" height="%s" fill="#ffffff"/>`+"\n", px(w), px(h))
	b.WriteString(c.body.String())
	b.WriteString("</svg>\n")
	return b.String()
}

func (c *canvas) printf(format string, args ...any) { fmt.Fprintf(&c.body, format+"\n", args...) }

func (c *canvas) line(x1, y1, x2, y2 float64, stroke string, width float64) {
	c.printf(`<path d="M%s %sL%s %s" stroke="%s" stroke-width="%s"/>`, px(x1), px(y1), px(x2), px(y2), stroke, px(width))
}

// words are text: class, anchor (start, middle, end), and more attributes.
func (c *canvas) words(x, y float64, class, anchor, more, s string) {
	if more != "" {
		more = " " + more
	}
	c.printf(`<text class="%s" x="%s" y="%s" text-anchor="%s"%s>%s</text>`, class, px(x), px(y), anchor, more, html.EscapeString(s))
}

// Fills of bars, by what they stand for.
const (
	fillKernel  = "kernel"
	fillDoor    = "door"
	fillRuntime = "runtime"
	fillLibrary = "library"
	fillUnknown = "unknown"
)

// part draws a part of a bar. Its marks are lines of their own, as patterns become
// pictures on paper.
func (c *canvas) part(kind string, way Way, x, y, w, h float64) {
	col, fill := colour(way), "#ffffff"
	if kind == fillKernel {
		fill = col
	}
	c.printf(`<rect class="%s" x="%s" y="%s" width="%s" height="%s" fill="%s" stroke="%s"/>`,
		kind, px(x), px(y), px(w), px(h), fill, col)
	var marks strings.Builder
	line := func(x1, y1, x2, y2 float64) {
		fmt.Fprintf(&marks, "M%s %sL%s %s", px(x1), px(y1), px(x2), px(y2))
	}
	width := 0.8
	switch kind {
	case fillDoor:
		width = 2
		slants(x, y, w, h, 6, line)
	case fillRuntime:
		width = 2
		for i := 3.0; i < w; i += 5 {
			for j := 3.0; j < h; j += 5 {
				line(x+i-1, y+j, x+i+1, y+j)
			}
		}
	case fillLibrary:
		for i := 4.0; i < w; i += 5 {
			line(x+i, y, x+i, y+h)
		}
	}
	if marks.Len() > 0 {
		c.printf(`<path d="%s" stroke="%s" stroke-width="%s"/>`, marks.String(), col, px(width))
	}
}

// slants are lines that rise by 45 degrees, cut at the sides of a rectangle.
func slants(x, y, w, h, gap float64, line func(x1, y1, x2, y2 float64)) {
	for from := gap - h; from < w; from += gap {
		lo, hi := max(0, -from), min(h, w-from)
		if hi-lo > 0.5 {
			line(x+from+lo, y+h-lo, x+from+hi, y+h-hi)
		}
	}
}

// marker draws a point of a layer.
func (c *canvas) marker(x, y float64, layer Layer, col string) {
	const r = 4
	switch layer {
	case RawC:
		c.printf(`<circle cx="%s" cy="%s" r="%d" fill="%s"/>`, px(x), px(y), r, col)
	case RawGo:
		c.printf(`<rect x="%s" y="%s" width="%d" height="%[3]d" fill="#ffffff" stroke="%s" stroke-width="1.6"/>`, px(x-r), px(y-r), 2*r, col)
	case Client:
		c.printf(`<path d="M%s %sl5 9h-10z" fill="%s"/>`, px(x), px(y-5), col)
	case Mdlayher:
		c.printf(`<path d="M%s %sl5 5l-5 5l-5 -5z" fill="#ffffff" stroke="%s" stroke-width="1.6"/>`, px(x), px(y-5), col)
	default:
		c.printf(`<path d="M%s %sh10M%s %sv10" stroke="%s" stroke-width="2"/>`, px(x-5), px(y), px(x), px(y-5), col)
	}
}

// scale maps values to pixels.
type scale struct {
	log      bool
	lo, hi   float64 // values
	from, to float64 // pixels
	ticks    []float64
}

// linear is a scale that begins at 0, with its ticks.
func linear(hi, from, to, spacing float64) scale {
	if hi <= 0 {
		hi = 1
	}
	n := max(2, math.Floor(math.Abs(to-from)/spacing))
	step := math.Pow(10, math.Floor(math.Log10(hi/n)))
	for _, m := range []float64{1, 2, 2.5, 5, 10} {
		if step*m*n >= hi {
			step *= m
			break
		}
	}
	s := scale{hi: math.Ceil(hi/step-1e-9) * step, from: from, to: to}
	for i := 0.0; i*step <= s.hi*(1+1e-9); i++ {
		s.ticks = append(s.ticks, i*step)
	}
	return s
}

// logarithmic is a scale from lo to hi, with ticks that do not touch: as many
// parts of a decade as there is room for.
func logarithmic(lo, hi, from, to, spacing float64) scale {
	if hi < lo*1.2 {
		hi, lo = hi*1.1, lo/1.1
	}
	s := scale{log: true, lo: lo, hi: hi, from: from, to: to}
	for _, parts := range [][]float64{
		{1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2, 2.2, 2.4, 2.6, 2.8, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 8, 9},
		{1, 1.2, 1.5, 1.8, 2, 2.5, 3, 4, 5, 6, 7, 8},
		{1, 1.5, 2, 3, 4, 5, 7}, {1, 2, 5}, {1, 3}, {1},
	} {
		s.ticks = nil
		for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)); e++ {
			for _, p := range parts {
				if v := p * math.Pow(10, e); v >= lo*(1-1e-9) && v <= hi*(1+1e-9) {
					s.ticks = append(s.ticks, v)
				}
			}
		}
		if s.spaced(spacing) {
			return s
		}
	}
	for !s.spaced(spacing) {
		var few []float64
		for i := 0; i < len(s.ticks); i += 2 {
			few = append(few, s.ticks[i])
		}
		s.ticks = few
	}
	return s
}

// spaced tells whether all ticks are at least so far apart.
func (s *scale) spaced(spacing float64) bool {
	for i := 1; i < len(s.ticks); i++ {
		if math.Abs(s.at(s.ticks[i])-s.at(s.ticks[i-1])) < spacing {
			return false
		}
	}
	return true
}

// at returns the pixel of a value, at the edge if it is beyond.
func (s *scale) at(v float64) float64 {
	share := 0.0
	if s.log {
		share = math.Log(max(v, s.lo)/s.lo) / math.Log(s.hi/s.lo)
	} else {
		share = v / s.hi
	}
	return s.from + min(1, max(0, share))*(s.to-s.from)
}

// spread moves places apart that are closer than gap, within lo and hi, and keeps
// their order.
func spread(places []float64, gap, lo, hi float64) []float64 {
	order := make([]int, len(places))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case places[a] < places[b]:
			return -1
		case places[a] > places[b]:
			return 1
		}
		return 0
	})
	out := slices.Clone(places)
	next := lo
	for _, i := range order {
		out[i] = max(out[i], next)
		next = out[i] + gap
	}
	limit := hi
	for _, i := range slices.Backward(order) {
		out[i] = min(out[i], limit)
		limit = out[i] - gap
	}
	return out
}

// textWidth is about how wide text is.
func textWidth(s string, size float64) float64 { return float64(len([]rune(s))) * size * charWidth }

// elide cuts text that is too wide.
func elide(s string, width float64) string {
	if textWidth(s, textSize) <= width {
		return s
	}
	r := []rune(s)
	return string(r[:max(0, int(width/textSize/charWidth)-1)]) + "…"
}
