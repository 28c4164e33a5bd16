package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

func maintainCommand(env *environment) *cli.Command {
	m := func(name, usage, description string, step func(*batch.Maintenance) batch.Step) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, Description: description,
			Flags:  []cli.Flag{waitFlag(), formatFlag(formatText, formatJSON)},
			Action: func(c *cli.Context) error { return env.maintainStep(c, step) },
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
			m("analyze", "renew the planner's statistics of every table", "", func(m *batch.Maintenance) batch.Step {
				return batch.Step{Name: "analyze", Do: m.Analyze}
			}),
			m("vacuum", "free the dead rows of every table", "", func(m *batch.Maintenance) batch.Step {
				return batch.Step{Name: "vacuum", Do: m.Vacuum}
			}),
			m("reindex", "build every index anew while it stays in use",
				"Also removes the invalid indexes that a rebuild which failed or was killed left behind.",
				func(m *batch.Maintenance) batch.Step { return batch.Step{Name: "reindex", Do: m.Reindex} }),
			m("prune", "delete old errors, resolved unknown hashes and runs",
				"For how long each is kept stands in [maintain]. Deletes in small batches, with rests between them.",
				func(m *batch.Maintenance) batch.Step { return batch.Step{Name: "prune", Do: m.Prune} }),
			m("temp", "remove the unfinished files that killed processes left", "Only those that nobody has written to for six hours.",
				func(m *batch.Maintenance) batch.Step { return batch.Step{Name: "temp", Do: m.SweepTemp} }),
			backupCommand(env),
			backupsCommand(env),
			verifyBackupCommand(env),
			restorePlanCommand(env),
			emergencyCommand(env),
			pauseCommand(env),
			resumeCommand(env),
			resetCircuitCommand(env),
			maintainListCommand(env, "weekly", "week", "do the weekly maintenance", (*batch.Maintenance).Weekly),
			maintainListCommand(env, "monthly", "month", "do the monthly maintenance", (*batch.Maintenance).Monthly),
		},
	}
}

func waitFlag() cli.Flag {
	return durationFlag("wait", "wait at most `DURATION`, such as 2h, for another maintenance or archive to end", 0)
}

// maintenance is the session of a command that maintains: its statements may take
// as long as they need, but do not wait for locks that others hold.
func (env *environment) maintenance(c *cli.Context) (*session, *batch.Maintenance, error) {
	s, err := env.openWith(c, func(cfg *config) {
		cfg.storage.StatementTimeout, cfg.storage.LockTimeout = 0, cfg.batch.Maintain.LockTimeout
	})
	if err != nil {
		return nil, nil, err
	}
	return s, &batch.Maintenance{
		DB: s.db, Database: s.cfg.storage, Config: s.cfg.batch, Log: env.log, Version: readVersion(env.assets.Version).Version,
		ExitCode: func(err error) int { return exitCode(context.Background(), err) },
	}, nil
}

// lock takes the maintenance lock, for which it waits as long as --wait says.
func (env *environment) lock(c *cli.Context, db *storage.DB) (release func(), err error) {
	err = whenUnlocked(c, func() (err error) {
		release, err = db.Lock(c.Context, commandName(c))
		return err
	})
	return release, err
}

// maintainStep does one step and prints its effect.
func (env *environment) maintainStep(c *cli.Context, step func(*batch.Maintenance) batch.Step) error {
	return env.maintainUnless(c, step, func(*batch.Maintenance) (*batch.Effect, error) { return nil, nil })
}

// maintainUnless is maintainStep, unless something tells, under the lock, that the
// work is done already.
func (env *environment) maintainUnless(c *cli.Context, step func(*batch.Maintenance) batch.Step,
	done func(*batch.Maintenance) (*batch.Effect, error),
) error {
	s, m, err := env.maintenance(c)
	if err != nil {
		return err
	}
	defer s.close()
	release, err := env.lock(c, s.db)
	if err != nil {
		return err
	}
	defer release()
	effect, err := done(m)
	if err != nil {
		return err
	}
	if effect != nil {
		return env.output(c).line(printable(effect.Text), effect.Details)
	}
	return printStep(m.RunStep(c.Context, step(m)), env.output(c))
}

// printStep prints what a step did, also where it failed in part.
func printStep(r batch.StepResult, out output) error {
	if r.Err != nil && r.Effect == "" {
		return r.Err
	}
	if out.format == formatJSON {
		return errors.Join(out.json(r.Details), r.Err)
	}
	for _, line := range append(r.Lines[:len(r.Lines):len(r.Lines)], r.Effect) {
		if _, err := fmt.Fprintln(out, printable(line)); err != nil {
			return err
		}
	}
	return r.Err
}

func maintainListCommand(env *environment, name, period, usage string, list func(*batch.Maintenance) []batch.Step) *cli.Command {
	var names []string
	for _, step := range list(&batch.Maintenance{}) {
		names = append(names, step.Name)
	}
	return &cli.Command{
		Name: name, Usage: usage,
		Description: "In this order: " + strings.Join(names, ", ") + ".\nA step that fails does not stop the others; the exit code is 3 then.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "once", Usage: "leave out the steps that a run of this " + period + ", on any host, has done already"},
			waitFlag(), formatFlag(formatText, formatJSON),
		},
		Action: func(c *cli.Context) error {
			s, m, err := env.maintenance(c)
			if err != nil {
				return err
			}
			defer s.close()
			release, err := env.lock(c, s.db)
			if err != nil {
				return err
			}
			defer release()
			var earlier map[string]batch.StepResult
			if c.Bool("once") {
				if earlier, err = m.Earlier(c.Context, name, period); err != nil {
					return err
				}
			}
			summary, err := m.RunSteps(c.Context, name, list(m), earlier)
			return errors.Join(printSteps(summary, s.cfg.now().Location(), env.output(c)), err)
		},
	}
}

// printSteps prints what a list of steps did.
func printSteps(summary batch.MaintenanceSummary, zone *time.Location, out output) error {
	if out.format == formatJSON {
		return out.json(summary)
	}
	t := table{columns: []column{{"step", "STEP"}, {"result", "RESULT"}, {"seconds", "SECONDS"}, {"effect", "EFFECT"}}}
	for _, step := range summary.Steps {
		result, effect := "done", step.Effect
		switch {
		case step.Earlier:
			result = "done " + step.StartedAt.In(zone).Format("2006-01-02 15:04")
		case !step.OK:
			result = "failed"
			if effect != "" {
				effect += ": "
			}
			effect += step.Error
		}
		t.rows = append(t.rows, []any{step.Step, result, step.Seconds, effect})
	}
	return out.table(t)
}
