package hashes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/csvfile"
	"noggin/batch/forms"
	"noggin/batch/health"
	"noggin/batch/names"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

// Command is noggin hashes with its commands.
func Command(open *session.Opener) *cli.Command {
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
  noggin hashes fetch                           # ask the API for the rest
  noggin hashes search "MB26"`,
		Subcommands: []*cli.Command{
			importCommand(open),
			fetchCommand(open),
			resolveCommand(open),
			setCommand(open),
			forgetCommand(open),
			exportUnknownCommand(open),
			statsCommand(open),
			listCommand(open),
			searchCommand(open),
			showCommand(open),
		},
	}
}

// withSession opens a session and runs do.
func withSession(open *session.Opener, do func(c *cli.Context, s *session.Session) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		s, err := open.Ready(c)
		if err != nil {
			return err
		}
		defer s.Close()
		return do(c, s)
	}
}

// typeOrAll checks the argument TYPE|all; all is "".
func typeOrAll(types *forms.ObjectTypes, given string) (string, error) {
	kind, err := entityType(types, given, allTypes)
	if kind == allTypes {
		kind = ""
	}
	return kind, err
}

// entityType checks the argument TYPE; also lists words that stand for several types.
func entityType(types *forms.ObjectTypes, given string, also ...string) (string, error) {
	allowed := append(types.EntityTypes(), also...)
	given = strings.TrimSpace(given)
	if i := slices.IndexFunc(allowed, func(t string) bool { return strings.EqualFold(t, given) }); i >= 0 {
		return allowed[i], nil
	}
	message := "unknown type " + show.Quoted(given)
	if near := cmdline.Nearest(given, allowed); near != "" {
		message += " (did you mean " + near + "?)"
	}
	return "", cmdline.Hint(cmdline.Usagef("%s", message), "one of: "+strings.Join(allowed, ", "))
}

// parseHash checks the argument HASH.
func parseHash(given string) (string, error) {
	hash, ok := forms.ParseTip(strings.TrimSpace(given))
	if !ok {
		return "", cmdline.Usagef("hash %s: want 1 to 64 letters, digits, - or _", show.Quoted(given))
	}
	return hash, nil
}

// hashArgument checks the argument HASH: a hash that the database knows, the beginning
// of one, or a new one with the platform's 64 digits. Anything else was mistyped.
func hashArgument(ctx context.Context, db *storage.DB, given string) (string, error) {
	hash, err := wholeHash(ctx, db, given)
	if err != nil || forms.IsPlatformTip(hash) {
		return hash, err
	}
	known, err := db.KnowsHash(ctx, hash)
	if err != nil || known {
		return hash, err
	}
	near, err := db.NearHashes(ctx, hash)
	if err != nil {
		return "", err
	}
	return "", cmdline.Near(cmdline.Usagef("hash %s: it is not known, and a new one has 64 hexadecimal digits", show.Quoted(hash)), near)
}

// leastBeginning is the least number of digits by which a hash may be named.
const leastBeginning = 8

// wholeHash returns the known hash of which given is the beginning, as tables show it, or
// given itself.
func wholeHash(ctx context.Context, db *storage.DB, given string) (string, error) {
	hash, err := parseHash(given)
	if err != nil || forms.IsPlatformTip(hash) || len(hash) < leastBeginning || strings.Trim(hash, "0123456789abcdefABCDEF") != "" {
		return hash, err
	}
	if known, err := db.KnowsHash(ctx, hash); err != nil || known {
		return hash, err
	}
	found, err := db.HashesBeginning(ctx, strings.ToLower(hash), 3)
	switch {
	case err != nil:
		return "", err
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", cmdline.Near(cmdline.Usagef("hash %s: several hashes begin so", show.Quoted(hash)), found)
	}
	return hash, nil
}

// namesChanged says what a change to the names did.
type namesChanged struct {
	text    string // the lines for people
	done    string // "the names are imported": begins the error where not every record could be renewed
	partial error  // what is wrong although the names are changed
}

// changeNames changes names as a run of its own, renews the records that show them,
// and prints result, which contains renewed.
func changeNames(c *cli.Context, s *session.Session, result any, renewed *names.HealSummary, change func() (namesChanged, error)) error {
	return s.Recorded(c.Context, s.Command, func(run int64) (any, error) {
		changed, err := change()
		if err != nil {
			return result, err
		}
		*renewed, err = heal(c, s, run)
		err = errors.Join(cmdline.Output(c).Line(changed.text+healText(*renewed), result), afterNames(changed.done, err))
		return result, cmp.Or(err, changed.partial)
	})
}

// afterNames returns the error of a command that changed the names but could not renew
// every record.
func afterNames(done string, err error) error {
	if err == nil || errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrSchema) {
		return err
	}
	return cmdline.Hint(cmdline.Partialf("%s, but %w", done, err), "`noggin process` and `noggin hashes resolve` go on with it")
}

// healText describes what was renewed.
func healText(h names.HealSummary) string {
	text := fmt.Sprintf("%-11s %s, %s", "renewed", health.Plural(h.Healed, "record"), health.Plural(h.Reports, "text report"))
	if held := h.Waiting - int64(h.Failed); held > 0 {
		text += fmt.Sprintf("\n%-11s %s in the hands of another run, to be renewed after it", "waiting", health.Plural(held, "record"))
	}
	return text
}

// heal renews the records whose names changed, with a progress bar.
func heal(c *cli.Context, s *session.Session, run int64) (names.HealSummary, error) {
	bar := s.Console.Progress(c, "records")
	defer bar.Finish()
	healer := names.Healer{
		DB: s.DB, Types: s.Types, Output: s.Config.Batch.Paths.Output, Concurrency: s.Config.Batch.Processing.Concurrency, Log: s.Log, Run: run,
		Progress: func(done, total int) { bar.Update(session.State{Done: done, Total: total}) },
	}
	return healer.Heal(c.Context)
}

// eachHashRow reads the hashes that the filter chooses into a table.
func eachHashRow(ctx context.Context, db *storage.DB, f storage.HashFilter, format string) (show.Table, error) {
	t := show.Table{Columns: []show.Column{
		{"hash", "Hash"},
		{"name", "Name"},
		{"entity_type", "Type"},
		{"source", "Source"},
		{"since", "Since"},
		{"occurrences", "Occurrences"},
		{"last_seen", "Last seen"},
	}, Spare: []string{"Since", "Source", "Last seen", "Occurrences"}}
	err := db.EachHash(ctx, f, func(r storage.HashRow) error {
		t.Rows = append(t.Rows, []any{
			hashCell(format, r.Hash), sheetText(format, show.Value(r.Name)), r.Type, sheetText(format, show.Value(r.Source)),
			show.Value(r.Since), show.Value(r.Occurrences), show.Value(r.LastSeen),
		})
		return nil
	})
	return t, err
}

// sheetText keeps spreadsheets from reading a text in CSV as a formula. An import
// removes the apostrophe again.
func sheetText(format string, value any) any {
	if text, ok := value.(string); ok && format == show.CSV {
		return csvfile.GuardFormula(text)
	}
	return value
}

// hashCell is a hash or tip in a table: whole and guarded in CSV.
func hashCell(format, hash string) any {
	if format == show.CSV {
		return sheetText(format, hash)
	}
	return show.Tip(hash)
}
