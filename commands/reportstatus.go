package commands

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

func reportStatusCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "the dashboard: what needs attention, records, queue, days, runs, space",
		Description: `The manual's morning check. What needs attention comes first: red flags (!)
want action now, the others (-) a look today; each with its remedy.`,
		Flags:  []cli.Flag{formatFlag(formatText, formatJSON, formatCSV)},
		Action: env.reporting(runReportStatus),
	}
}

// statusReport is the dashboard.
type statusReport struct {
	At                time.Time              `json:"at"`
	Timezone          string                 `json:"timezone"`
	Attention         []batch.Flag           `json:"attention"`
	Records           int64                  `json:"records"`
	ByStatus          []statusRecords        `json:"by_status"`
	PermanentlyFailed int64                  `json:"permanently_failed"`
	Queue             storage.QueueDepth     `json:"queue"`
	InProgress        []storage.Worker       `json:"in_progress"`
	Days              []dayReport            `json:"days"`               // the latest first
	ErrorsLastDay     []storage.ErrorCount   `json:"errors_last_24h"`    // by type
	UnknownHashes     []storage.UnknownNames `json:"unknown_hashes"`     // by kind of object
	Circuit           circuitState           `json:"circuit"`            // of requests to the API
	Runs              []storage.RunRow       `json:"last_runs"`          // one a command
	Disk              *diskState             `json:"disk"`               // null: see attention
	DatabaseBytes     int64                  `json:"database_bytes"`     // with all its tables
	Files             []fileTotal            `json:"files"`              // attachments by status
	LastBackup        *storage.RunRow        `json:"last_backup"`        // that succeeded
	LastActivity      *time.Time             `json:"last_activity"`      // a record's status changed
	Timers            []timer                `json:"timers,omitempty"`   // absent without systemd
	PausedReason      string                 `json:"paused_reason"`      // empty: not paused
	PausedUntil       *time.Time             `json:"paused_until"`       // null: until resumed
	HourRequests      *int64                 `json:"requests_last_1h"`   // null: not known
	HourFailures      *int64                 `json:"failures_last_1h"`   // of these requests
	DueDayAgo         *int64                 `json:"due_a_day_ago"`      // null: not known
	FailedDayAgo      *int64                 `json:"failed_a_day_ago"`   // null: not known
	Failed            int64                  `json:"failed_or_given_up"` // now
}

type statusRecords struct {
	Status  string  `json:"processing_status"`
	Records int64   `json:"records"`
	Percent float64 `json:"percent"`
}

type fileTotal = storage.AttachmentTotal

type diskState struct {
	storage.Disk
	UsedPercent float64    `json:"used_percent"`
	BytesPerDay *float64   `json:"bytes_per_day"` // null: too little is known
	FullAt      *time.Time `json:"full_at"`       // at that rate
}

func runReportStatus(ctx context.Context, r *reporter) error {
	status, err := r.status(ctx)
	if err != nil {
		return err
	}
	status.Timers = listTimers(ctx)
	return r.out.report(status, table{}, func() sheet { return r.statusSheet(status) })
}

// status reads everything that the dashboard shows, and judges it.
func (r *reporter) status(ctx context.Context) (s statusReport, err error) {
	s = statusReport{At: r.now, Timezone: r.now.Location().String(), PausedReason: "", InProgress: []storage.Worker{}}
	if r.standing.Paused {
		s.PausedReason, s.PausedUntil = r.standing.PauseReason, r.standing.PausedUntil
	}
	totals, err := r.db.RecordTotals(ctx)
	if err != nil {
		return s, err
	}
	s.countRecords(totals)
	if s.Queue, err = r.db.QueueDepth(ctx); err != nil {
		return s, err
	}
	if s.InProgress, err = r.db.Workers(ctx); err != nil {
		return s, err
	}
	if s.Days, err = r.days(ctx, 7); err != nil {
		return s, err
	}
	if s.ErrorsLastDay, err = r.db.ErrorTypes(ctx, r.now.AddDate(0, 0, -1), r.now.Add(time.Minute)); err != nil {
		return s, err
	}
	if s.UnknownHashes, err = r.db.UnknownNames(ctx); err != nil {
		return s, err
	}
	if s.Circuit, err = r.circuit(ctx); err != nil {
		return s, err
	}
	if s.Files, err = r.db.AttachmentTotals(ctx); err != nil {
		return s, err
	}
	if s.DatabaseBytes, err = r.db.DatabaseSize(ctx); err != nil {
		return s, err
	}
	if s.LastActivity, err = r.db.LastActivity(ctx); err != nil {
		return s, err
	}
	return s, r.judge(ctx, &s)
}

