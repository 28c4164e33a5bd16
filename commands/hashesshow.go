package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/storage"
)

func hashesStatsCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "stats",
		Usage: "count the known and unknown hashes of each type, and the records affected",
		Flags: []cli.Flag{formatFlag(formatText, formatJSON, formatCSV)},
		Action: env.withHashes(func(c *cli.Context, s *session) error {
			return runHashesStats(c.Context, s, env.output(c))
		}),
	}
}

// runHashesStats prints a line for each type that records refer to, also where there
// is nothing of it yet.
func runHashesStats(ctx context.Context, s *session, out output) error {
	stats, err := s.db.HashStats(ctx)
	if err != nil {
		return err
	}
	stats.Types = inOrder(s.types.EntityTypes(), stats.Types)
	if out.format == formatJSON {
		return out.json(stats)
	}
	t := table{columns: []column{
		{"entity_type", "TYPE"},
		{"known", "KNOWN"},
		{"unknown", "UNKNOWN"},
		{"resolved_last_7_days", "RESOLVED, 7 DAYS"},
		{"records_affected", "RECORDS AFFECTED"},
	}}
	for _, n := range stats.Types {
		t.rows = append(t.rows, []any{n.Type, n.Known, n.Unknown, n.Resolved, n.Records})
	}
	if err := out.table(t); err != nil || out.format == formatCSV {
		return err
	}
	_, err = fmt.Fprintf(out, "\nrecords with unknown hashes  %d\nrecords to renew             %d\n", stats.Records, stats.Stale)
	return err
}

// inOrder puts the counts in the order of the types, each there even if nothing of it
// is; then come types that are no longer configured.
func inOrder(types []string, counts []storage.HashCounts) []storage.HashCounts {
	ordered := make([]storage.HashCounts, len(types))
	for i, t := range types {
		ordered[i].Type = t
	}
	for _, n := range counts {
		if i := slices.Index(types, n.Type); i >= 0 {
			ordered[i] = n
		} else {
			ordered = append(ordered, n)
		}
	}
	return ordered
}

func hashesListCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "list",
		Usage:     "list the hashes of a type with their names, the unknown ones last",
		ArgsUsage: "TYPE|all",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "known", Usage: "only those with a name"},
			&cli.BoolFlag{Name: "unknown", Usage: "only those without"},
			numberFlag("limit", "at most `N`; 0: all", 0, 0, "all"),
			formatFlag(formatText, formatJSON, formatCSV),
		},
		Action: env.withHashes(func(c *cli.Context, s *session) error {
			kind, err := typeOrAll(s.types, c.Args().Get(0))
			if err != nil {
				return err
			}
			f := storage.HashFilter{Type: kind, Known: c.Bool("known"), Unknown: c.Bool("unknown"), Limit: c.Int("limit")}
			if f.Known && f.Unknown {
				return usagef("--known and --unknown exclude each other")
			}
			return runHashesList(c.Context, s.db, f, env.output(c), "no such hashes")
		}),
	}
}

func hashesSearchCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "search",
		Usage:     "find hashes by a part of the name or the beginning of the hash",
		ArgsUsage: "TEXT",
		Flags: []cli.Flag{
			numberFlag("limit", "at most `N`; 0: all", 0, 100, ""),
			formatFlag(formatText, formatJSON, formatCSV),
		},
		Action: env.withHashes(func(c *cli.Context, s *session) error {
			text := strings.TrimSpace(c.Args().First())
			if text == "" {
				return usagef("nothing to search for")
			}
			return runHashesList(c.Context, s.db, storage.HashFilter{Text: text, Limit: c.Int("limit")}, env.output(c), "nothing found")
		}),
	}
}

// runHashesList prints the hashes that the filter chooses, or for people what to say
// when there are none.
func runHashesList(ctx context.Context, db *storage.DB, f storage.HashFilter, out output, none string) error {
	t, err := eachHashRow(ctx, db, f, out.format)
	if err != nil {
		return err
	}
	if len(t.rows) == 0 && out.format == formatText {
		_, err := fmt.Fprintln(out, none)
		return err
	}
	return out.table(t)
}

