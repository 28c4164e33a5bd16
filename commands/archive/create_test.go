package archive

import (
	"testing"
	"time"
)

func TestTheFlagsSayWhatIsOldEnough(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 31, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		olderThan, before string
		untilFree         bool
		want              string // "": refused
	}{
		{"", "", false, "2024-03-31"},
		{"2y", "", false, "2024-03-31"},
		{"", "2024-07-01", false, "2024-07-01"},
		{"", "", true, "2026-03-01"},
		{"1y", "", true, "2025-03-31"},
		{"1y", "2024-07-01", false, ""},
		{"", "2024-02-30", false, ""},
		{"", "yesterday", false, "2026-03-30"},
		{"", "someday", false, ""},
		{"2w", "", false, ""},
	} {
		got, err := before(c.olderThan, c.before, c.untilFree, now)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
}
