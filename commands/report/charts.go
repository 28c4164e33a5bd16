package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"noggin/commands/show"
	"noggin/storage"
)

// chart is the geometry of a drawing: the page's template draws it.
type chart struct {
	Title   string
	Summary []string // what a screen reader says instead
	Legend  []mark   // a key each, in a box of 20 by 10
	Grid    string   // path
	Labels  []chartLabel
	Marks   []mark // empty: there is nothing to be drawn
	Figures figures
}

// figures is the table behind a chart. The cells of its first column head the rows.
type figures struct {
	Head []string
	Rows [][]string
}

// mark is what one title tells about: a series, a day or a kind of error.
type mark struct {
	Title  string
	Shapes []shape
}

type shape struct{ Class, Path string }

// chartLabel is a text that starts, is centred or ends at a place, as its anchor says.
type chartLabel struct {
	X, Y         float64
	Anchor, Text string
}

// The box of a chart is 360 by 190, small, so that its letters can be read on a
// telephone. Within it these are the edges of the area between the axes.
const chartLeft, chartTop, chartRight, chartBottom = 62.0, 24.0, 342.0, 152.0

// point is a value of a day, where its time is the day's start, or of a sample.
type point struct {
	at    time.Time
	value float64
}

type series struct {
	name, class string
	points      []point // the oldest first
}

// rule is a line at a value: a target or a limit.
type rule struct {
	name  string
	value float64
}

// history is what a chart shows of every day until now: bars for what was counted in
// it, or steps for states, each of which is drawn until the next one is known.
type history struct {
	title, unit string
	steps       bool    // else bars, those of a day on top of each other
	least       float64 // the axis of values reaches this far in any case
	text        func(float64) string
	series      []series
	rules       []rule
	target      float64 // percent: each day's bars have a tick there; 0: none
	forecast    *forecast
}

// forecast is the line on which the last series is expected to go on.
type forecast struct {
	name   string
	perDay float64
	days   int // after today
}

func countText(v float64) string { return show.Count(v).Human() }
func sizeText(v float64) string  { return show.Size(v).Human() }
func percentText(v float64) string {
	return strconv.FormatFloat(math.Round(10*v)/10, 'f', -1, 64) + " %"
}

func (h history) draw(first, now time.Time) chart {
	var starts []time.Time
	for at := first; !at.After(now); at = first.AddDate(0, 0, len(starts)) {
		starts = append(starts, at)
	}
	ahead := 0
	if h.forecast != nil {
		ahead = h.forecast.days
	}
	end := starts[len(starts)-1].AddDate(0, 0, 1+ahead)
	x := func(at time.Time) float64 {
		return chartLeft + (chartRight-chartLeft)*float64(at.Sub(first))/float64(end.Sub(first))
	}
	ticks := valueTicks(h.most())
	y := func(v float64) float64 { return chartBottom - (chartBottom-chartTop)*v/ticks[len(ticks)-1] }

	c := chart{Title: h.title, Labels: []chartLabel{{0, 12, "start", h.unit}, {(chartLeft + chartRight) / 2, 186, "middle", "day"}}}
	for _, v := range ticks {
		c.Grid += fmt.Sprintf("M%.2f %.2fH%.2f", chartLeft, y(v), chartRight)
		c.Labels = append(c.Labels, chartLabel{chartLeft - 6, y(v) + 4, "end", h.text(v)})
	}
	step, layout := dayTicks(len(starts) + ahead)
	for i := 0; i < len(starts)+ahead; i += step {
		middle := (x(first.AddDate(0, 0, i)) + x(first.AddDate(0, 0, i+1))) / 2
		c.Labels = append(c.Labels, chartLabel{middle, chartBottom + 16, "middle", first.AddDate(0, 0, i).Format(layout)})
	}
	c.Figures.Head = []string{"Day"}
	for _, s := range h.series {
		key := shape{s.class + " bar", rectangle(5, 0, 10, 10)}
		text := s.summary(h.text)
		c.Summary = append(c.Summary, text)
		if h.steps {
			key = shape{s.class + " line", "M1 5H19"}
			c.Marks = append(c.Marks, mark{text, []shape{{key.Class, stepsOf(s.points, now, x, y)}}})
		}
		c.Legend = append(c.Legend, mark{s.name, []shape{key}})
		c.Figures.Head = append(c.Figures.Head, s.name)
	}
	for _, at := range starts {
		m, row := h.day(at, now, x, y)
		c.Marks = append(c.Marks, m)
		c.Figures.Rows = append([][]string{row}, c.Figures.Rows...) // the latest first
	}
	h.drawLines(&c, now, end, x, y)
	return c
}

