package hashes

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"noggin/batch/names"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func setCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "set",
		Usage:     "give one hash a name and renew every record that shows it",
		ArgsUsage: "TYPE HASH NAME",
		Flags:     []cli.Flag{cmdline.FormatFlag(show.Text, show.JSON)},
		Action:    withSession(open, runSet),
	}
}

func runSet(c *cli.Context, s *session.Session) error {
	kind, err := entityType(s.Types, c.Args().Get(0))
	if err != nil {
		return err
	}
	hash, err := hashArgument(c.Context, s.DB, c.Args().Get(1))
	if err != nil {
		return err
	}
	name, err := names.ParseName(c.Args().Get(2))
	if err != nil {
		return cmdline.Usagef("the name %w", err)
	}
	result := struct {
		Type     string `json:"entity_type"`
		Hash     string `json:"hash"`
		Name     string `json:"name"`
		Outcome  string `json:"outcome"` // new, changed or unchanged
		Resolved int64  `json:"unknown_hashes_resolved"`
		names.HealSummary
	}{Type: kind, Hash: hash, Name: name, Outcome: "unchanged"}
	return changeNames(c, s, &result, &result.HealSummary, func() (namesChanged, error) {
		done, err := names.SetName(c.Context, s.DB, kind, hash, name)
		for _, t := range done.Types {
			if t.New > 0 {
				result.Outcome = "new"
			} else if t.Changed > 0 {
				result.Outcome = "changed"
			}
		}
		result.Resolved = done.Resolved
		return namesChanged{text: fmt.Sprintf("%-11s %s %s is %s\n", result.Outcome, kind, hash, show.Quoted(name)), done: "the name is set"}, err
	})
}
