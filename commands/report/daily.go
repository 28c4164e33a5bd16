package report

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func dailyCommand(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:  "daily",
		Usage: "the end-of-day summary; --save keeps it as a file",
		Description: `What became of the records whose status last changed that day, against the
manual's targets. --save also writes daily_report_YYYYMMDD.txt into [paths] reports,
in the place of an earlier one of that day; without --date yesterday's too, where it
is missing (the host was down that evening) and noggin ran that day.`,
		Flags: []cli.Flag{
			cmdline.NotEmpty(&cli.StringFlag{Name: "date", Usage: "the `DAY`: " + cmdline.WhenWords, Value: "today"}),
			&cli.BoolFlag{Name: "save", Usage: "also write it to [paths] reports"},
		},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		day, err := r.dateFlag(c.String("date"))
		if err != nil {
			return err
		}
		if c.Bool("save") && !c.IsSet("date") {
			if err := r.saveMissed(ctx, day.AddDate(0, 0, -1)); err != nil {
				return err
			}
		}
		return runDaily(ctx, r, day, c.Bool("save"))
	})
}

// dateFlag reads a day that is not in the future.
func (r *reporter) dateFlag(given string) (time.Time, error) {
	at, err := cmdline.When("date", given, r.now)
	if err == nil && at.After(r.now) {
		err = cmdline.Usagef("--date %s: that day is still to come", given)
	}
	return r.dayStart(at.In(r.now.Location())), err
}

// dayStart is the midnight with which a day of the site begins.
func (r *reporter) dayStart(at time.Time) time.Time {
	return time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, r.now.Location())
}

// dailyReport is one day.
type dailyReport struct {
	At time.Time `json:"at"`
	dayReport
	TargetsMissed        []string             `json:"targets_missed"`
	Imported             int64                `json:"imported"` // new records by import-csv
	ErrorTypes           []storage.ErrorCount `json:"errors_by_type"`
	OpenedAt             []storage.Transition `json:"circuit_openings_at"`
	Runs                 []runsOfDay          `json:"runs"`
	DueAtEnd             *int64               `json:"due_at_end"` // of the day, or now; null: no sample tells
	Unknown              int64                `json:"unknown_hashes_now"`
	PermanentlyFailedNow int64                `json:"permanently_failed_now"`
	SavedAs              string               `json:"saved_as,omitempty"`
}

// runsOfDay are the runs of one command.
type runsOfDay struct {
	Command string `json:"command"`
	Runs    int    `json:"runs"`
	Done    int    `json:"exit_0"`
	Failed  int    `json:"exit_other"`
	Open    int    `json:"not_ended"` // running, or died
}

func runDaily(ctx context.Context, r *reporter, day time.Time, save bool) error {
	d, err := r.daily(ctx, day)
	if err != nil {
		return err
	}
	page := r.dailySheet(d, day)
	if save {
		if err := r.saveDaily(page, day); err != nil {
			return err
		}
		d.SavedAs = r.dailyPath(day)
		page.Sections = append(page.Sections, show.Section{Lines: []string{"Saved as " + d.SavedAs}})
	}
	return r.out.Report(d, show.Table{}, func() show.Sheet { return page })
}

func (r *reporter) dailyPath(day time.Time) string {
	return filepath.Join(r.Config.Batch.Paths.Reports, "daily_report_"+day.Format("20060102")+".txt")
}

func (r *reporter) saveDaily(page show.Sheet, day time.Time) error {
	err := files.WriteReplacing(r.dailyPath(day), 0o644, func(w io.Writer) error { return show.Output{Writer: w, Width: 100}.Sheet(page) })
	if err != nil {
		return cmdline.Hint(fmt.Errorf("save the report: %w", err), "[paths] reports must be a folder that noggin's user may write to")
	}
	return nil
}

