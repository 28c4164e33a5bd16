package archive

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/archive"
	"noggin/batch/files"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func createCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "create",
		Usage: "archive old records, month by month, and remove what was read back and compared",
		Description: `Takes complete records by their inspection date. Every file is compared with the
database while it is written; the archive is read back whole; only then the
originals are removed. Whatever differs from the database, or is unknown to it, is
reported and left alone; of unknown files, process --adopt records those that a
killed process left. A run that is killed loses nothing: the next one carries on
where it was.`,
		Flags: append([]cli.Flag{
			cmdline.NotEmpty(&cli.StringFlag{Name: "older-than", Usage: "inspections of more than `AGE` ago: 2y, 18m, 90d (default: 2y)"}),
			cmdline.NotEmpty(&cli.StringFlag{Name: "before", Usage: "inspections before `DATE`, such as 2024-07-01"}),
			cmdline.NotEmpty(&cli.StringFlag{Name: "until-free", Usage: "oldest months first, until `PERCENT` of the output volume are free (up to last month, unless --older-than or --before says otherwise)"}),
			cmdline.NotEmpty(&cli.StringFlag{Name: "to", Usage: "write to the folder `DIR`, which has to be there (default: [paths] archive)", TakesFile: true}),
			&cli.BoolFlag{Name: "keep", Usage: "stop before anything is removed; a later run without it carries on"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would be archived and do nothing"},
			session.WaitFlag(),
			cmdline.FormatFlag(show.Text, show.JSON),
		}, session.SelectorFlags(append(session.InspectionFlags(), "object-type")...)...),
		Action: func(c *cli.Context) error {
			var summary archive.CreateSummary
			var failed error
			err := archiving(open, c, func(s *session.Session, archiver *archive.Archiver) (int64, any, error) {
				opts, err := createOptions(c, s)
				if err != nil {
					return 0, nil, err
				}
				summary, err = archiver.Create(c.Context, opts)
				failed = err
				return summary.RunID, summary, verdict(summary, err)
			})
			if err != nil && summary.RunID == 0 && (!summary.DryRun || failed != nil && len(summary.Archives) == 0) {
				return err // it began nothing and planned nothing
			}
			printErr := printCreated(summary, cmdline.Output(c))
			return cmp.Or(err, printErr)
		},
	}
}

func createOptions(c *cli.Context, s *session.Session) (archive.CreateOptions, error) {
	opts := archive.CreateOptions{To: c.String("to"), Keep: c.Bool("keep"), DryRun: c.Bool("dry-run")}
	var err error
	if opts.Selector, err = s.Selector(c); err != nil {
		return opts, err
	}
	if given := c.String("until-free"); given != "" {
		opts.UntilFree, err = strconv.ParseFloat(strings.TrimSuffix(given, "%"), 64)
		if err != nil || !(opts.UntilFree > 0 && opts.UntilFree < 100) {
			return opts, cmdline.Usagef("--until-free %s: want a percentage such as 25%%", show.Quoted(given))
		}
		if opts.Keep {
			return opts, cmdline.Usagef("--until-free cannot be combined with --keep: files that are kept free no space")
		}
	}
	opts.Before, err = before(c.String("older-than"), c.String("before"), opts.UntilFree > 0, s.Config.Now())
	return opts, err
}

// before returns the day before which inspections are old enough, such as
// 2024-11-24.
func before(olderThan, before string, untilFree bool, now time.Time) (string, error) {
	switch {
	case olderThan != "" && before != "":
		return "", cmdline.Usagef("--older-than cannot be combined with --before")
	case before != "":
		return cmdline.Day("before", before, now)
	case olderThan == "" && untilFree:
		return now.Format("2006-01") + "-01", nil // all months that are over
	case olderThan == "":
		olderThan = "2y"
	}
	return cmdline.DayOlderThan(olderThan, now)
}

