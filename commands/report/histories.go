package report

import (
	"fmt"
	"math"
	"time"

	"noggin/batch/health"
	"noggin/storage"
)

// past is what the charts are drawn from. Days and samples are the oldest first.
type past struct {
	days    []dayReport
	samples []storage.Sample
	errors  []storage.ErrorCount
	disk    *diskState // nil: not known
	first   time.Time  // a midnight
	now     time.Time
}

// drawCharts draws the past of the mirror.
func (r past) drawCharts() []chart {
	var charts []chart
	for _, h := range []history{r.outcomes(), r.shares(), r.queue(), r.volume(), r.stored()} {
		charts = append(charts, h.draw(r.first, r.now))
	}
	return append(charts, drawErrors(r.errors, r.now.Location()))
}

// parts are those into which a day's records fall.
func (r past) parts(of func(d dayReport, n int64) (float64, bool)) []series {
	parts := []series{{name: "complete", class: "good"}, {name: "partial", class: "warn"}, {name: "failed", class: "bad"}, {name: "unfinished", class: "rest"}}
	unfinished := false
	for i, d := range r.days {
		at := r.first.AddDate(0, 0, i)
		for j, n := range []int64{d.Complete, d.Partial, d.Failed + d.APIFailed, d.Unfinished} {
			if v, ok := of(d, n); ok {
				parts[j].points = append(parts[j].points, point{at, v})
			}
		}
		unfinished = unfinished || d.Unfinished > 0
	}
	if !unfinished {
		parts = parts[:3]
	}
	return parts
}

func (r past) outcomes() history {
	return history{
		title: "Records a day", unit: "records", least: 1, text: countText, target: health.TargetCompletion,
		series: r.parts(func(_ dayReport, n int64) (float64, bool) { return float64(n), true }),
	}
}

func (r past) shares() history {
	return history{
		title: "Share of the day's records", unit: "percent", least: 100, text: percentText,
		series: r.parts(func(d dayReport, n int64) (float64, bool) {
			return 100 * float64(n) / float64(max(1, d.Processed)), d.Processed > 0
		}),
		rules: []rule{{"target for complete", health.TargetCompletion}},
	}
}

func (r past) sampled(name, class string, value func(storage.Sample) (int64, bool)) series {
	s := series{name: name, class: class}
	for _, sample := range r.samples {
		if v, ok := value(sample); ok {
			s.points = append(s.points, point{sample.At, float64(v)})
		}
	}
	return s
}

func (r past) queue() history {
	return history{title: "Queue", unit: "records", steps: true, least: 1, text: countText, series: []series{
		r.sampled("due", "first", func(s storage.Sample) (int64, bool) { return s.Due, true }),
		r.sampled("waiting for a retry", "second", func(s storage.Sample) (int64, bool) { return s.Later, true }),
	}}
}

func (r past) stored() history {
	return history{title: "Stored", unit: "bytes", steps: true, least: 1, text: sizeText, series: []series{
		r.sampled("attachments", "first", func(s storage.Sample) (int64, bool) { return s.AttachmentBytes, true }),
		r.sampled("database", "second", func(s storage.Sample) (int64, bool) { return s.DatabaseBytes, true }),
	}}
}

// volume is the volume of this host's output folder, with its forecast.
func (r past) volume() history {
	h := history{title: "Output volume", unit: "bytes used", steps: true, least: 1, text: sizeText}
	d := r.disk
	if d == nil {
		h.series = []series{{name: "used", class: "first"}}
		return h
	}
	used := r.sampled("used", "first", func(s storage.Sample) (int64, bool) {
		if s.Disk == nil || s.Disk.Host != d.Host || s.Disk.Path != d.Path {
			return 0, false
		}
		return s.Disk.TotalBytes - s.Disk.FreeBytes, true
	})
	used.points = append(used.points, point{r.now, float64(d.TotalBytes - d.FreeBytes)})
	h.series = []series{used}
	h.rules = []rule{
		{"full", float64(d.TotalBytes)},
		{fmt.Sprintf("limit (%.0f %%)", health.DiskFullPercent), math.Floor(float64(d.TotalBytes) * health.DiskFullPercent / 100)},
	}
	if d.BytesPerDay != nil {
		h.forecast = &forecast{perDay: *d.BytesPerDay, days: max(1, len(r.days)/3), name: "forecast: " + d.growth()}
	}
	return h
}
