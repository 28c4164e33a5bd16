package commands

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"noggin/storage"
)

// chart is a drawing with what a screen reader says instead; the tables of the page
// have its figures.
type chart struct {
	Title   string
	Unit    string
	Summary string
	Legend  []legendEntry
	SVG     template.HTML // empty: there is nothing to be drawn
}

// legendEntry names a line beside the drawing, where it hides nothing.
type legendEntry struct {
	Name   string
	Colour string // of a style sheet
	Dashed bool
}

// The colours of the lines, told apart by people who see red and green alike; dashes
// tell them apart in print.
var (
	chartBlue   = color.RGBA{R: 0x1f, G: 0x6f, B: 0xb4, A: 0xff}
	chartOrange = color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff}
	dashed      = []vg.Length{vg.Points(5), vg.Points(3)}
)

// series is a line of a chart: the first of a chart is blue, the second orange and
// dashed.
type series struct {
	name   string
	points plotter.XYs
}

// drawCharts draws the history of the mirror from first until now; days and samples
// are the oldest first.
func drawCharts(days []dayReport, samples []storage.Sample, errors []storage.ErrorCount, first, now time.Time) ([]chart, error) {
	daily := func(name string, value func(dayReport) *float64) series {
		s := series{name: name}
		for _, d := range days {
			at, err := time.ParseInLocation(time.DateOnly, d.Date, now.Location())
			if y := value(d); y != nil && err == nil {
				s.points = append(s.points, plotter.XY{X: float64(at.Unix()), Y: *y})
			}
		}
		return s
	}
	counted := func(name string, value func(dayReport) int64) series {
		return daily(name, func(d dayReport) *float64 { return new(float64(value(d))) })
	}
	sampled := func(name string, value func(storage.Sample) int64) series {
		s := series{name: name, points: make(plotter.XYs, len(samples))}
		for i, sample := range samples {
			s.points[i] = plotter.XY{X: float64(sample.At.Unix()), Y: float64(value(sample))}
		}
		return s
	}
	var charts []chart
	for _, c := range []struct {
		title, unit string
		lines       []series
	}{
		{"Throughput", "records a day", []series{
			counted("processed", func(d dayReport) int64 { return d.Processed }), counted("complete", func(d dayReport) int64 { return d.Complete }),
		}},
		{"Completion and failure rate", "percent", []series{
			daily("complete", func(d dayReport) *float64 { return d.CompletionRate }),
			daily("API failures", func(d dayReport) *float64 { return d.APIFailureRate }),
		}},
		{"Queue", "records", []series{
			sampled("due", func(s storage.Sample) int64 { return s.Due }), sampled("waiting for a retry", func(s storage.Sample) int64 { return s.Later }),
		}},
		{"Storage", byteUnit, []series{
			sampled("photographs", func(s storage.Sample) int64 { return s.AttachmentBytes }),
			sampled("database", func(s storage.Sample) int64 { return s.DatabaseBytes }),
		}},
		{"Attempts", "a day", []series{
			counted("requests", func(d dayReport) int64 { return d.Requests }), counted("errors", func(d dayReport) int64 { return d.Errors }),
		}},
		{"Circuit", "openings a day", []series{counted("openings", func(d dayReport) int64 { return d.Openings })}},
	} {
		drawn, err := drawLines(c.title, c.unit, c.lines, first, now)
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", c.title, err)
		}
		charts = append(charts, drawn)
	}
	drawn, err := drawErrors(errors)
	if err != nil {
		return nil, fmt.Errorf("draw the errors: %w", err)
	}
	return append(charts, drawn), nil
}

// drawErrors draws how often each kind of error came, as bars.
func drawErrors(errors []storage.ErrorCount) (chart, error) {
	c := chart{Title: "Errors by kind", Unit: "occurrences", Summary: "none"}
	if len(errors) == 0 {
		return c, nil
	}
	const bars = 8
	shown := errors[:min(bars, len(errors))]
	values, names, said := make(plotter.Values, len(shown)), make([]string, len(shown)), make([]string, len(shown))
	for i, e := range shown {
		at := len(shown) - 1 - i // the most frequent is on top
		values[at], names[at] = float64(e.Occurrences), e.Type
		said[i] = e.Type + ": " + humanize.Comma(e.Occurrences)
	}
	c.Summary = strings.Join(said, "; ")
	p := newPlot()
	drawn, err := plotter.NewBarChart(values, vg.Points(120/bars))
	if err != nil {
		return c, err
	}
	drawn.Color, drawn.LineStyle.Width, drawn.Horizontal = chartOrange, 0, true
	p.Add(drawn)
	p.X.Min, p.X.Max, p.X.Tick.Marker = 0, 1.05*max(1, p.X.Max), wholeTicks{}
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.7, max(float64(len(names))-0.3, 3)
	c.SVG, err = svgOf(p)
	return c, err
}

