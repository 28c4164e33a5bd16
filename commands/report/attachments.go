package report

import (
	"context"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func attachmentsCommand(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:  "attachments",
		Usage: "attachments by status, today's, failed and doubtful ones, download speeds, largest files",
		Description: `Doubtful are suspect attachments, which the platform delivers broken, and pictures
whose end nothing proves.`,
		Flags: []cli.Flag{cmdline.NumberFlag("limit", "at most `N` failed ones, and as many doubtful ones and of the largest", 1, 10, "")},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		return runAttachments(ctx, r, c.Int("limit"))
	})
}

type attachmentsReport struct {
	At      time.Time                 `json:"at"`
	Totals  []storage.AttachmentTotal `json:"by_status"`
	Days    []downloadDay             `json:"days"`           // the last 7, the latest first
	Speed   storage.DownloadSpeed     `json:"last_downloads"` // at most 100
	Failed  []storage.AttachmentStory `json:"failed"`         // the latest first
	Counts  storage.Doubtful          `json:"doubtful_attachments"`
	Doubt   []storage.AttachmentStory `json:"doubtful"` // the suspect ones first, then the latest first
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

func runAttachments(ctx context.Context, r *reporter, limit int) (err error) {
	a := attachmentsReport{At: r.now}
	if a.Totals, err = r.DB.AttachmentTotals(ctx); err != nil {
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
	if a.Speed, err = r.DB.DownloadSpeed(ctx, lastDownloads); err != nil {
		return err
	}
	if a.Failed, err = r.DB.FailedAttachments(ctx, limit); err != nil {
		return err
	}
	if a.Counts, err = r.DB.CountDoubtful(ctx); err != nil {
		return err
	}
	if a.Doubt, err = r.DB.DoubtfulAttachments(ctx, limit); err != nil {
		return err
	}
	if a.Largest, err = r.DB.LargestAttachments(ctx, limit); err != nil {
		return err
	}
	main := show.Table{Columns: []show.Column{{"attachment_status", "Status"}, {"attachments", "Attachments"}, {"bytes", "Size"}, {"today", "Today"}}}
	for _, t := range a.Totals {
		main.Rows = append(main.Rows, []any{show.State(t.Status), show.Count(t.Files), show.Size(t.Bytes), show.Count(t.Today)})
	}
	return r.out.Report(a, main, func() show.Sheet { return r.attachmentsSheet(a, &main) })
}

func (r *reporter) attachmentsSheet(a attachmentsReport, totals *show.Table) show.Sheet {
	days := &show.Table{Columns: show.Headings("Day", "Downloaded", "Failed", "Size", "Speed")}
	for _, d := range a.Days {
		days.Rows = append(days.Rows, []any{d.Date, show.Count(d.Files), show.Count(d.Failed), show.Size(d.Bytes), show.As[show.Speed](d.Speed)})
	}
	failed := &show.Table{Columns: show.Headings("Tried", "Inspection", "Record", "File", "Tries", "Error"), Spare: []string{"Tries", "Tried"}}
	for _, f := range a.Failed {
		failed.Rows = append(failed.Rows, []any{
			r.at(f.StartedAt), show.Name[show.ID](f.InspectionID), show.Tip(f.RecordTip), show.ID(show.Either(f.Filename, &f.Field)), f.RetryCount, show.Value(f.LastError),
		})
	}
	doubtful := &show.Table{Columns: show.Headings("Validation", "Type", "Inspection", "Record", "File"), Spare: []string{"Type"}}
	for _, f := range a.Doubt {
		doubtful.Rows = append(doubtful.Rows, []any{show.State(f.Validation), show.Value(f.ContentType), show.Name[show.ID](f.InspectionID), show.Tip(f.RecordTip), fileOf(f)})
	}
	largest := &show.Table{Columns: show.Headings("Size", "Type", "Inspection", "File"), Spare: []string{"Type"}}
	for _, f := range a.Largest {
		largest.Rows = append(largest.Rows, []any{show.As[show.Size](f.Size), show.Value(f.ContentType), show.Name[show.ID](f.InspectionID), fileOf(f)})
	}
	first := show.Section{Table: totals}
	if len(totals.Rows) == 0 {
		first.Lines = []string{"No attachments yet."}
	}
	return show.Sheet{Title: r.heading("Attachments"), Sections: []show.Section{
		first,
		{Title: "Last 7 days", Table: days, Notes: []string{"Speed is that of one download; several run at a time."}},
		{Title: "Last " + health.Plural(a.Speed.Downloads, "download"), Facts: speedFacts(a.Speed, r.now)},
		{Title: "Failed, the latest first", Table: failed},
		doubtfulSection(a.Counts, doubtful),
		{Title: "Largest files", Table: largest},
	}}
}

// fileOf is where the file of an attachment is.
func fileOf(f storage.AttachmentStory) string {
	path := show.Either(f.Path, f.Filename)
	if f.Archive != nil {
		return "in " + *f.Archive + ": " + path
	}
	return path
}

// doubtfulSection lists the attachments that are not known to be whole, if there are any.
func doubtfulSection(n storage.Doubtful, t *show.Table) show.Section {
	if len(t.Rows) == 0 {
		return show.Section{}
	}
	return show.Section{
		Title: "Doubtful: " + humanize.Comma(n.Suspect) + " suspect, " + humanize.Comma(n.Unvalidated) + " pictures not validated",
		Table: t, Notes: []string{"`noggin process --tip TIP` asks for suspect ones again."},
	}
}

func speedFacts(s storage.DownloadSpeed, now time.Time) []show.Fact {
	if s.Downloads == 0 || s.Average == nil {
		return nil
	}
	return []show.Fact{
		{"since", show.Clock(*s.Since, now)},
		{"size", show.Size(s.Bytes).Human()},
		{"speed", show.Speed(*s.Average).Human() + " on average, " + show.Speed(*s.Slowest).Human() + " to " + show.Speed(*s.Fastest).Human()},
		{"longest", show.Duration(*s.Longest).Human()},
	}
}
