package archive

import (
	"errors"
	"testing"
	"time"

	"noggin/batch/archive"
	"noggin/commands/cmdline"
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

func TestWhatWasLeftUndoneIsInTheExitCode(t *testing.T) {
	t.Parallel()
	reached, missed := true, false
	for name, test := range map[string]struct {
		change func(*archive.CreateSummary)
		err    error
		want   int
	}{
		"all is done":                    {func(*archive.CreateSummary) {}, nil, cmdline.ExitDone},
		"enough is free":                 {func(s *archive.CreateSummary) { s.FreeReached, s.Uncopied = &reached, 1 }, nil, cmdline.ExitDone},
		"not enough is free":             {func(s *archive.CreateSummary) { s.FreeReached = &missed }, nil, cmdline.ExitPartial},
		"a copy is missing":              {func(s *archive.CreateSummary) { s.Uncopied = 1 }, nil, cmdline.ExitPartial},
		"a copy is missing for the rest": {func(s *archive.CreateSummary) { s.FreeReached, s.Uncopied = &missed, 1 }, nil, cmdline.ExitPartial},
		"a file differs":                 {func(s *archive.CreateSummary) { s.LeftOutCount = 1 }, nil, cmdline.ExitPartial},
		"an archive is damaged":          {func(s *archive.CreateSummary) { s.Problems = []string{"damaged"} }, nil, cmdline.ExitPartial},
		"no second place":                {func(*archive.CreateSummary) {}, archive.ErrNoTarget, cmdline.ExitUsage},
		"one volume":                     {func(*archive.CreateSummary) {}, archive.ErrSameVolume, cmdline.ExitUsage},
	} {
		var s archive.CreateSummary
		test.change(&s)
		err := verdict(s, test.err)
		if code, _ := cmdline.OwnCode(err); code != test.want || (err == nil) != (test.want == cmdline.ExitDone) || test.err != nil && !errors.Is(err, test.err) {
			t.Errorf("%s: exit code %d, %v", name, code, err)
		}
	}
}
