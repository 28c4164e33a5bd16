package commands

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"noggin/batch"
	"noggin/storage"
)

type retryFailedOptions struct {
	selector  storage.Selector
	process   batch.ProcessOptions
	yes       bool
	dryRun    bool
	resetOnly bool
}

func retryFailedCommand(env *environment) *cli.Command {
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
		Flags: append(append(selectorFlags("tip", "object-type", "status", "since", "permanent", "error-type", "unknown-hashes"),
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
			&cli.BoolFlag{Name: "dry-run", Usage: "list the records and do nothing"},
			&cli.BoolFlag{Name: "reset-only", Usage: "leave them to the next run of noggin process"}),
			maxTimeFlag(),
			formatFlag(formatText, formatJSON, formatCSV)),
		Action: func(c *cli.Context) error {
			s, err := env.open(c)
			if err != nil {
				return err
			}
			defer s.close()
			opts := retryFailedOptions{yes: c.Bool("yes"), dryRun: c.Bool("dry-run"), resetOnly: c.Bool("reset-only")}
			opts.process = batch.ProcessOptions{UntilEmpty: true, MaxTime: c.Duration("max-time")}
			if opts.selector, err = s.selector(c); err != nil {
				return err
			}
			var p *batch.Processor
			if !opts.dryRun && !opts.resetOnly {
				if p, err = env.processor(c, s); err != nil {
					return err
				}
			}
			return runRetryFailed(c.Context, env, s, p, opts, env.output(c))
		},
	}
}

// runRetryFailed resets the chosen records and processes them; p is nil where they
// are only listed or reset.
func runRetryFailed(ctx context.Context, env *environment, s *session, p *batch.Processor, opts retryFailedOptions, out output) error {
	standing, err := s.db.Standing(ctx)
	if err != nil {
		return err
	}
	if opts.dryRun {
		return listRetryable(ctx, s.db, opts.selector, out)
	}
	n, err := s.db.CountRetryable(ctx, opts.selector)
	if err != nil {
		return err
	}
	if n == 0 {
		return out.line("no record to retry", map[string]any{"reset": 0})
	}
	if err := env.confirm("Retry "+plural(n, "record")+"?", opts.yes); err != nil {
		return err
	}
	run, err := s.db.StartRun(ctx, "retry-failed", readVersion(env.assets.Version).Version)
	if err != nil {
		return err
	}
	reset, err := s.db.ResetForRetry(ctx, run, opts.selector)
	s.endRun(ctx, env, run, map[string]any{"reset": reset}, err)
	if err != nil {
		return err
	}
	if p == nil {
		return out.line(plural(reset, "record")+" pending again", map[string]any{"reset": reset})
	}
	if standing.Paused || standing.CircuitOpen() {
		env.log.Warn("the records are pending again; they are processed when the pause or the open circuit ends", "records", reset)
	}
	// The records know which run asked for them: just these are taken.
	opts.process.Selector = storage.Selector{RequestedBy: run}
	return runProcess(ctx, env, s, p, opts.process, false, out)
}

// listRetryable prints the records that a retry would take.
func listRetryable(ctx context.Context, db *storage.DB, selector storage.Selector, out output) error {
	t := table{columns: []column{
		{"tip", "TIP"},
		{"object_type", "FORM"},
		{"inspection_id", "INSPECTION"},
		{"processing_status", "STATUS"},
		{"retry_count", "RETRIES"},
		{"permanently_failed", "PERMANENT"},
		{"last_error_message", "LAST ERROR"},
	}, spare: []string{"FORM", "RETRIES"}}
	name := func(tip string) string { return tip }
	if out.format == formatText {
		name = shortTip
	}
	err := db.EachRetryable(ctx, selector, func(r storage.FailedRecord) error {
		t.rows = append(t.rows, []any{name(r.Tip), r.ObjectType, value(r.InspectionID), r.Status, r.RetryCount, r.PermanentlyFailed, value(r.LastError)})
		return nil
	})
	if err != nil {
		return err
	}
	if len(t.rows) == 0 && out.format == formatText {
		_, err := fmt.Fprintln(out, "no record to retry")
		return err
	}
	return out.table(t)
}

// confirm asks on the terminal; elsewhere the answer has to come as --yes.
func (env *environment) confirm(question string, yes bool) error {
	if yes {
		return nil
	}
	if file, ok := env.in.(*os.File); !ok || !term.IsTerminal(int(file.Fd())) {
		return usagef("%s Not asked: no terminal; say --yes, or look first with --dry-run", question)
	}
	if _, err := fmt.Fprint(env.err, question+" [y/N] "); err != nil {
		return err
	}
	answer, err := bufio.NewReader(env.in).ReadString('\n')
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer == "y" || answer == "yes" {
		return nil
	}
	if err != nil && answer == "" {
		return fmt.Errorf("no answer: %w", err)
	}
	return usagef("not confirmed: nothing was changed")
}
