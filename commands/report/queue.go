package report

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/batch/health"
	"noggin/commands/cmdline"
	"noggin/commands/session"
	"noggin/commands/show"
	"noggin/storage"
)

func queueCommand(open *session.Opener) *cli.Command {
	return withFormats(open, &cli.Command{
		Name:  "queue",
		Usage: "what waits: due now, tried again later, in progress, and whether it drains",
		Flags: []cli.Flag{cmdline.NumberFlag("limit", "show the next `N` retries", 1, 10, "")},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		return runQueue(ctx, r, c.Int("limit"))
	})
}

// queueReport is what waits.
type queueReport struct {
	At          time.Time             `json:"at"`
	Queue       storage.QueueDepth    `json:"queue"`
	ByForm      []storage.RecordTotal `json:"by_form"` // all but the complete and skipped ones
	InProgress  []storage.Worker      `json:"in_progress"`
	NextRetries []storage.Waiting     `json:"next_retries"`
	Depths      []depth               `json:"history"` // of the last 24 hours, hourly, the oldest first
	PerHour     *float64              `json:"drained_per_hour"`
	EmptyAt     *time.Time            `json:"empty_at"` // at that rate; null: not to be told
}

type depth struct {
	At  time.Time `json:"at"`
	Due int64     `json:"due"`
}

func runQueue(ctx context.Context, r *reporter, limit int) (err error) {
	q := queueReport{At: r.now}
	if q.Queue, err = r.DB.QueueDepth(ctx); err != nil {
		return err
	}
	totals, err := r.DB.RecordTotals(ctx)
	if err != nil {
		return err
	}
	for _, t := range totals {
		if !t.Status.IsFinal() {
			q.ByForm = append(q.ByForm, t)
		}
	}
	if q.InProgress, err = r.DB.Workers(ctx); err != nil {
		return err
	}
	if q.NextRetries, err = r.DB.NextRetries(ctx, limit); err != nil {
		return err
	}
	samples, err := r.DB.Samples(ctx, r.now.Add(-24*time.Hour))
	if err != nil {
		return err
	}
	q.history(samples, r.now)
	return r.out.Report(q, q.table(), func() show.Sheet { return r.queueSheet(q) })
}

// history takes a depth an hour from the samples, and the rate of the last hours.
func (q *queueReport) history(samples []storage.Sample, now time.Time) {
	for _, s := range samples {
		if n := len(q.Depths); n == 0 || s.At.Sub(q.Depths[n-1].At) >= time.Hour-time.Minute {
			q.Depths = append(q.Depths, depth{s.At.In(now.Location()), s.Due})
		}
	}
	if q.Queue.DueAtLeast {
		return // of such depths no pace can be told
	}
	for _, d := range q.Depths { // of the last three hours
		hours := now.Sub(d.At).Hours()
		if hours > 3.5 || hours < 0.5 {
			continue
		}
		rate := float64(d.Due-q.Queue.Due) / hours
		q.PerHour = &rate
		if left := float64(q.Queue.Due) / rate; rate > 0 && q.Queue.Due > 0 && left < 24*365 {
			at := now.Add(time.Duration(left * float64(time.Hour))).Truncate(time.Minute)
			q.EmptyAt = &at
		}
		break
	}
}

func (q queueReport) table() show.Table {
	t := show.Table{Columns: []show.Column{{"processing_status", "Status"}, {"object_type", "Form"}, {"permanently_failed", "Permanent"}, {"records", "Records"}}}
	for _, row := range q.ByForm {
		t.Rows = append(t.Rows, []any{show.State(row.Status), row.ObjectType, row.PermanentlyFailed, show.Count(row.Records)})
	}
	return t
}

// byStatus has a row a status and a column a form.
func (q queueReport) byStatus() *show.Table {
	var forms []string
	cells := map[string]map[string]int64{}
	for _, row := range q.ByForm {
		status := string(row.Status)
		if row.PermanentlyFailed {
			status += ", permanently failed"
		}
		if cells[status] == nil {
			cells[status] = map[string]int64{}
		}
		cells[status][row.ObjectType] += row.Records
		cells[status]["total"] += row.Records
		if !strings.Contains(" "+strings.Join(forms, " ")+" ", " "+row.ObjectType+" ") {
			forms = append(forms, row.ObjectType)
		}
	}
	t := &show.Table{Columns: show.Headings("Status", "Total")}
	for _, form := range forms {
		t.Columns = append(t.Columns, show.Column{"", form})
	}
	for _, status := range session.StatusWords() {
		for _, status := range []string{status, status + ", permanently failed"} {
			if cells[status] == nil {
				continue
			}
			row := []any{status, show.Count(cells[status]["total"])}
			for _, form := range forms {
				row = append(row, show.Count(cells[status][form]))
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t
}

func (r *reporter) queueSheet(q queueReport) show.Sheet {
	status := statusReport{Queue: q.Queue, InProgress: q.InProgress}
	first := status.queueSection(r.now)
	first.Title = ""
	if q.Queue.Crashing > 0 {
		first.Facts = append(first.Facts, show.Fact{"crashing", health.Plural(q.Queue.Crashing, "record") + " in hand when runs died; taken last and alone"})
	}
	switch {
	case r.standing.Paused:
		first.Facts = append(first.Facts, show.Fact{"paused", session.PauseText(r.standing.PausedUntil, r.standing.PauseReason)})
	case r.standing.CircuitOpen():
		first.Facts = append(first.Facts, show.Fact{"circuit", "open until " + show.Clock(*r.standing.OpenUntil, r.now) + ": nothing is taken"})
	}
	if q.PerHour != nil {
		first.Facts = append(first.Facts, show.Fact{"pace", q.pace(r.now)})
	}
	history := &show.Table{Columns: show.Headings("At", "Due", "")}
	var most int64 = 1
	for _, d := range q.Depths {
		most = max(most, d.Due)
	}
	for _, d := range q.Depths {
		bar := strings.Repeat("#", int(math.Round(40*float64(d.Due)/float64(most))))
		history.Rows = append(history.Rows, []any{d.At, show.Count(d.Due), bar})
	}
	next := &show.Table{Columns: show.Headings("Next retry", "Inspection", "Tip", "Status", "Tries", "Last error"), Spare: []string{"Tries", "Status"}}
	for _, w := range q.NextRetries {
		at := any("now")
		if w.NextRetryAt != nil && w.NextRetryAt.After(r.now) {
			at = w.NextRetryAt.In(r.now.Location())
		}
		next.Rows = append(next.Rows, []any{at, show.Name[show.ID](w.InspectionID), show.Tip(w.Tip), show.State(w.Status), w.RetryCount, show.Value(w.LastError)})
	}
	return show.Sheet{Title: r.heading("Queue"), Sections: []show.Section{
		first,
		{Title: "Not complete", Table: q.byStatus()},
		{Title: "Due over the last 24 hours", Table: history},
		{Title: "Next retries", Table: next},
	}}
}

func (q queueReport) pace(now time.Time) string {
	rate := *q.PerHour
	switch {
	case q.EmptyAt != nil:
		return fmt.Sprintf("drains by %s an hour: empty %s", humanize.Comma(int64(math.Round(rate))), show.Clock(*q.EmptyAt, now))
	case rate <= -1:
		return fmt.Sprintf("grows by %s an hour: is the timer of `noggin process` running?", humanize.Comma(int64(math.Round(-rate))))
	}
	return "as deep as in the last hours"
}
