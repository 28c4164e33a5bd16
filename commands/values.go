package commands

import (
	"fmt"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
)

// Values of results: numbers in JSON and CSV, with their unit and grouped digits
// for people.
type (
	count    int64   // 1,234
	size     int64   // bytes: 3.1 MB
	percent  float64 // 96.5 %
	duration float64 // seconds: 1.5 s, 3m20s
	speed    float64 // bytes a second: 3.1 MB/s
)

func (v count) human() string   { return humanize.Comma(int64(v)) }
func (v size) human() string    { return humanize.Bytes(uint64(max(0, v))) }
func (v percent) human() string { return strconv.FormatFloat(float64(v), 'f', 1, 64) + " %" }
func (v speed) human() string   { return humanize.Bytes(uint64(max(0, v))) + "/s" }

func (v duration) human() string {
	d := time.Duration(float64(v) * float64(time.Second))
	switch {
	case d < 0:
		return "-" + (-v).human()
	case d < 100*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < 100*time.Minute:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%.1f days", d.Hours()/24)
	}
}

// value is what p points to, or nil, rather than a nil pointer, where there is none.
func value[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// as is what p points to as one of the values above, or nil.
func as[V count | size | percent | duration | speed, T int64 | float64](p *T) any {
	if p == nil {
		return nil
	}
	return V(*p)
}

// clock is a time as sentences and tables show it, with how long ago or ahead that
// is.
func clock(at, now time.Time) string {
	text := at.In(now.Location()).Format("2006-01-02 15:04:05")
	if d := now.Sub(at); d >= 0 {
		return text + " (" + duration(d.Seconds()).human() + " ago)"
	}
	return text + " (in " + duration(at.Sub(now).Seconds()).human() + ")"
}

// plural is a number with its noun.
func plural[N int | int64](n N, noun string) string { return english.Plural(int(n), noun, "") }

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// either is what the first points to, else the second, else "".
func either(first, second *string) string {
	switch {
	case first != nil:
		return *first
	case second != nil:
		return *second
	}
	return ""
}

// shortTip is as much of a tip as tells it apart, and as `report tip` takes.
func shortTip(tip string) string {
	if len(tip) <= 10 {
		return tip
	}
	return tip[:10]
}