// byteUnit has a chart's bytes shown in the unit that fits the largest of them.
const byteUnit = "bytes"

func drawLines(title, unit string, lines []series, first, now time.Time) (chart, error) {
	if unit == byteUnit {
		unit = scaleBytes(lines)
	}
	c := chart{Title: title, Unit: unit}
	p := newPlot()
	p.X.Tick.Marker, p.Y.Tick.Marker = dayTicks{now.Location()}, wholeTicks{}
	said := make([]string, 0, len(lines))
	for i, l := range lines {
		colour, dashes := chartBlue, []vg.Length(nil)
		if i > 0 {
			colour, dashes = chartOrange, dashed
		}
		c.Legend = append(c.Legend, legendEntry{l.name, fmt.Sprintf("#%02x%02x%02x", colour.R, colour.G, colour.B), dashes != nil})
		if len(l.points) == 0 {
			said = append(said, l.name+": nothing yet")
			continue
		}
		line, end, err := plotter.NewLinePoints(l.points)
		if err != nil {
			return chart{}, err
		}
		line.Color, line.Width, line.Dashes = colour, vg.Points(2), dashes
		end.XYs = l.points[len(l.points)-1:] // now; a single point has no line
		end.Color, end.Radius, end.Shape = colour, vg.Points(3), draw.CircleGlyph{}
		p.Add(line, end)
		least, most := plotter.Range(plotter.YValues{XYer: l.points})
		said = append(said, fmt.Sprintf("%s: last %.4g, between %.4g and %.4g %s", l.name, l.points[len(l.points)-1].Y, least, most, unit))
	}
	p.X.Min, p.X.Max = float64(first.Unix()), float64(now.Unix()) // the same for all charts
	p.Y.Min, p.Y.Max = 0, max(1, p.Y.Max)*1.05
	c.Summary = strings.Join(said, "; ")
	var err error
	c.SVG, err = svgOf(p)
	return c, err
}

// scaleBytes divides the values of the lines by the unit that it returns.
func scaleBytes(lines []series) string {
	most := 0.0
	for _, l := range lines {
		for _, p := range l.points {
			most = max(most, p.Y)
		}
	}
	divisor, unit := 1e6, "MB"
	for _, larger := range []string{"GB", "TB", "PB"} {
		if most >= 1000*divisor {
			divisor, unit = 1000*divisor, larger
		}
	}
	for _, l := range lines {
		for i := range l.points {
			l.points[i].Y /= divisor
		}
	}
	return unit
}

// wholeTicks are the library's, without fractions.
type wholeTicks struct{}

// Ticks returns the ticks between two values.
func (wholeTicks) Ticks(least, most float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(least, most)
	for i, tick := range ticks {
		switch {
		case tick.Value != math.Trunc(tick.Value):
			ticks[i].Label = ""
		case tick.Label != "":
			ticks[i].Label = humanize.Comma(int64(tick.Value))
		}
	}
	return ticks
}

// dayTicks are midnights in a zone, as far apart as it takes to have few of them.
type dayTicks struct{ zone *time.Location }

// Ticks returns the ticks between two times.
func (t dayTicks) Ticks(least, most float64) []plot.Tick {
	const few = 6
	steps := []int{1, 2, 7, 14, 28, 91, 182, 364, 728}
	for len(steps) > 1 && (most-least)/(24*60*60*float64(steps[0])) > few {
		steps = steps[1:]
	}
	var ticks []plot.Tick
	from := time.Unix(int64(least), 0).In(t.zone)
	for at := time.Date(from.Year(), from.Month(), from.Day(), 0, 0, 0, 0, t.zone); float64(at.Unix()) <= most; at = at.AddDate(0, 0, steps[0]) {
		if float64(at.Unix()) >= least {
			ticks = append(ticks, plot.Tick{Value: float64(at.Unix()), Label: at.Format("2 Jan")})
		}
	}
	return ticks
}

func newPlot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.Transparent
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Tick.Label.Font.Variant, axis.Tick.Label.Font.Size = "Sans", vg.Points(12)
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Transparent, color.Gray{Y: 0xd0}
	p.Add(grid)
	return p
}

// svgOf draws small, so that the letters can still be read on a telephone.
func svgOf(p *plot.Plot) (template.HTML, error) {
	canvas := vgsvg.New(360, 190)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	// What the library writes before the element is for files of their own.
	_, svg, _ := strings.Cut(b.String(), "<svg")
	return template.HTML("<svg" + svg), nil
}
