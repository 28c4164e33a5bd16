package copies

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/archive/format"
	"noggin/batch/copies"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

// selectorFlags are the flags of the selector that restore takes.
var selectorFlags = append([]string{"tip", "object-type", "status", "since"}, session.InspectionFlags()...)

func restoreCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "restore",
		Usage: "bring files back from the target under their own paths",
		Description: `Without --to, the missing files come back into the output folder. Files whose archive
is whole stay in it; where it is missing, or was found damaged, they come back too, and
the database is told so. They also stay in an archive that only another host sees, or
whose folder is not mounted here; with --lost-archive they come back all the same. Every
file is compared with the hash in the database, and nothing is overwritten. With
--add-unknown files come back too that were copied after the backup from which the
database was restored, and that it does not know. --backup fetches a backup of the
database; the newest is one whose time is not ahead. --checkpoints fetches the leaves and
checkpoints of ` + "`noggin seal`" + `. Both need no database.`,
		Flags: append(session.SelectorFlags(selectorFlags...),
			cmdline.NotEmpty(&cli.StringFlag{Name: "to", Usage: "restore below the folder `DIR`, also what is in archives", TakesFile: true}),
			&cli.StringSliceFlag{Name: "lost-archive", Usage: "the archive `NAME`, which is not seen here, is lost (repeatable; all: all such)"},
			&cli.BoolFlag{Name: "add-unknown", Usage: "also bring files that the database does not know; only where nobody else can write into the target"},
			cmdline.NotEmpty(&cli.StringFlag{Name: "backup", Usage: "fetch the database backup `NAME`, or the newest, into --to or [paths] backups"}),
			&cli.BoolFlag{Name: "checkpoints", Usage: "fetch all leaves and checkpoints into --to or [paths] checkpoints"},
			session.WaitFlag(),
			cmdline.FormatFlag(show.Text, show.JSON),
		),
		Action: func(c *cli.Context) error {
			if !c.IsSet("backup") && !c.Bool("checkpoints") {
				return restoreFiles(open, c)
			}
			return restoreState(open, c)
		},
	}
}

func restoreFiles(open *session.Opener, c *cli.Context) error {
	s, err := open.Ready(c)
	if err != nil {
		return err
	}
	defer s.Close()
	opts := copies.RestoreOptions{To: c.String("to"), LostArchives: c.StringSlice("lost-archive"), AddUnknown: c.Bool("add-unknown")}
	if opts.To != "" && len(opts.LostArchives) > 0 {
		return cmdline.Usagef("--lost-archive cannot be combined with --to, which also brings what is in archives")
	}
	if opts.Selector, err = s.Selector(c); err != nil {
		return err
	}
	if i := slices.IndexFunc(selectorFlags, c.IsSet); opts.AddUnknown && i >= 0 {
		return cmdline.Usagef("--add-unknown cannot be combined with --%s: what the database does not know belongs to no record", selectorFlags[i])
	}
	copier, bar, err := newCopier(s, c)
	if err != nil {
		return err
	}
	var summary copies.RestoreSummary
	err = session.WhenUnlocked(c, func() (err error) {
		summary, err = copier.Restore(c.Context, opts)
		return err
	})
	if err == nil {
		err = unfinished(summary.Problems, "not restored", "move what is in the way elsewhere, and restore again; `noggin validate files --deep --fix` queues what is missing or damaged, to be fetched from the platform again")
	}
	if err == nil {
		err = notMounted(summary.Unseen)
	}
	if err == nil && summary.Busy > 0 {
		err = cmdline.Partialf("%s in the hands of another run: restore again", health.Plural(int(summary.Busy), "record"))
	}
	bar.Finish()
	if summary.RunID != 0 {
		s.Ended(c.Context, summary.RunID, summary, err)
	}
	if errors.Is(err, storage.ErrNoArchive) {
		return cmdline.WithCode(cmdline.ExitUsage, cmdline.Hint(err, "`noggin archive list` has the names"))
	}
	if err != nil && summary.Records+summary.Files+summary.AlreadyThere+int64(summary.Count) == 0 { // nothing was done
		return err
	}
	return errors.Join(err, printRestored(summary, cmdline.Output(c)))
}

