package commands

import (
	"context"
	"encoding/json"
	"os/exec"
	"time"
)

// timer is a systemd timer of noggin's.
type timer struct {
	Unit      string     `json:"unit"`
	Activates string     `json:"activates"`
	Next      *time.Time `json:"next"` // null: not started
	Last      *time.Time `json:"last"` // null: not yet
}

// listTimers asks systemd for noggin's timers. Where there is none, or no answer
// within a second, there are none.
func listTimers(ctx context.Context) []timer {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	answer, err := exec.CommandContext(ctx, "systemctl", "list-timers", "--all", "--output=json", "noggin-*").Output()
	if err != nil {
		return nil
	}
	return parseTimers(answer)
}

// parseTimers reads systemd's list, whose times are microseconds since 1970.
func parseTimers(answer []byte) []timer {
	var rows []struct {
		Unit      string `json:"unit"`
		Activates string `json:"activates"`
		Next      int64  `json:"next"`
		Last      int64  `json:"last"`
	}
	if json.Unmarshal(answer, &rows) != nil {
		return nil
	}
	at := func(microseconds int64) *time.Time {
		if microseconds <= 0 {
			return nil
		}
		t := time.UnixMicro(microseconds)
		return &t
	}
	var timers []timer
	for _, row := range rows {
		timers = append(timers, timer{row.Unit, row.Activates, at(row.Next), at(row.Last)})
	}
	return timers
}

func timersTable(timers []timer, now time.Time) *table {
	t := &table{columns: []column{{"unit", "Timer"}, {"next", "Next"}, {"last", "Last"}}}
	for _, timer := range timers {
		next, last := "not started", "never"
		if timer.Next != nil {
			next = clock(*timer.Next, now)
		}
		if timer.Last != nil {
			last = clock(*timer.Last, now)
		}
		t.rows = append(t.rows, []any{timer.Unit, next, last})
	}
	return t
}
