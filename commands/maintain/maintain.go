package maintain

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"noggin/batch/maintain"
	"noggin/commands/cmdline"
	"noggin/commands/config"
	"noggin/commands/session"
	"noggin/commands/show"
)

// Command is noggin maintain with its commands.
func Command(open *session.Opener) *cli.Command {
	m := func(name, usage, description string, step func(*maintain.Maintenance) maintain.Step) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, Description: description,
			Flags:  []cli.Flag{session.WaitFlag(), cmdline.FormatFlag(show.Text, show.JSON)},
			Action: func(c *cli.Context) error { return runStep(open, c, step) },
		}
	}
	return &cli.Command{
		Name:  "maintain",
		Usage: "keep the database, the disk and the backups well",
		Description: `Any of it may be done while process drains the queue. One maintenance or archive
runs at a time (else exit code 11); pause, resume, reset-circuit, backups and
restore-plan do not wait for it.

Examples:
  noggin maintain weekly --once --wait 2h    # what a timer does
  noggin maintain backup --to /mnt/usb/noggin
  noggin maintain pause --for 2h --reason 'moving the volume'
  noggin maintain emergency                  # the disk is full`,
		Subcommands: []*cli.Command{
			m("analyze", "renew the planner's statistics of every table", "", func(m *maintain.Maintenance) maintain.Step {
				return maintain.Step{Name: "analyze", Do: m.Analyze}
			}),
			m("vacuum", "free the dead rows of every table", "", func(m *maintain.Maintenance) maintain.Step {
				return maintain.Step{Name: "vacuum", Do: m.Vacuum}
			}),
			m("reindex", "build every index anew while it stays in use",
				"Also removes the invalid indexes that a rebuild which failed or was killed left behind.",
				func(m *maintain.Maintenance) maintain.Step { return maintain.Step{Name: "reindex", Do: m.Reindex} }),
			m("prune", "delete old errors, resolved unknown hashes and runs",
				"[maintain] says how long each is kept. Deletes in small batches, with pauses between them.",
				func(m *maintain.Maintenance) maintain.Step { return maintain.Step{Name: "prune", Do: m.Prune} }),
			m("temp", "remove the unfinished files that killed processes left", "Only those that nobody has written to for six hours.",
				func(m *maintain.Maintenance) maintain.Step { return maintain.Step{Name: "temp", Do: m.SweepTemp} }),
			backupCommand(open),
			backupsCommand(open),
			verifyBackupCommand(open),
			restorePlanCommand(open),
			emergencyCommand(open),
			pauseCommand(open),
			resumeCommand(open),
			resetCircuitCommand(open),
			notifyCommand(open),
			listCommand(open, "weekly", "week", "do the weekly maintenance", (*maintain.Maintenance).Weekly),
			listCommand(open, "monthly", "month", "do the monthly maintenance", (*maintain.Maintenance).Monthly),
		},
	}
}

// maintenance opens a session for a command of maintain: its statements have no time
// limit, but wait for the locks of others only as long as [maintain] lock_timeout.
func maintenance(open *session.Opener, c *cli.Context) (*session.Session, *maintain.Maintenance, error) {
	s, err := open.With(c, func(cfg *config.Config) {
		cfg.Storage.StatementTimeout, cfg.Storage.LockTimeout = 0, cfg.Batch.Maintain.LockTimeout
	})
	if err != nil {
		return nil, nil, err
	}
	zone, err := s.Config.Batch.Location()
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	return s, &maintain.Maintenance{
		DB: s.DB, Database: s.Config.Storage, Config: s.Config.Batch.Maintain, Paths: s.Config.Batch.Paths, Location: zone, Types: s.Types, Log: s.Log, Version: s.Version,
		ExitCode: func(err error) int { return session.ExitCode(context.Background(), err) },
	}, nil
}

// runStep does one step and prints its effect.
func runStep(open *session.Opener, c *cli.Context, step func(*maintain.Maintenance) maintain.Step) error {
	return runUnless(open, c, step, func(*maintain.Maintenance) (*maintain.Effect, error) { return nil, nil })
}

// runUnless is runStep, but skips the step when done, which is called under
// the lock, returns an effect.
func runUnless(open *session.Opener, c *cli.Context, step func(*maintain.Maintenance) maintain.Step,
	done func(*maintain.Maintenance) (*maintain.Effect, error),
) error {
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
	effect, err := done(m)
	if err != nil {
		return err
	}
	if effect != nil {
		return cmdline.Output(c).Line(show.Printable(effect.Text), effect.Details)
	}
	return printStep(m.RunStep(c.Context, step(m)), cmdline.Output(c))
}

// printStep prints what a step did, also where it failed in part.
func printStep(r maintain.StepResult, out show.Output) error {
	if r.Err != nil && r.Effect == "" {
		return r.Err
	}
	if out.Format == show.JSON {
		return errors.Join(out.JSON(r.Details), r.Err)
	}
	for _, line := range append(r.Lines[:len(r.Lines):len(r.Lines)], r.Effect) {
		if _, err := fmt.Fprintln(out, show.Printable(line)); err != nil {
			return err
		}
	}
	return r.Err
}
