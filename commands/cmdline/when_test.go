package cmdline

import (
	"testing"
	"time"
)

func TestEveryFlagForATimeTakesTheSameWords(t *testing.T) {
	zone := time.FixedZone("AWST", 8*3600)
	now := time.Date(2025, 10, 22, 14, 30, 0, 0, zone)
	for given, want := range map[string][2]string{
		"2025-09-17":           {"2025-09-17 00:00", "2025-09-17"},
		"2025-09-17 20:15":     {"2025-09-17 20:15", "2025-09-17"},
		"2025-09-17T20:15":     {"2025-09-17 20:15", "2025-09-17"},
		"2025-09-17T20:00:00Z": {"2025-09-18 04:00", "2025-09-18"},
		"today":                {"2025-10-22 00:00", "2025-10-22"},
		"yesterday":            {"2025-10-21 00:00", "2025-10-21"},
		"36h":                  {"2025-10-21 02:30", "2025-10-21"},
		"90m":                  {"2025-10-22 13:00", "2025-10-22"},
		"7d":                   {"2025-10-15 14:30", "2025-10-15"},
		"2w":                   {"2025-10-08 14:30", "2025-10-08"},
		"0d":                   {"2025-10-22 14:30", "2025-10-22"},
	} {
		at, err := When("since", given, now)
		day, dayErr := Day("from", given, now)
		if err != nil || dayErr != nil || at.In(zone).Format("2006-01-02 15:04") != want[0] || day != want[1] {
			t.Errorf("%s: %s, %s (%v, %v); want %s", given, at.In(zone), day, err, dayErr, want)
		}
	}
	for _, given := range []string{"", "tomorrow", "-1d", "-2h", "7", "d", "36501d", "5300w", "2025-13-01", "2025-02-30", "0000-01-01", "Today "} {
		if at, err := When("since", given, now); err == nil {
			t.Errorf("%q is taken for %s", given, at)
		}
	}
}
