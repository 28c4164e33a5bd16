package hashes

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/batch/names"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func resolveCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "resolve",
		Usage: "renew every record that still shows an old name or none",
		Description: `An import renews the records itself. This finishes one that was killed, and renews
records for names that reached the database another way.`,
		Flags:  []cli.Flag{cmdline.FormatFlag(show.Text, show.JSON)},
		Action: withSession(open, runResolve),
	}
}

func runResolve(c *cli.Context, s *session.Session) error {
	var result struct {
		Resolved int64 `json:"unknown_hashes_resolved"`
		names.HealSummary
	}
	return changeNames(c, s, &result, &result.HealSummary, func() (changed namesChanged, err error) {
		result.Resolved, err = s.DB.ResolveKnown(c.Context)
		return namesChanged{text: fmt.Sprintf("%-11s %s\n", "resolved", health.Plural(result.Resolved, "unknown hash")), done: "what could be renewed is"}, err
	})
}
