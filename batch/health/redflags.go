package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"noggin/api"
	"noggin/batch/files"
	"noggin/storage"
)

// These are the limits of the manual's red flags and target metrics. The dashboard
// and `validate quick` judge by the same ones.
const (
	DiskFullPercent      = 85.0
	TargetCompletion     = 95.0 // percent of a day's records, at least
	TargetAPIFailures    = 5.0  // percent of a day's records, at most
	TargetOpenings       = 2    // openings of the circuit a day, at most
	redFailureRate       = 20.0 // percent of an hour's requests
	redOpeningsPerHour   = 5
	redSecondsPerRecord  = 300.0
	inactiveAfter        = 24 * time.Hour
	queuePatience        = time.Hour          // a record may be due for so long
	backupAfter          = 26 * time.Hour     // a day, and two hours for a late backup
	vanishedAfter        = time.Hour          // a run may give no sign of life for so long
	runMemory            = 8 * 24 * time.Hour // an older run is not judged
	fewRecords           = 20                 // fewer make no rate
	fewRequests          = 20                 // fewer make no rate
	fewPermanentlyFailed = 5                  // records within a day
)

// Severity of a flag.
const (
	SeverityRed    = "red"    // act now
	SeverityYellow = "yellow" // look at it today
)

// Names of flags that other rooms use too.
const (
	FlagDiskFull = "disk_full"
	FlagNoOutput = "output_unavailable"
)

// Flag is something that needs the operator, with what to do about it.
type Flag struct {
	Severity string `json:"severity"`
	Name     string `json:"name"` // stable, for programs: disk_full, …
	What     string `json:"what"`
	Remedy   string `json:"remedy"`
}

// red and yellow make a flag of that severity.
func red(name, what, remedy string) Flag    { return Flag{SeverityRed, name, what, remedy} }
func yellow(name, what, remedy string) Flag { return Flag{SeverityYellow, name, what, remedy} }

// Flags judges the vitals by the manual's red flags and targets. Red flags come
// first.
func (v *Vitals) Flags() []Flag {
	flags := []Flag{judgeDisk(v)}
	for _, run := range v.Runs {
		flags = append(flags, judgeVanished(run, v.Now))
	}
	for _, run := range v.Judged {
		flags = append(flags, judgeRun(run, v.Now))
	}
	flags = append(flags, JudgeArchives(v.Archives, v.Now)...)
	for _, judge := range []func(*Vitals) Flag{
		judgeTimers, judgeUnits, judgeSilence, judgeActivity, judgeMedia, judgeCircuitState, judgeOpenings, judgeFailureRate, judgeFailedCount, judgeQueue, judgeSlowness, judgeTargets,
		judgeBackup, judgePause, judgeClaims, judgeLeftOut,
	} {
		flags = append(flags, judge(v))
	}
	for _, target := range v.Copies {
		flags = append(flags, judgeCopies(target, v.Now)...)
	}
	flags = append(flags, judgeSeal(v)...)
	flags = slices.DeleteFunc(flags, func(f Flag) bool { return f.Severity == "" })
	slices.SortStableFunc(flags, func(a, b Flag) int { return cmp.Compare(a.Severity, b.Severity) }) // red, yellow
	return flags
}

// DiskRemedy is what to do about the output's volume when it is nearly full. Archives on
// the same volume would free nothing.
func DiskRemedy(paths files.Paths) string {
	to := ""
	if same, err := files.SameVolume(paths.Archive, paths.Output); err == nil && same {
		to = " --to DIR"
	}
	remedy := "`noggin archive create --older-than 2y" + to + "`"
	if to != "" {
		remedy += " with a folder on another volume"
	}
	return remedy + "; `noggin maintain emergency` shows what else can be removed"
}

