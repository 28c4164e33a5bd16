package commands

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

func archiveCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "archive",
		Usage: "move the files of old records into archives, and back",
		Description: `An archive holds the photographs and text reports of a month, and a manifest. It
opens with tar, zstd and sha256sum alone:

  tar --zstd -xf noggin-2024-03.tar.zst && sha256sum -c noggin-2024-03.sha256

Examples:
  noggin archive create --older-than 2y --dry-run
  noggin archive create --older-than 2y --to /mnt/backup/noggin
  noggin archive restore 'LCD - 045289' --to /tmp/look
  noggin archive verify all --part 1/12`,
		Subcommands: []*cli.Command{
			archiveCreateCommand(env),
			archiveListCommand(env),
			archiveShowCommand(env),
			archiveVerifyCommand(env),
			archiveRestoreCommand(env),
			archiveRegisterCommand(env),
			archiveForgetCommand(env),
		},
	}
}

// archiveSession opens the database for a command of archive and makes sure that
// its schema is there. What it does may take longer than a statement usually may.
func (env *environment) archiveSession(c *cli.Context, unit string) (*session, *batch.Archiver, *progress, error) {
	s, err := env.openReady(c)
	if err != nil {
		return nil, nil, nil, err
	}
	bar := env.progress(c, unit)
	return s, &batch.Archiver{
		DB: s.db, Config: s.cfg.batch, Log: env.log, Version: readVersion(env.assets.Version).Version,
		Progress: func(p batch.ArchiveProgress) {
			bar.update(progressState{done: p.Done, total: p.Total, bytes: p.Bytes, note: p.Phase})
		},
	}, bar, nil
}

func archiveCreateCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "create",
		Usage: "archive old records, month by month, and remove what was read back and compared",
		Description: `Takes complete records by their inspection date. Every file is compared with the
database while it is written; the archive is read back whole; only then the
originals are removed. Whatever differs from the database, or is unknown to it, is
reported and left alone. A run that is killed loses nothing: the next one carries
on where it was.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "older-than", Usage: "inspections of more than `AGE` ago: 2y, 18m, 90d (default: 2y)"},
			&cli.StringFlag{Name: "before", Usage: "inspections before `DATE`, such as 2024-07-01"},
			selectorFlags("object-type")[0],
			&cli.StringFlag{Name: "until-free", Usage: "oldest months first, until `PERCENT` of the output volume are free (up to last month, unless --older-than or --before says otherwise)"},
			&cli.StringFlag{Name: "to", Usage: "write to the folder `DIR`, which has to be there (default: [paths] archive)", TakesFile: true},
			&cli.BoolFlag{Name: "keep", Usage: "stop before anything is removed; a later run without it carries on"},
			&cli.BoolFlag{Name: "dry-run", Usage: "show what would be archived and do nothing"},
			waitFlag(),
			formatFlag(formatText, formatJSON),
		},
		Action: func(c *cli.Context) error {
			s, archiver, bar, err := env.archiveSession(c, "records")
			if err != nil {
				return err
			}
			defer s.close()
			opts, err := archiveOptions(c, s)
			if err != nil {
				return err
			}
			var summary batch.ArchiveSummary
			err = whenUnlocked(c, func() (err error) {
				summary, err = archiver.Create(c.Context, opts)
				return err
			})
			bar.finish(env)
			return runArchiveCreate(c.Context, env, s, summary, err, env.output(c))
		},
	}
}

func archiveOptions(c *cli.Context, s *session) (batch.ArchiveOptions, error) {
	opts := batch.ArchiveOptions{To: c.String("to"), Keep: c.Bool("keep"), DryRun: c.Bool("dry-run")}
	selected, err := s.selector(c)
	if err != nil {
		return opts, err
	}
	opts.ObjectType = selected.ObjectType
	if given := c.String("until-free"); given != "" {
		opts.UntilFree, err = strconv.ParseFloat(strings.TrimSuffix(given, "%"), 64)
		if err != nil || !(opts.UntilFree > 0 && opts.UntilFree < 100) {
			return opts, usagef("--until-free %s: want a percentage such as 25%%", quoted(given))
		}
		if opts.Keep {
			return opts, usagef("--until-free and --keep: what is kept frees nothing")
		}
	}
	opts.Before, err = archiveBefore(c.String("older-than"), c.String("before"), opts.UntilFree > 0, s.cfg.now())
	return opts, err
}

// archiveBefore is the day before which inspections are old enough, 2024-11-24.
func archiveBefore(olderThan, before string, untilFree bool, now time.Time) (string, error) {
	switch {
	case olderThan != "" && before != "":
		return "", usagef("--older-than and --before: only one of them")
	case before != "":
		day, err := time.Parse(time.DateOnly, before)
		if err != nil {
			return "", usagef("--before %s: want a day such as 2024-07-01", quoted(before))
		}
		return day.Format(time.DateOnly), nil
	case olderThan == "" && untilFree:
		return now.Format("2006-01") + "-01", nil // all months that are over
	case olderThan == "":
		olderThan = "2y"
	}
	match := ageForm.FindStringSubmatch(olderThan)
	if match == nil {
		return "", usagef("--older-than %s: want an age such as 2y, 18m or 90d", quoted(olderThan))
	}
	n, err := strconv.Atoi(match[1])
	if err != nil || n > 36500 {
		return "", usagef("--older-than %s: want an age such as 2y, 18m or 90d", quoted(olderThan))
	}
	switch match[2] {
	case "y":
		return monthsBefore(now, 12*n), nil
	case "m":
		return monthsBefore(now, n), nil
	default:
		return now.AddDate(0, 0, -n).Format(time.DateOnly), nil
	}
}

var ageForm = regexp.MustCompile(`^([1-9][0-9]{0,5})([ymd])$`)

// monthsBefore is the same day n months ago, or the last of that month where it
// has no such day.
func monthsBefore(now time.Time, n int) string {
	first := time.Date(now.Year(), now.Month()-time.Month(n), 1, 0, 0, 0, 0, time.UTC)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(now.Day(), last)-1).Format(time.DateOnly)
}

// whenUnlocked tries again while another run holds the lock, for as long as --wait
// says.
func whenUnlocked(c *cli.Context, fn func() error) error {
	deadline := time.Now().Add(c.Duration("wait"))
	for {
		err := fn()
		if !errors.Is(err, storage.ErrLocked) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-c.Done():
			return context.Cause(c.Context)
		case <-time.After(time.Second):
		}
	}
}

// runArchiveCreate prints what was archived and records the run's end.
func runArchiveCreate(ctx context.Context, env *environment, s *session, summary batch.ArchiveSummary, err error, out output) error {
	switch {
	case errors.Is(err, batch.ErrSameVolume):
		err = usagef("--until-free: %w", err)
	case err == nil && summary.LeftOutCount+len(summary.Problems) > 0:
		err = hint(partialf("%s: what they concern is as it was", plural(summary.LeftOutCount+len(summary.Problems), "finding")),
			"`noggin validate files` looks closer; what it mends is archived by the next run")
	case err == nil && summary.FreeReached != nil && !*summary.FreeReached:
		err = partialf("only %s of the output volume are free, although everything before %s is archived", percent(summary.FreePercent).human(), summary.Before)
	}
	if summary.RunID != 0 {
		s.endRun(ctx, env, summary.RunID, summary, err)
	}
	if err != nil && summary.RunID == 0 && !summary.DryRun {
		return err
	}
	if printErr := printArchiveSummary(summary, out); err == nil {
		err = printErr
	}
	return err
}

func printArchiveSummary(s batch.ArchiveSummary, out output) error {
	if out.format == formatJSON {
		return out.json(s)
	}
	var b strings.Builder
	if len(s.Archives) == 0 {
		fmt.Fprintf(&b, "nothing to archive before %s\n", s.Before)
	}
	for _, a := range s.Archives {
		bytes := size(a.SourceBytes).human()
		if a.SizeBytes > 0 {
			bytes += " in " + size(a.SizeBytes).human()
		}
		resumed := ""
		if a.Resumed {
			resumed = ", carried on"
		}
		fmt.Fprintf(&b, "%s  %s%s  %s, %s, %s\n", printable(a.Path), a.State, resumed, plural(a.Records, "record"), plural(a.Files, "file"), bytes)
	}
	for _, problem := range s.Problems {
		fmt.Fprintf(&b, "problem  %s\n", printable(problem))
	}
	for _, left := range s.LeftOut {
		fmt.Fprintf(&b, "left out  %s  %s: %s\n", printable(orDash(left.InspectionID)), printable(left.Path), printable(left.Reason))
	}
	if more := s.LeftOutCount - len(s.LeftOut); more > 0 {
		fmt.Fprintf(&b, "left out  %d more\n", more)
	}
	if s.Busy > 0 {
		fmt.Fprintf(&b, "busy     %s in the hands of another run; a later run takes them\n", plural(s.Busy, "record"))
	}
	if !s.DryRun {
		fmt.Fprintf(&b, "removed  %s, %s, %s\n", plural(s.RecordsRemoved, "record"), plural(s.FilesRemoved, "file"), size(s.BytesRemoved).human())
	}
	fmt.Fprintf(&b, "free     %s of the output volume\n", percent(s.FreePercent).human())
	_, err := fmt.Fprint(out, b.String())
	return err
}

func archiveVerifyCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "decompress archives and compare every file with the manifest and the database",
		ArgsUsage: "[NAME]",
		Description: `NAME is an archive, such as noggin-2024-03, or all, which is the default. With
