package cmdline

import (
	"regexp"
	"strconv"
	"time"

	"noggin/commands/show"
)

// DayOlderThan reads the value of --older-than, 2y, 18m or 90d, and returns the day that
// long before now, such as 2024-11-24.
func DayOlderThan(age string, now time.Time) (string, error) {
	match := ageForm.FindStringSubmatch(age)
	if match == nil {
		return "", Usagef("--older-than %s: want an age such as 2y, 18m or 90d", show.Quoted(age))
	}
	n, err := strconv.Atoi(match[1])
	if err != nil || n > 36500 {
		return "", Usagef("--older-than %s: want an age such as 2y, 18m or 90d", show.Quoted(age))
	}
	switch match[2] {
	case "y":
		return monthsBefore(now, 12*n), nil
	case "m":
		return monthsBefore(now, n), nil
	default:
		return now.AddDate(0, 0, -n).Format(time.DateOnly), nil
	}
}

var ageForm = regexp.MustCompile(`^([1-9][0-9]{0,5})([ymd])$`)

// monthsBefore returns the same day n months ago, or the last day of that month when
// it is shorter.
func monthsBefore(now time.Time, n int) string {
	first := time.Date(now.Year(), now.Month()-time.Month(n), 1, 0, 0, 0, 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(now.Day(), last)-1).Format(time.DateOnly)
}