// most is the largest value that is drawn.
func (h history) most() float64 {
	most := h.least
	stacks := map[time.Time]float64{}
	for _, s := range h.series {
		for _, p := range s.points {
			stacks[p.at] += p.value
			most = max(most, p.value)
			if !h.steps {
				most = max(most, math.Round(1e6*stacks[p.at])/1e6) // shares make 100
			}
		}
	}
	for _, r := range h.rules {
		most = max(most, r.value)
	}
	return most
}

// drawLines draws the rules, and the forecast as far as the highest tick or rule.
func (h history) drawLines(c *chart, now, end time.Time, x func(time.Time) float64, y func(float64) float64) {
	for _, r := range h.rules {
		line := shape{"rule line", fmt.Sprintf("M%.2f %.2fH%.2f", chartLeft, y(r.value), chartRight)}
		c.Marks = append(c.Marks, mark{r.name + ": " + h.text(r.value), []shape{line}})
		c.Legend = append(c.Legend, mark{r.name, []shape{{"rule line", "M1 5H19"}}})
		c.Summary = append(c.Summary, r.name+": "+h.text(r.value))
	}
	if h.target > 0 {
		c.Legend = append(c.Legend, mark{fmt.Sprintf("%.0f %% of the day", h.target), []shape{{"rule line", "M1 5H19"}}})
	}
	f := h.forecast
	if f == nil || len(h.series) == 0 || len(h.series[len(h.series)-1].points) == 0 {
		return
	}
	points := h.series[len(h.series)-1].points
	from, top, until := points[len(points)-1].value, h.most(), end
	if f.perDay > 0 { // never above what the chart shows
		if days := (top - from) / f.perDay; days < end.Sub(now).Hours()/24 {
			until = now.Add(time.Duration(days * float64(24*time.Hour)))
		}
	}
	to := max(0, from+f.perDay*until.Sub(now).Hours()/24)
	path := fmt.Sprintf("M%.2f %.2fL%.2f %.2f", x(now), y(from), x(until), y(to))
	c.Marks = append(c.Marks, mark{f.name, []shape{{"forecast line", path}}})
	c.Legend = append(c.Legend, mark{"forecast", []shape{{"forecast line", "M1 5H19"}}})
	c.Summary = append(c.Summary, f.name)
}

// day is the mark of a day and its row of figures. A pointer finds it in all the day's
// height, since a bar may have none.
func (h history) day(start, now time.Time, x func(time.Time) float64, y func(float64) float64) (m mark, row []string) {
	next := start.AddDate(0, 0, 1)
	wide := x(next) - x(start)
	m = mark{start.Format("Mon 2 Jan 2006"), []shape{{"ground", rectangle(x(start), chartTop, wide, chartBottom-chartTop)}}}
	row = []string{start.Format(time.DateOnly)}
	switch {
	case next.After(now):
		m.Title += ", so far"
	case h.steps:
		m.Title += ", at its end"
	}
	left, width, stack := x(start)+0.1*wide, 0.8*wide, 0.0
	for _, s := range h.series {
		text := "–"
		for _, p := range s.points {
			if p.at.Before(start) || !p.at.Before(next) {
				continue
			}
			text = h.text(p.value)
			if !h.steps && p.value > 0 {
				m.Shapes = append(m.Shapes, shape{s.class + " bar", rectangle(left, y(stack+p.value), width, y(stack)-y(stack+p.value))})
				stack += p.value
			}
		}
		m.Title += "\n" + s.name + ": " + text
		row = append(row, text)
	}
	if h.target > 0 && stack > 0 {
		m.Shapes = append(m.Shapes, shape{"rule line", fmt.Sprintf("M%.2f %.2fh%.2f", x(start), y(stack*h.target/100), wide)})
	}
	return m, row
}

