package commands

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/export"
	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/batch/seal"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func exportCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "hand records over: a folder or ZIP with pages, photographs and their hashes",
		ArgsUsage: "DIR|FILE.zip",
		Description: `Writes what the filters choose, or with --all everything, for people who have no
noggin: open index.html in any browser. The folder or ZIP is a BagIt bag: whoever gets
it checks it with ` + "`noggin validate bag DIR`" + `, or in it with sha256sum -c manifest-sha256.txt.

DIR is new or empty. An export to a folder that was interrupted goes on when the same
command is given again; a ZIP begins anew. Archived photographs are read from their
archives. Originals are compared with the hashes in the database; what differs or is
missing is left out and told, and the command ends with 3. What ` + "`noggin seal`" + ` has
sealed comes with its proofs, which ` + "`noggin validate bag DIR --public-key KEY`" + ` checks.

Examples:
  noggin export --vehicle '2VOU 089' --from 2025-01-01 evidence
  noggin export --tip 'LCD - 045289' --payload LCD-045289.zip
  noggin export --all --no-photos overview`,
		Flags: append(session.SelectorFlags(exportFlags()...),
			&cli.BoolFlag{Name: "all", Usage: "all records"},
			&cli.BoolFlag{Name: "no-photos", Usage: "without attachments; the pages list them with their hashes"},
			&cli.BoolFlag{Name: "payload", Usage: "with every version as the platform gave it, which holds the tenant's namespace"},
			cmdline.FormatFlag(show.Text, show.JSON)),
		Action: func(c *cli.Context) error {
			words := selection(c)
			if c.Bool("all") == (words != "") {
				return cmdline.Usagef("give either filters or --all")
			}
			s, err := open.Ready(c)
			if err != nil {
				return err
			}
			defer s.Close()
			opts := export.Options{Target: c.Args().First(), Selection: words, NoPhotos: c.Bool("no-photos"), Payload: c.Bool("payload")}
			if words == "" {
				opts.Selection = "all records"
			}
			if opts.Selector, err = s.Selector(c); err != nil {
				return err
			}
			return runExport(c, s, opts, s.Output(c))
		},
	}
}

// exportFlags are the names of the selector's flags that export takes.
func exportFlags() []string {
	return append(session.InspectionFlags(), "tip", "object-type", "status", "since", "unknown-hashes")
}

// selection is the given filters in words, empty without any.
func selection(c *cli.Context) string {
	var words []string
	for _, flag := range session.SelectorFlags(exportFlags()...) {
		name := flag.Names()[0]
		if !c.IsSet(name) {
			continue
		}
		switch flag.(type) {
		case *cli.BoolFlag:
			if c.Bool(name) {
				words = append(words, "--"+name)
			}
		case *cli.StringSliceFlag:
			for _, value := range c.StringSlice(name) {
				words = append(words, "--"+name+" "+files.ShellQuoted(value))
			}
		default:
			words = append(words, "--"+name+" "+files.ShellQuoted(c.String(name)))
		}
	}
	return strings.Join(words, " ")
}

func runExport(c *cli.Context, s *session.Session, opts export.Options, out show.Output) error {
	zone, err := s.Config.Batch.Location()
	if err != nil {
		return err
	}
	bar := s.Console.Progress(c, "records")
	exporter := &export.Exporter{
		DB: s.DB, Types: s.Types, Paths: s.Config.Batch.Paths, Location: zone, Version: s.Version, Log: s.Log,
		Progress: func(p export.Progress) {
			bar.Update(session.State{Done: p.Done, Total: p.Total, Bytes: p.Bytes, Note: p.Note})
		},
		Proofs: func(ctx context.Context, entries func(fn func(export.Entry) error) error, file func(string, func(io.Writer) error) error) error {
			records := func(fn func(seal.Bagged) error) error {
				return entries(func(e export.Entry) error { return fn(seal.Bagged{Tip: e.Tip, Leaves: *e.Leaves}) })
			}
			return seal.BagProofs(ctx, s.DB, records, file)
		},
	}
	summary, err := exporter.Export(c.Context, opts)
	bar.Finish()
	if err != nil {
		return exportHint(err, summary)
	}
	if out.Format == show.JSON {
		err = out.JSON(summary)
	} else {
		err = printExported(out, summary)
	}
	if err != nil {
		return err
	}
	return notExported(summary)
}

// notExported is the error of an export that lacks something.
func notExported(s export.Summary) error {
	switch {
	case s.Selected == 0:
		return cmdline.Partialf("no record that was fetched is selected: the export is empty")
	case s.ProblemCount > 0 || s.Unanswered > 0 || s.Gone > 0:
		return cmdline.Partialf("not exported: %s, %s", health.Plural(s.ProblemCount, "file"), health.Plural(s.Unanswered+s.Gone, "record"))
	}
	return nil
}

// exportHint says what to do about a target that cannot be used, or an export that was
// interrupted.
func exportHint(err error, s export.Summary) error {
	for _, target := range []error{export.ErrNotEmpty, export.ErrFinished, export.ErrOthers, export.ErrInside, fs.ErrExist} {
		if errors.Is(err, target) {
			return cmdline.Usagef("%w", err)
		}
	}
	if s.Records > 0 && !strings.EqualFold(filepath.Ext(s.Target), ".zip") {
		return cmdline.Hint(err, "the same command goes on with "+show.Quoted(s.Target)+", which has "+health.Plural(s.Records, "record")+" already")
	}
	return err
}

func printExported(w io.Writer, s export.Summary) error {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s%s\n", label, show.Printable(fmt.Sprintf(format, args...)))
	}
	line("exported", "%s, %s, %s", health.Plural(s.Records, "record"), health.Plural(s.Files, "file"), show.Size(s.Bytes).Human())
	if s.Resumed > 0 {
		line("", "%s of an earlier run were there, and compared", health.Plural(s.Resumed, "record"))
	}
	line("to", "%s", s.Target)
	if s.Unanswered > 0 {
		line("not yet", "%s that were not fetched yet: `noggin report queue`", health.Plural(s.Unanswered, "record"))
	}
	if s.Gone > 0 {
		line("gone", "%s that were selected and then deleted from the database", health.Plural(s.Gone, "record"))
	}
	for _, problem := range slices.Compact(s.Problems) {
		line("missing", "%s", problem)
	}
	if more := s.ProblemCount - len(s.Problems); more > 0 {
		line("", "and %d more; the pages say which", more)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
