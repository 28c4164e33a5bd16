package cmdline

import (
	"testing"
	"time"
)

func TestTheShareOfTheDayMovesOn(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	day := time.Date(2026, 2, 26, 23, 30, 0, 0, time.UTC)
	for i := range 12 {
		part, parts, err := parsePart("day/12", day.AddDate(0, 0, i))
		if err != nil || parts != 12 || part < 1 || part > 12 {
			t.Fatalf("%d/%d, %v", part, parts, err)
		}
		seen[part] = true
	}
	if len(seen) != 12 {
		t.Errorf("twelve days covered %d of 12 shares", len(seen))
	}
	for _, given := range []string{"", "3", "0/3", "4/3", "x/3", "1/0", "day/x", "1/2/3", "-1/3"} {
		if _, _, err := parsePart(given, day); err == nil {
			t.Errorf("%q was accepted", given)
		}
	}
}