// verdict returns the error of archive create: err, or what was left undone.
func verdict(summary archive.CreateSummary, err error) error {
	switch {
	case errors.Is(err, archive.ErrNoTarget):
		return cmdline.Usagef("%w", err)
	case errors.Is(err, archive.ErrSameVolume):
		return cmdline.Usagef("--until-free: %w", err)
	case err != nil:
		return err
	case summary.LeftOutCount+len(summary.Problems) > 0:
		return cmdline.Hint(cmdline.Partialf("%s: nothing that they concern was changed", health.Plural(summary.LeftOutCount+len(summary.Problems), "finding")),
			append(adoptUnknown(summary.UnknownTips()), "`noggin validate files` looks closer; what it mends is archived by the next run")...)
	case summary.Uncopied > 0 && (summary.FreeReached == nil || !*summary.FreeReached):
		return cmdline.Hint(cmdline.Partialf("[archive] require_copy: %s without a verified copy of each file: nothing of it left the disk", health.Plural(summary.Uncopied, "record")),
			"`noggin copy run`, then `noggin copy verify`; `noggin copy status` says what is missing")
	case summary.FreeReached != nil && !*summary.FreeReached:
		return cmdline.Partialf("only %s of the output volume are free, although everything before %s is archived", show.Percent(summary.FreePercent).Human(), summary.Before)
	}
	return nil
}

// adoptUnknown names the command for records with files that the database does not know. Of
// many, it names the first ones; the next archive create names the others.
func adoptUnknown(tips []string) []string {
	if len(tips) == 0 {
		return nil
	}
	var named []string
	for _, tip := range tips[:min(len(tips), 10)] {
		named = append(named, files.ShellQuoted(tip))
	}
	return []string{"`noggin process --adopt --tip " + strings.Join(named, " --tip ") + "` records unknown files that a killed run left; move other ones elsewhere"}
}

// sameVolume warns where archives relieve nothing.
const sameVolume = "the archives are on the volume of the output folder, where they free nothing: --to DIR writes to another volume"

func printCreated(s archive.CreateSummary, out show.Output) error {
	if out.Format == show.JSON {
		return out.JSON(s)
	}
	var b strings.Builder
	if len(s.Archives) == 0 {
		fmt.Fprintf(&b, "nothing to archive before %s\n", s.Before)
	}
	for _, a := range s.Archives {
		bytes := show.Size(a.SourceBytes).Human()
		if a.SizeBytes > 0 {
			bytes += " in " + show.Size(a.SizeBytes).Human()
		}
		resumed := ""
		if a.Resumed {
			resumed = ", carried on"
		}
		fmt.Fprintf(&b, "%s  %s%s  %s, %s, %s\n", show.Printable(a.Path), a.State, resumed, health.Plural(a.Records, "record"), health.Plural(a.Files, "file"), bytes)
	}
	for _, problem := range s.Problems {
		fmt.Fprintf(&b, "problem  %s\n", show.Printable(problem))
	}
	for _, left := range s.LeftOut {
		fmt.Fprintf(&b, "left out  %s  %s: %s\n", show.Printable(show.OrDash(left.InspectionID)), show.Printable(left.Path), show.Printable(left.Reason))
	}
	if more := s.LeftOutCount - len(s.LeftOut); more > 0 {
		fmt.Fprintf(&b, "left out  %d more\n", more)
	}
	if s.Uncopied > 0 {
		b.WriteString(show.Textf("uncopied %s on disk until the copies are verified\n", health.Plural(s.Uncopied, "record")))
	}
	if s.Busy > 0 {
		fmt.Fprintf(&b, "busy     %s in the hands of another run; a later run takes them\n", health.Plural(s.Busy, "record"))
	}
	if !s.DryRun {
		fmt.Fprintf(&b, "removed  %s, %s, %s\n", health.Plural(s.RecordsRemoved, "record"), health.Plural(s.FilesRemoved, "file"), show.Size(s.BytesRemoved).Human())
	}
	if s.DryRun && len(s.Archives) > 0 {
		fmt.Fprintf(&b, "in all   %s, %s, %s, %s\n", health.Plural(len(s.Archives), "archive"), health.Plural(s.Records, "record"), health.Plural(s.Files, "file"), show.Size(s.SourceBytes).Human())
	}
	if s.SameVolume && len(s.Archives) > 0 {
		b.WriteString("warning  " + sameVolume + "\n")
	}
	fmt.Fprintf(&b, "free     %s of the output volume\n", show.Percent(s.FreePercent).Human())
	_, err := fmt.Fprint(out, b.String())
	return err
}
