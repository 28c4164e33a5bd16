package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/storage"
)

func reportRunsCommand(env *environment) *cli.Command {
	return env.report(&cli.Command{
		Name:  "runs",
		Usage: "runs of the commands: when, how long, how they ended",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "command", Usage: "only runs of `COMMAND`, such as process or \"maintain backup\""},
			&cli.BoolFlag{Name: "failed", Usage: "only those that did not end with 0"},
			sinceFlag("7d"), limitFlag(30),
		},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		since, err := r.since(c)
		if err != nil {
			return err
		}
		return runReportRuns(ctx, r, storage.RunFilter{Command: c.String("command"), Failed: c.Bool("failed"), Since: since, Limit: limitOf(c, r.out)})
	})
}

func runReportRuns(ctx context.Context, r *reporter, f storage.RunFilter) error {
	more := f
	if f.Limit > 0 {
		more.Limit++
	}
	runs, err := r.db.Runs(ctx, more)
	if err != nil {
		return err
	}
	cut := f.Limit > 0 && len(runs) > f.Limit
	if cut {
		runs = runs[:f.Limit]
	}
	csv := table{columns: []column{
		{"run_id", ""}, {"command", ""}, {"host", ""}, {"pid", ""}, {"version", ""}, {"started_at", ""}, {"finished_at", ""}, {"exit_code", ""}, {"message", ""}, {"summary", ""},
	}}
	for _, run := range runs {
		csv.rows = append(csv.rows, []any{
			run.ID, run.Command, run.Host, run.PID, run.Version, run.StartedAt, value(run.FinishedAt), value(run.ExitCode), value(run.Message), string(run.Summary),
		})
	}
	return r.out.report(runs, csv, func() sheet {
		s := section{table: runsTable(runs, r.now, false)}
		switch {
		case len(runs) == 0:
			s.lines = []string{"No run since " + f.Since.Format("2006-01-02 15:04") + "."}
		case cut:
			s.notes = []string{"There are more: --limit 0 shows all, --since reaches further back."}
		}
		return sheet{title: r.heading("Runs"), sections: []section{s}}
	})
}

// runsTable shows runs; on the dashboard there is one of each command.
func runsTable(runs []storage.RunRow, now time.Time, dashboard bool) *table {
	t := &table{columns: headings("Command", "Host", "Started", "Took", "Exit", "What it did"), spare: []string{"Took", "Host"}}
	if !dashboard {
		t.columns = append(headings("Run"), t.columns...)
	}
	for _, run := range runs {
		row := []any{run.Command, run.Host, run.StartedAt.In(now.Location()).Format("01-02 15:04:05"), took(run, now), exitText(run, now), whatItDid(run)}
		if !dashboard {
			row = append([]any{run.ID}, row...)
		}
		t.rows = append(t.rows, row)
	}
	return t
}

func took(run storage.RunRow, now time.Time) any {
	end := now
	switch {
	case run.FinishedAt != nil:
		end = *run.FinishedAt
	case now.Sub(run.SeenAt) >= aliveFor:
		end = run.SeenAt
	}
	return duration(max(0, end.Sub(run.StartedAt).Seconds()))
}

// aliveFor is how long after its last sign of life a run counts as running.
const aliveFor = 10 * time.Minute

func exitText(run storage.RunRow, now time.Time) string {
	switch {
	case run.ExitCode != nil:
		return strconv.Itoa(*run.ExitCode)
	case now.Sub(run.SeenAt) < aliveFor:
		return "running"
	default:
		return "died"
	}
}

// whatItDid is the run's message, or the figures of its summary that are not zero.
func whatItDid(run storage.RunRow) string {
	if run.Message != nil {
		return *run.Message
	}
	return summaryLine(run.Summary)
}

// summaryKeys are figures of a summary, worth a word in this order.
var summaryKeys = []struct{ key, word string }{
	{"claimed", "taken"},
	{"complete", "complete"},
	{"partial", "partial"},
	{"failed", "failed"},
	{"api_failed", "API failed"},
	{"permanently_failed", "permanently failed"},
	{"interrupted", "interrupted"},
	{"attachments_downloaded", "photographs"},
	{"imported", "imported"},
	{"new", "new"},
	{"rejected", "rejected"},
	{"reset", "reset"},
	{"skipped", "skipped"},
	{"records_renewed", "renewed"},
}

func summaryLine(summary json.RawMessage) string {
	var figures map[string]any
	if json.Unmarshal(summary, &figures) != nil {
		return ""
	}
	text := ""
	for _, k := range summaryKeys {
		if n, ok := figures[k.key].(float64); ok && n != 0 {
			if text != "" {
				text += ", "
			}
			text += fmt.Sprintf("%.0f %s", n, k.word)
		}
	}
	if claimed, ok := figures["claimed"].(float64); ok && claimed == 0 && text == "" {
		return "nothing was due"
	}
	return text
}

// imported is how many new records a run of import-csv brought.
func imported(run storage.RunRow) int64 {
	var summary struct {
		New int64 `json:"new"`
	}
	if run.Command != "import-csv" || json.Unmarshal(run.Summary, &summary) != nil {
		return 0
	}
	return summary.New
}

// backupDetails is the file and size of a backup, as far as its summary tells.
func backupDetails(run storage.RunRow) string {
	var summary struct {
		File  string `json:"file"`
		Bytes int64  `json:"bytes"`
	}
	if json.Unmarshal(run.Summary, &summary) != nil || summary.File == "" {
		return ""
	}
	text := ", " + summary.File
	if summary.Bytes > 0 {
		text += ", " + size(summary.Bytes).human()
	}
	return text
}
