package report

import (
	"context"

	"github.com/urfave/cli/v2"

	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

// dayReport is a day with its rates.
type dayReport struct {
	storage.Day
	CompletionRate *float64 `json:"completion_rate"`  // percent of the processed; null: none was
	APIFailureRate *float64 `json:"api_failure_rate"` // percent
}

// days returns the last n days, the latest first.
func (r *reporter) days(ctx context.Context, n int) ([]dayReport, error) {
	rows, err := r.DB.Days(ctx, r.day(1-n), r.day(0))
	if err != nil {
		return nil, err
	}
	days := make([]dayReport, 0, len(rows))
	for i := len(rows) - 1; i >= 0; i-- {
		days = append(days, rateDay(rows[i]))
	}
	return days, nil
}

func rateDay(d storage.Day) dayReport {
	return dayReport{Day: d, CompletionRate: d.CompletionRate(), APIFailureRate: d.APIFailureRate()}
}

// daysTable is what the dashboard shows of each day.
func daysTable(days []dayReport) *show.Table {
	t := &show.Table{Columns: show.Headings("Day", "Processed", "Complete", "Complete rate", "API failed", "Failure rate", "Circuit opened")}
	for _, d := range days {
		t.Rows = append(t.Rows, []any{
			d.Date, show.Count(d.Processed), show.Count(d.Complete), show.As[show.Percent](d.CompletionRate), show.Count(d.APIFailed), show.As[show.Percent](d.APIFailureRate), show.Count(d.Openings),
		})
	}
	return t
}

// slowest names the slowest record of a day.
func slowest(d storage.Day) string {
	if d.SlowestID == nil {
		return *d.SlowestTip
	}
	return *d.SlowestID + " (" + show.Tip(*d.SlowestTip).Human() + ")"
}

func performanceCommand(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:  "performance",
		Usage: "per day: records, seconds a record, attachments, requests, the slowest",
		Description: `Seconds are the processing time of complete records: the fetch, all downloads and
writes. "Waited" is how long they took since their import on average, which is what
the manual's performance review measured. Over five minutes a record is its limit.`,
		Flags: []cli.Flag{daysFlag(7)},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		days, err := daysOf(c, storage.DaysCounted)
		if err != nil {
			return err
		}
		return runPerformance(ctx, r, days)
	})
}

func runPerformance(ctx context.Context, r *reporter, n int) error {
	days, err := r.days(ctx, n)
	if err != nil {
		return err
	}
	main := show.Table{Columns: []show.Column{
		{"date", "Day"},
		{"complete", "Complete"},
		{"average_seconds", "Average"},
		{"shortest_seconds", "Least"},
		{"longest_seconds", "Most"},
		{"average_seconds_since_import", "Waited"},
		{"attachments", "Files"},
		{"bytes", "Size"},
		{"requests", "Requests"},
	}}
	slowest := show.Table{Columns: show.Headings("Day", "Took", "Slowest record", "Tip")}
	for _, d := range days {
		main.Rows = append(main.Rows, []any{
			d.Date, show.Count(d.Complete), show.As[show.Duration](d.AverageSeconds), show.As[show.Duration](d.ShortestSeconds), show.As[show.Duration](d.LongestSeconds),
			show.As[show.Duration](d.AverageWait), show.Count(d.Files), show.Size(d.Bytes), show.Count(d.Requests),
		})
		if d.SlowestTip != nil {
			slowest.Rows = append(slowest.Rows, []any{d.Date, show.As[show.Duration](d.LongestSeconds), show.Name[show.ID](d.SlowestID), show.Tip(*d.SlowestTip)})
		}
	}
	csv := main
	csv.Columns = append(csv.Columns[:len(csv.Columns):len(csv.Columns)], show.Column{"slowest_tip", ""}, show.Column{"slowest_inspection_id", ""})
	csv.Rows = nil
	for i, row := range main.Rows {
		csv.Rows = append(csv.Rows, append(row[:len(row):len(row)], show.Value(days[i].SlowestTip), show.Value(days[i].SlowestID)))
	}
	return r.out.Report(days, csv, func() show.Sheet {
		return show.Sheet{Title: r.heading("Performance"), Sections: []show.Section{
			{Table: &main, Notes: []string{"Of complete records: seconds of work, and how long they waited since the import."}}, {Title: "Slowest of each day", Table: &slowest},
		}}
	})
}
