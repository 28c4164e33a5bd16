package commands

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/storage"
)

func reportAttachmentsCommand(env *environment) *cli.Command {
	return env.report(&cli.Command{
		Name:  "attachments",
		Usage: "photographs by status, today's, failed ones, download speeds, largest files",
		Flags: []cli.Flag{numberFlag("limit", "at most `N` failed ones, and as many of the largest", 1, 10, "")},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		return runReportAttachments(ctx, r, c.Int("limit"))
	})
}

type attachmentsReport struct {
	At      time.Time                 `json:"at"`
	Totals  []storage.AttachmentTotal `json:"by_status"`
	Days    []downloadDay             `json:"days"`           // the last 7, the latest first
	Speed   storage.DownloadSpeed     `json:"last_downloads"` // at most 100
	Failed  []storage.AttachmentStory `json:"failed"`         // the latest first
	Largest []storage.AttachmentStory `json:"largest"`
}

type downloadDay struct {
	Date   string   `json:"date"`
	Files  int64    `json:"attachments"`
	Failed int64    `json:"failed"`
	Bytes  int64    `json:"bytes"`
	Speed  *float64 `json:"bytes_second"` // of one download at a time; null: none
}

// lastDownloads is how many the speeds are taken from, as in the manual.
const lastDownloads = 100

func runReportAttachments(ctx context.Context, r *reporter, limit int) (err error) {
	a := attachmentsReport{At: r.now}
	if a.Totals, err = r.db.AttachmentTotals(ctx); err != nil {
		return err
	}
	days, err := r.days(ctx, 7)
	if err != nil {
		return err
	}
	for _, d := range days {
		day := downloadDay{Date: d.Date, Files: d.Files, Failed: d.FilesFailed, Bytes: d.Bytes}
		if d.DownloadSeconds > 0 {
			rate := float64(d.Bytes) / d.DownloadSeconds
			day.Speed = &rate
		}
		a.Days = append(a.Days, day)
	}
	if a.Speed, err = r.db.DownloadSpeed(ctx, lastDownloads); err != nil {
		return err
	}
	if a.Failed, err = r.db.FailedAttachments(ctx, limit); err != nil {
		return err
	}
	if a.Largest, err = r.db.LargestAttachments(ctx, limit); err != nil {
		return err
	}
	main := table{columns: []column{{"attachment_status", "Status"}, {"attachments", "Attachments"}, {"bytes", "Size"}, {"today", "Today"}}}
	for _, t := range a.Totals {
		main.rows = append(main.rows, []any{t.Status, count(t.Files), size(t.Bytes), count(t.Today)})
	}
	return r.out.report(a, main, func() sheet { return r.attachmentsSheet(a, &main) })
}

func (r *reporter) attachmentsSheet(a attachmentsReport, totals *table) sheet {
	days := &table{columns: headings("Day", "Downloaded", "Failed", "Size", "Speed")}
	for _, d := range a.Days {
		days.rows = append(days.rows, []any{d.Date, count(d.Files), count(d.Failed), size(d.Bytes), as[speed](d.Speed)})
	}
	failed := &table{columns: headings("Tried", "Inspection", "Record", "File", "Tries", "Error"), spare: []string{"Tries", "Record"}}
	for _, f := range a.Failed {
		at := ""
		if f.StartedAt != nil {
			at = f.StartedAt.In(r.now.Location()).Format("2006-01-02 15:04")
		}
		failed.rows = append(failed.rows, []any{at, value(f.InspectionID), shortTip(f.RecordTip), either(f.Filename, &f.Field), f.RetryCount, value(f.LastError)})
	}
	largest := &table{columns: headings("Size", "Type", "Inspection", "File"), spare: []string{"Type", "Inspection"}}
	for _, f := range a.Largest {
		path := either(f.Path, f.Filename)
		if f.Archive != nil {
			path = "in " + *f.Archive + ": " + path
		}
		largest.rows = append(largest.rows, []any{as[size](f.Size), value(f.ContentType), value(f.InspectionID), path})
	}
	first := section{table: totals}
	if len(totals.rows) == 0 {
		first.lines = []string{"No attachments yet."}
	}
	return sheet{title: r.heading("Attachments"), sections: []section{
		first,
		{title: "Last 7 days", table: days, notes: []string{"Speed is that of one download; several run at a time."}},
		{title: "Last " + plural(a.Speed.Downloads, "download"), facts: speedFacts(a.Speed, r.now)},
		{title: "Failed, the latest first", table: failed},
		{title: "Largest files", table: largest},
	}}
}

func speedFacts(s storage.DownloadSpeed, now time.Time) []fact {
	if s.Downloads == 0 || s.Average == nil {
		return nil
	}
	return []fact{
		{"since", clock(*s.Since, now)},
		{"size", size(s.Bytes).human()},
		{"speed", speed(*s.Average).human() + " on average, " + speed(*s.Slowest).human() + " to " + speed(*s.Fastest).human()},
		{"longest", duration(*s.Longest).human()},
	}
}
