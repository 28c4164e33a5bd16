package watch

import (
	"cmp"
	"slices"
	"time"

	"noggin/storage"
)

const (
	week = 7 * 24 * time.Hour
	// Quarter is the time in which each archive is verified at least once.
	Quarter = 13 * week
	// Of all bytes, one part a week is verified: a week is left for one that was missed.
	weeklyParts = 12
	// aWeekAgo leaves a day for timers that fire a little earlier than the week before.
	aWeekAgo = week - 24*time.Hour
)

// Due returns the archives to verify this week, those first whose last verification is the
// longest ago: a twelfth of all bytes, less what this week has seen verified, and whatever
// would be older than a quarter a week from now.
func Due(archives []storage.Archive, now time.Time) []storage.Archive {
	queue := slices.DeleteFunc(slices.Clone(archives), func(a storage.Archive) bool { return a.State == storage.ArchiveWriting })
	slices.SortStableFunc(queue, func(a, b storage.Archive) int { return cmp.Or(Checked(a).Compare(Checked(b)), cmp.Compare(a.ID, b.ID)) })
	var total, done int64
	for _, a := range queue {
		total += a.SizeBytes
		if now.Sub(Checked(a)) < aWeekAgo {
			done += a.SizeBytes
		}
	}
	share := (total + weeklyParts - 1) / weeklyParts
	n := 0
	for ; n < len(queue); n++ {
		age := now.Sub(Checked(queue[n]))
		if age < aWeekAgo || done >= share && age < Quarter-week-24*time.Hour {
			break
		}
		done += queue[n].SizeBytes
	}
	return queue[:n]
}

// Checked is when the archive was last verified, whatever was found. It was read back when
// it was made.
func Checked(a storage.Archive) time.Time {
	at := a.CreatedAt
	for _, t := range []*time.Time{a.VerifiedAt, a.CheckedAt} {
		if t != nil && t.After(at) {
			at = *t
		}
	}
	return at
}
