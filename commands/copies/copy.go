package copies

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/copies"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

// Command is noggin copy with its commands.
func Command(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "copy",
		Usage: "keep a copy of every file in a second place, and bring files back from there",
		Description: `The target is [copy] to: a folder on another volume, or a bucket of S3. Attachments,
former files, text reports, backups of the database and the log of ` + "`noggin seal`" + ` are
copied there, also files that are in archives. Each copy has the path of its file and
ends in its SHA-256, so that nothing is ever overwritten.

Examples:
  noggin copy run
  noggin copy status
  noggin copy verify --deep --part day/30
  noggin copy restore --tip 'LCD - 045289' --to /tmp/look
  noggin copy restore                 # all that is missing in the output folder
  noggin copy restore --backup newest # when the database is gone too
  noggin copy restore --checkpoints   # the log of ` + "`noggin seal`" + `, before the next seal`,
		Subcommands: []*cli.Command{
			runCommand(open),
			statusCommand(open),
			verifyCommand(open),
			restoreCommand(open),
			forgetCommand(open),
		},
	}
}

// newCopier returns the copier of a session, and its progress bar.
func newCopier(s *session.Session, c *cli.Context) (*copies.Copier, *session.Progress, error) {
	keys, err := s.Config.S3Keys(s.Secrets)
	if err != nil {
		return nil, nil, err
	}
	bar := s.Console.Progress(c, "files")
	return &copies.Copier{
		DB: s.DB, Config: s.Config.Batch.Copy, Keys: keys, Paths: s.Config.Batch.Paths, ClaimLease: s.Config.Batch.Processing.ClaimLease, Log: s.Log, Version: s.Version,
		Progress: func(p copies.Progress) {
			bar.Update(session.State{Done: int(p.Done), Bytes: p.Bytes, Note: p.Phase})
		},
	}, bar, nil
}

// nothingToDo prints that no target is configured.
func nothingToDo(out show.Output) error {
	return out.Line("nothing to do: [copy] to is not set", struct {
		Target string `json:"target"`
	}{})
}

// problemsText lists the first problems.
func problemsText(b *strings.Builder, p copies.Problems) {
	for _, one := range p.First {
		fmt.Fprintf(b, "problem   %s: %s\n", show.Printable(one.Path), show.Printable(one.What))
	}
	if more := p.Count - len(p.First); more > 0 {
		fmt.Fprintf(b, "problem   %d more\n", more)
	}
}

// unfinished is the error of a command that met problems.
func unfinished(p copies.Problems, what, hint string) error {
	if p.Count == 0 {
		return nil
	}
	return cmdline.Hint(cmdline.Partialf("%s: %s", what, health.Plural(p.Count, "file")), hint)
}
