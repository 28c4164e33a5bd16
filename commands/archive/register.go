package archive

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/archive"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func registerCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "register",
		Usage:     "make an archive known that was moved, or is newer than the restored database",
		ArgsUsage: "FILE",
		Description: `Reads the archive back whole. The database decides by its hashes what of it belongs to
which record. Files and records that it does not know, as after the restore of an older
backup, are counted and left out (exit code 3): noggin fetches again what the API still has.
--add-unknown takes the archive's word for them instead; say it only for an archive that
nobody else could write. Such records become pending, with their attachments in the archive.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "add-unknown", Usage: "take the archive's word for files and records that the database does not know"},
			session.WaitFlag(),
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			var summary archive.RegisterSummary
			err := archiving(open, c, func(_ *session.Session, archiver *archive.Archiver) (_ int64, _ any, err error) {
				summary, err = archiver.Register(c.Context, archive.RegisterOptions{File: c.Args().First(), AddUnknown: c.Bool("add-unknown")})
				if err == nil && summary.LeftOutCount+summary.Busy > 0 {
					err = cmdline.Partialf("not linked: %s, %s", health.Plural(summary.LeftOutCount, "file"), health.Plural(summary.Busy, "busy record"))
				}
				if err == nil && summary.UnknownFiles > 0 {
					err = cmdline.Hint(cmdline.Partialf("the database does not know %s of the archive", health.Plural(summary.UnknownFiles, "file")),
						"noggin fetches again what the API still has; --add-unknown takes the archive's word for them, if nobody else could write it")
				}
				return summary.RunID, summary, err
			})
			if err != nil && summary.Name == "" {
				return err
			}
			return errors.Join(err, printRegistered(summary, cmdline.Output(c)))
		},
	}
}

func printRegistered(s archive.RegisterSummary, out show.Output) error {
	if out.Format == show.JSON {
		return out.JSON(s)
	}
	var b strings.Builder
	for _, left := range s.LeftOut {
		fmt.Fprintf(&b, "left out    %s: %s\n", show.Printable(left.Path), show.Printable(left.Reason))
	}
	fmt.Fprintf(&b, "registered  %s  %s  %s, %s\n", show.Printable(s.Path), s.State, health.Plural(s.Records, "record"), health.Plural(s.Files, "file"))
	b.WriteString(show.Textf("linked      %s; on disk: %d\n", health.Plural(s.FilesLinked, "file"), s.FilesOnDisk))
	if s.NewRecords > 0 {
		fmt.Fprintf(&b, "new         %s, pending\n", health.Plural(s.NewRecords, "record"))
	}
	if s.UnknownFiles > 0 {
		b.WriteString(show.Textf("unknown     %s, %s not known at all: left out\n", health.Plural(s.UnknownFiles, "file"), health.Plural(s.UnknownRecords, "record")))
	}
	if s.Busy > 0 {
		fmt.Fprintf(&b, "busy        %s in the hands of another run; register again\n", health.Plural(s.Busy, "record"))
	}
	_, err := fmt.Fprint(out, b.String())
	return err
}
