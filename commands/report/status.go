package report

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func statusCommand(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:  "status",
		Usage: "the dashboard: what needs attention, records, queue, days, runs, space",
		Description: `The manual's morning check. What needs attention comes first: red flags (!)
want action now, the others (-) a look today; each with its remedy.`,
	}, runStatus)
}

// statusReport is the dashboard.
type statusReport struct {
	At                time.Time              `json:"at"`
	Timezone          string                 `json:"timezone"`
	Attention         []health.Flag          `json:"attention"`
	Records           int64                  `json:"records"`
	ByStatus          []statusRecords        `json:"by_status"`
	PermanentlyFailed int64                  `json:"permanently_failed"`
	Queue             storage.QueueDepth     `json:"queue"`
	InProgress        []storage.Worker       `json:"in_progress"`
	Days              []dayReport            `json:"days"`            // the latest first
	ErrorsLastDay     []storage.ErrorCount   `json:"errors_last_24h"` // by type
	UnknownHashes     []storage.UnknownNames `json:"unknown_hashes"`  // by kind of object
	Circuit           circuitState           `json:"circuit"`         // of requests to the API
	Runs              []storage.RunRow       `json:"last_runs"`       // one a command
	Disk              *diskState             `json:"disk"`            // null: see attention
	DatabaseBytes     int64                  `json:"database_bytes"`  // with all its tables
	Files             []fileTotal            `json:"files"`           // attachments by status
	Doubtful          storage.Doubtful       `json:"doubtful_attachments"`
	Gone              int64                  `json:"gone"` // records that the platform has no longer, or does not permit
	Archives          health.ArchiveTotals   `json:"archives"`
	LastBackup        *storage.RunRow        `json:"last_backup"`        // that succeeded
	Copies            []health.Copies        `json:"copies"`             // in each target of `noggin copy`
	Sealed            storage.SealState      `json:"sealed"`             // what `noggin seal` has done
	LastActivity      *time.Time             `json:"last_activity"`      // a record's status changed
	Timers            []health.Timer         `json:"timers,omitempty"`   // absent without systemd
	PausedReason      string                 `json:"paused_reason"`      // empty: not paused
	PausedUntil       *time.Time             `json:"paused_until"`       // null: until resumed
	HourRequests      *int64                 `json:"requests_last_1h"`   // null: not known
	HourFailures      *int64                 `json:"failures_last_1h"`   // of these requests
	DueDayAgo         *int64                 `json:"due_a_day_ago"`      // null: not known
	FailedDayAgo      *int64                 `json:"failed_a_day_ago"`   // null: not known
	Failed            int64                  `json:"failed_or_given_up"` // now
	vitals            health.Vitals
}

type statusRecords struct {
	Status  storage.Status `json:"processing_status"`
	Records int64          `json:"records"`
	Percent float64        `json:"percent"`
}

type fileTotal = storage.AttachmentTotal

type diskState struct {
	storage.Disk
	UsedPercent float64    `json:"used_percent"`
	BytesPerDay *float64   `json:"bytes_per_day"` // null: too little is known
	FullAt      *time.Time `json:"full_at"`       // at that rate
}

func runStatus(ctx context.Context, _ *cli.Context, r *reporter) error {
	status, err := r.status(ctx)
	if err != nil {
		return err
	}
	status.Timers = status.vitals.Services.Timers
	return r.out.Report(status, show.Table{}, func() show.Sheet { return r.statusSheet(status) })
}

