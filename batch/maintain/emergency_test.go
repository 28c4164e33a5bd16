package maintain

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"noggin/api/apitest"
	"noggin/batch/archive"
	"noggin/batch/batchtest"
	"noggin/batch/files"
	"noggin/batch/process"
)

func TestAPauseThatSomebodyElseBeganOutlivesAnEmergency(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"it began before": true, "it began meanwhile": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMaintenance(t, 0)
			pause := func() {
				t.Helper()
				if _, err := m.DB.Pause(t.Context(), 0, "an operator's"); err != nil {
					t.Fatal(err)
				}
			}
			if before {
				pause()
			}
			e := &Emergency{Maintenance: m, Target: 50, Yes: true}
			end, err := e.pause(t.Context(), &EmergencyResult{UsedBefore: 90})
			if err != nil {
				t.Fatal(err)
			}
			if !before {
				pause()
			}
			end()
			standing, err := m.DB.Standing(t.Context())
			if err != nil || !standing.Paused || standing.PauseReason != "an operator's" || standing.PausedUntil != nil {
				t.Errorf("%+v, %v", standing, err)
			}
		})
	}
}

// Young inspections stay on disk, and so does what is archived for no free space.
func TestAnEmergencyArchivesOldInspectionsUntilTheTarget(t *testing.T) {
	t.Parallel()
	mirror := batchtest.NewMirror(t, apitest.Options{Records: 2, MediaBytes: apitest.Range{Min: 2000, Max: 3000}, FirstDay: time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC), Days: 1})
	mirror.ImportAll()
	mirror.MustRun(process.Options{UntilEmpty: true})
	paths := files.Paths{Output: mirror.Output, Archive: filepath.Join(t.TempDir(), "archive")}
	unlocked := 0
	for _, test := range []struct {
		before string
		target float64
		want   string
	}{{"2020-01-03", 99.99, "archived 0 records"}, {"2020-01-02", 0.001, "archived 0 records"}, {"2020-01-03", 0.001, "archived 2 records"}} {
		e := &Emergency{
			Maintenance: &Maintenance{DB: mirror.DB, Paths: paths, Log: mirror.Log, ExitCode: func(error) int { return 0 }},
			Archiver:    &archive.Archiver{DB: mirror.DB, Paths: paths, ClaimLease: mirror.Processing.ClaimLease, Log: mirror.Log},
			Target:      test.target, Before: test.before, ArchiveTo: batchtest.Tmpfs(t, "size=16m"), Unlock: func() { unlocked++ },
		}
		if text, err := e.archive(context.WithoutCancel(t.Context())); err != nil || !strings.HasPrefix(text, test.want+", ") {
			t.Errorf("before %s, to under %v %%: %q, %v; want %s", test.before, test.target, text, err, test.want)
		}
	}
	if n := mirror.Value(`SELECT count(*) || ' ' || count(exit_code) FROM noggin_schema.runs WHERE command = 'archive create'`); n != "3 3" || unlocked != 3 {
		t.Errorf("runs, and those that ended: %s; unlocked %d times", n, unlocked)
	}
}
