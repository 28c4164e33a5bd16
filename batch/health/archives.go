package health

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"noggin/batch/archive/watch"
	"noggin/storage"
)

// unverifiedAfter is how long ago the last verification of an archive may be: a quarter,
// and a week for a timer that was missed.
const unverifiedAfter = watch.Quarter + 7*24*time.Hour

// ReadArchives looks at the file of every archive. folder is [paths] archive.
func ReadArchives(ctx context.Context, db *storage.DB, folder string, now time.Time) ([]watch.Archive, error) {
	archives, err := db.Archives(ctx)
	if err != nil {
		return nil, err
	}
	looks := watch.Look(ctx, archives, folder, db.Host(), now)
	var away []int64
	for _, a := range looks {
		if a.Sight != watch.There && a.Sight != watch.Unwritten && a.Sight != watch.Lost {
			away = append(away, a.ID)
		}
	}
	if len(away) == 0 {
		return looks, nil
	}
	holding, err := db.ArchivesHolding(ctx, away)
	for i := range looks {
		looks[i].Spare = slices.Contains(away, looks[i].ID) && !slices.Contains(holding, looks[i].ID)
	}
	return looks, err
}

// ArchiveTotals counts the archives by what a look at their files found.
type ArchiveTotals struct {
	Archives  int   `json:"archives"` // those that a run still writes left out
	Bytes     int64 `json:"bytes"`
	There     int   `json:"there"`
	Missing   int   `json:"missing"`
	WrongSize int   `json:"wrong_size"`
	Unmounted int   `json:"not_mounted"`
	Elsewhere int   `json:"elsewhere"` // only another host sees them
	Damaged   int   `json:"damaged"`   // found by a verification, and not mended since
	Lost      int   `json:"lost"`      // given up by an operator, and counted nowhere else
	// OldestVerification is when the archive was verified whose verification is the longest
	// ago; null: there is no archive.
	OldestVerification *time.Time `json:"oldest_verification"`
}

// CountArchives counts archives.
func CountArchives(archives []watch.Archive) (t ArchiveTotals) {
	for _, a := range archives {
		switch a.Sight {
		case watch.Unwritten:
			continue
		case watch.Lost:
			t.Lost++
			continue
		}
		t.Archives++
		t.Bytes += a.SizeBytes
		*map[watch.Sight]*int{watch.There: &t.There, watch.Missing: &t.Missing, watch.WrongSize: &t.WrongSize, watch.Unmounted: &t.Unmounted, watch.Elsewhere: &t.Elsewhere}[a.Sight]++
		if a.Problem != nil {
			t.Damaged++
		}
		if at := watch.Checked(a.Archive); t.OldestVerification == nil || at.Before(*t.OldestVerification) {
			t.OldestVerification = &at
		}
	}
	return t
}

// JudgeArchives raises a flag for each kind of trouble, and for each folder that is not
// mounted.
func JudgeArchives(archives []watch.Archive, now time.Time) (flags []Flag) {
	var missing, spare, cut, damaged, unverified []watch.Archive
	away := map[string][]watch.Archive{} // by folder
	for _, a := range archives {
		switch {
		case a.Sight == watch.Unwritten || a.Sight == watch.Elsewhere || a.Sight == watch.Lost:
			continue
		case a.Sight == watch.Unmounted:
			away[a.Folder()] = append(away[a.Folder()], a)
		case a.Sight == watch.Missing && !a.Spare:
			missing = append(missing, a)
		case a.Sight == watch.Missing:
			spare = append(spare, a)
		case a.Sight == watch.WrongSize:
			cut = append(cut, a)
		case a.Problem != nil:
			damaged = append(damaged, a)
		case now.Sub(watch.Checked(a.Archive)) > unverifiedAfter:
			unverified = append(unverified, a)
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(away)) {
		flags = append(flags, judgeFolder(folder, away[folder]))
	}
	if n := len(missing); n > 0 {
		flags = append(flags, red("archive_missing", Plural(int64(n), "archive is|archives are")+" missing, with the only copy of what left the disk: "+namesOf(missing),
			"put it back from a copy into "+missing[0].Folder()+" and run `noggin archive verify "+plainName(missing[0])+"`; from another folder: `noggin archive register FILE`; where [copy] has a second place, `noggin copy restore` brings its files back; if all copies are lost: `noggin archive forget "+plainName(missing[0])+" --lost --reason TEXT`"))
	}
	if n := len(spare); n > 0 {
		flags = append(flags, yellow("archive_missing", Plural(int64(n), "archive is|archives are")+" missing of which every file is still on disk, or was restored: "+namesOf(spare),
			"`noggin archive forget "+plainName(spare[0])+"` where it is not wanted any more; else put it back"))
	}
	if n := len(cut); n > 0 {
		flags = append(flags, red("archive_wrong_size", fmt.Sprintf("%s not the size with which %s written: %s (the first: %d bytes instead of %d)",
			Plural(int64(n), "archive has|archives have"), map[bool]string{true: "it was", false: "they were"}[n == 1], namesOf(cut), cut[0].Size, cut[0].SizeBytes), mendArchive(cut[0])))
	}
	if n := len(damaged); n > 0 {
		flags = append(flags, red("archive_damaged", Plural(int64(n), "archive is|archives are")+" damaged: "+namesOf(damaged)+": "+*damaged[0].Problem, mendArchive(damaged[0])))
	}
	if n := len(unverified); n > 0 {
		flags = append(flags, yellow("archive_unverified", Plural(int64(n), "archive was|archives were")+" not verified for over a quarter: "+namesOf(unverified),
			"`noggin archive verify --due`; its timer is noggin-archive-verify.timer"))
	}
	return flags
}

// judgeFolder tells of all archives in a folder that is not mounted.
func judgeFolder(folder string, away []watch.Archive) Flag {
	what := "the folder " + folder + ", in which " + Plural(int64(len(away)), "archive lies|archives lie") + " (" + namesOf(away) + "), " + away[0].Why
	remedy := "mount its volume; where the archives lie in another folder now: `noggin archive register FILE`"
	if slices.ContainsFunc(away, func(a watch.Archive) bool { return !a.Spare }) {
		return red("archives_unmounted", what+": its volume is not mounted, or they are lost", remedy+"; if all copies are lost: `noggin archive forget "+plainName(away[0])+" --lost --reason TEXT`")
	}
	return yellow("archives_unmounted", what+"; every file of them is on disk", remedy+"; `noggin archive forget "+plainName(away[0])+"` where it is not wanted any more")
}

// mendArchive says how to mend an archive whose content is wrong.
func mendArchive(a watch.Archive) string {
	return "replace it by a copy and run `noggin archive verify " + plainName(a) + "`; without one, `noggin archive restore " + plainName(a) + " --in-place` brings back what of it is whole, and `noggin copy restore` what a second place has"
}

// namesOf names some of the archives.
func namesOf(archives []watch.Archive) string {
	names := make([]string, len(archives))
	for i, a := range archives {
		names[i] = plainName(a)
	}
	return someOf(names)
}

// someOf lists the first names, and how many more there are.
func someOf(names []string) string {
	const most = 3
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// plainName is the archive's name as commands take it.
func plainName(a watch.Archive) string { return strings.TrimSuffix(a.Name, ".tar.zst") }
