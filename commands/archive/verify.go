package archive

import (
	"errors"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/archive"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func verifyCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "read archives whole and compare them with the database, file by file where they differ",
		ArgsUsage: "[NAME]",
		Description: `NAME is an archive, such as noggin-2024-03, or all, which is the default. The bytes
of the archive must be those that were compared file by file when it was made, and
its manifest must have what the database has in it. What is wrong stays flagged in the
dashboard until a later verification finds it mended.

With --due it takes this week's share, those first whose verification is the longest
ago, so that each is verified once a quarter: noggin-archive-verify.timer does so. On
several hosts each verifies the archives that it sees. With --part 3/12 each archive
is in one of the twelve parts.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "due", Usage: "only this week's share: each archive once a quarter"},
			cmdline.PartFlag("archives", ""),
			cmdline.FormatFlag(show.Text, show.JSON, show.CSV),
		},
		Action: func(c *cli.Context) error {
			opts := archive.VerifyOptions{Name: c.Args().First(), Due: c.Bool("due")}
			if opts.Name == "all" {
				opts.Name = ""
			}
			switch {
			case opts.Name != "" && c.IsSet("part"):
				return cmdline.Usagef("--part cannot be combined with NAME: it is a share of all archives")
			case opts.Name != "" && opts.Due:
				return cmdline.Usagef("--due cannot be combined with NAME: it is a share of all archives")
			case c.IsSet("part") && opts.Due:
				return cmdline.Usagef("--part cannot be combined with --due")
			}
			var err error
			if opts.Part, opts.Parts, err = cmdline.Part(c, time.Now()); err != nil {
				return err
			}
			s, archiver, bar, err := newArchiver(open, c, "files")
			if err != nil {
				return err
			}
			defer s.Close()
			return s.Recorded(c.Context, "archive verify", func(int64) (any, error) {
				verified, err := archiver.Verify(c.Context, opts)
				bar.Finish()
				if err != nil && len(verified.Archives) == 0 {
					return nil, noSuchArchive(err)
				}
				return verifySummary(verified), errors.Join(err, printVerified(verified.Archives, cmdline.Output(c)), verifyVerdict(verified))
			})
		},
	}
}

// verifySummary is what the run keeps.
func verifySummary(v archive.Verification) any {
	summary := struct {
		Archives int   `json:"archives"`
		Bytes    int64 `json:"bytes"`
		Wrong    int   `json:"wrong"`
	}{Archives: len(v.Archives)}
	for _, one := range v.Archives {
		summary.Bytes += one.SizeBytes
		if !one.OK {
			summary.Wrong++
		}
	}
	return summary
}

// verifyVerdict is the error of a verification that found something.
func verifyVerdict(v archive.Verification) error {
	bad := 0
	for _, one := range v.Archives {
		if !one.OK {
			bad++
		}
	}
	var wrong, mends []string
	if bad > 0 {
		wrong = append(wrong, show.Textf("%d of %d archives are not as they should be", bad, len(v.Archives)))
		mends = append(mends, "take them from your copy and run `noggin archive register FILE`; where [copy] has a second place, `noggin copy restore` brings files of lost archives back; `noggin archive forget NAME` is for an archive from which everything was restored, and with --lost for one that is nowhere any more")
	}
	if len(v.Unmounted) > 0 {
		var folders []string
		for _, a := range v.Unmounted {
			folders = append(folders, a.Folder()+" "+a.Why)
		}
		wrong = append(wrong, "no archive was verified in "+health.Plural(len(folders), "folder")+": "+show.Printable(strings.Join(folders, "; ")))
		mends = append(mends, "mount the volume; where the archives lie in another folder now: `noggin archive register FILE`; `noggin archive forget NAME` is for an archive from which everything was restored")
	}
	if len(wrong) == 0 {
		return nil
	}
	return cmdline.Hint(cmdline.Partialf("%s", strings.Join(wrong, "; ")), mends...)
}

func printVerified(verified []archive.Verified, out show.Output) error {
	t := show.Table{Columns: []show.Column{
		{"name", "Archive"},
		{"ok", "Whole"},
		{"records", "Records"},
		{"files", "Files"},
		{"bytes", "Content"},
		{"size_bytes", "Size"},
		{"seconds", "Took"},
		{"path", "Path"},
		{"problem", "Problem"},
	}, Spare: []string{"Path", "Took", "Content", "Files", "Records"}}
	for _, v := range verified {
		t.Rows = append(t.Rows, []any{show.ID(v.Name), v.OK, v.Records, v.Files, show.Size(v.Bytes), show.Size(v.SizeBytes), show.Duration(v.Seconds), v.Path, v.Problem})
	}
	return out.Table(t)
}