func judgeDisk(v *Vitals) Flag {
	switch {
	case v.DiskError != nil:
		return red(FlagNoOutput, "the output folder cannot be used: "+v.DiskError.Error(),
			"mount its volume; if it is mounted and new, run `noggin init-db`")
	case v.Disk == nil || v.Disk.TotalBytes == 0:
		return Flag{}
	}
	used := files.UsedPercent(uint64(v.Disk.FreeBytes), uint64(v.Disk.TotalBytes))
	text := fmt.Sprintf("the volume of %s is %.0f %% full, %s free", v.Disk.Path, used, BytesText(v.Disk.FreeBytes))
	var fullAt *time.Time
	if v.Forecast != nil {
		fullAt = v.Forecast.FullAt
	}
	if fullAt != nil {
		text += "; at the present rate it is full on " + fullAt.Format(time.DateOnly)
	}
	switch {
	case v.InodesUsed > DiskFullPercent:
		return red("inodes_full", fmt.Sprintf("the volume of %s has %.0f %% of its inodes in use: each file needs one, and downloads stop at 98 %%",
			v.Disk.Path, v.InodesUsed), v.DiskRemedy)
	case used > DiskFullPercent:
		return red(FlagDiskFull, text, v.DiskRemedy)
	case fullAt != nil && fullAt.Sub(v.Now) < 14*24*time.Hour:
		return yellow("disk_filling", text, v.DiskRemedy)
	}
	return Flag{}
}

// runRemedies say what to do about each exit code that means trouble.
var runRemedies = map[int]string{
	1:  "`noggin report runs --failed`, `sudo journalctl -u 'noggin-*'`",
	2:  "`noggin validate config`",
	3:  "`noggin report runs --failed` says what did not succeed",
	4:  "`noggin validate database`",
	5:  "`noggin validate api`; later runs carry on by themselves",
	12: "`noggin validate api` says why; put a new token in place (`noggin validate api --token-file FILE` tests it); nothing is lost meanwhile",
}

// judgeVanished judges the last run of a command.
func judgeVanished(run storage.RunRow, now time.Time) Flag {
	if run.ExitCode != nil || now.Sub(run.SeenAt) <= vanishedAfter || now.Sub(run.StartedAt) > runMemory {
		return Flag{}
	}
	return yellow("run_vanished", nameRun(run, now)+"vanished",
		"`sudo journalctl -u 'noggin-*'` on that host says why; its claims expire and its records are free again")
}

func nameRun(run storage.RunRow, now time.Time) string {
	return fmt.Sprintf("noggin %s, started %s on %s, ", run.Command, run.StartedAt.In(now.Location()).Format(minuteLayout), run.Host)
}

// judgeRun judges the last run of a command that ended by itself. So the next good run
// clears a failure, and a run that is at work or was interrupted does not.
func judgeRun(run storage.RunRow, now time.Time) Flag {
	if now.Sub(run.StartedAt) > runMemory {
		return Flag{}
	}
	code := *run.ExitCode
	flag := yellow("run_failed", fmt.Sprintf("%sended with %d: %s", nameRun(run, now), code, storage.ValueOf(run.Message)), runRemedies[code])
	switch {
	case flag.Remedy == "":
		return Flag{}
	case code == 3: // other flags tell of failed records and rows, and validate must not find itself
		if !strings.HasPrefix(run.Command, "maintain") && !strings.HasPrefix(run.Command, "archive") && !strings.HasPrefix(run.Command, "copy") {
			return Flag{}
		}
	case run.Command == "import-csv" && (code == 5 || code == 12):
		flag.Name, flag.Remedy = "sources_failed", "`noggin validate sources` says why; what is on the server is fetched by a later run"
	case strings.HasPrefix(run.Command, "copy") && code == 5:
		flag.Name, flag.Remedy = "copy_target_away", "`noggin validate copy` says why; a later run carries on by itself"
	case code == 12:
		flag.Severity, flag.Name = SeverityRed, "credentials_rejected"
	case run.Command == "process" && code != 5: // the circuit tells of an API that is not available
		flag.Severity, flag.Name = SeverityRed, "process_failed"
	}
	return flag
}

