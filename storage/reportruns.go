package storage

import (
	"context"
	"encoding/json"
	"time"
)

// RunRow is a run of a command.
type RunRow struct {
	ID         int64           `db:"id" json:"run_id"`
	Command    string          `db:"command" json:"command"`
	Host       string          `db:"host" json:"host"`
	PID        int             `db:"pid" json:"pid"`
	Version    string          `db:"version" json:"version"`
	StartedAt  time.Time       `db:"started_at" json:"started_at"`
	SeenAt     time.Time       `db:"seen_at" json:"seen_at"`
	FinishedAt *time.Time      `db:"finished_at" json:"finished_at"`
	ExitCode   *int            `db:"exit_code" json:"exit_code"` // nil: it runs, or it died
	Message    *string         `db:"message" json:"message"`
	Summary    json.RawMessage `db:"summary" json:"summary"`
}

const runColumns = `id, command, host, pid, version, started_at, seen_at, finished_at, exit_code, message, coalesce(summary, 'null') AS summary`

// RunState is a state of a run, as a condition in SQL.
type RunState string

// The states for which reports ask.
const (
	AnyRun       RunState = "true"
	EndedRun     RunState = "exit_code IS NOT NULL"
	JudgedRun    RunState = "exit_code <> 130"    // ended by itself, well or not
	DoneRun      RunState = "exit_code IN (0, 3)" // succeeded, or partly succeeded
	SucceededRun RunState = "exit_code = 0"
)

// LastRuns returns each command's last run that has the state, the latest first. It
// reads the last 3000 runs of a command.
func (db *DB) LastRuns(ctx context.Context, state RunState) ([]RunRow, error) {
	var runs []RunRow
	// One step in the index for each command; SELECT DISTINCT would read every run.
	err := db.selectAll(ctx, "read the last runs", &runs, `
		WITH RECURSIVE commands AS (
			(SELECT command FROM noggin_schema.runs ORDER BY command LIMIT 1)
			UNION ALL
			SELECT (SELECT r.command FROM noggin_schema.runs r WHERE r.command > c.command ORDER BY r.command LIMIT 1)
			FROM commands c WHERE c.command IS NOT NULL)
		SELECT r.* FROM commands c CROSS JOIN LATERAL (
			SELECT `+runColumns+` FROM (SELECT * FROM noggin_schema.runs WHERE command = c.command ORDER BY started_at DESC LIMIT 3000) AS recent
			WHERE `+string(state)+` ORDER BY started_at DESC LIMIT 1) AS r
		ORDER BY r.started_at DESC`)
	return runs, err
}

// RunFilter chooses runs; the zero value chooses all.
type RunFilter struct {
	Command string // or a group of commands, such as maintain
	Since   time.Time
	Before  time.Time // zero: no bound
	Failed  bool      // only exit codes other than 0
	Limit   int       // 0: no limit
}

// Runs returns runs, the latest first.
func (db *DB) Runs(ctx context.Context, f RunFilter) ([]RunRow, error) {
	var runs []RunRow
	before := ""
	if !f.Before.IsZero() {
		before = f.Before.Format(time.RFC3339Nano)
	}
	err := db.selectAll(ctx, "list the runs", &runs, `
		SELECT `+runColumns+` FROM noggin_schema.runs
		WHERE started_at >= $1::timestamptz AND started_at < coalesce(nullif($5, '')::timestamptz, 'infinity') AND ($2 = '' OR command = $2 OR starts_with(command, $2 || ' ')) AND (NOT $3::boolean OR exit_code <> 0)
		ORDER BY started_at DESC, id DESC LIMIT nullif($4::bigint, 0)`, f.Since.Format(time.RFC3339Nano), f.Command, f.Failed, f.Limit, before)
	return runs, err
}

// Transitions returns the circuit's changes since a time, the latest first.
func (db *DB) Transitions(ctx context.Context, since time.Time) ([]Transition, error) {
	var transitions []Transition
	err := db.selectAll(ctx, "read the circuit's history", &transitions, `
		SELECT from_state, to_state, reason, coalesce(failure_rate, 0) AS failure_rate, run_id, created_at
		FROM noggin_schema.circuit_transitions WHERE created_at >= $1::timestamptz ORDER BY created_at DESC, id DESC`,
		since.Format(time.RFC3339Nano))
	return transitions, err
}

// LastActivity returns when a record's status last changed, or nil.
func (db *DB) LastActivity(ctx context.Context) (*time.Time, error) {
	var at *time.Time
	err := db.get(ctx, "read the last activity", &at, `
		SELECT max(updated_at) FROM noggin_schema.noggin_data WHERE (processing_status = 'pending') IS FALSE`)
	return at, err
}

// DatabaseSize returns the size of the database in bytes.
func (db *DB) DatabaseSize(ctx context.Context) (int64, error) {
	var size int64
	err := db.get(ctx, "measure the database", &size, `SELECT pg_database_size(current_database())`)
	return size, err
}

// Rhythm is how often a command runs.
type Rhythm struct {
	Runs     int        `db:"runs"`      // of the last 48, those from which Seconds is known
	Seconds  float64    `db:"seconds"`   // between the beginnings of two runs, mostly
	LastSign *time.Time `db:"last_sign"` // of life of any run; nil: it never ran
}

// Rhythm reads how often a command ran lately, on all hosts together. Runs less than ten
// seconds apart count as one: several hosts have the same timer.
func (db *DB) Rhythm(ctx context.Context, command string) (r Rhythm, err error) {
	err = db.get(ctx, "read how often a command runs", &r, `
		WITH recent AS (SELECT started_at, greatest(seen_at, finished_at) AS sign FROM noggin_schema.runs WHERE command = $1
			ORDER BY started_at DESC LIMIT 48),
		gaps AS (SELECT extract(epoch FROM started_at - lag(started_at) OVER (ORDER BY started_at)) AS gap FROM recent)
		SELECT (SELECT count(*) FROM gaps WHERE gap >= 10) AS runs,
		       (SELECT coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY gap), 0) FROM gaps WHERE gap >= 10) AS seconds,
		       (SELECT max(sign) FROM recent) AS last_sign`, command)
	return r, err
}
