// Package chart draws what an archive may come to as one SVG picture (SVG 1.1): above,
// the storage in each tier stacked over time; below, what it costs. It needs no
// font, script or file beside it, and says in words too what it shows.
package chart

import (
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/strata-pacs/strata/internal/fault"
)

// Chart is what is drawn. All series have a value for each time.
type Chart struct {
	Title, Subtitle string
	Times           []time.Time // ascending, at least two
	Layers          []Series    // bytes, the first at the bottom
	Lines           []Series    // money, up to four
	LinesTitle      string      // what the money is for
	Currency        string
	Note            string // below
}

// Series is a named row of values, none below zero.
type Series struct {
	Name   string
	Values []float64
	Dashed bool
}

const (
	width, left, right    = 960, 84, 210 // right: for the names
	top, upper, gap, low  = 96, 300, 74, 170
	bottom                = 74
	height                = top + upper + gap + low + bottom
	plot                  = width - left - right
	maxLayers, maxLines   = 12, 4
	row                   = 34 // of a legend
	ink, soft, rule, face = "#1f2933", "#52606d", "#e4e7eb", "font-family=\"Helvetica, Arial, sans-serif\""
)

// Colours that people with any colour vision tell apart, after Okabe and Ito; warm is near.
var (
	layerColours = []string{"#e69f00", "#56b4e9", "#0072b2", "#009e73", "#cc79a7", "#7f7f7f"}
	lineColours  = []string{"#1f2933", "#d55e00", "#0072b2", "#009e73"}
)

// Write draws the chart. fault.Invalid when series and times do not fit.
func (c Chart) Write(w io.Writer) error {
	if len(c.Times) < 2 || len(c.Layers) > maxLayers || len(c.Lines) > maxLines {
		return fault.New(fault.Invalid, "a chart needs at least two times, and at most %d layers and %d lines", maxLayers, maxLines)
	}
	for _, s := range append(append([]Series{}, c.Layers...), c.Lines...) {
		if len(s.Values) != len(c.Times) {
			return fault.New(fault.Invalid, "a series of a chart has other times than the chart")
		}
		for _, v := range s.Values {
			if !(v >= 0) || math.IsInf(v, 0) {
				return fault.New(fault.Invalid, "a series of a chart has a value that cannot be drawn")
			}
		}
	}
	d := &drawing{c: c}
	d.frame()
	d.layers()
	d.lines()
	d.printf("</svg>\n")
	_, err := io.WriteString(w, d.b.String())
	return err
}

type drawing struct {
	c Chart
	b strings.Builder
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(&d.b, format, args...) }

func (d *drawing) text(x, y float64, style, text string) {
	d.printf("<text x=\"%s\" y=\"%s\" %s>%s</text>\n", number(x), number(y), style, html.EscapeString(text))
}

// number is a coordinate, to a tenth.
func number(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

func (d *drawing) frame() {
	d.printf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\" aria-labelledby=\"title about\" %s font-size=\"13\" fill=\"%s\">\n",
		width, height, width, height, face, ink)
	d.printf("<title id=\"title\">%s</title>\n<desc id=\"about\">%s</desc>\n", html.EscapeString(d.c.Title), html.EscapeString(d.words()))
	d.printf("<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", width, height)
	d.text(left, 34, `font-size="20" font-weight="bold"`, d.c.Title)
	d.text(left, 56, `fill="`+soft+`"`, d.c.Subtitle)
	d.text(left, height-16, `font-size="11" fill="`+soft+`"`, d.c.Note)
}

// words say what the picture shows, for who does not see it.
func (d *drawing) words() string {
	var parts []string
	for _, s := range d.c.Layers {
		parts = append(parts, fmt.Sprintf("%s: from %s to %s", s.Name, Bytes(s.Values[0]), Bytes(s.Values[len(s.Values)-1])))
	}
	for _, s := range d.c.Lines {
		parts = append(parts, fmt.Sprintf("%s: from %s to %s %s", s.Name, Money(s.Values[0]), Money(s.Values[len(s.Values)-1]), d.c.Currency))
	}
	return d.c.Subtitle + ". " + strings.Join(parts, "; ") + "."
}

// x is where a time is.
func (d *drawing) x(t time.Time) float64 {
	first, last := d.c.Times[0], d.c.Times[len(d.c.Times)-1]
	return left + plot*float64(t.Sub(first))/float64(last.Sub(first))
}

