package copies

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/copies"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func runCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "copy what is not copied yet",
		Description: `The first run registers the target; from then on the database notes every new file.
A file is hashed while it is read, and counts as copied only if it has the SHA-256
that the database has: a damaged original never becomes a copy. Any number of hosts
may copy at the same time. A run that is killed loses nothing.`,
		Flags: []cli.Flag{
			cmdline.DurationFlag("max-time", "begin with nothing more after `DURATION`, such as 50m; what is under way has as long again", 1),
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			s, err := open.Ready(c)
			if err != nil {
				return err
			}
			defer s.Close()
			if s.Config.Batch.Copy.To == "" {
				return nothingToDo(cmdline.Output(c))
			}
			copier, bar, err := newCopier(s, c)
			if err != nil {
				return err
			}
			var summary copies.RunSummary
			err = s.Recorded(c.Context, s.Command, func(run int64) (any, error) {
				var err error
				summary, err = copier.Run(c.Context, run, c.Duration("max-time"))
				if err == nil {
					err = unfinished(summary.Problems, "not copied", "they are tried again later; `noggin validate files --deep` compares originals with the database")
				}
				return summary, err
			})
			bar.Finish()
			return errors.Join(err, printRun(summary, cmdline.Output(c)))
		},
	}
}

func printRun(s copies.RunSummary, out show.Output) error {
	if out.Format == show.JSON {
		return out.JSON(s)
	}
	var b strings.Builder
	if s.Registered {
		fmt.Fprintf(&b, "target    %s is registered: every file is copied there from now on\n", show.Printable(s.Target))
	}
	problemsText(&b, s.Problems)
	fmt.Fprintf(&b, "copied    %s, %s", health.Plural(int(s.Copied), "file"), show.Size(s.Bytes).Human())
	if s.FromArchives > 0 {
		fmt.Fprintf(&b, "; out of archives: %d", s.FromArchives)
	}
	if s.AlreadyThere > 0 {
		fmt.Fprintf(&b, "; there already: %d", s.AlreadyThere)
	}
	b.WriteString("\n")
	if s.Log > 0 {
		fmt.Fprintf(&b, "log       %s of leaves and checkpoints\n", health.Plural(int(s.Log), "file"))
	}
	if s.Mended > 0 {
		fmt.Fprintf(&b, "mended    %s in the target had other content\n", health.Plural(int(s.Mended), "object"))
	}
	if s.Removed > 0 {
		fmt.Fprintf(&b, "removed   %s of replaced reports and removed backups\n", health.Plural(s.Removed, "copy|copies"))
	}
	if s.More {
		b.WriteString("more      the time was over; the next run carries on\n")
	}
	_, err := fmt.Fprint(out, b.String())
	return err
}
