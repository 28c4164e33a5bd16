package commands

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"strings"
	"time"

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
	SVG     template.HTML
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

// series is a line of a chart.
type series struct {
	name   string
	colour color.Color
	dashes []vg.Length
	points plotter.XYs
}

// drawCharts draws the history of the mirror.
func drawCharts(data pageData, samples []storage.Sample, now time.Time) ([]chart, error) {
	days := func(value func(storage.Day) (float64, bool)) plotter.XYs {
		var points plotter.XYs
		for i := len(data.Days) - 1; i >= 0; i-- {
			day, err := time.ParseInLocation(time.DateOnly, data.Days[i].Date, now.Location())
			if y, ok := value(data.Days[i]); ok && err == nil {
				points = append(points, plotter.XY{X: float64(day.Unix()), Y: y})
			}
		}
		return points
	}
	rate := func(rate *float64) (float64, bool) {
		if rate == nil {
			return 0, false
		}
		return *rate, true
	}
	history := func(value func(storage.Sample) float64) plotter.XYs {
		points := make(plotter.XYs, len(samples))
		for i, s := range samples {
			points[i] = plotter.XY{X: float64(s.At.Unix()), Y: value(s)}
		}
		return points
	}
	const gigabyte = 1e9
	specs := []struct {
		title, unit string
		series      []series
	}{
		{"Throughput", "records a day", []series{
			{"processed", chartBlue, nil, days(func(d storage.Day) (float64, bool) { return float64(d.Processed), true })},
			{"complete", chartOrange, dashed, days(func(d storage.Day) (float64, bool) { return float64(d.Complete), true })},
		}},
		{"Completion and failure rate", "percent", []series{
			{"complete", chartBlue, nil, days(func(d storage.Day) (float64, bool) { return rate(d.CompletionRate()) })},
			{"API failures", chartOrange, dashed, days(func(d storage.Day) (float64, bool) { return rate(d.APIFailureRate()) })},
		}},
		{"Queue", "records", []series{
			{"due", chartBlue, nil, history(func(s storage.Sample) float64 { return float64(s.Due) })},
			{"waiting for a retry", chartOrange, dashed, history(func(s storage.Sample) float64 { return float64(s.Later) })},
		}},
		{"Storage", "GB", []series{
			{"photographs", chartBlue, nil, history(func(s storage.Sample) float64 { return float64(s.AttachmentBytes) / gigabyte })},
			{"database", chartOrange, dashed, history(func(s storage.Sample) float64 { return float64(s.DatabaseBytes) / gigabyte })},
		}},
		{"Attempts", "requests a day", []series{
			{"requests", chartBlue, nil, days(func(d storage.Day) (float64, bool) { return float64(d.Requests), true })},
			{"errors", chartOrange, dashed, days(func(d storage.Day) (float64, bool) { return float64(d.Errors), true })},
		}},
		{"Circuit", "openings a day", []series{
			{"openings", chartOrange, nil, days(func(d storage.Day) (float64, bool) { return float64(d.Openings), true })},
		}},
	}
	var charts []chart
	for _, spec := range specs {
		drawn, err := drawChart(spec.title, spec.unit, spec.series)
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", spec.title, err)
		}
		charts = append(charts, drawn)
	}
	drawn, err := drawErrors(data.Errors)
	if err != nil {
		return nil, fmt.Errorf("draw the errors: %w", err)
	}
	return append(charts, drawn), nil
}

// drawErrors draws how often each kind of error came, as bars.
func drawErrors(errors []storage.ErrorCount) (chart, error) {
	const bars = 8
	p := newPlot()
	values, names, said := plotter.Values{}, []string{}, []string{}
	for _, e := range errors[:min(bars, len(errors))] {
		values, names = append(values, float64(e.Occurrences)), append(names, e.Type)
		said = append(said, fmt.Sprintf("%s: %d", e.Type, e.Occurrences))
	}
	if len(values) > 0 {
		drawn, err := plotter.NewBarChart(values, vg.Points(14))
		if err != nil {
			return chart{}, err
		}
		drawn.Color, drawn.Width = chartOrange, vg.Points(14)
		drawn.LineStyle.Width = 0
		p.Add(drawn)
		p.NominalX(names...)
		p.X.Min, p.X.Max = -0.7, float64(len(names))-0.3 // room for the outer bars
		p.X.Tick.Label.Rotation, p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = 0.5, draw.XRight, draw.YTop
	} else {
		said = append(said, "none")
	}
	svg, err := svgOf(p)
	return chart{Title: "Errors by kind", Unit: "occurrences", Summary: strings.Join(said, "; "), SVG: svg}, err
}

func drawChart(title, unit string, lines []series) (chart, error) {
	c := chart{Title: title, Unit: unit}
	p := newPlot()
	p.X.Tick.Marker = plot.TimeTicks{Format: "2 Jan"}
	said := make([]string, 0, len(lines))
	for _, l := range lines {
		r, g, b, _ := l.colour.RGBA()
		c.Legend = append(c.Legend, legendEntry{l.name, fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8), l.dashes != nil})
		if len(l.points) == 0 {
			said = append(said, l.name+": nothing yet")
			continue
		}
		line, err := plotter.NewLine(l.points)
		if err != nil {
			return chart{}, err
		}
		line.Color, line.Width, line.Dashes = l.colour, vg.Points(2), l.dashes
		p.Add(line)
		least, most := plotter.Range(plotter.YValues{XYer: l.points})
		said = append(said, fmt.Sprintf("%s: last %.4g, between %.4g and %.4g %s", l.name, l.points[len(l.points)-1].Y, least, most, unit))
	}
	c.Summary = strings.Join(said, "; ")
	var err error
	c.SVG, err = svgOf(p)
	return c, err
}

func newPlot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.Transparent
	p.Y.Min = 0
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Transparent, color.Gray{Y: 0xd0}
	p.Add(grid)
	return p
}

// svgOf draws small, so that the letters can still be read on a telephone.
func svgOf(p *plot.Plot) (template.HTML, error) {
	p.Y.Max = max(1, p.Y.Max) * 1.05
	canvas := vgsvg.New(400, 200)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	// What the library writes before the element is for files of their own.
	_, svg, _ := strings.Cut(b.String(), "<svg")
	return template.HTML("<svg" + svg), nil
}
