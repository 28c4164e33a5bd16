package report

import (
	"time"

	"noggin/batch/health"
	"noggin/commands/show"
)

func timersTable(timers []health.Timer, now time.Time) *show.Table {
	t := &show.Table{Columns: []show.Column{{"unit", "Timer"}, {"next", "Next"}, {"last", "Last"}}, Spare: []string{"Last"}}
	for _, timer := range timers {
		next, last := "not started", "never"
		switch {
		case timer.Next != nil:
			next = show.Clock(*timer.Next, now)
		case timer.Active:
			next = "at work"
		}
		if timer.Last != nil {
			last = show.Clock(*timer.Last, now)
		}
		t.Rows = append(t.Rows, []any{show.ID(timer.Unit), next, last})
	}
	return t
}
