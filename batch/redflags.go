package batch

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// The manual's limits: its red flags and target metrics.
const (
	DiskFullPercent         = 85.0
	TargetCompletion        = 95.0 // percent of a day's records, at least
	TargetAPIFailures       = 5.0  // percent of a day's records, at most
	TargetOpenings          = 2    // of the circuit a day, at most
	redFailureRate          = 20.0 // percent of an hour's requests
	redOpeningsPerHour      = 5
	redSecondsPerRecord     = 300.0
	inactiveAfter           = 24 * time.Hour
	backupAfter             = 26 * time.Hour // a daily one, somewhat late
	fewRecords, fewRequests = 20, 20         // fewer make no rate worth a word
)

// Severity of a flag.
const (
	SeverityRed    = "red"    // act now
	SeverityYellow = "yellow" // look at it today
)

// Flag is something that needs the operator, and what to do about it.
type Flag struct {
	Severity string `json:"severity"`
	Name     string `json:"name"` // stable, for programs: disk_full, …
	What     string `json:"what"`
	Remedy   string `json:"remedy"`
}

// Figures are what the flags are judged by. A nil pointer says that the figure is
// not known.
type Figures struct {
	Records         int64 // all there are
	Disk            *DiskReading
	DiskPath        string
	DiskError       string // why the disk could not be looked at
	DiskFullAt      *time.Time
	LastProcess     *time.Time // start of the last run of process
	LastProcessExit *int
	LastProcessSays string
	LastActivity    *time.Time // a record's status changed
	Due             int64
	DueBefore       *int64 // a day ago
	Today           DayFigures
	Yesterday       DayFigures
	Requests        int64 // of the last hour
	Failures        int64
	Failed          int64 // records that failed, those given up included
	FailedBefore    *int64
	OpeningsHour    int
	CircuitState    string
	OpenUntil       *time.Time
	RequestsPaused  *time.Time // by a 429, until then
	PausedReason    string     // `noggin maintain pause`; empty: not paused
	LastBackup      *time.Time
	DeadClaims      int64 // whose lease ended
	Crashing        int64
}

// DayFigures are those of one day's records.
type DayFigures struct {
	Processed, Complete, APIFailed int64
	Openings                       int64
	AverageSeconds                 *float64
}

// RedFlags judges the figures by the manual's red flags and targets, the gravest
// first.
func RedFlags(f Figures, now time.Time) []Flag {
	var red, yellow []Flag
	for _, judge := range []func(Figures, time.Time) Flag{
		judgeDisk, judgeCredentials, judgeActivity, judgeCircuitState, judgeOpenings, judgeFailureRate,
		judgeFailedCount, judgeQueue, judgeSlowness, judgeTargets, judgeBackup, judgePause, judgeClaims,
	} {
		switch flag := judge(f, now); flag.Severity {
		case SeverityRed:
			red = append(red, flag)
		case SeverityYellow:
			yellow = append(yellow, flag)
		}
	}
	return append(red, yellow...)
}

func judgeDisk(f Figures, now time.Time) Flag {
	switch {
	case f.DiskError != "":
		return Flag{
			Severity: SeverityRed, Name: "output_unavailable", What: "the output folder cannot be used: " + f.DiskError,
			Remedy: "mount its volume; where it is mounted and new, run `noggin init-db`",
		}
	case f.Disk == nil || f.Disk.TotalBytes == 0:
		return Flag{}
	}
	used := 100 * float64(f.Disk.TotalBytes-f.Disk.FreeBytes) / float64(f.Disk.TotalBytes)
	text := fmt.Sprintf("the volume of %s is %.0f %% full, %s free", f.DiskPath, used, humanize.Bytes(uint64(max(0, f.Disk.FreeBytes))))
	if f.DiskFullAt != nil {
		text += "; at the present rate full on " + f.DiskFullAt.Format(time.DateOnly)
	}
	remedy := "`noggin archive create --older-than 2y`, or `noggin maintain emergency` for what else can go"
	switch {
	case used > DiskFullPercent:
		return Flag{Severity: SeverityRed, Name: "disk_full", What: text, Remedy: remedy}
	case f.DiskFullAt != nil && f.DiskFullAt.Sub(now) < 14*24*time.Hour:
		return Flag{Severity: SeverityYellow, Name: "disk_filling", What: text, Remedy: remedy}
	}
	return Flag{}
}

