package commands

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/batch"
	"noggin/storage"
)

func reportCircuitCommand(env *environment) *cli.Command {
	return env.report(&cli.Command{
		Name:  "circuit",
		Usage: "the circuit: its state, failure rate, requests and failures, and its history",
		Description: `Open, nothing is requested from the API until the time shown; then a few probes
decide. ` + "`noggin maintain reset-circuit`" + ` closes it at once.`,
		Flags: []cli.Flag{daysFlag(7)},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		days, err := daysOf(c, 3660)
		if err != nil {
			return err
		}
		return runReportCircuit(ctx, r, days)
	})
}

// circuitState is the circuit as a report shows it.
type circuitState struct {
	State            string     `json:"state"`         // closed, open, half_open
	OpenUntil        *time.Time `json:"open_until"`    // null unless open
	RequestsPaused   *time.Time `json:"paused_until"`  // by a 429; null: not
	FailureRate      float64    `json:"failure_rate"`  // percent of the sample
	Sample           int        `json:"sample"`        // requests that the rate is of
	SampleFailures   int        `json:"sample_failed"` // of them
	TotalRequests    int64      `json:"total_requests"`
	TotalFailures    int64      `json:"total_failures"`
	OpeningsLastHour int        `json:"openings_last_1h"`
	OpeningsToday    int        `json:"openings_today"`
}

// circuit reads the circuit; an open one whose time is over says so.
func (r *reporter) circuit(openingsHour, openingsToday int) circuitState {
	row := r.standing.Circuit
	s := circuitState{
		State: row.State, Sample: len(row.Recent), SampleFailures: strings.Count(row.Recent, "1"),
		TotalRequests: row.TotalRequests, TotalFailures: row.TotalFailures, OpeningsLastHour: openingsHour, OpeningsToday: openingsToday,
	}
	if row.State == "open" {
		s.OpenUntil = row.OpenUntil
	}
	if row.PausedUntil != nil && row.PausedUntil.After(r.now) {
		s.RequestsPaused = row.PausedUntil
	}
	if s.Sample > 0 {
		s.FailureRate = 100 * float64(s.SampleFailures) / float64(s.Sample)
	}
	return s
}

// describe is "closed; 3 of the last 20 requests failed; opened twice today".
func (s circuitState) describe(now time.Time) string {
	text := strings.ReplaceAll(s.State, "_", "-")
	switch {
	case s.OpenUntil != nil && s.OpenUntil.After(now):
		text += " until " + clock(*s.OpenUntil, now)
	case s.OpenUntil != nil:
		text += ", its time is over: the next run probes"
	}
	if s.Sample > 0 {
		text += fmt.Sprintf("; %d of the last %d requests failed (%.0f %%)", s.SampleFailures, s.Sample, s.FailureRate)
	}
	if s.RequestsPaused != nil {
		text += "; the API asked to wait until " + clock(*s.RequestsPaused, now)
	}
	return text + fmt.Sprintf("; opened %d times today", s.OpeningsToday)
}

func runReportCircuit(ctx context.Context, r *reporter, days int) error {
	hour, today, err := batch.Openings(ctx, r.db, r.now)
	if err != nil {
		return err
	}
	state := r.circuit(hour, today)
	transitions, err := r.db.Transitions(ctx, r.now.AddDate(0, 0, -days))
	if err != nil {
		return err
	}
	history := table{columns: []column{
		{"at", "At"}, {"from", "From"}, {"to", "To"}, {"failure_rate_percent", "Failure rate"}, {"reason", "Reason"}, {"run_id", "Run"},
	}}
	openings := 0
	for _, t := range transitions {
		if t.To == "open" {
			openings++
		}
		rate := any(percent(t.FailureRate))
		if t.From == "open" { // time decided, not requests
			rate = nil
		}
		history.rows = append(history.rows, []any{t.At.In(r.now.Location()), t.From, t.To, rate, t.Reason, value(t.RunID)})
	}
	doc := struct {
		At time.Time `json:"at"`
		circuitState
		Transitions []storage.Transition `json:"transitions"`
	}{r.now, state, transitions}
	return r.out.report(doc, history, func() sheet {
		cfg := r.cfg.batch.Circuit
		return sheet{title: r.heading("Circuit"), sections: []section{
			{facts: []fact{
				{"state", state.describe(r.now)},
				{"requests", humanize.Comma(state.TotalRequests) + " in all, " + humanize.Comma(state.TotalFailures) + " of them failed for reasons of availability"},
				{"opens at", fmt.Sprintf("%d %% of the last %d requests failed, for %s", cfg.FailureThresholdPercent, cfg.SampleSize, cfg.OpenDuration)},
				{"closes at", fmt.Sprintf("at most %d %% of %d probes failed", cfg.RecoveryThresholdPercent, cfg.SampleSize)},
			}},
			{title: historyTitle(days, openings), table: &history},
		}}
	})
}

func historyTitle(days, openings int) string {
	if openings == 0 {
		return "Last " + plural(days, "day")
	}
	return fmt.Sprintf("Last %s: opened %s", plural(days, "day"), plural(openings, "time"))
}
