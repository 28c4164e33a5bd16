package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Standing is what a run needs to know before it begins, read in one statement.
type Standing struct {
	Version     int        `db:"version"`
	Paused      bool       `db:"paused"`
	PauseReason string     `db:"pause_reason"`
	PausedUntil *time.Time `db:"pause_until"` // nil: until resumed
	Now         time.Time  `db:"now"`         // the server's clock
	Due         bool       `db:"due"`         // at least one record can be taken
	HealNeeded  bool       `db:"heal_needed"` // a record refers to a name that changed
	// ClockSetBack tells that the server's clock was ahead when it was last used:
	// see [DB.BringTimesBack].
	ClockSetBack bool `db:"clock_set_back"`
	Circuit
}

// Standing reads the schema's version, a maintenance pause and the circuit. Its
// error wraps [ErrSchema] or [ErrUnavailable].
func (db *DB) Standing(ctx context.Context) (Standing, error) {
	var s Standing
	err := db.get(ctx, "read the state of the mirror", &s, `
		SELECT (SELECT coalesce(max(version), 0) FROM noggin_schema.schema_version) AS version,
		       p.id IS NOT NULL AS paused, coalesce(p.reason, '') AS pause_reason, p.paused_until AS pause_until,
		       now() AS now, `+circuitColumns+`,
		       EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE `+dueFresh+` AND `+unclaimed+`)
		       OR EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE `+dueRetry+` AND `+unclaimed+`)
		       OR EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE `+dueCrashed+` AND `+unclaimed+`) AS due,
		       EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE d.names_stale) AS heal_needed,
		       c.updated_at > now() + interval '1 minute'
		       OR EXISTS (SELECT FROM (SELECT started_at, seen_at FROM noggin_schema.runs ORDER BY id DESC LIMIT 20) r
		                  WHERE greatest(r.started_at, r.seen_at) > now() + interval '1 minute') AS clock_set_back
		FROM noggin_schema.circuit c
		LEFT JOIN noggin_schema.pause p ON p.paused_until IS NULL OR p.paused_until > now()`)
	if err != nil {
		return s, err
	}
	return s, checkVersion(s.Version)
}

// CircuitOpen reports whether requests are held back now.
func (s Standing) CircuitOpen() bool {
	return s.State == "open" && s.OpenUntil != nil && s.Now.Before(*s.OpenUntil)
}

// RecordRun records a run that began and ended with nothing to do.
func (db *DB) RecordRun(ctx context.Context, command, version string) (int64, error) {
	var id int64
	err := db.get(ctx, "record the run", &id, `
		INSERT INTO noggin_schema.runs (command, host, pid, version, finished_at, exit_code, summary)
		VALUES ($1, $2, $3, $4, now(), 0, '{"claimed": 0}') RETURNING id`, command, db.host, os.Getpid(), version)
	return id, err
}

// StartRun records that a command began on this host and returns the run's id.
func (db *DB) StartRun(ctx context.Context, command, version string) (int64, error) {
	var id int64
	err := db.get(ctx, "record the run", &id, `
		INSERT INTO noggin_schema.runs (command, host, pid, version) VALUES ($1, $2, $3, $4) RETURNING id`,
		command, db.host, os.Getpid(), version)
	return id, err
}

// FinishRun records how a run ended. summary is the document that the command
// prints as JSON; message says why it ended when it was not plainly done.
func (db *DB) FinishRun(ctx context.Context, id int64, exitCode int, message string, summary any) error {
	doc, err := json.Marshal(summary)
	if err != nil {
		return fmt.Errorf("encode the run's summary: %w", err)
	}
	_, err = db.pool.ExecContext(ctx, db.sql(`
		UPDATE noggin_schema.runs SET finished_at = now(), seen_at = now(), exit_code = $2, message = nullif($3, ''), summary = $4::jsonb
		WHERE id = $1`), id, exitCode, cleanText(message), string(doc))
	return describe(ctx, "record the run's end", err)
}
