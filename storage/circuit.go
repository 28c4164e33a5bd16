package storage

import (
	"context"
	"time"

	"github.com/jmoiron/sqlx"
)

// Circuit is the circuit's row: whether the API is thought to be available.
type Circuit struct {
	State          string     `db:"state"` // closed, open, half_open
	Generation     int64      `db:"generation"`
	Recent         string     `db:"recent"` // the last requests, oldest first: '1' failed, '0' answered
	OpenUntil      *time.Time `db:"open_until"`
	ProbesLeased   int        `db:"probes_leased"`
	ProbesExpireAt *time.Time `db:"probes_expire_at"`
	TotalRequests  int64      `db:"total_requests"`
	TotalFailures  int64      `db:"total_failures"`
	PausedUntil    *time.Time `db:"paused_until"` // a 429 on any host
}

// Transition is a change of the circuit's state.
type Transition struct {
	From        string    `db:"from_state" json:"from"`
	To          string    `db:"to_state" json:"to"`
	Reason      string    `db:"reason" json:"reason"`
	FailureRate float64   `db:"failure_rate" json:"failure_rate_percent"`
	RunID       *int64    `db:"run_id" json:"run_id"`
	At          time.Time `db:"created_at" json:"at"`
}

const circuitColumns = `c.state, c.generation, c.recent, c.open_until, c.probes_leased, c.probes_expire_at,
	c.total_requests, c.total_failures, c.paused_until`

// StepCircuit changes the circuit under its lock: step is handed the row and the
// server's time and returns the row as it shall be, with the transitions it made.
// step must be pure: it may run more than once.
func (db *DB) StepCircuit(ctx context.Context, run int64, step func(c Circuit, now time.Time) (Circuit, []Transition)) (Circuit, time.Time, error) {
	var row struct {
		Circuit
		Now time.Time `db:"now"`
	}
	err := db.tx(ctx, "update the circuit", func(tx *sqlx.Tx) error {
		if err := tx.GetContext(ctx, &row, db.sql(`SELECT clock_timestamp() AS now, `+circuitColumns+` FROM noggin_schema.circuit c FOR UPDATE`)); err != nil {
			return err
		}
		next, transitions := step(row.Circuit, row.Now)
		row.Circuit = next
		for _, t := range transitions {
			if _, err := tx.ExecContext(ctx, db.sql(`INSERT INTO noggin_schema.circuit_transitions (from_state, to_state, reason, failure_rate, run_id)
				VALUES ($1, $2, $3, $4, nullif($5::bigint, 0))`), t.From, t.To, t.Reason, t.FailureRate, run); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, db.sql(`
			UPDATE noggin_schema.circuit SET state = $1, generation = $2, recent = $3, open_until = $4::timestamptz, probes_leased = $5,
				probes_expire_at = $6::timestamptz, total_requests = $7, total_failures = $8, updated_at = now()`),
			next.State, next.Generation, next.Recent, next.OpenUntil, next.ProbesLeased, next.ProbesExpireAt, next.TotalRequests, next.TotalFailures)
		return err
	})
	return row.Circuit, row.Now, err
}

// PauseRequests makes every run on every host wait for d: the API answered 429.
func (db *DB) PauseRequests(ctx context.Context, d time.Duration) error {
	return db.change(ctx, "pause the requests", `UPDATE noggin_schema.circuit
		SET paused_until = greatest(paused_until, now() + $1 * interval '1 second')`, d.Seconds())
}

// ReserveRequests takes n places under the rate limit that all hosts share and
// returns how long from now the first of them is; the others follow at the rate. A
// queue of more than a minute and a hundred places is none: the server's clock was
// set back meanwhile.
func (db *DB) ReserveRequests(ctx context.Context, n int, perSecond float64) (time.Duration, error) {
	var seconds float64
	err := db.tx(ctx, "reserve requests", func(tx *sqlx.Tx) error {
		return tx.GetContext(ctx, &seconds, db.sql(`
			UPDATE noggin_schema.circuit SET rate_next_at = $1::int / $2::float8 * interval '1 second' +
				CASE WHEN rate_next_at BETWEEN clock_timestamp() AND clock_timestamp() + (60 + 100 / $2::float8) * interval '1 second'
				THEN rate_next_at ELSE clock_timestamp() END
			RETURNING extract(epoch FROM rate_next_at - $1::int / $2::float8 * interval '1 second' - clock_timestamp())::float8`), n, perSecond)
	})
	return max(0, time.Duration(seconds*float64(time.Second))), err
}
