package report

import (
	"context"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func failedCommand(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:  "failed",
		Usage: "records that failed; --permanent: those that are not tried again",
		Description: `The latest failure first. A record is listed from its first failure until it is complete,
also while its failures are not counted, as the API is the cause. ` + "`noggin retry-failed`" + ` gives them another chance (with
--permanent also the permanently failed), ` + "`noggin skip --permanent --reason TEXT`" + ` accepts them as they are.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "permanent", Usage: "only permanently failed records"},
			cmdline.NotEmpty(&cli.StringFlag{Name: "object-type", Usage: "only records of the form `CODE`, such as LCD"}),
			limitFlag(20),
		},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		chosen, err := r.Selector(c)
		if err != nil {
			return err
		}
		return runFailed(ctx, r, storage.FailingFilter{Permanent: chosen.Permanent, ObjectType: chosen.ObjectType, Limit: limitOf(c, r.out)})
	})
}

func runFailed(ctx context.Context, r *reporter, f storage.FailingFilter) error {
	if r.out.Format != show.Text {
		return streamFailed(ctx, r, f)
	}
	more := f
	if f.Limit > 0 {
		more.Limit++
	}
	var records []storage.FailedRecord
	if err := r.DB.EachFailing(ctx, more, func(rec storage.FailedRecord) error {
		records = append(records, rec)
		return nil
	}); err != nil {
		return err
	}
	t := r.failedTable(records)
	s := show.Section{Table: t}
	what := "Failed records"
	if f.Permanent {
		what = "Permanently failed records"
	}
	switch {
	case len(t.Rows) == 0:
		s.Lines = []string{"None."}
	case f.Limit > 0 && len(t.Rows) > f.Limit:
		t.Rows = t.Rows[:f.Limit]
		s.Notes = []string{"There are more: --limit 0 shows all, --format csv exports all."}
	}
	return r.out.Sheet(show.Sheet{Title: r.heading(what), Sections: []show.Section{s}})
}

// failedTable lists failing records with their next try.
func (r *reporter) failedTable(records []storage.FailedRecord) *show.Table {
	t := &show.Table{Columns: show.Headings("Inspection", "Tip", "Form", "Status", "Tries", "Next retry", "Updated", "Last error"), Spare: []string{"Form", "Tries", "Updated", "Next retry"}}
	for _, rec := range records {
		t.Rows = append(t.Rows, []any{
			show.Name[show.ID](rec.InspectionID), show.Tip(rec.Tip), rec.ObjectType, show.State(rec.Status), rec.RetryCount, r.nextRetry(rec),
			rec.UpdatedAt.In(r.now.Location()), show.Value(rec.LastError),
		})
	}
	return t
}

func (r *reporter) nextRetry(rec storage.FailedRecord) any {
	switch {
	case rec.PermanentlyFailed:
		return "never"
	case rec.NextRetryAt == nil || !rec.NextRetryAt.After(r.now):
		return "now"
	}
	return rec.NextRetryAt.In(r.now.Location())
}

// streamFailed prints the records one by one, however many there are.
func streamFailed(ctx context.Context, r *reporter, f storage.FailingFilter) error {
	rows := show.NewRowStream(r.out, []string{
		"tip", "lcd_inspection_id", "object_type", "processing_status", "retry_count", "next_retry_at", "permanently_failed", "last_error_message", "updated_at", "failing_since",
	})
	if err := r.DB.EachFailing(ctx, f, func(rec storage.FailedRecord) error {
		return rows.Write([]any{
			rec.Tip, show.Value(rec.InspectionID), rec.ObjectType, rec.Status, rec.RetryCount, show.Value(rec.NextRetryAt), rec.PermanentlyFailed, show.Value(rec.LastError), rec.UpdatedAt, show.Value(rec.FailingSince),
		})
	}); err != nil {
		return err
	}
	return rows.End()
}
