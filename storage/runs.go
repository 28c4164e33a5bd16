package storage

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Standing is the state of the mirror that a run reads first, in one statement.
type Standing struct {
	versions
	Paused      bool       `db:"paused"`
	PauseReason string     `db:"pause_reason"`
	PausedUntil *time.Time `db:"pause_until"` // nil: until `noggin maintain resume`
	PauseEnded  *time.Time `db:"pause_ended"` // when the last pause ended; nil: none did
	Now         time.Time  `db:"now"`         // the server's clock
	Due         bool       `db:"due"`         // at least one record can be claimed
	HealNeeded  bool       `db:"heal_needed"` // a record refers to a changed name, or was not checked since an upgrade
	SearchFill  bool       `db:"search_fill"` // records of version 1 have no words to be found by yet: see [DB.FillSearch]
	// ClockSetBack means that the database holds times of the server that are in its
	// future: its clock was ahead. See [DB.BringTimesBack].
	ClockSetBack bool `db:"clock_set_back"`
	Circuit
}

// Standing reads the state of the mirror and checks the schema as [DB.CheckSchema] does.
// Its error wraps [ErrSchema] or [ErrUnavailable].
func (db *DB) Standing(ctx context.Context) (Standing, error) {
	var s Standing
	err := db.get(ctx, "read the state of the mirror", &s, `
		SELECT (SELECT coalesce(max(version), 0) FROM noggin_schema.schema_version) AS version,
		       (SELECT coalesce(max(oldest_program), 0) FROM noggin_schema.schema_version) AS oldest_program,
		       `+known+` AS known, p.id IS NOT NULL AS paused, coalesce(p.reason, '') AS pause_reason, p.paused_until AS pause_until,
		       greatest((SELECT e.paused_until FROM noggin_schema.pause e WHERE e.paused_until <= now()),
		                (SELECT r.finished_at FROM noggin_schema.runs r WHERE r.command = 'maintain resume' AND r.summary ->> 'was_paused' = 'true' ORDER BY r.started_at DESC LIMIT 1)) AS pause_ended,
		       now() AS now, `+circuitColumns+`,
		       EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE `+dueFresh+` AND `+unclaimed+`)
		       OR EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE `+dueRetry+` AND `+unclaimed+`)
		       OR EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE `+dueCrashed+` AND `+unclaimed+`)
		       OR EXISTS (SELECT FROM `+dueRefreshes+` AND `+unclaimed+`) AS due,
		       EXISTS (SELECT FROM noggin_schema.noggin_data d WHERE d.names_stale)
		       OR EXISTS (SELECT FROM noggin_schema.names_recheck WHERE after IS NOT NULL) AS heal_needed,
		       EXISTS (SELECT FROM noggin_schema.search_fill WHERE after IS NOT NULL) AS search_fill,
		       c.updated_at > now() + interval '1 minute'
		       OR EXISTS (SELECT FROM (SELECT started_at, seen_at FROM noggin_schema.runs ORDER BY id DESC LIMIT 20) r
		                  WHERE greatest(r.started_at, r.seen_at) > now() + interval '1 minute') AS clock_set_back
		FROM noggin_schema.circuit c
		LEFT JOIN noggin_schema.pause p ON p.paused_until IS NULL OR p.paused_until > now()`)
	if err != nil {
		return s, db.explainSchema(ctx, err)
	}
	return s, s.check()
}

// explainSchema returns the error of [DB.CheckSchema] in place of one that says that an
// object of the schema is missing: the schema is probably an older one.
func (db *DB) explainSchema(ctx context.Context, err error) error {
	if errors.Is(err, ErrSchema) {
		return cmp.Or(db.CheckSchema(ctx), err)
	}
	return err
}

// CircuitOpen reports whether the circuit lets no request through now.
func (s Standing) CircuitOpen() bool {
	return s.State == CircuitOpen && s.OpenUntil != nil && s.Now.Before(*s.OpenUntil)
}

// RecordRun records a run that began and ended with nothing to do.
func (db *DB) RecordRun(ctx context.Context, command, version string) (int64, error) {
	var id int64
	err := db.get(ctx, "record the run", &id, `
		INSERT INTO noggin_schema.runs (command, host, pid, version, finished_at, exit_code, summary)
		VALUES ($1, $2, $3, $4, now(), 0, '{"claimed": 0}') RETURNING id`, command, db.host, os.Getpid(), version)
	return id, err
}

// StartRun records that a command began on this host and returns the run's id. It
// checks the schema as [DB.CheckSchema] does, so that no run changes a schema that does
// not fit. The run gives signs of life until [DB.FinishRun] or [DB.Close].
func (db *DB) StartRun(ctx context.Context, command, version string) (int64, error) {
	var id int64
	err := db.get(ctx, "record the run", &id, `
		INSERT INTO noggin_schema.runs (command, host, pid, version) SELECT $1, $2, $3, $4
		WHERE (SELECT max(version) >= $5 AND max(oldest_program) <= $5 FROM noggin_schema.schema_version) AND `+known+` RETURNING id`,
		command, db.host, os.Getpid(), version, SchemaVersion)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("record the run: %w", ErrSchema)
	}
	if err == nil {
		db.giveSigns(id)
	}
	return id, db.explainSchema(ctx, err)
}

// signEvery is how often a run that lives says so.
const signEvery = time.Minute

// giveSigns renews seen_at of a run until it ends, also after its context has ended. An
// error does not matter: the next sign follows.
func (db *DB) giveSigns(run int64) {
	ctx, end := context.WithCancel(context.Background())
	db.living.mu.Lock()
	defer db.living.mu.Unlock()
	db.living.runs[run] = end
	go func() {
		tick := time.NewTicker(cmp.Or(db.cfg.signEvery, signEvery))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_, _ = db.pool.ExecContext(ctx, db.sql(`UPDATE noggin_schema.runs SET seen_at = now() WHERE id = $1 AND finished_at IS NULL`), run)
			}
		}
	}()
}

// living are the runs of this program that have not ended, with what ends their signs of
// life.
type living struct {
	mu   sync.Mutex
	runs map[int64]context.CancelFunc
}

func (l *living) end(run int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if end, ok := l.runs[run]; ok {
		end()
		delete(l.runs, run)
	}
}

func (l *living) endAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, end := range l.runs {
		end()
	}
	clear(l.runs)
}

// FinishRun records the end of a run. summary is the JSON document that the command
// prints. message says why the run ended early, or is "".
func (db *DB) FinishRun(ctx context.Context, id int64, exitCode int, message string, summary any) error {
	db.living.end(id)
	doc, err := json.Marshal(summary)
	if err != nil {
		return fmt.Errorf("encode the run's summary: %w", err)
	}
	_, err = db.pool.ExecContext(ctx, db.sql(`
		UPDATE noggin_schema.runs SET finished_at = now(), seen_at = now(), exit_code = $2, message = nullif($3, ''), summary = $4::jsonb
		WHERE id = $1`), id, exitCode, cleanText(message), string(doc))
	return describe(ctx, "record the run's end", err)
}
