package batch

import (
	"slices"
	"strings"
	"testing"
	"time"

	"noggin/storage"
)

func TestRedFlagsAreRaisedAtTheManualsLimits(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 10, 22, 7, 30, 0, 0, time.UTC)
	ago := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	n := func(v int64) *int64 { return &v }
	ended := func(command string, code int) storage.RunRow {
		return storage.RunRow{Command: command, Host: "yard", StartedAt: *ago(time.Hour), SeenAt: *ago(time.Hour), ExitCode: &code}
	}
	running := func(silent time.Duration) storage.RunRow {
		return storage.RunRow{Command: "import-csv", Host: "yard", StartedAt: *ago(2 * time.Hour), SeenAt: *ago(silent)}
	}
	seconds := func(v float64) *float64 { return &v }
	disk := func(free int64) *DiskReading { return &DiskReading{At: now, FreeBytes: free, TotalBytes: 100e9} }
	for _, test := range []struct {
		name   string
		change func(*Figures)
		want   []string // severity/name
	}{
		{"all well", func(*Figures) {}, nil},
		{"an empty database", func(f *Figures) { *f = Figures{CircuitState: "closed"} }, nil},
		{"disk at 85 percent", func(f *Figures) { f.Disk = disk(15e9) }, nil},
		{"disk over 85 percent", func(f *Figures) { f.Disk = disk(14e9) }, []string{"red/disk_full"}},
		{"disk full in a week", func(f *Figures) { f.DiskFullAt = ago(-7 * 24 * time.Hour) }, []string{"yellow/disk_filling"}},
		{"volume not mounted", func(f *Figures) { f.Disk, f.DiskError = nil, "no marker" }, []string{"red/output_unavailable"}},
		{"token rejected", func(f *Figures) { f.Runs[0] = ended("process", 12) }, []string{"red/credentials_rejected"}},
		{"some records failed", func(f *Figures) { f.Runs[0] = ended("process", 3) }, nil},
		{"process broke", func(f *Figures) { f.Runs[0] = ended("process", 1) }, []string{"red/process_failed"}},
		{"the API was away", func(f *Figures) { f.Runs[0] = ended("process", 5) }, []string{"yellow/run_failed"}},
		{"process was interrupted", func(f *Figures) { f.Runs[0] = ended("process", 130) }, nil},
		{"a step of the maintenance failed", func(f *Figures) { f.Runs[0] = ended("maintain weekly", 3) }, []string{"yellow/run_failed"}},
		{"validate found something", func(f *Figures) { f.Runs[0] = ended("validate quick", 3) }, nil},
		{"a failure of long ago", func(f *Figures) {
			f.Runs[0] = ended("archive create", 1)
			f.Runs[0].StartedAt = *ago(9 * 24 * time.Hour)
		}, nil},
		{"a run is at work", func(f *Figures) { f.Runs[0] = running(50 * time.Minute) }, nil},
		{"a run vanished", func(f *Figures) { f.Runs[0] = running(61 * time.Minute) }, []string{"yellow/run_vanished"}},
		{"nothing for a day", func(f *Figures) { f.LastProcessed = ago(25 * time.Hour) }, []string{"red/no_activity"}},
		{"never ran", func(f *Figures) {
			f.LastProcessed, f.LastActivity, f.Due, f.OldestDue, f.DueHourAgo = nil, nil, 9, ago(2*time.Hour), n(10)
		}, []string{"red/no_activity"}},
		{"about to begin", func(f *Figures) {
			f.LastProcessed, f.LastActivity, f.Due, f.OldestDue = nil, nil, 9, ago(50*time.Minute)
		}, nil},
		{"a record changed lately", func(f *Figures) { f.LastProcessed, f.LastActivity = ago(25*time.Hour), ago(time.Hour) }, nil},
		{"circuit open", func(f *Figures) { f.CircuitState, f.OpenUntil = "open", ago(-time.Minute) }, []string{"red/circuit_open"}},
		{"circuit's time is over", func(f *Figures) { f.CircuitState, f.OpenUntil = "open", ago(time.Minute) }, nil},
		{"a 429", func(f *Figures) { f.RequestsPaused = ago(-time.Minute) }, []string{"yellow/rate_limited"}},
		{"five openings an hour", func(f *Figures) { f.OpeningsHour = 5 }, nil},
		{"six openings an hour", func(f *Figures) { f.OpeningsHour = 6 }, []string{"red/circuit_flapping"}},
		{"a fifth of the requests failed", func(f *Figures) { f.HourRequests, f.HourFailures = n(100), n(20) }, nil},
		{"more than a fifth", func(f *Figures) { f.HourRequests, f.HourFailures = n(100), n(21) }, []string{"red/failure_rate"}},
		{"one of two", func(f *Figures) { f.HourRequests, f.HourFailures = n(2), n(1) }, nil},
		{"failures rising", func(f *Figures) { f.Failed, f.FailedDayAgo = 150, n(100) }, []string{"red/failures_rising"}},
		{"failures as ever", func(f *Figures) { f.Failed, f.FailedDayAgo = 1000, n(990) }, nil},
		{"five permanently failed", func(f *Figures) { f.PermanentlyFailed, f.PermanentlyFailedDayAgo = 15, n(10) }, []string{"yellow/permanently_failed"}},
		{"four permanently failed", func(f *Figures) { f.PermanentlyFailed, f.PermanentlyFailedDayAgo = 14, n(10) }, nil},
		{"queue growing", func(f *Figures) { f.Due, f.DueDayAgo = 300, n(100) }, []string{"yellow/queue_growing"}},
		{"queue draining", func(f *Figures) { f.Due, f.OldestDue, f.DueHourAgo = 300, ago(3*time.Hour), n(301) }, nil},
		{"queue standing", func(f *Figures) { f.Due, f.OldestDue, f.DueHourAgo = 300, ago(61*time.Minute), n(300) }, []string{"red/queue_standing"}},
		{"queue of an hour", func(f *Figures) { f.Due, f.OldestDue = 300, ago(59*time.Minute) }, nil},
		{"queue standing in a pause", func(f *Figures) { f.Due, f.OldestDue, f.PausedReason = 300, ago(3*time.Hour), "disks" }, []string{"yellow/paused"}},
		{"six minutes a record", func(f *Figures) { f.Today.AverageSeconds = seconds(360) }, []string{"red/slow"}},
		{"targets missed", func(f *Figures) { f.Today = storage.Day{Processed: 100, Complete: 90, APIFailed: 6, Openings: 3} }, []string{"yellow/targets_missed"}},
		{"targets missed yesterday", func(f *Figures) {
			f.Today, f.Yesterday = storage.Day{Processed: 1}, storage.Day{Processed: 100, Complete: 90}
		}, []string{"yellow/targets_missed"}},
		{"targets met", func(f *Figures) { f.Today = storage.Day{Processed: 100, Complete: 96, APIFailed: 4, Openings: 2} }, nil},
		{"an old backup", func(f *Figures) { f.LastBackup = ago(30 * time.Hour) }, []string{"yellow/backup_old"}},
		{"no backup", func(f *Figures) { f.LastBackup = nil }, []string{"yellow/no_backup"}},
		{"paused", func(f *Figures) { f.PausedReason = "disks" }, []string{"yellow/paused"}},
		{"dead claims", func(f *Figures) { f.DeadClaims = 2 }, []string{"yellow/dead_claims"}},
		{"crashing records", func(f *Figures) { f.Crashing = 1 }, []string{"yellow/crashing_records"}},
		{"red before yellow", func(f *Figures) { f.LastBackup, f.OpeningsHour, f.PausedReason = nil, 9, "x" }, []string{
			"red/circuit_flapping", "yellow/no_backup", "yellow/paused",
		}},
	} {
		f := Figures{
			Records: 1000, Disk: disk(50e9), DiskPath: "/data", LastProcessed: ago(5 * time.Minute), Runs: []storage.RunRow{ended("process", 0)},
			LastActivity: ago(30 * time.Hour), CircuitState: "closed", LastBackup: ago(10 * time.Hour),
		}
		test.change(&f)
		var got []string
		for _, flag := range RedFlags(f, now) {
			got = append(got, flag.Severity+"/"+flag.Name)
			if flag.What == "" || flag.Remedy == "" {
				t.Errorf("%s: %+v says too little", test.name, flag)
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestTheDiskForecastFollowsThePresentRate(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 10, 22, 0, 0, 0, 0, time.UTC)
	// free returns hourly readings of the last days, whose free bytes f gives.
	free := func(days int, f func(hour int) int64) []DiskReading {
		var readings []DiskReading
		for h := days * 24; h >= 0; h-- {
			readings = append(readings, DiskReading{At: now.Add(-time.Duration(h) * time.Hour), FreeBytes: f(h), TotalBytes: 1000e9})
		}
		return readings
	}
	for _, test := range []struct {
		name     string
		readings []DiskReading
		ok       bool
		days     float64 // until full; 0: never
	}{
		{"none", nil, false, 0},
		{"an hour's worth", free(0, func(int) int64 { return 5 }), false, 0},
		{"24 GB a day, 240 left", free(10, func(h int) int64 { return 240e9 + int64(h)*1e9 }), true, 10},
		{"as it was", free(10, func(int) int64 { return 240e9 }), true, 0},
		{"shrinking", free(10, func(h int) int64 { return 240e9 - int64(h)*1e9 }), true, 0},
		{"archived two days ago", free(10, func(h int) int64 {
			if h > 48 {
				return int64(h) * 1e9
			}
			return 480e9 + int64(h)*1e9
		}), true, 20},
		{"only the last month", free(60, func(h int) int64 {
			if h > 30*24 {
				return 900e9
			}
			return 240e9 + int64(h)*1e8
		}), true, 100},
		{"too slow to matter", free(10, func(h int) int64 { return 900e9 + int64(h) }), true, 0},
	} {
		f, ok := forecast(test.readings, now)
		if ok != test.ok {
			t.Errorf("%s: ok %v", test.name, ok)
		}
		days := 0.0
		if f.FullAt != nil {
			days = f.FullAt.Sub(now).Hours() / 24
		}
		if days < test.days*0.98 || days > test.days*1.02 {
			t.Errorf("%s: full in %.1f days, want %.1f (%.0f bytes a day)", test.name, days, test.days, f.BytesPerDay)
		}
	}
}

func TestAnInspectionIDIsFoundHoweverItIsTyped(t *testing.T) {
	t.Parallel()
	for typed, wants := range map[string][]string{
		"LCD - 045289":                 {"LCD - 045289", "LCD-045289"},
		"LCD-045289":                   {"LCD - 045289", "LCD-045289"},
		" lcd 045289 ":                 {"LCD - 045289", "lcd 045289", "LCD045289"},
		"LCD045289":                    {"LCD - 045289"},
		"C - 003825":                   {"C - 003825", "C-003825"},
		"fl-inspection-00515":          {"FL - Inspection - 00515"},
		"FL - Inspection - 1":          {"FL - Inspection - 1", "FL-Inspection-1"},
		"odd":                          {"odd"},
		"12345":                        {"12345"},
		"é-1":                          {"É - 1"},
		" LCD\u2013045289":             {"LCD - 045289", "LCD-045289"}, // a dash that a letter or a mail made of it
		"LCD\u00a0-\u00a0\u2011045289": {"LCD - 045289"},
	} {
		got := spellings(typed)
		for _, want := range wants {
			if !slices.Contains(got, want) {
				t.Errorf("%q may be %q, without %q", typed, got, want)
			}
		}
	}
	if got := spellings("  "); len(got) != 0 {
		t.Errorf("nothing may be %q", got)
	}
}

func TestEveryKindOfErrorHasAdvice(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"connection", "authentication", "rate_limit", "validation", "disk", "something new"} {
		if advice := Advice(kind); strings.TrimSpace(advice) == "" {
			t.Errorf("no advice for %s", kind)
		}
	}
}
