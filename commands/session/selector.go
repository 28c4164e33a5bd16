package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/api"
	"noggin/batch/forms"
	"noggin/batch/health"
	"noggin/batch/queue"
	"noggin/commands/cmdline"
	"noggin/commands/show"
	"noggin/storage"
)

// SelectorFlags returns those of the record selector's flags that a command takes:
// "tip", "object-type", "status", "since", "permanent", "error-type", "unknown-hashes",
// and those of [InspectionFlags].
func SelectorFlags(names ...string) []cli.Flag {
	var flags []cli.Flag
	for _, flag := range []cli.Flag{
		&cli.StringSliceFlag{Name: "tip", Usage: "only the record `TIP`: its tip, the first 8 or more of 64 digits, or its inspection id (repeatable)"},
		cmdline.NotEmpty(&cli.StringFlag{Name: "object-type", Usage: "only records of the form `CODE`, such as LCD"}),
		&cli.StringSliceFlag{Name: "status", Usage: "only records with `STATUS` (repeatable): " + strings.Join(StatusWords(), ", ")},
		cmdline.NotEmpty(&cli.StringFlag{Name: "since", Usage: "only records whose status changed since `WHEN`: " + cmdline.WhenWords}),
		&cli.BoolFlag{Name: "permanent", Usage: "only permanently failed records"},
		cmdline.NotEmpty(&cli.StringFlag{Name: "error-type", Usage: "only records with an error of `KIND`, such as not_found"}),
		&cli.BoolFlag{Name: "unknown-hashes", Usage: "only records with a name that is not known"},
		&cli.StringFlag{Name: "from", Usage: "only inspections of `DAY` and later: " + cmdline.WhenWords},
		&cli.StringFlag{Name: "until", Usage: "only inspections of `DAY` and earlier"},
		&cli.StringFlag{Name: "vehicle", Usage: "only inspections of the vehicle `VEHICLE`: its name, a part of it, or its hash"},
		&cli.StringFlag{Name: "trailer", Usage: "only inspections with the trailer `TRAILER`, any of the three: its name, a part of it, or its hash"},
		&cli.StringFlag{Name: "department", Usage: "only inspections of the department `DEPARTMENT`: its name, a part of it, or its hash"},
		&cli.StringFlag{Name: "team", Usage: "only inspections of the team `TEAM`: its name, a part of it, or its hash"},
		&cli.StringFlag{Name: "person", Usage: "only inspections that refer to `PERSON`: the name, a part of it, or the hash"},
		&cli.StringFlag{Name: "customer", Usage: "only inspections for the customer `CUSTOMER`: the name, a part of it, or the hash"},
		&cli.StringFlag{Name: "search", Usage: "only inspections with all words of `TEXT` in their ids, names or answers; \"frayed repl*\" finds replaced too"},
		&cli.StringFlag{Name: "compliance", Usage: "only loads with `ANSWER`: compliant, not-compliant, contradictory"},
	} {
		if slices.Contains(names, flag.Names()[0]) {
			flags = append(flags, flag)
		}
	}
	return flags
}

// InspectionFlags are the names of the selector's flags that say what an inspection is
// about. They go together.
func InspectionFlags() []string {
	return append([]string{"from", "until", "compliance", "search"}, entityFlags()...)
}

// entityFlags are the flags that name something to which records refer. Each has the name
// of the type in entity_hashes.
func entityFlags() []string {
	return []string{"vehicle", "trailer", "department", "team", "person", "customer"}
}

// Selector reads the flags that choose records. It asks the database what names mean.
func (s *Session) Selector(c *cli.Context) (storage.Selector, error) {
	chosen, err := selector(c, s.Types, s.Config.Now(), func(given string) (string, error) { return s.findTip(c.Context, given) })
	for _, flag := range entityFlags() {
		if err != nil || !c.IsSet(flag) {
			continue
		}
		var hashes []string
		hashes, err = s.findEntity(c.Context, flag, c.String(flag))
		chosen.Entities = append(chosen.Entities, hashes)
	}
	if err == nil && chosen.Search != "" {
		err = s.tellNotSearchable(c.Context)
	}
	return chosen, err
}

// findTip returns the tip of the record that given names as reports do. A record that is
// not known has a tip of the platform: anything else is a name that was mistyped or cut
// short, of which no record is made.
func (s *Session) findTip(ctx context.Context, given string) (string, error) {
	tip, err := queue.FindRecord(ctx, s.DB, given)
	if errors.Is(err, queue.ErrAmbiguous) {
		return "", fmt.Errorf("--tip %w", err)
	}
	if err != nil || tip != "" {
		return tip, err
	}
	near, err := queue.NearRecords(ctx, s.DB, given)
	if err != nil {
		return "", err
	}
	tip, err = newTip(given)
	switch {
	case err == nil && s.Command == "process":
		if len(near) > 0 {
			s.Log.Warn("no record has that tip: it is taken for a new one", "tip", tip, "near", near)
		}
		return tip, nil
	case err == nil:
		err = cmdline.Usagef("--tip %s: no record has that tip", show.Quoted(given))
	}
	return "", cmdline.Near(err, near)
}

// newTip returns the tip of a record that is not known yet.
func newTip(given string) (string, error) {
	if !forms.IsPlatformTip(given) {
		return "", cmdline.Usagef("--tip %s: no record is known by that, and a new tip has 64 hexadecimal digits", show.Quoted(given))
	}
	return strings.ToLower(given), nil
}

// selector reads the flags. --since counts from now, in its zone; find resolves --tip.
func selector(c *cli.Context, types *forms.ObjectTypes, now time.Time, find func(string) (string, error)) (storage.Selector, error) {
	s := storage.Selector{
		Permanent:     c.Bool("permanent"),
		ErrorType:     c.String("error-type"),
		UnknownHashes: c.Bool("unknown-hashes"),
	}
	if known := errorTypes(); s.ErrorType != "" && !slices.Contains(known, s.ErrorType) {
		err := cmdline.Usagef("--error-type %s: allowed are %s", show.Quoted(s.ErrorType), strings.Join(known, ", "))
		if near := cmdline.Nearest(s.ErrorType, known); near != "" {
			err = cmdline.Near(err, []string{near})
		}
		return s, err
	}
	for _, given := range c.StringSlice("tip") {
		tip, err := find(given)
		if err != nil {
			return s, err
		}
		s.Tips = append(s.Tips, tip)
	}
	for _, status := range c.StringSlice("status") {
		if !slices.Contains(StatusWords(), status) {
			return s, cmdline.Usagef("--status %s: allowed are %s", show.Quoted(status), strings.Join(StatusWords(), ", "))
		}
		s.Statuses = append(s.Statuses, storage.Status(status))
	}
	if code := c.String("object-type"); code != "" {
		form, ok := types.ByCode(code)
		if !ok {
			return s, cmdline.Usagef("--object-type %s: allowed are %s", show.Quoted(code), strings.Join(types.Codes(), ", "))
		}
		s.ObjectType = form.Code
	}
	if since := c.String("since"); since != "" {
		at, err := cmdline.When("since", since, now)
		if err != nil {
			return s, err
		}
		s.Since = at
	}
	return s, inspectionSelector(c, types, now, &s)
}

// errorTypes are the types that --error-type takes.
func errorTypes() []string {
	types := append(health.ErrorTypes(), api.KindLocal, api.KindNotSent, api.KindCancelled)
	slices.Sort(types)
	return slices.Compact(types)
}

// StatusWords are the statuses that --status takes.
func StatusWords() []string {
	var words []string
	for _, status := range storage.Statuses() {
		words = append(words, string(status))
	}
	return words
}
