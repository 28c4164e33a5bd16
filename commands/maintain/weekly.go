package maintain

import (
	"errors"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/maintain"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

func listCommand(open *session.Opener, name, period, usage string, list func(*maintain.Maintenance) []maintain.Step) *cli.Command {
	var names []string
	for _, step := range list(&maintain.Maintenance{}) {
		names = append(names, step.Name)
	}
	return &cli.Command{
		Name: name, Usage: usage,
		Description: "In this order: " + strings.Join(names, ", ") + ".\nA step that fails does not stop the others; the exit code is 3 then,\nor 4 if the database was away.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "once", Usage: "leave out the steps that a run of this " + period + ", on any host, has done already"},
			session.WaitFlag(), cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			s, m, err := maintenance(open, c)
			if err != nil {
				return err
			}
			defer s.Close()
			release, err := s.Lock(c)
			if err != nil {
				return err
			}
			defer release()
			var earlier map[string]maintain.StepResult
			if c.Bool("once") {
				if earlier, err = m.Earlier(c.Context, name, period); err != nil {
					return err
				}
			}
			summary, err := m.RunSteps(c.Context, name, list(m), earlier)
			return errors.Join(printSteps(summary, s.Config.Now().Location(), cmdline.Output(c)), err)
		},
	}
}

// printSteps prints what a list of steps did.
func printSteps(summary maintain.Summary, zone *time.Location, out show.Output) error {
	if out.Format == show.JSON {
		return out.JSON(summary)
	}
	t := show.Table{Columns: []show.Column{{"step", "Step"}, {"result", "Result"}, {"seconds", "Took"}, {"effect", "Effect"}}}
	for _, step := range summary.Steps {
		result, effect := "done", step.Effect
		switch {
		case step.Earlier:
			result = "done " + show.Time(step.StartedAt.In(zone))
		case !step.OK:
			result = "failed"
			if effect != "" {
				effect += ": "
			}
			effect += step.Error
		}
		t.Rows = append(t.Rows, []any{step.Step, show.State(result), show.Duration(step.Seconds), effect})
	}
	return out.Table(t)
}
