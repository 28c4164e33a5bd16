package hashes

import (
	"path/filepath"

	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/batch/names"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func forgetCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "forget",
		Usage:     "take names back, and renew every record that shows them",
		ArgsUsage: "TYPE|all [HASH…]",
		Description: `For names that were imported as the wrong type, or belong to something else: their
hashes are unknown again, until the right names are imported. TYPE may be all. The
history keeps what was taken back.`,
		Flags: []cli.Flag{
			cmdline.NotEmpty(&cli.StringFlag{Name: "from", Usage: "every name whose source is `FILE`"}),
			&cli.BoolFlag{Name: "dry-run", Usage: "show how many names would go, and from how many records"},
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: withSession(open, runForget),
	}
}

func runForget(c *cli.Context, s *session.Session) error {
	kind, err := typeOrAll(s.Types, c.Args().First())
	if err != nil {
		return err
	}
	f := storage.Forget{Type: kind, DryRun: c.Bool("dry-run")}
	if from := c.String("from"); from != "" {
		f.Source = filepath.Base(from)
	}
	for _, given := range c.Args().Tail() {
		hash, err := hashArgument(c.Context, s.DB, given)
		if err != nil {
			return err
		}
		f.Hashes = append(f.Hashes, hash)
	}
	if f.Source == "" && len(f.Hashes) == 0 {
		return cmdline.Usagef("which names? HASH or --from FILE")
	}
	result := struct {
		Type   string `json:"entity_type"` // empty: any
		DryRun bool   `json:"dry_run"`
		storage.Forgotten
		names.HealSummary
	}{Type: f.Type, DryRun: f.DryRun}
	if f.DryRun {
		if result.Forgotten, err = s.DB.ForgetNames(c.Context, f); err != nil {
			return err
		}
		return cmdline.Output(c).Line(show.Textf("would forget %s, of which records refer to %d, and renew %s; nothing was changed",
			health.Plural(result.Names, "name"), result.Unknown, health.Plural(result.Marked, "record")), result)
	}
	return changeNames(c, s, &result, &result.HealSummary, func() (changed namesChanged, err error) {
		result.Forgotten, err = s.DB.ForgetNames(c.Context, f)
		text := show.Textf("%-11s %s; unknown again: %d\n", "forgotten", health.Plural(result.Names, "name"), result.Unknown)
		return namesChanged{text: text, done: "the names are forgotten"}, err
	})
}