func judgeCredentials(f Figures, _ time.Time) Flag {
	if f.LastProcessExit == nil {
		return Flag{}
	}
	switch *f.LastProcessExit {
	case 12:
		return Flag{
			Severity: SeverityRed, Name: "credentials_rejected", What: "the API rejected the credentials in the last run of process",
			Remedy: "`noggin validate api` says why; put a new token in place, nothing is lost meanwhile",
		}
	case 1, 2, 4:
		return Flag{
			Severity: SeverityRed, Name: "process_failed", What: fmt.Sprintf("the last run of process failed with exit code %d: %s", *f.LastProcessExit, f.LastProcessSays),
			Remedy: "`noggin report runs --failed`, `journalctl -u noggin-process`, `noggin validate`",
		}
	}
	return Flag{}
}

func judgeActivity(f Figures, now time.Time) Flag {
	last := f.LastProcess
	if f.LastActivity != nil && (last == nil || f.LastActivity.After(*last)) {
		last = f.LastActivity
	}
	switch {
	case last == nil && f.Records == 0:
		return Flag{}
	case last == nil:
		return Flag{
			Severity: SeverityRed, Name: "no_activity", What: records(f.Due) + " due, and `noggin process` never ran",
			Remedy: "start it: `systemctl enable --now noggin.target`, or `noggin process` by hand",
		}
	case now.Sub(*last) > inactiveAfter:
		return Flag{
			Severity: SeverityRed, Name: "no_activity", What: "no activity in 24 hours; the last was at " + last.Format("2006-01-02 15:04"),
			Remedy: "`systemctl status 'noggin-*'` and `systemctl list-timers 'noggin-*'`; start the timers with `systemctl start noggin.target`",
		}
	}
	return Flag{}
}

func judgeCircuitState(f Figures, now time.Time) Flag {
	switch {
	case f.CircuitState == circuitOpen && (f.OpenUntil == nil || f.OpenUntil.After(now)):
		until := "it is tried again at the next run"
		if f.OpenUntil != nil {
			until = "until " + f.OpenUntil.Format("15:04:05")
		}
		return Flag{
			Severity: SeverityRed, Name: "circuit_open", What: "the circuit is open, " + until + ": the API does not answer reliably; nothing is requested",
			Remedy: "`noggin report circuit` and `noggin report errors --since 1h` say why; it closes by itself, nothing is lost",
		}
	case f.RequestsPaused != nil && f.RequestsPaused.After(now):
		return Flag{
			Severity: SeverityYellow, Name: "rate_limited", What: "the API asked for fewer requests; paused until " + f.RequestsPaused.Format("15:04:05"),
			Remedy: Advice("rate_limit"),
		}
	}
	return Flag{}
}

func judgeOpenings(f Figures, _ time.Time) Flag {
	if f.OpeningsHour <= redOpeningsPerHour {
		return Flag{}
	}
	return Flag{
		Severity: SeverityRed, Name: "circuit_flapping", What: fmt.Sprintf("the circuit opened %d times in the last hour", f.OpeningsHour),
		Remedy: "`noggin report circuit`; if the API is known to be unwell, `noggin maintain pause --for 2h`, else raise [circuit_breaker] failure_threshold_percent",
	}
}

func judgeFailureRate(f Figures, _ time.Time) Flag {
	if f.Requests < fewRequests {
		return Flag{}
	}
	rate := 100 * float64(f.Failures) / float64(f.Requests)
	if rate <= redFailureRate {
		return Flag{}
	}
	return Flag{
		Severity: SeverityRed, Name: "failure_rate", What: fmt.Sprintf("%.0f %% of the last hour's %d requests failed", rate, f.Requests),
		Remedy: "`noggin report errors --since 1h`; `noggin validate api` tests token and network",
	}
}

// judgeFailedCount finds failures that rise: more than a tenth, and more than a
// few, in a day.
func judgeFailedCount(f Figures, _ time.Time) Flag {
	if f.FailedBefore == nil || f.Failed-*f.FailedBefore < fewRecords || f.Failed*10 < *f.FailedBefore*11 {
		return Flag{}
	}
	return Flag{
		Severity: SeverityRed, Name: "failures_rising", What: records(f.Failed) + " failed or given up, " + humanize.Comma(f.Failed-*f.FailedBefore) + " more than a day ago",
		Remedy: "`noggin report errors --since 1d` says in which way; `noggin report failed` lists them",
	}
}

