package copies

import (
	"context"

	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func statusCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "show for each target how much is copied, what waits, and how old the oldest verification is",
		Flags: []cli.Flag{cmdline.FormatFlag(show.Text, show.JSON, show.CSV)},
		Action: func(c *cli.Context) error {
			s, err := open.Session(c)
			if err != nil {
				return err
			}
			defer s.Close()
			return runStatus(c.Context, s.DB, cmdline.Output(c))
		},
	}
}

func runStatus(ctx context.Context, db *storage.DB, out show.Output) error {
	targets, err := health.ReadCopies(ctx, db)
	if err != nil {
		return err
	}
	if out.Format == show.JSON {
		return out.JSON(targets)
	}
	t := show.Table{Columns: []show.Column{
		{"target", "Target"},
		{"copied", "Copied"},
		{"files", "Files"},
		{"bytes", "Size"},
		{"backups", "Backups"},
		{"due", "To copy"},
		{"due_since", "Oldest since"},
		{"failing", "Failing"},
		{"damaged", "Damaged"},
		{"verified_since", "All verified since"},
		{"last_copied", "Last copy"},
	}}
	for _, c := range targets {
		share := any(show.Percent(c.Percent))
		t.Rows = append(t.Rows, []any{c.Name(), share, c.Files, show.Size(c.Bytes), c.Backups, c.Due, show.Value(c.DueSince), c.Failing, c.Damaged, show.Value(c.VerifiedSince), show.Value(c.LastCopied)})
	}
	return out.Table(t)
}
