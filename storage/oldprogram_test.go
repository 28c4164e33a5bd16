package storage

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/lib/pq"
)

// What version 1 sends when it begins a run and claims records.
const (
	version1StartRun = `
		INSERT INTO noggin_schema.runs (command, host, pid, version) VALUES ($1, $2, $3, $4) RETURNING id`
	version1RecordRun = `
		INSERT INTO noggin_schema.runs (command, host, pid, version, finished_at, exit_code, summary)
		VALUES ($1, $2, $3, $4, now(), 0, '{"claimed": 0}') RETURNING id`
	version1Due = `d.processing_status IN ('api_success', 'interrupted', 'partial', 'failed', 'api_failed')
		AND NOT d.permanently_failed AND d.crash_count < 3
		AND coalesce(d.next_retry_at, '-infinity'::timestamptz) <= now() AND (d.claim_expires_at IS NULL OR d.claim_expires_at < now())`
	version1Claim = `WITH first_retries AS (SELECT d.tip FROM noggin_schema.noggin_data d WHERE ` + version1Due + `
				ORDER BY coalesce(d.next_retry_at, '-infinity'::timestamptz) LIMIT $4 FOR UPDATE SKIP LOCKED),
			fresh AS (SELECT d.tip FROM noggin_schema.noggin_data d WHERE d.processing_status = 'pending' AND d.crash_count < 3
				AND (d.claim_expires_at IS NULL OR d.claim_expires_at < now())
				ORDER BY d.queue_order LIMIT $3 - (SELECT count(*) FROM first_retries) FOR UPDATE SKIP LOCKED),
			more_retries AS (SELECT d.tip FROM noggin_schema.noggin_data d WHERE ` + version1Due + `
				AND d.tip NOT IN (SELECT tip FROM first_retries)
				ORDER BY coalesce(d.next_retry_at, '-infinity'::timestamptz)
				LIMIT $3 - (SELECT count(*) FROM first_retries) - (SELECT count(*) FROM fresh) FOR UPDATE SKIP LOCKED),
			chosen AS (SELECT tip FROM first_retries UNION ALL SELECT tip FROM fresh UNION ALL SELECT tip FROM more_retries)
			UPDATE noggin_schema.noggin_data d
			SET claimed_by = $1, claim_expires_at = now() + $2 * interval '1 second', claim_token = d.claim_token + 1,
			    crash_count = d.crash_count + CASE WHEN d.claimed_by IS NULL THEN 0 ELSE 1 END
			WHERE d.tip = ANY (ARRAY(SELECT tip FROM chosen))
			RETURNING d.tip, d.claim_token, d.object_type, d.object_type_assumed, d.processing_status, d.retry_count, d.crash_count`
)

// sessionWith opens a connection with the settings, as a program of another version does.
func sessionWith(t *testing.T, db *DB, settings map[string]string) *sql.DB {
	t.Helper()
	cfg, err := pq.NewConfig(db.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.ApplicationName, cfg.BinaryParameters, cfg.Runtime = "noggin process", true, settings
	connector, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

// Version 1 compares its number with the schema's and runs on every newer one.
func TestTheDatabaseRefusesAProgramOfVersion1(t *testing.T) {
	t.Parallel()
	db := version1(t)
	old := sessionWith(t, db, map[string]string{"noggin.client": "on", "statement_timeout": "60000"})
	statements := map[string]func(*sql.DB) error{
		"StartRun": func(pool *sql.DB) error { return rowOf(t.Context(), pool, version1StartRun, "process", "yard", 1, "1") },
		"RecordRun": func(pool *sql.DB) error {
			return rowOf(t.Context(), pool, version1RecordRun, "process", "yard", 1, "1")
		},
		"Claim": func(pool *sql.DB) error { return rowOf(t.Context(), pool, version1Claim, 1, 120.0, 1, 1) },
	}
	for name, run := range statements {
		if err := run(old); err != nil {
			t.Fatalf("%s on version 1: %v", name, err)
		}
	}
	if _, err := db.Init(t.Context(), schemaText(t), InitOptions{}); err != nil {
		t.Fatal(err)
	}
	claims := `SELECT string_agg(tip || claim_token, ' ' ORDER BY tip) || (SELECT count(*) FROM noggin_schema.runs) FROM noggin_schema.noggin_data`
	before := scalar[string](t, db, claims)
	oldest := scalar[string](t, db, `SELECT max(oldest_program) FROM noggin_schema.schema_version`)
	below := scalar[string](t, db, `SELECT max(oldest_program) - 1 FROM noggin_schema.schema_version`)
	for what, refused := range map[string]*sql.DB{"the session of version 1": old, "a session of a version below the oldest": sessionWith(t, db, map[string]string{"noggin.client": "on", "noggin.schema": below})} {
		for name, run := range statements {
			err := run(refused)
			// Version 1 takes this code for a schema that does not fit, and ends with exit code 4.
			if !hasCode(err, "3F000") || !strings.Contains(err.Error(), "needs a newer noggin: install it on this host") {
				t.Errorf("%s, %s: %v", what, name, err)
			}
		}
	}
	if after := scalar[string](t, db, claims); after != before {
		t.Errorf("the refused programs changed %s into %s", before, after)
	}
	for what, allowed := range map[string]*sql.DB{
		"the oldest program":  sessionWith(t, db, map[string]string{"noggin.client": "on", "noggin.schema": oldest}),
		"an operator in psql": sessionWith(t, db, nil),
	} {
		for name, run := range statements {
			if err := run(allowed); err != nil {
				t.Errorf("%s, %s: %v", what, name, err)
			}
		}
	}
}

// rowOf runs a statement that returns at least one row.
func rowOf(ctx context.Context, pool *sql.DB, statement string, args ...any) error {
	rows, err := pool.QueryContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err tells
	if !rows.Next() && rows.Err() == nil {
		return sql.ErrNoRows
	}
	return rows.Err()
}