// status reads everything that the dashboard shows.
func (r *reporter) status(ctx context.Context) (s statusReport, err error) {
	v, err := health.ReadVitals(ctx, r.DB, r.standing, r.Config.Batch.Paths, r.now.Location())
	if err != nil {
		return s, err
	}
	s = statusReport{
		At: r.now, Timezone: r.now.Location().String(), Attention: v.Flags(), Queue: v.Queue, InProgress: v.Workers,
		Circuit: r.circuit(v.OpeningsHour, v.OpeningsToday), Runs: v.Runs, LastBackup: v.Backup(), LastActivity: v.Activity,
		Copies: v.Copies, Sealed: v.Sealed, HourRequests: v.HourRequests, HourFailures: v.HourFailures, DueDayAgo: v.DueDayAgo, FailedDayAgo: v.FailedDayAgo, Archives: health.CountArchives(v.Archives), vitals: v,
	}
	s.Records, s.PermanentlyFailed, s.Failed = v.Records()
	by := map[storage.Status]int64{}
	for _, t := range v.Totals {
		by[t.Status] += t.Records
	}
	for _, status := range storage.Statuses() {
		s.ByStatus = append(s.ByStatus, statusRecords{status, by[status], math.Round(1000*float64(by[status])/float64(max(1, s.Records))) / 10})
	}
	for _, day := range v.Days {
		s.Days = append(s.Days, rateDay(day))
	}
	if v.Disk != nil {
		s.Disk = newDiskState(*v.Disk, v.Forecast)
	}
	if r.standing.Paused {
		s.PausedReason, s.PausedUntil = r.standing.PauseReason, r.standing.PausedUntil
	}
	if s.ErrorsLastDay, err = r.DB.ErrorTypes(ctx, r.now.AddDate(0, 0, -1), r.now.Add(time.Minute)); err != nil {
		return s, err
	}
	if s.UnknownHashes, err = r.DB.UnknownNames(ctx); err != nil {
		return s, err
	}
	if s.Files, err = r.DB.AttachmentTotals(ctx); err != nil {
		return s, err
	}
	if s.Gone, err = r.DB.CountGone(ctx); err != nil {
		return s, err
	}
	if s.Doubtful, err = r.DB.CountDoubtful(ctx); err != nil {
		return s, err
	}
	s.DatabaseBytes, err = r.DB.DatabaseSize(ctx)
	return s, err
}

func newDiskState(disk storage.Disk, forecast *health.Forecast) *diskState {
	state := &diskState{Disk: disk, UsedPercent: files.UsedPercent(uint64(disk.FreeBytes), uint64(disk.TotalBytes))}
	if forecast != nil {
		state.BytesPerDay, state.FullAt = &forecast.BytesPerDay, forecast.FullAt
	}
	return state
}

// describe is "412 GB free of 1 TB, 59 % used; grows by 1.2 GB a day, full on …".
func (d *diskState) describe() string {
	text := fmt.Sprintf("%s free of %s, %.0f %% used", show.Size(d.FreeBytes).Human(), show.Size(d.TotalBytes).Human(), d.UsedPercent)
	if d.BytesPerDay != nil {
		text += "; " + d.growth()
	}
	return text
}

// growth is the forecast: "grows by 1.2 GB a day: full on …".
func (d *diskState) growth() string {
	switch {
	case d.BytesPerDay == nil:
		return "too little is known for a forecast"
	case d.FullAt != nil:
		return fmt.Sprintf("grows by %s a day: full on %s", show.Size(int64(*d.BytesPerDay)).Human(), d.FullAt.Format(time.DateOnly))
	case *d.BytesPerDay > 0:
		return fmt.Sprintf("grows by %s a day: years until it is full", show.Size(int64(*d.BytesPerDay)).Human())
	}
	return "does not grow at present"
}

// attention is the section that comes first.
func attention(flags []health.Flag) show.Section {
	s := show.Section{Title: "Needs attention"}
	for _, flag := range flags {
		mark := "- "
		if flag.Severity == health.SeverityRed {
			mark = "! "
		}
		s.Lines = append(s.Lines, mark+flag.What, "  > "+flag.Remedy)
	}
	if len(flags) == 0 {
		return show.Section{Lines: []string{"All is well: nothing needs attention."}}
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
	return humanize.Comma(total) + " (" + strings.Join(parts, ", ") + "): `noggin hashes export-unknown all`"
}

// doubtfulLine counts the attachments that are not known to be whole.
func doubtfulLine(d storage.Doubtful) string {
	if d == (storage.Doubtful{}) {
		return "none"
	}
	return humanize.Comma(d.Suspect) + " suspect, " + humanize.Comma(d.Unvalidated) + " pictures not validated: `noggin report attachments`"
}

// archivesLine is "12, 34.5 GB, all there; the oldest verification is 5 weeks ago".
func archivesLine(t health.ArchiveTotals, now time.Time) string {
	text := humanize.Comma(int64(t.Archives)) + ", " + show.Size(t.Bytes).Human()
	if t.There == t.Archives {
		text += ", all there"
	} else {
		text += fmt.Sprintf(", %d there", t.There)
	}
	if t.Damaged > 0 {
		text += fmt.Sprintf(", %d damaged", t.Damaged)
	}
	if t.OldestVerification != nil {
		text += "; the oldest verification is from " + show.Clock(*t.OldestVerification, now)
	}
	return text
}
