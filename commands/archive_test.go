package commands

import (
	"testing"
	"time"
)

func TestAgesAndDaysSayWhatIsOldEnough(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 31, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		olderThan, before string
		untilFree         bool
		want              string // "": refused
	}{
		{"", "", false, "2024-03-31"},
		{"2y", "", false, "2024-03-31"},
		{"1m", "", false, "2026-02-28"},
		{"18m", "", false, "2024-09-30"},
		{"90d", "", false, "2025-12-31"},
		{"25m", "", false, "2024-02-29"},
		{"", "2024-07-01", false, "2024-07-01"},
		{"", "", true, "2026-03-01"},
		{"1y", "", true, "2025-03-31"},
		{"1y", "2024-07-01", false, ""},
		{"", "2024-02-30", false, ""},
		{"", "yesterday", false, ""},
		{"0d", "", false, ""},
		{"2w", "", false, ""},
		{"-1y", "", false, ""},
		{"999999y", "", false, ""},
	} {
		got, err := archiveBefore(c.olderThan, c.before, c.untilFree, now)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
}
