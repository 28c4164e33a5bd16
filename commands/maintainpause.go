package commands

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

func pauseCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:        "pause",
		Usage:       "have process and import-csv do nothing, on every host",
		Description: "They say so and end with exit code 0. Runs under way finish what they have.",
		Flags: []cli.Flag{
			durationFlag("for", "resume by itself after `DURATION`, such as 2h (default: not before `noggin maintain resume`)", time.Second),
			&cli.StringFlag{Name: "reason", Usage: "what everybody is told: `TEXT`"},
			formatFlag(formatText, formatJSON),
		},
		Action: func(c *cli.Context) error {
			reason := strings.TrimSpace(c.String("reason"))
			if reason == "" {
				return usagef("--reason TEXT is missing: it is what the next operator reads")
			}
			var p storage.Pause
			return env.maintainState(c, func(s *session, _ int64) (text string, doc any, err error) {
				if p, err = s.db.Pause(c.Context, c.Duration("for"), reason); err != nil {
					return "", nil, err
				}
				return "paused " + pauseText(p.Until, p.Reason), p, nil
			})
		},
	}
}

func resumeCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "resume",
		Usage: "end a pause",
		Flags: []cli.Flag{formatFlag(formatText, formatJSON)},
		Action: func(c *cli.Context) error {
			return env.maintainState(c, func(s *session, _ int64) (string, any, error) {
				p, err := s.db.Resume(c.Context)
				if err != nil {
					return "", nil, err
				}
				doc := map[string]any{"was_paused": p != nil, "pause": p}
				if p == nil {
					return "it was not paused", doc, nil
				}
				return fmt.Sprintf("resumed; paused since %s by %s: %s", p.At.Format("2006-01-02 15:04"), printable(p.Host), printable(p.Reason)), doc, nil
			})
		},
	}
}

func resetCircuitCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:        "reset-circuit",
		Usage:       "close the circuit and forget the requests that opened it",
		Description: "For when the API is known to answer again. A pause that the API itself asked for (429) stays.",
		Flags:       []cli.Flag{formatFlag(formatText, formatJSON)},
		Action: func(c *cli.Context) error {
			return env.maintainState(c, func(s *session, run int64) (string, any, error) {
				r, err := batch.ResetCircuit(c.Context, s.db, run, "reset by an operator on "+s.db.Host())
				if err != nil {
					return "", nil, err
				}
				text := fmt.Sprintf("the circuit is closed; it was %s, %.0f %% of its recent requests had failed", r.Before, r.FailureRate)
				if r.PausedUntil != nil {
					text += fmt.Sprintf("; requests stay paused until %s: the API answered 429", r.PausedUntil.Format("15:04:05"))
				}
				return text, r, nil
			})
		},
	}
}

// maintainState does a short change of state, records it as a run, and prints
// what it says. It takes no lock: in an emergency it must not wait for an archive.
func (env *environment) maintainState(c *cli.Context, change func(s *session, run int64) (text string, doc any, err error)) error {
	s, err := env.open(c)
	if err != nil {
		return err
	}
	defer s.close()
	run, err := s.db.StartRun(c.Context, commandName(c), readVersion(env.assets.Version).Version)
	if err != nil {
		return err
	}
	text, doc, err := change(s, run)
	s.endRun(c.Context, env, run, doc, err)
	if err != nil {
		return err
	}
	return env.output(c).line(text, doc)
}
