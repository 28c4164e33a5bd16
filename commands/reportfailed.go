package commands

import (
	"context"

	"github.com/urfave/cli/v2"

	"noggin/storage"
)

func reportFailedCommand(env *environment) *cli.Command {
	return env.report(&cli.Command{
		Name:  "failed",
		Usage: "records that failed; --permanent: those that are not tried again",
		Description: `The latest failure first. ` + "`noggin retry-failed`" + ` gives them another chance (with
--permanent also the permanently failed), ` + "`noggin skip`" + ` accepts them as they are.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "permanent", Usage: "only permanently failed records"},
			&cli.StringFlag{Name: "object-type", Usage: "only records of the form `CODE`, such as LCD"},
			limitFlag(20),
		},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		chosen, err := selector(c, r.types, r.now, parseTip)
		if err != nil {
			return err
		}
		return runReportFailed(ctx, r, storage.FailingFilter{Permanent: chosen.Permanent, ObjectType: chosen.ObjectType, Limit: limitOf(c, r.out)})
	})
}

func runReportFailed(ctx context.Context, r *reporter, f storage.FailingFilter) error {
	if r.out.format != formatText {
		return streamFailed(ctx, r, f)
	}
	more := f
	if f.Limit > 0 {
		more.Limit++
	}
	t := &table{columns: headings("Inspection", "Tip", "Form", "Status", "Tries", "Next retry", "Updated", "Last error"), spare: []string{"Form", "Tries", "Updated", "Next retry"}}
	if err := r.db.EachFailing(ctx, more, func(rec storage.FailedRecord) error {
		t.rows = append(t.rows, []any{
			value(rec.InspectionID), shortTip(rec.Tip), rec.ObjectType, rec.Status, rec.RetryCount, r.nextRetry(rec),
			rec.UpdatedAt.In(r.now.Location()).Format("2006-01-02 15:04"), value(rec.LastError),
		})
		return nil
	}); err != nil {
		return err
	}
	s := section{table: t}
	what := "Failed records"
	if f.Permanent {
		what = "Permanently failed records"
	}
	switch {
	case len(t.rows) == 0:
		s.lines = []string{"None."}
	case f.Limit > 0 && len(t.rows) > f.Limit:
		t.rows = t.rows[:f.Limit]
		s.notes = []string{"There are more: --limit 0 shows all, --format csv exports all."}
	}
	return r.out.sheet(sheet{title: r.heading(what), sections: []section{s}})
}

func (r *reporter) nextRetry(rec storage.FailedRecord) string {
	switch {
	case rec.PermanentlyFailed:
		return "never"
	case rec.NextRetryAt == nil || !rec.NextRetryAt.After(r.now):
		return "now"
	}
	return rec.NextRetryAt.In(r.now.Location()).Format("01-02 15:04")
}

// streamFailed prints the records one by one, however many there are.
func streamFailed(ctx context.Context, r *reporter, f storage.FailingFilter) error {
	rows := newRowStream(r.out, []string{
		"tip", "lcd_inspection_id", "object_type", "processing_status", "retry_count", "next_retry_at", "permanently_failed", "last_error_message", "updated_at",
	})
	if err := r.db.EachFailing(ctx, f, func(rec storage.FailedRecord) error {
		return rows.write([]any{
			rec.Tip, value(rec.InspectionID), rec.ObjectType, rec.Status, rec.RetryCount, value(rec.NextRetryAt), rec.PermanentlyFailed, value(rec.LastError), rec.UpdatedAt,
		})
	}); err != nil {
		return err
	}
	return rows.end()
}
