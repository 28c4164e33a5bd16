package commands

import (
	"context"

	"github.com/urfave/cli/v2"

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
	rows, err := r.db.Days(ctx, r.day(1-n), r.day(0))
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
func daysTable(days []dayReport) *table {
	t := &table{columns: headings("Day", "Processed", "Complete", "Rate", "API failed", "Rate", "Circuit opened")}
	for _, d := range days {
		t.rows = append(t.rows, []any{
			d.Date, count(d.Processed), count(d.Complete), as[percent](d.CompletionRate), count(d.APIFailed), as[percent](d.APIFailureRate), count(d.Openings),
		})
	}
	return t
}

func reportPerformanceCommand(env *environment) *cli.Command {
	return env.report(&cli.Command{
		Name:  "performance",
		Usage: "per day: records, seconds a record, photographs, requests, the slowest",
		Description: `Seconds are the processing time of complete records: the fetch, all downloads and
writes. "Waited" is how long they took since their import on average, which is what
the manual's performance review measured. Over five minutes a record is its limit.`,
		Flags: []cli.Flag{daysFlag(7)},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		days, err := daysOf(c, storage.DaysCounted)
		if err != nil {
			return err
		}
		return runReportPerformance(ctx, r, days)
	})
}

func runReportPerformance(ctx context.Context, r *reporter, n int) error {
	days, err := r.days(ctx, n)
	if err != nil {
		return err
	}
	main := table{columns: []column{
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
	slowest := table{columns: headings("Day", "Seconds", "Slowest record")}
	for _, d := range days {
		main.rows = append(main.rows, []any{
			d.Date, count(d.Complete), as[duration](d.AverageSeconds), as[duration](d.ShortestSeconds), as[duration](d.LongestSeconds),
			as[duration](d.AverageWait), count(d.Files), size(d.Bytes), count(d.Requests),
		})
		if d.SlowestTip != nil {
			slowest.rows = append(slowest.rows, []any{d.Date, as[duration](d.LongestSeconds), shortTip(*d.SlowestTip)})
		}
	}
	csv := main
	csv.columns = append(csv.columns[:len(csv.columns):len(csv.columns)], column{"slowest_tip", ""})
	csv.rows = nil
	for i, row := range main.rows {
		csv.rows = append(csv.rows, append(row[:len(row):len(row)], value(days[i].SlowestTip)))
	}
	return r.out.report(days, csv, func() sheet {
		return sheet{title: r.heading("Performance"), sections: []section{
			{table: &main, notes: []string{"Of complete records: seconds of work, and how long they waited since the import."}}, {title: "Slowest of each day", table: &slowest},
		}}
	})
}
