package health

import (
	"strings"
	"testing"
	"time"

	"noggin/storage"
)

func TestCopiesThatAreLateLostOrUnverifiedRaiseFlags(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) *time.Time { return new(now.Add(-d)) }
	for want, target := range map[string]storage.CopyTarget{
		"":                         {URL: "/b", Due: 3, DueSince: ago(25 * time.Hour), VerifiedSince: ago(14 * 24 * time.Hour)},
		"red copies_late":          {URL: "/b", Due: 3, DueSince: ago(27 * time.Hour), Failing: 1},
		"red copies_damaged":       {URL: "/b", Damaged: 2, VerifiedSince: ago(time.Hour)},
		"yellow copies_unverified": {URL: "/b", VerifiedSince: ago(16 * 24 * time.Hour)},
	} {
		var got []string
		for _, f := range judgeCopies(Copies{CopyTarget: target}, now) {
			got = append(got, f.Severity+" "+f.Name)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%+v raises %q, want %q", target, got, want)
		}
	}
	away := judgeRun(storage.RunRow{Command: "copy run", StartedAt: now, SeenAt: now, ExitCode: new(5)}, now)
	if away.Name != "copy_target_away" || away.Severity != SeverityYellow {
		t.Errorf("a target that is away raises %+v", away)
	}
}

func TestCopiesAreAtHundredPercentOnlyWithEveryFile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		copied, files int64
		want          float64
	}{{0, 0, 100}, {0, 3, 0}, {2, 3, 66.6}, {9_999, 10_000, 99.9}, {10_000, 10_000, 100}, {10_001, 10_000, 100}} {
		if got := percent(test.copied, test.files); got != test.want {
			t.Errorf("%d of %d are %v %%, want %v", test.copied, test.files, got, test.want)
		}
	}
}
