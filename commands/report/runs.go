package report

import (
	"cmp"
	"context"
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func runsCommand(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:  "runs",
		Usage: "runs of the commands: when, how long, how they ended",
		Flags: []cli.Flag{
			cmdline.NotEmpty(&cli.StringFlag{Name: "command", Usage: "only runs of `COMMAND`, such as process, maintain or \"maintain backup\""}),
			&cli.BoolFlag{Name: "failed", Usage: "only those that did not end with 0"},
			sinceFlag("7d"), limitFlag(30),
		},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		since, err := r.since(c)
		if err != nil {
			return err
		}
		return runRuns(ctx, r, storage.RunFilter{Command: c.String("command"), Failed: c.Bool("failed"), Since: since, Limit: limitOf(c, r.out)})
	})
}

func runRuns(ctx context.Context, r *reporter, f storage.RunFilter) error {
	more := f
	if f.Limit > 0 {
		more.Limit++
	}
	runs, err := r.DB.Runs(ctx, more)
	if err != nil {
		return err
	}
	cut := f.Limit > 0 && len(runs) > f.Limit
	if cut {
		runs = runs[:f.Limit]
	}
	csv := show.Table{Columns: []show.Column{
		{"run_id", ""}, {"command", ""}, {"host", ""}, {"pid", ""}, {"version", ""}, {"started_at", ""}, {"finished_at", ""}, {"exit_code", ""}, {"message", ""}, {"summary", ""},
	}}
	for _, run := range runs {
		csv.Rows = append(csv.Rows, []any{
			show.Number(run.ID), run.Command, run.Host, show.Number(run.PID), run.Version, run.StartedAt, show.Value(run.FinishedAt), show.Value(run.ExitCode), show.Value(run.Message), string(run.Summary),
		})
	}
	return r.out.Report(runs, csv, func() show.Sheet {
		s := show.Section{Table: runsTable(runs, r.now, false)}
		switch {
		case len(runs) == 0:
			s.Lines = []string{"No run since " + show.Time(f.Since) + "."}
		case cut:
			s.Notes = []string{"There are more: --limit 0 shows all, --since reaches further back."}
		}
		return show.Sheet{Title: r.heading("Runs"), Sections: []show.Section{s}}
	})
}