// saveMissed saves the report of a day that has none, unless nothing ran that day.
func (r *reporter) saveMissed(ctx context.Context, day time.Time) error {
	if _, err := os.Lstat(r.dailyPath(day)); err == nil {
		return nil
	}
	d, err := r.daily(ctx, day)
	if err != nil || len(d.Runs) == 0 {
		return err
	}
	r.Log.Info("saved the report that was missing", "file", r.dailyPath(day))
	return r.saveDaily(r.dailySheet(d, day), day)
}

func (r *reporter) daily(ctx context.Context, day time.Time) (d dailyReport, err error) {
	date, end := day.Format(time.DateOnly), day.AddDate(0, 0, 1)
	d = dailyReport{At: r.now, TargetsMissed: []string{}, Runs: []runsOfDay{}, OpenedAt: []storage.Transition{}}
	rows, err := r.DB.Days(ctx, date, date)
	if err != nil {
		return d, err
	}
	d.dayReport = rateDay(rows[0])
	d.TargetsMissed = append(d.TargetsMissed, missed(d.dayReport)...)
	if d.ErrorTypes, err = r.DB.ErrorTypes(ctx, day, end); err != nil {
		return d, err
	}
	transitions, err := r.DB.Transitions(ctx, day)
	if err != nil {
		return d, err
	}
	for _, t := range transitions {
		if t.To == storage.CircuitOpen && t.At.Before(end) {
			d.OpenedAt = append(d.OpenedAt, t)
		}
	}
	if err := r.runsOf(ctx, &d, day, end); err != nil {
		return d, err
	}
	return d, r.standingOf(ctx, &d, end)
}

// missed names the targets of the manual that the day missed.
func missed(d dayReport) []string {
	var targets []string
	if d.CompletionRate != nil && *d.CompletionRate <= health.TargetCompletion {
		targets = append(targets, fmt.Sprintf("completion rate over %.0f %%", health.TargetCompletion))
	}
	if d.APIFailureRate != nil && *d.APIFailureRate >= health.TargetAPIFailures {
		targets = append(targets, fmt.Sprintf("API failures under %.0f %%", health.TargetAPIFailures))
	}
	if d.Openings > health.TargetOpenings {
		targets = append(targets, fmt.Sprintf("circuit opens at most %d times", health.TargetOpenings))
	}
	return targets
}

// runsOf counts the runs that began that day, and the records that imports added.
func (r *reporter) runsOf(ctx context.Context, d *dailyReport, day, end time.Time) error {
	runs, err := r.DB.Runs(ctx, storage.RunFilter{Since: day, Before: end})
	if err != nil {
		return err
	}
	index := map[string]int{}
	for i := len(runs) - 1; i >= 0; i-- {
		run := runs[i]
		n, known := index[run.Command]
		if !known {
			n = len(d.Runs)
			index[run.Command] = n
			d.Runs = append(d.Runs, runsOfDay{Command: run.Command})
		}
		d.Runs[n].Runs++
		switch {
		case run.ExitCode == nil:
			d.Runs[n].Open++
		case *run.ExitCode == 0:
			d.Runs[n].Done++
		default:
			d.Runs[n].Failed++
		}
		d.Imported += imported(run)
	}
	return nil
}

// standingOf adds the state at the end of the day, or now.
func (r *reporter) standingOf(ctx context.Context, d *dailyReport, end time.Time) error {
	unknown, err := r.DB.UnknownNames(ctx)
	if err != nil {
		return err
	}
	for _, u := range unknown {
		d.Unknown += u.Hashes
	}
	totals, err := r.DB.RecordTotals(ctx)
	if err != nil {
		return err
	}
	for _, t := range totals {
		if t.PermanentlyFailed {
			d.PermanentlyFailedNow += t.Records
		}
	}
	if end.After(r.now) {
		queue, err := r.DB.QueueDepth(ctx)
		d.DueAtEnd = &queue.Due
		return err
	}
	samples, err := r.DB.Samples(ctx, end.Add(-6*time.Hour))
	for _, s := range samples {
		if !s.At.After(end) {
			due := s.Due
			d.DueAtEnd = &due
		}
	}
	return err
}

