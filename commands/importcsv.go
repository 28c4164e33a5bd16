package commands

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch"
)

func importCSVCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "import-csv",
		Usage:     "put the tips of CSV exports into the queue",
		ArgsUsage: "[FILE…]",
		Description: `Without a FILE it reads every *.csv of [paths] input, oldest first, and moves each
to [paths] processed, or to [paths] error where nothing in it can be used. Files
that are named stay where they are; - is the standard input.

The form is told by the column of the inspection id. Rows that can't be used go
to [paths] error, with line and reason; the others are imported all the same.
Importing a file again does no harm.

Examples:
  noggin import-csv                  # what a timer does
  noggin import-csv --dry-run /tmp/export.csv
  noggin import-csv --object-type SO tips.csv
  psql -Atc "$QUERY" | noggin import-csv -`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "object-type", Usage: "the `CODE` of the form of files that do not tell it, such as SO"},
			&cli.BoolFlag{Name: "update", Usage: "fill in the expected inspection id and date of known records that lack them"},
			&cli.BoolFlag{Name: "dry-run", Usage: "read everything, change and move nothing"},
			durationFlag("wait", "wait at most `DURATION`, such as 5m, for files of the input folder that may still be being written", 0),
			formatFlag(formatText, formatJSON, formatCSV),
		},
		Action: func(c *cli.Context) error {
			s, err := env.open(c)
			if err != nil {
				return err
			}
			defer s.close()
			opts := batch.ImportOptions{Files: c.Args().Slice(), Stdin: env.in, Update: c.Bool("update"), DryRun: c.Bool("dry-run"), Wait: c.Duration("wait")}
			if c.IsSet("wait") && len(opts.Files) > 0 {
				return usagef("--wait is about the files of [paths] input: those that are named are read at once")
			}
			if code := c.String("object-type"); code != "" {
				form, ok := s.types.ByCode(code)
				if !ok {
					return usagef("--object-type %s: allowed are %s", quoted(code), strings.Join(s.types.Codes(), ", "))
				}
				opts.ObjectType = form.Code
			}
			bar := env.progress(c, "rows")
			defer bar.finish(env)
			importer := &batch.Importer{
				DB: s.db, Config: s.cfg.batch, Types: s.types, Log: env.log,
				Progress: func(p batch.ImportProgress) { bar.update(importProgress(p)) },
			}
			return runImportCSV(c.Context, env, s, importer, opts, bar, env.output(c))
		},
	}
}

// importProgress shows the rows so far and how much of the file they are.
func importProgress(p batch.ImportProgress) progressState {
	state := progressState{done: int(p.Rows), note: filepath.Base(p.File)}
	if p.Size > 0 {
		state.note += fmt.Sprintf(" %d %%", min(100, 100*p.Bytes/p.Size))
	}
	return state
}

// runImportCSV imports what opts name and prints what became of it.
func runImportCSV(ctx context.Context, env *environment, s *session, importer *batch.Importer, opts batch.ImportOptions, bar *progress, out output) error {
	standing, err := s.db.Standing(ctx)
	if err != nil {
		return err
	}
	if standing.Paused {
		return out.line(pausedLine(standing), map[string]any{"paused": true, "reason": standing.PauseReason, "until": standing.PausedUntil})
	}
	var run int64
	if !opts.DryRun {
		if run, err = s.db.StartRun(ctx, "import-csv", readVersion(env.assets.Version).Version); err != nil {
			return err
		}
	}
	summary, err := importer.Run(ctx, opts)
	summary.RunID = run
	if err == nil {
		err = importVerdict(summary)
	}
	if run != 0 {
		s.endRun(ctx, env, run, summary, err)
	}
	bar.finish(env)
	if err != nil && len(summary.Files) == 0 {
		return err // it says all there is to say
	}
	if printErr := printImportCSV(summary, s.cfg.batch.Paths, out); err == nil {
		err = printErr
	}
	return err
}

// importVerdict is the error of an import that did not do everything.
func importVerdict(s batch.ImportSummary) error {
	if s.Failed > 0 {
		for _, file := range s.Files {
			if file.Outcome == batch.FileFailed {
				return fmt.Errorf("import %s: %w", file.File, errors.New(file.Reason))
			}
		}
	}
	var parts []string
	if s.Unusable > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d files cannot be used", s.Unusable, len(s.Files)))
	}
	if s.Rejected > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d rows were rejected", s.Rejected, s.Rows))
	}
	if len(parts) == 0 {
		return nil
	}
	return partialf("%s", strings.Join(parts, ", "))
}

// printImportCSV prints the files, and below them what else there is to say of each.
func printImportCSV(s batch.ImportSummary, paths batch.Paths, out output) error {
	if out.format == formatJSON {
		return out.json(s)
	}
	if len(s.Files) == 0 && out.format == formatText {
		_, err := fmt.Fprintf(out, "nothing to import: no CSV file in %s\n", printable(paths.Input))
		return err
	}
	t := importTable(s, out.format == formatText, func(path string) string { return shortPath(path, paths.Input) })
	if err := out.table(t); err != nil || out.format != formatText {
		return err
	}
	var notes strings.Builder
	for _, f := range s.Files {
		if f.Reason != "" {
			fmt.Fprintf(&notes, "%s: %s\n", printable(f.File), printable(f.Reason))
		}
		if f.RejectedFile != "" {
			fmt.Fprintf(&notes, "%s: rejected rows are in %s\n", printable(f.File), printable(f.RejectedFile))
		}
	}
	if s.DryRun {
		notes.WriteString("dry run: nothing was changed or moved\n")
	}
	_, err := fmt.Fprint(out, notes.String())
	return err
}

func importTable(s batch.ImportSummary, people bool, short func(string) string) table {
	t := table{columns: []column{
		{"file", "FILE"},
		{"object_type", "FORM"},
		{"rows", "ROWS"},
		{"new", "NEW"},
		{"known", "KNOWN"},
		{"corrected", "CORRECTED"},
		{"updated", "UPDATED"},
		{"rejected", "REJECTED"},
		{"warnings", "WARNINGS"},
		{"outcome", "OUTCOME"},
		{"moved_to", "MOVED TO"},
	}}
	for _, f := range s.Files {
		form, moved := f.ObjectType, f.MovedTo
		if people {
			moved = short(moved)
			if f.Assumed {
				form += " (assumed)"
			}
		}
		t.rows = append(t.rows, []any{f.File, form, f.Rows, f.New, f.Known, f.Corrected, f.Updated, f.Rejected, f.Warnings, f.Outcome, moved})
	}
	return t
}

// shortPath is a path as seen from the folder, where it is inside.
func shortPath(path, folder string) string {
	if short, err := filepath.Rel(folder, path); path != "" && err == nil && filepath.IsLocal(short) {
		return short
	}
	return path
}
