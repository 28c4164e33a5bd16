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

func restoreCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "bring back a record, or all of an archive",
		ArgsUsage: "TIP|INSPECTION-ID|NAME",
		Description: `Compares every file with the hash in the database, and overwrites nothing: where another file is
in the way, both stay as they are. --in-place puts the files back into the output
folder and undoes the archiving in the database too.`,
		Flags: []cli.Flag{
			cmdline.NotEmpty(&cli.StringFlag{Name: "to", Usage: "restore below the folder `DIR`", TakesFile: true}),
			&cli.BoolFlag{Name: "in-place", Usage: "restore into the output folder"},
			session.WaitFlag(),
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			opts := archive.RestoreOptions{Target: c.Args().First(), To: c.String("to"), InPlace: c.Bool("in-place")}
			if (opts.To == "") != opts.InPlace {
				return cmdline.Usagef("give either --to DIR or --in-place")
			}
			var summary archive.RestoreSummary
			err := archiving(open, c, func(_ *session.Session, archiver *archive.Archiver) (_ int64, _ any, err error) {
				summary, err = archiver.Restore(c.Context, opts)
				if err == nil {
					err = unrestored(summary)
				}
				return summary.RunID, summary, err
			})
			if err != nil && len(summary.Archives) == 0 {
				return noSuchArchive(err)
			}
			return errors.Join(err, printRestored(summary, cmdline.Output(c)))
		},
	}
}

// unrestored is the error of a restoration that did not restore everything.
func unrestored(s archive.RestoreSummary) error {
	switch {
	case s.LeftOutCount+s.Busy+s.NotHeld > 0:
		return cmdline.Partialf("not restored: %s, %s, %s that the archive should hold",
			health.Plural(s.LeftOutCount, "file"), health.Plural(s.Busy, "busy record"), health.Plural(s.NotHeld, "file"))
	case s.Files+s.AlreadyThere == 0:
		return cmdline.Partialf("nothing was restored: the database has no file in the archive")
	}
	return nil
}

func printRestored(s archive.RestoreSummary, out show.Output) error {
	if out.Format == show.JSON {
		return out.JSON(s)
	}
	var b strings.Builder
	for _, left := range s.LeftOut {
		fmt.Fprintf(&b, "left out  %s  %s: %s\n", show.Printable(show.OrDash(left.InspectionID)), show.Printable(left.Path), show.Printable(left.Reason))
	}
	b.WriteString(show.Textf("restored  %s, %s, %s; there already: %d\n",
		health.Plural(s.Records, "record"), health.Plural(s.Files, "file"), show.Size(s.Bytes).Human(), s.AlreadyThere))
	fmt.Fprintf(&b, "from      %s\nto        %s\n", show.Printable(strings.Join(s.Archives, ", ")), show.Printable(s.Folder))
	if s.NotHeld > 0 {
		fmt.Fprintf(&b, "missing   %s in no part of the archive, though the database has them in it\n", health.Plural(s.NotHeld, "file"))
	}
	if s.Busy > 0 {
		fmt.Fprintf(&b, "busy      %s in the hands of another run\n", health.Plural(s.Busy, "record"))
	}
	_, err := fmt.Fprint(out, b.String())
	return err
}
