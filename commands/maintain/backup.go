package maintain

import (
	"context"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"noggin/batch/maintain"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func backupCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "backup",
		Usage: "dump the database into [paths] backups, and delete backups that the rotation does not keep",
		Description: `Writes noggin_DATABASE_YYYYMMDD_HHMMSS.dump (pg_dump's custom format) and, beside
it, a manifest with its hash and what it holds. The last backup of each of
[maintain] keep_daily days, keep_weekly weeks and keep_monthly months is kept.

A folder that has lost all its backups is refused: its volume may not be mounted.`,
		Flags: []cli.Flag{
			cmdline.NotEmpty(&cli.StringFlag{Name: "to", Usage: "write into `DIR` instead, and delete no old backup", TakesFile: true}),
			&cli.BoolFlag{Name: "once", Usage: "do nothing when a host has made today's backup already"},
			session.WaitFlag(), cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			dir := c.String("to")
			switch {
			case dir != "" && !filepath.IsAbs(dir):
				return cmdline.Usagef("--to %s: want an absolute path", show.Quoted(dir))
			case dir != "" && c.Bool("once"):
				return cmdline.Usagef("--once cannot be combined with --to: it looks at [paths] backups")
			}
			return runUnless(open, c, func(m *maintain.Maintenance) maintain.Step {
				return maintain.Step{Name: "backup", Do: func(ctx context.Context) (maintain.Effect, error) { return m.Backup(ctx, dir) }}
			}, func(m *maintain.Maintenance) (*maintain.Effect, error) {
				if !c.Bool("once") {
					return nil, nil
				}
				return m.BackedUpToday(c.Context)
			})
		},
	}
}
