package commands

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/batch"
)

func archiveRestoreCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "restore",
		Usage:     "bring back a record, or all of an archive",
		ArgsUsage: "TIP|INSPECTION-ID|NAME",
		Description: `Compares every file with its hash, and overwrites nothing: where another file is
in the way, both stay as they are. --in-place puts the files back into the output
folder and undoes the archiving in the database too.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "to", Usage: "restore below the folder `DIR`", TakesFile: true},
			&cli.BoolFlag{Name: "in-place", Usage: "restore into the output folder"},
			waitFlag(),
			formatFlag(formatText, formatJSON),
		},
		Action: func(c *cli.Context) error {
			opts := batch.RestoreOptions{Target: c.Args().First(), To: c.String("to"), InPlace: c.Bool("in-place")}
			if (opts.To == "") != opts.InPlace {
				return usagef("--to DIR or --in-place: one of them is needed, and only one")
			}
			s, archiver, bar, err := env.archiveSession(c, "records")
			if err != nil {
				return err
			}
			defer s.close()
			var summary batch.RestoreSummary
			err = whenUnlocked(c, func() (err error) {
				summary, err = archiver.Restore(c.Context, opts)
				return err
			})
			bar.finish(env)
			if err == nil && summary.LeftOutCount+summary.Busy > 0 {
				err = partialf("not restored: %s, %s", plural(summary.LeftOutCount, "file"), plural(summary.Busy, "busy record"))
			}
			if summary.RunID != 0 {
				s.endRun(c.Context, env, summary.RunID, summary, err)
			}
			if err != nil && summary.Records+summary.LeftOutCount+summary.Busy == 0 {
				return noSuchArchive(err)
			}
			return errors.Join(err, printRestored(summary, env.output(c)))
		},
	}
}

func printRestored(s batch.RestoreSummary, out output) error {
	if out.format == formatJSON {
		return out.json(s)
	}
	var b strings.Builder
	for _, left := range s.LeftOut {
		fmt.Fprintf(&b, "left out  %s  %s: %s\n", printable(orDash(left.InspectionID)), printable(left.Path), printable(left.Reason))
	}
	fmt.Fprintf(&b, "restored  %s, %s, %s; there already: %d\n",
		plural(s.Records, "record"), plural(s.Files, "file"), humanize.Bytes(uint64(s.Bytes)), s.AlreadyThere)
	fmt.Fprintf(&b, "from      %s\nto        %s\n", printable(strings.Join(s.Archives, ", ")), printable(s.Folder))
	if s.Busy > 0 {
		fmt.Fprintf(&b, "busy      %s in the hands of another run\n", plural(s.Busy, "record"))
	}
	_, err := fmt.Fprint(out, b.String())
	return err
}

func archiveRegisterCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "register",
		Usage:     "make an archive known that was moved, or is newer than the restored database",
		ArgsUsage: "FILE",
		Description: `Reads the archive back whole. Records that the database does not know become
pending, with their photographs known to be in the archive.`,
		Flags: []cli.Flag{
			waitFlag(),
			formatFlag(formatText, formatJSON),
		},
		Action: func(c *cli.Context) error {
			s, archiver, bar, err := env.archiveSession(c, "records")
			if err != nil {
				return err
			}
			defer s.close()
			var summary batch.RegisterSummary
			err = whenUnlocked(c, func() (err error) {
				summary, err = archiver.Register(c.Context, c.Args().First())
				return err
			})
			bar.finish(env)
			if err == nil && summary.LeftOutCount+summary.Busy > 0 {
				err = partialf("not linked: %s, %s", plural(summary.LeftOutCount, "file"), plural(summary.Busy, "busy record"))
			}
			if summary.RunID != 0 {
				s.endRun(c.Context, env, summary.RunID, summary, err)
			}
			if err != nil && summary.Name == "" {
				return err
			}
			return errors.Join(err, printRegistered(summary, env.output(c)))
		},
	}
}

func printRegistered(s batch.RegisterSummary, out output) error {
	if out.format == formatJSON {
		return out.json(s)
	}
	var b strings.Builder
	for _, left := range s.LeftOut {
		fmt.Fprintf(&b, "left out    %s: %s\n", printable(left.Path), printable(left.Reason))
	}
	fmt.Fprintf(&b, "registered  %s  %s  %s, %s\n", printable(s.Path), s.State, plural(s.Records, "record"), plural(s.Files, "file"))
	fmt.Fprintf(&b, "linked      %s; on disk: %d\n", plural(s.FilesLinked, "file"), s.FilesOnDisk)
	if s.NewRecords > 0 {
		fmt.Fprintf(&b, "new         %s, pending\n", plural(s.NewRecords, "record"))
	}
	if s.Busy > 0 {
		fmt.Fprintf(&b, "busy        %s in the hands of another run; register again\n", plural(s.Busy, "record"))
	}
	_, err := fmt.Fprint(out, b.String())
	return err
}

func archiveForgetCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "forget",
		Usage:     "forget an archive from which everything was restored",
		ArgsUsage: "NAME",
		Description: `For an archive whose file is gone for good and missed by noggin archive verify.
Refused as long as anything is known to be in it. The file itself is left alone.`,
		Flags: []cli.Flag{
			waitFlag(),
			formatFlag(formatText, formatJSON),
		},
		Action: func(c *cli.Context) error {
			s, archiver, _, err := env.archiveSession(c, "records")
			if err != nil {
				return err
			}
			defer s.close()
			result := struct {
				RunID int64  `json:"run_id"`
				Name  string `json:"name"`
			}{Name: c.Args().First()}
			err = whenUnlocked(c, func() (err error) {
				result.RunID, err = archiver.Forget(c.Context, result.Name)
				return err
			})
			if result.RunID != 0 {
				s.endRun(c.Context, env, result.RunID, result, err)
			}
			if err != nil {
				return noSuchArchive(err)
			}
			return env.output(c).line("forgotten  "+printable(result.Name), result)
		},
	}
}