func judgeActivity(v *Vitals) Flag {
	last := v.lastActivity()
	all, _, _ := v.Records()
	switch {
	case all == 0 || v.Standing.Paused || last == nil && (v.Queue.OldestAt == nil || v.since(*v.Queue.OldestAt) < queuePatience): // the first run may be about to start
		return Flag{}
	case last == nil:
		return red("no_activity", DueText(v.Queue.Due, v.Queue.DueAtLeast)+" due, and no run of `noggin process` ever succeeded",
			"start it: "+v.Services.unmask()+"`sudo systemctl enable --now noggin.target`, or `noggin process` by hand")
	case v.since(*last) > inactiveAfter:
		return red("no_activity", "no activity in 24 hours; the last was on "+last.In(v.Now.Location()).Format(minuteLayout),
			"`systemctl status noggin-process.service`, `systemctl list-timers 'noggin-*'`; "+v.Services.unmask()+"`sudo systemctl start noggin.target` starts the timers")
	}
	return Flag{}
}

// judgeMedia finds that attachments that were there before are not served. Without a
// record that waits for attachments, no run would notice that they come again.
func judgeMedia(v *Vitals) Flag {
	since := v.Standing.MediaFailingSince
	waits := slices.ContainsFunc(v.Totals, func(t storage.RecordTotal) bool {
		return (t.Status == storage.StatusPartial || t.Status == storage.StatusFailed) && !t.PermanentlyFailed && t.Records > 0
	})
	if since == nil || !waits {
		return Flag{}
	}
	return red("media_failing", "attachments that were there before are not served, since "+since.In(v.Now.Location()).Format(minuteLayout)+"; nothing is counted against a record meanwhile",
		"check [api] media_service_url, and open an attachment of the platform in a browser; `noggin report failed` lists the records that wait")
}

func judgeCircuitState(v *Vitals) Flag {
	switch until := v.Standing.OpenUntil; {
	case v.Standing.State == storage.CircuitOpen && until == nil:
		return circuitOpen("it is tried again at the next run")
	case v.Standing.State == storage.CircuitOpen && until.After(v.Now):
		return circuitOpen("until " + until.Format(time.TimeOnly))
	}
	if until := v.Standing.Circuit.PausedUntil; until != nil && until.After(v.Now) {
		return yellow("rate_limited", "the API asked for fewer requests; paused until "+until.Format(time.TimeOnly), Advice(api.KindRateLimit))
	}
	return Flag{}
}

func circuitOpen(until string) Flag {
	return red("circuit_open", "the circuit is open, "+until+": the API does not answer reliably, so noggin sends no requests",
		"`noggin report circuit` and `noggin report errors --since 1h` say why; it closes by itself, nothing is lost")
}

func judgeOpenings(v *Vitals) Flag {
	if v.OpeningsHour <= redOpeningsPerHour {
		return Flag{}
	}
	return red("circuit_flapping", fmt.Sprintf("the circuit opened %d times in the last hour", v.OpeningsHour),
		"`noggin report circuit`; if the API is known to have trouble, `noggin maintain pause --for 2h --reason 'API outage'`, else raise [circuit_breaker] failure_threshold_percent")
}

func judgeFailureRate(v *Vitals) Flag {
	if v.HourRequests == nil || *v.HourRequests < fewRequests {
		return Flag{}
	}
	rate := 100 * float64(*v.HourFailures) / float64(*v.HourRequests)
	if rate <= redFailureRate {
		return Flag{}
	}
	return red("failure_rate", fmt.Sprintf("%.0f %% of the last hour's %d requests failed", rate, *v.HourRequests),
		"`noggin report errors --since 1h`; `noggin validate api` tests token and network")
}

// judgeFailedCount finds a rise of failures and of permanently failed records.
func judgeFailedCount(v *Vitals) Flag {
	_, permanentlyFailed, failed := v.Records()
	switch {
	case grew(failed, v.FailedDayAgo):
		return red("failures_rising", Plural(failed, "record")+" failed or permanently failed, "+humanize.Comma(failed-*v.FailedDayAgo)+" more than a day ago",
			"`noggin report errors --since 1d` says why; `noggin report failed` lists them")
	case v.PermanentlyFailedDayAgo != nil && permanentlyFailed-*v.PermanentlyFailedDayAgo >= fewPermanentlyFailed:
		return yellow("permanently_failed", Plural(permanentlyFailed-*v.PermanentlyFailedDayAgo, "record")+" permanently failed within a day, "+humanize.Comma(permanentlyFailed)+" in all",
			"`noggin report failed --permanent`; when the cause is mended: `noggin retry-failed --permanent`")
	}
	return Flag{}
}

