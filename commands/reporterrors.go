package commands

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

func reportErrorsCommand(env *environment) *cli.Command {
	return env.report(&cli.Command{
		Name:  "errors",
		Usage: "errors by kind, with what to do about each, and by message",
		Description: `The manual's weekly review of errors, and with --since 1h the first look at an
incident. An error is an attempt that failed; the record is tried again.`,
		Flags: []cli.Flag{
			sinceFlag("7d"),
			numberFlag("latest", "also list the latest `N` errors", 0, 0, ""),
			limitFlag(20),
		},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		since, err := r.since(c)
		if err != nil {
			return err
		}
		return runReportErrors(ctx, r, since, limitOf(c, r.out), c.Int("latest"))
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
}

func runReportErrors(ctx context.Context, r *reporter, since time.Time, limit, latest int) error {
	e := errorsReport{At: r.now, Since: since, Types: []errorKind{}, Latest: []storage.ErrorRow{}}
	until := r.now.Add(time.Minute)
	types, err := r.db.ErrorTypes(ctx, since, until)
	if err != nil {
		return err
	}
	for _, t := range types {
		e.Types = append(e.Types, errorKind{t, batch.Advice(t.Type)})
	}
	if limit == 0 {
		limit = allMessages
	}
	if e.Messages, err = r.db.ErrorMessages(ctx, since, until, limit); err != nil {
		return err
	}
	if latest > 0 {
		if e.Latest, err = r.db.LatestErrors(ctx, since, until, latest); err != nil {
			return err
		}
	}
	return r.out.report(e, messagesTable(e.Messages, r.now), func() sheet { return r.errorsSheet(e) })
}

func messagesTable(messages []storage.ErrorCount, now time.Time) table {
	t := table{columns: []column{
		{"error_type", "Error"}, {"occurrences", "Count"}, {"records", "Records"}, {"last_occurrence", "Last"}, {"sample_message", "Message"}, {"last_tip", "Last record"},
	}}
	for _, m := range messages {
		t.rows = append(t.rows, []any{m.Type, count(m.Occurrences), count(m.Records), m.Last.In(now.Location()), m.Sample, value(m.LastTip)})
	}
	return t
}

func (r *reporter) errorsSheet(e errorsReport) sheet {
	page := sheet{title: r.heading("Errors since " + e.Since.In(r.now.Location()).Format("2006-01-02 15:04"))}
	if len(e.Types) == 0 {
		page.sections = []section{{lines: []string{"None."}}}
		return page
	}
	kinds := section{title: "By kind, and what to do"}
	kinds.table = &table{columns: headings("Error", "Count", "Records", "Last", "Advice"), spare: []string{"Records"}}
	for _, t := range e.Types {
		kinds.table.rows = append(kinds.table.rows, []any{t.Type, count(t.Occurrences), count(t.Records), t.Last.In(r.now.Location()).Format("01-02 15:04:05"), t.Advice})
	}
	messages := &table{columns: headings("Error", "Count", "Message", "Last record")}
	for _, m := range e.Messages {
		last := any(nil)
		if m.LastTip != nil {
			last = shortTip(*m.LastTip)
		}
		messages.rows = append(messages.rows, []any{m.Type, count(m.Occurrences), m.Sample, last})
	}
	latest := errorsTable(e.Latest, r.now, true)
	page.sections = []section{kinds, {title: "By message", table: messages}, {title: "Latest", table: latest}}
	return page
}

// errorsTable lists errors; tip says whether each names its record.
func errorsTable(rows []storage.ErrorRow, now time.Time, tip bool) *table {
	t := &table{columns: headings("At", "Error", "Message", "Run")}
	if tip {
		t.columns = append(t.columns, column{"", "Record"})
	}
	for _, e := range rows {
		row := []any{e.At.In(now.Location()), e.Type, e.Message, value(e.RunID)}
		if tip && e.Tip != nil {
			row = append(row, shortTip(*e.Tip))
		} else if tip {
			row = append(row, nil)
		}
		t.rows = append(t.rows, row)
	}
	return t
}
