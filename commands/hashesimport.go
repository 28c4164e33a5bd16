package commands

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

// shownBadRows is how many bad rows are printed for people; JSON has more.
const shownBadRows = 20

// importResult is what `noggin hashes import` prints.
type importResult struct {
	Type string `json:"entity_type"`
	File string `json:"file"`
	batch.NameImportSummary
	batch.HealSummary
}

func hashesImportCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "import a CSV file of names and renew every record that shows them",
		ArgsUsage: "TYPE|auto FILE",
		Description: `The file begins with hash,name or TIP,VALUE, or is the platform's export of assets
or sites; - reads stdin. Rows without a name are skipped. With TYPE auto each row's
own kind decides: assetType, siteType (see [hashes] in the configuration), or
entity_type as in noggin's own export of all types.

Nothing is imported unless the whole file can be read; rows that cannot be used are
listed, and the exit code is 3.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would change, and in how many records"},
			formatFlag(formatText, formatJSON),
		},
		Action: env.withHashes(func(c *cli.Context, s *session) error {
			return runHashesImport(c, env, s, c.Args().Get(0), c.Args().Get(1))
		}),
	}
}

func runHashesImport(c *cli.Context, env *environment, s *session, given, name string) error {
	kind, err := entityType(s.types, given, batch.AutoType)
	if err != nil {
		return err
	}
	in, source := env.in, "stdin"
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("read the names: %w", err)
		}
		defer func() { _ = file.Close() }() // it was only read
		in, source = file, filepath.Base(name)
	}
	opts := batch.NameImportOptions{EntityType: kind, Source: source, DryRun: c.Bool("dry-run")}
	result := importResult{Type: kind, File: name}
	if opts.DryRun {
		if result.NameImportSummary, err = importNames(c, s, in, opts); err != nil {
			return err
		}
		return env.output(c).line(importText(result)+fmt.Sprintf("would resolve %s and renew %s; nothing was changed",
			plural(result.Resolved, "unknown hash"), plural(result.Marked, "record")), result)
	}
	return env.changeNames(c, s, &result, &result.HealSummary, func() (changed namesChanged, err error) {
		result.NameImportSummary, err = importNames(c, s, in, opts)
		changed = namesChanged{
			text: importText(result) + fmt.Sprintf("%-11s %s\n", "resolved", plural(result.Resolved, "unknown hash")),
			done: "the names are imported",
		}
		if result.Bad > 0 {
			changed.partial = partialf("%d of %d rows could not be used", result.Bad, result.Rows)
		}
		return changed, err
	})
}

func importNames(c *cli.Context, s *session, in io.Reader, opts batch.NameImportOptions) (batch.NameImportSummary, error) {
	summary, err := batch.ImportNames(c.Context, s.db, s.types, s.cfg.batch.Hashes, in, opts)
	switch {
	case errors.Is(err, batch.ErrNoKinds):
		return summary, usagef("%s: %w", opts.Source, err)
	case err != nil:
		return summary, hint(fmt.Errorf("%s: %w", opts.Source, err), "nothing was imported")
	}
	return summary, nil
}

// importText tells people what became of the rows of an import.
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
		count("skipped", r.Skipped(), skippedNotes(r.NameImportSummary)...)
	}
	if r.Bad > 0 {
		count("bad", r.Bad)
		for i, row := range r.BadRows {
			if i == shownBadRows {
				fmt.Fprintf(&b, "  … and %d more\n", r.Bad-shownBadRows)
				break
			}
			fmt.Fprintf(&b, "  line %d: %s\n", row.Line, printable(row.Reason))
		}
	}
	if r.Elsewhere > 0 {
		fmt.Fprintf(&b, "note        %s of another kind by their own account: `noggin hashes import auto` goes by it\n", plural(r.Elsewhere, "row"))
		if !r.DryRun && r.File != "-" {
			fmt.Fprintf(&b, "            `noggin hashes forget %s --from %s` takes these names back\n", r.Type, quoted(filepath.Base(r.File)))
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

func skippedNotes(s batch.NameImportSummary) []string {
	var notes []string
	if s.NoName > 0 {
		notes = append(notes, fmt.Sprintf("%d without a name", s.NoName))
	}
	if s.Repeated > 0 {
		notes = append(notes, fmt.Sprintf("%d repeated", s.Repeated))
	}
	for _, kind := range slices.Sorted(maps.Keys(s.LeftKinds)) {
		notes = append(notes, fmt.Sprintf("%d of the kind %s", s.LeftKinds[kind], quoted(kind)))
	}
	return notes
}