// grew tells whether n rose in a day by at least a tenth and by fewRecords.
func grew(n int64, before *int64) bool {
	return before != nil && n-*before >= fewRecords && n*10 >= *before*11
}

func judgeQueue(v *Vitals) Flag {
	const remedy = "`noggin report queue`; does `noggin process` run? `systemctl list-timers noggin-process.timer`"
	switch {
	case v.Standing.Paused: // judgePause tells of it
		return Flag{}
	case v.Queue.Due > 0 && v.Queue.OldestAt != nil && v.since(*v.Queue.OldestAt) > queuePatience && (v.DueHourAgo == nil || v.Queue.Due >= *v.DueHourAgo):
		what := DueText(v.Queue.Due, v.Queue.DueAtLeast) + " due, the oldest for " + duration(v.Now.Sub(*v.Queue.OldestAt))
		if v.Queue.DueAtLeast {
			what += "; too many to tell whether the number falls"
		} else {
			what += "; the number does not fall"
		}
		if v.Standing.State == storage.CircuitOpen {
			what += ": the circuit is open"
		}
		return red("queue_standing", what, remedy)
	case grew(v.Queue.Due, v.DueDayAgo):
		return yellow("queue_growing", "the queue grows: "+DueText(v.Queue.Due, v.Queue.DueAtLeast)+" due, "+humanize.Comma(*v.DueDayAgo)+" a day ago",
			remedy+". After a large import this is normal")
	}
	return Flag{}
}

func judgeSlowness(v *Vitals) Flag {
	if v.Days[0].AverageSeconds == nil || *v.Days[0].AverageSeconds <= redSecondsPerRecord {
		return Flag{}
	}
	return red("slow", fmt.Sprintf("a record took %s on average today", time.Duration(*v.Days[0].AverageSeconds*float64(time.Second)).Round(time.Second)),
		"`noggin report performance`, `noggin report attachments` for download speeds, `noggin report database` for long queries; then the host's disk and network")
}

// judgeTargets compares today with the manual's target metrics. Early in the day,
// when today has few records, it judges yesterday.
func judgeTargets(v *Vitals) Flag {
	d, day := v.Days[0], "today"
	if d.Processed < fewRecords && v.Days[1].Processed >= fewRecords {
		d, day = v.Days[1], "yesterday"
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
	return yellow("targets_missed", day+"'s targets were missed: "+strings.Join(missed, "; "),
		"`noggin report errors --since 2d`; noggin tries what failed again by itself")
}

func judgeBackup(v *Vitals) Flag {
	const remedy = "`noggin maintain backup`; its timer is noggin-backup.timer"
	last := v.Backup()
	all, _, _ := v.Records()
	switch {
	case all == 0 || last != nil && v.Now.Sub(*last.FinishedAt) <= backupAfter:
		return Flag{}
	case last == nil:
		return yellow("no_backup", "`noggin maintain backup` never made a backup of the database", remedy)
	}
	return yellow("backup_old", "the last good backup of the database is from "+last.FinishedAt.Format(minuteLayout), remedy)
}

func judgePause(v *Vitals) Flag {
	if !v.Standing.Paused {
		return Flag{}
	}
	return yellow("paused", "paused for maintenance: "+v.Standing.PauseReason, "`noggin maintain resume` when it is done")
}

func judgeClaims(v *Vitals) Flag {
	dead := v.deadClaims()
	switch {
	case v.Queue.Crashing > 0:
		return yellow("crashing_records", "runs died three times or more while they worked on "+Plural(v.Queue.Crashing, "record")+"; noggin takes each of these last and alone",
			"`noggin report queue`; the journal says what killed the runs (memory?)")
	case dead > 0:
		return yellow("dead_claims", Plural(dead, "record")+" claimed by a run that no longer lives", "nothing: the next run claims them")
	}
	return Flag{}
}
