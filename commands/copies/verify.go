package copies

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/copies"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func verifyCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "verify",
		Usage: "look whether every copy is there and as it should be",
		Description: `Compares presence, size, and the SHA-256 that an S3 server keeps. A folder shows the
SHA-256 only with --deep, which reads every copy back. A copy that is missing or
damaged is copied again by the next ` + "`noggin copy run`" + `. --deep also reads the copies of
the log of ` + "`noggin seal`" + `, in the first part, and replaces damaged ones at once.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "deep", Usage: "read every copy back"},
			cmdline.PartFlag("copies", ""),
			&cli.BoolFlag{Name: "once", Usage: "do nothing when a run of this week, on any host, has verified all copies, or no target is set"},
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			opts := copies.VerifyOptions{Deep: c.Bool("deep")}
			var err error
			if opts.Part, opts.Parts, err = cmdline.Part(c, time.Now()); err != nil {
				return err
			}
			if c.Bool("once") && opts.Parts > 0 {
				return cmdline.Usagef("--once cannot be combined with --part")
			}
			s, err := open.Ready(c)
			if err != nil {
				return err
			}
			defer s.Close()
			if c.Bool("once") {
				done, err := verifiedThisWeek(c, s)
				if done || err != nil {
					return err
				}
			}
			return runVerify(c, s, opts)
		},
	}
}

// verifiedThisWeek tells, and prints, that there is nothing to verify: no target, nothing
// copied yet, or a run of this week has verified all.
func verifiedThisWeek(c *cli.Context, s *session.Session) (done bool, err error) {
	if s.Config.Batch.Copy.To == "" {
		return true, nothingToDo(cmdline.Output(c))
	}
	runs, err := s.DB.RunsThis(c.Context, "week", s.Command)
	if err != nil {
		return false, err
	}
	for _, run := range runs {
		var earlier copies.VerifySummary
		if json.Unmarshal(run.Summary, &earlier) != nil || earlier.Part != 0 || run.ExitCode != cmdline.ExitDone && run.ExitCode != cmdline.ExitPartial ||
			earlier.Target != (&copies.Copier{Config: s.Config.Batch.Copy}).Target() {
			continue
		}
		return true, cmdline.Output(c).Line(fmt.Sprintf("%s verified the copies on %s", run.Host, run.Finished.Format("2006-01-02 15:04")), earlier)
	}
	return false, nil
}

func runVerify(c *cli.Context, s *session.Session, opts copies.VerifyOptions) error {
	copier, bar, err := newCopier(s, c)
	if err != nil {
		return err
	}
	var summary copies.VerifySummary
	err = s.Recorded(c.Context, s.Command, func(run int64) (any, error) {
		var err error
		summary, err = copier.Verify(c.Context, run, opts)
		if err == nil {
			err = unfinished(summary.Problems, "missing or damaged in the target", "`noggin copy run` copies them again")
		}
		return summary, err
	})
	bar.Finish()
	if err != nil && summary.Checked == 0 {
		return err
	}
	return errors.Join(err, printVerified(summary, cmdline.Output(c)))
}

func printVerified(s copies.VerifySummary, out show.Output) error {
	if out.Format == show.JSON {
		return out.JSON(s)
	}
	var b strings.Builder
	problemsText(&b, s.Problems)
	how := "looked at"
	if s.Deep {
		how = "read back"
	}
	fmt.Fprintf(&b, "verified  %s, %s, %s; missing: %d, damaged: %d\n", health.Plural(s.Checked, "copy|copies"), show.Size(s.Bytes).Human(), how, s.Missing, s.Damaged)
	_, err := fmt.Fprint(out, b.String())
	return err
}
