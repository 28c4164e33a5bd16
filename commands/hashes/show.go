package hashes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

// shownHash is what `noggin hashes show` prints.
type shownHash struct {
	Hash    string               `json:"hash"`
	Types   []any                `json:"types"` // as in `noggin hashes list`
	History []storage.FormerName `json:"history"`
	Total   int64                `json:"records_total"`
	Records []any                `json:"records"`
}

func showCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "show a hash: its name and type, former names, and the records that use it",
		ArgsUsage: "HASH",
		Flags: []cli.Flag{
			cmdline.NumberFlag("limit", "at most `N` records; 0: all", 0, 20, ""),
			cmdline.FormatFlag(show.Text, show.JSON, show.CSV),
		},
		Action: withSession(open, func(c *cli.Context, s *session.Session) error {
			hash, err := wholeHash(c.Context, s.DB, c.Args().First())
			if err != nil {
				return err
			}
			return runShow(c.Context, s.DB, hash, c.Int("limit"), s.Output(c))
		}),
	}
}

func runShow(ctx context.Context, db *storage.DB, hash string, limit int, out show.Output) error {
	entities, err := eachHashRow(ctx, db, storage.HashFilter{Hash: hash}, out.Format)
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
	if len(entities.Rows) == 0 && total == 0 && len(former) == 0 {
		near, err := db.NearHashes(ctx, hash)
		if err != nil {
			return err
		}
		return cmdline.Near(cmdline.Hint(cmdline.Usagef("no name and no record has the hash %s", hash), "`noggin hashes search TEXT` finds hashes by their beginning"), near)
	}
	records := usesTable(uses, out.Format)
	switch out.Format {
	case show.JSON:
		shown := shownHash{Hash: hash, Types: []any{}, History: append([]storage.FormerName{}, former...), Total: total, Records: []any{}}
		for _, o := range entities.Objects() {
			shown.Types = append(shown.Types, o)
		}
		for _, o := range records.Objects() {
			shown.Records = append(shown.Records, o)
		}
		return out.JSON(shown)
	case show.CSV:
		return out.Table(records)
	}
	return showHash(hash, entities, former, records, total, out)
}

func showHash(hash string, entities show.Table, former []storage.FormerName, records show.Table, total int64, out show.Output) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(out, format, args...)
		errs = append(errs, err)
	}
	say("hash  %s\n\n", hash)
	if len(entities.Rows) > 0 {
		errs = append(errs, out.Table(entities))
	}
	if len(former) > 0 {
		names := show.Table{Columns: []show.Column{{"name", "Former name"}, {"entity_type", "Type"}, {"source", "Source"}, {"valid_from", "From"}, {"replaced_at", "Until"}}, Spare: []string{"Source", "Type", "From"}}
		for _, f := range former {
			names.Rows = append(names.Rows, []any{f.Name, f.Type, f.Source, f.From, f.Until})
		}
		say("\n")
		errs = append(errs, out.Table(names))
	}
	say("\nused by %s\n", health.Plural(total, "record"))
	if len(records.Rows) > 0 {
		errs = append(errs, out.Table(records))
	}
	if shown := countRecords(records); int64(shown) < total {
		errs = append(errs, out.Hint(show.Textf("There are %d more: --limit 0 shows all.", total-int64(shown))))
	}
	return errors.Join(errs...)
}

func usesTable(uses []storage.HashUse, format string) show.Table {
	t := show.Table{Columns: []show.Column{
		{"tip", "Tip"},
		{"inspection_id", "Inspection"},
		{"inspection_date", "Date"},
		{"object_type", "Form"},
		{"processing_status", "Status"},
		{"field_name", "Field"},
		{"entity_type", "As"},
	}, Spare: []string{"As", "Form", "Status", "Date", "Field"}}
	for _, u := range uses {
		var day any
		if u.Date != nil {
			day = u.Date.Format(time.DateOnly)
		}
		t.Rows = append(t.Rows, []any{hashCell(format, u.Tip), show.Name[show.ID](u.InspectionID), day, u.ObjectType, show.State(u.Status), u.Field, u.Type})
	}
	return t
}

// countRecords counts the records in a table of uses: one may use a hash in several
// fields.
func countRecords(t show.Table) int {
	seen := map[any]bool{}
	for _, row := range t.Rows {
		seen[row[0]] = true
	}
	return len(seen)
}
