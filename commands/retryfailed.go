package commands

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/batch/process"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

type retryFailedOptions struct {
	selector  storage.Selector
	process   process.Options
	yes       bool
	dryRun    bool
	resetOnly bool
}

func retryFailedCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "retry-failed",
		Usage: "give failed records another chance, now",
		Description: `Chooses records that failed, whenever their next retry would be; without a filter
all that are not permanently failed. Resets them to pending, with no failure
counted, and processes just these.

Examples:
  noggin retry-failed --dry-run --error-type not_found
  noggin retry-failed --since 1d --yes
  noggin retry-failed --permanent    # what made them fail is mended`,
		Flags: append(append(session.SelectorFlags(append(session.InspectionFlags(), "tip", "object-type", "status", "since", "permanent", "error-type", "unknown-hashes")...),
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
			&cli.BoolFlag{Name: "dry-run", Usage: "list the records and do nothing"},
			&cli.BoolFlag{Name: "reset-only", Usage: "leave them to the next run"}),
			maxTimeFlag(),
			cmdline.FormatFlag(show.Text, show.JSON, show.CSV)),
		Action: func(c *cli.Context) error {
			s, err := openRun(c, open)
			if err != nil {
				return err
			}
			defer s.Close()
			opts := retryFailedOptions{yes: c.Bool("yes"), dryRun: c.Bool("dry-run"), resetOnly: c.Bool("reset-only")}
			opts.process = process.Options{UntilEmpty: true, MaxTime: c.Duration("max-time")}
			if opts.selector, err = s.Selector(c); err != nil {
				return err
			}
			if err := refuseComplete(opts.selector); err != nil {
				return err
			}
			var p *process.Processor
			if !opts.dryRun && !opts.resetOnly {
				if p, err = processor(c, s); err != nil {
					return err
				}
			}
			return runRetryFailed(c.Context, s, p, opts, s.Output(c))
		},
	}
}

// runRetryFailed resets the chosen records and processes them; p is nil where they
// are only listed or reset.
func runRetryFailed(ctx context.Context, s *session.Session, p *process.Processor, opts retryFailedOptions, out show.Output) error {
	standing, err := s.DB.Standing(ctx)
	if err != nil {
		return err
	}
	if opts.dryRun {
		return listRetryable(ctx, s.DB, opts.selector, out)
	}
	counts, err := s.DB.CountRetryable(ctx, opts.selector)
	if err != nil {
		return err
	}
	free, claimed := countsOf(counts)
	switch {
	case free+claimed == 0:
		if err := out.Line("no record to retry", map[string]any{"reset": 0}); err != nil {
			return err
		}
		return tellPermanent(ctx, s, opts.selector)
	case free == 0:
		return runAgain(cmdline.Partialf("nothing was reset: another run is at work on %s", health.Plural(claimed, "record")))
	}
	if err := s.Console.Confirm(ctx, fmt.Sprintf("Retry %s (%s)?", health.Plural(free, "record"), describeCounts(counts)), opts.yes); err != nil {
		return err
	}
	var asked, reset, left int64 // the run, and how many records it reset and left alone
	err = s.Recorded(ctx, s.Command, func(run int64) (_ any, err error) {
		asked = run
		if reset, err = s.DB.ResetForRetry(ctx, run, opts.selector); err != nil {
			return nil, err
		}
		if left = max(0, free+claimed-reset); left > 0 {
			err = leftAlone(left)
		}
		return map[string]any{"reset": reset, "left_alone": left}, err
	})
	if err != nil && left == 0 {
		return err
	}
	if p == nil || reset == 0 {
		return errors.Join(out.Line(health.Plural(reset, "record")+" pending again", map[string]any{"reset": reset, "left_alone": left}), err)
	}
	if standing.Paused || standing.CircuitOpen() {
		s.Log.Warn("the records are pending again; they are processed when the pause or the open circuit ends", "records", reset)
	}
	// The records know which run asked for them: just these are taken.
	opts.process.Selector = storage.Selector{RequestedBy: asked}
	processErr := runProcess(ctx, s, p, opts.process, out)
	if processErr != nil && err != nil {
		return cmdline.Hint(processErr, err.Error())
	}
	return cmp.Or(processErr, err)
}

// tellPermanent says that there are permanently failed records, which are retried only when
// they are asked for.
func tellPermanent(ctx context.Context, s *session.Session, selector storage.Selector) error {
	if selector.Permanent {
		return nil
	}
	selector.Permanent = true
	counts, err := s.DB.CountRetryable(ctx, selector)
	if n, _ := countsOf(counts); err == nil && n > 0 {
		s.Log.Info(health.Plural(n, "record")+" failed permanently: `noggin retry-failed --permanent` retries them", "records", n)
	}
	return err
}

// shownRetryable bounds the records that a dry run lists for people.
const shownRetryable = 20

// listRetryable prints the records that a retry would take: JSON and CSV all of them,
// text the first few and how many there are.
func listRetryable(ctx context.Context, db *storage.DB, selector storage.Selector, out show.Output) error {
	if out.Format != show.Text {
		rows := show.NewRowStream(out, []string{"tip", "object_type", "inspection_id", "processing_status", "retry_count", "permanently_failed", "last_error_message"})
		if err := db.EachRetryable(ctx, selector, 0, func(r storage.FailedRecord) error {
			return rows.Write([]any{r.Tip, r.ObjectType, show.Value(r.InspectionID), r.Status, r.RetryCount, r.PermanentlyFailed, show.Value(r.LastError)})
		}); err != nil {
			return err
		}
		return rows.End()
	}
	counts, err := db.CountRetryable(ctx, selector)
	if err != nil {
		return err
	}
	if len(counts) == 0 {
		_, err := fmt.Fprintln(out, "no record to retry")
		return err
	}
	t := show.Table{
		Columns: []show.Column{{"tip", "Tip"}, {"object_type", "Form"}, {"inspection_id", "Inspection"}, {"processing_status", "Status"}, {"retry_count", "Retries"}, {"permanently_failed", "Permanent"}, {"last_error_message", "Last error"}},
		Spare:   []string{"Form", "Retries", "Permanent"},
	}
	if err := db.EachRetryable(ctx, selector, shownRetryable, func(r storage.FailedRecord) error {
		t.Rows = append(t.Rows, []any{show.Tip(r.Tip), r.ObjectType, show.Name[show.ID](r.InspectionID), show.State(r.Status), r.RetryCount, r.PermanentlyFailed, show.Value(r.LastError)})
		return nil
	}); err != nil {
		return err
	}
	if err := out.Table(t); err != nil {
		return err
	}
	free, claimed := countsOf(counts)
	text := "would retry " + health.Plural(free, "record") + " (" + describeCounts(counts) + ")"
	if claimed > 0 {
		text += ", and leave " + health.Plural(claimed, "record") + " alone that a run is at work on"
	}
	if free+claimed > int64(len(t.Rows)) {
		text += show.Textf("; the %d that failed last are listed, --format csv lists all", len(t.Rows))
	}
	_, err = fmt.Fprintln(out, text)
	return err
}
