package maintain

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func pauseCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:        "pause",
		Usage:       "have process and import-csv do nothing, on every host",
		Description: "They say so and end with exit code 0. Runs under way finish what they have.",
		Flags: []cli.Flag{
			cmdline.DurationFlag("for", "resume by itself after `DURATION`, such as 2h (default: not before `noggin maintain resume`)", time.Second),
			&cli.StringFlag{Name: "reason", Usage: "what everybody is told: `TEXT`", Required: true},
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			reason := strings.TrimSpace(c.String("reason"))
			if reason == "" {
				return cmdline.Usagef("--reason is empty: it is what the next operator reads")
			}
			var p storage.Pause
			return changeState(open, c, func(s *session.Session, _ int64) (text string, doc any, err error) {
				if p, err = s.DB.Pause(c.Context, c.Duration("for"), reason); err != nil {
					return "", nil, err
				}
				return "paused " + session.PauseText(p.Until, p.Reason), p, nil
			})
		},
	}
}

func resumeCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "resume",
		Usage: "end a pause",
		Flags: []cli.Flag{cmdline.FormatFlag(show.Text, show.JSON)},
		Action: func(c *cli.Context) error {
			return changeState(open, c, func(s *session.Session, _ int64) (string, any, error) {
				p, err := s.DB.Resume(c.Context)
				if err != nil {
					return "", nil, err
				}
				doc := map[string]any{"was_paused": p != nil, "pause": p}
				if p == nil {
					return "it was not paused", doc, nil
				}
				return fmt.Sprintf("resumed; paused since %s by %s: %s", show.Time(p.At), show.Printable(p.Host), show.Printable(p.Reason)), doc, nil
			})
		},
	}
}

// changeState makes a short change of state as a run and prints the result. It takes
// no lock, because in an emergency it must not wait for an archive.
func changeState(open *session.Opener, c *cli.Context, change func(s *session.Session, run int64) (text string, doc any, err error)) error {
	s, err := open.Session(c)
	if err != nil {
		return err
	}
	defer s.Close()
	var text string
	var doc any
	err = s.Recorded(c.Context, s.Command, func(run int64) (_ any, err error) {
		text, doc, err = change(s, run)
		return doc, err
	})
	if err != nil {
		return err
	}
	return cmdline.Output(c).Line(text, doc)
}
