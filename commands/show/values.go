package show

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// The values below are plain in JSON and CSV. For people, Human writes them in the one
// way that all output shares.

// Count is a number of things: 1,234.
type Count int64

// Human writes the count for people.
func (v Count) Human() string { return humanize.Comma(int64(v)) }

// Number is a number that names something, such as a run or a process: 1234.
type Number int64

// Human writes the number for people.
func (v Number) Human() string { return strconv.FormatInt(int64(v), 10) }

// Size is a number of bytes: 3.1 MB.
type Size int64

// Human writes the size for people.
func (v Size) Human() string { return humanize.Bytes(uint64(max(0, v))) }

// Percent is a share: 96.5 %.
type Percent float64

// Human writes the share for people.
func (v Percent) Human() string { return strconv.FormatFloat(float64(v), 'f', 1, 64) + " %" }

// Speed is in bytes a second: 3.1 MB/s.
type Speed float64

// Human writes the speed for people.
func (v Speed) Human() string { return humanize.Bytes(uint64(max(0, v))) + "/s" }

// Duration is in seconds: 12 ms, 2.3 s, 58 s, 1 m 38 s, 2 h 5 m, 3 d 4 h.
type Duration float64

// Human writes the duration for people.
func (v Duration) Human() string {
	d := time.Duration(float64(v) * float64(time.Second))
	switch {
	case d < 0:
		return "-" + (-v).Human()
	case d == 0:
		return "0 s"
	case d < 100*time.Millisecond:
		return strconv.FormatFloat(d.Seconds()*1000, 'g', 2, 64) + " ms"
	case d < 9950*time.Millisecond:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < 59500*time.Millisecond: // what is rounded to a minute is written as one
		return strconv.FormatFloat(d.Seconds(), 'f', 0, 64) + " s"
	}
	const day = 24 * time.Hour
	d = d.Round(time.Second)
	switch {
	case d < time.Hour:
		return twoUnits(d, time.Minute, "m", time.Second, "s")
	case d < day:
		return twoUnits(d, time.Hour, "h", time.Minute, "m")
	default:
		return twoUnits(d, day, "d", time.Hour, "h")
	}
}

func twoUnits(d, large time.Duration, of string, small time.Duration, rest string) string {
	text := humanize.Comma(int64(d/large)) + " " + of
	if n := d % large / small; n > 0 {
		text += fmt.Sprintf(" %d %s", n, rest)
	}
	return text
}

// Lasting is a duration for people.
func Lasting(d time.Duration) string { return Duration(d.Seconds()).Human() }

// timeForm is how an instant is written for people.
const timeForm = "2006-01-02 15:04:05"

// Time is an instant for people, in the zone that it has.
func Time(at time.Time) string { return at.Format(timeForm) }

// Clock is an instant in the zone of now, with how long ago or ahead that is.
func Clock(at, now time.Time) string {
	text := Time(at.In(now.Location()))
	if d := now.Sub(at); d >= 0 {
		return text + " (" + Lasting(d) + " ago)"
	}
	return text + " (in " + Lasting(at.Sub(now)) + ")"
}

// ID is a text that names something, such as an inspection, a file or an archive. A
// table never breaks it.
type ID string

// Human is the text as it is.
func (v ID) Human() string { return string(v) }

// Tip is the tip of a record, or a hash. In text it is shown by its shortest beginning
// that is unique; see [Output.Neighbours].
type Tip string

const (
	tipDigits   = 64 // of a whole tip, of which the beginning is enough
	leastDigits = 10 // that are shown of it
)

// Human is the beginning of the tip.
func (v Tip) Human() string { return v.beginning(0) }

// beginning is the tip's first digits, or all of what is no tip of the platform.
func (v Tip) beginning(digits int) string {
	if len(v) != tipDigits {
		return string(v)
	}
	return string(v[:min(max(digits, leastDigits), tipDigits)])
}

// wholeTip matches a tip or hash within a sentence.
var wholeTip = regexp.MustCompile(`\b([0-9a-f]{10})[0-9a-f]{54}\b`)

// ShortTips shortens the tips and hashes within a text for people.
func ShortTips(s string) string { return wholeTip.ReplaceAllString(s, "$1…") }

// Value is what p points to, or nil, rather than a nil pointer, where there is none.
func Value[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// As is what p points to as one of the values above, or nil.
func As[V Count | Size | Percent | Duration | Speed, T int64 | float64](p *T) any {
	if p == nil {
		return nil
	}
	return V(*p)
}

// Name is what p points to as a name, or nil.
func Name[V ID | Tip](p *string) any {
	if p == nil {
		return nil
	}
	return V(*p)
}

// Textf is a text with grouped numbers: 12 of 1,656.
func Textf(format string, args ...any) string {
	for i, arg := range args {
		switch n := arg.(type) {
		case int:
			args[i] = humanize.Comma(int64(n))
		case int64:
			args[i] = humanize.Comma(n)
		}
	}
	return fmt.Sprintf(strings.ReplaceAll(format, "%d", "%s"), args...)
}

// OrDash is s, or a dash where there is nothing.
func OrDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Either is what the first points to, else the second, else "".
func Either(first, second *string) string {
	switch {
	case first != nil:
		return *first
	case second != nil:
		return *second
	}
	return ""
}