// runsTable shows runs; on the dashboard there is one of each command.
func runsTable(runs []storage.RunRow, now time.Time, dashboard bool) *show.Table {
	t := &show.Table{Columns: show.Headings("Command", "Host", "Started", "Took", "Exit", "What it did"), Spare: []string{"Took", "Host"}}
	if !dashboard {
		t.Columns = append(show.Headings("Run"), t.Columns...)
	}
	for _, run := range runs {
		row := []any{run.Command, run.Host, run.StartedAt.In(now.Location()), took(run, now), exitText(run, now), whatItDid(run)}
		if !dashboard {
			row = append([]any{show.Number(run.ID)}, row...)
		}
		t.Rows = append(t.Rows, row)
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
	return show.Duration(max(0, end.Sub(run.StartedAt).Seconds()))
}

// aliveFor is how long after its last sign of life a run counts as running.
const aliveFor = 10 * time.Minute

func exitText(run storage.RunRow, now time.Time) show.State {
	switch {
	case run.ExitCode != nil:
		return show.State(strconv.Itoa(*run.ExitCode))
	case now.Sub(run.SeenAt) < aliveFor:
		return show.State("running")
	default:
		return show.State("died")
	}
}

// whatItDid is the figures of the run's summary that are not zero, and its message.
func whatItDid(run storage.RunRow) string {
	did, message := summaryLine(run.Summary), storage.ValueOf(run.Message)
	if did == "" {
		did = strings.TrimPrefix(backupDetails(run), ", ")
	}
	if did == "" || message == "" {
		return did + message
	}
	return did + ": " + message
}

// summaryKeys are figures of a summary, worth a word in this order. A noun gives both its
// forms; in the place of its figure the summary may have a list.
var summaryKeys = []struct{ key, word string }{
	{"claimed", "taken"},
	{"complete", "complete"},
	{"partial", "partial"},
	{"failed", "failed"},
	{"api_failed", "API failed"},
	{"permanently_failed", "permanently failed"},
	{"interrupted", "interrupted"},
	{"attachments_downloaded", "attachment|attachments"},
	{"attachments_not_compared", "attachment not compared|attachments not compared"},
	{"imported", "imported"},
	{"new", "new"},
	{"rejected", "rejected"},
	{"reset", "reset"},
	{"skipped", "skipped"},
	{"records_renewed", "renewed"},
	{"leaves", "leaf appended|leaves appended"},
	{"copied", "copied"},
	{"log_files", "file of the log|files of the log"},
	{"checked", "compared"},
	{"archives", "archive|archives"},
	{"files", "file|files"},
	{"tables", "table|tables"},
	{"indexes", "index|indexes"},
	{"steps", "step|steps"},
	{"errors", "error|errors"},
	{"resolved_hashes", "resolved hash|resolved hashes"},
	{"runs", "run|runs"},
	{"circuit_transitions", "change of the circuit|changes of the circuit"},
	{"samples", "sample|samples"},
	{"wrong", "wrong"},
	{"missing", "missing"},
	{"damaged", "damaged"},
	{"removed", "removed"},
	{"problems", "problem|problems"},
}

// summaryLine is the figures of a summary that are not zero, or the first thing of which
// there was none; "" where the summary counts nothing.
func summaryLine(summary json.RawMessage) string {
	var figures map[string]any
	if json.Unmarshal(summary, &figures) != nil {
		return ""
	}
	if areas := areasOf(summary); areas != "" {
		return "looked at " + areas
	}
	var did []string
	none := ""
	for _, k := range summaryKeys {
		word, noun := k.word, strings.Contains(k.word, "|")
		if !noun {
			word += "|" + word
		}
		n, ok := figures[k.key].(float64)
		if list, is := figures[k.key].([]any); is && noun {
			n, ok = float64(len(list)), true
		}
		text := health.Plural(int64(n), word)
		switch {
		case n != 0:
			did = append(did, text)
		case ok && noun && none == "" && k.key != "problems":
			none = text
		}
	}
	if len(did) > 0 {
		return strings.Join(did, ", ")
	}
	for _, key := range []string{"claimed", "copied", "leaves"} {
		if n, ok := figures[key].(float64); ok && n == 0 {
			return "nothing was due"
		}
	}
	return none
}

// areasOf names the areas at which a run of validate looked.
func areasOf(summary json.RawMessage) string {
	var validated struct {
		Areas []struct {
			Area    string `json:"area"`
			Checked bool   `json:"checked"`
		} `json:"areas"`
	}
	if json.Unmarshal(summary, &validated) != nil {
		return ""
	}
	var names []string
	for _, area := range validated.Areas {
		if area.Checked {
			names = append(names, area.Area)
		}
	}
	return strings.Join(names, ", ")
}

// imported is the number of new records of a run of import-csv.
func imported(run storage.RunRow) int64 {
	var summary struct {
		New int64 `json:"new"`
	}
	if run.Command != "import-csv" || json.Unmarshal(run.Summary, &summary) != nil {
		return 0
	}
	return summary.New
}

// backupDetails is the file and size of a backup, as far as the summary of the run that
// made or verified it tells.
func backupDetails(run storage.RunRow) string {
	var summary struct {
		File  string `json:"file"`
		Path  string `json:"path"`
		Bytes int64  `json:"bytes"`
	}
	if json.Unmarshal(run.Summary, &summary) != nil || summary.File+summary.Path == "" {
		return ""
	}
	text := ", " + cmp.Or(summary.File, filepath.Base(summary.Path))
	if summary.Bytes > 0 {
		text += ", " + show.Size(summary.Bytes).Human()
	}
	return text
}
