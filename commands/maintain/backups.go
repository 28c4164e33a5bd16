package maintain

import (
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/maintain"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func backupsCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "backups",
		Usage: "list the backups in [paths] backups, the newest first",
		Description: `With size, records, and when each was restored on trial; those of one database
should grow slowly and steadily. Needs no database.`,
		Flags: []cli.Flag{cmdline.FormatFlag(show.Text, show.JSON, show.CSV)},
		Action: func(c *cli.Context) error {
			cfg, err := open.Config(c)
			if err != nil {
				return err
			}
			m := &maintain.Maintenance{Database: cfg.Storage, Paths: cfg.Batch.Paths, Log: open.Console.Logger}
			backups, err := m.Backups()
			if err != nil {
				return err
			}
			return printBackups(backups, cfg.Batch.Paths.Backups, cfg.Now().Location(), cmdline.Output(c))
		},
	}
}

func printBackups(backups []maintain.Backup, folder string, zone *time.Location, out show.Output) error {
	t := show.Table{Columns: []show.Column{
		{"file", "Backup"},
		{"taken_at", "Taken"},
		{"bytes", "Size"},
		{"records", "Records"},
		{"verified_at", "Restored on trial"},
		{"host", "Host"},
		{"problem", "Problem"},
	}, Spare: []string{"Host", "Taken", "Records"}}
	for _, b := range backups {
		var verified, problem any
		if b.VerifiedAt != nil {
			verified = b.VerifiedAt.In(zone)
		}
		if b.Broken != "" {
			problem = b.Broken
		}
		t.Rows = append(t.Rows, []any{show.ID(b.File), b.TakenAt.In(zone), show.Size(b.Bytes), b.Rows["noggin_data"], verified, b.Host, problem})
	}
	if len(t.Rows) == 0 && out.Format == show.Text {
		_, err := fmt.Fprintf(out, "no backup of this database in %s: `noggin maintain backup` makes one\n", show.Printable(folder))
		return err
	}
	return out.Table(t)
}
