package archive

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/archive"
	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func forgetCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "forget",
		Usage:     "forget an archive from which everything was restored, or record that one is lost",
		ArgsUsage: "NAME",
		Description: `For an archive whose file is gone for good and missed by ` + "`noggin archive verify`" + `.
Refused as long as anything is known to be in it. The file itself is left alone, and no
new archive gets its name.

--lost is for an archive that is nowhere any more, and of whose files no copy is known.
Its loss is recorded with the reason: in ` + "`noggin archive list`" + `, and for each record in
` + "`noggin report tip TIP`" + `. The records are due again, so that ` + "`noggin process`" + ` fetches what
the platform still has. Files of former versions stay recorded as lost. If the archive
turns up after all, ` + "`noggin archive register FILE`" + ` takes it back.

Examples:
  noggin archive forget noggin-2024-03
  noggin archive forget noggin-2024-03 --lost --reason 'the disk of the archives died'`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "lost", Usage: "record that the archive is lost with the files in it"},
			&cli.StringFlag{Name: "reason", Usage: "with --lost: how it was lost, as `TEXT`"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "with --lost: do not ask"},
			session.WaitFlag(),
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			reason := strings.TrimSpace(c.String("reason"))
			switch {
			case c.Bool("lost") && reason == "":
				return cmdline.Usagef("--lost needs --reason TEXT: it stays recorded with the archive")
			case c.Bool("lost"):
				return noSuchArchive(lose(open, c, reason))
			case c.IsSet("reason"), c.IsSet("yes"):
				return cmdline.Usagef("--reason and --yes belong to --lost")
			}
			result := struct {
				RunID int64  `json:"run_id"`
				Name  string `json:"name"`
			}{Name: c.Args().First()}
			err := archiving(open, c, func(_ *session.Session, archiver *archive.Archiver) (_ int64, _ any, err error) {
				result.RunID, err = archiver.Forget(c.Context, result.Name)
				return result.RunID, result, err
			})
			if err != nil {
				return noSuchArchive(err)
			}
			return cmdline.Output(c).Line("forgotten  "+show.Printable(result.Name), result)
		},
	}
}

// lose asks, and records that the archive is lost.
func lose(open *session.Opener, c *cli.Context, reason string) error {
	var s archive.LostSummary
	err := archiving(open, c, func(session *session.Session, archiver *archive.Archiver) (_ int64, _ any, err error) {
		held, odd, err := archiver.Losing(c.Context, c.Args().First())
		if err != nil {
			return 0, nil, err
		}
		question := "No copy is known of " + health.Plural(held, "file") + " in it. Record them as lost?"
		if odd != "" {
			question = "Perhaps it is only not mounted: " + show.Printable(odd) + ". " + question
		}
		if err := session.Console.Confirm(c.Context, question, c.Bool("yes")); err != nil {
			return 0, nil, err
		}
		s, err = archiver.Lose(c.Context, c.Args().First(), reason)
		if err == nil && s.Busy > 0 {
			err = cmdline.Hint(cmdline.Partialf("%s left out: another run has them", health.Plural(s.Busy, "record")), "run the same command again")
		}
		return s.RunID, s, err
	})
	if err != nil && s.Name == "" {
		return err
	}
	facts := []show.Fact{
		{"lost", fmt.Sprintf("%s, with %s of %s", s.Name, health.Plural(s.Files+s.Former, "file"), health.Plural(s.Records, "record"))},
		{"due again", health.Plural(s.Queued, "record") + ": `noggin process` fetches what the platform still has"},
	}
	if s.Former > 0 {
		facts = append(facts, show.Fact{"former", health.Plural(s.Former, "file") + " of former versions, which the platform has no more"})
	}
	if printErr := cmdline.Output(c).Facts(s, facts...); err == nil {
		err = printErr
	}
	return err
}
