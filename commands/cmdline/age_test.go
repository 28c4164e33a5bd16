package cmdline

import (
	"testing"
	"time"
)

func TestAnAgeIsADayInThePast(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 31, 9, 0, 0, 0, time.UTC)
	for age, want := range map[string]string{ // "": refused
		"2y":      "2024-03-31",
		"1m":      "2026-02-28",
		"18m":     "2024-09-30",
		"90d":     "2025-12-31",
		"25m":     "2024-02-29",
		"":        "",
		"0d":      "",
		"2w":      "",
		"-1y":     "",
		"999999y": "",
	} {
		got, err := DayOlderThan(age, now)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", age, got, err)
		}
	}
}
