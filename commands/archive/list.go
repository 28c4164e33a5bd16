package archive

import (
	"context"

	"github.com/urfave/cli/v2"

	"noggin/batch/archive/watch"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func listCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the archives, the oldest month first, and whether their files are there",
		Description: `FILE says what a look at the archive's file found: there, missing, wrong size, not
mounted (its folder), elsewhere (another host sees it), lost (given up by forget
--lost; PROBLEM is the reason). Ends with 3 when an archive is missing, cut or damaged,
or its folder is not mounted.`,
		Flags: []cli.Flag{cmdline.FormatFlag(show.Text, show.JSON, show.CSV)},
		Action: func(c *cli.Context) error {
			s, err := open.Ready(c)
			if err != nil {
				return err
			}
			defer s.Close()
			return runList(c.Context, s, cmdline.Output(c))
		},
	}
}

func runList(ctx context.Context, s *session.Session, out show.Output) error {
	now := s.Config.Now()
	archives, err := health.ReadArchives(ctx, s.DB, s.Config.Batch.Paths.Archive, now)
	if err != nil {
		return err
	}
	if out.Format == show.JSON {
		err = out.JSON(archives)
	} else {
		err = out.Table(listTable(archives))
	}
	if err != nil {
		return err
	}
	for _, flag := range health.JudgeArchives(archives, now) {
		if flag.Severity == health.SeverityRed {
			return cmdline.Hint(cmdline.Partialf("%s", flag.What), flag.Remedy)
		}
	}
	return nil
}

func listTable(archives []watch.Archive) show.Table {
	t := show.Table{Columns: []show.Column{
		{"name", "Archive"},
		{"state", "State"},
		{"records", "Records"},
		{"files", "Files"},
		{"source_bytes", "Content"},
		{"size_bytes", "Size"},
		{"created_at", "Created"},
		{"verified_at", "Verified"},
		{"file", "File"},
		{"path", "Path"},
		{"problem", "Problem"},
	}, Spare: []string{"Path", "Content", "Files", "Created", "Records", "Verified"}}
	for _, a := range archives {
		if a.LostAt != nil {
			a.Problem = a.LostReason
		}
		t.Rows = append(t.Rows, []any{show.ID(a.Name), show.State(a.State), a.Records, a.Files, show.Size(a.SourceBytes), show.Size(a.SizeBytes), a.CreatedAt, show.Value(a.VerifiedAt), string(a.Sight), a.Path, show.Value(a.Problem)})
	}
	return t
}
