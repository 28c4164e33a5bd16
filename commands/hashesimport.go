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
		Action: func(c *cli.Context) error {
			s, err := env.hashSession(c)
			if err != nil {
				return err
			}
			defer s.close()
			return runHashesImport(c, env, s, c.Args().Get(0), c.Args().Get(1))
		},
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
		return printImport(result, env.output(c))
	}
	run, err := s.db.StartRun(c.Context, commandName(c), readVersion(env.assets.Version).Version)
	if err != nil {
		return err
	}
	if result.NameImportSummary, err = importNames(c, s, in, opts); err == nil {
		result.HealSummary, err = env.heal(c, s, run)
		err = errors.Join(printImport(result, env.output(c)), afterNames("the names are imported", err))
	}
	if err == nil && result.Bad > 0 {
		err = partialf("%d of %d rows could not be used", result.Bad, result.Rows)
	}
	s.endRun(c.Context, env, run, result, err)
	return err
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

// afterNames is the error of a command that did what it says, but could not renew
// every record.
func afterNames(done string, err error) error {
	if err == nil || errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrSchema) {
		return err
	}
	return hint(partialf("%s, but %w", done, err), "`noggin process` and `noggin hashes resolve` go on with it")
}

// printImport prints what an import did.
func printImport(r importResult, out output) error {
	if out.format == formatJSON {
		return out.json(r)
	}
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
		fmt.Fprintf(&b, "note        %d rows are of another kind by their own account: `noggin hashes import auto` goes by it\n", r.Elsewhere)
		if !r.DryRun && r.File != "-" {
			fmt.Fprintf(&b, "            `noggin hashes forget %s --from %s` takes these names back\n", r.Type, quoted(filepath.Base(r.File)))
		}
	}
	if r.DryRun {
		fmt.Fprintf(&b, "would resolve %d unknown hashes and renew %d records; nothing was changed\n", r.Resolved, r.Marked)
	} else {
		fmt.Fprintf(&b, "%-11s %d unknown hashes\n", "resolved", r.Resolved)
		b.WriteString(healLines(r.HealSummary))
	}
	_, err := fmt.Fprint(out, b.String())
	return err
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

// healLines tell people what was renewed.
func healLines(h batch.HealSummary) string {
	text := fmt.Sprintf("%-11s %d records, %d text reports\n", "renewed", h.Healed, h.Reports)
	if held := h.Waiting - int64(h.Failed); held > 0 {
		text += fmt.Sprintf("%-11s %d records are in the hands of another run and are renewed after it\n", "waiting", held)
	}
	return text
}

func hashesSetCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "set",
		Usage:     "give one hash a name and renew every record that shows it",
		ArgsUsage: "TYPE HASH NAME",
		Flags:     []cli.Flag{formatFlag(formatText, formatJSON)},
		Action: func(c *cli.Context) error {
			s, err := env.hashSession(c)
			if err != nil {
				return err
			}
			defer s.close()
			return runHashesSet(c, env, s)
		},
	}
}

func runHashesSet(c *cli.Context, env *environment, s *session) error {
	kind, err := entityType(s.types, c.Args().Get(0))
	if err != nil {
		return err
	}
	hash, err := parseHash(c.Args().Get(1))
	if err != nil {
		return err
	}
	name, err := batch.ParseName(c.Args().Get(2))
	if err != nil {
		return usagef("the name %w", err)
	}
	run, err := s.db.StartRun(c.Context, commandName(c), readVersion(env.assets.Version).Version)
	if err != nil {
		return err
	}
	result := struct {
		Type     string `json:"entity_type"`
		Hash     string `json:"hash"`
		Name     string `json:"name"`
		Outcome  string `json:"outcome"` // new, changed or unchanged
		Resolved int64  `json:"unknown_hashes_resolved"`
		batch.HealSummary
	}{Type: kind, Hash: hash, Name: name, Outcome: "unchanged"}
	done, err := batch.SetName(c.Context, s.db, kind, hash, name)
	if err == nil {
		for _, t := range done.Types {
			if t.New > 0 {
				result.Outcome = "new"
			} else if t.Changed > 0 {
				result.Outcome = "changed"
			}
		}
		result.Resolved = done.Resolved
		result.HealSummary, err = env.heal(c, s, run)
		text := fmt.Sprintf("%-11s %s %s is %s\n%s", result.Outcome, kind, hash, quoted(name), healLines(result.HealSummary))
		err = errors.Join(env.output(c).line(strings.TrimSuffix(text, "\n"), result), afterNames("the name is set", err))
	}
	s.endRun(c.Context, env, run, result, err)
	return err
}

func hashesForgetCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "forget",
		Usage:     "take names back, and renew every record that shows them",
		ArgsUsage: "TYPE|all [HASH…]",
		Description: `For names that were imported as the wrong type, or belong to something else: their
hashes are unknown again, until the right names are imported. TYPE may be all. The
history keeps what was taken back.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", Usage: "every name whose SOURCE in noggin hashes list is `FILE`"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show how many names would go, and from how many records"},
			formatFlag(formatText, formatJSON),
		},
		Action: func(c *cli.Context) error {
			s, err := env.hashSession(c)
			if err != nil {
				return err
			}
			defer s.close()
			f := storage.Forget{Source: filepath.Base(c.String("from")), DryRun: c.Bool("dry-run")}
			if c.String("from") == "" {
				f.Source = ""
			}
			if f.Type, err = entityType(s.types, c.Args().First(), allTypes); err != nil {
				return err
			}
			for _, given := range c.Args().Tail() {
				hash, err := parseHash(given)
				if err != nil {
					return err
				}
				f.Hashes = append(f.Hashes, hash)
			}
			if f.Source == "" && len(f.Hashes) == 0 {
				return usagef("which names? HASH or --from FILE")
			}
			return runHashesForget(c, env, s, f)
		},
	}
}

func runHashesForget(c *cli.Context, env *environment, s *session, f storage.Forget) error {
	result := struct {
		Type   string `json:"entity_type"`
		DryRun bool   `json:"dry_run"`
		storage.Forgotten
		batch.HealSummary
	}{Type: f.Type, DryRun: f.DryRun}
	if f.Type == allTypes {
		f.Type = ""
	}
	var err error
	if f.DryRun {
		if result.Forgotten, err = s.db.ForgetNames(c.Context, f); err != nil {
			return err
		}
		return env.output(c).line(fmt.Sprintf("would forget %d names, of which records refer to %d, and renew %d records; nothing was changed",
			result.Names, result.Unknown, result.Marked), result)
	}
	run, err := s.db.StartRun(c.Context, commandName(c), readVersion(env.assets.Version).Version)
	if err != nil {
		return err
	}
	if result.Forgotten, err = s.db.ForgetNames(c.Context, f); err == nil {
		result.HealSummary, err = env.heal(c, s, run)
		text := fmt.Sprintf("%-11s %d names; %d hashes are unknown again\n%s", "forgotten", result.Names, result.Unknown, healLines(result.HealSummary))
		err = errors.Join(env.output(c).line(strings.TrimSuffix(text, "\n"), result), afterNames("the names are forgotten", err))
	}
	s.endRun(c.Context, env, run, result, err)
	return err
}

func hashesResolveCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "resolve",
		Usage: "renew every record that still shows an old name or none",
		Description: `An import renews the records itself. This finishes the work of one that was killed,
and takes up names that came into the database by another way.`,
		Flags: []cli.Flag{formatFlag(formatText, formatJSON)},
		Action: func(c *cli.Context) error {
			s, err := env.hashSession(c)
			if err != nil {
				return err
			}
			defer s.close()
			return runHashesResolve(c, env, s)
		},
	}
}

func runHashesResolve(c *cli.Context, env *environment, s *session) error {
	run, err := s.db.StartRun(c.Context, commandName(c), readVersion(env.assets.Version).Version)
	if err != nil {
		return err
	}
	var result struct {
		Resolved int64 `json:"unknown_hashes_resolved"`
		batch.HealSummary
	}
	if result.Resolved, err = s.db.ResolveKnown(c.Context); err == nil {
		result.HealSummary, err = env.heal(c, s, run)
		text := fmt.Sprintf("%-11s %d unknown hashes\n%s", "resolved", result.Resolved, healLines(result.HealSummary))
		err = errors.Join(env.output(c).line(strings.TrimSuffix(text, "\n"), result), afterNames("what could be renewed is", err))
	}
	s.endRun(c.Context, env, run, result, err)
	return err
}
