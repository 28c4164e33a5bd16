package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"noggin/batch/health"
	"noggin/commands/show"
	"noggin/storage"
)

// statusSheet lays the dashboard out.
func (r *reporter) statusSheet(s statusReport) show.Sheet {
	page := show.Sheet{Title: r.heading("noggin on " + r.DB.Host())}
	if s.Records == 0 {
		page.Sections = append(page.Sections, show.Section{Lines: []string{
			"No records yet: put an export of tips into " + r.Config.Batch.Paths.Input + " and run `noggin import-csv`.",
		}})
	}
	page.Sections = append(page.Sections, attention(s.Attention), s.recordsSection(), s.queueSection(r.now),
		show.Section{Title: "Last 7 days", Table: daysTable(s.Days), Notes: []string{targets}},
		s.errorsSection(r.now), s.healthSection(r.now), show.Section{Title: "Last runs", Table: runsTable(s.Runs, r.now, true)})
	if len(s.Timers) > 0 {
		page.Sections = append(page.Sections, show.Section{Title: "Next timers", Table: timersTable(s.Timers, r.now)})
	}
	return page
}

// targets are the manual's.
const targets = "Targets: over 95 % complete, under 5 % failed at the API, the circuit opens at most twice a day."

func (s *statusReport) recordsSection() show.Section {
	t := show.Table{Columns: show.Headings("Status", "Records", "")}
	for _, status := range s.ByStatus {
		if status.Records != 0 || status.Status == storage.StatusPending || status.Status == storage.StatusComplete {
			t.Rows = append(t.Rows, []any{show.State(status.Status), show.Count(status.Records), show.Percent(status.Percent)})
		}
	}
	t.Rows = append(t.Rows, []any{"total", show.Count(s.Records), nil})
	given := "none"
	if s.PermanentlyFailed > 0 {
		given = humanize.Comma(s.PermanentlyFailed) + ": `noggin report failed --permanent`"
	}
	notes := []string{"Permanently failed: " + given}
	if s.Gone > 0 {
		notes = append(notes, "Gone at the platform: "+humanize.Comma(s.Gone)+": `noggin report changes`")
	}
	return show.Section{Title: "Records", Table: &t, Notes: notes}
}

func (s *statusReport) queueSection(now time.Time) show.Section {
	q := s.Queue
	due, later := humanize.Comma(q.Due)+trend(q.Due, s.DueDayAgo), humanize.Comma(q.Later)
	if q.DueAtLeast {
		due, later = "at least "+humanize.Comma(q.Due), "at most "+later
	}
	facts := []show.Fact{{"due now", due}}
	if q.OldestAt != nil && q.Due > 0 {
		facts = append(facts, show.Fact{"oldest", "waits since " + show.Clock(*q.OldestAt, now)})
	}
	if q.NextAt != nil {
		later += ", the next at " + show.Clock(*q.NextAt, now)
	}
	facts = append(facts, show.Fact{"tried again later", later}, show.Fact{"in progress", workersLine(s.InProgress)})
	return show.Section{Title: "Queue", Facts: facts}
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
			by += show.Textf(", the lease of %d has run out", w.Expired)
		}
		parts = append(parts, humanize.Comma(w.Records)+" by "+by)
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, "; ")
}

func (s *statusReport) errorsSection(now time.Time) show.Section {
	t := show.Table{Columns: show.Headings("Error", "Count", "Records", "Last", "Sample"), Spare: []string{"Records", "Last"}}
	for _, e := range s.ErrorsLastDay {
		t.Rows = append(t.Rows, []any{e.Type, show.Count(e.Occurrences), show.Count(e.Records), e.Last.In(now.Location()), e.Sample})
	}
	if len(t.Rows) == 0 {
		return show.Section{} // without its note too
	}
	return show.Section{Title: "Errors of the last 24 hours", Table: &t, Notes: []string{"`noggin report errors` has the advice."}}
}

// copiesLine says how far the copies in a target are.
func copiesLine(c health.Copies, now time.Time) string {
	line := fmt.Sprintf("%s of the files in %s", show.Percent(c.Percent).Human(), c.Name())
	if c.DueSince != nil {
		line += ", " + humanize.Comma(c.Due) + " to copy since " + show.Clock(*c.DueSince, now)
	}
	if c.VerifiedSince != nil {
		line += "; all verified since " + show.Clock(*c.VerifiedSince, now)
	}
	return line
}

// sealedLine says how far sealing has come.
func sealedLine(s storage.SealState, now time.Time) string {
	line := humanize.Comma(s.Size) + " record versions"
	if s.SealedAt != nil {
		line += ", the last " + show.Clock(*s.SealedAt, now)
	}
	if s.Due > 0 {
		line += "; " + health.Plural(s.Due, "record") + " to seal"
	}
	return line
}

func (s *statusReport) healthSection(now time.Time) show.Section {
	facts := []show.Fact{{"circuit", s.Circuit.describe(now)}}
	if s.HourRequests != nil {
		rate := 100 * float64(*s.HourFailures) / float64(max(1, *s.HourRequests))
		facts = append(facts, show.Fact{"requests", fmt.Sprintf("%s in the last hour or so, %.1f %% failed", humanize.Comma(*s.HourRequests), rate)})
	}
	facts = append(facts, show.Fact{"unknown names", namesLine(s.UnknownHashes)})
	if s.Disk != nil {
		facts = append(facts, show.Fact{"output", s.Disk.Path + ": " + s.Disk.describe()})
	}
	var files []string
	for _, f := range s.Files {
		text := humanize.Comma(f.Files) + " " + string(f.Status)
		if f.Bytes > 0 {
			text += " (" + show.Size(f.Bytes).Human() + ")"
		}
		files = append(files, text)
	}
	facts = append(facts, show.Fact{"attachments", strings.Join(files, ", ")}, show.Fact{"doubtful", doubtfulLine(s.Doubtful)},
		show.Fact{"database", show.Size(s.DatabaseBytes).Human()})
	backup := "never"
	if s.LastBackup != nil && s.LastBackup.FinishedAt != nil {
		backup = show.Clock(*s.LastBackup.FinishedAt, now) + backupDetails(*s.LastBackup)
	}
	facts = append(facts, show.Fact{"last backup", backup})
	if s.Archives.Archives > 0 {
		facts = append(facts, show.Fact{"archives", archivesLine(s.Archives, now)})
	}
	for _, c := range s.Copies {
		facts = append(facts, show.Fact{"copies", copiesLine(c, now)})
	}
	if s.Sealed.Logs > 0 {
		facts = append(facts, show.Fact{"sealed", sealedLine(s.Sealed, now)})
	}
	if s.LastActivity != nil {
		facts = append(facts, show.Fact{"last activity", show.Clock(*s.LastActivity, now)})
	}
	return show.Section{Title: "Health", Facts: facts}
}