--part 3/12 each archive is in one of the twelve parts, for a look at all of them
once a year.`,
		Flags: []cli.Flag{
			partFlag("archives", ""),
			formatFlag(formatText, formatJSON, formatCSV),
		},
		Action: func(c *cli.Context) error {
			opts := batch.VerifyOptions{Name: c.Args().First()}
			if opts.Name == "all" {
				opts.Name = ""
			}
			if opts.Name != "" && c.IsSet("part") {
				return usagef("--part is a share of all archives: it does not go with NAME")
			}
			var err error
			if opts.Part, opts.Parts, err = partOf(c, time.Now()); err != nil {
				return err
			}
			s, archiver, bar, err := env.archiveSession(c, "files")
			if err != nil {
				return err
			}
			defer s.close()
			verified, err := archiver.Verify(c.Context, opts)
			bar.finish(env)
			if err != nil {
				return noSuchArchive(err)
			}
			return printVerified(verified, env.output(c))
		},
	}
}

// noSuchArchive says where the names are to be found.
func noSuchArchive(err error) error {
	if errors.Is(err, storage.ErrNoArchive) || errors.Is(err, batch.ErrNotArchived) {
		return hint(err, "`noggin archive list` has the names")
	}
	return err
}

func printVerified(verified []batch.VerifiedArchive, out output) error {
	t := table{columns: []column{
		{"name", "ARCHIVE"},
		{"ok", "WHOLE"},
		{"records", "RECORDS"},
		{"files", "FILES"},
		{"bytes", "CONTENT"},
		{"size_bytes", "SIZE"},
		{"seconds", "SECONDS"},
		{"path", "PATH"},
		{"problem", "PROBLEM"},
	}}
	bad := 0
	for _, v := range verified {
		if !v.OK {
			bad++
		}
		t.rows = append(t.rows, []any{v.Name, v.OK, v.Records, v.Files, size(v.Bytes), size(v.SizeBytes), v.Seconds, v.Path, v.Problem})
	}
	if err := out.table(t); err != nil {
		return err
	}
	if bad > 0 {
		return hint(partialf("%d of %d archives are not as they should be", bad, len(verified)),
			"take them from your copy, and tell where with `noggin archive register FILE`; `noggin archive forget NAME` is for those that nothing is in any more")
	}
	return nil
}
