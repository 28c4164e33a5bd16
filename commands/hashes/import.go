package hashes

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/batch/names"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

// shownBadRows is how many bad rows are printed for people; JSON has more.
const shownBadRows = 20

// importResult is what `noggin hashes import` prints.
type importResult struct {
	Type string `json:"entity_type"`
	File string `json:"file"`
	names.ImportSummary
	names.HealSummary
}

func importCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "import a CSV file of names and renew every record that shows them",
		ArgsUsage: "TYPE|auto FILE",
		Description: `The file begins with hash,name or TIP,VALUE, or is the platform's export of assets
or sites; - reads stdin. Rows without a name are skipped. With TYPE auto each row's
own kind decides: assetType, siteType (see [hashes] in the configuration), or
entity_type as in noggin's own export of all types.

A hash shows its name whatever the type. When most hashes of the file are known, or
used by records, as another type than TYPE, the command asks first; without a terminal
it needs --yes.

Nothing is imported unless the whole file can be read; rows that cannot be used are
listed, and the exit code is 3.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would change, and in how many records"},
			&cli.BoolFlag{Name: "yes", Usage: "do not ask when most hashes belong to another type"},
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: withSession(open, func(c *cli.Context, s *session.Session) error {
			return runImport(c, s, c.Args().Get(0), c.Args().Get(1))
		}),
	}
}

func runImport(c *cli.Context, s *session.Session, given, name string) error {
	kind, err := entityType(s.Types, given, names.AutoType)
	if err != nil {
		return err
	}
	in, source := files.Interruptible(c.Context, c.App.Reader), "stdin"
	if name != "-" {
		file, _, err := files.OpenNamed(c.Context, name)
		if err != nil {
			return fmt.Errorf("read the names: %w", err)
		}
		defer files.Release(file)
		in, source = file, filepath.Base(name)
	}
	again, isFile := in.(io.Seeker)
	opts := names.ImportOptions{EntityType: kind, Source: source, DryRun: c.Bool("dry-run"), AnyType: c.Bool("yes")}
	err = importFrom(c, s, in, name, opts)
	other, ok := errors.AsType[*storage.OtherTypeError](err)
	switch {
	case !ok:
		return err
	case !isFile: // its names are read already
		return cmdline.Hint(fmt.Errorf("%w; nothing was imported", err), "--yes imports them all the same")
	}
	if err := s.Console.Confirm(c.Context, fmt.Sprintf("%s: %s. Import them as %s all the same?", show.Printable(source), other.Error(), kind), false); err != nil {
		return err
	}
	if _, err := again.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the names again: %w", err)
	}
	opts.AnyType = true
	return importFrom(c, s, in, name, opts)
}

// importFrom imports the names of in, which is called name.
func importFrom(c *cli.Context, s *session.Session, in io.Reader, name string, opts names.ImportOptions) (err error) {
	result := importResult{Type: opts.EntityType, File: name}
	if opts.DryRun {
		if result.ImportSummary, err = importNames(c, s, in, opts); err != nil {
			return err
		}
		err = cmdline.Output(c).Line(importText(result)+fmt.Sprintf("would resolve %s and renew %s; nothing was changed",
			health.Plural(result.Resolved, "unknown hash"), health.Plural(result.Marked, "record")), result)
		return cmp.Or(err, unusable(result.ImportSummary))
	}
	return changeNames(c, s, &result, &result.HealSummary, func() (changed namesChanged, err error) {
		result.ImportSummary, err = importNames(c, s, in, opts)
		return namesChanged{
			text:    importText(result) + fmt.Sprintf("%-11s %s\n", "resolved", health.Plural(result.Resolved, "unknown hash")),
			done:    "the names are imported",
			partial: unusable(result.ImportSummary),
		}, err
	})
}

// unusable is the error of an import that left rows out because they cannot be used.
func unusable(s names.ImportSummary) error {
	if s.Bad == 0 {
		return nil
	}
	return cmdline.Partialf("%d of %d rows could not be used", s.Bad, s.Rows)
}

func importNames(c *cli.Context, s *session.Session, in io.Reader, opts names.ImportOptions) (names.ImportSummary, error) {
	opts.AnyHash = s.Config.Batch.Import.AnyTip
	summary, err := names.Import(c.Context, s.DB, s.Types, s.Config.Batch.Hashes, in, opts)
	switch {
	case errors.Is(err, names.ErrNoKinds), isOtherType(err):
		return summary, cmdline.Usagef("%s: %w", opts.Source, err)
	case err != nil:
		return summary, cmdline.Hint(fmt.Errorf("%s: %w", opts.Source, err), "nothing was imported")
	}
	if summary.Unended {
		s.Log.Warn("a file without a line end at its end is imported: is it whole?", "file", opts.Source)
	}
	return summary, nil
}

func isOtherType(err error) bool {
	_, is := errors.AsType[*storage.OtherTypeError](err)
	return is
}

// importText describes what became of the rows of an import.
func importText(r importResult) string {
	var b strings.Builder
	count := func(label string, n int64, notes ...string) {
		line := fmt.Sprintf("%-11s %d", label, n)
		if len(notes) > 0 {
			line += ": " + strings.Join(notes, ", ")
		}
		b.WriteString(line + "\n")
	}
	count("rows", int64(r.Rows))
	count("new", r.New, perType(r.Types, func(t storage.TypeCounts) int64 { return t.New })...)
	count("changed", r.Changed, perType(r.Types, func(t storage.TypeCounts) int64 { return t.Changed })...)
	count("unchanged", r.Unchanged)
	if r.Skipped() > 0 {
		count("skipped", r.Skipped(), skippedNotes(r.ImportSummary)...)
	}
	if r.Bad > 0 {
		count("bad", r.Bad)
		for i, row := range r.BadRows {
			if i == shownBadRows {
				fmt.Fprintf(&b, "  … and %d more\n", r.Bad-shownBadRows)
				break
			}
			fmt.Fprintf(&b, "  line %d: %s\n", row.Line, show.Printable(row.Reason))
		}
	}
	if r.OtherType != "" {
		fmt.Fprintf(&b, "note        %s; the import asks first, or needs --yes\n", show.Printable(r.OtherType))
	}
	if r.Elsewhere > 0 {
		fmt.Fprintf(&b, "note        %s of another kind by their own account: `noggin hashes import auto FILE` goes by it\n", health.Plural(r.Elsewhere, "row"))
		if !r.DryRun && r.File != "-" {
			fmt.Fprintf(&b, "            `noggin hashes forget %s --from %s` takes these names back\n", r.Type, files.ShellQuoted(show.Printable(filepath.Base(r.File))))
		}
	}
	return b.String()
}

// perType lists the counts by type, where there are several types.
func perType(types []storage.TypeCounts, count func(storage.TypeCounts) int64) []string {
	var notes []string
	for _, t := range types {
		if n := count(t); n > 0 && len(types) > 1 {
			notes = append(notes, fmt.Sprintf("%d %s", n, t.Type))
		}
	}
	return notes
}

func skippedNotes(s names.ImportSummary) []string {
	var notes []string
	if s.NoName > 0 {
		notes = append(notes, fmt.Sprintf("%d without a name", s.NoName))
	}
	if s.Repeated > 0 {
		notes = append(notes, fmt.Sprintf("%d repeated", s.Repeated))
	}
	if s.Headers > 0 {
		notes = append(notes, fmt.Sprintf("%d that repeat the header", s.Headers))
	}
	for _, kind := range slices.Sorted(maps.Keys(s.LeftKinds)) {
		notes = append(notes, fmt.Sprintf("%d of the kind %s", s.LeftKinds[kind], show.Quoted(kind)))
	}
	return notes
}
