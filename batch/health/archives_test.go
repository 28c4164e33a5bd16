package health

import (
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/batch/archive/watch"
	"noggin/storage"
)

func TestTroubleWithArchivesIsFlagged(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	problem := "the archive is damaged: a.jpg"
	archive := func(name string, sight watch.Sight, change func(*watch.Archive)) watch.Archive {
		verified := now.AddDate(0, 0, -7)
		a := watch.Archive{Sight: sight, Archive: storage.Archive{
			Name: name + ".tar.zst", Path: "/backup/" + name + ".tar.zst", State: storage.ArchiveDone, SizeBytes: 100, CreatedAt: now.AddDate(-1, 0, 0), VerifiedAt: &verified,
		}}
		if change != nil {
			change(&a)
		}
		return a
	}
	spare := func(a *watch.Archive) { a.Spare = true }
	aged := func(days int) func(*watch.Archive) {
		return func(a *watch.Archive) { *a.VerifiedAt = now.AddDate(0, 0, -days) }
	}
	thousand := make([]watch.Archive, 1000)
	for i := range thousand {
		thousand[i] = archive("noggin-2020-01", watch.Unmounted, func(a *watch.Archive) { a.Why = "is not there" })
	}
	for _, test := range []struct {
		name     string
		archives []watch.Archive
		want     []string
		says     []string
	}{
		{"none", nil, nil, nil},
		{"all well", []watch.Archive{archive("a", watch.There, nil), archive("b", watch.Elsewhere, aged(999)), archive("c", watch.Unwritten, aged(999)), archive("d", watch.Lost, aged(999))}, nil, nil},
		{"lost", []watch.Archive{archive("a", watch.Missing, nil), archive("b", watch.There, nil), archive("c", watch.Missing, nil)}, []string{"red/archive_missing"}, []string{"2 archives", "a, c", "/backup", "`noggin archive verify a`"}},
		{"lost, with the originals on disk", []watch.Archive{archive("a", watch.Missing, spare)}, []string{"yellow/archive_missing"}, []string{"`noggin archive forget a`"}},
		{"cut", []watch.Archive{archive("a", watch.WrongSize, func(a *watch.Archive) { a.Size = 60 })}, []string{"red/archive_wrong_size"}, []string{"60 bytes instead of 100"}},
		{"damaged", []watch.Archive{archive("a", watch.There, func(a *watch.Archive) { a.Problem = &problem })}, []string{"red/archive_damaged"}, []string{problem, "--in-place"}},
		{"a thousand on a volume that is away", thousand, []string{"red/archives_unmounted"}, []string{"1,000 archives lie", "/backup", "is not there", "mount"}},
		{"copies on a volume that is away", []watch.Archive{archive("a", watch.Unmounted, spare)}, []string{"yellow/archives_unmounted"}, nil},
		{"two volumes", []watch.Archive{archive("a", watch.Unmounted, nil), archive("b", watch.Unmounted, func(a *watch.Archive) { a.Path = "/other/b" })}, []string{"red/archives_unmounted", "red/archives_unmounted"}, nil},
		{"verified a quarter and a week ago", []watch.Archive{archive("a", watch.There, aged(98))}, nil, nil},
		{"not verified for longer", []watch.Archive{archive("a", watch.There, aged(99))}, []string{"yellow/archive_unverified"}, []string{"`noggin archive verify --due`"}},
	} {
		var got []string
		var text strings.Builder
		for _, flag := range JudgeArchives(test.archives, now) {
			got = append(got, flag.Severity+"/"+flag.Name)
			text.WriteString(flag.What + "; " + flag.Remedy)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
		for _, want := range test.says {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%s: %q is not in %s", test.name, want, &text)
			}
		}
		if text.Len() > 600 {
			t.Errorf("%s: %d characters", test.name, text.Len())
		}
	}
	totals := CountArchives([]watch.Archive{archive("b", watch.Missing, func(a *watch.Archive) { a.Problem = &problem }), archive("a", watch.There, aged(20)), archive("c", watch.Unwritten, aged(999))})
	if totals.Archives != 2 || totals.There != 1 || totals.Missing != 1 || totals.Damaged != 1 || totals.Bytes != 200 || totals.OldestVerification == nil || now.Sub(*totals.OldestVerification) != 20*24*time.Hour {
		t.Errorf("%+v", totals)
	}
	var each []watch.Archive
	for i, sight := range []watch.Sight{watch.There, watch.Missing, watch.WrongSize, watch.Unmounted, watch.Elsewhere, watch.Lost} {
		for range i + 1 {
			each = append(each, archive("a", sight, nil))
		}
	}
	totals = CountArchives(each)
	totals.OldestVerification = nil
	if want := (ArchiveTotals{Archives: 15, Bytes: 1500, There: 1, Missing: 2, WrongSize: 3, Unmounted: 4, Elsewhere: 5, Lost: 6}); totals != want {
		t.Errorf("%+v, want %+v", totals, want)
	}
	v := Vitals{Now: now, Days: make([]storage.Day, 7), Archives: []watch.Archive{archive("a", watch.Missing, nil)}}
	if flags := v.Flags(); len(flags) != 1 || flags[0].Name != "archive_missing" {
		t.Errorf("the dashboard: %+v", flags)
	}
}
