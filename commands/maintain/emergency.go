package maintain

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/archive"
	"noggin/batch/maintain"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

// shownUses is how many folders are listed for people; JSON has all.
const shownUses = 15

func emergencyCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:  "emergency",
		Usage: "free space on the output volume, step by step",
		Description: `Shows what uses the space and what each step would free; with --yes does the steps,
the cheapest first, until less than the target is used: unfinished files, backups
that the rotation does not keep, errors older than three months, archiving old records.
process and import-csv are paused meanwhile.`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "yes", Usage: "do it (default: only show what would be done)"},
			cmdline.NotEmpty(&cli.StringFlag{Name: "target", Usage: "stop when less than `PERCENT` of the volume are used", Value: "75%"}),
			cmdline.NotEmpty(&cli.StringFlag{Name: "older-than", Usage: "archive inspections of more than `AGE` ago: 2y, 18m, 90d", Value: "1y"}),
			cmdline.NotEmpty(&cli.StringFlag{Name: "archive-to", Usage: "write archives to the folder `DIR`, on another volume (default: [paths] archive)", TakesFile: true}),
			&cli.BoolFlag{Name: "vacuum-full", Usage: "rewrite the table of errors, where its volume has room for that; nobody can use the table meanwhile"},
			session.WaitFlag(), cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: func(c *cli.Context) error {
			s, m, err := maintenance(open, c)
			if err != nil {
				return err
			}
			defer s.Close()
			e, err := emergency(c, s, m)
			if err != nil {
				return err
			}
			defer e.Unlock()
			return runEmergency(c, s, e)
		},
	}
}

// emergency prepares the command. The database's volume may be the full one: without a
// database the command does the steps that need none.
func emergency(c *cli.Context, s *session.Session, m *maintain.Maintenance) (*maintain.Emergency, error) {
	target, err := strconv.ParseFloat(strings.TrimSuffix(c.String("target"), "%"), 64)
	if err != nil || !(target > 0 && target < 100) {
		return nil, cmdline.Usagef("--target %s: want a percentage such as 75%%", show.Quoted(c.String("target")))
	}
	e := &maintain.Emergency{
		Maintenance: m, Target: target, Yes: c.Bool("yes"), VacuumFull: c.Bool("vacuum-full"), ArchiveTo: c.String("archive-to"), Unlock: func() {},
		Archiver: &archive.Archiver{
			DB: s.DB, Config: s.Config.Batch.Archive, Paths: s.Config.Batch.Paths, Second: s.Config.Batch.Copy.Place(), ClaimLease: s.Config.Batch.Processing.ClaimLease, Log: s.Log, Version: m.Version,
		},
	}
	if e.Before, err = cmdline.DayOlderThan(c.String("older-than"), s.Config.Now()); err != nil {
		return nil, err
	}
	if !e.Yes {
		if _, err = s.DB.Standing(c.Context); errors.Is(err, storage.ErrUnavailable) {
			e.Offline, err = err, nil
		}
		return e, err
	}
	release, err := s.Lock(c)
	switch {
	case err == nil:
		e.Unlock = release
	case errors.Is(err, storage.ErrUnavailable):
		s.Log.Warn("without the database only files can be removed", "error", err)
		e.Offline = err
	default:
		return nil, err
	}
	return e, nil
}

func runEmergency(c *cli.Context, s *session.Session, e *maintain.Emergency) (err error) {
	var result maintain.EmergencyResult
	free := func(int64) (_ any, err error) {
		result, err = e.Run(c.Context)
		return result, errors.Join(err, e.Offline)
	}
	if e.Yes && e.Offline == nil {
		err = s.Recorded(c.Context, s.Command, free)
	} else {
		_, err = free(0)
	}
	if result.TotalBytes == 0 {
		return err
	}
	return errors.Join(printEmergency(result, cmdline.Output(c)), err)
}

func printEmergency(r maintain.EmergencyResult, out show.Output) error {
	if out.Format == show.JSON {
		return out.JSON(r)
	}
	if _, err := fmt.Fprintf(out, "output volume %s: %s used, %s free of %s; the target is under %g %%\n\n", show.Printable(r.Output),
		show.Percent(r.UsedBefore).Human(), show.Size(r.FreeBefore).Human(), show.Size(r.TotalBytes).Human(), r.Target); err != nil {
		return err
	}
	uses := show.Table{Columns: []show.Column{{"what", "What uses space"}, {"size", "Size"}, {"files", "Files"}, {"path", "Where"}}}
	for _, use := range r.Uses[:min(len(r.Uses), shownUses)] {
		bytes := show.Size(use.Bytes).Human()
		if use.AtLeast {
			bytes = "> " + bytes
		}
		where := use.Path
		if !use.SameVolume {
			where += " (another volume)"
		}
		uses.Rows = append(uses.Rows, []any{use.What, bytes, use.Files, where})
	}
	if err := out.Table(uses); err != nil {
		return err
	}
	steps := show.Table{Columns: []show.Column{{"step", "Step"}, {"bytes", "Frees"}, {"state", "State"}, {"effect", "What"}}}
	for _, step := range r.Steps {
		steps.Rows = append(steps.Rows, stepRow(step))
	}
	if _, err := fmt.Fprintln(out); err != nil {
		return err
	}
	if err := out.Table(steps); err != nil {
		return err
	}
	last := "\nnothing was changed: --yes does it\n"
	if !r.DryRun {
		last = fmt.Sprintf("\n%s used, %s free\n", show.Percent(r.UsedAfter).Human(), show.Size(r.FreeAfter).Human())
	}
	_, err := fmt.Fprint(out, last)
	return err
}

func stepRow(step maintain.EmergencyStep) []any {
	switch {
	case step.Error != "":
		return []any{step.Step, show.Size(step.Freed).Human(), "failed", strings.TrimPrefix(step.Effect+": "+step.Error, ": ")}
	case step.Done:
		return []any{step.Step, show.Size(step.Freed).Human(), "done", step.Effect}
	case step.Skipped == "not needed":
		return []any{step.Step, "-", "not needed", step.Plan}
	case step.Skipped != "":
		return []any{step.Step, "-", "left out", strings.TrimPrefix(step.Skipped, "left out: ")}
	default:
		return []any{step.Step, show.Size(step.Bytes).Human(), "planned", step.Plan}
	}
}
