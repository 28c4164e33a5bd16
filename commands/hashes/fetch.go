package hashes

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/batch/names"
	"noggin/batch/process"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
)

// fetchResult is what `noggin hashes fetch` prints.
type fetchResult struct {
	Type string `json:"entity_type"` // empty: any
	names.FetchSummary
	names.HealSummary
}

func fetchCommand(open *session.Opener) *cli.Command {
	return &cli.Command{
		Name:      "fetch",
		Usage:     "ask the API for the names of unknown hashes and renew every record that shows them",
		ArgsUsage: "[TYPE|all]",
		Description: `Asks for the object of each hash, the most frequent first, and takes its name from
the fields that [hashes] name_fields lists. The circuit, pauses and the rate limit
hold as for records. A token may lack the right: a hash that is refused, not there
or without a name is asked about again after 30 days.

With [hashes] fetch = true every run of ` + "`noggin process`" + ` does the same for the 200 most
frequent ones.`,
		Flags: []cli.Flag{
			cmdline.NumberFlag("limit", "ask about at most `N` hashes; 0: all", 0, 0, "all"),
			cmdline.DurationFlag("max-time", "ask about nothing more after `DURATION`, such as 4m", 1),
			cmdline.FormatFlag(show.Text, show.JSON),
		},
		Action: withSession(open, runFetch),
	}
}

func runFetch(c *cli.Context, s *session.Session) error {
	kind, err := typeOrAll(s.Types, cmp.Or(c.Args().First(), allTypes))
	if err != nil {
		return err
	}
	p, err := s.Processor()
	if err != nil {
		return err
	}
	standing, err := s.DB.Standing(c.Context)
	if err != nil {
		return err
	}
	if standing.Paused {
		return cmdline.Output(c).Line("paused "+session.PauseText(standing.PausedUntil, standing.PauseReason)+"; nothing was done",
			map[string]any{"paused": true, "reason": standing.PauseReason, "until": standing.PausedUntil})
	}
	result := fetchResult{Type: kind}
	return s.Recorded(c.Context, s.Command, func(run int64) (any, error) {
		bar := s.Console.Progress(c, "hashes")
		var fetchErr error
		result.FetchSummary, fetchErr = p.FetchNames(c.Context, process.NamesRequest{
			Run: run, EntityType: kind, Limit: c.Int("limit"), MaxTime: c.Duration("max-time"),
			Progress: func(done, total int) { bar.Update(session.State{Done: done, Total: total}) },
		})
		bar.Finish()
		if fetchErr != nil && result.Asked == 0 {
			return result, fetchErr
		}
		var err error
		if c.Err() == nil { // the next run of process heals after a signal
			result.HealSummary, err = heal(c, s, run)
		}
		err = errors.Join(fetchErr, cmdline.Output(c).Line(fetchText(result), result), afterNames("the names are stored", err))
		if err == nil && result.FetchSummary.Failed > 0 {
			err = cmdline.Hint(cmdline.Partialf("%s", show.Textf("%d of %d requests failed", result.FetchSummary.Failed, result.Asked)), "the same command asks again")
		}
		return result, err
	})
}

// fetchText describes what asking for names did.
func fetchText(r fetchResult) string {
	var without []string
	for _, part := range []struct {
		n    int
		what string
	}{{r.Refused, "refused"}, {r.NotFound, "not found"}, {r.Nameless, "without a name"}, {r.FetchSummary.Failed, "failed"}} {
		if part.n > 0 {
			without = append(without, show.Textf("%d %s", part.n, part.what))
		}
	}
	line := fmt.Sprintf("%-11s %s", "named", show.HumanText(r.Named))
	if len(without) > 0 {
		line += "; " + strings.Join(without, ", ")
	}
	if r.Stopped != "" {
		line += fmt.Sprintf("\n%-11s %s", "stopped", r.Stopped)
	}
	return fmt.Sprintf("%-11s about %s\n%s\n%-11s %s\n%s", "asked", health.Plural(r.Asked, "hash"), line, "resolved", health.Plural(r.Resolved, "unknown hash"), healText(r.HealSummary))
}
