package commands

import (
	"context"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/storage"
)

func reportCommand(env *environment) *cli.Command {
	return env.report(&cli.Command{
		Name:  "report",
		Usage: "show how the mirror does: status, queue, errors, storage, one record, …",
		Description: `Alone it is "report status". What needs attention comes first, each with its
remedy. No report makes the others wait, and none takes longer because there are
more records.

Examples:
  noggin report
  noggin report errors --since 1h
  noggin report tip 'LCD - 045289'
  noggin report inspections --from 2025-01-01 --format csv > 2025.csv
  noggin report daily --date yesterday --format json`,
		Subcommands: []*cli.Command{
			reportStatusCommand(env),
			reportQueueCommand(env),
			reportDailyCommand(env),
			reportErrorsCommand(env),
			reportPerformanceCommand(env),
			reportFailedCommand(env),
			reportTipCommand(env),
			reportAttachmentsCommand(env),
			reportStorageCommand(env),
			reportRunsCommand(env),
			reportInspectionsCommand(env),
			reportCircuitCommand(env),
			reportDatabaseCommand(env),
			reportHTMLCommand(env),
			reportMetricsCommand(env),
		},
	}, runReportStatus)
}

// reporter is what every report works with.
type reporter struct {
	*session
	env      *environment
	standing storage.Standing
	now      time.Time // of the server, in the site's zone
	out      output
}

// report completes the command of a report: with its formats, and what runs it.
func (env *environment) report(c *cli.Command, run func(context.Context, *cli.Context, *reporter) error) *cli.Command {
	c.Flags = append(c.Flags, formatFlag(formatText, formatJSON, formatCSV))
	c.Action = env.reporting(run)
	return c
}

// reporting makes a command's action of a report: it opens the database and makes
// sure of the schema.
func (env *environment) reporting(run func(context.Context, *cli.Context, *reporter) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		s, err := env.open(c)
		if err != nil {
			return err
		}
		defer s.close()
		r, err := newReporter(c.Context, env, s, env.output(c))
		if err != nil {
			return err
		}
		return run(c.Context, c, r)
	}
}

func newReporter(ctx context.Context, env *environment, s *session, out output) (*reporter, error) {
	standing, err := s.db.Standing(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.db.FoldGrown(ctx); err != nil { // a standby, or no right to write: only slower
		env.log.Debug("the counts could not be folded", "error", err)
	}
	return &reporter{session: s, env: env, standing: standing, now: standing.Now.In(s.cfg.now().Location()), out: out}, nil
}

// day is the calendar day n days from today.
func (r *reporter) day(n int) string { return r.now.AddDate(0, 0, n).Format(time.DateOnly) }

// heading is the first line of every report.
func (r *reporter) heading(what string) string {
	return what + ", " + r.now.Format("Mon 2006-01-02 15:04:05") + " " + r.now.Location().String()
}

// limitFlag bounds the rows of a list. Without it text shows the first few, JSON
// and CSV have them all.
func limitFlag(rows int) cli.Flag {
	return numberFlag("limit", "at most `N` rows; 0: all of them", 0, rows, plainText(rows)+" in text, all in JSON and CSV")
}

func limitOf(c *cli.Context, out output) int {
	if !c.IsSet("limit") && out.format != formatText {
		return 0
	}
	return c.Int("limit")
}

// sinceFlag is how far back a report looks.
func sinceFlag(since string) cli.Flag {
	return &cli.StringFlag{Name: "since", Usage: "since `WHEN`: 2025-10-22, \"2025-10-22 14:00\", or 36h, 7d ago", Value: since}
}

func (r *reporter) since(c *cli.Context) (time.Time, error) {
	at, ok := parseSince(c.String("since"), r.now)
	switch {
	case ok && at.After(r.now):
		return at, usagef("--since %s: that is still to come", quoted(c.String("since")))
	case !ok:
		return at, usagef("--since %s: want 2025-10-22, \"2025-10-22 14:00\", or how long ago, such as 36h or 7d", quoted(c.String("since")))
	}
	return at, nil
}

// daysFlag is of how many days a report tells.
func daysFlag(days int) cli.Flag {
	return &cli.IntFlag{Name: "days", Usage: "the last `N` days, today included", Value: days}
}

func daysOf(c *cli.Context, most int) (int, error) {
	days := c.Int("days")
	if days < 1 || days > most {
		return 0, usagef("--days %d: want 1 to %d", days, most)
	}
	return days, nil
}
