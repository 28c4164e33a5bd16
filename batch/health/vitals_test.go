package health_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"noggin/api/apitest"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/storage"
)

// Archives on the volume that is full would free nothing.
func TestTheRemedyOfAFullDiskNamesAnotherVolumeWhereThatIsNeeded(t *testing.T) {
	t.Parallel()
	const elsewhere, folder = " --to DIR`", " with a folder on another volume"
	output := t.TempDir()
	check := func(archive string, same bool) {
		t.Helper()
		remedy := health.DiskRemedy(files.Paths{Output: output, Archive: archive})
		if strings.Contains(remedy, elsewhere) != same || strings.Contains(remedy, folder) != same || !strings.HasPrefix(remedy, "`noggin archive create --older-than 2y") {
			t.Errorf("archives on the same volume %v: %s", same, remedy)
		}
	}
	check(filepath.Join(output, "archive"), true)
	check(batchtest.Tmpfs(t, "size=64k"), false)
}

func TestTheSpaceOfTheVolumeIsRead(t *testing.T) {
	t.Parallel()
	volume := batchtest.Tmpfs(t, "size=64k")
	if disk, err := health.ReadDisk(volume); disk != nil || !errors.Is(err, files.ErrNotMounted) {
		t.Errorf("without a marker: %+v, %v", disk, err)
	}
	batchtest.Must(t, files.CreateMarker(volume))
	var st unix.Statfs_t
	batchtest.Must(t, unix.Statfs(volume, &st))
	disk, err := health.ReadDisk(volume)
	if want := int64(st.Bavail) * st.Bsize; err != nil || disk.Path != volume || disk.TotalBytes != 64<<10 || disk.FreeBytes != want || want >= 64<<10 {
		t.Errorf("%+v, %v; want %d free", disk, err, want)
	}
}

func TestOnlyTheSamplesOfTheSameVolumeForecast(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 10, 22, 0, 0, 0, 0, time.UTC)
	disk := storage.Disk{Host: "yard", Path: "/data", FreeBytes: 240e9, TotalBytes: 1000e9}
	for name, change := range map[string]func(d *storage.Disk){"": func(*storage.Disk) {}, "host": func(d *storage.Disk) { d.Host = "depot" }, "path": func(d *storage.Disk) { d.Path = "/" }} {
		var samples []storage.Sample
		for h := 240; h > 0; h-- {
			d := disk
			d.FreeBytes += int64(h) * 1e9
			change(&d)
			samples = append(samples, storage.Sample{At: now.Add(-time.Duration(h) * time.Hour), Measures: storage.Measures{Disk: &d}}, storage.Sample{At: now})
		}
		f := health.ForecastDisk(disk, samples, now)
		if (f != nil) != (name == "") || f != nil && (f.FullAt == nil || f.FullAt.Sub(now).Round(time.Hour) != 10*24*time.Hour) {
			t.Errorf("samples of another %q: %+v", name, f)
		}
	}
}

func TestOpeningsAreCountedInTheHourAndInTheDayOfTheSite(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1})
	perth, err := time.LoadLocation("Australia/Perth")
	batchtest.Must(t, err)
	for _, test := range []struct {
		clock   string
		changes []string // since the time before
		want    string   // in the hour, and in the day
	}{
		{"00:30", []string{"21 23:29", "21 23:40", "22 00:10"}, "2 1"},
		{"12:30", []string{"22 11:40", "22 11:50"}, "2 3"},
		{"23:00", nil, "0 3"},
	} {
		for _, at := range test.changes {
			m.Execute(`INSERT INTO noggin_schema.circuit_transitions (from_state, to_state, reason, failure_rate, created_at)
				SELECT 'x', to_state, 'x', 50, '2025-10-` + at + ` Australia/Perth' FROM unnest(ARRAY['open', 'half_open', 'closed']) AS to_state`)
		}
		now, err := time.ParseInLocation("2006-01-02 15:04", "2025-10-22 "+test.clock, perth)
		batchtest.Must(t, err)
		hour, today, err := health.Openings(t.Context(), m.DB, now)
		if got := fmt.Sprint(hour, " ", today); err != nil || got != test.want {
			t.Errorf("at %s: %s, %v; want %s", test.clock, got, err, test.want)
		}
	}
}

func TestEachJudgementReadsTheRunsThatItIsOf(t *testing.T) {
	t.Parallel()
	m := batchtest.NewMirror(t, apitest.Options{Records: 1})
	for i, code := range []string{"0", "3", "1", "130", "NULL"} { // the last is at work
		m.Execute(fmt.Sprintf(`INSERT INTO noggin_schema.runs (command, host, pid, started_at, finished_at, exit_code)
			VALUES ('maintain backup', 'yard', %d, now() - interval '%d minutes', now(), %s)`, i, 60-i, code))
	}
	standing, err := m.DB.Standing(t.Context())
	batchtest.Must(t, err)
	v, err := health.ReadVitals(t.Context(), m.DB, standing, files.Paths{Output: m.Output, Archive: t.TempDir(), Error: t.TempDir()}, time.UTC)
	batchtest.Must(t, err)
	for what, found := range map[string]struct {
		runs []storage.RunRow
		want int64
	}{"any": {v.Runs, 4}, "judged": {v.Judged, 2}, "done": {v.Done, 1}, "succeeded": {v.Succeeded, 0}} {
		if len(found.runs) != 1 || int64(found.runs[0].PID) != found.want {
			t.Errorf("%s: %+v, want run %d", what, found.runs, found.want)
		}
	}
	if b := v.Backup(); b == nil || b.PID != 0 {
		t.Errorf("the last backup is that of %+v", b)
	}
	if len(v.Days) != 7 || v.Days[0].Date != v.Now.Format(time.DateOnly) || v.Disk == nil || v.Disk.Host != m.DB.Host() {
		t.Errorf("%+v, %+v", v.Days, v.Disk)
	}
}
