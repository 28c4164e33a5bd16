package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/batch/queue"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

type skipOptions struct {
	selector storage.Selector
	reason   string
	list     string // the CSV file to write, or with undo to read
	undo     bool
	yes      bool
	dryRun   bool
}

// skipResult is what skip prints.
type skipResult struct {
	RunID     int64  `json:"run_id"`
	Skipped   int    `json:"skipped"`
	LeftAlone int    `json:"left_alone"` // in the hands of another run, or changed meanwhile
	List      string `json:"list"`
	Reason    string `json:"reason"`
}

// undoResult is what skip --undo prints.
type undoResult struct {
	RunID    int64  `json:"run_id"`
	Restored int    `json:"restored"`
	Listed   int    `json:"listed"`
	List     string `json:"list"`
}

func skipCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "skip",
		Usage: "take records out of the queue, with a list to bring them back",
		Description: `Without a filter all pending records: the queue is cleared. First a CSV file lists
them as they are, then they are marked skipped, with the reason as their last
error. Records that a run is at work on are left alone.

--permanent takes the permanently failed ones: those accepted as unrecoverable.
--undo brings the records of such a list back to what they were, as far as they
are still skipped.

Examples:
  noggin skip --object-type TA --reason 'audits moved to another system'
  noggin skip --permanent --reason 'deleted on the platform' --dry-run
  noggin skip --undo skipped_tips_20251022_101500.csv`,
		Flags: append(session.SelectorFlags(skipFlags()...),
			&cli.StringFlag{Name: "reason", Usage: "why: `TEXT`, kept with each record"},
			cmdline.NotEmpty(&cli.StringFlag{Name: "output", Usage: "write the list to `FILE`, which must not exist; -: stdout (default: {reports}/skipped_tips_YYYYMMDD_HHMMSS.csv)"}),
			cmdline.NotEmpty(&cli.StringFlag{Name: "undo", Usage: "bring back the records that the list `FILE` names"}),
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would be skipped and do nothing; --format csv prints the list itself"},
			cmdline.FormatFlag(show.Text, show.JSON, show.CSV)),
		Action: func(c *cli.Context) error {
			opts := skipOptions{reason: strings.TrimSpace(c.String("reason")), yes: c.Bool("yes"), dryRun: c.Bool("dry-run")}
			if err := checkSkipFlags(c, &opts); err != nil {
				return err
			}
			s, err := open.Session(c)
			if err != nil {
				return err
			}
			defer s.Close()
			if opts.selector, err = s.Selector(c); err != nil {
				return err
			}
			for _, status := range opts.selector.Statuses {
				if status.IsFinal() {
					return cmdline.Usagef("--status %s: such records are in no queue", status)
				}
			}
			if opts.list == "" {
				opts.list = filepath.Join(s.Config.Batch.Paths.Reports, "skipped_tips_"+s.Config.Now().Format("20060102_150405")+".csv")
			}
			bar := s.Console.Progress(c, "records")
			defer bar.Finish()
			if opts.undo {
				return runUndoSkip(c.Context, s, opts, bar, s.Output(c))
			}
			return runSkip(c.Context, s, opts, bar, s.Output(c))
		},
	}
}

// skipFlags are the names of the selector's flags that skip takes.
func skipFlags() []string {
	return append(session.InspectionFlags(), "tip", "object-type", "status", "since", "permanent", "error-type")
}

// checkSkipFlags refuses flags that do not go together.
func checkSkipFlags(c *cli.Context, opts *skipOptions) error {
	opts.undo, opts.list = c.IsSet("undo"), c.String("output")
	if c.String("format") == show.CSV && (!opts.dryRun || opts.undo) {
		return cmdline.Usagef("--format csv needs --dry-run: otherwise the list is a file")
	}
	if opts.list == "-" && c.String("format") == show.JSON {
		return cmdline.Usagef("--output -: the list is CSV, which cannot stand before the JSON of the result")
	}
	if !opts.undo {
		switch {
		case opts.reason == "" && !opts.dryRun:
			return cmdline.Usagef("--reason TEXT is missing: it is kept with each record, for whoever asks later")
		case len(opts.reason) > 500:
			return cmdline.Usagef("--reason: at most 500 bytes")
		}
		return nil
	}
	for _, flag := range append(skipFlags(), "reason", "output") {
		if c.IsSet(flag) {
			return cmdline.Usagef("--%s cannot be combined with --undo: the list says which records, and what they were", flag)
		}
	}
	opts.list = c.String("undo")
	return nil
}

