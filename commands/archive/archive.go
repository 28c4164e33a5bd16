package archive

import (
	"errors"

	"github.com/urfave/cli/v2"

	"noggin/batch/archive"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/storage"
)

// Command is noggin archive with its commands.
func Command(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "archive",
		Usage: "move the files of old records into archives, and back",
		Description: `An archive holds the attachments and text reports of a month, and a manifest. It
opens with tar, zstd and sha256sum alone:

  tar --zstd -xf noggin-2024-03.tar.zst && sha256sum -c noggin-2024-03.sha256

Examples:
  noggin archive create --older-than 2y --dry-run
  noggin archive create --older-than 2y --to /mnt/backup/noggin
  noggin archive restore 'LCD - 045289' --to /tmp/look
  noggin archive verify all --part 1/12`,
		Subcommands: []*cli.Command{
			createCommand(open),
			listCommand(open),
			showCommand(open),
			verifyCommand(open),
			restoreCommand(open),
			registerCommand(open),
			forgetCommand(open),
		},
	}
}

// newArchiver opens a session for a command of archive, checks the schema, and sets
// no limit on the time of a statement.
func newArchiver(open *session.Opener, c *cli.Context, unit string) (*session.Session, *archive.Archiver, *session.Progress, error) {
	s, err := open.Ready(c)
	if err != nil {
		return nil, nil, nil, err
	}
	bar := s.Console.Progress(c, unit)
	return s, &archive.Archiver{
		DB: s.DB, Config: s.Config.Batch.Archive, Paths: s.Config.Batch.Paths, Second: s.Config.Batch.Copy.Place(), ClaimLease: s.Config.Batch.Processing.ClaimLease, Log: s.Log, Version: s.Version,
		Progress: func(p archive.Progress) {
			bar.Update(session.State{Done: p.Done, Total: p.Total, Bytes: p.Bytes, Note: p.Phase})
		},
	}, bar, nil
}

// archiving calls do while no other run holds the lock, for which it waits as long as
// --wait says, and records the end of the run that the archiver began. do returns the
// run's id, 0 for none, and its summary.
func archiving(open *session.Opener, c *cli.Context, do func(*session.Session, *archive.Archiver) (run int64, summary any, err error)) error {
	s, archiver, bar, err := newArchiver(open, c, "records")
	if err != nil {
		return err
	}
	defer s.Close()
	var run int64
	var summary any
	err = session.WhenUnlocked(c, func() (err error) {
		run, summary, err = do(s, archiver)
		return err
	})
	bar.Finish()
	if run != 0 {
		s.Ended(c.Context, run, summary, err)
	}
	return err
}

// noSuchArchive adds to the error of a name that nothing has where names are listed.
func noSuchArchive(err error) error {
	switch {
	case errors.Is(err, storage.ErrNoArchive), errors.Is(err, archive.ErrUnknown):
		return cmdline.WithCode(cmdline.ExitUsage, cmdline.Hint(err, "`noggin archive list` has the names"))
	case errors.Is(err, archive.ErrNotArchived):
		return cmdline.Hint(err, "`noggin report tip TIP` says where its files are")
	}
	return err
}
