package commands

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

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

func backupsCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "backups",
		Usage: "list the backups in [paths] backups, the newest first",
		Description: `With size, records, and when each was restored on trial; those of one database
should grow slowly and steadily. Needs no database.`,
		Flags: []cli.Flag{formatFlag(formatText, formatJSON, formatCSV)},
		Action: func(c *cli.Context) error {
			cfg, err := env.config(c)
			if err != nil {
				return err
			}
			m := &batch.Maintenance{Database: cfg.storage, Config: cfg.batch, Log: env.log}
			backups, err := m.Backups()
			if err != nil {
				return err
			}
			return printBackups(backups, cfg.batch.Paths.Backups, cfg.now().Location(), env.output(c))
		},
	}
}

func printBackups(backups []batch.Backup, folder string, zone *time.Location, out output) error {
	t := table{columns: []column{
		{"file", "BACKUP"},
		{"taken_at", "TAKEN"},
		{"bytes", "SIZE"},
		{"records", "RECORDS"},
		{"verified_at", "RESTORED ON TRIAL"},
		{"host", "HOST"},
		{"problem", "PROBLEM"},
	}, spare: []string{"HOST", "TAKEN"}}
	for _, b := range backups {
		var verified, problem any
		if b.VerifiedAt != nil {
			verified = b.VerifiedAt.In(zone)
		}
		if b.Broken != "" {
			problem = b.Broken
		}
		t.rows = append(t.rows, []any{b.File, b.TakenAt.In(zone), size(b.Bytes), b.Rows["noggin_data"], verified, b.Host, problem})
	}
	if len(t.rows) == 0 && out.format == formatText {
		_, err := fmt.Fprintf(out, "no backup of this database in %s: `noggin maintain backup` makes one\n", printable(folder))
		return err
	}
	return out.table(t)
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
