package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

// selectorFlags returns the flags, out of the one set of the record selector,
// that a command takes: "tip", "object-type", "status", "since", "permanent",
// "error-type", "unknown-hashes".
func selectorFlags(names ...string) []cli.Flag {
	var flags []cli.Flag
	for _, flag := range []cli.Flag{
		&cli.StringSliceFlag{Name: "tip", Usage: "only the record `TIP`: its tip, the first 8 or more of 64 digits, or its inspection id (repeatable)"},
		&cli.StringFlag{Name: "object-type", Usage: "only records of the form `CODE`, such as LCD"},
		&cli.StringSliceFlag{Name: "status", Usage: "only records with `STATUS` (repeatable): " + strings.Join(storage.Statuses(), ", ")},
		&cli.StringFlag{Name: "since", Usage: "only records whose status changed since `WHEN`: 2025-10-22, \"2025-10-22 14:00\", or 36h, 7d ago"},
		&cli.BoolFlag{Name: "permanent", Usage: "only permanently failed records"},
		&cli.StringFlag{Name: "error-type", Usage: "only records with an error of `KIND`, such as not_found"},
		&cli.BoolFlag{Name: "unknown-hashes", Usage: "only records with a name that is not known"},
	} {
		if slices.Contains(names, flag.Names()[0]) {
			flags = append(flags, flag)
		}
	}
	return flags
}

// selector reads the selector's flags.
func (s *session) selector(c *cli.Context) (storage.Selector, error) {
	return selector(c, s.types, s.cfg.now(), func(given string) (string, error) { return s.findTip(c.Context, given) })
}

// findTip returns the tip of the record that is meant: as reports name one, else a tip
// that is not known yet.
func (s *session) findTip(ctx context.Context, given string) (string, error) {
	tip, err := batch.FindRecord(ctx, s.db, given)
	if errors.Is(err, batch.ErrAmbiguous) {
		return "", fmt.Errorf("--tip %w", err)
	}
	if err != nil || tip != "" {
		return tip, err
	}
	return parseTip(given)
}

func parseTip(given string) (string, error) {
	tip, ok := batch.ParseTip(given)
	if !ok {
		return "", usagef("--tip %s: no record is known by that, and a tip is 1 to 64 letters, digits, - or _", quoted(given))
	}
	return tip, nil
}

// selector reads the selector's flags; now and its zone give --since its meaning, and
// find says which tip is meant by --tip.
func selector(c *cli.Context, types *batch.ObjectTypes, now time.Time, find func(string) (string, error)) (storage.Selector, error) {
	s := storage.Selector{
		Permanent:     c.Bool("permanent"),
		ErrorType:     c.String("error-type"),
		UnknownHashes: c.Bool("unknown-hashes"),
	}
	for _, given := range c.StringSlice("tip") {
		tip, err := find(given)
		if err != nil {
			return s, err
		}
		s.Tips = append(s.Tips, tip)
	}
	for _, status := range c.StringSlice("status") {
		if !slices.Contains(storage.Statuses(), status) {
			return s, usagef("--status %s: allowed are %s", quoted(status), strings.Join(storage.Statuses(), ", "))
		}
		s.Statuses = append(s.Statuses, status)
	}
	if code := c.String("object-type"); code != "" {
		form, ok := types.ByCode(code)
		if !ok {
			return s, usagef("--object-type %s: allowed are %s", quoted(code), strings.Join(types.Codes(), ", "))
		}
		s.ObjectType = form.Code
	}
	if since := c.String("since"); since != "" {
		at, ok := parseSince(since, now)
		if !ok {
			return s, usagef("--since %s: want 2025-10-22, \"2025-10-22 14:00\", or how long ago, such as 36h or 7d", quoted(since))
		}
		s.Since = at
	}
	return s, nil
}

// parseSince reads a day, a minute, an instant, or how long before now.
func parseSince(text string, now time.Time) (time.Time, bool) {
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04", time.RFC3339} {
		if at, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return at, true
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.Atoi(days)
		return now.AddDate(0, 0, -n), err == nil && n >= 0 && n <= 36500
	}
	ago, err := time.ParseDuration(text)
	return now.Add(-ago), err == nil && ago >= 0
}
