package session

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"noggin/batch/files"
	"noggin/batch/forms"
	"noggin/batch/health"
	"noggin/batch/queue"
	"noggin/batch/search"
	"noggin/commands/cmdline"
	"noggin/commands/show"
	"noggin/storage"
)

// namesShown is how many names an ambiguous text is told to mean.
const namesShown = 8

// inspectionSelector reads those of [InspectionFlags] that need no database.
func inspectionSelector(c *cli.Context, types *forms.ObjectTypes, now time.Time, s *storage.Selector) (err error) {
	if s.From, err = dayFlag(c, "from", now); err != nil {
		return err
	}
	if s.Until, err = dayFlag(c, "until", now); err != nil {
		return err
	}
	if s.From != "" && s.Until != "" && s.From > s.Until {
		return cmdline.Usagef("--from %s is after --until %s", s.From, s.Until)
	}
	if c.IsSet("search") {
		if s.Search, err = search.Query(c.String("search")); err != nil {
			return cmdline.Usagef("--search %s: %w", show.Quoted(c.String("search")), err)
		}
	}
	if !c.IsSet("compliance") {
		return nil
	}
	given := c.String("compliance")
	known, free := types.Answers("load_compliance")
	plain := strings.NewReplacer("-", " ", "_", " ").Replace(given)
	at := slices.IndexFunc(known, func(answer string) bool { return strings.EqualFold(answer, plain) || strings.EqualFold(answer, given) })
	switch {
	case at >= 0:
		s.Compliance = known[at]
	case free && given != "" && utf8.ValidString(given):
		s.Compliance = given
	default:
		return cmdline.Usagef("--compliance %s: allowed are %s", show.Quoted(given), strings.Join(ComplianceWords(types), ", "))
	}
	return nil
}

// tellNotSearchable warns of records that no search finds yet.
func (s *Session) tellNotSearchable(ctx context.Context) error {
	missing, err := s.DB.NotSearchable(ctx)
	if err == nil && missing > 0 {
		s.Log.Warn(health.Plural(missing, "inspection")+" of before the upgrade cannot be found by --search yet: each `noggin process` makes more of them searchable", "missing", missing)
	}
	return err
}

// ComplianceWords are the answers that --compliance takes, as one writes them on a command
// line.
func ComplianceWords(types *forms.ObjectTypes) []string {
	words, _ := types.Answers("load_compliance")
	for i, answer := range words {
		words[i] = strings.ReplaceAll(strings.ToLower(answer), " ", "-")
	}
	return words
}

// dayFlag reads a flag that is a calendar day, "" when it is not given.
func dayFlag(c *cli.Context, name string, now time.Time) (string, error) {
	given := c.String(name)
	if given == "" && !c.IsSet(name) {
		return "", nil
	}
	return cmdline.Day(name, given, now)
}

// findEntity returns the hashes of the one entity that a flag of its type names.
func (s *Session) findEntity(ctx context.Context, entityType, given string) ([]string, error) {
	found, err := s.Entity(ctx, "--"+entityType, entityType, given)
	var hashes []string
	for _, e := range found {
		hashes = append(hashes, e.Hash)
	}
	return hashes, err
}

// Entity returns the one entity of a type that a text names, or all hashes with that one
// name. what says in an error where the text stands, such as --team.
func (s *Session) Entity(ctx context.Context, what, entityType, given string) ([]storage.Entity, error) {
	found, err := queue.FindEntities(ctx, s.DB, entityType, given)
	if err == nil && !queue.OneEntity(found) {
		return nil, s.noEntity(ctx, what, entityType, given, found)
	}
	return found, err
}

// noEntity returns the error of a text that names no entity of the type, or several.
func (s *Session) noEntity(ctx context.Context, what, entityType, given string, found []storage.Entity) error {
	if len(found) > 0 {
		var names []string
		for _, e := range found {
			name := show.Printable(e.Name)
			if name == "" {
				name = e.Hash
			}
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		err := cmdline.Usagef("%s %s means more than one %s", what, show.Quoted(given), entityType)
		if more := len(names) - namesShown; more > 0 {
			return cmdline.Hint(err, fmt.Sprintf("one of: %s and %d more", strings.Join(names[:namesShown], ", "), more))
		}
		return cmdline.Hint(err, "one of: "+strings.Join(names, ", "))
	}
	err := cmdline.Usagef("%s %s: no %s is known by that name or hash", what, show.Quoted(given), entityType)
	if _, queryErr := search.Query(given); queryErr == nil && len(given) <= 100 {
		err = cmdline.Hint(err, "`noggin report inspections --search "+files.ShellQuoted(show.Printable(given))+"` finds names that people typed")
	}
	types, names, nearErr := queue.NearEntities(ctx, s.DB, entityType, given)
	switch near := cmdline.Nearest(given, names); {
	case nearErr != nil:
		return nearErr
	case len(types) > 0:
		return cmdline.Hint(err, fmt.Sprintf("there are names with %s of another type: %s", show.Quoted(given), strings.Join(types, ", ")))
	case near != "":
		return cmdline.Near(err, []string{show.Printable(near)})
	}
	return cmdline.Hint(err, "`noggin hashes list "+files.ShellQuoted(entityType)+"` shows the names")
}