func judgeQueue(f Figures, _ time.Time) Flag {
	if f.DueBefore == nil || f.Due-*f.DueBefore < fewRecords || f.Due*10 < *f.DueBefore*11 {
		return Flag{}
	}
	return Flag{
		Severity: SeverityYellow, Name: "queue_growing", What: "the queue grows: " + records(f.Due) + " due, " + humanize.Comma(*f.DueBefore) + " a day ago",
		Remedy: "`noggin report queue`; is the timer of `noggin process` running? After a large import this is as it should be",
	}
}

func judgeSlowness(f Figures, _ time.Time) Flag {
	if f.Today.AverageSeconds == nil || *f.Today.AverageSeconds <= redSecondsPerRecord {
		return Flag{}
	}
	return Flag{
		Severity: SeverityRed, Name: "slow", What: fmt.Sprintf("a record took %s on average today", time.Duration(*f.Today.AverageSeconds*float64(time.Second)).Round(time.Second)),
		Remedy: "`noggin report performance`, `noggin report attachments` for download speeds, `noggin report database` for long queries; then the host's disk and network",
	}
}

// judgeTargets compares today with the manual's target metrics; in the morning, when
// there is not much of it yet, yesterday.
func judgeTargets(f Figures, _ time.Time) Flag {
	d, day := f.Today, "today"
	if d.Processed < fewRecords && f.Yesterday.Processed >= fewRecords {
		d, day = f.Yesterday, "yesterday"
	}
	var missed []string
	if d.Processed >= fewRecords {
		if rate := 100 * float64(d.Complete) / float64(d.Processed); rate <= TargetCompletion {
			missed = append(missed, fmt.Sprintf("only %.1f %% complete (target: over %.0f %%)", rate, TargetCompletion))
		}
		if rate := 100 * float64(d.APIFailed) / float64(d.Processed); rate >= TargetAPIFailures {
			missed = append(missed, fmt.Sprintf("%.1f %% failed at the API (target: under %.0f %%)", rate, TargetAPIFailures))
		}
	}
	if d.Openings > TargetOpenings {
		missed = append(missed, fmt.Sprintf("the circuit opened %d times (target: at most %d)", d.Openings, TargetOpenings))
	}
	if len(missed) == 0 {
		return Flag{}
	}
	return Flag{
		Severity: SeverityYellow, Name: "targets_missed", What: day + "'s targets were missed: " + strings.Join(missed, "; "),
		Remedy: "`noggin report errors --since 2d`; what failed is tried again by itself",
	}
}

func judgeBackup(f Figures, now time.Time) Flag {
	remedy := "`noggin maintain backup`; its timer is noggin-backup.timer"
	switch {
	case f.Records == 0 || f.LastBackup != nil && now.Sub(*f.LastBackup) <= backupAfter:
		return Flag{}
	case f.LastBackup == nil:
		return Flag{Severity: SeverityYellow, Name: "no_backup", What: "no backup of the database was ever made by `noggin maintain backup`", Remedy: remedy}
	}
	return Flag{Severity: SeverityYellow, Name: "backup_old", What: "the last good backup of the database is of " + f.LastBackup.Format("2006-01-02 15:04"), Remedy: remedy}
}

func judgePause(f Figures, _ time.Time) Flag {
	if f.PausedReason == "" {
		return Flag{}
	}
	return Flag{Severity: SeverityYellow, Name: "paused", What: "paused for maintenance: " + f.PausedReason, Remedy: "`noggin maintain resume` when it is done"}
}

func judgeClaims(f Figures, _ time.Time) Flag {
	switch {
	case f.Crashing > 0:
		return Flag{
			Severity: SeverityYellow, Name: "crashing_records", What: records(f.Crashing) + " were in hand when runs died, three times or more; each is taken last and alone",
			Remedy: "`noggin report queue`; look into the journal for what killed the runs (memory?)",
		}
	case f.DeadClaims > 0:
		return Flag{
			Severity: SeverityYellow, Name: "dead_claims", What: records(f.DeadClaims) + " in the hands of a run that no longer lives",
			Remedy: "nothing: the next run takes them over",
		}
	}
	return Flag{}
}

func records(n int64) string {
	if n == 1 {
		return "1 record"
	}
	return humanize.Comma(n) + " records"
}