// notMounted is the error of files that were left in archives whose folder is not mounted.
func notMounted(unseen []copies.Unseen) error {
	var left int64
	first := ""
	for _, u := range unseen {
		if u.Away {
			left, first = left+u.Files, cmp.Or(first, strings.TrimSuffix(u.Name, format.Ext))
		}
	}
	if left == 0 {
		return nil
	}
	return cmdline.Hint(cmdline.Partialf("left in archives whose folder is not mounted: %s", health.Plural(left, "file")),
		"mount its volume; what is lost comes back with `noggin copy restore --lost-archive "+first+"`; --lost-archive all takes all for lost")
}

func printRestored(s copies.RestoreSummary, out show.Output) error {
	if out.Format == show.JSON {
		return out.JSON(s)
	}
	var b strings.Builder
	problemsText(&b, s.Problems)
	fmt.Fprintf(&b, "restored  %s, %s, of %s; there already: %d\n", health.Plural(int(s.Files), "file"), show.Size(s.Bytes).Human(), health.Plural(int(s.Records), "record"), s.AlreadyThere)
	if s.Unarchived > 0 {
		fmt.Fprintf(&b, "archives  %s whose archive is missing or damaged, now in the output folder\n", health.Plural(int(s.Unarchived), "file"))
	}
	if s.InArchives > 0 {
		fmt.Fprintf(&b, "archives  %s left in archives\n", health.Plural(int(s.InArchives), "file"))
	}
	if s.Unknown > 0 {
		fmt.Fprintf(&b, "unknown   %s that the database does not know: `noggin process --adopt --refresh` adopts those of records\n", health.Plural(int(s.Unknown), "file"))
	}
	for _, u := range s.Unseen {
		fmt.Fprintf(&b, "archives  %s left in %s: %s\n", health.Plural(u.Files, "file"), u.Name, show.Printable(u.Why))
	}
	fmt.Fprintf(&b, "to        %s\n", show.Printable(s.Folder))
	_, err := fmt.Fprint(out, b.String())
	return err
}

// restoreState restores what is needed before a database is there.
func restoreState(open *session.Opener, c *cli.Context) error {
	flag := "backup"
	if c.Bool("checkpoints") {
		flag = "checkpoints"
	}
	others := append([]string{"backup", "lost-archive", "add-unknown"}, selectorFlags...)
	if i := slices.IndexFunc(others, func(other string) bool { return other != flag && c.IsSet(other) }); i >= 0 {
		return cmdline.Usagef("--%s cannot be combined with --%s", flag, others[i])
	}
	s, err := open.Session(c)
	if err != nil {
		return err
	}
	defer s.Close()
	copier, bar, err := newCopier(s, c)
	if err != nil {
		return err
	}
	defer bar.Finish()
	folder := ""
	if c.IsSet("to") {
		if folder, err = filepath.Abs(c.String("to")); err != nil {
			return err
		}
	}
	if flag == "backup" {
		return restoreBackup(c, copier, cmp.Or(folder, s.Config.Batch.Paths.Backups))
	}
	return restoreLog(c, copier, cmp.Or(folder, s.Config.Batch.Paths.Checkpoints))
}

func restoreBackup(c *cli.Context, copier *copies.Copier, folder string) error {
	name := c.String("backup")
	if name == "newest" {
		name = ""
	}
	backup, err := copier.RestoreBackup(c.Context, name, folder)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, ahead := range backup.PassedOver {
		fmt.Fprintf(&b, "ahead     %s is passed over: its time has not come\n", show.Printable(ahead))
	}
	fmt.Fprintf(&b, "restored  %s  %s, SHA-256 %s", show.Printable(backup.Path), show.Size(backup.Bytes).Human(), backup.SHA)
	return cmdline.Output(c).Line(b.String(), backup)
}

func restoreLog(c *cli.Context, copier *copies.Copier, folder string) error {
	log, err := copier.RestoreLog(c.Context, folder)
	if err != nil {
		return err
	}
	var b strings.Builder
	problemsText(&b, log.Problems)
	fmt.Fprintf(&b, "restored  %s of leaves and checkpoints, %s, in %s", health.Plural(int(log.Files), "file"), show.Size(log.Bytes).Human(), show.Printable(log.Folder))
	return errors.Join(cmdline.Output(c).Line(b.String(), log),
		unfinished(log.Problems, "not restored", "look at the files that are named; `noggin seal` refuses what does not fit"))
}
