package health

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
)

// minuteLayout is how times are written for people.
const minuteLayout = "2006-01-02 15:04"

// BytesText writes a size for people.
func BytesText(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }

// Plural writes a number with its noun: "1 file", "1,656 files". A noun whose plural is
// more than its own gives both forms: "file waits|files wait".
func Plural[N int | int64](n N, noun string) string {
	one, many, _ := strings.Cut(noun, "|")
	return humanize.Comma(int64(n)) + " " + english.PluralWord(int(n), one, many)
}

// duration writes a length of time for people: "3 h 20 min", "2 days".
func duration(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
}

// DueText writes how many records are due: "3 records", "at least 10,000 records".
func DueText(n int64, atLeast bool) string {
	text := Plural(n, "record")
	if atLeast {
		text = "at least " + text
	}
	return text
}