// runSkip lists the chosen records in a file, then takes them out of the queue.
func runSkip(ctx context.Context, s *session.Session, opts skipOptions, bar *session.Progress, out show.Output) error {
	if _, err := s.DB.Standing(ctx); err != nil {
		return err
	}
	if opts.dryRun && out.Format == show.CSV {
		_, err := queue.WriteSkipList(ctx, s.DB, opts.selector, out)
		return err
	}
	counts, err := s.DB.CountSkippable(ctx, opts.selector)
	if err != nil {
		return err
	}
	free, claimed := countsOf(counts)
	switch {
	case opts.dryRun:
		return showSkippable(counts, free, claimed, out)
	case free+claimed == 0:
		return out.Line("no record to skip", skipResult{Reason: opts.reason})
	case free == 0:
		return runAgain(cmdline.Partialf("nothing was skipped: another run is at work on %s", health.Plural(claimed, "record")))
	}
	if err := s.Console.Confirm(ctx, fmt.Sprintf("Skip %s (%s)?", health.Plural(free, "record"), describeCounts(counts)), opts.yes); err != nil {
		return err
	}
	var result skipResult
	err = s.Recorded(ctx, s.Command, func(run int64) (any, error) {
		result = skipResult{RunID: run, Reason: opts.reason, List: opts.list}
		err := skipListed(ctx, s.DB, opts, bar, out, &result)
		if result.LeftAlone += int(claimed); err == nil && result.LeftAlone > 0 {
			err = leftAlone(int64(result.LeftAlone))
		}
		return result, err
	})
	if result.List == "" { // nothing was written
		return err
	}
	bar.Finish()
	if result.List == "-" { // stdout has the list
		s.Log.Info("skipped; `noggin skip --undo FILE` brings back what the list names", "records", result.Skipped)
		return err
	}
	text := fmt.Sprintf("skipped      %s\nlist         %s\nbring back   `noggin skip --undo %s`", health.Plural(result.Skipped, "record"), show.Printable(result.List), files.ShellQuoted(show.Printable(result.List)))
	return errors.Join(out.Line(text, result), err)
}

// leftAlone is the error of a command that did not take n of the chosen records.
func leftAlone(n int64) error {
	return runAgain(cmdline.Partialf("%s left alone: another run is at work there, or something changed meanwhile", health.Plural(n, "record")))
}

func runAgain(err error) error {
	return cmdline.Hint(err, "run the same command again when that run is done")
}

