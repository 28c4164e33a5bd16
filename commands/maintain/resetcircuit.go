package maintain

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"noggin/batch/gate"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func resetCircuitCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:        "reset-circuit",
		Usage:       "close the circuit and forget the requests that opened it",
		Description: "For when the API is known to answer again. A pause that the API itself asked for (429) stays.",
		Flags:       []cli.Flag{cmdline.FormatFlag(show.Text, show.JSON)},
		Action: func(c *cli.Context) error {
			return changeState(open, c, func(s *session.Session, run int64) (string, any, error) {
				r, err := gate.ResetCircuit(c.Context, s.DB, run, "reset by an operator on "+s.DB.Host())
				if err != nil {
					return "", nil, err
				}
				text := fmt.Sprintf("the circuit is closed; it was %s, %.0f %% of its recent requests had failed", r.Before, r.FailureRate)
				if r.PausedUntil != nil {
					text += fmt.Sprintf("; requests stay paused until %s: the API answered 429", show.Time(*r.PausedUntil))
				}
				return text, r, nil
			})
		},
	}
}
