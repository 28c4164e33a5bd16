package commands

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"noggin/storage"
)

func reportQueueCommand(env *environment) *cli.Command {
	return env.report(&cli.Command{
		Name:  "queue",
		Usage: "what waits: due now, tried again later, in progress, and whether it drains",
		Flags: []cli.Flag{numberFlag("limit", "show the next `N` retries", 1, 10, "")},
	}, func(ctx context.Context, c *cli.Context, r *reporter) error {
		return runReportQueue(ctx, r, c.Int("limit"))
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

func runReportQueue(ctx context.Context, r *reporter, limit int) (err error) {
	q := queueReport{At: r.now}
	if q.Queue, err = r.db.QueueDepth(ctx); err != nil {
		return err
	}
	totals, err := r.db.RecordTotals(ctx)
	if err != nil {
		return err
	}
	for _, t := range totals {
		if t.Status != "complete" && t.Status != "skipped" {
			q.ByForm = append(q.ByForm, t)
		}
	}
	if q.InProgress, err = r.db.Workers(ctx); err != nil {
		return err
	}
	if q.NextRetries, err = r.db.NextRetries(ctx, limit); err != nil {
		return err
	}
	samples, err := r.db.Samples(ctx, r.now.Add(-24*time.Hour))
	if err != nil {
		return err
	}
	q.history(samples, r.now)
	return r.out.report(q, q.table(), func() sheet { return r.queueSheet(q) })
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

func (q queueReport) table() table {
	t := table{columns: []column{{"processing_status", "Status"}, {"object_type", "Form"}, {"permanently_failed", "Permanent"}, {"records", "Records"}}}
	for _, row := range q.ByForm {
		t.rows = append(t.rows, []any{row.Status, row.ObjectType, row.PermanentlyFailed, count(row.Records)})
	}
	return t
}

// byStatus has a row a status and a column a form.
func (q queueReport) byStatus() *table {
	var forms []string
	cells := map[string]map[string]int64{}
	for _, row := range q.ByForm {
		status := row.Status
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
	t := &table{columns: headings("Status", "Total")}
	for _, form := range forms {
		t.columns = append(t.columns, column{"", form})
	}
	for _, status := range storage.Statuses() {
		for _, status := range []string{status, status + ", permanently failed"} {
			if cells[status] == nil {
				continue
			}
			row := []any{status, count(cells[status]["total"])}
			for _, form := range forms {
				row = append(row, count(cells[status][form]))
			}
			t.rows = append(t.rows, row)
		}
	}
	return t
}

func (r *reporter) queueSheet(q queueReport) sheet {
	status := statusReport{Queue: q.Queue, InProgress: q.InProgress}
	first := status.queueSection(r.now)
	first.title = ""
	if q.Queue.Crashing > 0 {
		first.facts = append(first.facts, fact{"crashing", plural(q.Queue.Crashing, "record") + " in hand when runs died; taken last and alone"})
	}
	switch {
	case r.standing.Paused:
		first.facts = append(first.facts, fact{"paused", pauseText(r.standing.PausedUntil, r.standing.PauseReason)})
	case r.standing.CircuitOpen():
		first.facts = append(first.facts, fact{"circuit", "open until " + clock(*r.standing.OpenUntil, r.now) + ": nothing is taken"})
	}
	if q.PerHour != nil {
		first.facts = append(first.facts, fact{"pace", q.pace(r.now)})
	}
	history := &table{columns: headings("At", "Due", "")}
	var most int64 = 1
	for _, d := range q.Depths {
		most = max(most, d.Due)
	}
	for _, d := range q.Depths {
		bar := strings.Repeat("#", int(math.Round(40*float64(d.Due)/float64(most))))
		history.rows = append(history.rows, []any{d.At.Format("01-02 15:04"), count(d.Due), bar})
	}
	next := &table{columns: headings("Next retry", "Inspection", "Tip", "Status", "Tries", "Last error"), spare: []string{"Tries", "Tip", "Status"}}
	for _, w := range q.NextRetries {
		at := any("now")
		if w.NextRetryAt != nil && w.NextRetryAt.After(r.now) {
			at = w.NextRetryAt.In(r.now.Location()).Format("01-02 15:04:05")
		}
		next.rows = append(next.rows, []any{at, value(w.InspectionID), shortTip(w.Tip), w.Status, w.RetryCount, value(w.LastError)})
	}
	return sheet{title: r.heading("Queue"), sections: []section{
		first,
		{title: "Not complete", table: q.byStatus()},
		{title: "Due over the last 24 hours", table: history},
		{title: "Next retries", table: next},
	}}
}

func (q queueReport) pace(now time.Time) string {
	rate := *q.PerHour
	switch {
	case q.EmptyAt != nil:
		return fmt.Sprintf("drains by %s an hour: empty %s", humanize.Comma(int64(math.Round(rate))), clock(*q.EmptyAt, now))
	case rate <= -1:
		return fmt.Sprintf("grows by %s an hour: is the timer of `noggin process` running?", humanize.Comma(int64(math.Round(-rate))))
	}
	return "as deep as in the last hours"
}
