package cmdline

import (
	"strconv"
	"strings"
	"time"

	"noggin/commands/show"
)

// WhenWords are what flags for a time or a day take, as help says it.
const WhenWords = `2025-10-22, "2025-10-22 14:00", today, yesterday, or 36h, 7d, 2w ago`

const wantWhen = `want 2025-10-22, "2025-10-22 14:00", today, yesterday, or how long ago, such as 36h, 7d or 2w`

// When reads the value of a flag for a time: --since. A day is its beginning, in the zone
// of now.
func When(flag, given string, now time.Time) (time.Time, error) {
	at, ok := when(given, now)
	if !ok {
		return at, Usagef("--%s %s: "+wantWhen, flag, show.Quoted(given))
	}
	return at, nil
}

// Day reads the value of a flag for a day: --from, --date. It takes the same words as
// [When], and returns a day such as 2025-10-22.
func Day(flag, given string, now time.Time) (string, error) {
	at, err := When(flag, given, now)
	if err != nil {
		return "", err
	}
	return at.In(now.Location()).Format(time.DateOnly), nil
}

func when(text string, now time.Time) (time.Time, bool) {
	today := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch text {
	case "today":
		return today, true
	case "yesterday":
		return today.AddDate(0, 0, -1), true
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04", time.RFC3339} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, at.Year() >= 1
		}
	}
	for unit, days := range map[string]int{"d": 1, "w": 7} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.Atoi(number)
			return now.AddDate(0, 0, -days*n), err == nil && n >= 0 && n <= 36500/days
		}
	}
	ago, err := time.ParseDuration(text)
	return now.Add(-ago), err == nil && ago >= 0
}
