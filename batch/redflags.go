package batch

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"noggin/storage"
)

// The manual's limits: its red flags and target metrics. The dashboard and
// `validate quick` judge by them alike.
const (
	DiskFullPercent         = 85.0
	TargetCompletion        = 95.0 // percent of a day's records, at least
	TargetAPIFailures       = 5.0  // percent of a day's records, at most
	TargetOpenings          = 2    // of the circuit a day, at most
	redFailureRate          = 20.0 // percent of an hour's requests
	redOpeningsPerHour      = 5
	redSecondsPerRecord     = 300.0
	inactiveAfter           = 24 * time.Hour
	queuePatience           = time.Hour          // a record may be due for so long
	backupAfter             = 26 * time.Hour     // a daily one, somewhat late
	vanishedAfter           = time.Hour          // a run may give no sign of life for so long
	runMemory               = 8 * 24 * time.Hour // a command's last run says something of today for so long
	fewRecords, fewRequests = 20, 20             // fewer make no rate worth a word
	fewPermanentlyFailed    = 5                  // records within a day
)

// Severity of a flag.
const (
	SeverityRed    = "red"    // act now
	SeverityYellow = "yellow" // look at it today
)

// Flags that more than one place knows.
const (
	flagDiskFull = "disk_full"
	flagNoOutput = "output_unavailable"
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
	History
	Records           int64 // all there are
	Disk              *DiskReading
	DiskPath          string
	DiskError         string // why the disk could not be looked at
	DiskFullAt        *time.Time
	Runs              []storage.RunRow // the last of each command
	LastProcessed     *time.Time       // a run of process ended well, or with some records failed
	LastActivity      *time.Time       // a record's status changed
	Due               int64
	DueAtLeast        bool // it may be more
	OldestDue         *time.Time
	Today             storage.Day
	Yesterday         storage.Day
	Failed            int64 // records that failed, the permanently failed included
	PermanentlyFailed int64
	OpeningsHour      int
	CircuitState      string
	OpenUntil         *time.Time
	RequestsPaused    *time.Time // by a 429, until then
	PausedReason      string     // `noggin maintain pause`; empty: not paused
	LastBackup        *time.Time
	DeadClaims        int64 // whose lease ended
	Crashing          int64
}

// RedFlags judges the figures by the manual's red flags and targets, the gravest
// first.
func RedFlags(f Figures, now time.Time) []Flag {
	flags := []Flag{judgeDisk(f, now)}
	for _, run := range f.Runs {
		flags = append(flags, judgeRun(run, now))
	}
	for _, judge := range []func(Figures, time.Time) Flag{
		judgeActivity, judgeCircuitState, judgeOpenings, judgeFailureRate, judgeFailedCount, judgeQueue, judgeSlowness, judgeTargets,
		judgeBackup, judgePause, judgeClaims,
	} {
		flags = append(flags, judge(f, now))
	}
	flags = slices.DeleteFunc(flags, func(f Flag) bool { return f.Severity == "" })
	slices.SortStableFunc(flags, func(a, b Flag) int { return cmp.Compare(a.Severity, b.Severity) }) // red, yellow
	return flags
}

const diskRemedy = "`noggin archive create --older-than 2y`, or `noggin maintain emergency` for what else can go"

func judgeDisk(f Figures, now time.Time) Flag {
	switch {
	case f.DiskError != "":
		return Flag{
			Severity: SeverityRed, Name: flagNoOutput, What: "the output folder cannot be used: " + f.DiskError,
			Remedy: "mount its volume; where it is mounted and new, run `noggin init-db`",
		}
	case f.Disk == nil || f.Disk.TotalBytes == 0:
		return Flag{}
	}
	used := UsedPercent(uint64(f.Disk.FreeBytes), uint64(f.Disk.TotalBytes))
	text := fmt.Sprintf("the volume of %s is %.0f %% full, %s free", f.DiskPath, used, humanize.Bytes(uint64(max(0, f.Disk.FreeBytes))))
	if f.DiskFullAt != nil {
		text += "; at the present rate full on " + f.DiskFullAt.Format(time.DateOnly)
	}
	switch {
	case used > DiskFullPercent:
		return Flag{Severity: SeverityRed, Name: flagDiskFull, What: text, Remedy: diskRemedy}
	case f.DiskFullAt != nil && f.DiskFullAt.Sub(now) < 14*24*time.Hour:
		return Flag{Severity: SeverityYellow, Name: "disk_filling", What: text, Remedy: diskRemedy}
	}
	return Flag{}
}

// runRemedies say what to do about the exit codes that say that something is wrong.
var runRemedies = map[int]string{
	1:  "`noggin report runs --failed`, `journalctl -u 'noggin-*'`",
	2:  "`noggin validate config`",
	3:  "`noggin report runs --failed`: some of it did not succeed",
	4:  "`noggin validate database`",
	5:  "`noggin validate api`; later runs carry on by themselves",
	12: "`noggin validate api` says why; put a new token in place (`noggin validate api --token-file FILE` tests it), nothing is lost meanwhile",
}

