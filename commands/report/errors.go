package report

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func errorsCommand(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:  "errors",
		Usage: "errors by kind, with what to do about each, and by message",
		Description: `The manual's weekly review of errors, and with --since 1h the first look at an
incident. An error is an attempt that failed; the record is tried again. The records that
keep failing are listed with their next try.`,
		Flags: []cli.Flag{
			sinceFlag("7d"),
			cmdline.NumberFlag("latest", "also list the latest `N` errors", 0, 0, ""),
			&cli.BoolFlag{Name: "details", Usage: "also list the latest errors with what was kept of broken answers (20, unless --latest says otherwise)"},
			limitFlag(20),
		},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		since, err := r.since(c)
		if err != nil {
			return err
		}
		latest := c.Int("latest")
		if c.Bool("details") && !c.IsSet("latest") {
			latest = 20
		}
		return runErrors(ctx, r, since, limitOf(c, r.out), latest)
	})
}

// allMessages bounds the kinds of message of a report without a limit.
const allMessages = 10_000

// errorKind is a kind of error with what to do about it.
type errorKind struct {
	storage.ErrorCount
	Advice string `json:"advice"`
}

type errorsReport struct {
	At       time.Time            `json:"at"`
	Since    time.Time            `json:"since"`
	Types    []errorKind          `json:"types"`
	Messages []storage.ErrorCount `json:"messages"`
	Latest   []storage.ErrorRow   `json:"latest"`
	// Failing are the records that failed and are tried again, the latest first.
	Failing []storage.FailedRecord `json:"failing"`
}

func runErrors(ctx context.Context, r *reporter, since time.Time, limit, latest int) error {
	e := errorsReport{At: r.now, Since: since, Types: []errorKind{}, Latest: []storage.ErrorRow{}, Failing: []storage.FailedRecord{}}
	until := r.now.Add(time.Minute)
	types, err := r.DB.ErrorTypes(ctx, since, until)
	if err != nil {
		return err
	}
	for _, t := range types {
		e.Types = append(e.Types, errorKind{t, health.Advice(t.Type)})
	}
	if limit == 0 {
		limit = allMessages
	}
	if e.Messages, err = r.DB.ErrorMessages(ctx, since, until, limit); err != nil {
		return err
	}
	if latest > 0 {
		if e.Latest, err = r.DB.LatestErrors(ctx, since, until, latest); err != nil {
			return err
		}
	}
	if err := r.DB.EachFailing(ctx, storage.FailingFilter{Limit: limit}, func(rec storage.FailedRecord) error {
		if !rec.PermanentlyFailed {
			e.Failing = append(e.Failing, rec)
		}
		return nil
	}); err != nil {
		return err
	}
	return r.out.Report(e, messagesTable(e.Messages, r.now), func() show.Sheet { return r.errorsSheet(e) })
}

func messagesTable(messages []storage.ErrorCount, now time.Time) show.Table {
	t := show.Table{Columns: []show.Column{
		{"error_type", "Error"}, {"occurrences", "Count"}, {"records", "Records"}, {"last_occurrence", "Last"}, {"sample_message", "Message"}, {"last_tip", "Last record"},
	}}
	for _, m := range messages {
		t.Rows = append(t.Rows, []any{m.Type, show.Count(m.Occurrences), show.Count(m.Records), m.Last.In(now.Location()), m.Sample, show.Name[show.Tip](m.LastTip)})
	}
	return t
}

func (r *reporter) errorsSheet(e errorsReport) show.Sheet {
	page := show.Sheet{Title: r.heading("Errors since " + show.Time(e.Since.In(r.now.Location())))}
	if len(e.Types) == 0 && len(e.Failing) == 0 {
		page.Sections = []show.Section{{Lines: []string{"None."}}}
		return page
	}
	kinds := show.Section{Title: "By kind, and what to do"}
	kinds.Table = &show.Table{Columns: show.Headings("Error", "Count", "Records", "Last", "Advice"), Spare: []string{"Records", "Last"}}
	for _, t := range e.Types {
		kinds.Table.Rows = append(kinds.Table.Rows, []any{t.Type, show.Count(t.Occurrences), show.Count(t.Records), t.Last.In(r.now.Location()), t.Advice})
	}
	messages := &show.Table{Columns: show.Headings("Error", "Count", "Message", "Last record")}
	for _, m := range e.Messages {
		messages.Rows = append(messages.Rows, []any{m.Type, show.Count(m.Occurrences), m.Sample, show.Name[show.Tip](m.LastTip)})
	}
	latest := errorsTable(e.Latest, r.now, true)
	page.Sections = []show.Section{kinds, {Title: "By message", Table: messages}, {Title: "Latest", Table: latest}, excerpts(e.Latest, r.now)}
	if len(e.Failing) > 0 {
		page.Sections = append(page.Sections, show.Section{Title: "Records that keep failing", Table: r.failedTable(e.Failing)})
	}
	return page
}

// excerpts shows what was kept of broken answers.
func excerpts(rows []storage.ErrorRow, now time.Time) show.Section {
	s := show.Section{Title: "What came in place of an answer"}
	for _, e := range rows {
		if e.Excerpt != nil {
			s.Lines = append(s.Lines, show.Time(e.At.In(now.Location()))+"  "+e.Type+": "+show.Printable(*e.Excerpt))
		}
	}
	if len(s.Lines) == 0 {
		return show.Section{}
	}
	return s
}

// errorsTable lists errors; tip says whether each names its record.
func errorsTable(rows []storage.ErrorRow, now time.Time, tip bool) *show.Table {
	t := &show.Table{Columns: show.Headings("At", "Error", "Message", "Run"), Spare: []string{"Run"}}
	if tip {
		t.Columns = append(t.Columns, show.Column{"", "Record"})
	}
	for _, e := range rows {
		row := []any{e.At.In(now.Location()), e.Type, e.Message, number(e.RunID)}
		if tip {
			row = append(row, show.Name[show.Tip](e.Tip))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
