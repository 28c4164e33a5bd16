package batch

import (
	"fmt"
	"slices"
	"time"
)

// rotate returns those of the backups that keep lets go: the last good one of each
// of so many days, weeks and months stays, and whatever keep says the newest good
// one and the newest that was restored on trial. Broken ones are for people to
// look at. Days begin in loc.
func rotate(backups []Backup, keep Maintain, loc *time.Location) []Backup {
	good := slices.DeleteFunc(slices.Clone(backups), func(b Backup) bool { return b.Broken != "" })
	slices.SortStableFunc(good, func(a, b Backup) int { return b.TakenAt.Compare(a.TakenAt) })
	kept := map[string]bool{}
	for i, b := range good {
		if i == 0 {
			kept[b.File] = true
		}
		if b.VerifiedAt != nil {
			kept[b.File] = true
			break
		}
	}
	for _, rule := range []struct {
		most   int
		period func(t time.Time) string
	}{
		{keep.KeepDaily, func(t time.Time) string { return t.Format(time.DateOnly) }},
		{keep.KeepWeekly, func(t time.Time) string {
			year, week := t.ISOWeek()
			return fmt.Sprint(year, week)
		}},
		{keep.KeepMonthly, func(t time.Time) string { return t.Format("2006-01") }},
	} {
		seen := map[string]bool{}
		for _, b := range good {
			period := rule.period(b.TakenAt.In(loc))
			if len(seen) < rule.most && !seen[period] {
				seen[period], kept[b.File] = true, true
			}
		}
	}
	return slices.DeleteFunc(good, func(b Backup) bool { return kept[b.File] })
}