func judgeRun(run storage.RunRow, now time.Time) Flag {
	if now.Sub(run.StartedAt) > runMemory {
		return Flag{}
	}
	what := fmt.Sprintf("noggin %s, started %s on %s, ", run.Command, run.StartedAt.In(now.Location()).Format("2006-01-02 15:04"), run.Host)
	if run.ExitCode == nil {
		if now.Sub(run.SeenAt) <= vanishedAfter {
			return Flag{}
		}
		return Flag{
			Severity: SeverityYellow, Name: "run_vanished", What: what + "vanished",
			Remedy: "`journalctl -u 'noggin-*'` on that host says why; what it had in hand is free again",
		}
	}
	code := *run.ExitCode
	flag := Flag{Severity: SeverityYellow, Name: "run_failed", What: fmt.Sprintf("%sended with %d: %s", what, code, valueOf(run.Message)), Remedy: runRemedies[code]}
	switch {
	case flag.Remedy == "":
		return Flag{}
	case code == 3: // records and rows have reports of their own, and validate would find itself
		if !strings.HasPrefix(run.Command, "maintain") && !strings.HasPrefix(run.Command, "archive") {
			return Flag{}
		}
	case code == 12:
		flag.Severity, flag.Name = SeverityRed, "credentials_rejected"
	case run.Command == "process" && code != 5: // of an unavailable API the circuit tells
		flag.Severity, flag.Name = SeverityRed, "process_failed"
	}
	return flag
}

func judgeActivity(f Figures, now time.Time) Flag {
	last := f.LastProcessed
	if f.LastActivity != nil && (last == nil || f.LastActivity.After(*last)) {
		last = f.LastActivity
	}
	switch {
	case f.Records == 0 || last == nil && (f.OldestDue == nil || now.Sub(*f.OldestDue) < queuePatience): // it may be about to begin
		return Flag{}
	case last == nil:
		return Flag{
			Severity: SeverityRed, Name: "no_activity", What: dueText(f.Due, f.DueAtLeast) + " due, and `noggin process` never ended well",
			Remedy: "start it: `systemctl enable --now noggin.target`, or `noggin process` by hand",
		}
	case now.Sub(*last) > inactiveAfter:
		return Flag{
			Severity: SeverityRed, Name: "no_activity", What: "no activity in 24 hours; the last was on " + last.In(now.Location()).Format("2006-01-02 15:04"),
			Remedy: "`systemctl status noggin-process.service`, `systemctl list-timers 'noggin-*'`; `systemctl start noggin.target` starts the timers",
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
	if f.HourRequests == nil || *f.HourRequests < fewRequests {
		return Flag{}
	}
	rate := 100 * float64(*f.HourFailures) / float64(*f.HourRequests)
	if rate <= redFailureRate {
		return Flag{}
	}
	return Flag{
		Severity: SeverityRed, Name: "failure_rate", What: fmt.Sprintf("%.0f %% of the last hour's %d requests failed", rate, *f.HourRequests),
		Remedy: "`noggin report errors --since 1h`; `noggin validate api` tests token and network",
	}
}

// judgeFailedCount finds failures that rise, and records that are not tried again.
func judgeFailedCount(f Figures, _ time.Time) Flag {
	switch {
	case grew(f.Failed, f.FailedDayAgo):
		return Flag{
			Severity: SeverityRed, Name: "failures_rising", What: records(f.Failed) + " failed or permanently failed, " + humanize.Comma(f.Failed-*f.FailedDayAgo) + " more than a day ago",
			Remedy: "`noggin report errors --since 1d` says in which way; `noggin report failed` lists them",
		}
	case f.PermanentlyFailedDayAgo != nil && f.PermanentlyFailed-*f.PermanentlyFailedDayAgo >= fewPermanentlyFailed:
		return Flag{
			Severity: SeverityYellow, Name: "permanently_failed", What: records(f.PermanentlyFailed-*f.PermanentlyFailedDayAgo) + " permanently failed within a day, " + humanize.Comma(f.PermanentlyFailed) + " in all",
			Remedy: "`noggin report failed --permanent`; when the cause is mended: `noggin retry-failed --permanent`",
		}
	}
	return Flag{}
}

// grew tells a growth worth a word: more than a tenth, and more than a few, in a
// day.
func grew(n int64, before *int64) bool {
	return before != nil && n-*before >= fewRecords && n*10 >= *before*11
}

func judgeQueue(f Figures, now time.Time) Flag {
	timer := "`noggin report queue`; does `noggin process` run? `systemctl list-timers noggin-process.timer`"
	switch {
	case f.PausedReason != "": // told by judgePause
		return Flag{}
	case f.Due > 0 && f.OldestDue != nil && now.Sub(*f.OldestDue) > queuePatience && (f.DueHourAgo == nil || f.Due >= *f.DueHourAgo):
		what := dueText(f.Due, f.DueAtLeast) + " due, the oldest for " + duration(now.Sub(*f.OldestDue))
		if f.DueAtLeast {
			what += ", too many to see whether they get fewer"
		} else {
			what += ", and they do not get fewer"
		}
		if f.CircuitState == circuitOpen {
			what += ": the circuit is open"
		}
		return Flag{Severity: SeverityRed, Name: "queue_standing", What: what, Remedy: timer}
	case grew(f.Due, f.DueDayAgo):
		return Flag{
			Severity: SeverityYellow, Name: "queue_growing", What: "the queue grows: " + dueText(f.Due, f.DueAtLeast) + " due, " + humanize.Comma(*f.DueDayAgo) + " a day ago",
			Remedy: timer + ". After a large import this is as it should be",
		}
	}
	return Flag{}
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

func dueText(n int64, atLeast bool) string {
	if atLeast {
		return "at least " + records(n)
	}
	return records(n)
}

func records(n int64) string {
	if n == 1 {
		return "1 record"
	}
	return humanize.Comma(n) + " records"
}
