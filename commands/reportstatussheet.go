package commands

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"noggin/storage"
)

// statusSheet lays the dashboard out.
func (r *reporter) statusSheet(s statusReport) sheet {
	page := sheet{title: r.heading("noggin on " + r.db.Host())}
	if s.Records == 0 {
		page.sections = append(page.sections, section{lines: []string{
			"No records yet: put an export of tips into " + r.cfg.batch.Paths.Input + " and run `noggin import-csv`.",
		}})
	}
	page.sections = append(page.sections, attention(s.Attention), s.recordsSection(), s.queueSection(r.now),
		section{title: "Last 7 days", table: daysTable(s.Days), notes: []string{targets}},
		s.errorsSection(r.now), s.healthSection(r.now), section{title: "Last runs", table: runsTable(s.Runs, r.now, true)})
	if len(s.Timers) > 0 {
		page.sections = append(page.sections, section{title: "Next timers", table: timersTable(s.Timers, r.now)})
	}
	return page
}

// targets are the manual's.
const targets = "Targets: over 95 % complete, under 5 % failed at the API, the circuit opens at most twice a day."

func (s *statusReport) recordsSection() section {
	t := table{columns: headings("Status", "Records", "")}
	for _, status := range s.ByStatus {
		if status.Records != 0 || status.Status == "pending" || status.Status == "complete" {
			t.rows = append(t.rows, []any{status.Status, count(status.Records), percent(status.Percent)})
		}
	}
	t.rows = append(t.rows, []any{"total", count(s.Records), nil})
	given := "none"
	if s.PermanentlyFailed > 0 {
		given = humanize.Comma(s.PermanentlyFailed) + ": `noggin report failed --permanent`"
	}
	return section{title: "Records", table: &t, notes: []string{"Permanently failed: " + given}}
}

func (s *statusReport) queueSection(now time.Time) section {
	q := s.Queue
	due, later := humanize.Comma(q.Due)+trend(q.Due, s.DueDayAgo), humanize.Comma(q.Later)
	if q.DueAtLeast {
		due, later = "at least "+humanize.Comma(q.Due), "at most "+later
	}
	facts := []fact{{"due now", due}}
	if q.OldestAt != nil && q.Due > 0 {
		facts = append(facts, fact{"oldest", "waits since " + clock(*q.OldestAt, now)})
	}
	if q.NextAt != nil {
		later += ", the next at " + clock(*q.NextAt, now)
	}
	facts = append(facts, fact{"tried again later", later}, fact{"in progress", workersLine(s.InProgress)})
	return section{title: "Queue", facts: facts}
}

func trend(n int64, before *int64) string {
	switch {
	case before == nil || n == *before:
		return ""
	case n > *before:
		return ", " + humanize.Comma(n-*before) + " more than a day ago"
	default:
		return ", " + humanize.Comma(*before-n) + " fewer than a day ago"
	}
}

func workersLine(workers []storage.Worker) string {
	var parts []string
	for _, w := range workers {
		by := fmt.Sprintf("run %d", w.RunID)
		if w.Host != nil {
			by += fmt.Sprintf(" (%s on %s, process %d)", *w.Command, *w.Host, *w.PID)
		}
		if w.Expired > 0 {
			by += fmt.Sprintf(", the lease of %d has run out", w.Expired)
		}
		parts = append(parts, humanize.Comma(w.Records)+" by "+by)
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, "; ")
}

func (s *statusReport) errorsSection(now time.Time) section {
	t := table{columns: headings("Error", "Count", "Records", "Last", "Sample")}
	for _, e := range s.ErrorsLastDay {
		t.rows = append(t.rows, []any{e.Type, count(e.Occurrences), count(e.Records), e.Last.In(now.Location()).Format("01-02 15:04"), e.Sample})
	}
	return section{title: "Errors of the last 24 hours", table: &t, notes: []string{"`noggin report errors` has the advice."}}.unlessEmpty(len(t.rows))
}

// unlessEmpty drops a section whose table has no rows, notes and all.
func (s section) unlessEmpty(rows int) section {
	if rows == 0 {
		return section{}
	}
	return s
}

func (s *statusReport) healthSection(now time.Time) section {
	facts := []fact{{"circuit", s.Circuit.describe(now)}}
	if s.HourRequests != nil {
		rate := 100 * float64(*s.HourFailures) / float64(max(1, *s.HourRequests))
		facts = append(facts, fact{"requests", fmt.Sprintf("%s in the last hour or so, %.1f %% failed", humanize.Comma(*s.HourRequests), rate)})
	}
	facts = append(facts, fact{"unknown names", namesLine(s.UnknownHashes)})
	if s.Disk != nil {
		facts = append(facts, fact{"output", s.Disk.Path + ": " + s.Disk.describe()})
	}
	var files []string
	for _, f := range s.Files {
		text := humanize.Comma(f.Files) + " " + f.Status
		if f.Bytes > 0 {
			text += " (" + size(f.Bytes).human() + ")"
		}
		files = append(files, text)
	}
	facts = append(facts, fact{"attachments", strings.Join(files, ", ")}, fact{"database", size(s.DatabaseBytes).human()})
	backup := "never"
	if s.LastBackup != nil && s.LastBackup.FinishedAt != nil {
		backup = clock(*s.LastBackup.FinishedAt, now) + backupDetails(*s.LastBackup)
	}
	facts = append(facts, fact{"last backup", backup})
	if s.LastActivity != nil {
		facts = append(facts, fact{"last activity", clock(*s.LastActivity, now)})
	}
	return section{title: "Health", facts: facts}
}
