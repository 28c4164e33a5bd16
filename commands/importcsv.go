package commands

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/batch/importcsv"
	"noggin/batch/sources"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func importCSVCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "import-csv",
		Usage:     "put the tips of CSV exports into the queue",
		ArgsUsage: "[FILE…]",
		Description: `Without a FILE it first fetches what is new on the SFTP servers of [[import.source]].
Then it reads every *.csv of [paths] input, oldest first, and moves each to [paths]
processed, or to [paths] error where nothing in it can be used. Files that are named
stay where they are; - is the standard input.

The column of the inspection id tells the form. Rows that can't be used go
to [paths] error, with line and reason; the others are imported all the same.
Importing a file again does no harm.

A server that is unreachable stops nothing else: the exit code is 5, and a later run
fetches. A server whose key is not in known_hosts, or that refuses ours: 12.

Examples:
  noggin import-csv                  # what a timer does
  noggin import-csv --fetch-only     # only from the SFTP servers
  noggin import-csv --dry-run /tmp/export.csv
  noggin import-csv --object-type SO tips.csv
  psql -Atc "$QUERY" | noggin import-csv -`,
		Flags: []cli.Flag{
			cmdline.NotEmpty(&cli.StringFlag{Name: "object-type", Usage: "the `CODE` of the form of files that do not tell it, such as SO"}),
			&cli.BoolFlag{Name: "update", Usage: "fill in the expected inspection id and date of known records that lack them"},
			&cli.BoolFlag{Name: "dry-run", Usage: "read everything, change and move nothing"},
			&cli.BoolFlag{Name: "no-fetch", Usage: "do not fetch from the SFTP servers of [[import.source]]"},
			&cli.BoolFlag{Name: "fetch-only", Usage: "fetch from the SFTP servers, import nothing"},
			cmdline.DurationFlag("wait", "wait at most `DURATION`, such as 5m, for files of the input folder that may still be being written", 0),
			cmdline.FormatFlag(show.Text, show.JSON, show.CSV),
		},
		Action: func(c *cli.Context) error {
			s, err := open.Session(c)
			if err != nil {
				return err
			}
			defer s.Close()
			opts := importcsv.Options{Files: c.Args().Slice(), Stdin: c.App.Reader, Update: c.Bool("update"), DryRun: c.Bool("dry-run"), Wait: c.Duration("wait")}
			if c.IsSet("wait") && len(opts.Files) > 0 {
				return cmdline.Usagef("--wait applies only to the files of [paths] input: named files are read at once")
			}
			if code := c.String("object-type"); code != "" {
				form, ok := s.Types.ByCode(code)
				if !ok {
					return cmdline.Usagef("--object-type %s: allowed are %s", show.Quoted(code), strings.Join(s.Types.Codes(), ", "))
				}
				opts.ObjectType = form.Code
			}
			mode, err := parseFetchMode(c.Bool("no-fetch"), c.Bool("fetch-only"), opts, len(s.Config.Batch.Sources.Sources))
			if err != nil {
				return err
			}
			bar := s.Console.Progress(c, "rows")
			defer bar.Finish()
			importer := &importcsv.Importer{
				DB: s.DB, Config: s.Config.Batch.Import, Paths: s.Config.Batch.Paths, Types: s.Types, Log: s.Log,
				Progress: func(p importcsv.Progress) { bar.Update(importProgress(p)) },
			}
			return runImportCSV(c.Context, newImportRun(s, importer, opts, mode, bar), bar, cmdline.Output(c))
		},
	}
}

// importProgress shows the rows so far and how much of the file they are.
func importProgress(p importcsv.Progress) session.State {
	state := session.State{Done: int(p.Rows), Note: filepath.Base(p.File)}
	if p.Size > 0 {
		state.Note += fmt.Sprintf(" %d %%", min(100, 100*p.Bytes/p.Size))
	}
	return state
}

// runImportCSV does the run and prints what became of everything.
func runImportCSV(ctx context.Context, r *importRun, bar *session.Progress, out show.Output) error {
	s := r.session
	standing, err := s.DB.Standing(ctx)
	if err != nil {
		return err
	}
	if standing.Paused {
		return showPaused(standing, out)
	}
	var result importResult
	do := func(run int64) (any, error) {
		result, err = r.run(ctx)
		result.RunID = run
		return result, err
	}
	if r.opts.DryRun {
		_, err = do(0)
	} else {
		err = s.Recorded(ctx, s.Command, do)
	}
	bar.Finish()
	if err != nil && len(result.Files) == 0 && len(result.Sources) == 0 {
		return err // it says all there is to say
	}
	if printErr := r.print(result, out); err == nil {
		err = printErr
	}
	return err
}