// stepsOf is the path of states. After two days without a sample a state is no longer
// known.
func stepsOf(points []point, now time.Time, x func(time.Time) float64, y func(float64) float64) string {
	var path strings.Builder
	var until time.Time
	for i, p := range points {
		if p.at.After(until) {
			fmt.Fprintf(&path, "M%.2f %.2f", x(p.at), y(p.value))
		} else {
			fmt.Fprintf(&path, "V%.2f", y(p.value))
		}
		until = now
		if i+1 < len(points) {
			until = points[i+1].at
		}
		if known := p.at.AddDate(0, 0, 2); until.After(known) {
			until = known
		}
		fmt.Fprintf(&path, "H%.2f", x(until))
	}
	return path.String()
}

// summary is the series in a sentence.
func (s series) summary(text func(float64) string) string {
	if len(s.points) == 0 {
		return s.name + ": nothing yet"
	}
	last := s.points[len(s.points)-1].value
	least, most := last, last
	for _, p := range s.points {
		least, most = min(least, p.value), max(most, p.value)
	}
	return fmt.Sprintf("%s: last %s, between %s and %s", s.name, text(last), text(least), text(most))
}

// drawErrors draws how often each of the most frequent kinds of error came.
func drawErrors(errors []storage.ErrorCount, zone *time.Location) chart {
	const rows, left = 8, 112.0
	c := chart{Title: "Errors by kind", Figures: figures{Head: []string{"Kind", "Occurrences", "Records", "Last"}}}
	if len(errors) == 0 {
		return c
	}
	for _, e := range errors {
		c.Figures.Rows = append(c.Figures.Rows, []string{e.Type, countText(float64(e.Occurrences)), countText(float64(e.Records)), e.Last.In(zone).Format("2006-01-02 15:04")})
	}
	errors = errors[:min(rows, len(errors))] // the most frequent is the first
	ticks := valueTicks(float64(errors[0].Occurrences))
	x := func(v float64) float64 { return left + (chartRight-left)*v/ticks[len(ticks)-1] }
	c.Labels = []chartLabel{{0, 12, "start", "kind"}, {(left + chartRight) / 2, 186, "middle", "occurrences"}}
	for _, v := range ticks {
		c.Grid += fmt.Sprintf("M%.2f %.2fV%.2f", x(v), chartTop, chartBottom)
		c.Labels = append(c.Labels, chartLabel{x(v), chartBottom + 16, "middle", countText(v)})
	}
	height := (chartBottom - chartTop) / rows
	for i, e := range errors {
		top := chartTop + float64(i)*height
		title := e.Type + ": " + countText(float64(e.Occurrences))
		c.Labels = append(c.Labels, chartLabel{left - 6, top + height/2 + 4, "end", e.Type})
		c.Marks = append(c.Marks, mark{title, []shape{
			{"ground", rectangle(left, top, chartRight-left, height)},
			{"error bar", rectangle(left, top+0.1*height, x(float64(e.Occurrences))-left, 0.8*height)},
		}})
		c.Summary = append(c.Summary, title)
	}
	return c
}

func rectangle(x, y, width, height float64) string {
	return fmt.Sprintf("M%.2f %.2fh%.2fv%.2fh%.2fz", x, y, width, height, -width)
}

// valueTicks are whole round numbers from zero to at least most: five steps at most.
func valueTicks(most float64) []float64 {
	step := 1.0
	for i := 0; most > 5*step; i++ {
		step *= [...]float64{2, 2.5, 2}[i%3] // 1, 2, 5, 10
	}
	ticks := []float64{0}
	for v := step; v < most+step; v += step {
		ticks = append(ticks, v)
	}
	return ticks
}

// dayTicks has one day of so many labelled, few of them, in a layout.
func dayTicks(days int) (step int, layout string) {
	for _, step = range []int{1, 2, 7, 14, 28, 91, 182, 364, 728} {
		if days <= 6*step {
			break
		}
	}
	if days > 300 {
		return step, "Jan 2006"
	}
	return step, "2 Jan"
}
