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

	"noggin/batch"
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

func skipCommand(env *environment) *cli.Command {
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
		Flags: append(selectorFlags("tip", "object-type", "status", "since", "permanent", "error-type"),
			&cli.StringFlag{Name: "reason", Usage: "why: `TEXT`, kept with each record"},
			&cli.StringFlag{Name: "output", Usage: "write the list to `FILE`, which must not exist (default: {reports}/skipped_tips_YYYYMMDD_HHMMSS.csv)"},
			&cli.StringFlag{Name: "undo", Usage: "bring back the records that the list `FILE` names"},
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would be skipped and do nothing; --format csv prints the list itself"},
			formatFlag(formatText, formatJSON, formatCSV)),
		Action: func(c *cli.Context) error {
			opts := skipOptions{reason: strings.TrimSpace(c.String("reason")), yes: c.Bool("yes"), dryRun: c.Bool("dry-run")}
			if err := checkSkipFlags(c, &opts); err != nil {
				return err
			}
			s, err := env.open(c)
			if err != nil {
				return err
			}
			defer s.close()
			if opts.selector, err = s.selector(c); err != nil {
				return err
			}
			for _, status := range opts.selector.Statuses {
				if status == "complete" || status == "skipped" {
					return usagef("--status %s: such records are in no queue", status)
				}
			}
			if opts.list == "" {
				opts.list = filepath.Join(s.cfg.batch.Paths.Reports, "skipped_tips_"+s.cfg.now().Format("20060102_150405")+".csv")
			}
			bar := env.progress(c, "records")
			defer bar.finish(env)
			if opts.undo {
				return runUndoSkip(c.Context, env, s, opts, bar, env.output(c))
			}
			return runSkip(c.Context, env, s, opts, bar, env.output(c))
		},
	}
}

// checkSkipFlags refuses flags that do not go together.
func checkSkipFlags(c *cli.Context, opts *skipOptions) error {
	opts.undo, opts.list = c.IsSet("undo"), c.String("output")
	if c.String("format") == formatCSV && (!opts.dryRun || opts.undo) {
		return usagef("--format csv goes with --dry-run: otherwise the list is a file")
	}
	if !opts.undo {
		switch {
		case opts.reason == "" && !opts.dryRun:
			return usagef("--reason TEXT is missing: it is kept with each record, for whoever asks later")
		case len(opts.reason) > 500:
			return usagef("--reason: at most 500 bytes")
		}
		return nil
	}
	for _, flag := range []string{"tip", "object-type", "status", "since", "permanent", "error-type", "reason", "output"} {
		if c.IsSet(flag) {
			return usagef("--%s does not go with --undo: the list says which records, and what they were", flag)
		}
	}
	opts.list = c.String("undo")
	return nil
}

// runSkip lists the chosen records in a file, then takes them out of the queue.
func runSkip(ctx context.Context, env *environment, s *session, opts skipOptions, bar *progress, out output) error {
	if _, err := s.db.Standing(ctx); err != nil {
		return err
	}
	if opts.dryRun && out.format == formatCSV {
		_, err := batch.WriteSkipList(ctx, s.db, opts.selector, out)
		return err
	}
	counts, err := s.db.CountSkippable(ctx, opts.selector)
	if err != nil {
		return err
	}
	free, claimed := countsOf(counts)
	switch {
	case opts.dryRun:
		return showSkippable(counts, free, claimed, out)
	case free+claimed == 0:
		return out.line("no record to skip", skipResult{Reason: opts.reason})
	case free == 0:
		return hint(partialf("nothing was skipped: another run is at work on %s", plural(claimed, "record")), "run the same command again when that run is done")
	}
	if err := env.confirm(fmt.Sprintf("Skip %s (%s)?", plural(free, "record"), describeCounts(counts)), opts.yes); err != nil {
		return err
	}
	run, err := s.db.StartRun(ctx, "skip", readVersion(env.assets.Version).Version)
	if err != nil {
		return err
	}
	result := skipResult{RunID: run, Reason: opts.reason, List: opts.list}
	err = skipListed(ctx, s.db, opts, bar, &result)
	if result.LeftAlone += int(claimed); err == nil && result.LeftAlone > 0 {
		err = hint(partialf("%s left alone: another run is at work there, or something changed meanwhile", plural(result.LeftAlone, "record")),
			"run the same command again when that run is done")
	}
	s.endRun(ctx, env, run, result, err)
	if result.List == "" { // nothing was written
		return err
	}
	bar.finish(env)
	text := fmt.Sprintf("skipped      %s\nlist         %s\nbring back   noggin skip --undo %s", plural(result.Skipped, "record"), printable(result.List), printable(result.List))
	return errors.Join(out.line(text, result), err)
}

