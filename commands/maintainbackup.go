package commands

import (
	"context"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"noggin/batch"
)

func backupCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "backup",
		Usage: "dump the database into [paths] backups, and let old backups go",
		Description: `Writes noggin_DATABASE_YYYYMMDD_HHMMSS.dump (pg_dump's custom format) and, beside
it, a manifest with its hash and what it holds. The last backup of each of
[maintain] keep_daily days, keep_weekly weeks and keep_monthly months is kept.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "write into `DIR` instead, and let nothing go", TakesFile: true},
			&cli.BoolFlag{Name: "once", Usage: "do nothing where a host has made today's backup already"},
			waitFlag(), formatFlag(formatText, formatJSON),
		},
		Action: func(c *cli.Context) error {
			dir := c.String("to")
			switch {
			case dir != "" && !filepath.IsAbs(dir):
				return usagef("--to %s: want an absolute path", quoted(dir))
			case dir != "" && c.Bool("once"):
				return usagef("--once is about [paths] backups: it does not go with --to")
			}
			return env.maintainUnless(c, func(m *batch.Maintenance) batch.Step {
				return batch.Step{Name: "backup", Do: func(ctx context.Context) (batch.Effect, error) { return m.Backup(ctx, dir) }}
			}, func(m *batch.Maintenance) (*batch.Effect, error) {
				if !c.Bool("once") {
					return nil, nil
				}
				return m.BackedUpToday(c.Context)
			})
		},
	}
}

func verifyBackupCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "verify-backup",
		Usage:     "restore a backup on trial and compare it with its manifest",
		ArgsUsage: "[FILE]",
		Description: `Without FILE, the newest one. It is restored into a database of its own, which is
dropped again: the role needs CREATEDB. Exit code 3 tells a backup that is no
good.`,
		Flags: []cli.Flag{waitFlag(), formatFlag(formatText, formatJSON)},
		Action: func(c *cli.Context) error {
			return env.maintainStep(c, func(m *batch.Maintenance) batch.Step {
				return batch.Step{Name: "verify-backup", Do: func(ctx context.Context) (batch.Effect, error) {
					return m.VerifyBackup(ctx, c.Args().First())
				}}
			})
		},
	}
}