func (r *reporter) dailySheet(d dailyReport, day time.Time) show.Sheet {
	verdict := "All targets met."
	switch {
	case d.Processed == 0:
		verdict = "Nothing was processed."
	case len(d.TargetsMissed) > 0:
		verdict = "! Targets missed: " + strings.Join(d.TargetsMissed, "; ") + "."
	}
	rate := func(n int64, rate *float64, target string) string {
		text := humanize.Comma(n)
		if rate != nil {
			text += ", " + show.Percent(*rate).Human() + target
		}
		return text
	}
	records := []show.Fact{
		{"imported", humanize.Comma(d.Imported) + " new"},
		{"processed", humanize.Comma(d.Processed)},
		{"complete", rate(d.Complete, d.CompletionRate, " (target: over 95 %)")},
		{"failed at the API", rate(d.APIFailed, d.APIFailureRate, " (target: under 5 %)")},
		{"attachments missing", humanize.Comma(d.Partial+d.Failed) + " (partial " + humanize.Comma(d.Partial) + ", failed " + humanize.Comma(d.Failed) + ")"},
		{"unfinished", humanize.Comma(d.Unfinished)},
		{"permanently failed", humanize.Comma(d.PermanentlyFailed) + " that day, " + humanize.Comma(d.PermanentlyFailedNow) + " altogether now"},
	}
	if d.AverageSeconds != nil {
		records = append(records, show.Fact{"time a record", fmt.Sprintf("%s on average, %s to %s", show.Duration(*d.AverageSeconds).Human(), show.Duration(*d.ShortestSeconds).Human(), show.Duration(*d.LongestSeconds).Human())})
	}
	if d.SlowestTip != nil {
		records = append(records, show.Fact{"slowest", slowest(d.Day)})
	}
	traffic := []show.Fact{
		{"attachments", humanize.Comma(d.Files) + " downloaded, " + show.Size(d.Bytes).Human() + "; " + humanize.Comma(d.FilesFailed) + " failed"},
		{"requests", humanize.Comma(d.Requests) + " (of the runs that ended that day)"},
		{"errors", humanize.Comma(d.Errors)},
		{"circuit opened", health.Plural(d.Openings, "time") + " (target: at most 2)"},
	}
	if d.DueAtEnd != nil {
		traffic = append(traffic, show.Fact{"queue at the end", humanize.Comma(*d.DueAtEnd) + " due"})
	}
	traffic = append(traffic, show.Fact{"unknown names", humanize.Comma(d.Unknown) + " now"})
	kinds := &show.Table{Columns: show.Headings("Error", "Count", "Records", "Sample"), Spare: []string{"Records"}}
	for _, e := range d.ErrorTypes {
		kinds.Rows = append(kinds.Rows, []any{e.Type, show.Count(e.Occurrences), show.Count(e.Records), e.Sample})
	}
	openings := &show.Table{Columns: show.Headings("Circuit opened at", "Reason")}
	for _, t := range d.OpenedAt {
		openings.Rows = append(openings.Rows, []any{t.At.In(r.now.Location()), t.Reason})
	}
	runs := &show.Table{Columns: show.Headings("Command", "Runs", "Done", "Not 0", "Not ended")}
	for _, c := range d.Runs {
		runs.Rows = append(runs.Rows, []any{c.Command, show.Count(c.Runs), show.Count(c.Done), show.Count(c.Failed), show.Count(c.Open)})
	}
	title := "noggin daily report, " + day.Format("Mon 2006-01-02") + ", made " + show.Time(r.now) + " " + r.now.Location().String()
	return show.Sheet{Title: title, Sections: []show.Section{
		{Lines: []string{verdict}},
		{Title: "Records", Facts: records},
		{Title: "Traffic", Facts: traffic},
		{Title: "Errors", Table: kinds},
		{Title: "Circuit", Table: openings},
		{Title: "Runs", Table: runs},
	}}
}
