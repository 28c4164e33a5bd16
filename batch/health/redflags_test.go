package health

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"noggin/batch/files"
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
	disk := func(free int64) *storage.Disk {
		return &storage.Disk{Path: "/data", FreeBytes: free, TotalBytes: 100e9}
	}
	totals := func(complete, failed, permanentlyFailed int64) []storage.RecordTotal {
		return []storage.RecordTotal{
			{Status: storage.StatusComplete, Records: complete},
			{Status: storage.StatusPartial, Records: failed},
			{Status: storage.StatusAPIFailed, PermanentlyFailed: true, Records: permanentlyFailed},
		}
	}
	processed := func(at *time.Time) []storage.RunRow { return []storage.RunRow{{Command: "process", FinishedAt: at}} }
	backedUp := func(at *time.Time) []storage.RunRow {
		return []storage.RunRow{{Command: "maintain backup", FinishedAt: at}}
	}
	pause := func(v *Vitals, reason string) { v.Standing.Paused, v.Standing.PauseReason = true, reason }
	for _, test := range []struct {
		name   string
		change func(*Vitals)
		want   []string // severity/name
	}{
		{"all well", func(*Vitals) {}, nil},
		{"an empty database", func(v *Vitals) { *v = Vitals{Days: make([]storage.Day, 7)} }, nil},
		{"disk at 85 percent", func(v *Vitals) { v.Disk = disk(15e9) }, nil},
		{"disk over 85 percent", func(v *Vitals) { v.Disk = disk(14e9) }, []string{"red/disk_full"}},
		{"inodes at 85 percent", func(v *Vitals) { v.InodesUsed = 85 }, nil},
		{"inodes over 85 percent", func(v *Vitals) { v.InodesUsed = 86 }, []string{"red/inodes_full"}},
		{"disk full in a week", func(v *Vitals) { v.Forecast = &Forecast{FullAt: ago(-7 * 24 * time.Hour)} }, []string{"yellow/disk_filling"}},
		{"disk full in three weeks", func(v *Vitals) { v.Forecast = &Forecast{FullAt: ago(-21 * 24 * time.Hour)} }, nil},
		{"volume not mounted", func(v *Vitals) { v.Disk, v.DiskError = nil, files.ErrNotMounted }, []string{"red/output_unavailable"}},
		{"token rejected", func(v *Vitals) { v.Judged[0] = ended("process", 12) }, []string{"red/credentials_rejected"}},
		{"some records failed", func(v *Vitals) { v.Judged[0] = ended("process", 3) }, nil},
		{"process broke", func(v *Vitals) { v.Judged[0] = ended("process", 1) }, []string{"red/process_failed"}},
		{"process had a wrong configuration", func(v *Vitals) { v.Judged[0] = ended("process", 2) }, []string{"red/process_failed"}},
		{"process had no database", func(v *Vitals) { v.Judged[0] = ended("process", 4) }, []string{"red/process_failed"}},
		{"a server of exports was away", func(v *Vitals) { v.Judged[0] = ended("import-csv", 5) }, []string{"yellow/sources_failed"}},
		{"a server of exports refused the key", func(v *Vitals) { v.Judged[0] = ended("import-csv", 12) }, []string{"yellow/sources_failed"}},
		{"the API was away", func(v *Vitals) { v.Judged[0] = ended("process", 5) }, []string{"yellow/run_failed"}},
		{"process was interrupted", func(v *Vitals) { v.Judged[0] = ended("process", 130) }, nil},
		{"a step of the maintenance failed", func(v *Vitals) { v.Judged[0] = ended("maintain weekly", 3) }, []string{"yellow/run_failed"}},
		{"some files were not copied", func(v *Vitals) { v.Judged[0] = ended("copy run", 3) }, []string{"yellow/run_failed"}},
		{"an archive is damaged", func(v *Vitals) { v.Judged[0] = ended("archive verify", 3) }, []string{"yellow/run_failed"}},
		{"a backup failed", func(v *Vitals) { v.Judged[0] = ended("maintain backup", 1) }, []string{"yellow/run_failed"}},
		{"validate found something", func(v *Vitals) { v.Judged[0] = ended("validate", 3) }, nil},
		{"a failure of last week", func(v *Vitals) {
			v.Judged[0] = ended("maintain weekly", 1)
			v.Judged[0].StartedAt = *ago(7*24*time.Hour + time.Hour)
		}, []string{"yellow/run_failed"}},
		{"a failure of long ago", func(v *Vitals) {
			v.Judged[0] = ended("archive create", 1)
			v.Judged[0].StartedAt = *ago(9 * 24 * time.Hour)
		}, nil},
		{"a run is at work", func(v *Vitals) { v.Runs[0] = running(50 * time.Minute) }, nil},
		{"the next run is at work", func(v *Vitals) { v.Runs[0], v.Judged[0] = running(time.Minute), ended("process", 1) }, []string{"red/process_failed"}},
		{"a run ended long ago", func(v *Vitals) { v.Runs[0].SeenAt = *ago(2 * time.Hour) }, nil},
		{"a run vanished", func(v *Vitals) { v.Runs[0] = running(61 * time.Minute) }, []string{"yellow/run_vanished"}},
		{"a run vanished long ago", func(v *Vitals) {
			v.Runs[0] = running(9 * 24 * time.Hour)
			v.Runs[0].StartedAt = v.Runs[0].SeenAt
		}, nil},
		{"nothing for a day", func(v *Vitals) { v.Done = processed(ago(25 * time.Hour)) }, []string{"red/no_activity"}},
		{"paused for two days", func(v *Vitals) {
			pause(v, "moving the disks")
			v.Done, v.Activity = processed(ago(49*time.Hour)), ago(49*time.Hour)
		}, []string{"yellow/paused"}},
		{"resumed a minute ago", func(v *Vitals) {
			v.Standing.PauseEnded, v.Done, v.Activity = ago(time.Minute), processed(ago(49*time.Hour)), nil
			v.Queue.Due, v.Queue.OldestAt, v.DueHourAgo = 300, ago(48*time.Hour), n(300)
		}, nil},
		{"resumed, and nothing for a day", func(v *Vitals) {
			v.Standing.PauseEnded, v.Done = ago(25*time.Hour), processed(ago(49*time.Hour))
		}, []string{"red/no_activity"}},
		{"resumed, and the queue stands", func(v *Vitals) {
			v.Standing.PauseEnded, v.Queue.Due, v.Queue.OldestAt, v.DueHourAgo = ago(61*time.Minute), 300, ago(48*time.Hour), n(300)
		}, []string{"red/queue_standing"}},
		{"a pause of before", func(v *Vitals) { v.Standing.PauseEnded, v.Done = ago(49*time.Hour), processed(ago(25*time.Hour)) }, []string{"red/no_activity"}},
		{"never ran", func(v *Vitals) {
			v.Done, v.Activity, v.Queue.Due, v.Queue.OldestAt, v.DueHourAgo = nil, nil, 9, ago(2*time.Hour), n(10)
		}, []string{"red/no_activity"}},
		{"about to begin", func(v *Vitals) {
			v.Done, v.Activity, v.Queue.Due, v.Queue.OldestAt = nil, nil, 9, ago(50*time.Minute)
		}, nil},
		{"nothing is due, and it never ran", func(v *Vitals) { v.Done, v.Activity = nil, nil }, nil},
		{"it ran and changed nothing", func(v *Vitals) { v.Activity = nil }, nil},
		{"a record changed lately", func(v *Vitals) { v.Done, v.Activity = processed(ago(25*time.Hour)), ago(time.Hour) }, nil},
		{"circuit open", func(v *Vitals) { v.Standing.State, v.Standing.OpenUntil = storage.CircuitOpen, ago(-time.Minute) }, []string{"red/circuit_open"}},
		{"circuit open without an end", func(v *Vitals) { v.Standing.State = storage.CircuitOpen }, []string{"red/circuit_open"}},
		{"circuit's time is over", func(v *Vitals) { v.Standing.State, v.Standing.OpenUntil = storage.CircuitOpen, ago(time.Minute) }, nil},
		{"media fail and records wait", func(v *Vitals) { v.Standing.MediaFailingSince, v.Totals = ago(time.Hour), totals(900, 100, 0) }, []string{"red/media_failing"}},
		{"all media fail and records wait", func(v *Vitals) {
			v.Standing.MediaFailingSince, v.Totals[1] = ago(time.Hour), storage.RecordTotal{Status: storage.StatusFailed, Records: 100}
		}, []string{"red/media_failing"}},
		{"media failed and nothing waits", func(v *Vitals) {
			v.Standing.MediaFailingSince, v.Totals[1] = ago(time.Hour), storage.RecordTotal{Status: storage.StatusPartial, PermanentlyFailed: true, Records: 100}
		}, nil},
		{"a 429", func(v *Vitals) { v.Standing.Circuit.PausedUntil = ago(-time.Minute) }, []string{"yellow/rate_limited"}},
		{"a 429 of before", func(v *Vitals) { v.Standing.Circuit.PausedUntil = ago(time.Minute) }, nil},
		{"five openings an hour", func(v *Vitals) { v.OpeningsHour = 5 }, nil},
		{"six openings an hour", func(v *Vitals) { v.OpeningsHour = 6 }, []string{"red/circuit_flapping"}},
		{"a fifth of the requests failed", func(v *Vitals) { v.HourRequests, v.HourFailures = n(100), n(20) }, nil},
		{"more than a fifth", func(v *Vitals) { v.HourRequests, v.HourFailures = n(100), n(21) }, []string{"red/failure_rate"}},
		{"most of a few", func(v *Vitals) { v.HourRequests, v.HourFailures = n(20), n(16) }, []string{"red/failure_rate"}},
		{"one of two", func(v *Vitals) { v.HourRequests, v.HourFailures = n(2), n(1) }, nil},
		{"failures rising", func(v *Vitals) { v.Totals, v.FailedDayAgo = totals(850, 140, 10), n(100) }, []string{"red/failures_rising"}},
		{"failures as ever", func(v *Vitals) { v.Totals, v.FailedDayAgo = totals(0, 1000, 0), n(980) }, nil},
		{"a few failures", func(v *Vitals) { v.Totals, v.FailedDayAgo = totals(980, 20, 0), n(10) }, nil},
		{"five permanently failed", func(v *Vitals) { v.Totals, v.PermanentlyFailedDayAgo = totals(985, 0, 15), n(10) }, []string{"yellow/permanently_failed"}},
		{"four permanently failed", func(v *Vitals) { v.Totals, v.PermanentlyFailedDayAgo = totals(986, 0, 14), n(10) }, nil},
		{"queue growing", func(v *Vitals) { v.Queue.Due, v.DueDayAgo = 300, n(100) }, []string{"yellow/queue_growing"}},
		{"queue draining", func(v *Vitals) { v.Queue.Due, v.Queue.OldestAt, v.DueHourAgo = 300, ago(3*time.Hour), n(301) }, nil},
		{"queue standing", func(v *Vitals) { v.Queue.Due, v.Queue.OldestAt, v.DueHourAgo = 300, ago(61*time.Minute), n(300) }, []string{"red/queue_standing"}},
		{"queue standing, and no sample tells", func(v *Vitals) { v.Queue.Due, v.Queue.OldestAt = 300, ago(61*time.Minute) }, []string{"red/queue_standing"}},
		{"queue of an hour", func(v *Vitals) { v.Queue.Due, v.Queue.OldestAt = 300, ago(59*time.Minute) }, nil},
		{"queue standing in a pause", func(v *Vitals) {
			v.Queue.Due, v.Queue.OldestAt = 300, ago(3*time.Hour)
			pause(v, "disks")
		}, []string{"yellow/paused"}},
		{"six minutes a record", func(v *Vitals) { v.Days[0].AverageSeconds = seconds(360) }, []string{"red/slow"}},
		{"too few complete", func(v *Vitals) { v.Days[0] = storage.Day{Processed: 100, Complete: 95} }, []string{"yellow/targets_missed"}},
		{"too many failed at the API", func(v *Vitals) { v.Days[0] = storage.Day{Processed: 100, Complete: 96, APIFailed: 5} }, []string{"yellow/targets_missed"}},
		{"three openings a day", func(v *Vitals) { v.Days[0] = storage.Day{Openings: 3} }, []string{"yellow/targets_missed"}},
		{"one of two records failed", func(v *Vitals) { v.Days[0] = storage.Day{Processed: 2, Complete: 1, APIFailed: 1} }, nil},
		{"targets missed yesterday", func(v *Vitals) {
			v.Days[0], v.Days[1] = storage.Day{Processed: 1}, storage.Day{Processed: 100, Complete: 90}
		}, []string{"yellow/targets_missed"}},
		{"targets met today", func(v *Vitals) {
			v.Days[0], v.Days[1] = storage.Day{Processed: 100, Complete: 96, APIFailed: 4, Openings: 2}, storage.Day{Processed: 100, Complete: 90}
		}, nil},
		{"a late backup", func(v *Vitals) { v.Succeeded = backedUp(ago(26 * time.Hour)) }, nil},
		{"no backup tonight", func(v *Vitals) { v.Succeeded = backedUp(ago(26*time.Hour + 1)) }, []string{"yellow/backup_old"}},
		{"an old backup", func(v *Vitals) { v.Succeeded = backedUp(ago(30 * time.Hour)) }, []string{"yellow/backup_old"}},
		{"no backup", func(v *Vitals) { v.Succeeded = nil }, []string{"yellow/no_backup"}},
		{"nothing is sealed for long", func(v *Vitals) { v.Sealed = storage.SealState{Logs: 1, Due: 3, DueSince: ago(73 * time.Hour)} }, []string{"red/seal_old"}},
		{"sealing never began", func(v *Vitals) { v.Sealed = storage.SealState{Due: 3, DueSince: ago(73 * time.Hour)} }, nil},
		{"what is due is young", func(v *Vitals) { v.Sealed = storage.SealState{Logs: 1, Due: 3, DueSince: ago(71 * time.Hour)} }, nil},
		{"the first log", func(v *Vitals) { v.Sealed = storage.SealState{Logs: 1, BegunAt: ago(time.Hour)} }, nil},
		{"a checkpoint stays here", func(v *Vitals) { v.Sealed = storage.SealState{Logs: 1, PublishError: new("no route")} }, []string{"yellow/seal_unpublished"}},
		{"a new log", func(v *Vitals) {
			v.Sealed = storage.SealState{Logs: 2, Reason: "restored", BegunAt: ago(13 * 24 * time.Hour)}
		}, []string{"yellow/seal_new_log"}},
		{"a new log of long ago", func(v *Vitals) {
			v.Sealed = storage.SealState{Logs: 2, Reason: "restored", BegunAt: ago(15 * 24 * time.Hour)}
		}, nil},
		{"paused", func(v *Vitals) { pause(v, "disks") }, []string{"yellow/paused"}},
		{"dead claims", func(v *Vitals) { v.Workers = []storage.Worker{{Expired: 2}} }, []string{"yellow/dead_claims"}},
		{"crashing records", func(v *Vitals) { v.Queue.Crashing = 1 }, []string{"yellow/crashing_records"}},
		{"red before yellow", func(v *Vitals) {
			v.Succeeded, v.OpeningsHour, v.Forecast = nil, 9, &Forecast{FullAt: ago(-time.Hour)}
			pause(v, "x")
		}, []string{
			"red/circuit_flapping", "yellow/disk_filling", "yellow/no_backup", "yellow/paused",
		}},
	} {
		v := Vitals{
			Now: now, Totals: totals(1000, 0, 0), Disk: disk(50e9), DiskRemedy: "`x`", Done: processed(ago(5 * time.Minute)), Runs: []storage.RunRow{ended("process", 0)}, Judged: []storage.RunRow{ended("process", 0)},
			Activity: ago(30 * time.Hour), Standing: storage.Standing{Circuit: storage.Circuit{State: storage.CircuitClosed}},
			Succeeded: backedUp(ago(10 * time.Hour)), Days: make([]storage.Day, 7),
		}
		test.change(&v)
		var got []string
		for _, flag := range v.Flags() {
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

func TestTheFlagOfAStandingQueueTellsForHowLong(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 10, 22, 7, 30, 0, 0, time.UTC)
	for oldest, want := range map[time.Duration]string{
		90*time.Minute + 59*time.Second: "1 h 30 min", 47*time.Hour + 59*time.Minute: "47 h 59 min", 48 * time.Hour: "2 days", 71 * time.Hour: "2 days",
	} {
		at := now.Add(-oldest)
		flag := judgeQueue(&Vitals{Now: now, Queue: storage.QueueDepth{Due: 1300, OldestAt: &at}})
		if want := "1,300 records due, the oldest for " + want + "; the number does not fall"; flag.What != want {
			t.Errorf("%q, want %q", flag.What, want)
		}
	}
}

func TestSamplesOfAnHourAndADayAgoAreCompared(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 10, 22, 7, 30, 0, 0, time.UTC)
	sample := func(ago time.Duration, due int64) storage.Sample {
		return storage.Sample{At: now.Add(-ago), Measures: storage.Measures{
			Due: due, Requests: 100 * due, RequestFailures: due, PermanentlyFailed: 7,
			Records: map[storage.Status]int64{storage.StatusPartial: due, storage.StatusFailed: 10, storage.StatusAPIFailed: 100, storage.StatusComplete: 1000},
		}}
	}
	for want, test := range map[string]struct {
		requests int64 // of the circuit
		samples  []storage.Sample
	}{
		"- - - - - -":     {1000, []storage.Sample{sample(36*time.Hour, 1), sample(23*time.Hour-1, 2), sample(3*time.Hour, 3), sample(50*time.Minute-1, 4)}},
		"4 600 5 2 112 7": {1000, []storage.Sample{sample(36*time.Hour-1, 1), sample(23*time.Hour, 2), sample(3*time.Hour-1, 3), sample(50*time.Minute, 4)}},
		"4 - - - - -":     {399, []storage.Sample{sample(time.Hour, 4)}}, // the circuit counts anew
	} {
		v := Vitals{Now: now, Standing: storage.Standing{Circuit: storage.Circuit{TotalRequests: test.requests, TotalFailures: 9}}}
		v.compare(test.samples)
		var got []string
		for _, n := range []*int64{v.DueHourAgo, v.HourRequests, v.HourFailures, v.DueDayAgo, v.FailedDayAgo, v.PermanentlyFailedDayAgo} {
			if n == nil {
				got = append(got, "-")
			} else {
				got = append(got, strconv.FormatInt(*n, 10))
			}
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestTheDiskForecastFollowsThePresentRate(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 10, 22, 0, 0, 0, 0, time.UTC)
	// free returns hourly readings of the last days, whose free bytes f gives.
	free := func(days int, f func(hour int) int64) []storage.Sample {
		var readings []storage.Sample
		for h := days * 24; h >= 0; h-- {
			readings = append(readings, storage.Sample{At: now.Add(-time.Duration(h) * time.Hour), Measures: storage.Measures{Disk: &storage.Disk{FreeBytes: f(h), TotalBytes: 1000e9}}})
		}
		return readings
	}
	for _, test := range []struct {
		name     string
		readings []storage.Sample
		ok       bool
		days     float64 // until full; 0: never
	}{
		{"none", nil, false, 0},
		{"eight hours' worth", free(1, func(h int) int64 { return int64(h) })[16:], false, 0},
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
		f := forecast(test.readings, now)
		if (f != nil) != test.ok {
			t.Errorf("%s: forecast %v", test.name, f)
		}
		if f == nil {
			continue
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

func TestEveryKindOfErrorHasAdvice(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"connection", "authentication", "rate_limit", "validation", "disk", "something new"} {
		if advice := Advice(kind); strings.TrimSpace(advice) == "" {
			t.Errorf("no advice for %s", kind)
		}
	}
}
