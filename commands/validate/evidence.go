package validate

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/archive"
	"noggin/batch/files"
	"noggin/batch/seal"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

const areaEvidence = "evidence"

func evidenceCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  areaEvidence,
		Usage: "prove that nothing sealed was changed since: log, rows, bodies, files, archives",
		Description: `Reads the whole log of ` + "`noggin seal`" + ` and compares it with each checkpoint: those in
[paths] checkpoints, those in the database, and those of --checkpoint. Then it compares
every leaf with the record's body, its payload, its rows and its files, on disk and in
archives. Names the first thing that does not match. Reads every file: on a large mirror
that takes hours; --no-files leaves files and archives out.

Only a checkpoint that somebody else has kept proves something against whoever may write
to both the database and the disk. Ends with 3 when something does not match.

Examples:
  noggin validate evidence
  noggin validate evidence --checkpoint /media/usb/checkpoint-000000045289 --no-files`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "checkpoint", Usage: "compare with the checkpoint in `FILE`, which somebody else has kept", TakesFile: true},
			publicKeyFlag(),
			&cli.BoolFlag{Name: "no-files", Usage: "leave out the files on disk and in archives"},
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			if given := c.Lineage()[1].LocalFlagNames(); len(given) > 0 {
				return cmdline.Usagef("--%s does not apply to validate evidence", given[0])
			}
			return runEvidence(c, open)
		},
	}
}

func publicKeyFlag() cli.Flag {
	return cmdline.NotEmpty(&cli.StringFlag{Name: "public-key", Usage: "trust only this key: `KEY|FILE`, as seal init printed it", TakesFile: true})
}

// publicKey reads --public-key: the key itself, or a file with it. An empty one would trust
// any key.
func publicKey(c *cli.Context) (string, error) {
	given := c.String("public-key")
	f, _, err := files.OpenNamed(c.Context, given)
	if err != nil {
		return given, context.Cause(c.Context) // it is the key itself, or none
	}
	defer files.Release(f)
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", cmdline.Usagef("--public-key: %w", err)
	}
	key := strings.TrimSpace(string(text))
	if key == "" {
		return "", cmdline.Usagef("--public-key: %s is empty", show.Quoted(given))
	}
	return key, nil
}

func runEvidence(c *cli.Context, open *session.Opener) error {
	v := &validation{opts: options{areas: []string{areaEvidence}}, hide: open.Secrets.Hide}
	key, err := publicKey(c)
	if err != nil {
		return err
	}
	s, err := open.Unbound(c)
	if err != nil {
		return err
	}
	defer s.Close()
	v.session = s
	bar := s.Console.Progress(c, "leaves compared")
	archiver := &archive.Archiver{
		DB: s.DB, Config: s.Config.Batch.Archive, Paths: s.Config.Batch.Paths, ClaimLease: s.Config.Batch.Processing.ClaimLease, Log: s.Log, Version: s.Version,
		Progress: func(p archive.Progress) {
			bar.Update(session.State{Done: p.Done, Total: p.Total, Bytes: p.Bytes, Note: p.Phase})
		},
	}
	evidence := &seal.Evidence{
		DB: s.DB, Paths: s.Config.Batch.Paths, Types: s.Types, Checkpoints: c.StringSlice("checkpoint"), PublicKey: key, NoFiles: c.Bool("no-files"), Log: s.Log,
		Archives: func(ctx context.Context) (seal.Archives, error) {
			found := seal.Archives{}
			v, err := archiver.Verify(ctx, archive.VerifyOptions{Deep: true})
			for _, a := range v.Archives {
				if found.Compared++; !a.OK {
					found.Wrong = append(found.Wrong, a.Name+": "+a.Problem)
				}
			}
			for _, a := range v.Unmounted {
				found.Wrong = append(found.Wrong, "the folder of "+a.Name+" is not mounted, so none of its archives was compared")
			}
			return found, err
		},
		Progress: func(leaves, total, bytes int64) {
			bar.Update(session.State{Done: int(leaves), Total: int(total), Bytes: bytes})
		},
	}
	return v.recorded(c.Context, func(int64) (any, error) {
		area, err := evidence.Area(c.Context)
		bar.Finish()
		if errors.Is(err, seal.ErrBadKey) {
			return v.result, cmdline.Usagef("%w", err)
		}
		if err == nil {
			v.add(area)
			err = v.conclude(cmdline.Output(c))
		}
		return v.result, err
	})
}
