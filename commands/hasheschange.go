package commands

import (
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

func hashesSetCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "set",
		Usage:     "give one hash a name and renew every record that shows it",
		ArgsUsage: "TYPE HASH NAME",
		Flags:     []cli.Flag{formatFlag(formatText, formatJSON)},
		Action:    env.withHashes(func(c *cli.Context, s *session) error { return runHashesSet(c, env, s) }),
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
	result := struct {
		Type     string `json:"entity_type"`
		Hash     string `json:"hash"`
		Name     string `json:"name"`
		Outcome  string `json:"outcome"` // new, changed or unchanged
		Resolved int64  `json:"unknown_hashes_resolved"`
		batch.HealSummary
	}{Type: kind, Hash: hash, Name: name, Outcome: "unchanged"}
	return env.changeNames(c, s, &result, &result.HealSummary, func() (namesChanged, error) {
		done, err := batch.SetName(c.Context, s.db, kind, hash, name)
		for _, t := range done.Types {
			if t.New > 0 {
				result.Outcome = "new"
			} else if t.Changed > 0 {
				result.Outcome = "changed"
			}
		}
		result.Resolved = done.Resolved
		return namesChanged{text: fmt.Sprintf("%-11s %s %s is %s\n", result.Outcome, kind, hash, quoted(name)), done: "the name is set"}, err
	})
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
		Action: env.withHashes(func(c *cli.Context, s *session) error { return runHashesForget(c, env, s) }),
	}
}

func runHashesForget(c *cli.Context, env *environment, s *session) error {
	kind, err := typeOrAll(s.types, c.Args().First())
	if err != nil {
		return err
	}
	f := storage.Forget{Type: kind, DryRun: c.Bool("dry-run")}
	if from := c.String("from"); from != "" {
		f.Source = filepath.Base(from)
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
	result := struct {
		Type   string `json:"entity_type"` // empty: any
		DryRun bool   `json:"dry_run"`
		storage.Forgotten
		batch.HealSummary
	}{Type: f.Type, DryRun: f.DryRun}
	if f.DryRun {
		if result.Forgotten, err = s.db.ForgetNames(c.Context, f); err != nil {
			return err
		}
		return env.output(c).line(fmt.Sprintf("would forget %s, of which records refer to %d, and renew %s; nothing was changed",
			plural(result.Names, "name"), result.Unknown, plural(result.Marked, "record")), result)
	}
	return env.changeNames(c, s, &result, &result.HealSummary, func() (changed namesChanged, err error) {
		result.Forgotten, err = s.db.ForgetNames(c.Context, f)
		text := fmt.Sprintf("%-11s %s; unknown again: %d\n", "forgotten", plural(result.Names, "name"), result.Unknown)
		return namesChanged{text: text, done: "the names are forgotten"}, err
	})
}

func hashesResolveCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "resolve",
		Usage: "renew every record that still shows an old name or none",
		Description: `An import renews the records itself. This finishes the work of one that was killed,
and takes up names that came into the database by another way.`,
		Flags:  []cli.Flag{formatFlag(formatText, formatJSON)},
		Action: env.withHashes(func(c *cli.Context, s *session) error { return runHashesResolve(c, env, s) }),
	}
}

func runHashesResolve(c *cli.Context, env *environment, s *session) error {
	var result struct {
		Resolved int64 `json:"unknown_hashes_resolved"`
		batch.HealSummary
	}
	return env.changeNames(c, s, &result, &result.HealSummary, func() (changed namesChanged, err error) {
		result.Resolved, err = s.db.ResolveKnown(c.Context)
		return namesChanged{text: fmt.Sprintf("%-11s %s\n", "resolved", plural(result.Resolved, "unknown hash")), done: "what could be renewed is"}, err
	})
}