// skipListed writes the list and marks what it names.
func skipListed(ctx context.Context, db *storage.DB, opts skipOptions, bar *progress, result *skipResult) error {
	listed := 0
	err := batch.WriteNew(opts.list, func(w io.Writer) (err error) {
		listed, err = batch.WriteSkipList(ctx, db, opts.selector, w)
		return err
	})
	if err != nil {
		result.List = ""
		if errors.Is(err, fs.ErrExist) {
			return usagef("the list %s exists, and is not overwritten: name another file with --output", opts.list)
		}
		return hint(fmt.Errorf("nothing was skipped: %w", err), "--output FILE writes the list elsewhere")
	}
	list, err := os.Open(opts.list)
	if err != nil {
		return fmt.Errorf("read the list: %w", err)
	}
	defer func() { _ = list.Close() }() // only read
	result.Skipped, _, err = batch.SkipListed(ctx, db, list, opts.reason, func(done int) {
		bar.update(progressState{done: done, total: listed})
	})
	if err == nil {
		result.LeftAlone = listed - result.Skipped
	}
	return err
}

// runUndoSkip brings back the records of a list.
func runUndoSkip(ctx context.Context, env *environment, s *session, opts skipOptions, bar *progress, out output) error {
	if _, err := s.db.Standing(ctx); err != nil {
		return err
	}
	list, err := os.Open(opts.list)
	if err != nil {
		return usagef("--undo: %w", err)
	}
	defer func() { _ = list.Close() }() // only read
	if opts.dryRun {
		counts, err := batch.CountSkipList(list)
		if err != nil {
			return usagef("--undo %s: %w", opts.list, err)
		}
		return showSkipList(counts, out)
	}
	if err := env.confirm("Bring back the records of "+opts.list+"?", opts.yes); err != nil {
		return err
	}
	run, err := s.db.StartRun(ctx, "skip", readVersion(env.assets.Version).Version)
	if err != nil {
		return err
	}
	result := undoResult{RunID: run, List: opts.list}
	result.Restored, result.Listed, err = batch.UnskipListed(ctx, s.db, list, func(done int) { bar.update(progressState{done: done}) })
	if errors.Is(err, batch.ErrNoSkipList) {
		err = usagef("--undo %s: %w", opts.list, err)
	}
	s.endRun(ctx, env, run, result, err)
	if err != nil {
		return err
	}
	bar.finish(env)
	text := "brought back  " + plural(result.Restored, "record")
	if left := result.Listed - result.Restored; left > 0 {
		text += fmt.Sprintf("\nleft alone    %d that are not skipped any more", left)
	}
	return out.line(text, result)
}

func countsOf(counts []storage.SkipCount) (free, claimed int64) {
	for _, c := range counts {
		free += c.Records - c.Claimed
		claimed += c.Claimed
	}
	return free, claimed
}

// describeCounts is "LCD pending 12, SO api_failed 1".
func describeCounts(counts []storage.SkipCount) string {
	parts := make([]string, len(counts))
	for i, c := range counts {
		parts[i] = fmt.Sprintf("%s %s %d", c.ObjectType, c.Status, c.Records-c.Claimed)
	}
	return strings.Join(parts, ", ")
}

func showSkippable(counts []storage.SkipCount, free, claimed int64, out output) error {
	if out.format == formatJSON {
		return out.json(map[string]any{"would_skip": free, "left_alone": claimed, "by_form_and_status": counts})
	}
	if len(counts) == 0 {
		_, err := fmt.Fprintln(out, "no record to skip")
		return err
	}
	t := table{columns: []column{{"object_type", "FORM"}, {"processing_status", "STATUS"}, {"records", "RECORDS"}, {"claimed", "AT WORK ON"}}}
	for _, c := range counts {
		t.rows = append(t.rows, []any{c.ObjectType, c.Status, c.Records, c.Claimed})
	}
	if err := out.table(t); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "would skip %s; --format csv lists them\n", plural(free, "record"))
	return err
}

func showSkipList(counts map[string]int, out output) error {
	if out.format == formatJSON {
		return out.json(map[string]any{"listed": counts})
	}
	total := 0
	var parts []string
	for _, status := range storage.Statuses() {
		if n := counts[status]; n > 0 {
			total += n
			parts = append(parts, fmt.Sprintf("%d %s", n, status))
		}
	}
	_, err := fmt.Fprintf(out, "would bring back up to %s: %s\n", plural(total, "record"), strings.Join(parts, ", "))
	return err
}