// importVerdict returns the error of an import that could not do everything. Files that
// are named are wanted; one of the input folder keeps no others from being imported.
func importVerdict(s importResult, named bool) error {
	if err := sourcesVerdict(s.Sources); err != nil {
		return err
	}
	var parts []string
	switch err := s.Fault(); {
	case err != nil && named:
		return err
	case err != nil:
		parts = append(parts, fmt.Sprintf("%d of %d files could not be taken, first: %v", s.Failed, s.FilesTotal, err))
	}
	if s.Blocking > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d files in [paths] input are no regular files, and stay: move them elsewhere", s.Blocking, s.FilesTotal))
	}
	if s.Unusable > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d files cannot be used", s.Unusable, s.FilesTotal))
	}
	if s.Rejected > 0 {
		parts = append(parts, fmt.Sprintf("%d of %d rows were rejected", s.Rejected, s.Rows))
	}
	if len(parts) == 0 {
		return nil
	}
	return cmdline.Partialf("%s", strings.Join(parts, ", "))
}

// print prints the files, then what else there is to say about each.
func (r *importRun) print(s importResult, out show.Output) error {
	if out.Format == show.JSON {
		return out.JSON(s)
	}
	paths := r.session.Config.Batch.Paths
	if out.Format == show.Text {
		if _, err := io.WriteString(out, sourceNotes(s.Sources)); err != nil {
			return err
		}
	}
	switch {
	case !r.mode.importFiles && out.Format == show.Text:
		return nil
	case len(s.Files) == 0 && out.Format == show.Text:
		_, err := fmt.Fprintf(out, "nothing to import: no CSV file in %s\n", show.Printable(paths.Input))
		return err
	}
	t := importTable(s.Summary, out.Format == show.Text, func(path string) string { return shortPath(path, paths.Input) })
	if err := out.Table(t); err != nil || out.Format != show.Text {
		return err
	}
	var notes strings.Builder
	for _, f := range s.Files {
		file := show.Printable(f.File)
		if f.Skipped > 0 {
			fmt.Fprintf(&notes, "%s: skipped rows that repeat the header: %d\n", file, f.Skipped)
		}
		if f.OtherID > 0 {
			fmt.Fprintf(&notes, "%s: %s another inspection id than an earlier row gave the record, which keeps that one\n", file, health.Plural(f.OtherID, "row has|rows have"))
		}
		if f.Conflicting > 0 {
			fmt.Fprintf(&notes, "%s: %d of its records keep the form that an earlier export named: it is not %s\n", file, f.Conflicting, f.ObjectType)
		}
		if f.Reason != "" {
			fmt.Fprintf(&notes, "%s: %s\n", file, show.Printable(f.Reason))
		}
		if f.RejectedFile != "" {
			fmt.Fprintf(&notes, "%s: rejected rows are in %s\n", file, show.Printable(f.RejectedFile))
		}
	}
	if unlisted := s.FilesTotal - int64(len(s.Files)); unlisted > 0 {
		fmt.Fprintf(&notes, "%s more not listed; the counts are of all\n", health.Plural(unlisted, "file"))
	}
	if s.FilesLeft > 0 {
		fmt.Fprintf(&notes, "%s left for a later run\n", health.Plural(s.FilesLeft, "file"))
	}
	if s.DryRun {
		notes.WriteString("dry run: nothing was changed or moved\n")
		if len(r.all) > 0 && len(r.opts.Files) == 0 {
			notes.WriteString("dry run: no source was asked; `noggin validate sources` lists what is new there\n")
		}
	}
	_, err := fmt.Fprint(out, notes.String())
	return err
}

func importTable(s importcsv.Summary, people bool, short func(string) string) show.Table {
	t := show.Table{Columns: []show.Column{
		{"file", "File"},
		{"object_type", "Form"},
		{"rows", "Rows"},
		{"new", "New"},
		{"known", "Known"},
		{"corrected", "Corrected"},
		{"updated", "Updated"},
		{"rejected", "Rejected"},
		{"warnings", "Warnings"},
		{"outcome", "Outcome"},
		{"moved_to", "Moved to"},
	}}
	if people {
		t.Spare = []string{"Corrected", "Updated", "Warnings", "Known", "Moved to", "Rows"}
	} else { // people read it in the notes
		t.Columns = append(t.Columns, show.Column{"skipped", "Skipped"}, show.Column{"conflicting", "Conflicting"}, show.Column{"other_id", "Other id"})
	}
	for _, f := range s.Files {
		form, moved := f.ObjectType, f.MovedTo
		if f.Kind != sources.KindTips {
			form = f.Kind
		}
		if people {
			moved = short(moved)
			if f.Assumed {
				form += " (assumed)"
			}
		}
		t.Rows = append(t.Rows, []any{show.ID(f.File), form, f.Rows, f.New, f.Known, f.Corrected, f.Updated, f.Rejected, f.Warnings, show.State(f.Outcome), moved, f.Skipped, f.Conflicting, f.OtherID}[:len(t.Columns)])
	}
	return t
}

// shortPath returns path relative to folder when it lies inside, else path.
func shortPath(path, folder string) string {
	if short, err := filepath.Rel(folder, path); path != "" && err == nil && filepath.IsLocal(short) {
		return short
	}
	return path
}