// judge adds the runs, what the samples tell, and the flags.
func (r *reporter) judge(ctx context.Context, s *statusReport) error {
	last, succeeded, err := r.db.LastRuns(ctx)
	if err != nil {
		return err
	}
	s.Runs = last
	for i := range succeeded {
		if succeeded[i].Command == "maintain backup" {
			s.LastBackup = &succeeded[i]
		}
	}
	samples, err := r.db.Samples(ctx, r.now.AddDate(0, 0, -31))
	if err != nil {
		return err
	}
	disk, diskErr := batch.ReadDisk(r.cfg.batch.Paths.Output)
	if diskErr == nil {
		disk.Host = r.db.Host()
		s.Disk = forecast(*disk, samples, r.now)
	}
	s.compare(samples, r.standing.Circuit, r.now)
	s.Attention = batch.RedFlags(s.figures(diskErr, r.standing, r.cfg.batch.Paths.Output), r.now)
	return nil
}

func (s *statusReport) countRecords(totals []storage.RecordTotal) {
	by := map[string]int64{}
	for _, t := range totals {
		s.Records += t.Records
		by[t.Status] += t.Records
		if t.PermanentlyFailed {
			s.PermanentlyFailed += t.Records
		}
		if t.PermanentlyFailed || t.Status == "partial" || t.Status == "failed" || t.Status == "api_failed" {
			s.Failed += t.Records
		}
	}
	for _, status := range storage.Statuses() {
		s.ByStatus = append(s.ByStatus, statusRecords{status, by[status], math.Round(1000*float64(by[status])/float64(max(1, s.Records))) / 10})
	}
}

// compare finds what an hour and a day ago was.
func (s *statusReport) compare(samples []storage.Sample, circuit storage.Circuit, now time.Time) {
	for _, sample := range samples { // the oldest first: the last that fits counts
		age := now.Sub(sample.At)
		if age >= 50*time.Minute && age < 3*time.Hour && circuit.TotalRequests >= sample.Requests {
			requests, failures := circuit.TotalRequests-sample.Requests, circuit.TotalFailures-sample.RequestFailures
			s.HourRequests, s.HourFailures = &requests, &failures
		}
		if age >= 23*time.Hour && age < 36*time.Hour {
			due := sample.Due
			failed := max(sample.Records["partial"]+sample.Records["failed"]+sample.Records["api_failed"], sample.PermanentlyFailed)
			s.DueDayAgo, s.FailedDayAgo = &due, &failed
		}
	}
}

