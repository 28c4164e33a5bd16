package report

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func circuitCommand(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:  "circuit",
		Usage: "the circuit: its state, failure rate, requests and failures, and its history",
		Description: `While it is open, nothing is requested from the API until the time shown; then the
witness (a request for something that is known to be there) and a few probes decide. ` + "`noggin maintain reset-circuit`" + ` closes it at once.`,
		Flags: []cli.Flag{daysFlag(7)},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		days, err := daysOf(c, 3660)
		if err != nil {
			return err
		}
		return runCircuit(ctx, r, days)
	})
}

// circuitState is the circuit as a report shows it.
type circuitState struct {
	State            storage.CircuitState `json:"state"`
	OpenUntil        *time.Time           `json:"open_until"`    // null unless open
	RequestsPaused   *time.Time           `json:"paused_until"`  // by a 429; null: not
	FailureRate      float64              `json:"failure_rate"`  // percent of the sample
	Sample           int                  `json:"sample"`        // requests that the rate is of
	SampleFailures   int                  `json:"sample_failed"` // of them
	TotalRequests    int64                `json:"total_requests"`
	TotalFailures    int64                `json:"total_failures"`
	OpeningsLastHour int                  `json:"openings_last_1h"`
	OpeningsToday    int                  `json:"openings_today"`
}

// circuit reads the circuit. An open circuit whose time is over is described so.
func (r *reporter) circuit(openingsHour, openingsToday int) circuitState {
	row := r.standing.Circuit
	s := circuitState{
		State: row.State, Sample: len(row.Recent), SampleFailures: strings.Count(row.Recent, "1"),
		TotalRequests: row.TotalRequests, TotalFailures: row.TotalFailures, OpeningsLastHour: openingsHour, OpeningsToday: openingsToday,
	}
	if row.State == storage.CircuitOpen {
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
	text := strings.ReplaceAll(string(s.State), "_", "-")
	switch {
	case s.OpenUntil != nil && s.OpenUntil.After(now):
		text += " until " + show.Clock(*s.OpenUntil, now)
	case s.OpenUntil != nil:
		text += ", its time is over: the next run probes"
	}
	if s.Sample > 0 {
		text += fmt.Sprintf("; %d of the last %d requests failed (%.0f %%)", s.SampleFailures, s.Sample, s.FailureRate)
	}
	if s.RequestsPaused != nil {
		text += "; the API asked to wait until " + show.Clock(*s.RequestsPaused, now)
	}
	return text + "; opened " + health.Plural(s.OpeningsToday, "time") + " today"
}

func runCircuit(ctx context.Context, r *reporter, days int) error {
	hour, today, err := health.Openings(ctx, r.DB, r.now)
	if err != nil {
		return err
	}
	state := r.circuit(hour, today)
	transitions, err := r.DB.Transitions(ctx, r.now.AddDate(0, 0, -days))
	if err != nil {
		return err
	}
	history := show.Table{Columns: []show.Column{
		{"at", "At"}, {"from", "From"}, {"to", "To"}, {"failure_rate_percent", "Failure rate"}, {"reason", "Reason"}, {"run_id", "Run"},
	}, Spare: []string{"Run", "From", "Failure rate"}}
	openings := 0
	for _, t := range transitions {
		if t.To == storage.CircuitOpen {
			openings++
		}
		rate := any(show.Percent(t.FailureRate))
		if t.From == storage.CircuitOpen { // time decided, not requests
			rate = nil
		}
		history.Rows = append(history.Rows, []any{t.At.In(r.now.Location()), t.From, t.To, rate, t.Reason, number(t.RunID)})
	}
	doc := struct {
		At time.Time `json:"at"`
		circuitState
		Transitions []storage.Transition `json:"transitions"`
	}{r.now, state, transitions}
	return r.out.Report(doc, history, func() show.Sheet {
		cfg := r.Config.Batch.Circuit
		return show.Sheet{Title: r.heading("Circuit"), Sections: []show.Section{
			{Facts: []show.Fact{
				{"state", state.describe(r.now)},
				{"requests", humanize.Comma(state.TotalRequests) + " in all, " + humanize.Comma(state.TotalFailures) + " of them failed for reasons of availability"},
				{"opens at", fmt.Sprintf("%d %% of the last %d requests failed and so did the witness, for %s", cfg.FailureThresholdPercent, cfg.SampleSize, show.Lasting(cfg.OpenDuration))},
				{"closes at", fmt.Sprintf("the witness was answered, and at most %d %% of %d probes failed", cfg.RecoveryThresholdPercent, cfg.SampleSize)},
			}},
			{Title: historyTitle(days, openings), Table: &history},
		}}
	})
}

func historyTitle(days, openings int) string {
	if openings == 0 {
		return "Last " + health.Plural(days, "day")
	}
	return fmt.Sprintf("Last %s: opened %s", health.Plural(days, "day"), health.Plural(openings, "time"))
}
