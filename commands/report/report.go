package report

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

// Command is noggin report with its commands.
func Command(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:  "report",
		Usage: "show how the mirror does: status, queue, errors, storage, one record, …",
		Description: `Alone it is "report status". What needs attention comes first, each with its
remedy. No report makes the others wait, and none takes longer because there are
more records.

Examples:
  noggin report
  noggin report errors --since 1h
  noggin report tip 'LCD - 045289'
  noggin report changes --since 7d
  noggin report inspections --from 2025-01-01 --format csv > 2025.csv
  noggin report trailer 7TRL286
  noggin report daily --date yesterday --format json`,
		Subcommands: append([]*cli.Command{
			statusCommand(open),
			queueCommand(open),
			dailyCommand(open),
			errorsCommand(open),
			performanceCommand(open),
			failedCommand(open),
			tipCommand(open),
			changesCommand(open),
			attachmentsCommand(open),
			storageCommand(open),
			runsCommand(open),
			inspectionsCommand(open),
			circuitCommand(open),
			databaseCommand(open),
			htmlCommand(open),
			metricsCommand(open),
		}, entityCommands(open)...),
	}, runStatus)
}

// reporter is what every report works with.
type reporter struct {
	*session.Session
	standing storage.Standing
	now      time.Time // of the server, in the site's zone
	out      show.Output
}

// withFormats adds the formats and the action to a report's command.
func withFormats(open *session.Opener, c *cli.Command, run func(context.Context, *cli.Context, *reporter) error) *cli.Command {
	c.Flags = append(c.Flags, cmdline.FormatFlag(show.Text, show.JSON, show.CSV))
	c.Action = reporting(open, run)
	return c
}

// reporting returns the action of a report's command: it opens the database, checks
// the schema and calls run.
func reporting(open *session.Opener, run func(context.Context, *cli.Context, *reporter) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		s, err := open.Session(c)
		if err != nil {
			return err
		}
		defer s.Close()
		r, err := newReporter(c.Context, s, s.Output(c))
		if err != nil {
			return err
		}
		return run(c.Context, c, r)
	}
}

func newReporter(ctx context.Context, s *session.Session, out show.Output) (*reporter, error) {
	standing, err := s.DB.Standing(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.DB.FoldGrown(ctx); err != nil { // a standby, or no right to write: only slower
		s.Log.Debug("the counts could not be folded", "error", err)
	}
	return &reporter{Session: s, standing: standing, now: standing.Now.In(s.Config.Now().Location()), out: out}, nil
}

// day is the calendar day n days from today.
func (r *reporter) day(n int) string { return r.now.AddDate(0, 0, n).Format(time.DateOnly) }

// at is a time in the site's zone, for a table, or nil.
func (r *reporter) at(at *time.Time) any {
	if at == nil {
		return nil
	}
	return at.In(r.now.Location())
}

// number is what names a run, or nil.
func number(id *int64) any {
	if id == nil {
		return nil
	}
	return show.Number(*id)
}

// heading is the first line of every report.
func (r *reporter) heading(what string) string {
	return what + ", " + r.now.Format("Mon ") + show.Time(r.now) + " " + r.now.Location().String()
}

// limitFlag limits the rows of a list. Without it text shows the first few rows, JSON
// and CSV all of them.
func limitFlag(rows int) cli.Flag {
	return cmdline.NumberFlag("limit", "at most `N` rows; 0: all of them", 0, rows, show.PlainText(rows)+" in text, all in JSON and CSV")
}

func limitOf(c *cli.Context, out show.Output) int {
	if !c.IsSet("limit") && out.Format != show.Text {
		return 0
	}
	return c.Int("limit")
}

// sinceFlag is how far back a report looks.
func sinceFlag(since string) cli.Flag {
	return cmdline.NotEmpty(&cli.StringFlag{Name: "since", Usage: "since `WHEN`: " + cmdline.WhenWords, Value: since})
}

func (r *reporter) since(c *cli.Context) (time.Time, error) {
	at, err := cmdline.When("since", c.String("since"), r.now)
	if err == nil && at.After(r.now) {
		return at, cmdline.Usagef("--since %s: that is still to come", show.Quoted(c.String("since")))
	}
	return at, err
}

// daysFlag is the number of days that a report covers.
func daysFlag(days int) cli.Flag {
	return &cli.IntFlag{Name: "days", Usage: "the last `N` days, today included", Value: days}
}

func daysOf(c *cli.Context, most int) (int, error) {
	days := c.Int("days")
	if days < 1 || days > most {
		return 0, cmdline.Usagef("--days %d: want 1 to %d", days, most)
	}
	return days, nil
}
