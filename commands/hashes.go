package commands

import (
	"context"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

func hashesCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "hashes",
		Usage: "names for vehicles, trailers, departments, teams and people",
		Description: `Records refer to vehicles, teams and people by hashes. Their names come from files:
import one, and every record, its columns and its text report, shows the names at
once, without a request to the API.

Examples:
  noggin hashes export-unknown all unknown/     # the weekly procedure:
  noggin hashes import vehicle unknown/unknown_vehicles.csv
  noggin hashes stats                           # is anything left?
  noggin hashes import auto assets.csv          # the platform's own export
  noggin hashes search "MB26"`,
		Subcommands: []*cli.Command{
			hashesImportCommand(env),
			hashesResolveCommand(env),
			hashesSetCommand(env),
			hashesForgetCommand(env),
			hashesExportCommand(env),
			hashesStatsCommand(env),
			hashesListCommand(env),
			hashesSearchCommand(env),
			hashesShowCommand(env),
		},
	}
}

// hashSession opens the database for a command of hashes and makes sure that its
// schema is there. An import may take longer than a statement usually may.
func (env *environment) hashSession(c *cli.Context) (*session, error) {
	s, err := env.openUnbound(c)
	if err != nil {
		return nil, err
	}
	if _, err := s.db.Standing(c.Context); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// entityType checks the argument TYPE; also are words that stand for more than one.
func entityType(types *batch.ObjectTypes, given string, also ...string) (string, error) {
	allowed := append(types.EntityTypes(), also...)
	given = strings.TrimSpace(given)
	if i := slices.IndexFunc(allowed, func(t string) bool { return strings.EqualFold(t, given) }); i >= 0 {
		return allowed[i], nil
	}
	message := "unknown type " + quoted(given)
	if near := nearest(given, allowed); near != "" {
		message += " (did you mean " + near + "?)"
	}
	return "", hint(usagef("%s", message), "one of: "+strings.Join(allowed, ", "))
}

// parseHash checks the argument HASH.
func parseHash(given string) (string, error) {
	hash, ok := batch.ParseTip(strings.TrimSpace(given))
	if !ok {
		return "", usagef("hash %s: want 1 to 64 letters, digits, - or _", quoted(given))
	}
	return hash, nil
}

// heal renews the records whose names changed, with a progress bar.
func (env *environment) heal(c *cli.Context, s *session, run int64) (batch.HealSummary, error) {
	bar := env.progress(c, "records")
	defer bar.finish(env)
	healer := batch.Healer{
		DB: s.db, Types: s.types, Config: s.cfg.batch, Log: env.log, Run: run,
		Progress: func(done, total int) { bar.update(progressState{done: done, total: total}) },
	}
	return healer.Heal(c.Context)
}

// eachHashRow reads the hashes that the filter chooses into a table.
func eachHashRow(ctx context.Context, db *storage.DB, f storage.HashFilter, format string) (table, error) {
	t := table{columns: []column{
		{"hash", "HASH"},
		{"name", "NAME"},
		{"entity_type", "TYPE"},
		{"source", "SOURCE"},
		{"since", "SINCE"},
		{"occurrences", "OCCURRENCES"},
		{"last_seen", "LAST SEEN"},
	}}
	err := db.EachHash(ctx, f, func(r storage.HashRow) error {
		t.rows = append(t.rows, []any{
			sheetText(format, r.Hash), sheetText(format, orNil(r.Name)), r.Type, sheetText(format, orNil(r.Source)),
			orNil(r.Since), orNil(r.Occurrences), orNil(r.LastSeen),
		})
		return nil
	})
	return t, err
}

// orNil is the value that p points to, as a table takes it.
func orNil[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// sheetText keeps a text in CSV from being a formula in a spreadsheet. An import
// takes the apostrophe off again.
func sheetText(format string, value any) any {
	if text, ok := value.(string); ok && format == formatCSV {
		return batch.GuardFormula(text)
	}
	return value
}