// figures are what the flags are judged by.
func (s *statusReport) figures(diskErr error, standing storage.Standing, output string) batch.Figures {
	f := batch.Figures{
		Records: s.Records, DiskPath: output, LastActivity: s.LastActivity, Due: s.Queue.Due, DueBefore: s.DueDayAgo,
		Failed: s.Failed, FailedBefore: s.FailedDayAgo, OpeningsHour: s.Circuit.OpeningsLastHour, CircuitState: standing.State,
		OpenUntil: standing.OpenUntil, RequestsPaused: standing.Circuit.PausedUntil, PausedReason: s.PausedReason, Crashing: s.Queue.Crashing,
		Today: dayFigures(s.Days[0]), Yesterday: dayFigures(s.Days[1]),
	}
	if s.HourRequests != nil {
		f.Requests, f.Failures = *s.HourRequests, *s.HourFailures
	}
	if diskErr != nil {
		f.DiskError = diskErr.Error()
	}
	if s.Disk != nil {
		f.Disk = &batch.DiskReading{FreeBytes: s.Disk.FreeBytes, TotalBytes: s.Disk.TotalBytes}
		f.DiskFullAt = s.Disk.FullAt
	}
	for _, run := range s.Runs {
		if run.Command == "process" {
			f.LastProcess, f.LastProcessExit = &run.StartedAt, run.ExitCode
			if run.Message != nil {
				f.LastProcessSays = *run.Message
			}
		}
	}
	if s.LastBackup != nil {
		f.LastBackup = s.LastBackup.FinishedAt
	}
	for _, w := range s.InProgress {
		f.DeadClaims += w.Expired
	}
	return f
}

func dayFigures(d dayReport) batch.DayFigures {
	return batch.DayFigures{Processed: d.Processed, Complete: d.Complete, APIFailed: d.APIFailed, Openings: d.Openings, AverageSeconds: d.AverageSeconds}
}

// forecast adds to the disk's state when it will be full, by the samples that this
// host took of it.
func forecast(disk storage.Disk, samples []storage.Sample, now time.Time) *diskState {
	state := &diskState{Disk: disk, UsedPercent: 100 * float64(disk.TotalBytes-disk.FreeBytes) / float64(max(1, disk.TotalBytes))}
	var readings []batch.DiskReading
	for _, s := range samples {
		if s.Disk != nil && s.Disk.Path == disk.Path && s.Disk.Host == disk.Host {
			readings = append(readings, batch.DiskReading{At: s.At, FreeBytes: s.Disk.FreeBytes, TotalBytes: s.Disk.TotalBytes})
		}
	}
	readings = append(readings, batch.DiskReading{At: now, FreeBytes: disk.FreeBytes, TotalBytes: disk.TotalBytes})
	if f, ok := batch.ForecastDisk(readings, now); ok {
		state.BytesPerDay, state.FullAt = &f.BytesPerDay, f.FullAt
	}
	return state
}

// describe is "412 GB free of 1 TB, 59 % used; grows by 1.2 GB a day, full on …".
func (d *diskState) describe() string {
	text := fmt.Sprintf("%s free of %s, %.0f %% used", size(d.FreeBytes).human(), size(d.TotalBytes).human(), d.UsedPercent)
	switch {
	case d.BytesPerDay == nil:
		return text
	case d.FullAt != nil:
		return text + fmt.Sprintf("; grows by %s a day: full on %s", size(int64(*d.BytesPerDay)).human(), d.FullAt.Format(time.DateOnly))
	case *d.BytesPerDay > 0:
		return text + fmt.Sprintf("; grows by %s a day: years until it is full", size(int64(*d.BytesPerDay)).human())
	}
	return text + "; does not grow at present"
}

// attention is the section that comes first.
func attention(flags []batch.Flag) section {
	s := section{title: "Needs attention"}
	for _, flag := range flags {
		mark := "- "
		if flag.Severity == batch.SeverityRed {
			mark = "! "
		}
		s.lines = append(s.lines, mark+flag.What, "  > "+flag.Remedy)
	}
	if len(flags) == 0 {
		return section{lines: []string{"All is well: nothing needs attention."}}
	}
	return s
}

func namesLine(unknown []storage.UnknownNames) string {
	if len(unknown) == 0 {
		return "none"
	}
	var parts []string
	var total int64
	for _, u := range unknown {
		total += u.Hashes
		parts = append(parts, u.EntityType+" "+humanize.Comma(u.Hashes))
	}
	return humanize.Comma(total) + " (" + strings.Join(parts, ", ") + "): `noggin hashes export-unknown`"
}