// shownHash is what `noggin hashes show` prints.
type shownHash struct {
	Hash    string               `json:"hash"`
	Types   []any                `json:"types"` // as in `noggin hashes list`
	History []storage.FormerName `json:"history"`
	Total   int64                `json:"records_total"`
	Records []any                `json:"records"`
}

func hashesShowCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show a hash: its name and type, former names, and the records that use it",
		ArgsUsage: "HASH",
		Flags: []cli.Flag{
			numberFlag("limit", "at most `N` records; 0: all", 0, 20, ""),
			formatFlag(formatText, formatJSON, formatCSV),
		},
		Action: env.withHashes(func(c *cli.Context, s *session) error {
			hash, err := parseHash(c.Args().First())
			if err != nil {
				return err
			}
			return runHashesShow(c.Context, s.db, hash, c.Int("limit"), env.output(c))
		}),
	}
}

func runHashesShow(ctx context.Context, db *storage.DB, hash string, limit int, out output) error {
	entities, err := eachHashRow(ctx, db, storage.HashFilter{Hash: hash}, out.format)
	if err != nil {
		return err
	}
	former, err := db.HashHistory(ctx, hash)
	if err != nil {
		return err
	}
	uses, total, err := db.HashUses(ctx, hash, limit)
	if err != nil {
		return err
	}
	if len(entities.rows) == 0 && total == 0 && len(former) == 0 {
		return hint(fmt.Errorf("no name and no record has the hash %s", hash), "`noggin hashes search` finds hashes by their beginning")
	}
	records := usesTable(uses, out.format)
	switch out.format {
	case formatJSON:
		shown := shownHash{Hash: hash, Types: []any{}, History: append([]storage.FormerName{}, former...), Total: total, Records: []any{}}
		for _, o := range entities.objects() {
			shown.Types = append(shown.Types, o)
		}
		for _, o := range records.objects() {
			shown.Records = append(shown.Records, o)
		}
		return out.json(shown)
	case formatCSV:
		return out.table(records)
	}
	return showHash(entities, former, records, total, out)
}

func showHash(entities table, former []storage.FormerName, records table, total int64, out output) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(out, format, args...)
		errs = append(errs, err)
	}
	if len(entities.rows) > 0 {
		errs = append(errs, out.table(entities))
	}
	if len(former) > 0 {
		names := table{columns: []column{{"name", "FORMER NAME"}, {"entity_type", "TYPE"}, {"source", "SOURCE"}, {"valid_from", "FROM"}, {"replaced_at", "UNTIL"}}}
		for _, f := range former {
			names.rows = append(names.rows, []any{f.Name, f.Type, f.Source, f.From, f.Until})
		}
		say("\n")
		errs = append(errs, out.table(names))
	}
	say("\nused by %s\n", plural(total, "record"))
	if len(records.rows) > 0 {
		errs = append(errs, out.table(records))
	}
	if shown := countRecords(records); int64(shown) < total {
		say("… and %d more (--limit 0 shows all)\n", total-int64(shown))
	}
	return errors.Join(errs...)
}

func usesTable(uses []storage.HashUse, format string) table {
	t := table{columns: []column{
		{"tip", "TIP"},
		{"inspection_id", "INSPECTION ID"},
		{"inspection_date", "DATE"},
		{"object_type", "FORM"},
		{"processing_status", "STATUS"},
		{"field_name", "FIELD"},
		{"entity_type", "AS"},
	}}
	for _, u := range uses {
		var day any
		if u.Date != nil {
			day = u.Date.Format(time.DateOnly)
		}
		t.rows = append(t.rows, []any{sheetText(format, u.Tip), sheetText(format, value(u.InspectionID)), day, u.ObjectType, u.Status, u.Field, u.Type})
	}
	return t
}

// countRecords counts the records in a table of uses: one may use a hash in several
// fields.
func countRecords(t table) int {
	seen := map[any]bool{}
	for _, row := range t.rows {
		seen[row[0]] = true
	}
	return len(seen)
}
