package commands

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

// shownUses is how many folders are listed for people; JSON has all.
const shownUses = 15

func emergencyCommand(env *environment) *cli.Command {
	return &cli.Command{
		Name:  "emergency",
		Usage: "free space on the output volume, step by step",
		Description: `Shows what uses the space and what each step would free; with --yes does the steps,
the cheapest first, until less than the target is used: unfinished files, backups
that the rotation lets go, errors older than three months, archiving old records.
process and import-csv are paused meanwhile.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "yes", Usage: "do it (default: only show what would be done)"},
			&cli.StringFlag{Name: "target", Usage: "stop when less than `PERCENT` of the volume are used", Value: "75%"},
			&cli.StringFlag{Name: "older-than", Usage: "archive inspections of more than `AGE` ago: 2y, 18m, 90d", Value: "1y"},
			&cli.StringFlag{Name: "archive-to", Usage: "write archives to the folder `DIR`, on another volume (default: [paths] archive)", TakesFile: true},
			&cli.BoolFlag{Name: "vacuum-full", Usage: "rewrite the table of errors, where its volume has room for that; nobody can use the table meanwhile"},
			waitFlag(), formatFlag(formatText, formatJSON),
		},
		Action: func(c *cli.Context) error {
			s, m, err := env.maintenance(c)
			if err != nil {
				return err
			}
			defer s.close()
			e, err := env.emergency(c, s, m)
			if err != nil {
				return err
			}
			defer e.Unlock()
			return runEmergency(c, env, s, e)
		},
	}
}

// emergency prepares the command. Without a database, whose volume may be the full
// one, it still does what needs none.
func (env *environment) emergency(c *cli.Context, s *session, m *batch.Maintenance) (*batch.Emergency, error) {
	target, err := strconv.ParseFloat(strings.TrimSuffix(c.String("target"), "%"), 64)
	if err != nil || !(target > 0 && target < 100) {
		return nil, usagef("--target %s: want a percentage such as 75%%", quoted(c.String("target")))
	}
	e := &batch.Emergency{
		Maintenance: m, Target: target, Yes: c.Bool("yes"), VacuumFull: c.Bool("vacuum-full"), ArchiveTo: c.String("archive-to"), Unlock: func() {},
		Archiver: &batch.Archiver{DB: s.db, Config: s.cfg.batch, Log: env.log, Version: m.Version},
	}
	if e.Before, err = archiveBefore(c.String("older-than"), "", false, s.cfg.now()); err != nil {
		return nil, err
	}
	if !e.Yes {
		if _, err = s.db.Standing(c.Context); errors.Is(err, storage.ErrUnavailable) {
			e.Offline, err = err, nil
		}
		return e, err
	}
	release, err := env.lock(c, s.db)
	switch {
	case err == nil:
		e.Unlock = release
	case errors.Is(err, storage.ErrUnavailable):
		env.log.Warn("without the database only files can be removed", "error", err)
		e.Offline = err
	default:
		return nil, err
	}
	return e, nil
}

func runEmergency(c *cli.Context, env *environment, s *session, e *batch.Emergency) error {
	var run int64
	if e.Yes && e.Offline == nil {
		var err error
		if run, err = s.db.StartRun(c.Context, commandName(c), e.Version); err != nil {
			return err
		}
	}
	result, err := e.Run(c.Context)
	err = errors.Join(err, e.Offline)
	if run != 0 {
		s.endRun(c.Context, env, run, result, err)
	}
	if result.TotalBytes == 0 {
		return err
	}
	return errors.Join(printEmergency(result, env.output(c)), err)
}

func printEmergency(r batch.EmergencyResult, out output) error {
	if out.format == formatJSON {
		return out.json(r)
	}
	if _, err := fmt.Fprintf(out, "output volume %s: %s used, %s free of %s; the target is under %g %%\n\n", printable(r.Output),
		percent(r.UsedBefore).human(), size(r.FreeBefore).human(), size(r.TotalBytes).human(), r.Target); err != nil {
		return err
	}
	uses := table{columns: []column{{"what", "WHAT USES SPACE"}, {"size", "SIZE"}, {"files", "FILES"}, {"path", "WHERE"}}}
	for _, use := range r.Uses[:min(len(r.Uses), shownUses)] {
		bytes := size(use.Bytes).human()
		if use.AtLeast {
			bytes = "> " + bytes
		}
		where := use.Path
		if !use.SameVolume {
			where += " (another volume)"
		}
		uses.rows = append(uses.rows, []any{use.What, bytes, use.Files, where})
	}
	if err := out.table(uses); err != nil {
		return err
	}
	steps := table{columns: []column{{"step", "STEP"}, {"bytes", "FREES"}, {"state", "STATE"}, {"effect", "WHAT"}}}
	for _, step := range r.Steps {
		steps.rows = append(steps.rows, stepRow(step))
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	if err := out.table(steps); err != nil {
		return err
	}
	last := "\nnothing was changed: --yes does it\n"
	if !r.DryRun {
		last = fmt.Sprintf("\n%s used, %s free\n", percent(r.UsedAfter).human(), size(r.FreeAfter).human())
	}
	_, err := fmt.Fprint(out, last)
	return err
}

func stepRow(step batch.EmergencyStep) []any {
	switch {
	case step.Error != "":
		return []any{step.Step, size(step.Freed).human(), "failed", strings.TrimPrefix(step.Effect+": "+step.Error, ": ")}
	case step.Done:
		return []any{step.Step, size(step.Freed).human(), "done", step.Effect}
	case step.Skipped == "not needed":
		return []any{step.Step, "-", "not needed", step.Plan}
	case step.Skipped != "":
		return []any{step.Step, "-", "left out", strings.TrimPrefix(step.Skipped, "left out: ")}
	default:
		return []any{step.Step, size(step.Bytes).human(), "planned", step.Plan}
	}
}