// writeSkipList writes the list, and returns it to be read.
func writeSkipList(ctx context.Context, db *storage.DB, opts skipOptions, out io.Writer) (list *os.File, listed int, err error) {
	if opts.list == "-" {
		if list, err = os.CreateTemp("", "noggin-skip-"); err != nil {
			return nil, 0, err
		}
		_ = os.Remove(list.Name()) // it stays open
		listed, err = queue.WriteSkipList(ctx, db, opts.selector, io.MultiWriter(list, out))
		if err == nil {
			_, err = list.Seek(0, io.SeekStart)
		}
		return list, listed, err
	}
	err = files.WriteNew(opts.list, 0o640, func(w io.Writer) (err error) {
		listed, err = queue.WriteSkipList(ctx, db, opts.selector, w)
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		return nil, 0, cmdline.Usagef("the list %s exists, and is not overwritten: name another file with --output", opts.list)
	}
	if err == nil {
		list, err = os.Open(opts.list)
	}
	return list, listed, err
}

// skipListed writes the list and marks what it names.
func skipListed(ctx context.Context, db *storage.DB, opts skipOptions, bar *session.Progress, out io.Writer, result *skipResult) error {
	list, listed, err := writeSkipList(ctx, db, opts, out)
	if list != nil {
		defer func() { _ = list.Close() }() // only read
	}
	if err != nil {
		result.List = ""
		if _, own := cmdline.OwnCode(err); own {
			return err
		}
		return cmdline.Hint(fmt.Errorf("nothing was skipped: %w", err), "--output FILE writes the list elsewhere")
	}
	result.Skipped, _, err = queue.SkipListed(ctx, db, list, opts.reason, func(done int) {
		bar.Update(session.State{Done: done, Total: listed})
	})
	if err == nil {
		result.LeftAlone = listed - result.Skipped
	}
	return err
}

// runUndoSkip brings back the records of a list.
func runUndoSkip(ctx context.Context, s *session.Session, opts skipOptions, bar *session.Progress, out show.Output) error {
	if _, err := s.DB.Standing(ctx); err != nil {
		return err
	}
	list, _, err := files.OpenRegular(opts.list, 0) // it is read twice, and may be a pipe
	if err != nil {
		return cmdline.Usagef("--undo: %w", err)
	}
	defer files.Release(list)
	if opts.dryRun {
		counts, err := queue.CountSkipList(list)
		if err != nil {
			return cmdline.Usagef("--undo %s: %w", opts.list, err)
		}
		return showSkipList(counts, out)
	}
	if err := s.Console.Confirm(ctx, "Bring back the records of "+opts.list+"?", opts.yes); err != nil {
		return err
	}
	result := undoResult{List: opts.list}
	err = s.Recorded(ctx, s.Command, func(run int64) (_ any, err error) {
		result.RunID = run
		result.Restored, result.Listed, err = queue.UnskipListed(ctx, s.DB, list, func(done int) { bar.Update(session.State{Done: done}) })
		if errors.Is(err, queue.ErrNoSkipList) {
			err = cmdline.Usagef("--undo %s: %w", opts.list, err)
		}
		return result, err
	})
	if err != nil && result.Restored == 0 {
		return err
	}
	bar.Finish()
	text := "brought back  " + health.Plural(result.Restored, "record")
	if left := result.Listed - result.Restored; left > 0 {
		text += show.Textf("\nleft alone    %d that are not skipped any more", left)
	}
	return errors.Join(out.Line(text, result), err)
}

func countsOf(counts []storage.ChosenCount) (free, claimed int64) {
	for _, c := range counts {
		free += c.Records - c.Claimed
		claimed += c.Claimed
	}
	return free, claimed
}

// describeCounts is "LCD pending 12, SO api_failed 1".
func describeCounts(counts []storage.ChosenCount) string {
	parts := make([]string, len(counts))
	for i, c := range counts {
		parts[i] = fmt.Sprintf("%s %s %s", c.ObjectType, c.Status, show.Count(c.Records-c.Claimed).Human())
	}
	return strings.Join(parts, ", ")
}

func showSkippable(counts []storage.ChosenCount, free, claimed int64, out show.Output) error {
	if out.Format == show.JSON {
		return out.JSON(map[string]any{"would_skip": free, "left_alone": claimed, "by_form_and_status": counts})
	}
	if len(counts) == 0 {
		_, err := fmt.Fprintln(out, "no record to skip")
		return err
	}
	t := show.Table{Columns: []show.Column{{"object_type", "Form"}, {"processing_status", "Status"}, {"records", "Records"}, {"claimed", "At work on"}}}
	for _, c := range counts {
		t.Rows = append(t.Rows, []any{c.ObjectType, show.State(c.Status), c.Records, c.Claimed})
	}
	if err := out.Table(t); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "would skip %s; --format csv lists them\n", health.Plural(free, "record"))
	return err
}

func showSkipList(counts map[storage.Status]int, out show.Output) error {
	if out.Format == show.JSON {
		return out.JSON(map[string]any{"listed": counts})
	}
	total := 0
	var parts []string
	for _, status := range storage.Statuses() {
		if n := counts[status]; n > 0 {
			total += n
			parts = append(parts, fmt.Sprintf("%s %s", show.Count(n).Human(), status))
		}
	}
	_, err := fmt.Fprintf(out, "would bring back up to %s: %s\n", health.Plural(total, "record"), strings.Join(parts, ", "))
	return err
}