// axes draws the lines behind a part of the picture and what they stand for, and
// returns where a value is.
func (d *drawing) axes(y0, high float64, title string, most float64, label func(float64) string) func(float64) float64 {
	step := Step(most, 4)
	end := step * math.Ceil(most/step*(1-1e-9))
	if end <= 0 {
		end = step
	}
	at := func(v float64) float64 { return y0 + high*(1-v/end) }
	d.text(left, y0-12, `font-weight="bold"`, title)
	for k := 0; ; k++ {
		v := float64(k) * step
		if v > end*(1+1e-9) {
			break
		}
		d.printf("<line x1=\"%d\" x2=\"%d\" y1=\"%s\" y2=\"%s\" stroke=\"%s\"/>\n", left, left+plot, number(at(v)), number(at(v)), rule)
		d.text(left-8, at(v)+4, `text-anchor="end" fill="`+soft+`"`, label(v))
	}
	// A year's beginning each, as many as have room.
	first, last := d.c.Times[0], d.c.Times[len(d.c.Times)-1]
	every := max(1, (last.Year()-first.Year()+11)/12)
	for year := first.Year() + 1; year <= last.Year(); year += every {
		x := d.x(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC))
		d.printf("<line x1=\"%s\" x2=\"%s\" y1=\"%s\" y2=\"%s\" stroke=\"%s\"/>\n", number(x), number(x), number(y0+high), number(y0+high+5), soft)
		d.text(x, y0+high+20, `text-anchor="middle" fill="`+soft+`"`, strconv.Itoa(year))
	}
	return at
}

func (d *drawing) layers() {
	sums := make([]float64, len(d.c.Times))
	most := 0.0
	for i := range sums {
		for _, s := range d.c.Layers {
			sums[i] += s.Values[i]
		}
		most = max(most, sums[i])
	}
	unit, name := byteUnit(most)
	at := d.axes(top, upper, "Stored, "+name, most/unit, plain)
	below := make([]float64, len(sums))
	for k, s := range d.c.Layers {
		var up, down []string
		for i, t := range d.c.Times {
			down = append(down, number(d.x(t))+","+number(at(below[i]/unit)))
			below[i] += s.Values[i]
			up = append(up, number(d.x(t))+","+number(at(below[i]/unit)))
		}
		for i := len(down) - 1; i >= 0; i-- {
			up = append(up, down[i])
		}
		d.printf("<polygon points=\"%s\" fill=\"%s\" stroke=\"#ffffff\" stroke-width=\"1\"/>\n", strings.Join(up, " "), layerColours[k%len(layerColours)])
	}
	y := float64(top + 10)
	for k := len(d.c.Layers) - 1; k >= 0; k-- { // as they lie
		s := d.c.Layers[k]
		d.printf("<rect x=\"%d\" y=\"%s\" width=\"12\" height=\"12\" rx=\"2\" fill=\"%s\"/>\n", left+plot+18, number(y), layerColours[k%len(layerColours)])
		y = d.named(y, s.Name, Bytes(s.Values[len(s.Values)-1])+" at the end", min(row, float64(upper)/float64(len(d.c.Layers))))
	}
}

func (d *drawing) lines() {
	const y0 = top + upper + gap
	most := 0.0
	for _, s := range d.c.Lines {
		for _, v := range s.Values {
			most = max(most, v)
		}
	}
	at := d.axes(y0, low, d.c.LinesTitle+", "+d.c.Currency, most, Money)
	y := float64(y0 + 10)
	for k := len(d.c.Lines) - 1; k >= 0; k-- { // the first lies on top
		s := d.c.Lines[k]
		var points []string
		for i, t := range d.c.Times {
			points = append(points, number(d.x(t))+","+number(at(s.Values[i])))
		}
		d.printf("<polyline points=\"%s\" fill=\"none\" stroke-linejoin=\"round\" %s/>\n", strings.Join(points, " "), stroke(k, s))
	}
	for k, s := range d.c.Lines {
		d.printf("<line x1=\"%d\" x2=\"%d\" y1=\"%s\" y2=\"%s\" %s/>\n", left+plot+14, left+plot+34, number(y+6), number(y+6), stroke(k, s))
		y = d.named(y, s.Name, Money(s.Values[len(s.Values)-1])+" at the end", row)
	}
}

// named writes a name and a value beside what was drawn at y, and returns where the next goes.
func (d *drawing) named(y float64, name, value string, next float64) float64 {
	const most = 22
	if r := []rune(name); len(r) > most {
		name = string(r[:most-1]) + "…"
	}
	const x = left + plot + 40
	d.text(x, y+11, "", name)
	if next >= 28 {
		d.text(x, y+25, `font-size="11" fill="`+soft+`"`, value)
	}
	return y + next
}

func stroke(k int, s Series) string {
	dash := ""
	if s.Dashed {
		dash = ` stroke-dasharray="6 4"`
	}
	return fmt.Sprintf("stroke=\"%s\" stroke-width=\"2.2\"%s", lineColours[k%len(lineColours)], dash)
}
