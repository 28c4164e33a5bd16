package commands

import (
	"context"
	"errors"
	"fmt"
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

// withHashes is the action of a command of hashes, which do is.
func (env *environment) withHashes(do func(c *cli.Context, s *session) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		s, err := env.openReady(c)
		if err != nil {
			return err
		}
		defer s.close()
		return do(c, s)
	}
}

// typeOrAll checks the argument TYPE|all; all is "".
func typeOrAll(types *batch.ObjectTypes, given string) (string, error) {
	kind, err := entityType(types, given, allTypes)
	if kind == allTypes {
		kind = ""
	}
	return kind, err
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

// namesChanged says what a change to the names did.
type namesChanged struct {
	text    string // the lines for people
	done    string // "the names are imported": begins the error where not every record could be renewed
	partial error  // what is wrong although the names are changed
}

// changeNames changes names, as a run of its own, renews the records that show them,
// and prints result, of which renewed is a part.
func (env *environment) changeNames(c *cli.Context, s *session, result any, renewed *batch.HealSummary, change func() (namesChanged, error)) error {
	run, err := s.db.StartRun(c.Context, commandName(c), readVersion(env.assets.Version).Version)
	if err != nil {
		return err
	}
	changed, err := change()
	if err == nil {
		*renewed, err = env.heal(c, s, run)
		err = errors.Join(env.output(c).line(changed.text+healText(*renewed), result), afterNames(changed.done, err))
	}
	if err == nil {
		err = changed.partial
	}
	s.endRun(c.Context, env, run, result, err)
	return err
}

// afterNames is the error of a command that did what it says, but could not renew
// every record.
func afterNames(done string, err error) error {
	if err == nil || errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrSchema) {
		return err
	}
	return hint(partialf("%s, but %w", done, err), "`noggin process` and `noggin hashes resolve` go on with it")
}

// healText tells people what was renewed.
func healText(h batch.HealSummary) string {
	text := fmt.Sprintf("%-11s %s, %s", "renewed", plural(h.Healed, "record"), plural(h.Reports, "text report"))
	if held := h.Waiting - int64(h.Failed); held > 0 {
		text += fmt.Sprintf("\n%-11s %s in the hands of another run, to be renewed after it", "waiting", plural(held, "record"))
	}
	return text
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
			sheetText(format, r.Hash), sheetText(format, value(r.Name)), r.Type, sheetText(format, value(r.Source)),
			value(r.Since), value(r.Occurrences), value(r.LastSeen),
		})
		return nil
	})
	return t, err
}

// sheetText keeps a text in CSV from being a formula in a spreadsheet. An import
// takes the apostrophe off again.
func sheetText(format string, value any) any {
	if text, ok := value.(string); ok && format == formatCSV {
		return batch.GuardFormula(text)
	}
	return value
}
